//! A checkpoint as one file, exact, secrets included.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::domain::checkpoint::Checkpoint;
use crate::store::paths::{StoreError, sync_parent};

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The name says no format.
    #[error("{}: give a name that ends in .tar.gz or .tar.zst", .0.display())]
    UnknownEnding(PathBuf),
    /// Nothing is overwritten.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes the checkpoint's folder as a `.tar.gz` or `.tar.zst` that only this user can read. Returns its size.
///
/// # Errors
/// Another ending, the file exists, a full disk; nothing is left behind.
pub fn export(checkpoint: &Checkpoint, to: &Path) -> Result<u64, ExportError> {
    let name = to.to_string_lossy();
    let is_zstd = name.ends_with(".tar.zst");
    if !is_zstd && !name.ends_with(".tar.gz") {
        return Err(ExportError::UnknownEnding(to.to_owned()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(ExportError::Exists(to.to_owned()));
    }
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fail = |error| StoreError::at("write", to)(error);
    let staged = tempfile::Builder::new()
        .prefix(".lastgood-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(parent)
        .map_err(fail)?;
    let file = staged.as_file();
    let written = if is_zstd {
        zstd::Encoder::new(BufWriter::new(file), 3)
            .and_then(|encoder| pack(checkpoint, encoder)?.finish()?.flush())
    } else {
        let level = flate2::Compression::default();
        let encoder = flate2::write::GzEncoder::new(BufWriter::new(file), level);
        pack(checkpoint, encoder).and_then(|encoder| encoder.finish()?.flush())
    };
    written.and_then(|()| file.sync_all()).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    match staged.persist_noclobber(to) {
        Ok(_) => {}
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ExportError::Exists(to.to_owned()));
        }
        Err(failed) => return Err(fail(failed.error).into()),
    }
    sync_parent(to)?;
    Ok(size)
}

fn pack<W: Write>(checkpoint: &Checkpoint, into: W) -> io::Result<W> {
    let mut archive = tar::Builder::new(into);
    archive.follow_symlinks(false);
    for file in super::sums::files_below(&checkpoint.path).map_err(|error| error.source)? {
        let mut content = File::open(checkpoint.path.join(&file))?;
        archive.append_file(Path::new(&checkpoint.id).join(&file), &mut content)?;
    }
    archive.into_inner()
}
