//! Windows, tails and resumed streams.

use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;

use super::position::is_wanted;
use super::source::close_up;
use super::*;
use crate::domain::log::{LogBlock, RawLine, Stream, Window};

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// What an engine gives that keeps `log` and is asked from the position's second on.
fn resume(log: &[i64], seen: usize) -> Vec<i64> {
    let mut position = Position::default();
    for millis in &log[..seen] {
        position.note(at(*millis));
    }
    let from = position.since().unwrap_or(0);
    let mut skip = position.again();
    let mut after = position;
    log.iter()
        .filter(|m| at(**m).as_second() >= from)
        .filter(|m| {
            let line = RawLine {
                start: 0,
                end: 0,
                at: Some(at(**m)),
                stream: Stream::Stdout,
                cut_bytes: 0,
                place: 0,
            };
            is_wanted(&line, &mut skip, Some(&position), &mut after, Window::ALL)
        })
        .copied()
        .collect()
}

#[test]
fn resuming_anywhere_loses_and_doubles_nothing() {
    // Equal times, neighbours out of order, second borders.
    let log = [
        1000, 1000, 1000, 1500, 1400, 1999, 2000, 2000, 1998, 2001, 3000, 5000,
    ];
    for seen in 1..=log.len() {
        assert_eq!(resume(&log, seen), log[seen..], "after {seen} lines");
    }
}

#[test]
fn lines_that_rotated_away_do_not_hide_new_ones() {
    let mut position = Position::default();
    for _ in 0..5 {
        position.note(at(1000));
    }
    let mut skip = position.again();
    let mut after = position;
    let line = RawLine {
        start: 0,
        end: 0,
        at: Some(at(1001)),
        stream: Stream::Stdout,
        cut_bytes: 0,
        place: 0,
    };
    assert!(is_wanted(
        &line,
        &mut skip,
        Some(&position),
        &mut after,
        Window::ALL
    ));
}

#[test]
fn a_block_holds_the_text_of_its_lines_and_nothing_else() {
    let mut block = LogBlock::default();
    for text in ["one", "two", "", "four", "five"] {
        block.push(None, Stream::Stdout, text.as_bytes(), 0);
    }
    for dropped in [3, 1] {
        block.lines.remove(dropped);
    }
    close_up(&mut block, 1);
    assert_eq!(block.bytes, b"one\n\nfive\n");
    assert_eq!(block.text(&block.lines[2]), b"five");
    block.lines.clear();
    close_up(&mut block, 0);
    assert!(block.bytes.is_empty());
}

#[test]
fn the_last_lines_are_kept_across_blocks() {
    let mut last = Last::new(3);
    for chunk in [vec![1, 2], vec![3], vec![4, 5, 6, 7]] {
        let mut block = LogBlock::default();
        for n in chunk {
            block.push(Some(at(n)), Stream::Stdout, n.to_string().as_bytes(), 0);
        }
        last.push(block);
    }
    let texts: Vec<String> = last
        .blocks
        .iter()
        .flat_map(|b| {
            b.iter()
                .map(|(_, t)| String::from_utf8_lossy(t).into_owned())
        })
        .collect();
    assert_eq!(texts, ["5", "6", "7"]);
    assert_eq!(last.seen, 7);
}

#[test]
fn the_engine_is_asked_for_a_little_more_than_the_window() {
    let mut ask = Ask {
        tail: Some(10),
        ..Ask::window(
            &Facts::of(&ContainerInspectResponse::default()),
            Window {
                since: Some(at(1_700)),
                until: Some(at(3_200)),
            },
        )
    };
    let asked = "&since=1.700000000&until=4.200000000&tail=10";
    assert!(ask.path().ends_with(asked), "{}", ask.path());
    let mut position = Position::default();
    position.note(at(2_900));
    ask.resume(Some(position));
    let asked = "&since=1.000000000&until=4.200000000";
    assert!(ask.path().ends_with(asked), "{}", ask.path());
}
