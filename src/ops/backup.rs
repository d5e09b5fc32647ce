//! Data backups: made, listed, proved by a restore that is thrown away, and restored.
//!
//! A backup is what its restore test says it is. So what is in a dump is counted while it is written, a test restores it
//! and counts again, and a restore does the same beside what is there before it takes its place by its name: what was
//! there is kept under another.

mod files;
mod job;
mod pack;
mod place;
mod plan;
mod postgres;
mod redis;

use std::time::Duration;

use jiff::{Timestamp, Zoned};

use super::operation::host_by_name;
use super::{Context, ErrorKind, OpsError};
use crate::audit::Permit;
use crate::domain::backup::{BackupAct, BackupKind, BackupSettings, GROUP, Listed};
use crate::domain::host::HostName;
use crate::domain::nearest::nearest;
use crate::domain::operation::StepWork;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::time;
use crate::store::backup as store;

pub(super) use plan::{plan_restore, plan_run, plan_verify};

/// The name of a backup as a service: `backup/main`, on the machine whose data it is where one is asked for.
///
/// # Errors
/// It is not configured; the name of the machine is none.
pub fn resolve(ctx: &Context, name: &str, hosts: &[String]) -> Result<ServiceId, OpsError> {
    let name = name.strip_prefix("backup/").unwrap_or(name);
    settings(ctx, name)?;
    let host = match hosts {
        [only] => HostName::parse(only)
            .map_err(|error| OpsError::new(ErrorKind::Usage, error.to_string()))?,
        _ => HostName::local(),
    };
    Ok(ServiceId {
        host,
        group: GROUP.to_owned(),
        name: name.to_owned(),
    })
}

fn settings<'a>(ctx: &'a Context, name: &str) -> Result<&'a BackupSettings, OpsError> {
    let all = &ctx.config.backups;
    all.get(name).ok_or_else(|| {
        let error = OpsError::new(
            ErrorKind::Usage,
            format!("no [backups.{name}] in the configuration"),
        );
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        match (nearest(name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => error.fix(format!("did you mean {near}?")),
            (None, false) => error.fix(format!("it has {}", names.join(", "))),
            (None, true) => error.fix("assets/config.toml shows one"),
        }
    })
}

fn kind(name: &str, settings: &BackupSettings) -> Result<BackupKind, OpsError> {
    settings.kind.ok_or_else(|| {
        OpsError::new(
            ErrorKind::Usage,
            format!("[backups.{name}] does not say its kind"),
        )
        .fix("kind = \"postgres\", \"redis\" or \"files\"")
    })
}

/// The id of a backup that begins now: the local time, with a number where it is taken.
///
/// # Errors
/// The state folder cannot be read.
pub fn next_id(ctx: &Context, name: &str) -> Result<String, OpsError> {
    let stem = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let all = store::list(&ctx.state, name)?;
    let is_free = |id: &String| all.iter().all(|one| one.id != *id);
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    let mut ids = std::iter::once(stem.clone()).chain(numbered);
    Ok(ids.find(is_free).unwrap_or(stem))
}

/// The backups of a name, or of every name that is configured or has some, the newest of each first.
///
/// # Errors
/// No such name; the state folder cannot be read.
pub fn list(ctx: &Context, name: Option<&str>) -> Result<Vec<Listed>, OpsError> {
    let kept = store::names(&ctx.state)?;
    let names: Vec<String> = match name {
        Some(name) if kept.iter().any(|known| known == name) => vec![name.to_owned()],
        Some(name) => {
            settings(ctx, name)?;
            vec![name.to_owned()]
        }
        None => kept,
    };
    let mut all = Vec::new();
    for name in names {
        all.extend(store::list(&ctx.state, &name)?);
    }
    Ok(all)
}

/// The backup that a restore takes: of that id, or the newest good one at that time or before.
///
/// # Errors
/// There is none: [`ErrorKind::No`] with what there is.
pub fn choose(ctx: &Context, name: &str, at: Option<&str>) -> Result<Listed, OpsError> {
    find(ctx, name, at, true)
}

/// The backup that a test takes: the same, damaged or not, so that damage is told.
///
/// # Errors
/// There is none.
pub fn choose_any(ctx: &Context, name: &str, at: Option<&str>) -> Result<Listed, OpsError> {
    find(ctx, name, at, false)
}

fn find(
    ctx: &Context,
    name: &str,
    at: Option<&str>,
    is_good_only: bool,
) -> Result<Listed, OpsError> {
    let all = store::list(&ctx.state, name)?;
    if let Some(found) = at.and_then(|id| all.iter().find(|one| one.id == id)) {
        return match &found.problem {
            Some(why) if is_good_only => Err(OpsError::new(
                ErrorKind::No,
                format!("the backup {} of {name} is not restored: {why}", found.id),
            )
            .fix(format!("lastgood backup list {name}"))),
            _ => Ok(found.clone()),
        };
    }
    let until = match at {
        None => Timestamp::MAX,
        Some(text) => time::parse(text, &Zoned::now())
            .map_err(|problem| OpsError::new(ErrorKind::Usage, problem))?,
    };
    let fits = |one: &&Listed| {
        let backup = one.backup.as_ref().ok();
        let is_young = backup.is_some_and(|b| b.created_at <= until && !b.before_restore);
        is_young && (one.is_ok() || !is_good_only)
    };
    if let Some(found) = all.iter().find(fits) {
        return Ok(found.clone());
    }
    let lines: Vec<String> = all
        .iter()
        .map(|one| {
            let why = one.problem.clone().unwrap_or_default();
            format!("{}  {why}", one.id)
        })
        .collect();
    let when = at.map_or_else(String::new, |at| format!(" at {at} or before"));
    Err(
        OpsError::new(ErrorKind::No, format!("no good backup of {name}{when}"))
            .lines(&lines.join("\n"))
            .fix(format!("lastgood backup run {name}")),
    )
}

/// Carries out one step of a plan.
///
/// # Errors
/// It did not do what it should, or not in time.
pub(super) async fn act(
    ctx: &Context,
    permit: &Permit,
    machine: &HostName,
    work: &StepWork,
    limit: Duration,
) -> Result<SafeText, OpsError> {
    let StepWork::Backup {
        act,
        name,
        id,
        stamp,
        service,
        container,
    } = work
    else {
        return Err(OpsError::new(ErrorKind::Failed, "not work on a backup"));
    };
    if *act == BackupAct::Remove {
        // It may not be configured any more.
        store::remove(&ctx.state, name, id)?;
        return Ok(SafeText::from_text("it is gone"));
    }
    let place = place::Place {
        host: host_by_name(ctx, machine)?.clone(),
        container: container.clone(),
    };
    let mut job = job::Job::new(
        ctx,
        permit,
        (name, id, stamp),
        service.as_ref(),
        place,
        limit,
    )
    .await?;
    job.run(*act).await
}

/// Whether a step that was begun is done, as far as this machine tells; `None` where nothing does.
///
/// # Errors
/// The state folder cannot be read.
pub(super) fn is_done(
    ctx: &Context,
    act: BackupAct,
    name: &str,
    id: &str,
) -> Result<Option<bool>, OpsError> {
    let is_listed = || -> Result<bool, OpsError> {
        let all = store::list(&ctx.state, name)?;
        Ok(all.iter().any(|one| one.id == id))
    };
    Ok(match act {
        BackupAct::Dump => Some(is_listed()?),
        BackupAct::Remove => Some(!is_listed()?),
        BackupAct::DumpBefore => Some(false),
        act if act.is_proof() => Some(false),
        // Each begins anew, or finds by itself what is done already; and what it may have begun is taken back.
        _ => None,
    })
}
