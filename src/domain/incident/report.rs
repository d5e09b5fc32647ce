//! The report of an incident as data, `lastgood.incident-report/1`: what happened, the numbers, what was done, what is not
//! known. Every text in it is safe to show and free of secrets.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Moment, RoleHolder};
use crate::domain::change::Change;
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::timeline::TimelineEvent;
use crate::domain::verdict::{Severity, Verdict};

/// Everything that is known of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentReport {
    /// The incident.
    pub id: String,
    /// What it is about.
    pub title: SafeText,
    /// How bad it is; `None` where nobody said.
    pub severity: Option<Severity>,
    /// Who had which role at the end, the lead first.
    #[serde(default)]
    pub roles: Vec<RoleHolder>,
    /// When it began.
    pub started_at: Timestamp,
    /// Who opened it.
    pub started_by: SafeText,
    /// When it was over; `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<SafeText>,
    /// The instant up to which this report tells.
    pub made_at: Timestamp,
    /// From the beginning to the end, or to [`IncidentReport::made_at`]: the time to recovery.
    pub duration_ms: u64,
    /// The checkpoint that everything is held against.
    pub baseline: Option<String>,
    /// The whole in a few sentences.
    pub summary: Vec<SafeText>,
    /// What happened, the oldest first: from the checkpoint on, so that the deploy before it is there.
    pub timeline: Vec<TimelineEvent>,
    /// The numbers before it, at its start and at its end.
    pub numbers: Vec<NumberRow>,
    /// What the deploy changed, as it was seen at the start.
    pub changes: Vec<Change>,
    /// What the comparisons said, with evidence.
    pub verdicts: Vec<TimedVerdict>,
    /// What was done about it, from the audit log.
    pub actions: Vec<IncidentAction>,
    /// What is lost or not known, in words.
    pub unknown: Vec<SafeText>,
    /// The audit log at [`IncidentReport::made_at`]: `audit verify --anchor` finds whether it was cut since.
    pub audit: ChainEnd,
    /// The incident's own journal.
    pub journal: ChainEnd,
}

/// One number at three moments. `None` is not known, never 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberRow {
    /// The service; `None` for all together.
    pub service: Option<ServiceId>,
    /// `requests`, `errors`, `error_rate`, `latency_p95`, `latency_p50`, or a signal of the user's own.
    pub signal: SafeText,
    /// `ms`, `fraction`, `count`, or the signal's own.
    pub unit: SafeText,
    /// In the checkpoint.
    pub before: Option<f64>,
    /// When the incident was opened.
    pub at_start: Option<f64>,
    /// When it ended; while it is open, now.
    pub at_end: Option<f64>,
}

/// What a comparison said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedVerdict {
    /// When.
    pub at: Timestamp,
    /// At which moment of the incident.
    pub moment: Moment,
    /// Keep or roll back, with findings.
    pub verdict: Verdict,
}

/// Something that was done, or refused, between the checkpoint and the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentAction {
    /// The record of its intent or refusal in the audit log.
    pub seq: u64,
    /// When it was begun.
    pub at: Timestamp,
    /// Who.
    pub by: SafeText,
    /// The verb.
    pub operation: SafeText,
    /// The machine.
    pub host: HostName,
    /// The services.
    pub services: Vec<ServiceId>,
    /// What the plan said, step by step.
    pub steps: Vec<SafeText>,
    /// The outcome's word, or why it was refused; `None` where no outcome is known.
    pub outcome: Option<SafeText>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// Whether it was refused.
    pub is_denied: bool,
}

/// The end of a hash chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEnd {
    /// How many records there are.
    pub records: u64,
    /// The hash of the newest; `None` where the chain could not be read.
    pub head: Option<String>,
    /// Where the chain does not agree with itself; `None` for a whole one.
    pub problem: Option<SafeText>,
}
