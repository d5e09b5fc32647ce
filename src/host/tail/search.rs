//! A search of a log file in place, from its end or from its start.
//!
//! It reads block by block into one buffer and runs the expression over whole blocks
//! ([`LinePattern`]), so that what it costs is close to what reading the file costs.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use memchr::{memchr, memchr_iter, memrchr};
use regex::bytes::Regex;
use tokio::sync::mpsc;

use super::lines::{MAX_LINE, end_of_last_line, next_line, read_at, trim_return};
use super::rotated::open_inode;
use super::source::{Closed, ReadEnd};
use super::stream::is_packed;
use super::window::Filter;
use super::{TailError, on_blocking_thread};
use crate::analysis::line_pattern::LinePattern;
use crate::domain::log::{FileHits, Window};

/// How much is read and searched at once: of the sizes that fit into a cache the one whose copy costs least.
pub(super) const SEARCH_BYTES: usize = 1024 * 1024;
/// A message holds at most so many hits.
const MAX_HITS: usize = 65_536;

/// What to search for in a log file, and where.
#[derive(Debug, Clone)]
pub struct FileSearch {
    /// The file's path when it was opened.
    pub path: PathBuf,
    /// Its inode: it is found again after rotation.
    pub inode: u64,
    /// What to search for, flags in its text (`(?i)timeout`); `None` for every line.
    pub pattern: Option<Regex>,
    /// The bytes to look at, from the start of a line to the end of one.
    pub range: Range<u64>,
    /// From the end, so that the newest hits are there at once.
    pub is_backward: bool,
}

/// Sends where the lines of a part of a file match an expression, block by block from the start or, `is_backward`,
/// from the end, whose hits are then there at once. Without an expression lines are only counted. The range begins at
/// the start of a line; of a line over 1 MiB the part that is kept is searched. Ends early when nobody listens.
///
/// # Errors
/// The file with that inode is gone or cannot be read, is compressed, or was truncated meanwhile.
pub async fn search(search: FileSearch, to: mpsc::Sender<FileHits>) -> Result<(), TailError> {
    in_place(search, move |file, search| {
        let pattern = search.pattern.as_ref().map(LinePattern::new);
        let mut send = |found| to.blocking_send(found).map_err(|_| Closed);
        Search::new(pattern.as_ref()).run(file, search.range, search.is_backward, &mut send)
    })
    .await
}

/// Reads in the file that is searched, on a thread that may block. That nobody listens any more is no error.
pub(super) async fn in_place(
    search: FileSearch,
    read: impl FnOnce(&File, FileSearch) -> Result<(), ReadEnd> + Send + 'static,
) -> Result<(), TailError> {
    on_blocking_thread(move || {
        let path = search.path.clone();
        let file = open_plain(&path, search.inode).map_err(ReadEnd::from);
        match file.and_then(|file| read(&file, search)) {
            Ok(()) | Err(ReadEnd::Closed) => Ok(()),
            Err(ReadEnd::Io(source)) => Err(TailError::new(path, source)),
        }
    })
    .await
}

/// The file with that inode, which can be read anywhere.
fn open_plain(path: &Path, inode: u64) -> io::Result<File> {
    let file = open_inode(path, inode)?;
    if is_packed(&file)? {
        let why = "a compressed file cannot be searched in place";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    Ok(file)
}

/// Where the first line of a file begins that was written at or after an instant, by the times that the lines say;
/// found by bisection, so that it costs the same in a large file. The file's length where there is none.
///
/// # Errors
/// The file with that inode is gone or cannot be read.
pub async fn place_at(path: &Path, inode: u64, at: Timestamp) -> Result<u64, TailError> {
    let path = path.to_owned();
    on_blocking_thread(move || {
        let find = || -> io::Result<u64> {
            let file = open_inode(&path, inode)?;
            let length = file.metadata()?.len();
            match Filter::new(Window::since(at)) {
                Some(filter) => Ok(filter.range(&file, 0, length)?.0),
                None => Ok(0),
            }
        };
        find().map_err(|source| TailError::new(path.clone(), source))
    })
    .await
}

/// Where hits go; an error means that nobody listens.
type Emit<'a> = dyn FnMut(FileHits) -> Result<(), Closed> + 'a;

/// A part of a file that is looked at: whole lines, or one line that is longer than a block.
pub(super) enum Part<'a> {
    /// Lines, the first of which stands at this place.
    Lines(&'a [u8], u64),
    /// Where the line stands, its line break included.
    LongLine(Range<u64>),
}

/// Hands out a range of a file from its start, a buffer's length at a time.
pub(super) fn forward(
    file: &File,
    range: Range<u64>,
    buffer: &mut [u8],
    each: &mut dyn FnMut(Part<'_>) -> Result<(), ReadEnd>,
) -> Result<(), ReadEnd> {
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(buffer.len() as u64) as usize;
        let text = &mut buffer[..length];
        fill(file, text, at)?;
        let is_last = at + length as u64 == range.end;
        match memrchr(b'\n', text) {
            _ if is_last => {
                each(Part::Lines(text, at))?;
                at = range.end;
            }
            Some(end) => {
                each(Part::Lines(&text[..=end], at))?;
                at += end as u64 + 1;
            }
            None => {
                let next = next_line(file, at, range.end)?.unwrap_or(range.end);
                each(Part::LongLine(at..next))?;
                at = next;
            }
        }
    }
    Ok(())
}

/// Hands out a range of a file from its end.
pub(super) fn backward(
    file: &File,
    range: Range<u64>,
    buffer: &mut [u8],
    each: &mut dyn FnMut(Part<'_>) -> Result<(), ReadEnd>,
) -> Result<(), ReadEnd> {
    let mut upper = range.end;
    while upper > range.start {
        let from = upper.saturating_sub(buffer.len() as u64).max(range.start);
        let length = (upper - from) as usize;
        let text = &mut buffer[..length];
        fill(file, text, from)?;
        // The line that the block begins in belongs to the block before.
        upper = match memchr(b'\n', &text[..length - 1]) {
            _ if from == range.start => {
                each(Part::Lines(text, from))?;
                from
            }
            Some(end) => {
                let place = from + end as u64 + 1;
                each(Part::Lines(&text[end + 1..], place))?;
                place
            }
            None => {
                let line = end_of_last_line(file, upper - 1)?.max(range.start);
                each(Part::LongLine(line..upper))?;
                line
            }
        };
    }
    Ok(())
}

/// The text of a line that is longer than a block, as far as it is kept, and how many bytes of it are not.
pub(super) fn long_line(
    file: &File,
    line: &Range<u64>,
    max_line: usize,
) -> io::Result<(Vec<u8>, u64)> {
    let length = (line.end - line.start).min(max_line as u64 + 2) as usize;
    let mut text = vec![0; length];
    fill(file, &mut text, line.start)?;
    let mut rest = (line.end - line.start) - length as u64;
    if rest > 0 {
        let mut last = [0];
        fill(file, &mut last, line.end - 1)?;
        rest -= u64::from(last == *b"\n");
    } else if text.last() == Some(&b'\n') {
        text.pop();
    }
    if text.len() > max_line {
        let cut = rest + (text.len() - max_line) as u64;
        text.truncate(max_line);
        return Ok((text, cut));
    }
    let kept = trim_return(&text).len();
    text.truncate(kept);
    Ok((text, 0))
}

/// A search, and its limits.
struct Search<'a> {
    pattern: Option<&'a LinePattern>,
    block: usize,
    max_line: usize,
    max_hits: usize,
}

impl<'a> Search<'a> {
    fn new(pattern: Option<&'a LinePattern>) -> Self {
        Self {
            pattern,
            block: SEARCH_BYTES,
            max_line: MAX_LINE,
            max_hits: MAX_HITS,
        }
    }

    fn run(
        &self,
        file: &File,
        range: Range<u64>,
        is_backward: bool,
        emit: &mut Emit<'_>,
    ) -> Result<(), ReadEnd> {
        let mut buffer = vec![0; self.block];
        let mut look = |part: Part<'_>| match part {
            Part::Lines(text, place) => Ok(self.lines(text, place, is_backward, emit)?),
            Part::LongLine(line) => self.long_line(file, line, emit),
        };
        if is_backward {
            backward(file, range, &mut buffer, &mut look)
        } else {
            forward(file, range, &mut buffer, &mut look)
        }
    }

    /// Searches whole lines, the first of which stands at `place` in the file.
    fn lines(
        &self,
        text: &[u8],
        place: u64,
        is_backward: bool,
        emit: &mut Emit<'_>,
    ) -> Result<(), Closed> {
        let mut hits: Vec<u64> = Vec::new();
        if let Some(pattern) = self.pattern {
            pattern.find_lines(text, |start| hits.push(place + start as u64));
        }
        let end = place + text.len() as u64;
        if hits.len() <= self.max_hits {
            return emit(FileHits {
                looked: place..end,
                lines: count_lines(text),
                hits,
            });
        }
        let mut messages: Vec<FileHits> = hits
            .chunks(self.max_hits)
            .enumerate()
            .map(|(n, part)| {
                let start = if n == 0 { place } else { part[0] };
                let end = hits.get((n + 1) * self.max_hits).copied().unwrap_or(end);
                let text = &text[(start - place) as usize..(end - place) as usize];
                FileHits {
                    looked: start..end,
                    lines: count_lines(text),
                    hits: part.to_vec(),
                }
            })
            .collect();
        if is_backward {
            messages.reverse();
        }
        messages.into_iter().try_for_each(emit)
    }

    /// Searches a line that is longer than a block.
    fn long_line(&self, file: &File, line: Range<u64>, emit: &mut Emit<'_>) -> Result<(), ReadEnd> {
        let is_hit = match self.pattern {
            Some(pattern) => pattern.is_match(&long_line(file, &line, self.max_line)?.0),
            None => false,
        };
        emit(FileHits {
            hits: if is_hit { vec![line.start] } else { Vec::new() },
            looked: line,
            lines: 1,
        })?;
        Ok(())
    }
}

/// Reads a part of a file that was there.
pub(super) fn fill(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    if read_at(file, buffer, at)? < buffer.len() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file was truncated during the search",
        ));
    }
    Ok(())
}

/// Lines of a text that ends with a line, terminated or not.
fn count_lines(text: &[u8]) -> u64 {
    let ended = memchr_iter(b'\n', text).count() as u64;
    ended + u64::from(text.last().is_some_and(|last| *last != b'\n'))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    /// Places of lines that match, line by line.
    fn naive(text: &[u8], pattern: &Regex, max_line: usize) -> (Vec<u64>, u64) {
        let (mut hits, mut at, mut lines) = (Vec::new(), 0, 0);
        for line in text.split_inclusive(|b| *b == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = match text.len() > max_line {
                true => &text[..max_line],
                false => trim_return(text),
            };
            if pattern.is_match(text) {
                hits.push(at);
            }
            at += line.len() as u64;
            lines += 1;
        }
        (hits, lines)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn any_blocks_give_the_lines_that_match(
            text in proptest::collection::vec(
                prop_oneof![8 => proptest::sample::select(b"abc \xff".to_vec()), 2 => Just(b'\n'), 1 => Just(b'\r')],
                0..400,
            ),
            pattern in proptest::sample::select(vec!["a", "ab|c$", "^b", r"\bab\b", "[^a]", r"\Aa", "(?s)a.b", "^$", r"c\s", "(?i)AB"]),
            block in 1usize..64,
            extra in 0usize..64,
            max_hits in 1usize..6,
            is_backward in any::<bool>(),
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&text).unwrap();
            let regex = Regex::new(pattern).unwrap();
            let lines = LinePattern::new(&regex);
            let max_line = block + extra;
            let search = Search { block, max_line, max_hits, ..Search::new(Some(&lines)) };
            let mut found = Vec::new();
            search
                .run(&file, 0..text.len() as u64, is_backward, &mut |hits| {
                    found.push(hits);
                    Ok(())
                })
                .unwrap();
            if is_backward { found.reverse(); }
            let mut at = 0;
            for part in &found {
                prop_assert_eq!(part.looked.start, at);
                prop_assert!(part.hits.len() <= max_hits);
                prop_assert!(part.hits.iter().all(|hit| part.looked.contains(hit)));
                at = part.looked.end;
            }
            prop_assert_eq!(at, text.len() as u64);
            let hits: Vec<u64> = found.iter().flat_map(|part| part.hits.clone()).collect();
            let count: u64 = found.iter().map(|part| part.lines).sum();
            prop_assert_eq!((hits, count), naive(&text, &regex, max_line));
        }
    }

    #[tokio::test]
    async fn a_search_ends_when_nobody_listens_and_an_index_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let text = b"a line of a log\n".repeat(500_000);
        std::fs::write(&path, &text).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let end = text.len() as u64;
        let newest = FileSearch {
            path,
            inode,
            pattern: Some(Regex::new("a line").unwrap()),
            range: 0..end,
            is_backward: true,
        };
        let count = FileSearch {
            pattern: None,
            is_backward: false,
            ..newest.clone()
        };
        let (to, mut from) = mpsc::channel(1);
        let task = tokio::spawn(search(newest, to));
        assert_eq!(from.recv().await.unwrap().looked.end, end);
        drop(from);
        task.await.unwrap().unwrap();
        let (to, mut from) = mpsc::channel(1);
        let index = tokio::spawn(search(count, to));
        let mut lines = 0;
        while let Some(part) = from.recv().await {
            lines += part.lines;
        }
        index.await.unwrap().unwrap();
        assert_eq!(lines, 500_000);
    }
}
