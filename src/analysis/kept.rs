//! Which parts of a line stand unchanged in what was made of it.
//!
//! Masks take out what varies; what they leave, a status in a template or a version in a route, is noted here, so that
//! two lines that look alike are taken for one another only where those parts agree.

use std::ops::Range;

/// The noted parts of one line, in the order in which they were noted.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    parts: Vec<Part>,
    is_off: bool,
}

#[derive(Debug, Clone)]
struct Part {
    /// Where it lies in memory: the line that it is a part of is named only afterwards.
    address: usize,
    length: usize,
    letters_only: bool,
}

/// A noted part, by its place in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPart {
    /// Its bytes in the line.
    pub range: Range<usize>,
    /// Whether only what is not a digit was left of it.
    pub letters_only: bool,
}

impl Kept {
    /// Notes nothing: for texts that are read once.
    pub fn off() -> Self {
        Self {
            parts: Vec::new(),
            is_off: true,
        }
    }

    /// Forgets what was noted.
    pub fn clear(&mut self) {
        self.parts.clear();
    }

    /// These bytes of the line stand in the result as they are.
    pub fn whole(&mut self, part: &[u8]) {
        self.note(part, false);
    }

    /// What is not a digit in these bytes stands in the result as it is.
    pub fn letters(&mut self, part: &[u8]) {
        self.note(part, true);
    }

    fn note(&mut self, part: &[u8], letters_only: bool) {
        // Without a digit it is the same in every line that looks alike.
        if !self.is_off && part.iter().any(u8::is_ascii_digit) {
            self.parts.push(Part {
                address: part.as_ptr().addr(),
                length: part.len(),
                letters_only,
            });
        }
    }

    /// The noted parts as places of `line`; `None` where one of them is no part of it.
    pub fn parts_of<'a>(&'a self, line: &'a [u8]) -> impl Iterator<Item = Option<KeptPart>> + 'a {
        self.parts.iter().map(|part| {
            Some(KeptPart {
                range: place(line, part.address, part.length)?,
                letters_only: part.letters_only,
            })
        })
    }
}

/// Where a part of a line stands in it; `None` for bytes from elsewhere.
pub fn place_in(line: &[u8], part: &[u8]) -> Option<Range<usize>> {
    place(line, part.as_ptr().addr(), part.len())
}

fn place(line: &[u8], address: usize, length: usize) -> Option<Range<usize>> {
    let start = address.checked_sub(line.as_ptr().addr())?;
    (start + length <= line.len()).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_place() {
        let line = b"GET /v1/x 200".to_vec();
        let mut kept = Kept::default();
        kept.whole(&line[10..]);
        kept.letters(&line[4..9]);
        kept.whole(&line[..3]);
        let found: Vec<_> = kept.parts_of(&line).map(Option::unwrap).collect();
        let part = |range, letters_only| KeptPart {
            range,
            letters_only,
        };
        assert_eq!(found, [part(10..13, false), part(4..9, true)]);
        assert_eq!(place_in(&line, b"elsewhere"), None);
        let elsewhere = line.clone();
        assert!(kept.parts_of(&elsewhere[..5]).any(|part| part.is_none()));
    }
}
