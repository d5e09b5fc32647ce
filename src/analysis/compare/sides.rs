//! Each side in numbers, and the signals of both.

use super::{SideLogs, SideService};
use crate::analysis::judge::{Evidence, RATED_REQUESTS};
use crate::analysis::latency::Histogram;
use crate::analysis::scan::Tally;
use crate::domain::before_after::BeforeAfter;
use crate::domain::comparison::{LevelCounts, SideSummary, SignalChange};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Grade, SignalName};
use crate::domain::verdict::Verdict;

/// Routes that are shown beside the whole service.
const NOTABLE_ROUTES: usize = 10;

/// How long a service was watched, in seconds: at least the span of its records.
pub(super) fn seconds(service: &SideService) -> Option<f64> {
    let (from, to) = match (service.observed, service.scan.span) {
        (Some(a), Some(b)) => (a.0.min(b.0), a.1.max(b.1)),
        (a, b) => a.or(b)?,
    };
    Some((to - from) as f64 / 1000.0)
}

/// One side in numbers. `by_status` says of a service whether its errors are told by status.
pub fn summarise(side: &SideLogs, by_status: &dyn Fn(&ServiceId) -> bool) -> SideSummary {
    let mut latency = Histogram::default();
    let mut levels = LevelCounts::default();
    let (mut records, mut requests, mut errors) = (0, 0, 0);
    let mut span: Option<(i64, i64)> = None;
    for service in &side.services {
        let scan = &service.scan;
        records += scan.records;
        let counts = scan.total.counts;
        requests += counts.requests;
        if counts.requests > 0 {
            errors += counts.errors(by_status(&service.id));
        }
        latency.merge(&scan.total.latency);
        for (sum, part) in [
            (&mut levels.trace, scan.levels.trace),
            (&mut levels.debug, scan.levels.debug),
            (&mut levels.info, scan.levels.info),
            (&mut levels.warn, scan.levels.warn),
            (&mut levels.error, scan.levels.error),
            (&mut levels.fatal, scan.levels.fatal),
            (&mut levels.none, scan.levels.none),
        ] {
            *sum += part;
        }
        if let Some((from, to)) = scan.span {
            let (a, b) = span.unwrap_or((from, to));
            span = Some((a.min(from), b.max(to)));
        }
    }
    SideSummary {
        input: side.input.clone(),
        records,
        from: span.and_then(|s| instant(s.0)),
        to: span.and_then(|s| instant(s.1)),
        requests,
        errors,
        error_rate: (requests > 0).then(|| (errors as f64 / requests as f64).min(1.0)),
        latency_ms: latency.summary(),
        levels,
    }
}

/// Milliseconds since 1970 as an instant.
pub(super) fn instant(ms: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(ms).ok()
}

/// Latency, error rate and traffic of a service, and of its routes that moved or that a finding names.
pub(super) fn signals(evidence: &Evidence<'_>, verdict: &Verdict) -> Vec<SignalChange> {
    let mut signals = Vec::new();
    push(evidence, None, evidence.total, &mut signals);
    let traffic = BeforeAfter::new(
        per_second(evidence.total.before, evidence.seconds.before),
        per_second(evidence.total.after, evidence.seconds.after),
    );
    signals.push(change(evidence, SignalName::Traffic, None, traffic, true));
    let mut notable: Vec<_> = evidence
        .routes
        .iter()
        .map(|route| {
            let named = verdict
                .findings
                .iter()
                .any(|f| f.route.as_ref() == Some(&route.name));
            let p95 = route
                .tally
                .map(|t| t.and_then(|t| t.latency.percentile(0.95)));
            let ratio = match (p95.before, p95.after) {
                (Some(b), Some(a)) if b > 0.0 => a / b,
                _ => 1.0,
            };
            (named, ratio, route)
        })
        .filter(|(named, ratio, _)| *named || *ratio >= 1.5)
        .collect();
    notable.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    for (_, _, route) in notable.into_iter().take(NOTABLE_ROUTES) {
        push(evidence, Some(&route.name), route.tally, &mut signals);
    }
    signals
}

fn push(
    evidence: &Evidence<'_>,
    route: Option<&SafeText>,
    tally: BeforeAfter<Option<&Tally>>,
    signals: &mut Vec<SignalChange>,
) {
    let is_rated =
        |count: fn(&Tally) -> u64| tally.after.is_some_and(|t| count(t) >= RATED_REQUESTS);
    let p95 = tally.map(|t| t.and_then(|t| t.latency.percentile(0.95)));
    let rated = is_rated(|t| t.latency.count());
    signals.push(change(evidence, SignalName::LatencyP95, route, p95, rated));
    let rate = tally.map(|t| {
        let counts = t.map(|t| t.counts).filter(|c| c.requests > 0)?;
        Some((counts.errors(evidence.by_status) as f64 / counts.requests as f64).min(1.0))
    });
    let rated = is_rated(|t| t.counts.requests);
    if route.is_none() || evidence.by_status {
        signals.push(change(evidence, SignalName::ErrorRate, route, rate, rated));
    }
}

fn per_second(tally: Option<&Tally>, seconds: Option<f64>) -> Option<f64> {
    let seconds = seconds.filter(|s| *s >= 1.0)?;
    Some(tally?.counts.requests as f64 / seconds)
}

/// Under twenty requests a value is shown, but not graded.
fn change(
    evidence: &Evidence<'_>,
    signal: SignalName,
    route: Option<&SafeText>,
    values: BeforeAfter<Option<f64>>,
    is_rated: bool,
) -> SignalChange {
    let grade = if is_rated {
        evidence.limits.grade(&signal, values.after)
    } else {
        Grade::Unknown
    };
    SignalChange {
        service: evidence.service.clone(),
        route: route.cloned(),
        before: values.before,
        after: values.after,
        unit: SafeText::from_text(signal.unit()),
        grade,
        signal,
    }
}
