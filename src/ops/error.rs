//! Why a use case could not do what was asked, in words for people and in kinds for exit codes.

use crate::audit::AuditError;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ResolveError;
use crate::store::StoreError;
use crate::store::archive::ArchiveError;
use crate::store::config::ConfigError;
use crate::store::incident::IncidentError;
use crate::store::lease::LeaseError;

/// What an error means for the caller; the front ends map it to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The answer is no: nothing to roll back to, verification failed.
    No,
    /// Wrong usage or configuration: unknown or ambiguous service, bad input.
    Usage,
    /// Required data is missing.
    NotSure,
    /// A host, daemon or file could not be reached or an operation failed.
    Failed,
    /// Refused: read-only, not confirmed, lease held by another, stale plan.
    Refused,
}

/// An error of a use case: what, where, why, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OpsError {
    /// What it means for the caller.
    pub kind: ErrorKind,
    /// What could not be done, and where.
    pub message: String,
    /// The next command to type.
    pub fix: Option<String>,
    /// Lines that show the fault: a line of a file with a caret, a list with reasons.
    pub lines: Vec<SafeText>,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl OpsError {
    /// An error of a kind, without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            fix: None,
            lines: Vec::new(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Adds the next command to type.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// Adds lines that show the fault.
    #[must_use]
    pub fn lines(mut self, text: &str) -> Self {
        self.lines = SafeText::lines(text);
        self
    }

    /// The whole chain of causes, safe to show.
    pub fn to_safe_text(&self) -> SafeText {
        SafeText::from_error(self)
    }
}

impl From<ConfigError> for OpsError {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string()).lines(&error.snippet)
    }
}

impl From<StoreError> for OpsError {
    fn from(error: StoreError) -> Self {
        let is_full = error.is_full();
        let own = Self::new(ErrorKind::Failed, error.to_string()).because(error);
        if is_full {
            own.fix("df -h: the disk is full; remove what is not needed and try again")
        } else {
            own
        }
    }
}

impl From<AuditError> for OpsError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Denied { .. } => Self::new(ErrorKind::Refused, error.to_string())
                .fix("start lastgood without --read-only"),
            AuditError::Store(inner) => {
                let mut own = Self::from(inner);
                own.message = format!("the audit log: {}", own.message);
                own
            }
            AuditError::Fault(_) | AuditError::AnchorMissing(_) | AuditError::NotOpen(_) => {
                Self::new(ErrorKind::No, error.to_string())
            }
        }
    }
}

impl From<LeaseError> for OpsError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(inner) => Self::from(inner),
            damaged @ LeaseError::Damaged { .. } => {
                Self::new(ErrorKind::Refused, damaged.to_string())
                    .fix("ask who acts there; when nobody does, remove that file there")
            }
            held => Self::new(ErrorKind::Refused, held.to_string())
                .fix("wait until it is over; `lastgood audit list` shows what is under way"),
        }
    }
}

impl From<ArchiveError> for OpsError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Store(inner) => inner.into(),
            failed @ ArchiveError::NotEncrypted { .. } => {
                Self::new(ErrorKind::Failed, failed.to_string())
                    .fix("[checkpoint] encrypt in the configuration")
            }
            refused => Self::new(ErrorKind::Usage, refused.to_string()),
        }
    }
}

impl From<IncidentError> for OpsError {
    fn from(error: IncidentError) -> Self {
        let kind = match error {
            IncidentError::Store(inner) => return inner.into(),
            IncidentError::NoneOpen { .. } => ErrorKind::No,
            IncidentError::Unknown { .. } | IncidentError::Several { .. } => ErrorKind::Usage,
            IncidentError::AlreadyOpen { .. } | IncidentError::Over { .. } => ErrorKind::Refused,
            IncidentError::Moved { .. } | IncidentError::Damaged { .. } => ErrorKind::Failed,
        };
        let fix = error.fix();
        Self::new(kind, error.to_string()).fix(fix)
    }
}

impl From<ResolveError> for OpsError {
    fn from(error: ResolveError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string())
    }
}
