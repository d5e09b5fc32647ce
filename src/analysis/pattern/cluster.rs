//! Joins shapes that differ in words that vary.
//!
//! Shapes are first parted by what must never be joined: level, exception class, status, and the punctuation
//! between the words. Inside such a part a place where many different words stand in otherwise equal shapes is a
//! variable; what still differs in few places is joined when most of its words agree.

use std::collections::{HashMap, HashSet};

use super::{WILD, hash, mask::is_word_byte};
use crate::domain::log::Level;

/// So many different words in one place of otherwise equal shapes make the place a variable, where at least three
/// other words stay.
const VARIETY: usize = 4;
/// Shapes of one part are compared with so many clusters at most.
const MAX_CLUSTERS: usize = 2000;

/// A distinct shape.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// The masked text.
    pub masked: &'a [u8],
    /// Its level.
    pub level: Option<Level>,
    /// How often it occurred, on all sides together.
    pub weight: u64,
}

/// The clusters: for each shape the number of its cluster, and each cluster's masked text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each shape, in the order given.
    pub of: Vec<usize>,
    /// The masked text of each cluster.
    pub templates: Vec<Vec<u8>>,
}

/// A shape cut into words, by their hashes; 0 stands for a variable.
struct Words {
    hashes: Vec<u64>,
    /// What kind of word it is.
    looks: Vec<Look>,
    /// Words that must not vary.
    is_fixed: Vec<bool>,
}

const VARIABLE: u64 = 0;

/// What a word looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// A word of a sentence.
    Plain,
    /// All capitals: a state or a command, of which there are a few.
    Capitals,
    /// Dots, slashes, underscores, masked digits: rather a name than a word.
    Name,
}

fn look(word: &[u8]) -> Look {
    let mut letters = word.iter().filter(|b| b.is_ascii_alphabetic()).peekable();
    if letters.peek().is_some() && letters.all(u8::is_ascii_uppercase) {
        return Look::Capitals;
    }
    let inner = word
        .strip_suffix(b":")
        .or(word.strip_suffix(b"."))
        .unwrap_or(word);
    let named = |b: &u8| matches!(b, b'.' | b'/' | b'@' | b'$' | b'_' | b'\\' | b'*' | &WILD);
    if inner.iter().any(named) {
        Look::Name
    } else {
        Look::Plain
    }
}

/// The logger in front of a message, `app.auth:`: the same words of another one are another pattern.
fn is_speaker(word: &[u8]) -> bool {
    word.len() > 2 && word.ends_with(b":") && !word.contains(&WILD)
}

/// Joins shapes. The result does not depend on anything but the shapes, their levels and weights.
pub fn cluster(shapes: &[Shape<'_>]) -> Clusters {
    let mut parts: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut words: Vec<Words> = Vec::with_capacity(shapes.len());
    for (index, shape) in shapes.iter().enumerate() {
        let (cut, key) = cut(shape);
        words.push(cut);
        parts.entry(key).or_default().push(index);
    }
    let mut parts: Vec<Vec<usize>> = parts.into_values().collect();
    parts.sort_unstable_by_key(|part| part[0]);
    let mut result = Clusters {
        of: vec![0; shapes.len()],
        templates: Vec::new(),
    };
    for part in parts {
        if part.len() > 1 {
            find_variables(&part, &mut words);
            join_similar(&part, shapes, &mut words);
        }
        let mut numbers: HashMap<&[u64], usize> = HashMap::new();
        for index in &part {
            let next = result.templates.len();
            let number = *numbers.entry(&words[*index].hashes).or_insert(next);
            if number == next {
                result
                    .templates
                    .push(rebuild(shapes[*index].masked, &words[*index].hashes));
            }
            result.of[*index] = number;
        }
    }
    result
}

fn is_word(byte: u8) -> bool {
    byte == WILD || is_word_byte(byte)
}

/// Cuts a shape into words; the key holds level, punctuation and the words that must not vary.
fn cut(shape: &Shape<'_>) -> (Words, u64) {
    let mut words = Words {
        hashes: Vec::new(),
        looks: Vec::new(),
        is_fixed: Vec::new(),
    };
    let mut key = hash(shape.level.map_or("", Level::as_str).as_bytes(), 1);
    let text = shape.masked;
    let mut at = 0;
    while at < text.len() {
        let word = is_word(text[at]);
        let length = text[at..]
            .iter()
            .position(|b| is_word(*b) != word)
            .unwrap_or(text.len() - at);
        let piece = &text[at..at + length];
        at += length;
        if !word {
            key = hash(piece, key);
            continue;
        }
        let fixed = is_fixed(piece) || (words.hashes.is_empty() && is_speaker(piece));
        words.is_fixed.push(fixed);
        words.looks.push(look(piece));
        words.hashes.push(if piece == [WILD] {
            VARIABLE
        } else {
            hash(piece, 2) | 1
        });
        key = if fixed {
            hash(piece, key)
        } else {
            hash(b"w", key)
        };
    }
    (words, key)
}

/// Statuses and exit codes (the only bare numbers that masks leave), errno names, exception classes, methods, and
/// words that end in a colon (what speaks, not what is spoken of).
fn is_fixed(word: &[u8]) -> bool {
    if word.iter().all(u8::is_ascii_digit) {
        return true;
    }
    let upper = word.len() >= 5 && word[0] == b'E' && word.iter().all(|b| b.is_ascii_uppercase());
    let name = word.strip_suffix(b":").unwrap_or(word);
    let class = name.len() > 5 && (name.ends_with(b"Error") || name.ends_with(b"Exception"));
    upper
        || class
        || matches!(
            word,
            b"GET" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"HEAD" | b"OPTIONS"
        )
}

/// A place where at least [`VARIETY`] words stand in otherwise equal shapes is a variable. Joining shapes makes
/// others equal, so it is done again until nothing changes.
fn find_variables(part: &[usize], words: &mut [Words]) {
    for _ in 0..4 {
        let mut seen: HashMap<(usize, u64), HashSet<u64>> = HashMap::new();
        let each = |words: &[Words], visit: &mut dyn FnMut(usize, usize, u64)| {
            for index in part {
                let own = &words[*index];
                let whole = own
                    .hashes
                    .iter()
                    .enumerate()
                    .fold(0u64, |sum, (at, word)| sum.wrapping_add(place(at, *word)));
                for (at, word) in own.hashes.iter().enumerate() {
                    if *word != VARIABLE && !own.is_fixed[at] {
                        visit(*index, at, whole.wrapping_sub(place(at, *word)));
                    }
                }
            }
        };
        each(words, &mut |index, at, rest| {
            seen.entry((at, rest))
                .or_default()
                .insert(words[index].hashes[at]);
        });
        let mut changes: Vec<(usize, usize)> = Vec::new();
        each(words, &mut |index, at, rest| {
            let needed = variety(&words[index], at);
            if seen.get(&(at, rest)).is_some_and(|s| s.len() >= needed) {
                changes.push((index, at));
            }
        });
        if changes.is_empty() {
            return;
        }
        for (index, at) in changes {
            words[index].hashes[at] = VARIABLE;
        }
    }
}

/// How many different words a place needs to be a variable. The less else is said, the more; the first word is the
/// subject, and capitals are states: both differ between kinds of records.
fn variety(words: &Words, at: usize) -> usize {
    let others = (words.hashes.iter().enumerate())
        .filter(|(i, w)| *i != at && **w != VARIABLE)
        .count();
    let base = match others {
        0 => return usize::MAX,
        1 => 3 * VARIETY,
        2 => VARIETY + 2,
        _ => VARIETY,
    };
    match words.looks[at] {
        Look::Capitals => base * 3,
        Look::Plain if at == 0 => base * 2,
        _ => base,
    }
}

/// The share of a word in a sum over a shape: position counts, so that the sum without one word is cheap.
fn place(at: usize, word: u64) -> u64 {
    (word ^ (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .wrapping_mul(0xD6E8_FEB8_6659_FD93)
        .rotate_left(17)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Joins shapes whose words mostly agree, the frequent ones first.
fn join_similar(part: &[usize], shapes: &[Shape<'_>], words: &mut [Words]) {
    let mut order: Vec<usize> = part.to_vec();
    order.sort_by(|a, b| {
        shapes[*b]
            .weight
            .cmp(&shapes[*a].weight)
            .then_with(|| shapes[*a].masked.cmp(shapes[*b].masked))
    });
    let mut clusters: Vec<Vec<u64>> = Vec::new();
    let mut looks: Vec<Vec<Look>> = Vec::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for index in order {
        let own = &words[index].hashes;
        let own_looks = &words[index].looks;
        let best = clusters
            .iter()
            .enumerate()
            .filter_map(|(number, other)| {
                similarity((own, own_looks), (other, &looks[number])).map(|s| (number, s))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        match best {
            Some((number, _)) => {
                for (mine, theirs) in own.iter().zip(&mut clusters[number]) {
                    if mine != theirs {
                        *theirs = VARIABLE;
                    }
                }
                members[number].push(index);
            }
            None if clusters.len() < MAX_CLUSTERS => {
                clusters.push(own.clone());
                looks.push(own_looks.clone());
                members.push(vec![index]);
            }
            None => {}
        }
    }
    for (number, indices) in members.iter().enumerate() {
        for index in indices {
            words[*index].hashes.clone_from(&clusters[number]);
        }
    }
}

/// How much two shapes agree, if they agree enough to be one: `None` otherwise.
fn similarity((a, a_looks): (&[u64], &[Look]), (b, b_looks): (&[u64], &[Look])) -> Option<f64> {
    let (mut equal, mut differ, mut constant) = (0, 0, 0);
    for (at, (x, y)) in a.iter().zip(b).enumerate() {
        if x == y {
            if *x != VARIABLE {
                equal += 1;
                constant += 1;
            }
        } else {
            constant += 1;
            // A place that is a variable on one side already costs less than two different words.
            if *x == VARIABLE || *y == VARIABLE {
                differ += 1;
                continue;
            }
            // Two words of a sentence tell two sentences; two names may be two of the same kind.
            let looks = [a_looks[at], b_looks[at]];
            if !looks.contains(&Look::Name) || looks.contains(&Look::Capitals) {
                return None;
            }
            differ += 2;
        }
    }
    let first_differs =
        a.first() != b.first() && a.first() != Some(&VARIABLE) && b.first() != Some(&VARIABLE);
    let share = f64::from(equal) / f64::from(constant.max(1));
    (!first_differs && differ <= 4 && share >= 0.75 && equal >= 3).then_some(share)
}

/// The template: the shape with its variables put in, neighbours joined.
fn rebuild(masked: &[u8], hashes: &[u64]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(masked.len());
    let mut at = 0;
    let mut number = 0;
    while at < masked.len() {
        let word = is_word(masked[at]);
        let length = masked[at..]
            .iter()
            .position(|b| is_word(*b) != word)
            .unwrap_or(masked.len() - at);
        let piece = &masked[at..at + length];
        at += length;
        if !word {
            out.extend_from_slice(piece);
            continue;
        }
        if hashes.get(number) == Some(&VARIABLE) {
            if out.ends_with(&[WILD, b' ']) {
                out.pop();
            } else {
                out.push(WILD);
            }
        } else {
            out.extend_from_slice(piece);
        }
        number += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::kept::Kept;
    use crate::analysis::pattern::{mask::mask, shown};

    fn clusters(lines: &[(&str, Option<Level>)]) -> Vec<String> {
        let masked: Vec<Vec<u8>> = lines
            .iter()
            .map(|(line, _)| {
                let mut out = Vec::new();
                mask(line.as_bytes(), &mut out, &mut Kept::off());
                out
            })
            .collect();
        let shapes: Vec<Shape> = masked
            .iter()
            .zip(lines)
            .map(|(masked, (_, level))| Shape {
                masked,
                level: *level,
                weight: 1,
            })
            .collect();
        let found = cluster(&shapes);
        found
            .of
            .iter()
            .map(|c| shown(&found.templates[*c]))
            .collect()
    }

    #[test]
    fn names_in_one_place_are_a_variable() {
        let lines: Vec<(String, Option<Level>)> = ["ivanov", "petrova", "smith", "kim", "o.brien"]
            .iter()
            .map(|name| (format!("User {name} authenticated successfully"), None))
            .collect();
        let lines: Vec<(&str, Option<Level>)> =
            lines.iter().map(|(l, v)| (l.as_str(), *v)).collect();
        let found = clusters(&lines);
        assert!(
            found
                .iter()
                .all(|t| t == "User <*> authenticated successfully"),
            "{found:?}"
        );
    }

    #[test]
    fn levels_classes_and_statuses_are_never_joined() {
        let found = clusters(&[
            ("payment of order 1 failed again today", Some(Level::Error)),
            ("payment of order 1 failed again today", Some(Level::Warn)),
            ("call failed with TypeError while saving the order", None),
            ("call failed with ValueError while saving the order", None),
            (
                "request to upstream answered with status=500 after all",
                None,
            ),
            (
                "request to upstream answered with status=200 after all",
                None,
            ),
        ]);
        let distinct: HashSet<&String> = found.iter().collect();
        assert_eq!(distinct.len(), 5, "{found:?}");
    }

    #[test]
    fn different_sentences_stay_apart() {
        let found = clusters(&[
            ("Connection opened", None),
            ("Connection closed", None),
            (
                "Division by zero in calculate_discount()",
                Some(Level::Error),
            ),
            (
                "Invalid JSON response from payment service",
                Some(Level::Error),
            ),
        ]);
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 4);
    }

    #[test]
    fn the_order_of_the_shapes_does_not_matter() {
        let lines: Vec<String> = (0..30)
            .map(|i| {
                format!(
                    "worker {} finished job for {} in queue main",
                    "abcdef".get(i % 6..=i % 6).unwrap(),
                    ["x", "y", "z", "w", "v"][i % 5]
                )
            })
            .collect();
        let forward: Vec<(&str, Option<Level>)> =
            lines.iter().map(|l| (l.as_str(), None)).collect();
        let mut backward = forward.clone();
        backward.reverse();
        let mut mirrored = clusters(&backward);
        mirrored.reverse();
        assert_eq!(clusters(&forward), mirrored);
    }
}
