//! The report as one HTML file: no script, no link, nothing loaded from anywhere, every text escaped.

use jiff::tz::TimeZone;

use super::{action_line, clock, facts, finding_line, last_column, number, proof, row_name, tone};
use crate::domain::incident::report::IncidentReport;
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid #ccc}h3{font-size:1rem;margin:1rem 0 .25rem;font-weight:600}\
ul{margin:.25rem 0;padding-left:1.25rem}code{font-size:.85rem}tr{break-inside:avoid}\
table{border-collapse:collapse;width:100%}td,th{border:1px solid #ccc;padding:.25rem .5rem;text-align:left;vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap}td.t{white-space:nowrap}code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}\
.critical{color:#a40000;font-weight:600}.warning{color:#8a5a00}.ok{color:#0a6b2d}.unknown{color:#555}\
@media print{body{margin:0}}";

/// The report as a page that can be mailed: it stands alone.
pub fn to_html(report: &IncidentReport, zone: &TimeZone) -> String {
    let mut page =
        String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    let title = escape(report.title.as_str());
    page.push_str(&format!(
        "<title>Incident: {title}</title>\n<style>{STYLE}</style></head><body>\n"
    ));
    page.push_str(&format!("<h1>Incident: {title}</h1>\n<table>\n"));
    for (name, value) in facts(report, zone) {
        page.push_str(&format!(
            "<tr><th>{name}</th><td>{}</td></tr>\n",
            escape(&value)
        ));
    }
    page.push_str("</table>\n");
    heading(&mut page, "Summary");
    prose(
        &mut page,
        report.summary.iter().map(|line| line.as_str().to_owned()),
        "",
    );
    heading(&mut page, "Timeline");
    page.push_str("<table>\n<tr><th>when</th><th>what</th><th>what happened</th></tr>\n");
    for event in &report.timeline {
        page.push_str(&format!(
            "<tr><td class=\"t\">{}</td><td>{}</td><td class=\"{}\">{}</td></tr>\n",
            clock(event.at, zone),
            event.kind.as_str(),
            tone_of(event),
            escape(event.text.as_str())
        ));
    }
    page.push_str("</table>\n");
    numbers(&mut page, report);
    heading(&mut page, "What the deploy changed");
    let value = |text: Option<&str>| text.unwrap_or("(none)").to_owned();
    let changes = report.changes.iter().map(|change| {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let (before, after) = (
            value(before.map(AsRef::as_ref)),
            value(after.map(AsRef::as_ref)),
        );
        format!(
            "{}, {}: {before} → {after}",
            change.service,
            change.what.as_str()
        )
    });
    list(&mut page, changes, "Nothing that is known.");
    verdicts(&mut page, report, zone);
    heading(&mut page, "Actions");
    if report.actions.is_empty() {
        page.push_str("<p>None that the audit log knows.</p>\n");
    }
    for action in &report.actions {
        page.push_str(&format!(
            "<h3>{}</h3>\n",
            escape(&action_line(action, zone))
        ));
        list(
            &mut page,
            action.steps.iter().map(|step| step.as_str().to_owned()),
            "",
        );
    }
    heading(&mut page, "Lost or unknown");
    prose(
        &mut page,
        report.unknown.iter().map(|text| text.as_str().to_owned()),
        "Nothing that is known of.",
    );
    heading(&mut page, "Proof");
    prose(&mut page, proof(report).into_iter(), "");
    page.push_str("</body></html>\n");
    page
}

/// What is well is only drawn so where that is news: a verdict, the end.
fn tone_of(event: &TimelineEvent) -> &'static str {
    match (event.grade, event.kind) {
        (Grade::Ok, TimelineKind::Verdict | TimelineKind::Alert) => Grade::Ok.as_str(),
        (Grade::Ok, _) => "plain",
        (grade, _) => grade.as_str(),
    }
}

fn numbers(page: &mut String, report: &IncidentReport) {
    heading(page, "Before and after");
    if report.numbers.is_empty() {
        page.push_str("<p>Not known: nothing was compared.</p>\n");
        return;
    }
    let last = last_column(report);
    page.push_str(&format!("<table>\n<tr><th></th><th class=\"n\">before</th><th class=\"n\">at the start</th><th class=\"n\">{last}</th></tr>\n"));
    for row in &report.numbers {
        page.push_str(&format!("<tr><td>{}</td>", escape(&row_name(row))));
        for value in [row.before, row.at_start, row.at_end] {
            page.push_str(&format!(
                "<td class=\"n\">{}</td>",
                escape(&number(value, row.unit.as_str()))
            ));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

fn verdicts(page: &mut String, report: &IncidentReport, zone: &TimeZone) {
    heading(page, "Verdict");
    if report.verdicts.is_empty() {
        page.push_str("<p>None: nothing was compared.</p>\n");
    }
    for found in &report.verdicts {
        let decision = found.verdict.decision;
        page.push_str(&format!(
            "<p>{}, {}: <span class=\"{}\">{}</span></p>\n",
            found.moment.words(),
            clock(found.at, zone),
            tone(decision),
            decision.words()
        ));
        for finding in &found.verdict.findings {
            page.push_str(&format!("<h3>{}</h3>\n", escape(&finding_line(finding))));
            list(
                page,
                finding.evidence.iter().map(|line| line.as_str().to_owned()),
                "",
            );
        }
    }
}

fn heading(page: &mut String, text: &str) {
    page.push_str(&format!("<h2>{text}</h2>\n"));
}

/// A list of what people say; the sentence where it is empty and there is one.
fn prose(page: &mut String, items: impl Iterator<Item = String>, empty: &str) {
    rows(page, items, empty, ("<li>", "</li>"));
}

/// A list of what programs wrote.
fn list(page: &mut String, items: impl Iterator<Item = String>, empty: &str) {
    rows(page, items, empty, ("<li><code>", "</code></li>"));
}

fn rows(
    page: &mut String,
    items: impl Iterator<Item = String>,
    empty: &str,
    (open, close): (&str, &str),
) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        if !empty.is_empty() {
            page.push_str(&format!("<p>{empty}</p>\n"));
        }
        return;
    }
    page.push_str("<ul>\n");
    for item in items {
        page.push_str(&format!("{open}{}{close}\n", escape(&item)));
    }
    page.push_str("</ul>\n");
}

/// Text that is text wherever it stands, in an attribute too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
