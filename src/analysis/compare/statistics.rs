//! The tests behind every "more", "worse" and "slower".
//!
//! Rates are tested twice and the weaker answer counts: an exact conditional test, which is right for few events,
//! and a Wald test with over-dispersion, which is right for many (real traffic varies more than dice do). Durations
//! are tested by rank, because they have no shape that could be assumed.

/// Real rates vary between two quiet windows by about a quarter: the squared coefficient of variation where nothing
/// better is known.
pub const OVER_DISPERSION: f64 = 0.0625;
/// However much a service varied: twice its usual rate must stay something that a test can see.
const MOST_DISPERSION: f64 = 0.25;
/// So many windows weigh as much as what is assumed of a service that nobody knows.
const ASSUMED_WINDOWS: f64 = 4.0;
/// Fewer windows than this tell nothing of how much they vary.
const LEAST_WINDOWS: usize = 3;
/// Fewer events a window than this vary by chance alone.
const LEAST_EVENTS: f64 = 10.0;

/// How much happened, and out of how much (requests, or seconds).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Events.
    pub events: u64,
    /// What they are counted against.
    pub exposure: f64,
}

impl Rate {
    /// Events over exposure.
    pub fn value(&self) -> f64 {
        if self.exposure > 0.0 {
            self.events as f64 / self.exposure
        } else {
            0.0
        }
    }
}

/// The upper tail of the standard normal distribution (Abramowitz and Stegun 7.1.26 is too rough in the tail;
/// this is the continued fraction of erfc, good to 1e-12).
pub fn normal_tail(z: f64) -> f64 {
    if z < 0.0 {
        return 1.0 - normal_tail(-z);
    }
    if z > 38.0 {
        return 0.0;
    }
    if z < 2.0 {
        // Series of the error function.
        let (mut term, mut sum) = (z, z);
        let mut n = 0.0;
        while term.abs() > 1e-16 {
            n += 1.0;
            term *= -z * z / (2.0 * n);
            sum += term / (2.0 * n + 1.0);
        }
        return 0.5 - sum / (2.0 * std::f64::consts::PI).sqrt();
    }
    let mut fraction = 0.0;
    for n in (1..=120).rev() {
        fraction = f64::from(n) / (z + fraction);
    }
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() / (z + fraction)
}

fn ln_gamma(x: f64) -> f64 {
    // Lanczos, g = 7.
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum = C[1..]
        .iter()
        .enumerate()
        .fold(C[0], |sum, (i, c)| sum + c / (x + i as f64 + 1.0));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised incomplete beta function, by Lentz's continued fraction.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front =
        (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let tiny = 1e-300;
    let guard = |v: f64| if v.abs() < tiny { tiny } else { v };
    let (mut c, mut d) = (1.0, 1.0 / guard(1.0 - (a + b) * x / (a + 1.0)));
    let mut result = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / guard(1.0 + numerator * d);
            c = guard(1.0 + numerator / c);
            result *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-13 {
            break;
        }
    }
    front * result
}

/// The chance of at least `k` of `n`, each with probability `p`.
fn binomial_tail(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n {
        return 0.0;
    }
    incomplete_beta(k as f64, (n - k) as f64 + 1.0, p)
}

/// The exact one-sided mid-p of "after is higher": given all events, how many fall into after by chance.
pub fn exact_higher(before: Rate, after: Rate) -> f64 {
    let total = before.events + after.events;
    let exposure = before.exposure + after.exposure;
    if total == 0 || exposure <= 0.0 {
        return 1.0;
    }
    let share = after.exposure / exposure;
    let at_least = binomial_tail(after.events, total, share);
    let more = binomial_tail(after.events + 1, total, share);
    f64::midpoint(at_least, more).clamp(0.0, 1.0)
}

/// Logarithm of the rate ratio and its standard error, half an event added so that 0 has one.
fn log_ratio(before: Rate, after: Rate, dispersion: f64) -> Option<(f64, f64)> {
    if before.exposure <= 0.0 || after.exposure <= 0.0 {
        return None;
    }
    let (a, b) = (before.events as f64 + 0.5, after.events as f64 + 0.5);
    let ratio = (b / after.exposure) / (a / before.exposure);
    Some((ratio.ln(), (1.0 / a + 1.0 / b + dispersion).sqrt()))
}

/// The squared coefficient of variation of a rate between quiet windows, beyond what chance explains (method of
/// moments), drawn towards [`OVER_DISPERSION`] the fewer windows there are. `None` where fewer than three windows, or
/// fewer than ten events a window, tell nothing.
pub fn dispersion(windows: &[Rate]) -> Option<f64> {
    let windows: Vec<&Rate> = windows.iter().filter(|w| w.exposure > 0.0).collect();
    let events: u64 = windows.iter().map(|w| w.events).sum();
    let n = windows.len() as f64;
    if windows.len() < LEAST_WINDOWS || (events as f64) < LEAST_EVENTS * n {
        return None;
    }
    let exposure: f64 = windows.iter().map(|w| w.exposure).sum();
    let mean = events as f64 / exposure;
    let excess: f64 = windows
        .iter()
        .map(|w| (w.value() - mean).powi(2) - mean / w.exposure)
        .sum();
    let measured = (excess / (n - 1.0) / mean.powi(2)).clamp(0.0, 1.0);
    let free = n - 1.0;
    let drawn = (ASSUMED_WINDOWS * OVER_DISPERSION + free * measured) / (ASSUMED_WINDOWS + free);
    Some(drawn.min(MOST_DISPERSION))
}

/// The one-sided p of "the rate is higher after": the weaker of the exact and the over-dispersed test. `dispersion` is
/// how much the rate varies between quiet windows: [`OVER_DISPERSION`] where that was not measured.
pub fn higher(before: Rate, after: Rate, dispersion: f64) -> f64 {
    let wald =
        log_ratio(before, after, dispersion).map_or(1.0, |(log, error)| normal_tail(log / error));
    exact_higher(before, after).max(wald)
}

/// The 95 % interval of the rate ratio, after over before.
pub fn ratio_interval(before: Rate, after: Rate) -> Option<(f64, f64)> {
    let (log, error) = log_ratio(before, after, 0.0)?;
    Some(((log - 1.96 * error).exp(), (log + 1.96 * error).exp()))
}

/// The 95 % interval of a share (Wilson).
pub fn share_interval(events: u64, of: u64) -> Option<(f64, f64)> {
    if of == 0 {
        return None;
    }
    let n = of as f64;
    let p = (events as f64 / n).min(1.0);
    let z2 = 1.96 * 1.96;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = 1.96 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// The one-sided p of "durations are longer after" (Mann–Whitney with ties, normal approximation), over buckets in
/// ascending order with their counts.
pub fn longer(before: &[(usize, u64)], after: &[(usize, u64)]) -> f64 {
    let n1: u64 = before.iter().map(|(_, c)| c).sum();
    let n2: u64 = after.iter().map(|(_, c)| c).sum();
    if n1 == 0 || n2 == 0 {
        return 1.0;
    }
    let (n1f, n2f) = (n1 as f64, n2 as f64);
    let n = n1f + n2f;
    let (mut i, mut j) = (0, 0);
    let (mut ranked, mut wins, mut ties) = (0.0, 0.0, 0.0);
    while i < before.len() || j < after.len() {
        let next = before
            .get(i)
            .map_or(usize::MAX, |b| b.0)
            .min(after.get(j).map_or(usize::MAX, |b| b.0));
        let mut here = [0.0, 0.0];
        if before.get(i).is_some_and(|b| b.0 == next) {
            here[0] = before[i].1 as f64;
            i += 1;
        }
        if after.get(j).is_some_and(|b| b.0 == next) {
            here[1] = after[j].1 as f64;
            j += 1;
        }
        let tied = here[0] + here[1];
        wins += here[1] * (ranked + here[0] / 2.0);
        ranked += here[0];
        ties += tied * tied * tied - tied;
    }
    let mean = n1f * n2f / 2.0;
    let variance = n1f * n2f / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)).max(1.0));
    if variance <= 0.0 {
        return if wins > mean { 0.0 } else { 1.0 };
    }
    normal_tail((wins - mean - 0.5) / variance.sqrt())
}

/// Benjamini–Hochberg: which of the p values are significant when so many are looked at, at a false discovery
/// rate of `q`.
pub fn discoveries(p_values: &[f64], q: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let count = p_values.len() as f64;
    let last = order
        .iter()
        .enumerate()
        .rev()
        .find(|(rank, index)| p_values[**index] <= q * (*rank as f64 + 1.0) / count)
        .map(|(rank, _)| rank);
    let mut found = vec![false; p_values.len()];
    if let Some(last) = last {
        for index in &order[..=last] {
            found[*index] = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(events: u64, exposure: f64) -> Rate {
        Rate { events, exposure }
    }

    fn near(a: f64, b: f64, by: f64) -> bool {
        (a - b).abs() <= by
    }

    #[test]
    fn known_values_of_the_distributions() {
        assert!(near(normal_tail(0.0), 0.5, 1e-12));
        assert!(near(normal_tail(1.959_963_985), 0.025, 1e-9));
        assert!(near(normal_tail(3.090_232), 0.001, 1e-8));
        assert!(near(normal_tail(-1.0), 0.841_344_746, 1e-9));
        assert!(near(binomial_tail(8, 10, 0.5), 56.0 / 1024.0, 1e-12));
        assert!(near(binomial_tail(1, 3, 0.2), 1.0 - 0.512, 1e-12));
        assert!(binomial_tail(600_000, 1_000_000, 0.5) < 1e-100);
    }

    #[test]
    fn the_exact_test_is_a_mid_p() {
        // All four events in the second of two equal windows: 1/16 counted half.
        assert!(near(
            exact_higher(rate(0, 1.0), rate(4, 1.0)),
            0.031_25,
            1e-12
        ));
        assert_eq!(exact_higher(rate(0, 1.0), rate(0, 1.0)), 1.0);
    }

    #[test]
    fn a_longer_window_alone_changes_nothing() {
        let higher = |before, after| super::higher(before, after, OVER_DISPERSION);
        assert!(higher(rate(10, 100.0), rate(100, 1000.0)) > 0.3);
        assert!(higher(rate(5, 1000.0), rate(50, 200.0)) < 1e-6);
        assert!(higher(rate(100_000, 1e6), rate(110_000, 1e6)) > 0.1);
    }

    #[test]
    fn ranks_see_a_shift_and_no_noise() {
        let at = |from: usize| (from..from + 20).map(|b| (b, 10)).collect::<Vec<_>>();
        assert!(near(longer(&at(100), &at(100)), 0.5, 0.01));
        assert!(longer(&at(100), &at(110)) < 1e-6);
        assert!(longer(&at(110), &at(100)) > 0.999);
        assert_eq!(longer(&[], &at(1)), 1.0);
        assert_eq!(longer(&[(5, 40)], &[(5, 40)]), 1.0);
    }

    #[test]
    fn intervals_hold_the_value() {
        let (low, high) = share_interval(0, 100).unwrap();
        assert!(low == 0.0 && high > 0.03 && high < 0.04);
        let (low, high) = ratio_interval(rate(5, 1000.0), rate(50, 200.0)).unwrap();
        assert!(low < 50.0 && high > 50.0 && low > 15.0);
        assert_eq!(share_interval(0, 0), None);
    }

    #[test]
    fn many_looks_need_a_smaller_p() {
        assert_eq!(
            discoveries(&[0.001, 0.5, 0.009, 0.02], 0.01),
            [true, false, false, false]
        );
        assert_eq!(discoveries(&[], 0.01), Vec::<bool>::new());
    }

    #[test]
    fn how_much_a_service_varies_is_learned_from_its_quiet_windows() {
        let windows =
            |events: &[u64]| -> Vec<Rate> { events.iter().map(|e| rate(*e, 10_000.0)).collect() };
        // Too few windows, too few events.
        assert_eq!(dispersion(&windows(&[100, 100])), None);
        assert_eq!(dispersion(&windows(&[3, 0, 1, 2])), None);
        assert_eq!(dispersion(&[rate(50, 0.0); 5]), None);
        // One that is steadier than assumed, the more so the longer it is known.
        let calm = dispersion(&windows(&[100, 104, 97, 101])).unwrap();
        assert!(calm < OVER_DISPERSION && calm > 0.02, "{calm}");
        let known = dispersion(&windows(&[100, 104, 97, 101].repeat(6))).unwrap();
        assert!(known < calm / 2.0, "{known}");
        // One that doubles at noon every day is no alarm when it doubles.
        let noon = dispersion(&windows(&[60, 210, 70, 190, 65, 205])).unwrap();
        assert!(noon > 2.0 * OVER_DISPERSION, "{noon}");
        let doubled = (rate(90, 10_000.0), rate(200, 10_000.0));
        assert!(higher(doubled.0, doubled.1, noon) > higher(doubled.0, doubled.1, calm) * 10.0);
        // And yet nothing hides a rate that is ten times as high.
        let wild = dispersion(&windows(&[1, 400, 2, 900, 1, 3])).unwrap();
        assert_eq!(wild, MOST_DISPERSION);
        assert!(higher(rate(100, 10_000.0), rate(1_000, 10_000.0), wild) < 1e-4);
    }
}
