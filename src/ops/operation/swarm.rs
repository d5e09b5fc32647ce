//! A step that changes a service of a swarm: done, looked for, and taken back.

use std::path::Path;

use super::fingerprint::on;
use super::probe::Found;
use crate::audit::Permit;
use crate::domain::operation::{FingerprintSubject, Plan};
use crate::domain::safe_text::SafeText;
use crate::domain::service::short_id;
use crate::domain::swarm::{SwarmChange, SwarmService, SwarmSpec};
use crate::host::Host;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::{RuntimeError, swarm};

fn failed(error: RuntimeError) -> OpsError {
    OpsError::new(ErrorKind::Failed, error.to_string()).because(error)
}

/// Asks swarm for the change and waits for its end. The manager refuses it where somebody else changed the service
/// between the look and the update.
///
/// # Errors
/// Refused, paused, taken back by swarm itself, or what is to be written is not what was kept.
pub(super) async fn update(
    host: &Host,
    permit: &Permit,
    name: &str,
    change: &SwarmChange,
) -> Result<SafeText, OpsError> {
    let now = swarm::inspect(host, name).await.map_err(failed)?;
    let is_rollback = matches!(change, SwarmChange::Previous { .. });
    let anew = now.spec.forced() + 1;
    let spec = match change {
        SwarmChange::Force => now.spec.with_forced(anew),
        SwarmChange::Image { image } => now.spec.with_image(image).with_forced(anew),
        SwarmChange::Scale { replicas, keep } => {
            let spec = scaled(name, &now.spec, *replicas, *keep)?;
            swarm::update(host, permit, &now, &spec, false)
                .await
                .map_err(failed)?;
            // Swarm calls that no update, and says nothing of its end.
            let counted = swarm::settle_count(host, name, *replicas).await;
            return counted.map_err(failed);
        }
        SwarmChange::Previous { sha256, .. } => {
            let digest = now.previous.as_ref().map(SwarmSpec::digest);
            if digest.as_ref() != Some(sha256) {
                return Err(OpsError::new(
                    ErrorKind::Refused,
                    format!("what swarm would roll {name} back to is another now"),
                )
                .fix("ask for the plan again and look at it"));
            }
            now.spec.clone()
        }
        SwarmChange::Spec {
            source,
            sha256,
            always,
            ..
        } => {
            let kept = read(source, sha256)?;
            if !always && now.spec.makes_the_same(&kept) {
                // Swarm may have been quicker: it takes failed updates back by itself.
                let _ = swarm::settle(host, name, true).await;
                return Ok(SafeText::from_text("it is so already"));
            }
            let count = match always {
                true => anew,
                false => now.spec.forced(),
            };
            kept.with_forced(count)
        }
    };
    swarm::update(host, permit, &now, &spec, is_rollback)
        .await
        .map_err(failed)?;
    swarm::settle(host, name, is_rollback).await.map_err(failed)
}

fn scaled(
    name: &str,
    spec: &SwarmSpec,
    replicas: u64,
    keep: Option<u64>,
) -> Result<SwarmSpec, OpsError> {
    spec.scaled(replicas, keep).ok_or_else(|| {
        let text = format!("{name} has one task on each node: there is no number of them");
        OpsError::new(ErrorKind::Refused, text)
    })
}

/// A specification that was kept.
///
/// # Errors
/// It is gone or was changed.
pub(crate) fn read(source: &Path, sha256: &str) -> Result<SwarmSpec, OpsError> {
    let fail =
        |what: &str| OpsError::new(ErrorKind::Failed, format!("{} {what}", source.display()));
    let bytes = std::fs::read(source).map_err(|error| fail("cannot be read").because(error))?;
    let spec: SwarmSpec =
        serde_json::from_slice(&bytes).map_err(|error| fail("is no JSON").because(error))?;
    match spec.digest() == sha256 {
        true => Ok(spec),
        false => Err(fail("was changed")),
    }
}

/// The specification that a service has, for a way back that wants this one.
///
/// # Errors
/// It has another by now.
pub(super) async fn present(host: &Host, name: &str, sha256: &str) -> Result<Vec<u8>, OpsError> {
    let now = swarm::inspect(host, name).await.map_err(failed)?.spec;
    if now.digest() != sha256 {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!("the plan is stale: {name} was changed since it was made"),
        )
        .fix("ask for the plan again and look at it"));
    }
    Ok(now.to_bytes())
}

/// The change as a command that can be typed. Of a whole specification a command line says only the image.
pub(super) fn describe(name: &str, change: &SwarmChange) -> String {
    let words = |words: &[&str]| shell_words::join(words);
    match change {
        SwarmChange::Force => words(&["docker", "service", "update", "--force", name]),
        SwarmChange::Previous { .. } => words(&["docker", "service", "rollback", name]),
        SwarmChange::Scale { replicas, .. } => {
            format!("docker service scale {name}={replicas}")
        }
        SwarmChange::Image { image } | SwarmChange::Spec { image, .. } => words(&[
            "docker", "service", "update", "--force", "--image", image, name,
        ]),
    }
}

async fn look(ctx: &Context, plan: &Plan, name: &str) -> Result<SwarmService, OpsError> {
    let host = host_of(ctx, &on(&plan.host))?;
    swarm::inspect(host, name).await.map_err(failed)
}

/// Whether the change was made: by the specification that the service had before it, and the one that it has.
///
/// # Errors
/// It could not be looked at.
pub(super) async fn probe(
    ctx: &Context,
    plan: &Plan,
    index: usize,
    name: &str,
    change: &SwarmChange,
) -> Result<Found, OpsError> {
    let now = look(ctx, plan, name).await?;
    let before = plan.steps[index].fingerprints.iter().find_map(|f| {
        matches!(f.subject, FingerprintSubject::Instances { .. }).then_some(f.value.as_str())
    });
    if before == Some(&now.spec.digest()) {
        return Ok(Found::NotDone);
    }
    let is_there = match change {
        // Every such change counts up; what it was before is known by its digest only.
        SwarmChange::Force => now
            .spec
            .forced()
            .checked_sub(1)
            .is_some_and(|count| before == Some(&now.spec.with_forced(count).digest())),
        SwarmChange::Image { image } => now.spec.image() == Some(image),
        SwarmChange::Scale { replicas, keep } => {
            now.spec.scaled(*replicas, *keep).as_ref() == Some(&now.spec)
        }
        SwarmChange::Previous { sha256, .. } => now.spec.digest() == *sha256,
        SwarmChange::Spec { source, sha256, .. } => now.spec.makes_the_same(&read(source, sha256)?),
    };
    if !is_there {
        let text = format!("{name} is {} now", short_id(&now.spec.digest()));
        return Ok(Found::Foreign(SafeText::from_text(&text)));
    }
    let host = host_of(ctx, &on(&plan.host))?;
    let said = match change {
        SwarmChange::Scale { replicas, .. } => swarm::settle_count(host, name, *replicas).await,
        _ => {
            let is_rollback = matches!(change, SwarmChange::Previous { .. });
            swarm::settle(host, name, is_rollback).await
        }
    };
    Ok(Found::Done(
        said.unwrap_or_else(|error| SafeText::from_error(&error)),
    ))
}

/// Whether the way back was gone.
///
/// # Errors
/// It could not be looked at.
pub(super) async fn probe_undo(
    ctx: &Context,
    plan: &Plan,
    name: &str,
    undo: &SwarmChange,
) -> Result<Found, OpsError> {
    let SwarmChange::Spec { source, sha256, .. } = undo else {
        return Ok(Found::NotDone);
    };
    if !source.exists() {
        // It is kept before anything is changed.
        return Ok(Found::Done(SafeText::from_text("it was not changed")));
    }
    let now = look(ctx, plan, name).await?;
    Ok(match now.spec.makes_the_same(&read(source, sha256)?) {
        true => Found::Done(SafeText::from_text("it is what it was")),
        false => Found::NotDone,
    })
}
