//! What `errors`, `slow`, `patterns` and `compare` read: a path, `-`, `checkpoint:ID[/service]`,
//! `service:NAME[?since=…&until=…]`.

use std::path::PathBuf;

use super::OpsError;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file: plain, `.gz` or `.zst`.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// A checkpoint, or one service of it.
    Checkpoint {
        /// The checkpoint.
        id: String,
        /// The service; `None` for all.
        service: Option<String>,
    },
    /// What a service writes now.
    Service {
        /// Its name.
        name: String,
        /// `since=`, as it was written.
        since: Option<String>,
        /// `until=`, as it was written.
        until: Option<String>,
    },
    /// Every service that the other side's checkpoint holds, as they are now.
    Now,
}

impl Input {
    /// Reads the text form.
    ///
    /// # Errors
    /// An unknown parameter, an empty name.
    pub fn parse(_text: &str) -> Result<Self, OpsError> {
        todo!("analysis")
    }
}
