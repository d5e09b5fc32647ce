//! How a service began, before and after: its first records, or those of its last start.

use std::collections::{BTreeSet, HashMap};

use super::{Found, TestedRow, World, aligned_by_pattern};
use crate::domain::before_after::BeforeAfter;
use crate::domain::side_by_side::{Of, Sequence};

/// So many records of each side are shown.
const RECORDS: usize = 200;
/// Only so many services have a sequence.
const SERVICES: usize = 32;
/// What a service says when it starts is said among so many records …
const OPENING: usize = 64;
/// … and no more than so often on a side.
const SELDOM: u64 = 8;
/// So many records in front of it may belong to it too.
const LEAD: usize = 16;
/// Words that services say when they start.
const STARTS: [&str; 7] = [
    "start", "boot", "listen", "ready", "initial", "launch", "version",
];

/// The sequence of every service that wrote something.
pub(super) fn find(
    world: &World<'_>,
    sides: &BeforeAfter<Vec<Found<'_>>>,
    tested: &[TestedRow],
    services: usize,
) -> Vec<Sequence> {
    (0..services)
        .filter_map(|service| of_service(world, sides, tested, service))
        .take(SERVICES)
        .collect()
}

fn of_service(
    world: &World<'_>,
    sides: &BeforeAfter<Vec<Found<'_>>>,
    tested: &[TestedRow],
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
    let starts = starts(&own, tested);
    let shown = BeforeAfter::new(
        from(&own.before, starts.map_or(0, |s| s.before)),
        from(&own.after, starts.map_or(0, |s| s.after)),
    );
    Some(Sequence {
        of: match starts {
            Some(_) => Of::StartUp(service),
            None => Of::Beginning(service),
        },
        rows: aligned_by_pattern(world, &shown),
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

/// Where the service last started on each side. `None` where that is not found on both.
fn starts(sides: &BeforeAfter<Vec<Found<'_>>>, rows: &[TestedRow]) -> Option<BeforeAfter<usize>> {
    let counts = sides.as_ref().map(|side| {
        let mut counts: HashMap<usize, u64> = HashMap::new();
        for found in side {
            *counts.entry(found.pattern).or_default() += found.count;
        }
        counts
    });
    let is_seldom = |count: Option<&u64>| count.is_some_and(|n| *n <= SELDOM);
    let seldom: BTreeSet<usize> = (counts.before.iter())
        .filter(|(pattern, n)| is_seldom(Some(n)) && is_seldom(counts.after.get(pattern)))
        .map(|(pattern, _)| *pattern)
        .collect();
    let speaks = |pattern: &usize| {
        let text = rows[*pattern].row.template.as_str().to_lowercase();
        STARTS.iter().any(|word| text.contains(word))
    };
    let speaking: BTreeSet<usize> = seldom.iter().filter(|p| speaks(p)).copied().collect();
    // What is seldom may be anything, so there have to be several, and most of them together.
    let (signs, least) = if speaking.is_empty() {
        (&seldom, (seldom.len() / 2 + 1).max(2))
    } else {
        (&speaking, 1)
    };
    let before = start(&sides.before, signs, least, &seldom)?;
    let after = start(&sides.after, signs, least, &seldom)?;
    Some(BeforeAfter::new(before, after))
}

/// The last place from which on most different signs stand together, at least so many; and what is seldom right before it.
fn start(
    side: &[Found<'_>],
    signs: &BTreeSet<usize>,
    least: usize,
    seldom: &BTreeSet<usize>,
) -> Option<usize> {
    let places: Vec<usize> = (0..side.len())
        .filter(|at| signs.contains(&side[*at].pattern))
        .collect();
    let together: Vec<usize> = (places.iter().enumerate())
        .map(|(n, first)| {
            let near = places[n..].iter().take_while(|at| **at < first + OPENING);
            near.map(|at| side[*at].pattern)
                .collect::<BTreeSet<usize>>()
                .len()
        })
        .collect();
    let most = together.iter().copied().max().filter(|n| *n >= least)?;
    let place = places[together.iter().rposition(|n| *n == most)?];
    let before = place.saturating_sub(LEAD)..place;
    let lead = before
        .into_iter()
        .find(|at| seldom.contains(&side[*at].pattern));
    Some(lead.unwrap_or(place))
}
