//! Where the state stands: shared by the engineers of a box, or private.

use std::path::PathBuf;

/// The state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// The folder.
    pub root: PathBuf,
    /// Whether other engineers of this box use it too.
    pub is_shared: bool,
}
