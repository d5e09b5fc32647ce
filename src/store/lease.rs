//! One change at a time per service: a lease, held while an operation runs.
//!
//! The lease is a locked file, so it ends with its process however that ends; what stands in the file says who
//! holds it and why. A file with words but without a lock is left from a process that died in the middle. A process
//! that hangs keeps its lock: it is broken by another file in its place, which its owner looks for before each step.
//! The fencing counter grows with every owner and every break, so that two owners are never taken for one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
use crate::domain::host::HostName;
use crate::domain::outcome::Actor;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

/// Who holds a lease, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The service.
    pub service: ServiceId,
    /// Who.
    pub actor: Actor,
    /// The process.
    pub pid: u32,
    /// What for: `roll-back`.
    pub reason: SafeText,
    /// Since when.
    pub since: Timestamp,
    /// When it should be over.
    pub until: Timestamp,
    /// The run whose journal tells the step; `None` until it is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The step that was begun last, where no journal can tell it: of a process on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<SafeText>,
    /// The machine that the process runs on, where it is not the one whose lease this is: then nothing but the time limit
    /// says whether it still lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<SafeText>,
}

impl Holder {
    /// The same for the service as it is called from another machine.
    #[must_use]
    pub fn of(mut self, host: &HostName) -> Self {
        self.service.host = host.clone();
        self
    }

    /// Whether a process of another machine holds it, and its time is not over.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.machine.is_some() && self.until > now
    }

    /// Who, from where: `anna from laptop (process 4711)`.
    pub fn who(&self) -> String {
        let from = self.machine.as_ref();
        let from = from.map_or_else(String::new, |machine| format!(" from {machine}"));
        let user = SafeText::from_text(&self.actor.user);
        format!("{user}{from} (process {})", self.pid)
    }

    /// `: step 2 of 5: docker compose up`, where it is known.
    fn at_step(&self) -> String {
        let step = self.step.as_ref();
        step.map_or_else(String::new, |step| format!(", {step}"))
    }
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Someone else changes the service.
    #[error("{} is held by {}: {}{}, since {}", .0.service, .0.who(), .0.reason, .0.at_step(), .0.since)]
    Held(Box<Holder>),
    /// Someone else changes the service and has not written who they are yet.
    #[error("{0} is held by another session")]
    HeldByUnknown(ServiceId),
    /// What stands in its file on the machine of the service cannot be read, so somebody may have it.
    #[error(
        "who holds the lease of {service} cannot be told: leases/{file} in the state folder there is damaged"
    )]
    Damaged {
        /// The service.
        service: ServiceId,
        /// The name of the file.
        file: String,
    },
    /// The file could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What stands in the file of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// How often the lease was given away or broken.
    pub fence: u64,
    /// Who has it now; `None` where nobody has.
    pub holder: Option<Holder>,
}

impl Written {
    /// Reads it; an empty one says that nobody ever had it. `None` where it is no such text: somebody may have it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut values = serde_json::Deserializer::from_slice(text).into_iter();
        match values.next() {
            Some(value) => value.ok(),
            None => Some(Self::default()),
        }
    }

    /// As it stands in the file.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("it is made of strings and numbers")
    }
}

/// The right to change a service; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    file: File,
    path: PathBuf,
    holder: Holder,
    /// The fencing counter: higher than that of everybody who had the lease before.
    pub fence: u64,
    /// Who held it and died without giving it back.
    pub abandoned: Option<Holder>,
}

impl Lease {
    /// Takes the lease of a service, at once or not at all. One that a dead process left is taken over.
    ///
    /// # Errors
    /// [`LeaseError::Held`] naming the holder; the state folder cannot be written.
    pub fn take(state: &StateDir, holder: &Holder) -> Result<Self, LeaseError> {
        let path = path(state, &holder.service);
        let file = loop {
            let mut file = state.with_reserve(|| open(state, &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(match read_from(&mut file).holder {
                        Some(other) => LeaseError::Held(Box::new(other)),
                        None => LeaseError::HeldByUnknown(holder.service.clone()),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::at("lock", &path)(error).into());
                }
            }
            // Broken between opening and locking, it would be the lock of a file that has no name any more.
            if is_named(&file, &path) {
                break file;
            }
        };
        let mut lease = Self {
            file,
            path,
            holder: holder.clone(),
            fence: 0,
            abandoned: None,
        };
        let left = read_from(&mut lease.file);
        lease.fence = left.fence + 1;
        // Taken over ssh, for which no lock can be held: its time limit counts instead.
        if let Some(other) = left
            .holder
            .filter(|other| other.is_current(Timestamp::now()))
        {
            // Nothing of it is ours to give back.
            lease.path = PathBuf::new();
            return Err(LeaseError::Held(Box::new(other)));
        }
        lease.abandoned = read_from(&mut lease.file).holder;
        state.with_reserve(|| {
            lease
                .write(Some(holder.clone()))
                .map_err(StoreError::at("write", &lease.path))
        })?;
        Ok(lease)
    }

    /// Says which run it is held for, so that others can see its step.
    pub fn name_run(&mut self, run: &str) {
        self.holder.run = Some(run.to_owned());
        // For people only: without it they see everything but the step.
        let _ = self.write(Some(self.holder.clone()));
    }

    /// Whether it still is ours: nobody broke it.
    pub fn is_held(&self) -> bool {
        is_named(&self.file, &self.path)
            && File::open(&self.path).is_ok_and(|mut now| read_from(&mut now).fence == self.fence)
    }

    /// The words first, the end of the file after: whatever cuts it off, the first value is a whole one.
    fn write(&self, holder: Option<Holder>) -> io::Result<()> {
        let written = Written {
            fence: self.fence,
            holder,
        };
        let text = serde_json::to_vec(&written)?;
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Emptied, not removed: another process may hold the file open and lock it next.
        if is_named(&self.file, &self.path) {
            let _ = self.write(None);
        }
        let _ = self.file.unlock();
    }
}

/// A lease as others see it.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// Who has it.
    pub holder: Holder,
    /// The fencing counter.
    pub fence: u64,
    /// Whether the process that took it still runs.
    pub is_alive: bool,
}

/// The leases that are held, or were left by a process that died.
///
/// # Errors
/// The folder cannot be read.
pub fn list(state: &StateDir) -> Result<Vec<Seen>, StoreError> {
    let dir = state.leases();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    let mut seen = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(StoreError::at("read the folder", &dir))?
            .path();
        if path.extension().is_some_and(|ending| ending == "lease") {
            let text = fs::read(&path).map_err(StoreError::at("read", &path))?;
            let written = Written::parse(&text).ok_or_else(damaged);
            let written = written.map_err(StoreError::at("read", &path))?;
            seen.extend(written.holder.map(|holder| Seen {
                is_alive: match holder.machine {
                    Some(_) => holder.is_current(Timestamp::now()),
                    None => Path::new(&format!("/proc/{}", holder.pid)).exists(),
                },
                fence: written.fence,
                holder,
            }));
        }
    }
    seen.sort_by(|a, b| a.holder.service.cmp(&b.holder.service));
    Ok(seen)
}

/// Takes a lease away from whoever has it: its owner finds another file in the place of its own and stops before
/// its next step. Returns the fencing counter from now on.
///
/// # Errors
/// The lease is not the one that was looked at (`fence`) any more ([`io::ErrorKind::NotFound`]); it cannot be
/// replaced.
pub fn break_lease(state: &StateDir, service: &ServiceId, fence: u64) -> Result<u64, StoreError> {
    let path = path(state, service);
    let mut file = File::open(&path).map_err(StoreError::at("break", &path))?;
    let written = read_from(&mut file);
    if written.holder.is_none() || written.fence != fence {
        let text = "it was given back, or has another owner now";
        return Err(StoreError::at("break", &path)(io::Error::new(
            io::ErrorKind::NotFound,
            text,
        )));
    }
    let free = Written {
        fence: fence + 1,
        holder: None,
    };
    let text = serde_json::to_vec(&free).map_err(|e| StoreError::at("break", &path)(e.into()))?;
    state.write_atomic(&path, &text)?;
    Ok(free.fence)
}

fn open(state: &StateDir, path: &Path) -> Result<File, StoreError> {
    match state.create_new(path) {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(StoreError::at("open", path)),
        made => made,
    }
}

/// Whether the path still leads to this very file.
fn is_named(file: &File, path: &Path) -> bool {
    let own = file.metadata().map(|meta| (meta.dev(), meta.ino()));
    let named = fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((own, named), (Ok(own), Ok(named)) if own == named)
}

/// Of a lease of this machine its lock says whether somebody has it, whatever stands in the file.
fn read_from(file: &mut File) -> Written {
    let mut text = Vec::new();
    let is_read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut text));
    if is_read.is_err() {
        return Written::default();
    }
    Written::parse(&text).unwrap_or_default()
}

fn path(state: &StateDir, service: &ServiceId) -> PathBuf {
    state.leases().join(file_name(service))
}

/// The file of a service's lease on its own machine, which has no need to say which machine that is.
pub fn file_name(service: &ServiceId) -> String {
    let name: String = service
        .to_string()
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '@' => c.to_string(),
            other => format!("%{:02x}", other as u32),
        })
        .collect();
    format!("{name}.lease")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn holder(user: &str, service: &ServiceId) -> Holder {
        let now = Timestamp::now();
        Holder {
            service: service.clone(),
            actor: Actor {
                user: user.into(),
                uid: 1000,
                via: "cli".into(),
                from: None,
            },
            pid: std::process::id(),
            reason: SafeText::from_text("roll-back"),
            since: now,
            until: now + std::time::Duration::from_secs(120),
            run: None,
            step: None,
            machine: None,
        }
    }

    #[test]
    fn a_lease_taken_from_another_machine_holds_for_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let backend = ServiceId::local("shop", "backend");
        let mut far = holder("anna", &backend);
        far.machine = Some(SafeText::from_text("laptop"));
        far.step = Some(SafeText::from_text("step 2 of 5: docker compose up"));
        let mut written = Written {
            fence: 4,
            holder: Some(far.clone()),
        };
        let file = path(&state, &backend);
        state
            .write_atomic(&file, written.to_text().as_bytes())
            .unwrap();
        let error = Lease::take(&state, &holder("boris", &backend)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("anna from laptop"), "{text}");
        assert!(text.contains("step 2 of 5"), "{text}");
        let said = fs::read(&file).unwrap();
        assert_eq!(
            Written::parse(&said),
            Some(written.clone()),
            "it is left as it was"
        );
        assert!(list(&state).unwrap()[0].is_alive);
        far.until = Timestamp::now();
        written.holder = Some(far);
        state
            .write_atomic(&file, written.to_text().as_bytes())
            .unwrap();
        let lease = Lease::take(&state, &holder("boris", &backend)).unwrap();
        assert_eq!(lease.fence, 5);
        assert_eq!(lease.abandoned.as_ref().unwrap().actor.user, "anna");
    }

    #[test]
    fn a_lease_is_held_by_one_and_names_them() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let backend = ServiceId::local("shop", "backend");
        let lease = Lease::take(&state, &holder("anna", &backend)).unwrap();
        assert!(lease.abandoned.is_none());
        let error = Lease::take(&state, &holder("boris", &backend)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("shop/backend") && text.contains("anna"),
            "{text}"
        );
        assert!(text.contains("roll-back"), "{text}");
        let other = ServiceId::local("shop", "db");
        Lease::take(&state, &holder("boris", &other)).unwrap();
        drop(lease);
        let lease = Lease::take(&state, &holder("boris", &backend)).unwrap();
        assert!(lease.abandoned.is_none());
    }

    #[test]
    fn a_lease_of_a_process_that_died_is_taken_over_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let backend = ServiceId::local("shop", "backend");
        let left = Written {
            fence: 7,
            holder: Some(holder("anna", &backend)),
        };
        let left = serde_json::to_vec(&left).unwrap();
        state.write_atomic(&path(&state, &backend), &left).unwrap();
        let lease = Lease::take(&state, &holder("boris", &backend)).unwrap();
        assert_eq!(lease.abandoned.as_ref().unwrap().actor.user, "anna");
        assert_eq!(lease.fence, 8);
    }

    #[test]
    fn a_broken_lease_is_lost_to_its_owner_and_free_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let backend = ServiceId::local("shop", "backend");
        let mut hangs = Lease::take(&state, &holder("anna", &backend)).unwrap();
        hangs.name_run("run-1");
        assert!(hangs.is_held());
        let seen = list(&state).unwrap();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].is_alive && seen[0].fence == 1);
        assert_eq!(seen[0].holder.run.as_deref(), Some("run-1"));
        assert!(break_lease(&state, &backend, 5).is_err(), "another owner");
        assert_eq!(break_lease(&state, &backend, 1).unwrap(), 2);
        assert!(!hangs.is_held());
        assert!(list(&state).unwrap().is_empty());
        let next = Lease::take(&state, &holder("boris", &backend)).unwrap();
        assert_eq!(next.fence, 3);
        // What the old owner gives back is not the lease of the new one.
        drop(hangs);
        assert!(next.is_held());
        assert_eq!(list(&state).unwrap()[0].holder.actor.user, "boris");
        drop(next);
        assert!(list(&state).unwrap().is_empty());
        assert!(break_lease(&state, &backend, 3).is_err(), "nobody has it");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_no_lease_that_nobody_has() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        assert_eq!(Written::parse(b"\n"), Some(Written::default()));
        assert_eq!(Written::parse(b"{\"fence\":7,\"hol"), None);
        let file = path(&state, &ServiceId::local("shop", "api"));
        state.write_atomic(&file, b"{\"fence\":7,\"hol").unwrap();
        let error = list(&state).unwrap_err();
        assert!(error.to_string().contains("shop%2fapi.lease"), "{error}");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(list(&state).is_err());
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let state = StateDir::at("/state".into());
        let path = path(&state, &ServiceId::local("..", "a/../../etc"));
        assert_eq!(path.parent().unwrap(), state.leases());
    }
}
