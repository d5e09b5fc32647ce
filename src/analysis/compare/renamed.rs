//! Messages that the deploy worded otherwise: the old text is gone, a new one is written just as often. They are one
//! pattern whose text, or level, has changed, not one that disappeared and one that never was there before.
//!
//! Joined is only what chance and alike words both speak for; an exception, an errno or a number that differs names
//! another failure, however alike the sentence is around it.

use std::collections::BTreeSet;

use super::World;
use super::rows::rates;
use super::statistics::higher;
use crate::analysis::pattern::group::Pattern;
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::service::ServiceId;

/// So many records each side must have: a rate of a few is no rate.
const LEAST: u64 = 8;
/// A rate that moved farther is another one …
const SAME_RATE: f64 = 1.5;
/// … and so is one whose rise or fall chance explains less easily.
const PLAUSIBLE: f64 = 0.05;
/// The share of words that both texts must have in common, in order.
const ALIKE: f64 = 0.7;
/// And so many of these must say something.
const COMMON_WORDS: usize = 3;
/// So many patterns of each side are looked at, the most frequent first: the work grows with the product.
const LOOKED_AT: usize = 300;

/// Pairs of places in the patterns: the text that is gone, and the one that took its place.
pub(super) fn find(world: &World<'_>) -> Vec<(usize, usize)> {
    let one_sided = |side: Side| -> Vec<usize> {
        let all = world.patterns.patterns.iter().enumerate();
        let of_side = |pattern: &Pattern| {
            let mut sides = pattern.parts.iter().map(|part| world.source(part.source).0);
            pattern.count() >= LEAST && sides.all(|its| its == side)
        };
        let found = all.filter(|(_, pattern)| of_side(pattern));
        found.map(|(at, _)| at).take(LOOKED_AT).collect()
    };
    let (gone, new) = (one_sided(Side::Before), one_sided(Side::After));
    let mut candidates: Vec<(f64, usize, usize)> = Vec::new();
    for old in &gone {
        for now in &new {
            let (a, b) = (
                &world.patterns.patterns[*old],
                &world.patterns.patterns[*now],
            );
            let likeness = likeness(a, b);
            if likeness >= ALIKE && is_as_often(world, a, b) {
                candidates.push((likeness, *old, *now));
            }
        }
    }
    // The most alike first; each text has one successor at most.
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for (_, old, now) in candidates {
        if !taken.contains(&old) && !taken.contains(&now) {
            taken.extend([old, now]);
            pairs.push((old, now));
        }
    }
    pairs
}

/// Whether the same services write both, and the rate is the one it was.
fn is_as_often(world: &World<'_>, old: &Pattern, new: &Pattern) -> bool {
    let services = |pattern: &Pattern| -> BTreeSet<&ServiceId> {
        let parts = pattern.parts.iter();
        parts.map(|part| &world.source(part.source).1.id).collect()
    };
    let their = services(old);
    if their != services(new) {
        return false;
    }
    let rate = rates(world, &their, BeforeAfter::new(old.count(), new.count()));
    if rate.before.exposure <= 0.0 || rate.after.exposure <= 0.0 {
        return false;
    }
    let ratio = rate.after.value() / rate.before.value();
    let dispersion = world.dispersion(their);
    (1.0 / SAME_RATE..=SAME_RATE).contains(&ratio)
        && higher(rate.before, rate.after, dispersion) > PLAUSIBLE
        && higher(rate.after, rate.before, dispersion) > PLAUSIBLE
}

/// The share of words in common: 1 for one text at two levels, 0 where a word that differs names another failure.
fn likeness(old: &Pattern, new: &Pattern) -> f64 {
    if old.template == new.template {
        return 1.0;
    }
    // Both at once is too much to call it the same.
    if old.level != new.level {
        return 0.0;
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (
        old.template.split_whitespace().collect(),
        new.template.split_whitespace().collect(),
    );
    let common = common(&a, &b);
    let told = common.iter().filter(|word| !word.contains("<*>")).count();
    let differs = |words: &[&str]| {
        let mut rest = common.iter().peekable();
        words
            .iter()
            .filter(|word| match rest.peek() {
                Some(next) if next == word => {
                    rest.next();
                    false
                }
                _ => true,
            })
            .any(|word| names_a_failure(word))
    };
    if told < COMMON_WORDS || differs(&a) || differs(&b) {
        return 0.0;
    }
    2.0 * common.len() as f64 / (a.len() + b.len()) as f64
}

/// The longest sequence of words that both have.
fn common<'a>(a: &[&'a str], b: &[&str]) -> Vec<&'a str> {
    let mut best = vec![vec![0u16; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            best[i][j] = if a[i] == b[j] {
                best[i + 1][j + 1] + 1
            } else {
                best[i + 1][j].max(best[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut words) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            words.push(a[i]);
            (i, j) = (i + 1, j + 1);
        } else if best[i + 1][j] >= best[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    words
}

/// `KeyError:`, `ECONNREFUSED`, `status=503`: words that are the failure.
fn names_a_failure(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
    let is_class = ["Error", "Exception", "Failure", "Fault"]
        .iter()
        .any(|end| bare.ends_with(end) && bare.len() > end.len());
    let is_errno = bare.len() >= 4
        && bare.starts_with('E')
        && bare.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    is_class || is_errno || bare.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::compare::tests::run;
    use crate::domain::comparison::{Comparison, PatternChange};
    use crate::domain::verdict::Decision;

    fn log(hour: u32, lines: &[(&str, u32)]) -> String {
        let mut text = String::new();
        for second in 0..600u32 {
            let at = format!("2025-12-27T{hour}:{:02}:{:02}Z", second / 60, second % 60);
            text += &format!("{at} INFO GET /orders/{second} completed in 0.05s\n");
            for (line, every) in lines {
                if second % every == 0 {
                    text += &format!("{at} {}\n", line.replace('#', &second.to_string()));
                }
            }
        }
        text
    }

    fn deploy(before: &[(&str, u32)], after: &[(&str, u32)]) -> Comparison {
        run(&log(14, before), &log(15, after))
    }

    fn changes(found: &Comparison) -> Vec<(PatternChange, u64, u64, &str)> {
        let rows = found.patterns.iter().filter(|row| row.is_changed());
        rows.map(|r| (r.change, r.before, r.after, r.template.as_str()))
            .collect()
    }

    #[test]
    fn another_wording_is_changed_text_and_no_new_error() {
        let found = deploy(
            &[("ERROR cannot reach the payment service for order #", 20)],
            &[("ERROR unable to reach the payment service for order #", 20)],
        );
        let rows = changes(&found);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = &found.patterns[0];
        assert_eq!(
            (row.change, row.before, row.after),
            (PatternChange::Same, 30, 30)
        );
        let was = row.was.as_ref().unwrap();
        assert!(was.template.as_str().starts_with("cannot reach"));
        assert_eq!(row.mark(), "~");
        assert!(
            found.verdict.decision != Decision::RollBack,
            "{:?}",
            found.verdict
        );
        let told = found.verdict.findings.iter();
        assert_eq!(told.filter(|f| f.severity.is_some()).count(), 0);
    }

    #[test]
    fn a_level_that_the_deploy_raised_is_told_and_does_not_shout() {
        let text = "cache miss for key user:#, read from the database";
        let (old, new) = (format!("WARN {text}"), format!("ERROR {text}"));
        let found = deploy(&[(&old, 4)], &[(&new, 4)]);
        assert_eq!(
            found.verdict.decision,
            Decision::Keep,
            "{:?}",
            found.verdict.findings
        );
        let finding = found.verdict.findings.first().unwrap();
        assert_eq!(
            (finding.rule.as_str(), finding.severity),
            ("level-changed", None)
        );
        assert!(finding.text.as_str().contains("warn → error"));
    }

    #[test]
    fn more_of_it_or_another_failure_is_new() {
        let old = "ERROR cannot reach the payment service for order #";
        let often = deploy(
            &[(old, 20)],
            &[("ERROR unable to reach the payment service for order #", 5)],
        );
        assert!(often.patterns.iter().all(|row| row.was.is_none()));
        assert!(
            often
                .patterns
                .iter()
                .any(|row| row.change == PatternChange::New)
        );
        let other = deploy(
            &[("ERROR order #: payment failed with ConnectionError", 20)],
            &[("ERROR order #: payment failed with ValidationError", 20)],
        );
        assert!(other.patterns.iter().all(|row| row.was.is_none()));
        let unlike = deploy(
            &[(old, 20)],
            &[("ERROR out of stock: the order # was not shipped", 20)],
        );
        assert!(unlike.patterns.iter().all(|row| row.was.is_none()));
    }

    #[test]
    fn words_in_common_stay_in_order() {
        let words = |text: &'static str| text.split(' ').collect::<Vec<_>>();
        assert_eq!(
            common(&words("a b c d e"), &words("x b c y e")),
            words("b c e")
        );
        assert!(common(&words("a"), &words("b")).is_empty());
        for word in [
            "KeyError:",
            "ECONNREFUSED",
            "status=503",
            "TimeoutException",
        ] {
            assert!(names_a_failure(word), "{word}");
        }
        for word in ["Error", "failed", "EOF", "reach"] {
            assert!(!names_a_failure(word), "{word}");
        }
    }
}
