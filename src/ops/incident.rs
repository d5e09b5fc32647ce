//! Incidents: the clock, the timeline that writes itself, and the record that stays.
//!
//! Opening, a note and the end are lines of the incident's journal. At its start and its end the newest checkpoint is
//! compared with what runs, and both comparisons are kept: after a rollback the logs of the failing release may be gone.
//! The end also keeps the whole report, so that it says the same a year later, when checkpoints were pruned. What is
//! written here changes no machine.

use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::{Context, ErrorKind, OpsError, checkpoint, compare, secrets, services};
use crate::analysis::redact::Redactor;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::comparison::Comparison;
use crate::domain::digest;
use crate::domain::incident::report::IncidentReport;
use crate::domain::incident::{
    Incident, IncidentEvent, IncidentEventKind, JOURNAL_SCHEMA, Mark, Moment, SeenService, id_of,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service};
use crate::domain::timeline::TimelineEvent;
use crate::domain::verdict::Severity;
use crate::store::incident::{IncidentError, IncidentStore, Listed};
use crate::store::paths::StateDir;

mod bundle;
mod gather;
mod story;

pub use bundle::{Bundled, bundle};

/// A report that others write into meanwhile is made anew so many times.
const TRIES: usize = 5;

/// What to open.
#[derive(Debug, Clone, Default)]
pub struct StartIncident {
    /// What it is about.
    pub title: String,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// When it began; `None` for now.
    pub since: Option<Timestamp>,
    /// The checkpoint to hold everything against; `None` for the newest complete one from before it began.
    pub checkpoint: Option<String>,
    /// Whether another may be open.
    pub another: bool,
}

fn store(ctx: &Context) -> IncidentStore {
    IncidentStore::of(&ctx.state)
}

fn event(ctx: &Context, kind: IncidentEventKind) -> IncidentEvent {
    IncidentEvent {
        at: Timestamp::now(),
        by: SafeText::from_text(&ctx.actor.user),
        kind,
    }
}

/// Opens an incident: the clock runs when this returns. [`observe`] looks at what runs afterwards.
///
/// # Errors
/// Another one is open ([`ErrorKind::Refused`]), no such checkpoint, a time that lies ahead, an empty title.
pub async fn start(ctx: &Context, what: &StartIncident) -> Result<Incident, OpsError> {
    let usage = |text: &str| OpsError::new(ErrorKind::Usage, text);
    if what.title.trim().is_empty() {
        return Err(
            usage("an incident needs a title").fix("lastgood incident start \"checkout fails\"")
        );
    }
    let now = Timestamp::now();
    let started_at = what.since.unwrap_or(now);
    if started_at > now {
        return Err(usage("an incident cannot begin in the future"));
    }
    let baseline = match &what.checkpoint {
        Some(id) => Some(checkpoint::find(ctx, id)?.id),
        None => baseline(ctx, started_at)?,
    };
    let redactor = secrets::redactor(ctx, &[]).await?;
    let title = SafeText::from_text(&redactor.redact(what.title.trim()));
    let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let first = event(
        ctx,
        IncidentEventKind::Started {
            schema: SafeText::from_text(JOURNAL_SCHEMA),
            title: title.clone(),
            severity: what.severity,
            started_at,
            baseline,
        },
    );
    let opened = store(ctx).start(&id_of(&stamp, title.as_str()), &first, what.another)?;
    // What fires already is why it was opened.
    for alert in &super::alerts::read(ctx)?.alerts {
        if alert.state == AlertState::Firing {
            let fires = event(ctx, alerted_kind(alert));
            store(ctx).append(&opened.id, &fires, None)?;
        }
    }
    Ok(opened)
}

/// The newest complete checkpoint from before an instant, else the newest complete one.
fn baseline(ctx: &Context, before: Timestamp) -> Result<Option<String>, OpsError> {
    let complete: Vec<(String, Timestamp)> = checkpoint::list(ctx)?
        .into_iter()
        .filter_map(|c| {
            let manifest = c.manifest.ok().filter(|m| m.complete)?;
            Some((c.id, manifest.created_at))
        })
        .collect();
    let earlier = complete.iter().find(|(_, at)| *at <= before);
    Ok(earlier.or(complete.first()).map(|(id, _)| id.clone()))
}

/// Adds a remark. Its lines are kept, secrets by their shape are taken out before it is written.
///
/// # Errors
/// No incident is open, or several are and none was named; it is over; nothing was said.
pub async fn note(ctx: &Context, id: Option<&str>, text: &str) -> Result<Incident, OpsError> {
    if text.trim().is_empty() {
        return Err(OpsError::new(ErrorKind::Usage, "the note is empty"));
    }
    let store = store(ctx);
    let incident = store.find(id)?;
    let redactor = secrets::redactor(ctx, &[]).await?;
    let text = SafeText::lines(redactor.redact(text.trim_end()).as_ref());
    let kind = IncidentEventKind::Note { text };
    store.append(&incident.id, &event(ctx, kind), None)?;
    Ok(incident)
}

/// Says how bad it is, other than before.
///
/// # Errors
/// As [`note`], but for the text.
pub async fn grade(
    ctx: &Context,
    id: Option<&str>,
    severity: Severity,
    reason: &str,
) -> Result<Incident, OpsError> {
    let reason = SafeText::from_text(&secrets::redactor(ctx, &[]).await?.redact(reason.trim()));
    said(ctx, id, IncidentEventKind::Graded { severity, reason })
}

/// Writes down that a line of a log is marked, or is not any more. Secrets by their shape are taken out.
///
/// # Errors
/// As [`note`], but for the text.
pub async fn mark(ctx: &Context, id: Option<&str>, mark: Mark) -> Result<Incident, OpsError> {
    let redactor = secrets::redactor(ctx, &[]).await?;
    let clean = |text: SafeText| SafeText::from_text(&redactor.redact(text.as_str()));
    let (line, note) = (clean(mark.line), clean(mark.note));
    let mark = Mark { line, note, ..mark };
    said(ctx, id, IncidentEventKind::Marked(mark))
}

/// Gives somebody a role; whoever had it has it no more.
///
/// # Errors
/// As [`note`]; no role or nobody is named.
pub async fn assign(
    ctx: &Context,
    id: Option<&str>,
    role: &str,
    who: &str,
) -> Result<Incident, OpsError> {
    let (role, who) = (role.trim().to_lowercase(), who.trim());
    if role.is_empty() || who.is_empty() {
        let why = "a role needs a name and a person";
        return Err(OpsError::new(ErrorKind::Usage, why).fix("lastgood incident role scribe anna"));
    }
    let redactor = secrets::redactor(ctx, &[]).await?;
    let safe = |text: &str| SafeText::from_text(&redactor.redact(text));
    let (role, who) = (safe(&role), safe(who));
    said(ctx, id, IncidentEventKind::Assigned { role, who })
}

/// Gives the lead to somebody else, with what they have to know.
///
/// # Errors
/// As [`note`]; nobody is named.
pub async fn hand_over(
    ctx: &Context,
    id: Option<&str>,
    who: &str,
    text: &str,
) -> Result<Incident, OpsError> {
    if who.trim().is_empty() || text.trim().is_empty() {
        let why =
            "a handover needs a person and a note: where it stands, what was tried, what is next";
        return Err(OpsError::new(ErrorKind::Usage, why)
            .fix("lastgood incident hand-over boris \"rolled back, watching errors\""));
    }
    let redactor = secrets::redactor(ctx, &[]).await?;
    let who = SafeText::from_text(&redactor.redact(who.trim()));
    let text = SafeText::lines(redactor.redact(text.trim_end()).as_ref());
    said(ctx, id, IncidentEventKind::HandedOver { who, text })
}

/// Appends what somebody said; gives the incident as it is then.
fn said(ctx: &Context, id: Option<&str>, kind: IncidentEventKind) -> Result<Incident, OpsError> {
    let store = store(ctx);
    let mut incident = store.find(id)?;
    let event = event(ctx, kind);
    store.append(&incident.id, &event, None)?;
    incident.take(&event);
    Ok(incident)
}

/// The incident that is open, as far as it is known without a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// The incident.
    pub incident: Incident,
    /// What was written down, the oldest first.
    pub events: Vec<TimelineEvent>,
}

/// The open incident, the newest where several are; `None` where none is.
///
/// # Errors
/// The state folder or the journal cannot be read.
pub fn brief(ctx: &Context) -> Result<Option<Brief>, OpsError> {
    brief_of(&ctx.state)
}

/// [`brief`] of a state folder.
///
/// # Errors
/// As [`brief`].
pub(super) fn brief_of(state: &StateDir) -> Result<Option<Brief>, OpsError> {
    let store = IncidentStore::of(state);
    let mut open = store
        .list()?
        .into_iter()
        .filter_map(|row| row.incident.ok());
    let Some(incident) = open.find(Incident::is_open) else {
        return Ok(None);
    };
    let journal = store.read(&incident.id)?;
    let mut events: Vec<TimelineEvent> = journal.events.iter().filter_map(story::said).collect();
    events.extend(story::alerts(&journal.events));
    events.extend(story::marks(&journal.events));
    events.push(story::opened(&incident));
    events.sort_by_key(|event| event.at);
    Ok(Some(Brief { incident, events }))
}

/// Writes alerts that turned into every incident that is open.
///
/// # Errors
/// The state folder cannot be read or written.
pub(super) fn alerted<'a>(
    ctx: &Context,
    turned: impl Iterator<Item = &'a Alert>,
) -> Result<(), OpsError> {
    let kinds: Vec<IncidentEventKind> = turned.map(alerted_kind).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let store = store(ctx);
    let open = store.list()?.into_iter();
    for incident in open
        .filter_map(|row| row.incident.ok())
        .filter(Incident::is_open)
    {
        for kind in &kinds {
            let by = SafeText::from_text("watch");
            let at = Timestamp::now();
            let kind = kind.clone();
            store.append(&incident.id, &IncidentEvent { at, by, kind }, None)?;
        }
    }
    Ok(())
}

fn alerted_kind(alert: &Alert) -> IncidentEventKind {
    IncidentEventKind::Alerted {
        key: SafeText::from_text(&alert.key),
        service: alert.service.clone(),
        severity: alert.severity,
        is_firing: alert.state == AlertState::Firing,
        since: alert.fired_at.unwrap_or(alert.pending_at),
        text: alert.text.clone(),
    }
}

/// Looks at what runs and compares it with the checkpoint; both are kept in the journal. What could not be had is kept in
/// words: an incident is when things cannot be reached.
///
/// # Errors
/// The journal cannot be written.
pub async fn observe(
    ctx: &Context,
    incident: &Incident,
    moment: Moment,
) -> Result<Option<Comparison>, OpsError> {
    let store = store(ctx);
    let write = |kind| store.append(&incident.id, &event(ctx, kind), None);
    let inventory = services::discover(ctx).await;
    let seen = inventory.services.iter().map(seen).collect();
    write(IncidentEventKind::Looked { services: seen })?;
    for away in &inventory.unreachable {
        let text = format!(
            "{}: {} on {} could not be read: {}",
            moment.words(),
            away.runtime.as_str(),
            away.host,
            away.error
        );
        write(missed(&text))?;
    }
    match compare_with(ctx, incident).await {
        Ok(found) => {
            let json = serde_json::to_vec_pretty(&found).map_err(|error| {
                OpsError::new(ErrorKind::Failed, "cannot write the comparison").because(error)
            })?;
            store.write(&store.comparison(&incident.id, moment), &json)?;
            let sha256 = digest::sha256(&json);
            write(IncidentEventKind::Compared { moment, sha256 })?;
            Ok(Some(found))
        }
        Err(error) => {
            let text = format!(
                "{}: no comparison: {}",
                moment.words(),
                error.to_safe_text()
            );
            write(missed(&text))?;
            Ok(None)
        }
    }
}

fn missed(text: &str) -> IncidentEventKind {
    IncidentEventKind::Missed {
        text: SafeText::from_text(text),
    }
}

fn seen(service: &Service) -> SeenService {
    let instances = service.instances.iter();
    SeenService {
        id: service.id.clone(),
        release: service.release.clone(),
        created_at: instances
            .filter_map(|i| i.created_at.or(i.started_at))
            .min(),
    }
}

async fn compare_with(ctx: &Context, incident: &Incident) -> Result<Comparison, OpsError> {
    let Some(id) = incident.baseline.clone() else {
        return Err(OpsError::new(
            ErrorKind::NotSure,
            "there was no complete checkpoint to compare with",
        ));
    };
    let before = Input::Checkpoint { id, service: None };
    let (progress, _nobody) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    compare::compare(ctx, &before, &Input::Now, None, false, progress, cancel).await
}

/// Ends an incident: looks a last time, keeps the report, stops the clock.
///
/// # Errors
/// As [`note`]; the report cannot be written, and then it is still open.
pub async fn end(ctx: &Context, id: Option<&str>) -> Result<(Incident, IncidentReport), OpsError> {
    let store = store(ctx);
    let incident = store.find(id)?;
    if !incident.is_open() {
        return Err(IncidentError::Over { id: incident.id }.into());
    }
    // The clock stops when somebody says so, not when the last look is over.
    let ended_at = Timestamp::now();
    observe(ctx, &incident, Moment::End).await?;
    let inventory = services::discover(ctx).await;
    let mut tries = 0;
    loop {
        let over = Incident {
            ended_at: Some(ended_at),
            ended_by: Some(SafeText::from_text(&ctx.actor.user)),
            ..incident.clone()
        };
        let report = gather::report(ctx, &over, None, &inventory).await?;
        let json = serde_json::to_vec_pretty(&report).map_err(|error| {
            OpsError::new(ErrorKind::Failed, "cannot write the report").because(error)
        })?;
        store.write(&store.report(&incident.id), &json)?;
        let kind = IncidentEventKind::Ended {
            report_sha256: digest::sha256(&json),
        };
        let last = IncidentEvent {
            at: ended_at,
            ..event(ctx, kind)
        };
        tries += 1;
        match store.append(&incident.id, &last, report.journal.head.as_deref()) {
            Ok(_) => return Ok((over, report)),
            // A note came while the report was made: it belongs into it.
            Err(IncidentError::Moved { .. }) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Every incident, the newest first.
///
/// # Errors
/// The state folder cannot be read.
pub fn list(ctx: &Context) -> Result<Vec<Listed>, OpsError> {
    Ok(store(ctx).list()?)
}

/// The report of an incident: that which its end kept, and of an open one as things stand. Without a name that of the open
/// one, else that of the newest.
///
/// # Errors
/// No such incident, or none at all; its journal cannot be read.
pub async fn report(ctx: &Context, id: Option<&str>) -> Result<IncidentReport, OpsError> {
    let incident = find_any(ctx, id)?;
    let store = store(ctx);
    let mut changed = None;
    if !incident.is_open() {
        let journal = store.read(&incident.id)?;
        let kept = journal.events.last().and_then(|last| match &last.kind {
            IncidentEventKind::Ended { report_sha256 } => Some(report_sha256),
            _ => None,
        });
        let json = std::fs::read(store.report(&incident.id)).unwrap_or_default();
        if kept.is_some_and(|kept| *kept == digest::sha256(&json))
            && let Ok(report) = serde_json::from_slice(&json)
        {
            return Ok(report);
        }
        changed = Some(
            "the report that was kept at the end is missing or was changed since: this one was made anew",
        );
    }
    let inventory = services::discover(ctx).await;
    let now = match incident.is_open() {
        true => Some(compare_with(ctx, &incident).await),
        false => None,
    };
    let known = now.as_ref().and_then(|now| now.as_ref().ok());
    let mut report = gather::report(ctx, &incident, known, &inventory).await?;
    report.unknown.extend(changed.map(SafeText::from_text));
    if let Some(Err(error)) = &now {
        let text = format!("now: no comparison: {}", error.to_safe_text());
        report.unknown.push(SafeText::from_text(&text));
    }
    Ok(report)
}

/// The named incident; without a name the open one, else the newest.
fn find_any(ctx: &Context, id: Option<&str>) -> Result<Incident, OpsError> {
    let store = store(ctx);
    match store.find(id) {
        Err(IncidentError::NoneOpen {
            newest: Some(newest),
        }) => Ok(store.find(Some(&newest))?),
        found => Ok(found?),
    }
}

/// Knows the secrets of what runs and of the incident's checkpoint.
async fn redactor(
    ctx: &Context,
    incident: &Incident,
    inventory: &Inventory,
) -> Result<Redactor, OpsError> {
    let mut saved = Vec::new();
    if let Some(id) = &incident.baseline
        && let Ok(found) = checkpoint::find(ctx, id)
        && let Ok(manifest) = &found.manifest
    {
        let files = manifest.services.iter().flat_map(|s| &s.files);
        saved.extend(files.map(|file| found.path.join(&file.file)));
    }
    secrets::redactor_with(ctx, &inventory.services, &saved).await
}

#[cfg(test)]
#[path = "incident/mark_tests.rs"]
mod mark_tests;
