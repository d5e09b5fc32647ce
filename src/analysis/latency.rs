//! Durations of requests: exact while there are few, log-linear buckets when there are many.
//!
//! Percentiles are by nearest rank, so a p99 of 812 ms is a request that someone made (or, in buckets, within
//! 0.8 % of one). Two histograms merge into the histogram of both, in any order.

use crate::domain::comparison::LatencySummary;

/// Buckets an octave where there are too many samples to keep each.
const FINE: u32 = 128;
/// Buckets an octave for the rank test: fine enough for a shift of 5 %, coarse enough to be quick.
const COARSE: u32 = 16;
/// Samples that are kept exactly by default.
const EXACT: usize = 65_536;

/// Durations in milliseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    count: u64,
    sum: f64,
    max: f64,
    /// How many samples may be kept exactly.
    bound: usize,
    samples: Vec<f64>,
    /// The first bucket that is kept, and the counts from there on; empty while every sample is kept.
    first: usize,
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::with_bound(EXACT)
    }
}

/// The bucket of a duration, with `parts` buckets an octave of microseconds.
fn bucket(ms: f64, parts: u32) -> usize {
    let us = (ms * 1000.0).clamp(1.0, 9.0e15) as u64;
    let octave = us.ilog2();
    let base = 1u64 << octave;
    // Below 2^53 microseconds, so that the product stays within 64 bits.
    let within = (((us - base) * u64::from(parts)) >> octave) as u32;
    (octave * parts + within) as usize
}

/// The middle of a bucket, in milliseconds.
fn middle(index: usize, parts: u32) -> f64 {
    let octave = index as u32 / parts;
    let within = f64::from(index as u32 % parts) + 0.5;
    (1u64 << octave) as f64 * (1.0 + within / f64::from(parts)) / 1000.0
}

impl Histogram {
    /// A histogram that keeps at most so many samples exactly.
    pub fn with_bound(bound: usize) -> Self {
        Self {
            count: 0,
            sum: 0.0,
            max: 0.0,
            bound,
            samples: Vec::new(),
            first: 0,
            buckets: Vec::new(),
        }
    }

    /// Adds one duration. A negative or non-finite one is not a duration and is left out.
    pub fn record(&mut self, ms: f64) {
        if !ms.is_finite() || ms < 0.0 {
            return;
        }
        self.count += 1;
        self.sum += ms;
        self.max = self.max.max(ms);
        if self.buckets.is_empty() {
            if self.samples.len() < self.bound {
                self.samples.push(ms);
                return;
            }
            self.spill();
        }
        self.add_to_bucket(bucket(ms, FINE), 1);
    }

    fn spill(&mut self) {
        for ms in std::mem::take(&mut self.samples) {
            self.add_to_bucket(bucket(ms, FINE), 1);
        }
    }

    fn add_to_bucket(&mut self, index: usize, count: u64) {
        if self.buckets.is_empty() {
            self.first = index;
            self.buckets.push(count);
            return;
        }
        if index < self.first {
            let missing = self.first - index;
            self.buckets.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = index;
        }
        let at = index - self.first;
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, 0);
        }
        self.buckets[at] += count;
    }

    /// Adds all samples of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty()
            && other.buckets.is_empty()
            && self.samples.len() + other.samples.len() <= self.bound
        {
            self.samples.extend_from_slice(&other.samples);
        } else {
            self.spill();
            for ms in &other.samples {
                self.add_to_bucket(bucket(*ms, FINE), 1);
            }
            for (at, count) in other.buckets.iter().enumerate().filter(|(_, c)| **c > 0) {
                self.add_to_bucket(other.first + at, *count);
            }
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The arithmetic mean; `None` without a sample.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    /// Nearest-rank percentiles for ascending fractions in (0, 1]; `None` without a sample.
    pub fn percentiles<const N: usize>(&self, fractions: [f64; N]) -> [Option<f64>; N] {
        if self.count == 0 {
            return [None; N];
        }
        let rank =
            |fraction: f64| ((fraction * self.count as f64).ceil() as u64).clamp(1, self.count);
        if self.buckets.is_empty() {
            let mut sorted = self.samples.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            return fractions.map(|f| sorted.get(rank(f) as usize - 1).copied());
        }
        fractions.map(|f| {
            let wanted = rank(f);
            let mut seen = 0;
            let at = self.buckets.iter().position(|count| {
                seen += count;
                seen >= wanted
            })?;
            Some(middle(self.first + at, FINE).min(self.max))
        })
    }

    /// One nearest-rank percentile.
    pub fn percentile(&self, fraction: f64) -> Option<f64> {
        self.percentiles([fraction])[0]
    }

    /// The numbers as they are shown.
    pub fn summary(&self) -> LatencySummary {
        let [p50, p95, p99] = self.percentiles([0.50, 0.95, 0.99]);
        LatencySummary {
            count: self.count,
            mean: self.mean(),
            p50,
            p95,
            p99,
            max: (self.count > 0).then_some(self.max),
        }
    }

    /// How many samples lie over a limit; those in the limit's own bucket are counted by the bucket's middle.
    pub fn over(&self, limit_ms: f64) -> u64 {
        if self.buckets.is_empty() {
            return self.samples.iter().filter(|ms| **ms > limit_ms).count() as u64;
        }
        self.buckets
            .iter()
            .enumerate()
            .filter(|(at, _)| middle(self.first + at, FINE) > limit_ms)
            .map(|(_, count)| count)
            .sum()
    }

    /// Sixteen buckets an octave, for the rank test: bucket numbers ascending, with their counts.
    pub fn coarse(&self) -> Vec<(usize, u64)> {
        let mut counts: Vec<(usize, u64)> = Vec::new();
        let mut add = |index: usize, count: u64| match counts.last_mut() {
            Some((last, n)) if *last == index => *n += count,
            _ => counts.push((index, count)),
        };
        if self.buckets.is_empty() {
            let mut sorted = self.samples.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            for ms in sorted {
                add(bucket(ms, COARSE), 1);
            }
        } else {
            let ratio = (FINE / COARSE) as usize;
            for (at, count) in self.buckets.iter().enumerate().filter(|(_, c)| **c > 0) {
                add((self.first + at) / ratio, *count);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64], bound: usize) -> Histogram {
        let mut histogram = Histogram::with_bound(bound);
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    #[test]
    fn percentiles_are_samples() {
        let histogram = of(&(1..=100).map(f64::from).collect::<Vec<_>>(), 1000);
        assert_eq!(
            histogram.percentiles([0.5, 0.95, 0.99, 1.0]),
            [Some(50.0), Some(95.0), Some(99.0), Some(100.0)]
        );
        assert_eq!(histogram.mean(), Some(50.5));
        assert_eq!(histogram.over(90.0), 10);
    }

    #[test]
    fn nothing_measured_is_nothing_shown() {
        let summary = Histogram::default().summary();
        assert_eq!(
            (summary.count, summary.mean, summary.p95, summary.max),
            (0, None, None, None)
        );
    }

    #[test]
    fn buckets_stay_within_one_percent() {
        let values: Vec<f64> = (0..5000).map(|i| 0.5 * 1.002_f64.powi(i)).collect();
        let exact = of(&values, 10_000);
        let rough = of(&values, 10);
        for fraction in [0.01, 0.5, 0.95, 0.99] {
            let (a, b) = (
                exact.percentile(fraction).unwrap(),
                rough.percentile(fraction).unwrap(),
            );
            assert!((a - b).abs() / a < 0.01, "{fraction}: {a} {b}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_left_out() {
        assert_eq!(of(&[f64::NAN, -1.0, f64::INFINITY], 10).count(), 0);
        assert_eq!(of(&[0.0], 0).percentile(0.5), Some(0.0));
    }

    proptest! {
        #[test]
        fn the_merge_is_the_histogram_of_all(
            a in proptest::collection::vec(0.0..1e6f64, 0..200),
            b in proptest::collection::vec(0.0..1e6f64, 0..200),
            bound in 0usize..300,
        ) {
            let mut merged = of(&a, bound);
            merged.merge(&of(&b, bound));
            let all: Vec<f64> = a.iter().chain(&b).copied().collect();
            let whole = of(&all, bound);
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!(merged.coarse(), whole.coarse());
            prop_assert_eq!(merged.percentiles([0.5, 0.95, 0.99]), whole.percentiles([0.5, 0.95, 0.99]));
            prop_assert_eq!(merged.summary().max, whole.summary().max);
        }
    }
}
