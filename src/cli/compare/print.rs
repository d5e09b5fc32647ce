//! The comparison for a person at 3 a.m.: the verdict first, then why, then the numbers, then the patterns.

use super::super::errors::{level_word, print_missing};
use super::super::output::{Output, Paint, Stop};
use super::super::slow::duration;
use crate::analysis::format::signal_value;
use crate::analysis::judge::percent;
use crate::domain::comparison::{Comparison, PatternChange, PatternRow, SideSummary, SignalChange};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::{Grade, SignalName};
use crate::domain::verdict::{Confidence, Decision, Finding, Severity, Verdict};

/// Pattern rows that are printed; the rest is counted.
const MAX_ROWS: usize = 40;

/// Prints the comparison.
pub(super) fn print(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    print_head(found, out)?;
    print_numbers(found, out)?;
    print_changes(found, out)?;
    print_patterns(found, out)
}

/// The verdict with its reasons and what is missing.
pub(in crate::cli) fn print_head(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    out.line(verdict_line(&found.verdict, out))?;
    for finding in &found.verdict.findings {
        print_finding(finding, found.services.len() > 1, out)?;
    }
    if found.verdict.findings.is_empty() {
        out.line(match found.verdict.decision {
            Decision::Inconclusive => "  nothing was found, and too little was read to decide",
            _ => "  nothing speaks against this deploy in what was read",
        })?;
    }
    print_missing(&found.missing, out)?;
    for wanted in found.wanted() {
        out.line(format_args!("  still missing: {wanted}"))?;
    }
    if found.services.len() > 1 {
        out.line("")?;
        for service in &found.services {
            let line = verdict_line(&service.verdict, out);
            out.line(format_args!("  {line}  {}", service.id))?;
        }
    }
    Ok(())
}

/// The decision with its severity and confidence: `✖ ROLL BACK  P0  (high confidence)`.
pub(in crate::cli) fn verdict_line(verdict: &Verdict, out: &Output) -> String {
    let (glyph, paint) = match verdict.decision {
        Decision::Keep => ("✔", Paint::Good),
        Decision::Watch => ("▲", Paint::Warning),
        Decision::RollBack => ("✖", Paint::Bad),
        Decision::Inconclusive => ("?", Paint::Warning),
    };
    let severity = verdict
        .severity
        .map_or(String::new(), |s| format!("  {}", s.as_str()));
    let confidence = match verdict.confidence {
        Confidence::High => "high confidence",
        Confidence::Low => "low confidence",
    };
    let words = out.paint(
        paint,
        &format!("{glyph} {}{severity}", verdict.decision.words()),
    );
    format!("{words}  ({confidence})")
}

fn print_finding(finding: &Finding, with_service: bool, out: &mut Output) -> Result<(), Stop> {
    let severity = finding.severity.map_or("  ", Severity::as_str);
    let painted = match finding.severity {
        Some(Severity::P0) => out.paint(Paint::Bad, severity),
        Some(Severity::P1) => out.paint(Paint::Warning, severity),
        None => severity.to_owned(),
    };
    let service = if with_service {
        format!("{}: ", finding.service)
    } else {
        String::new()
    };
    // A limit is held against the value after, everything else against how often it was before.
    let interval = finding.interval.map_or(String::new(), |(low, high)| {
        if finding.rule.as_str().starts_with("limit") {
            format!("  [95 %: {} to {}]", percent(low), percent(high))
        } else {
            format!("  [95 %: {}× to {}×]", factor(low), factor(high))
        }
    });
    out.line(format_args!(
        "  {painted}  {service}{}{}",
        finding.text,
        out.paint(Paint::Dim, &interval)
    ))?;
    for line in finding.evidence.iter().take(3) {
        let line = cut(line.as_str(), 160);
        out.line(out.paint(Paint::Dim, &format!("        {line}")))?;
    }
    Ok(())
}

/// Two digits of a small factor, none after the point of a large one.
fn factor(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// At most so many characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

fn print_numbers(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    out.line("")?;
    let (b, a) = (&found.before, &found.after);
    let head = format!("  {:<14}{:>18}{:>18}", "", "BEFORE", "AFTER");
    out.line(out.paint(Paint::Dim, &head))?;
    let row = |name: &str, value: &dyn Fn(&SideSummary) -> String| {
        format!("  {name:<14}{:>18}{:>18}", value(b), value(a))
    };
    out.line(row("records", &|s| s.records.to_string()))?;
    out.line(row("requests", &|s| s.requests.to_string()))?;
    out.line(row("errors", &|s| s.errors.to_string()))?;
    if b.requests == 0 || a.requests == 0 {
        // Without requests nothing is an error of one: what the log says loudly counts then.
        out.line(row("error records", &|s| {
            (s.levels.error + s.levels.fatal).to_string()
        }))?;
    }
    out.line(row("error rate", &|s| {
        s.error_rate.map_or_else(|| "-".to_owned(), percent)
    }))?;
    out.line(row("mean", &|s| duration(s.latency_ms.mean)))?;
    out.line(row("p50", &|s| duration(s.latency_ms.p50)))?;
    out.line(row("p95", &|s| duration(s.latency_ms.p95)))?;
    out.line(row("p99", &|s| duration(s.latency_ms.p99)))?;
    out.line(row("from", &|s| clock(s.from)))?;
    out.line(row("to", &|s| clock(s.to)))?;
    for signal in found.signals.iter().filter(|signal| is_worth_a_row(signal)) {
        let value = |v: Option<f64>| match (&signal.signal, v) {
            (_, None) => "-".to_owned(),
            (SignalName::ErrorRate, Some(v)) => percent(v),
            (SignalName::LatencyP95, v) => duration(v),
            (name, v) => signal_value(name, v, signal.unit.as_str()),
        };
        let glyph = match signal.grade {
            Grade::Critical => out.paint(Paint::Bad, signal.grade.glyph()),
            Grade::Warning => out.paint(Paint::Warning, signal.grade.glyph()),
            grade => grade.glyph().to_owned(),
        };
        let service = signal.service.to_string();
        let route = signal
            .route
            .as_ref()
            .map_or(service.as_str(), SafeText::as_str);
        out.line(format_args!(
            "  {glyph} {} {route}: {} → {}",
            signal.signal,
            value(signal.before),
            value(signal.after)
        ))?;
    }
    Ok(())
}

/// Routes that moved; and of what stands in no log that which is not well, or which the user defined.
fn is_worth_a_row(signal: &SignalChange) -> bool {
    match signal.signal {
        SignalName::LatencyP95 | SignalName::ErrorRate | SignalName::Traffic => {
            signal.route.is_some()
        }
        _ if signal.route.is_some() => false,
        SignalName::Own(_) if signal.unit.as_str() != "fraction" => true,
        _ => signal.grade != Grade::Ok,
    }
}

fn clock(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%d.%m %H:%M:%S")
                .to_string()
        },
    )
}

pub(super) fn print_changes(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    if !found.changes.is_empty() {
        out.line("")?;
        out.line(out.paint(Paint::Bold, "What the deploy changed"))?;
    }
    for change in &found.changes {
        let side = |text: &Option<SafeText>| {
            text.as_ref()
                .map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        out.line(format_args!(
            "  {} {}: {} → {}",
            change.service,
            change.what.as_str(),
            side(&change.before),
            side(&change.after)
        ))?;
    }
    for health in &found.health {
        let word = |state: Option<crate::domain::health::HealthState>| {
            state.map_or("unknown", |s| s.as_str())
        };
        out.line(format_args!(
            "  {} health: {} → {}",
            health.service,
            word(health.before),
            word(health.after)
        ))?;
    }
    Ok(())
}

fn print_patterns(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    let changed: Vec<&PatternRow> = found
        .patterns
        .iter()
        .filter(|p| p.change != PatternChange::Same || p.was.is_some())
        .collect();
    let same = found.patterns.len() - changed.len();
    out.line("")?;
    let head = match changed.len() {
        0 => format!("no significant change in {same} patterns"),
        1 => format!("1 pattern changed, {same} without a significant change"),
        many => format!("{many} patterns changed, {same} without a significant change"),
    };
    out.line(out.paint(Paint::Bold, &head))?;
    for row in changed.iter().take(MAX_ROWS) {
        out.line(pattern_line(row, out))?;
    }
    if changed.len() > MAX_ROWS {
        out.line(format_args!(
            "  … and {} more: --format json has all",
            changed.len() - MAX_ROWS
        ))?;
    }
    Ok(())
}

/// `  ▲  12 → 60  ×5.0  warn  slow query took <*>`.
fn pattern_line(row: &PatternRow, out: &Output) -> String {
    let paint = match (row.change, row.level) {
        (PatternChange::New | PatternChange::More, Some(Level::Error | Level::Fatal)) => Paint::Bad,
        (PatternChange::New | PatternChange::More, Some(Level::Warn)) => Paint::Warning,
        (PatternChange::New | PatternChange::More, _) => Paint::Bold,
        _ => Paint::Dim,
    };
    let mark = out.paint(paint, row.mark());
    let ratio = row
        .ratio
        .filter(|r| *r > 0.0)
        .map_or(String::new(), |r| format!("×{r:.1}"));
    let level = level_word(row.level, out);
    let was = row.was.as_ref().map_or(String::new(), |was| {
        format!("\n{:45}was {}", "", cut(was.template.as_str(), 160))
    });
    format!(
        "  {mark} {:>8} → {:<8} {ratio:>7}  {level}  {}{was}",
        row.before,
        row.after,
        cut(row.template.as_str(), 160)
    )
}
