//! The runbook that is being worked through, or the list of those that can be started.
//!
//! ```text
//! ┌ 5 runbook  post-deploy ────┐
//! │ T+31 min           9 of 21 │
//! │ First five minutes         │
//! │ [x] API health        T+5m │
//! │     200 in 12 ms      auto │
//! │▌[✖] errors < 1 %      T+5m │
//! │ [ ] sign-in flow     boris │
//! └────────────────────────────┘
//! ```
//! Items that a probe ticks say so and show what was seen. Nothing is ticked because it was not looked at.

mod draw;

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemRun;
use crate::domain::runbook::{Item, RunState};
use crate::domain::safe_text::SafeText;

pub use draw::draw;

/// How often due probes are asked while the pane is on screen.
pub const PROBE_EVERY: Duration = Duration::from_secs(15);

/// A runbook in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name it is started by.
    pub name: String,
    /// Its title.
    pub title: SafeText,
    /// How many items it has.
    pub items: usize,
    /// How many of them tick themselves.
    pub automatic: usize,
}

/// What can be started and what is under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runbooks {
    /// The runbooks that can be started.
    pub entries: Vec<Entry>,
    /// Files that cannot be used, with the reason.
    pub problems: Vec<SafeText>,
}

/// The runbook pane.
#[derive(Debug, Default)]
pub struct RunbookPane {
    /// What can be started.
    pub reading: Reading<Runbooks>,
    /// The run that is being worked through.
    pub run: Option<RunState>,
    /// Whether the list is shown though a run is under way.
    pub is_list: bool,
    /// The item, or the entry of the list, under the cursor.
    pub cursor: usize,
    /// Whether probes are being asked, or will be.
    pub is_probing: bool,
    /// When they are to be asked next.
    pub next_at: Option<Timestamp>,
}

impl RunbookPane {
    /// The run, where it is what the pane shows.
    pub fn shown_run(&self) -> Option<&RunState> {
        self.run.as_ref().filter(|_| !self.is_list)
    }

    /// Takes a run over. The cursor goes to the first item that is not resolved when the run is new here.
    pub fn set_run(&mut self, run: RunState) {
        let is_new = self.run.as_ref().map(|r| &r.run) != Some(&run.run);
        if is_new {
            self.is_list = false;
            self.cursor = first_open(&run);
        }
        self.run = Some(run);
    }

    /// The item under the cursor.
    pub fn item(&self) -> Option<(&Item, &ItemRun)> {
        self.shown_run()?.items().nth(self.cursor)
    }

    /// The entry under the cursor, where the list is shown.
    pub fn entry(&self) -> Option<&Entry> {
        if self.shown_run().is_some() {
            return None;
        }
        self.reading.value()?.entries.get(self.cursor)
    }

    /// Moves the cursor by so many rows.
    pub fn step(&mut self, by: isize) {
        let count = match self.shown_run() {
            Some(run) => run.items.len(),
            None => self.reading.value().map_or(0, |r| r.entries.len()),
        };
        self.cursor = self
            .cursor
            .saturating_add_signed(by)
            .min(count.saturating_sub(1));
    }

    /// Between the list and the run.
    pub fn toggle_list(&mut self) {
        self.is_list = !self.is_list && self.run.is_some();
        self.cursor = self.shown_run().map_or(0, first_open);
    }
}

/// The first item that still has to be done.
fn first_open(run: &RunState) -> usize {
    run.items()
        .position(|(_, item)| !item.state.is_resolved())
        .unwrap_or(0)
}
