//! Checkpoints on disk: how one is written so that it is either whole or visibly partial, and how it is read,
//! checked and exported.
//!
//! A checkpoint is a folder of plain files that need no lastgood to be read: `zstdcat`, `sha256sum -c` and `jq`
//! are enough.

mod export;
mod stage;
mod sums;

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use super::paths::{StateDir, StoreError};
use crate::domain::checkpoint::{Checkpoint, MANIFEST_SCHEMA, Manifest, NoManifest};
use crate::domain::safe_text::SafeText;

pub use export::export;
pub use stage::{LogFile, LogTotals, Staging};
pub use sums::{Checked, sha256_file, verify_files};

/// The file that makes a checkpoint whole.
const MANIFEST: &str = "MANIFEST.json";
/// The checksums of every other file.
const SUMS: &str = "SHA256SUMS";

/// Every checkpoint, the newest first, partial ones too.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn list(state: &StateDir) -> Result<Vec<Checkpoint>, StoreError> {
    let dir = state.checkpoints();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(StoreError::at("read the folder", &dir))?
            .path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        match fs::metadata(&path) {
            Ok(meta) if !meta.is_dir() => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Where it cannot be looked at, reading its manifest says why.
            Ok(_) | Err(_) => {}
        }
        let partial = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(".partial"));
        let checkpoint = match partial {
            Some(id) => Checkpoint {
                id: id.to_owned(),
                manifest: Err(NoManifest::Partial(SafeText::from_text(
                    "partial: it is being made, or making it was cut off",
                ))),
                path,
            },
            None if name.starts_with('.') => continue,
            None => Checkpoint {
                id: name.to_owned(),
                manifest: read_manifest(&path, name),
                path,
            },
        };
        found.push((made_at(&checkpoint), checkpoint));
    }
    found.sort_by(|(a_at, a), (b_at, b)| b_at.cmp(a_at).then_with(|| b.id.cmp(&a.id)));
    Ok(found
        .into_iter()
        .map(|(_, checkpoint)| checkpoint)
        .collect())
}

/// The name of a folder while its files are being removed: it is none of a checkpoint any more.
fn being_removed(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{}.removing", name.trim_start_matches('.')))
}

/// Removes the folder of a checkpoint, or what is left of it. It loses its name first, at once and for good: a
/// checkpoint is listed whole or not at all, whatever ends this.
///
/// # Errors
/// It is no folder of the checkpoints; it cannot be renamed or removed.
pub fn remove(state: &StateDir, folder: &Path) -> Result<(), StoreError> {
    if folder.parent() != Some(&state.checkpoints()) || folder.file_name().is_none() {
        let text = "it is no folder of a checkpoint";
        let error = io::Error::new(io::ErrorKind::InvalidInput, text);
        return Err(StoreError::at("remove", folder)(error));
    }
    let name = folder.to_string_lossy();
    let gone = match name.ends_with(".removing") {
        true => folder.to_owned(),
        false => being_removed(folder),
    };
    if folder.exists() && folder != gone {
        // What a removal that was cut off left of another checkpoint of this name is in the way.
        match fs::remove_dir_all(&gone) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::at("remove", &gone)(error));
            }
            _ => {}
        }
        fs::rename(folder, &gone).map_err(StoreError::at("remove", folder))?;
        super::paths::sync_parent(folder)?;
    }
    match fs::remove_dir_all(&gone) {
        Ok(()) => super::paths::sync_parent(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::at("remove", &gone)(error)),
    }
}

/// Whether anything is left of a checkpoint's folder.
pub fn is_there(folder: &Path) -> bool {
    folder.exists() || being_removed(folder).exists()
}

/// Folders whose removal was cut off.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn half_removed(state: &StateDir) -> Result<Vec<PathBuf>, StoreError> {
    let dir = state.checkpoints();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".removing"))
        .collect();
    found.sort();
    Ok(found)
}

/// When it was made: its manifest says, else its folder.
pub fn made_at(checkpoint: &Checkpoint) -> Option<Timestamp> {
    match &checkpoint.manifest {
        Ok(manifest) => Some(manifest.created_at),
        Err(_) => fs::metadata(&checkpoint.path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|at| Timestamp::try_from(at).ok()),
    }
}

/// Reads `MANIFEST.json` of a folder that is named like its id.
fn read_manifest(path: &Path, id: &str) -> Result<Manifest, NoManifest> {
    let unread = |text: String| NoManifest::Unread(SafeText::from_text(&text));
    let file = path.join(MANIFEST);
    let bytes = fs::read(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            NoManifest::Partial(SafeText::from_text("partial: it has no MANIFEST.json"))
        }
        _ => unread(format!("cannot read MANIFEST.json: {error}")),
    })?;
    let manifest: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| unread(format!("MANIFEST.json is damaged: {error}")))?;
    if manifest.schema != MANIFEST_SCHEMA {
        return Err(unread(format!(
            "made by another version: its schema is {}",
            manifest.schema
        )));
    }
    if manifest.id != id {
        return Err(unread(format!(
            "the folder was renamed: its manifest is of {}",
            manifest.id
        )));
    }
    let mut files = manifest.services.iter().flat_map(|service| {
        let log = service.log.iter().map(|log| &log.file);
        log.chain(service.files.iter().map(|file| &file.file))
    });
    if let Some(bad) = files.find(|file| !is_inside(file)) {
        return Err(unread(format!(
            "MANIFEST.json names a file outside: {}",
            bad.display()
        )));
    }
    Ok(manifest)
}

/// Whether a relative path stays below the folder it is joined to.
fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_)))
}

/// The place of a saved configuration file below its checkpoint: `configs/[<host>/]<group>/<name>/<absolute path>`.
pub fn config_place(service: &Path, original: &Path) -> PathBuf {
    let mut place = Path::new("configs").join(service);
    place.extend(original.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    }));
    place
}

#[cfg(test)]
mod tests;
