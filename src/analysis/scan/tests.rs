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

/// Everything that was counted, in an order of its own.
fn told(scan: &Scan) -> Vec<String> {
    let mut told = vec![format!(
        "{} lines, {} cut, {} dropped, {} slow, {:?}, {:?}",
        scan.lines, scan.cut_lines, scan.dropped, scan.over_threshold, scan.slowest, scan.assigned
    )];
    for service in &scan.services {
        told.push(format!(
            "{:?} {} {:?} {:?} {:?}",
            service.name, service.records, service.span, service.levels, service.total
        ));
        told.extend(service.routes.values().map(|route| format!("{route:?}")));
        told.extend(service.shapes.values().map(|shape| format!("{shape:?}")));
    }
    told.sort();
    told
}

fn part_of_a_line() -> impl Strategy<Value = String> {
    let number = (0u32..20, any::<u64>()).prop_map(|(length, n)| {
        let digits = format!("{n:020}");
        digits[20 - (length as usize).min(20)..].to_owned()
    });
    prop_oneof![
        8 => prop::sample::select(vec![
            "user ", "GET ", "POST ", "/api/v1/orders/", "/static/app.", ".js ", "?page=", "HTTP/1.1\" ", "\"", " 200 ",
            " 404 ", " 503 ", "status=", "code ", "exit code ", "completed in ", "took ", "ms ", "s ", " sec ", "rt=0.",
            "dur=", "req_id=", "0x", "worker-", "10.0.0.", ":", "-", ".", ",", " ", "=", "INFO ", "ERROR ", "WARN: ",
            "[", "] ", "(", ") ", "TypeError: ", "panic: ", "Traceback (most recent call last)", "    at ", "level=",
            "<", "> ", "<1", "|ERROR|", "prod.ERROR: ", ": ERROR/", " ERR] ", "info: Shop.Cart[", "      ",
            "msg=\"", "err=", "type=", "\u{414}\u{430} ", "\u{1b}[31m", "{", "}", "Jan ", "key:", "%", "#", "I", "T",
        ]).prop_map(str::to_owned),
        3 => number,
        2 => any::<u64>().prop_map(|n| format!("{n:x}")),
        1 => any::<u128>().prop_map(|n| {
            let hex = format!("{n:032x}");
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }),
        1 => (0u32..30, 0u32..70, 0u32..70, 0u32..1000)
            .prop_map(|(h, m, s, ms)| format!("2025-12-27 {h:02}:{m:02}:{s:02},{ms:03} ")),
        1 => (0u32..30, 0u32..70).prop_map(|(h, m)| format!("{h:02}:{m:02} ")),
        1 => (0u32..192).prop_map(|n| format!("<{n}>Jan  5 14:50:00 ")),
        1 => prop::sample::select(vec!["I", "E"]).prop_map(|level| format!(
            "{{\"t\":{{\"$date\":\"2025-12-27T14:50:00.123Z\"}},\"s\":\"{level}\",\"id\":22943,\"msg\":\"m\"}}"
        )),
        1 => (0u32..8).prop_map(|n| format!("{{\"PRIORITY\":\"{n}\",\"MESSAGE\":\"m 1\",\"_PID\":\"7\"}}")),
        1 => (1u64..4).prop_map(|n| format!("{{\"level\":{}0,\"time\":{},\"msg\":\"job {n}\",\"durationMs\":{n}.5}}", n + 2, 1_766_847_000_000 + n)),
    ]
}

/// Lines like those of the same few places in a program: each is one of a few templates with other numbers.
fn log_like() -> impl Strategy<Value = String> {
    let template = prop::collection::vec(part_of_a_line(), 1..10).prop_map(|parts| parts.concat());
    let lines = prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..150);
    (prop::collection::vec(template, 1..6), lines).prop_map(|(templates, lines)| {
        let mut log = String::new();
        for (template, seed) in lines {
            let mut dice = seed;
            let line: String = template
                .get(&templates)
                .chars()
                .map(|c| {
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    match c {
                        // Some digits stay, so that lines agree in some numbers and not in others.
                        '0'..='9' if dice >> 62 > 0 => char::from(b'0' + (dice >> 33) as u8 % 10),
                        c => c,
                    }
                })
                .collect();
            log.push_str(&line);
            log.push('\n');
        }
        log
    })
}

/// What a scanner finds, and what one finds that reads every record in full.
fn recalled_and_read(log: &str, chunk: usize) -> (Vec<String>, Vec<String>) {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
    let options = ScanOptions {
        assign: true,
        slow_over_ms: Some(100.0),
        ..options
    };
    let mut full = Scanner::without_recall(options.clone());
    full.feed(log.as_bytes());
    let mut quick = Scanner::new(options);
    for part in log.as_bytes().chunks(chunk) {
        quick.feed(part);
    }
    (told(&quick.finish()), told(&full.finish()))
}

#[test]
fn lines_that_only_look_alike_are_read_in_full() {
    for log in [
        // Two of these are no times.
        "7422-31-07 38:20:60,809\n2235-12-62 51:04:90,221\n4925-52-57 00:13:05,003\n",
        "04:44 {\"level\":50,\"msg\":\"job\"}\n79:40 {\"level\":40,\"msg\":\"job\"}\n10:26 {\"level\":40,\"msg\":\"job\"}\n",
        "2025-02-28 10:00:00 x\n2025-02-30 10:00:00 x\n2025-02-28 10:00:00 x\n",
        "2025-02-30 10:00:00 x\n2025-02-28 10:00:00 x\n2025-02-30 10:00:00 x\n",
        "023:80\n02:58\n00:07\n",
        "key:0x?page=\nkey:8x?page=\nkey:5x?page=\n",
        "GET /a HTTP/1.1\" 200 1\nGET /a HTTP/2.0\" 200 1\nGET /a HTTP/1.1\" 500 1\n",
        " <4>Jan  5 23:59:07 \nuser \n <2>Jan  5 13:28:09 \n",
        "exit code 1\nexit code 137\nexit code 2\nexit code 137\n",
    ] {
        let (recalled, read) = recalled_and_read(&log.repeat(3), 1000);
        assert_eq!(recalled, read, "{log}");
    }
}

#[test]
fn keys_of_logfmt_are_read_in_any_case() {
    let line = "Time=2025-12-27T14:50:00Z Level=ERROR Msg=\"out of paper\" Tray=2\n";
    let scan = scan(&line.repeat(3));
    assert_eq!(scan.services[0].levels.error, 3);
    assert_eq!(
        scan.services[0].span,
        Some((1_766_847_000_000, 1_766_847_000_000))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_recalled_is_what_reading_it_would_find(log in log_like(), chunk in 1usize..200) {
        let (recalled, read) = recalled_and_read(&log, chunk);
        prop_assert_eq!(recalled, read);
    }
}

/// Lines of three services of a Compose project, with traces that run through one another.
fn capture(lines: usize, seed: u64) -> String {
    let mut dice = seed;
    let mut roll = |below: u64| {
        dice = dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % below
    };
    let mut log = String::new();
    let mut below: Vec<&str> = Vec::new();
    for n in 0..lines {
        let clock = format!("14:{:02}:{:02}", n / 1200 % 60, n / 20 % 60);
        let (id, ms) = (roll(40), roll(900));
        let line = match roll(12) {
            0..4 => format!(
                "nginx-1 | 10.0.0.{id} - - [27/Dec/2025:{clock} +0000] \"GET /api/orders/{id} HTTP/1.1\" {} {ms} \"-\" \"x\" rt={}",
                [200, 200, 404, 500][roll(4) as usize],
                // Their sum does not depend on the order.
                [0.125, 0.25, 0.5, 0.75][roll(4) as usize]
            ),
            4..8 => format!(
                "api-1 | 2025-12-27 {clock},123 INFO [w-1] app: GET /v{}/items/{id} completed in {ms} ms status=200",
                roll(3)
            ),
            8 => format!(
                "api-1 | 2025-12-27 {clock},123 ERROR [w-1] app: order failed req_id={id:08x}"
            ),
            9 => {
                below = vec![
                    "api-1 | app.errors.NotFound: order 7 does not exist",
                    "api-1 |   File \"/app/a.py\", line 88, in get_order",
                    "api-1 | Traceback (most recent call last):",
                ];
                format!("api-1 | 2025-12-27 {clock},123 ERROR [w-1] app: Unhandled exception")
            }
            10 if !below.is_empty() => below.pop().unwrap_or_default().to_owned(),
            _ => format!(
                "{{\"level\":30,\"time\":{},\"msg\":\"job {id} finished\",\"n\":{ms}}}",
                1_766_847_000_000 + n as u64 * 50
            ),
        };
        log.push_str(&line);
        log.push('\n');
    }
    log
}

#[test]
fn a_log_read_in_two_parts_is_one_log() {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
    let options = ScanOptions {
        assign: true,
        slow_over_ms: Some(500.0),
        ..options
    };
    let without_samples = |mut scan: Scan| {
        // Which records are sampled may differ.
        for shape in scan.services.iter_mut().flat_map(|s| s.shapes.values_mut()) {
            shape.numbers = None;
        }
        told(&scan)
    };
    for seed in 0..8 {
        let log = capture(6_000, seed);
        let log = log.as_bytes();
        let mut whole = Scanner::new(options.clone());
        whole.feed(log);
        let mut first = Scanner::new(options.clone());
        let head = 1_000 + log.len() / 3;
        first.feed(&log[..head]);
        let mut later = first.for_later_part().unwrap();
        let middle = log.len() / 2 + seed as usize * 37;
        let cut = middle + later.place_to_begin(&log[middle..]).unwrap();
        first.feed(&log[head..cut]);
        later.feed(&log[cut..]);
        first.append(later);
        let (parts, whole) = (first.finish(), whole.finish());
        let (parts, whole) = (without_samples(parts), without_samples(whole));
        assert_eq!(parts.len(), whole.len(), "seed {seed}");
        for (part, whole) in parts.iter().zip(&whole) {
            assert_eq!(part, whole, "seed {seed}");
        }
    }
}

#[test]
fn times_without_a_date_are_read_in_one_part() {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
    let mut scanner = Scanner::new(options);
    assert!(scanner.for_later_part().is_none());
    scanner.feed("14:50:00 INFO up\n".repeat(1200).as_bytes());
    assert!(scanner.for_later_part().is_none());
}
