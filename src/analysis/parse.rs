//! From the bytes of a log line to what they say: time, level, request, identity.
//!
//! Everything reads in place: a field is a range of the line, never a copy, because a comparison reads
//! millions of lines. What a line does not say is `None`; nothing is guessed from a neighbour except that a
//! line without a header belongs to the record above it ([`frame`]).

pub mod frame;
pub mod header;
pub mod json;
pub mod level;
pub mod request;
pub mod route;
pub mod time;

use jiff::Timestamp;

use crate::domain::log::Level;
use time::TimeReader;

/// What one line says of itself, for panes that show lines as they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineFields {
    /// The time in the line.
    pub at: Option<Timestamp>,
    /// Its level.
    pub level: Option<Level>,
    /// Where the text after time and level starts, in bytes.
    pub message: usize,
}

/// Reads time and level of a single line, without what a scan of the whole stream would have learned.
///
/// A line with colours is read without them; its message is then the whole line, since the header cannot be cut off
/// without its colours.
pub fn read_line(line: &[u8], times: &mut TimeReader) -> LineFields {
    if memchr::memchr(0x1b, line).is_none() {
        return read_plain(line, times);
    }
    let mut buffer = Vec::new();
    LineFields {
        message: 0,
        ..read_plain(frame::without_colour(line, &mut buffer), times)
    }
}

fn read_plain(line: &[u8], times: &mut TimeReader) -> LineFields {
    let (_, start) = frame::strip_prefix(line);
    let text = &line[start..];
    if let Some(object) = json::Object::read(text) {
        let head = json::read_head(&object, times);
        return LineFields {
            at: head.at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            level: head.level,
            message: start,
        };
    }
    let head = header::Header::default().split(text, times);
    LineFields {
        at: head.at.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        level: head.level,
        message: start + head.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_do_not_hide_the_level() {
        let now: jiff::Zoned = "2025-12-27T16:00:00+00:00[UTC]".parse().unwrap();
        let mut times = TimeReader::new(&now);
        for line in [
            "\u{1b}[31mERROR\u{1b}[0m no route to the database",
            "\u{1b}[2m2025-12-27T15:00:00Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m no route",
            "ERROR no route",
        ] {
            let fields = read_line(line.as_bytes(), &mut times);
            assert_eq!(fields.level, Some(Level::Error), "{line:?}");
        }
    }
}
