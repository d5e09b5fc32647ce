//! A checkpoint as one file, exact, secrets included.

use std::path::Path;

use crate::domain::checkpoint::Checkpoint;
use crate::store::archive::{self, ArchiveError};

/// Writes the checkpoint's folder as a `.tar.gz` or `.tar.zst` that only this user can read, through a command that
/// encrypts it where one is given. Returns its size.
///
/// # Errors
/// Another ending, the file exists, a full disk, the command failed; nothing is left behind.
pub fn export(
    checkpoint: &Checkpoint,
    to: &Path,
    encrypt: Option<&str>,
) -> Result<u64, ArchiveError> {
    let Some(command) = encrypt else {
        archive::check(to)?;
        let files = super::sums::files_below(&checkpoint.path)?;
        return archive::pack(&checkpoint.path, &files, &checkpoint.id, to);
    };
    archive::check_encrypted(to)?;
    let files = super::sums::files_below(&checkpoint.path)?;
    archive::pack_encrypted(&checkpoint.path, &files, &checkpoint.id, to, command)
}
