//! Alerts: what a rule found broken, who was told, and who has taken it.
//!
//! An alert is pending until its condition has held long enough, fires, and is resolved when the condition was seen
//! to be fine again. Missing data moves nothing: what was firing goes on firing and says since when nobody can look.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::{Runtime, ServiceId};

/// The schema of `alerts.json`.
pub const BOOK_SCHEMA: &str = "lastgood.alerts/1";

/// How urgent an alert is. Ordered from mild to bad, so that the worst of several is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertSeverity {
    /// For the record.
    P3,
    /// In working hours.
    P2,
    /// People decide soon.
    P1,
    /// Now.
    P0,
}

impl AlertSeverity {
    /// The word on screen, in JSON and in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P3 => "P3",
            Self::P2 => "P2",
            Self::P1 => "P1",
            Self::P0 => "P0",
        }
    }

    /// Whether it pages people: P0 and P1.
    pub fn pages(self) -> bool {
        self >= Self::P1
    }

    /// After how long people who have not taken it are told again; `None` where once is enough.
    pub fn reminder(self) -> Option<Duration> {
        match self {
            Self::P0 => Some(Duration::from_secs(15 * 60)),
            Self::P1 => Some(Duration::from_secs(60 * 60)),
            Self::P2 | Self::P3 => None,
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one look says of one rule at one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is broken.
    Broken,
    /// It was looked at and is fine.
    Fine,
    /// Nobody could look, or there is too little to say.
    Unknown,
}

/// One rule at one service, looked at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// What stays the same from look to look: `shop/backend down`.
    pub key: String,
    /// The service; `None` for what belongs to the machine.
    pub service: Option<ServiceId>,
    /// How urgent it is when broken.
    pub severity: AlertSeverity,
    /// What was seen.
    pub condition: Condition,
    /// It fires when it was broken for so long.
    pub hold: Duration,
    /// And in so many looks, one after the other.
    pub looks: u32,
    /// One sentence with the numbers.
    pub text: SafeText,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Broken, but not yet for long enough.
    Pending,
    /// People are to know.
    Firing,
    /// Seen to be fine again.
    Resolved,
}

/// Who has taken an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The user.
    pub by: SafeText,
    /// When.
    pub at: Timestamp,
}

/// For a while people are not told of what is expected: maintenance, a deploy. A P0 is told all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// What ends it: the services as they were given, or `deploy` and a number.
    pub name: String,
    /// The services as people name them; all where empty.
    pub services: Vec<String>,
    /// From then on.
    pub since: Timestamp,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: SafeText,
    /// Who said so.
    pub by: SafeText,
}

/// One rule at one service over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// As in [`Observation::key`].
    pub key: String,
    /// The service; `None` for what belongs to the machine.
    pub service: Option<ServiceId>,
    /// How urgent it is.
    pub severity: AlertSeverity,
    /// Where it is in its life.
    pub state: AlertState,
    /// One sentence with the numbers of the last look that had any.
    pub text: SafeText,
    /// Since when it is broken.
    pub pending_at: Timestamp,
    /// When it fired last.
    pub fired_at: Option<Timestamp>,
    /// When it was resolved last.
    pub resolved_at: Option<Timestamp>,
    /// Since when nobody could look; `None` while there is data.
    pub missing_since: Option<Timestamp>,
    /// Looks in a row that said the same: broken while pending, fine while firing.
    pub looks: u32,
    /// Since when it is fine, while it still counts as firing.
    pub fine_since: Option<Timestamp>,
    /// When it fired or was resolved, for as long as flapping is counted over.
    pub turns: Vec<Timestamp>,
    /// It fires and is resolved again and again: it is only resolved after a long calm.
    pub is_flapping: bool,
    /// The page that people know it by; `None` while nobody was told.
    pub page: Option<String>,
    /// Who has taken it.
    pub acknowledged: Option<Acknowledgement>,
    /// It fires and people were not told, because of a silence.
    #[serde(default)]
    pub is_silenced: bool,
}

/// What people were told under one key: one alert, or a storm of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The key by which every sink knows it: the same from the first trigger to the resolve.
    pub key: String,
    /// The worst of its alerts so far.
    pub severity: AlertSeverity,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When people were told last.
    pub told_at: Timestamp,
    /// How often: part of the id of each message.
    pub told: u32,
    /// Whether those behind were told as well.
    pub is_escalated: bool,
    /// Every sink that heard of it, and will hear of its end.
    pub sinks: BTreeSet<String>,
    /// It holds a storm: what fires soon after joins it in silence.
    pub is_storm: bool,
}

/// A service that was seen to run: when it is gone, that is an alert and no empty list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownService {
    /// The service.
    pub id: ServiceId,
    /// What supervised it.
    pub runtime: Runtime,
    /// When it was last there.
    pub seen_at: Timestamp,
    /// Whether it was ever seen running.
    pub has_run: bool,
}

/// Everything the watch remembers, `alerts.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertBook {
    /// [`BOOK_SCHEMA`].
    pub schema: String,
    /// The last look.
    pub looked_at: Option<Timestamp>,
    /// Pending and firing alerts, and those that were resolved a short while ago.
    pub alerts: Vec<Alert>,
    /// What people were told and that is not over.
    pub pages: Vec<Page>,
    /// Services that were seen.
    pub known: Vec<KnownService>,
    /// What people are not told of for a while.
    #[serde(default)]
    pub silences: Vec<Silence>,
    /// Decided together with the alerts, not yet in the outbox: a crash in between loses none.
    pub unsent: Vec<Notification>,
}

impl Default for AlertBook {
    fn default() -> Self {
        Self {
            schema: BOOK_SCHEMA.to_owned(),
            looked_at: None,
            alerts: Vec::new(),
            pages: Vec::new(),
            known: Vec::new(),
            silences: Vec::new(),
            unsent: Vec::new(),
        }
    }
}

impl AlertBook {
    /// The worst that fires; `None` where nothing does.
    pub fn worst(&self) -> Option<AlertSeverity> {
        let firing = self.alerts.iter().filter(|a| a.state == AlertState::Firing);
        firing.map(|a| a.severity).max()
    }

    /// The alerts of a page.
    pub fn of_page<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Alert> {
        self.alerts
            .iter()
            .filter(move |alert| alert.page.as_deref() == Some(key))
    }
}

/// Why people are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationEvent {
    /// It fires, or got worse.
    Trigger,
    /// It still fires and nobody has taken it.
    Reminder,
    /// Nobody has taken it: those behind are told.
    Escalation,
    /// Someone has taken it.
    Acknowledge,
    /// It is over.
    Resolve,
    /// Somebody tries the sink.
    Test,
    /// Somebody changed what runs: it fires nothing, and whoever looks for a cause finds it.
    Change,
}

impl NotificationEvent {
    /// The word in JSON and at the front of a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Reminder => "reminder",
            Self::Escalation => "escalation",
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
            Self::Test => "test",
            Self::Change => "change",
        }
    }
}

/// One message to people, the same to every sink. All text in it is redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Its own id: a receiver that has seen it takes a second delivery for the same message.
    pub id: String,
    /// The page's key, the same from trigger to resolve.
    pub key: String,
    /// Why.
    pub event: NotificationEvent,
    /// How urgent.
    pub severity: AlertSeverity,
    /// When it was decided.
    pub at: Timestamp,
    /// The machine that watches.
    pub host: SafeText,
    /// One sentence.
    pub title: SafeText,
    /// The services it is about.
    pub services: Vec<String>,
    /// What fires, a line each.
    pub alerts: Vec<SafeText>,
    /// At most three log lines or details that show it.
    pub evidence: Vec<SafeText>,
    /// What the comparison with the checkpoint says.
    pub verdict: Option<SafeText>,
    /// The newest good checkpoint, to go back to.
    pub checkpoint: Option<String>,
    /// The runbook to open.
    pub runbook: Option<String>,
    /// Who took it; only where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SafeText>,
    /// The head of the audit log when this was written: an anchor for `audit verify`.
    pub audit_head: Option<String>,
    /// Who gets it.
    pub sinks: BTreeSet<String>,
}

impl Notification {
    /// The message as lines of plain text, for sinks that show text.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline()];
        if self.alerts.len() > 1 {
            lines.extend(self.alerts.iter().map(|text| format!("- {text}")));
        }
        lines.extend(self.evidence.iter().map(|line| format!("> {line}")));
        let facts = [
            ("verdict", self.verdict.as_ref().map(ToString::to_string)),
            ("checkpoint", self.checkpoint.clone()),
            ("runbook", self.runbook.clone()),
            ("audit head", self.audit_head.clone()),
        ];
        for (name, value) in facts {
            lines.extend(value.map(|value| format!("{name}: {value}")));
        }
        lines
    }

    /// `[P0] prod-1: shop/backend is down`, with the event in front where it is not the first.
    pub fn headline(&self) -> String {
        let by = self.by.as_ref();
        let by = by.map_or_else(String::new, |by| format!("{by}: "));
        let event = match self.event {
            NotificationEvent::Trigger | NotificationEvent::Change => "",
            NotificationEvent::Reminder => "still firing: ",
            NotificationEvent::Escalation => "not taken by anyone: ",
            NotificationEvent::Acknowledge => "taken: ",
            NotificationEvent::Resolve => "resolved: ",
            NotificationEvent::Test => "test: ",
        };
        format!(
            "[{}] {}: {event}{by}{}",
            self.severity, self.host, self.title
        )
    }
}
