//! What supervises services on a host: Docker, Compose, configured commands.

use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, ServiceId, Unreachable};
use crate::host::Host;

pub mod exec;

/// Why a runtime could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The daemon did not answer at all.
    #[error("{error}")]
    Unreachable {
        /// The whole cause.
        error: SafeText,
        /// What to do about it.
        fix: SafeText,
    },
    /// It does not know this container, image or service (any more).
    #[error("{0} does not exist")]
    NotFound(String),
    /// It answered and refused or failed.
    #[error("{what}")]
    Failed {
        /// What could not be done, and where.
        what: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// This kind of service cannot do that.
    #[error("{what} is not possible for {service}, a service of {}", runtime.as_str())]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The service.
        service: ServiceId,
        /// What supervises it.
        runtime: Runtime,
    },
}

impl RuntimeError {
    /// A failure with its cause.
    pub fn failed(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// Whether the daemon itself is away, so that trying again may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// What to do about it, where that is known.
    pub fn fix(&self) -> Option<&SafeText> {
        match self {
            Self::Unreachable { fix, .. } => Some(fix),
            _ => None,
        }
    }

    /// The form in which it stands beside the services that could be read.
    pub fn to_unreachable(&self, host: &Host, runtime: Runtime) -> Unreachable {
        Unreachable {
            host: host.name(),
            runtime,
            error: SafeText::from_error(self),
            fix: self.fix().cloned().unwrap_or_else(|| {
                SafeText::from_text("see the message; `docker info` asks the same daemon")
            }),
        }
    }
}
