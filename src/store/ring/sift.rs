//! Lines of a file that pass a filter, found where they are not held: they are put in as the few that they are, with a gap
//! wherever lines between them are not held.

use std::ops::Range;

use jiff::{Timestamp, Zoned};

use super::prepared::{CONTINUATION, LineReader, PreparedBlock, Row};
use super::{Chunk, FilePart, Gap, Key, Ring, Sieve};
use crate::domain::log::Passage;

/// Lines of a file that pass a filter, and where they were looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Sifted {
    generation: u32,
    /// The numbers of the gap that they lie in.
    gap: Range<u64>,
    /// Numbers of lines that were looked at.
    looked: Range<u64>,
    /// Whole records, with the lines around those that pass.
    pieces: Vec<Piece>,
}

/// Lines that follow on each other.
#[derive(Debug, Clone, PartialEq)]
struct Piece {
    block: PreparedBlock,
    /// The numbers of the lines in front of it and behind it in the file, where they are known: nothing is missing between
    /// them and the piece.
    older: Option<u64>,
    newer: Option<u64>,
}

impl Piece {
    /// Some lines of a block in memory of their own.
    fn of(block: &PreparedBlock, rows: Range<usize>) -> Self {
        let number = |row: Option<&Row>| row.map(|row| row.number);
        Self {
            older: number(rows.start.checked_sub(1).and_then(|at| block.rows.get(at))),
            newer: number(block.rows.get(rows.end)),
            block: lines_of(block, rows),
        }
    }

    /// The number of the line in front of one of its lines.
    fn in_front(&self, at: usize) -> Option<u64> {
        match at.checked_sub(1) {
            Some(at) => self.block.rows.get(at).map(|row| row.number),
            None => self.older,
        }
    }

    /// The number of a line of it, or of the one behind it.
    fn from(&self, at: usize) -> Option<u64> {
        let own = self.block.rows.get(at).map(|row| row.number);
        own.or(self.newer)
    }
}

impl Sifted {
    /// Which filter it is of.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many lines it holds.
    pub fn lines(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.block.lines()).sum()
    }

    /// Bytes that it takes in a ring, about.
    pub fn size(&self) -> usize {
        let size = |piece: &Piece| size_of::<Chunk>() + piece.block.size();
        self.pieces.iter().map(size).sum()
    }

    /// Adds what was found in the part beside this one.
    pub fn extend(&mut self, more: Self) {
        if self.looked.is_empty() {
            self.looked = more.looked;
        } else if !more.looked.is_empty() {
            self.looked.start = self.looked.start.min(more.looked.start);
            self.looked.end = self.looked.end.max(more.looked.end);
        }
        self.pieces.extend(more.pieces);
    }
}

/// Decides which lines of a file pass a filter, with the reader that decides it for lines that are held.
#[derive(Debug, Clone)]
pub struct Sifter {
    sieve: Sieve,
    generation: u32,
    part: FilePart,
    reader: LineReader,
}

impl Sifter {
    /// Decides on lines of a part of a file as a filter does; `generation` is that of [`Rings::generation`](super::Rings::generation).
    pub fn new(sieve: Sieve, generation: u32, part: FilePart, now: &Zoned) -> Self {
        Self {
            sieve,
            generation,
            reader: LineReader::of_file(now, part.file.clone()),
            part,
        }
    }

    /// Nothing was found yet.
    pub fn nothing(&self) -> Sifted {
        let start = self.part.numbers.start;
        Sifted {
            generation: self.generation,
            gap: self.part.gap.clone(),
            looked: start..start,
            pieces: Vec::new(),
        }
    }

    /// The whole part was looked at.
    pub fn end(&self, found: &mut Sifted) {
        found.looked = self.part.numbers.clone();
    }

    /// Whether a passage ends among the lines beside the part: the rest of them is wanted too, for the lines around them.
    pub fn is_torn(&self, passage: &Passage) -> bool {
        let FilePart {
            file,
            numbers,
            places,
            ..
        } = &self.part;
        let looked = &passage.looked;
        let is_before = file.number(looked.start) <= numbers.start && looked.start > places.start;
        // The last line break may be missing.
        let is_behind = file.number(looked.end) >= numbers.end && looked.end + 1 < places.end;
        // It lies wholly among the lines beside: those between it and the part are wanted as well.
        let is_apart =
            file.number(looked.start) > numbers.end || file.number(looked.end) < numbers.start;
        is_before || is_behind || is_apart
    }

    /// What passes of a passage.
    pub fn sift(&self, passage: Passage) -> Sifted {
        let number = |place| self.part.file.number(place);
        let all = &self.part.numbers;
        let own = |place| number(place).clamp(all.start, all.end);
        let mut sifted = Sifted {
            generation: self.generation,
            looked: own(passage.looked.start)..own(passage.looked.end),
            ..self.nothing()
        };
        if passage.candidates.is_empty() {
            return sifted;
        }
        let candidates = number(passage.candidates.start)..number(passage.candidates.end);
        let mut reader = self.reader.clone();
        let block = reader.read(passage.block, Timestamp::UNIX_EPOCH);
        let mut run: Option<Range<usize>> = None;
        let is_inside = |at: usize| {
            let row = block.rows.get(at);
            row.is_some_and(|row| row.has(CONTINUATION))
        };
        let head_of = |mut at: usize| {
            while at > 0 && is_inside(at) {
                at -= 1;
            }
            at
        };
        let end_of = |mut at: usize| {
            while is_inside(at) {
                at += 1;
            }
            at
        };
        let is_asked = |record: &[Row]| {
            record[0].number < candidates.end && record[record.len() - 1].number >= candidates.start
        };
        // Not asked for yet: it comes with the lines around it once it is. Were it held before, as a line around another
        // one, nobody would look for those around it.
        let is_left = |record: &[Row]| !is_asked(record) && self.sieve.keeps(&block.bytes, record);
        let mut at = 0;
        while at < block.rows.len() {
            let end = end_of(at + 1);
            let record = &block.rows[at..end];
            if is_asked(record) && self.sieve.keeps(&block.bytes, record) {
                // Whole records: of one that is cut the filter would decide something else once it is held.
                let (mut first, mut last) = (at, end);
                while first > at.saturating_sub(self.sieve.before) {
                    let head = head_of(first - 1);
                    if is_left(&block.rows[head..first]) {
                        break;
                    }
                    first = head;
                }
                while last < (end + self.sieve.after).min(block.rows.len()) {
                    let next = end_of(last + 1);
                    if is_left(&block.rows[last..next]) {
                        break;
                    }
                    last = next;
                }
                match &mut run {
                    Some(run) if run.end >= first => run.end = run.end.max(last),
                    _ => {
                        sifted
                            .pieces
                            .extend(run.take().map(|run| Piece::of(&block, run)));
                        run = Some(first..last);
                    }
                }
            }
            at = end;
        }
        sifted.pieces.extend(run.map(|run| Piece::of(&block, run)));
        sifted
    }
}

/// Some lines of a block in memory of their own.
fn lines_of(block: &PreparedBlock, rows: Range<usize>) -> PreparedBlock {
    let rows = &block.rows[rows];
    let start = rows[0].start;
    let last = &rows[rows.len() - 1];
    let bytes = &block.bytes[start as usize..(last.start + last.len) as usize + 1];
    let numbers = rows[0].number..=last.number;
    let cuts = block
        .cuts
        .iter()
        .filter(|(number, _)| numbers.contains(number));
    PreparedBlock {
        bytes: bytes.to_vec(),
        rows: rows
            .iter()
            .map(|row| Row {
                start: row.start - start,
                ..*row
            })
            .collect(),
        cuts: cuts.copied().collect(),
        late: 0,
    }
}

impl Ring {
    /// Puts lines in that pass a filter; those that are held already are left out. Returns how many were put in.
    pub fn insert_sifted(&mut self, sifted: &Sifted) -> u64 {
        let pieces = sifted.pieces.iter();
        let insert = |piece| self.insert_piece(piece, sifted);
        let lines = pieces.map(insert).sum();
        self.set_looked(sifted.generation, &sifted.looked);
        lines
    }

    /// Puts lines in that follow on each other, between those of them that are held. What lies in another gap is left to a
    /// look at that one, unless it was looked at already.
    fn insert_piece(&mut self, piece: &Piece, sifted: &Sifted) -> u64 {
        let rows = &piece.block.rows;
        let mut lines = 0;
        let mut from = 0;
        while let Some(first) = rows.get(from) {
            let at = self.behind_number(first.number);
            let Some(next) = self.chunks.get(at).and_then(|next| next.rows.first()) else {
                break;
            };
            let numbers = &rows[from..];
            let end = from + numbers.partition_point(|row| row.number < next.number);
            if end == from {
                // These are held.
                let last = self.chunks[at].rows.last().map_or(0, |row| row.number);
                from += numbers.partition_point(|row| row.number <= last);
                // Nothing stands between the last of them and the next one that is held.
                let beside = piece.from(from);
                if let Some(next) = self.chunks.get_mut(at + 1)
                    && next.rows.first().map(|row| row.number) == beside
                {
                    next.gap = Gap::None;
                }
                continue;
            }
            let unlooked = self.unlooked(at, sifted.generation);
            let is_own =
                |row: &&Row| sifted.gap.contains(&row.number) || !unlooked.contains(&row.number);
            let mut count = rows[from..end].iter().take_while(is_own).count();
            // Of a record that is cut the filter would decide something else.
            let is_cut = |count: usize| {
                let next = rows[from..end].get(count);
                next.is_some_and(|row| row.has(CONTINUATION))
            };
            while count > 0 && is_cut(count) {
                count -= 1;
            }
            if count > 0 {
                lines += self.insert_between(at, piece, from..from + count);
            }
            from = end;
        }
        lines
    }

    /// Puts some lines of a piece into the gap in front of a block. Where the line beside them is held, nothing is missing
    /// there.
    fn insert_between(&mut self, at: usize, piece: &Piece, rows: Range<usize>) -> u64 {
        let floor = at.checked_sub(1).and_then(|at| self.chunks[at].rows.last());
        let (floor, next) = (floor.copied(), &mut self.chunks[at]);
        let ceiling = next.rows.first().copied();
        if next.gap == Gap::None {
            return 0;
        }
        let number = |row: Option<&Row>| row.map(|row| row.number);
        let before = piece.in_front(rows.start);
        let meets_floor = before.is_some() && before == number(floor.as_ref());
        let meets_ceiling = piece.from(rows.end) == number(ceiling.as_ref());
        let mut block = lines_of(&piece.block, rows);
        for row in &mut block.rows {
            row.order = row.order.max(floor.map_or(row.order, |row| row.order));
            row.order = row.order.min(ceiling.map_or(row.order, |row| row.order));
        }
        let gap = |is_closed| if is_closed { Gap::None } else { Gap::Unread };
        let mut chunk = Chunk::new(block, gap(meets_floor));
        (chunk.looked, next.looked) = next.looked.split();
        next.gap = gap(meets_ceiling);
        let lines = chunk.lines();
        self.size += chunk.size();
        self.held += lines;
        self.chunks.insert(at, chunk);
        lines
    }

    /// The first line at or behind a number that is held.
    pub fn key_from(&self, number: u64) -> Option<Key> {
        let at = self.behind_number(number);
        let rows = &self.chunks.get(at)?.rows;
        let row = rows.partition_point(|row| row.number < number);
        Some(self.key(rows.get(row)?))
    }

    /// The first block that ends at or behind a number.
    pub(super) fn behind_number(&self, number: u64) -> usize {
        self.chunks
            .partition_point(|c| c.rows.last().is_some_and(|row| row.number < number))
    }
}

#[cfg(test)]
mod tests;
