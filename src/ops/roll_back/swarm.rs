//! The steps for a service of a swarm: one update to the checkpoint's specification, by swarm's own rollback where that
//! is exactly what it would bring back.
//!
//! What swarm's rollback brings back is one deep, toggles, and is gone after swarm took an update back by itself: it is
//! never trusted to be the checkpoint's.

use super::compose::{tag_failing, tag_target};
use super::{Target, image_text, kept};
use crate::domain::operation::{Fingerprint, FingerprintSubject, RollBackTarget, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::domain::swarm::{SwarmChange, SwarmService, SwarmSpec};
use crate::ops::operation::{describe, read_spec};
use crate::ops::restart::is_as_planned;
use crate::ops::services::{failed, host_of};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::swarm;

/// Starting a task, in milliseconds: an image may have to be fetched.
const START_MS: u64 = 60_000;
/// The same for each further task.
const TASK_MS: u64 = 10_000;

/// The steps between saving the logs and the proof.
pub(super) struct Parts {
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<SafeText>,
}

/// The service as its manager has it.
///
/// # Errors
/// Only a worker was asked, or the manager does not answer.
pub(crate) async fn inspect(ctx: &Context, service: &Service) -> Result<SwarmService, OpsError> {
    let name = swarm::full_name(service).filter(|_| swarm::spec_digest(service).is_some());
    let name = name.ok_or_else(|| {
        OpsError::new(
            ErrorKind::Refused,
            format!(
                "{} cannot be changed from here: this node works in a swarm and manages none",
                service.id
            ),
        )
        .fix("lastgood --host MANAGER, or DOCKER_HOST of a manager")
    })?;
    swarm::inspect(host_of(ctx, &service.id)?, name)
        .await
        .map_err(|error| failed(format!("cannot look at {}", service.id), error))
}

/// How long an update may take, in milliseconds.
pub(crate) fn limit_ms(spec: &SwarmSpec, tasks: u64) -> u64 {
    let swarm = u64::try_from(spec.update_time(tasks).as_millis()).unwrap_or(u64::MAX);
    swarm
        .saturating_add(START_MS)
        .saturating_add(TASK_MS.saturating_mul(tasks))
}

/// Makes the steps.
///
/// # Errors
/// Its specification is not in the checkpoint, or its image's name means another image on nodes that cannot be reached
/// from here.
pub(super) async fn parts(
    ctx: &Context,
    service: &Service,
    target: &Target,
) -> Result<Parts, OpsError> {
    let now = inspect(ctx, service).await?;
    let present = now.spec.image().unwrap_or_default().to_owned();
    let wanted = wanted(service, target, &now.spec)?;
    let reference = wanted.image().unwrap_or_default().to_owned();
    let mut notes = differences(&now.spec, &wanted);
    let mut steps = Vec::new();
    let mut is_moved = false;
    if !reference.contains('@') {
        let host = host_of(ctx, &service.id)?;
        if let Some(tag) = tag_target(ctx, host, service, target, &reference).await? {
            is_on_one_node(service, &reference)?;
            if let Some(running) = service.release.digest.as_deref()
                && running != target.identity
            {
                steps.push(tag_failing(host, service, running, &reference));
            }
            steps.push(tag);
            is_moved = true;
        }
    }
    let change = change(&now, &wanted, target, is_moved)?;
    notes.push(SafeText::from_text(match &change {
        SwarmChange::Previous { .. } => {
            "swarm's own rollback brings back exactly this specification, so it is used"
        }
        _ => "an update to this specification: swarm's own rollback would bring back another",
    }));
    let work = StepWork::UpdateService {
        name: now.name.clone(),
        change,
    };
    let before = now.spec.digest();
    let mut fingerprints = vec![is_as_planned(service)];
    if target.copy.is_none() && !target.is_elsewhere {
        fingerprints.push(Fingerprint {
            subject: FingerprintSubject::Image {
                host: service.id.host.clone(),
                reference: if is_moved {
                    target.identity.clone()
                } else {
                    reference
                },
            },
            value: target.identity.clone(),
        });
    }
    let limit = limit_ms(&wanted, tasks(service, &wanted));
    steps.push(Step {
        text: SafeText::from_text(&describe(&work)),
        manual: Some(SafeText::from_text(&describe(&work))),
        undo: Some(StepWork::UpdateService {
            name: now.name,
            change: SwarmChange::Spec {
                source: kept(ctx, &before),
                sha256: before,
                image: present,
                always: is_moved,
            },
        }),
        work,
        fingerprints,
        timeout_ms: limit,
        may_fail: false,
    });
    Ok(Parts { steps, notes })
}

/// How many tasks are replaced: those that are wanted then, or run now.
fn tasks(service: &Service, wanted: &SwarmSpec) -> u64 {
    let now = service.instances.len() as u64;
    wanted.replicas().unwrap_or(now).max(now)
}

/// The specification to go to.
fn wanted(service: &Service, target: &Target, now: &SwarmSpec) -> Result<SwarmSpec, OpsError> {
    let Some((checkpoint, saved)) = &target.saved else {
        return Ok(now.with_image(target.reference.as_deref().unwrap_or(&target.identity)));
    };
    let saved = saved.swarm.as_ref().ok_or_else(|| {
        OpsError::new(
            ErrorKind::No,
            format!(
                "checkpoint {} does not know how the swarm made {}: it was made where only a worker was asked",
                checkpoint.id, service.id
            ),
        )
        .fix(format!("lastgood roll-back {} --to image:REF", service.id))
    })?;
    read_spec(&checkpoint.path.join(&saved.spec), &saved.sha256)
}

fn change(
    now: &SwarmService,
    wanted: &SwarmSpec,
    target: &Target,
    is_moved: bool,
) -> Result<SwarmChange, OpsError> {
    let image = wanted.image().unwrap_or_default().to_owned();
    let Some((checkpoint, saved)) = &target.saved else {
        return Ok(SwarmChange::Image { image });
    };
    let previous = now.previous.as_ref().filter(|previous| {
        !is_moved && previous.makes_the_same(wanted) && !now.spec.makes_the_same(wanted)
    });
    Ok(match (previous, &saved.swarm) {
        (Some(previous), _) => SwarmChange::Previous {
            sha256: previous.digest(),
            image,
        },
        (None, Some(kept)) => SwarmChange::Spec {
            source: checkpoint.path.join(&kept.spec),
            sha256: kept.sha256.clone(),
            image,
            always: is_moved,
        },
        (None, None) => {
            return Err(OpsError::new(
                ErrorKind::No,
                format!("checkpoint {} holds no specification", checkpoint.id),
            ));
        }
    })
}

/// A name without a digest is looked up by every node for itself; here it can be moved on this node only.
fn is_on_one_node(service: &Service, reference: &str) -> Result<(), OpsError> {
    let elsewhere = service
        .instances
        .iter()
        .find(|i| i.name.as_str().contains('@'));
    match elsewhere {
        None => Ok(()),
        Some(task) => Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "{reference} means another image now, and {} runs on a node where it cannot be given its old meaning from here",
                task.name
            ),
        )
        .fix(format!(
            "on each node: docker tag OLD_IMAGE {reference}; then docker service update --force {}",
            swarm::full_name(service).unwrap_or(&service.id.name)
        ))),
    }
}

/// What else than the image comes back, in words.
fn differences(now: &SwarmSpec, wanted: &SwarmSpec) -> Vec<SafeText> {
    let (before, after) = (now.limits(), wanted.limits());
    let mut notes = Vec::new();
    for name in before
        .keys()
        .chain(after.keys().filter(|n| !before.contains_key(*n)))
    {
        let told = |limits: &crate::domain::service::RuntimeLimits| {
            limits
                .get(name)
                .cloned()
                .unwrap_or_else(|| "none".to_owned())
        };
        if before.get(name) != after.get(name) {
            notes.push(format!("{name}: {} → {}", told(&before), told(&after)));
        }
    }
    let mut environments = [now.environment(), wanted.environment()];
    environments
        .iter_mut()
        .for_each(|lines| lines.sort_unstable());
    if environments[0] != environments[1] {
        notes.push("its variables become those of the checkpoint".to_owned());
    }
    if now.settings() != wanted.settings() {
        notes.push("its other settings become those of the checkpoint".to_owned());
    }
    notes.iter().map(|note| SafeText::from_text(note)).collect()
}

/// Whether an image that is not on this node can still be had: the nodes fetch it by its digest.
pub(super) fn is_fetched(saved: &crate::domain::checkpoint::SavedService) -> bool {
    let image = saved.swarm.as_ref().map(|swarm| swarm.image.as_str());
    let digest = image.and_then(|image| Some(image.split_once('@')?.1));
    digest.is_some() && digest == saved.release.digest.as_deref()
}

/// The name by which an image that was asked for is given to a swarm.
pub(super) fn reference(wish: &RollBackTarget) -> Option<String> {
    match wish {
        RollBackTarget::Image(reference) => Some(reference.clone()),
        _ => None,
    }
}

/// For the card.
pub(super) fn identity_text(identity: &str, id: &ServiceId, is_elsewhere: bool) -> String {
    match is_elsewhere {
        true => format!(
            "{} (not on {}: fetched by its digest)",
            image_text(identity),
            id.host
        ),
        false => image_text(identity),
    }
}
