//! Restart, stop and start of a service of a swarm. Restarted, its tasks are made anew, batch after batch, as its
//! specification says. Swarm starts and stops tasks by itself, by how many are wanted: stopped, a service wants none, and
//! a label of it keeps how many there were, for whoever starts it.

use crate::domain::operation::{ContainerAction, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::swarm::{SwarmChange, SwarmService};
use crate::ops::operation::describe;
use crate::ops::restart::is_as_planned;
use crate::ops::roll_back::swarm::{inspect, limit_ms};
use crate::ops::{Context, ErrorKind, OpsError, checkpoint};

/// The one step, and what to know of it; swarm itself waits between the batches and watches them. None where as many
/// tasks are wanted already as are to be.
///
/// # Errors
/// Only a worker was asked, the manager does not answer, a service with one task on each node is to be stopped or started,
/// or nothing says how many tasks a service had.
pub(super) async fn step(
    ctx: &Context,
    service: &Service,
    action: ContainerAction,
) -> Result<(Option<Step>, Option<SafeText>), OpsError> {
    let now = inspect(ctx, service).await?;
    let (change, note) = match action {
        ContainerAction::Restart => (Some(SwarmChange::Force), None),
        ContainerAction::Stop => stop(service, &now)?,
        ContainerAction::Start => start(ctx, service, &now)?,
    };
    let Some(change) = change else {
        return Ok((None, note));
    };
    let tasks = match &change {
        SwarmChange::Scale { replicas, .. } => (service.instances.len() as u64).max(*replicas),
        _ => service.instances.len() as u64,
    };
    let work = StepWork::UpdateService {
        name: now.name,
        change,
    };
    let step = Step {
        text: SafeText::from_text(&describe(&work)),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: limit_ms(&now.spec, tasks),
        may_fail: false,
    };
    Ok((Some(step), note))
}

type Change = (Option<SwarmChange>, Option<SafeText>);

/// How many tasks are wanted now.
fn wanted(service: &Service, now: &SwarmService) -> Result<u64, OpsError> {
    now.spec.replicas().ok_or_else(|| {
        OpsError::new(
            ErrorKind::Refused,
            format!(
                "{} has one task on each node: swarm neither stops nor starts it",
                service.id
            ),
        )
        .fix(format!(
            "docker service update --constraint-add node.labels.off==1 {}",
            now.name
        ))
    })
}

fn stop(service: &Service, now: &SwarmService) -> Result<Change, OpsError> {
    let replicas = wanted(service, now)?;
    if replicas == 0 {
        return Ok((
            None,
            Some(SafeText::from_text("no task of it is wanted already")),
        ));
    }
    let note = format!(
        "lastgood start {} brings its {replicas} tasks back",
        service.id
    );
    let change = SwarmChange::Scale {
        replicas: 0,
        keep: Some(replicas),
    };
    Ok((Some(change), Some(SafeText::from_text(&note))))
}

fn start(ctx: &Context, service: &Service, now: &SwarmService) -> Result<Change, OpsError> {
    let replicas = wanted(service, now)?;
    if replicas > 0 {
        let note = format!("{replicas} tasks of it are wanted already");
        return Ok((None, Some(SafeText::from_text(&note))));
    }
    let (count, note) = match now.spec.kept_replicas().filter(|count| *count > 0) {
        Some(count) => (count, None),
        None => {
            let (count, checkpoint) = recorded(ctx, service)?.ok_or_else(|| {
                OpsError::new(
                    ErrorKind::No,
                    format!(
                        "nothing says how many tasks {} had: neither its label nor a checkpoint",
                        service.id
                    ),
                )
                .fix(format!("docker service scale {}=1", now.name))
            })?;
            let note = format!(
                "it was not stopped by lastgood: {count} tasks, as in checkpoint {checkpoint}"
            );
            (count, Some(SafeText::from_text(&note)))
        }
    };
    let change = SwarmChange::Scale {
        replicas: count,
        keep: None,
    };
    Ok((Some(change), note))
}

/// How many tasks the newest checkpoint saw that saw any, and its id.
fn recorded(ctx: &Context, service: &Service) -> Result<Option<(u64, String)>, OpsError> {
    let all = checkpoint::list(ctx)?;
    Ok(all.into_iter().find_map(|checkpoint| {
        let manifest = checkpoint.manifest.ok()?;
        let saved = manifest
            .services
            .iter()
            .find(|saved| saved.id == service.id)?;
        let count: u64 = saved.limits.as_ref()?.get("replicas")?.parse().ok()?;
        (count > 0).then_some((count, checkpoint.id))
    }))
}
