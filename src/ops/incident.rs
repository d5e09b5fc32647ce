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
use crate::domain::comparison::Comparison;
use crate::domain::digest;
use crate::domain::incident::report::IncidentReport;
use crate::domain::incident::{
    Incident, IncidentEvent, IncidentEventKind, JOURNAL_SCHEMA, Moment, SeenService, id_of,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service};
use crate::domain::verdict::Severity;
use crate::store::incident::{IncidentError, IncidentStore, Listed};

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
    Ok(store(ctx).start(&id_of(&stamp, title.as_str()), &first, what.another)?)
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
        true => compare_with(ctx, &incident).await.ok(),
        false => None,
    };
    let mut report = gather::report(ctx, &incident, now.as_ref(), &inventory).await?;
    report.unknown.extend(changed.map(SafeText::from_text));
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
