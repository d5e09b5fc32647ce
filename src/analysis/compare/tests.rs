use super::*;
use crate::analysis::parse::time::TimeReader;
use crate::analysis::scan::{ScanOptions, Scanner};
use crate::domain::comparison::PatternChange;
use crate::domain::settings::RequestRules;
use crate::domain::verdict::Decision;

fn side(name: &str, text: &str) -> SideLogs {
    let mut scanner =
        Scanner::new(ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap());
    scanner.feed(text.as_bytes());
    let scan = scanner.finish();
    SideLogs {
        input: SafeText::from_text(name),
        services: scan
            .services
            .into_iter()
            .map(|scan| SideService {
                id: ServiceId::local(
                    "file",
                    scan.name.clone().unwrap_or_else(|| "log".to_owned()),
                ),
                scan,
                observed: None,
            })
            .collect(),
    }
}

pub(super) fn run(before: &str, after: &str) -> Comparison {
    compare(
        &side("before.log", before),
        &side("after.log", after),
        Facts::default(),
        &|bytes| SafeText::from_bytes(bytes),
    )
}

fn requests(count: usize, status: u16) -> String {
    (0..count)
        .map(|i| format!("2025-12-27T14:{:02}:{:02}Z INFO GET /orders/{i} completed in 0.05s status={status}\n", i / 60 % 60, i % 60))
        .collect()
}

#[test]
fn when_a_pattern_occurred_is_kept() {
    let failed = |second: u32| {
        format!(
            "2025-12-27T14:{:02}:{:02}Z ERROR pool is exhausted\n",
            second / 60,
            second % 60
        )
    };
    let after: String = [5, 5, 5, 100].map(failed).concat();
    let found = run(&requests(100, 200), &(requests(100, 200) + &after));
    let row = found.patterns.iter().find(|p| p.after == 4).unwrap();
    assert!(row.times.before.is_none(), "{row:?}");
    let times = row.times.after.as_ref().unwrap();
    assert_eq!(times.width(), 4);
    let counts = times.counts();
    assert_eq!(
        (counts[0], counts.iter().sum::<u64>(), counts.last()),
        (3, 4, Some(&1))
    );
}

#[test]
fn a_service_that_is_known_to_vary_is_no_alarm_when_it_does() {
    let failing = |requests_: usize, every: usize| -> String {
        let line = |i: usize| {
            let status = if i.is_multiple_of(every) { 500 } else { 200 };
            format!(
                "2025-12-27T14:{:02}:{:02}Z INFO GET /orders/{i} completed in 0.05s status={status}\n",
                i / 60 % 60,
                i % 60
            )
        };
        (0..requests_).map(line).collect()
    };
    let (before, after) = (failing(3_000, 100), failing(3_000, 40));
    let judged = |dispersion: Option<f64>| {
        let (before, after) = (side("before.log", &before), side("after.log", &after));
        let id = before.services[0].id.clone();
        let facts = Facts {
            dispersion: dispersion.map(|d| (id, d)).into_iter().collect(),
            ..Facts::default()
        };
        compare(&before, &after, facts, &|bytes| SafeText::from_bytes(bytes)).verdict
    };
    let has = |verdict: &crate::domain::verdict::Verdict| {
        verdict
            .findings
            .iter()
            .any(|f| f.rule.as_str() == "error-rate")
    };
    let (assumed, varies) = (judged(None), judged(Some(0.25)));
    assert!(has(&assumed), "{assumed:?}");
    assert!(!has(&varies), "{varies:?}");
}

#[test]
fn a_longer_window_alone_changes_nothing() {
    let before = requests(100, 200);
    let after = requests(1000, 200);
    let found = run(&before, &after);
    assert!(
        found
            .patterns
            .iter()
            .all(|p| p.change == PatternChange::Same),
        "{:?}",
        found.patterns
    );
    assert_eq!(found.verdict.decision, Decision::Keep);
    assert_eq!((found.before.requests, found.after.requests), (100, 1000));
}

#[test]
fn new_and_gone_patterns_are_told() {
    let noise = "2025-12-27T14:00:01Z INFO cache refreshed in 5 ms\n".repeat(20);
    let error = (0..20)
        .map(|i| {
            format!("2025-12-27T14:01:{i:02}Z ERROR Invalid JSON response from payment service\n")
        })
        .collect::<String>();
    let found = run(
        &(requests(300, 200) + &noise),
        &(requests(300, 200) + &error),
    );
    let change = |word: &str| {
        found
            .patterns
            .iter()
            .find(|p| p.template.as_str().contains(word))
            .map(|p| p.change)
    };
    assert_eq!(change("Invalid JSON"), Some(PatternChange::New));
    assert_eq!(change("cache refreshed"), Some(PatternChange::Gone));
    assert!(
        found.patterns[0].template.as_str().contains("Invalid JSON"),
        "the most harmful comes first"
    );
    assert_eq!(found.verdict.decision, Decision::RollBack);
    let finding = &found.verdict.findings[0];
    assert!(
        finding.evidence[0]
            .as_str()
            .contains("line 301: 2025-12-27T14:01:00Z ERROR Invalid JSON"),
        "{finding:?}"
    );
}

#[test]
fn an_empty_side_is_inconclusive() {
    for (before, after) in [
        ("", ""),
        (requests(100, 200).as_str(), ""),
        ("", "just text\n"),
    ] {
        let found = run(before, after);
        assert_eq!(
            found.verdict.decision,
            Decision::Inconclusive,
            "{before:.20} {after}"
        );
        assert!(!found.missing.is_empty());
    }
}

#[test]
fn requests_without_status_take_errors_from_error_records() {
    let text = |errors: usize| {
        (0..100)
            .map(|i| {
                format!(
                    "[14:{:02}:{:02}] INFO: GET /a/{i} completed in 0.05s\n",
                    i / 60,
                    i % 60
                )
            })
            .chain((0..errors).map(|i| format!("[14:02:{i:02}] ERROR: lookup failed\n")))
            .collect::<String>()
    };
    let found = run(&text(0), &text(20));
    assert_eq!((found.after.requests, found.after.errors), (100, 20));
    assert_eq!(found.verdict.decision, Decision::RollBack);
}

#[test]
fn statuses_are_patterns_of_their_own() {
    let found = run(
        &requests(300, 200),
        &(requests(200, 200) + &requests(100, 502)),
    );
    let new = found
        .patterns
        .iter()
        .find(|p| p.change == PatternChange::New)
        .unwrap();
    assert!(
        new.template.as_str().ends_with("status=502"),
        "{}",
        new.template
    );
    assert_eq!(new.p95_ms.after, Some(50.0));
}
