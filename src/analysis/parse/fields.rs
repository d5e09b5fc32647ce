//! A structured line as a person reads it: its message, then its other fields.

use super::json::{Object, Value};

/// Keys of the message, in the order in which they are looked for.
const MESSAGES: &[&str] = &["msg", "message", "event", "log"];
/// What the screen shows in columns of its own.
const SHOWN: &[&str] = &[
    "time",
    "timestamp",
    "ts",
    "@timestamp",
    "level",
    "severity",
    "lvl",
    "log.level",
];
/// At most so many pairs of a logfmt line are read.
const MAX_PAIRS: usize = 48;

/// A structured line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Its message; empty where it has none.
    pub message: String,
    /// The other fields in their order, time and level left out.
    pub others: Vec<(String, String)>,
}

/// Reads a line that is a JSON object or logfmt; `None` for any other.
pub fn read(line: &[u8]) -> Option<Fields> {
    let line = line.trim_ascii();
    if line.first() == Some(&b'{') {
        return read_json(line);
    }
    read_logfmt(line)
}

fn read_json(line: &[u8]) -> Option<Fields> {
    let object = Object::read(line)?;
    let message = object.find(MESSAGES);
    let mut others = Vec::new();
    for (key, value) in object.fields() {
        if is_head(key) {
            continue;
        }
        others.push((String::from_utf8_lossy(key).into_owned(), words(*value)));
    }
    Some(Fields {
        message: message.map(words).unwrap_or_default(),
        others,
    })
}

fn is_head(key: &[u8]) -> bool {
    SHOWN.iter().chain(MESSAGES).any(|k| k.as_bytes() == key)
}

fn words(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => {
            let quoted = [b"\"", text, b"\""].concat();
            serde_json::from_slice(&quoted)
                .unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
        }
        Value::Number(t) | Value::Word(t) | Value::Object(t) | Value::Array(t) => {
            String::from_utf8_lossy(t).into_owned()
        }
    }
}

/// `level=info msg="listening on" port=8080`: pairs from the first word to the last, with a message among them.
fn read_logfmt(line: &[u8]) -> Option<Fields> {
    let text = std::str::from_utf8(line).ok()?;
    let mut rest = text;
    let mut fields = Fields::default();
    let mut has_message = false;
    for _ in 0..MAX_PAIRS {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let (key, behind) = rest.split_once('=')?;
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'@'));
        if !is_key {
            return None;
        }
        let (value, next) = logfmt_value(behind)?;
        rest = next;
        if MESSAGES.contains(&key) && !has_message {
            has_message = true;
            fields.message = value;
        } else if !is_head(key.as_bytes()) {
            fields.others.push((key.to_owned(), value));
        }
    }
    (has_message && rest.is_empty()).then_some(fields)
}

fn logfmt_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(' ').unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> String {
        match read(line.as_bytes()) {
            None => "-".to_owned(),
            Some(fields) => {
                let others = fields.others.iter().map(|(k, v)| format!(" {k}={v}"));
                format!("{}{}", fields.message, others.collect::<String>())
            }
        }
    }

    #[test]
    fn json_is_a_message_and_its_other_fields() {
        assert_eq!(
            one(
                r#"{"level":50,"time":1766840705113,"msg":"payment \"x\" failed","order":88121,"err":{"code":"E1"}}"#
            ),
            r#"payment "x" failed order=88121 err={"code":"E1"}"#
        );
        assert_eq!(one(r#"{"a":1"#), "-");
        assert_eq!(one(r#"{"status":200}"#), " status=200");
    }

    #[test]
    fn logfmt_is_read_only_where_the_whole_line_is_pairs() {
        assert_eq!(
            one(r#"ts=2025-12-27T15:00:00Z level=info msg="listening \"on\"" port=8080"#),
            r#"listening "on" port=8080"#
        );
        assert_eq!(one("completed in=0.8s status=200 msg"), "-");
        assert_eq!(one("a=b c=d"), "-", "no message: it may be anything");
        assert_eq!(one(""), "-");
    }
}
