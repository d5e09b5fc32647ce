//! Log lines in memory for the screen: bounded by bytes, the oldest dropped first.
//!
//! Lines stay the raw bytes that the source sent, in the blocks it sent them in, with a compact row beside each
//! (number, time, level); taking a block over costs no copy and no allocation a line. Old blocks are packed. A line has a number that
//! never changes while others are dropped, read again or put in front, so a cursor or a mark can be kept as that
//! number. A checkpoint never reads from here: what the screen drops is not lost.
//!
//! A [`Ring`] holds the lines of one source; between two of its blocks there may be a gap, where lines were dropped or
//! never read. [`Rings`] are several of them under one bound, read as one log in the order of time.

mod looked;
mod merge;
mod page;
mod prepared;
mod scan;
mod sift;
mod text;
mod walk;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::domain::log::{Level, LogNote, LogPosition, PageBorder, Stream};

pub use looked::{FilePart, Landing, Unlooked};
pub use merge::{Folds, Key, Rings};
pub use prepared::{LineReader, OpenedFile, PreparedBlock, PreparedNote, PreparedPage};
pub use scan::{Finder, Sieve};
pub use sift::{Sifted, Sifter};
pub use walk::Totals;

use looked::Looked;
use prepared::{CONTINUATION, CUT, LATE, NO_TIME, NOTE, Row, STDERR, size_of_lines};
use scan::Matches;
use text::{Packer, Text};

/// Small blocks are joined up to this size, so that a trickle of single lines does not cost a block each.
const JOIN_BELOW: usize = if cfg!(test) { 1024 } else { 64 * 1024 };
/// So many of the newest blocks stay as they came: they are on screen while a source is followed.
const NEW_BLOCKS: usize = 3;
/// Unpacked copies of older blocks that are kept for the next look at them, a source.
const UNPACKED: usize = 4 * 1024 * 1024;

/// What stands between a block and the one before it, or the beginning of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Nothing: the lines follow on each other, or the log begins here.
    None,
    /// So many lines that were held before.
    Dropped(u64),
    /// Lines that were never read, or none: the source knows.
    Unread,
}

#[derive(Debug)]
struct Chunk {
    text: Text,
    rows: Vec<Row>,
    /// Bytes that the source cut off of a row.
    cuts: Vec<(u64, u32)>,
    gap: Gap,
    /// Which of the lines in the gap were looked at for a filter.
    looked: Looked,
    found: Matches,
    kept: Matches,
}

impl Chunk {
    fn new(block: PreparedBlock, gap: Gap) -> Self {
        Self {
            text: Text::new(block.bytes),
            rows: block.rows,
            cuts: block.cuts,
            gap,
            looked: Looked::default(),
            found: Matches::default(),
            kept: Matches::default(),
        }
    }

    fn size(&self) -> usize {
        // What is found by a filter are many small blocks.
        size_of::<Self>() + size_of_lines(self.text.size(), &self.rows)
    }

    fn lines(&self) -> u64 {
        count_lines(&self.rows)
    }

    /// Nothing is added any more: what it grew by in advance is given back, so that the bound is one of real memory.
    fn shrink(&mut self) {
        self.text.shrink();
        self.rows.shrink_to_fit();
    }

    fn text(&self, row: &Row) -> &[u8] {
        let start = row.start as usize;
        &self.text.bytes()[start..start + row.len as usize]
    }
}

/// One line of the ring.
#[derive(Debug, Clone, Copy)]
pub struct RingLine<'a> {
    /// Where it stands among all lines.
    pub key: Key,
    /// When it was written; `None` where neither the source nor the line said.
    pub at: Option<Timestamp>,
    /// The level of its record.
    pub level: Option<Level>,
    /// The stream it came from.
    pub stream: Stream,
    /// The whole line.
    pub bytes: &'a [u8],
    /// Where its message begins, after time and level.
    pub text_from: usize,
    /// Bytes that the source cut off.
    pub cut_bytes: u32,
    /// Whether it goes on with the record above it.
    pub is_continuation: bool,
    /// Whether it came after newer lines.
    pub is_late: bool,
    /// What is missing in front of it; [`Gap::None`] for nearly every line.
    pub gap: Gap,
    /// The seam, where this is one and no line.
    pub note: Option<&'a LogNote>,
}

/// The lines of one source that are held in memory.
#[derive(Debug)]
pub struct Ring {
    source: u32,
    chunks: VecDeque<Chunk>,
    notes: VecDeque<(u64, LogNote)>,
    files: Vec<OpenedFile>,
    size: usize,
    received: u64,
    held: u64,
    late: u64,
}

impl Ring {
    /// An empty ring for the source of that number; at equal times lines stand in the order of the numbers.
    pub fn new(source: u32) -> Self {
        Self {
            source,
            chunks: VecDeque::new(),
            notes: VecDeque::new(),
            files: Vec::new(),
            size: 0,
            received: 0,
            held: 0,
            late: 0,
        }
    }

    /// The number of its source.
    pub fn source(&self) -> u32 {
        self.source
    }

    /// Takes a block over.
    pub fn push(&mut self, block: PreparedBlock) {
        if block.rows.is_empty() {
            return;
        }
        self.received += block.lines();
        self.held += block.lines();
        self.late += block.late;
        self.append(block);
    }

    /// Puts a seam between the lines so far and those to come.
    pub fn push_note(&mut self, note: PreparedNote) {
        let at = note.note.to.or(note.note.from);
        let row = Row {
            number: note.number,
            at: at.map_or(NO_TIME, prepared::nanoseconds),
            order: note.order,
            start: 0,
            len: 0,
            text_from: 0,
            level: 0,
            flags: NOTE,
        };
        self.notes.push_back((note.number, note.note));
        self.append(PreparedBlock {
            bytes: vec![b'\n'],
            rows: vec![row],
            ..PreparedBlock::default()
        });
    }

    /// The lines that follow have their places in this file.
    pub fn opened(&mut self, file: Option<OpenedFile>) {
        match file {
            Some(file) => self.files.push(file),
            // Several files at once: a number does not tell a place any more.
            None => self.files.clear(),
        }
    }

    fn append(&mut self, block: PreparedBlock) {
        match self.chunks.back_mut() {
            Some(last) if last.text.len() + block.bytes.len() <= JOIN_BELOW => {
                let offset = last.text.len() as u32;
                self.size -= last.size();
                last.text.push(&block.bytes);
                last.rows.extend(block.rows.into_iter().map(|row| Row {
                    start: row.start + offset,
                    ..row
                }));
                last.cuts.extend(block.cuts);
                self.size += last.size();
            }
            before => {
                let gap = match before {
                    Some(full) => {
                        full.shrink();
                        Gap::None
                    }
                    None => Gap::Unread,
                };
                let chunk = Chunk::new(block, gap);
                self.size += chunk.size();
                self.chunks.push_back(chunk);
            }
        }
    }

    /// The block that a place lies in, with its neighbours.
    fn pinned(&self, place: Option<Key>) -> Option<RangeInclusive<usize>> {
        let (at, _) = self.behind(place?, true)?;
        Some(at.saturating_sub(1)..=at + 1)
    }

    /// Packs what is neither new nor pinned.
    fn pack(&mut self, pinned: Option<&RangeInclusive<usize>>, packer: &mut Packer) {
        let old = self.chunks.len().saturating_sub(NEW_BLOCKS);
        for (at, chunk) in self.chunks.iter_mut().enumerate().take(old) {
            if pinned.is_some_and(|pin| pin.contains(&at)) {
                continue;
            }
            if chunk.text.is_to_pack() {
                self.size -= chunk.size();
                chunk.text.pack(packer);
                self.size += chunk.size();
            }
        }
    }

    /// Forgets the unpacked copies where they have become many.
    fn release(&mut self) {
        let unpacked: usize = self.chunks.iter().map(|c| c.text.unpacked()).sum();
        if unpacked > UNPACKED {
            self.chunks.iter_mut().for_each(|c| c.text.release());
        }
    }

    /// Drops the oldest block or, where a place is pinned, the one that lies farthest from it; never a pinned one nor
    /// the newest, to which lines are still added. Returns whether there was one.
    fn drop_one(&mut self, pinned: Option<&RangeInclusive<usize>>) -> bool {
        let Some(last) = self.chunks.len().checked_sub(2) else {
            return false;
        };
        let at = match pinned {
            None => 0,
            Some(pin) => {
                // By bytes: a few lines that a filter found far above must not give way to many below.
                let size = |chunks: std::ops::Range<usize>| -> usize {
                    let end = chunks.end.min(self.chunks.len());
                    let start = chunks.start.min(end);
                    self.chunks.range(start..end).map(Chunk::size).sum()
                };
                let (above, below) = (size(0..*pin.start()), size(*pin.end() + 1..last + 1));
                if above == 0 && below == 0 {
                    return false;
                }
                if above >= below { 0 } else { last }
            }
        };
        let Some(chunk) = self.chunks.remove(at) else {
            return false;
        };
        self.size -= chunk.size();
        self.held -= chunk.lines();
        if let Some(next) = self.chunks.get_mut(at) {
            next.gap = join(chunk.gap, chunk.lines(), next.gap);
            next.looked = chunk.looked.join(next.looked);
        }
        self.drop_notes();
        true
    }

    /// Drops rows of the only block there is, until it is no larger than that.
    fn shrink_last(&mut self, to: usize) {
        let Some(chunk) = self.chunks.front_mut() else {
            return;
        };
        let mut over = chunk.size().saturating_sub(to);
        let mut rows = 0;
        for row in &chunk.rows {
            if over == 0 {
                break;
            }
            rows += 1;
            over = over.saturating_sub(row.len as usize + 1 + size_of::<Row>());
        }
        if rows == 0 {
            return;
        }
        let dropped = count_lines(&chunk.rows[..rows]);
        chunk.rows.drain(..rows);
        let bytes = chunk
            .rows
            .iter()
            .map(|row| row.start)
            .min()
            .map_or(chunk.text.len(), |start| start as usize);
        chunk.text.drop_front(bytes);
        for row in &mut chunk.rows {
            row.start -= bytes as u32;
        }
        chunk.found.drop_front(rows);
        chunk.kept.drop_front(rows);
        chunk.gap = join(chunk.gap, dropped, Gap::None);
        chunk.looked = Looked::default();
        self.held -= dropped;
        if chunk.rows.is_empty() {
            self.chunks.clear();
        }
        self.size = self.chunks.iter().map(Chunk::size).sum();
        self.drop_notes();
    }

    fn drop_notes(&mut self) {
        // Seams of dropped lines in the middle stay until their block would have been the oldest: they are few.
        let first = self.first_number();
        while self
            .notes
            .front()
            .is_some_and(|(number, _)| first.is_none_or(|first| *number < first))
        {
            self.notes.pop_front();
        }
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes held, rows included.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Lines that came in, seams and lines that were read again not counted.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Lines that are held, seams not counted.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Lines that came after newer ones, by more than their block.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The file that the line of a number stands in; `None` in a source that is no file.
    pub fn file(&self, number: u64) -> Option<&OpenedFile> {
        self.files.iter().rev().find(|file| file.base <= number)
    }

    /// What stands in front of the oldest line that is held.
    pub fn first_gap(&self) -> Gap {
        self.chunks.front().map_or(Gap::Unread, |chunk| chunk.gap)
    }

    /// Where lines beside one that is held are to be asked for: by its place in a file, else by its time. `None` for a
    /// line that has neither. `skipped` is how many lines came that were never held.
    pub fn border(&self, number: u64, skipped: u64) -> Option<PageBorder> {
        if let Some(file) = self.file(number) {
            return Some(PageBorder::Place(LogPosition {
                offset: file.place(number),
                ..file.position.clone()
            }));
        }
        let (chunk, row) = self.find(number)?;
        // Seams have a time too, but it is ours and not that of the source.
        let is_line = |row: &&Row| !row.has(NOTE);
        let own = self.chunks[chunk].rows[row..].iter();
        let later = self.chunks.iter().skip(chunk + 1).flat_map(|c| &c.rows);
        let mut rows = own.chain(later).filter(is_line);
        let first = *rows.next()?;
        let at = first.at()?;
        // All of them, neighbours or not: lines may be a little out of order.
        let same = 1 + rows.filter(|row| row.at == first.at).count();
        let held: u64 = self.chunks.iter().skip(chunk).map(Chunk::lines).sum();
        let dropped: u64 = self
            .chunks
            .iter()
            .skip(chunk + 1)
            .map(|c| match c.gap {
                Gap::Dropped(n) => n,
                Gap::None | Gap::Unread => 0,
            })
            .sum();
        Some(PageBorder::Time {
            at,
            same: same as u64,
            newer: held + dropped + skipped,
        })
    }

    /// The place of a line that is held.
    pub fn key_of(&self, number: u64) -> Option<Key> {
        self.find(number).map(|spot| self.key(self.row(spot)))
    }

    /// The newest line of the source that is held.
    pub fn last_number(&self) -> Option<u64> {
        Some(self.chunks.back()?.rows.last()?.number)
    }

    /// Whether that is the oldest line that is held.
    pub fn is_first(&self, number: u64) -> bool {
        self.first_number() == Some(number)
    }

    /// The oldest line of the source that is held.
    pub fn first_number(&self) -> Option<u64> {
        Some(self.chunks.front()?.rows.first()?.number)
    }

    /// The time of the oldest line that has one.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        let mut rows = self.chunks.iter().flat_map(|chunk| &chunk.rows);
        rows.find_map(Row::at)
    }

    /// A line or seam by its number; `None` where it is not held.
    pub fn line(&self, number: u64) -> Option<RingLine<'_>> {
        self.find(number).map(|spot| self.line_at(spot))
    }

    fn line_at(&self, (chunk_at, row_at): walk::Spot) -> RingLine<'_> {
        let chunk = &self.chunks[chunk_at];
        let row = &chunk.rows[row_at];
        let note = row.has(NOTE).then(|| {
            let at = self
                .notes
                .binary_search_by_key(&row.number, |(number, _)| *number);
            at.ok()
                .and_then(|i| self.notes.get(i))
                .map(|(_, note)| note)
        });
        let cut_bytes = if row.has(CUT) {
            let cut = chunk.cuts.iter().find(|(number, _)| *number == row.number);
            cut.map_or(0, |(_, bytes)| *bytes)
        } else {
            0
        };
        RingLine {
            key: self.key(row),
            at: row.at(),
            level: row.level(),
            stream: if row.has(STDERR) {
                Stream::Stderr
            } else {
                Stream::Stdout
            },
            bytes: chunk.text(row),
            text_from: usize::from(row.text_from).min(row.len as usize),
            cut_bytes,
            is_continuation: row.has(CONTINUATION),
            is_late: row.has(LATE),
            gap: if row_at == 0 { chunk.gap } else { Gap::None },
            note: note.flatten(),
        }
    }
}

fn join(before: Gap, lines: u64, after: Gap) -> Gap {
    match (before, after) {
        (Gap::Unread, _) | (_, Gap::Unread) => Gap::Unread,
        (Gap::Dropped(a), Gap::Dropped(b)) => Gap::Dropped(a + lines + b),
        (Gap::Dropped(a), Gap::None) | (Gap::None, Gap::Dropped(a)) => Gap::Dropped(a + lines),
        (Gap::None, Gap::None) => Gap::Dropped(lines),
    }
}

fn count_lines(rows: &[Row]) -> u64 {
    rows.iter().filter(|row| !row.has(NOTE)).count() as u64
}

#[cfg(test)]
mod tests;
