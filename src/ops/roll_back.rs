//! Rollback as a plan: which release to bring back, and the exact steps.
//!
//! Everything that the plan needs is proved to be there while it is made: the image, the saved files and their
//! checksums, the compose files, the tool. Nothing is destroyed in the hope that the rest will be found.

pub(crate) mod compose;
mod files;
mod pm2;
pub(crate) mod swarm;
pub(crate) mod target;

use std::path::{Path, PathBuf};

use jiff::Zoned;

use super::operation::{budget_ms, describe, find_service, unsupported};
use super::restart::{Change, STABLE_MS, exec_step, from_line, is_as_planned, verify_step};
use super::services::{discover, discover_for, discover_on};
use super::{Context, ErrorKind, OpsError, migrations};
use crate::domain::checkpoint::{Checkpoint, SavedService};
use crate::domain::operation::{Operation, Plan, Risk, RollBackTarget, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, short_id};

/// Time for saving the logs of the failing release.
const SAVE_BUDGET_MS: u64 = 15_000;
/// An image of some gigabytes on a slow disk.
const LOAD_LIMIT_MS: u64 = 600_000;

/// What was asked for.
pub(super) struct Wish<'a> {
    /// Which release to bring back.
    pub(super) to: &'a RollBackTarget,
    /// Put back only the configuration files.
    pub(super) configs_only: bool,
    /// Save the failing release's logs first.
    pub(super) save_logs: bool,
    /// Take the schema of its database back too.
    pub(super) downgrade: bool,
}

/// A release to go back to, proved to be there.
struct Target {
    /// The checkpoint and the service in it; `None` for an image that was named.
    saved: Option<(Checkpoint, SavedService)>,
    /// The identity that must run afterwards; an image id for a container.
    identity: String,
    /// For the card.
    text: SafeText,
    /// What to know before saying yes.
    notes: Vec<SafeText>,
    /// The name of the image, where one was named.
    reference: Option<String>,
    /// Whether the image is not on this machine and is fetched from where it came.
    is_elsewhere: bool,
    /// The copy of the image, absolute, where the image itself is gone.
    copy: Option<PathBuf>,
}

/// The service to roll back that a name means: one that was found, or an application that a checkpoint holds and PM2 does
/// not have any more.
///
/// # Errors
/// Unknown or ambiguous, or nobody could look.
pub async fn resolve(
    ctx: &Context,
    name: &str,
    to: &RollBackTarget,
) -> Result<ServiceId, OpsError> {
    let inventory = discover_for(ctx, &[name.to_owned()]).await;
    let error = match super::services::resolve(&inventory, name) {
        Ok(service) => return Ok(service.id.clone()),
        Err(error) => error,
    };
    if inventory.is_ambiguous(name) {
        return Err(error);
    }
    match pm2::absent::find(ctx, &inventory, to, |id| id.matches(name))? {
        Some(absent) => Ok(absent.id),
        None => Err(error),
    }
}

/// The plan for a rollback.
///
/// # Errors
/// Nothing to roll back to ([`ErrorKind::No`] with the list and the reasons), something that is needed is missing,
/// a runtime that cannot do it.
pub(super) async fn plan(
    ctx: &Context,
    operation: &Operation,
    id: &ServiceId,
    wish: &Wish<'_>,
) -> Result<Plan, OpsError> {
    let inventory = discover_on(ctx, &id.host).await;
    let absent = match inventory.find(id) {
        Some(_) => None,
        None => pm2::absent::find(ctx, &inventory, wish.to, |meant| meant == id)?,
    };
    let service = match &absent {
        Some(absent) => absent,
        None => find_service(&inventory, id)?,
    };
    if !matches!(
        service.runtime,
        Runtime::Compose | Runtime::Exec | Runtime::Pm2 | Runtime::Swarm
    ) {
        return Err(unsupported(service, "roll-back"));
    }
    // An ecosystem file takes effect when the application is started anew: its files alone would change nothing.
    if wish.configs_only && service.runtime != Runtime::Pm2 {
        return configs_only(ctx, operation, service, wish).await;
    }
    let target = target::find(ctx, service, wish.to, !wish.configs_only).await?;
    let mut notes = target.notes.clone();
    let mut steps = Vec::new();
    if wish.save_logs && absent.is_none() {
        steps.push(save_logs(ctx, service));
    }
    let saved = target.saved.as_ref().map(|(_, saved)| saved);
    let schema = migrations::plan(ctx, service, saved, wish.downgrade).await?;
    notes.extend(schema.notes);
    let is_downgrade = schema.step.is_some();
    // The newer code knows how to go back from what it made.
    steps.extend(schema.step);
    let failing = service.release.to_string();
    let mut on_failure =
        format!("what was done is taken back, the newest first, and {failing} is started again");
    let mut not_rolled_back = vec!["database schema and data", "volumes", "other services"];
    if is_downgrade {
        not_rolled_back[0] = "data that the newer schema held: it is lost; other data";
    }
    let (mut stable_ms, mut after) = (STABLE_MS, None);
    if service.runtime == Runtime::Pm2 {
        let parts = pm2::parts(ctx, &inventory, service, &target, wish).await?;
        notes.splice(0..0, parts.notes);
        steps.extend(parts.steps);
        not_rolled_back[1] = "files that the application writes";
        (stable_ms, after) = (parts.stable_ms, parts.after);
        on_failure = parts.on_failure;
    } else {
        let put_back = match &target.saved {
            Some((checkpoint, saved)) => files::put_back(ctx, service, checkpoint, saved).await?,
            None => files::PutBack::default(),
        };
        notes.extend(put_back.notes.clone());
        steps.extend(
            target
                .copy
                .as_deref()
                .map(|copy| load(copy, &target.identity)),
        );
        match service.runtime {
            Runtime::Compose => {
                steps.extend(compose::steps(ctx, service, &target, put_back, &mut notes).await?);
            }
            Runtime::Swarm => {
                let parts = Box::pin(swarm::parts(ctx, service, &target)).await?;
                steps.extend(put_back.steps);
                steps.extend(parts.steps);
                notes.extend(parts.notes);
                on_failure = "the service gets the specification back that it has now".to_owned();
            }
            _ => {
                steps.extend(put_back.steps);
                steps.push(run_roll_back(ctx, service, &target)?);
            }
        }
    }
    if is_downgrade {
        on_failure.push_str("; the schema stays where it is by then");
    }
    let wanted = Some(target.identity.clone());
    steps.push(verify_step(ctx, service, wanted, Some(stable_ms)));
    steps.extend(after);
    Ok(Plan {
        operation: operation.clone(),
        host: id.host.clone(),
        risk: match is_downgrade {
            true => Risk::DataLosing,
            false => Risk::Destructive,
        },
        services: vec![id.clone()],
        from: Some(match absent {
            Some(_) => SafeText::from_text("nothing: PM2 does not have it any more"),
            None => from_line(service),
        }),
        to: Some(target.text),
        notes,
        steps,
        not_rolled_back: not_rolled_back
            .into_iter()
            .map(SafeText::from_text)
            .collect(),
        on_failure: Some(SafeText::from_text(&on_failure)),
        downtime_ms: match service.runtime {
            Runtime::Compose => Some(10_000),
            Runtime::Pm2 => Some(5_000),
            _ => None,
        },
        budget_ms: budget_ms([service]),
        hash: String::new(),
    }
    .seal())
}

/// Saving the logs never stops a rollback.
fn save_logs(ctx: &Context, service: &Service) -> Step {
    let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = format!(
        "failed-{stamp}-{}-{}.log.zst",
        service.id.group, service.id.name
    );
    Step {
        text: SafeText::from_text("save the logs of the failing release"),
        work: StepWork::SaveLogs {
            service: service.id.clone(),
            to: ctx.state.runs().join(name),
            budget_ms: SAVE_BUDGET_MS,
        },
        undo: None,
        manual: None,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: SAVE_BUDGET_MS + 5_000,
        may_fail: true,
    }
}

/// An image that was pruned comes back from its copy in the checkpoint, before anything needs it.
fn load(copy: &Path, image: &str) -> Step {
    let work = StepWork::LoadImage {
        source: copy.to_owned(),
        image: image.to_owned(),
    };
    let text = format!("docker load {} from the checkpoint's copy", short_id(image));
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: LOAD_LIMIT_MS,
        may_fail: false,
    }
}

fn run_roll_back(ctx: &Context, service: &Service, target: &Target) -> Result<Step, OpsError> {
    if target.saved.is_none() {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "{} is run by commands: it has no image to go back to",
                service.id
            ),
        ));
    }
    let commands = ctx.config.service(&service.id).exec.unwrap_or_default();
    let mut step = exec_step(service, &commands, &Change::RollBack(&target.identity))?;
    step.undo = match service.release.identity() {
        Some(now) => Some(exec_step(service, &commands, &Change::RollBack(now))?.work),
        None => None,
    };
    Ok(step)
}

async fn configs_only(
    ctx: &Context,
    operation: &Operation,
    service: &Service,
    wish: &Wish<'_>,
) -> Result<Plan, OpsError> {
    let checkpoint = match wish.to {
        RollBackTarget::Checkpoint(id) => super::checkpoint::find(ctx, id)?,
        RollBackTarget::LastGood => target::newest_good(ctx, service, false).await?.0,
        RollBackTarget::Image(_) => {
            return Err(OpsError::new(
                ErrorKind::Usage,
                "an image holds no configuration files: give a checkpoint",
            ));
        }
    };
    restore(ctx, operation, &checkpoint, &[service]).await
}

/// The plan for `checkpoint restore`: files only, nothing is restarted.
///
/// # Errors
/// Unknown or partial checkpoint, changed checksums, a service that no longer exists, nothing differs.
pub(super) async fn plan_restore(
    ctx: &Context,
    operation: &Operation,
    id: &str,
    only: Option<&ServiceId>,
) -> Result<Plan, OpsError> {
    let checkpoint = super::checkpoint::find(ctx, id)?;
    let manifest = target::manifest_of(&checkpoint)?;
    let inventory = discover(ctx).await;
    let mut services = Vec::new();
    for saved in &manifest.services {
        if only.is_none_or(|only| *only == saved.id) && !saved.files.is_empty() {
            services.push(find_service(&inventory, &saved.id)?);
        }
    }
    is_of_one_host(&checkpoint.id, services.iter().map(|s| &s.id))?;
    if let Some(only) = only.filter(|_| services.is_empty()) {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("checkpoint {} holds no files of {only}", checkpoint.id),
        ));
    }
    restore(ctx, operation, &checkpoint, &services).await
}

async fn restore(
    ctx: &Context,
    operation: &Operation,
    checkpoint: &Checkpoint,
    services: &[&Service],
) -> Result<Plan, OpsError> {
    target::manifest_of(checkpoint)?;
    target::check_sums(checkpoint).await?;
    let mut steps: Vec<Step> = Vec::new();
    let mut notes = vec![SafeText::from_text(
        "nothing is restarted: the files take effect when the services are started again",
    )];
    for service in services {
        let saved = target::saved_service(checkpoint, &service.id)?;
        let put_back = files::put_back(ctx, service, checkpoint, saved).await?;
        // Services of one project share files: each is put back once.
        for step in put_back.steps {
            if steps.iter().all(|other| other.work != step.work) {
                steps.push(step);
            }
        }
        for note in put_back.notes {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    if steps.is_empty() {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("every file is as it was in checkpoint {}", checkpoint.id),
        ));
    }
    let host = services
        .first()
        .map_or_else(crate::domain::host::HostName::local, |s| s.id.host.clone());
    Ok(Plan {
        operation: operation.clone(),
        host,
        risk: Risk::Destructive,
        services: services.iter().map(|s| s.id.clone()).collect(),
        from: None,
        to: Some(SafeText::from_text(&format!(
            "checkpoint {}",
            checkpoint.id
        ))),
        notes,
        steps,
        not_rolled_back: vec![SafeText::from_text("what runs")],
        on_failure: Some(SafeText::from_text(
            "the files that were replaced are put back",
        )),
        downtime_ms: Some(0),
        budget_ms: budget_ms(services.iter().copied()),
        hash: String::new(),
    }
    .seal())
}

/// Every step of a plan happens on one machine: a file of another must not end up there.
fn is_of_one_host<'a>(
    checkpoint: &str,
    mut services: impl Iterator<Item = &'a ServiceId>,
) -> Result<(), OpsError> {
    let Some(first) = services.next() else {
        return Ok(());
    };
    match services.find(|id| id.host != first.host) {
        None => Ok(()),
        Some(other) => Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "checkpoint {checkpoint} holds services of several hosts ({first} and {other}): one plan is for one host"
            ),
        )
        .fix(format!("lastgood checkpoint restore {checkpoint} --service {first}"))),
    }
}

/// Where the present content of a file is kept while a plan may need it again.
pub(super) fn kept(ctx: &Context, sha256: &str) -> PathBuf {
    ctx.state.runs().join("kept").join(sha256)
}

/// `sha256:523ac975abcd`.
fn image_text(id: &str) -> String {
    format!("sha256:{}", short_id(id))
}

#[cfg(test)]
mod tests;
