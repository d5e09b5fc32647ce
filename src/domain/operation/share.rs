//! How requests go over from one side of an application to the other: at once, or by steps.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How an application is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchWay {
    /// All requests with one reload.
    #[default]
    AtOnce,
    /// A growing share of the requests, by the weights of the proxy's servers.
    Canary,
    /// One server after the other.
    Rolling,
}

impl SwitchWay {
    /// Whether there is nothing between the one side and the other.
    pub fn is_at_once(&self) -> bool {
        *self == Self::AtOnce
    }

    /// The option of the command line; `None` for what needs none.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::AtOnce => None,
            Self::Canary => Some("--canary"),
            Self::Rolling => Some("--rolling"),
        }
    }
}

/// What of the requests the new side has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// So many of a hundred, 1 to 99.
    Percent(u8),
    /// So many of its servers, the same part of the others gone.
    Servers {
        /// How many.
        done: usize,
        /// Of how many.
        of: usize,
    },
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent} % of the requests"),
            Self::Servers { done, of } => write!(f, "{done} of {of} servers"),
        }
    }
}

/// What a file of the proxy is meanwhile: that of the new side, with the servers of the other in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// The other side's file.
    pub with: PathBuf,
    /// What the new side has.
    pub share: Share,
}
