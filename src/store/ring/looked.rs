//! What is not held and was not looked at for the filter: each gap remembers what was, so that nothing is looked for twice
//! and nothing is taken for absent that nobody has looked for.

use std::ops::Range;

use super::prepared::{CONTINUATION, NOTE, OpenedFile};
use super::walk::Spot;
use super::{Gap, Key, Ring, Rings, Sieve};

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
    pub(super) gap: Range<u64>,
    /// Their numbers.
    pub numbers: Range<u64>,
    /// Where they stand; with them come the lines at their sides whose records, if they pass, are shown with some of
    /// them. The last line break may be missing.
    pub places: Range<u64>,
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

/// A filter, and which one it is.
#[derive(Debug, Clone, Copy)]
struct Filter<'a> {
    sieve: &'a Sieve,
    generation: u32,
}

impl Ring {
    /// Remembers that lines were looked at for a filter, and that those of them that pass are held.
    pub(super) fn set_looked(&mut self, generation: u32, looked: &Range<u64>) {
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
        // Of each record all lines: the one for which it passes may be any of them.
        let start = floor.filter(is_beside).and_then(|floor| {
            let older = std::iter::successors(Some(floor), |spot| self.preceding(*spot));
            let last = older.filter(is_line).take(filter.sieve.after + 1).last();
            last.map(|spot| self.head(spot))
        });
        let start = start.map_or(numbers.start, |spot| self.row(spot).number);
        let mut end = file.place(numbers.end);
        if numbers.end == first {
            let newer = std::iter::successors(Some((at, 0)), |spot| self.following(*spot));
            let wanted = filter.sieve.before;
            for (n, spot) in newer.filter(is_line).enumerate() {
                let row = self.row(spot);
                end = file.place(row.number);
                if n >= wanted && !row.has(CONTINUATION) {
                    break;
                }
                // Behind it; where no more are held, perhaps inside of its end, which is as good.
                end += u64::from(row.len) + 1;
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
