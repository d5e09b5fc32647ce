//! A journal under many writers, torn lines and edits.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::*;
use crate::domain::incident::{IncidentEventKind, JOURNAL_SCHEMA};
use crate::domain::safe_text::SafeText;

fn event(kind: IncidentEventKind) -> IncidentEvent {
    IncidentEvent {
        at: Timestamp::now(),
        by: SafeText::from_text("anna"),
        kind,
    }
}

fn started(title: &str) -> IncidentEvent {
    event(IncidentEventKind::Started {
        schema: SafeText::from_text(JOURNAL_SCHEMA),
        title: SafeText::from_text(title),
        severity: None,
        started_at: Timestamp::now(),
        baseline: None,
    })
}

fn note(text: &str) -> IncidentEvent {
    event(IncidentEventKind::Note {
        text: SafeText::lines(text),
    })
}

fn ended() -> IncidentEvent {
    event(IncidentEventKind::Ended {
        report_sha256: "x".into(),
    })
}

fn store() -> (tempfile::TempDir, IncidentStore) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"));
    (dir, IncidentStore::of(&state))
}

fn notes(journal: &Journal) -> Vec<String> {
    let texts = journal.events.iter().filter_map(|event| match &event.kind {
        IncidentEventKind::Note { text } => text.first().map(ToString::to_string),
        _ => None,
    });
    texts.collect()
}

#[test]
fn one_is_open_at_a_time_unless_another_is_wanted() {
    let (_dir, store) = store();
    assert!(matches!(
        store.find(None),
        Err(IncidentError::NoneOpen { newest: None })
    ));
    let first = store.start("a", &started("one"), false).unwrap();
    assert!(matches!(
        store.start("b", &started("two"), false),
        Err(IncidentError::AlreadyOpen { .. })
    ));
    assert_eq!(store.find(None).unwrap(), first);
    let second = store.start("a", &started("two"), true).unwrap();
    assert_eq!(second.id, "a-2");
    assert!(matches!(
        store.find(None),
        Err(IncidentError::Several { known }) if known.len() == 2
    ));
    store.append("a", &ended(), None).unwrap();
    assert_eq!(store.find(None).unwrap().id, "a-2");
    assert!(!store.find(Some("a")).unwrap().is_open());
    assert!(matches!(
        store.append("a", &note("too late"), None),
        Err(IncidentError::Over { .. })
    ));
    assert!(matches!(
        store.find(Some("../a")),
        Err(IncidentError::Unknown { .. })
    ));
}

#[test]
fn who_read_the_journal_knows_that_nothing_came_between() {
    let (_dir, store) = store();
    store.start("a", &started("one"), false).unwrap();
    let head = store.read("a").unwrap().head;
    let newer = store.append("a", &note("meanwhile"), None).unwrap();
    assert!(matches!(
        store.append("a", &ended(), Some(&head)),
        Err(IncidentError::Moved { .. })
    ));
    store.append("a", &ended(), Some(&newer)).unwrap();
}

#[test]
fn a_torn_line_is_put_aside_by_the_next_writer() {
    let (_dir, store) = store();
    store.start("a", &started("one"), false).unwrap();
    store.append("a", &note("kept"), None).unwrap();
    let path = store.path("a");
    let whole = fs::read(&path).unwrap();
    store.append("a", &note("torn"), None).unwrap();
    let longer = fs::read(&path).unwrap();
    // Wherever the crash cut it, also right before its break.
    for cut in whole.len() + 1..longer.len() {
        fs::write(&path, &longer[..cut]).unwrap();
        let journal = store.read("a").unwrap();
        assert!(journal.torn.is_some() && journal.fault.is_none(), "{cut}");
        assert_eq!(notes(&journal), ["kept"]);
        assert!(store.find(None).is_ok(), "{cut}");
        store.append("a", &note("next"), None).unwrap();
        let journal = store.read("a").unwrap();
        assert_eq!((journal.torn, &journal.fault), (None, &None), "{cut}");
        assert!(matches!(
            &journal.events[2].kind,
            IncidentEventKind::Repaired { lost } if longer[whole.len()..].starts_with(lost.as_str().as_bytes())
        ));
    }
}

#[test]
fn a_long_line_is_found_from_the_end() {
    let (_dir, store) = store();
    store.start("a", &started("one"), false).unwrap();
    let long = "x".repeat(60_000);
    for _ in 0..3 {
        store.append("a", &note(&long), None).unwrap();
    }
    store.append("a", &note("short"), None).unwrap();
    let journal = store.read("a").unwrap();
    assert_eq!((journal.lines, journal.fault), (5, None));
}

/// The whole is 8 x 5,000: `LASTGOOD_TEST_EVENTS=5000 cargo test --lib eight_writers`.
#[test]
fn eight_writers_tear_and_fork_nothing() {
    let each = std::env::var("LASTGOOD_TEST_EVENTS").map_or(100, |text| text.parse().unwrap());
    let (_dir, store) = store();
    store.start("a", &started("one"), false).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..each {
                    let text = format!("{writer}-{number}");
                    store.append("a", &note(&text), None).unwrap();
                }
            });
        }
    });
    let journal = store.read("a").unwrap();
    assert_eq!((journal.fault.clone(), journal.torn.clone()), (None, None));
    let found = notes(&journal);
    assert_eq!(found.len(), 8 * each);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 8 * each);
    for writer in 0..8 {
        let prefix = format!("{writer}-");
        let own: Vec<&str> = found
            .iter()
            .filter_map(|text| text.strip_prefix(&prefix))
            .collect();
        let expected: Vec<String> = (0..each).map(|number| number.to_string()).collect();
        assert_eq!(own, expected, "in the order in which it wrote them");
    }
}

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Changes a journal somewhere. Gives the first line that is not as it was, from 1.
fn edit(bytes: &[u8], dice: &mut Dice) -> (Vec<u8>, u64) {
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let last = lines.len() - 1;
    // The newest lines can be cut off unseen: that is what the head hash in a report is for.
    let (at, other) = (dice.below(last), dice.below(last));
    match dice.below(6) {
        0 => {
            let place = dice.below(lines[at].len());
            lines[at][place] ^= u8::try_from(1 << dice.below(8)).unwrap();
        }
        1 => {
            let place = dice.below(lines[at].len());
            lines[at].remove(place);
        }
        2 => {
            let place = dice.below(lines[at].len());
            lines[at].insert(place, b' ' + u8::try_from(dice.below(90)).unwrap());
        }
        3 => {
            lines.remove(at);
        }
        4 => {
            let copy = lines[at].clone();
            lines.insert(other, copy);
        }
        _ => lines.swap(at, other),
    }
    let edited = lines.concat();
    let common = bytes
        .iter()
        .zip(&edited)
        .take_while(|(a, b)| a == b)
        .count();
    let line = bytes[..common].iter().filter(|b| **b == b'\n').count() as u64 + 1;
    (edited, line)
}

#[test]
fn every_edit_is_found_and_located() {
    let (_dir, store) = store();
    store.start("a", &started("one"), false).unwrap();
    for number in 0..40 {
        store
            .append("a", &note(&format!("number {number}")), None)
            .unwrap();
    }
    let bytes = fs::read(store.path("a")).unwrap();
    let whole = journal::walk(&bytes);
    assert_eq!((whole.fault, whole.lines), (None, 41));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut edits = 0;
    while edits < 1_000 {
        let (edited, line) = edit(&bytes, &mut dice);
        if edited == bytes {
            continue;
        }
        edits += 1;
        let fault = journal::walk(&edited)
            .fault
            .unwrap_or_else(|| panic!("not found: line {line}"));
        // A break that was put into a line, or taken out, is seen at the line or the one that it made.
        assert!(
            fault.line == line || fault.line == line + 1,
            "{line}: {fault}"
        );
    }
}
