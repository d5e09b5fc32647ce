//! What can go wrong with incidents, in words that say what to do.

use std::path::PathBuf;

use super::Fault;
use crate::domain::safe_text::SafeText;
use crate::store::StoreError;

/// What can go wrong with incidents.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    /// No incident is open and none was named.
    #[error("no incident is open")]
    NoneOpen {
        /// The newest one, which is over.
        newest: Option<String>,
    },
    /// No incident of that name.
    #[error("no incident {id:?}{}", list(known))]
    Unknown {
        /// What was asked for.
        id: String,
        /// Some ids, the newest first.
        known: Vec<String>,
    },
    /// More than one can be meant.
    #[error("several incidents can be meant: {}", known.join(", "))]
    Several {
        /// Their ids.
        known: Vec<String>,
    },
    /// One at a time, unless another is wanted.
    #[error("the incident {id} is open: {title}")]
    AlreadyOpen {
        /// The open one.
        id: String,
        /// What it is about.
        title: SafeText,
    },
    /// Nothing can be added to it.
    #[error("the incident {id} is over")]
    Over {
        /// Which.
        id: String,
    },
    /// Somebody wrote into the journal since it was read.
    #[error("somebody wrote into the journal of {id} meanwhile")]
    Moved {
        /// Which.
        id: String,
    },
    /// The line that opens it does not agree with itself.
    #[error("{}:{fault}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where and how.
        fault: Fault,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn list(known: &[String]) -> String {
    match known {
        [] => "; there is none at all".to_owned(),
        known => format!("; the newest are: {}", known.join(", ")),
    }
}

impl IncidentError {
    /// The next command to type.
    pub fn fix(&self) -> String {
        match self {
            Self::NoneOpen { newest: None } => "lastgood incident start TITLE".to_owned(),
            Self::NoneOpen { newest: Some(id) } => {
                format!("lastgood incident start TITLE, or lastgood incident report {id}")
            }
            Self::Unknown { .. } | Self::Store(_) => "lastgood incident list".to_owned(),
            Self::Several { known } => match known.first() {
                Some(id) => format!("name one: --incident {id}, or report {id}"),
                None => "lastgood incident list".to_owned(),
            },
            Self::AlreadyOpen { .. } => {
                "lastgood incident note TEXT adds to it, lastgood incident end closes it, start --another opens a second"
                    .to_owned()
            }
            Self::Over { id } => {
                format!("lastgood incident report {id}, or lastgood incident start TITLE")
            }
            Self::Moved { .. } => "the same command again".to_owned(),
            Self::Damaged { path, .. } => format!("look at {}", path.display()),
        }
    }
}
