//! A log file that is looked through for a filter, from a place backwards or forwards, where it lies.
//!
//! Whether a record passes is decided by who asked, on the lines themselves: a level is that of a record, and a record is
//! more than the line that matches. What is done here is to find where that has to be decided, and to read it.

use std::fs::File;
use std::io;
use std::ops::Range;

use memchr::memchr;
use tokio::sync::mpsc;

use super::TailError;
use super::lines::{LineSplitter, READ_BYTES, next_line, read_at};
use super::search::{FileSearch, Part, SEARCH_BYTES, backward, forward, in_place};
use super::source::{Closed, ReadEnd};
use crate::analysis::line_pattern::LinePattern;
use crate::domain::log::{LogBlock, Passage};

/// So much is read before the first candidate and after the last one: the rest of their records, and lines around them.
const AROUND: u64 = 32 * 1024;

/// Sends a part of a file passage by passage, from its start or, `is_backward`, from its end. With an expression only
/// lines that match are candidates, without one every line is. The range begins at the start of a line; the line
/// break that it ends with may be missing. Ends early when nobody listens.
///
/// # Errors
/// The file with that inode is gone or cannot be read, is compressed, or was truncated meanwhile.
pub async fn sift(search: FileSearch, to: mpsc::Sender<Passage>) -> Result<(), TailError> {
    in_place(search, move |file, search| {
        let sift = Sift {
            pattern: search.pattern.as_ref().map(LinePattern::new),
            block: SEARCH_BYTES,
            around: AROUND,
        };
        let mut send = |passage| to.blocking_send(passage).map_err(|_| Closed);
        sift.run(file, search.range, search.is_backward, &mut send)
    })
    .await
}

/// What is looked for, and in what pieces.
struct Sift {
    pattern: Option<LinePattern>,
    block: usize,
    around: u64,
}

impl Sift {
    fn run(
        &self,
        file: &File,
        range: Range<u64>,
        is_backward: bool,
        emit: &mut dyn FnMut(Passage) -> Result<(), Closed>,
    ) -> Result<(), ReadEnd> {
        let length = file.metadata()?.len();
        if range.end > length + 1 {
            let why = "the file was truncated since its lines were read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into());
        }
        let range = range.start..range.end.min(length);
        let mut buffer = vec![0; self.block];
        let mut look = |part: Part<'_>| {
            let (looked, found) = match part {
                Part::Lines(text, place) => {
                    let looked = place..place + text.len() as u64;
                    (looked, self.candidates(text, place))
                }
                // Rare, and read as a whole to decide on it.
                Part::LongLine(line) => (line.clone(), Some((line.start, line.end))),
            };
            let passage = match found {
                Some((first, end)) => Passage {
                    looked,
                    candidates: first..end,
                    block: self.read(file, first, end)?,
                },
                None => Passage {
                    looked,
                    ..Passage::default()
                },
            };
            Ok(emit(passage)?)
        };
        if is_backward {
            backward(file, range, &mut buffer, &mut look)
        } else {
            forward(file, range, &mut buffer, &mut look)
        }
    }

    /// Where the first candidate of a text begins and the last one ends.
    fn candidates(&self, text: &[u8], place: u64) -> Option<(u64, u64)> {
        let Some(pattern) = &self.pattern else {
            return Some((place, place + text.len() as u64));
        };
        let mut found: Option<(usize, usize)> = None;
        pattern.find_lines(text, |start| {
            found = Some((found.map_or(start, |(first, _)| first), start));
        });
        let (first, last) = found?;
        let end = memchr(b'\n', &text[last..]).map_or(text.len(), |n| last + n + 1);
        Some((place + first as u64, place + end as u64))
    }

    /// The lines of a part of the file and those around it. A line that does not fit into what is read around is left
    /// out.
    fn read(&self, file: &File, first: u64, end: u64) -> io::Result<LogBlock> {
        let from = match first.saturating_sub(self.around) {
            0 => 0,
            from => next_line(file, from - 1, first)?.unwrap_or(first),
        };
        let to = end + self.around;
        let mut splitter = LineSplitter::at(from);
        let mut block = LogBlock::default();
        let mut buffer = vec![0; READ_BYTES];
        let mut at = from;
        while at < to {
            let wanted = (to - at).min(READ_BYTES as u64) as usize;
            let read = read_at(file, &mut buffer[..wanted], at)?;
            let split = splitter.split(&buffer[..read], &mut block, |_| Ok::<_, Closed>(()));
            debug_assert!(split.is_ok());
            at += read as u64;
            if read < wanted {
                break;
            }
        }
        // The end of the file: its last line may not be ended.
        if at < to || at - splitter.pending_bytes() < end {
            splitter.finish(&mut block);
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use regex::bytes::Regex;

    use super::*;

    fn places(block: &LogBlock) -> Vec<u64> {
        block.lines.iter().map(|line| line.place).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn every_line_that_matches_is_a_candidate_with_the_lines_around_it(
            lines in proptest::collection::vec((any::<bool>(), 0usize..30), 0..60),
            block in 8usize..100, around in 0u64..60, is_backward in any::<bool>(), is_all in any::<bool>(),
            is_ended in any::<bool>(),
        ) {
            let mut text = Vec::new();
            let mut starts = Vec::new();
            let mut hits = Vec::new();
            for (is_hit, length) in lines {
                starts.push(text.len() as u64);
                if is_hit || is_all {
                    hits.push(text.len() as u64);
                }
                text.extend_from_slice(if is_hit { b"hit " } else { b"no " });
                text.resize(text.len() + length, b'x');
                text.push(b'\n');
            }
            if !is_ended {
                text.pop();
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let pattern = (!is_all).then(|| LinePattern::new(&Regex::new("^hit").unwrap()));
            let sift = Sift { pattern, block, around };
            let mut passages = Vec::new();
            sift.run(&file, 0..text.len() as u64, is_backward, &mut |passage| {
                passages.push(passage);
                Ok(())
            }).unwrap();
            if is_backward {
                passages.reverse();
            }
            let mut at = 0;
            for passage in &passages {
                prop_assert_eq!(passage.looked.start, at);
                at = passage.looked.end;
                let read = places(&passage.block);
                let own = |n: &u64| passage.looked.contains(n);
                for hit in hits.iter().filter(|n| own(n)) {
                    prop_assert!(passage.candidates.contains(hit));
                    prop_assert!(read.contains(hit), "{} of {:?}", hit, passage);
                }
                // Without a hole.
                if let (Some(first), Some(last)) = (read.first(), read.last()) {
                    let between: Vec<u64> = starts.iter().copied().filter(|n| n >= first && n <= last).collect();
                    prop_assert_eq!(read.clone(), between);
                }
            }
            prop_assert_eq!(at, text.len() as u64);
        }
    }
}
