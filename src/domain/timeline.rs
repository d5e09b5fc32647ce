//! What happened, in order: deploys, checkpoints, verdicts, actions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;
use super::signal::Grade;

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineKind {
    /// A service runs in a new container or release.
    Deploy,
    /// A checkpoint was made.
    Checkpoint,
    /// A verdict changed.
    Verdict,
    /// An operation was begun, ended or refused.
    Action,
    /// A source of logs broke, came back or ended.
    Log,
    /// A runbook item was ticked, failed or skipped.
    Runbook,
    /// An alert fired or ended.
    Alert,
    /// Someone marked a line of a log.
    Mark,
    /// Someone's note.
    Note,
    /// An incident was opened or ended.
    Incident,
}

impl TimelineKind {
    /// The word on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Checkpoint => "checkpoint",
            Self::Verdict => "verdict",
            Self::Action => "action",
            Self::Log => "log",
            Self::Runbook => "runbook",
            Self::Alert => "alert",
            Self::Mark => "mark",
            Self::Note => "note",
            Self::Incident => "incident",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: TimelineKind,
    /// The service it is about.
    pub service: Option<ServiceId>,
    /// How it should be seen.
    pub grade: Grade,
    /// In words.
    pub text: SafeText,
}
