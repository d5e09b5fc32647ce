//! What a line says of itself and of the record that it belongs to, line by line, for sources that are read as they
//! grow. A scan of a whole stream ([`crate::analysis::scan`]) knows more: it has learned the stream's header.

use super::time::TimeReader;
use super::{frame, read_plain};
use crate::domain::log::{Level, Stream};

/// What is known of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordLine {
    /// The time that the line itself says, in milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// The level of its record: the lines of a stack trace have that of the line that began it.
    pub level: Option<Level>,
    /// Where the text after time and level starts, in bytes.
    pub message: usize,
    /// Whether it goes on with the record above it.
    pub is_continuation: bool,
}

/// Reads the lines of one service in order; each stream has records of its own.
#[derive(Debug, Clone)]
pub struct RecordReader {
    times: TimeReader,
    streams: [Open; 2],
    colour: Vec<u8>,
}

/// The record that a stream's next line may belong to.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    level: Option<Level>,
    is_trace: bool,
    /// Whether its message stands on the next line.
    names_category: bool,
    lines: u64,
    with_header: u64,
}

impl RecordReader {
    /// A reader that resolves times with `times`.
    pub fn new(times: TimeReader) -> Self {
        Self {
            times,
            streams: [Open::default(); 2],
            colour: Vec::new(),
        }
    }

    /// What the next line says.
    pub fn read(&mut self, stream: Stream, line: &[u8]) -> RecordLine {
        let open = &mut self.streams[usize::from(stream == Stream::Stderr)];
        let text = frame::without_colour(line, &mut self.colour);
        let (at_ms, level, message) = read_plain(text, &mut self.times);
        let has_header = at_ms.is_some();
        // Nearly every record has a time here: a line without one belongs to the record above.
        let expects_header = open.lines >= 20 && open.with_header * 10 >= open.lines * 6;
        let is_continuation = open.lines > 0
            && (frame::is_continuation(text, open.is_trace, expects_header, has_header)
                || open.names_category && text.starts_with(frame::CONSOLE_INDENT));
        open.lines += 1;
        open.with_header += u64::from(has_header);
        if is_continuation {
            open.is_trace = open.is_trace || frame::is_trace(text);
            return RecordLine {
                at_ms: None,
                level: open.level,
                message: 0,
                is_continuation: true,
            };
        }
        open.is_trace = frame::is_trace(text);
        open.names_category = frame::names_category(text);
        open.level = level;
        RecordLine {
            at_ms,
            level,
            // Without its colours a header cannot be cut off: the colours stand inside of it.
            message: if text.len() == line.len() { message } else { 0 },
            is_continuation: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut RecordReader, text: &str) -> (Option<Level>, bool) {
        let line = reader.read(Stream::Stdout, text.as_bytes());
        (line.level, line.is_continuation)
    }

    #[test]
    fn lines_of_a_trace_belong_to_the_line_that_began_it() {
        let mut reader = RecordReader::new(TimeReader::utc());
        let error = Some(Level::Error);
        assert_eq!(
            read(&mut reader, "2025-12-27 14:00:02 ERROR failed"),
            (error, false)
        );
        assert_eq!(
            read(&mut reader, "Traceback (most recent call last):"),
            (error, true)
        );
        assert_eq!(read(&mut reader, "  File \"x.py\", line 3"), (error, true));
        assert_eq!(
            read(&mut reader, "2025-12-27 14:00:03 INFO on"),
            (Some(Level::Info), false)
        );
    }

    #[test]
    fn streams_have_records_of_their_own() {
        let mut reader = RecordReader::new(TimeReader::utc());
        reader.read(Stream::Stderr, b"2025-12-27 14:00:02 ERROR failed");
        let other = reader.read(Stream::Stdout, b"2025-12-27 14:00:02 INFO fine");
        assert_eq!(other.level, Some(Level::Info));
        let frame = reader.read(Stream::Stderr, b"    at com.Foo.bar(Foo.java:12)");
        assert_eq!(
            (frame.level, frame.is_continuation),
            (Some(Level::Error), true)
        );
    }
}
