//! The numbers that stand in the records of one pattern: a sample of them, to see whether they drift.
//!
//! `active connections: 20` and `active connections: 100` are one pattern; what the deploy changed is the number. Only
//! a few hundred records of a pattern are looked at, evenly spread, so that it costs next to nothing.

use crate::analysis::parse::header::Header;
use crate::analysis::parse::json::{self, Object, Value};
use crate::analysis::parse::time::TimeReader;
use crate::analysis::pattern::mask::is_word_byte;
use crate::analysis::pattern::structured;

/// So many numbers of a record are looked at.
const WIDTH: usize = 6;
/// So many records of a pattern are kept, at least half as many once there were more.
const MOST: usize = 256;
/// Numbers from here on are ids and times since 1970.
const TOO_LARGE: f64 = 1e9;

/// A sample of the numbers of one shape's records, in the order of the records.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    names: Vec<String>,
    rows: Vec<[f32; WIDTH]>,
    seen: u64,
    /// Every so manieth record is looked at.
    stride: u64,
}

impl Numbers {
    /// Whether the next record is one to look at.
    pub(super) fn wants_next(&mut self) -> bool {
        let stride = self.stride.max(1);
        self.seen += 1;
        (self.seen - 1).is_multiple_of(stride)
    }

    /// Takes the numbers of a record; one whose numbers have other names is not comparable and is left out.
    pub(super) fn take(&mut self, head: &[u8], header: &Header, times: &mut TimeReader) {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut row = [0f32; WIDTH];
        read(head, header, times, &mut |name, value| {
            if let Some(place) = row.get_mut(names.len()) {
                *place = value as f32;
                names.push(name);
            }
        });
        if self.rows.is_empty() {
            let text = |name: &&[u8]| String::from_utf8_lossy(name).into_owned();
            self.names = names.iter().map(text).collect();
        }
        let is_same = names.len() == self.names.len()
            && names
                .iter()
                .zip(&self.names)
                .all(|(a, b)| *a == b.as_bytes());
        if names.is_empty() || !is_same {
            return;
        }
        self.rows.push(row);
        if self.rows.len() >= MOST {
            self.halve();
        }
    }

    /// Adds the sample of the records behind these.
    pub(super) fn append(&mut self, other: Self) {
        if self.names != other.names {
            return;
        }
        // Both at the wider spacing of the two, and as few as one sample has.
        let (own, others) = (self.stride.max(1), other.stride.max(1));
        let stride = own.max(others);
        let thin = |rows: Vec<[f32; WIDTH]>, by: u64| rows.into_iter().step_by(by as usize);
        self.rows = thin(std::mem::take(&mut self.rows), stride / own)
            .chain(thin(other.rows, stride / others))
            .collect();
        (self.stride, self.seen) = (stride, self.seen + other.seen);
        while self.rows.len() >= MOST {
            self.halve();
        }
    }

    /// Drops every second record.
    fn halve(&mut self) {
        let mut at = 0;
        self.rows.retain(|_| {
            at += 1;
            at % 2 == 1
        });
        self.stride = self.stride.max(1) * 2;
    }

    /// What the numbers are called: the key, or the word in front of each; empty where there is none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values of one of the numbers, in the order of the records.
    pub fn values(&self, at: usize) -> Vec<f64> {
        let value = |row: &[f32; WIDTH]| row.get(at).map(|v| f64::from(*v));
        self.rows.iter().filter_map(value).collect()
    }
}

/// Finds the numbers of a record's first line behind its header.
fn read<'a>(
    head: &'a [u8],
    header: &Header,
    times: &mut TimeReader,
    each: &mut dyn FnMut(&'a [u8], f64),
) {
    if head.first() == Some(&b'{')
        && let Some(object) = Object::read(head)
    {
        if let Some(message) = json::read_head(&object, times).message {
            read_text(message, each);
        }
        for (key, value) in object.fields() {
            if let Value::Number(text) | Value::Text(text) = value
                && !structured::is_header(key)
                && let Some(value) = number(text)
            {
                each(key, value);
            }
        }
        return;
    }
    let message = &head[header.split(head, times).message..];
    let Some(pairs) = structured::logfmt(message) else {
        return read_text(message, each);
    };
    for pair in pairs {
        if !structured::is_header(pair.key)
            && let Some(value) = number(pair.value)
        {
            each(pair.key, value);
        }
    }
}

fn read_text<'a>(text: &'a [u8], each: &mut dyn FnMut(&'a [u8], f64)) {
    let mut name: &[u8] = b"";
    for word in text.split(|b| !is_word_byte(*b)).filter(|w| !w.is_empty()) {
        let (key, value) = match memchr::memchr(b':', word) {
            Some(at) if at > 0 && at + 1 < word.len() && word[0].is_ascii_alphabetic() => {
                (&word[..at], &word[at + 1..])
            }
            _ => (name, word),
        };
        match number(value) {
            Some(value) => each(key, value),
            None => name = word.strip_suffix(b":").unwrap_or(word),
        }
    }
}

/// A number of its own, with a unit or without: no id, no time, no address.
fn number(text: &[u8]) -> Option<f64> {
    let text = text
        .strip_suffix(b".")
        .or(text.strip_suffix(b":"))
        .unwrap_or(text);
    let digits = text
        .iter()
        .position(|b| !(b.is_ascii_digit() || *b == b'.'))
        .unwrap_or(text.len());
    let (value, unit) = text.split_at(digits);
    let is_unit = unit == b"%" || (unit.len() <= 3 && unit.iter().all(u8::is_ascii_alphabetic));
    if !value.first()?.is_ascii_digit() || !is_unit {
        return None;
    }
    let value: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (value < TOO_LARGE).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        let header = Header::learn(std::iter::repeat_n(line.as_bytes(), 20));
        read(
            line.as_bytes(),
            &header,
            &mut TimeReader::utc(),
            &mut |name, value| {
                found.push((String::from_utf8_lossy(name).into_owned(), value));
            },
        );
        found
    }

    fn named(numbers: &[(&str, f64)]) -> Vec<(String, f64)> {
        let own = |(name, value): &(&str, f64)| ((*name).to_owned(), *value);
        numbers.iter().map(own).collect()
    }

    #[test]
    fn numbers_are_found_behind_the_header() {
        for (line, numbers) in [
            (
                "2025-12-27 14:50:00 INFO active connections: 20 of 100, 12.5% idle",
                &[("connections", 20.0), ("of", 100.0), ("of", 12.5)][..],
            ),
            (
                r#"{"level":30,"time":1766847000123,"pid":7,"msg":"pool 5","inUse":20,"wait":"12ms"}"#,
                &[("pool", 5.0), ("inUse", 20.0), ("wait", 12.0)],
            ),
            (
                "ts=2025-12-27T14:50:00Z level=info msg=pool in_use=20 took=1.5ms",
                &[("in_use", 20.0), ("took", 1.5)],
            ),
            (
                "2025-12-27 14:50:00 WARN queue:17 from 10.0.0.1 by 9f3c1a2e",
                &[("queue", 17.0)],
            ),
            ("2025-12-27 14:50:00 INFO at 1766847000123 by 9f3c1a2e", &[]),
        ] {
            assert_eq!(of(line), named(numbers), "{line}");
        }
    }

    #[test]
    fn the_sample_is_bounded_and_spread() {
        let mut numbers = Numbers::default();
        for n in 0..100_000 {
            if numbers.wants_next() {
                let line = format!("queue {n}");
                numbers.take(line.as_bytes(), &Header::default(), &mut TimeReader::utc());
            }
        }
        let values = numbers.values(0);
        assert!((MOST / 2..MOST).contains(&values.len()), "{}", values.len());
        assert!(values.is_sorted() && values[0] == 0.0 && values[values.len() - 1] > 99_000.0);
        assert_eq!(numbers.names(), ["queue"]);
    }
}
