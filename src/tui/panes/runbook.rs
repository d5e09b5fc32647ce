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
use crate::domain::runbook::{Item, Presence, RunState};
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
    /// The run whose journal is followed, once one is; `None` within for none of them.
    pub followed: Option<Option<String>>,
    /// The run and item at which the others see this console.
    pub at: Option<(String, usize)>,
    /// The other consoles that are there.
    pub others: Vec<Presence>,
    /// Whose cursor this one keeps to.
    pub leader: Option<SafeText>,
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

    /// Those of the others who look at an item of the run on the screen.
    pub fn at_item(&self, number: usize) -> impl Iterator<Item = &Presence> {
        let run = self.run.as_ref().map(|run| run.run.as_str());
        self.others
            .iter()
            .filter(move |other| Some(other.run.as_str()) == run && other.item == number)
    }

    /// Takes over who else is there; the cursor goes along with the one it keeps to.
    pub fn set_others(&mut self, others: Vec<Presence>) {
        self.others = others;
        self.keep_to_leader();
    }

    /// Keeps to the next of the others, after the last one to nobody.
    pub fn follow_next(&mut self) {
        let mut names: Vec<&SafeText> = self.others.iter().map(|other| &other.user).collect();
        names.dedup();
        let next = match &self.leader {
            None => names.first(),
            Some(leader) => names.iter().skip_while(|name| **name != leader).nth(1),
        };
        self.leader = next.map(|name| (*name).clone());
        self.keep_to_leader();
    }

    fn keep_to_leader(&mut self) {
        let Some(run) = self.shown_run() else { return };
        let place = self.leader.as_ref().and_then(|leader| {
            let mut others = self.others.iter();
            others.find(|other| other.user == *leader && other.run == run.run)
        });
        match place.map(|place| place.item.saturating_sub(1)) {
            Some(cursor) => self.cursor = cursor.min(run.items.len().saturating_sub(1)),
            None => self.leader = None,
        }
    }

    /// Moves the cursor by so many rows, away from whoever it kept to.
    pub fn step(&mut self, by: isize) {
        self.leader = None;
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
