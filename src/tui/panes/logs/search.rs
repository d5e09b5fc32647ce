//! A search in the logs: regular expression, small letters find capitals too, counted as lines come and go.

use std::collections::VecDeque;
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::store::ring::Finder;

/// At the start of a pattern: small letters find capitals too.
const IGNORE_CASE: &str = "(?i)";
/// So many places of matches in a file are kept; more are counted.
const MOST_HITS: usize = 1_000_000;

/// Matches in the part of a file that was there when the search began; it is searched in place, from its end.
#[derive(Debug, Default)]
pub struct FileFinds {
    /// Lines from this number on came later: their matches are kept with the lines.
    pub floor: u64,
    /// Numbers of lines that match, ascending: the newest so many.
    hits: VecDeque<u64>,
    /// How many lines match.
    pub total: u64,
    /// How many bytes were looked at, of how many.
    pub looked: (u64, u64),
}

impl FileFinds {
    /// Nothing was found yet in the `length` bytes before the line of number `floor`.
    pub fn new(floor: u64, length: u64) -> Self {
        Self {
            floor,
            looked: (0, length),
            ..Self::default()
        }
    }

    /// Takes matches over: those before what was looked at so far.
    pub fn put(&mut self, numbers: impl DoubleEndedIterator<Item = u64>, bytes: u64) {
        self.looked.0 += bytes;
        for number in numbers.rev() {
            self.total += 1;
            if self.hits.len() < MOST_HITS {
                self.hits.push_front(number);
            }
        }
    }

    /// Whether all of it was looked at.
    pub fn is_complete(&self) -> bool {
        self.looked.0 >= self.looked.1
    }

    /// The first match behind a line, or the last one in front of it.
    pub fn next(&self, from: u64, is_forward: bool) -> Option<u64> {
        if is_forward {
            let at = self.hits.partition_point(|hit| *hit <= from);
            self.hits.get(at).copied()
        } else {
            let at = self.hits.partition_point(|hit| *hit < from);
            at.checked_sub(1).map(|at| self.hits[at])
        }
    }

    /// How many matches stand before a line.
    pub fn before(&self, number: u64) -> u64 {
        let dropped = self.total - self.hits.len() as u64;
        dropped + self.hits.partition_point(|hit| *hit < number) as u64
    }

    /// The numbers of the lines that match.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.hits.iter().copied()
    }
}

/// What is searched for; the lines that match are kept with the lines.
#[derive(Debug)]
pub struct Search {
    /// As it was typed.
    pub text: String,
    /// Finds it.
    pub finder: Finder,
    /// Whether it was no regular expression, so that it is searched for as it is.
    pub is_literal: bool,
}

impl Search {
    /// A search for a regular expression; text that is none is searched for as it is. `generation` is another number
    /// than that of any search before.
    pub fn new(text: &str, generation: u32) -> Self {
        let (pattern, is_literal) = pattern(text);
        Self {
            text: text.to_owned(),
            finder: Finder::new(generation, pattern),
            is_literal,
        }
    }

    /// Where the pattern matches in a text, in bytes.
    pub fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        ranges(self.finder.pattern(), text)
    }
}

/// The pattern that a typed text means, and whether it was no regular expression: small letters find capitals too,
/// text with a capital in it finds only itself.
pub fn pattern(text: &str) -> (Regex, bool) {
    let flags = if text.chars().any(char::is_uppercase) {
        ""
    } else {
        IGNORE_CASE
    };
    let build = |text: &str| {
        RegexBuilder::new(&format!("{flags}{text}"))
            .size_limit(1 << 20)
            .build()
    };
    match build(text) {
        Ok(pattern) => (pattern, false),
        Err(_) => {
            let literal = build(&regex::escape(text));
            let nothing = || Regex::new("$^").expect("a constant pattern");
            (literal.unwrap_or_else(|_| nothing()), true)
        }
    }
}

/// A pattern as it was typed.
pub(super) fn typed(pattern: &Regex) -> &str {
    let text = pattern.as_str();
    text.strip_prefix(IGNORE_CASE).unwrap_or(text)
}

/// Where a pattern matches in a text, in bytes; the first 64.
pub(super) fn ranges(pattern: &Regex, text: &str) -> Vec<Range<usize>> {
    pattern
        .find_iter(text.as_bytes())
        .map(|m| m.range())
        .filter(|r| !r.is_empty() && text.is_char_boundary(r.start) && text.is_char_boundary(r.end))
        .take(64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(text: &str, lines: &[&str]) -> usize {
        let (pattern, _) = pattern(text);
        lines
            .iter()
            .filter(|line| pattern.is_match(line.as_bytes()))
            .count()
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
        assert!(pattern("a(b").1 && !pattern("ab").1);
    }
}
