//! Lines that the engineer marked, to come back to and to tell of.

use std::collections::BTreeMap;

use crate::domain::safe_text::SafeText;
use crate::store::ring::Key;

/// A marked line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// What was said of it; empty for a bare mark.
    pub note: SafeText,
}

/// The marked lines.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    marks: BTreeMap<Key, Mark>,
}

impl Marks {
    /// Marks a line, or takes its mark away. Returns whether it is marked now.
    pub fn toggle(&mut self, key: Key) -> bool {
        if self.marks.remove(&key).is_some() {
            return false;
        }
        self.marks.insert(key, Mark::default());
        true
    }

    /// Says something of a line, which marks it.
    pub fn set_note(&mut self, key: Key, note: SafeText) {
        self.marks.insert(key, Mark { note });
    }

    /// Whether no line is marked.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The mark of a line.
    pub fn get(&self, key: Key) -> Option<&Mark> {
        self.marks.get(&key)
    }

    /// The next mark behind a line, or the one in front of it.
    pub fn next(&self, from: Key, is_forward: bool) -> Option<Key> {
        use std::ops::Bound::{Excluded, Unbounded};
        if is_forward {
            let mut behind = self.marks.range((Excluded(from), Unbounded));
            behind.next().map(|(key, _)| *key)
        } else {
            self.marks.range(..from).next_back().map(|(key, _)| *key)
        }
    }

    /// Another log is shown: its lines have no marks yet.
    pub(super) fn forget_lines(&mut self) {
        self.marks.clear();
    }
}
