//! The plan card: exactly what will be done, what was done, and what came of it. The same plan that `--dry-run`
//! prints and the audit log keeps.
//!
//! ```text
//! ╔ Roll back backend on prod-1 ═══════════════════════════════════════════════════╗
//! ║ from  shop-backend:1.5   sha256:5c20912d   up 31 min, unhealthy                 ║
//! ║ to    checkpoint pre-1.5 sha256:523ac975   was healthy for 9 days               ║
//! ║ 1  save the logs of the failing release                                         ║
//! ║ 2  docker compose up -d --no-deps --no-build --pull never --wait backend        ║
//! ║ Not rolled back: database schema and data, volumes, other services.             ║
//! ║ Type  backend  to roll it back: ▏                               Esc to leave it  ║
//! ╚═════════════════════════════════════════════════════════════════════════════════╝
//! ```
//! Its state lives in [`crate::tui::app::App::operating`], not in the overlay: closing the card while steps run ends nothing, and
//! the action menu brings it back.

mod command;
mod draw;
mod several;

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::domain::operation::{Operation, Plan};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress, StepResult};
use crate::domain::safe_text::SafeText;
use crate::ops::Confirmation;
use crate::ops::several::Order;
use crate::tui::msg::Problem;

pub use command::{command_line, name};
pub use draw::draw;

/// How far one step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMark {
    /// When it was begun.
    pub since: Timestamp,
    /// What became of it; `None` while it runs.
    pub result: Option<StepResult>,
    /// What it last said of itself.
    pub saying: Option<SafeText>,
}

/// Where an operation stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// The host is being asked.
    Planning {
        /// Since when.
        since: Timestamp,
    },
    /// What is planned is being read.
    Asking(Order),
    /// The steps run.
    Running {
        /// The plan.
        plan: Box<Plan>,
        /// Since when.
        since: Timestamp,
        /// The steps so far.
        marks: Vec<StepMark>,
    },
    /// It ended.
    Ended {
        /// The plan.
        plan: Box<Plan>,
        /// The steps, with what was seen.
        marks: Vec<StepMark>,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// It was refused, or no plan could be made.
    Refused {
        /// The plan, where there was one.
        plan: Option<Box<Plan>>,
        /// Why.
        problem: Problem,
    },
}

/// One of several plans that was carried out before the one at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The plan.
    pub plan: Box<Plan>,
    /// What came of it.
    pub outcome: Outcome,
}

/// An operation from the wish to the outcome. Where services of several machines are meant, or several are rolled back, it is a
/// plan after the other: all of them are read and confirmed together, and the first that does not prove itself ends it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operating {
    /// What was wanted, in its order.
    pub operations: Vec<Operation>,
    /// The plans before the one at hand.
    pub done: Vec<Part>,
    /// The plans behind it, with the yes to each.
    pub next: VecDeque<(Plan, Confirmation)>,
    /// Where it stands.
    pub stage: Stage,
    /// What was typed to confirm it.
    pub typed: String,
    /// The first row of the card that is shown.
    pub first: usize,
}

impl Operating {
    /// An operation whose plan was asked for.
    pub fn new(operations: Vec<Operation>, now: Timestamp) -> Self {
        Self {
            operations,
            done: Vec::new(),
            next: VecDeque::new(),
            stage: Stage::Planning { since: now },
            typed: String::new(),
            first: 0,
        }
    }

    /// Whether steps are being carried out.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. } | Stage::Planning { .. })
    }

    /// Whether a machine is being changed right now.
    pub fn is_executing(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    /// The names that must be typed, with commas between, where a plan asks for one.
    pub fn names_to_type(&self) -> Option<String> {
        let Stage::Asking(order) = &self.stage else {
            return None;
        };
        let names = order.names_to_type();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// Begins a plan.
    pub fn begin(&mut self, plan: Plan, now: Timestamp) {
        self.first = 0;
        self.stage = Stage::Running {
            plan: Box::new(plan),
            since: now,
            marks: Vec::new(),
        };
    }

    /// How many plans there are, and the number of the one at hand; `None` where there is only one.
    pub fn place(&self) -> Option<(usize, usize)> {
        let count = self.done.len() + 1 + self.next.len();
        (count > 1).then_some((self.done.len() + 1, count))
    }

    /// Takes the progress of a step over.
    pub fn progress(&mut self, progress: Progress, now: Timestamp) {
        let Stage::Running { marks, .. } = &mut self.stage else {
            return;
        };
        match progress {
            Progress::StepStarted { .. } => marks.push(StepMark {
                since: now,
                result: None,
                saying: None,
            }),
            Progress::StepEnded { index, result } => {
                if let Some(mark) = marks.get_mut(index) {
                    mark.result = Some(result);
                    mark.saying = None;
                }
            }
            Progress::Counted { what, done, total } => {
                if let Some(mark) = marks.last_mut() {
                    let of = total.map_or_else(String::new, |n| format!(" of {n}"));
                    mark.saying = Some(SafeText::from_text(&format!("{what} {done}{of}")));
                }
            }
            Progress::Note(text) => {
                if let Some(mark) = marks.last_mut() {
                    mark.saying = Some(text);
                }
            }
        }
    }

    /// Turns to the outcome, or to the next plan, which is given, where this one proved itself.
    pub fn end(
        &mut self,
        outcome: Outcome,
        is_leaving: bool,
        now: Timestamp,
    ) -> Option<(Plan, Confirmation)> {
        let Stage::Running { plan, marks, .. } = &mut self.stage else {
            return None;
        };
        let is_good = outcome.outcome == OutcomeKind::Verified;
        if is_good
            && !is_leaving
            && let Some(next) = self.next.pop_front()
        {
            let plan = plan.clone();
            self.done.push(Part { plan, outcome });
            self.begin(next.0.clone(), now);
            return Some(next);
        }
        self.stage = Stage::Ended {
            plan: plan.clone(),
            marks: std::mem::take(marks),
            outcome: Box::new(outcome),
        };
        None
    }

    /// Turns to the refusal.
    pub fn refuse(&mut self, problem: Problem) {
        let plan = match &self.stage {
            Stage::Asking(order) => order.plans.first().cloned().map(Box::new),
            Stage::Running { plan, .. } => Some(plan.clone()),
            _ => None,
        };
        self.stage = Stage::Refused { plan, problem };
    }
}
