//! Prints log lines: as JSON lines or aligned text, filtered, with the lines around a match.

use std::collections::VecDeque;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::bytes::Regex;
use serde::Serialize;

use crate::analysis::parse::record::RecordReader;
use crate::analysis::parse::time::TimeReader;
use crate::analysis::redact::Redactor;
use crate::cli::output::{Output, Paint, Stop};
use crate::domain::log::{Level, LogEvent, LogNote, RawLine};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};

/// Which lines are printed.
pub(super) struct Filter {
    pub(super) grep: Option<Regex>,
    pub(super) level: Option<Level>,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// Prints the lines of several services.
pub(super) struct Printer {
    services: Vec<Named>,
    filter: Filter,
    /// `None` prints secrets too, and in human form into a pipe the bytes as they are.
    redactor: Option<Redactor>,
    is_json: bool,
    zone: TimeZone,
    name_width: usize,
    /// Whether any service's lines have times of its runtime: files have none, and no column for them.
    has_times: bool,
    /// Whether levels are printed, in words or in colour, or chosen by.
    has_levels: bool,
    /// Unprinted lines that may yet stand before a match.
    before: VecDeque<Kept>,
    /// Lines still to print after a match.
    after: usize,
    buffer: Vec<u8>,
}

struct Named {
    id_json: Vec<u8>,
    name: String,
    levels: RecordReader,
}

struct Kept {
    service: usize,
    line: RawLine,
    level: Option<Level>,
    text: Vec<u8>,
}

#[derive(Serialize)]
struct Schema {
    schema: &'static str,
}

impl Printer {
    pub(super) fn new(
        services: &[Service],
        filter: Filter,
        redactor: Option<Redactor>,
        out: &mut Output,
    ) -> Result<Self, Stop> {
        let is_json = out.is_json();
        if is_json {
            out.json_line(&Schema {
                schema: "lastgood.logs/1",
            })?;
        }
        let has_levels = is_json || out.color || filter.level.is_some();
        let has_times = services
            .iter()
            .any(|s| !matches!(s.runtime, Runtime::File | Runtime::Exec));
        let services: Vec<Named> = services
            .iter()
            .map(|s| {
                let mut id_json = Vec::new();
                write_json_string(&mut id_json, s.id.to_string().as_bytes());
                Named {
                    id_json,
                    name: SafeText::from_text(&s.id.to_string()).to_string(),
                    levels: RecordReader::new(TimeReader::utc()),
                }
            })
            .collect();
        let name_width = match services.as_slice() {
            [_] => 0,
            many => many
                .iter()
                .map(|s| s.name.chars().count())
                .max()
                .unwrap_or(0),
        };
        Ok(Self {
            services,
            filter,
            redactor,
            is_json,
            zone: TimeZone::system(),
            name_width,
            has_times,
            has_levels,
            before: VecDeque::new(),
            after: 0,
            buffer: Vec::new(),
        })
    }

    pub(super) fn event(
        &mut self,
        service: usize,
        event: &LogEvent,
        out: &mut Output,
    ) -> Result<(), Stop> {
        match event {
            LogEvent::Block(block) => {
                for (line, text) in block.iter() {
                    self.line(service, line, text, out)?;
                }
                Ok(())
            }
            LogEvent::Note(note) => self.note(note, out),
            LogEvent::Opened(_) => Ok(()),
        }
    }

    pub(super) fn line(
        &mut self,
        service: usize,
        line: &RawLine,
        text: &[u8],
        out: &mut Output,
    ) -> Result<(), Stop> {
        let level = match self.has_levels {
            true => self.services[service].levels.read(line.stream, text).level,
            false => None,
        };
        let is_match = self.filter.grep.as_ref().is_none_or(|re| re.is_match(text))
            && self
                .filter
                .level
                .is_none_or(|wanted| level.is_some_and(|l| l >= wanted));
        if is_match {
            for kept in std::mem::take(&mut self.before) {
                self.print(kept.service, &kept.line, kept.level, &kept.text, out)?;
            }
            self.after = self.filter.after;
            return self.print(service, line, level, text, out);
        }
        if self.after > 0 {
            self.after -= 1;
            return self.print(service, line, level, text, out);
        }
        if self.filter.before > 0 {
            if self.before.len() == self.filter.before {
                self.before.pop_front();
            }
            self.before.push_back(Kept {
                service,
                line: *line,
                level,
                text: text.to_vec(),
            });
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Output) -> Result<(), Stop> {
        self.before.clear();
        self.hand_over(out)
    }

    fn print(
        &mut self,
        service: usize,
        line: &RawLine,
        level: Option<Level>,
        text: &[u8],
        out: &mut Output,
    ) -> Result<(), Stop> {
        let shown;
        let redacted;
        let text = match &self.redactor {
            None => text,
            Some(redactor) => {
                shown = String::from_utf8_lossy(text);
                redacted = redactor.redact(&shown);
                redacted.as_bytes()
            }
        };
        let named = &self.services[service];
        let to = &mut self.buffer;
        if self.is_json {
            to.extend_from_slice(b"{\"at\":");
            match line.at {
                Some(at) => write_instant(to, at),
                None => to.extend_from_slice(b"null"),
            }
            to.extend_from_slice(b",\"service\":");
            to.extend_from_slice(&named.id_json);
            to.extend_from_slice(b",\"stream\":\"");
            to.extend_from_slice(line.stream.as_str().as_bytes());
            match level {
                Some(level) => {
                    to.extend_from_slice(b"\",\"level\":\"");
                    to.extend_from_slice(level.as_str().as_bytes());
                    to.extend_from_slice(b"\",\"text\":");
                }
                None => to.extend_from_slice(b"\",\"level\":null,\"text\":"),
            }
            write_json_string(to, text);
            if line.cut_bytes > 0 {
                to.extend_from_slice(b",\"cut_bytes\":");
                to.extend_from_slice(line.cut_bytes.to_string().as_bytes());
            }
            to.extend_from_slice(b"}\n");
        } else if self.redactor.is_none() && !out.is_terminal {
            to.extend_from_slice(text);
            to.push(b'\n');
        } else {
            let mut row = String::new();
            if self.has_times {
                let at = line.at.map(|at| local_time(at, &self.zone));
                let _ = write!(row, "{:<12}  ", at.unwrap_or_default());
            }
            if self.name_width > 0 {
                let _ = write!(row, "{:<1$}  ", named.name, self.name_width);
            }
            let text = SafeText::from_bytes(text);
            let painted = match level {
                Some(Level::Error | Level::Fatal) => out.paint(Paint::Bad, text.as_str()),
                Some(Level::Warn) => out.paint(Paint::Warning, text.as_str()),
                _ => text.to_string(),
            };
            row.push_str(&painted);
            if line.cut_bytes > 0 {
                let _ = write!(row, " … {} bytes cut", line.cut_bytes);
            }
            row.push('\n');
            to.extend_from_slice(row.as_bytes());
        }
        if self.buffer.len() >= 64 * 1024 {
            self.hand_over(out)?;
        }
        Ok(())
    }

    fn note(&mut self, note: &LogNote, out: &mut Output) -> Result<(), Stop> {
        self.hand_over(out)?;
        if self.is_json {
            return out.json_line(note);
        }
        let at = note.to.or(note.from);
        let at = at.map(|t| local_time(t, &self.zone)).unwrap_or_default();
        let mut text = format!("── {} {at} {}", note.kind.as_str(), note.service);
        if let Some(lines) = note.lines {
            let _ = write!(text, " {lines} lines");
        }
        let _ = write!(text, " {} ──", note.detail);
        out.line(out.paint(Paint::Dim, &text))
    }

    /// Gives the buffer to the output.
    pub(super) fn hand_over(&mut self, out: &mut Output) -> Result<(), Stop> {
        out.raw(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    let local = zone.to_datetime(at);
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        local.hour(),
        local.minute(),
        local.second(),
        local.millisecond()
    )
}

fn write_instant(to: &mut Vec<u8>, at: Timestamp) {
    use std::io::Write;
    // Nine digits always, so that the text sorts as the time does. Writing into memory cannot fail.
    let _ = write!(to, "\"{at:.9}\"");
}

/// Writes a JSON string: every control character (C0, DEL, C1) escaped, and U+FFFD only for what is not UTF-8.
fn write_json_string(to: &mut Vec<u8>, text: &[u8]) {
    to.push(b'"');
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut from = 0;
        let mut at = 0;
        while at < valid.len() {
            let b = valid[at];
            // C1 controls are U+0080 to U+009F: two bytes, 0xC2 and their number.
            let is_c1 = b == 0xc2 && valid.get(at + 1).is_some_and(|n| *n < 0xa0);
            if b >= 0x20 && b != b'"' && b != b'\\' && b != 0x7f && !is_c1 {
                at += 1;
                continue;
            }
            to.extend_from_slice(&valid[from..at]);
            match b {
                b'"' => to.extend_from_slice(b"\\\""),
                b'\\' => to.extend_from_slice(b"\\\\"),
                b'\t' => to.extend_from_slice(b"\\t"),
                b'\r' => to.extend_from_slice(b"\\r"),
                _ => {
                    let code = if is_c1 { valid[at + 1] } else { b };
                    to.extend_from_slice(b"\\u00");
                    to.push(b"0123456789abcdef"[usize::from(code >> 4)]);
                    to.push(b"0123456789abcdef"[usize::from(code & 15)]);
                    at += usize::from(is_c1);
                }
            }
            at += 1;
            from = at;
        }
        to.extend_from_slice(&valid[from..]);
        if !chunk.invalid().is_empty() {
            to.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &[u8]) -> String {
        let mut to = Vec::new();
        write_json_string(&mut to, text);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn controls_are_escaped_and_text_stays() {
        assert_eq!(
            json(b"a\x1b[2J\x00\x7f\t\"\\"),
            r#""a\u001b[2J\u0000\u007f\t\"\\""#
        );
        assert_eq!(json("ключ \u{9b} é".as_bytes()), "\"ключ \\u009b é\"");
        assert_eq!(json(b"a\xffb"), "\"a\u{fffd}b\"");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_their_text(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text: String = serde_json::from_str(&json(&bytes)).unwrap();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
            prop_assert!(json(&bytes).chars().all(|c| !c.is_control()));
        }
    }
}
