//! JSON log lines (pino, zap, bunyan, structlog, …) read in place: keys and values are ranges of the line.

use super::level;
use super::request::RequestFields;
use super::time::{self, TimeReader};
use crate::domain::log::Level;

/// At most so many fields of one object are looked at; log records have about ten.
const MAX_FIELDS: usize = 48;

/// A value, as it stands in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// The text between the quotes, escapes left as they are.
    Text(&'a [u8]),
    /// A number.
    Number(&'a [u8]),
    /// `true`, `false`, `null`.
    Word(&'a [u8]),
    /// An object with its braces.
    Object(&'a [u8]),
    /// An array with its brackets.
    Array(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a text, number or word; `None` for what has parts.
    pub fn scalar(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(t) | Self::Number(t) | Self::Word(t) => Some(t),
            Self::Object(_) | Self::Array(_) => None,
        }
    }
}

/// The fields of one object, in their order.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    fields: [(&'a [u8], Value<'a>); MAX_FIELDS],
    count: usize,
}

impl<'a> Object<'a> {
    /// Reads an object that fills the whole text; `None` for anything else.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        if text.first() != Some(&b'{') || text.last() != Some(&b'}') {
            return None;
        }
        let mut object = Self {
            fields: [(&[], Value::Word(&[])); MAX_FIELDS],
            count: 0,
        };
        let mut at = skip_space(text, 1);
        if text.get(at) == Some(&b'}') {
            return (at + 1 == text.len()).then_some(object);
        }
        loop {
            let (key, next) = read_text(text, at)?;
            at = skip_space(text, next);
            if text.get(at) != Some(&b':') {
                return None;
            }
            let (value, next) = read_value(text, skip_space(text, at + 1))?;
            if object.count < MAX_FIELDS {
                object.fields[object.count] = (key, value);
                object.count += 1;
            }
            at = skip_space(text, next);
            match text.get(at)? {
                b',' => at = skip_space(text, at + 1),
                b'}' => return (at + 1 == text.len()).then_some(object),
                _ => return None,
            }
        }
    }

    /// Each key with its value.
    pub fn fields(&self) -> &[(&'a [u8], Value<'a>)] {
        &self.fields[..self.count]
    }

    /// The value of a key, written just so.
    pub fn get(&self, key: &[u8]) -> Option<Value<'a>> {
        let found = self.fields().iter().find(|(k, _)| *k == key)?;
        Some(found.1)
    }

    /// The value of the first of these keys that is there, in any case.
    pub fn find(&self, keys: &[&str]) -> Option<Value<'a>> {
        keys.iter().find_map(|key| {
            let is = |k: &[u8]| k.eq_ignore_ascii_case(key.as_bytes());
            let found = self.fields().iter().find(|(k, _)| is(k))?;
            Some(found.1)
        })
    }
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Reads a quoted text at `at`; returns what is between the quotes and where it ends.
fn read_text(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        let found = memchr::memchr2(b'"', b'\\', text.get(end..)?)?;
        end += found;
        if text[end] == b'"' {
            return Some((&text[at + 1..end], end + 1));
        }
        end += 2;
    }
}

fn read_value(text: &[u8], at: usize) -> Option<(Value<'_>, usize)> {
    match text.get(at)? {
        b'"' => read_text(text, at).map(|(t, end)| (Value::Text(t), end)),
        b'{' => nested_end(text, at).map(|end| (Value::Object(&text[at..end]), end)),
        b'[' => nested_end(text, at).map(|end| (Value::Array(&text[at..end]), end)),
        first => {
            let length = text[at..]
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace())?;
            let raw = &text[at..at + length];
            let value = if first.is_ascii_digit() || *first == b'-' {
                Value::Number(raw)
            } else if matches!(raw, b"true" | b"false" | b"null") {
                Value::Word(raw)
            } else {
                return None;
            };
            Some((value, at + length))
        }
    }
}

/// Where an object or array that starts at `at` ends.
fn nested_end(text: &[u8], at: usize) -> Option<usize> {
    let (mut depth, mut at) = (0usize, at);
    loop {
        match text.get(at)? {
            b'"' => {
                at = read_text(text, at)?.1;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The header of a JSON record.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonHead<'a> {
    /// Milliseconds since 1970.
    pub at: Option<i64>,
    /// Its level.
    pub level: Option<Level>,
    /// Its message.
    pub message: Option<&'a [u8]>,
    /// What its time was read from.
    pub time_value: Option<Value<'a>>,
    /// What its level was read from.
    pub level_value: Option<Value<'a>>,
}

/// Keys of the time.
pub const TIME_KEYS: &[&str] = &[
    "time",
    "ts",
    "timestamp",
    "@timestamp",
    "t",
    "datetime",
    "asctime",
    "date",
    "@t",
    "__realtime_timestamp",
];
/// Keys of the level.
pub const LEVEL_KEYS: &[&str] = &[
    // Monolog has its numbers under `level`.
    "level_name",
    "level",
    "lvl",
    "severity",
    "levelname",
    "log.level",
    "@level",
    "loglevel",
    "log_level",
    "@l",
];
/// Keys of the message.
pub const MESSAGE_KEYS: &[&str] = &["msg", "message", "event", "@message", "@m", "@mt", "log"];

/// Reads time, level and message of an object.
pub fn read_head<'a>(object: &Object<'a>, times: &mut TimeReader) -> JsonHead<'a> {
    let inside = |key: &[u8], inner: &[&str]| match object.get(key)? {
        Value::Object(text) => Object::read(text)?.find(inner),
        _ => None,
    };
    // MongoDB: `{"t":{"$date":…},"s":"E","c":"NETWORK",…}`.
    let mongo = inside(b"t", &["$date"]);
    let time_value = mongo.or_else(|| object.find(TIME_KEYS));
    let at = time_value.and_then(|value| match value {
        Value::Number(number) => time::epoch_ms(number),
        Value::Text(text) => times.read_value(text),
        _ => None,
    });
    let letter_value = mongo.and_then(|_| object.get(b"s"));
    let level_value = letter_value
        .or_else(|| object.find(LEVEL_KEYS))
        // The Elastic Common Schema may be nested, and journald has a severity of syslog as text.
        .or_else(|| inside(b"log", &["level"]))
        .or_else(|| object.get(b"PRIORITY"));
    let level = level_value.and_then(|value| match value {
        Value::Text([letter, rest @ ..]) if mongo.is_some() && rest.len() < 2 => {
            level::from_letter(*letter)
        }
        Value::Number(text) | Value::Text(text) => {
            let number = std::str::from_utf8(text).ok()?.parse();
            number.map_or_else(|_| level::from_word(text), level::from_number)
        }
        _ => None,
    });
    let message = object.find(MESSAGE_KEYS).and_then(|value| match value {
        Value::Text(text) => Some(text),
        _ => None,
    });
    JsonHead {
        at,
        level,
        message,
        time_value,
        level_value,
    }
}

/// Reads what the object says of a request, one level of nesting deep (`req.method`, `res.statusCode`).
pub fn read_request<'a>(object: &Object<'a>, fields: &mut RequestFields<'a>) {
    for (key, value) in object.fields() {
        match value {
            Value::Object(inner) if is_request_part(key) => {
                if let Some(inner) = Object::read(inner) {
                    for (key, value) in inner.fields() {
                        if let Some(text) = value.scalar() {
                            fields.take(key, text);
                        }
                    }
                }
            }
            value => {
                if let Some(text) = value.scalar() {
                    fields.take(key, text);
                }
            }
        }
    }
}

fn is_request_part(key: &[u8]) -> bool {
    matches!(
        key,
        b"req" | b"res" | b"http" | b"request" | b"response" | b"httpRequest"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_place() {
        let line =
            br#"{"level":30,"msg":"a \"b\" c","req":{"method":"GET","tags":[1,"]"]},"ok":true}"#;
        let object = Object::read(line).unwrap();
        assert_eq!(object.find(&["level"]), Some(Value::Number(b"30")));
        assert_eq!(
            object.find(&["nope", "msg"]),
            Some(Value::Text(br#"a \"b\" c"#))
        );
        assert_eq!(
            object.find(&["req"]),
            Some(Value::Object(br#"{"method":"GET","tags":[1,"]"]}"#))
        );
        assert_eq!(object.find(&["ok"]), Some(Value::Word(b"true")));
    }

    #[test]
    fn what_is_not_an_object_is_none() {
        for text in [
            "",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1",
            "[1]",
            "{user} logged in",
            "{'a':1}",
            "{\"a\":\"\\\"}",
        ] {
            assert!(Object::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Object::read(b"{}").is_some());
    }

    #[test]
    fn heads_of_every_logger() {
        let error = Some(Level::Error);
        let at = Some(1_766_847_000_123);
        for (line, level) in [
            (
                r#"{"t":{"$date":"2025-12-27T14:50:00.123Z"},"s":"E","c":"NETWORK","id":22943,"msg":"m"}"#,
                error,
            ),
            (
                r#"{"PRIORITY":"3","MESSAGE":"m","__REALTIME_TIMESTAMP":"1766847000123456","_PID":"7"}"#,
                error,
            ),
            (
                r#"{"Timestamp":"2025-12-27T14:50:00.123Z","LogLevel":"Error","Category":"Shop","Message":"m"}"#,
                error,
            ),
            (
                r#"{"@t":"2025-12-27T14:50:00.123Z","@m":"m","@l":"Error"}"#,
                error,
            ),
            (r#"{"@t":"2025-12-27T14:50:00.123Z","@mt":"m"}"#, None),
            (
                r#"{"@timestamp":"2025-12-27T14:50:00.123Z","log":{"level":"error"},"message":"m"}"#,
                error,
            ),
            (
                r#"{"message":"m","level":400,"level_name":"ERROR","datetime":"2025-12-27T14:50:00.123Z"}"#,
                error,
            ),
            (
                r#"{"message":"m","level":"50","time":1766847000123}"#,
                error,
            ),
            // A job of the highest priority is no alarm.
            (r#"{"msg":"m","priority":1,"time":1766847000123}"#, None),
        ] {
            let mut times = TimeReader::utc();
            let head = read_head(&Object::read(line.as_bytes()).unwrap(), &mut times);
            assert_eq!(
                (head.at, head.level, head.message),
                (at, level, Some(&b"m"[..])),
                "{line}"
            );
        }
    }

    #[test]
    fn pino_and_zap_heads() {
        let mut times = TimeReader::utc();
        let pino = Object::read(br#"{"level":50,"time":1766847000123,"msg":"x"}"#).unwrap();
        let head = read_head(&pino, &mut times);
        assert_eq!(
            (head.at, head.level),
            (Some(1_766_847_000_123), Some(Level::Error))
        );
        let zap = Object::read(br#"{"level":"warn","ts":1766847000.5,"msg":"x"}"#).unwrap();
        let head = read_head(&zap, &mut times);
        assert_eq!(
            (head.at, head.level),
            (Some(1_766_847_000_500), Some(Level::Warn))
        );
        let iso = Object::read(
            br#"{"severity":"ERROR","timestamp":"2025-12-27T14:50:00Z","message":"m"}"#,
        )
        .unwrap();
        let head = read_head(&iso, &mut times);
        assert_eq!(
            (head.at, head.message),
            (Some(1_766_847_000_000), Some(&b"m"[..]))
        );
    }
}
