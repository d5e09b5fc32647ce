//! What a key can mean: one table with the id, the help text, the risk and where it is possible.
//!
//! Keymaps, footer, help, the `:` prompt and `lastgood keys print` are all made from [`ACTIONS`], so none of
//! them can say something else.

use crate::domain::operation::Risk;

use super::layout::Pane;

/// Where keys go: a pane, or the overlay in front of it. Also the name of a table in a keymap file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Everywhere but in overlays, unless the pane says otherwise.
    Global,
    /// A pane.
    Pane(Pane),
    /// The action menu.
    Menu,
    /// The plan card.
    Confirm,
    /// The list of keys.
    Help,
    /// A line of text: a search or a command.
    Prompt,
    /// The messages so far.
    Messages,
    /// Two examples of a pattern, side by side.
    Example,
    /// A record of a log, whole, or the sources of the logs.
    Record,
    /// The incident that is open.
    Incident,
    /// Several lines of text.
    Notes,
    /// What would bite in a deploy.
    Preflight,
}

impl Place {
    /// Every place, in the order of help and of `keys print`.
    pub const ALL: [Self; 17] = [
        Self::Global,
        Self::Pane(Pane::Services),
        Self::Pane(Pane::Logs),
        Self::Pane(Pane::Compare),
        Self::Pane(Pane::Signals),
        Self::Pane(Pane::Runbook),
        Self::Pane(Pane::Timeline),
        Self::Menu,
        Self::Confirm,
        Self::Help,
        Self::Prompt,
        Self::Messages,
        Self::Example,
        Self::Record,
        Self::Incident,
        Self::Notes,
        Self::Preflight,
    ];

    /// The table's name in a keymap file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Pane(pane) => pane.name(),
            Self::Menu => "menu",
            Self::Confirm => "confirm",
            Self::Help => "help",
            Self::Prompt => "prompt",
            Self::Messages => "messages",
            Self::Example => "example",
            Self::Record => "record",
            Self::Incident => "incident",
            Self::Notes => "notes",
            Self::Preflight => "preflight",
        }
    }

    /// The place of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Whether keys that are bound globally work here too.
    pub fn has_global(self) -> bool {
        matches!(self, Self::Global | Self::Pane(_))
    }

    /// Whether letters are text here.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Prompt | Self::Notes)
    }
}

macro_rules! actions {
    ($( $(#[doc = $doc:literal])+ $name:ident = $id:literal, $label:literal, $risk:ident, [$($place:ident),+]; )+) => {
        /// What a key means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action {
            $( $(#[doc = $doc])+ $name, )+
        }

        /// Every action, in the order of help and of `keys print`.
        pub const ACTIONS: &[ActionSpec] = &[
            $( ActionSpec {
                action: Action::$name,
                id: $id,
                label: $label,
                help: concat!($($doc),+),
                risk: Risk::$risk,
                places: &[$(place::$place),+],
            }, )+
        ];
    };
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ActionSpec {
    /// What it is.
    pub action: Action,
    /// Its name in keymaps and in the `:` prompt: `pane.verb-object`.
    pub id: &'static str,
    /// Its word in the footer.
    pub label: &'static str,
    /// What it does, for help.
    pub help: &'static str,
    /// How much it can hurt. From [`Risk::Disruptive`] on a locked session refuses it.
    pub risk: Risk,
    /// Where a key may be bound to it.
    pub places: &'static [Place],
}

mod place {
    use super::{Pane, Place};

    pub(super) const GLOBAL: Place = Place::Global;
    pub(super) const SERVICES: Place = Place::Pane(Pane::Services);
    pub(super) const LOGS: Place = Place::Pane(Pane::Logs);
    pub(super) const COMPARE: Place = Place::Pane(Pane::Compare);
    pub(super) const SIGNALS: Place = Place::Pane(Pane::Signals);
    pub(super) const RUNBOOK: Place = Place::Pane(Pane::Runbook);
    pub(super) const TIMELINE: Place = Place::Pane(Pane::Timeline);
    pub(super) const MENU: Place = Place::Menu;
    pub(super) const CONFIRM: Place = Place::Confirm;
    pub(super) const HELP: Place = Place::Help;
    pub(super) const PROMPT: Place = Place::Prompt;
    pub(super) const MESSAGES: Place = Place::Messages;
    pub(super) const EXAMPLE: Place = Place::Example;
    pub(super) const RECORD: Place = Place::Record;
    pub(super) const INCIDENT: Place = Place::Incident;
    pub(super) const NOTES: Place = Place::Notes;
    pub(super) const PREFLIGHT: Place = Place::Preflight;
}

actions! {
    /// Leave the console; an action under way is finished first
    Quit = "app.quit", "quit", ReadOnly, [GLOBAL];
    /// Stop the console and go back to the shell; `fg` brings it back
    Suspend = "app.suspend", "suspend", ReadOnly, [GLOBAL, MENU, CONFIRM, HELP, PROMPT, MESSAGES, EXAMPLE, RECORD, INCIDENT, NOTES, PREFLIGHT];
    /// Show what every key does here
    ShowHelp = "app.show-help", "help", ReadOnly, [GLOBAL];
    /// Show the messages and errors so far, with their causes
    ShowMessages = "app.show-messages", "messages", ReadOnly, [GLOBAL];
    /// Type a command: any action by its name
    RunCommand = "app.run-command", "command", ReadOnly, [GLOBAL];
    /// Open the action menu of the selected service
    OpenMenu = "app.open-menu", "act", ReadOnly, [GLOBAL];
    /// Arm the session for ten minutes, or lock it again
    ToggleLock = "app.toggle-lock", "arm", ReadOnly, [GLOBAL];
    /// Give the focused pane the whole screen, or take it back
    ToggleZoom = "app.toggle-zoom", "zoom", ReadOnly, [GLOBAL];
    /// Read everything on screen again
    Refresh = "app.refresh-all", "refresh", ReadOnly, [GLOBAL];
    /// Draw the whole screen again
    Redraw = "app.redraw-screen", "redraw", ReadOnly, [GLOBAL, MENU, CONFIRM, HELP, PROMPT, MESSAGES, EXAMPLE, RECORD, INCIDENT, NOTES, PREFLIGHT];
    /// Close what is in front; in a pane: end the search
    Close = "app.close-front", "close", ReadOnly, [GLOBAL, MENU, CONFIRM, HELP, PROMPT, MESSAGES, EXAMPLE, RECORD, INCIDENT, NOTES, PREFLIGHT];
    /// Go to the next pane
    FocusNext = "app.focus-next", "next pane", ReadOnly, [GLOBAL];
    /// Go to the pane before
    FocusPrevious = "app.focus-previous", "pane before", ReadOnly, [GLOBAL];
    /// Go to the services
    FocusServices = "app.focus-services", "services", ReadOnly, [GLOBAL];
    /// Go to the logs
    FocusLogs = "app.focus-logs", "logs", ReadOnly, [GLOBAL];
    /// Go to the comparison
    FocusCompare = "app.focus-compare", "compare", ReadOnly, [GLOBAL];
    /// Go to the signals
    FocusSignals = "app.focus-signals", "signals", ReadOnly, [GLOBAL];
    /// Go to the runbook
    FocusRunbook = "app.focus-runbook", "runbook", ReadOnly, [GLOBAL];
    /// Go to the timeline
    FocusTimeline = "app.focus-timeline", "timeline", ReadOnly, [GLOBAL];

    /// One row down
    GoDown = "list.go-down", "down", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, MENU, CONFIRM, HELP, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// One row up
    GoUp = "list.go-up", "up", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, MENU, CONFIRM, HELP, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// Half a page down
    PageDown = "list.page-down", "page down", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, HELP, CONFIRM, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// Half a page up
    PageUp = "list.page-up", "page up", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, HELP, CONFIRM, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// To the first row
    GoTop = "list.go-top", "top", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, HELP, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// To the last row; in the logs: follow again
    GoBottom = "list.go-bottom", "bottom", ReadOnly, [GLOBAL, SERVICES, LOGS, COMPARE, SIGNALS, RUNBOOK, TIMELINE, HELP, MESSAGES, EXAMPLE, RECORD, INCIDENT, PREFLIGHT];
    /// Scroll to the left
    ScrollLeft = "list.scroll-left", "left", ReadOnly, [GLOBAL, LOGS, COMPARE];
    /// Scroll to the right
    ScrollRight = "list.scroll-right", "right", ReadOnly, [GLOBAL, LOGS, COMPARE];

    /// Select the next service, from any pane
    SelectNext = "services.select-next", "next service", ReadOnly, [GLOBAL, SERVICES];
    /// Select the service before, from any pane
    SelectPrevious = "services.select-previous", "service before", ReadOnly, [GLOBAL, SERVICES];
    /// Show the log of the selected service
    OpenLogs = "services.open-logs", "logs", ReadOnly, [SERVICES];
    /// Show the log of the selected service together with those of the other marked ones
    MarkService = "services.toggle-mark", "mark", ReadOnly, [SERVICES];
    /// Mark every service of the selected one's group, or none of them
    MarkGroup = "services.mark-group", "mark group", ReadOnly, [SERVICES];

    /// Follow the end of the log, or stand still
    ToggleFollow = "logs.toggle-follow", "follow", ReadOnly, [GLOBAL, LOGS];
    /// Find text or a regular expression; small letters find capitals too
    FindText = "logs.find-text", "find", ReadOnly, [GLOBAL, LOGS];
    /// To the next match, downwards
    FindNext = "logs.find-next", "next match", ReadOnly, [GLOBAL, LOGS];
    /// To the match before
    FindPrevious = "logs.find-previous", "match before", ReadOnly, [GLOBAL, LOGS];
    /// To the next error, downwards
    NextError = "logs.next-error", "next error", ReadOnly, [GLOBAL, LOGS];
    /// To the error before
    PreviousError = "logs.previous-error", "error before", ReadOnly, [GLOBAL, LOGS];
    /// Wrap long lines, or cut them at the edge
    ToggleWrap = "logs.toggle-wrap", "wrap", ReadOnly, [GLOBAL, LOGS];
    /// To the next warning or error, downwards
    NextWarning = "logs.next-warning", "next warning", ReadOnly, [GLOBAL, LOGS];
    /// To the warning or error before
    PreviousWarning = "logs.previous-warning", "warning before", ReadOnly, [GLOBAL, LOGS];
    /// Show only records in which a text or regular expression is found; again narrows it further
    FilterIn = "logs.filter-in", "only", ReadOnly, [LOGS];
    /// Hide records in which a text or regular expression is found
    FilterOut = "logs.filter-out", "hide", ReadOnly, [LOGS];
    /// Show every record again
    ClearFilters = "logs.clear-filters", "show all", ReadOnly, [LOGS];
    /// Show one more line around each record that is shown
    MoreContext = "logs.more-context", "more around", ReadOnly, [LOGS];
    /// Show one line less around each record that is shown
    LessContext = "logs.less-context", "less around", ReadOnly, [LOGS];
    /// Show records from info on, from warn on, from error on, or all of them
    CycleLevel = "logs.cycle-level", "level", ReadOnly, [LOGS];
    /// Go to a time: 15:02, "2025-12-27 14:50", -5m
    JumpTime = "logs.jump-time", "go to time", ReadOnly, [LOGS];
    /// Times of day, how long ago, since the line above, or none
    CycleStamps = "logs.cycle-stamps", "times", ReadOnly, [LOGS];
    /// Draw JSON and logfmt as a message and its fields, or as they are
    TogglePretty = "logs.toggle-pretty", "pretty", ReadOnly, [LOGS];
    /// Keep the colours of the source, or leave them out
    ToggleColours = "logs.toggle-colours", "colours", ReadOnly, [LOGS];
    /// Open the stack trace under the cursor, or fold it to its first line
    ToggleFold = "logs.toggle-fold", "unfold", ReadOnly, [LOGS];
    /// Fold every stack trace to its first line, or none
    FoldAll = "logs.fold-all", "fold all", ReadOnly, [LOGS];
    /// Show the whole record under the cursor
    ShowRecord = "logs.show-record", "whole line", ReadOnly, [LOGS];
    /// Show where each source stands, with its counts
    ShowSources = "logs.show-sources", "sources", ReadOnly, [LOGS];
    /// Mark the line under the cursor, or take its mark away
    ToggleMark = "logs.toggle-mark", "mark", ReadOnly, [LOGS];
    /// Mark the line under the cursor with a note, which goes to the timeline
    NoteMark = "logs.note-mark", "note…", ReadOnly, [LOGS];
    /// To the next mark, downwards
    NextMark = "logs.next-mark", "next mark", ReadOnly, [LOGS];
    /// To the mark before
    PreviousMark = "logs.previous-mark", "mark before", ReadOnly, [LOGS];
    /// Begin to select lines, or stop
    ToggleSelect = "logs.toggle-select", "select", ReadOnly, [LOGS];
    /// Copy the selected lines, or the line under the cursor
    CopyLine = "logs.copy-line", "copy", ReadOnly, [LOGS, RECORD];
    /// Show the secrets in lines for a minute, which the audit log keeps, or hide them again
    RevealSecrets = "logs.reveal-secrets", "secrets", ReadOnly, [LOGS, RECORD];
    /// Save the selected lines, or everything that is shown, to a file
    ExportLines = "logs.export-lines", "save…", ReadOnly, [LOGS];
    /// Open the selected lines, or everything that is shown, in $PAGER
    OpenPager = "logs.open-pager", "pager", ReadOnly, [LOGS];
    /// Open the selected lines, or everything that is shown, in $EDITOR
    OpenEditor = "logs.open-editor", "editor", ReadOnly, [LOGS];

    /// Compare the newest checkpoint with now
    CompareNow = "compare.run-now", "compare", ReadOnly, [GLOBAL, COMPARE, MENU];
    /// Show the records of the selected row from both sides, whole
    ShowExample = "compare.show-example", "lines", ReadOnly, [COMPARE];
    /// Show the patterns with their counts, the most harmful first
    ShowPatterns = "compare.show-patterns", "patterns", ReadOnly, [COMPARE];
    /// Show both sides beside each other, each from its own start
    ShowStream = "compare.show-stream", "stream", ReadOnly, [COMPARE];
    /// Show how the service of the selected pattern began, before and after
    ShowSequence = "compare.show-sequence", "sequence", ReadOnly, [COMPARE];
    /// Show the records of one request of the selected pattern, beside one like it on the other side
    ShowRequest = "compare.show-request", "request", ReadOnly, [COMPARE];
    /// Show the patterns that did not change, or hide them
    ToggleUnchanged = "compare.toggle-unchanged", "unchanged", ReadOnly, [COMPARE];

    /// Take the most urgent alert that nobody has: reminders end, and everyone who was told hears of it
    AcknowledgeAlert = "signals.acknowledge-alert", "take alert", ReadOnly, [SIGNALS];
    /// Show the signals of all services as a table, or those of the selected one
    ToggleBoard = "signals.toggle-board", "all services", ReadOnly, [SIGNALS];
    /// Show what is wrong with the service, and the lines of its log that say so
    ShowFindings = "signals.show-findings", "findings", ReadOnly, [SIGNALS];

    /// Start the selected runbook
    StartRunbook = "runbook.start-selected", "start", ReadOnly, [RUNBOOK];
    /// Between the run and the list of runbooks
    ToggleList = "runbook.toggle-list", "list", ReadOnly, [RUNBOOK];
    /// Tick the selected item
    TickItem = "runbook.tick-item", "tick", ReadOnly, [RUNBOOK];
    /// Say that the selected item did not work, and what was seen
    FailItem = "runbook.fail-item", "fail…", ReadOnly, [RUNBOOK];
    /// Leave the selected item out, with a reason
    SkipItem = "runbook.skip-item", "skip…", ReadOnly, [RUNBOOK];
    /// Say that you are on the selected item
    ClaimItem = "runbook.claim-item", "claim", ReadOnly, [RUNBOOK];
    /// Add a remark to the selected item
    CommentItem = "runbook.comment-item", "comment…", ReadOnly, [RUNBOOK];
    /// Take back what was said of the selected item
    UndoItem = "runbook.undo-item", "undo", ReadOnly, [RUNBOOK];
    /// Keep the cursor where another engineer is, then where the next one is, then your own again
    FollowOther = "runbook.follow-other", "follow other", ReadOnly, [RUNBOOK];
    /// Run the command of the selected runbook item
    RunItem = "runbook.run-item", "run…", Disruptive, [MENU];

    /// Show only events in which every word is found: a person, a service, an outcome
    FilterEvents = "timeline.filter-events", "only…", ReadOnly, [TIMELINE];
    /// Show every event again
    ClearEvents = "timeline.clear-filter", "show all", ReadOnly, [TIMELINE];
    /// Check the hash chain of the audit log, or with a head hash from a report that the log still contains it
    VerifyAudit = "timeline.verify-audit", "verify audit…", ReadOnly, [TIMELINE];

    /// Show the incident that is open: its clock, who has which role, what was written down
    ShowIncident = "incident.show-open", "incident", ReadOnly, [GLOBAL];
    /// Open an incident: the clock runs, and what runs is compared with the newest checkpoint
    StartIncident = "incident.start-new", "start…", ReadOnly, [INCIDENT];
    /// Write a remark of several lines into the incident
    NoteIncident = "incident.write-note", "note…", ReadOnly, [INCIDENT];
    /// Say how bad it is now: P0 or P1, and why
    GradeIncident = "incident.set-severity", "severity…", ReadOnly, [INCIDENT];
    /// Give somebody a role: communications anna
    AssignRole = "incident.assign-role", "role…", ReadOnly, [INCIDENT];
    /// Give the lead to somebody else, with what they have to know
    HandOver = "incident.hand-over", "hand over…", ReadOnly, [INCIDENT];
    /// Show the report as it stands now
    ReportIncident = "incident.show-report", "report", ReadOnly, [INCIDENT];
    /// Stop the clock and keep the report
    EndIncident = "incident.stop-clock", "end…", ReadOnly, [INCIDENT];
    /// Keep what was written
    SaveNotes = "notes.save-text", "save", ReadOnly, [NOTES];

    /// Look at what would bite in a deploy
    RunPreflight = "preflight.run-now", "preflight", ReadOnly, [GLOBAL, MENU, PREFLIGHT];
    /// Show the plan that makes the selected check ok
    FixCheck = "preflight.fix-check", "fix…", ReadOnly, [PREFLIGHT];

    /// Save how everything looks now, as the state to come back to
    CreateCheckpoint = "checkpoint.create-now", "checkpoint", ReadOnly, [MENU];
    /// Restart the selected service
    Restart = "services.restart-selected", "restart…", Disruptive, [MENU];
    /// Stop the selected service
    StopService = "services.stop-selected", "stop…", Disruptive, [MENU];
    /// Start the selected service
    StartService = "services.start-selected", "start…", Disruptive, [MENU];
    /// Bring back the last good release of the selected service
    RollBack = "services.roll-back", "roll back…", Destructive, [MENU];

    /// Run the selected entry
    ChooseEntry = "menu.choose-entry", "choose", ReadOnly, [MENU];
    /// Accept the plan
    AcceptPlan = "confirm.accept-plan", "accept", ReadOnly, [CONFIRM];
    /// Copy the plan as the command that does the same
    CopyPlan = "confirm.copy-command", "copy", ReadOnly, [CONFIRM];
    /// Take back what was begun instead of ending it, or end it after all
    TakeBack = "confirm.take-back", "take back", ReadOnly, [CONFIRM];
    /// Take the text
    AcceptText = "prompt.accept-text", "accept", ReadOnly, [PROMPT];
    /// Complete the name of the action
    CompleteText = "prompt.complete-text", "complete", ReadOnly, [PROMPT];
}

impl Action {
    /// Its row of the table.
    pub fn spec(self) -> &'static ActionSpec {
        &ACTIONS[self as usize]
    }

    /// The action with that id.
    pub fn parse(id: &str) -> Option<Self> {
        ACTIONS.iter().find(|spec| spec.id == id).map(|s| s.action)
    }

    /// Whether it changes a machine, so that a locked or read-only session refuses it.
    pub fn is_change(self) -> bool {
        self.spec().risk >= Risk::Disruptive
    }

    /// Whether a key may be bound to it in that place: where it belongs, or, for one that belongs everywhere,
    /// in a pane.
    pub fn is_allowed(self, place: Place) -> bool {
        let places = self.spec().places;
        places.contains(&place) || (place.has_global() && places.contains(&Place::Global))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for spec in ACTIONS {
            assert_eq!(spec.action.spec().id, spec.id);
            assert_eq!(Action::parse(spec.id), Some(spec.action));
        }
    }

    #[test]
    fn ids_are_pane_dot_verb_object_and_unique() {
        let mut ids: Vec<&str> = ACTIONS.iter().map(|s| s.id).collect();
        for id in &ids {
            let (pane, verb) = id.split_once('.').unwrap();
            assert!(
                pane.chars().all(|c| c.is_ascii_lowercase()) && !verb.is_empty(),
                "{id}"
            );
            assert!(
                verb.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{id}"
            );
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ACTIONS.len());
    }

    #[test]
    fn help_is_a_sentence_without_a_full_stop() {
        for spec in ACTIONS {
            let help = spec.help.trim();
            assert!(
                help.len() > 8 && !help.ends_with('.'),
                "{}: {help:?}",
                spec.id
            );
        }
    }

    #[test]
    fn what_changes_a_service_is_reached_through_the_menu_only() {
        for spec in ACTIONS.iter().filter(|s| s.action.is_change()) {
            assert_eq!(spec.places, [Place::Menu], "{}", spec.id);
        }
    }
}
