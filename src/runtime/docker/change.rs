//! What changes an engine's containers and images. Each takes a [`Permit`]: the intent stands in the audit log.

use std::time::Duration;

use bollard::query_parameters::{
    RemoveImageOptions, RestartContainerOptions, StartContainerOptions, StopContainerOptions,
    TagImageOptions,
};

use super::connect::{Engine, explain};
use crate::audit::Permit;
use crate::host::Host;
use crate::runtime::RuntimeError;

/// Gives an image one more name: `repo:tag`. A name that stood for another image moves.
///
/// # Errors
/// No such image, an invalid name, or the engine is unreachable.
pub async fn tag_image(
    host: &Host,
    _permit: &Permit,
    image: &str,
    repo: &str,
    tag: &str,
) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let options = TagImageOptions {
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
    };
    engine
        .quick(async {
            engine
                .docker
                .tag_image(image, Some(options))
                .await
                .map_err(|e| explain(&format!("tag {image} as {repo}:{tag}"), e))
        })
        .await
}

/// Takes a name away from an image; the image itself goes only where that was its last name and nothing runs it. A name
/// that is no more is fine.
///
/// # Errors
/// A container still runs the image by this name alone, or the engine is unreachable.
pub async fn untag_image(host: &Host, _permit: &Permit, name: &str) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let options = RemoveImageOptions {
        noprune: true,
        ..RemoveImageOptions::default()
    };
    let removed = engine.quick(async {
        match engine.docker.remove_image(name, Some(options), None).await {
            Ok(_) => Ok(()),
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(()),
            Err(error) => Err(explain(&format!("take away the name {name}"), error)),
        }
    });
    removed.await
}

/// Stops and starts a container as it is: never applies a new image or environment. `grace` is the time between
/// SIGTERM and SIGKILL; `None` for the container's own.
///
/// # Errors
/// No such container, it cannot be started, or the engine is unreachable.
pub async fn restart_container(
    host: &Host,
    _permit: &Permit,
    id: &str,
    grace: Option<Duration>,
) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let options = RestartContainerOptions {
        t: grace.map(seconds),
        ..RestartContainerOptions::default()
    };
    engine
        .patient()
        .restart_container(id, Some(options))
        .await
        .map_err(|e| explain(&format!("restart the container {id}"), e))
}

/// Stops a container; one that is stopped already is fine.
///
/// # Errors
/// No such container, or the engine is unreachable.
pub async fn stop_container(
    host: &Host,
    _permit: &Permit,
    id: &str,
    grace: Option<Duration>,
) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let options = StopContainerOptions {
        t: grace.map(seconds),
        ..StopContainerOptions::default()
    };
    engine
        .patient()
        .stop_container(id, Some(options))
        .await
        .or_else(is_already)
        .map_err(|e| explain(&format!("stop the container {id}"), e))
}

/// Starts a container; one that runs already is fine.
///
/// # Errors
/// No such container, it cannot be started, or the engine is unreachable.
pub async fn start_container(host: &Host, _permit: &Permit, id: &str) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    engine
        .patient()
        .start_container(id, None::<StartContainerOptions>)
        .await
        .or_else(is_already)
        .map_err(|e| explain(&format!("start the container {id}"), e))
}

fn seconds(grace: Duration) -> i32 {
    i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)
}

/// The engine answers 304 where there is nothing to do.
fn is_already(error: bollard::errors::Error) -> Result<(), bollard::errors::Error> {
    match error {
        bollard::errors::Error::DockerResponseServerError {
            status_code: 304, ..
        } => Ok(()),
        error => Err(error),
    }
}
