//! Lines of a file that pass a filter, found where they are not held: they are put in as the few that they are, and each
//! gap between them remembers what was looked at, so that nothing is looked for twice and nothing is taken for absent
//! that nobody has looked for.

use std::ops::Range;

use jiff::{Timestamp, Zoned};

use super::prepared::{CONTINUATION, LineReader, NOTE, OpenedFile, PreparedBlock, Row};
use super::{Chunk, Gap, Key, Ring, Rings, Sieve};
use crate::domain::log::Passage;

/// Which lines of a gap were looked at for a filter: from its older side those with a number under `low`, from its newer
/// side those from `high` on. Those of them that pass are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Looked {
    generation: u32,
    low: u64,
    high: u64,
}

impl Default for Looked {
    fn default() -> Self {
        Self {
            generation: 0,
            low: 0,
            high: u64::MAX,
        }
    }
}

impl Looked {
    /// What holds for this filter.
    fn of(self, generation: u32) -> Self {
        if self.generation == generation {
            self
        } else {
            Self {
                generation,
                ..Self::default()
            }
        }
    }

    /// The lines between two gaps were dropped.
    pub(super) fn join(self, newer: Self) -> Self {
        Self {
            low: self.of(newer.generation).low,
            ..newer
        }
    }

    /// A block is put into the gap: what holds in front of it, and behind it.
    pub(super) fn split(self) -> (Self, Self) {
        let front = Self {
            high: u64::MAX,
            ..self
        };
        let back = Self { low: 0, ..self };
        (front, back)
    }
}

/// Lines of a file that pass a filter, and where they were looked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sifted {
    generation: u32,
    /// Numbers of lines that were looked at.
    looked: Range<u64>,
    /// Each of lines that follow on each other: whole records, with the lines around those that pass.
    pieces: Vec<PreparedBlock>,
}

impl Sifted {
    /// Which filter it is of.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// How many lines it holds.
    pub fn lines(&self) -> u64 {
        self.pieces.iter().map(PreparedBlock::lines).sum()
    }

    /// Bytes that it takes in a ring, about.
    pub fn size(&self) -> usize {
        let size = |block: &PreparedBlock| {
            size_of::<Chunk>() + block.bytes.len() + block.rows.len() * size_of::<Row>()
        };
        self.pieces.iter().map(size).sum()
    }

    /// Adds what was found in the part beside this one.
    pub fn extend(&mut self, more: Self) {
        if self.looked.is_empty() {
            *self = more;
            return;
        }
        self.looked.start = self.looked.start.min(more.looked.start);
        self.looked.end = self.looked.end.max(more.looked.end);
        self.pieces.extend(more.pieces);
    }
}

/// Decides which lines of a file pass a filter, with the reader that decides it for lines that are held.
#[derive(Debug, Clone)]
pub struct Sifter {
    sieve: Sieve,
    generation: u32,
    file: OpenedFile,
    reader: LineReader,
}

impl Sifter {
    /// Decides on lines of this file as a filter does; `generation` is that of [`Rings::generation`].
    pub fn new(sieve: Sieve, generation: u32, file: OpenedFile, now: &Zoned) -> Self {
        Self {
            sieve,
            generation,
            reader: LineReader::of_file(now, file.clone()),
            file,
        }
    }

    /// What passes of a passage.
    pub fn sift(&self, passage: Passage) -> Sifted {
        let number = |place| self.file.number(place);
        let mut sifted = Sifted {
            generation: self.generation,
            looked: number(passage.looked.start)..number(passage.looked.end),
            pieces: Vec::new(),
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
        let end_of = |mut at: usize| {
            while is_inside(at) {
                at += 1;
            }
            at
        };
        let mut at = 0;
        while at < block.rows.len() {
            let end = end_of(at + 1);
            let record = &block.rows[at..end];
            let is_asked = record[0].number < candidates.end
                && record[record.len() - 1].number >= candidates.start;
            if is_asked && self.sieve.keeps(&block.bytes, record) {
                let mut first = at.saturating_sub(self.sieve.before);
                // Of a record that is cut the filter would decide something else once it is held.
                while first > 0 && is_inside(first) {
                    first -= 1;
                }
                let last = end_of((end + self.sieve.after).min(block.rows.len()));
                match &mut run {
                    Some(run) if run.end >= first => run.end = run.end.max(last),
                    _ => {
                        sifted
                            .pieces
                            .extend(run.take().map(|run| piece(&block, run)));
                        run = Some(first..last);
                    }
                }
            }
            at = end;
        }
        sifted.pieces.extend(run.map(|run| piece(&block, run)));
        sifted
    }
}

/// Some lines of a block in memory of their own.
fn piece(block: &PreparedBlock, rows: Range<usize>) -> PreparedBlock {
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

/// Lines of a source that are not held and that nobody has looked at for the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlooked {
    /// The line at its near side, which is held.
    pub beside: Key,
    /// Where in the file; `None` in a source that is no file.
    pub places: Option<(OpenedFile, Range<u64>)>,
}

impl Ring {
    /// Puts lines in that pass a filter; those that are held already are left out. Returns how many were put in.
    pub fn insert_sifted(&mut self, sifted: Sifted) -> u64 {
        let pieces = sifted.pieces.into_iter();
        let lines = pieces.map(|piece| self.insert_piece(piece)).sum();
        self.set_looked(sifted.generation, &sifted.looked);
        lines
    }

    fn insert_piece(&mut self, mut block: PreparedBlock) -> u64 {
        let Some(first) = block.rows.first().map(|row| row.number) else {
            return 0;
        };
        let at = self.behind_number(first);
        let Some(next) = self.chunks.get(at).filter(|next| next.gap != Gap::None) else {
            return 0;
        };
        let ceiling = next.rows.first().map(|row| (row.number, row.order));
        let floor = at.checked_sub(1).and_then(|at| self.chunks[at].rows.last());
        let floor = floor.map(|row| (row.number, row.order));
        block.rows.retain(|row| {
            floor.is_none_or(|(number, _)| row.number > number)
                && ceiling.is_none_or(|(number, _)| row.number < number)
        });
        if block.rows.is_empty() {
            return 0;
        }
        for row in &mut block.rows {
            let order = floor.map_or(row.order, |(_, order)| row.order.max(order));
            row.order = ceiling.map_or(order, |(_, ceiling)| order.min(ceiling));
        }
        let mut chunk = Chunk::new(block, Gap::Unread);
        let next = &mut self.chunks[at];
        (chunk.looked, next.looked) = next.looked.split();
        next.gap = Gap::Unread;
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
    fn behind_number(&self, number: u64) -> usize {
        self.chunks
            .partition_point(|c| c.rows.last().is_some_and(|row| row.number < number))
    }

    /// Remembers that lines were looked at for a filter, and that those of them that pass are held.
    fn set_looked(&mut self, generation: u32, looked: &Range<u64>) {
        for at in self.behind_number(looked.start)..self.chunks.len() {
            let gap = self.gap_numbers(at);
            if at > 0 && gap.start >= looked.end {
                break;
            }
            let chunk = &mut self.chunks[at];
            let before = chunk.looked.of(generation);
            let left = before.left(&gap);
            let mut after = before;
            if looked.start <= left.start {
                after.low = after.low.max(looked.end.min(gap.end));
            }
            if looked.end >= left.end {
                after.high = after.high.min(looked.start.max(gap.start));
            }
            chunk.looked = after;
        }
    }

    /// The numbers that lines in front of a block may have that are not held.
    fn gap_numbers(&self, at: usize) -> Range<u64> {
        let chunk = &self.chunks[at];
        let end = chunk.rows.first().map_or(0, |row| row.number);
        let first = self.file(end).map_or(0, |file| file.number(0));
        let floor = at.checked_sub(1).and_then(|at| self.chunks[at].rows.last());
        let start = floor.map_or(first, |row| (row.number + 1).max(first));
        match chunk.gap {
            Gap::None => end..end,
            Gap::Dropped(_) | Gap::Unread => start.min(end)..end,
        }
    }

    /// The numbers in the gap in front of a block that were not looked at for the filter; empty where there is no gap.
    /// Numbers tell a place in files only: elsewhere a gap is one as a whole.
    pub(super) fn unlooked(&self, at: usize, generation: u32) -> Range<u64> {
        let chunk = &self.chunks[at];
        let gap = self.gap_numbers(at);
        if self.file(gap.end).is_none() {
            return match chunk.gap {
                Gap::None => gap,
                Gap::Dropped(_) | Gap::Unread => 0..gap.end.max(1),
            };
        }
        chunk.looked.of(generation).left(&gap)
    }

    /// The nearest lines that nobody has looked at, in front of a place or behind it.
    fn unlooked_near(&self, key: Key, generation: u32, is_forward: bool) -> Option<Unlooked> {
        let is_unlooked = |at: &usize| !self.unlooked(*at, generation).is_empty();
        let at = if is_forward {
            // The first gap whose older side stands at the place or behind it.
            let (near, _) = self.behind(key, true)?;
            (near + 1..self.chunks.len()).find(is_unlooked)?
        } else {
            let near = self.in_front(key, true).map_or(0, |(chunk, _)| chunk);
            let count = self.chunks.len();
            (0..count.min(near + 1)).rev().find(is_unlooked)?
        };
        let beside = if is_forward {
            (at - 1, self.chunks[at - 1].rows.len() - 1)
        } else {
            (at, 0)
        };
        Some(Unlooked {
            beside: self.key(self.row(beside)),
            places: self.unlooked_places(at, generation),
        })
    }

    fn unlooked_places(&self, at: usize, generation: u32) -> Option<(OpenedFile, Range<u64>)> {
        let numbers = self.unlooked(at, generation);
        let chunk = &self.chunks[at];
        let file = self.file(chunk.rows.first()?.number)?;
        // A seam has no place, and what begins inside of a line that is held begins with that line.
        let is_line = |row: &&Row| !row.has(NOTE);
        let floor = at.checked_sub(1).map(|at| &self.chunks[at].rows);
        let start = match floor.and_then(|rows| Some((rows.last()?, rows.iter().rfind(is_line)?))) {
            Some((last, line)) if numbers.start == last.number + 1 => line.number,
            _ => numbers.start,
        };
        let end = match chunk.rows.iter().find(is_line) {
            Some(line) if numbers.end == chunk.rows[0].number => line.number,
            _ => numbers.end,
        };
        Some((file.clone(), file.place(start)..file.place(end)))
    }
}

impl Looked {
    /// The numbers of a gap that were not looked at.
    fn left(self, gap: &Range<u64>) -> Range<u64> {
        let start = self.low.clamp(gap.start, gap.end);
        let end = self.high.clamp(gap.start, gap.end);
        if start < end {
            start..end
        } else {
            gap.end..gap.end
        }
    }
}

/// Where the first line at or behind a number stands that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// There.
    Line(Key),
    /// Perhaps in a part of the file that nobody has looked at.
    Unlooked(Unlooked),
    /// Nowhere: every line was looked at.
    Nowhere,
}

impl Rings {
    /// Where the first line of a source at or behind a number stands that is shown.
    pub fn landing(&self, source: u32, number: u64) -> Landing {
        let Some(ring) = self.ring(source) else {
            return Landing::Nowhere;
        };
        for at in ring.behind_number(number)..ring.chunks.len() {
            let beside = ring.key(ring.row((at, 0)));
            if let Some((file, places)) = ring.unlooked_places(at, self.sieved) {
                let start = places.start.max(file.place(number.max(file.number(0))));
                if start < places.end {
                    let places = Some((file, start..places.end));
                    return Landing::Unlooked(Unlooked { beside, places });
                }
            }
            let rows = &ring.chunks[at].rows;
            let from = (at, rows.partition_point(|row| row.number < number));
            let shown = ring.shown_from(from, self.stops());
            if let Some(spot) = shown.filter(|spot| spot.0 == at) {
                return Landing::Line(ring.key(ring.row(spot)));
            }
        }
        Landing::Nowhere
    }

    /// Which filter is the last one; what was decided by an older one does not hold.
    pub fn generation(&self) -> u32 {
        self.sieved
    }

    /// Of each source the nearest lines in front of a place, or behind it, that are not held and that nobody has looked
    /// at for the filter.
    pub fn unlooked(&self, key: Key, is_forward: bool) -> impl Iterator<Item = Unlooked> {
        self.rings
            .iter()
            .filter_map(move |ring| ring.unlooked_near(key, self.sieved, is_forward))
    }

    /// Whether lines are missing between a line and the one before it of its source that is shown, which nobody has looked
    /// at for the filter; without a filter what is missing in front of the line itself.
    pub fn gap_before(&self, key: Key) -> Gap {
        let Some((ring, spot)) = self
            .ring(key.source)
            .and_then(|ring| Some((ring, ring.find(key.number)?)))
        else {
            return Gap::None;
        };
        if self.sieve().is_open() {
            return if spot.1 == 0 {
                ring.chunks[spot.0].gap
            } else {
                Gap::None
            };
        }
        let before = ring.previous(spot);
        let before = before.and_then(|spot| ring.shown_to(spot, self.stops()));
        let is_unlooked = |at: usize| !ring.unlooked(at, self.sieved).is_empty();
        match before {
            Some((chunk, _)) if (chunk + 1..=spot.0).any(is_unlooked) => Gap::Unread,
            _ => Gap::None,
        }
    }

    /// Whether lines that are no part of a file are missing.
    pub fn has_unread_pages(&self) -> bool {
        let is_unread = |ring: &Ring| {
            ring.chunks.front().is_some_and(|chunk| {
                chunk.gap != Gap::None && ring.file(chunk.rows[0].number).is_none()
            })
        };
        self.rings.iter().any(is_unread)
    }

    /// Bytes of files that are not held and that nobody has looked at for the filter.
    pub fn unlooked_bytes(&self) -> u64 {
        let of = |ring: &Ring| -> u64 {
            (0..ring.chunks.len())
                .filter_map(|at| ring.unlooked_places(at, self.sieved))
                .map(|(_, places)| places.end.saturating_sub(places.start))
                .sum()
        };
        self.rings.iter().map(of).sum()
    }
}
