//! Who changes what just now: the leases of services, and the runs that nobody ended.

use serde::Serialize;

use super::resume::unfinished;
use super::{Context, ErrorKind, OpsError};
use crate::domain::host::HostName;
use crate::domain::operation::{Operation, Plan, Risk, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::ops::operation::describe;
use crate::store::journal::{self, JournalEvent};
use crate::store::lease::{self, Seen};

/// A step that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AtStep {
    /// Its number, from 1.
    pub number: usize,
    /// Of how many.
    pub of: usize,
    /// What it does.
    pub text: SafeText,
}

/// A lease that is held.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// Who has it, for what, since when.
    #[serde(flatten)]
    pub seen: Seen,
    /// The step; `None` before the first.
    pub step: Option<AtStep>,
}

/// A run that did not end.
#[derive(Debug, Clone, Serialize)]
pub struct Left {
    /// Its name.
    pub run: String,
    /// The verb.
    pub operation: &'static str,
    /// The services.
    pub services: Vec<ServiceId>,
    /// When it was begun.
    pub at: jiff::Timestamp,
    /// What it is about, in words.
    pub title: SafeText,
    /// How far it got, in words.
    pub progress: SafeText,
}

/// What is under way, and what was left.
#[derive(Debug, Clone, Serialize)]
pub struct LeaseReport {
    /// The leases that a living process holds, or that a dead one left.
    pub leases: Vec<Held>,
    /// The runs that a dead process left.
    pub unfinished: Vec<Left>,
}

/// Looks at it.
///
/// # Errors
/// The state folder cannot be read.
pub fn status(ctx: &Context) -> Result<LeaseReport, OpsError> {
    let leases = lease::list(&ctx.state)?.into_iter().map(|seen| Held {
        step: seen.holder.run.as_deref().and_then(|run| step_of(ctx, run)),
        seen,
    });
    let left = unfinished(ctx)?.into_iter().map(|left| Left {
        title: left.title(),
        progress: left.progress(),
        operation: left.plan.operation.verb(),
        services: left.plan.services,
        at: left.at,
        run: left.run,
    });
    Ok(LeaseReport {
        leases: leases.collect(),
        unfinished: left.collect(),
    })
}

/// The step that a run is at, as its journal says.
fn step_of(ctx: &Context, run: &str) -> Option<AtStep> {
    let entries = journal::read(&ctx.state.runs().join(run).join("journal.jsonl")).ok()?;
    let of = entries.iter().find_map(|entry| match &entry.event {
        JournalEvent::Intent { plan, .. } => Some(plan.steps.len()),
        _ => None,
    })?;
    entries.iter().rev().find_map(|entry| match &entry.event {
        JournalEvent::Begin { step, text, .. } => Some(AtStep {
            number: step + 1,
            of,
            text: text.clone(),
        }),
        _ => None,
    })
}

/// What breaks the lease of a service, named as services are.
///
/// # Errors
/// Nobody holds it, or several services are meant.
pub fn breaking(ctx: &Context, name: &str) -> Result<Operation, OpsError> {
    let all = lease::list(&ctx.state)?;
    let found: Vec<&Seen> = all
        .iter()
        .filter(|seen| seen.holder.service.matches(name))
        .collect();
    match found.as_slice() {
        [one] => Ok(Operation::BreakLease {
            service: one.holder.service.clone(),
            fence: one.fence,
        }),
        [] => Err(
            OpsError::new(ErrorKind::No, format!("nobody holds the lease of {name}"))
                .fix("lastgood lease status"),
        ),
        many => {
            let names: Vec<String> = many
                .iter()
                .map(|seen| seen.holder.service.to_string())
                .collect();
            Err(OpsError::new(
                ErrorKind::Usage,
                format!("{name:?} means several services: {}", names.join(", ")),
            ))
        }
    }
}

/// The plan for it.
///
/// # Errors
/// The lease was given back meanwhile.
pub(super) fn plan(
    ctx: &Context,
    operation: &Operation,
    service: &ServiceId,
    fence: u64,
) -> Result<Plan, OpsError> {
    let all = lease::list(&ctx.state)?;
    let Some(seen) = all
        .iter()
        .find(|seen| seen.holder.service == *service && seen.fence == fence)
    else {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("the lease of {service} was given back meanwhile"),
        )
        .fix("lastgood lease status"));
    };
    let holder = &seen.holder;
    let mut notes = vec![
        "its owner stops before the next step; the step that runs now is not stopped".to_owned(),
    ];
    if !seen.is_alive {
        notes.push("its process is gone: the next operation takes it over without this".to_owned());
    }
    let work = StepWork::BreakLease {
        service: service.clone(),
        fence,
    };
    let from = format!(
        "{} of {} (process {}) since {}",
        holder.reason,
        holder.actor.user,
        holder.pid,
        holder.since.strftime("%Y-%m-%d %H:%M:%S UTC")
    );
    Ok(Plan {
        operation: operation.clone(),
        host: HostName::local(),
        risk: Risk::Destructive,
        services: vec![service.clone()],
        from: Some(SafeText::from_text(&from)),
        to: Some(SafeText::from_text("nobody")),
        notes: notes.iter().map(|note| SafeText::from_text(note)).collect(),
        steps: vec![Step {
            text: SafeText::from_text(&format!("break the lease of {service}")),
            manual: Some(SafeText::from_text(&describe(&work))),
            work,
            undo: None,
            fingerprints: Vec::new(),
            timeout_ms: 10_000,
            may_fail: false,
        }],
        not_rolled_back: vec![SafeText::from_text("what its owner did so far")],
        on_failure: None,
        downtime_ms: Some(0),
        budget_ms: 10_000,
        hash: String::new(),
    }
    .seal())
}
