//! What the deploy changed, and what to do about it: the verdict first, then its reasons, then one of three views.
//!
//! ```text
//! ╔ 3 compare  pre-1.5 ↔ live ═ ✖ ROLL BACK P0 ════════════════════════════════════════╗
//! ║ error rate 0.5 % → 25 % (×50)   p95 0.9 s → 3.8 s   3 new error patterns           ║
//! ║ ✖ error rate of backend rose from 0.5 % to 25 %                                    ║
//! ║ changed: image 1.4 → 1.5 · .env POOL_SIZE 20 → 100                                 ║
//! ║       before     after  per 1,000                                                  ║
//! ║ +          0        28    0 →  140  ERROR NoneType has no attribute <*>      15:10 ║
//! ║ … 312 patterns unchanged (98.4 % of lines)     [patterns]  s stream  S sequence    ║
//! ╚════════════════════════════════════════════════════════════════════════════════════╝
//! ```
//!
//! The stream has both sides beside each other from their own starts, what is known folded; the sequence shows how a
//! service began, or one request:
//!
//! ```text
//! ║ before, from 14:02:11                  after, from 15:00:12                        ║
//! ║   +0.0 s … 412 lines, 9 known patterns …   +0.0 s … 398 lines, 9 known patterns    ║
//! ║                                        +   +10:32 ERROR NoneType has no at…  ×28   ║
//! ```

mod draw;

use std::time::Duration;

use jiff::Timestamp;

use crate::analysis::compare::request;
use crate::domain::before_after::Side;
use crate::domain::comparison::{Comparison, PatternRow};
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::side_by_side::{Of, RequestPair, RequestWanted, Row, Sequence};
use crate::domain::signal::Grade;
use crate::tui::theme::decision_grade;

pub use draw::{draw, headline};

/// How long after a deploy, or after it was asked for, the comparison follows what is written.
pub const WATCH_FOR: Duration = Duration::from_secs(10 * 60);
/// How long after a deploy or a rollback it is made first: what has only just started says little.
pub const SETTLED: Duration = Duration::from_secs(5);
/// How often it is made then where nothing new is written.
pub const WATCH_EVERY: Duration = Duration::from_secs(20);

/// What is shown below the verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum View {
    /// Every pattern with its counts, the most harmful first.
    #[default]
    Patterns,
    /// Both sides beside each other, in the order of time.
    Stream,
    /// How a service began, or one request.
    Sequence,
}

impl View {
    /// Every view, in the order of their names on screen.
    pub const ALL: [Self; 3] = [Self::Patterns, Self::Stream, Self::Sequence];

    /// Its name on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Patterns => "patterns",
            Self::Stream => "stream",
            Self::Sequence => "sequence",
        }
    }
}

/// A request that is looked for, and its records once they are found.
#[derive(Debug)]
pub struct Request {
    /// Its id.
    pub id: SafeText,
    /// What was found.
    pub reading: Reading<RequestPair>,
    /// Both requests aligned.
    sequence: Option<Sequence>,
}

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
    /// What is shown below the verdict.
    pub view: View,
    /// The row under the cursor, counted over those that the view shows.
    pub cursor: usize,
    /// The place of the pattern that is selected in all views.
    selected: Option<usize>,
    /// The place of the sequence that is shown.
    sequence: usize,
    /// The request that is shown instead.
    pub request: Option<Request>,
    /// Whether patterns that did not change are shown too.
    pub has_unchanged: bool,
    /// The first column that is shown of the templates.
    pub column: usize,
    /// Until when it is repeated by itself, after a deploy was seen.
    pub watch_until: Option<Timestamp>,
}

impl ComparePane {
    /// Takes a result over. The selected pattern stays selected.
    pub fn set(&mut self, comparison: Comparison, now: Timestamp) {
        let id = self.pattern().map(|row| row.id.clone());
        let service = self.service_of_sequence();
        self.running = None;
        self.doing = None;
        let place = |id: &String| comparison.patterns.iter().position(|row| row.id == *id);
        self.selected = id.as_ref().and_then(place);
        let sequences = &comparison.side_by_side.sequences;
        self.sequence = service
            .and_then(|service| {
                let is_its = |s: &Sequence| of_service(&comparison, s) == Some(&service);
                sequences.iter().position(is_its)
            })
            .unwrap_or(0);
        // Its patterns stand in other places now.
        if let Some(request) = &mut self.request {
            let pair = request.reading.value();
            request.sequence = pair.map(|pair| request::sequence(&comparison, pair));
        }
        self.reading = Reading::fresh(comparison, now);
        self.find_selected();
    }

    fn service_of_sequence(&self) -> Option<ServiceId> {
        let comparison = self.reading.value()?;
        let sequence = comparison.side_by_side.sequences.get(self.sequence)?;
        of_service(comparison, sequence).cloned()
    }

    /// Which request to look for: that of the row under the cursor, or of an example of the selected pattern.
    pub fn wanted_request(&self) -> Option<RequestWanted> {
        let comparison = self.reading.value()?;
        let row = self.row().map(Row::items).unwrap_or_default();
        let text = |side: Side| Some((side, row.side(side).as_ref()?.text.as_ref()?));
        let record = text(Side::After).or_else(|| text(Side::Before));
        request::wanted(comparison, self.pattern()?, record)
    }

    /// Shows the sequence of a request, which is yet to be found.
    pub fn look_for(&mut self, id: SafeText) {
        self.show(View::Sequence);
        self.request = Some(Request {
            id,
            reading: Reading::Waiting,
            sequence: None,
        });
        self.cursor = 0;
    }

    /// Takes the records of the request over that is looked for.
    pub fn set_request(&mut self, pair: RequestPair, now: Timestamp) {
        let (Some(request), Some(comparison)) = (&mut self.request, self.reading.value()) else {
            return;
        };
        request.sequence = Some(request::sequence(comparison, &pair));
        request.reading = Reading::fresh(pair, now);
        self.find_selected();
    }

    /// The places of the patterns that are shown, the most harmful first.
    pub fn shown(&self) -> impl Iterator<Item = (usize, &PatternRow)> {
        let has_unchanged = self.has_unchanged;
        self.reading
            .value()
            .into_iter()
            .flat_map(|c| c.patterns.iter().enumerate())
            .filter(move |(_, row)| has_unchanged || row.is_changed())
    }

    /// The rows of both sides that the view shows; none in the view of patterns.
    pub fn rows(&self) -> Vec<&Row> {
        let Some(comparison) = self.reading.value() else {
            return Vec::new();
        };
        match self.view {
            View::Patterns => Vec::new(),
            View::Stream => {
                let is_shown = |row: &&Row| match row {
                    Row::Folded { .. } => !self.has_unchanged,
                    Row::Known(_) => self.has_unchanged,
                    Row::Aligned(_) => true,
                };
                let rows = comparison.side_by_side.stream.iter();
                rows.filter(is_shown).collect()
            }
            View::Sequence => self
                .sequence()
                .map_or_else(Vec::new, |s| s.rows.iter().collect()),
        }
    }

    /// The sequence that is shown in its view.
    pub fn sequence(&self) -> Option<&Sequence> {
        if let Some(request) = &self.request {
            return request.sequence.as_ref();
        }
        let comparison = self.reading.value()?;
        comparison.side_by_side.sequences.get(self.sequence)
    }

    /// The row of both sides under the cursor.
    pub fn row(&self) -> Option<&Row> {
        self.rows().get(self.cursor).copied()
    }

    /// How many rows the view has.
    pub fn count(&self) -> usize {
        match self.view {
            View::Patterns => self.shown().count(),
            View::Stream | View::Sequence => self.rows().len(),
        }
    }

    fn pattern_at(&self, cursor: usize) -> Option<usize> {
        match self.view {
            View::Patterns => self.shown().nth(cursor).map(|(at, _)| at),
            View::Stream | View::Sequence => self.rows().get(cursor)?.pattern(),
        }
    }

    /// The pattern under the cursor; where a row has none, the one before it.
    pub fn pattern(&self) -> Option<&PatternRow> {
        let at = self.pattern_at(self.cursor).or(self.selected)?;
        self.reading.value()?.patterns.get(at)
    }

    /// Moves the cursor by so many rows.
    pub fn step(&mut self, by: isize) {
        let last = self.count().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.selected = self.pattern_at(self.cursor).or(self.selected);
    }

    /// Shows another view, with the cursor on the pattern that is selected.
    pub fn show(&mut self, view: View) {
        self.selected = self.pattern_at(self.cursor).or(self.selected);
        self.view = view;
        self.request = None;
        if view == View::Sequence {
            self.sequence = self.sequence_of_selected();
        }
        self.cursor = 0;
        self.find_selected();
    }

    /// Shows the patterns that did not change, or hides them.
    pub fn toggle_unchanged(&mut self) {
        self.selected = self.pattern_at(self.cursor).or(self.selected);
        self.has_unchanged = !self.has_unchanged;
        self.find_selected();
    }

    /// The sequence of a service that wrote the selected pattern, else the first one.
    fn sequence_of_selected(&self) -> usize {
        let Some(comparison) = self.reading.value() else {
            return 0;
        };
        let pattern = self.selected.and_then(|at| comparison.patterns.get(at));
        let wrote = |sequence: &Sequence| {
            let service = of_service(comparison, sequence);
            pattern.is_some_and(|p| service.is_some_and(|id| p.services.contains(id)))
        };
        let sequences = &comparison.side_by_side.sequences;
        sequences.iter().position(wrote).unwrap_or(0)
    }

    /// Puts the cursor on the nearest row of the selected pattern; it stays where it is if there is none.
    fn find_selected(&mut self) {
        let last = self.count().saturating_sub(1);
        self.cursor = self.cursor.min(last);
        let Some(selected) = self.selected else {
            self.selected = self.pattern_at(self.cursor);
            return;
        };
        let places: Vec<usize> = match self.view {
            View::Patterns => (self.shown().enumerate())
                .filter(|(_, (at, _))| *at == selected)
                .map(|(place, _)| place)
                .collect(),
            View::Stream | View::Sequence => (self.rows().iter().enumerate())
                .filter(|(_, row)| {
                    let items = row.items();
                    let is_it = |item: Option<&crate::domain::side_by_side::Item>| {
                        item.is_some_and(|item| item.pattern == selected)
                    };
                    is_it(items.before) || is_it(items.after)
                })
                .map(|(place, _)| place)
                .collect(),
        };
        let nearest = places.into_iter().min_by_key(|at| at.abs_diff(self.cursor));
        self.cursor = nearest.unwrap_or(self.cursor);
    }

    /// The grade of the verdict; unknown where there is none.
    pub fn grade(&self) -> Grade {
        self.reading
            .value()
            .map_or(Grade::Unknown, |c| decision_grade(c.verdict.decision))
    }
}

/// The service whose sequence it is.
fn of_service<'c>(comparison: &'c Comparison, sequence: &Sequence) -> Option<&'c ServiceId> {
    match sequence.of {
        Of::StartUp(service) | Of::Beginning(service) => {
            comparison.services.get(service).map(|s| &s.id)
        }
        Of::Request(_) => None,
    }
}

#[cfg(test)]
mod tests;
