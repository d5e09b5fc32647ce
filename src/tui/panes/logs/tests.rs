use crate::domain::log::{LogBlock, Stream};
use crate::store::ring::{LineReader, Sieve};
use crate::tui::fixtures::{id, redactor, service};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A source that gives lines.
struct Source {
    slot: u32,
    reader: LineReader,
    second: i64,
}

impl Source {
    fn lines(&mut self, texts: &[&str]) -> Vec<LogPiece> {
        let mut block = LogBlock::default();
        for text in texts {
            let at = Timestamp::from_second(self.second).unwrap();
            block.push(Some(at), Stream::Stdout, text.as_bytes(), 0);
            self.second += 1;
        }
        vec![LogPiece::Block(self.reader.read(block, NOW))]
    }
}

fn pane_of(bytes: usize, names: &[&str]) -> (LogsPane, Vec<Source>) {
    let mut pane = LogsPane::new(bytes, Secrets::new(redactor(&[])));
    let services: Vec<_> = names
        .iter()
        .map(|name| service("shop", name, "1", 0))
        .collect();
    let (opened, _) = pane.choose(&services);
    let sources = opened
        .into_iter()
        .map(|(slot, _)| Source {
            slot,
            reader: LineReader::new(&NOW.to_zoned(jiff::tz::TimeZone::UTC)),
            second: 0,
        })
        .collect();
    (pane, sources)
}

fn pane() -> (LogsPane, Source) {
    let (pane, mut sources) = pane_of(1 << 20, &["api"]);
    (pane, sources.remove(0))
}

fn push(pane: &mut LogsPane, source: &mut Source, texts: &[&str]) {
    let pieces = source.lines(texts);
    pane.push(source.slot, pieces, NOW);
}

fn under_cursor(pane: &LogsPane) -> String {
    pane.line_under_cursor().unwrap().to_string()
}

/// Every line that is shown, from the first to the last.
fn shown(pane: &LogsPane) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = pane.rings.first();
    while let Some(key) = next {
        all.push(pane.text(key).map_or("--".to_owned(), |t| t.to_string()));
        next = pane.rings.next(key);
    }
    all
}

#[test]
fn it_follows_until_the_cursor_moves_and_again_on_demand() {
    let (mut pane, mut api) = pane();
    push(&mut pane, &mut api, &["a", "b", "c"]);
    assert_eq!(under_cursor(&pane), "c");
    pane.step(-1, 10);
    push(&mut pane, &mut api, &["d"]);
    assert_eq!(under_cursor(&pane), "b");
    assert!(!pane.is_following);
    pane.follow();
    assert_eq!(under_cursor(&pane), "d");
}

#[test]
fn e_from_the_followed_end_goes_to_the_last_error() {
    let (mut pane, mut api) = pane();
    push(
        &mut pane,
        &mut api,
        &["ERROR one", "INFO a", "ERROR two", "INFO b"],
    );
    assert!(pane.go_to_level(Level::Error, true, 10));
    assert_eq!(under_cursor(&pane), "ERROR two");
    assert!(pane.go_to_level(Level::Error, false, 10));
    assert_eq!(under_cursor(&pane), "ERROR one");
    assert!(!pane.go_to_level(Level::Error, false, 10));
    assert!(pane.go_to_level(Level::Error, true, 10));
    assert_eq!(under_cursor(&pane), "ERROR two");
}

#[test]
fn two_services_are_one_log_in_the_order_of_time() {
    let (mut pane, mut sources) = pane_of(1 << 20, &["api", "worker"]);
    let (api, worker) = sources.split_at_mut(1);
    push(&mut pane, &mut api[0], &["a0", "a1", "a2"]);
    worker[0].second = 1;
    push(&mut pane, &mut worker[0], &["w1", "w2", "w3"]);
    assert_eq!(shown(&pane), ["a0", "a1", "w1", "a2", "w2", "w3"]);
    // One of them is not wanted any more: what the other gave stays.
    let kept = pane.sources[0].service.clone();
    let (opened, closed) = pane.choose(&[kept]);
    assert_eq!((opened.len(), closed.len()), (0, 1));
    assert_eq!(shown(&pane), ["a0", "a1", "a2"]);
}

#[test]
fn a_trace_is_one_row_until_it_is_opened() {
    let (mut pane, mut api) = pane();
    let lines = [
        "ERROR failed",
        "Traceback (most recent call last):",
        "  File \"x.py\", line 3, in f",
        "INFO on",
    ];
    push(&mut pane, &mut api, &lines);
    assert_eq!(shown(&pane), ["ERROR failed", "INFO on"]);
    let head = pane.rings.first().unwrap();
    pane.rings.toggle_fold(head);
    assert_eq!(shown(&pane), lines);
    pane.rings.toggle_fold(head);
    // A match inside of it opens it.
    pane.set_search(Some("line 3"));
    pane.look_on();
    let hit = pane.rings.next_match(head, true).unwrap();
    pane.go_to(hit, 10);
    assert_eq!(under_cursor(&pane), lines[2]);
}

#[test]
fn a_filter_keeps_whole_records_and_the_lines_around_them() {
    let (mut pane, mut api) = pane();
    push(
        &mut pane,
        &mut api,
        &["a", "b", "timeout 1", "c", "d", "timeout 2", "e"],
    );
    let mut sieve = Sieve {
        include: vec![pattern("timeout").0],
        ..Sieve::default()
    };
    pane.set_sieve(sieve.clone());
    pane.look_on();
    assert_eq!(shown(&pane), ["timeout 1", "timeout 2"]);
    assert_eq!(under_cursor(&pane), "timeout 2");
    sieve.before = 1;
    sieve.exclude = vec![pattern("timeout 2").0];
    pane.set_sieve(sieve);
    pane.look_on();
    assert_eq!(shown(&pane), ["b", "timeout 1"]);
    // What comes is sieved as well.
    push(&mut pane, &mut api, &["x", "timeout 3"]);
    pane.look_on();
    assert_eq!(shown(&pane), ["b", "timeout 1", "x", "timeout 3"]);
}

#[test]
fn a_paused_view_stays_whatever_is_dropped() {
    let (mut pane, mut sources) = pane_of(200_000, &["api"]);
    let api = &mut sources[0];
    let lines: Vec<String> = (0..1000)
        .map(|n| format!("line {n} {}", "x".repeat(80)))
        .collect();
    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
    push(&mut pane, api, &texts);
    pane.step(-20, 10);
    let before = under_cursor(&pane);
    let around = |pane: &LogsPane| {
        let cursor = pane.cursor.unwrap();
        let above = pane.rings.previous(cursor).and_then(|k| pane.text(k));
        let below = pane.rings.next(cursor).and_then(|k| pane.text(k));
        (above, below)
    };
    let neighbours = around(&pane);
    for _ in 0..20 {
        push(&mut pane, api, &texts);
    }
    assert_eq!(under_cursor(&pane), before);
    assert_eq!(around(&pane), neighbours);
    let (held, received) = pane.counts();
    assert!(
        held < received && pane.rings.size() <= 400_000,
        "{held} of {received}, {}",
        pane.rings.size()
    );
}

#[test]
fn the_rate_falls_to_nothing_when_nothing_comes() {
    let (mut pane, mut api) = pane();
    push(&mut pane, &mut api, &["a"; 50]);
    assert_eq!(pane.rate(NOW), 5);
    let later = NOW + Duration::from_secs(11);
    assert_eq!(pane.rate(later), 0);
    assert!(!pane.is_busy(later));
    // Silence is told after a while, in seconds at first; the newest of the lines is of second 49.
    assert!(pane.is_busy(NOW + Duration::from_secs(90)));
    assert!(!pane.is_busy(NOW + Duration::from_secs(3600)));
}

#[test]
fn marks_are_gone_through_in_the_order_of_the_log() {
    let (mut pane, mut api) = pane();
    push(&mut pane, &mut api, &["a", "b", "c", "d"]);
    let keys: Vec<Key> =
        std::iter::successors(pane.rings.first(), |k| pane.rings.next(*k)).collect();
    assert!(pane.marks.toggle(keys[2]) && pane.marks.toggle(keys[0]));
    assert_eq!(pane.marks.next(keys[0], true), Some(keys[2]));
    assert_eq!(pane.marks.next(keys[3], false), Some(keys[2]));
    assert_eq!(pane.marks.next(keys[2], true), None);
    assert!(!pane.marks.toggle(keys[2]));
    assert_eq!(pane.marks.next(keys[0], true), None);
    assert_eq!(short_name(&id("api"), &pane.sources), "api");
}
