//! Finds the border in the lines of all containers and cuts the page off there.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::domain::log::{LogBlock, LogPage};

/// The line where the page begins or ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Border {
    pub(super) at: Timestamp,
    /// How many lines with this very time are held on the near side, the line itself included.
    pub(super) same: u64,
}

/// The lines of one container around a border and on its far side, in the order of its log.
#[derive(Debug, Default)]
pub(super) struct Part {
    blocks: VecDeque<LogBlock>,
    /// Lines that are on the far side of the border by their time, whatever their place.
    pub(super) count: u64,
    has_reached: bool,
    /// Whether the log has no more lines on the far side.
    pub(super) is_whole: bool,
}

impl Part {
    /// Takes the next lines of a log that ends around the border. Of those before it only a little more than `lines`
    /// are kept.
    pub(super) fn push_before(&mut self, block: LogBlock, at: Timestamp, lines: u64) {
        if !self.has_reached {
            let reached = block.lines.iter().position(|line| line.at >= Some(at));
            self.has_reached = reached.is_some();
            self.count += reached.unwrap_or(block.lines.len()) as u64;
        }
        self.blocks.push_back(block);
        while let Some(first) = self.blocks.front() {
            let size = first.lines.len() as u64;
            if self.count <= size.saturating_add(lines) {
                break;
            }
            self.count -= size;
            self.blocks.pop_front();
        }
    }

    /// Takes the next lines of a log that begins around the border.
    pub(super) fn push_after(&mut self, block: LogBlock, at: Timestamp) {
        let after = match self.has_reached {
            true => block.lines.len(),
            false => {
                let reached = block.lines.iter().position(|line| line.at > Some(at));
                self.has_reached = reached.is_some();
                reached.map_or(0, |from| block.lines.len() - from)
            }
        };
        self.count += after as u64;
        self.blocks.push_back(block);
    }
}

/// Where a line is: its part, its block, its index.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The newest time in its part up to here: out-of-order lines keep their place among their neighbours.
    key: Option<Timestamp>,
    at: Option<Timestamp>,
    part: usize,
    block: usize,
    line: usize,
}

/// All lines as one log, by time; each part's lines in the part's own order.
fn merge(parts: &[Part]) -> Vec<Place> {
    let mut places = Vec::new();
    for (part_index, part) in parts.iter().enumerate() {
        let mut key = None;
        for (block_index, block) in part.blocks.iter().enumerate() {
            for (line_index, line) in block.lines.iter().enumerate() {
                key = key.max(line.at);
                places.push(Place {
                    key,
                    at: line.at,
                    part: part_index,
                    block: block_index,
                    line: line_index,
                });
            }
        }
    }
    // Stable: equal times keep the order of the containers.
    places.sort_by_key(|place| place.key);
    places
}

/// The last `lines` lines before the border, and whether the border's own line was there.
pub(super) fn before(parts: &[Part], border: Border, lines: u64) -> (LogPage, bool) {
    let places = merge(parts);
    let same = usize::try_from(border.same).unwrap_or(usize::MAX);
    let is_same = |place: &Place| place.at == Some(border.at);
    let indices = || (0..places.len()).filter(|&i| is_same(&places[i]));
    let found = match same.checked_sub(1) {
        // Nothing with this time is held: the border is behind the last of them.
        None => indices().next_back().map(|i| i + 1),
        Some(back) => indices().rev().nth(back),
    };
    let by_time = || {
        let first = |i: &usize| places[*i].key >= Some(border.at);
        (0..places.len()).find(first).unwrap_or(places.len())
    };
    let end = found.unwrap_or_else(by_time);
    let start = end.saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
    let is_edge = start == 0 && parts.iter().all(|part| part.is_whole);
    (
        page(parts, &places[start..end], is_edge),
        found.is_some() || same == 0,
    )
}

/// The first `lines` lines after the border, and whether the border's own line was there.
pub(super) fn after(parts: &[Part], border: Border, lines: u64) -> (LogPage, bool) {
    let places = merge(parts);
    let same = usize::try_from(border.same).unwrap_or(usize::MAX);
    let is_same = |place: &Place| place.at == Some(border.at);
    let mut indices = (0..places.len()).filter(|&i| is_same(&places[i]));
    let found = match same.checked_sub(1) {
        None => indices.next(),
        Some(forth) => indices.nth(forth).map(|i| i + 1),
    };
    let by_time = || {
        let first = |i: &usize| places[*i].key > Some(border.at);
        (0..places.len()).find(first).unwrap_or(places.len())
    };
    let start = found.unwrap_or_else(by_time);
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    let end = start.saturating_add(wanted).min(places.len());
    let is_edge = end == places.len() && parts.iter().all(|part| part.is_whole);
    (
        page(parts, &places[start..end], is_edge),
        found.is_some() || same == 0,
    )
}

/// Blocks of this size are easy to handle on.
const BLOCK_LINES: usize = 1000;

fn page(parts: &[Part], places: &[Place], is_edge: bool) -> LogPage {
    let blocks = places.chunks(BLOCK_LINES).map(|places| {
        let mut out = LogBlock::default();
        for place in places {
            let block = &parts[place.part].blocks[place.block];
            let line = &block.lines[place.line];
            out.push(line.at, line.stream, block.text(line), line.cut_bytes);
        }
        out
    });
    LogPage {
        blocks: blocks.collect(),
        is_edge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::Stream;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn block(lines: &[(i64, usize)]) -> LogBlock {
        let mut block = LogBlock::default();
        for (millis, number) in lines {
            let text = number.to_string();
            block.push(Some(at(*millis)), Stream::Stdout, text.as_bytes(), 0);
        }
        block
    }

    fn numbers(page: &LogPage) -> Vec<usize> {
        let texts = page.blocks.iter().flat_map(LogBlock::iter);
        texts
            .map(|(_, text)| std::str::from_utf8(text).unwrap().parse().unwrap())
            .collect()
    }

    /// A container's lines as `before` would be given them, in blocks of three.
    fn whole(lines: &[(i64, usize)], border: i64, wanted: u64) -> Part {
        let mut part = Part::default();
        for lines in lines.chunks(3) {
            part.push_before(block(lines), at(border), wanted);
        }
        part.is_whole = part.blocks.iter().map(|b| b.lines.len()).sum::<usize>() == lines.len();
        part
    }

    const LOG: [(i64, usize); 8] = [
        (1, 0),
        (2, 1),
        (2, 2),
        (2, 3),
        (4, 4),
        (3, 5),
        (5, 6),
        (6, 7),
    ];

    fn page_before(millis: i64, same: u64, lines: u64) -> (Vec<usize>, bool) {
        let border = Border {
            at: at(millis),
            same,
        };
        let (page, _) = before(&[whole(&LOG, millis, lines)], border, lines);
        (numbers(&page), page.is_edge)
    }

    #[test]
    fn lines_that_share_the_borders_time_are_on_both_of_its_sides() {
        assert_eq!(page_before(2, 1, 2), (vec![1, 2], false));
        assert_eq!(page_before(2, 2, 2), (vec![0, 1], true));
        assert_eq!(page_before(2, 3, 2), (vec![0], true));
        assert_eq!(page_before(2, 0, 2), (vec![2, 3], false));
        assert_eq!(page_before(1, 1, 2), (vec![], true));
    }

    #[test]
    fn a_neighbour_out_of_order_is_on_the_side_where_it_stands() {
        // Line 4 is later than line 5 and stands before it.
        assert_eq!(page_before(3, 1, 2), (vec![3, 4], false));
        assert_eq!(page_before(4, 1, 2), (vec![2, 3], false));
    }

    #[test]
    fn a_border_whose_line_is_gone_is_found_by_time() {
        let border = Border { at: at(3), same: 9 };
        let (page, is_found) = before(&[whole(&LOG, 3, 9)], border, 9);
        assert_eq!((numbers(&page), is_found), (vec![0, 1, 2, 3], false));
    }

    #[test]
    fn a_page_forward_begins_behind_the_border() {
        let forward = |millis, same, lines| {
            let mut part = Part {
                is_whole: true,
                ..Part::default()
            };
            part.push_after(block(&LOG), at(millis));
            let border = Border {
                at: at(millis),
                same,
            };
            let (page, _) = after(&[part], border, lines);
            (numbers(&page), page.is_edge)
        };
        assert_eq!(forward(2, 1, 2), (vec![2, 3], false));
        assert_eq!(forward(2, 3, 2), (vec![4, 5], false));
        assert_eq!(forward(2, 0, 1), (vec![1], false));
        assert_eq!(forward(3, 1, 9), (vec![6, 7], true));
        assert_eq!(forward(6, 1, 9), (vec![], true));
    }

    proptest! {
        /// Going back page by page over two containers gives every line once, in one order.
        #[test]
        fn pages_backward_hold_every_line_once(
            steps in prop::collection::vec((0i64..3, any::<bool>()), 1..120),
            lines in 1u64..9,
        ) {
            let mut logs = [Vec::new(), Vec::new()];
            let mut now = 0;
            for (number, (step, is_second)) in steps.iter().enumerate() {
                now += step;
                logs[usize::from(*is_second)].push((now, number));
            }
            let everything = {
                let parts = [whole(&logs[0], 1000, 1000), whole(&logs[1], 1000, 1000)];
                numbers(&before(&parts, Border { at: at(1000), same: 0 }, 1000).0)
            };
            let time_of = |number: usize| -> i64 { steps[..=number].iter().map(|s| s.0).sum() };
            let mut held: Vec<usize> = Vec::new();
            for _ in 0..=everything.len() {
                let millis = held.first().map_or(1000, |n| time_of(*n));
                let same = held.iter().filter(|n| time_of(**n) == millis).count() as u64;
                let parts = [whole(&logs[0], millis, lines), whole(&logs[1], millis, lines)];
                let (page, is_found) = before(&parts, Border { at: at(millis), same }, lines);
                prop_assert!(is_found);
                held.splice(0..0, numbers(&page));
                if page.is_edge {
                    break;
                }
                prop_assert!(!page.blocks.is_empty());
            }
            prop_assert_eq!(held, everything);
        }
    }
}
