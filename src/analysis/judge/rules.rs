//! The rules, one function each.

use super::sentence::{count, milliseconds, percent, thousands, times};
use super::{
    Call, Evidence, RATED_REQUESTS, REQUIRED_REQUESTS, Relevelled, RouteEvidence, Ruling,
    TestedPattern, limits,
};
use crate::analysis::compare::Drift;
use crate::analysis::compare::statistics::{
    OVER_DISPERSION, Rate, higher, longer, ratio_interval, share_interval,
};
use crate::analysis::scan::Counts;
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::domain::verdict::{Finding, Severity};

/// A chance of one in a thousand: with a large effect it rolls back.
const SURE: f64 = 0.001;
/// A chance of one in a hundred: with some effect it is watched.
const LIKELY: f64 = 0.01;
/// Silence is told where so many requests were to be expected.
const EXPECTED_REQUESTS: f64 = 30.0;
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
    rulings.extend((evidence.relevelled.iter()).map(|r| level_changed(evidence, r)));
    rulings.extend(silence(evidence));
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
    rulings.extend(limits::error_rate(evidence, after, error_rate.is_some()));
    rulings.extend(limits::latency(evidence, after, latency.is_some()));
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

pub(super) fn ruling(
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

/// Requests that stay away. Under thirty of them there is no verdict, but an alarm where chance does not explain it:
/// what nobody can reach fails nobody's request. More of them are a verdict, and their fall informs.
fn silence(evidence: &Evidence<'_>) -> Option<Ruling> {
    let requests = |side: Side| evidence.total.side(side).map_or(0, |t| t.counts.requests);
    let rate = |side: Side| {
        let seconds = (*evidence.seconds.side(side)).filter(|s| *s >= 1.0)?;
        Some(Rate {
            events: requests(side),
            exposure: seconds,
        })
    };
    let (before, after) = (rate(Side::Before)?, rate(Side::After)?);
    let expected = before.value() * after.exposure;
    let is_loud = before.events >= RATED_REQUESTS && expected >= EXPECTED_REQUESTS;
    if !is_loud
        || after.events as f64 > expected / 10.0
        || higher(after, before, OVER_DISPERSION) > SURE
    {
        return None;
    }
    let text = format!(
        "{} in {}, about {} were to be expected",
        count(after.events, "request"),
        minutes(after.exposure),
        thousands(expected.round() as u64),
    );
    let severity = (after.events < REQUIRED_REQUESTS).then_some(Severity::P1);
    let mut found = ruling(evidence, Call::Inform, severity, true, "silence", &text);
    found.finding.before = Some(before.value());
    found.finding.after = Some(after.value());
    found.finding.interval = ratio_interval(before, after);
    Some(found)
}

/// `45 s`, `12 min`.
fn minutes(seconds: f64) -> String {
    match seconds < 120.0 {
        true => format!("{seconds:.0} s"),
        false => format!("{:.0} min", seconds / 60.0),
    }
}

/// Another level is no other behaviour, but whoever is paged by level wants to know.
fn level_changed(evidence: &Evidence<'_>, pattern: &Relevelled) -> Ruling {
    let word = |level: Option<Level>| level.map_or("none", Level::as_str);
    let text = format!(
        "level {} → {}: {} ({} → {})",
        word(pattern.levels.before),
        word(pattern.levels.after),
        pattern.template,
        thousands(pattern.counts.before),
        thousands(pattern.counts.after),
    );
    ruling(evidence, Call::Inform, None, true, "level-changed", &text)
}

fn plain(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        thousands(value.round() as u64)
    } else {
        format!("{value:.2}")
    }
}

pub(super) fn rates(evidence: &Evidence<'_>, counts: BeforeAfter<Counts>) -> BeforeAfter<Rate> {
    let rate = |side: Side| Rate {
        events: evidence.errors(side, *counts.side(side)),
        exposure: counts.side(side).requests as f64,
    };
    BeforeAfter::new(rate(Side::Before), rate(Side::After))
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
    let rate = rates(evidence, BeforeAfter::new(before, after));
    let p = higher(rate.before, rate.after, evidence.dispersion) * looks as f64;
    // What is shown is what was counted, the warm-up included; only the test leaves it out.
    let shown = rates(
        evidence,
        BeforeAfter::new(part.tally.before?.counts, part.tally.after?.counts),
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
    let was = evidence.errors(Side::Before, before.counts) as f64 / before.counts.requests as f64;
    share_interval(
        evidence.errors(Side::After, after.counts),
        after.counts.requests,
    )
    .is_some_and(|(_, upper)| upper <= was + 0.01)
}
