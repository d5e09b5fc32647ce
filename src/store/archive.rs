//! Files packed into one `.tar.gz` or `.tar.zst` that only this user can read: written beside its name and renamed, so that
//! a crash leaves nothing half, and never over a file that is there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::store::paths::{StoreError, sync_parent};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
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

/// Whether an archive can be made at this name. Long work is spared where it cannot.
///
/// # Errors
/// Another ending, or something is there.
pub fn check(to: &Path) -> Result<(), ArchiveError> {
    let name = to.to_string_lossy();
    if !name.ends_with(".tar.zst") && !name.ends_with(".tar.gz") {
        return Err(ArchiveError::UnknownEnding(to.to_owned()));
    }
    match to.symlink_metadata() {
        Ok(_) => Err(ArchiveError::Exists(to.to_owned())),
        Err(_) => Ok(()),
    }
}

/// Packs the files of `folder`, given relative to it, under the name `root`. Returns the archive's size.
///
/// # Errors
/// As [`check`]; a file that cannot be read, a full disk: nothing is left behind then.
pub fn pack(folder: &Path, files: &[PathBuf], root: &str, to: &Path) -> Result<u64, ArchiveError> {
    check(to)?;
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
    let written = if to.to_string_lossy().ends_with(".tar.zst") {
        zstd::Encoder::new(BufWriter::new(file), 3)
            .and_then(|encoder| write(folder, files, root, encoder)?.finish()?.flush())
    } else {
        let level = flate2::Compression::default();
        let encoder = flate2::write::GzEncoder::new(BufWriter::new(file), level);
        write(folder, files, root, encoder).and_then(|encoder| encoder.finish()?.flush())
    };
    written.and_then(|()| file.sync_all()).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    match staged.persist_noclobber(to) {
        Ok(_) => {}
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ArchiveError::Exists(to.to_owned()));
        }
        Err(failed) => return Err(fail(failed.error).into()),
    }
    sync_parent(to)?;
    Ok(size)
}

fn write<W: Write>(folder: &Path, files: &[PathBuf], root: &str, into: W) -> io::Result<W> {
    let mut archive = tar::Builder::new(into);
    archive.follow_symlinks(false);
    for file in files {
        let mut content = File::open(folder.join(file))?;
        archive.append_file(Path::new(root).join(file), &mut content)?;
    }
    archive.into_inner()
}
