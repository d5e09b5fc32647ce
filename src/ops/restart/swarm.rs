//! The restart of a service of a swarm: its tasks are made anew, batch after batch, as its specification says.

use crate::domain::operation::{Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::swarm::SwarmChange;
use crate::ops::operation::describe;
use crate::ops::restart::is_as_planned;
use crate::ops::roll_back::swarm::{inspect, limit_ms};
use crate::ops::{Context, OpsError};

/// The one step: swarm itself waits between the batches and watches them.
///
/// # Errors
/// Only a worker was asked, or the manager does not answer.
pub(super) async fn step(ctx: &Context, service: &Service) -> Result<Step, OpsError> {
    let now = inspect(ctx, service).await?;
    let work = StepWork::UpdateService {
        name: now.name,
        change: SwarmChange::Force,
    };
    Ok(Step {
        text: SafeText::from_text(&describe(&work)),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: limit_ms(&now.spec, service.instances.len() as u64),
        may_fail: false,
    })
}
