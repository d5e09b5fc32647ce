//! Two logs held against one another.

use lastgood::analysis::compare::{Facts, SideLogs, SideService, compare};
use lastgood::analysis::parse::time::TimeReader;
use lastgood::analysis::scan::{ScanOptions, Scanner};
use lastgood::domain::comparison::{Comparison, PatternChange};
use lastgood::domain::safe_text::SafeText;
use lastgood::domain::service::ServiceId;
use lastgood::domain::settings::RequestRules;
use lastgood::domain::verdict::Decision;

/// The text before an empty line is one side, what stands behind it the other.
pub(super) fn check(text: &[u8]) {
    let parted = memchr::memmem::find(text, b"\n\n").unwrap_or(text.len());
    let (before, after) = text.split_at(parted);
    let (before, after) = (side(before), side(after));
    let found = run(&before, &after);
    assert!(run(&before, &after) == found, "compared twice");
    check_rows(&found);

    // What did not change is no reason to go back.
    let same = run(&after, &after);
    check_rows(&same);
    for row in &same.patterns {
        assert_eq!(row.change, PatternChange::Same, "{}", row.template);
    }
    assert_ne!(
        same.verdict.decision,
        Decision::RollBack,
        "{:?}",
        same.verdict
    );
}

fn check_rows(comparison: &Comparison) {
    // Every record is counted in one row.
    let sum = |of: fn(&_) -> u64| comparison.patterns.iter().map(of).sum::<u64>();
    assert_eq!(sum(|row| row.before), comparison.before.records);
    assert_eq!(sum(|row| row.after), comparison.after.records);
    for row in &comparison.patterns {
        assert_eq!(row.id.len(), 12);
        assert!(
            row.ratio
                .is_none_or(|ratio| ratio.is_finite() && ratio >= 0.0)
        );
    }
    for signal in &comparison.signals {
        let is_number = |value: Option<f64>| value.is_none_or(f64::is_finite);
        assert!(
            is_number(signal.before) && is_number(signal.after),
            "{signal:?}"
        );
    }
    for side in [&comparison.before, &comparison.after] {
        assert!(
            side.error_rate
                .is_none_or(|rate| (0.0..=1.0).contains(&rate))
        );
        assert!(side.from <= side.to);
    }
}

fn side(text: &[u8]) -> SideLogs {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut scanner = Scanner::new(options);
    scanner.feed(text);
    let services = scanner.finish().services.into_iter().map(|scan| {
        let name = scan.name.clone().unwrap_or_else(|| "log".to_owned());
        SideService {
            id: ServiceId::local("file", name),
            scan,
            observed: None,
        }
    });
    SideLogs {
        input: SafeText::from_text("a log"),
        services: services.collect(),
    }
}

fn run(before: &SideLogs, after: &SideLogs) -> Comparison {
    compare(before, after, Facts::default(), &|bytes| {
        SafeText::from_bytes(bytes)
    })
}
