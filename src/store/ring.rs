//! Log lines in memory for the screen: bounded by bytes, the oldest dropped first.
//!
//! Lines stay the raw bytes that the source sent, in the blocks it sent them in, with a compact row beside each
//! (place, time, level); taking a block over costs no copy and no allocation a line. A line has a number that
//! never changes while older ones are dropped, so a cursor or a search hit can be kept as that number.
//! A checkpoint never reads from here: what the screen drops is not lost.

use std::collections::VecDeque;
use std::ops::Range;

use jiff::{Timestamp, Zoned};
use regex::bytes::Regex;

use crate::analysis::parse::read_line;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::{Level, LogBlock, LogNote, Stream};

/// Small blocks are joined up to this size, so that a trickle of single lines does not cost a block each.
const JOIN_BELOW: usize = 64 * 1024;

/// What is known of a line besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    start: u32,
    len: u32,
    cut_bytes: u32,
    /// Where the text begins after a time and a level that the screen shows in columns of their own.
    text_from: u16,
    stream: Stream,
    level: Option<Level>,
    is_note: bool,
    at: Option<Timestamp>,
}

/// What is known of a line, found before it is put into the ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineFacts {
    /// The line's own time, where the source gave none.
    pub at: Option<Timestamp>,
    /// Its level.
    pub level: Option<Level>,
    /// Where its message begins, after time and level.
    pub text_from: u16,
}

/// Reads level and time of lines, one after the other; keeps what it learned of the stream's form of time.
#[derive(Debug)]
pub struct LineReader {
    times: TimeReader,
}

impl LineReader {
    /// A reader for lines written until `now`, in its zone where they name none.
    pub fn new(now: &Zoned) -> Self {
        Self {
            times: TimeReader::new(now),
        }
    }

    /// What a line says of itself.
    fn look(&mut self, text: &[u8]) -> LineFacts {
        let fields = read_line(text, &mut self.times);
        LineFacts {
            at: fields.at,
            level: fields.level,
            text_from: u16::try_from(fields.message).unwrap_or(0),
        }
    }
}

/// A block with the facts of each of its lines: made on the task that reads the log, so that the event loop only
/// takes it over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PreparedBlock {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl PreparedBlock {
    /// Looks at each line of a block with a reader.
    pub fn read(block: LogBlock, reader: &mut LineReader) -> Self {
        Self::new(block, |text| reader.look(text))
    }

    /// Looks at each line of a block.
    pub fn new(block: LogBlock, mut look: impl FnMut(&[u8]) -> LineFacts) -> Self {
        let rows = block
            .iter()
            .map(|(line, text)| {
                let facts = look(text);
                Row {
                    start: line.start,
                    len: line.end - line.start,
                    cut_bytes: line.cut_bytes,
                    text_from: facts.text_from,
                    stream: line.stream,
                    level: facts.level,
                    is_note: false,
                    at: line.at.or(facts.at),
                }
            })
            .collect();
        Self {
            bytes: block.bytes,
            rows,
        }
    }

    /// How many lines it holds.
    pub fn lines(&self) -> u64 {
        self.rows.len() as u64
    }

    /// How many of them were written at or after an instant; a line without a time counts as new.
    pub fn lines_since(&self, at: Timestamp) -> u64 {
        let is_new = |row: &&Row| row.at.is_none_or(|t| t >= at);
        self.rows.iter().filter(is_new).count() as u64
    }
}

#[derive(Debug, Default)]
struct Chunk {
    first: u64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Chunk {
    fn size(&self) -> usize {
        self.bytes.len() + self.rows.len() * size_of::<Row>()
    }

    fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    fn text(&self, row: &Row) -> &[u8] {
        let start = row.start as usize;
        &self.bytes[start..start + row.len as usize]
    }
}

/// One line of the ring.
#[derive(Debug, Clone, Copy)]
pub struct RingLine<'a> {
    /// Its number; never reused.
    pub number: u64,
    /// When it was written; `None` where neither the source nor the line said.
    pub at: Option<Timestamp>,
    /// Its level.
    pub level: Option<Level>,
    /// The stream it came from.
    pub stream: Stream,
    /// The whole line.
    pub bytes: &'a [u8],
    /// Where its message begins, after time and level.
    pub text_from: usize,
    /// Bytes that the source cut off.
    pub cut_bytes: u32,
    /// The seam, where this is one and no line.
    pub note: Option<&'a LogNote>,
}

/// What a step of a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Searched {
    /// Numbers of the lines that match, ascending.
    pub found: Vec<u64>,
    /// The first number that was not looked at.
    pub next: u64,
}

/// Log lines in memory.
#[derive(Debug)]
pub struct Ring {
    chunks: VecDeque<Chunk>,
    notes: VecDeque<(u64, LogNote)>,
    next: u64,
    size: usize,
    bound: usize,
    received: u64,
    dropped: u64,
}

impl Ring {
    /// A ring that never holds more than `bound` bytes, rows included.
    pub fn new(bound: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            notes: VecDeque::new(),
            next: 0,
            size: 0,
            bound,
            received: 0,
            dropped: 0,
        }
    }

    /// Forgets every line; numbers go on, so that an old number never means a new line.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.notes.clear();
        self.size = 0;
        self.received = 0;
        self.dropped = 0;
    }

    /// Takes a block over; drops the oldest lines where there is no room.
    pub fn push(&mut self, block: PreparedBlock) {
        self.received += block.lines();
        self.append(block);
        self.trim();
    }

    /// Puts a seam between the lines so far and those to come.
    pub fn push_note(&mut self, note: LogNote) {
        let row = Row {
            start: 0,
            len: 0,
            cut_bytes: 0,
            text_from: 0,
            stream: Stream::Stdout,
            level: None,
            is_note: true,
            at: note.to.or(note.from),
        };
        self.notes.push_back((self.next, note));
        self.append(PreparedBlock {
            bytes: Vec::new(),
            rows: vec![row],
        });
        self.trim();
    }

    fn append(&mut self, block: PreparedBlock) {
        if block.rows.is_empty() {
            return;
        }
        let count = block.rows.len() as u64;
        self.size += block.bytes.len() + block.rows.len() * size_of::<Row>();
        match self.chunks.back_mut() {
            Some(last) if last.bytes.len() + block.bytes.len() <= JOIN_BELOW => {
                let offset = last.bytes.len() as u32;
                last.bytes.extend_from_slice(&block.bytes);
                last.rows.extend(block.rows.into_iter().map(|row| Row {
                    start: row.start + offset,
                    ..row
                }));
            }
            _ => self.chunks.push_back(Chunk {
                first: self.next,
                bytes: block.bytes,
                rows: block.rows,
            }),
        }
        self.next += count;
    }

    /// Drops whole blocks, and lines of the last block where it alone is too large.
    fn trim(&mut self) {
        while self.size > self.bound && self.chunks.len() > 1 {
            if let Some(chunk) = self.chunks.pop_front() {
                self.size -= chunk.size();
                self.dropped += count_lines(&chunk.rows);
            }
        }
        if self.size > self.bound
            && let Some(chunk) = self.chunks.front_mut()
        {
            let mut over = self.size - self.bound;
            let mut rows = 0;
            let mut bytes = 0;
            for row in &chunk.rows {
                if over == 0 {
                    break;
                }
                rows += 1;
                bytes = (row.start + row.len) as usize;
                let freed = row.len as usize + size_of::<Row>();
                over = over.saturating_sub(freed);
            }
            self.dropped += count_lines(&chunk.rows[..rows]);
            chunk.rows.drain(..rows);
            chunk.bytes.drain(..bytes);
            for row in &mut chunk.rows {
                row.start -= bytes as u32;
            }
            chunk.first += rows as u64;
            self.size = chunk.size();
            if chunk.rows.is_empty() {
                self.chunks.clear();
                self.size = 0;
            }
        }
        let first = self.range().start;
        while self.notes.front().is_some_and(|(at, _)| *at < first) {
            self.notes.pop_front();
        }
    }

    /// The numbers of the lines and seams that are held.
    pub fn range(&self) -> Range<u64> {
        let first = self.chunks.front().map_or(self.next, |chunk| chunk.first);
        first..self.next
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes held, rows included; never over the bound.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Lines that came in since the last [`Ring::clear`], seams not counted.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Lines that are held, seams not counted.
    pub fn held(&self) -> u64 {
        self.received - self.dropped
    }

    /// A line or seam by its number; `None` where it was dropped or never was.
    pub fn line(&self, number: u64) -> Option<RingLine<'_>> {
        let chunk = self.chunk(number)?;
        let row = chunk.rows.get((number - chunk.first) as usize)?;
        let note = if row.is_note {
            let at = self.notes.binary_search_by_key(&number, |(at, _)| *at);
            at.ok()
                .and_then(|i| self.notes.get(i))
                .map(|(_, note)| note)
        } else {
            None
        };
        Some(RingLine {
            number,
            at: row.at,
            level: row.level,
            stream: row.stream,
            bytes: chunk.text(row),
            text_from: row.text_from.min(row.len.min(u32::from(u16::MAX)) as u16) as usize,
            cut_bytes: row.cut_bytes,
            note,
        })
    }

    fn chunk(&self, number: u64) -> Option<&Chunk> {
        let at = self.chunks.partition_point(|chunk| chunk.end() <= number);
        self.chunks.get(at).filter(|chunk| chunk.first <= number)
    }

    /// The time of the oldest line that has one.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.chunks
            .iter()
            .flat_map(|chunk| &chunk.rows)
            .find_map(|row| row.at)
    }

    /// The nearest line after (or before) `from` that is an error or worse.
    pub fn find_error(&self, from: u64, is_forward: bool) -> Option<u64> {
        let is_error = |row: &Row| row.level >= Some(Level::Error);
        let range = self.range();
        if is_forward {
            let start = self.chunks.partition_point(|chunk| chunk.end() <= from + 1);
            self.chunks.iter().skip(start).find_map(|chunk| {
                let skip = (from + 1).saturating_sub(chunk.first) as usize;
                let at = chunk.rows.iter().skip(skip).position(is_error)?;
                Some(chunk.first + (skip + at) as u64)
            })
        } else {
            if from <= range.start {
                return None;
            }
            let end = self.chunks.partition_point(|chunk| chunk.first < from);
            self.chunks.iter().take(end).rev().find_map(|chunk| {
                let take = (from - chunk.first).min(chunk.rows.len() as u64) as usize;
                let at = chunk.rows.iter().take(take).rposition(is_error)?;
                Some(chunk.first + at as u64)
            })
        }
    }

    /// Looks for a pattern from line `from` on, in at most `budget` bytes, so that a search over everything can
    /// be done in steps between which keys are answered.
    pub fn search(&self, pattern: &Regex, from: u64, budget: usize) -> Searched {
        let mut searched = Searched {
            found: Vec::new(),
            next: from.max(self.range().start),
        };
        let mut seen = 0;
        let start = self
            .chunks
            .partition_point(|chunk| chunk.end() <= searched.next);
        for chunk in self.chunks.iter().skip(start) {
            let skip = searched.next.saturating_sub(chunk.first) as usize;
            for row in chunk.rows.iter().skip(skip) {
                if seen >= budget {
                    return searched;
                }
                seen += row.len as usize + 1;
                if !row.is_note && pattern.is_match(chunk.text(row)) {
                    searched.found.push(searched.next);
                }
                searched.next += 1;
            }
        }
        searched
    }
}

fn count_lines(rows: &[Row]) -> u64 {
    rows.iter().filter(|row| !row.is_note).count() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use crate::domain::log::LogNoteKind;
    use crate::domain::safe_text::SafeText;
    use crate::domain::service::ServiceId;

    use super::*;

    fn block(lines: &[&str]) -> PreparedBlock {
        let mut block = LogBlock::default();
        for line in lines {
            block.push(None, Stream::Stdout, line.as_bytes(), 0);
        }
        PreparedBlock::new(block, look)
    }

    fn look(text: &[u8]) -> LineFacts {
        let is_error = text.starts_with(b"ERROR");
        LineFacts {
            level: is_error.then_some(Level::Error),
            ..LineFacts::default()
        }
    }

    fn note(detail: &str) -> LogNote {
        LogNote {
            kind: LogNoteKind::Recreated,
            service: ServiceId::local("shop", "api"),
            from: None,
            to: None,
            lines: None,
            detail: SafeText::from_text(detail),
        }
    }

    #[test]
    fn a_seam_stands_between_its_lines() {
        let mut ring = Ring::new(1 << 20);
        ring.push(block(&["a", "b"]));
        ring.push_note(note("api:1.4 → api:1.5"));
        ring.push(block(&["c"]));
        assert_eq!(ring.range(), 0..4);
        assert_eq!(ring.line(1).unwrap().bytes, b"b");
        let seam = ring.line(2).unwrap().note.unwrap();
        assert_eq!(seam.detail.as_str(), "api:1.4 → api:1.5");
        assert_eq!(ring.line(3).unwrap().bytes, b"c");
        assert_eq!(ring.received(), 3);
        assert!(ring.line(4).is_none());
    }

    #[test]
    fn errors_are_found_in_both_directions() {
        let mut ring = Ring::new(1 << 20);
        ring.push(block(&["a", "ERROR 1", "b"]));
        ring.push(block(&["ERROR 2", "c"]));
        assert_eq!(ring.find_error(0, true), Some(1));
        assert_eq!(ring.find_error(1, true), Some(3));
        assert_eq!(ring.find_error(3, true), None);
        assert_eq!(ring.find_error(4, false), Some(3));
        assert_eq!(ring.find_error(1, false), None);
    }

    #[test]
    fn a_search_goes_on_where_its_budget_ended() {
        let mut ring = Ring::new(1 << 20);
        ring.push(block(&["red", "blue", "red", "green", "red"]));
        let pattern = Regex::new("red").unwrap();
        let mut found = Vec::new();
        let mut from = 0;
        while from < ring.range().end {
            let step = ring.search(&pattern, from, 6);
            assert!(step.next > from);
            found.extend(step.found);
            from = step.next;
        }
        assert_eq!(found, [0, 2, 4]);
    }

    #[test]
    fn a_line_over_the_bound_is_dropped_and_counted() {
        let mut ring = Ring::new(1000);
        ring.push(block(&["x", &"y".repeat(2000)]));
        assert_eq!((ring.received(), ring.held(), ring.size()), (2, 0, 0));
        ring.push(block(&["z"]));
        assert_eq!(ring.line(2).unwrap().bytes, b"z");
    }

    proptest! {
        /// The ring against the simplest thing that could be right: a list of all lines ever.
        #[test]
        fn it_never_goes_over_its_bound_and_every_number_keeps_its_line(
            bound in 200usize..200_000,
            pushes in proptest::collection::vec((proptest::collection::vec(0usize..3000, 0..40), any::<bool>()), 1..40),
        ) {
            let mut ring = Ring::new(bound);
            let mut all: VecDeque<Option<String>> = VecDeque::new();
            for (i, (lengths, seam)) in pushes.iter().enumerate() {
                let lines: Vec<String> = lengths.iter().enumerate().map(|(j, n)| {
                    let head = if n % 5 == 0 { "ERROR" } else { "ok" };
                    format!("{head} {i}.{j} {}", "x".repeat(*n))
                }).collect();
                ring.push(block(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
                all.extend(lines.into_iter().map(Some));
                if *seam {
                    ring.push_note(note(&i.to_string()));
                    all.push_back(None);
                }
                prop_assert!(ring.size() <= bound);
                let range = ring.range();
                prop_assert_eq!(range.end, all.len() as u64);
                let mut errors = Vec::new();
                let mut lines = 0;
                for number in range.clone() {
                    let line = ring.line(number).unwrap();
                    match &all[number as usize] {
                        Some(text) => {
                            lines += 1;
                            prop_assert_eq!(line.bytes, text.as_bytes());
                            prop_assert!(line.note.is_none());
                            if text.starts_with("ERROR") { errors.push(number); }
                        }
                        None => prop_assert!(line.note.is_some()),
                    }
                }
                prop_assert_eq!(ring.held(), lines);
                if range.start > 0 {
                    prop_assert!(ring.line(range.start - 1).is_none());
                }
                let mut forward = Vec::new();
                let mut at = ring.find_error(range.start.saturating_sub(1), true);
                if range.start == 0 && errors.first() == Some(&0) { forward.push(0); }
                while let Some(number) = at {
                    forward.push(number);
                    at = ring.find_error(number, true);
                }
                prop_assert_eq!(&forward, &errors);
                let mut backward = Vec::new();
                let mut at = ring.find_error(range.end, false);
                while let Some(number) = at {
                    backward.push(number);
                    at = ring.find_error(number, false);
                }
                backward.reverse();
                prop_assert_eq!(&backward, &errors);
            }
        }
    }
}
