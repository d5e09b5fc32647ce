//! Two sides beside each other: rows of equal and different things, and words inside one pair of rows.
//!
//! A diff of a million lines takes seconds and says little; only short ordered scopes come here (start-up, one
//! request, a file), cut into chunks, with a deadline after which the rest is told as replaced.

use std::time::Instant;

use similar::{Algorithm, ChangeTag, DiffOp, TextDiff, capture_diff_slices_deadline};

/// Longer sequences are aligned chunk by chunk.
const CHUNK: usize = 4096;

/// One row: what stands on either side, by its place in the sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The same on both sides.
    Same {
        /// Its place before.
        before: usize,
        /// Its place after.
        after: usize,
    },
    /// Only before.
    Removed(usize),
    /// Only after.
    Added(usize),
    /// Different things in the same place.
    Changed {
        /// The place before.
        before: usize,
        /// The place after.
        after: usize,
    },
}

/// Aligns two sequences of ids. Each element of both sides comes in exactly one row, in order; what is not reached by
/// the deadline is told as changed.
pub fn align(before: &[u64], after: &[u64], deadline: Option<Instant>) -> Vec<Row> {
    let mut rows = Vec::with_capacity(before.len().max(after.len()));
    let (mut b, mut a) = (0, 0);
    while b < before.len() || a < after.len() {
        let (b_end, a_end) = cut(before, after, b, a);
        let ops = capture_diff_slices_deadline(
            Algorithm::Patience,
            &before[b..b_end],
            &after[a..a_end],
            deadline,
        );
        for op in ops {
            push(&op, b, a, &mut rows);
        }
        (b, a) = (b_end, a_end);
    }
    rows
}

/// Ends a chunk where an element stands on both sides, so that the cut falls on an anchor.
fn cut(before: &[u64], after: &[u64], b: usize, a: usize) -> (usize, usize) {
    if before.len() - b <= CHUNK && after.len() - a <= CHUNK {
        return (before.len(), after.len());
    }
    let (b_max, a_max) = ((b + CHUNK).min(before.len()), (a + CHUNK).min(after.len()));
    let places: std::collections::HashMap<u64, usize> =
        (a + CHUNK / 2..a_max).map(|at| (after[at], at)).collect();
    let half = b + (b_max - b) / 2;
    (half..b_max)
        .rev()
        .find_map(|at| places.get(&before[at]).map(|found| (at, *found)))
        .filter(|(x, y)| *x > b || *y > a)
        .unwrap_or((b_max, a_max))
}

fn push(op: &DiffOp, b: usize, a: usize, rows: &mut Vec<Row>) {
    match *op {
        DiffOp::Equal {
            old_index,
            new_index,
            len,
        } => rows.extend((0..len).map(|i| Row::Same {
            before: b + old_index + i,
            after: a + new_index + i,
        })),
        DiffOp::Delete {
            old_index, old_len, ..
        } => rows.extend((0..old_len).map(|i| Row::Removed(b + old_index + i))),
        DiffOp::Insert {
            new_index, new_len, ..
        } => rows.extend((0..new_len).map(|i| Row::Added(a + new_index + i))),
        DiffOp::Replace {
            old_index,
            old_len,
            new_index,
            new_len,
        } => {
            let both = old_len.min(new_len);
            rows.extend((0..both).map(|i| Row::Changed {
                before: b + old_index + i,
                after: a + new_index + i,
            }));
            rows.extend((both..old_len).map(|i| Row::Removed(b + old_index + i)));
            rows.extend((both..new_len).map(|i| Row::Added(a + new_index + i)));
        }
    }
}

/// A piece of a line and whether it differs from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether the other side has something else here.
    pub is_different: bool,
}

/// The words of one pair of rows: for each side its pieces. About 16 µs a pair, so only for rows on screen.
pub fn words(before: &str, after: &str) -> (Vec<Piece>, Vec<Piece>) {
    let diff = TextDiff::from_unicode_words(before, after);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let add = |to: &mut Vec<Piece>, text: &str, is_different: bool| match to.last_mut() {
        Some(last) if last.is_different == is_different => last.text.push_str(text),
        _ => to.push(Piece {
            text: text.to_owned(),
            is_different,
        }),
    };
    for change in diff.iter_all_changes() {
        let text = change.value();
        match change.tag() {
            ChangeTag::Equal => {
                add(&mut left, text, false);
                add(&mut right, text, false);
            }
            ChangeTag::Delete => add(&mut left, text, true),
            ChangeTag::Insert => add(&mut right, text, true),
        }
    }
    (left, right)
}

/// A line of a file that changed: its number and text on either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineChange {
    /// The line before; `None` where it is added.
    pub before: Option<(usize, String)>,
    /// The line after; `None` where it is removed.
    pub after: Option<(usize, String)>,
}

/// The lines in which two texts differ, numbers from 1. Line endings alone are no difference.
pub fn line_changes(before: &str, after: &str, deadline: Option<Instant>) -> Vec<LineChange> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let line = |lines: &[&str], at: usize| (at + 1, lines[at].to_owned());
    let mut rows = Vec::new();
    for op in capture_diff_slices_deadline(Algorithm::Patience, &old, &new, deadline) {
        push(&op, 0, 0, &mut rows);
    }
    rows.into_iter()
        .filter_map(|row| match row {
            Row::Same { .. } => None,
            Row::Removed(b) => Some(LineChange {
                before: Some(line(&old, b)),
                after: None,
            }),
            Row::Added(a) => Some(LineChange {
                before: None,
                after: Some(line(&new, a)),
            }),
            Row::Changed { before, after } => Some(LineChange {
                before: Some(line(&old, before)),
                after: Some(line(&new, after)),
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_that_differ_are_marked() {
        let (left, right) = words("took 12 ms for user", "took 340 ms for user");
        let marked = |pieces: &[Piece]| -> Vec<String> {
            pieces
                .iter()
                .filter(|p| p.is_different)
                .map(|p| p.text.clone())
                .collect()
        };
        assert_eq!(
            (marked(&left), marked(&right)),
            (vec!["12".to_owned()], vec!["340".to_owned()])
        );
        let whole: String = right.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(whole, "took 340 ms for user");
    }

    #[test]
    fn changed_lines_have_their_numbers() {
        let changes = line_changes("a\nb\nc\n", "a\nB\nc\nd\n", None);
        assert_eq!(
            changes,
            [
                LineChange {
                    before: Some((2, "b".into())),
                    after: Some((2, "B".into()))
                },
                LineChange {
                    before: None,
                    after: Some((4, "d".into()))
                }
            ]
        );
        assert!(line_changes("a\r\nb", "a\nb\n", None).is_empty());
    }

    proptest! {
        #[test]
        fn every_element_has_one_row(
            before in proptest::collection::vec(0u64..6, 0..300),
            after in proptest::collection::vec(0u64..6, 0..300),
        ) {
            let rows = align(&before, &after, None);
            let (mut b, mut a) = (0, 0);
            for row in rows {
                match row {
                    Row::Same { before: x, after: y } => {
                        prop_assert_eq!((x, y), (b, a));
                        prop_assert_eq!(before[x], after[y]);
                        b += 1;
                        a += 1;
                    }
                    Row::Changed { before: x, after: y } => {
                        prop_assert_eq!((x, y), (b, a));
                        b += 1;
                        a += 1;
                    }
                    Row::Removed(x) => { prop_assert_eq!(x, b); b += 1; }
                    Row::Added(y) => { prop_assert_eq!(y, a); a += 1; }
                }
            }
            prop_assert_eq!((b, a), (before.len(), after.len()));
        }
    }

    #[test]
    fn long_sequences_are_cut_into_chunks() {
        let before: Vec<u64> = (0..20_000).collect();
        let mut after = before.clone();
        after.insert(9_000, 1_000_000);
        let rows = align(&before, &after, None);
        assert_eq!(
            rows.iter().filter(|r| matches!(r, Row::Added(_))).count(),
            1
        );
        assert_eq!(rows.len(), 20_001);
    }
}
