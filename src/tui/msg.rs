//! Everything that can happen to the console: the input of `update`.

use crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Size;

use crate::domain::alert::Alert;
use crate::domain::check::Check;
use crate::domain::checkpoint::{Checkpoint, Manifest};
use crate::domain::comparison::Comparison;
use crate::domain::log::FileHits;
use crate::domain::outcome::{Outcome, Progress};
use crate::domain::runbook::{Presence, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Inventory;
use crate::domain::side_by_side::RequestPair;
use crate::domain::signal::ServiceSignals;
use crate::domain::timeline::TimelineEvent;
use crate::ops::incident::Brief;
use crate::ops::several::Order;
use crate::ops::{ErrorKind, OpsError};
use crate::store::ring::{OpenedFile, PreparedBlock, PreparedNote, PreparedPage, Sifted};

use super::effect::TaskKey;
use super::panes::logs::{Secrets, WantedPage};
use super::panes::runbook::Runbooks;
use super::panes::signals::Around;
use super::panes::signals::board::Measured;

/// A signal of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// The terminal is gone.
    Hangup,
    /// Ctrl-C from outside.
    Interrupt,
    /// Asked to end.
    Terminate,
    /// Running again after a stop that did not come through our own Ctrl-Z.
    Continued,
}

impl Interrupt {
    /// The exit code of a program that a signal ended: 128 + its number; `None` where it does not end.
    pub fn exit_code(self) -> Option<u8> {
        match self {
            Self::Hangup => Some(129),
            Self::Interrupt => Some(130),
            Self::Terminate => Some(143),
            Self::Continued => None,
        }
    }
}

/// Why a task could not do its work, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it means.
    pub kind: ErrorKind,
    /// What, where and why: the whole chain of causes.
    pub text: SafeText,
    /// Lines that show why: the targets that were looked at, the place in a file.
    pub lines: Vec<SafeText>,
    /// The next command to type.
    pub fix: Option<SafeText>,
    /// Whether the task itself broke, so that it is not known how far it got.
    pub is_broken: bool,
}

impl From<OpsError> for Problem {
    fn from(error: OpsError) -> Self {
        Self {
            kind: error.kind,
            text: error.to_safe_text(),
            fix: error.fix.as_deref().map(SafeText::from_text),
            lines: error.lines,
            is_broken: false,
        }
    }
}

/// A piece of a log on its way into the ring.
#[derive(Debug, Clone, PartialEq)]
pub enum LogPiece {
    /// Lines.
    Block(PreparedBlock),
    /// A seam.
    Note(PreparedNote),
    /// The lines that follow have their places in this file; `None` where several are read at once.
    Opened(Option<OpenedFile>),
    /// So many lines came faster than they could be taken over.
    Skipped(u64),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The mouse was used; only where it was asked for.
    Mouse(MouseEvent),
    /// The terminal has another size.
    Resize(Size),
    /// Time went on: an age on screen may have changed.
    Tick,
    /// A signal came.
    Interrupted(Interrupt),
    /// What runs.
    Inventory(Inventory),
    /// Pieces of a log, in order.
    Log {
        /// Which of the logs that are followed.
        slot: u32,
        /// The pieces.
        pieces: Vec<LogPiece>,
    },
    /// A log came to its end.
    LogEnded(u32),
    /// Lines were read again.
    LogPage {
        /// What was asked for.
        wanted: WantedPage,
        /// The lines.
        page: PreparedPage,
    },
    /// Lines of a file that pass the filter were found where they are not held.
    Sifted {
        /// Whose log.
        slot: u32,
        /// The lines, and where they were looked for.
        sifted: Sifted,
        /// Whether no more of them come.
        is_over: bool,
    },
    /// The signals of a service.
    Sampled(ServiceSignals),
    /// The secrets of the services are known.
    SecretsKnown(Secrets),
    /// It is recorded that secrets are shown: they may be.
    SecretsRevealed,
    /// What stands around them.
    Around(Box<Around>),
    /// Every service was measured.
    Measured(Box<Measured>),
    /// Alerts were taken.
    Acknowledged {
        /// How many, and who was told.
        text: SafeText,
        /// All alerts as they are now.
        alerts: Vec<Alert>,
    },
    /// The checkpoints, the newest first.
    Checkpoints(Vec<Checkpoint>),
    /// What happened lately, the oldest first.
    Timeline(Vec<TimelineEvent>),
    /// The runbooks that can be started, and the run that is under way.
    Runbooks {
        /// What can be started.
        list: Runbooks,
        /// What is under way.
        run: Option<Box<RunState>>,
    },
    /// Where a run stands.
    RunbookRun(Box<RunState>),
    /// Somebody did something to the run.
    RunbookWentOn(Box<RunState>),
    /// Somebody started a run.
    RunbookStarted(SafeText),
    /// The other consoles that are there.
    Others(Vec<Presence>),
    /// The probes of a run were asked; where it stands now.
    Probed(Box<RunState>),
    /// The incident that is open; `None` where none is.
    Incident(Option<Box<Brief>>),
    /// An incident was opened or ended, or something was said in it.
    IncidentSaid(SafeText),
    /// The report of an incident, as Markdown.
    IncidentReport(Vec<SafeText>),
    /// What would bite in a deploy.
    Preflight(Vec<Check>),
    /// The hash chain of the audit log agrees, in words.
    AuditVerified(SafeText),
    /// A comparison is done.
    Compared(Box<Comparison>),
    /// The records of a request were found on both sides of the comparison.
    RequestFound(Box<RequestPair>),
    /// A checkpoint was made.
    CheckpointMade(Box<Manifest>),
    /// What is planned is ready to be read.
    Planned(Order),
    /// A plan was carried out.
    Executed(Box<Outcome>),
    /// Something long goes on.
    Progress {
        /// Which task.
        key: TaskKey,
        /// What it said.
        progress: Progress,
    },
    /// A search of a file in place has looked at some more of it.
    FileHits {
        /// Whose log.
        slot: u32,
        /// Which search.
        generation: u32,
        /// The file.
        file: OpenedFile,
        /// What it looked at and found.
        hits: FileHits,
    },
    /// Some more lines of a file were counted that stand before those that were read.
    LinesCounted {
        /// Whose log.
        slot: u32,
        /// How many.
        lines: u64,
    },
    /// The line of a time was found in a file.
    TimeFound {
        /// Whose log.
        slot: u32,
        /// The number of the line.
        number: u64,
    },
    /// Text was copied, and by which route.
    Copied(SafeText),
    /// A piece of a file was written, and where that file is.
    Written(Result<SafeText, Problem>),
    /// The program that showed lines ended; an exit code that is not 0 is a problem too.
    Shown(Result<(), Problem>),
    /// The search has more to look at.
    SearchOn,
    /// A task could not do its work.
    Failed {
        /// Which task.
        key: TaskKey,
        /// Why.
        problem: Problem,
    },
}
