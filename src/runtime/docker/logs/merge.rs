//! Several containers' lines as one stream, and the last lines of it.

use super::{BLOCK_BYTES, Position, Source};
use crate::domain::log::LogBlock;
use crate::runtime::RuntimeError;

/// Several containers' lines as one stream, by time.
pub(super) struct Merge {
    pub(super) sources: Vec<Source>,
    heads: Vec<Option<Head>>,
}

struct Head {
    block: LogBlock,
    next: usize,
}

impl Merge {
    pub(super) async fn open(sources: Vec<Source>) -> Result<Self, RuntimeError> {
        let mut merge = Self {
            heads: sources.iter().map(|_| None).collect(),
            sources,
        };
        for at in 0..merge.sources.len() {
            merge.refill(at).await?;
        }
        Ok(merge)
    }

    /// Where each source was read to.
    pub(super) fn positions(&self) -> Vec<Position> {
        self.sources.iter().map(Source::position).collect()
    }

    async fn refill(&mut self, at: usize) -> Result<(), RuntimeError> {
        self.heads[at] = self.sources[at]
            .next()
            .await?
            .map(|block| Head { block, next: 0 });
        Ok(())
    }

    pub(super) async fn next(&mut self) -> Result<Option<LogBlock>, RuntimeError> {
        let mut out = LogBlock::default();
        while out.bytes.len() < BLOCK_BYTES {
            // Few containers: a scan is quicker than a heap.
            let first = self
                .heads
                .iter()
                .enumerate()
                .filter_map(|(i, head)| head.as_ref().map(|h| (h.block.lines[h.next].at, i)))
                .min();
            let Some((_, at)) = first else {
                break;
            };
            let Some(head) = &mut self.heads[at] else {
                break;
            };
            let line = head.block.lines[head.next];
            out.push(line.at, line.stream, head.block.text(&line), line.cut_bytes);
            head.next += 1;
            if head.next == head.block.lines.len() {
                self.refill(at).await?;
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }
}

/// Keeps the last so many lines of what is pushed.
pub(super) struct Last {
    lines: u64,
    kept: u64,
    pub(super) seen: u64,
    pub(super) blocks: std::collections::VecDeque<LogBlock>,
}

impl Last {
    pub(super) fn new(lines: u64) -> Self {
        Self {
            lines,
            kept: 0,
            seen: 0,
            blocks: std::collections::VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, block: LogBlock) {
        self.kept += block.lines.len() as u64;
        self.seen += block.lines.len() as u64;
        self.blocks.push_back(block);
        while self.kept > self.lines {
            let Some(first) = self.blocks.front_mut() else {
                return;
            };
            let over = self.kept - self.lines;
            if over >= first.lines.len() as u64 {
                self.kept -= first.lines.len() as u64;
                self.blocks.pop_front();
            } else {
                first
                    .lines
                    .drain(..usize::try_from(over).unwrap_or(usize::MAX));
                self.kept = self.lines;
            }
        }
    }
}
