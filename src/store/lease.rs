//! One change at a time per service: a lease, held while an operation runs.
//!
//! The lease is a locked file, so it ends with its process however that ends; what stands in the file says who
//! holds it and why. A file with words but without a lock is left from a process that died in the middle.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
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
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Someone else changes the service.
    #[error("{} is held by {} (process {}): {}, since {}", .0.service, .0.actor.user, .0.pid, .0.reason, .0.since)]
    Held(Box<Holder>),
    /// Someone else changes the service and has not written who they are yet.
    #[error("{0} is held by another session")]
    HeldByUnknown(ServiceId),
    /// The file could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The right to change a service; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    file: File,
    /// Who held it and died without giving it back.
    pub abandoned: Option<Holder>,
}

impl Lease {
    /// Takes the lease of a service, at once or not at all.
    ///
    /// # Errors
    /// [`LeaseError::Held`] naming the holder; the state folder cannot be written.
    pub fn take(state: &StateDir, holder: &Holder) -> Result<Self, LeaseError> {
        let path = path(state, &holder.service);
        let mut file = state.with_reserve(|| state.open_append(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(match read_holder(&mut file) {
                    Some(other) => LeaseError::Held(Box::new(other)),
                    None => LeaseError::HeldByUnknown(holder.service.clone()),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::at("lock", &path)(error).into());
            }
        }
        let abandoned = read_holder(&mut file);
        let mut write = || -> io::Result<()> {
            file.set_len(0)?;
            file.write_all(&serde_json::to_vec(holder)?)?;
            file.sync_data()
        };
        state.with_reserve(|| write().map_err(StoreError::at("write", &path)))?;
        Ok(Self { file, abandoned })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Emptied, not removed: another process may hold the file open and lock it next.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn path(state: &StateDir, service: &ServiceId) -> PathBuf {
    let name: String = service
        .to_string()
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '@' => c.to_string(),
            other => format!("%{:02x}", other as u32),
        })
        .collect();
    state.leases().join(format!("{name}.lease"))
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
        }
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
        let left = serde_json::to_vec(&holder("anna", &backend)).unwrap();
        state.write_atomic(&path(&state, &backend), &left).unwrap();
        let lease = Lease::take(&state, &holder("boris", &backend)).unwrap();
        assert_eq!(lease.abandoned.as_ref().unwrap().actor.user, "anna");
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let state = StateDir::at("/state".into());
        let path = path(&state, &ServiceId::local("..", "a/../../etc"));
        assert_eq!(path.parent().unwrap(), state.leases());
    }
}
