//! The rules, one function each.

use super::sentence::{count, milliseconds, percent, thousands, times};
use super::{Call, Evidence, RATED_REQUESTS, RouteEvidence, Ruling, TestedPattern, severity_of};
use crate::analysis::compare::Drift;
use crate::analysis::compare::statistics::{
    Rate, exact_higher, higher, longer, ratio_interval, share_interval,
};
use crate::analysis::scan::{Counts, Tally};
use crate::domain::before_after::BeforeAfter;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::{SignalName, Threshold};
use crate::domain::verdict::{Finding, Severity};

/// A chance of one in a thousand: with a large effect it rolls back.
const SURE: f64 = 0.001;
/// A chance of one in a hundred: with some effect it is watched.
const LIKELY: f64 = 0.01;
/// A limit that is broken only after counts unless chance explains the rise easily …
const PLAUSIBLE: f64 = 0.05;
/// … and rolls back unless chance explains it with some luck: a service that always lives near a limit crosses it
/// now and then.
const DOUBTFUL: f64 = 0.025;
/// So many numbers of a service that drifted are told.
const DRIFTS: usize = 5;

/// Applies every rule.
pub(super) fn apply(evidence: &Evidence<'_>) -> Vec<Ruling> {
    let mut rulings = hard_facts(evidence);
    rulings.extend(
        evidence
            .patterns
            .iter()
            .filter_map(|p| pattern(evidence, p)),
    );
    rulings.extend(
        evidence
            .drifts
            .iter()
            .take(DRIFTS)
            .map(|d| drift(evidence, d)),
    );
    let Some(after) = evidence.total.after else {
        return rulings;
    };
    let whole = RouteEvidence {
        name: SafeText::default(),
        tally: BeforeAfter::new(evidence.total.before, Some(after)),
        slow_line: None,
        error_line: None,
    };
    let error_rate = error_rate(evidence, &whole, None, 1);
    let latency = latency(evidence, &whole, None, 1);
    rulings.extend(error_rate_limit(evidence, after, error_rate.is_some()));
    rulings.extend(latency_limit(evidence, after, latency.is_some()));
    let told = [&error_rate, &latency].map(Option::is_some);
    rulings.extend(error_rate);
    rulings.extend(latency);
    // One route may be slow or broken without showing in the whole. Each look costs: the level is shared.
    let looks = evidence.routes.len().max(1);
    let rates = evidence
        .routes
        .iter()
        .filter_map(|r| error_rate_of_route(evidence, r, looks));
    rulings.extend(worst(rates.collect(), told[0]));
    let latencies =
        (evidence.routes.iter()).filter_map(|r| self::latency(evidence, r, Some(&r.name), looks));
    rulings.extend(worst(latencies.collect(), told[1]));
    rulings
}

/// The routes that are worst: a few where the whole service was told already, to say where to look.
fn worst(mut routes: Vec<Ruling>, is_told: bool) -> Vec<Ruling> {
    let rise = |r: &Ruling| match (r.finding.before, r.finding.after) {
        (Some(before), Some(after)) if before > 0.0 => after / before,
        _ => f64::INFINITY,
    };
    routes.sort_by(|a, b| b.call.cmp(&a.call).then(rise(b).total_cmp(&rise(a))));
    routes.truncate(if is_told { 3 } else { 10 });
    routes
}

fn ruling(
    evidence: &Evidence<'_>,
    call: Call,
    severity: Option<Severity>,
    is_sure: bool,
    rule: &str,
    text: &str,
) -> Ruling {
    Ruling {
        call,
        is_sure,
        finding: Finding {
            rule: SafeText::from_text(rule),
            severity,
            service: evidence.service.clone(),
            route: None,
            text: SafeText::from_text(text),
            before: None,
            after: None,
            interval: None,
            evidence: Vec::new(),
        },
    }
}

fn hard_facts(evidence: &Evidence<'_>) -> Vec<Ruling> {
    evidence
        .hard
        .iter()
        .map(|fact| {
            let mut found = ruling(
                evidence,
                Call::RollBack,
                Some(Severity::P0),
                true,
                fact.rule,
                fact.text.as_str(),
            );
            found.finding.evidence.clone_from(&fact.evidence);
            found
        })
        .collect()
}

/// New and rising error patterns. Warnings inform.
fn pattern(evidence: &Evidence<'_>, pattern: &TestedPattern) -> Option<Ruling> {
    let BeforeAfter { before, after } = pattern.counts;
    let requests = evidence.total.after.map_or(0, |t| t.counts.requests);
    let (of, base) = if requests >= RATED_REQUESTS {
        (requests, "requests")
    } else {
        (evidence.records.after, "records")
    };
    let share = after as f64 / of.max(1) as f64;
    let rises = pattern.is_significant && pattern.ratio.is_none_or(|r| r >= 2.0);
    let is_confirmed = after >= 3 && pattern.seconds_after >= 2;
    // Once is no proof, but nobody wants to learn of it from the users.
    let is_first_fatal = pattern.is_fatal && before == 0 && after > 0;
    let (call, severity) = if !pattern.is_error {
        if !rises {
            return None;
        }
        (Call::Inform, None)
    } else if pattern.is_new && pattern.is_fatal && after >= 2 {
        (Call::RollBack, Some(Severity::P0))
    } else if pattern.is_new && pattern.is_significant && after >= 5 && share >= 0.005 {
        (Call::RollBack, Some(Severity::P1))
    } else if is_confirmed && (pattern.is_new || rises) {
        (Call::Watch, Some(Severity::P1))
    } else if pattern.is_new || rises || is_first_fatal {
        (Call::Inform, None)
    } else {
        return None;
    };
    let kind = if pattern.is_error { "error" } else { "warning" };
    let rule = match (
        pattern.is_new || is_first_fatal,
        pattern.is_fatal && pattern.is_new && after >= 2,
    ) {
        (_, true) => "new-fatal-pattern".to_owned(),
        (true, _) => format!("new-{kind}-pattern"),
        (false, _) => format!("more-{kind}-pattern"),
    };
    let text = if pattern.is_new || is_first_fatal {
        format!(
            "new {kind}: {} ({} in {} {base}, none before)",
            pattern.template,
            count(after, "time"),
            thousands(of)
        )
    } else {
        format!(
            "{kind} more often: {} ({} → {}{})",
            pattern.template,
            thousands(before),
            thousands(after),
            pattern
                .ratio
                .map_or(String::new(), |r| format!(", rate {}", times(r)))
        )
    };
    let mut found = ruling(
        evidence,
        call,
        severity,
        pattern.is_significant,
        &rule,
        &text,
    );
    found.finding.before = Some(before as f64);
    found.finding.after = Some(after as f64);
    found.finding.interval = if pattern.is_new {
        None
    } else {
        pattern.interval
    };
    found.finding.evidence.clone_from(&pattern.evidence);
    Some(found)
}

/// A number that drifted says where to look; whether that is good or bad it does not say.
fn drift(evidence: &Evidence<'_>, drift: &Drift) -> Ruling {
    let name = if drift.name.as_str().is_empty() {
        "a number"
    } else {
        drift.name.as_str()
    };
    let text = format!(
        "{name} in \"{}\": median {} → {} ({})",
        drift.template,
        plain(drift.median.before),
        plain(drift.median.after),
        times(drift.ratio()),
    );
    let mut found = ruling(evidence, Call::Inform, None, true, "number-drift", &text);
    found.finding.before = Some(drift.median.before);
    found.finding.after = Some(drift.median.after);
    found.finding.evidence.clone_from(&drift.evidence);
    found
}

fn plain(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        thousands(value.round() as u64)
    } else {
        format!("{value:.2}")
    }
}

fn rates(counts: BeforeAfter<Counts>, by_status: bool) -> BeforeAfter<Rate> {
    counts.map(|c| Rate {
        events: c.errors(by_status),
        exposure: c.requests as f64,
    })
}

/// The relative rule of the error rate.
fn error_rate(
    evidence: &Evidence<'_>,
    part: &RouteEvidence<'_>,
    route: Option<&SafeText>,
    looks: usize,
) -> Option<Ruling> {
    let before = part.tally.before?.tested();
    let after = part.tally.after?.tested();
    if after.requests < RATED_REQUESTS || before.requests == 0 {
        return None;
    }
    let rate = rates(BeforeAfter::new(before, after), evidence.by_status);
    let p = higher(rate.before, rate.after) * looks as f64;
    // What is shown is what was counted, the warm-up included; only the test leaves it out.
    let shown = rates(
        BeforeAfter::new(part.tally.before?.counts, part.tally.after?.counts),
        evidence.by_status,
    );
    let values = shown.map(|r| r.value());
    let ratio = (rate.after.events as f64 + 0.5)
        / rate.after.exposure
        / ((rate.before.events as f64 + 0.5) / rate.before.exposure);
    let interval = ratio_interval(rate.before, rate.after);
    let lower = interval.map_or(0.0, |i| i.0);
    let rolls_back = p <= SURE
        && ratio >= 2.0
        && lower >= 1.5
        && values.after - values.before >= 0.01
        && rate.after.events >= 5;
    let call = if rolls_back {
        Call::RollBack
    } else if p <= LIKELY && ratio >= 1.5 {
        Call::Watch
    } else {
        return None;
    };
    let place = route.map_or(String::new(), |r| format!("{r}: "));
    let text = format!(
        "{place}error rate {} → {} ({} of {} → {} of {}), {} as often",
        percent(values.before),
        percent(values.after),
        thousands(shown.before.events),
        thousands(shown.before.exposure as u64),
        thousands(shown.after.events),
        thousands(shown.after.exposure as u64),
        times(ratio),
    );
    let mut found = ruling(
        evidence,
        call,
        Some(Severity::P1),
        p <= SURE,
        "error-rate",
        &text,
    );
    found.finding.route = route.cloned();
    found.finding.before = Some(values.before);
    found.finding.after = Some(values.after);
    found.finding.interval = interval;
    found.finding.evidence = lines(part.error_line.as_ref(), &evidence.error_lines);
    Some(found)
}

/// Error records cannot be told by route, only statuses can.
fn error_rate_of_route(
    evidence: &Evidence<'_>,
    route: &RouteEvidence<'_>,
    looks: usize,
) -> Option<Ruling> {
    if !evidence.by_status {
        return None;
    }
    error_rate(evidence, route, Some(&route.name), looks)
}

/// The relative rule of the latency: by rank, with the larger of the ratios of median and p95.
fn latency(
    evidence: &Evidence<'_>,
    part: &RouteEvidence<'_>,
    route: Option<&SafeText>,
    looks: usize,
) -> Option<Ruling> {
    let (before, after) = (part.tally.before?, part.tally.after?);
    if before.latency.count() < RATED_REQUESTS || after.latency.count() < RATED_REQUESTS {
        return None;
    }
    let p = longer(&before.tested_latency(), &after.tested_latency()) * looks as f64;
    if p > LIKELY {
        return None;
    }
    let shown = BeforeAfter::new(before, after).map(|t| t.latency.percentiles([0.5, 0.95]));
    let ratio_of = |at: usize| match (shown.before[at], shown.after[at]) {
        (Some(b), Some(a)) if b > 0.0 => a / b,
        _ => 1.0,
    };
    let (median, p95) = (ratio_of(0), ratio_of(1));
    let ratio = median.max(p95);
    let call = if p <= SURE && ratio >= 2.0 {
        Call::RollBack
    } else if median >= 1.25 || (p <= SURE && ratio >= 1.25) {
        // The p95 alone is noisy: it needs the surer test.
        Call::Watch
    } else {
        return None;
    };
    let (name, at) = if p95 >= median {
        ("p95", 1)
    } else {
        ("median", 0)
    };
    let (was, is) = (shown.before[at]?, shown.after[at]?);
    let place = route.map_or(String::new(), |r| format!("{r}: "));
    let text = format!(
        "{place}latency {name} {} → {} ({}), {} → {} requests",
        milliseconds(was),
        milliseconds(is),
        times(ratio),
        thousands(before.latency.count()),
        thousands(after.latency.count()),
    );
    let mut found = ruling(
        evidence,
        call,
        Some(Severity::P1),
        p <= SURE,
        "latency",
        &text,
    );
    found.finding.route = route.cloned();
    found.finding.before = Some(was);
    found.finding.after = Some(is);
    found.finding.evidence = lines(part.slow_line.as_ref(), &evidence.slow_lines);
    Some(found)
}

/// The route's own line where there is one, else those of the service.
fn lines(own: Option<&SafeText>, all: &[SafeText]) -> Vec<SafeText> {
    own.map_or_else(|| all.to_vec(), |line| vec![line.clone()])
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

fn error_rate_limit(evidence: &Evidence<'_>, after: &Tally, is_worse: bool) -> Option<Ruling> {
    let limit = evidence.limits.of(&SignalName::ErrorRate)?;
    let counts = after.counts;
    if counts.requests < RATED_REQUESTS {
        return None;
    }
    let value = (counts.errors(evidence.by_status) as f64 / counts.requests as f64).min(1.0);
    let before = evidence
        .total
        .before
        .map(|t| t.counts)
        .filter(|c| c.requests >= RATED_REQUESTS);
    let was = before.map(|c| c.errors(evidence.by_status) as f64 / c.requests as f64);
    // One or two errors of few requests break any limit; they are watched.
    let least = if counts.errors(evidence.by_status) < 3 {
        PLAUSIBLE
    } else {
        0.0
    };
    let chance = before.map_or(0.0, |before| {
        let rate = rates(BeforeAfter::new(before, counts), evidence.by_status);
        match rate.before.events {
            // Without an error before there is no rate that could vary.
            0 => exact_higher(rate.before, rate.after),
            _ => higher(rate.before, rate.after),
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
        thousands(counts.errors(evidence.by_status)),
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
        (
            was,
            value,
            share_interval(counts.errors(evidence.by_status), counts.requests),
        ),
    ))
}

fn latency_limit(evidence: &Evidence<'_>, after: &Tally, is_worse: bool) -> Option<Ruling> {
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

/// Whether the data after rules out that the error rate rose by more than a point: only then a keep is certain.
pub(super) fn is_rate_bounded(evidence: &Evidence<'_>) -> bool {
    let Some(after) = evidence.total.after else {
        return false;
    };
    if after.counts.requests == 0 {
        // Judged by patterns per minute.
        return evidence.seconds.after.is_some_and(|s| s >= 600.0)
            && evidence.total.before.is_some();
    }
    let Some(before) = evidence
        .total
        .before
        .filter(|t| t.counts.requests >= RATED_REQUESTS)
    else {
        return false;
    };
    let was = before.counts.errors(evidence.by_status) as f64 / before.counts.requests as f64;
    share_interval(
        after.counts.errors(evidence.by_status),
        after.counts.requests,
    )
    .is_some_and(|(_, upper)| upper <= was + 0.01)
}
