//! When something occurred: counts in at most 32 buckets of time, however long it goes on and in whatever order it comes.
//!
//! Buckets are a power of two of seconds wide and start at a multiple of that, so that those of two sources add up. They
//! start at one second and grow as what they hold spreads out: no span has to be known before. The first bucket always
//! holds something.

use serde::{Deserialize, Serialize};

/// Buckets that are kept.
pub const BUCKETS: usize = 32;

/// Counts by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Plain", into = "Plain")]
pub struct TimeBuckets {
    /// The width is two to the power of this, in seconds.
    exponent: u32,
    /// Which bucket since 1970 the first one is.
    first: i64,
    counts: [u64; BUCKETS],
}

/// What stands in JSON: `{from_ms, bucket_ms, counts}`.
#[derive(Serialize, Deserialize)]
struct Plain {
    /// Milliseconds since 1970.
    from_ms: i64,
    bucket_ms: i64,
    counts: Vec<u64>,
}

impl TimeBuckets {
    /// None yet; the first second that comes is where they start.
    pub fn starting(second: i64) -> Self {
        Self {
            exponent: 0,
            first: second,
            counts: [0; BUCKETS],
        }
    }

    /// Counts that many more in a second since 1970.
    pub fn add(&mut self, second: i64, count: u64) {
        loop {
            let at = (second >> self.exponent) - self.first;
            if let Some(slot) = usize::try_from(at)
                .ok()
                .and_then(|at| self.counts.get_mut(at))
            {
                *slot += count;
                return;
            }
            if !self.shift(at) {
                self.coarsen();
            }
        }
    }

    /// Adds what another source counted.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        while other.exponent < self.exponent {
            other.coarsen();
        }
        while self.exponent < other.exponent {
            self.coarsen();
        }
        for (at, count) in other.held() {
            self.add((other.first + at) << other.exponent, count);
        }
    }

    /// Adds what another source counted, if it counted anything.
    pub fn join(own: &mut Option<Box<Self>>, other: Option<&Self>) {
        match (own, other) {
            (Some(own), Some(other)) => own.merge(other),
            (own @ None, Some(other)) => *own = Some(Box::new(other.clone())),
            (_, None) => {}
        }
    }

    /// When the first bucket starts, in seconds since 1970.
    pub fn from(&self) -> i64 {
        self.first << self.exponent
    }

    /// How wide a bucket is, in seconds.
    pub fn width(&self) -> i64 {
        1 << self.exponent
    }

    /// The counts, up to the last bucket that has one.
    pub fn counts(&self) -> &[u64] {
        let last = self.counts.iter().rposition(|count| *count > 0);
        &self.counts[..last.map_or(0, |last| last + 1)]
    }

    /// The buckets that hold something, with their place.
    fn held(&self) -> impl Iterator<Item = (i64, u64)> + use<> {
        (0..).zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Moves what is held so that place `at` is one of the buckets. False where they are too few for that.
    fn shift(&mut self, at: i64) -> bool {
        let (lowest, highest) = self.held().fold((at, at), |(low, high), (place, _)| {
            (low.min(place), high.max(place))
        });
        if highest - lowest >= BUCKETS as i64 {
            return false;
        }
        let mut counts = [0; BUCKETS];
        for (place, count) in self.held() {
            counts[usize::try_from(place - lowest).unwrap_or_default()] += count;
        }
        self.counts = counts;
        self.first += lowest;
        true
    }

    /// Makes the buckets twice as wide.
    fn coarsen(&mut self) {
        let first = self.first >> 1;
        let mut counts = [0; BUCKETS];
        for (place, count) in self.held() {
            let at = ((self.first + place) >> 1) - first;
            counts[usize::try_from(at).unwrap_or_default()] += count;
        }
        self.exponent += 1;
        self.first = first;
        self.counts = counts;
    }
}

impl From<TimeBuckets> for Plain {
    fn from(buckets: TimeBuckets) -> Self {
        Self {
            from_ms: buckets.from().saturating_mul(1000),
            bucket_ms: buckets.width().saturating_mul(1000),
            counts: buckets.counts().to_vec(),
        }
    }
}

impl From<Plain> for TimeBuckets {
    fn from(plain: Plain) -> Self {
        let from = plain.from_ms.div_euclid(1000);
        let width = (plain.bucket_ms / 1000).max(1);
        let mut buckets = Self::starting(from);
        buckets.exponent = width.ilog2();
        buckets.first = from >> buckets.exponent;
        for (at, count) in (0..).zip(plain.counts) {
            buckets.add(from.saturating_add(width.saturating_mul(at)), count);
        }
        buckets
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(seconds: &[i64]) -> TimeBuckets {
        let mut buckets = TimeBuckets::starting(seconds[0]);
        for second in seconds {
            buckets.add(*second, 1);
        }
        buckets
    }

    #[test]
    fn buckets_grow_with_what_they_hold() {
        let short = of(&[100, 100, 101, 110]);
        assert_eq!((short.from(), short.width()), (100, 1));
        assert_eq!(short.counts(), [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        // An hour, each second once.
        let hour = of(&(7_200..10_800).collect::<Vec<_>>());
        assert_eq!((hour.from(), hour.width()), (7_168, 128));
        assert_eq!(hour.counts().len(), 29);
        assert!(hour.counts()[1..28].iter().all(|count| *count == 128));
        assert_eq!(hour.counts().iter().sum::<u64>(), 3_600);
    }

    #[test]
    fn what_comes_late_finds_its_place() {
        let late = of(&[100, 90, 120, 60]);
        assert_eq!((late.from(), late.width()), (60, 2));
        assert_eq!(late.counts().iter().sum::<u64>(), 4);
        assert_eq!(
            (late.counts()[0], late.counts()[15], late.counts()[20]),
            (1, 1, 1)
        );
        // The clock of a board that starts in 1970.
        let apart = of(&[0, 1_766_847_000, i64::from(i32::MIN)]);
        assert_eq!(apart.counts().iter().sum::<u64>(), 3);
    }

    proptest! {
        /// Whatever the order and however they were split, the same counts at the same place; nothing is lost.
        #[test]
        fn order_and_parts_change_nothing(
            seconds in prop::collection::vec(-5_000_i64..2_000_000, 1..80),
            split in 0_usize..80,
        ) {
            let whole = of(&seconds);
            prop_assert_eq!(whole.counts().iter().sum::<u64>(), seconds.len() as u64);
            let split = split.min(seconds.len() - 1);
            let mut parts = of(&seconds[split..]);
            if split > 0 {
                parts.merge(&of(&seconds[..split]));
            }
            prop_assert_eq!(parts.width(), whole.width());
            for (at, count) in (0..).zip(whole.counts()) {
                let from = whole.from() + at * whole.width();
                let own = seconds.iter().filter(|s| (from..from + whole.width()).contains(s)).count();
                prop_assert_eq!(*count, own as u64);
            }
            let text = serde_json::to_string(&whole).unwrap();
            let again: TimeBuckets = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(again.counts().iter().sum::<u64>(), seconds.len() as u64);
            prop_assert_eq!((again.from(), again.width()), (whole.from(), whole.width()));
        }
    }
}
