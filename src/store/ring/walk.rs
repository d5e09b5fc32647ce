//! Steps from line to line of one ring: over all of them, over those that are shown, from match to match.

use super::prepared::{CONTINUATION, NOTE, Row, level_number};
use super::{Finder, Gap, Key, Ring, Sieve};
use crate::domain::log::Level;

/// A place in a ring until the next change of it: block, row.
pub(super) type Spot = (usize, usize);

/// How much of something there is in a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines that match.
    pub found: u64,
    /// Those of them that stand before the place that was asked for.
    pub before: u64,
    /// Whether every line was looked at.
    pub is_complete: bool,
}

/// Which lines a walk stops at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stops<'a> {
    pub(super) sieve: &'a Sieve,
    /// Which decisions of the sieve hold.
    pub(super) generation: u32,
    pub(super) folds: &'a super::merge::Folds,
}

impl Ring {
    pub(super) fn key(&self, row: &Row) -> Key {
        Key {
            order: row.order,
            source: self.source(),
            number: row.number,
        }
    }

    pub(super) fn row(&self, (chunk, row): Spot) -> &Row {
        &self.chunks[chunk].rows[row]
    }

    pub(super) fn find(&self, number: u64) -> Option<Spot> {
        let at = self
            .chunks
            .partition_point(|c| c.rows.last().is_some_and(|r| r.number < number));
        let rows = &self.chunks.get(at)?.rows;
        let row = rows.binary_search_by_key(&number, |row| row.number).ok()?;
        Some((at, row))
    }

    /// The first line that stands behind a place; `is_there` lets the place itself be it.
    pub(super) fn behind(&self, key: Key, is_there: bool) -> Option<Spot> {
        let is_before = |row: &Row| {
            let own = self.key(row);
            own < key || (own == key && !is_there)
        };
        let at = self
            .chunks
            .partition_point(|c| c.rows.last().is_some_and(is_before));
        let rows = &self.chunks.get(at)?.rows;
        Some((at, rows.partition_point(is_before)))
    }

    /// The last line that stands in front of a place; `is_there` lets the place itself be it.
    pub(super) fn in_front(&self, key: Key, is_there: bool) -> Option<Spot> {
        match self.behind(key, !is_there) {
            Some(spot) => self.previous(spot),
            None => self.last_spot(),
        }
    }

    pub(super) fn last_spot(&self) -> Option<Spot> {
        let last = self.chunks.len().checked_sub(1)?;
        Some((last, self.chunks[last].rows.len() - 1))
    }

    pub(super) fn next(&self, (chunk, row): Spot) -> Option<Spot> {
        if row + 1 < self.chunks[chunk].rows.len() {
            Some((chunk, row + 1))
        } else {
            (chunk + 1 < self.chunks.len()).then_some((chunk + 1, 0))
        }
    }

    pub(super) fn previous(&self, (chunk, row): Spot) -> Option<Spot> {
        if row > 0 {
            return Some((chunk, row - 1));
        }
        let chunk = chunk.checked_sub(1)?;
        Some((chunk, self.chunks[chunk].rows.len() - 1))
    }

    /// The next line, unless others are missing in front of it.
    pub(super) fn following(&self, spot: Spot) -> Option<Spot> {
        let next = self.next(spot)?;
        (next.1 > 0 || self.chunks[next.0].gap == Gap::None).then_some(next)
    }

    /// The previous line, unless others are missing behind it.
    pub(super) fn preceding(&self, spot: Spot) -> Option<Spot> {
        (spot.1 > 0 || self.chunks[spot.0].gap == Gap::None)
            .then(|| self.previous(spot))
            .flatten()
    }

    fn forward(&self, mut spot: Spot, by: usize) -> Spot {
        for _ in 0..by {
            match self.following(spot) {
                Some(next) => spot = next,
                None => break,
            }
        }
        spot
    }

    fn backward(&self, mut spot: Spot, by: usize) -> Spot {
        for _ in 0..by {
            match self.preceding(spot) {
                Some(previous) => spot = previous,
                None => break,
            }
        }
        spot
    }

    /// The first row at or after a spot that a list of each block names.
    fn listed_from<'a>(
        &'a self,
        spot: Spot,
        list: impl Fn(&'a super::Chunk) -> &'a [u32],
    ) -> Option<Spot> {
        let mut from = spot.1 as u32;
        for chunk in spot.0..self.chunks.len() {
            let rows = list(&self.chunks[chunk]);
            if let Some(row) = rows.get(rows.partition_point(|row| *row < from)) {
                return Some((chunk, *row as usize));
            }
            from = 0;
        }
        None
    }

    /// The last row at or before a spot that a list of each block names.
    fn listed_to<'a>(
        &'a self,
        spot: Spot,
        list: impl Fn(&'a super::Chunk) -> &'a [u32],
    ) -> Option<Spot> {
        let mut to = spot.1 as u32;
        for chunk in (0..=spot.0).rev() {
            let rows = list(&self.chunks[chunk]);
            if let Some(at) = rows.partition_point(|row| *row <= to).checked_sub(1) {
                return Some((chunk, rows[at] as usize));
            }
            to = u32::MAX;
        }
        None
    }

    /// The first line at or after a spot that is shown.
    pub(super) fn shown_from(&self, spot: Spot, stops: Stops<'_>) -> Option<Spot> {
        let mut spot = spot;
        loop {
            spot = self.sieved_from(spot, stops)?;
            if !self.is_folded(spot, stops) {
                return Some(spot);
            }
            spot = self.next(spot)?;
        }
    }

    /// The last line at or before a spot that is shown.
    pub(super) fn shown_to(&self, spot: Spot, stops: Stops<'_>) -> Option<Spot> {
        let mut spot = spot;
        loop {
            spot = self.sieved_to(spot, stops)?;
            if !self.is_folded(spot, stops) {
                return Some(spot);
            }
            spot = self.previous(spot)?;
        }
    }

    fn sieved_from(&self, spot: Spot, stops: Stops<'_>) -> Option<Spot> {
        let sieve = stops.sieve;
        if sieve.is_open() {
            return Some(spot);
        }
        if sieve.after > 0
            && let Some(before) = self.listed_to(spot, |c| c.kept.of(stops.generation))
            && self.forward(before, sieve.after) >= spot
        {
            return Some(spot);
        }
        let next = self.listed_from(spot, |c| c.kept.of(stops.generation))?;
        Some(self.backward(next, sieve.before).max(spot))
    }

    fn sieved_to(&self, spot: Spot, stops: Stops<'_>) -> Option<Spot> {
        let sieve = stops.sieve;
        if sieve.is_open() {
            return Some(spot);
        }
        if sieve.before > 0
            && let Some(after) = self.listed_from(spot, |c| c.kept.of(stops.generation))
            && self.backward(after, sieve.before) <= spot
        {
            return Some(spot);
        }
        let previous = self.listed_to(spot, |c| c.kept.of(stops.generation))?;
        Some(self.forward(previous, sieve.after).min(spot))
    }

    /// Whether a line is hidden behind the line that began its record.
    fn is_folded(&self, spot: Spot, stops: Stops<'_>) -> bool {
        if !self.row(spot).has(CONTINUATION) || !stops.folds.is_on {
            return false;
        }
        let head = self.head(spot);
        // The rest of a record whose beginning is not held, or not shown, has no line to hide behind.
        !self.row(head).has(CONTINUATION)
            && !stops.folds.is_opened(self.source(), self.row(head).number)
            && self.sieved_from(head, stops) == Some(head)
    }

    /// The line that began the record.
    pub(super) fn head(&self, mut spot: Spot) -> Spot {
        while self.row(spot).has(CONTINUATION)
            && let Some(previous) = self.preceding(spot)
            && !self.row(previous).has(NOTE)
        {
            spot = previous;
        }
        spot
    }

    /// How many lines go on with the record that a line begins.
    pub(super) fn continuations(&self, mut spot: Spot) -> u64 {
        let mut count = 0;
        while let Some(next) = self.following(spot)
            && self.row(next).has(CONTINUATION)
        {
            count += 1;
            spot = next;
        }
        count
    }

    /// The first match at or after a spot.
    pub(super) fn found_from(&self, spot: Spot, finder: &Finder) -> Option<Spot> {
        self.listed_from(spot, |c| c.found.of(finder.generation))
    }

    /// The last match at or before a spot.
    pub(super) fn found_to(&self, spot: Spot, finder: &Finder) -> Option<Spot> {
        self.listed_to(spot, |c| c.found.of(finder.generation))
    }

    /// The first record at or after a spot that is at least so loud.
    pub(super) fn loud_from(&self, spot: Spot, level: Level) -> Option<Spot> {
        let least = level_number(Some(level));
        let is_loud = |row: &Row| row.level >= least && !row.has(CONTINUATION);
        let mut from = spot.1;
        for chunk in spot.0..self.chunks.len() {
            let rows = &self.chunks[chunk].rows;
            if let Some(at) = rows[from..].iter().position(is_loud) {
                return Some((chunk, from + at));
            }
            from = 0;
        }
        None
    }

    /// The last record at or before a spot that is at least so loud.
    pub(super) fn loud_to(&self, spot: Spot, level: Level) -> Option<Spot> {
        let least = level_number(Some(level));
        let is_loud = |row: &Row| row.level >= least && !row.has(CONTINUATION);
        let mut to = spot.1 + 1;
        for chunk in (0..=spot.0).rev() {
            let rows = &self.chunks[chunk].rows;
            let end = to.min(rows.len());
            if let Some(at) = rows[..end].iter().rposition(is_loud) {
                return Some((chunk, at));
            }
            to = usize::MAX;
        }
        None
    }

    /// How many lines match, and how many of them stand before a place. Only those with a number from `floor` on are
    /// counted.
    pub(super) fn totals(&self, finder: &Finder, place: Option<Key>, floor: u64) -> Totals {
        let mut totals = Totals {
            is_complete: true,
            ..Totals::default()
        };
        for chunk in &self.chunks {
            totals.is_complete &= chunk.found.is_complete(finder.generation, chunk.rows.len());
            let found = chunk.found.of(finder.generation);
            let rows = &chunk.rows;
            let skip = found.partition_point(|row| rows[*row as usize].number < floor);
            let found = &found[skip..];
            totals.found += found.len() as u64;
            if let Some(place) = place {
                let before = found.partition_point(|row| self.key(&rows[*row as usize]) < place);
                totals.before += before as u64;
            }
        }
        totals
    }
}
