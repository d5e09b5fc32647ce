//! The last lines of a source that can only be read forwards.

use std::collections::VecDeque;

use crate::domain::log::{LogBlock, LogRequest};

/// Keeps only the last lines of a closed read that asked for so many; lets everything else through. Holds the
/// blocks that those lines stand in, so memory is bounded by what was asked for.
#[derive(Debug)]
pub struct LastLines {
    wanted: Option<usize>,
    kept: VecDeque<LogBlock>,
    lines: usize,
}

impl LastLines {
    /// What [`LogRequest::tail`] wants of a closed read; a follow lets all lines through.
    pub fn new(request: &LogRequest) -> Self {
        Self::of(if request.follow { None } else { request.tail })
    }

    /// The last so many lines; `None` for all.
    pub fn of(lines: Option<u64>) -> Self {
        Self {
            wanted: lines.map(|n| usize::try_from(n).unwrap_or(usize::MAX)),
            kept: VecDeque::new(),
            lines: 0,
        }
    }

    /// Takes a block; gives it back where all lines are wanted.
    pub fn take(&mut self, block: LogBlock) -> Option<LogBlock> {
        let Some(wanted) = self.wanted else {
            return Some(block);
        };
        self.lines += block.lines.len();
        self.kept.push_back(block);
        while let Some(first) = self.kept.front() {
            if self.lines - first.lines.len() < wanted {
                break;
            }
            self.lines -= first.lines.len();
            self.kept.pop_front();
        }
        None
    }

    /// The last lines, in one block; `None` where there is none.
    pub fn finish(self) -> Option<LogBlock> {
        let wanted = self.wanted?;
        let mut skip = self.lines.saturating_sub(wanted);
        let mut all = LogBlock::default();
        for block in &self.kept {
            for (line, text) in block.iter() {
                if skip > 0 {
                    skip -= 1;
                } else {
                    all.push_at(line.place, line.at, line.stream, text, line.cut_bytes);
                }
            }
        }
        (!all.is_empty()).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::Stream;

    #[test]
    fn the_last_lines_of_many_blocks() {
        for (wanted, expected) in [(0, vec![]), (1, vec![9]), (4, vec![6, 7, 8, 9])] {
            let mut last = LastLines::of(Some(wanted));
            for first in [0, 3, 6, 9] {
                let mut block = LogBlock::default();
                for place in first..(first + 3).min(10) {
                    block.push_at(place, None, Stream::Stdout, b"x", 0);
                }
                assert!(last.take(block).is_none());
            }
            let block = last.finish().unwrap_or_default();
            let places: Vec<u64> = block.lines.iter().map(|line| line.place).collect();
            assert_eq!(places, expected);
        }
    }
}
