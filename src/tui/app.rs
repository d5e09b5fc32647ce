//! The state of the console: plain data. No sender, no lock, no task lives here, so a test can build any screen.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Size;

use crate::analysis::redact::Redactor;
use crate::domain::check::Check;
use crate::domain::checkpoint::{Checkpoint, Manifest};
use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::domain::signal::Grade;
use crate::ops::incident::Brief;
use crate::ops::services::whole_look_after;
use crate::store::config::Highlight;

use super::action::Place;
use super::format;
use super::keymap::{Chord, Keymap};
use super::layout::{Focus, Pane, Places, split};
use super::overlays::Overlay;
use super::overlays::confirm::Operating;
use super::panes::compare::ComparePane;
use super::panes::logs::{LogsPane, Secrets};
use super::panes::runbook::RunbookPane;
use super::panes::services::ServicesPane;
use super::panes::signals::SignalsPane;
use super::panes::timeline::TimelinePane;
use super::theme::Theme;

/// How long an armed session stays armed.
pub const ARMED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a message that asks for nothing covers the keys in the footer.
const FLASH_FOR: Duration = Duration::from_secs(10);
/// How many messages are kept.
const MAX_NOTICES: usize = 200;

/// Whether actions that change a machine are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Refused until the session is armed.
    Locked,
    /// Accepted until then.
    Armed {
        /// When it locks by itself.
        until: Timestamp,
    },
    /// Refused for the whole session.
    ReadOnly,
}

/// A message to the engineer, kept for the messages overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When.
    pub at: Timestamp,
    /// How it should be seen.
    pub grade: Grade,
    /// What, where and why.
    pub text: SafeText,
    /// The next command or key.
    pub fix: Option<SafeText>,
}

/// A checkpoint that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saving {
    /// When it was begun.
    pub since: Timestamp,
    /// What it is at, with its count.
    pub doing: SafeText,
}

/// What does not change while the console runs.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The zone that all times are shown in.
    pub zone: TimeZone,
    /// How roles look.
    pub theme: Theme,
    /// Which key means what.
    pub keymap: Keymap,
    /// The panes there are; all where empty.
    pub panes: Vec<Pane>,
    /// Whether the wall view was asked for.
    pub is_wall: bool,
    /// Whether nothing may be changed.
    pub is_read_only: bool,
    /// The user of this console, as the records name them.
    pub user: SafeText,
    /// Whether other engineers use the state folder too.
    pub is_paired: bool,
    /// A line for the header.
    pub banner: Option<SafeText>,
    /// Services whose logs are opened as soon as they are found.
    pub open: Vec<ServiceId>,
    /// How often signals are measured while someone can see them.
    pub measure_every: Duration,
    /// How many bytes of log lines are kept.
    pub log_bytes: usize,
    /// The fields that are shown of structured lines; all where empty.
    pub log_fields: Vec<String>,
    /// What is highlighted in logs.
    pub highlights: Vec<Highlight>,
    /// What hides secrets in logs until more is known of them.
    pub redactor: Redactor,
}

impl Setup {
    /// What was measured longer ago is stale: twice the pause between two measurements.
    pub fn measured_for(&self) -> Duration {
        self.measure_every.saturating_mul(2)
    }

    /// An inventory that is older is stale: who hangs for two looks is not known to be well any more.
    pub fn looked_for(&self) -> Duration {
        whole_look_after(self.measure_every).saturating_mul(2)
    }
}

/// The whole state.
#[derive(Debug)]
pub struct App {
    /// The instant that ages are told from; moved on by the loop, never read from a clock here.
    pub now: Timestamp,
    /// The size of the terminal.
    pub size: Size,
    /// What does not change.
    pub setup: Setup,
    /// Which pane has the keys, and how the panes are laid out.
    pub focus: Focus,
    /// Whether changes are accepted.
    pub lock: Lock,
    /// The beginning of a key sequence.
    pub typed: Vec<Chord>,
    /// What stands in front.
    pub overlay: Option<Overlay>,
    /// Messages so far, the newest last.
    pub notices: VecDeque<Notice>,
    /// The message in the footer; taken away by the next key.
    pub flash: Option<Notice>,
    /// The checkpoints, the newest first.
    pub checkpoints: Reading<Vec<Checkpoint>>,
    /// A checkpoint that is being made.
    pub saving: Option<Saving>,
    /// The plan that is being made, read or carried out.
    pub operating: Option<Operating>,
    /// What runs.
    pub services: ServicesPane,
    /// The log.
    pub logs: LogsPane,
    /// What the deploy changed.
    pub compare: ComparePane,
    /// The golden signals.
    pub signals: SignalsPane,
    /// The runbook.
    pub runbook: RunbookPane,
    /// What happened.
    pub timeline: TimelinePane,
    /// The incident that is open; `None` within where none is.
    pub incident: Reading<Option<Brief>>,
    /// What would bite in a deploy.
    pub preflight: Reading<Vec<Check>>,
    /// The exit code, once the console is to be left.
    pub leaving: Option<u8>,
    /// Whether something that was waited for has come: it is drawn at once, as after a key.
    pub is_awaited: bool,
}

impl App {
    /// A console in which nothing was read yet.
    pub fn new(setup: Setup, size: Size, now: Timestamp) -> Self {
        let mut focus = Focus {
            is_wall: setup.is_wall,
            ..Focus::default()
        };
        if let Some(first) = setup.panes.first() {
            focus.panes = Pane::ALL
                .into_iter()
                .filter(|p| setup.panes.contains(p))
                .collect();
            focus.set(*first);
        }
        Self {
            now,
            size,
            focus,
            lock: if setup.is_read_only {
                Lock::ReadOnly
            } else {
                Lock::Locked
            },
            typed: Vec::new(),
            overlay: None,
            notices: VecDeque::new(),
            flash: None,
            checkpoints: Reading::Waiting,
            saving: None,
            operating: None,
            services: ServicesPane::default(),
            logs: LogsPane::new(setup.log_bytes, Secrets::new(setup.redactor.clone())),
            compare: ComparePane::default(),
            signals: SignalsPane::default(),
            runbook: RunbookPane::default(),
            timeline: TimelinePane::default(),
            incident: Reading::Waiting,
            preflight: Reading::Waiting,
            leaving: None,
            is_awaited: false,
            setup,
        }
    }

    /// Where everything stands now.
    pub fn places(&self) -> Places {
        split(self.size, &self.focus)
    }

    /// Whether a pane is on screen.
    pub fn is_visible(&self, pane: Pane) -> bool {
        self.places().pane(pane).is_some()
    }

    /// Where keys go.
    pub fn place(&self) -> Place {
        match &self.overlay {
            Some(overlay) => overlay.place(),
            None => Place::Pane(self.focus.pane),
        }
    }

    /// The selected service, as it was last seen.
    pub fn selected(&self) -> Option<&Service> {
        self.services.selected()
    }

    /// The newest checkpoint that is whole.
    pub fn checkpoint(&self) -> Option<&Manifest> {
        self.checkpoints
            .value()?
            .iter()
            .filter_map(|c| c.manifest.as_ref().ok())
            .find(|m| m.complete)
    }

    /// Whether a change is accepted now.
    pub fn is_armed(&self) -> bool {
        matches!(self.lock, Lock::Armed { until } if self.now < until)
    }

    /// Tells the engineer something: in the footer until the next key, and in the messages for good.
    pub fn tell(&mut self, grade: Grade, text: impl Into<SafeText>, fix: Option<SafeText>) {
        let notice = Notice {
            at: self.now,
            grade,
            text: text.into(),
            fix,
        };
        // The same failure every few seconds is one message.
        let is_repeated = self
            .notices
            .back()
            .is_some_and(|last| last.text == notice.text && last.grade == notice.grade);
        if is_repeated {
            self.notices.pop_back();
        }
        self.notices.push_back(notice.clone());
        if self.notices.len() > MAX_NOTICES {
            self.notices.pop_front();
        }
        self.flash = Some(notice);
    }

    /// The time of day of an instant, in the zone of the screen.
    pub fn time(&self, at: Timestamp) -> String {
        format::time_of_day(at, &self.setup.zone)
    }

    /// Whether lines come so fast that each frame would show none of the one before.
    pub fn is_flooded(&self) -> bool {
        let height = u64::from(self.places().inner(Pane::Logs).height).max(1);
        self.logs.is_following && self.logs.rate(self.now) >= 10 * height
    }

    /// The incident that is open, as far as it is known.
    pub fn open_incident(&self) -> Option<&Brief> {
        self.incident.value()?.as_ref()
    }

    /// When something on screen changes though nothing happens: in a second while an age under a minute or a
    /// running budget is shown, else with the header's minute.
    pub fn next_tick(&self) -> Duration {
        let is_ticking = self.logs.is_busy(self.now)
            || self.saving.is_some()
            || self.logs.secrets.shown_until.is_some()
            || self.operating.as_ref().is_some_and(Operating::is_running)
            || self.services.has_young_service(self.now)
            || self.services.is_newly_away(self.now)
            || self.open_incident().is_some_and(|brief| {
                format::elapsed_ms(brief.incident.started_at, self.now) < 60_000
            })
            || matches!(self.lock, Lock::Armed { until } if format::elapsed_ms(self.now, until) < 60_000)
            || self
                .checkpoint()
                .is_some_and(|m| format::elapsed_ms(m.created_at, self.now) < 60_000)
            || self.stale_ages().any(|ms| ms < 60_000);
        if is_ticking {
            return Duration::from_secs(1);
        }
        if self.places().wall.is_some() {
            // Ages and pages move on in such steps.
            let into = self.now.as_millisecond().rem_euclid(5_000) as u64;
            let step = Duration::from_millis(5_000 - into);
            return self.going_stale().fold(step, Duration::min);
        }
        let into_minute = self.now.as_millisecond().rem_euclid(60_000) as u64;
        let minute = Duration::from_millis(60_000 - into_minute);
        let next = self.flash_left().map_or(minute, |left| left.min(minute));
        self.going_stale().fold(next, Duration::min)
    }

    /// In what time what is shown as fresh is too old to be: while answers come in time that is never reached.
    fn going_stale(&self) -> impl Iterator<Item = Duration> {
        let fresh = |at: Option<Timestamp>, limit: Duration| {
            let age = Duration::from_millis(format::elapsed_ms(at?, self.now));
            // A moment later, when it is over.
            Some(limit.checked_sub(age)? + Duration::from_millis(20))
        };
        let services = &self.services.reading;
        let services = services.at().filter(|_| services.is_fresh());
        let signals = &self.signals.reading;
        let signals = signals.at().filter(|_| signals.is_fresh());
        let board = &self.signals.board.reading;
        let board = board.at().filter(|_| board.is_fresh());
        [
            fresh(services, self.setup.looked_for()),
            fresh(signals, self.setup.measured_for()),
            fresh(board, self.setup.measured_for()),
        ]
        .into_iter()
        .flatten()
    }

    /// How long the message in the footer stays; `None` where there is none, or one that a key must take away
    /// because it should not be overlooked.
    pub fn flash_left(&self) -> Option<Duration> {
        let flash = self.flash.as_ref().filter(|f| f.grade != Grade::Critical)?;
        let shown = Duration::from_millis(format::elapsed_ms(flash.at, self.now));
        Some(FLASH_FOR.saturating_sub(shown))
    }

    fn stale_ages(&self) -> impl Iterator<Item = u64> {
        let compare = match &self.compare.reading {
            Reading::Stale { at, .. } => Some(*at),
            _ => None,
        };
        let signals = match &self.signals.reading {
            Reading::Stale { at, .. } => Some(*at),
            _ => None,
        };
        let services = match &self.services.reading {
            Reading::Stale { at, .. } => Some(*at),
            _ => None,
        };
        let now = self.now;
        [compare, signals, services]
            .into_iter()
            .flatten()
            .map(move |at| format::elapsed_ms(at, now))
    }
}
