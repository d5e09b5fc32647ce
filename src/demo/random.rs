//! Chance for the shop's traffic: enough to look like people, no more.

use std::time::Duration;

/// A xorshift generator. Not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.0 |= 1;
        // The first numbers of near seeds are near.
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Evenly from 0 up to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// Evenly from `low` up to `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + (self.share() * (high.saturating_sub(low)) as f64) as u64
    }

    /// A duration as services have them: most near the median, few up to four times as long.
    pub(super) fn duration_around(&mut self, median: Duration) -> Duration {
        let spread = self.share() + self.share() + self.share() - 1.5;
        median.mul_f64((spread * 0.9).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_durations_stay_near_their_median() {
        let mut random = Random::new(7);
        let hits = (0..10_000).filter(|_| random.happens(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        let median = Duration::from_millis(100);
        let mut all: Vec<Duration> = (0..1000).map(|_| random.duration_around(median)).collect();
        all.sort();
        assert!(all[0] > median / 5 && all[999] < median * 4);
        assert!((80..125).contains(&all[500].as_millis()), "{:?}", all[500]);
    }
}
