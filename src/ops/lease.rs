//! Who changes what just now: the leases of services, here and on the machines behind ssh, and the runs that nobody ended.

mod held;

use std::path::Path;

use futures_util::future;
use serde::Serialize;

use super::resume::{UnreadRun, unfinished};
use super::{Context, ErrorKind, OpsError};
use crate::audit::Permit;
use crate::domain::host::HostName;
use crate::domain::operation::{Operation, Plan, Risk, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::service::Unreachable;
use crate::host::ssh::{Session, Swap};
use crate::host::{Host, HostError};
use crate::ops::operation::{describe, host_by_name};
use crate::runtime::unreachable_host;
use crate::store::journal::{self, JournalEvent};
use crate::store::lease::{self, Seen, Written};

pub(crate) use held::{Hold, Leases};

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
    /// The runs of which nobody knows whether they ended.
    pub unread: Vec<UnreadRun>,
    /// Machines of which it is not known.
    pub unreachable: Vec<Unreachable>,
}

/// Looks at it.
///
/// # Errors
/// The state folder cannot be read.
pub async fn status(ctx: &Context) -> Result<LeaseReport, OpsError> {
    let (all, unreachable) = everywhere(ctx, None).await?;
    let leases = all.into_iter().map(|seen| Held {
        step: seen.holder.run.as_deref().and_then(|run| step_of(ctx, run)),
        seen,
    });
    let runs = unfinished(ctx)?;
    let left = runs.runs.into_iter().map(|left| Left {
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
        unread: runs.unread,
        unreachable,
    })
}

/// The leases of this machine and of those behind ssh, or of one of these only, and which of them did not answer. One that
/// is held from here stands here and there; it is told once.
async fn everywhere(
    ctx: &Context,
    only: Option<&HostName>,
) -> Result<(Vec<Seen>, Vec<Unreachable>), OpsError> {
    let mut all = lease::list(&ctx.state)?;
    let sessions = ctx.hosts.iter().filter_map(|host| match host {
        Host::Ssh(session) if only.is_none_or(|only| session.name() == *only) => Some(session),
        _ => None,
    });
    let looks = sessions.map(|session| async move { (session, there(session).await) });
    let mut unreachable = Vec::new();
    for (session, looked) in future::join_all(looks).await {
        match looked {
            Ok(found) => {
                let new = found.into_iter().filter(|seen| {
                    !all.iter().any(|known| {
                        let (known, seen) = (&known.holder, &seen.holder);
                        (&known.service, known.pid) == (&seen.service, seen.pid)
                    })
                });
                let new: Vec<Seen> = new.collect();
                all.extend(new);
            }
            Err(error) => {
                let mut away = unreachable_host(session.name(), &error);
                if error.fix().is_none() {
                    away.fix = SafeText::from_text(&format!(
                        "look at it in the state folder there (/var/lib/lastgood or ~/.local/state/lastgood): {}",
                        session.line()
                    ));
                }
                unreachable.push(away);
            }
        }
    }
    all.sort_by(|a, b| a.holder.service.cmp(&b.holder.service));
    Ok((all, unreachable))
}

/// Whether a lease still is the one that was looked at.
///
/// # Errors
/// The state folder cannot be read, or the machine that it is of.
pub(crate) async fn is_held(
    ctx: &Context,
    service: &ServiceId,
    fence: u64,
) -> Result<bool, OpsError> {
    let (all, unreachable) = everywhere(ctx, Some(&service.host)).await?;
    match unreachable.first() {
        Some(away) => Err(unknown(&service.to_string(), away)),
        None => Ok(all
            .iter()
            .any(|seen| seen.holder.service == *service && seen.fence == fence)),
    }
}

/// Nobody knows who holds a lease, where its machine does not say.
fn unknown(service: &str, away: &Unreachable) -> OpsError {
    let text = format!(
        "who holds the lease of {service} is not known: the leases on {} could not be read: {}",
        away.host, away.error
    );
    OpsError::new(ErrorKind::Failed, text).fix(away.fix.to_string())
}

/// The leases of a machine behind ssh.
async fn there(session: &Session) -> Result<Vec<Seen>, HostError> {
    let now = held::now_there(session).await?;
    let mut seen = Vec::new();
    for (file, text) in session.leases().await? {
        let written = Written::parse(text.as_bytes()).ok_or_else(|| HostError::File {
            what: "read",
            path: Path::new("leases").join(&file),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, "it is damaged"),
        })?;
        seen.extend(written.holder.map(|holder| Seen {
            // Of a process of that machine only its own lock tells.
            is_alive: holder.machine.is_none() || holder.is_current(now),
            fence: written.fence,
            holder: holder.of(&session.name()),
        }));
    }
    Ok(seen)
}

/// Frees the lease of a service where it stands. Returns the fencing counter from now on.
///
/// # Errors
/// It is not the one that was looked at any more; it cannot be written.
pub(crate) async fn free(
    ctx: &Context,
    permit: &Permit,
    service: &ServiceId,
    fence: u64,
) -> Result<u64, OpsError> {
    let gone = || {
        let text = format!("the lease of {service} was given back, or has another owner now");
        OpsError::new(ErrorKind::Failed, text).fix("lastgood lease status")
    };
    let is_here = lease::list(&ctx.state)?
        .iter()
        .any(|seen| seen.holder.service == *service && seen.fence == fence);
    if is_here {
        return Ok(lease::break_lease(&ctx.state, service, fence)?);
    }
    let Ok(Host::Ssh(session)) = host_by_name(ctx, &service.host) else {
        return Ok(lease::break_lease(&ctx.state, service, fence)?);
    };
    let fail = |error: HostError| {
        let fix = error.fix().map(str::to_owned);
        let text = format!("the lease of {service} cannot be broken");
        let told = OpsError::new(ErrorKind::Failed, text).because(error);
        match fix {
            Some(fix) => told.fix(fix),
            None => told,
        }
    };
    let file = lease::file_name(&ServiceId {
        host: HostName::local(),
        ..service.clone()
    });
    let texts = session.leases().await.map_err(fail)?;
    let found = texts.into_iter().find_map(|(name, text)| {
        let written = Written::parse(text.as_bytes())?;
        let is_it = name == file && written.fence == fence && written.holder.is_some();
        is_it.then_some(text)
    });
    let free = Written {
        fence: fence + 1,
        holder: None,
    };
    let (Some(text), new) = (found, free.to_text()) else {
        return Err(gone());
    };
    match session.swap_lease(permit, &file, &text, &new).await {
        Ok(Swap::Done) => Ok(free.fence),
        Ok(Swap::Changed(_)) => Err(gone()),
        Ok(Swap::Locked(_)) => Err(OpsError::new(
            ErrorKind::Refused,
            format!("a process of {} holds the lease of {service}", service.host),
        )
        .fix("break it there, by `lastgood lease break`")),
        Err(error) => Err(fail(error)),
    }
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
/// Nobody holds it, several services are meant, or a machine that may be meant does not say who holds its leases.
pub async fn breaking(ctx: &Context, name: &str) -> Result<Operation, OpsError> {
    let (all, unreachable) = everywhere(ctx, None).await?;
    let found: Vec<&Seen> = all
        .iter()
        .filter(|seen| seen.holder.service.matches(name))
        .collect();
    match found.as_slice() {
        [one] => Ok(Operation::BreakLease {
            service: one.holder.service.clone(),
            fence: one.fence,
        }),
        [] => {
            let host = name.rsplit_once(':').map(|(host, _)| host);
            let mut away = unreachable.iter();
            let away = away.find(|away| host.is_none_or(|host| away.host.as_str() == host));
            Err(away.map_or_else(
                || {
                    OpsError::new(ErrorKind::No, format!("nobody holds the lease of {name}"))
                        .fix("lastgood lease status")
                },
                |away| unknown(name, away),
            ))
        }
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
/// The lease was given back meanwhile, or its machine does not say whether it was.
pub(super) async fn plan(
    ctx: &Context,
    operation: &Operation,
    service: &ServiceId,
    fence: u64,
) -> Result<Plan, OpsError> {
    let (all, unreachable) = everywhere(ctx, Some(&service.host)).await?;
    let Some(seen) = all
        .iter()
        .find(|seen| seen.holder.service == *service && seen.fence == fence)
    else {
        if let Some(away) = unreachable.first() {
            return Err(unknown(&service.to_string(), away));
        }
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
        "{} of {} since {}",
        holder.reason,
        holder.who(),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ops::Access;
    use crate::store::config::Config;

    #[tokio::test]
    async fn a_lease_of_a_machine_that_is_away_is_not_free() {
        let dir = tempfile::tempdir().unwrap();
        let mut ctx = Context::of_anna(dir.path(), Config::default(), Access::Full);
        ctx.hosts.push(Host::away());
        for name in ["far:shop/api", "shop/api", "api"] {
            let error = breaking(&ctx, name).await.unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind, ErrorKind::Failed, "{text}");
            assert!(text.contains("far cannot be reached"), "{text}");
        }
        let error = breaking(&ctx, "local:shop/api").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::No, "that machine is here");
        let service = ServiceId::parse("far:shop/api").unwrap();
        let operation = Operation::BreakLease {
            service: service.clone(),
            fence: 1,
        };
        let error = plan(&ctx, &operation, &service, 1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed, "{error}");
        assert!(is_held(&ctx, &service, 1).await.is_err());
    }
}
