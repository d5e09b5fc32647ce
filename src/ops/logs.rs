//! Reads the logs of a service.

use jiff::{Timestamp, Zoned};
use regex::bytes::Regex;
use tokio::sync::mpsc;

use super::services::{failed, host_of};
use super::{Context, OpsError};
use crate::analysis::parse::time::TimeReader;
use crate::analysis::parse::{self, frame, header};
use crate::domain::log::{
    FileHits, Level, LogEvent, LogPage, LogPosition, LogRequest, PageRequest, Stream,
};
use crate::domain::service::{Service, ServiceId};
use crate::runtime;

pub use crate::runtime::FileSearch;

/// Sends what was asked for, in the order of the source. With `follow` it goes on through restarts, recreation
/// and lost links, telling each as a note, until nobody listens. Back-pressure: a full channel makes the source
/// wait, nothing is dropped here.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    runtime::read_logs(host, service, &settings, request, to)
        .await
        .map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
}

/// Reads a closed log whose lines are only wanted where they match. What comes may hold others too, such as the lines
/// above a line of a stack trace, which tell its level; none that matches is left out. On a plain file this costs little
/// more than reading it.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read_matching(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    pattern: &Regex,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    runtime::read_matching(host, service, &settings, request, pattern, to)
        .await
        .map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
}

/// Reads a part of a service's log again.
///
/// # Errors
/// The source is away, or cannot be asked for a part.
pub async fn page(
    ctx: &Context,
    service: &Service,
    request: &PageRequest,
) -> Result<LogPage, OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    runtime::read_page(host, service, &settings, request)
        .await
        .map_err(|e| failed(format!("cannot read more of the log of {}", service.id), e))
}

/// Searches a part of a log file in place, block by block, and sends where lines match; without an expression it counts
/// lines. Ends at once when nobody listens any more. Files are those that [`LogEvent::Opened`] names.
///
/// # Errors
/// The file is gone, is compressed, was truncated meanwhile, or cannot be read.
pub async fn search_file(
    ctx: &Context,
    service: &ServiceId,
    search: FileSearch,
    to: mpsc::Sender<FileHits>,
) -> Result<(), OpsError> {
    host_of(ctx, service)?;
    runtime::search_file(service, search, to)
        .await
        .map_err(|e| failed(format!("cannot search the log of {service}"), e))
}

/// Where the first line of a log file begins that was written at or after an instant; the file's length where there is
/// none.
///
/// # Errors
/// The file is gone or cannot be read.
pub async fn place_at(
    ctx: &Context,
    service: &ServiceId,
    file: &LogPosition,
    at: Timestamp,
) -> Result<u64, OpsError> {
    host_of(ctx, service)?;
    runtime::place_at(service, file, at)
        .await
        .map_err(|e| failed(format!("cannot look for a time in the log of {service}"), e))
}

/// Reads the time of each line of one service, in order: the runtime's, else the one that the line says, else that of
/// the line before.
#[derive(Debug)]
pub struct Clock {
    times: TimeReader,
    last: Option<Timestamp>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            times: TimeReader::new(&Zoned::now()),
            last: None,
        }
    }
}

impl Clock {
    /// The time of the next line; `None` where no line has said one yet.
    pub fn read(&mut self, at: Option<Timestamp>, text: &[u8]) -> Option<Timestamp> {
        let at = at.or_else(|| parse::read_line(text, &mut self.times).at);
        self.last = at.or(self.last);
        self.last
    }
}

/// Reads the level of each line of one service, in order: the lines of a stack trace have that of their record.
#[derive(Debug)]
pub struct LevelReader {
    times: TimeReader,
    streams: [Open; 2],
    colour: Vec<u8>,
}

/// The record that a stream's next line may belong to.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    level: Option<Level>,
    is_trace: bool,
    lines: u64,
    with_header: u64,
}

impl Default for LevelReader {
    fn default() -> Self {
        Self {
            times: TimeReader::utc(),
            streams: [Open::default(); 2],
            colour: Vec::new(),
        }
    }
}

impl LevelReader {
    /// The level of the next line; `None` where nothing tells it.
    pub fn read(&mut self, stream: Stream, text: &[u8]) -> Option<Level> {
        let open = &mut self.streams[usize::from(stream == Stream::Stderr)];
        let text = frame::without_colour(text, &mut self.colour);
        let has_header = header::has_time(text);
        // Nearly every record has a time here: a line without one belongs to the record above.
        let expects_header = open.lines >= 20 && open.with_header * 10 >= open.lines * 6;
        let is_same = open.lines > 0
            && frame::is_continuation(text, open.is_trace, expects_header, has_header);
        open.lines += 1;
        open.with_header += u64::from(has_header);
        if is_same {
            open.is_trace = open.is_trace || frame::is_trace(text);
            return open.level;
        }
        open.is_trace = frame::is_trace(text);
        open.level = parse::read_line(text, &mut self.times).level;
        open.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_trace_have_the_level_of_their_record() {
        let mut levels = LevelReader::default();
        let mut read = |text: &str| levels.read(Stream::Stdout, text.as_bytes());
        assert_eq!(read("2025-12-27 14:00:01 INFO started"), Some(Level::Info));
        assert_eq!(
            read("2025-12-27 14:00:02 \u{1b}[31mERROR\u{1b}[0m failed"),
            Some(Level::Error)
        );
        assert_eq!(
            read("Traceback (most recent call last):"),
            Some(Level::Error)
        );
        assert_eq!(read("  File \"x.py\", line 3, in f"), Some(Level::Error));
        assert_eq!(read("2025-12-27 14:00:03 INFO on"), Some(Level::Info));
    }

    #[test]
    fn streams_have_records_of_their_own() {
        let mut levels = LevelReader::default();
        levels.read(Stream::Stderr, b"2025-12-27 14:00:02 ERROR failed");
        assert_eq!(
            levels.read(Stream::Stdout, b"2025-12-27 14:00:02 INFO fine"),
            Some(Level::Info)
        );
        assert_eq!(
            levels.read(Stream::Stderr, b"    at com.Foo.bar(Foo.java:12)"),
            Some(Level::Error)
        );
    }
}
