//! Finds the lines of a text that match a regular expression, without looking at every line.
//!
//! A search line by line pays for each line, and nearly all of them hold nothing. So the expression is turned into
//! one that cannot match across a line break and is run over the whole text: what it finds says which line to look
//! at. The answer is that of the expression on each line alone, [`is_match`](LinePattern::is_match).

use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange};
use regex_syntax::hir::{Hir, HirKind, Look};

/// A regular expression that is held against lines.
#[derive(Debug, Clone)]
pub struct LinePattern {
    line: Regex,
    /// The same for a text of many lines; `None` where it could not be made, then each line is looked at.
    text: Option<Regex>,
    /// Whether a line that was found is looked at once more.
    is_doubtful: bool,
}

impl LinePattern {
    /// Prepares an expression. Flags must stand in its text (`(?i)timeout`): those that were given to a builder are
    /// not known here.
    pub fn new(line: &Regex) -> Self {
        let over = over_lines(line.as_str());
        Self {
            line: line.clone(),
            is_doubtful: over.as_ref().is_some_and(|(_, is_doubtful)| *is_doubtful),
            text: over.map(|(text, _)| text),
        }
    }

    /// Whether a line matches, without its line break.
    pub fn is_match(&self, line: &[u8]) -> bool {
        self.line.is_match(line)
    }

    /// Calls `each` with the start of every line of the text that matches, in order. Lines end with `\n` or `\r\n`,
    /// the last one also with the text.
    pub fn find_lines(&self, text: &[u8], mut each: impl FnMut(usize)) {
        let Some(pattern) = &self.text else {
            return self.line_by_line(text, each);
        };
        let mut at = 0;
        while at < text.len() {
            let Some(inside) = pattern.shortest_match_at(text, at) else {
                return;
            };
            let start = memrchr(b'\n', &text[..inside]).map_or(0, |n| n + 1);
            if start == text.len() {
                return;
            }
            let end = memchr(b'\n', &text[inside..]).map_or(text.len(), |n| inside + n);
            let line = &text[start..end];
            // Over the text, `$` also stands before any `\r`, and a class may hold the one of the line break.
            let is_sure = !self.is_doubtful && memchr(b'\r', line).is_none();
            if is_sure || self.line.is_match(without_return(line)) {
                each(start);
            }
            at = end + 1;
        }
    }

    fn line_by_line(&self, text: &[u8], mut each: impl FnMut(usize)) {
        let mut start = 0;
        while start < text.len() {
            let end = memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
            if self.line.is_match(without_return(&text[start..end])) {
                each(start);
            }
            start = end + 1;
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The expression for a text of many lines, and whether it may find a line that does not match alone.
fn over_lines(pattern: &str) -> Option<(Regex, bool)> {
    let parsed = ParserBuilder::new()
        .utf8(false)
        .multi_line(true)
        .build()
        .parse(pattern)
        .ok()?;
    let text = RegexBuilder::new(&within_line(&parsed).to_string())
        .build()
        .ok()?;
    // Bytes at the start of a line that are not UTF-8 are taken for a part of the character before the line.
    let is_doubtful = parsed.properties().look_set().iter().any(|look| {
        matches!(
            look,
            Look::WordUnicodeNegate | Look::WordStartHalfUnicode | Look::WordEndHalfUnicode
        )
    });
    Some((text, is_doubtful))
}

/// The same expression, unable to match a line break, with the ends of the text taken for those of a line.
fn within_line(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0.clone()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut class = class.clone();
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(class)) => {
            let mut class = class.clone();
            class.difference(&ClassBytes::new([ClassBytesRange::new(b'\n', b'\n')]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartLF),
        HirKind::Look(Look::End | Look::EndLF) => Hir::look(Look::EndCRLF),
        HirKind::Look(look) => Hir::look(*look),
        HirKind::Repetition(repetition) => {
            Hir::repetition(repetition.with(within_line(&repetition.sub)))
        }
        HirKind::Capture(capture) => within_line(&capture.sub),
        HirKind::Concat(subs) => Hir::concat(subs.iter().map(within_line).collect()),
        HirKind::Alternation(subs) => Hir::alternation(subs.iter().map(within_line).collect()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn both(pattern: &str, text: &[u8]) -> (Vec<usize>, Vec<usize>) {
        let pattern = LinePattern::new(&Regex::new(pattern).unwrap());
        assert!(pattern.text.is_some());
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        pattern.find_lines(text, |start| fast.push(start));
        pattern.line_by_line(text, |start| slow.push(start));
        (fast, slow)
    }

    #[test]
    fn ends_and_breaks_of_lines() {
        let text = b"one\r\ntwo\n\r\nth\rree\none two\n\ntail\r";
        for (pattern, expected) in [
            ("^$", vec![9, 26]),
            ("one$", vec![0]),
            (r"\Aone\z", vec![0]),
            ("(?-m)^t", vec![5, 11, 27]),
            ("th$", vec![]),
            ("tail$", vec![27]),
            (r"one\s", vec![18]),
            ("(?s)one.*two", vec![18]),
            ("[^x]+two", vec![18]),
            ("e\nt", vec![]),
            (r"\r", vec![11]),
            ("", vec![0, 5, 9, 11, 18, 26, 27]),
        ] {
            let (fast, slow) = both(pattern, text);
            assert_eq!(fast, slow, "{pattern:?}");
            assert_eq!(fast, expected, "{pattern:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_lines_are_those_that_match_alone(
            text in proptest::collection::vec(
                prop_oneof![
                    4 => proptest::sample::select(b"abAB _-".to_vec()),
                    2 => Just(b'\n'),
                    1 => Just(b'\r'),
                    1 => any::<u8>(),
                    1 => proptest::sample::select("é—".as_bytes().to_vec()),
                ],
                0..80,
            ),
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "a", "b", "A", ".", "[^a]", r"\s", r"\S", r"\b", r"\B", "^", "$", r"\A", r"\z", "a*", ".*", "(?s:.)",
                    r"\w", r"\b{start-half}", r"\b{end}", "(a|b)", "(?i)a", "b?", r"\n", r"\r", "|", r"(?-u:\xff)", r"(?-u:[^a])", r"(?-u:\b)", "é",
                    "[^b]{2}", "(?m)", "(?R)$", r"\d",
                ]),
                0..6,
            ),
        ) {
            let (fast, slow) = both(&parts.concat(), &text);
            prop_assert_eq!(fast, slow, "{:?}", parts.concat());
        }
    }
}
