//! Asks inside a container: a short script that reads, run beside the service's own processes.
//!
//! A database is asked where its own tools and its own rights are: nothing has to be installed on the machine, no port has
//! to be open, and no password is needed that the container does not have.

use std::time::Duration;

use super::connect::Engine;
use super::exec;
use super::inspect::containers_of;
use crate::domain::service::Service;
use crate::host::stream::Streams;
use crate::host::{Command, CommandOutput, Host};
use crate::runtime::RuntimeError;

/// So much of each of its outputs is kept.
const MAX_OUTPUT: usize = 64 * 1024;

/// Runs `sh -c script` in the first running container of a service. The script must change nothing, and should end itself
/// within `limit`: what is still running then goes on inside, unheard.
///
/// # Errors
/// The engine is unreachable, no container runs, it has no shell, or the script took too long.
pub async fn ask_inside(
    host: &Host,
    service: &Service,
    script: &str,
    limit: Duration,
) -> Result<CommandOutput, RuntimeError> {
    let asking = async {
        let engine = Engine::connect(host).await?;
        let containers = containers_of(&engine, service).await?;
        let running = containers
            .into_iter()
            .find(|c| c.state.as_ref().and_then(|s| s.running) == Some(true));
        let id = running.and_then(|c| c.id).ok_or_else(|| {
            RuntimeError::failed(
                format!("cannot ask inside {}", service.id),
                std::io::Error::other("no container of it runs"),
            )
        })?;
        let command = Command {
            max_output: MAX_OUTPUT,
            ..Command::shell(script, &[], limit)
        };
        exec::run(&engine, &id, &command, Streams::default()).await
    };
    tokio::time::timeout(limit, asking).await.map_err(|_| {
        RuntimeError::failed(
            format!("cannot ask inside {}", service.id),
            std::io::Error::other(format!("no answer within {} s", limit.as_secs_f32())),
        )
    })?
}
