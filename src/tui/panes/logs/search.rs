//! A search in the logs: regular expression, small letters find capitals too, counted as lines come and go.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::store::ring::Finder;

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
    let is_insensitive = !text.chars().any(char::is_uppercase);
    let build = |text: &str| {
        RegexBuilder::new(text)
            .case_insensitive(is_insensitive)
            .multi_line(true)
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
