//! Which release to go back to.

use super::{Target, image_text, swarm};
use crate::domain::checkpoint::{Checkpoint, Manifest, SavedService};
use crate::domain::health::HealthState;
use crate::domain::operation::{FingerprintSubject, RollBackTarget};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::ops::operation::{ABSENT, look_at};
use crate::ops::{Context, ErrorKind, OpsError, code};
use crate::runtime::pm2;
use crate::store::checkpoint::{Checked, verify_files};

/// Finds the target and proves that it is there. The last good one `must_differ` in its release from what runs, unless
/// only files are wanted.
///
/// # Errors
/// [`ErrorKind::No`] with every checkpoint and the reason against it; an image that does not exist.
pub(super) async fn find(
    ctx: &Context,
    service: &Service,
    wish: &RollBackTarget,
    must_differ: bool,
) -> Result<Target, OpsError> {
    match wish {
        RollBackTarget::LastGood => {
            let (checkpoint, saved) = newest_good(ctx, service, must_differ).await?;
            from_checkpoint(ctx, service, checkpoint, saved).await
        }
        RollBackTarget::Checkpoint(id) => {
            let checkpoint = crate::ops::checkpoint::find(ctx, id)?;
            manifest_of(&checkpoint)?;
            let saved = saved_service(&checkpoint, &service.id)?.clone();
            check_sums(&checkpoint).await?;
            from_checkpoint(ctx, service, checkpoint, saved).await
        }
        RollBackTarget::Image(reference) => {
            let identity = image_id(ctx, &service.id, reference).await?;
            if identity == ABSENT {
                return Err(OpsError::new(
                    ErrorKind::No,
                    format!("there is no image {reference} on {}", service.id.host),
                )
                .fix("docker image ls"));
            }
            Ok(Target {
                saved: None,
                text: SafeText::from_text(&format!("image {reference}  {}", image_text(&identity))),
                identity,
                notes: vec![SafeText::from_text(
                    "only the image is changed: configuration files stay as they are",
                )],
                reference: swarm::reference(wish),
                is_elsewhere: false,
                copy: None,
            })
        }
    }
}

async fn image_id(ctx: &Context, id: &ServiceId, reference: &str) -> Result<String, OpsError> {
    let subject = FingerprintSubject::Image {
        host: id.host.clone(),
        reference: reference.to_owned(),
    };
    look_at(ctx, &subject).await
}

async fn from_checkpoint(
    ctx: &Context,
    service: &Service,
    checkpoint: Checkpoint,
    saved: SavedService,
) -> Result<Target, OpsError> {
    let manifest = manifest_of(&checkpoint)?;
    let mut notes = Vec::new();
    match saved.health {
        Some(HealthState::Healthy) => {}
        Some(state) => notes.push(format!("its service was {} then", state.as_str())),
        None => notes.push("its service's health was not known then".to_owned()),
    }
    if !manifest.complete {
        notes.push("the checkpoint is not complete".to_owned());
    }
    let identity = match service.runtime {
        Runtime::Pm2 => saved.pm2.as_ref().map(|saved| saved.app.identity()),
        _ => saved.release.identity().map(str::to_owned),
    };
    let identity = identity.ok_or_else(|| {
        OpsError::new(
            ErrorKind::No,
            format!(
                "checkpoint {} does not know what {} ran",
                checkpoint.id, service.id
            ),
        )
    })?;
    let is_image = matches!(service.runtime, Runtime::Compose | Runtime::Swarm);
    let is_elsewhere = service.runtime == Runtime::Swarm && swarm::is_fetched(&saved);
    let mut copy = None;
    if is_image
        && !is_elsewhere
        && let Err(reason) = image_is_there(ctx, &saved, &identity).await?
    {
        copy = saved
            .image_copy
            .as_ref()
            .map(|copy| checkpoint.path.join(copy));
        if copy.is_none() {
            return Err(OpsError::new(
                ErrorKind::No,
                format!("checkpoint {}: {reason}", checkpoint.id),
            )
            .fix("lastgood checkpoint verify --all"));
        }
        notes.push(format!("{reason}: the checkpoint's copy of it is loaded"));
    }
    if is_same_release(ctx, &saved, service).await? {
        notes.push("the same release runs now: only configuration files change".to_owned());
    }
    let health = saved.health.map_or("health unknown", HealthState::as_str);
    let id = checkpoint.id.as_str();
    // The folder's name holds only the plain letters of the label.
    let label = manifest
        .label
        .as_ref()
        .filter(|label| !id.ends_with(label.as_str()))
        .map_or(String::new(), |label| format!(" ({label})"));
    let text = format!(
        "checkpoint {id}{label}  {}  was {health}",
        if is_image {
            swarm::identity_text(&identity, &service.id, is_elsewhere)
        } else {
            identity.clone()
        }
    );
    Ok(Target {
        text: SafeText::from_text(&text),
        notes: notes.iter().map(|note| SafeText::from_text(note)).collect(),
        identity,
        saved: Some((checkpoint, saved)),
        reference: None,
        is_elsewhere,
        copy,
    })
}

/// Whether the image is there under its id; the reason if not.
async fn image_is_there(
    ctx: &Context,
    saved: &SavedService,
    identity: &str,
) -> Result<Result<(), String>, OpsError> {
    let found = image_id(ctx, &saved.id, identity).await?;
    Ok(if found == identity {
        Ok(())
    } else {
        Err(format!("its image {} is gone", image_text(identity)))
    })
}

/// The newest complete checkpoint whose checksums agree, whose release differs from the running one (unless only
/// files are wanted), and whose service was healthy.
///
/// # Errors
/// [`ErrorKind::No`] with the list and the reasons.
pub(super) async fn newest_good(
    ctx: &Context,
    service: &Service,
    must_differ: bool,
) -> Result<(Checkpoint, SavedService), OpsError> {
    let all = crate::ops::checkpoint::list(ctx)?;
    let mut reasons = String::new();
    for checkpoint in &all {
        match judge(ctx, checkpoint, service, must_differ).await? {
            Ok(saved) => return Ok((checkpoint.clone(), saved)),
            Err(reason) => reasons.push_str(&format!("  {}  {reason}\n", checkpoint.id)),
        }
    }
    let text = if all.is_empty() {
        format!(
            "nothing to roll {} back to: there is no checkpoint",
            service.id
        )
    } else {
        format!("nothing to roll {} back to", service.id)
    };
    Err(OpsError::new(ErrorKind::No, text)
        .lines(&reasons)
        .fix(format!(
            "lastgood roll-back {} --to ID or --to image:REF",
            service.id
        )))
}

/// The service in the checkpoint, or the reason why it is no target.
async fn judge(
    ctx: &Context,
    checkpoint: &Checkpoint,
    service: &Service,
    must_differ: bool,
) -> Result<Result<SavedService, String>, OpsError> {
    let manifest = match &checkpoint.manifest {
        Ok(manifest) => manifest,
        Err(cause) => return Ok(Err(cause.to_string())),
    };
    let Some(saved) = manifest.services.iter().find(|s| s.id == service.id) else {
        return Ok(Err("does not hold the service".to_owned()));
    };
    if let Some(reason) = reason_against(manifest, saved, must_differ) {
        return Ok(Err(reason));
    }
    if must_differ && is_same_release(ctx, saved, service).await? {
        return Ok(Err("the same release as runs now".to_owned()));
    }
    // Reading every byte comes last.
    if let Err(error) = check_sums(checkpoint).await {
        return Ok(Err(error.message));
    }
    if let Some(identity) = saved.release.digest.as_deref()
        && matches!(service.runtime, Runtime::Compose | Runtime::Swarm)
        && !swarm::is_fetched(saved)
        && saved.image_copy.is_none()
        && must_differ
        && let Err(reason) = image_is_there(ctx, saved, identity).await?
    {
        return Ok(Err(reason));
    }
    Ok(Ok(saved.clone()))
}

/// Whether what runs is the release of the checkpoint. Under PM2 other limits and other code at the same path are
/// another one.
async fn is_same_release(
    ctx: &Context,
    saved: &SavedService,
    service: &Service,
) -> Result<bool, OpsError> {
    let (Some(saved), Some(app)) = (&saved.pm2, pm2::app(service)) else {
        return Ok(saved.release.is_same(&service.release));
    };
    Ok(saved.app.identity() == app.identity()
        && code::look(ctx, &service.id, &saved.app).await? == saved.code)
}

/// What speaks against a checkpoint by its manifest alone.
fn reason_against(manifest: &Manifest, saved: &SavedService, must_differ: bool) -> Option<String> {
    if !manifest.complete {
        return Some("not complete".to_owned());
    }
    match saved.health {
        Some(HealthState::Healthy) => {}
        Some(state) => return Some(format!("the service was {}", state.as_str())),
        None => return Some("the service's health was not known".to_owned()),
    }
    if must_differ && saved.release.identity().is_none() {
        return Some("its release is not known".to_owned());
    }
    None
}

/// The manifest of a whole checkpoint.
///
/// # Errors
/// A partial or damaged one.
pub(super) fn manifest_of(checkpoint: &Checkpoint) -> Result<&Manifest, OpsError> {
    checkpoint.manifest.as_ref().map_err(|cause| {
        OpsError::new(
            ErrorKind::No,
            format!("checkpoint {} cannot be used: {cause}", checkpoint.id),
        )
    })
}

/// The service in a checkpoint.
///
/// # Errors
/// It is not in it.
pub(super) fn saved_service<'a>(
    checkpoint: &'a Checkpoint,
    id: &ServiceId,
) -> Result<&'a SavedService, OpsError> {
    let manifest = manifest_of(checkpoint)?;
    manifest
        .services
        .iter()
        .find(|s| s.id == *id)
        .ok_or_else(|| {
            let held: Vec<String> = manifest.services.iter().map(|s| s.id.to_string()).collect();
            OpsError::new(
                ErrorKind::No,
                format!(
                    "checkpoint {} does not hold {id}, but {}",
                    checkpoint.id,
                    held.join(", ")
                ),
            )
        })
}

/// Checks every file of the checkpoint.
///
/// # Errors
/// [`ErrorKind::No`] with what was changed; [`ErrorKind::Failed`] where nothing was, but not all could be read.
pub(crate) async fn check_sums(checkpoint: &Checkpoint) -> Result<(), OpsError> {
    let checked = check_files(checkpoint).await;
    let (kind, why) = match (checked.damage.first(), checked.unread.first()) {
        (Some(why), _) => (ErrorKind::No, format!("its checksums do not agree: {why}")),
        (None, Some(why)) => (ErrorKind::Failed, why.to_string()),
        (None, None) => return Ok(()),
    };
    Err(
        OpsError::new(kind, format!("checkpoint {}: {why}", checkpoint.id))
            .fix(format!("lastgood checkpoint verify {}", checkpoint.id)),
    )
}

/// The same, with everything that was found.
pub(crate) async fn check_files(checkpoint: &Checkpoint) -> Checked {
    let copy = checkpoint.clone();
    let checked = tokio::task::spawn_blocking(move || verify_files(&copy)).await;
    checked.unwrap_or_else(|error| Checked {
        unread: vec![SafeText::from_text(&format!(
            "the files could not be checked: {error}"
        ))],
        ..Checked::default()
    })
}
