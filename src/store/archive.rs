//! Files packed into one `.tar.gz` or `.tar.zst` that only this user can read: written beside its name and renamed, so that
//! a crash leaves nothing half, and never over a file that is there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::NamedTempFile;

use crate::domain::safe_text::SafeText;
use crate::store::paths::{StoreError, sync_parent};

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The name says no format.
    #[error("{}: give a name that ends in .tar.gz or .tar.zst", .0.display())]
    UnknownEnding(PathBuf),
    /// The command that encrypts it failed.
    #[error("`{command}` did not encrypt it: {why}")]
    NotEncrypted {
        /// The configured command.
        command: String,
        /// How it ended, and what it said.
        why: SafeText,
    },
    /// Nothing is overwritten.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an archive's name says of how it is compressed.
#[derive(Clone, Copy)]
enum Format {
    Gzip,
    Zstd,
}

impl Format {
    fn of(name: &str) -> Option<Self> {
        match name {
            name if name.ends_with(".tar.zst") => Some(Self::Zstd),
            name if name.ends_with(".tar.gz") => Some(Self::Gzip),
            _ => None,
        }
    }

    /// The same where an encrypting program's ending may follow: `x.tar.zst.age`.
    fn of_encrypted(name: &str) -> Option<Self> {
        let inner = name.rsplit_once('.').map(|(inner, _)| inner);
        Self::of(name).or_else(|| Self::of(inner?))
    }
}

/// Whether an archive can be made at this name. Long work is spared where it cannot.
///
/// # Errors
/// Another ending, or something is there.
pub fn check(to: &Path) -> Result<(), ArchiveError> {
    is_free(to, Format::of(&to.to_string_lossy())).map(drop)
}

/// As [`check`], of one that is encrypted: the program's own ending may follow.
///
/// # Errors
/// As [`check`].
pub fn check_encrypted(to: &Path) -> Result<(), ArchiveError> {
    is_free(to, Format::of_encrypted(&to.to_string_lossy())).map(drop)
}

fn is_free(to: &Path, format: Option<Format>) -> Result<Format, ArchiveError> {
    let format = format.ok_or_else(|| ArchiveError::UnknownEnding(to.to_owned()))?;
    match to.symlink_metadata() {
        Ok(_) => Err(ArchiveError::Exists(to.to_owned())),
        Err(_) => Ok(format),
    }
}

/// Packs the files of `folder`, given relative to it, under the name `root`. Returns the archive's size.
///
/// # Errors
/// As [`check`]; a file that cannot be read, a full disk: nothing is left behind then.
pub fn pack(folder: &Path, files: &[PathBuf], root: &str, to: &Path) -> Result<u64, ArchiveError> {
    let format = is_free(to, Format::of(&to.to_string_lossy()))?;
    let staged = stage(to)?;
    compress(folder, files, root, format, staged.as_file()).map_err(StoreError::at("write", to))?;
    keep(staged, to)
}

/// Packs as [`pack`] does, through a command that encrypts its input, run by `sh -c`: what is written to the disk is
/// never in clear.
///
/// # Errors
/// As [`pack`]; the command failed.
pub fn pack_encrypted(
    folder: &Path,
    files: &[PathBuf],
    root: &str,
    to: &Path,
    command: &str,
) -> Result<u64, ArchiveError> {
    let format = is_free(to, Format::of_encrypted(&to.to_string_lossy()))?;
    let staged = stage(to)?;
    let not_encrypted = |why: &str| ArchiveError::NotEncrypted {
        command: command.to_owned(),
        why: SafeText::from_text(why),
    };
    let output = staged
        .as_file()
        .try_clone()
        .map_err(StoreError::at("write", to))?;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| not_encrypted(&error.to_string()))?;
    let said = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            text
        })
    });
    // Its input is closed when this ends; a program that ends early says why by itself.
    let written = match child.stdin.take() {
        Some(input) => compress(folder, files, root, format, input),
        None => Err(io::Error::other("it takes no input")),
    };
    let status = child
        .wait()
        .map_err(|error| not_encrypted(&error.to_string()))?;
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    if !status.success() {
        let said = String::from_utf8_lossy(&said);
        return Err(not_encrypted(&format!("{status}: {}", said.trim())));
    }
    written.map_err(StoreError::at("write", to))?;
    if staged.as_file().metadata().map_or(0, |meta| meta.len()) == 0 {
        return Err(not_encrypted("it wrote nothing"));
    }
    keep(staged, to)
}

/// A file beside the name, for this user alone.
fn stage(to: &Path) -> Result<NamedTempFile, StoreError> {
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".lastgood-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(parent)
        .map_err(StoreError::at("write", to))
}

/// Flushes it and gives it its name.
fn keep(staged: NamedTempFile, to: &Path) -> Result<u64, ArchiveError> {
    let fail = |error| StoreError::at("write", to)(error);
    staged.as_file().sync_all().map_err(fail)?;
    let size = staged.as_file().metadata().map_err(fail)?.len();
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

fn compress(
    folder: &Path,
    files: &[PathBuf],
    root: &str,
    format: Format,
    into: impl Write,
) -> io::Result<()> {
    let into = BufWriter::new(into);
    match format {
        Format::Zstd => {
            let encoder = zstd::Encoder::new(into, 3)?;
            write(folder, files, root, encoder)?.finish()?.flush()
        }
        Format::Gzip => {
            let encoder = flate2::write::GzEncoder::new(into, flate2::Compression::default());
            write(folder, files, root, encoder)?.finish()?.flush()
        }
    }
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
