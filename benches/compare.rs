//! How fast logs are read and compared: `cargo bench --bench compare`.
//!
//! The lines are made here, of the formats that a Compose project mixes; throughput is of raw bytes.

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

/// A small generator of its own, so that the bench needs no crate and no file.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn capture(megabytes: usize, is_after: bool) -> Vec<u8> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut text = String::with_capacity(megabytes << 20);
    let mut number = 0u64;
    while text.len() < megabytes << 20 {
        number += 1;
        let second = number / 400;
        let clock = format!(
            "{:02}:{:02}:{:02}",
            14 + second / 3600 % 8,
            second / 60 % 60,
            second % 60
        );
        let (order, ms) = (dice.roll(99_999), dice.roll(900));
        let line = match dice.roll(20) {
            0..8 => format!(
                "nginx-1   | 10.0.{}.{} - - [27/Dec/2025:{clock} +0000] \"GET /api/orders/{order} HTTP/1.1\" 200 {ms} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" rt=0.{ms:03}\n",
                dice.roll(255),
                dice.roll(255)
            ),
            8..13 => format!(
                "backend-1 | 2025-12-27 {clock},{:03} INFO [worker-{}] app.api: GET /api/orders/{order} completed in 0.{ms:03}s status=200 req_id={:016x}\n",
                dice.roll(1000),
                dice.roll(8),
                dice.roll(u64::MAX)
            ),
            13..16 => format!(
                "worker-1  | {{\"level\":30,\"time\":{},\"pid\":17,\"msg\":\"job finished\",\"queue\":\"mail\",\"durationMs\":{ms}}}\n",
                1_766_847_000_000 + number * 2
            ),
            16..19 => format!(
                "gateway-1 | ts=2025-12-27T{clock}Z level=info msg=\"upstream response\" upstream=backend:8000 status=200 dur={ms}ms trace_id={:016x}\n",
                dice.roll(u64::MAX)
            ),
            _ if is_after => format!(
                "backend-1 | 2025-12-27 {clock},000 ERROR [worker-1] app.api: NoneType has no attribute 'id' (order={order})\n"
            ),
            _ => format!(
                "backend-1 | 2025-12-27 {clock},000 ERROR [worker-1] app.pay: gateway timeout after {ms} ms order={order}\n"
            ),
        };
        text.push_str(&line);
    }
    text.into_bytes()
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
