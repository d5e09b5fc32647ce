//! One instance after the other: each is proved before the next is touched, so that a restart that fails costs one.
//!
//! Steps that follow a failed proof are not begun. The instances that were not reached go on as they were.

use super::{PROBES, VERIFY_LIMIT_MS, verify_step};
use crate::domain::operation::{Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::ops::operation;
use crate::ops::{Context, ErrorKind, OpsError};

/// How long an instance must run before the next one's turn, in milliseconds. The proof at the end takes longer.
const BETWEEN_MS: u64 = 2_000;

/// The refusal where there are no instances that are restarted for themselves.
pub(super) fn one_by_one(service: &Service) -> OpsError {
    OpsError::new(
        ErrorKind::Usage,
        format!(
            "{} is run by commands: they restart it whole, not one instance after the other",
            service.id
        ),
    )
    .fix(format!("lastgood restart {}", service.id))
}

/// What it means for this service.
pub(super) fn note(service: &Service, steps: usize) -> SafeText {
    let id = &service.id;
    SafeText::from_text(&match (service.runtime, service.instances.len()) {
        (Runtime::Swarm, _) => {
            format!("swarm itself restarts {id} in batches, as its update configuration says")
        }
        (_, ..=1) => format!("{id} has one instance: it is down while that is restarted"),
        _ => format!(
            "{steps} instances of {id}, one after the other; the first that does not prove itself ends it, and the rest go on as they are"
        ),
    })
}

/// The steps with a proof behind each but the last, which has the whole proof behind it.
pub(super) fn proved(ctx: &Context, service: &Service, own: Vec<Step>) -> Vec<Step> {
    let last = own.len().saturating_sub(1);
    let mut steps = Vec::new();
    for (at, step) in own.into_iter().enumerate() {
        steps.push(step);
        if at < last {
            steps.push(between(ctx, service, at));
        }
    }
    steps
}

fn between(ctx: &Context, service: &Service, at: usize) -> Step {
    let identity = operation::identity(service);
    let mut step = verify_step(ctx, service, identity, Some(BETWEEN_MS));
    if let StepWork::Verify { replaced, .. } = &mut step.work
        && service.runtime == Runtime::Pm2
    {
        let own = service
            .instances
            .get(at)
            .map(|instance| instance.id.clone());
        // What PM2 shows for a process that does not run.
        *replaced = own.into_iter().filter(|id| id != "0").collect();
    }
    step
}

/// How much longer than a plain restart it may take, in milliseconds.
pub(super) fn extra_ms(steps: &[Step], services: usize) -> u64 {
    let proofs = steps
        .iter()
        .filter(|step| matches!(step.work, StepWork::Verify { probes: PROBES, .. }));
    let between = proofs.count().saturating_sub(services);
    VERIFY_LIMIT_MS * between as u64
}
