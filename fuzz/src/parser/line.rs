//! Single lines: their time, their fields, their shape.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lastgood::analysis::kept::Kept;
use lastgood::analysis::parse::header::Header;
use lastgood::analysis::parse::json::{self, Object, Value};
use lastgood::analysis::parse::record::RecordReader;
use lastgood::analysis::parse::request::{RequestFields, RequestReader, Unit, read_duration};
use lastgood::analysis::parse::time::{self, TimeReader};
use lastgood::analysis::parse::{fields, frame, level, read_line, route};
use lastgood::analysis::pattern::{WILD, mask, structured, trace};
use lastgood::domain::log::Stream;

/// So much of a message makes its shape.
const SHAPED: usize = 2048;

pub(super) fn check(text: &[u8]) {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let header = Header::learn(lines.iter().copied());
    let mut times = times();
    let mut reader = RecordReader::new(times.clone());
    for (number, line) in lines.iter().enumerate() {
        let stream = match number % 3 {
            2 => Stream::Stderr,
            _ => Stream::Stdout,
        };
        check_record(&mut reader, stream, line);
        check_time(&mut times, line);
        let head = header.split(line, &mut times);
        assert!(head.message <= line.len());
        check_instant(head.at);
        check_frame(line);
        check_json(line);
        check_fields(line);
        check_shape(line);
        check_request(line);
    }
    let failure = trace::find(lines[0], lines[1..].iter().copied());
    let mut shape = Vec::new();
    trace::push(&failure, &mut shape);
    let class = failure
        .line
        .and_then(level::exception_in_trace)
        .map_or(0, <[u8]>::len);
    assert!(
        shape.len() <= class + 2 * 300 + 120 + 8,
        "{} bytes",
        shape.len()
    );
}

/// A zone with summer time: some hours are there twice, some not at all.
fn times() -> TimeReader {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
    let at = Timestamp::constant(1_766_847_000, 0);
    TimeReader::new(&at.to_zoned(zone))
}

/// What is shown and compared later has to be an instant.
fn check_instant(ms: Option<i64>) {
    if let Some(ms) = ms {
        assert!(Timestamp::from_millisecond(ms).is_ok(), "{ms} ms");
    }
}

fn check_record(reader: &mut RecordReader, stream: Stream, line: &[u8]) {
    let again = reader.clone().read(stream, line);
    let record = reader.read(stream, line);
    assert_eq!(record, again);
    assert!(record.message <= line.len());
    check_instant(record.at_ms);
    if record.is_continuation {
        assert_eq!((record.at_ms, record.message), (None, 0));
    }
    assert!(read_line(line, &mut times()).message <= line.len());
}

fn check_time(times: &mut TimeReader, line: &[u8]) {
    check_instant(time::epoch_ms(line));
    let Some((written, length)) = time::read(line) else {
        return;
    };
    assert!((1..=line.len()).contains(&length));
    let ms = times.resolve(&written);
    check_instant(ms);
    // The general reader of such times agrees, also that there is no 30th of February.
    let text = &line[..length];
    if is_rfc3339(text) {
        let expected = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<Timestamp>().ok());
        assert_eq!(ms, expected.map(|at| at.as_millisecond()));
    }
}

/// `2025-12-27T14:50:00Z` or `2025-12-27T14:50:00.123Z`, no leap second.
fn is_rfc3339(text: &[u8]) -> bool {
    const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((second, rest)) = text.split_first_chunk::<19>() else {
        return false;
    };
    let has_form = second.iter().zip(FORM).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == form,
    });
    // A millisecond is the finest that is kept.
    let has_end = match rest {
        [b'Z'] => true,
        [b'.', digits @ .., b'Z'] => digits.len() <= 3,
        _ => false,
    };
    has_form && has_end && !second.ends_with(b"60")
}

fn check_frame(line: &[u8]) {
    let (name, start) = frame::strip_prefix(line);
    assert!(start <= line.len());
    assert!(name.is_none_or(|name| !name.is_empty() && name.len() <= 80));
    if let Some(length) = frame::runtime_timestamp(line) {
        assert!(length <= line.len());
    }
    let mut buffer = Vec::new();
    let plain = frame::without_colour(line, &mut buffer);
    assert!(plain.len() <= line.len() && !plain.contains(&0x1b));
    assert!(level::exception_class(line).is_none_or(|class| line.starts_with(class)));
}

/// Whatever a strict reader takes for an object is one here too, with the same fields.
fn check_json(line: &[u8]) {
    let object = Object::read(line);
    let strict = serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(line.trim_ascii());
    let Ok(strict) = strict else { return };
    let object = object.unwrap_or_else(|| panic!("an object: {}", String::from_utf8_lossy(line)));
    let read: Vec<(String, serde_json::Value)> = object
        .fields()
        .iter()
        .map(|(key, value)| {
            let raw = match value {
                Value::Text(text) => [b"\"", *text, b"\""].concat(),
                Value::Number(t) | Value::Word(t) | Value::Object(t) | Value::Array(t) => {
                    t.to_vec()
                }
            };
            (parse(&[b"\"", *key, b"\""].concat()), parse(&raw))
        })
        .collect();
    // The first 48 fields are read; of a key that stands twice the strict reader keeps the last.
    if read.len() < 48 {
        assert_eq!(read.into_iter().collect::<BTreeMap<_, _>>(), strict);
    }
    let head = json::read_head(&object, &mut times());
    check_instant(head.at);
    let mut request = RequestFields::default();
    json::read_request(&object, &mut request);
    check_request_fields(&request);
    let mut shape = Vec::new();
    structured::mask_object(&object, head.message, &mut shape, &mut Kept::off());
    assert!(shape.len() <= 2 * line.len() + 8, "{} bytes", shape.len());
}

fn parse<T: serde::de::DeserializeOwned>(raw: &[u8]) -> T {
    serde_json::from_slice(raw)
        .unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(raw)))
}

fn check_fields(line: &[u8]) {
    let Some(fields) = fields::read(line) else {
        return;
    };
    let length: usize = fields.others.iter().map(|(k, v)| k.len() + v.len()).sum();
    // What is not UTF-8 takes three bytes.
    assert!(fields.message.len() + length <= 3 * line.len());
    assert!(fields.others.len() <= 48);
}

fn check_shape(line: &[u8]) {
    let mut shape = Vec::new();
    mask::mask(line, &mut shape, &mut Kept::off());
    let bound = 2 * line.len().min(SHAPED) + 4;
    assert!(shape.len() <= bound, "{} bytes", shape.len());
    assert!(shape.iter().all(|byte| *byte >= 0x20 || *byte == WILD));
    // It is appended, whatever stands there.
    for before in [&b"a ("[..], b"took \x01", b"took \x01 (\x01 "] {
        let mut joined = before.to_vec();
        mask::mask(line, &mut joined, &mut Kept::off());
        assert_eq!(joined.strip_prefix(before), Some(shape.as_slice()));
    }
    if let Some(pairs) = structured::logfmt(line) {
        let mut shape = Vec::new();
        structured::mask_pairs(pairs, &mut shape, &mut Kept::off());
        assert!(shape.len() <= 2 * line.len() + 8, "{} bytes", shape.len());
    }
    let mut normal = Vec::new();
    route::normalise(line, &mut normal, &mut Kept::off());
    assert!(!normal.is_empty() && normal.len() <= 3 * 200);
}

fn check_request(line: &[u8]) {
    for unit in [Unit::Guess, Unit::Seconds, Unit::Nanoseconds] {
        if let Some(ms) = read_duration(line, unit) {
            assert!(ms.is_finite() && ms >= 0.0, "{ms} ms");
        }
    }
    check_request_fields(&RequestReader::default().read(line));
}

fn check_request_fields(request: &RequestFields<'_>) {
    assert!(
        request
            .status
            .is_none_or(|status| (100..600).contains(&status))
    );
    assert!(
        request
            .duration_ms
            .is_none_or(|ms| ms.is_finite() && ms >= 0.0)
    );
}
