//! Chance that comes out the same for the same seed.

/// A small generator (xorshift), so that a pair of logs can be made again from its seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // Seeds that differ in a bit have to part.
        for _ in 0..16 {
            dice.next();
        }
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number in `0..below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        (self.next() >> 11) % below.max(1)
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of them.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Which of the weights a draw falls on.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.part() * weights.clone().sum::<f64>();
        let mut last = 0;
        for (at, weight) in weights.enumerate() {
            last = at;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// The time until the next of events that come by themselves, so many a second.
    pub(crate) fn wait(&mut self, per_second: f64) -> f64 {
        -(1.0 - self.part()).ln() / per_second
    }

    /// Around 1, as durations are: most a little less, a few much more (log-normal).
    pub(crate) fn spread(&mut self, sigma: f64) -> f64 {
        let (a, b) = (1.0 - self.part(), self.part());
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        (normal * sigma).exp()
    }
}
