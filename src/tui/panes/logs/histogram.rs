//! How matches lie in time: one bar a column.

use jiff::Timestamp;

use super::LogsPane;
use crate::tui::theme::Theme;

/// Matches over the time that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    /// A bar for each part of the time, the oldest first.
    pub(super) bars: String,
    /// When the first part begins.
    pub(super) from: Timestamp,
    /// When the last part ends.
    pub(super) to: Timestamp,
}

/// Counts the matches that are held in so many parts of the time that is held; `None` without a match or a time.
pub(super) fn of(pane: &LogsPane, width: usize, theme: Theme) -> Option<Histogram> {
    let from = pane
        .rings
        .iter()
        .filter_map(|ring| ring.oldest_at())
        .min()?;
    let to = pane.rings.last()?.instant()?;
    let (first, last) = (from.as_millisecond(), to.as_millisecond());
    let span = (last - first).max(1);
    let mut counts = vec![0u64; width];
    let mut total = 0;
    pane.rings.each_match(|key| {
        let Some(at) = key.instant() else {
            return;
        };
        let part = (at.as_millisecond() - first).clamp(0, span) * (width as i64 - 1) / span;
        counts[part as usize] += 1;
        total += 1;
    });
    let most = counts.iter().copied().max().filter(|_| total > 0)?;
    Some(Histogram {
        bars: counts.iter().map(|n| theme.bar(*n, most)).collect(),
        from,
        to,
    })
}
