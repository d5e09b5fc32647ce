//! What would bite in a deploy, judged from plain facts.
//!
//! The checks come from real incidents: a crash loop that the supervisor hid for hours, a build folder left beside the
//! sources, an error tracker that was configured and switched off, a rollback to a tag that had moved. Each is a pure
//! function of facts that `ops::preflight` collects, and each says what was seen. What could not be looked at is a
//! warning, never ok. Critical is only what makes the deploy, or the way back from it, fail: `guard` does not begin
//! then. What is merely unwise is a warning.

mod machine;
mod pm2;
mod running;
mod written;

use std::path::PathBuf;

use crate::domain::check::{Check, CheckGrade};
use crate::domain::health::HealthState;
use crate::domain::nearest::nearest;
use crate::domain::pm2::Pm2Restarts;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, ServiceId};

pub use machine::{DiskUse, disks as judge_disks, read_df};
pub use written::{is_address, is_switch};

/// Every check by its name, with what it looks at, in the order in which they are printed.
pub const CHECKS: &[(&str, &str)] = &[
    ("reachable", "every daemon answers"),
    ("crash-loop", "nothing is caught in a crash loop now"),
    ("health", "it has a probe or a health check, and answers"),
    (
        "certificate",
        "the certificate of its https probe does not end soon",
    ),
    (
        "restart-policy",
        "a container comes back after a crash and a reboot",
    ),
    ("image-tag", "images have a tag of their own, not latest"),
    ("log-driver", "logs can be read back"),
    ("log-size", "logs cannot fill the disk"),
    (
        "pm2-restarts",
        "PM2 gives up on what crashes, as it runs now",
    ),
    (
        "ecosystem",
        "PM2 gives up on what crashes, as the ecosystem file says",
    ),
    (
        "artifacts",
        "nothing lies in the folder that must not be there",
    ),
    (
        "secret-files",
        "files with secrets are not readable by everyone",
    ),
    (
        "monitoring",
        "error tracking that is configured is switched on",
    ),
    ("drift", "what runs is what the files say"),
    ("migrations", "no migration waits"),
    (
        "pinned-image",
        "the image of the last checkpoint is still there",
    ),
    ("backup", "the newest backup is younger than its RPO"),
    ("restore-test", "a backup was restored to prove it"),
    ("disk", "there is room on the disks"),
    ("inodes", "there are inodes on the disks"),
];

/// Whether there is a check of that name.
///
/// # Errors
/// What is wrong with the name, and which one is near it.
pub fn known(name: &str) -> Result<&'static str, String> {
    let names = || CHECKS.iter().map(|(name, _)| *name);
    if let Some(known) = names().find(|known| *known == name) {
        return Ok(known);
    }
    let near = nearest(name, names());
    let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
    Err(format!("no check {name:?}{near}"))
}

/// What was looked at, or why it could not be.
pub type Looked<T> = Result<T, SafeText>;

/// Everything that was found.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Daemons that did not answer: what they say, and what to do about it.
    pub unreachable: Vec<(SafeText, SafeText)>,
    /// The services.
    pub services: Vec<ServiceFacts>,
    /// The disks on which they and the state folder lie.
    pub disks: Looked<Vec<DiskUse>>,
    /// The configured backups.
    pub backups: Vec<BackupFacts>,
    /// Checks that the configuration switches off.
    pub skipped: Vec<String>,
}

/// What was found of one service.
#[derive(Debug, Clone)]
pub struct ServiceFacts {
    /// The service.
    pub id: ServiceId,
    /// What supervises it.
    pub runtime: Runtime,
    /// Whether it is in a crash loop; `None` where it cannot be told yet.
    pub crash_loop: Option<bool>,
    /// Restarts so far.
    pub restarts: u64,
    /// Whether a probe is configured or a container brings a health check.
    pub has_probe: bool,
    /// How it answers as far as its release has a part in it, and what was seen.
    pub health: (HealthState, SafeText),
    /// What its https probe saw of a certificate, and whether that is to be told; `None` without such a probe, or where it
    /// failed, which is for its health to say.
    pub certificate: Option<(SafeText, bool)>,
    /// Its containers; `None` for what is no container.
    pub containers: Option<Looked<Vec<ContainerFacts>>>,
    /// How PM2 restarts it now; `None` for what PM2 does not run.
    pub pm2: Option<Looked<Pm2Restarts>>,
    /// What its ecosystem file says; `None` where PM2 does not run it.
    pub ecosystem: Option<Looked<EcosystemFacts>>,
    /// What lies in its folder and must not; `None` where another service of this folder has it already, or there is
    /// no folder.
    pub artifacts: Option<Looked<Vec<Artifact>>>,
    /// Its files that hold secrets.
    pub secret_files: Vec<SecretFile>,
    /// Files that could not be looked at, and why.
    pub unread_files: Vec<SafeText>,
    /// Variables that switch error tracking and monitoring, as its environment files set them.
    pub switches: Vec<Switch>,
    /// What differs between its files and what runs; `None` where there is no file that says what should run.
    pub drift: Option<Looked<Vec<SafeText>>>,
    /// What its migrations say; `None` where none are configured.
    pub migrations: Option<Looked<Migrations>>,
    /// Its image in the newest checkpoint that holds it: the checkpoint's id, and what is wrong with the image;
    /// `None` where no checkpoint holds it, or it has no image.
    pub pinned: Option<(String, Option<SafeText>)>,
}

/// What was found of one container.
#[derive(Debug, Clone, Default)]
pub struct ContainerFacts {
    /// Its name.
    pub name: SafeText,
    /// The image as it was named.
    pub image: SafeText,
    /// `no`, `always`, `on-failure`, `unless-stopped`; empty for none.
    pub restart_policy: String,
    /// The driver that keeps its log.
    pub log_driver: String,
    /// Whether a driver that keeps no log of its own has its cache switched off.
    pub is_log_cache_off: bool,
    /// The size at which its log is rotated, as it was written.
    pub log_max_size: Option<String>,
}

/// What an ecosystem file says of an application.
#[derive(Debug, Clone, Default)]
pub struct EcosystemFacts {
    /// The file; `None` where none was found.
    pub file: Option<PathBuf>,
    /// When the application is to be restarted; `None` where the file does not declare it.
    pub restarts: Option<Pm2Restarts>,
}

/// Something that lies in a service's folder and must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its path.
    pub path: PathBuf,
    /// Its size, where it is a file.
    pub bytes: Option<u64>,
    /// Whether the configuration names it, not only the defaults.
    pub is_configured: bool,
}

/// A file that holds secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// The file.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

impl SecretFile {
    /// Whether everyone on the machine can read it.
    pub fn is_open(&self) -> bool {
        self.mode & 0o004 != 0
    }
}

/// A variable that switches error tracking or monitoring. Its value is a word like `true`; a key is only told as set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its name.
    pub name: String,
    /// Its value in small letters; `set` for an address or a key.
    pub value: String,
    /// The file that sets it.
    pub file: PathBuf,
}

/// Which revision the database has, and which the code wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrations {
    /// What `current` printed: one revision a line.
    pub current: Vec<String>,
    /// What `head` printed; `None` where it is not configured.
    pub head: Option<Vec<String>>,
}

/// What was found of one configured backup.
#[derive(Debug, Clone)]
pub struct BackupFacts {
    /// Its name.
    pub name: String,
    /// How old it may be, in seconds; `None` where nothing is said.
    pub rpo_s: Option<u64>,
    /// How old the newest is that is whole, in seconds; `None` where there is none.
    pub age_s: Looked<Option<u64>>,
    /// Whether a newer one is damaged, and what is wrong with it.
    pub damage: Option<SafeText>,
    /// The newest restore test: how long ago in seconds, whether everything came back, and what was counted.
    pub restore_test: Option<(u64, bool, SafeText)>,
    /// Whether there is one that `backup verify` can restore.
    pub is_provable: bool,
    /// What became of the newest one's copy elsewhere, where that failed.
    pub copy_failed: Option<SafeText>,
}

/// Judges every fact, in the order of [`CHECKS`].
pub fn judge(facts: &Facts) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    checks.extend(machine::reachable(&facts.unreachable));
    for service in &facts.services {
        checks.extend(running::checks(service));
        checks.extend(pm2::checks(service));
        checks.extend(written::checks(service));
    }
    checks.extend(machine::backups(&facts.backups));
    checks.extend(machine::disks(&facts.disks));
    for check in &mut checks {
        if facts.skipped.iter().any(|name| name == check.name) {
            check.grade = CheckGrade::Skipped;
            check.detail = SafeText::from_text("switched off by `preflight.skip`");
            check.fix = None;
        }
    }
    let place = |check: &Check| CHECKS.iter().position(|(name, _)| *name == check.name);
    checks.sort_by_key(place);
    checks
}

/// What could not be looked at.
fn not_seen(name: &'static str, what: &str, why: &SafeText) -> Check {
    Check::new(
        name,
        CheckGrade::Warning,
        format!("{what} could not be looked at: {why}"),
    )
    .fix("see the cause; what is not known is not taken for ok")
}

fn ok(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Ok, detail)
}

fn warning(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Warning, detail)
}

fn critical(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Critical, detail)
}

fn skipped(name: &'static str, detail: impl AsRef<str>) -> Check {
    Check::new(name, CheckGrade::Skipped, detail)
}

#[cfg(test)]
mod tests;
