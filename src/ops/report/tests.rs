//! What the formats must not do: run, link, break out of their place.

use jiff::SignedDuration;

use super::*;
use crate::domain::incident::RoleHolder;
use crate::domain::incident::report::{ChainEnd, TimedVerdict};
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::domain::verdict::{Confidence, Severity, Verdict};

const HOSTILE: &str =
    "</td><script>alert(1)</script><img src=x onerror='a'> | `x` [a](javascript:b) \"q\" &lt;";

fn hostile() -> IncidentReport {
    let at = Timestamp::UNIX_EPOCH;
    let text = SafeText::from_text(HOSTILE);
    let chain = ChainEnd {
        records: 3,
        head: Some("ab".repeat(32)),
        problem: Some(text.clone()),
    };
    let mut report = IncidentReport {
        id: "19700101-000000".into(),
        title: text.clone(),
        severity: Some(Severity::P0),
        roles: vec![RoleHolder {
            role: text.clone(),
            who: text.clone(),
        }],
        started_at: at,
        started_by: text.clone(),
        ended_at: Some(at + SignedDuration::from_secs(425)),
        ended_by: Some(text.clone()),
        made_at: at,
        duration_ms: 425_000,
        baseline: None,
        summary: Vec::new(),
        timeline: vec![TimelineEvent {
            at,
            kind: TimelineKind::Note,
            service: None,
            grade: Grade::Ok,
            text: text.clone(),
        }],
        numbers: vec![NumberRow {
            service: Some(ServiceId::local("shop", "backend")),
            signal: SafeText::from_text("error_rate"),
            unit: SafeText::from_text("fraction"),
            before: Some(0.005),
            at_start: Some(0.25),
            at_end: None,
        }],
        changes: Vec::new(),
        verdicts: vec![TimedVerdict {
            at,
            moment: Moment::Start,
            verdict: Verdict {
                decision: Decision::RollBack,
                severity: Some(Severity::P0),
                confidence: Confidence::High,
                findings: vec![Finding {
                    rule: text.clone(),
                    severity: Some(Severity::P0),
                    service: ServiceId::local("shop", "backend"),
                    route: None,
                    text: text.clone(),
                    before: None,
                    after: None,
                    interval: None,
                    evidence: vec![text.clone()],
                }],
            },
        }],
        actions: Vec::new(),
        unknown: vec![text],
        audit: chain.clone(),
        journal: chain,
    };
    report.summary = summary(&report);
    report
}

#[test]
fn html_stands_alone_and_escapes_everything() {
    let page = to_html(&hostile(), &TimeZone::UTC);
    for word in [
        "<script",
        "<img",
        "onerror='",
        "<link",
        "http://",
        "https://",
        "<a ",
    ] {
        assert!(!page.contains(word), "{word} in {page}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(
        page.contains("&amp;lt;"),
        "what was escaped before is escaped again: {page}"
    );
    assert!(
        page.contains("0.50 %") && page.contains("25.00 %") && page.contains(">?<"),
        "{page}"
    );
    assert!(page.contains("7 min 5 s"));
    assert_eq!(
        page.matches("<table>").count(),
        page.matches("</table>").count()
    );
}

#[test]
fn markdown_stays_a_table_and_a_list() {
    let lines = to_markdown(&hostile(), &TimeZone::UTC);
    let text: Vec<&str> = lines.iter().map(SafeText::as_str).collect();
    let row = text.iter().find(|line| line.starts_with("| 1970")).unwrap();
    let cells = row.replace("\\|", "").matches('|').count();
    assert_eq!(cells, 4, "{row}");
    assert!(
        text.iter()
            .any(|line| line.contains("| 0.50 % | 25.00 % | ? |"))
    );
    // Outside of code, nothing is markup.
    let is_bare = |line: &&&str| {
        line.replace("\\<", "").contains("<script")
            && !line.contains("`` ")
            && !line.contains("``<")
    };
    assert_eq!(text.iter().find(is_bare), None);
    assert!(
        text.iter()
            .any(|line| line.contains("audit verify --anchor abab"))
    );
}

#[test]
fn a_span_is_said_as_exactly_as_it_matters() {
    assert_eq!(
        [999, 59_000, 61_000, 7_500_000].map(span),
        ["999 ms", "59 s", "1 min 1 s", "2 h 5 min"]
    );
}
