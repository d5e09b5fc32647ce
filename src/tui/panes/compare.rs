//! What the deploy changed, and what to do about it: the verdict first, then its reasons, then the patterns.
//!
//! ```text
//! ╔ 3 compare  pre-1.5 ↔ live ═ ✖ ROLL BACK P0 ════════════════════════════════════════╗
//! ║ error rate 0.5 % → 25 % (×50)   p95 0.9 s → 3.8 s   3 new error patterns           ║
//! ║ ✖ error rate of backend rose from 0.5 % to 25 %                                    ║
//! ║ changed: image 1.4 → 1.5 · .env POOL_SIZE 20 → 100                                 ║
//! ║       before     after  per 1,000                                                  ║
//! ║ +          0        28    0 →  140  ERROR NoneType has no attribute <*>      15:10 ║
//! ║ … 312 patterns unchanged (98.4 % of lines)                                         ║
//! ╚════════════════════════════════════════════════════════════════════════════════════╝
//! ```

mod draw;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::comparison::{Comparison, PatternChange, PatternRow};
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::tui::theme::decision_grade;

pub use draw::{draw, headline};

/// How long after a deploy the comparison is repeated by itself.
pub const WATCH_FOR: Duration = Duration::from_secs(10 * 60);
/// How often it is repeated then.
pub const WATCH_EVERY: Duration = Duration::from_secs(20);

/// The comparison of the newest checkpoint with now.
#[derive(Debug, Default)]
pub struct ComparePane {
    /// What was found.
    pub reading: Reading<Comparison>,
    /// What the checkpoint of the comparison is called.
    pub label: Option<SafeText>,
    /// Since when a comparison is being made.
    pub running: Option<Timestamp>,
    /// What the running comparison is at.
    pub doing: Option<SafeText>,
    /// The row under the cursor, counted over the patterns that are shown.
    pub cursor: usize,
    /// Whether patterns that did not change are shown too.
    pub has_unchanged: bool,
    /// The first column that is shown of the templates.
    pub column: usize,
    /// Until when it is repeated by itself, after a deploy was seen.
    pub watch_until: Option<Timestamp>,
}

impl ComparePane {
    /// Takes a result over.
    pub fn set(&mut self, comparison: Comparison, now: Timestamp) {
        self.running = None;
        self.doing = None;
        self.reading = Reading::fresh(comparison, now);
        self.cursor = self.cursor.min(self.shown().count().saturating_sub(1));
    }

    /// The patterns that are shown, the most harmful first.
    pub fn shown(&self) -> impl Iterator<Item = &PatternRow> {
        let has_unchanged = self.has_unchanged;
        self.reading
            .value()
            .into_iter()
            .flat_map(|c| &c.patterns)
            .filter(move |row| has_unchanged || row.change != PatternChange::Same)
    }

    /// The pattern under the cursor.
    pub fn pattern(&self) -> Option<&PatternRow> {
        self.shown().nth(self.cursor)
    }

    /// Moves the cursor by so many rows.
    pub fn step(&mut self, by: isize) {
        let last = self.shown().count().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
    }

    /// The grade of the verdict; unknown where there is none.
    pub fn grade(&self) -> Grade {
        self.reading
            .value()
            .map_or(Grade::Unknown, |c| decision_grade(c.verdict.decision))
    }
}
