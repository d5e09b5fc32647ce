//! What is found in place against what a look at every line would show.

use jiff::tz::TimeZone;
use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::domain::log::{LogBlock, LogPosition, Stream};
use crate::store::ring::{OpenedFile, Rings};

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
            let pattern = self.rings.sieve().include.first();
            let is_candidate = |n: &usize| {
                pattern.is_none_or(|pattern| pattern.is_match(self.lines[*n].1.as_bytes()))
            };
            let first = (a..b).find(is_candidate);
            let last = (a..b).rfind(is_candidate);
            let candidates = first.zip(last).map_or(0..0, |(first, last)| {
                self.lines[first].0..length(&self.lines[..=last])
            });
            let passage = Passage {
                looked: places,
                candidates,
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
        keys.map(|key| String::from_utf8_lossy(self.rings.line(key).unwrap().bytes).into_owned())
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
