//! Plans and their execution: the one way by which a machine is changed.

mod clock;
mod describe;
mod fingerprint;
pub(crate) mod probe;
mod run;
mod seen;
mod step;
mod swarm;
mod verify;

use tokio::sync::mpsc;

use super::lease::Leases;
use super::{
    Context, ErrorKind, OpsError, backup, policy, preflight, restart, resume, roll_back, switch,
};
use crate::audit::{Intent, Permit};
use crate::domain::host::HostName;
use crate::domain::operation::{Operation, Plan, Risk, Step, StepWork};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId};

pub(crate) use clock::{SERVICE_MS as BUDGET_MS, budget_ms};
pub(crate) use describe::describe;
pub(crate) use fingerprint::{
    ABSENT, check as check_fingerprint, host_by_name, instances, look_at,
};
pub(crate) use run::{has_effect, undo_limit_ms, way_back};
pub(crate) use step::{DOCKER_VARIABLES, container_limit_ms, split_reference};
pub(crate) use swarm::read as read_spec;
pub(crate) use verify::{identity, shown};

/// How long a runbook's command may take.
const COMMAND_LIMIT_MS: u64 = 300_000;

/// The engineer's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The hash of the plan that was shown.
    pub plan_hash: String,
    /// The name that was typed, where the plan asks for one.
    pub typed: Option<String>,
}

/// Asks the host and says exactly what would be done. Changes nothing.
///
/// # Errors
/// Unknown service, nothing to roll back to ([`super::ErrorKind::No`]), unreachable host, unsupported runtime.
pub async fn plan(ctx: &Context, operation: &Operation) -> Result<Plan, OpsError> {
    if let Some(waiting) = policy::waiting_for(ctx, operation)? {
        return Ok(waiting);
    }
    let again = resume::same_again(ctx, operation)?;
    if let Some(Operation::Resume { run, undo, .. }) = &again {
        match resume::examine(ctx, run, *undo).await {
            Ok(course) => {
                policy::let_wait(ctx, &course.plan)?;
                return Ok(course.plan);
            }
            // What changed since is what a new plan is made for.
            Err(error) if error.kind == ErrorKind::Refused => {}
            Err(error) => return Err(error),
        }
    }
    let mut plan = super::hosts::protect(ctx, plan_anew(ctx, operation).await?);
    if operation.is_of_service() && !matches!(operation, Operation::Resume { .. }) {
        let notes = resume::notes_for(ctx, &plan.services)?;
        if !notes.is_empty() {
            plan.notes.splice(0..0, notes);
            plan = plan.seal();
        }
    }
    policy::let_wait(ctx, &plan)?;
    Ok(plan)
}

async fn plan_anew(ctx: &Context, operation: &Operation) -> Result<Plan, OpsError> {
    match operation {
        Operation::Restart { services, .. }
        | Operation::Stop { services }
        | Operation::Start { services } => restart::plan(ctx, operation, services).await,
        Operation::RollBack {
            service,
            to,
            configs_only,
            save_logs,
            downgrade,
        } => {
            let wish = roll_back::Wish {
                to,
                configs_only: *configs_only,
                save_logs: *save_logs,
                downgrade: *downgrade,
            };
            roll_back::plan(ctx, operation, service, &wish).await
        }
        Operation::RestoreConfigs {
            checkpoint,
            service,
        } => roll_back::plan_restore(ctx, operation, checkpoint, service.as_ref()).await,
        Operation::Fix { check, services } => {
            preflight::plan_fix(ctx, operation, check, services).await
        }
        Operation::Prune { keep_last, since } => {
            super::checkpoint::prune::plan(ctx, operation, *keep_last, *since).await
        }
        Operation::BackupRun { backup, id } => backup::plan_run(ctx, operation, backup, id).await,
        Operation::BackupVerify { backup, id } => {
            backup::plan_verify(ctx, operation, backup, id).await
        }
        Operation::BackupRestore { backup, id } => {
            backup::plan_restore(ctx, operation, backup, id).await
        }
        Operation::Switch { service, to, way } => {
            switch::plan(ctx, operation, service, (*to, *way)).await
        }
        Operation::BreakLease { service, fence } => {
            super::lease::plan(ctx, operation, service, *fence).await
        }
        Operation::Resume { run, undo, .. } => Ok(resume::examine(ctx, run, *undo).await?.plan),
        Operation::RunCommand {
            title,
            command,
            host,
        } => Ok(run_command(operation, title, command, host)),
    }
}

fn run_command(operation: &Operation, title: &SafeText, command: &str, host: &HostName) -> Plan {
    let argv = vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()];
    Plan {
        operation: operation.clone(),
        host: host.clone(),
        risk: Risk::Disruptive,
        services: Vec::new(),
        from: None,
        to: None,
        notes: vec![SafeText::from_text(
            "only its exit code is checked; probes of the runbook check more",
        )],
        steps: vec![Step {
            text: title.clone(),
            manual: Some(SafeText::from_text(command)),
            work: StepWork::Command {
                argv,
                cwd: None,
                env: std::collections::BTreeMap::new(),
            },
            undo: None,
            fingerprints: Vec::new(),
            timeout_ms: COMMAND_LIMIT_MS,
            may_fail: false,
        }],
        not_rolled_back: Vec::new(),
        on_failure: None,
        downtime_ms: None,
        budget_ms: COMMAND_LIMIT_MS,
        hash: String::new(),
    }
    .seal()
}

/// Carries out a confirmed plan: lease, audit intent, journal, fingerprints re-checked before each step,
/// compensation, verification, audit outcome. Progress is told as it happens; a slow listener does not slow it.
/// INT, TERM and HUP let the step in flight end, and no other begins.
///
/// # Errors
/// Refused before the first step (read-only, not confirmed, stale plan, lease held): nothing was changed. Once a
/// step has begun the result is an [`Outcome`], whatever happens.
pub async fn execute(
    ctx: &Context,
    plan: &Plan,
    confirmation: &Confirmation,
    progress: mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    check_confirmation(plan, confirmation)?;
    super::hosts::may_change(ctx, &plan.host).map_err(|error| refuse(ctx, plan, error))?;
    if let Err(error) = policy::check(ctx, plan) {
        return Err(refuse(ctx, plan, error));
    }
    // From here on: one that comes while the plan is checked stops it before the first step.
    let interrupts = run::Interrupts::listen();
    let mut leases = match Leases::take(ctx, plan) {
        Ok(leases) => leases,
        Err(error) => return Err(refuse(ctx, plan, error)),
    };
    if let Operation::Resume { run, undo, .. } = &plan.operation {
        return resume_run(ctx, plan, (run, *undo), leases, interrupts, progress).await;
    }
    // A read-only session is refused by the audit log itself, before anything is looked at.
    if ctx.access == super::Access::Full {
        for fingerprint in plan.fingerprints() {
            if let Err(error) = fingerprint::check(ctx, fingerprint).await {
                policy::forget(ctx, plan);
                return Err(refuse(ctx, plan, error));
            }
        }
    }
    let is_abandoned = leases.has_abandoned();
    let permit = ctx.audit().begin(plan, &ctx.actor, ctx.access)?;
    let permit = take_there(ctx, plan, permit, &mut leases).await?;
    policy::forget(ctx, plan);
    if plan.operation.is_of_service() {
        resume::supersede(ctx, &plan.services, permit.run())?;
    }
    leases.name_run(permit.run());
    if is_abandoned {
        resume::settle_ended(ctx, &plan.services, permit.run())?;
    }
    let outcome = run::run(ctx, plan, permit, &mut leases, interrupts, &progress).await;
    drop(leases);
    outcome
}

/// Takes the leases of the machine that is changed too. Where somebody else has one the intent is closed: nothing was done.
async fn take_there(
    ctx: &Context,
    plan: &Plan,
    permit: Permit,
    leases: &mut Leases,
) -> Result<Permit, OpsError> {
    match Box::pin(leases.take_there(ctx, plan, &permit)).await {
        Ok(()) => Ok(permit),
        Err(error) => {
            ctx.audit().finish(permit, OutcomeKind::FailedUnchanged)?;
            Err(refuse(ctx, plan, error))
        }
    }
}

/// Goes on with what another process left, if it still is what the plan was made for.
async fn resume_run(
    ctx: &Context,
    plan: &Plan,
    (run, undo): (&str, bool),
    mut leases: Leases,
    interrupts: run::Interrupts,
    progress: mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    let course = match resume::examine(ctx, run, undo).await {
        Ok(course) if course.plan.hash == plan.hash => course,
        Ok(_) => {
            let error = OpsError::new(
                ErrorKind::Refused,
                format!(
                    "the plan is stale: the run {run} is not where it was when the plan was made"
                ),
            )
            .fix("ask for the plan again and look at it");
            return Err(refuse(ctx, plan, error));
        }
        Err(error) => return Err(refuse(ctx, plan, error)),
    };
    let permit = ctx.audit().resume(run, &ctx.actor, ctx.access)?;
    policy::forget(ctx, plan);
    leases.name_run(run);
    leases.take_there(ctx, plan, &permit).await?;
    let outcome = run::resume(ctx, &course, permit, &mut leases, interrupts, &progress).await;
    drop(leases);
    outcome
}

/// Records a refusal and hands it on; a log that cannot be written does not hide why it was refused.
fn refuse(ctx: &Context, plan: &Plan, error: OpsError) -> OpsError {
    let reason = error.to_safe_text();
    let _ = ctx
        .audit()
        .deny(&Intent::from(plan), &ctx.actor, reason.as_str());
    error
}

fn check_confirmation(plan: &Plan, confirmation: &Confirmation) -> Result<(), OpsError> {
    if !plan.is_sealed() || confirmation.plan_hash != plan.hash {
        return Err(OpsError::new(
            ErrorKind::Refused,
            "the plan is not the one that was confirmed; make it again",
        ));
    }
    let Some(id) = plan.confirmation() else {
        return Ok(());
    };
    let typed = confirmation.typed.as_deref().unwrap_or_default();
    if typed == id.name || typed == id.to_string() {
        return Ok(());
    }
    Err(OpsError::new(
        ErrorKind::Refused,
        format!(
            "not confirmed: a {} plan needs the name {}",
            plan.risk.as_str(),
            id.name
        ),
    )
    .fix(format!("--yes --confirm {}", id.name)))
}

/// The service of an id, and why it cannot be had.
pub(crate) fn find_service<'a>(
    inventory: &'a Inventory,
    id: &ServiceId,
) -> Result<&'a Service, OpsError> {
    match inventory.find(id) {
        Some(service) => Ok(service),
        None => super::services::resolve(inventory, &id.to_string()),
    }
}

/// The refusal of an operation that a runtime does not have yet.
pub(crate) fn unsupported(service: &Service, verb: &str) -> OpsError {
    let (why, fix) = match service.runtime {
        Runtime::Docker => (
            "a lone container has no file that says how it is made",
            format!("docker inspect {}", service.id.name),
        ),
        _ => ("nothing supervises it", "lastgood services".to_owned()),
    };
    OpsError::new(
        ErrorKind::Refused,
        format!(
            "{verb} of {} is not possible: it is a {} service, and {why}",
            service.id,
            service.runtime.as_str()
        ),
    )
    .fix(fix)
}

#[cfg(test)]
mod tests;
