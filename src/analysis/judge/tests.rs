use proptest::prelude::*;

use super::*;
use crate::analysis::compare::statistics::OVER_DISPERSION;
use crate::domain::verdict::Severity;

fn tally(requests: u64, failed: u64, ms: impl Fn(u64) -> f64) -> Tally {
    let mut tally = Tally::default();
    for i in 0..requests {
        tally.request(Some(if i < failed { 500 } else { 200 }), Some(ms(i)), false);
    }
    tally
}

/// The seeds' service: durations 40 % around a mean.
fn around(mean: f64) -> impl Fn(u64) -> f64 {
    move |i| mean * (0.6 + 0.8 * ((i * 37) % 100) as f64 / 100.0)
}

struct Case {
    service: ServiceId,
    limits: Limits,
    before: Option<Tally>,
    after: Option<Tally>,
}

impl Case {
    fn new(before: Option<Tally>, after: Option<Tally>) -> Self {
        Self {
            service: ServiceId::local("shop", "backend"),
            limits: Limits::default(),
            before,
            after,
        }
    }

    fn evidence(&self) -> Evidence<'_> {
        let records = |t: &Option<Tally>| t.as_ref().map_or(0, |t| t.counts.requests);
        Evidence {
            service: &self.service,
            limits: &self.limits,
            total: BeforeAfter::new(self.before.as_ref(), self.after.as_ref()),
            records: BeforeAfter::new(records(&self.before), records(&self.after)),
            seconds: BeforeAfter::new(Some(3600.0), Some(600.0)),
            by_status: true,
            dispersion: OVER_DISPERSION,
            routes: Vec::new(),
            patterns: Vec::new(),
            relevelled: Vec::new(),
            drifts: Vec::new(),
            hard: Vec::new(),
            missing_probes: Vec::new(),
            missing: Vec::new(),
            error_lines: Vec::new(),
            slow_lines: Vec::new(),
        }
    }

    fn verdict(&self) -> Verdict {
        judge(&self.evidence()).verdict
    }
}

fn texts(verdict: &Verdict) -> String {
    verdict
        .findings
        .iter()
        .map(|f| format!("{:?} {}: {}\n", f.severity, f.rule, f.text))
        .collect()
}

#[test]
fn the_seeds_bad_release_rolls_back_as_p0() {
    let case = Case::new(
        Some(tally(1000, 5, around(800.0))),
        Some(tally(200, 50, around(3200.0))),
    );
    let verdict = case.verdict();
    assert_eq!(
        (verdict.decision, verdict.severity),
        (Decision::RollBack, Some(Severity::P0))
    );
    assert_eq!(verdict.confidence, Confidence::High);
    let texts = texts(&verdict);
    assert!(
        texts.contains("error rate 0.5 % → 25 % (5 of 1,000 → 50 of 200)"),
        "{texts}"
    );
    assert!(texts.contains("limit-latency_p95"), "{texts}");
}

#[test]
fn the_seeds_rollback_is_kept_with_low_confidence() {
    let case = Case::new(
        Some(tally(1000, 5, around(800.0))),
        Some(tally(100, 0, around(900.0))),
    );
    let verdict = case.verdict();
    let texts = texts(&verdict);
    assert_eq!(
        (verdict.decision, verdict.confidence),
        (Decision::Keep, Confidence::Low),
        "{texts}"
    );
    assert!(texts.contains("already over 1.0 s before"), "{texts}");
    assert!(
        verdict.findings.iter().all(|f| f.severity.is_none()),
        "{texts}"
    );
}

#[test]
fn enough_good_requests_are_kept_with_high_confidence() {
    let case = Case::new(
        Some(tally(5000, 10, around(100.0))),
        Some(tally(5000, 9, around(100.0))),
    );
    let verdict = case.verdict();
    assert_eq!(
        (verdict.decision, verdict.confidence),
        (Decision::Keep, Confidence::High)
    );
    assert!(verdict.findings.is_empty());
}

#[test]
fn too_few_requests_are_inconclusive() {
    let case = Case::new(
        Some(tally(1000, 0, around(100.0))),
        Some(tally(29, 0, around(100.0))),
    );
    let judgement = judge(&case.evidence());
    assert_eq!(judgement.verdict.decision, Decision::Inconclusive);
    assert!(
        judgement.missing[0]
            .as_str()
            .contains("29 requests after the deploy"),
        "{:?}",
        judgement.missing
    );
}

#[test]
fn no_baseline_is_judged_by_limits_alone() {
    let bad = Case::new(None, Some(tally(100, 10, around(100.0)))).verdict();
    assert_eq!(
        (bad.decision, bad.severity),
        (Decision::RollBack, Some(Severity::P0))
    );
    let good = Case::new(None, Some(tally(100, 0, around(100.0)))).verdict();
    assert_eq!(
        (good.decision, good.confidence),
        (Decision::Keep, Confidence::Low)
    );
}

#[test]
fn limits_are_those_of_the_contract() {
    // p95 between 1 and 2 s: P1, watched; over 2 s: P0.
    let p1 = Case::new(
        Some(tally(500, 0, around(800.0 * 0.7))),
        Some(tally(500, 0, around(800.0))),
    )
    .verdict();
    assert_eq!(
        (p1.decision, p1.severity),
        (Decision::Watch, Some(Severity::P1)),
        "{}",
        texts(&p1)
    );
    // 2 % of errors after none: P1.
    let p1 = Case::new(
        Some(tally(1000, 0, around(50.0))),
        Some(tally(500, 10, around(50.0))),
    )
    .verdict();
    assert!(
        p1.decision.urgency() >= Decision::Watch.urgency(),
        "{}",
        texts(&p1)
    );
    assert_eq!(p1.severity, Some(Severity::P1));
}

#[test]
fn a_limit_that_chance_explains_is_told_and_does_not_count() {
    // 0.9 % before, 1.2 % after of few requests.
    let case = Case::new(
        Some(tally(1000, 9, around(50.0))),
        Some(tally(250, 3, around(50.0))),
    );
    let verdict = case.verdict();
    assert_eq!(verdict.decision, Decision::Keep, "{}", texts(&verdict));
    assert!(texts(&verdict).contains("within chance"));
}

#[test]
fn a_relative_rule_alone_rolls_back_as_p1() {
    let case = Case::new(
        Some(tally(500, 0, around(50.0))),
        Some(tally(500, 0, around(150.0))),
    );
    let verdict = case.verdict();
    assert_eq!(
        (verdict.decision, verdict.severity),
        (Decision::RollBack, Some(Severity::P1)),
        "{}",
        texts(&verdict)
    );
}

#[test]
fn hard_facts_roll_back_whatever_the_logs_say() {
    let case = Case::new(
        Some(tally(500, 0, around(50.0))),
        Some(tally(500, 0, around(50.0))),
    );
    let mut evidence = case.evidence();
    evidence.hard.push(HardFact {
        rule: "probe",
        text: SafeText::from_text("probe http /health failed, it was ok before"),
        evidence: Vec::new(),
    });
    let verdict = judge(&evidence).verdict;
    assert_eq!(
        (verdict.decision, verdict.severity),
        (Decision::RollBack, Some(Severity::P0))
    );
}

#[test]
fn a_missing_probe_is_never_a_keep() {
    let case = Case::new(
        Some(tally(500, 0, around(50.0))),
        Some(tally(500, 0, around(50.0))),
    );
    let mut evidence = case.evidence();
    evidence
        .missing_probes
        .push(SafeText::from_text("http /health"));
    assert_eq!(judge(&evidence).verdict.decision, Decision::Inconclusive);
}

fn new_error(after: u64, seconds: u64) -> TestedPattern {
    TestedPattern {
        template: SafeText::from_text("boom"),
        is_error: true,
        is_fatal: false,
        is_new: true,
        counts: BeforeAfter::new(0, after),
        seconds_after: seconds,
        ratio: None,
        interval: None,
        is_significant: true,
        evidence: Vec::new(),
    }
}

#[test]
fn new_error_patterns_are_watched_once_confirmed() {
    let case = Case::new(
        Some(tally(5000, 0, around(50.0))),
        Some(tally(5000, 0, around(50.0))),
    );
    let decide = |pattern: &TestedPattern| {
        let mut evidence = case.evidence();
        evidence.patterns = vec![pattern];
        judge(&evidence).verdict.decision
    };
    assert_eq!(decide(&new_error(4, 3)), Decision::Watch);
    assert_eq!(decide(&new_error(2, 2)), Decision::Keep);
    assert_eq!(decide(&new_error(9, 1)), Decision::Keep);
    assert_eq!(decide(&new_error(30, 20)), Decision::RollBack);
    let fatal = TestedPattern {
        is_fatal: true,
        ..new_error(2, 2)
    };
    assert_eq!(decide(&fatal), Decision::RollBack);
    let once = TestedPattern {
        is_fatal: true,
        is_new: false,
        ..new_error(1, 1)
    };
    let mut evidence = case.evidence();
    evidence.patterns = vec![&once];
    let verdict = judge(&evidence).verdict;
    assert_eq!(verdict.decision, Decision::Keep);
    assert_eq!(verdict.findings[0].severity, None);
}

#[test]
fn a_service_without_requests_is_judged_by_time() {
    let case = Case::new(Some(Tally::default()), Some(Tally::default()));
    let decide = |seconds: Option<f64>| {
        let mut evidence = case.evidence();
        evidence.records = BeforeAfter::new(100, 100);
        evidence.seconds.after = seconds;
        judge(&evidence)
    };
    assert_eq!(decide(Some(61.0)).verdict.decision, Decision::Keep);
    assert!(decide(Some(59.0)).is_only_short);
    assert_eq!(decide(Some(59.0)).verdict.decision, Decision::Inconclusive);
    assert_eq!(decide(None).verdict.decision, Decision::Inconclusive);
}

#[test]
fn the_most_urgent_service_decides() {
    let good = judge(
        &Case::new(
            Some(tally(500, 0, around(50.0))),
            Some(tally(500, 0, around(50.0))),
        )
        .evidence(),
    );
    let bad = judge(
        &Case::new(
            Some(tally(500, 0, around(50.0))),
            Some(tally(500, 100, around(50.0))),
        )
        .evidence(),
    );
    let silent = judge(&Case::new(Some(tally(500, 0, around(50.0))), None).evidence());
    assert_eq!(
        overall(&[good.clone(), bad, silent.clone()]).decision,
        Decision::RollBack
    );
    assert_eq!(
        overall(&[good.clone(), silent]).decision,
        Decision::Inconclusive
    );
    assert_eq!(overall(&[good]).decision, Decision::Keep);
    assert_eq!(overall(&[]).decision, Decision::Inconclusive);
}

/// Random numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        // SplitMix64: small, and without the correlations of a plain shift register.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-12), self.uniform());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// A window of a service: log-normal durations, failures at a rate that itself varies by an eighth.
    fn window(&mut self, requests: u64, failing: f64, median_ms: f64) -> Tally {
        let failing = failing * (1.0 + 0.125 * self.normal()).max(0.0);
        let mut tally = Tally::default();
        for _ in 0..requests {
            let status = if self.uniform() < failing { 500 } else { 200 };
            let ms = median_ms * (0.55 * self.normal()).exp();
            tally.request(Some(status), Some(ms), false);
        }
        tally
    }
}

#[test]
fn windows_without_a_change_are_not_rolled_back() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut runs, mut watched, mut worst) = (0, 0, Vec::new());
    for (before, after) in [
        (1000, 30),
        (1000, 200),
        (5000, 1000),
        (300, 3000),
        (8000, 8000),
    ] {
        for failing in [0.0, 0.005, 0.008, 0.03, 0.045] {
            for _ in 0..16 {
                let case = Case::new(
                    Some(dice.window(before, failing, 120.0)),
                    Some(dice.window(after, failing, 120.0)),
                );
                let verdict = case.verdict();
                runs += 1;
                watched += u32::from(verdict.decision == Decision::Watch);
                if verdict.decision == Decision::RollBack {
                    worst.push(format!("{before} {after} {failing}: {}", texts(&verdict)));
                }
            }
        }
    }
    assert!(
        worst.is_empty(),
        "{} of {runs} rolled back: {}",
        worst.len(),
        worst.join("\n")
    );
    assert!(watched * 20 <= runs, "{watched} of {runs} watched");
}

#[test]
fn a_release_that_is_clearly_worse_is_rolled_back() {
    let mut dice = Dice(0x1234_5678_9ABC_DEF1);
    for (before, after) in [(1000, 100), (5000, 1000)] {
        for _ in 0..20 {
            let was = dice.window(before, 0.005, 120.0);
            let failing = Case::new(Some(was.clone()), Some(dice.window(after, 0.25, 120.0)));
            assert_eq!(
                failing.verdict().decision,
                Decision::RollBack,
                "{}",
                texts(&failing.verdict())
            );
            let slow = Case::new(Some(was), Some(dice.window(after, 0.005, 360.0)));
            assert_eq!(
                slow.verdict().decision,
                Decision::RollBack,
                "{}",
                texts(&slow.verdict())
            );
        }
    }
}

proptest! {
    #[test]
    fn missing_data_is_never_kept(before in 0u64..200, after in 0u64..REQUIRED_REQUESTS, errors in 0u64..30, has_log: bool) {
        let after_tally = has_log.then(|| tally(after, errors.min(after), around(100.0)));
        let mut case = Case::new(Some(tally(before.max(1), 0, around(100.0))), after_tally);
        prop_assert_ne!(case.verdict().decision, Decision::Keep);
        case.before = None;
        if after > 0 || !has_log {
            prop_assert_ne!(case.verdict().decision, Decision::Keep);
        }
    }

    #[test]
    fn the_same_on_both_sides_never_rolls_back(requests in 30u64..800, failed in 0u64..30, ms in 1.0..5000.0f64) {
        let one = tally(requests, failed.min(requests), around(ms));
        let verdict = Case::new(Some(one.clone()), Some(one)).verdict();
        prop_assert_eq!(verdict.decision, Decision::Keep, "{}", texts(&verdict));
    }
}

#[test]
fn it_is_told_how_many_more_requests_a_confident_keep_needs() {
    let wanted = |before: u64, after: Tally| {
        let case = Case::new(Some(tally(before, 0, around(100.0))), Some(after));
        let judged = judge(&case.evidence());
        (judged.verdict.confidence, judged.wanted_requests)
    };
    let after = |requests| tally(requests, 0, around(100.0));
    let (confidence, some) = wanted(1000, after(100));
    assert_eq!(confidence, Confidence::Low);
    // With exactly so many more it is certain, with one less it is not.
    let some = some.unwrap();
    assert_eq!(wanted(1000, after(100 + some)), (Confidence::High, None));
    assert_eq!(wanted(1000, after(99 + some)), (Confidence::Low, Some(1)));
    assert_eq!(wanted(1000, after(0)).1, Some(100 + some));
    assert_eq!(wanted(10, after(100)).1, None, "nothing to hold it against");
    let mut case = Case::new(Some(tally(1000, 0, around(100.0))), Some(after(100)));
    let mut evidence = case.evidence();
    evidence.missing = vec![SafeText::from_text("the log could not be read")];
    assert_eq!(judge(&evidence).wanted_requests, None, "not requests alone");
    case.after = Some(tally(1000, 200, around(100.0)));
    assert_eq!(judge(&case.evidence()).wanted_requests, None);
}

#[test]
fn improbable_silence_is_an_alarm_and_still_no_verdict() {
    let busy = || Some(tally(3600, 5, around(100.0)));
    let case = Case::new(busy(), Some(tally(0, 0, around(100.0))));
    // An hour with a request a second, then ten minutes of nothing.
    let verdict = case.verdict();
    assert_eq!(
        (verdict.decision, verdict.severity),
        (Decision::Inconclusive, Some(Severity::P1))
    );
    assert_eq!(verdict.findings[0].rule.as_str(), "silence");
    assert_eq!(
        verdict.findings[0].text.as_str(),
        "0 requests in 10 min, about 600 were to be expected"
    );
    // Few requests were to be expected anyway.
    let quiet = Case::new(
        Some(tally(60, 0, around(100.0))),
        Some(tally(0, 0, around(100.0))),
    );
    assert!(quiet.verdict().findings.is_empty());
    // Enough for a verdict: it only informs.
    let fell = Case::new(busy(), Some(tally(40, 0, around(100.0))));
    let verdict = fell.verdict();
    assert_eq!(
        (verdict.decision, verdict.severity),
        (Decision::Keep, None),
        "{}",
        texts(&verdict)
    );
    assert_eq!(verdict.findings[0].rule.as_str(), "silence");
    let half = Case::new(busy(), Some(tally(300, 0, around(100.0))));
    assert!(half.verdict().findings.is_empty());
}
