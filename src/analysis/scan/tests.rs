use proptest::prelude::*;

use super::*;

fn scan_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Scan {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
    let mut scanner = Scanner::new(ScanOptions {
        assign: true,
        ..options
    });
    for chunk in chunks {
        scanner.feed(chunk);
    }
    scanner.finish()
}

fn scan(text: &str) -> Scan {
    scan_chunks([text.as_bytes()])
}

const MIXED: &str = "\
backend-1  | 2025-12-27 14:50:00,123 ERROR [w-1] app.api: Unhandled exception in GET /api/orders/7
nginx-1    | 10.0.0.1 - - [27/Dec/2025:14:50:00 +0000] \"GET /api/orders/7 HTTP/1.1\" 500 12 \"-\" \"x\" rt=0.120
backend-1  | Traceback (most recent call last):
backend-1  |   File \"/app/a.py\", line 88, in get_order
worker-1   | {\"level\":30,\"time\":1766847000123,\"msg\":\"job finished\",\"durationMs\":12.5}
backend-1  | app.errors.NotFound: order 7 does not exist
backend-1  | 2025-12-27 14:50:01,000 INFO [w-1] app.api: GET /api/orders/8 completed in 0.250s status=200 req_id=1f
nginx-1    | 10.0.0.1 - - [27/Dec/2025:14:50:02 +0000] \"GET /health HTTP/1.1\" 200 12 \"-\" \"x\" rt=0.001
";

#[test]
fn interleaved_services_are_framed_apart() {
    let scan = scan(MIXED);
    assert_eq!((scan.lines, scan.records()), (8, 5));
    let service = |name: &str| {
        scan.services
            .iter()
            .find(|s| s.name.as_deref() == Some(name))
            .unwrap()
    };
    let backend = service("backend");
    assert_eq!(
        (
            backend.records,
            backend.levels.error,
            backend.total.counts.requests
        ),
        (2, 1, 1)
    );
    assert_eq!(backend.total.latency.mean(), Some(250.0));
    let nginx = service("nginx");
    assert_eq!(
        (
            nginx.records,
            nginx.total.counts.requests,
            nginx.total.counts.failed
        ),
        (2, 1, 1)
    );
    let trace = backend
        .shapes
        .values()
        .find(|s| s.level == Some(Level::Error))
        .unwrap();
    assert!(trace.masked.windows(8).any(|w| w == b"NotFound"));
    assert_eq!(service("worker").total.counts.requests, 0);
}

#[test]
fn the_seeds_lines_are_counted() {
    let scan = scan(
        "[14:40:00] ERROR: Connection reset by peer\n\
         [14:40:00] INFO: GET /api/orders/12 completed in 0.82s status=500\n\
         [14:41:00] INFO: POST /api/orders/13 completed in 0.78s status=200\n",
    );
    let all = &scan.services[0];
    assert_eq!((all.records, all.levels.error, all.levels.info), (3, 1, 2));
    assert_eq!(
        (
            all.total.counts.requests,
            all.total.counts.failed,
            all.total.counts.error_records
        ),
        (2, 1, 1)
    );
    assert_eq!(all.total.latency.mean(), Some(800.0));
    assert_eq!(all.span.map(|(a, b)| b - a), Some(60_000));
}

#[test]
fn an_error_is_counted_once_a_request() {
    let scan = scan(
        "ERROR: lookup failed req_id=aa1\nERROR: giving up req_id=aa1\nERROR: lookup failed req_id=aa2\nERROR: without id\n",
    );
    assert_eq!(scan.services[0].total.counts.error_records, 3);
    assert_eq!(scan.services[0].levels.error, 4);
}

#[test]
fn the_runtimes_times_are_taken_and_stripped() {
    let scan = scan(
        "2025-12-27T14:50:00.123456789Z plain text here\n2025-12-27T14:50:10.123456789Z\tindented\n",
    );
    assert_eq!(
        scan.services[0].span.map(|(a, _)| a),
        Some(1_766_847_000_123)
    );
    assert!(
        scan.services[0]
            .shapes
            .values()
            .all(|s| !s.masked.contains(&b'2'))
    );
}

#[test]
fn hostile_input_is_read_in_bounded_memory() {
    let long = vec![b'x'; 3 * MAX_LINE];
    let scan = scan_chunks([&b"first\n"[..], &long, &long, b"\nlast \xff\xfe\n"]);
    assert_eq!((scan.lines, scan.records(), scan.cut_lines), (3, 3, 1));
    assert_eq!(scan_chunks([&b""[..]]).records(), 0);
    assert_eq!(scan_chunks([&b"\n\n\n"[..]]).records(), 0);
}

#[test]
fn a_last_line_without_a_break_is_read() {
    assert_eq!(scan("one\ntwo").records(), 2);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_text() {
    let scan = scan("\u{feff}ERROR: disk full\r\nERROR: disk full\r\n");
    assert_eq!(scan.services[0].shapes.len(), 1);
    assert_eq!(scan.services[0].levels.error, 2);
}

fn outline(scan: &Scan) -> Vec<(u64, u32, u64)> {
    scan.assigned.clone()
}

proptest! {
    #[test]
    fn chunks_do_not_change_what_is_read(cuts in proptest::collection::vec(0usize..MIXED.len(), 0..12)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut start = 0;
        for cut in cuts.into_iter().chain([MIXED.len()]) {
            chunks.push(&MIXED.as_bytes()[start..cut]);
            start = cut;
        }
        prop_assert_eq!(outline(&scan_chunks(chunks)), outline(&scan(MIXED)));
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let scan = scan_chunks([bytes.as_slice()]);
        prop_assert!(scan.records() <= scan.lines);
    }

    #[test]
    fn loglike_text_is_read_without_harm(text in "(([A-Z]{3,5}|[0-9:.,/\\-\\[\\]{}=\" ]{1,20}|GET|status=|in|ms|[a-z]{1,8}|\\|)[ \n]?){0,80}") {
        let scan = scan(&text);
        prop_assert!(scan.records() <= scan.lines);
    }
}
