//! Several rings under one bound, read as one log in the order of time.
//!
//! Nothing is copied and nothing is sorted: each ring is in order by itself, so a step forwards or backwards looks for
//! the nearest line of each. Lines that come late, or are read again, stand in their place at once, and choosing
//! another set of services costs nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::prepared::{CONTINUATION, nanoseconds};
use super::text::Packer;
use super::walk::{Spot, Stops, Totals};
use super::{Finder, Gap, PreparedBlock, Ring, RingLine, Sieve};
use crate::domain::log::Level;

/// Where a line stands among the lines of all sources: by time, at equal times by source, then in the order of its
/// source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub(super) order: i64,
    /// The source.
    pub source: u32,
    /// The line's number in it.
    pub number: u64,
}

impl Key {
    /// The place of an instant, before every line of it.
    pub fn at(at: Timestamp) -> Self {
        Self {
            order: nanoseconds(at),
            source: 0,
            number: 0,
        }
    }

    /// A line of a source that is not held: its time is not known.
    pub fn of(source: u32, number: u64) -> Self {
        Self {
            order: i64::MIN,
            source,
            number,
        }
    }

    /// In front of every line.
    pub const FIRST: Self = Self {
        order: i64::MIN,
        source: 0,
        number: 0,
    };
    /// Behind every line.
    pub const LAST: Self = Self {
        order: i64::MAX,
        source: u32::MAX,
        number: u64::MAX,
    };

    /// The instant that it stands at.
    pub fn instant(&self) -> Option<Timestamp> {
        super::prepared::instant(self.order)
    }
}

/// Which records are folded to their first line.
#[derive(Debug, Clone, Default)]
pub struct Folds {
    /// Whether any is.
    pub is_on: bool,
    opened: BTreeSet<(u32, u64)>,
}

impl Folds {
    pub(super) fn is_opened(&self, source: u32, number: u64) -> bool {
        !self.opened.is_empty() && self.opened.contains(&(source, number))
    }
}

/// The lines of several sources.
#[derive(Debug)]
pub struct Rings {
    pub(super) rings: Vec<Ring>,
    bound: usize,
    finder: Option<Finder>,
    sieve: Sieve,
    /// Counts the changes of the sieve: what was decided by an older one does not hold.
    pub(super) sieved: u32,
    folds: Folds,
    pin: Option<Key>,
    packer: Packer,
}

impl Rings {
    /// Rings that together never hold more than `bound` bytes, rows included; more only where the lines on screen and
    /// the newest block of each source are already more.
    pub fn new(bound: usize) -> Self {
        Self {
            rings: Vec::new(),
            bound,
            finder: None,
            sieve: Sieve::default(),
            sieved: 0,
            folds: Folds {
                is_on: true,
                ..Folds::default()
            },
            pin: None,
            packer: Packer::default(),
        }
    }

    /// Begins to hold the lines of a source.
    pub fn add(&mut self, source: u32) {
        let at = self.rings.partition_point(|ring| ring.source() < source);
        self.rings.insert(at, Ring::new(source));
    }

    /// Forgets the lines of a source.
    pub fn remove(&mut self, source: u32) {
        self.rings.retain(|ring| ring.source() != source);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.rings.clear();
        self.folds.opened.clear();
        self.pin = None;
    }

    /// The lines of a source.
    pub fn ring(&self, source: u32) -> Option<&Ring> {
        self.rings.iter().find(|ring| ring.source() == source)
    }

    /// The lines of a source, to add to; call [`Rings::settle`] after it.
    pub fn ring_mut(&mut self, source: u32) -> Option<&mut Ring> {
        self.rings.iter_mut().find(|ring| ring.source() == source)
    }

    /// Every ring.
    pub fn iter(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter()
    }

    /// Takes a block of a source over.
    pub fn push(&mut self, source: u32, block: PreparedBlock) {
        if let Some(ring) = self.ring_mut(source) {
            ring.push(block);
        }
        self.settle();
    }

    /// Keeps a place and what is around it, whatever else is dropped; `None` for the end of the log.
    pub fn pin(&mut self, at: Option<Key>) {
        self.pin = at;
        for ring in &mut self.rings {
            ring.release();
        }
    }

    /// Packs what is old, then drops lines until the bound holds: of the source that holds the most, so that a flood of
    /// one does not wash the others away.
    pub fn settle(&mut self) {
        for ring in &mut self.rings {
            let pinned = ring.pinned(self.pin);
            ring.pack(pinned.as_ref(), &mut self.packer);
        }
        let mut stuck: Vec<u32> = Vec::new();
        loop {
            let size = self.size();
            if size <= self.bound {
                return;
            }
            let pin = self.pin;
            let largest = self
                .rings
                .iter_mut()
                .filter(|ring| !stuck.contains(&ring.source()))
                .max_by_key(|ring| ring.size());
            let Some(ring) = largest else {
                return;
            };
            let pinned = ring.pinned(pin);
            if ring.drop_one(pinned.as_ref()) {
                continue;
            }
            if pinned.is_none() {
                let others = size - ring.size();
                ring.shrink_last(self.bound.saturating_sub(others));
            }
            stuck.push(ring.source());
        }
    }

    /// Bytes held, rows included.
    pub fn size(&self) -> usize {
        self.rings.iter().map(Ring::size).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.rings.iter().all(Ring::is_empty)
    }

    /// What is searched for.
    pub fn finder(&self) -> Option<&Finder> {
        self.finder.as_ref()
    }

    /// Searches for something else, or for nothing.
    pub fn search(&mut self, finder: Option<Finder>) {
        self.finder = finder;
    }

    /// Which records are shown.
    pub fn sieve(&self) -> &Sieve {
        &self.sieve
    }

    /// Shows other records.
    pub fn set_sieve(&mut self, sieve: Sieve) {
        self.sieve = sieve;
        self.sieved += 1;
    }

    /// Looks at lines that were not searched or sieved yet, those nearest to `around` first, in at most about `budget`
    /// bytes. Returns whether there is more to look at.
    pub fn look(&mut self, around: Option<Key>, budget: usize) -> bool {
        if self.finder.is_none() && self.sieve.is_open() {
            return false;
        }
        let mut left = budget as i64;
        let mut room = Vec::new();
        for ring in &mut self.rings {
            let near = around
                .and_then(|key| ring.behind(key, true))
                .map_or(ring.chunks.len().saturating_sub(1), |(chunk, _)| chunk);
            for at in outwards(near, ring.chunks.len()) {
                if left <= 0 {
                    return true;
                }
                if let Some(finder) = &self.finder {
                    left -= finder.look(&mut ring.chunks[at], &mut room) as i64;
                }
                if !self.sieve.is_open() {
                    left -= sieve_to(&self.sieve, self.sieved, ring, at, &mut room) as i64;
                }
            }
        }
        false
    }

    pub(super) fn stops(&self) -> Stops<'_> {
        Stops {
            sieve: &self.sieve,
            generation: self.sieved,
            folds: &self.folds,
        }
    }

    fn nearest<'a>(
        &'a self,
        mut spot: impl FnMut(&'a Ring) -> Option<Spot>,
        is_forward: bool,
    ) -> Option<Key> {
        let keys = self
            .rings
            .iter()
            .filter_map(|ring| spot(ring).map(|spot| ring.key(ring.row(spot))));
        if is_forward { keys.min() } else { keys.max() }
    }

    /// The first line that is shown behind a place.
    pub fn next(&self, key: Key) -> Option<Key> {
        let stops = self.stops();
        self.nearest(
            |ring| ring.shown_from(ring.behind(key, false)?, stops),
            true,
        )
    }

    /// The last line that is shown in front of a place.
    pub fn previous(&self, key: Key) -> Option<Key> {
        let stops = self.stops();
        self.nearest(
            |ring| ring.shown_to(ring.in_front(key, false)?, stops),
            false,
        )
    }

    /// The line at a place or, if that is not shown, the nearest one that is, those behind it first.
    pub fn near(&self, key: Key) -> Option<Key> {
        let stops = self.stops();
        self.nearest(|ring| ring.shown_from(ring.behind(key, true)?, stops), true)
            .or_else(|| self.previous(key))
    }

    /// The first line that is shown.
    pub fn first(&self) -> Option<Key> {
        self.next(Key::FIRST)
    }

    /// The last line that is shown.
    pub fn last(&self) -> Option<Key> {
        self.previous(Key::LAST)
    }

    /// A line by its place.
    pub fn line(&self, key: Key) -> Option<RingLine<'_>> {
        self.ring(key.source)?.line(key.number)
    }

    /// The next (or previous) line behind (or in front of) a place that matches the search.
    pub fn next_match(&self, key: Key, is_forward: bool) -> Option<Key> {
        let finder = self.finder.as_ref()?;
        self.next_sieved(key, is_forward, |ring, spot| {
            if is_forward {
                ring.found_from(spot, finder)
            } else {
                ring.found_to(spot, finder)
            }
        })
    }

    /// The next (or previous) record that is at least so loud.
    pub fn next_loud(&self, key: Key, level: Level, is_forward: bool) -> Option<Key> {
        self.next_sieved(key, is_forward, |ring, spot| {
            if is_forward {
                ring.loud_from(spot, level)
            } else {
                ring.loud_to(spot, level)
            }
        })
    }

    /// The nearest line behind (or in front of) a place that is found from there on and let through.
    fn next_sieved(
        &self,
        mut key: Key,
        is_forward: bool,
        find: impl Fn(&Ring, Spot) -> Option<Spot>,
    ) -> Option<Key> {
        loop {
            let beside = |ring: &Ring| {
                if is_forward {
                    ring.behind(key, false)
                } else {
                    ring.in_front(key, false)
                }
            };
            let found = self.nearest(|ring| find(ring, beside(ring)?), is_forward)?;
            if self.is_sieved(found) {
                return Some(found);
            }
            key = found;
        }
    }

    /// Whether a line is let through, folded or not.
    fn is_sieved(&self, key: Key) -> bool {
        let folds = Folds::default();
        let stops = Stops {
            sieve: &self.sieve,
            generation: self.sieved,
            folds: &folds,
        };
        self.ring(key.source).is_some_and(|ring| {
            let spot = ring.find(key.number);
            spot.is_some_and(|spot| ring.shown_from(spot, stops) == Some(spot))
        })
    }

    /// How many lines of a source match, and how many of them stand before a place; of a file, only lines from the
    /// number `floor` on.
    pub fn totals(&self, source: u32, place: Option<Key>, floor: u64) -> Totals {
        match (self.ring(source), &self.finder) {
            (Some(ring), Some(finder)) => ring.totals(finder, place, floor),
            _ => Totals::default(),
        }
    }

    /// Calls with the time and source of every match that is held.
    pub fn each_match(&self, mut call: impl FnMut(Key)) {
        let Some(finder) = &self.finder else {
            return;
        };
        for ring in &self.rings {
            for chunk in &ring.chunks {
                for row in chunk.found.of(finder.generation) {
                    call(ring.key(&chunk.rows[*row as usize]));
                }
            }
        }
    }

    /// The last line of a source at or in front of a place.
    pub fn at_or_before(&self, source: u32, key: Key) -> Option<u64> {
        let ring = self.ring(source)?;
        ring.in_front(key, true).map(|spot| ring.row(spot).number)
    }

    /// Whether stack traces are folded to their first line.
    pub fn is_folding(&self) -> bool {
        self.folds.is_on
    }

    /// Folds every trace, or none.
    pub fn set_folding(&mut self, is_on: bool) {
        self.folds.is_on = is_on;
        self.folds.opened.clear();
    }

    /// Opens or folds the record of a line; the place of its first line.
    pub fn toggle_fold(&mut self, key: Key) -> Option<Key> {
        let head = self.head(key)?;
        let id = (head.source, head.number);
        if !self.folds.opened.remove(&id) {
            self.folds.opened.insert(id);
        }
        Some(head)
    }

    /// Opens the record of a line, so that the line itself is shown.
    pub fn open(&mut self, key: Key) {
        if let Some(head) = self.head(key)
            && head != key
        {
            self.folds.opened.insert((head.source, head.number));
        }
    }

    /// The line that began the record of a line.
    pub fn head(&self, key: Key) -> Option<Key> {
        let ring = self.ring(key.source)?;
        let spot = ring.find(key.number)?;
        Some(ring.key(ring.row(ring.head(spot))))
    }

    /// How many lines go on with the record that a line begins, and whether they are shown.
    pub fn continuations(&self, key: Key) -> (u64, bool) {
        let Some(ring) = self.ring(key.source) else {
            return (0, true);
        };
        let count = ring
            .find(key.number)
            .map_or(0, |spot| ring.continuations(spot));
        let is_open = !self.folds.is_on || self.folds.is_opened(key.source, key.number);
        (count, is_open)
    }

    /// The lines of the record that a line belongs to, from its first on.
    pub fn record(&self, key: Key) -> Vec<Key> {
        let Some(ring) = self.ring(key.source) else {
            return Vec::new();
        };
        let Some(spot) = ring.find(key.number) else {
            return Vec::new();
        };
        let mut spot = ring.head(spot);
        let mut keys = vec![ring.key(ring.row(spot))];
        for _ in 0..ring.continuations(spot) {
            match ring.next(spot) {
                Some(next) => spot = next,
                None => break,
            }
            keys.push(ring.key(ring.row(spot)));
        }
        keys
    }

    /// The oldest line at or above a place of each source whose older lines are not held, with what is missing. Only
    /// sources in which nothing stands between that line and the place.
    pub fn gap_above(&self, key: Key, rows: usize) -> Option<(Key, Gap)> {
        self.rings.iter().find_map(|ring| {
            let mut spot = ring
                .in_front(key, true)
                .or_else(|| (!ring.is_empty()).then_some((0, 0)))?;
            for _ in 0..=rows {
                let gap = ring.chunks[spot.0].gap;
                if spot.1 == 0 && gap != Gap::None {
                    return Some((ring.key(ring.row(spot)), gap));
                }
                spot = ring.previous(spot)?;
            }
            None
        })
    }

    /// The last line in front of a gap, and how much is missing there, within so many lines behind a place.
    pub fn gap_below(&self, key: Key, rows: usize) -> Option<(Key, Gap)> {
        self.rings.iter().find_map(|ring| {
            let mut spot = ring.behind(key, true)?;
            for _ in 0..=rows {
                let next = ring.next(spot)?;
                let gap = ring.chunks[next.0].gap;
                if next.1 == 0 && gap != Gap::None {
                    return Some((ring.key(ring.row(spot)), gap));
                }
                spot = next;
            }
            None
        })
    }
}

/// Sieves a block and, where it begins inside of a record, those before it in which that record began.
fn sieve_to(
    sieve: &Sieve,
    generation: u32,
    ring: &mut Ring,
    at: usize,
    room: &mut Vec<u8>,
) -> usize {
    let mut first = at;
    while first > 0
        && ring.chunks[first].rows[0].has(CONTINUATION)
        && ring.chunks[first].gap == Gap::None
    {
        first -= 1;
    }
    let mut bytes = 0;
    for at in first..=at {
        let is_open = at > 0 && ring.chunks[at].gap == Gap::None && {
            let before = &ring.chunks[at - 1];
            let last = before.rows.len() as u32 - 1;
            before.kept.of(generation).last() == Some(&last)
        };
        bytes += sieve.look(generation, &mut ring.chunks[at], is_open, room);
    }
    bytes
}

/// `near`, then its neighbours on both sides, the older one first, until all are named.
fn outwards(near: usize, count: usize) -> impl Iterator<Item = usize> {
    let near = near.min(count.saturating_sub(1));
    let below = (0..near).rev().map(Some).chain(std::iter::repeat(None));
    let above = (near + 1..count).map(Some).chain(std::iter::repeat(None));
    let first = (count > 0).then_some(near);
    first.into_iter().chain(
        below
            .zip(above)
            .take(count)
            .flat_map(|(a, b)| [a, b])
            .flatten(),
    )
}
