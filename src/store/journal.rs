//! The journal of one operation: what was intended, begun, done, undone, proved, and how it ended.
//!
//! Every line is on the disk before the next step begins, so that after a crash or a lost machine the last line
//! says exactly how far it got. `BEGIN` without `DONE` means: look before you act, never repeat blindly.
//!
//! Whoever writes a journal holds a lock on it, which ends with the process however that ends. A journal without
//! `COMMIT` or `ABORT` that nobody holds is what a dead process left: [`unfinished`] finds it, and tells of those that
//! cannot be read: they may have been left too.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};

pub mod watch;

use crate::domain::operation::Plan;
use crate::domain::outcome::{Actor, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;

/// Longer than a look at whether a journal is locked takes.
const LOOK: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "UPPERCASE")]
pub enum JournalEvent {
    /// The plan as it was confirmed.
    Intent {
        /// The plan.
        plan: Box<Plan>,
        /// Its services as they were right before the first step; `None` where they could not be looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Vec<Service>>,
        /// Who.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Actor>,
    },
    /// Somebody takes up what another process left.
    Resumed {
        /// Who.
        by: Actor,
        /// Whether it is taken back rather than ended.
        undo: bool,
    },
    /// A step is about to run.
    Begin {
        /// Its place in the plan, from 0.
        step: usize,
        /// Its text.
        text: SafeText,
        /// What it will replace, where nothing but a difference shows that it ran: the processes before a restart.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen: Vec<String>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        lock(&file, &path)?;
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

    /// Takes up the journal of a run that another process left. A line that it did not write whole is cut off.
    ///
    /// # Errors
    /// A process still writes it ([`io::ErrorKind::WouldBlock`]); it cannot be opened.
    pub fn reopen(state: &StateDir, run: &str) -> Result<Self, StoreError> {
        let path = state.runs().join(run).join("journal.jsonl");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::at("open", &path))?;
        lock(&file, &path)?;
        let content = fs::read(&path).map_err(StoreError::at("read", &path))?;
        let whole = content
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let length = whole as u64;
        file.set_len(length)
            .map_err(StoreError::at("repair", &path))?;
        Ok(Self {
            state: state.clone(),
            file,
            length,
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

impl Drop for Journal {
    fn drop(&mut self) {
        // A child that another thread is starting has the file until it runs its program, and the lock with it.
        let _ = self.file.unlock();
    }
}

fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    let until = Instant::now() + LOOK;
    loop {
        let error = match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => error,
            // Whoever only looks whether it is locked has it for a moment.
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                std::thread::yield_now();
                continue;
            }
            Err(TryLockError::WouldBlock) => io::Error::new(
                io::ErrorKind::WouldBlock,
                "the process that runs it still lives",
            ),
        };
        return Err(StoreError::at("lock", path)(error));
    }
}

/// A run that nobody ended and that no process works on.
#[derive(Debug, Clone)]
pub struct LeftRun {
    /// Its name: the folder of its journal.
    pub run: String,
    /// What it wrote.
    pub entries: Vec<JournalEntry>,
}

/// A run whose journal cannot be read: nothing says what it was to do, nor whether it ended.
#[derive(Debug)]
pub struct UnreadRun {
    /// Its name: the folder of its journal.
    pub run: String,
    /// Why.
    pub error: StoreError,
}

/// What dead processes left, and what may have been left, each the newest first.
///
/// # Errors
/// The folder of the runs cannot be read.
pub fn unfinished(state: &StateDir) -> Result<(Vec<LeftRun>, Vec<UnreadRun>), StoreError> {
    let dir = state.runs();
    let (mut left, mut unread) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((left, unread)),
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    for entry in entries {
        let folder = entry.map_err(StoreError::at("read the folder", &dir))?;
        let path = folder.path().join("journal.jsonl");
        let Ok(run) = folder.file_name().into_string() else {
            continue;
        };
        match read_left(&path) {
            Ok(None) => {}
            Ok(Some(entries)) => left.push(LeftRun { run, entries }),
            Err(error) => unread.push(UnreadRun { run, error }),
        }
    }
    left.sort_by(|a, b| b.run.cmp(&a.run));
    unread.sort_by(|a, b| b.run.cmp(&a.run));
    Ok((left, unread))
}

/// What stands in a journal that was left; `None` where it ended, is being written, or was never begun.
fn read_left(path: &Path) -> Result<Option<Vec<JournalEntry>>, StoreError> {
    if !is_left(path)? {
        return Ok(None);
    }
    let entries = read(path)?;
    Ok((!entries.is_empty()).then_some(entries))
}

/// The error of a journal that is no journal.
pub fn no_journal(path: &Path, why: &str) -> StoreError {
    StoreError::at("read", path)(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()))
}

/// Whether a journal has no end and no process that writes it. Only its last line is read: there are many.
fn is_left(path: &Path) -> Result<bool, StoreError> {
    /// Longer than the line of an end with its reason.
    const TAIL: u64 = 8 * 1024;
    let fail = |error| StoreError::at("read", path)(error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        // Besides the folders of runs there are files, and folders of other things.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(fail(error)),
    };
    let length = file.metadata().map_err(fail)?.len();
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .and_then(|_| file.read_to_end(&mut tail))
        .map_err(fail)?;
    let tail = String::from_utf8_lossy(&tail);
    let last = tail
        .rsplit_once('\n')
        .map_or("", |(whole, _)| whole)
        .lines()
        .next_back()
        .unwrap_or_default();
    let is_ended = last.contains("\"entry\":\"COMMIT\"") || last.contains("\"entry\":\"ABORT\"");
    if tail.is_empty() || is_ended {
        return Ok(false);
    }
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            Ok(true)
        }
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(StoreError::at("lock", path)(error)),
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
        let entry = serde_json::from_str(&line)
            .map_err(|error| no_journal(path, &format!("line {number}: {error}")))?;
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
                seen: Vec::new(),
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
    fn a_run_without_an_end_is_left_once_its_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let plan = crate::domain::operation::tests::plan();
        let intent = JournalEvent::Intent {
            plan: Box::new(plan),
            before: None,
            by: None,
        };
        let left = || -> Vec<String> {
            let (found, unread) = unfinished(&state).unwrap();
            assert!(unread.is_empty(), "{unread:?}");
            found.into_iter().map(|left| left.run).collect()
        };
        assert!(left().is_empty());
        let mut journal = Journal::create(&state, "run-1").unwrap();
        journal.append(intent).unwrap();
        assert!(left().is_empty(), "its process lives");
        assert!(Journal::reopen(&state, "run-1").is_err());
        let path = journal.folder().join("journal.jsonl");
        let childs = journal.file.try_clone().unwrap();
        drop(journal);
        assert_eq!(left(), ["run-1"], "however many have the file");
        drop(childs);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}{{\"at\":\"2025")).unwrap();
        let mut journal = Journal::reopen(&state, "run-1").unwrap();
        journal
            .append(JournalEvent::Commit {
                outcome: OutcomeKind::Verified,
            })
            .unwrap();
        drop(journal);
        assert!(left().is_empty());
        assert_eq!(read(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_run_has_one_journal() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let _first = Journal::create(&state, "run-1").unwrap();
        assert!(Journal::create(&state, "run-1").is_err());
    }

    #[test]
    fn one_that_cannot_be_read_may_have_been_left() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let intent = |run: &str| -> String {
            let plan = crate::domain::operation::tests::plan();
            let mut journal = Journal::create(&state, run).unwrap();
            let intent = JournalEvent::Intent {
                plan: Box::new(plan),
                before: None,
                by: None,
            };
            journal.append(intent).unwrap();
            fs::read_to_string(journal.folder().join("journal.jsonl")).unwrap()
        };
        let path = |run: &str| state.runs().join(run).join("journal.jsonl");
        let whole = intent("torn");
        fs::write(path("torn"), format!("{whole}{{\"at\":\"2025")).unwrap();
        intent("newer");
        let newer = r#"{"at":"2025-12-27T14:50:00Z","entry":"PAUSED"}"#;
        fs::write(path("newer"), format!("{whole}{newer}\n")).unwrap();
        intent("no-file");
        fs::remove_file(path("no-file")).unwrap();
        fs::create_dir(path("no-file")).unwrap();
        // One that ended, whatever stands before, one of which not even the intent was written, and no runs at all.
        intent("ended");
        let end = r#"{"at":"2025-12-27T14:50:00Z","entry":"COMMIT","outcome":"verified"}"#;
        fs::write(path("ended"), format!("{newer}\n{end}\n")).unwrap();
        intent("not-begun");
        fs::write(path("not-begun"), "{\"at\"").unwrap();
        fs::create_dir(state.runs().join("kept")).unwrap();
        fs::write(state.runs().join("failed-x.log.zst"), "").unwrap();
        let (left, unread) = unfinished(&state).unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].run, "torn");
        let unread: Vec<&str> = unread.iter().map(|one| one.run.as_str()).collect();
        assert_eq!(unread, ["no-file", "newer"]);
    }
}
