//! The shape of JSON and logfmt records: the message and the names of the fields; values vary.

use super::WILD;
use super::mask::mask;
use crate::analysis::kept::Kept;
use crate::analysis::parse::json::{LEVEL_KEYS, MESSAGE_KEYS, Object, TIME_KEYS, Value};

/// Fields that say where a record was written, not what happened.
const PLACE_KEYS: &[&str] = &[
    "pid", "hostname", "host", "v", "name", "logger", "caller", "thread", "service",
];

/// One pair of a logfmt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The name.
    pub key: &'a [u8],
    /// The value, quotes taken off.
    pub value: &'a [u8],
}

/// The pairs of a logfmt line; `None` for text that is not one (it must start with a pair and name its time,
/// level or message).
pub fn logfmt(line: &[u8]) -> Option<Pairs<'_>> {
    let first = Pairs { rest: line }.next()?;
    let known = [TIME_KEYS, LEVEL_KEYS, MESSAGE_KEYS, &["at"]]
        .iter()
        .any(|keys| is_one_of(first.key, keys));
    (known && line.starts_with(first.key)).then_some(Pairs { rest: line })
}

/// Walks the pairs of a logfmt line; words that are no pairs are passed over.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

    fn next(&mut self) -> Option<Pair<'a>> {
        loop {
            let text = self.rest.trim_ascii_start();
            let stop = memchr::memchr2(b'=', b' ', text)?;
            let is_key = text[stop] == b'='
                && stop > 0
                && stop < 64
                && text[..stop]
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@'));
            if !is_key {
                self.rest = &text[stop + 1..];
                continue;
            }
            let key = &text[..stop];
            let after = &text[stop + 1..];
            if let Some(quoted) = after.strip_prefix(b"\"") {
                let mut end = 0;
                while let Some(found) = memchr::memchr2(b'"', b'\\', quoted.get(end..)?) {
                    end += found;
                    if quoted[end] == b'"' {
                        self.rest = &quoted[end + 1..];
                        return Some(Pair {
                            key,
                            value: &quoted[..end],
                        });
                    }
                    end += 2;
                }
                self.rest = &[];
                return Some(Pair { key, value: quoted });
            }
            let end = memchr::memchr(b' ', after).unwrap_or(after.len());
            self.rest = &after[end..];
            return Some(Pair {
                key,
                value: &after[..end],
            });
        }
    }
}

/// Appends the shape of a JSON record.
pub fn mask_object(
    object: &Object<'_>,
    message: Option<&[u8]>,
    out: &mut Vec<u8>,
    kept: &mut Kept,
) {
    if let Some(message) = message {
        mask(message, out, kept);
    }
    for (key, value) in object.fields() {
        if is_header(key) {
            continue;
        }
        push_key(key, out, kept);
        match value {
            Value::Object(inner) if is_failure(key) => match Object::read(inner) {
                Some(inner) => {
                    for (key, value) in inner.fields() {
                        if let Some(text) = value.scalar()
                            && matches!(*key, b"type" | b"name" | b"code" | b"message" | b"msg")
                        {
                            push_key(key, out, kept);
                            push_failure(key, text, out, kept);
                        }
                    }
                }
                None => out.push(WILD),
            },
            value => match value.scalar() {
                Some(text) => push_value(key, text, out, kept),
                None => out.push(WILD),
            },
        }
    }
}

/// Appends the shape of a logfmt record.
pub fn mask_pairs(pairs: Pairs<'_>, out: &mut Vec<u8>, kept: &mut Kept) {
    if let Some(message) = { pairs }.find(|p| is_one_of(p.key, MESSAGE_KEYS)) {
        mask(message.value, out, kept);
    }
    for pair in pairs {
        if !is_header(pair.key) {
            push_key(pair.key, out, kept);
            push_value(pair.key, pair.value, out, kept);
        }
    }
}

fn push_key(key: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    kept.whole(key);
    if !out.is_empty() {
        out.push(b' ');
    }
    out.extend_from_slice(&key[..key.len().min(64)]);
    out.push(b'=');
}

fn push_value(key: &[u8], value: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    let is_status = value.len() == 3
        && value.iter().all(u8::is_ascii_digit)
        && key
            .to_ascii_lowercase()
            .windows(4)
            .any(|w| w == b"stat" || w == b"code");
    if is_status {
        out.extend_from_slice(value);
        kept.whole(value);
    } else if is_failure(key) || matches!(key, b"method" | b"errno" | b"signal") {
        push_failure(key, value, out, kept);
    } else {
        out.push(WILD);
    }
}

fn push_failure(key: &[u8], value: &[u8], out: &mut Vec<u8>, kept: &mut Kept) {
    // A name or code is what tells errors apart; a message still has ids in it.
    if matches!(key, b"type" | b"name" | b"code") && value.len() <= 64 {
        out.extend_from_slice(value);
        kept.whole(value);
    } else {
        if value.len() > 300 {
            // Where it is cut depends on all of it.
            kept.whole(value);
        }
        mask(&value[..value.len().min(300)], out, kept);
    }
}

fn is_failure(key: &[u8]) -> bool {
    const KEYS: &[&str] = &[
        "err",
        "error",
        "exception",
        "exc",
        "error_type",
        "exception_class",
        "errorcode",
        "@x",
    ];
    is_one_of(key, KEYS)
}

/// Whether a field says when, how loud or where a record was written.
pub fn is_header(key: &[u8]) -> bool {
    is_one_of(key, TIME_KEYS)
        || is_one_of(key, LEVEL_KEYS)
        || is_one_of(key, MESSAGE_KEYS)
        || is_one_of(key, PLACE_KEYS)
        // What journald adds by itself.
        || key.first() == Some(&b'_')
        || key == b"PRIORITY"
        || key.starts_with(b"SYSLOG_")
}

/// Whether a key is one of these, in any case.
pub fn is_one_of(key: &[u8], keys: &[&str]) -> bool {
    keys.iter().any(|k| key.eq_ignore_ascii_case(k.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_message_and_keys() {
        let line = br#"{"level":50,"time":1766847000123,"pid":7,"msg":"Invalid JSON from 10.0.0.1","queue":"mail","err":{"type":"SyntaxError","code":"E_JSON","at":12},"statusCode":502}"#;
        let object = Object::read(line).unwrap();
        let mut out = Vec::new();
        mask_object(
            &object,
            Some(b"Invalid JSON from 10.0.0.1"),
            &mut out,
            &mut Kept::off(),
        );
        assert_eq!(
            super::super::shown(&out),
            "Invalid JSON from <*> queue=<*> err= type=SyntaxError code=E_JSON statusCode=502"
        );
    }

    #[test]
    fn logfmt_keeps_message_and_keys() {
        let line = br#"ts=2025-12-27T14:50:00Z level=info caller=proxy.go:214 msg="upstream response" upstream=backend:8000 status=200 dur=1.5ms"#;
        let mut out = Vec::new();
        mask_pairs(logfmt(line).unwrap(), &mut out, &mut Kept::off());
        assert_eq!(
            super::super::shown(&out),
            "upstream response upstream=<*> status=200 dur=<*>"
        );
        for text in [
            "ready=true,policy=3",
            "User a=b logged in",
            "",
            "=x",
            "level",
        ] {
            assert!(logfmt(text.as_bytes()).is_none(), "{text}");
        }
    }
}
