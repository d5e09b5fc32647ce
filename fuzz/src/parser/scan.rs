//! Whole logs.

use std::collections::BTreeMap;

use lastgood::analysis::parse::time::TimeReader;
use lastgood::analysis::scan::{MAX_LINE, Scan, ScanOptions, Scanner};
use lastgood::domain::settings::RequestRules;

use crate::Input;

/// Of text shorter than this every byte is fed on its own too.
const SHORT: usize = 400;

pub(super) fn check(input: &Input<'_>, text: &[u8]) {
    let options = options(input);
    let whole = scan(&options, [text]);
    check_counts(&whole, text);
    let expected = outline(&whole);
    let pieces = input.pieces(text);
    assert_eq!(outline(&scan(&options, pieces)), expected, "in pieces");
    if text.len() <= SHORT {
        let single = scan(&options, text.chunks(1));
        assert_eq!(outline(&single), expected, "in bytes");
    }
    // Lines that a runtime gives with its own times come one by one.
    let mut scanner = Scanner::new(options);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        scanner.feed_line(None, line.strip_suffix(b"\n").unwrap_or(line));
    }
    let mut by_line = scanner.finish();
    by_line.bytes = whole.bytes;
    assert_eq!(outline(&by_line), expected, "in lines");
}

fn options(input: &Input<'_>) -> ScanOptions {
    let rules = RequestRules {
        request_regex: (input.choice & 4 != 0)
            .then(|| r"(?<method>[A-Z]+) (?<route>\S+) .*?(?<seconds>[\d.]+)s".to_owned()),
        ..RequestRules::default()
    };
    let options = ScanOptions::new(&rules, TimeReader::utc());
    ScanOptions {
        prefixes: input.choice & 8 != 0,
        warm_up: vec![(1_766_847_000_000, 1_766_847_060_000)],
        assign: true,
        slow_over_ms: Some(100.0),
        ..options.unwrap_or_else(|error| panic!("{error}"))
    }
}

fn scan<'a>(options: &ScanOptions, pieces: impl IntoIterator<Item = &'a [u8]>) -> Scan {
    let mut scanner = Scanner::new(options.clone());
    for piece in pieces {
        scanner.feed(piece);
    }
    scanner.finish()
}

fn check_counts(scan: &Scan, text: &[u8]) {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(scan.bytes, text.len() as u64);
    assert_eq!(scan.lines, lines.len() as u64);
    let is_long = |line: &&&[u8]| line.strip_suffix(b"\n").unwrap_or(line).len() > MAX_LINE;
    assert_eq!(scan.cut_lines, lines.iter().filter(is_long).count() as u64);
    assert!(scan.records() <= scan.lines);
    assert_eq!(scan.service_count, scan.services.len());
    assert_eq!(scan.assigned.len() as u64, scan.records());
    assert!(
        scan.assigned.is_sorted_by(|a, b| a.0 < b.0),
        "a line begins two records"
    );
    for (line, service, shape) in &scan.assigned {
        assert!((1..=scan.lines).contains(line));
        assert!(scan.services[*service as usize].shapes.contains_key(shape));
    }
    for service in &scan.services {
        let levels = &service.levels;
        let sum = levels.trace
            + levels.debug
            + levels.info
            + levels.warn
            + levels.error
            + levels.fatal
            + levels.none;
        assert_eq!(sum, service.records);
        let shapes: u64 = service.shapes.values().map(|shape| shape.count).sum();
        assert_eq!(shapes, service.records);
        assert!(service.span.is_none_or(|(from, to)| from <= to));
        let counts = service.total.counts;
        assert!(counts.failed <= counts.with_status && counts.with_status <= counts.requests);
        for shape in service.shapes.values() {
            assert!(shape.masked.len() <= 2 * text.len() + 16);
            assert!((1..=shape.count).contains(&shape.seconds));
            assert!(shape.seen.is_none_or(|(from, to)| from <= to));
        }
    }
    assert!(scan.slowest.is_sorted_by(|a, b| a.ms >= b.ms));
}

/// Everything that a scan says, in an order of its own.
fn outline(scan: &Scan) -> String {
    let mut scan = scan.clone();
    let services: Vec<_> = std::mem::take(&mut scan.services)
        .into_iter()
        .map(|mut service| {
            let routes: BTreeMap<_, _> = std::mem::take(&mut service.routes).into_iter().collect();
            let shapes: BTreeMap<_, _> = std::mem::take(&mut service.shapes).into_iter().collect();
            (service, routes, shapes)
        })
        .collect();
    format!("{scan:?}\n{services:?}")
}
