use super::*;

fn at(text: &str) -> String {
    let reference: Zoned = "2025-12-27T16:00:00+00:00[UTC]".parse().unwrap();
    let mut reader = TimeReader::new(&reference);
    let (written, length) = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
    let ms = reader.resolve(&written).unwrap();
    format!(
        "{} {:?}",
        Timestamp::from_millisecond(ms).unwrap(),
        &text[length..]
    )
}

#[test]
fn every_form_is_read() {
    for (text, expected) in [
        (
            "2025-12-27T14:50:00.123Z x",
            "2025-12-27T14:50:00.123Z \" x\"",
        ),
        (
            "2025-12-27T14:50:00.123456789Z x",
            "2025-12-27T14:50:00.123Z \" x\"",
        ),
        ("2025-12-27T14:50:00+03:00 x", "2025-12-27T11:50:00Z \" x\""),
        (
            "2025-12-27 14:50:00,123 INFO",
            "2025-12-27T14:50:00.123Z \" INFO\"",
        ),
        (
            "2025-12-27 14:50:00.123 UTC [9]",
            "2025-12-27T14:50:00.123Z \" [9]\"",
        ),
        (
            "2025/12/27 14:50:00 [error]",
            "2025-12-27T14:50:00Z \" [error]\"",
        ),
        ("2025/12/27 - 14:50:00 |", "2025-12-27T14:50:00Z \" |\""),
        (
            "2005-06-03-15.42.50.675872 R",
            "2005-06-03T15:42:50.675Z \" R\"",
        ),
        ("2005.11.09 dn", "2005-11-09T00:00:00Z \" dn\""),
        ("15:35] x", "2025-12-27T15:35:00Z \"] x\""),
        ("15:35:10.5 x", "2025-12-27T15:35:10.5Z \" x\""),
        ("Dec 27 14:50:00 host", "2025-12-27T14:50:00Z \" host\""),
        ("Jul  1 09:00:55 host", "2025-07-01T09:00:55Z \" host\""),
        (
            "Sun Dec 04 04:47:44 2005] x",
            "2005-12-04T04:47:44Z \"] x\"",
        ),
        (
            "27/Dec/2025:14:50:00 +0300] x",
            "2025-12-27T11:50:00Z \"] x\"",
        ),
        (
            "27 Dec 2025 14:50:00.123 * x",
            "2025-12-27T14:50:00.123Z \" * x\"",
        ),
        (
            "03-17 16:13:38.811  17",
            "2025-03-17T16:13:38.811Z \"  17\"",
        ),
        ("10.30 16:49:06] x", "2025-10-30T16:49:06Z \"] x\""),
        ("17/06/09 20:10:40 INFO", "2017-06-09T20:10:40Z \" INFO\""),
        ("081109 203615 148", "2008-11-09T20:36:15Z \" 148\""),
        ("20171223-22:15:29:606|x", "2017-12-23T22:15:29.606Z \"|x\""),
    ] {
        assert_eq!(at(text), expected, "{text}");
    }
}

#[test]
fn what_only_looks_like_a_time_is_none() {
    for text in [
        "",
        "2025",
        "25:00",
        "12:60",
        "2025-13-01",
        "127.0.0.1",
        "12:30abc",
        "Dec",
        "Max 27 14:50:00",
        "00:1a:2b:3c:4d:5e",
        "1234567",
        "10.10.34.11:3888",
        "081399 203615 1",
    ] {
        assert!(read(text.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn a_time_of_day_goes_on_after_midnight() {
    let reference: Zoned = "2025-12-27T16:00:00+00:00[UTC]".parse().unwrap();
    let mut reader = TimeReader::new(&reference);
    let mut ms = |text: &str| {
        let (written, _) = read(text.as_bytes()).unwrap();
        reader.resolve(&written).unwrap()
    };
    let late = ms("23:59:59");
    assert_eq!(ms("00:00:01") - late, 2000);
    assert_eq!(ms("23:59:58"), late - 1000);
    assert_eq!(ms("00:00:02") - late, 3000);
}

#[test]
fn a_missing_zone_is_the_readers() {
    let reference: Zoned = "2025-12-27T16:00:00+03:00[+03:00]".parse().unwrap();
    let mut reader = TimeReader::new(&reference);
    let (written, _) = read(b"2025-12-27 14:50:00").unwrap();
    let ms = reader.resolve(&written).unwrap();
    assert_eq!(
        Timestamp::from_millisecond(ms).unwrap().to_string(),
        "2025-12-27T11:50:00Z"
    );
}

#[test]
fn epochs_are_told_apart_by_their_length() {
    assert_eq!(epoch_ms(b"1766847000"), Some(1_766_847_000_000));
    assert_eq!(epoch_ms(b"1766847000123"), Some(1_766_847_000_123));
    assert_eq!(epoch_ms(b"1766847000.25"), Some(1_766_847_000_250));
    assert_eq!(epoch_ms(b"17"), None);
}

#[test]
fn a_time_that_no_clock_shows_is_none() {
    let mut reader = TimeReader::utc();
    let mut ms = |text: &str| {
        let (written, _) = read(text.as_bytes()).unwrap();
        reader.resolve(&written)
    };
    for text in [
        // The last hours of the year 9999 are none everywhere on earth.
        "9999-12-31T23:59:59-14:00",
        "9999-12-31 23:59:59",
        "2025-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2025-04-31 10:00:00",
    ] {
        assert_eq!(ms(text), None, "{text}");
    }
    assert!(ms("2000-02-29T10:00:00Z").is_some());
    for text in ["1766847000e300", "1766847000e9", "1766847000123e99"] {
        assert_eq!(epoch_ms(text.as_bytes()), None, "{text}");
    }
    assert_eq!(epoch_ms(b"1766847000e0"), Some(1_766_847_000_000));
}
