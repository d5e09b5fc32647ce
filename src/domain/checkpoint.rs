//! A checkpoint: how production looked before a deploy.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::HealthState;
use super::log::LogPosition;
use super::pm2::SavedPm2;
use super::safe_text::SafeText;
use super::service::{ComposeOrigin, Release, Runtime, RuntimeLimits, ServiceId};
use super::swarm::SavedSwarm;

/// The schema of `MANIFEST.json`.
pub const MANIFEST_SCHEMA: &str = "lastgood.checkpoint/1";

/// The log of one service inside a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLog {
    /// The file below the checkpoint's folder.
    pub file: PathBuf,
    /// Lines in it.
    pub lines: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// The time of the first line.
    pub from: Option<Timestamp>,
    /// The time of the last line.
    pub to: Option<Timestamp>,
    /// What could not be saved and why; `None` for a whole log.
    pub missing: Option<SafeText>,
    /// Where the source's files ended, so that "after" can start exactly there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<LogPosition>,
}

/// A configuration file inside a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// Where it stood on its host, absolute.
    pub path: PathBuf,
    /// The copy, below the checkpoint's folder.
    pub file: PathBuf,
    /// SHA-256 of its content, hex.
    pub sha256: String,
    /// Its permission bits.
    pub mode: u32,
}

/// One service inside a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedService {
    /// The service.
    pub id: ServiceId,
    /// What supervised it.
    pub runtime: Runtime,
    /// Its log; `None` where it could not be read at all (the problem is in [`Manifest::problems`]).
    pub log: Option<SavedLog>,
    /// Its configuration files.
    pub files: Vec<SavedFile>,
    /// The release that ran.
    pub release: Release,
    /// The tag that keeps the image from being pruned; `None` where nothing was pinned.
    pub pinned: Option<String>,
    /// The copy of the image, below the checkpoint's folder; `None` where none was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_copy: Option<PathBuf>,
    /// Its health when the checkpoint was made, as far as its release had a part in it.
    pub health: Option<HealthState>,
    /// The names of the probes it had: a verdict needs each of them again.
    #[serde(default)]
    pub probes: Vec<SafeText>,
    /// Where its Compose project was, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compose: Option<ComposeOrigin>,
    /// How PM2 ran it and which code, if PM2 did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pm2: Option<SavedPm2>,
    /// How its swarm made it, if a manager was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swarm: Option<SavedSwarm>,
    /// The revision that the schema of its database had, where the configuration says how that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_revision: Option<String>,
    /// Restarts counted by the supervisor.
    #[serde(default)]
    pub restarts: u64,
    /// What its supervisor allowed it; `None` in a checkpoint that did not keep it yet.
    #[serde(default)]
    pub limits: Option<RuntimeLimits>,
}

/// `MANIFEST.json`: written last, so that a checkpoint with a manifest is whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_SCHEMA`].
    pub schema: String,
    /// `20251227-145000-pre-1.2`: local time and label.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What the engineer called it.
    pub label: Option<SafeText>,
    /// Who made it.
    pub by: SafeText,
    /// The services in it.
    pub services: Vec<SavedService>,
    /// SHA-256 of the file `SHA256SUMS`, hex.
    pub sums_sha256: String,
    /// Whether everything that was asked for is in it.
    pub complete: bool,
    /// What is not, in words.
    pub problems: Vec<SafeText>,
}

impl Manifest {
    /// The service of that name in the checkpoint, parts of the name left out where the rest is unique.
    pub fn service(&self, name: &str) -> Option<&SavedService> {
        let mut found = self.services.iter().filter(|s| s.id.matches(name));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }
}

/// Why a checkpoint has no manifest that says what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoManifest {
    /// It is being made, or making it was cut off.
    #[error("{0}")]
    Partial(SafeText),
    /// It has one that could not be read, or not understood: it may be whole.
    #[error("{0}")]
    Unread(SafeText),
}

impl NoManifest {
    /// The reason, in words.
    pub fn why(&self) -> &SafeText {
        match self {
            Self::Partial(why) | Self::Unread(why) => why,
        }
    }
}

/// A checkpoint as a list shows it: whole with its manifest, or partial with the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its id: the name of its folder.
    pub id: String,
    /// Its folder.
    pub path: PathBuf,
    /// What it holds; the error where it is partial or its manifest cannot be read. A partial checkpoint is
    /// never a rollback target.
    pub manifest: Result<Manifest, NoManifest>,
}

/// The result of checking a checkpoint's files against their checksums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The checkpoint.
    pub id: String,
    /// Whether every file is there and unchanged and every pinned image still exists.
    pub ok: bool,
    /// How many files were checked.
    pub files: u64,
    /// What is wrong, with the file's name.
    pub problems: Vec<SafeText>,
}
