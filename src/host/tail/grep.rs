//! A closed read that leaves out what does not match, without cutting the file into lines first.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::lines::{BLOCK_BYTES, MAX_LINE, read_at, trim_return};
use super::outlet::Outlet;
use super::search::{Part, SEARCH_BYTES, forward, long_line};
use super::source::{Closed, Origin, ReadEnd};
use crate::analysis::line_pattern::LinePattern;
use crate::analysis::parse::header;
use crate::domain::log::{LogBlock, Stream};

/// So far above a line the head of its record is looked for.
const ABOVE: u64 = 16 * 1024;
/// After so many lines whose record has no head, this is no log whose records have any.
const FRUITLESS: u32 = 64;

/// Sends the lines of a part of a file that match, and above a line that has no time of its own the lines up to the
/// next that has one: what a line of a stack trace is, its record says.
pub(super) fn read(
    file: &File,
    origin: &Arc<Origin>,
    range: Range<u64>,
    pattern: &LinePattern,
    out: &mut Outlet,
) -> Result<(), ReadEnd> {
    let mut sink = Sink {
        file,
        origin,
        out,
        block: LogBlock::default(),
        sent_to: range.start,
        fruitless: 0,
    };
    let mut buffer = vec![0; SEARCH_BYTES];
    forward(file, range, &mut buffer, &mut |part| {
        match part {
            Part::Lines(text, place) => {
                let mut ended = Ok(());
                pattern.find_lines(text, |start| {
                    if ended.is_ok() {
                        ended = sink.take(text, start, place);
                    }
                });
                ended?;
            }
            Part::LongLine(line) => {
                let (text, cut) = long_line(file, &line, MAX_LINE)?;
                if pattern.is_match(&text) {
                    let cut = u32::try_from(cut).unwrap_or(u32::MAX);
                    let block = &mut sink.block;
                    block.push_at(line.start, None, Stream::Stdout, &text, cut);
                }
            }
        }
        Ok(())
    })?;
    Ok(sink.send()?)
}

/// Gathers the lines that are sent.
struct Sink<'a> {
    file: &'a File,
    origin: &'a Arc<Origin>,
    out: &'a mut Outlet,
    block: LogBlock,
    /// Where the last line that was taken ends.
    sent_to: u64,
    fruitless: u32,
}

impl Sink<'_> {
    /// Takes the line that starts at an offset of a text, which stands at `place` in the file.
    fn take(&mut self, text: &[u8], start: usize, place: u64) -> Result<(), Closed> {
        let end = memchr(b'\n', &text[start..]).map_or(text.len(), |n| start + n);
        let line = trim_return(&text[start..end]);
        let at = place + start as u64;
        if self.fruitless < FRUITLESS && !header::has_time(line) {
            self.take_above(at);
        }
        self.block.push_at(at, None, Stream::Stdout, line, 0);
        self.sent_to = place + end as u64 + 1;
        match self.block.bytes.len() >= BLOCK_BYTES {
            true => self.send(),
            false => Ok(()),
        }
    }

    /// Takes the lines above a place, from the one on that has a time.
    fn take_above(&mut self, place: u64) {
        let from = place.saturating_sub(ABOVE).max(self.sent_to);
        let mut above = vec![0; place.saturating_sub(from) as usize];
        // What cannot be read again is not shown: the lines only tell how loud the one below is.
        if above.is_empty() || !read_at(self.file, &mut above, from).is_ok_and(|n| n == above.len())
        {
            return;
        }
        let mut head = above.len();
        loop {
            let start = memrchr(b'\n', &above[..head - 1]).map_or(0, |n| n + 1);
            let is_whole = start > 0 || from == self.sent_to;
            if is_whole && header::has_time(&above[start..head - 1]) {
                head = start;
                self.fruitless = 0;
                break;
            }
            if start == 0 {
                self.fruitless += 1;
                return;
            }
            head = start;
        }
        let mut at = from + head as u64;
        for line in above[head..].split_inclusive(|b| *b == b'\n') {
            let text = trim_return(line.strip_suffix(b"\n").unwrap_or(line));
            self.block.push_at(at, None, Stream::Stdout, text, 0);
            at += line.len() as u64;
        }
    }

    fn send(&mut self) -> Result<(), Closed> {
        self.out.block(self.origin, std::mem::take(&mut self.block))
    }
}
