//! Both sides beside each other: pieces of one axis, counted from the own start of each side.
//!
//! Concurrent logs never come in the same order twice, so whole logs are not aligned. The axis is cut into pieces; in
//! each of them what did not change is folded, and only what changed is aligned, by its patterns.

mod sequence;

use std::collections::{BTreeMap, HashMap};

use super::rows::TestedRow;
use super::{SideLogs, World};
use crate::analysis::align::{self, align};
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::comparison::{PatternChange, ServiceVerdict};
use crate::domain::log::Level;
use crate::domain::side_by_side::{Axis, Fold, Item, Row, SideBySide};

/// About so many pieces for the time that both sides have, and as many for what only one has.
const PIECES: u64 = 24;
/// A piece with more changed items on a side than this tells each of their patterns once.
const ITEMS: usize = 12;

/// Records of one pattern that stand together.
#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    /// From the start of the side.
    at: u64,
    line: u64,
    pattern: usize,
    service: usize,
    count: u64,
    text: Option<&'a [u8]>,
}

impl Found<'_> {
    fn item(&self, world: &World<'_>) -> Item {
        Item {
            pattern: self.pattern,
            count: self.count,
            at: self.at,
            line: self.line,
            service: self.service,
            text: self.text.map(world.show),
        }
    }
}

/// Lays both sides beside each other. Empty where the scans kept no courses.
pub(super) fn build(
    world: &World<'_>,
    rows: &[TestedRow],
    services: &[ServiceVerdict],
) -> SideBySide {
    let has_times = |side: &SideLogs| {
        side.services.iter().all(|s| {
            let events = s.scan.course.events();
            events.is_empty() || events.iter().any(|e| e.at.is_some())
        })
    };
    let axis = if has_times(world.before) && has_times(world.after) {
        Axis::Time
    } else {
        Axis::Lines
    };
    let by_id: HashMap<&str, usize> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| (row.row.id.as_str(), at))
        .collect();
    let patterns = world.patterns.patterns.iter();
    let places: Vec<Option<usize>> = patterns
        .map(|pattern| by_id.get(pattern.id.as_str()).copied())
        .collect();
    let sides = BeforeAfter::new(Side::Before, Side::After)
        .map(|side| collect(world, side, axis, &places, services));
    let dropped = BeforeAfter::new(world.before, world.after).map(|side| {
        let of = |s: &super::SideService| s.scan.course.dropped;
        side.services.iter().map(of).sum()
    });
    // A lone error on one side proves nothing, but it is not known either.
    let is_known = |pattern: usize| {
        let row = &rows[pattern].row;
        let is_lone = row.before == 0 || row.after == 0;
        row.change == PatternChange::Same
            && row.was.is_none()
            && !(is_lone && row.level >= Some(Level::Warn))
    };
    SideBySide {
        axis,
        stream: stream(world, &sides, axis, &is_known),
        sequences: sequence::find(world, &sides, rows, services.len()),
        patterns: (world.patterns.of_shape.iter())
            .filter_map(|((_, shape), at)| Some((*shape, places[*at]?)))
            .collect(),
        dropped,
    }
}

/// Everything of one side in order, its first record at 0.
fn collect<'a>(
    world: &World<'a>,
    side: Side,
    axis: Axis,
    places: &[Option<usize>],
    services: &[ServiceVerdict],
) -> Vec<Found<'a>> {
    let (logs, first_source) = match side {
        Side::Before => (world.before, 0),
        Side::After => (world.after, world.before.services.len()),
    };
    let mut found: Vec<(i64, Found<'a>)> = Vec::new();
    for (number, log) in logs.services.iter().enumerate() {
        let Some(service) = services.iter().position(|s| s.id == log.id) else {
            continue;
        };
        let course = &log.scan.course;
        // A record without a time is as late as the one above it.
        let mut at = (course.events().iter().find_map(|e| e.at)).unwrap_or(0);
        for event in course.events() {
            at = match axis {
                Axis::Time => event.at.unwrap_or(at),
                Axis::Lines => event.line as i64,
            };
            let pattern = (world.patterns.of_shape)
                .get(&(first_source + number, event.shape))
                .and_then(|at| places[*at]);
            let Some(pattern) = pattern else {
                continue;
            };
            found.push((
                at,
                Found {
                    at: 0,
                    line: event.line,
                    pattern,
                    service,
                    count: u64::from(event.count),
                    text: course.text(event),
                },
            ));
        }
    }
    // Stable: what was written at one time stays in its order.
    found.sort_by_key(|(at, _)| *at);
    let start = found.first().map_or(0, |(at, _)| *at);
    let from_start = |(at, found): (i64, Found<'a>)| Found {
        at: at.abs_diff(start),
        ..found
    };
    found.into_iter().map(from_start).collect()
}

/// How the axis is cut: into small pieces as far as both sides reach, into larger ones behind that.
#[derive(Debug, Clone, Copy)]
struct Cuts {
    shared: u64,
    small: u64,
    large: u64,
}

impl Cuts {
    fn new(spans: BeforeAfter<u64>, axis: Axis) -> Self {
        let shared = spans.before.min(spans.after);
        let rest = spans.before.max(spans.after) - shared;
        let small = round(shared.div_ceil(PIECES), axis);
        Self {
            // A whole number of pieces.
            shared: (shared / small + 1) * small,
            small,
            large: round(rest.div_ceil(PIECES), axis).max(small),
        }
    }

    /// Where the piece of a place begins.
    fn piece(self, at: u64) -> u64 {
        match at.checked_sub(self.shared) {
            None => at / self.small * self.small,
            Some(behind) => self.shared + behind / self.large * self.large,
        }
    }
}

/// The next length that people count in: 1, 2, 5, 10, 20, 50 …; times from a tenth of a second on in 1, 2, 5, 10, 15,
/// 30 seconds, minutes, hours.
fn round(length: u64, axis: Axis) -> u64 {
    const TIMES: [u64; 19] = [
        100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
        600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
    ];
    if axis == Axis::Time {
        let day = 86_400_000;
        return (TIMES.into_iter().find(|t| *t >= length)).unwrap_or(length.div_ceil(day) * day);
    }
    let mut unit = 1u64;
    loop {
        for step in [1, 2, 5] {
            if step * unit >= length {
                return step * unit;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

fn stream(
    world: &World<'_>,
    sides: &BeforeAfter<Vec<Found<'_>>>,
    axis: Axis,
    is_known: &dyn Fn(usize) -> bool,
) -> Vec<Row> {
    let last = |side: &Vec<Found<'_>>| side.last().map_or(0, |f| f.at);
    let cuts = Cuts::new(sides.as_ref().map(last), axis);
    let mut rows = Vec::new();
    let ends = sides.as_ref().map(last);
    let mut known = Known::default();
    let (mut before, mut after) = (sides.before.as_slice(), sides.after.as_slice());
    while let Some(at) = [before, after]
        .iter()
        .filter_map(|side| side.first())
        .map(|f| cuts.piece(f.at))
        .min()
    {
        let piece = BeforeAfter::new(
            take(&mut before, |f| cuts.piece(f.at) == at),
            take(&mut after, |f| cuts.piece(f.at) == at),
        );
        known.add(world, at, &piece, is_known);
        let changed = piece.map(|side| changed(side, is_known));
        if !changed.before.is_empty() || !changed.after.is_empty() {
            known.fold(ends, &mut rows);
            rows.extend(aligned_by_pattern(world, &changed));
        }
    }
    known.fold(ends, &mut rows);
    rows
}

/// Cuts off the front for which something holds.
fn take<'s, 'a>(side: &mut &'s [Found<'a>], holds: impl Fn(&Found<'a>) -> bool) -> &'s [Found<'a>] {
    let end = side.iter().position(|f| !holds(f)).unwrap_or(side.len());
    let (front, rest) = side.split_at(end);
    *side = rest;
    front
}

/// What did not change, since the last row of what did.
#[derive(Default)]
struct Known {
    from: Option<u64>,
    patterns: BTreeMap<usize, BeforeAfter<Option<Item>>>,
}

impl Known {
    fn add(
        &mut self,
        world: &World<'_>,
        at: u64,
        piece: &BeforeAfter<&[Found<'_>]>,
        is_known: &dyn Fn(usize) -> bool,
    ) {
        for side in [Side::Before, Side::After] {
            for found in piece.side(side).iter().filter(|f| is_known(f.pattern)) {
                self.from.get_or_insert(at);
                let pair = self.patterns.entry(found.pattern).or_default();
                match pair.side_mut(side) {
                    Some(item) => item.count += found.count,
                    // Its template says it all: so many texts would have to be looked through for secrets.
                    none => {
                        let without = Found {
                            text: None,
                            ..*found
                        };
                        *none = Some(without.item(world));
                    }
                }
            }
        }
    }

    /// One row for all, with the rows that it consists of behind it. `ends` is how far each side reaches.
    fn fold(&mut self, ends: BeforeAfter<u64>, rows: &mut Vec<Row>) {
        let Some(at) = self.from.take() else {
            return;
        };
        let patterns = std::mem::take(&mut self.patterns);
        let fold = |side: Side| {
            let items = patterns
                .values()
                .filter_map(|pair| pair.side(side).as_ref());
            let fold = items.fold(Fold::default(), |fold, item| Fold {
                records: fold.records + item.count,
                patterns: fold.patterns + 1,
            });
            (fold.records > 0 || at <= *ends.side(side)).then_some(fold)
        };
        let sides = BeforeAfter::new(fold(Side::Before), fold(Side::After));
        rows.push(Row::Folded { at, sides });
        rows.extend(patterns.into_values().map(Row::Known));
    }
}

/// What changed, neighbours of one pattern told once; in a busy piece every pattern.
fn changed<'a>(side: &[Found<'a>], is_known: &dyn Fn(usize) -> bool) -> Vec<Found<'a>> {
    let mut all: Vec<Found<'a>> = Vec::new();
    for found in side.iter().filter(|f| !is_known(f.pattern)) {
        match all.last_mut() {
            Some(last) if last.pattern == found.pattern => last.count += found.count,
            _ => all.push(*found),
        }
    }
    if all.len() <= ITEMS {
        return all;
    }
    let mut once: Vec<Found<'a>> = Vec::new();
    for found in all {
        match once.iter_mut().find(|f| f.pattern == found.pattern) {
            Some(first) => first.count += found.count,
            None => once.push(found),
        }
    }
    once
}

/// Two short sequences aligned by their patterns.
fn aligned_by_pattern(world: &World<'_>, sides: &BeforeAfter<Vec<Found<'_>>>) -> Vec<Row> {
    let ids = sides
        .as_ref()
        .map(|side| side.iter().map(|f| f.pattern as u64).collect::<Vec<u64>>());
    aligned(&ids, |side, at| sides.side(side)[at].item(world))
}

/// Two short sequences aligned by the ids of their items.
pub(super) fn aligned(ids: &BeforeAfter<Vec<u64>>, item: impl Fn(Side, usize) -> Item) -> Vec<Row> {
    let before = |at| Some(item(Side::Before, at));
    let after = |at| Some(item(Side::After, at));
    align(&ids.before, &ids.after, None)
        .into_iter()
        .map(|row| {
            Row::Aligned(match row {
                align::Row::Same {
                    before: b,
                    after: a,
                }
                | align::Row::Changed {
                    before: b,
                    after: a,
                } => BeforeAfter::new(before(b), after(a)),
                align::Row::Removed(at) => BeforeAfter::new(before(at), None),
                align::Row::Added(at) => BeforeAfter::new(None, after(at)),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
