//! The append-only, hash-chained audit log, and the only maker of a [`Permit`].
//!
//! Whoever wants to change a machine asks [`Audit::begin`] first: it writes who wants what, flushes it to the
//! disk, and hands out the permit that every changing function asks for. A read-only session is refused here,
//! below both front ends, and the refusal is a record too.
//!
//! Each line is one JSON record that ends in its own SHA-256; the hash covers the very bytes of the line before
//! it, the hash of the record before included, so an edited, dropped or moved line is found. Cutting off the
//! newest records cannot be proved from the log alone: reports print the head hash, and
//! [`verify`](Audit::verify) takes it as an anchor.

mod chain;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::host::HostName;
use crate::domain::operation::{Access, Plan};
use crate::domain::outcome::{Actor, AuditPhase, AuditRecord, OutcomeKind};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::store::paths::{StateDir, StoreError, is_full};

pub use chain::{ChainFault, Head};

/// The hash before the first record.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Disk space held back for the audit log and the journals.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// Proof that an intent stands in the audit log. Every function that changes a machine asks for one.
#[derive(Debug)]
pub struct Permit {
    intent: Intent,
    actor: Actor,
    run: String,
    begun_at: Timestamp,
}

impl Permit {
    /// The run it belongs to: the folder of its journal.
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// A record as it stands in the log, which alone makes one: a machine's copy of the log gets nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded(String);

impl Recorded {
    /// Its line, without the break.
    pub fn line(&self) -> &str {
        &self.0
    }
}

/// What is about to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The verb.
    pub operation: String,
    /// The machine.
    pub host: HostName,
    /// The services.
    pub services: Vec<ServiceId>,
    /// The plan's hash; empty where there is no plan (a checkpoint).
    pub plan_hash: String,
    /// What the plan says, step by step.
    pub steps: Vec<SafeText>,
}

impl From<&Plan> for Intent {
    fn from(plan: &Plan) -> Self {
        Self {
            operation: plan.operation.verb().to_owned(),
            host: plan.host.clone(),
            services: plan.services.clone(),
            plan_hash: plan.hash.clone(),
            steps: plan.steps.iter().map(|step| step.text.clone()).collect(),
        }
    }
}

/// Why no permit was given, or why the log does not agree with itself.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The session may not change anything.
    #[error("{operation} is refused: {reason}")]
    Denied {
        /// The verb.
        operation: String,
        /// Why.
        reason: String,
    },
    /// There is nothing to go on with.
    #[error("the audit log has no intent of the run {0} that is still open")]
    NotOpen(String),
    /// A file could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain is broken.
    #[error("the audit log does not agree with itself: {0}")]
    Fault(#[from] ChainFault),
    /// The anchor does not stand in the log.
    #[error(
        "no record of the audit log has the hash {0}: the log was cut or replaced since that hash was printed"
    )]
    AnchorMissing(String),
}

/// The audit log of a state folder.
#[derive(Debug, Clone)]
pub struct Audit {
    state: StateDir,
}

impl Audit {
    /// The log of this state folder; nothing is read or made yet.
    pub fn of(state: &StateDir) -> Self {
        Self {
            state: state.clone(),
        }
    }

    /// Writes the intent of a plan and hands out the permit.
    ///
    /// # Errors
    /// [`AuditError::Denied`] in a read-only session (which is recorded); the log cannot be written, and then
    /// nothing may be changed.
    pub fn begin(&self, plan: &Plan, actor: &Actor, access: Access) -> Result<Permit, AuditError> {
        self.begin_intent(Intent::from(plan), actor, access)
    }

    /// The same for something that has no plan: a checkpoint's tags.
    ///
    /// # Errors
    /// As [`Audit::begin`].
    pub fn begin_intent(
        &self,
        intent: Intent,
        actor: &Actor,
        access: Access,
    ) -> Result<Permit, AuditError> {
        if access == Access::ReadOnly {
            let reason = "this session is read-only";
            self.deny(&intent, actor, reason)?;
            return Err(AuditError::Denied {
                operation: intent.operation,
                reason: reason.to_owned(),
            });
        }
        let begun_at = Timestamp::now();
        let run = run_id(begun_at);
        let steps = intent.steps.clone();
        self.append(|seq, prev| AuditRecord {
            steps,
            ..record(seq, prev, begun_at, &intent, actor, &run)
        })?;
        Ok(Permit {
            intent,
            actor: actor.clone(),
            run,
            begun_at,
        })
    }

    /// Takes up the intent of a run whose process died, and hands out its permit again: there will be one outcome.
    ///
    /// # Errors
    /// [`AuditError::NotOpen`] where no intent has that run or its outcome is known; [`AuditError::Denied`] in a
    /// read-only session; the log cannot be written.
    pub fn resume(&self, run: &str, actor: &Actor, access: Access) -> Result<Permit, AuditError> {
        let (intent, begun_at) = self.open_intent(run)?;
        if access == Access::ReadOnly {
            let reason = "this session is read-only";
            self.deny(&intent, actor, reason)?;
            return Err(AuditError::Denied {
                operation: intent.operation,
                reason: reason.to_owned(),
            });
        }
        let now = Timestamp::now();
        self.append(|seq, prev| AuditRecord {
            phase: AuditPhase::Resumed,
            ..record(seq, prev, now, &intent, actor, run)
        })?;
        Ok(Permit {
            intent,
            actor: actor.clone(),
            run: run.to_owned(),
            begun_at,
        })
    }

    /// Records the outcome of a run that nobody will go on with. Returns whether there was one to record: a run whose
    /// outcome is known, or of which the log knows nothing, is left alone.
    ///
    /// # Errors
    /// The log cannot be read or written.
    pub fn settle(
        &self,
        run: &str,
        actor: &Actor,
        outcome: OutcomeKind,
    ) -> Result<bool, AuditError> {
        let (intent, begun_at) = match self.open_intent(run) {
            Ok(found) => found,
            Err(AuditError::NotOpen(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let permit = Permit {
            intent,
            actor: actor.clone(),
            run: run.to_owned(),
            begun_at,
        };
        self.finish(permit, outcome).map(|_| true)
    }

    /// The intent of a run that has no outcome yet, and when it was written.
    fn open_intent(&self, run: &str) -> Result<(Intent, Timestamp), AuditError> {
        let mut open = None;
        for record in self.list()? {
            if record.run.as_deref() != Some(run) {
                continue;
            }
            match record.phase {
                AuditPhase::Intent => open = Some(record),
                AuditPhase::Outcome => open = None,
                AuditPhase::Denied
                | AuditPhase::Resumed
                | AuditPhase::Approved
                | AuditPhase::Revealed => {}
            }
        }
        let record = open.ok_or_else(|| AuditError::NotOpen(run.to_owned()))?;
        let intent = Intent {
            operation: record.operation,
            host: record.host,
            services: record.services,
            plan_hash: record.plan_hash,
            steps: record.steps,
        };
        Ok((intent, record.at))
    }

    /// Records that something was refused.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn deny(&self, intent: &Intent, actor: &Actor, reason: &str) -> Result<(), AuditError> {
        let now = Timestamp::now();
        self.append(|seq, prev| AuditRecord {
            phase: AuditPhase::Denied,
            outcome: Some(SafeText::from_text(reason)),
            run: None,
            ..record(seq, prev, now, intent, actor, "")
        })
        .map(drop)
    }

    /// Records something that changes no machine: that a second person said yes to a plan, that secrets were shown.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn note(
        &self,
        phase: AuditPhase,
        intent: &Intent,
        actor: &Actor,
    ) -> Result<(), AuditError> {
        let now = Timestamp::now();
        self.append(|seq, prev| AuditRecord {
            phase,
            run: None,
            ..record(seq, prev, now, intent, actor, "")
        })
        .map(drop)
    }

    /// Records how it ended and takes the permit back. Returns the head hash.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn finish(&self, permit: Permit, outcome: OutcomeKind) -> Result<String, AuditError> {
        let Permit {
            intent,
            actor,
            run,
            begun_at,
        } = permit;
        let now = Timestamp::now();
        let took = now.duration_since(begun_at).as_millis();
        self.append(|seq, prev| AuditRecord {
            phase: AuditPhase::Outcome,
            outcome: Some(SafeText::from_text(outcome.as_str())),
            duration_ms: Some(u64::try_from(took).unwrap_or(0)),
            ..record(seq, prev, now, &intent, &actor, &run)
        })
    }

    /// Every record, the oldest first. A line that a crash cut off is left out: it was never acted on.
    ///
    /// # Errors
    /// A file cannot be read, a whole line is not a record.
    pub fn list(&self) -> Result<Vec<AuditRecord>, AuditError> {
        let mut records = Vec::new();
        chain::walk(&self.files()?, |line| {
            records.push(line.record()?);
            Ok(())
        })?;
        Ok(records)
    }

    /// The newest record of a run, for the copy on the machine that it changes.
    ///
    /// # Errors
    /// [`AuditError::NotOpen`] where there is none; a file cannot be read.
    pub fn newest_of(&self, run: &str) -> Result<Recorded, AuditError> {
        let mut newest = None;
        chain::walk(&self.files()?, |line| {
            if line.record()?.run.as_deref() == Some(run) {
                newest = Some(line.text());
            }
            Ok(())
        })?;
        newest
            .map(Recorded)
            .ok_or_else(|| AuditError::NotOpen(run.to_owned()))
    }

    /// Walks the chain over all files. With an anchor, a head hash printed earlier, the log must still contain it.
    ///
    /// # Errors
    /// [`AuditError::Fault`] with the file and the line of the first record that does not agree.
    pub fn verify(&self, anchor: Option<&str>) -> Result<Head, AuditError> {
        // Every log goes on from the hash that an empty one has.
        let mut is_anchored = anchor.is_none_or(|anchor| anchor == GENESIS);
        let mut head = Head {
            records: 0,
            hash: GENESIS.to_owned(),
            torn: None,
        };
        let torn = chain::walk(&self.files()?, |line| {
            let record = line.check(head.records, &head.hash)?;
            is_anchored |= anchor.is_some_and(|a| a.eq_ignore_ascii_case(&record.hash));
            head.records += 1;
            head.hash = record.hash;
            Ok(())
        })?;
        head.torn = torn;
        match anchor {
            Some(hash) if !is_anchored => Err(AuditError::AnchorMissing(hash.to_owned())),
            _ => Ok(head),
        }
    }

    /// The files of the log, the oldest first.
    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let dir = self.state.audit();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(StoreError::at("read the folder", &dir))?
                .path();
            let is_log = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| {
                    [".jsonl", ".jsonl.zst", ".jsonl.gz"]
                        .iter()
                        .any(|ending| name.ends_with(ending))
                });
            if is_log {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Appends one record under the lock of the log and flushes it. Returns its hash.
    fn append(&self, make: impl FnOnce(u64, String) -> AuditRecord) -> Result<String, AuditError> {
        let lock_path = self.state.audit().join("lock");
        let lock = self
            .state
            .with_reserve(|| self.state.open_append(&lock_path))?;
        lock.lock().map_err(StoreError::at("lock", &lock_path))?;
        self.keep_reserve();

        let files = self.files()?;
        let today = format!("{}.jsonl", Timestamp::now().to_zoned(TimeZone::UTC).date());
        // A clock that went backwards must not put a record before its predecessor.
        let path = match files.last() {
            Some(newest)
                if newest.extension().is_some_and(|e| e == "jsonl")
                    && newest.file_name().is_some_and(|n| n > today.as_str()) =>
            {
                newest.clone()
            }
            _ => self.state.audit().join(today),
        };
        if let Some(newest) = files.last() {
            self.set_torn_line_aside(newest)?;
        }
        let tail = chain::tail(&files)?;
        let (seq, prev) = tail.unwrap_or((0, GENESIS.to_owned()));
        let (line, hash) = chain::seal(make(seq + 1, prev));
        self.write_line(&path, &line)?;
        Ok(hash)
    }

    /// Writes a whole line or nothing. A full disk gives up the reserve, so that it never forbids a rollback.
    fn write_line(&self, path: &Path, line: &[u8]) -> Result<(), StoreError> {
        let mut file = self.state.with_reserve(|| self.state.open_append(path))?;
        let before = file
            .seek(SeekFrom::End(0))
            .map_err(StoreError::at("read", path))?;
        let mut attempt = || file.write_all(line).and_then(|()| file.sync_all());
        let mut result = attempt();
        if result.as_ref().is_err_and(is_full) {
            let _ = fs::remove_file(self.state.reserve());
            let _ = truncate(path, before);
            result = attempt();
        }
        result.map_err(|error| {
            let _ = truncate(path, before);
            StoreError::at("write", path)(error)
        })
    }

    /// Moves a last line that a crash cut off into a file of its own, and says so in the log by that file's name:
    /// `torn-<date>-<offset>.txt`. Nothing that was written is thrown away.
    fn set_torn_line_aside(&self, path: &Path) -> Result<(), StoreError> {
        let Some((offset, torn)) = chain::torn_tail(path)? else {
            return Ok(());
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let aside = self.state.audit().join(format!("torn-{stem}-{offset}.txt"));
        self.state.write_atomic(&aside, &torn)?;
        truncate(path, offset).map_err(StoreError::at("repair", path))
    }

    /// Holds disk space back for the day the disk is full. Without room for it there is none: not an error.
    pub fn keep_reserve(&self) {
        let path = self.state.reserve();
        if path.exists() {
            return;
        }
        let roomy = rustix::fs::statvfs(&self.state.root)
            .is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) > 16 * RESERVE_BYTES);
        if !roomy {
            return;
        }
        if let Ok(file) = self.state.create_new(&path) {
            let flags = rustix::fs::FallocateFlags::empty();
            if rustix::fs::fallocate(&file, flags, 0, RESERVE_BYTES).is_err() {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file: File = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.sync_all()
}

fn record(
    seq: u64,
    prev: String,
    at: Timestamp,
    intent: &Intent,
    actor: &Actor,
    run: &str,
) -> AuditRecord {
    AuditRecord {
        seq,
        at,
        actor: actor.clone(),
        host: intent.host.clone(),
        operation: intent.operation.clone(),
        services: intent.services.clone(),
        plan_hash: intent.plan_hash.clone(),
        phase: AuditPhase::Intent,
        outcome: None,
        duration_ms: None,
        run: Some(run.to_owned()),
        steps: Vec::new(),
        prev,
        hash: String::new(),
    }
}

/// `20251227T145000.123456Z-4711`: sorts by time, and two processes never share one.
fn run_id(at: Timestamp) -> String {
    let utc = at.to_zoned(TimeZone::UTC);
    format!(
        "{}-{}",
        utc.strftime("%Y%m%dT%H%M%S.%6fZ"),
        std::process::id()
    )
}

#[cfg(test)]
mod tests;
