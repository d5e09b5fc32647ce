//! Log lines on their way from a source to the screen, to a checkpoint and to the analysis.

use std::ops::Range;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;

/// How loud a record is. Ordered, so that `level >= Level::Error` reads as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Finer than debug.
    Trace,
    /// For developers.
    Debug,
    /// Normal work (also `notice`).
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
    /// The process gives up (also `critical`, `alert`, `emergency`, `panic`).
    Fatal,
}

impl Level {
    /// Every level, from quiet to loud.
    pub const ALL: [Self; 6] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Fatal,
    ];

    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// Which stream of the process wrote a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output, and everything of a terminal or a file.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A span of time, each end open where it is `None`. `since` is inclusive, `until` exclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// The first instant inside.
    pub since: Option<Timestamp>,
    /// The first instant after.
    pub until: Option<Timestamp>,
}

impl Window {
    /// All of time.
    pub const ALL: Self = Self {
        since: None,
        until: None,
    };

    /// From an instant on.
    pub fn since(at: Timestamp) -> Self {
        Self {
            since: Some(at),
            until: None,
        }
    }

    /// Whether the instant lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|s| at >= s) && self.until.is_none_or(|u| at < u)
    }
}

/// A place in a log file that survives rotation: the file's identity and a byte offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// The file's path when the position was taken.
    pub path: PathBuf,
    /// The file's inode: another one at the same path means that the file was rotated.
    pub inode: u64,
    /// Bytes from the start; a smaller file means that it was truncated.
    pub offset: u64,
}

/// What to read of a service's log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogRequest {
    /// The span of time.
    pub window: Window,
    /// Only the last so many lines of the window; `None` for all.
    pub tail: Option<u64>,
    /// Whether to go on after the end, through restarts and recreation of the service.
    pub follow: bool,
    /// Whether the newest lines matter more than all of them: where the link to a machine carries less than is written, a
    /// follow leaves lines out, and tells it.
    pub keeps_up: bool,
    /// Where files were when a checkpoint was made: reading starts there. Empty: by time alone.
    pub from: Vec<LogPosition>,
}

/// One line inside a [`LogBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine {
    /// Where its text starts in the block's bytes.
    pub start: u32,
    /// Where its text ends; the line break is not part of it.
    pub end: u32,
    /// The time the runtime gave it; `None` where the source has none of its own.
    pub at: Option<Timestamp>,
    /// The stream it came from.
    pub stream: Stream,
    /// Bytes that were cut off because the line was over the limit of 1 MiB; 0 for a whole line.
    pub cut_bytes: u32,
    /// Where the line begins in the file named by the last [`LogEvent::Opened`], in bytes; 0 in a source that has no
    /// places.
    pub place: u64,
}

/// Several lines in one piece of memory: one allocation a block, none a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogBlock {
    /// The text of all lines, each with a `\n` behind it: a search runs over all of them at once.
    pub bytes: Vec<u8>,
    /// The lines, in the order of the source.
    pub lines: Vec<RawLine>,
}

impl LogBlock {
    /// The raw bytes of a line of this block.
    pub fn text(&self, line: &RawLine) -> &[u8] {
        &self.bytes[line.start as usize..line.end as usize]
    }

    /// Each line with its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&RawLine, &[u8])> {
        self.lines.iter().map(|line| (line, self.text(line)))
    }

    /// Appends a line. Lines of one block stay under 4 GiB in sum; sources send blocks of about 64 KiB.
    pub fn push(&mut self, at: Option<Timestamp>, stream: Stream, text: &[u8], cut_bytes: u32) {
        self.push_at(0, at, stream, text, cut_bytes);
    }

    /// Appends a line whose place in its file is known.
    pub fn push_at(
        &mut self,
        place: u64,
        at: Option<Timestamp>,
        stream: Stream,
        text: &[u8],
        cut_bytes: u32,
    ) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        let end = self.bytes.len() as u32;
        self.bytes.push(b'\n');
        self.lines.push(RawLine {
            start,
            end,
            at,
            stream,
            cut_bytes,
            place,
        });
    }

    /// Whether there is no line in it.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }
}

/// What happened to a source besides lines. Everything that may hide a line is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogNoteKind {
    /// Lines may be missing between two instants.
    Gap,
    /// One of several parts of the log, a task's or a file, could not be read: nobody knows what stands in it.
    Unread,
    /// Lines were read and not kept, and how many.
    Skipped,
    /// The service runs in a new container from here on.
    Recreated,
    /// The same container was started again.
    Restarted,
    /// The link to the source is gone; it is being tried again.
    Reconnecting,
    /// The link is back; nothing was lost unless a gap says so.
    Reconnected,
    /// The file was rotated or truncated under us.
    Rotated,
    /// The source ended; the detail says how (`exit 137`).
    Ended,
    /// The machine's clock is not ours: `to` is what it shows at our `from`.
    Clock,
}

impl LogNoteKind {
    /// Whether lines are, or may be, missing.
    pub fn is_loss(self) -> bool {
        matches!(
            self,
            Self::Gap | Self::Unread | Self::Skipped | Self::Rotated
        )
    }

    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Unread => "unread",
            Self::Skipped => "skipped",
            Self::Recreated => "recreated",
            Self::Restarted => "restarted",
            Self::Reconnecting => "reconnecting",
            Self::Reconnected => "reconnected",
            Self::Rotated => "rotated",
            Self::Ended => "ended",
            Self::Clock => "clock",
        }
    }
}

/// A seam in a log: drawn as a line of its own between the lines it separates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogNote {
    /// What happened.
    #[serde(rename = "event")]
    pub kind: LogNoteKind,
    /// The service whose log it is.
    pub service: ServiceId,
    /// The last instant before.
    pub from: Option<Timestamp>,
    /// The first instant after.
    pub to: Option<Timestamp>,
    /// How many lines are concerned, where that is known.
    pub lines: Option<u64>,
    /// In words: `api:1.4 → api:1.5`, `exit 137`.
    pub detail: SafeText,
}

impl LogNote {
    /// What happened to the log of a service, at no instant that is known.
    pub fn new(service: &ServiceId, kind: LogNoteKind, detail: &str) -> Self {
        Self {
            kind,
            service: service.clone(),
            from: None,
            to: None,
            lines: None,
            detail: SafeText::from_text(detail),
        }
    }

    /// How far the clock of the machine is ahead of ours, where the note is about that.
    pub fn ahead(&self) -> Option<SignedDuration> {
        match (self.kind, self.from, self.to) {
            (LogNoteKind::Clock, Some(ours), Some(theirs)) => Some(theirs.duration_since(ours)),
            _ => None,
        }
    }
}

/// Which part of a log to read again: the lines before or after one that is held.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRequest {
    /// The border: lines on the far side of it are asked for.
    pub border: PageBorder,
    /// Older lines, those just before the border, instead of newer ones.
    pub is_backward: bool,
    /// How many lines at most.
    pub lines: u64,
}

/// Where a page of a log begins or ends.
#[derive(Debug, Clone, PartialEq)]
pub enum PageBorder {
    /// The start of a line of a file.
    Place(LogPosition),
    /// A line of a source that knows times only.
    Time {
        /// The line's time.
        at: Timestamp,
        /// How many lines with this very time are held on the near side of the border, the line itself included.
        same: u64,
        /// How many newer lines the source has given since: it counts back from its end.
        newer: u64,
    },
}

/// A part of a log that was asked for again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogPage {
    /// The lines, in the order of the source.
    pub blocks: Vec<LogBlock>,
    /// Whether nothing lies beyond them: the log begins (or, forwards, ends) here.
    pub is_edge: bool,
}

/// What a search of a log file has looked at, and found there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileHits {
    /// The bytes that were looked at, from the start of a line to the start of another.
    pub looked: Range<u64>,
    /// How many lines begin there.
    pub lines: u64,
    /// The places of the lines that match, ascending.
    pub hits: Vec<u64>,
}

/// A part of a log file that was looked at for a filter, with the lines on which that has to decide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passage {
    /// The bytes that were looked at, from the start of a line to the start of another.
    pub looked: Range<u64>,
    /// From the place of the first line that may pass to that of the last one; empty where none may.
    pub candidates: Range<u64>,
    /// The lines from the first candidate to the last, with some before and after them: records begin earlier and end
    /// later than the line that is looked for. None at all where there is no candidate.
    pub block: LogBlock,
}

/// What a source sends, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum LogEvent {
    /// The lines that follow are read from this place of this file on, and have their own places in it. A source
    /// that is no file never says so.
    Opened(LogPosition),
    /// Lines; none at all where a follow has only just opened its source, so that one that is silent is known to be open.
    Block(LogBlock),
    /// A seam.
    Note(LogNote),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_block_keep_their_bytes() {
        let mut block = LogBlock::default();
        block.push(None, Stream::Stdout, b"one", 0);
        block.push(None, Stream::Stderr, b"", 0);
        block.push(None, Stream::Stdout, b"\xff", 3);
        let texts: Vec<&[u8]> = block.iter().map(|(_, text)| text).collect();
        assert_eq!(texts, [b"one".as_slice(), b"", b"\xff"]);
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let start = Timestamp::UNIX_EPOCH;
        let end = start + std::time::Duration::from_secs(1);
        let window = Window {
            since: Some(start),
            until: Some(end),
        };
        assert!(window.contains(start) && !window.contains(end));
        assert!(Window::ALL.contains(end));
    }
}
