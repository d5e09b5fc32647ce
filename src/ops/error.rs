//! Why a use case could not do what was asked, in words for people and in kinds for exit codes.

use crate::domain::safe_text::SafeText;
use crate::domain::service::ResolveError;

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

    /// The whole chain of causes, safe to show.
    pub fn to_safe_text(&self) -> SafeText {
        SafeText::from_error(self)
    }
}

impl From<ResolveError> for OpsError {
    fn from(error: ResolveError) -> Self {
        Self::new(ErrorKind::Usage, error.to_string())
    }
}
