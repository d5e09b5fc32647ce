use super::*;

fn read(message: &str) -> RequestFields<'_> {
    RequestReader::default().read(message.as_bytes())
}

/// Method and route, status, milliseconds.
fn shown(message: &str) -> String {
    let f = read(message);
    if !f.is_request() {
        return "none".to_owned();
    }
    let text =
        |part: Option<&[u8]>| part.map_or("-".into(), |p| String::from_utf8_lossy(p).into_owned());
    format!(
        "{} {} {} {}",
        text(f.method),
        text(f.route),
        f.status.map_or("-".to_owned(), |s| s.to_string()),
        f.duration_ms.map_or("-".to_owned(), |ms| format!(
            "{}",
            (ms * 1000.0).round() / 1000.0
        ))
    )
}

#[test]
fn requests_of_every_format() {
    for (message, expected) in [
        (
            "GET /api/orders/12 completed in 0.82s status=200",
            "GET /api/orders/12 200 820",
        ),
        (
            "app.api: POST /api/v1/orders completed in 0.303s status=500 req_id=9a user=kim",
            "POST /api/v1/orders 500 303",
        ),
        (
            r#"10.1.2.3 - - [27/Dec/2025:14:50:00 +0000] "GET /x?a=1 HTTP/1.1" 404 512 "-" "Mozilla/5.0 (X11; Linux) A/535.3" rt=0.120 urt=0.110"#,
            "GET /x?a=1 404 120",
        ),
        (
            r#"127.0.0.1:53210 - "GET /docs HTTP/1.1" 200 OK"#,
            "GET /docs 200 -",
        ),
        (
            "Completed 200 OK in 151ms (Views: 3.1ms | ActiveRecord: 21.7ms)",
            "- - 200 151",
        ),
        (
            r#"[GIN] | 200 |    1.219ms | 10.0.0.1 | GET  "/ping2""#,
            "GET /ping2 200 1.219",
        ),
        ("GET /users 200 12.3 ms - 15", "GET /users 200 12.3"),
        (
            r#"msg="upstream response" upstream=backend:8000 status=502 dur=13.5ms bytes=9"#,
            "- - 502 13.5",
        ),
        (
            "method=GET path=/jobs/1 format=html status=302 duration=58.33 view=40.43",
            "GET /jobs/1 302 58.33",
        ),
        ("GET /x -> 200 in 35 ms", "GET /x 200 35"),
        ("Request completed in 2.5 seconds", "- - - 2500"),
        ("POST /login took 1.5s", "POST /login - 1500"),
        (
            "method=PUT route=/a/b duration_ms=12 status=201",
            "PUT /a/b 201 12",
        ),
        (r#""GET /api HTTP/2.0" 200 1234 0.250"#, "GET /api 200 250"),
        (
            r#"10.0.0.7 "GET /x HTTP/1.1" 200 512 "-" "curl/8 (x)" 0.012345"#,
            "GET /x 200 12.345",
        ),
        (
            r#"10.0.0.7 - - "GET /x HTTP/1.1" 200 512 "-" "curl/8" 12345"#,
            "GET /x 200 12.345",
        ),
        (r#""GET /x HTTP/1.1" 200 512 "-" "curl/8""#, "GET /x 200 -"),
        (r#""GET /x HTTP/1.1" 200 512"#, "GET /x 200 -"),
        (
            r#""GET /x HTTP/1.1" 200 - 0 9000 45 43 "-" "curl/8" "4f1c" "shop""#,
            "GET /x 200 45",
        ),
        (
            r#"web api/api1 0/0/1/44/45 200 512 - - ---- 12/12/3/1/0 0/0 "GET /x HTTP/1.1""#,
            "GET /x 200 45",
        ),
        (
            r#"request {"method": "GET", "path": "/x", "status": 200, "latency_ms": 45}"#,
            "GET /x 200 45",
        ),
        (
            "method=GET path=/x controller=A action=show status=200 duration=45.5 db=3",
            "GET /x 200 45.5",
        ),
        (
            r#""HTTP" verb="GET" URI="/x" latency="45ms" resp=200"#,
            "GET /x 200 45",
        ),
        ("GET /x status=200 time=45ms", "GET /x 200 45"),
        ("GET /x status=200 time=1766840705", "GET /x 200 -"),
        ("Sent 200 in 12ms", "- - 200 12"),
        ("job 17 completed in 3.2s", "none"),
        ("User authenticated successfully", "none"),
        ("opened /etc/hosts in 3ms", "none"),
        (
            "payment gateway timeout after 3456 ms order=5 attempt=2",
            "none",
        ),
        ("slow query took 2000 ms: SELECT * FROM orders", "none"),
        ("exited with code 137", "none"),
        ("checkpoint complete: write=19.3 s, sync=0.2 s", "none"),
    ] {
        assert_eq!(shown(message), expected, "{message}");
    }
}

#[test]
fn durations_have_units() {
    for (text, ms) in [
        ("0.8s", 0.8e3),
        ("151ms", 151.0),
        ("12µs", 0.012),
        ("1m2.5s", 62_500.0),
        ("(3.5ms)", 3.5),
        ("0.25", 250.0),
        ("25", 25.0),
    ] {
        assert_eq!(
            read_duration(text.as_bytes(), Unit::Guess),
            Some(ms),
            "{text}"
        );
    }
    for text in ["", "ms", "1.2.3", "12x", "abc"] {
        assert_eq!(read_duration(text.as_bytes(), Unit::Guess), None, "{text}");
    }
}

#[test]
fn a_configured_expression_wins() {
    let rules = RequestRules {
        request_regex: Some(r"done (?<route>/\S+) (?<ms>\d+) (?<status>\d{3})".to_owned()),
        ignore_routes: Vec::new(),
    };
    let reader = RequestReader::new(&rules).unwrap();
    let fields = reader.read(b"done /pay 250 503");
    assert_eq!(
        (fields.status, fields.duration_ms, fields.route),
        (Some(503), Some(250.0), Some(&b"/pay"[..]))
    );
    assert!(
        !reader
            .read(b"GET /x completed in 1s status=200")
            .is_request()
    );
    assert!(
        RequestReader::new(&RequestRules {
            request_regex: Some("(".to_owned()),
            ignore_routes: Vec::new()
        })
        .is_err()
    );
}

#[test]
fn the_configured_example_of_the_documentation() {
    let rules = RequestRules {
        request_regex: Some(r"completed in (?<seconds>[\d.]+)s".to_owned()),
        ignore_routes: Vec::new(),
    };
    let reader = RequestReader::new(&rules).unwrap();
    let fields = reader.read(b"task completed in 2.5s");
    assert!(fields.is_request() && fields.duration_ms == Some(2500.0));
}

#[test]
fn records_of_one_request_share_their_id() {
    assert_eq!(
        read("GET /x status=200 req_id=77ab").request_id,
        Some(&b"77ab"[..])
    );
}

proptest::proptest! {
    #[test]
    fn decimals_are_read_as_the_standard_library_reads_them(text in "[0-9]{0,10}\\.?[0-9]{0,8}") {
        let parsed = text.parse::<f64>().ok();
        proptest::prop_assert_eq!(read_decimal(text.as_bytes()).map(f64::to_bits), parsed.map(f64::to_bits));
    }
}

#[test]
fn a_duration_of_endless_parts_is_none_and_no_end_of_the_stack() {
    let value = "1m".repeat(500_000);
    assert_eq!(read_duration(value.as_bytes(), Unit::Seconds), None);
    assert_eq!(read_duration(b"1m2.5s", Unit::Seconds), Some(62_500.0));
}
