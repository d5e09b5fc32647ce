//! Exit codes: one table, printed by `lastgood help exit-codes`.

use tokio::signal::unix::{SignalKind, signal};

use crate::domain::health::HealthState;
use crate::domain::outcome::OutcomeKind;
use crate::domain::verdict::Decision;
use crate::ops::ErrorKind;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done and verified, keep, healthy.
    Done,
    /// The answer is no.
    No,
    /// Usage or configuration error.
    Usage,
    /// Not sure.
    NotSure,
    /// An operation failed, or something could not be reached.
    Failed,
    /// Refused.
    Refused,
    /// Ended by HUP.
    Hangup,
    /// Ended by INT.
    Interrupted,
    /// Ended by TERM.
    Terminated,
}

/// Every code with its meaning, as the help prints it.
pub const TABLE: &[(u8, &str)] = &[
    (0, "done and verified · keep · healthy"),
    (
        1,
        "the answer is no: roll back · unhealthy · verification or preflight failed · applied but not verified · nothing to roll back to",
    ),
    (2, "usage or configuration error"),
    (
        3,
        "not sure: watch, inconclusive, degraded, or required data is missing",
    ),
    (
        4,
        "an operation failed (unchanged, partial or unknown), or a host or daemon could not be reached",
    ),
    (
        5,
        "refused: locked or read-only session, policy, lease held by another, not confirmed, stale plan",
    ),
    (
        129,
        "ended by HUP; an action in flight finished its step and is journalled",
    ),
    (
        130,
        "ended by INT; an action in flight finished its step and is journalled",
    ),
    (
        143,
        "ended by TERM; an action in flight finished its step and is journalled",
    ),
];

impl Exit {
    /// Waits for a signal that ends the program, and gives the code that belongs to it.
    pub async fn by_signal() -> Self {
        let (Ok(mut hup), Ok(mut int), Ok(mut term)) = (
            signal(SignalKind::hangup()),
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = hup.recv() => Self::Hangup,
            _ = int.recv() => Self::Interrupted,
            _ = term.recv() => Self::Terminated,
        }
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NotSure => 3,
            Self::Failed => 4,
            Self::Refused => 5,
            Self::Hangup => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::No => Self::No,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NotSure => Self::NotSure,
            ErrorKind::Failed => Self::Failed,
            ErrorKind::Refused => Self::Refused,
        }
    }
}

impl From<Decision> for Exit {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Keep => Self::Done,
            Decision::RollBack => Self::No,
            Decision::Watch | Decision::Inconclusive => Self::NotSure,
        }
    }
}

impl From<HealthState> for Exit {
    fn from(state: HealthState) -> Self {
        match state {
            HealthState::Healthy => Self::Done,
            HealthState::Degraded => Self::NotSure,
            HealthState::Unhealthy => Self::No,
            HealthState::Unreachable => Self::Failed,
        }
    }
}

impl From<OutcomeKind> for Exit {
    fn from(kind: OutcomeKind) -> Self {
        match kind {
            OutcomeKind::Verified => Self::Done,
            OutcomeKind::AppliedNotVerified => Self::No,
            OutcomeKind::FailedUnchanged | OutcomeKind::FailedPartial | OutcomeKind::Unknown => {
                Self::Failed
            }
        }
    }
}
