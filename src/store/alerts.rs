//! `alerts.json`: what the watch remembers between two looks, two runs, two reboots.
//!
//! Whoever changes it holds the lock, so that the watch and an acknowledgement from elsewhere never overwrite each
//! other. A file that cannot be read is an error and never an empty book: that would page everything again.

use std::fs::{self, File, TryLockError};
use std::io;

use super::paths::{StateDir, StoreError};
use crate::domain::alert::{AlertBook, BOOK_SCHEMA};

/// The right to change the book; given back when dropped.
#[derive(Debug)]
pub struct BookLock {
    state: StateDir,
    _file: File,
}

/// Reads the book; an empty one where there is none yet.
///
/// # Errors
/// The file cannot be read, or was written by another version.
pub fn read(state: &StateDir) -> Result<AlertBook, StoreError> {
    let path = state.alerts();
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AlertBook::default()),
        Err(error) => return Err(StoreError::at("read", &path)(error)),
    };
    let wrong = |cause: String| {
        StoreError::at("read", &path)(io::Error::new(io::ErrorKind::InvalidData, cause))
    };
    let book: AlertBook = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    if book.schema != BOOK_SCHEMA {
        return Err(wrong(format!(
            "schema {:?}, not {BOOK_SCHEMA:?}",
            book.schema
        )));
    }
    Ok(book)
}

impl BookLock {
    /// Waits for the lock of the book.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn take(state: &StateDir) -> Result<Self, StoreError> {
        let path = state.root.join("alerts.lock");
        let file = state.with_reserve(|| state.open_append(&path))?;
        file.lock().map_err(StoreError::at("lock", &path))?;
        Ok(Self {
            state: state.clone(),
            _file: file,
        })
    }

    /// As [`read`].
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(&self) -> Result<AlertBook, StoreError> {
        read(&self.state)
    }

    /// Replaces the book in one step.
    ///
    /// # Errors
    /// No permission, a full disk without a reserve; the old book is then still there.
    pub fn write(&self, book: &AlertBook) -> Result<(), StoreError> {
        let path = self.state.alerts();
        let json = serde_json::to_vec_pretty(book)
            .map_err(|e| StoreError::at("write", &path)(io::Error::from(e)))?;
        self.state.write_atomic(&path, &json)
    }
}

/// Keeps a second watch from paging everything twice; `None` while another process holds it. Given back when dropped.
///
/// # Errors
/// The state folder cannot be written.
pub fn only_watch(state: &StateDir) -> Result<Option<File>, StoreError> {
    let path = state.root.join("watch.lock");
    let file = state.with_reserve(|| state.open_append(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::at("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_book_goes_to_the_disk_and_back_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        assert_eq!(read(&state).unwrap(), AlertBook::default());
        let lock = BookLock::take(&state).unwrap();
        let book = AlertBook {
            looked_at: Some(jiff::Timestamp::UNIX_EPOCH),
            ..AlertBook::default()
        };
        lock.write(&book).unwrap();
        assert_eq!(lock.read().unwrap(), book);
        fs::write(state.alerts(), b"{").unwrap();
        assert!(lock.read().unwrap_err().to_string().contains("alerts.json"));
    }

    #[test]
    fn there_is_one_watch() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let first = only_watch(&state).unwrap();
        assert!(first.is_some());
        assert!(only_watch(&state).unwrap().is_none());
        drop(first);
        assert!(only_watch(&state).unwrap().is_some());
    }
}
