//! From the bytes of a log line to what they say: time, level, request, identity.
//!
//! Everything reads in place: a field is a range of the line, never a copy, because a comparison reads
//! millions of lines. What a line does not say is `None`; nothing is guessed from a neighbour except that a
//! line without a header belongs to the record above it ([`frame`]).

pub mod fields;
pub mod frame;
pub mod header;
pub mod json;
pub mod level;
pub mod record;
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
    let mut buffer = Vec::new();
    let text = frame::without_colour(line, &mut buffer);
    let (at_ms, level, message) = read_plain(text, times);
    LineFields {
        at: at_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        level,
        message: if text.len() == line.len() { message } else { 0 },
    }
}

/// Time in milliseconds since 1970, level, and where the text after them starts.
fn read_plain(line: &[u8], times: &mut TimeReader) -> (Option<i64>, Option<Level>, usize) {
    let (_, start) = frame::strip_prefix(line);
    let text = &line[start..];
    if let Some(object) = json::Object::read(text) {
        let head = json::read_head(&object, times);
        return (head.at, head.level, start);
    }
    let head = header::Header::default().split(text, times);
    (head.at, head.level, start + head.message)
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
