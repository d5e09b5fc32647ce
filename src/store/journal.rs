//! The journal of one operation: what was intended, begun, done, undone, proved, and how it ended.
//!
//! Every line is on the disk before the next step begins, so that after a crash or a lost machine the last line
//! says exactly how far it got. `BEGIN` without `DONE` means: look before you act, never repeat blindly.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
use crate::domain::operation::Plan;
use crate::domain::outcome::{OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "UPPERCASE")]
pub enum JournalEvent {
    /// The plan as it was confirmed.
    Intent {
        /// The plan.
        plan: Box<Plan>,
    },
    /// A step is about to run.
    Begin {
        /// Its place in the plan, from 0.
        step: usize,
        /// Its text.
        text: SafeText,
    },
    /// A step ended, well or not.
    Done {
        /// Its place in the plan, from 0.
        step: usize,
        /// Its result.
        result: StepResult,
    },
    /// A step was taken back, or could not be.
    Undone {
        /// Its place in the plan, from 0.
        step: usize,
        /// How that went.
        result: StepResult,
    },
    /// The proof was had.
    Verified {
        /// What was seen.
        detail: SafeText,
    },
    /// Every step ran.
    Commit {
        /// How it ended.
        outcome: OutcomeKind,
    },
    /// It was given up.
    Abort {
        /// How it ended.
        outcome: OutcomeKind,
        /// Why.
        reason: SafeText,
    },
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: JournalEvent,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    state: StateDir,
    file: File,
    /// The end of its last whole line.
    length: u64,
    path: PathBuf,
}

impl Journal {
    /// Begins the journal of a run.
    ///
    /// # Errors
    /// The run has one already, no permission, a full disk.
    pub fn create(state: &StateDir, run: &str) -> Result<Self, StoreError> {
        let path = state.runs().join(run).join("journal.jsonl");
        let file = state.with_reserve(|| state.create_new(&path))?;
        super::paths::sync_parent(&path)?;
        if let Some(folder) = path.parent() {
            super::paths::sync_parent(folder)?;
        }
        Ok(Self {
            state: state.clone(),
            file,
            length: 0,
            path,
        })
    }

    /// The folder of the run: its journal, and what its steps keep.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Writes a line and flushes it to the disk: the whole line or nothing.
    ///
    /// # Errors
    /// A full disk, even after the reserve was given up.
    pub fn append(&mut self, event: JournalEvent) -> Result<(), StoreError> {
        let entry = JournalEntry {
            at: Timestamp::now(),
            event,
        };
        let Self {
            state,
            file,
            length,
            path,
        } = self;
        let mut line = serde_json::to_vec(&entry)
            .map_err(|cause| StoreError::at("write", path)(cause.into()))?;
        line.push(b'\n');
        let end = *length;
        state.with_reserve(|| {
            let written = file
                .seek(SeekFrom::Start(end))
                .and_then(|_| file.write_all(&line))
                .and_then(|()| file.sync_data());
            written.map_err(|error| {
                // What a full disk cut off is no line.
                let _ = file.set_len(end);
                StoreError::at("write", path)(error)
            })
        })?;
        *length += line.len() as u64;
        Ok(())
    }
}

/// Reads a journal. A last line that a crash cut off is left out.
///
/// # Errors
/// The file cannot be read; a whole line is no entry ([`io::ErrorKind::InvalidData`] with its number).
pub fn read(path: &Path) -> Result<Vec<JournalEntry>, StoreError> {
    let file = File::open(path).map_err(StoreError::at("read", path))?;
    let mut reader = BufReader::new(file);
    let mut entries = Vec::new();
    let mut line = String::new();
    for number in 1_u64.. {
        line.clear();
        reader
            .read_line(&mut line)
            .map_err(StoreError::at("read", path))?;
        if !line.ends_with('\n') {
            break;
        }
        let entry = serde_json::from_str(&line).map_err(|error| {
            let cause = format!("line {number}: {error}");
            StoreError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, cause))
        })?;
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn result() -> StepResult {
        StepResult {
            text: SafeText::from_text("docker tag a b"),
            ok: true,
            ms: 3,
            detail: SafeText::default(),
        }
    }

    #[test]
    fn what_was_written_is_read_up_to_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let mut journal = Journal::create(&state, "run-1").unwrap();
        let events = [
            JournalEvent::Begin {
                step: 0,
                text: SafeText::from_text("docker tag a b"),
            },
            JournalEvent::Done {
                step: 0,
                result: result(),
            },
            JournalEvent::Undone {
                step: 0,
                result: result(),
            },
            JournalEvent::Commit {
                outcome: OutcomeKind::Verified,
            },
        ];
        for event in events.clone() {
            journal.append(event).unwrap();
        }
        let path = journal.folder().join("journal.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"entry\":\"BEGIN\"") && text.contains("\"entry\":\"COMMIT\""));
        let read_events = |path: &Path| -> Vec<JournalEvent> {
            read(path).unwrap().into_iter().map(|e| e.event).collect()
        };
        assert_eq!(read_events(&path), events);
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(read_events(&path), events[..3]);
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(
            SafeText::from_error(&read(&path).unwrap_err())
                .as_str()
                .contains("line 1")
        );
    }

    #[test]
    fn a_run_has_one_journal() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let _first = Journal::create(&state, "run-1").unwrap();
        assert!(Journal::create(&state, "run-1").is_err());
    }
}
