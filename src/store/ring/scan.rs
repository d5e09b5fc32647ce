//! Which rows of a block match: found once for each block and kept with it, so that a step from match to match costs
//! no search, and lines that are dropped or read again take their matches with them.

use regex::bytes::Regex;

use super::Chunk;
use super::prepared::{CONTINUATION, NOTE, Row, level_number};
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
    /// `\A` and `\z` mean the start and end of a line here, which a search over many lines cannot tell.
    is_line_by_line: bool,
}

impl Finder {
    /// Looks for a pattern that was built with `multi_line(true)`.
    pub fn new(generation: u32, pattern: Regex) -> Self {
        let text = pattern.as_str();
        let is_line_by_line = text.contains("\\A") || text.contains("\\z");
        Self {
            generation,
            pattern,
            is_line_by_line,
        }
    }

    /// The pattern.
    pub fn pattern(&self) -> &Regex {
        &self.pattern
    }

    /// Looks at the rows of a block that were not looked at yet; returns how many bytes that were.
    pub(super) fn look(&self, chunk: &mut Chunk) -> usize {
        let from = chunk.found.begin(self.generation);
        let Some(first) = chunk.rows.get(from) else {
            return 0;
        };
        let bytes = chunk.bytes.len() - first.start as usize;
        self.rows(&chunk.bytes, &chunk.rows, from, &mut chunk.found.rows);
        chunk.found.looked = chunk.rows.len();
        bytes
    }

    /// Appends the rows from `from` on that match. Lines stand one behind the other, so the pattern runs over all of
    /// them at once: the finder of literals inside of it is then never interrupted.
    fn rows(&self, bytes: &[u8], rows: &[Row], from: usize, to: &mut Vec<u32>) {
        // Sorted blocks keep their bytes where they came: then only a line by line look tells the row.
        let is_in_order = rows[from..].is_sorted_by_key(|row| row.start);
        if self.is_line_by_line || !is_in_order {
            for (at, row) in rows.iter().enumerate().skip(from) {
                if !row.has(NOTE) && self.pattern.is_match(text(bytes, row)) {
                    to.push(at as u32);
                }
            }
            return;
        }
        let mut at = from;
        let mut place = rows[from].start as usize;
        while at < rows.len()
            && let Some(found) = self.pattern.find_at(bytes, place)
        {
            // The row in which the match begins, or the first one behind bytes that belong to no row.
            at +=
                rows[at..].partition_point(|row| ((row.start + row.len) as usize) < found.start());
            let Some(row) = rows.get(at) else {
                return;
            };
            let end = (row.start + row.len) as usize;
            let is_inside = row.start as usize <= found.start() && found.end() <= end;
            // A match over a line break proves nothing: `\s` takes those too.
            if !row.has(NOTE) && (is_inside || self.pattern.is_match(text(bytes, row))) {
                to.push(at as u32);
            }
            at += 1;
            place = end + 1;
            if place > bytes.len() {
                return;
            }
        }
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
    /// whether the last record of the block before is shown: a block may begin inside of it.
    pub(super) fn look(&self, generation: u32, chunk: &mut Chunk, is_open: bool) -> usize {
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
        let mut at = from;
        let mut bytes = 0;
        while at < chunk.rows.len() {
            let mut end = at + 1;
            while chunk.rows.get(end).is_some_and(|row| row.has(CONTINUATION)) {
                end += 1;
            }
            let record = &chunk.rows[at..end];
            let is_inside = at == 0 && record[0].has(CONTINUATION) && is_open;
            if is_inside || self.keeps(&chunk.bytes, record) {
                chunk.kept.rows.extend(at as u32..end as u32);
            }
            bytes += record.iter().map(|row| row.len as usize + 1).sum::<usize>();
            at = end;
        }
        chunk.kept.looked = chunk.rows.len();
        bytes
    }

    fn keeps(&self, bytes: &[u8], record: &[Row]) -> bool {
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
