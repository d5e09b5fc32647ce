//! `outbox/`: messages that were decided and not yet taken by their sink.
//!
//! One file a message and sink. It is on the disk before the first attempt and is removed after the sink has taken
//! it, so that a crash repeats a message under the same id and loses none. Who delivers holds the lock.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
use crate::domain::alert::Notification;
use crate::domain::safe_text::SafeText;

/// A message on its way to one sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// The sink.
    pub sink: String,
    /// The message.
    pub notification: Notification,
    /// Attempts so far.
    pub attempts: u32,
    /// Not tried before.
    pub next_at: Timestamp,
    /// Why the last attempt failed, redacted.
    pub error: Option<SafeText>,
    /// Sinks that were given the message because this one fails.
    pub passed_to: BTreeSet<String>,
    /// Where it is kept.
    #[serde(skip)]
    pub path: PathBuf,
}

/// The right to deliver; given back when dropped.
#[derive(Debug)]
pub struct Courier(File);

impl Drop for Courier {
    fn drop(&mut self) {
        // A child that another thread is starting has the file until it runs its program, and the lock with it.
        let _ = self.0.unlock();
    }
}

/// Takes the right to deliver; `None` while another process has it, and then delivers.
///
/// # Errors
/// The state folder cannot be written.
pub fn courier(state: &StateDir) -> Result<Option<Courier>, StoreError> {
    let path = state.outbox().join("lock");
    let file = state.with_reserve(|| state.open_append(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Courier(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::at("lock", &path)(error)),
    }
}

/// Puts a message into the outbox, once for each of its sinks. The same message again changes nothing but its attempts.
///
/// # Errors
/// A full disk without a reserve.
pub fn put(state: &StateDir, notification: &Notification) -> Result<(), StoreError> {
    for sink in &notification.sinks {
        put_for(state, notification, sink)?;
    }
    Ok(())
}

/// The same for one sink.
///
/// # Errors
/// As [`put`].
pub fn put_for(
    state: &StateDir,
    notification: &Notification,
    sink: &str,
) -> Result<(), StoreError> {
    // Sorted by time, so that a resolve is delivered after its trigger.
    let name = format!(
        "{:020}-{}-{}.json",
        notification.at.as_microsecond().max(0),
        notification.id,
        plain(sink)
    );
    let parcel = Parcel {
        sink: sink.to_owned(),
        notification: notification.clone(),
        attempts: 0,
        next_at: notification.at,
        error: None,
        passed_to: BTreeSet::new(),
        path: state.outbox().join(name),
    };
    keep(state, &parcel)
}

fn plain(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => c.to_string(),
            other => format!("%{:x}", other as u32),
        })
        .collect()
}

/// Writes a parcel's attempts.
///
/// # Errors
/// A full disk without a reserve.
pub fn keep(state: &StateDir, parcel: &Parcel) -> Result<(), StoreError> {
    let json = serde_json::to_vec_pretty(parcel)
        .map_err(|e| StoreError::at("write", &parcel.path)(io::Error::from(e)))?;
    state.write_atomic(&parcel.path, &json)
}

/// Its sink has taken it, or nobody ever will.
///
/// # Errors
/// It cannot be removed: it would be sent again.
pub fn remove(parcel: &Parcel) -> Result<(), StoreError> {
    match fs::remove_file(&parcel.path) {
        Ok(()) => super::paths::sync_parent(&parcel.path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::at("remove", &parcel.path)(error)),
    }
}

/// Everything in it, the oldest first, and what lies there and is no message.
///
/// # Errors
/// The folder cannot be read.
pub fn list(state: &StateDir) -> Result<(Vec<Parcel>, Vec<SafeText>), StoreError> {
    let dir = state.outbox();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((Vec::new(), Vec::new()));
        }
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(StoreError::at("read the folder", &dir))?
            .path();
        let is_message = path.extension().is_some_and(|e| e == "json");
        if is_message
            && path
                .file_name()
                .is_some_and(|n| !n.as_encoded_bytes().starts_with(b"."))
        {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut parcels, mut broken) = (Vec::new(), Vec::new());
    for path in paths {
        let read = fs::read(&path)
            .and_then(|text| serde_json::from_slice::<Parcel>(&text).map_err(io::Error::from));
        match read {
            Ok(parcel) => parcels.push(Parcel { path, ..parcel }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => broken.push(SafeText::from_text(&format!(
                "{} is no message: {error}",
                path.display()
            ))),
        }
    }
    Ok((parcels, broken))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::alert::{AlertSeverity, NotificationEvent};
    use std::collections::BTreeSet;

    fn message(second: i64, id: &str) -> Notification {
        Notification {
            id: id.into(),
            key: "k".into(),
            event: NotificationEvent::Trigger,
            severity: AlertSeverity::P0,
            at: Timestamp::from_second(second).unwrap(),
            host: "h".into(),
            title: "t".into(),
            services: Vec::new(),
            alerts: Vec::new(),
            evidence: Vec::new(),
            verdict: None,
            checkpoint: None,
            runbook: None,
            by: None,
            audit_head: None,
            sinks: BTreeSet::from(["a".into(), "../b".into()]),
        }
    }

    #[test]
    fn messages_are_kept_in_order_until_they_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        assert_eq!(list(&state).unwrap().0.len(), 0);
        put(&state, &message(20, "second")).unwrap();
        put(&state, &message(3, "first")).unwrap();
        put(&state, &message(3, "first")).unwrap();
        let (found, broken) = list(&state).unwrap();
        let ids: Vec<&str> = found.iter().map(|p| p.notification.id.as_str()).collect();
        assert_eq!(ids, ["first", "first", "second", "second"]);
        assert!(broken.is_empty());
        assert!(
            found
                .iter()
                .all(|p| p.path.parent() == Some(&state.outbox()))
        );
        let mut one = found[0].clone();
        one.attempts = 2;
        keep(&state, &one).unwrap();
        remove(&found[1]).unwrap();
        fs::write(state.outbox().join("0.json"), b"{").unwrap();
        let (left, broken) = list(&state).unwrap();
        assert_eq!((left.len(), left[0].attempts, broken.len()), (3, 2, 1));
    }

    #[test]
    fn there_is_one_courier() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let first = courier(&state).unwrap();
        assert!(first.is_some() && courier(&state).unwrap().is_none());
        let childs = first.as_ref().map(|courier| courier.0.try_clone().unwrap());
        drop(first);
        assert!(courier(&state).unwrap().is_some());
        drop(childs);
    }
}
