//! What happened in an incident, as events of its timeline: releases that changed, what people wrote, verdicts, ticks.

use jiff::Timestamp;

use super::gather::Found;
use crate::domain::incident::{Incident, IncidentEvent, IncidentEventKind, Mark, SeenService};
use crate::domain::runbook::ItemState;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Release;
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::domain::verdict::{Decision, Verdict};
use crate::ops::{Context, runbook};

/// What else is known of a long incident's runbooks: only the newest runs are looked at.
const RUNS: usize = 50;

/// Releases that changed between two looks, the checkpoint being the first.
pub(super) fn deploys(before: &[SeenService], events: &[IncidentEvent]) -> Vec<TimelineEvent> {
    let mut known: Vec<SeenService> = before.to_vec();
    let mut found = Vec::new();
    for event in events {
        let IncidentEventKind::Looked { services } = &event.kind else {
            continue;
        };
        for now in services {
            let Some(was) = known.iter_mut().find(|was| was.id == now.id) else {
                continue;
            };
            let is_known = was.release.identity().is_some() && now.release.identity().is_some();
            if is_known && !was.release.is_same(&now.release) {
                let text = format!(
                    "{} runs {} (before: {})",
                    now.id,
                    name_of(&now.release),
                    name_of(&was.release)
                );
                found.push(TimelineEvent {
                    at: now.created_at.unwrap_or(event.at).min(event.at),
                    kind: TimelineKind::Deploy,
                    service: Some(now.id.clone()),
                    grade: Grade::Ok,
                    text: SafeText::from_text(&text),
                });
            }
            was.release = now.release.clone();
        }
    }
    found
}

/// `shop-backend:1.5 (0123456789ab)`: a tag alone can move.
fn name_of(release: &Release) -> String {
    match (&release.image, &release.digest) {
        (Some(_), Some(digest)) => {
            let id = digest.strip_prefix("sha256:").unwrap_or(digest);
            format!("{release} ({})", id.get(..12).unwrap_or(id))
        }
        _ => release.to_string(),
    }
}

/// How bad it was at that moment, other events say: it changes.
fn moment_of(at: Timestamp, grade: Grade, text: &str) -> TimelineEvent {
    TimelineEvent {
        at,
        kind: TimelineKind::Incident,
        service: None,
        grade,
        text: SafeText::from_text(text),
    }
}

pub(super) fn opened(incident: &Incident) -> TimelineEvent {
    let text = format!(
        "incident begins: {}; opened by {}",
        incident.title, incident.started_by
    );
    moment_of(incident.started_at, Grade::Critical, &text)
}

pub(super) fn ended(incident: &Incident, at: Timestamp) -> TimelineEvent {
    let by = incident.ended_by.as_ref().map_or("?", SafeText::as_str);
    moment_of(at, Grade::Ok, &format!("incident ended by {by}"))
}

/// What people wrote, and what a crash cost.
pub(super) fn said(event: &IncidentEvent) -> Option<TimelineEvent> {
    let (kind, grade, text) = match &event.kind {
        IncidentEventKind::Note { text } => {
            let lines: Vec<&str> = text.iter().map(SafeText::as_str).collect();
            (
                TimelineKind::Note,
                Grade::Ok,
                format!("{}: {}", event.by, lines.join(" / ")),
            )
        }
        IncidentEventKind::Graded { severity, reason } => (
            TimelineKind::Incident,
            Grade::Warning,
            format!(
                "{} says {}{}",
                event.by,
                severity.as_str(),
                after_colon(reason.as_str())
            ),
        ),
        IncidentEventKind::Assigned { role, who } => (
            TimelineKind::Incident,
            Grade::Ok,
            format!("{role} is {who} (said by {})", event.by),
        ),
        IncidentEventKind::HandedOver { who, text } => {
            let lines: Vec<&str> = text.iter().map(SafeText::as_str).collect();
            (
                TimelineKind::Note,
                Grade::Warning,
                format!("{} hands over to {who}: {}", event.by, lines.join(" / ")),
            )
        }
        IncidentEventKind::Repaired { lost } => (
            TimelineKind::Note,
            Grade::Warning,
            format!("a crash tore off a line of the journal: {lost}"),
        ),
        _ => return None,
    };
    Some(TimelineEvent {
        at: event.at,
        kind,
        service: None,
        grade,
        text: SafeText::from_text(&text),
    })
}

fn after_colon(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!(": {text}"),
    }
}

/// What the watch saw; what fired already when the incident was opened stands where it began.
pub(super) fn alerts(events: &[IncidentEvent]) -> Vec<TimelineEvent> {
    let told = events.iter().filter_map(|event| match &event.kind {
        IncidentEventKind::Alerted {
            key,
            service,
            severity,
            is_firing,
            since,
            text,
        } => {
            let (at, grade, words) = match is_firing {
                true if severity.pages() => (*since, Grade::Critical, format!("fires: {text}")),
                true => (*since, Grade::Warning, format!("fires: {text}")),
                false => (event.at, Grade::Ok, "is over".to_owned()),
            };
            Some(TimelineEvent {
                at,
                kind: TimelineKind::Alert,
                service: service.clone(),
                grade,
                text: SafeText::from_text(&format!("{severity} {key} {words}")),
            })
        }
        _ => None,
    });
    told.collect()
}

/// Lines of logs that somebody marked, where they stand in time. The newest word on a line holds: what was taken back is
/// in the journal only.
pub(super) fn marks(events: &[IncidentEvent]) -> Vec<TimelineEvent> {
    let marks: Vec<(&IncidentEvent, &Mark)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            IncidentEventKind::Marked(mark) => Some((event, mark)),
            _ => None,
        })
        .collect();
    let is_last = |at: usize| {
        let mut later = marks[at + 1..].iter();
        later.all(|(_, other)| !other.is_of_same_line(marks[at].1))
    };
    let standing = marks.iter().enumerate();
    let standing = standing.filter(|(at, (_, mark))| mark.is_marked && is_last(*at));
    standing
        .map(|(_, (event, mark))| TimelineEvent {
            at: mark.line_at.unwrap_or(event.at),
            kind: TimelineKind::Mark,
            service: mark.service.clone(),
            grade: Grade::Ok,
            text: SafeText::from_text(&format!(
                "{} marks{}: {}",
                event.by,
                match mark.note.is_empty() {
                    true => String::new(),
                    false => format!(" ({})", mark.note),
                },
                mark.line
            )),
        })
        .collect()
}

pub(super) fn judged((moment, at, comparison): &Found) -> TimelineEvent {
    let verdict = &comparison.verdict;
    let grade = match verdict.decision {
        Decision::Keep => Grade::Ok,
        Decision::Watch => Grade::Warning,
        Decision::RollBack => Grade::Critical,
        Decision::Inconclusive => Grade::Unknown,
    };
    TimelineEvent {
        at: *at,
        kind: TimelineKind::Verdict,
        service: None,
        grade,
        text: SafeText::from_text(&format!("{}: {}", moment.words(), sentence(verdict))),
    }
}

/// The verdict and its first reason.
fn sentence(verdict: &Verdict) -> String {
    let severity = verdict
        .severity
        .map_or(String::new(), |s| format!(" {}", s.as_str()));
    let reason = verdict
        .findings
        .first()
        .map_or(String::new(), |f| format!(": {}", f.text));
    format!("{}{severity}{reason}", verdict.decision.words())
}

/// Items of runbooks that somebody, or a probe, decided.
pub(super) fn ticks(ctx: &Context, unknown: &mut Vec<String>) -> Vec<TimelineEvent> {
    let mut found = Vec::new();
    let runs = runbook::runs(ctx).unwrap_or_else(|error| {
        unknown.push(format!("runbooks: {}", error.to_safe_text()));
        Vec::new()
    });
    for summary in runs.iter().take(RUNS) {
        let state = match runbook::status(ctx, Some(&summary.run)) {
            Ok(state) => state,
            Err(error) => {
                unknown.push(format!("runbook {}: {}", summary.run, error.to_safe_text()));
                continue;
            }
        };
        let mut push = |at, grade, text: String| {
            found.push(TimelineEvent {
                at,
                kind: TimelineKind::Runbook,
                service: None,
                grade,
                text: SafeText::from_text(&text),
            });
        };
        let name = &state.runbook.name;
        push(
            state.started_at,
            Grade::Ok,
            format!("{} starts runbook {name}", state.started_by),
        );
        for (item, run) in state.items() {
            let place = format!("{name} {}. {}", item.number, item.text);
            if let (Some(at), Some(by), true) = (run.at, &run.by, run.state != ItemState::Open) {
                let evidence = run
                    .evidence
                    .as_ref()
                    .map_or(String::new(), |e| format!(": {e}"));
                let grade = match run.state {
                    ItemState::Failed => Grade::Critical,
                    ItemState::Skipped => Grade::Warning,
                    _ => Grade::Ok,
                };
                push(
                    at,
                    grade,
                    format!("{place}: {} by {by}{evidence}", run.state.as_str()),
                );
            }
            for comment in &run.comments {
                push(
                    comment.at,
                    Grade::Ok,
                    format!("{place}: {}: {}", comment.by, comment.text),
                );
            }
        }
    }
    found
}
