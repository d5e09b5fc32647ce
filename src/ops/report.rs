//! Reports for people who were not there: Markdown, and one HTML file that needs nothing else. Both front ends print these.
//!
//! What came from outside adds no markup to either. The same facts as JSON are the report itself.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::markdown::{code, plain};
use crate::domain::change::{Change, ChangeKind};
use crate::domain::incident::Moment;
use crate::domain::incident::report::{IncidentAction, IncidentReport, NumberRow};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::verdict::{Decision, Finding};

mod html;

pub use html::to_html;

/// The whole in a few sentences.
pub fn summary(report: &IncidentReport) -> Vec<SafeText> {
    let mut lines = Vec::new();
    let severity = report
        .severity
        .map_or(String::new(), |s| format!("{}: ", s.as_str()));
    lines.push(match report.ended_at {
        Some(_) => format!(
            "{severity}{}; it took {} from the beginning to the end",
            report.title,
            span(report.duration_ms)
        ),
        None => format!(
            "{severity}{}; open for {}",
            report.title,
            span(report.duration_ms)
        ),
    });
    for found in &report.verdicts {
        let severity = found
            .verdict
            .severity
            .map_or(String::new(), |s| format!(" {}", s.as_str()));
        let reason = match (found.verdict.findings.first(), found.verdict.decision) {
            (Some(finding), _) => format!(": {}", finding.text),
            (None, Decision::Inconclusive) => {
                ", data is missing: see what is lost or unknown".to_owned()
            }
            (None, _) => String::new(),
        };
        lines.push(format!(
            "{}: {}{severity}{reason}",
            found.moment.words(),
            found.verdict.decision.words()
        ));
    }
    lines.extend(changed(&report.changes));
    let done = report
        .actions
        .iter()
        .filter(|a| a.operation.as_str() != "checkpoint");
    let words: Vec<String> = done
        .map(|a| format!("{} {}: {}", a.operation, names(&a.services), outcome(a)))
        .collect();
    lines.push(match words.as_slice() {
        [] => "nothing was done about it with lastgood".to_owned(),
        words => format!("done: {}", words.join("; ")),
    });
    if let Some(problem) = &report.audit.problem {
        lines.push(format!(
            "the audit log does not agree with itself: {problem}"
        ));
    }
    lines.iter().map(|line| SafeText::from_text(line)).collect()
}

/// What the deploy changed, the releases first; nothing where nothing is known of it.
fn changed(changes: &[Change]) -> Option<String> {
    let is_release = |change: &&Change| matches!(change.what, ChangeKind::Image | ChangeKind::Git);
    let words: Vec<String> = changes
        .iter()
        .filter(is_release)
        .map(|change| {
            let side = |text: &Option<SafeText>| {
                text.as_ref()
                    .map_or("(none)".to_owned(), SafeText::to_string)
            };
            let (before, after) = (side(&change.before), side(&change.after));
            format!("{} {before} → {after}", change.service)
        })
        .collect();
    let others = changes.len() - words.len();
    let others = match (others, words.len()) {
        (0, 0) => return None,
        (0, _) => String::new(),
        (1, 0) => "one setting".to_owned(),
        (n, 0) => format!("{n} settings"),
        (1, _) => " and one setting".to_owned(),
        (n, _) => format!(" and {n} settings"),
    };
    Some(format!("the deploy changed: {}{others}", words.join("; ")))
}

/// The report as Markdown.
pub fn to_markdown(report: &IncidentReport, zone: &TimeZone) -> Vec<SafeText> {
    let mut lines = vec![
        format!("# Incident: {}", plain(report.title.as_str())),
        String::new(),
    ];
    for (name, value) in facts(report, zone) {
        lines.push(format!("- {name}: {}", plain(&value)));
    }
    lines.extend(["", "## Summary", ""].map(str::to_owned));
    lines.extend(
        report
            .summary
            .iter()
            .map(|line| format!("- {}", plain(line.as_str()))),
    );
    lines.extend(
        [
            "",
            "## Timeline",
            "",
            "| when | what | what happened |",
            "|---|---|---|",
        ]
        .map(str::to_owned),
    );
    for event in &report.timeline {
        lines.push(format!(
            "| {} | {} | {} |",
            clock(event.at, zone),
            event.kind.as_str(),
            plain(event.text.as_str())
        ));
    }
    lines.extend(["", "## Before and after", ""].map(str::to_owned));
    if report.numbers.is_empty() {
        lines.push("Not known: nothing was compared.".to_owned());
    } else {
        lines.push(format!(
            "| | before | at the start | {} |",
            last_column(report)
        ));
        lines.push("|---|---:|---:|---:|".to_owned());
        for row in &report.numbers {
            let [before, start, end] =
                [row.before, row.at_start, row.at_end].map(|v| number(v, row.unit.as_str()));
            lines.push(format!(
                "| {} | {before} | {start} | {end} |",
                plain(&row_name(row))
            ));
        }
    }
    lines.extend(["", "## What the deploy changed", ""].map(str::to_owned));
    if report.changes.is_empty() {
        lines.push("Nothing that is known.".to_owned());
    }
    for change in &report.changes {
        let value = |text: &Option<SafeText>| {
            text.as_ref()
                .map_or("(none)".to_owned(), |t| code(t.as_str()))
        };
        let service = plain(&change.service.to_string());
        lines.push(format!(
            "- {service}, {}: {} → {}",
            change.what.as_str(),
            value(&change.before),
            value(&change.after)
        ));
    }
    lines.extend(["", "## Verdict", ""].map(str::to_owned));
    if report.verdicts.is_empty() {
        lines.push("None: nothing was compared.".to_owned());
    }
    for found in &report.verdicts {
        lines.push(format!(
            "- **{}**, {}: {}",
            found.moment.words(),
            clock(found.at, zone),
            found.verdict.decision.words()
        ));
        for finding in &found.verdict.findings {
            lines.push(format!("  - {}", plain(&finding_line(finding))));
            lines.extend(
                finding
                    .evidence
                    .iter()
                    .map(|line| format!("    - {}", code(line.as_str()))),
            );
        }
    }
    lines.extend(["", "## Actions", ""].map(str::to_owned));
    if report.actions.is_empty() {
        lines.push("None that the audit log knows.".to_owned());
    }
    for action in &report.actions {
        lines.push(format!("- {}", plain(&action_line(action, zone))));
        lines.extend(
            action
                .steps
                .iter()
                .map(|step| format!("  - {}", code(step.as_str()))),
        );
    }
    lines.extend(["", "## Lost or unknown", ""].map(str::to_owned));
    if report.unknown.is_empty() {
        lines.push("Nothing that is known of.".to_owned());
    }
    lines.extend(
        report
            .unknown
            .iter()
            .map(|text| format!("- {}", plain(text.as_str()))),
    );
    lines.extend(["", "## Proof", ""].map(str::to_owned));
    for line in proof(report) {
        lines.push(format!("- {}", plain(&line)));
    }
    lines.iter().map(|line| SafeText::from_text(line)).collect()
}

/// Name and value of what stands at the top.
fn facts(report: &IncidentReport, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let at = |at: Timestamp, by: &SafeText| {
        format!(
            "{} by {by}",
            at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z")
        )
    };
    let mut facts = vec![
        ("incident", report.id.clone()),
        (
            "severity",
            report
                .severity
                .map_or("not said".to_owned(), |s| s.as_str().to_owned()),
        ),
    ];
    if !report.roles.is_empty() {
        let roles = report.roles.iter();
        let roles: Vec<String> = roles.map(|h| format!("{} {}", h.role, h.who)).collect();
        facts.push(("roles", roles.join(", ")));
    }
    facts.push(("began", at(report.started_at, &report.started_by)));
    let took = span(report.duration_ms);
    match (report.ended_at, &report.ended_by) {
        (Some(end), Some(by)) => {
            // Whoever ends it may know better than the last look, but that is not called recovery.
            let mut last = report.verdicts.iter().rev();
            let last = last.find(|found| found.moment == Moment::End);
            let name = match last.map(|found| found.verdict.decision) {
                Some(Decision::Keep) => "time to recovery",
                _ => "time to the end, not proved to be recovered",
            };
            facts.extend([("ended", at(end, by)), (name, took)]);
        }
        _ => facts.push(("open for", took)),
    }
    let baseline = report.baseline.clone();
    facts.push((
        "held against the checkpoint",
        baseline.unwrap_or_else(|| "none".to_owned()),
    ));
    facts
}

fn last_column(report: &IncidentReport) -> &'static str {
    if report.ended_at.is_some() {
        "at the end"
    } else {
        "now"
    }
}

/// What proves that none of it was changed later.
fn proof(report: &IncidentReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, chain) in [
        ("audit log", &report.audit),
        ("journal of the incident", &report.journal),
    ] {
        let head = chain.head.as_deref().unwrap_or("not known");
        lines.push(format!(
            "{name}: {} records, head hash {head}",
            chain.records
        ));
        lines.extend(
            chain
                .problem
                .iter()
                .map(|problem| format!("{name}: {problem}")),
        );
    }
    // An empty log has nothing that could be cut off.
    if let Some(head) = report
        .audit
        .head
        .as_ref()
        .filter(|_| report.audit.records > 0)
    {
        lines.push(format!(
            "lastgood audit verify --anchor {head} tells whether the log still contains it"
        ));
    }
    lines
}

fn names(services: &[ServiceId]) -> String {
    let names: Vec<String> = services.iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn outcome(action: &IncidentAction) -> String {
    match (&action.outcome, action.is_denied) {
        (Some(why), true) => format!("refused: {why}"),
        (Some(outcome), false) => outcome.as_str().replace('_', " "),
        (None, _) => "outcome not known".to_owned(),
    }
}

fn action_line(action: &IncidentAction, zone: &TimeZone) -> String {
    let took = action
        .duration_ms
        .map_or(String::new(), |ms| format!(" in {}", span(ms)));
    format!(
        "{} {} {} {}: {}{took} (audit record {})",
        clock(action.at, zone),
        action.by,
        action.operation,
        names(&action.services),
        outcome(action),
        action.seq
    )
}

fn finding_line(finding: &Finding) -> String {
    let severity = finding.severity.map_or("", |s| s.as_str());
    format!("{severity} {} {}", finding.service, finding.text)
        .trim_start()
        .to_owned()
}

fn row_name(row: &NumberRow) -> String {
    let service = row
        .service
        .as_ref()
        .map_or(String::new(), |id| format!("{id} "));
    format!("{service}{}", row.signal.as_str().replace('_', " "))
}

/// A number with its unit; `?` where it is not known.
fn number(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "?".to_owned(),
        (Some(value), "fraction") => format!("{:.2} %", value * 100.0),
        (Some(value), "count") => format!("{value:.0}"),
        (Some(value), "ms") => format!("{value:.0} ms"),
        (Some(value), "1/s") => format!("{value:.1}/s"),
        (Some(value), unit) => format!("{value:.2} {}", plain(unit)).trim_end().to_owned(),
    }
}

fn clock(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// `48 s`, `7 min 5 s`, `2 h 5 min`.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Whether a decision is drawn as bad.
fn tone(decision: Decision) -> &'static str {
    match decision {
        Decision::Keep => "ok",
        Decision::Watch | Decision::Inconclusive => "warning",
        Decision::RollBack => "critical",
    }
}

#[cfg(test)]
mod tests;
