//! Lines that are read again find their place among those that are held.

use super::prepared::{PreparedBlock, PreparedPage};
use super::{Chunk, Gap, Ring};

impl Ring {
    /// Puts lines that were read again in front of the line of a number (or, not `is_backward`, behind it). Lines that
    /// are held already are left out. Returns how many were put in.
    pub fn insert(&mut self, page: PreparedPage, border: u64, is_backward: bool) -> u64 {
        let Some((at, row)) = self.find(border) else {
            // The line was dropped meanwhile: nobody looks at it any more.
            return 0;
        };
        let is_in_files = self.file(border).is_some();
        if is_backward && row > 0 || !is_backward && row + 1 < self.chunks[at].rows.len() {
            // Only the border of a block has a gap beside it.
            return 0;
        }
        // Where the new blocks go, and the gap that they close or leave.
        let at = if is_backward { at } else { at + 1 };
        let before = at.checked_sub(1).map(|i| &self.chunks[i]);
        let floor = before
            .and_then(|c| c.rows.last())
            .map(|r| (r.number, r.order));
        let ceiling = self
            .chunks
            .get(at)
            .and_then(|c| c.rows.first())
            .map(|r| (r.number, r.order));
        let gap = self.chunks.get(at).map_or(Gap::Unread, |c| c.gap);
        if gap == Gap::None && ceiling.is_some() {
            return 0;
        }
        let mut blocks = page.blocks;
        let mut meets = page.is_edge;
        if is_in_files {
            for block in &mut blocks {
                let count = block.rows.len();
                block.rows.retain(|row| {
                    floor.is_none_or(|(number, _)| row.number > number)
                        && ceiling.is_none_or(|(number, _)| row.number < number)
                });
                meets |= block.rows.len() < count;
            }
        } else {
            meets |= number_again(
                &mut blocks,
                gap,
                floor.map(|f| f.0),
                ceiling.map(|c| c.0),
                is_backward,
            );
        }
        blocks.retain(|block| !block.rows.is_empty());
        for block in &mut blocks {
            for row in &mut block.rows {
                let order = floor.map_or(row.order, |(_, order)| row.order.max(order));
                row.order = ceiling.map_or(order, |(_, ceiling)| order.min(ceiling));
            }
        }
        let lines: u64 = blocks.iter().map(PreparedBlock::lines).sum();
        let left = if meets {
            Gap::None
        } else {
            match gap {
                Gap::Dropped(n) => Gap::Dropped(n.saturating_sub(lines)),
                other => other,
            }
        };
        let (front, back) = if is_backward {
            (left, Gap::None)
        } else {
            (Gap::None, left)
        };
        if blocks.is_empty() {
            if let Some(next) = self.chunks.get_mut(at) {
                next.gap = left;
            }
            return 0;
        }
        let looked = self.chunks.get(at).map(|next| next.looked.split());
        let count = blocks.len();
        for (i, block) in blocks.into_iter().enumerate() {
            let mut chunk = Chunk::new(block, if i == 0 { front } else { Gap::None });
            if let (0, Some((front, _))) = (i, looked) {
                chunk.looked = front;
            }
            self.size += chunk.size();
            self.held += chunk.lines();
            self.chunks.insert(at + i, chunk);
        }
        if let Some(next) = self.chunks.get_mut(at + count) {
            next.gap = back;
            next.looked = looked.map_or(next.looked, |(_, back)| back);
        }
        lines
    }
}

impl Ring {
    /// Puts lines of a file in that do not lie beside any that are held, such as those around a match.
    /// Returns how many were new.
    pub fn insert_apart(&mut self, page: PreparedPage) -> u64 {
        let Some(first) = page
            .blocks
            .iter()
            .flat_map(|b| &b.rows)
            .map(|r| r.number)
            .next()
        else {
            return 0;
        };
        let at = self
            .chunks
            .partition_point(|c| c.rows.last().is_some_and(|r| r.number < first));
        let ceiling = self
            .chunks
            .get(at)
            .and_then(|c| c.rows.first())
            .map(|r| (r.number, r.order));
        let floor = at
            .checked_sub(1)
            .and_then(|i| self.chunks[i].rows.last())
            .map(|r| r.order);
        if ceiling.is_some_and(|(number, _)| number <= first) {
            // The first line is held: so is the rest, or it is read from there on.
            return 0;
        }
        let mut meets = false;
        let mut put = 0;
        let mut lines = 0;
        for mut block in page.blocks {
            let count = block.rows.len();
            block
                .rows
                .retain(|row| ceiling.is_none_or(|(number, _)| row.number < number));
            meets |= block.rows.len() < count;
            if block.rows.is_empty() {
                break;
            }
            for row in &mut block.rows {
                let order = floor.map_or(row.order, |order| row.order.max(order));
                row.order = ceiling.map_or(order, |(_, ceiling)| order.min(ceiling));
            }
            let chunk = Chunk::new(block, if put == 0 { Gap::Unread } else { Gap::None });
            self.size += chunk.size();
            self.held += chunk.lines();
            lines += chunk.lines();
            self.chunks.insert(at + put, chunk);
            put += 1;
        }
        if put > 0
            && let Some(next) = self.chunks.get_mut(at + put)
        {
            next.gap = if meets { Gap::None } else { Gap::Unread };
        }
        lines
    }
}

/// Gives lines of a source without places the numbers that were free, and drops those for which there are none: they
/// are held on the far side of the gap. Returns whether the gap is closed.
fn number_again(
    blocks: &mut [PreparedBlock],
    gap: Gap,
    floor: Option<u64>,
    ceiling: Option<u64>,
    is_backward: bool,
) -> bool {
    let count: u64 = blocks.iter().map(PreparedBlock::lines).sum();
    let room = match (floor, ceiling, gap) {
        (Some(_), _, Gap::Dropped(n)) => n,
        (Some(floor), Some(ceiling), _) => ceiling - floor - 1,
        _ => u64::MAX,
    };
    let surplus = count.saturating_sub(room);
    // Those next to the border are kept.
    if is_backward {
        let mut skip = surplus;
        for block in blocks.iter_mut() {
            let n = skip.min(block.lines());
            block.rows.drain(..n as usize);
            skip -= n;
        }
    } else {
        let mut skip = surplus;
        for block in blocks.iter_mut().rev() {
            let n = skip.min(block.lines());
            block.rows.truncate(block.rows.len() - n as usize);
            skip -= n;
        }
    }
    let kept = count - surplus;
    let first = match (is_backward, floor, ceiling) {
        (true, _, Some(ceiling)) => ceiling.saturating_sub(kept),
        (_, Some(floor), _) => floor + 1,
        _ => 0,
    };
    let numbers = first..;
    let rows = blocks.iter_mut().flat_map(|block| &mut block.rows);
    for (row, number) in rows.zip(numbers) {
        row.number = number;
    }
    kept >= room
}
