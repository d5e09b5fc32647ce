//! Pattern rows: counts on both sides, whether the rate moved, and how much it matters.

use std::collections::BTreeSet;

use super::statistics::{Rate, discoveries, exact_higher, higher, ratio_interval};
use super::{World, sides};
use crate::analysis::judge::{RATED_REQUESTS, TestedPattern};
use crate::analysis::latency::Histogram;
use crate::analysis::pattern::group::{Part, Pattern};
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::comparison::{PatternChange, PatternRow, WasPattern};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::time_buckets::TimeBuckets;

/// A pattern that is not there any more is gone if chance leaves it out less often than this.
const GONE: f64 = 0.01;
/// More or less: the chance, and the ratio that matters.
const MOVED: f64 = 0.01;
const MOVED_BY: f64 = 1.5;
/// How much more easily chance makes a handful of records than a test that takes each for itself believes.
const BURSTS: f64 = 5.0;
/// The false discovery rate over error and warning patterns.
const DISCOVERY: f64 = 0.01;

/// A row with what the judge wants to know of it.
pub(super) struct TestedRow {
    pub row: PatternRow,
    /// For errors and warnings.
    pub tested: Option<TestedPattern>,
    /// Lines of the after side with their place; of the before side where the pattern is gone.
    pub evidence: Vec<SafeText>,
}

/// One side of a pattern, over its services.
#[derive(Default)]
struct SidePart {
    part: Part,
    first: Option<i64>,
    latency: Option<Histogram>,
    evidence: Vec<SafeText>,
    example: Option<SafeText>,
}

pub(super) fn build(world: &World<'_>) -> Vec<TestedRow> {
    let mut rows: Vec<(TestedRow, f64)> = world
        .patterns
        .patterns
        .iter()
        .map(|p| row(world, p))
        .collect();
    // Looking at many error patterns finds some by chance: the level is shared among them.
    let looked: Vec<usize> = (0..rows.len())
        .filter(|at| rows[*at].0.tested.is_some())
        .collect();
    let p_values: Vec<f64> = looked.iter().map(|at| rows[*at].1).collect();
    for (at, found) in looked.into_iter().zip(discoveries(&p_values, DISCOVERY)) {
        if let Some(tested) = &mut rows[at].0.tested {
            tested.is_significant = found;
        }
    }
    let mut rows: Vec<TestedRow> = rows.into_iter().map(|(row, _)| row).collect();
    rows.sort_by(|a, b| {
        harm(&b.row)
            .cmp(&harm(&a.row))
            .then_with(|| b.row.after.cmp(&a.row.after))
            .then_with(|| b.row.before.cmp(&a.row.before))
            .then_with(|| a.row.template.cmp(&b.row.template))
    });
    rows
}

/// How much a row matters: new and rising errors first, then warnings, then what is gone, then the rest.
fn harm(row: &PatternRow) -> u8 {
    let loud = match row.level {
        Some(Level::Fatal) => 3,
        Some(Level::Error) => 2,
        Some(Level::Warn) => 1,
        _ => 0,
    };
    match (row.change, loud) {
        (PatternChange::New, 3) => 12,
        (PatternChange::New, 2) => 11,
        (PatternChange::More, 2 | 3) => 10,
        (PatternChange::New, 1) => 9,
        (PatternChange::More, 1) => 8,
        (PatternChange::New, _) => 7,
        (PatternChange::More, _) => 6,
        (PatternChange::Gone, _) => 5,
        (PatternChange::Less, _) => 4,
        (PatternChange::Same, 2 | 3) => 3,
        (PatternChange::Same, 1) => 2,
        (PatternChange::Same, _) => 1,
    }
}

/// What a pattern's counts are held against: the requests of its services where both sides have enough, else the
/// time they were watched, else their records.
fn exposure(world: &World<'_>, services: &BTreeSet<&ServiceId>) -> BeforeAfter<f64> {
    let sum = |value: &dyn Fn(&super::SideService) -> Option<f64>| {
        let of = |side: Side| {
            services
                .iter()
                .try_fold(0.0, |sum, id| match world.pair(id).side(side) {
                    Some(service) => value(service).map(|v| sum + v),
                    None => Some(sum),
                })
        };
        BeforeAfter::new(of(Side::Before), of(Side::After))
    };
    let requests = sum(&|s| Some(s.scan.total.counts.requests as f64));
    let seconds = sum(&sides::seconds);
    let records = sum(&|s| Some(s.scan.records as f64));
    let least = |pair: BeforeAfter<Option<f64>>, least: f64| match (pair.before, pair.after) {
        (Some(b), Some(a)) if b >= least && a >= least => Some(BeforeAfter::new(b, a)),
        _ => None,
    };
    least(requests, RATED_REQUESTS as f64)
        .or_else(|| least(seconds, 1.0))
        .or_else(|| least(records, 1.0))
        .unwrap_or(BeforeAfter::new(0.0, 0.0))
}

/// Counts with what they are held against.
pub(super) fn rates(
    world: &World<'_>,
    services: &BTreeSet<&ServiceId>,
    counts: BeforeAfter<u64>,
) -> BeforeAfter<Rate> {
    let exposure = exposure(world, services);
    let rate = |events: u64, exposure: f64| Rate { events, exposure };
    BeforeAfter::new(
        rate(counts.before, exposure.before),
        rate(counts.after, exposure.after),
    )
}

fn row(world: &World<'_>, pattern: &Pattern) -> (TestedRow, f64) {
    let mut parts: BeforeAfter<SidePart> = BeforeAfter::default();
    let mut services: BTreeSet<&ServiceId> = BTreeSet::new();
    let several = world.before.services.len().max(world.after.services.len()) > 1;
    for part in &pattern.parts {
        let (side, service) = world.source(part.source);
        services.insert(&service.id);
        let sum = parts.side_mut(side);
        sum.part.count += part.count;
        sum.part.seconds += part.seconds;
        TimeBuckets::join(&mut sum.part.times, part.times.as_deref());
        if let Some((from, _)) = part.seen {
            sum.first = Some(sum.first.map_or(from, |f| f.min(from)));
        }
        if let Some(latency) = &part.latency {
            sum.latency
                .get_or_insert_with(|| Histogram::with_bound(256))
                .merge(latency);
        }
        for example in &part.examples {
            if sum.evidence.len() >= 3 {
                break;
            }
            let text = (world.show)(&example.text);
            let place = if several {
                format!("{} line {}", service.id.name, example.line)
            } else {
                format!("line {}", example.line)
            };
            sum.evidence
                .push(SafeText::from_text(&format!("{place}: {text}")));
            sum.example.get_or_insert(text);
        }
    }
    let counts = parts.as_ref().map(|p| p.part.count);
    let rate = rates(world, &services, counts);
    let is_comparable = rate.before.exposure > 0.0 && rate.after.exposure > 0.0;
    let ratio =
        (counts.before > 0 && is_comparable).then(|| rate.after.value() / rate.before.value());
    let dispersion = world.dispersion(services.iter().copied());
    let change = if is_comparable {
        classify(pattern.level, rate, ratio, dispersion)
    } else {
        one_sided(world, counts)
    };
    let p = match counts.before {
        // A rate of nothing does not vary, and half an event is no measure of it; what comes in bursts gets a margin.
        0 => (BURSTS * exact_higher(rate.before, rate.after)).min(1.0),
        _ => higher(rate.before, rate.after, dispersion),
    };
    let first = match change {
        PatternChange::Gone => parts.before.first,
        _ => parts.after.first.or(parts.before.first),
    };
    let evidence = if counts.after > 0 {
        parts.after.evidence
    } else {
        parts.before.evidence
    };
    // A template may hold a secret that never varied.
    let template = (world.show)(pattern.template.as_bytes());
    let tested = (pattern.level >= Some(Level::Warn) && is_comparable).then(|| TestedPattern {
        template: template.clone(),
        is_error: pattern.level >= Some(Level::Error),
        is_fatal: pattern.level == Some(Level::Fatal),
        is_new: change == PatternChange::New,
        counts,
        seconds_after: parts.after.part.seconds,
        ratio,
        interval: ratio_interval(rate.before, rate.after),
        is_significant: false,
        evidence: evidence.clone(),
    });
    let times = BeforeAfter::new(parts.before.part.times, parts.after.part.times);
    let times = times.map(|t| t.map(|t| *t));
    let examples = BeforeAfter::new(parts.before.example, parts.after.example);
    let row = PatternRow {
        id: pattern.id.clone(),
        template,
        level: pattern.level,
        was: pattern.was.as_ref().map(|was| WasPattern {
            template: (world.show)(was.template.as_bytes()),
            level: was.level,
        }),
        change,
        before: counts.before,
        after: counts.after,
        ratio,
        services: services.into_iter().cloned().collect(),
        first_seen: first.and_then(sides::instant),
        example: examples
            .after
            .clone()
            .or_else(|| examples.before.clone())
            .unwrap_or_default(),
        examples,
        p95_ms: BeforeAfter::new(parts.before.latency, parts.after.latency)
            .map(|l| l.and_then(|l| l.percentile(0.95))),
        times,
    };
    (
        TestedRow {
            row,
            tested,
            evidence,
        },
        p,
    )
}

/// A pattern that was not there before is new if chance leaves it out less often than this: in two equal windows that
/// is two fatal records, four errors, five others.
fn new_level(level: Option<Level>) -> f64 {
    match level {
        Some(Level::Fatal) => 0.14,
        Some(Level::Error) => 0.04,
        _ => 0.02,
    }
}

/// How the rate moved.
fn classify(
    level: Option<Level>,
    rate: BeforeAfter<Rate>,
    ratio: Option<f64>,
    dispersion: f64,
) -> PatternChange {
    let BeforeAfter { before, after } = rate;
    if before.events == 0 {
        return if exact_higher(before, after) <= new_level(level) {
            PatternChange::New
        } else {
            PatternChange::Same
        };
    }
    if after.events == 0 {
        return if exact_higher(after, before) <= GONE {
            PatternChange::Gone
        } else {
            PatternChange::Same
        };
    }
    let ratio = ratio.unwrap_or(1.0);
    if ratio >= MOVED_BY && higher(before, after, dispersion) <= MOVED {
        PatternChange::More
    } else if ratio <= 1.0 / MOVED_BY && higher(after, before, dispersion) <= MOVED {
        PatternChange::Less
    } else {
        PatternChange::Same
    }
}

/// Without anything to hold the counts against on one side, only presence can be told; and where a side has no
/// log at all, not even that.
fn one_sided(world: &World<'_>, counts: BeforeAfter<u64>) -> PatternChange {
    let has_log = |side: &super::SideLogs| side.services.iter().any(|s| s.scan.records > 0);
    match (counts.before, counts.after) {
        (0, 3..) if has_log(world.before) => PatternChange::New,
        (6.., 0) if has_log(world.after) => PatternChange::Gone,
        _ => PatternChange::Same,
    }
}
