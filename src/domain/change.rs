//! What the deploy changed: the image, the configuration, the environment, the commit, the limits.

use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;

/// Which part of a service a deploy changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// The container image, by id.
    Image,
    /// A configuration file (compose file, nginx.conf, ecosystem file).
    Config,
    /// An environment file or a variable of the environment.
    Env,
    /// The checked-out commit.
    Git,
    /// CPU, memory or restart limits.
    Limits,
}

impl ChangeKind {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Config => "config",
            Self::Env => "env",
            Self::Git => "git",
            Self::Limits => "limits",
        }
    }
}

/// One thing that differs between the checkpoint and now. Secrets are masked by tokens that keep their
/// identity, so that a changed secret still shows as changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The service whose release it belongs to.
    pub service: ServiceId,
    /// The part that changed.
    pub what: ChangeKind,
    /// The value before; `None` where it did not exist.
    pub before: Option<SafeText>,
    /// The value after; `None` where it is gone.
    pub after: Option<SafeText>,
}
