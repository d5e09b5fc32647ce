//! A search in the log: regular expression, small letters find capitals too, counted as lines come and go.

use std::collections::VecDeque;

use regex::bytes::{Regex, RegexBuilder};

use crate::store::ring::Ring;

/// Bytes that one step looks at: a few milliseconds.
const STEP: usize = 8 * 1024 * 1024;

/// What is searched for, and the lines that match.
#[derive(Debug)]
pub struct Search {
    /// As it was typed.
    pub text: String,
    pattern: Regex,
    hits: VecDeque<u64>,
    next: u64,
}

impl Search {
    /// A search for a regular expression; text that is none is searched for as it is.
    pub fn new(text: &str) -> Self {
        let is_insensitive = !text.chars().any(char::is_uppercase);
        let build = |text: &str| {
            RegexBuilder::new(text)
                .case_insensitive(is_insensitive)
                .size_limit(1 << 20)
                .build()
        };
        let pattern = build(text)
            .or_else(|_| build(&regex::escape(text)))
            .unwrap_or_else(|_| Regex::new("$^").expect("a constant pattern"));
        Self {
            text: text.to_owned(),
            pattern,
            hits: VecDeque::new(),
            next: 0,
        }
    }

    /// Forgets what was found and begins at a line.
    pub fn restart(&mut self, from: u64) {
        self.hits.clear();
        self.next = from;
    }

    /// Looks at some more lines. Returns whether there is more to look at.
    pub fn go_on(&mut self, ring: &Ring) -> bool {
        let range = ring.range();
        while self.hits.front().is_some_and(|hit| *hit < range.start) {
            self.hits.pop_front();
        }
        let step = ring.search(&self.pattern, self.next, STEP);
        self.hits.extend(step.found);
        self.next = step.next;
        self.next < range.end
    }

    /// How many lines match.
    pub fn count(&self) -> usize {
        self.hits.len()
    }

    /// Which match a line is, from 1.
    pub fn position(&self, number: u64) -> Option<usize> {
        self.hits.binary_search(&number).ok().map(|i| i + 1)
    }

    /// The match after (or before) a line; at the end it goes round.
    pub fn next_hit(&self, from: u64, is_forward: bool) -> Option<u64> {
        if is_forward {
            let at = self.hits.partition_point(|hit| *hit <= from);
            self.hits.get(at).or(self.hits.front()).copied()
        } else {
            let at = self.hits.partition_point(|hit| *hit < from);
            at.checked_sub(1)
                .and_then(|i| self.hits.get(i))
                .or(self.hits.back())
                .copied()
        }
    }

    /// Where the pattern matches in a text, in bytes.
    pub fn ranges(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        self.pattern
            .find_iter(text.as_bytes())
            .map(|m| m.range())
            .filter(|r| {
                !r.is_empty() && text.is_char_boundary(r.start) && text.is_char_boundary(r.end)
            })
            .take(64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::log::{LogBlock, Stream};
    use crate::store::ring::{LineFacts, PreparedBlock};

    use super::*;

    fn ring(texts: &[&str]) -> Ring {
        let mut block = LogBlock::default();
        for text in texts {
            block.push(None, Stream::Stdout, text.as_bytes(), 0);
        }
        let mut ring = Ring::new(1 << 20);
        ring.push(PreparedBlock::new(block, |_| LineFacts::default()));
        ring
    }

    fn hits(text: &str, lines: &[&str]) -> usize {
        let mut search = Search::new(text);
        assert!(!search.go_on(&ring(lines)));
        search.count()
    }

    #[test]
    fn small_letters_find_capitals_and_capitals_only_themselves() {
        assert_eq!(hits("error", &["ERROR", "error"]), 2);
        assert_eq!(hits("ERROR", &["ERROR", "error"]), 1);
        assert_eq!(hits("ошибка", &["Ошибка", "接続エラー"]), 1);
    }

    #[test]
    fn a_broken_expression_is_searched_for_as_it_is() {
        assert_eq!(hits("a(b", &["a(b", "ab"]), 1);
        assert_eq!(hits("status=[45]..", &["status=503", "status=200"]), 1);
    }

    #[test]
    fn n_goes_round() {
        let mut search = Search::new("x");
        search.go_on(&ring(&["x", "a", "x", "b"]));
        assert_eq!(search.next_hit(0, true), Some(2));
        assert_eq!(search.next_hit(2, true), Some(0));
        assert_eq!(search.next_hit(0, false), Some(2));
        assert_eq!(search.position(2), Some(2));
        assert_eq!(search.position(1), None);
    }
}
