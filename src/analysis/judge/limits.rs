//! The limits: absolute lines that a value crosses, held against whether it was over them before.

use super::rules::{rates, ruling};
use super::sentence::{count, milliseconds, percent, thousands};
use super::{Call, Evidence, RATED_REQUESTS, Ruling};
use crate::analysis::compare::statistics::{exact_higher, higher, longer, share_interval};
use crate::analysis::scan::Tally;
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::signal::{SignalName, Threshold};
use crate::domain::verdict::Severity;

/// A limit that is broken only after counts unless chance explains the rise easily …
const PLAUSIBLE: f64 = 0.05;
/// … and rolls back unless chance explains it with some luck: a service that always lives near a limit crosses it
/// now and then.
const DOUBTFUL: f64 = 0.025;

/// The severity of a limit that was newly broken, by the value after.
fn severity_of(limit: &Threshold, value: f64) -> Option<Severity> {
    if limit.p0.is_some_and(|p0| value > p0) {
        Some(Severity::P0)
    } else if limit.p1.is_some_and(|p1| value > p1) {
        Some(Severity::P1)
    } else {
        None
    }
}

/// What a limit says: newly broken, or broken before as well.
struct Broken {
    severity: Severity,
    call: Call,
    was_broken: bool,
}

/// A limit broken before as well counts only if a relative rule says that it got worse: going back would not help.
/// One that is broken only after counts unless chance explains the rise.
fn broken(
    limit: &Threshold,
    before: Option<f64>,
    after: f64,
    is_worse: bool,
    chance: f64,
) -> Option<Broken> {
    let severity = severity_of(limit, after)?;
    let was = before.and_then(|b| severity_of(limit, b));
    let was_broken = was >= Some(severity);
    let (call, severity) = match severity {
        _ if (was_broken && !is_worse) || chance > PLAUSIBLE => (Call::Inform, severity),
        Severity::P0 if chance > DOUBTFUL => (Call::Watch, Severity::P1),
        Severity::P0 => (Call::RollBack, severity),
        Severity::P1 => (Call::Watch, severity),
    };
    Some(Broken {
        severity,
        call,
        was_broken,
    })
}

pub(super) fn error_rate(evidence: &Evidence<'_>, after: &Tally, is_worse: bool) -> Option<Ruling> {
    let limit = evidence.limits.of(&SignalName::ErrorRate)?;
    let counts = after.counts;
    if counts.requests < RATED_REQUESTS {
        return None;
    }
    let errors = evidence.errors(Side::After, counts);
    let value = (errors as f64 / counts.requests as f64).min(1.0);
    let before = evidence
        .total
        .before
        .map(|t| t.counts)
        .filter(|c| c.requests >= RATED_REQUESTS);
    let was = before.map(|c| evidence.errors(Side::Before, c) as f64 / c.requests as f64);
    // One or two errors of few requests break any limit; they are watched.
    let least = if errors < 3 { PLAUSIBLE } else { 0.0 };
    let chance = before.map_or(0.0, |before| {
        let rate = rates(evidence, BeforeAfter::new(before, counts));
        match rate.before.events {
            // Without an error before there is no rate that could vary.
            0 => exact_higher(rate.before, rate.after),
            _ => higher(rate.before, rate.after, evidence.dispersion),
        }
    });
    let chance = chance.max(least);
    let found = broken(limit, was, value, is_worse, chance)?;
    let line = if found.severity == Severity::P0 {
        limit.p0
    } else {
        limit.p1
    }?;
    let numbers = format!(
        "{} of {}",
        thousands(errors),
        count(counts.requests, "request")
    );
    Some(limit_ruling(
        evidence,
        "limit-error_rate",
        &found,
        chance > PLAUSIBLE,
        &percent(line),
        &format!("error rate {} ({numbers})", percent(value)),
        was.map(percent),
        (was, value, share_interval(errors, counts.requests)),
    ))
}

pub(super) fn latency(evidence: &Evidence<'_>, after: &Tally, is_worse: bool) -> Option<Ruling> {
    let limit = evidence.limits.of(&SignalName::LatencyP95)?;
    if after.latency.count() < RATED_REQUESTS {
        return None;
    }
    let value = after.latency.percentile(0.95)?;
    let before = evidence
        .total
        .before
        .filter(|t| t.latency.count() >= RATED_REQUESTS);
    let was = before.and_then(|t| t.latency.percentile(0.95));
    let chance = match (before, was) {
        (Some(before), Some(was)) if value < was * 1.25 => {
            longer(&before.tested_latency(), &after.tested_latency())
        }
        _ => 0.0,
    };
    let found = broken(limit, was, value, is_worse, chance)?;
    let line = if found.severity == Severity::P0 {
        limit.p0
    } else {
        limit.p1
    }?;
    Some(limit_ruling(
        evidence,
        "limit-latency_p95",
        &found,
        chance > PLAUSIBLE,
        &milliseconds(line),
        &format!("latency p95 {}", milliseconds(value)),
        was.map(milliseconds),
        (was, value, None),
    ))
}

type Numbers = (Option<f64>, f64, Option<(f64, f64)>);

#[expect(
    clippy::too_many_arguments,
    reason = "one sentence with all its parts, said by two rules"
)]
fn limit_ruling(
    evidence: &Evidence<'_>,
    rule: &str,
    found: &Broken,
    is_chance: bool,
    line: &str,
    value: &str,
    was: Option<String>,
    numbers: Numbers,
) -> Ruling {
    let word = found.severity.as_str();
    let tail = match (found.call, found.was_broken, was) {
        (Call::Inform, true, Some(was)) => format!("already over {line} before ({was})"),
        (Call::Inform, false, Some(was)) if is_chance => {
            format!("over {line}, but before it was {was}: within chance")
        }
        (_, _, Some(was)) => format!("over the {word} limit of {line}, {was} before"),
        (_, _, None) => format!("over the {word} limit of {line}, nothing to compare with before"),
    };
    let severity = (found.call > Call::Inform).then_some(found.severity);
    let is_sure = !is_chance && numbers.0.is_some();
    let mut ruling = ruling(
        evidence,
        found.call,
        severity,
        is_sure,
        rule,
        &format!("{value}, {tail}"),
    );
    (
        ruling.finding.before,
        ruling.finding.after,
        ruling.finding.interval,
    ) = (numbers.0, Some(numbers.1), numbers.2);
    if found.call > Call::Inform {
        let lines = if rule.ends_with("error_rate") {
            &evidence.error_lines
        } else {
            &evidence.slow_lines
        };
        ruling.finding.evidence.clone_from(lines);
    }
    ruling
}
