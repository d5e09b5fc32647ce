//! What `update` can ask for, and what of it is one task at a time.

use std::time::Duration;

use super::{FilePattern, FileSift, IncidentWork};
use crate::domain::log::PageBorder;
use crate::domain::operation::{Operation, Plan};
use crate::domain::runbook::RunState;
use crate::domain::runbook::run::ItemAction;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service, ServiceId};
use crate::domain::side_by_side::RequestWanted;
use crate::ops::Confirmation;
use crate::store::ring::{Key, OpenedFile};
use crate::tui::outlet::{Piece, Tool};
use crate::tui::panes::logs::WantedPage;

/// What a task works on; one task a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskKey {
    /// Watching what runs.
    Watch,
    /// Following a log.
    Follow(u32),
    /// Reading lines of a log again.
    Page(u32),
    /// Searching the file of a log.
    SearchFile(u32),
    /// Counting the lines of the file of a log.
    CountLines(u32),
    /// Measuring the signals of the selected service.
    Sample,
    /// Measuring the signals of all services.
    SampleAll,
    /// Taking an alert.
    Acknowledge,
    /// Reading the list of checkpoints.
    Checkpoints,
    /// Reading the timeline.
    Timeline,
    /// Comparing the newest checkpoint with now.
    Compare,
    /// Looking for a request on both sides of the comparison.
    Request,
    /// Making a checkpoint.
    CreateCheckpoint,
    /// Making a plan.
    Plan,
    /// Carrying out a plan.
    Execute,
    /// Reading the runbooks.
    Runbooks,
    /// Starting a run or saying something of an item.
    RunbookItem,
    /// Asking the probes of a run.
    RunbookProbes,
    /// Following what others do to a run.
    RunbookFollow,
    /// Showing the others where this console is.
    Presence,
    /// Reading the incident, or saying something in it.
    Incident,
    /// Writing down that a line is marked.
    Mark(Key),
    /// Looking at what would bite in a deploy.
    Preflight,
    /// Checking the audit log.
    Audit,
    /// Going on with a search.
    Search,
    /// Copying to the clipboard.
    Copy,
    /// Looking for secrets to hide.
    Secrets,
    /// Recording that secrets are shown.
    Reveal,
}

/// What `update` asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Watch what runs.
    Watch,
    /// Follow the log of a service.
    Follow {
        /// Its number among the logs that are followed.
        slot: u32,
        /// The service.
        service: Box<Service>,
        /// Whether others may be chosen in a moment, while the selection moves.
        is_moving: bool,
    },
    /// Read lines of a log again.
    ReadPage {
        /// Which lines.
        wanted: WantedPage,
        /// The service.
        service: Box<Service>,
        /// Where they begin or end.
        border: PageBorder,
        /// The file whose places their numbers are.
        file: Option<OpenedFile>,
    },
    /// Measure the signals of a service.
    Sample {
        /// The service.
        service: Box<Service>,
        /// When.
        after: Duration,
        /// Whether what was kept of it is wanted too.
        is_first: bool,
    },
    /// Measure the signals of these services and of their machines.
    SampleAll {
        /// The services.
        services: Vec<Service>,
        /// When.
        after: Duration,
    },
    /// Look for the secrets of these services, to hide them; whether in what was read before, too.
    LearnSecrets(Vec<Service>, bool),
    /// Record that the secrets in the logs of these services are shown, then show them.
    RevealSecrets(Vec<ServiceId>),
    /// Take the alert of that key.
    Acknowledge(String),
    /// Read the list of checkpoints.
    ReadCheckpoints,
    /// Read the timeline.
    ReadTimeline,
    /// Compare a checkpoint with now.
    Compare {
        /// The checkpoint's id.
        checkpoint: String,
        /// When; with [`WATCH_EVERY`](crate::tui::panes::compare::WATCH_EVERY) as soon as there is something new, at the latest
        /// then.
        after: Duration,
    },
    /// Do not read on for a comparison.
    EndComparison,
    /// Look for a request in the logs of a checkpoint and of now.
    FindRequest {
        /// The checkpoint's id.
        checkpoint: String,
        /// Which request.
        wanted: Box<RequestWanted>,
    },
    /// Make a checkpoint of every service.
    CreateCheckpoint,
    /// Read the runbooks and the run that is under way.
    ReadRunbooks,
    /// Start a run of the runbook of that name.
    StartRunbook(String),
    /// Say something of an item of a run.
    ActOnItem {
        /// The run.
        run: String,
        /// The item's number.
        item: usize,
        /// What is said.
        action: ItemAction,
        /// The revision the engineer saw.
        revision: u64,
    },
    /// Ask the probes of a run that are due.
    AskProbes {
        /// The run.
        run: Box<RunState>,
        /// Where the probes' services are looked up.
        inventory: Box<Inventory>,
        /// When.
        after: Duration,
    },
    /// Follow what others do to a run, and which runs they start.
    FollowRun(Option<String>),
    /// Show the others that this console is at that item of that run.
    BeAt(String, usize),
    /// Read the open incident, or do something to it.
    Incident(IncidentWork),
    /// Look at what would bite in a deploy.
    Preflight,
    /// Check the audit log, with a head hash also that it still contains it.
    VerifyAudit(Option<String>),
    /// Plan these, one after the other.
    Plan(Vec<Operation>),
    /// Carry out a confirmed plan.
    Execute(Box<Plan>, Confirmation),
    /// End the task of a key.
    Cancel(TaskKey),
    /// Search the file of a log in place, from its end.
    SearchFile {
        /// Whose log.
        slot: u32,
        /// Which search.
        generation: u32,
        /// The service.
        service: Box<ServiceId>,
        /// The file.
        file: OpenedFile,
        /// What is searched for; nothing: lines are counted.
        pattern: Option<FilePattern>,
        /// Up to this byte.
        until: u64,
    },
    /// Look a part of the file of a log through for lines that pass the filter.
    Sift {
        /// Whose log.
        slot: u32,
        /// The service.
        service: Box<ServiceId>,
        /// What is looked for, and where.
        sift: FileSift,
    },
    /// Find the line of a time in the file of a log.
    FindTime {
        /// Whose log.
        slot: u32,
        /// The service.
        service: Box<ServiceId>,
        /// The file.
        file: OpenedFile,
        /// The time.
        at: jiff::Timestamp,
    },
    /// Go on with the search after keys were answered.
    SearchOn,
    /// Copy lines to the clipboard.
    Copy(Vec<SafeText>),
    /// Write a piece of a file.
    Write(Piece),
    /// Take the file away that is being written.
    GiveUpWriting,
    /// Show the file that was written in a program, with the cursor on that line, until it ends.
    Open {
        /// Which program.
        tool: Tool,
        /// The line's number in the file.
        line: u64,
    },
    /// Go back to the shell until continued.
    Suspend,
    /// Draw everything again.
    Redraw,
}
