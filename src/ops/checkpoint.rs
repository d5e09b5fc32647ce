//! Checkpoints: create, list, find, verify, export.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Context, OpsError};
use crate::domain::checkpoint::{Checkpoint, Manifest, Verification};
use crate::domain::outcome::Progress;

/// What to put into a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct CreateCheckpoint {
    /// Names of services; empty for all.
    pub services: Vec<String>,
    /// What to call it.
    pub label: Option<String>,
    /// Logs from this instant on; `None` for all there is.
    pub since: Option<Timestamp>,
}

/// Saves logs, health, signals, configs and releases of the services, pins their images, and writes the
/// manifest last. Staged in `.<id>.partial` and renamed when whole; cancelling removes the staging folder.
///
/// # Errors
/// Unknown service, full disk, state folder not writable. A service whose log cannot be read does not stop the
/// others: the manifest is then not complete and names it.
pub async fn create(
    _ctx: &Context,
    _what: &CreateCheckpoint,
    _progress: mpsc::Sender<Progress>,
    _cancel: CancellationToken,
) -> Result<(Manifest, PathBuf), OpsError> {
    todo!("store")
}

/// Every checkpoint, the newest first, partial ones too.
///
/// # Errors
/// The state folder cannot be read.
pub fn list(_ctx: &Context) -> Result<Vec<Checkpoint>, OpsError> {
    todo!("store")
}

/// The checkpoint with this id, or a unique start of it, or its label.
///
/// # Errors
/// None or several match.
pub fn find(_ctx: &Context, _id: &str) -> Result<Checkpoint, OpsError> {
    todo!("store")
}

/// Checks every file against its checksum and every pinned image against the engine.
pub async fn verify(_ctx: &Context, _checkpoint: &Checkpoint) -> Verification {
    todo!("store")
}

/// Writes the checkpoint as one `.tar.gz` or `.tar.zst`, exact, secrets included. Returns its size.
///
/// # Errors
/// Unknown ending, file exists, disk full (nothing is left behind).
pub fn export(_ctx: &Context, _checkpoint: &Checkpoint, _to: &Path) -> Result<u64, OpsError> {
    todo!("store")
}
