//! Puts together what an incident's report says: from its journal, the audit log, checkpoints and runbooks.

use jiff::Timestamp;

use super::{redactor, store, story};
use crate::analysis::redact::Redactor;
use crate::domain::comparison::{Comparison, SideSummary};
use crate::domain::incident::report::{
    ChainEnd, IncidentAction, IncidentReport, NumberRow, TimedVerdict,
};
use crate::domain::incident::{Incident, IncidentEvent, IncidentEventKind, Moment, SeenService};
use crate::domain::outcome::{AuditPhase, AuditRecord};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, ServiceId};
use crate::ops::{Context, OpsError, audit, checkpoint, report as words, timeline};

/// Builds the report. `now` is the comparison of an open incident as things stand.
///
/// # Errors
/// The journal, the audit log or the checkpoints cannot be read.
pub(super) async fn report(
    ctx: &Context,
    incident: &Incident,
    now: Option<&Comparison>,
    inventory: &Inventory,
) -> Result<IncidentReport, OpsError> {
    let journal = store(ctx).read(&incident.id)?;
    let redactor = redactor(ctx, incident, inventory).await?;
    // The last look takes a while after the clock was stopped, and belongs to it.
    let newest = journal.events.iter().map(|event| event.at).max();
    let made_at = match incident.ended_at {
        Some(ended_at) => newest.map_or(ended_at, |newest| newest.max(ended_at)),
        None => Timestamp::now(),
    };
    let mut unknown = Vec::new();
    let manifest = match &incident.baseline {
        Some(id) => checkpoint::find(ctx, id).and_then(|c| {
            c.manifest
                .map_err(|why| OpsError::new(super::ErrorKind::NotSure, why.to_string()))
        }),
        None => Err(OpsError::new(
            super::ErrorKind::NotSure,
            "there was no complete checkpoint",
        )),
    };
    let mut releases = Vec::new();
    let mut from = incident.started_at;
    match manifest {
        Ok(manifest) => {
            from = from.min(manifest.created_at);
            releases = manifest
                .services
                .iter()
                .map(|s| SeenService {
                    id: s.id.clone(),
                    release: s.release.clone(),
                    created_at: None,
                })
                .collect();
        }
        Err(error) => unknown.push(format!("how it was before: {}", error.to_safe_text())),
    }
    for away in &inventory.unreachable {
        let (runtime, host) = (away.runtime.as_str(), &away.host);
        unknown.push(format!(
            "{runtime} on {host} could not be read for this report: {}; secrets of its services are known by their shape only",
            away.error
        ));
    }
    let found = comparisons(ctx, incident, &journal.events, now, &mut unknown);
    let records = audit::list(ctx)?;
    let mut events = timeline::all(ctx)?;
    events.extend(story::deploys(&releases, &journal.events));
    events.extend(journal.events.iter().filter_map(story::said));
    events.extend(found.iter().map(story::judged));
    events.extend(story::ticks(ctx, &mut unknown));
    events.retain(|event| (from..=made_at).contains(&event.at));
    // What fires when an incident is opened began before it, and so did what people find in the logs.
    events.extend(story::alerts(&journal.events));
    events.extend(story::marks(&journal.events));
    events.push(story::opened(incident));
    events.extend(incident.ended_at.map(|at| story::ended(incident, at)));
    events.sort_by_key(|event| event.at);
    for event in &journal.events {
        if let IncidentEventKind::Missed { text } = &event.kind {
            unknown.push(text.to_string());
        }
    }
    for (moment, _, comparison) in &found {
        let texts = comparison.missing.iter();
        unknown.extend(texts.map(|text| format!("{}: {text}", moment.words())));
    }
    let chain = ctx.audit().verify(None);
    let audit = match &chain {
        Ok(head) => ChainEnd {
            records: head.records,
            head: Some(head.hash.clone()),
            problem: head.torn.clone(),
        },
        Err(error) => ChainEnd {
            records: records.len() as u64,
            head: None,
            problem: Some(SafeText::from_error(error)),
        },
    };
    let actions = actions(&records, from, made_at);
    for action in actions.iter().filter(|a| a.outcome.is_none()) {
        unknown.push(format!(
            "what became of {} ({:.0})",
            action.operation, action.at
        ));
    }
    let took = incident
        .ended_at
        .unwrap_or(made_at)
        .duration_since(incident.started_at);
    let start = found.iter().find(|(moment, ..)| *moment == Moment::Start);
    let mut report = IncidentReport {
        id: incident.id.clone(),
        title: incident.title.clone(),
        severity: incident.severity,
        roles: incident.roles.clone(),
        started_at: incident.started_at,
        started_by: incident.started_by.clone(),
        ended_at: incident.ended_at,
        ended_by: incident.ended_by.clone(),
        made_at,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(0),
        baseline: incident.baseline.clone(),
        summary: Vec::new(),
        timeline: events,
        numbers: numbers(&found),
        changes: start.map(|(_, _, c)| c.changes.clone()).unwrap_or_default(),
        verdicts: found
            .iter()
            .map(|(moment, at, comparison)| TimedVerdict {
                at: *at,
                moment: *moment,
                verdict: comparison.verdict.clone(),
            })
            .collect(),
        actions,
        unknown: unknown
            .iter()
            .map(|text| SafeText::from_text(text))
            .collect(),
        audit,
        journal: ChainEnd {
            records: journal.lines,
            head: Some(journal.head.clone()),
            problem: journal
                .fault
                .map(|fault| SafeText::from_text(&format!("journal.jsonl:{fault}")))
                .or(journal.torn),
        },
    };
    report.unknown.sort();
    report.unknown.dedup();
    report.summary = words::summary(&report);
    clean(&mut report, &redactor);
    Ok(report)
}

/// A comparison, why it was made and when.
pub(super) type Found = (Moment, Timestamp, Comparison);

/// The comparisons that were kept, the newest of each moment, and the one of now.
fn comparisons(
    ctx: &Context,
    incident: &Incident,
    events: &[IncidentEvent],
    now: Option<&Comparison>,
    unknown: &mut Vec<String>,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let store = store(ctx);
    for event in events {
        let IncidentEventKind::Compared { moment, sha256 } = &event.kind else {
            continue;
        };
        let path = store.comparison(&incident.id, *moment);
        let is_newest = !events.iter().any(|other| {
            other.at > event.at
                && matches!(&other.kind, IncidentEventKind::Compared { moment: m, .. } if m == moment)
        });
        let json = std::fs::read(&path).unwrap_or_default();
        let agrees = crate::domain::digest::sha256(&json) == *sha256;
        match serde_json::from_slice(&json) {
            Ok(comparison) if agrees => found.push((*moment, event.at, comparison)),
            _ if is_newest => unknown.push(format!(
                "the comparison {}: {} is missing or was changed",
                moment.words(),
                path.display()
            )),
            _ => {}
        }
    }
    found.extend(now.map(|now| (Moment::Now, Timestamp::now(), now.clone())));
    found
}

/// What was begun or refused in a span, each with its outcome.
fn actions(records: &[AuditRecord], from: Timestamp, until: Timestamp) -> Vec<IncidentAction> {
    let in_span = records.iter().filter(|r| (from..=until).contains(&r.at));
    let begun = in_span.filter(|r| matches!(r.phase, AuditPhase::Intent | AuditPhase::Denied));
    begun
        .map(|record| {
            let is_denied = record.phase == AuditPhase::Denied;
            let end = records.iter().find(|r| {
                r.phase == AuditPhase::Outcome
                    && r.run.is_some()
                    && r.run == record.run
                    && r.at <= until
            });
            IncidentAction {
                seq: record.seq,
                at: record.at,
                by: SafeText::from_text(&record.actor.user),
                operation: SafeText::from_text(&record.operation),
                host: record.host.clone(),
                services: record.services.clone(),
                steps: record.steps.clone(),
                outcome: match is_denied {
                    true => record.outcome.clone(),
                    false => end.and_then(|end| end.outcome.clone()),
                },
                duration_ms: end.and_then(|end| end.duration_ms),
                is_denied,
            }
        })
        .collect()
}

/// The numbers of all services together, then of each service.
fn numbers(found: &[Found]) -> Vec<NumberRow> {
    let Some((_, _, any)) = found.first() else {
        return Vec::new();
    };
    let at = |moment: Moment| {
        found
            .iter()
            .rev()
            .find(|(m, ..)| *m == moment)
            .map(|f| &f.2)
    };
    let (start, end) = (at(Moment::Start), at(Moment::End).or(at(Moment::Now)));
    type Pick = fn(&SideSummary) -> Option<f64>;
    let picks: [(&str, &str, Pick); 5] = [
        ("requests", "count", |s| Some(s.requests as f64)),
        ("errors", "count", |s| Some(s.errors as f64)),
        ("error_rate", "fraction", |s| s.error_rate),
        ("latency_p50", "ms", |s| s.latency_ms.p50),
        ("latency_p95", "ms", |s| s.latency_ms.p95),
    ];
    let mut rows: Vec<NumberRow> = picks
        .iter()
        .map(|(signal, unit, pick)| NumberRow {
            service: None,
            signal: SafeText::from_text(signal),
            unit: SafeText::from_text(unit),
            before: pick(&any.before),
            at_start: start.and_then(|c| pick(&c.after)),
            at_end: end.and_then(|c| pick(&c.after)),
        })
        .collect();
    let all = start.into_iter().chain(end).flat_map(|c| &c.signals);
    let mut known: Vec<(&ServiceId, &str)> = Vec::new();
    for signal in all.filter(|s| s.route.is_none()) {
        let key = (&signal.service, signal.signal.as_str());
        if known.contains(&key) {
            continue;
        }
        known.push(key);
        let of = |side: Option<&Comparison>| {
            let own = side?.signals.iter().find(|s| {
                s.route.is_none() && s.service == signal.service && s.signal == signal.signal
            });
            own.and_then(|s| s.after)
        };
        rows.push(NumberRow {
            service: Some(signal.service.clone()),
            signal: SafeText::from_text(signal.signal.as_str()),
            unit: signal.unit.clone(),
            before: signal.before,
            at_start: of(start),
            at_end: of(end),
        });
    }
    rows
}

/// Takes the secrets out of every text that people or programs wrote.
fn clean(report: &mut IncidentReport, redactor: &Redactor) {
    let one = |text: &mut SafeText| {
        let cleaned = redactor.redact(text.as_str());
        if cleaned != text.as_str() {
            *text = SafeText::from_text(&cleaned);
        }
    };
    one(&mut report.title);
    report
        .roles
        .iter_mut()
        .flat_map(|held| [&mut held.role, &mut held.who])
        .for_each(one);
    report.summary.iter_mut().for_each(one);
    report.unknown.iter_mut().for_each(one);
    report
        .timeline
        .iter_mut()
        .for_each(|event| one(&mut event.text));
    for change in &mut report.changes {
        change
            .before
            .iter_mut()
            .chain(&mut change.after)
            .for_each(one);
    }
    for finding in report
        .verdicts
        .iter_mut()
        .flat_map(|v| &mut v.verdict.findings)
    {
        one(&mut finding.text);
        finding.route.iter_mut().for_each(one);
        finding.evidence.iter_mut().for_each(one);
    }
    for action in &mut report.actions {
        action
            .steps
            .iter_mut()
            .chain(&mut action.outcome)
            .for_each(one);
    }
    report.journal.problem.iter_mut().for_each(one);
}
