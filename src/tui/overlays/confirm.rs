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
//! Its state lives in [`App::operating`], not in the overlay: closing the card while steps run ends nothing, and
//! the action menu brings it back.

mod draw;

use jiff::Timestamp;

use crate::domain::operation::{Operation, Plan, Risk, SwitchWay};
use crate::domain::outcome::{Outcome, Progress, StepResult};
use crate::domain::safe_text::SafeText;
use crate::tui::app::App;
use crate::tui::msg::Problem;

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
    /// The plan is being read.
    Asking(Box<Plan>),
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

/// An operation from the wish to the outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Operating {
    /// What was wanted.
    pub operation: Operation,
    /// Where it stands.
    pub stage: Stage,
    /// What was typed to confirm it.
    pub typed: String,
    /// The first row of the card that is shown.
    pub first: usize,
}

impl Operating {
    /// An operation whose plan was asked for.
    pub fn new(operation: Operation, now: Timestamp) -> Self {
        Self {
            operation,
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

    /// The name that must be typed, where the plan asks for one.
    pub fn name_to_type(&self) -> Option<&str> {
        match &self.stage {
            Stage::Asking(plan) if plan.risk >= Risk::Destructive => {
                plan.confirmation().map(|id| id.name.as_str())
            }
            _ => None,
        }
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

    /// Turns to the outcome.
    pub fn end(&mut self, outcome: Outcome) {
        let stage = std::mem::replace(
            &mut self.stage,
            Stage::Planning {
                since: Timestamp::UNIX_EPOCH,
            },
        );
        self.stage = match stage {
            Stage::Running { plan, marks, .. } => Stage::Ended {
                plan,
                marks,
                outcome: Box::new(outcome),
            },
            other => other,
        };
    }

    /// Turns to the refusal.
    pub fn refuse(&mut self, problem: Problem) {
        let plan = match &self.stage {
            Stage::Asking(plan) | Stage::Running { plan, .. } => Some(plan.clone()),
            _ => None,
        };
        self.stage = Stage::Refused { plan, problem };
    }
}

/// The operation's name for people: `Roll back backend`.
pub fn name(operation: &Operation) -> String {
    let names = |services: &[crate::domain::service::ServiceId]| {
        services
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match operation {
        Operation::Restart { services, .. } => format!("Restart {}", names(services)),
        Operation::Stop { services } => format!("Stop {}", names(services)),
        Operation::Start { services } => format!("Start {}", names(services)),
        Operation::RollBack { service, .. } => format!("Roll back {}", service.name),
        Operation::RestoreConfigs { checkpoint, .. } => format!("Restore configs of {checkpoint}"),
        Operation::Fix { check, .. } => format!("Fix {check}"),
        Operation::Prune { .. } => "Remove old checkpoints".to_owned(),
        Operation::Switch { service, to, way } => {
            let how = match way {
                SwitchWay::AtOnce => "",
                SwitchWay::Canary => " by shares",
                SwitchWay::Rolling => " by servers",
            };
            format!("Switch {} to {}{how}", service.name, to.as_str())
        }
        Operation::BackupRun { backup, .. } => format!("Back up {}", backup.name),
        Operation::BackupVerify { backup, id } => format!("Prove {} of {}", id, backup.name),
        Operation::BackupRestore { backup, id } => format!("Restore {} of {}", id, backup.name),
        Operation::BreakLease { service, .. } => format!("Break the lease of {}", service.name),
        Operation::Resume { undo, of, .. } => {
            let verb = if *undo { "Take back" } else { "Resume" };
            format!("{verb}: {}", name(of))
        }
        Operation::RunCommand { title, .. } => format!("Run: {title}"),
    }
}

/// The command line that does the same, to be copied.
pub fn command_line(app: &App) -> Option<String> {
    let operating = app.operating.as_ref()?;
    let words: Vec<String> = match &operating.operation {
        Operation::Restart { services, .. }
        | Operation::Stop { services }
        | Operation::Start { services } => {
            let mut words = vec!["lastgood".to_owned(), operating.operation.verb().to_owned()];
            words.extend(services.iter().map(ToString::to_string));
            words
        }
        Operation::RollBack {
            service,
            to,
            configs_only,
            save_logs,
            downgrade,
        } => {
            let mut words = vec![
                "lastgood".to_owned(),
                "roll-back".to_owned(),
                service.to_string(),
            ];
            match to {
                crate::domain::operation::RollBackTarget::LastGood => {}
                crate::domain::operation::RollBackTarget::Checkpoint(id) => {
                    words.extend(["--to".to_owned(), id.clone()]);
                }
                crate::domain::operation::RollBackTarget::Image(reference) => {
                    words.extend(["--to".to_owned(), format!("image:{reference}")]);
                }
            }
            if *configs_only {
                words.push("--configs-only".to_owned());
            }
            if !save_logs {
                words.push("--no-save-logs".to_owned());
            }
            if *downgrade {
                words.push("--downgrade".to_owned());
            }
            words
        }
        Operation::RestoreConfigs {
            checkpoint,
            service,
        } => {
            let mut words = vec![
                "lastgood".to_owned(),
                "checkpoint".to_owned(),
                "restore".to_owned(),
                checkpoint.clone(),
            ];
            if let Some(service) = service {
                words.extend(["--service".to_owned(), service.to_string()]);
            }
            words
        }
        Operation::Fix { check, services } => {
            let mut words = vec!["lastgood".to_owned(), "preflight".to_owned()];
            words.extend(services.iter().cloned());
            words.extend(["--fix".to_owned(), check.clone()]);
            words
        }
        Operation::Prune { keep_last, .. } => {
            let mut words = ["lastgood", "checkpoint", "prune"]
                .map(str::to_owned)
                .to_vec();
            words.extend(
                keep_last
                    .iter()
                    .flat_map(|n| ["--keep-last".to_owned(), n.to_string()]),
            );
            words
        }
        Operation::Switch { service, to, way } => {
            let mut words = vec!["lastgood".to_owned()];
            if !service.host.is_local() {
                words.extend(["--host".to_owned(), service.host.to_string()]);
            }
            words.extend(["switch", &service.name, to.as_str()].map(str::to_owned));
            words.extend(way.option().map(str::to_owned));
            words
        }
        Operation::BackupRun { backup, .. } => ["lastgood", "backup", "run", &backup.name]
            .map(str::to_owned)
            .to_vec(),
        Operation::BackupVerify { backup, id } => {
            ["lastgood", "backup", "verify", &backup.name, "--at", id]
                .map(str::to_owned)
                .to_vec()
        }
        Operation::BackupRestore { backup, id } => {
            ["lastgood", "backup", "restore", &backup.name, "--at", id]
                .map(str::to_owned)
                .to_vec()
        }
        Operation::BreakLease { service, .. } => {
            let words = ["lastgood", "lease", "break"].map(str::to_owned);
            words.into_iter().chain([service.to_string()]).collect()
        }
        Operation::Resume { run, undo, .. } => {
            let mut words = ["lastgood", "resume", run].map(str::to_owned).to_vec();
            words.extend(undo.then(|| "--undo".to_owned()));
            words
        }
        Operation::RunCommand { .. } => return None,
    };
    Some(shell_words::join(words))
}
