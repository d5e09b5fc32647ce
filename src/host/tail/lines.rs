//! From bytes to lines: a splitter that keeps what is unfinished, and the way back from a file's end to its
//! last N lines. Both are indifferent to where reads happen to cut the bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::{memchr, memrchr};

use crate::domain::log::{LogBlock, Stream};

/// A longer line is cut, and the cut is counted.
pub const MAX_LINE: usize = 1024 * 1024;
/// A block is handed on when it holds so many bytes.
pub const BLOCK_BYTES: usize = 64 * 1024;
/// How much is read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// Cuts a stream of bytes into lines. A line that is not ended yet is kept until its end comes, bounded by
/// [`MAX_LINE`]: what a line has beyond that is counted and dropped. `\r\n` ends a line as `\n` does.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
    cut_bytes: u32,
    pending_bytes: u64,
    stream: Stream,
    /// Where the unfinished line begins, or the next one if there is none; `None` in a source without places.
    place: Option<u64>,
}

impl LineSplitter {
    /// A splitter whose lines are of this stream.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream,
            ..Self::default()
        }
    }

    /// A splitter whose next byte stands at this offset of a file, and whose lines know their places.
    pub fn at(offset: u64) -> Self {
        Self {
            place: Some(offset),
            ..Self::default()
        }
    }

    /// Appends every line that `bytes` ends to `block`. `emit` takes the block whenever it holds
    /// [`BLOCK_BYTES`] and gives an empty one back; an error of `emit` ends the splitting.
    ///
    /// # Errors
    /// Whatever `emit` says: the listener is gone.
    pub fn split<E>(
        &mut self,
        mut bytes: &[u8],
        block: &mut LogBlock,
        mut emit: impl FnMut(&mut LogBlock) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr(b'\n', bytes) {
            if self.pending_bytes == 0 && end <= MAX_LINE {
                let place = self.place.unwrap_or(0);
                block.push_at(place, None, self.stream, trim_return(&bytes[..end]), 0);
                self.advance(end as u64 + 1);
            } else {
                self.keep(&bytes[..end]);
                self.finish(block);
                self.advance(1);
            }
            bytes = &bytes[end + 1..];
            if block.bytes.len() >= BLOCK_BYTES {
                emit(block)?;
            }
        }
        self.keep(bytes);
        Ok(())
    }

    /// Ends the unfinished line, if there is one, as the last line of the block.
    pub fn finish(&mut self, block: &mut LogBlock) {
        if self.pending_bytes == 0 {
            return;
        }
        let text = if self.cut_bytes == 0 {
            trim_return(&self.partial)
        } else {
            &self.partial
        };
        let place = self.place.unwrap_or(0);
        block.push_at(place, None, self.stream, text, self.cut_bytes);
        self.advance(self.pending_bytes);
        self.partial.clear();
        // A 1 MiB line is rare; its memory is not kept for the hours until the next one.
        self.partial.shrink_to(READ_BYTES);
        self.cut_bytes = 0;
        self.pending_bytes = 0;
    }

    /// Bytes of the source that belong to the unfinished line.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    fn advance(&mut self, bytes: u64) {
        self.place = self.place.map(|place| place + bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.pending_bytes += bytes.len() as u64;
        let room = MAX_LINE.saturating_sub(self.partial.len());
        let kept = room.min(bytes.len());
        let needed = self.partial.len() + kept;
        if needed > self.partial.capacity() {
            // Doubling, but not beyond the limit.
            let capacity = needed.max(2 * self.partial.capacity()).min(MAX_LINE);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(&bytes[..kept]);
        let cut = u32::try_from(bytes.len() - kept).unwrap_or(u32::MAX);
        self.cut_bytes = self.cut_bytes.saturating_add(cut);
    }
}

/// A line's text without the `\r` of a `\r\n`.
pub(super) fn trim_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Where the last `lines` lines of a file's bytes `floor..end` begin. Reads backwards, block by block, so the
/// cost is that of the lines asked for and not of the file. An unterminated last line counts as one.
///
/// # Errors
/// The file cannot be read.
pub fn start_of_last(file: &File, lines: u64, floor: u64, end: u64) -> io::Result<u64> {
    if lines == 0 || end <= floor {
        return Ok(end);
    }
    let mut buffer = vec![0; READ_BYTES];
    let mut wanted = lines;
    // The line break that ends the last line does not separate it from another.
    let mut upper = end;
    if read_at(file, &mut buffer[..1], end - 1)? == 1 && buffer[0] == b'\n' {
        upper -= 1;
    }
    while upper > floor {
        let from = upper.saturating_sub(READ_BYTES as u64).max(floor);
        let length = (upper - from) as usize;
        let read = read_at(file, &mut buffer[..length], from)?;
        let mut rest = &buffer[..read];
        while let Some(at) = memrchr(b'\n', rest) {
            wanted -= 1;
            if wanted == 0 {
                return Ok(from + at as u64 + 1);
            }
            rest = &rest[..at];
        }
        upper = from;
    }
    Ok(floor)
}

/// The offset after the last line break in a file's bytes `0..end`; 0 where there is none.
///
/// # Errors
/// The file cannot be read.
pub(super) fn end_of_last_line(file: &File, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut upper = end;
    while upper > 0 {
        let from = upper.saturating_sub(READ_BYTES as u64);
        let length = (upper - from) as usize;
        let read = read_at(file, &mut buffer[..length], from)?;
        if let Some(at) = memrchr(b'\n', &buffer[..read]) {
            return Ok(from + at as u64 + 1);
        }
        upper = from;
    }
    Ok(0)
}

/// The first line start after an offset and not after `end`.
///
/// # Errors
/// The file cannot be read.
pub(super) fn next_line(file: &File, offset: u64, end: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = offset;
    while at < end {
        let wanted = (end - at).min(READ_BYTES as u64) as usize;
        let read = read_at(file, &mut buffer[..wanted], at)?;
        if let Some(found) = memchr(b'\n', &buffer[..read]) {
            return Ok(Some(at + found as u64 + 1));
        }
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(None)
}

/// Fills the buffer from an offset as far as the file goes; returns how many bytes that were.
///
/// # Errors
/// The file cannot be read, or has no offsets: it is a pipe.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, u32)> {
        let mut splitter = LineSplitter::default();
        let mut block = LogBlock::default();
        let mut lines = Vec::new();
        let mut emit = |block: &mut LogBlock| -> Result<(), Infallible> {
            lines.extend(block.iter().map(|(l, t)| (t.to_vec(), l.cut_bytes)));
            block.clear();
            Ok(())
        };
        for chunk in chunks {
            splitter.split(chunk, &mut block, &mut emit).unwrap();
        }
        splitter.finish(&mut block);
        emit(&mut block).unwrap();
        lines
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_cut_is_counted() {
        let mut long = vec![b'x'; MAX_LINE + 10];
        long.extend(b"\nnext\n");
        let whole = split(&[&long]);
        assert_eq!(whole[0].0.len(), MAX_LINE);
        assert_eq!(whole[0].1, 10);
        assert_eq!(whole[1], (b"next".to_vec(), 0));
        let pieces: Vec<&[u8]> = long.chunks(1000).collect();
        assert_eq!(split(&pieces), whole);
    }

    #[test]
    fn a_giant_line_holds_no_more_than_itself() {
        let mut splitter = LineSplitter::default();
        let part = vec![b'x'; MAX_LINE / 2 + 1];
        for _ in 0..3 {
            let mut block = LogBlock::default();
            splitter
                .split(&part, &mut block, |_| Ok::<_, Infallible>(()))
                .unwrap();
        }
        assert!(splitter.partial.capacity() <= MAX_LINE);
    }

    #[test]
    fn a_source_without_places_has_none() {
        let mut splitter = LineSplitter::new(Stream::Stderr);
        let mut block = LogBlock::default();
        splitter
            .split(b"one\ntwo\n", &mut block, |_| Ok::<_, Infallible>(()))
            .unwrap();
        assert!(block.lines.iter().all(|line| line.place == 0));
    }

    #[test]
    fn blocks_are_handed_on_at_their_size() {
        let mut splitter = LineSplitter::default();
        let mut block = LogBlock::default();
        let mut sizes = Vec::new();
        let line = [b"y".repeat(999).as_slice(), b"\n"].concat();
        splitter
            .split(&line.repeat(200), &mut block, |block| {
                sizes.push(block.bytes.len());
                block.clear();
                Ok::<_, Infallible>(())
            })
            .unwrap();
        assert!(
            sizes.len() >= 2
                && sizes
                    .iter()
                    .all(|s| (BLOCK_BYTES..BLOCK_BYTES + 1000).contains(s))
        );
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_lines(
            bytes in proptest::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..4000),
            cuts in proptest::collection::vec(1usize..200, 1..40),
        ) {
            let mut chunks = Vec::new();
            let mut rest = bytes.as_slice();
            let mut cut = cuts.iter().cycle();
            while !rest.is_empty() {
                let n = (*cut.next().unwrap()).min(rest.len());
                chunks.push(&rest[..n]);
                rest = &rest[n..];
            }
            prop_assert_eq!(split(&chunks), split(&[&bytes]));
        }

        #[test]
        fn a_line_stands_in_the_file_where_its_place_says(
            lines in proptest::collection::vec((0usize..60, any::<bool>(), proptest::bool::weighted(0.02)), 1..30),
            is_ended in any::<bool>(),
            offset in 0u64..1000,
            cut in 1usize..5000,
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for (length, has_return, is_long) in &lines {
                expected.push(offset + bytes.len() as u64);
                bytes.resize(bytes.len() + length + 1 + if *is_long { MAX_LINE } else { 0 }, b'x');
                bytes.extend_from_slice(if *has_return { b"\r\n" } else { b"\n" });
            }
            if !is_ended { bytes.pop(); }
            let mut splitter = LineSplitter::at(offset);
            let mut block = LogBlock::default();
            let mut places = Vec::new();
            let mut emit = |block: &mut LogBlock| -> Result<(), Infallible> {
                places.extend(block.lines.iter().map(|line| line.place));
                block.clear();
                Ok(())
            };
            for chunk in bytes.chunks(cut * if lines.iter().any(|l| l.2) { 1000 } else { 1 }) {
                splitter.split(chunk, &mut block, &mut emit).unwrap();
            }
            splitter.finish(&mut block);
            emit(&mut block).unwrap();
            prop_assert_eq!(places, expected);
        }

        #[test]
        fn the_last_lines_are_those_of_the_whole_file(
            lines in proptest::collection::vec("[a-z]{0,300}", 1..400),
            repeat in 1usize..4,
            wanted in 0u64..1000,
            ended in any::<bool>(),
        ) {
            let mut text = lines.join("\n").repeat(repeat);
            if ended { text.push('\n'); }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let start = start_of_last(&file, wanted, 0, text.len() as u64).unwrap();
            let all: Vec<&str> = text.lines().collect();
            let expected = &all[all.len().saturating_sub(wanted as usize)..];
            let got: Vec<&str> = text[start as usize..].lines().collect();
            prop_assert_eq!(got.as_slice(), expected);
        }
    }
}
