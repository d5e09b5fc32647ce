//! Numbers within a pattern that drift: `connections: 20` before the deploy, `connections: 100` after it.

use super::World;
use super::statistics::longer;
use crate::analysis::latency::Histogram;
use crate::analysis::pattern::group::Pattern;
use crate::analysis::scan::Numbers;
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

/// So many values on each side can be tested by rank.
const TESTED: usize = 8;
/// So few are told only if those of one side all lie beyond those of the other, by as much as a median must have moved.
const LEAST: usize = 3;
/// How much the median must have moved, in either direction.
const MOVED_BY: f64 = 2.0;
/// The chance at which it is told, over all numbers that were looked at together.
const SURE: f64 = 0.001;
/// A number that grows with the records, by rank, is a counter or an id.
const TREND: f64 = 0.5;

/// A number that drifted.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The service that writes it.
    pub service: ServiceId,
    /// The pattern it stands in.
    pub template: SafeText,
    /// What it is called there; empty where nothing stands in front of it.
    pub name: SafeText,
    /// Its median.
    pub median: BeforeAfter<f64>,
    /// Lines that show it, with their place.
    pub evidence: Vec<SafeText>,
}

impl Drift {
    /// How much the median moved: over 1 where it grew.
    pub fn ratio(&self) -> f64 {
        self.median.after / self.median.before
    }
}

/// Looks for numbers that drifted, in every pattern that a service has on both sides.
pub(super) fn find(world: &World<'_>) -> Vec<Drift> {
    let mut looks = 0usize;
    let mut found: Vec<(f64, Drift)> = Vec::new();
    for pattern in &world.patterns.patterns {
        for (service, before, after) in pairs(world, pattern) {
            if before.names() != after.names() {
                continue;
            }
            for (at, name) in before.names().iter().enumerate() {
                let values = BeforeAfter::new(before.values(at), after.values(at));
                if is_identity(name) || !is_measure(&values) {
                    continue;
                }
                looks += 1;
                let Some((p, median)) = look(&values) else {
                    continue;
                };
                let evidence = world.evidence_of(pattern, service, Side::After);
                let drift = Drift {
                    service: service.clone(),
                    template: (world.show)(pattern.template.as_bytes()),
                    name: (world.show)(name.as_bytes()),
                    median,
                    evidence,
                };
                found.push((p, drift));
            }
        }
    }
    // So many looks find something by chance: the level is shared among them.
    found.retain(|(p, _)| p * looks as f64 <= SURE);
    let size = |drift: &Drift| drift.ratio().ln().abs();
    found.sort_by(|a, b| size(&b.1).total_cmp(&size(&a.1)));
    found.into_iter().map(|(_, drift)| drift).collect()
}

/// The medians of values that drifted, and the chance of that.
fn look(values: &BeforeAfter<Vec<f64>>) -> Option<(f64, BeforeAfter<f64>)> {
    let histograms = values.as_ref().map(|values| {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    });
    let median = histograms
        .as_ref()
        .map(|h| h.percentile(0.5).unwrap_or(0.0));
    if median.before <= 0.0 || median.after <= 0.0 {
        return None;
    }
    if is_few(values) {
        return lie_apart(values).then_some((0.0, median));
    }
    let ratio = median.after / median.before;
    let coarse = histograms.map(|h| h.coarse());
    if ratio >= MOVED_BY {
        Some((longer(&coarse.before, &coarse.after), median))
    } else if ratio <= 1.0 / MOVED_BY {
        Some((longer(&coarse.after, &coarse.before), median))
    } else {
        None
    }
}

/// The samples of both sides for each service that has them. Durations of requests are compared as latency.
fn pairs<'a>(
    world: &'a World<'_>,
    pattern: &'a Pattern,
) -> impl Iterator<Item = (&'a ServiceId, &'a Numbers, &'a Numbers)> {
    let of = move |side: Side| {
        pattern.parts.iter().filter_map(move |part| {
            let (its, service) = world.source(part.source);
            let numbers = part.numbers.as_ref().filter(|_| part.latency.is_none())?;
            (its == side).then_some((&service.id, numbers))
        })
    };
    of(Side::Before).flat_map(move |(id, before)| {
        let same = of(Side::After).filter(move |(other, _)| *other == id);
        same.map(move |(_, after)| (id, before, after))
    })
}

/// Names of things instead of amounts.
fn is_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = [
        "id", "pid", "tid", "port", "line", "order", "user", "customer", "account", "number",
        "seq", "sequence", "offset", "version", "build", "job", "task", "worker", "thread",
        "attempt",
    ];
    let last = name
        .rsplit(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or(&name);
    words.contains(&last)
}

/// Whether these are values of something that goes up and down: enough of them, not all the same on each side, and no
/// counter.
fn is_measure(values: &BeforeAfter<Vec<f64>>) -> bool {
    let is_constant = |values: &[f64]| values.windows(2).all(|pair| pair[0] == pair[1]);
    values.before.len() >= LEAST
        && values.after.len() >= LEAST
        && !(is_constant(&values.before) && is_constant(&values.after))
        && if is_few(values) {
            // Too few for a correlation: a counter never goes back.
            !(values.before.is_sorted() && values.after.is_sorted())
        } else {
            trend(&values.before).abs() < TREND
        }
}

fn is_few(values: &BeforeAfter<Vec<f64>>) -> bool {
    values.before.len() < TESTED || values.after.len() < TESTED
}

/// Whether all values of one side are at least twice those of the other.
fn lie_apart(values: &BeforeAfter<Vec<f64>>) -> bool {
    let ends = values.as_ref().map(|values| {
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        (values.iter()).fold(ends, |(low, high), v| (low.min(*v), high.max(*v)))
    });
    ends.after.0 >= MOVED_BY * ends.before.1 || ends.before.0 >= MOVED_BY * ends.after.1
}

/// The rank correlation (Spearman) of values with their order: 1 for a counter, 0 for noise.
fn trend(values: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut at = 0;
    while at < order.len() {
        // Equal values share the middle of their ranks.
        let value = values[order[at]];
        let end = at
            + order[at..]
                .iter()
                .take_while(|i| values[**i] == value)
                .count();
        for index in &order[at..end] {
            ranks[*index] = (at + end - 1) as f64 / 2.0;
        }
        at = end;
    }
    let middle = (values.len() as f64 - 1.0) / 2.0;
    let (mut both, mut own, mut time) = (0.0, 0.0, 0.0);
    for (at, rank) in ranks.iter().enumerate() {
        let (x, y) = (at as f64 - middle, rank - middle);
        both += x * y;
        own += y * y;
        time += x * x;
    }
    if own == 0.0 || time == 0.0 {
        return 0.0;
    }
    both / (own * time).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_trend_and_measures_do_not() {
        let counter: Vec<f64> = (0..50).map(f64::from).collect();
        assert!((trend(&counter) - 1.0).abs() < 1e-9);
        let noise: Vec<f64> = (0..50).map(|n| f64::from(n * 37 % 50)).collect();
        assert!(trend(&noise).abs() < 0.3, "{}", trend(&noise));
        assert_eq!(trend(&[3.0; 20]), 0.0);
    }

    #[test]
    fn a_few_values_must_lie_apart() {
        let values =
            |before: &[f64], after: &[f64]| BeforeAfter::new(before.to_vec(), after.to_vec());
        let connections = values(&[15.0, 20.0, 18.0, 22.0], &[85.0, 98.0, 100.0]);
        assert!(is_measure(&connections) && lie_apart(&connections));
        let counter = values(&[10.0, 20.0, 30.0], &[100.0, 110.0, 120.0]);
        assert!(!is_measure(&counter));
        assert!(!lie_apart(&values(
            &[15.0, 20.0, 60.0],
            &[85.0, 98.0, 100.0]
        )));
        assert!(!is_measure(&values(&[1.0, 2.0], &[9.0, 8.0])));
    }

    #[test]
    fn ids_are_no_amounts() {
        for name in ["id", "order_id", "pid", "Order", "app.worker", "port"] {
            assert!(is_identity(name), "{name}");
        }
        for name in ["connections", "in_use", "queue", "", "paid"] {
            assert!(!is_identity(name), "{name}");
        }
    }
}
