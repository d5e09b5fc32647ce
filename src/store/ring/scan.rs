//! Which rows of a block match: found once for each block and kept with it, so that a step from match to match costs
//! no search, and lines that are dropped or read again take their matches with them.

use regex::bytes::Regex;

use super::Chunk;
use super::prepared::{CONTINUATION, NOTE, Row, level_number};
use crate::analysis::line_pattern::LinePattern;
use crate::domain::log::Level;

/// Rows of a block that match, up to the row that was looked at last.
#[derive(Debug, Clone, Default)]
pub(super) struct Matches {
    generation: u32,
    /// Rows looked at so far.
    looked: usize,
    /// Rows that match, ascending.
    pub(super) rows: Vec<u32>,
}

impl Matches {
    /// Whether every row was looked at for this question.
    pub(super) fn is_complete(&self, generation: u32, rows: usize) -> bool {
        self.generation == generation && self.looked == rows
    }

    /// The rows that match, as far as they were looked at for this question.
    pub(super) fn of(&self, generation: u32) -> &[u32] {
        if self.generation == generation {
            &self.rows
        } else {
            &[]
        }
    }

    fn begin(&mut self, generation: u32) -> usize {
        if self.generation != generation {
            self.generation = generation;
            self.looked = 0;
            self.rows.clear();
        }
        self.looked
    }

    /// Rows were dropped from the start of the block.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.looked = self.looked.saturating_sub(count);
        self.rows.retain(|row| *row as usize >= count);
        for row in &mut self.rows {
            *row -= count as u32;
        }
    }
}

/// A text that is searched for.
#[derive(Debug, Clone)]
pub struct Finder {
    /// Another one than before; matches that were found for an older one do not hold.
    pub(super) generation: u32,
    pattern: Regex,
    lines: LinePattern,
}

impl Finder {
    /// Looks for a pattern whose flags stand in its text (`(?i)timeout`).
    pub fn new(generation: u32, pattern: Regex) -> Self {
        Self {
            generation,
            lines: LinePattern::new(&pattern),
            pattern,
        }
    }

    /// The pattern.
    pub fn pattern(&self) -> &Regex {
        &self.pattern
    }

    /// Looks at the rows of a block that were not looked at yet; returns how many bytes that were. A packed block is
    /// unpacked into `room`.
    pub(super) fn look(&self, chunk: &mut Chunk, room: &mut Vec<u8>) -> usize {
        let from = chunk.found.begin(self.generation);
        let rows = &chunk.rows[from..];
        let Some(start) = rows.iter().map(|row| row.start as usize).min() else {
            return 0;
        };
        // The pattern runs over all lines at once; rows may stand in another order than their bytes.
        let mut starts: Vec<usize> = Vec::new();
        self.lines
            .find_lines(&chunk.text.read(room)[start..], |at| {
                starts.push(start + at);
            });
        if !starts.is_empty() {
            let is_found =
                |row: &Row| !row.has(NOTE) && starts.binary_search(&(row.start as usize)).is_ok();
            let found = rows.iter().enumerate().filter(|(_, row)| is_found(row));
            let found: Vec<u32> = found.map(|(at, _)| (from + at) as u32).collect();
            chunk.found.rows.extend(found);
        }
        chunk.found.looked = chunk.rows.len();
        chunk.text.len() - start
    }
}

fn text<'a>(bytes: &'a [u8], row: &Row) -> &'a [u8] {
    let start = row.start as usize;
    &bytes[start..start + row.len as usize]
}

/// Which records are shown.
#[derive(Debug, Clone, Default)]
pub struct Sieve {
    /// Each must be found in a record …
    pub include: Vec<Regex>,
    /// … and none of these …
    pub exclude: Vec<Regex>,
    /// … which is at least as loud as this.
    pub level: Option<Level>,
    /// Lines that are shown before each.
    pub before: usize,
    /// Lines that are shown after each.
    pub after: usize,
}

impl Sieve {
    /// Whether everything is shown.
    pub fn is_open(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.level.is_none()
    }

    /// Decides on the rows of a block that were not decided on yet; returns how many bytes that were. `is_open` says
    /// whether the last record of the block before is shown: a block may begin inside of it. A packed block is unpacked
    /// into `room`.
    pub(super) fn look(
        &self,
        generation: u32,
        chunk: &mut Chunk,
        is_open: bool,
        room: &mut Vec<u8>,
    ) -> usize {
        let mut from = chunk.kept.begin(generation);
        if from >= chunk.rows.len() {
            return 0;
        }
        // A record that goes on with new lines is decided on again as a whole.
        while from > 0 && chunk.rows[from].has(CONTINUATION) {
            from -= 1;
        }
        while chunk
            .kept
            .rows
            .last()
            .is_some_and(|row| *row as usize >= from)
        {
            chunk.kept.rows.pop();
        }
        let text = chunk.text.read(room);
        let mut at = from;
        let mut bytes = 0;
        while at < chunk.rows.len() {
            let mut end = at + 1;
            while chunk.rows.get(end).is_some_and(|row| row.has(CONTINUATION)) {
                end += 1;
            }
            let record = &chunk.rows[at..end];
            let is_inside = at == 0 && record[0].has(CONTINUATION) && is_open;
            if is_inside || self.keeps(text, record) {
                chunk.kept.rows.extend(at as u32..end as u32);
            }
            bytes += record.iter().map(|row| row.len as usize + 1).sum::<usize>();
            at = end;
        }
        chunk.kept.looked = chunk.rows.len();
        bytes
    }

    /// Whether a record is shown.
    pub(super) fn keeps(&self, bytes: &[u8], record: &[Row]) -> bool {
        // A seam says that lines may be missing: it is never hidden.
        if record[0].has(NOTE) {
            return true;
        }
        let is_loud = self
            .level
            .is_none_or(|level| record[0].level >= level_number(Some(level)));
        let has = |pattern: &Regex| record.iter().any(|row| pattern.is_match(text(bytes, row)));
        is_loud && self.include.iter().all(has) && !self.exclude.iter().any(has)
    }
}
