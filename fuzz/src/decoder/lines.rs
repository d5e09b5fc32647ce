//! The splitter of files and commands.

use std::convert::Infallible;

use lastgood::domain::log::{LogBlock, RawLine};
use lastgood::host::tail::{BLOCK_BYTES, LineSplitter, MAX_LINE};

use super::LONGEST;
use crate::{Input, memory};

/// Where it begins, its text, what was cut off it.
type Line = (u64, Vec<u8>, u32);

/// Besides the longest line: the bookkeeping of this check.
const SLACK: usize = 4 * 1024;

pub(super) fn check(input: &Input<'_>) {
    let bytes = input.stretched(LONGEST);
    let start = u64::from(input.cuts[0]);
    let expected = read_simply(&bytes, start);
    assert_eq!(split(&[&bytes], start), expected, "in one piece");
    assert_eq!(split(&input.pieces(&bytes), start), expected, "in pieces");
}

fn split(pieces: &[&[u8]], start: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut take = |block: &mut LogBlock| {
        for (line, text) in block.iter() {
            lines.push((line.place, text.to_vec(), line.cut_bytes));
        }
        block.clear();
    };
    let mut splitter = LineSplitter::at(start);
    let mut block = LogBlock::default();
    let mut fed = 0;
    for piece in pieces {
        let before = memory::held();
        let mut largest = 0;
        let mut given = 0;
        let _ = splitter.split(piece, &mut block, |block| {
            largest = largest.max(block.bytes.len());
            take(block);
            given += 1;
            Ok::<_, Infallible>(())
        });
        assert!(
            largest <= BLOCK_BYTES + MAX_LINE + 1,
            "a block of {largest} bytes"
        );
        fed += piece.len() as u64;
        assert!(splitter.pending_bytes() <= fed);
        // Blocks were handed on: what has grown since is the splitter, unless this check keeps lines.
        let lines = block.bytes.capacity() + block.lines.capacity() * size_of::<RawLine>();
        let grown = memory::held().saturating_sub(before + lines);
        assert!(
            given > 0 || grown <= MAX_LINE + SLACK,
            "{grown} bytes are held"
        );
    }
    splitter.finish(&mut block);
    assert_eq!(splitter.pending_bytes(), 0);
    take(&mut block);
    lines
}

/// All at once, and as said: `\n` or `\r\n` ends a line, the last needs no end, and what is over the limit is cut.
fn read_simply(bytes: &[u8], start: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut place = start;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let kept = &text[..text.len().min(MAX_LINE)];
        let cut = text.len() - kept.len();
        let kept = match cut {
            0 => kept.strip_suffix(b"\r").unwrap_or(kept),
            _ => kept,
        };
        lines.push((place, kept.to_vec(), cut as u32));
        place += line.len() as u64;
    }
    lines
}
