//! Lines on their way into a ring: what is known of each is found on the task that reads the log, so that the event
//! loop only takes the block over.

use jiff::{Timestamp, Zoned};

use crate::analysis::parse::record::RecordReader;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::{Level, LogBlock, LogNote, LogPage, LogPosition, RawLine, Stream};

/// A row without a time of its own.
pub(super) const NO_TIME: i64 = i64::MIN;
/// The first number of a stream: pages that are read again later get smaller ones.
const FIRST: u64 = 1 << 40;
/// Numbers that a byte of a file takes: seams stand between the lines of a file.
const PLACE_BITS: u32 = 3;
/// The last of these numbers is the line's own, those before it are for seams in front of it.
const LINE: u64 = (1 << PLACE_BITS) - 1;

pub(super) const STDERR: u8 = 1;
pub(super) const NOTE: u8 = 2;
pub(super) const CONTINUATION: u8 = 4;
pub(super) const LATE: u8 = 8;
pub(super) const CUT: u8 = 16;

/// What is known of a line besides its text; 40 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Never reused, ascending.
    pub(super) number: u64,
    /// When it was written, in nanoseconds since 1970, or [`NO_TIME`].
    pub(super) at: i64,
    /// Where it stands among the lines of other sources: never less than that of the row before.
    pub(super) order: i64,
    pub(super) start: u32,
    pub(super) len: u32,
    /// Where the text begins after a time and a level that the screen shows in columns of their own.
    pub(super) text_from: u16,
    /// 0 for none, else one more than the place in [`Level::ALL`].
    pub(super) level: u8,
    pub(super) flags: u8,
}

impl Row {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn level(&self) -> Option<Level> {
        usize::from(self.level)
            .checked_sub(1)
            .and_then(|at| Level::ALL.get(at).copied())
    }

    pub(super) fn at(&self) -> Option<Timestamp> {
        instant(self.at)
    }
}

pub(super) fn instant(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds != NO_TIME)
        .then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok())
        .flatten()
}

/// Nanoseconds since 1970; the ends of the range stand for what lies beyond (the years 1678 and 2262).
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    at.as_second()
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(at.subsec_nanosecond()))
        .max(NO_TIME + 1)
}

pub(super) fn level_number(level: Option<Level>) -> u8 {
    level.map_or(0, |level| level as u8 + 1)
}

/// Lines with what is known of each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreparedBlock {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: Vec<Row>,
    /// Bytes that the source cut off of a row.
    pub(super) cuts: Vec<(u64, u32)>,
    pub(super) late: u64,
}

impl PreparedBlock {
    /// How many lines it holds.
    pub fn lines(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Bytes that they take.
    pub(super) fn size(&self) -> usize {
        size_of_lines(self.bytes.len(), &self.rows)
    }

    /// How many of them were written at or after an instant; a line without a time has that of the line before it.
    pub fn lines_since(&self, at: Timestamp) -> u64 {
        let at = nanoseconds(at);
        let is_new = |row: &&Row| row.order >= at;
        self.rows.iter().filter(is_new).count() as u64
    }

    /// The newest time of a line of it.
    pub fn newest_at(&self) -> Option<Timestamp> {
        self.rows.iter().map(|row| row.at).max().and_then(instant)
    }
}

/// Bytes that lines take with what is known of them.
pub(super) fn size_of_lines(text: usize, rows: &[Row]) -> usize {
    text + size_of_val(rows)
}

/// A seam with its place among the lines.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedNote {
    pub(super) number: u64,
    pub(super) order: i64,
    /// The seam.
    pub note: LogNote,
}

/// The file whose places the numbers from `base` on are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedFile {
    /// The number of its byte 0.
    pub(super) base: u64,
    /// Which file, and where its reading began.
    pub position: LogPosition,
}

impl OpenedFile {
    /// The number of the line that begins at a byte of the file.
    pub fn number(&self, place: u64) -> u64 {
        self.base + (place << PLACE_BITS) + LINE
    }

    /// Where the line of a number begins.
    pub fn place(&self, number: u64) -> u64 {
        number.saturating_sub(self.base) >> PLACE_BITS
    }
}

#[derive(Debug, Clone)]
enum Numbering {
    /// One after the other.
    Sequence,
    /// By their places in a file.
    Places(OpenedFile),
}

/// Reads the lines of one source in order: level, time, records; gives each its number and its place in time.
#[derive(Debug, Clone)]
pub struct LineReader {
    records: RecordReader,
    numbering: Numbering,
    /// The number of the last row.
    last: u64,
    order: i64,
    /// How many nanoseconds the clock is ahead by which the lines themselves tell the time.
    ahead: i64,
}

impl LineReader {
    /// A reader for lines written until `now`, in its zone where they name none.
    pub fn new(now: &Zoned) -> Self {
        Self {
            records: RecordReader::new(TimeReader::new(now)),
            numbering: Numbering::Sequence,
            last: FIRST,
            order: NO_TIME,
            ahead: 0,
        }
    }

    /// A reader for lines of a file, from any place of it.
    pub(super) fn of_file(now: &Zoned, file: OpenedFile) -> Self {
        Self {
            numbering: Numbering::Places(file),
            ..Self::new(now)
        }
    }

    /// The lines that follow are those of a file. `None` where the source reads several files at once, whose lines
    /// have no common places.
    pub fn open(&mut self, position: LogPosition) -> Option<OpenedFile> {
        let base = match &self.numbering {
            Numbering::Sequence if self.last == FIRST => 0,
            // A file under the same name takes over after a rotation. Another one is read beside it.
            Numbering::Places(file) if is_same_log(&file.position, &position) => {
                (self.last | LINE) + 1
            }
            _ => {
                self.numbering = Numbering::Sequence;
                return None;
            }
        };
        let file = OpenedFile { base, position };
        self.numbering = Numbering::Places(file.clone());
        Some(file)
    }

    /// Gives a seam its place after the lines so far.
    pub fn note(&mut self, note: LogNote) -> PreparedNote {
        // A place has room for a few seams in front of its line; more than that share the last one's place in vain.
        self.last += 1;
        if let Some(ahead) = note.ahead() {
            // It is no event of the log: the lines that follow may be older.
            self.ahead = i64::try_from(ahead.as_nanos()).unwrap_or(0);
        } else if let Some(at) = note.to.or(note.from) {
            self.order = self.order.max(nanoseconds(at));
        }
        PreparedNote {
            number: self.last,
            order: self.order,
            note,
        }
    }

    /// Reads the lines of a block. `arrived` stands for the time of lines before which nothing had one.
    pub fn read(&mut self, block: LogBlock, arrived: Timestamp) -> PreparedBlock {
        let mut rows = Vec::with_capacity(block.lines.len());
        let before = self.order;
        let is_sequence = matches!(self.numbering, Numbering::Sequence);
        let mut is_sorted = true;
        for line in &block.lines {
            let row = self.look(line, block.text(line));
            is_sorted &= row.flags & LATE == 0;
            rows.push(row);
        }
        // Two streams of a container, or two of its replicas, are stamped before they are written: what is late by
        // less than a block is put in its place. A file's lines stand where they stand.
        if is_sequence && !is_sorted {
            sort(&mut rows, before);
        }
        let fallback = nanoseconds(arrived);
        let mut late = 0;
        for row in &mut rows {
            if row.order == NO_TIME {
                row.order = fallback;
            }
            late += u64::from(row.has(LATE));
            if is_sequence {
                self.last += 1;
                row.number = self.last;
            }
        }
        if let Some(row) = rows.last() {
            self.last = row.number;
            self.order = row.order;
        }
        // Rare, and rows may have been moved: each cut line finds its row by its start.
        let cuts = block
            .lines
            .iter()
            .filter(|line| line.cut_bytes > 0)
            .filter_map(|line| {
                let row = rows.iter().find(|row| row.start == line.start)?;
                Some((row.number, line.cut_bytes))
            })
            .collect();
        PreparedBlock {
            bytes: block.bytes,
            rows,
            cuts,
            late,
        }
    }

    fn look(&mut self, line: &RawLine, text: &[u8]) -> Row {
        let record = self.records.read(line.stream, text);
        let own = match line.at {
            Some(at) => nanoseconds(at),
            None => record.at_ms.map_or(NO_TIME, |ms| {
                ms.saturating_mul(1_000_000).saturating_sub(self.ahead)
            }),
        };
        let mut flags = 0;
        if line.stream == Stream::Stderr {
            flags |= STDERR;
        }
        if line.cut_bytes > 0 {
            flags |= CUT;
        }
        if record.is_continuation {
            flags |= CONTINUATION;
        } else if own != NO_TIME {
            if own < self.order {
                flags |= LATE;
            } else {
                self.order = own;
            }
        }
        let number = match &self.numbering {
            Numbering::Sequence => 0,
            Numbering::Places(file) => file.number(line.place),
        };
        Row {
            number,
            at: own,
            order: self.order,
            start: line.start,
            len: line.end - line.start,
            text_from: u16::try_from(record.message).unwrap_or(0),
            level: level_number(record.level),
            flags,
        }
    }
}

/// Puts records in the order of their times, those with the same time in the order they came. A record that is older
/// than what was taken over before this block stays late.
fn sort(rows: &mut [Row], before: i64) {
    let mut time = before;
    for row in rows.iter_mut() {
        if !row.has(CONTINUATION) && row.at != NO_TIME {
            time = row.at;
        }
        row.order = time;
        row.flags &= !LATE;
    }
    rows.sort_by_key(|row| row.order);
    for row in rows.iter_mut().take_while(|row| row.order < before) {
        row.order = before;
        row.flags |= LATE;
    }
}

/// Whether a file takes over from another at the same path, or is a rotated part of the same log (`app.log.1`).
fn is_same_log(a: &LogPosition, b: &LogPosition) -> bool {
    let stem = |p: &LogPosition| p.path.as_os_str().as_encoded_bytes().to_vec();
    let (a, b) = (stem(a), stem(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// A part of a log that was read again, ready to be put beside the line that it was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreparedPage {
    /// The lines, in the order of the source.
    pub(super) blocks: Vec<PreparedBlock>,
    /// Whether nothing lies beyond them.
    pub(super) is_edge: bool,
}

impl PreparedPage {
    /// Reads the lines of a page; of a file, they get the numbers of their places.
    pub fn read(page: LogPage, file: Option<&OpenedFile>, now: &Zoned) -> Self {
        let mut reader = match file {
            Some(file) => LineReader::of_file(now, file.clone()),
            None => LineReader::new(now),
        };
        let arrived = Timestamp::UNIX_EPOCH;
        Self {
            blocks: page
                .blocks
                .into_iter()
                .filter(|block| !block.is_empty())
                .map(|block| reader.read(block, arrived))
                .collect(),
            is_edge: page.is_edge,
        }
    }

    /// How many lines it holds.
    pub fn lines(&self) -> u64 {
        self.blocks.iter().map(PreparedBlock::lines).sum()
    }
}
