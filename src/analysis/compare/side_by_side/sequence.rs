//! How a service began, before and after: its first records, or those of its last start.

use std::collections::BTreeSet;

use super::{Found, World, push_aligned};
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::side_by_side::{Of, Sequence};

/// So many records of each side are shown.
const RECORDS: usize = 200;
/// Only so many services have a sequence.
const SERVICES: usize = 32;
/// What a service says when it starts is said among so many records …
const OPENING: usize = 64;
/// … and no more than so often on a side.
const SELDOM: u64 = 8;

/// The sequence of every service that wrote something.
pub(super) fn find(
    world: &World<'_>,
    sides: &BeforeAfter<Vec<Found<'_>>>,
    services: usize,
) -> Vec<Sequence> {
    (0..services)
        .filter_map(|service| of_service(world, sides, service))
        .take(SERVICES)
        .collect()
}

fn of_service(
    world: &World<'_>,
    sides: &BeforeAfter<Vec<Found<'_>>>,
    service: usize,
) -> Option<Sequence> {
    let own = sides.as_ref().map(|side| -> Vec<Found<'_>> {
        side.iter()
            .filter(|f| f.service == service)
            .copied()
            .collect()
    });
    if own.before.is_empty() && own.after.is_empty() {
        return None;
    }
    let start = last_start(&own);
    let shown = BeforeAfter::new(from(&own.before, start.unwrap_or(0)), from(&own.after, 0));
    let mut rows = Vec::new();
    push_aligned(world, &shown, &mut rows);
    Some(Sequence {
        of: match start {
            Some(_) => Of::StartUp(service),
            None => Of::Beginning(service),
        },
        rows,
    })
}

/// Records from a place on, that place being 0.
fn from<'a>(side: &[Found<'a>], start: usize) -> Vec<Found<'a>> {
    let first = side.get(start).map_or(0, |f| f.at);
    side.iter()
        .skip(start)
        .take(RECORDS)
        .map(|f| Found {
            at: f.at.saturating_sub(first),
            ..*f
        })
        .collect()
}

/// Where the service last started on the side before: where most of what it seldom says and says first on the side after
/// stands together. `None` where there is no such place.
fn last_start(sides: &BeforeAfter<Vec<Found<'_>>>) -> Option<usize> {
    let count = |side: Side, pattern: usize| -> u64 {
        let same = sides.side(side).iter().filter(|f| f.pattern == pattern);
        same.map(|f| f.count).sum()
    };
    let opening: BTreeSet<usize> = sides
        .after
        .iter()
        .take(OPENING)
        .map(|f| f.pattern)
        .collect();
    let signs: BTreeSet<usize> = opening
        .into_iter()
        .filter(|p| {
            (1..=SELDOM).contains(&count(Side::Before, *p)) && count(Side::After, *p) <= SELDOM
        })
        .collect();
    if signs.len() < 2 {
        return None;
    }
    let places: Vec<usize> = (0..sides.before.len())
        .filter(|at| signs.contains(&sides.before[*at].pattern))
        .collect();
    // How many different signs stand together from each place on.
    let together: Vec<usize> = places
        .iter()
        .map(|first| {
            let near = places
                .iter()
                .filter(|at| (*first..*first + OPENING).contains(*at))
                .map(|at| sides.before[*at].pattern);
            near.collect::<BTreeSet<usize>>().len()
        })
        .collect();
    let most = together.iter().copied().max().unwrap_or(0);
    let last = together.iter().rposition(|n| *n == most)?;
    (most >= 2 && most * 2 > signs.len()).then(|| places[last])
}
