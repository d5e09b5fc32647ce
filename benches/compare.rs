//! How fast logs are read and compared: `cargo bench --bench compare`.
//!
//! The lines are made here, of the formats that a Compose project mixes; throughput is of raw bytes.

mod capture;

use capture::capture;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use lastgood::analysis::compare::{Facts, SideLogs, SideService, compare};
use lastgood::analysis::parse::time::TimeReader;
use lastgood::analysis::pattern::group;
use lastgood::analysis::scan::{Scan, ScanOptions, Scanner};
use lastgood::domain::safe_text::SafeText;
use lastgood::domain::service::ServiceId;
use lastgood::domain::settings::RequestRules;

fn main() {
    divan::main();
}

fn scan(bytes: &[u8]) -> Scan {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc());
    let mut scanner = Scanner::new(options.expect("the default rules have no expression"));
    for chunk in bytes.chunks(256 * 1024) {
        scanner.feed(chunk);
    }
    scanner.finish()
}

fn side(name: &str, bytes: &[u8]) -> SideLogs {
    SideLogs {
        input: SafeText::from_text(name),
        services: scan(bytes)
            .services
            .into_iter()
            .map(|scan| SideService {
                id: ServiceId::local("file", scan.name.clone().unwrap_or_default()),
                scan,
                observed: None,
            })
            .collect(),
    }
}

#[divan::bench(sample_count = 10)]
fn scanner(bencher: Bencher) {
    let bytes = capture(16, false);
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| scan(black_box(&bytes)));
}

#[divan::bench(sample_count = 10)]
fn clusters(bencher: Bencher) {
    let scan = scan(&capture(16, true));
    let services: Vec<_> = scan.services.iter().collect();
    bencher.bench(|| group::group(black_box(&services)));
}

#[divan::bench(sample_count = 10)]
fn verdict(bencher: Bencher) {
    let (before, after) = (
        side("before", &capture(8, false)),
        side("after", &capture(8, true)),
    );
    bencher.bench(|| {
        compare(
            black_box(&before),
            black_box(&after),
            Facts::default(),
            &|text| SafeText::from_bytes(text),
        )
    });
}
