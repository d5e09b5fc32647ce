//! A checkpoint as one file, exact, secrets included.

use std::path::Path;

use crate::domain::checkpoint::Checkpoint;
use crate::store::archive::{self, ArchiveError};

/// Writes the checkpoint's folder as a `.tar.gz` or `.tar.zst` that only this user can read. Returns its size.
///
/// # Errors
/// Another ending, the file exists, a full disk; nothing is left behind.
pub fn export(checkpoint: &Checkpoint, to: &Path) -> Result<u64, ArchiveError> {
    archive::check(to)?;
    let files = super::sums::files_below(&checkpoint.path)?;
    archive::pack(&checkpoint.path, &files, &checkpoint.id, to)
}
