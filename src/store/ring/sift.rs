//! Lines of a file that pass a filter, found where they are not held: they are put in as the few that they are, and each
//! gap between them remembers what was looked at, so that nothing is looked for twice and nothing is taken for absent
//! that nobody has looked for.

use std::ops::Range;

use jiff::{Timestamp, Zoned};

use super::prepared::{CONTINUATION, LineReader, NOTE, OpenedFile, PreparedBlock, Row};
use super::walk::Spot;
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
#[derive(Debug, Clone, PartialEq)]
pub struct Sifted {
    generation: u32,
    /// The numbers of the gap that they lie in.
    gap: Range<u64>,
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
    /// Decides on lines of a part of a file as a filter does; `generation` is that of [`Rings::generation`].
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
        is_before || is_behind
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
    pub file: Option<FilePart>,
}

/// Lines of a file that are not held and that nobody has looked at for the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// The file.
    pub file: OpenedFile,
    /// The numbers of the gap that they lie in.
    gap: Range<u64>,
    /// Their numbers.
    pub numbers: Range<u64>,
    /// Where they stand; with them come the lines at their sides whose records, if they pass, are shown with some of
    /// them. The last line break may be missing.
    pub places: Range<u64>,
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
    fn insert_piece(&mut self, piece: &PreparedBlock, sifted: &Sifted) -> u64 {
        let mut lines = 0;
        let mut from = 0;
        while let Some(first) = piece.rows.get(from) {
            let at = self.behind_number(first.number);
            let Some(next) = self.chunks.get(at).and_then(|next| next.rows.first()) else {
                break;
            };
            let numbers = &piece.rows[from..];
            let end = from + numbers.partition_point(|row| row.number < next.number);
            if end == from {
                // These are held.
                let last = self.chunks[at].rows.last().map_or(0, |row| row.number);
                from += numbers.partition_point(|row| row.number <= last);
                // Nothing stands between the last of them and the next one that is held.
                let beside = piece.rows.get(from).map(|row| row.number);
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
            let count = piece.rows[from..end].iter().take_while(is_own).count();
            if count > 0 {
                lines += self.insert_between(at, piece, from..from + count);
            }
            from = end;
        }
        lines
    }

    /// Puts some lines of a piece into the gap in front of a block. Where the line beside them is held, nothing is missing
    /// there.
    fn insert_between(&mut self, at: usize, all: &PreparedBlock, rows: Range<usize>) -> u64 {
        let floor = at.checked_sub(1).and_then(|at| self.chunks[at].rows.last());
        let (floor, next) = (floor.copied(), &mut self.chunks[at]);
        let ceiling = next.rows.first().copied();
        if next.gap == Gap::None {
            return 0;
        }
        let number = |row: Option<&Row>| row.map(|row| row.number);
        let before = rows.start.checked_sub(1).and_then(|at| all.rows.get(at));
        let meets_floor = before.is_some() && number(before) == number(floor.as_ref());
        let meets_ceiling = number(all.rows.get(rows.end)) == number(ceiling.as_ref());
        let mut block = piece(all, rows);
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
    fn unlooked_near(&self, key: Key, filter: Filter<'_>, is_forward: bool) -> Option<Unlooked> {
        let is_unlooked = |at: &usize| !self.unlooked(*at, filter.generation).is_empty();
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
            file: self.unlooked_places(at, filter),
        })
    }

    /// Where the lines of a gap stand in their file that were not looked at.
    fn unlooked_places(&self, at: usize, filter: Filter<'_>) -> Option<FilePart> {
        let numbers = self.unlooked(at, filter.generation);
        let first = self.row((at, 0)).number;
        let file = self.file(first)?;
        // A seam has no place; a line before its base stands in another file.
        let is_line = |spot: &Spot| {
            let row = self.row(*spot);
            !row.has(NOTE) && row.number >= file.number(0)
        };
        let floor = self.previous((at, 0));
        let is_beside = |spot: &Spot| self.row(*spot).number + 1 == numbers.start;
        let start = floor.filter(is_beside).and_then(|floor| {
            let older = std::iter::successors(Some(floor), |spot| self.preceding(*spot));
            older.filter(is_line).take(filter.sieve.after + 1).last()
        });
        let start = start.map_or(numbers.start, |spot| self.row(spot).number);
        let mut end = file.place(numbers.end);
        if numbers.end == first {
            let newer = std::iter::successors(Some((at, 0)), |spot| self.following(*spot));
            let wanted = filter.sieve.before;
            for (n, spot) in newer.filter(is_line).take(wanted + 1).enumerate() {
                let row = self.row(spot);
                // Behind the last of them; where no more are held, perhaps inside of its end, which is as good.
                end = file.place(row.number);
                end += if n == wanted {
                    0
                } else {
                    u64::from(row.len) + 1
                };
            }
        }
        Some(FilePart {
            file: file.clone(),
            places: file.place(start)..end,
            gap: self.gap_numbers(at),
            numbers,
        })
    }
}

/// A filter, and which one it is.
#[derive(Debug, Clone, Copy)]
struct Filter<'a> {
    sieve: &'a Sieve,
    generation: u32,
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
            let missing = ring.unlooked(at, self.sieved);
            if !missing.is_empty()
                && missing.end > number
                && let Some(mut part) = ring.unlooked_places(at, self.filter())
            {
                part.numbers.start = part.numbers.start.max(number);
                part.places.start = part.places.start.max(part.file.place(number));
                let file = Some(part);
                return Landing::Unlooked(Unlooked { beside, file });
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

    fn filter(&self) -> Filter<'_> {
        Filter {
            sieve: self.sieve(),
            generation: self.sieved,
        }
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
            .filter_map(move |ring| ring.unlooked_near(key, self.filter(), is_forward))
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
            let chunks = ring.chunks.iter().enumerate();
            chunks
                .filter_map(|(at, chunk)| {
                    let file = ring.file(chunk.rows.first()?.number)?;
                    let numbers = ring.unlooked(at, self.sieved);
                    Some(file.place(numbers.end) - file.place(numbers.start))
                })
                .sum()
        };
        self.rings.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use regex::bytes::Regex;

    use super::*;
    use crate::domain::log::{LogBlock, LogPosition, Stream};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// Lines of a file, each with its place: records that pass, records that do not, and lines that go on with them.
    fn file_of(kinds: &[u8]) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        let mut place = 0;
        for (n, kind) in kinds.iter().enumerate() {
            let at = Timestamp::from_second(n as i64).unwrap();
            let text = match kind {
                0 => format!("{at} ERROR hit {n}"),
                1 => format!("{at} ERROR hit and bad {n}"),
                2 if n > 0 => format!("    at com.Foo.bar(Foo.java:{n}) deep"),
                _ => format!("{at} INFO other {n}"),
            };
            place += text.len() as u64 + 1;
            lines.push((place - text.len() as u64 - 1, text));
        }
        lines
    }

    fn block(lines: &[(u64, String)]) -> LogBlock {
        let mut block = LogBlock::default();
        for (place, text) in lines {
            block.push_at(*place, None, Stream::Stdout, text.as_bytes(), 0);
        }
        block
    }

    fn length(lines: &[(u64, String)]) -> u64 {
        lines
            .last()
            .map_or(0, |(place, text)| place + text.len() as u64 + 1)
    }

    /// A console that reads a file from its line `from` on.
    struct Console {
        rings: Rings,
        lines: Vec<(u64, String)>,
        file: OpenedFile,
    }

    impl Console {
        fn new(lines: Vec<(u64, String)>, from: usize, sieve: Sieve, bound: usize) -> Self {
            let mut rings = Rings::new(bound);
            rings.add(0);
            rings.set_sieve(sieve);
            let mut reader = LineReader::new(&NOW.to_zoned(TimeZone::UTC));
            let file = reader.open(LogPosition {
                path: "/x.log".into(),
                inode: 1,
                offset: lines[from].0,
            });
            rings.ring_mut(0).unwrap().opened(file.clone());
            rings.push(0, reader.read(block(&lines[from..]), NOW));
            let file = file.unwrap();
            Self { rings, lines, file }
        }

        /// Looks through the part that is missing nearest to a place: so many steps of so many lines.
        fn sift(&mut self, near: Key, is_forward: bool, step: usize, steps: usize) {
            let Some(part) = self.rings.unlooked(near, is_forward).next() else {
                return;
            };
            let part = part.file.unwrap();
            let range = part.places.clone();
            let sifter = Sifter::new(
                self.rings.sieve().clone(),
                self.rings.generation(),
                part,
                &NOW.to_zoned(TimeZone::UTC),
            );
            let first = self
                .lines
                .partition_point(|(place, _)| *place < range.start);
            let last = self.lines.partition_point(|(place, _)| *place < range.end);
            assert_eq!(self.lines[first].0, range.start);
            let all: Vec<usize> = (first..last).collect();
            let mut parts: Vec<&[usize]> = all.chunks(step).collect();
            if !is_forward {
                parts = all.rchunks(step).collect();
            }
            let mut sifted = sifter.nothing();
            let mut is_torn = false;
            for (n, part) in parts.into_iter().enumerate() {
                if n >= steps && !is_torn {
                    break;
                }
                let (a, b) = (part[0], part[part.len() - 1] + 1);
                let around = a.saturating_sub(12)..(b + 12).min(self.lines.len());
                let places = self.lines[a].0..length(&self.lines[..b]);
                let passage = Passage {
                    looked: places.clone(),
                    candidates: places,
                    block: block(&self.lines[around]),
                };
                is_torn = sifter.is_torn(&passage);
                sifted.extend(sifter.sift(passage));
            }
            self.rings.ring_mut(0).unwrap().insert_sifted(&sifted);
        }

        fn look(&mut self) {
            while self.rings.look(None, 1 << 20) {}
        }

        fn shown(&self) -> Vec<String> {
            let keys = std::iter::successors(self.rings.first(), |key| self.rings.next(*key));
            keys.map(|key| {
                String::from_utf8_lossy(self.rings.line(key).unwrap().bytes).into_owned()
            })
            .collect()
        }

        /// Lines that pass and are not held, though they are said to be: there must be none.
        fn denied(&self, passing: &[usize]) -> Vec<usize> {
            let ring = self.rings.ring(0).unwrap();
            let unlooked: Vec<Range<u64>> = (0..ring.chunks.len())
                .map(|at| ring.unlooked(at, self.rings.sieved))
                .collect();
            passing
                .iter()
                .copied()
                .filter(|n| {
                    let number = self.file.number(self.lines[*n].0);
                    ring.key_of(number).is_none()
                        && !unlooked.iter().any(|range| range.contains(&number))
                })
                .collect()
        }
    }

    fn sieve(kind: u8, around: usize) -> Sieve {
        let pattern = |text| vec![Regex::new(text).unwrap()];
        let (include, exclude, level) = match kind {
            0 => (pattern("hit"), pattern("bad"), None),
            1 => (Vec::new(), pattern("other"), None),
            2 => (pattern("deep"), Vec::new(), None),
            _ => (
                Vec::new(),
                Vec::new(),
                Some(crate::domain::log::Level::Error),
            ),
        };
        Sieve {
            include,
            exclude,
            level,
            before: around,
            after: around,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// What is found in place is what would be shown if all of the file were held.
        #[test]
        fn what_is_found_in_place_is_what_would_be_shown(
            kinds in proptest::collection::vec(proptest::sample::select(vec![0u8, 1, 2, 3, 3, 3]), 2..150),
            from in any::<prop::sample::Index>(), filter in 0u8..4, around in 0usize..3, step in 1usize..20,
            before in (0u8..4, 0usize..3),
            ways in proptest::collection::vec((any::<bool>(), 1usize..4), 0..12),
        ) {
            let lines = file_of(&kinds);
            let mut from = from.index(lines.len());
            while kinds[from] == 2 && from > 0 {
                from -= 1;
            }
            let mut whole = Console::new(lines.clone(), 0, sieve(filter, around), 1 << 24);
            whole.look();
            // Another filter was there before: what it has found is held.
            let mut console = Console::new(lines, from, sieve(before.0, before.1), 1 << 24);
            console.look();
            console.sift(Key::LAST, false, step, 5);
            console.rings.set_sieve(sieve(filter, around));
            for (is_forward, steps) in ways {
                let near = if is_forward { Key::FIRST } else { Key::LAST };
                console.sift(near, is_forward, step, steps);
            }
            while console.rings.unlooked_bytes() > 0 {
                console.sift(Key::LAST, false, step, 3);
            }
            console.look();
            prop_assert_eq!(console.shown(), whole.shown());
            let ring = console.rings.ring(0).unwrap();
            prop_assert_eq!(ring.size(), ring.chunks.iter().map(Chunk::size).sum::<usize>());
        }

        /// Whatever was dropped meanwhile: a line that passes is held, or is among those that nobody has looked at.
        #[test]
        fn no_line_is_taken_for_absent_that_was_dropped(
            kinds in proptest::collection::vec(proptest::sample::select(vec![0u8, 1, 3]), 20..200),
            filter in 0u8..2, step in 1usize..20, bound in 500usize..6000,
            ways in proptest::collection::vec((any::<bool>(), 0usize..200, 1usize..4), 1..20),
        ) {
            let lines = file_of(&kinds);
            let from = lines.len() - 2;
            let passing: Vec<usize> = (0..kinds.len())
                .filter(|n| if filter == 0 { kinds[*n] == 0 } else { kinds[*n] != 3 }).collect();
            let mut console = Console::new(lines, from, sieve(filter, 0), bound);
            for (is_forward, near, steps) in ways {
                let keys: Vec<Key> = std::iter::successors(console.rings.first(), |k| console.rings.next(*k)).collect();
                let near = keys.get(near % keys.len().max(1)).copied().unwrap_or(Key::LAST);
                console.rings.pin(Some(near));
                console.sift(near, is_forward, step, steps);
                console.look();
                prop_assert_eq!(console.denied(&passing), Vec::<usize>::new());
                console.rings.settle();
                prop_assert_eq!(console.denied(&passing), Vec::<usize>::new());
                let ring = console.rings.ring(0).unwrap();
                prop_assert_eq!(ring.size(), ring.chunks.iter().map(Chunk::size).sum::<usize>());
                // What is pinned stays, and what is beside it.
                prop_assert!(ring.size() <= bound.max(20_000), "{}", ring.size());
            }
        }
    }
}
