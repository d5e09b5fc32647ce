use jiff::tz::TimeZone;
use proptest::prelude::*;
use regex::bytes::Regex;

use crate::domain::log::{LogBlock, LogNoteKind, LogPage};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn reader() -> LineReader {
    LineReader::new(&NOW.to_zoned(TimeZone::UTC))
}

fn second(n: i64) -> Timestamp {
    Timestamp::from_second(n).unwrap()
}

/// A block of lines, each with its second.
fn block(lines: &[(i64, &str)]) -> LogBlock {
    let mut block = LogBlock::default();
    for (at, text) in lines {
        block.push(Some(second(*at)), Stream::Stdout, text.as_bytes(), 0);
    }
    block
}

fn note(detail: &str, at: i64) -> LogNote {
    LogNote {
        kind: LogNoteKind::Recreated,
        service: ServiceId::local("shop", "api"),
        from: None,
        to: Some(second(at)),
        lines: None,
        detail: SafeText::from_text(detail),
    }
}

/// Text that packing makes no smaller.
fn noise(seed: i64, length: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 94) as u8)
    };
    (0..length).map(|_| next()).collect()
}

fn finder(generation: u32, text: &str) -> Finder {
    Finder::new(generation, Regex::new(text).unwrap())
}

fn texts(rings: &Rings) -> Vec<String> {
    let keys = std::iter::successors(rings.first(), |key| rings.next(*key));
    keys.map(|key| text(rings, key)).collect()
}

fn text(rings: &Rings, key: Key) -> String {
    let line = rings.line(key).unwrap();
    match line.note {
        Some(note) => format!("-- {}", note.detail),
        None => String::from_utf8_lossy(line.bytes).into_owned(),
    }
}

#[test]
fn a_seam_stands_between_its_lines() {
    let mut reader = reader();
    let mut rings = Rings::new(1 << 20);
    rings.add(0);
    rings.push(0, reader.read(block(&[(1, "a"), (2, "b")]), NOW));
    let seam = reader.note(note("1.4 → 1.5", 3));
    rings.ring_mut(0).unwrap().push_note(seam);
    rings.push(0, reader.read(block(&[(4, "c")]), NOW));
    assert_eq!(texts(&rings), ["a", "b", "-- 1.4 → 1.5", "c"]);
    let ring = rings.ring(0).unwrap();
    assert_eq!((ring.received(), ring.held()), (3, 3));
    rings.search(Some(finder(1, "^c$")));
    assert!(!rings.look(None, 1 << 20));
    assert_eq!(
        text(&rings, rings.next_match(Key::FIRST, true).unwrap()),
        "c"
    );
}

#[test]
fn what_is_late_within_a_block_is_put_in_its_place_and_what_is_later_is_counted() {
    let mut reader = reader();
    let mut rings = Rings::new(1 << 20);
    rings.add(0);
    rings.push(
        0,
        reader.read(block(&[(1, "a"), (3, "c"), (2, "b"), (4, "d")]), NOW),
    );
    rings.push(0, reader.read(block(&[(2, "late"), (5, "e")]), NOW));
    assert_eq!(texts(&rings), ["a", "b", "c", "d", "late", "e"]);
    assert_eq!(rings.ring(0).unwrap().late(), 1);
    let late = rings.iter().next().unwrap();
    let keys: Vec<Key> = std::iter::successors(rings.first(), |k| rings.next(*k)).collect();
    assert!(late.line(keys[4].number).unwrap().is_late);
}

#[test]
fn a_match_over_a_line_break_is_none() {
    let mut reader = reader();
    let mut rings = Rings::new(1 << 20);
    rings.add(0);
    rings.push(
        0,
        reader.read(block(&[(1, "a"), (2, "b a"), (3, "b")]), NOW),
    );
    for (n, (pattern, wanted)) in [
        ("a\\s+b", vec![]),
        ("b\\s", vec!["b a"]),
        ("a$", vec!["a", "b a"]),
        ("\\Ab", vec!["b a", "b"]),
    ]
    .into_iter()
    .enumerate()
    {
        rings.search(Some(finder(n as u32 + 1, pattern)));
        rings.look(None, 1 << 20);
        let first = rings.next_match(Key::FIRST, true);
        let found: Vec<String> = std::iter::successors(first, |k| rings.next_match(*k, true))
            .map(|k| text(&rings, k))
            .collect();
        assert_eq!(found, wanted, "{pattern}");
    }
}

#[test]
fn old_lines_are_packed_and_reading_all_of_them_does_not_unpack_all_for_good() {
    let mut rings = Rings::new(64 * 1024 * 1024);
    rings.add(0);
    let mut reader = reader();
    let line = |n: i64| format!("GET /items/{n} completed in 0.{}s status=200", n % 90 + 10);
    let count = 300_000;
    for from in (0..count).step_by(500) {
        let lines: Vec<String> = (from..from + 500).map(line).collect();
        let lines: Vec<(i64, &str)> = lines.iter().map(|t| (from, t.as_str())).collect();
        rings.push(0, reader.read(block(&lines), NOW));
    }
    assert_eq!(rings.ring(0).unwrap().held(), count as u64);
    let text: usize = (0..count).map(|n| line(n).len() + 1).sum();
    let rows = count as usize * size_of::<Row>();
    let unpacked = |rings: &Rings| -> usize {
        rings.rings[0]
            .chunks
            .iter()
            .map(|c| c.text.unpacked())
            .sum()
    };
    assert!(
        rings.size() < rows + text / 3,
        "{} of {}",
        rings.size(),
        rows + text
    );
    rings.search(Some(finder(1, "/items/2999 ")));
    while rings.look(None, 1 << 20) {}
    assert_eq!(rings.totals(0, None, 0).found, 1);
    assert_eq!(unpacked(&rings), 0, "a search leaves nothing behind");
    for (n, key) in std::iter::successors(rings.first(), |k| rings.next(*k)).enumerate() {
        assert_eq!(rings.line(key).unwrap().bytes, line(n as i64).as_bytes());
    }
    assert_eq!(
        unpacked(&rings),
        text - rings.rings[0]
            .chunks
            .iter()
            .rev()
            .take(NEW_BLOCKS)
            .map(|c| c.text.len())
            .sum::<usize>()
    );
    rings.pin(None);
    assert_eq!(unpacked(&rings), 0);
}

#[test]
fn lines_that_were_dropped_are_read_again_where_they_were() {
    let mut rings = Rings::new(40_000);
    rings.add(0);
    let mut reader = reader();
    let line = |n: i64| format!("line {n} {}", noise(n, 2000));
    for n in 0..60 {
        // Blocks of their own: a joined one is dropped as a whole.
        let text = line(n) + &"y".repeat(1000);
        rings.push(0, reader.read(block(&[(n, &text), (n, &line(n))]), NOW));
    }
    let first = rings.first().unwrap();
    assert!(matches!(
        rings.ring(0).unwrap().first_gap(),
        Gap::Dropped(_) | Gap::Unread
    ));
    let oldest = rings.line(first).unwrap().at.unwrap().as_second();
    assert!(oldest > 10, "{oldest}");
    // The source is asked for what lies before the oldest line; it gives some, in one block.
    let wanted: Vec<String> = (oldest - 3..oldest).map(line).collect();
    let lines: Vec<(i64, &str)> = wanted
        .iter()
        .enumerate()
        .map(|(n, t)| (oldest - 3 + n as i64, t.as_str()))
        .collect();
    let page = LogPage {
        blocks: vec![block(&lines)],
        is_edge: false,
    };
    let page = PreparedPage::read(page, None, &NOW.to_zoned(TimeZone::UTC));
    rings.pin(Some(first));
    let put = rings.ring_mut(0).unwrap().insert(page, first.number, true);
    assert_eq!(put, 3);
    assert_eq!(&texts(&rings)[..3], &wanted[..]);
    assert_eq!(rings.line(first).unwrap().gap, Gap::None);
    rings.settle();
    assert_eq!(text(&rings, rings.previous(first).unwrap()), wanted[2]);
    // Nothing is missing beside it any more: more of the same is left out.
    let again = LogPage {
        blocks: vec![block(&lines)],
        is_edge: false,
    };
    let again = PreparedPage::read(again, None, &NOW.to_zoned(TimeZone::UTC));
    assert_eq!(
        rings.ring_mut(0).unwrap().insert(again, first.number, true),
        0
    );
}

#[test]
fn a_page_of_a_file_meets_what_is_held() {
    let position = LogPosition {
        path: "/x.log".into(),
        inode: 1,
        offset: 0,
    };
    let mut reader = reader();
    let mut rings = Rings::new(1 << 20);
    rings.add(0);
    let file = reader.open(LogPosition {
        offset: 40,
        ..position
    });
    rings.ring_mut(0).unwrap().opened(file.clone());
    let at = |places: &[u64]| {
        let mut block = LogBlock::default();
        for place in places {
            block.push_at(
                *place,
                None,
                Stream::Stdout,
                format!("at {place}").as_bytes(),
                0,
            );
        }
        block
    };
    rings.push(0, reader.read(at(&[40, 50]), second(100)));
    let border = rings.first().unwrap();
    let asked = rings.ring(0).unwrap().border(border.number, 0);
    let offset = |b: Option<PageBorder>| match b {
        Some(PageBorder::Place(p)) => p.offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(offset(asked), 40);
    let page = |places: &[u64], is_edge| {
        let page = LogPage {
            blocks: vec![at(places)],
            is_edge,
        };
        PreparedPage::read(page, file.as_ref(), &NOW.to_zoned(TimeZone::UTC))
    };
    // Far away, as around a match; then what lies between, with lines that are held at both ends.
    let ring = rings.ring_mut(0).unwrap();
    ring.insert_apart(page(&[0, 10], false));
    assert_eq!(
        ring.insert(page(&[10, 20, 30], false), border.number, true),
        2
    );
    assert_eq!(
        texts(&rings),
        ["at 0", "at 10", "at 20", "at 30", "at 40", "at 50"]
    );
    assert_eq!(
        rings.gap_above(border, 10),
        Some((rings.first().unwrap(), Gap::Unread))
    );
    let first = rings.first().unwrap();
    rings
        .ring_mut(0)
        .unwrap()
        .insert(page(&[], true), first.number, true);
    assert_eq!(rings.gap_above(border, 10), None);
}

#[test]
fn the_source_that_holds_most_gives_way() {
    let mut rings = Rings::new(60_000);
    rings.add(0);
    rings.add(1);
    let (mut quiet, mut loud) = (reader(), reader());
    rings.push(0, quiet.read(block(&[(0, "quiet")]), NOW));
    for n in 0..2000 {
        rings.push(1, loud.read(block(&[(n, &"loud ".repeat(50))]), NOW));
    }
    assert_eq!(rings.ring(0).unwrap().held(), 1);
    assert!(rings.size() <= 60_000 + 70_000, "{}", rings.size());
    assert_eq!(texts(&rings)[0], "quiet");
}

/// What one source gives, step by step.
#[derive(Debug, Clone)]
enum Given {
    /// Lines: their seconds since the last one, and lengths.
    Lines(Vec<(i64, usize)>),
    Seam,
}

fn given() -> impl Strategy<Value = Vec<(bool, Given)>> {
    let lines = proptest::collection::vec((-2i64..4, 0usize..3000), 0..30);
    let step = prop_oneof![8 => lines.prop_map(Given::Lines), 1 => Just(Given::Seam)];
    proptest::collection::vec((any::<bool>(), step), 1..40)
}

proptest! {
    /// Two rings against the simplest thing that could be right: lists of all lines ever, sorted.
    #[test]
    fn a_walk_sees_every_held_line_once_in_order_both_ways(bound in 5_000usize..300_000, steps in given()) {
        let mut rings = Rings::new(bound);
        let mut readers = [reader(), reader()];
        let mut seconds = [0i64; 2];
        let mut counts = [0u64; 2];
        let mut largest = [0usize; 2];
        for source in 0..2 {
            rings.add(source);
        }
        rings.search(Some(finder(1, "ERROR")));
        for (is_second, step) in steps {
            let source = usize::from(is_second);
            match step {
                Given::Lines(lines) => {
                    let mut block = LogBlock::default();
                    for (by, length) in lines {
                        seconds[source] += by;
                        counts[source] += 1;
                        let head = if length % 5 == 0 { "ERROR" } else { "ok" };
                        let text = format!("{head} {source}.{} {}", counts[source], "x".repeat(length));
                        block.push(Some(second(seconds[source])), Stream::Stdout, text.as_bytes(), 0);
                    }
                    largest[source] = largest[source].max(block.bytes.len() + block.lines.len() * 40);
                    let block = readers[source].read(block, NOW);
                    rings.push(source as u32, block);
                }
                Given::Seam => {
                    let seam = readers[source].note(note("seam", seconds[source]));
                    rings.ring_mut(source as u32).unwrap().push_note(seam);
                    rings.settle();
                }
            }
            // The newest block of a source is joined from small ones, and may itself be larger than the bound.
            let slack: usize = largest.iter().map(|l| l + 8 * JOIN_BELOW).sum();
            prop_assert!(rings.size() <= bound + slack, "{} of {bound}", rings.size());
            let chunks = rings.iter().flat_map(|ring| &ring.chunks);
            prop_assert_eq!(rings.size(), chunks.map(Chunk::size).sum::<usize>());
        }
        while rings.look(None, 1000) {}
        let forward: Vec<Key> = std::iter::successors(rings.first(), |k| rings.next(*k)).collect();
        prop_assert!(forward.is_sorted());
        let mut backward: Vec<Key> = std::iter::successors(rings.last(), |k| rings.previous(*k)).collect();
        backward.reverse();
        prop_assert_eq!(&forward, &backward);
        for source in 0..2u32 {
            let own: Vec<u64> = forward.iter().filter(|k| k.source == source).map(|k| k.number).collect();
            prop_assert!(own.is_sorted());
            let ring = rings.ring(source).unwrap();
            let lines = own.iter().filter(|n| ring.line(**n).unwrap().note.is_none()).count() as u64;
            prop_assert_eq!(lines, ring.held());
            prop_assert_eq!(ring.received(), counts[source as usize]);
            if ring.late() == 0 {
                // A seam has the time of this machine's clock.
                let lines = own.iter().filter_map(|n| ring.line(*n)).filter(|l| l.note.is_none());
                let times: Vec<_> = lines.filter_map(|l| l.at).collect();
                prop_assert!(times.is_sorted());
            }
        }
        let errors: Vec<Key> = forward.iter().copied()
            .filter(|k| rings.line(*k).unwrap().bytes.starts_with(b"ERROR")).collect();
        let first = rings.next_match(Key::FIRST, true);
        let found: Vec<Key> = std::iter::successors(first, |k| rings.next_match(*k, true)).collect();
        prop_assert_eq!(&found, &errors);
        let last = rings.next_match(Key::LAST, false);
        let mut found: Vec<Key> = std::iter::successors(last, |k| rings.next_match(*k, false)).collect();
        found.reverse();
        prop_assert_eq!(&found, &errors);
        let total: u64 = (0..2).map(|s| rings.totals(s, None, 0).found).sum();
        prop_assert_eq!(total, errors.len() as u64);
    }

    /// Whatever the filter and the lines around it: what is shown is what a look at every line would show.
    #[test]
    fn a_filter_shows_what_a_look_at_every_line_would(
        lines in proptest::collection::vec((0usize..4, 0usize..200), 0..120),
        pushes in 1usize..9, before in 0usize..3, after in 0usize..3,
    ) {
        let mut rings = Rings::new(1 << 20);
        rings.add(0);
        let mut reader = reader();
        let all: Vec<String> = lines.iter().enumerate().map(|(n, (kind, length))| match kind {
            0 => format!("hit {n} {}", "x".repeat(*length)),
            1 => format!("bad hit {n}"),
            _ => format!("other {n} {}", "x".repeat(*length)),
        }).collect();
        let sieve = Sieve {
            include: vec![Regex::new("hit").unwrap()],
            exclude: vec![Regex::new("bad").unwrap()],
            before, after,
            ..Sieve::default()
        };
        rings.set_sieve(sieve);
        for part in all.chunks(all.len().div_ceil(pushes).max(1)) {
            let lines: Vec<(i64, &str)> = part.iter().map(|t| (1, t.as_str())).collect();
            rings.push(0, reader.read(block(&lines), NOW));
            rings.look(None, 1 << 20);
        }
        let is_kept: Vec<bool> = all.iter().map(|t| t.starts_with("hit")).collect();
        let wanted: Vec<String> = all.iter().enumerate().filter(|(n, _)| {
            let from = n.saturating_sub(after);
            let to = (n + before + 1).min(all.len());
            is_kept[from..to].contains(&true)
        }).map(|(_, t)| t.clone()).collect();
        prop_assert_eq!(texts(&rings), wanted);
    }
}
