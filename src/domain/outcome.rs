//! What became of a plan. There is no plain "done".

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::HostName;
use super::safe_text::SafeText;
use super::service::{Release, ServiceId};

/// The end of an operation, by what was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Identity, state and probes are as they should be.
    Verified,
    /// Every step ran, but the proof failed or could not be had.
    AppliedNotVerified,
    /// A step failed and the machine is as it was.
    FailedUnchanged,
    /// A step failed and the machine is neither as it was nor as it should be: the manual commands say what
    /// to type.
    FailedPartial,
    /// The link was lost: what happened is not known until it is read again.
    Unknown,
}

impl OutcomeKind {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::AppliedNotVerified => "applied_not_verified",
            Self::FailedUnchanged => "failed_unchanged",
            Self::FailedPartial => "failed_partial",
            Self::Unknown => "unknown",
        }
    }

    /// The words on screen.
    pub fn words(self) -> &'static str {
        match self {
            Self::Verified => "VERIFIED",
            Self::AppliedNotVerified => "APPLIED, NOT VERIFIED",
            Self::FailedUnchanged => "FAILED, UNCHANGED",
            Self::FailedPartial => "FAILED, PARTIAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The step's text.
    pub text: SafeText,
    /// Whether it did what it should.
    pub ok: bool,
    /// How long it took.
    pub ms: u64,
    /// What was seen: the evidence, or the cause of failure.
    pub detail: SafeText,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The operation's verb.
    pub operation: String,
    /// The plan's hash.
    pub plan_hash: String,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Each step that was begun.
    pub steps: Vec<StepResult>,
    /// Commands to type by hand where the machine was left half-way.
    pub manual: Vec<SafeText>,
    /// What runs now, as far as it is known.
    pub release: Release,
    /// How long the whole took.
    pub duration_ms: u64,
    /// How long it might take; `None` where nobody waited for it.
    #[serde(default)]
    pub budget_ms: Option<u64>,
}

impl Outcome {
    /// Whether it took longer than it might.
    pub fn is_over_budget(&self) -> bool {
        self.budget_ms
            .is_some_and(|budget| self.duration_ms > budget)
    }
}

/// Told while something long is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A step was begun.
    StepStarted {
        /// Its place in the plan, from 0.
        index: usize,
        /// Its text.
        text: SafeText,
    },
    /// A step ended.
    StepEnded {
        /// Its place in the plan, from 0.
        index: usize,
        /// Its result.
        result: StepResult,
    },
    /// Something is being counted up: bytes of a log, probes in a row.
    Counted {
        /// What.
        what: SafeText,
        /// So far.
        done: u64,
        /// Of how many, where that is known.
        total: Option<u64>,
    },
    /// Something worth a line.
    Note(SafeText),
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's name.
    pub user: String,
    /// The numeric user id.
    pub uid: u32,
    /// `console` or `cli`.
    pub via: String,
    /// Where the session comes from (`SSH_CONNECTION`'s client address); `None` for a local one.
    pub from: Option<SafeText>,
}

/// Which half of an operation an audit record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditPhase {
    /// It is about to be done.
    Intent,
    /// It ended.
    Outcome,
    /// It was refused.
    Denied,
    /// Somebody took up what a process that died had begun; its outcome follows.
    Resumed,
    /// A second person said yes to a plan.
    Approved,
    /// Somebody had the secrets in logs shown.
    Revealed,
}

impl AuditPhase {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Denied => "denied",
            Self::Resumed => "resumed",
            Self::Approved => "approved",
            Self::Revealed => "revealed",
        }
    }
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// 1, 2, 3, … over all files.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Who acted.
    pub actor: Actor,
    /// The machine acted on.
    pub host: HostName,
    /// The operation's verb.
    pub operation: String,
    /// The services.
    pub services: Vec<ServiceId>,
    /// The plan's hash.
    pub plan_hash: String,
    /// Intent, outcome or denied.
    pub phase: AuditPhase,
    /// The outcome's word, or the reason of a refusal.
    pub outcome: Option<SafeText>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// The run whose journal tells the steps; `None` for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What the plan said, step by step; of an intent only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<SafeText>,
    /// The hash of the record before; 64 zeros for the first.
    pub prev: String,
    /// SHA-256 over this record without this field.
    pub hash: String,
}
