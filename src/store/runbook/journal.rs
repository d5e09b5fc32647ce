//! The journal of one run: JSON lines, appended under a lock that is held for the append only.
//!
//! A reader takes no lock: a line counts when it is whole. What a crash tore off is cut by the next writer, who
//! also writes down what was lost. Lines are a chain (see [`crate::store::sealed`]): an edit is found at its line.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{RunbookError, parse_text};
use crate::domain::runbook::RunState;
use crate::domain::runbook::run::{RunEvent, RunEventKind};
use crate::domain::safe_text::SafeText;
use crate::store::paths::{StateDir, create_new_with, make_with};
use crate::store::sealed::{self, GENESIS};

/// An append takes milliseconds: whoever holds the lock for longer hangs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks at a lock that another holds, at first and after a long wait.
const PATIENT: Duration = Duration::from_millis(2);
const IMPATIENT: Duration = Duration::from_micros(100);
const LONG_WAIT: Duration = Duration::from_millis(200);

/// The journal of a run as far as it was read: the state that its lines add up to. [`RunJournal::catch_up`] reads what
/// came since, so that following a long run costs no more than what is new.
#[derive(Debug)]
pub struct RunJournal {
    run: String,
    path: PathBuf,
    /// `None` before the first line.
    state: Option<RunState>,
    /// Whole lines so far.
    lines: u64,
    /// Their bytes, the last line break included.
    whole: u64,
    /// The hash of the newest.
    head: String,
}

/// A line that does not agree.
struct Fault {
    line: u64,
    cause: String,
}

impl RunJournal {
    /// Reads the journal of a run, for which reading it must be allowed and nothing else.
    pub(super) fn open(run: &str, path: &Path) -> Result<Self, RunbookError> {
        let mut journal = Self {
            run: run.to_owned(),
            path: path.to_owned(),
            state: None,
            lines: 0,
            whole: 0,
            head: GENESIS.to_owned(),
        };
        journal.catch_up()?;
        match &journal.state {
            Some(_) => Ok(journal),
            None => Err(journal.damaged(Fault {
                line: 1,
                cause: "the file is empty".to_owned(),
            })),
        }
    }

    /// The run as far as it was read.
    ///
    /// # Errors
    /// What was written last failed half-way, and the journal could not be read since.
    pub fn state(&self) -> Result<&RunState, RunbookError> {
        self.state.as_ref().ok_or_else(|| {
            self.damaged(Fault {
                line: self.lines + 1,
                cause: "it was not read again".to_owned(),
            })
        })
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// How many lines there are, and the hash of the newest.
    pub fn head(&self) -> (u64, &str) {
        (self.lines, &self.head)
    }

    /// The run, once nobody follows it any more.
    pub(super) fn into_state(self) -> Result<RunState, RunbookError> {
        self.state().cloned()
    }

    /// Reads what came since; says whether anything did.
    ///
    /// # Errors
    /// A line that does not continue the ones before it, or fewer lines than were read already.
    pub fn catch_up(&mut self) -> Result<bool, RunbookError> {
        let mut file = File::open(&self.path).map_err(self.io("read"))?;
        let before = self.lines;
        if let (_, Some(_)) = self.read_on(&mut file)? {
            // Between two reads a writer may have put lines in the place of a torn one: what is read under the lock
            // is what stands there.
            lock(&self.path, || file.try_lock_shared())?;
            if let (_, Some(fault)) = self.read_on(&mut file)? {
                return Err(self.damaged(fault));
            }
        }
        Ok(self.lines > before)
    }

    /// Takes in whole lines up to the first that does not agree; gives what stands behind the last line break.
    fn read_on(&mut self, file: &mut File) -> Result<(Vec<u8>, Option<Fault>), RunbookError> {
        let io = self.io("read");
        let mut bytes = Vec::new();
        let length = file.metadata().map_err(&io)?.len();
        if length < self.whole {
            let cause = format!(
                "it ends before line {}, which was read already: lines were cut off",
                self.lines
            );
            let line = self.lines;
            return Ok((Vec::new(), Some(Fault { line, cause })));
        }
        file.seek(SeekFrom::Start(self.whole))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(&io)?;
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let line = self.lines + 1;
            let taken = sealed::check(&rest[..end], line, &self.head)
                .and_then(|(event, hash)| self.take(&event).map(|()| hash));
            match taken {
                Ok(hash) => self.head = hash,
                Err(cause) => return Ok((Vec::new(), Some(Fault { line, cause }))),
            }
            self.lines = line;
            self.whole += end as u64 + 1;
            rest = &rest[end + 1..];
        }
        Ok((rest.to_vec(), None))
    }

    fn take(&mut self, event: &RunEvent) -> Result<(), String> {
        if let Some(state) = &mut self.state {
            return state.apply(event).map_err(|unfit| unfit.to_string());
        }
        let RunEventKind::Started {
            name, t_at, source, ..
        } = &event.kind
        else {
            return Err("a journal begins with a start".to_owned());
        };
        let file = format!("{} (as started)", self.path.display());
        let runbook = parse_text(name.as_str(), &file, source).map_err(|e| e.to_string())?;
        let by = event.by.clone();
        self.state = Some(RunState::new(&self.run, runbook, *t_at, event.at, by));
        Ok(())
    }

    /// See [`super::RunbookStore::append`]; says whether anything was written.
    ///
    /// # Errors
    /// Those of `decide`; the journal is damaged, or cannot be written.
    pub fn append(
        &mut self,
        decide: impl FnOnce(&RunState) -> Result<Option<RunEvent>, RunbookError>,
    ) -> Result<bool, RunbookError> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&self.path)
            .map_err(self.io("write"))?;
        // It ends with the file.
        lock(&self.path, || file.try_lock())?;
        let torn = match self.read_on(&mut file)? {
            (torn, None) => torn,
            (_, Some(fault)) => return Err(self.damaged(fault)),
        };
        let Some(event) = decide(self.state()?)? else {
            return Ok(false);
        };
        // One that does not fit is refused before anything is written.
        if let Some(state) = &mut self.state {
            state.apply(&event)?;
        }
        let mut events = vec![event];
        if !torn.is_empty() {
            let kind = RunEventKind::Repaired {
                lost: SafeText::from_bytes(&torn),
            };
            let repaired = RunEvent {
                item: None,
                revision: 0,
                kind,
                ..events[0].clone()
            };
            if let Some(state) = &mut self.state {
                state.apply(&repaired)?;
            }
            events.insert(0, repaired);
        }
        let written = self.write(&mut file, &events);
        if written.is_err() {
            // What a full disk cut off is no line, and what was taken over is not on the disk.
            let _ = file.set_len(self.whole);
            self.state = None;
            (self.lines, self.whole) = (0, 0);
            self.head = GENESIS.to_owned();
        }
        written.map(|()| true)
    }

    fn write(&mut self, file: &mut File, events: &[RunEvent]) -> Result<(), RunbookError> {
        let (mut seq, mut head) = (self.lines, self.head.clone());
        let mut lines = Vec::new();
        for event in events {
            seq += 1;
            let (line, hash) = sealed::seal(seq, event, &head).map_err(self.io("write"))?;
            lines.extend(line);
            head = hash;
        }
        // One write: a reader sees all of it or, after a crash, a torn end that the next writer repairs.
        file.set_len(self.whole)
            .and_then(|()| file.write_all(&lines))
            .and_then(|()| file.sync_data())
            .map_err(self.io("write"))?;
        (self.lines, self.head) = (seq, head);
        self.whole += lines.len() as u64;
        Ok(())
    }

    fn io(&self, what: &'static str) -> impl Fn(std::io::Error) -> RunbookError + use<> {
        let path = self.path.clone();
        move |cause| RunbookError::Io {
            what,
            path: path.clone(),
            cause,
        }
    }

    fn damaged(&self, fault: Fault) -> RunbookError {
        RunbookError::Damaged {
            path: self.path.clone(),
            line: fault.line,
            cause: fault.cause,
        }
    }
}

/// Makes the folder of a run and its first line. Returns the run's id, which has a number behind it where the
/// wanted one is taken.
pub(super) fn create(runs: &Path, wanted: &str, event: &RunEvent) -> Result<String, RunbookError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |cause| RunbookError::Io { what, path, cause }
    };
    // Shared where the state is.
    let state = StateDir::at(runs.parent().unwrap_or(runs).to_owned());
    let made = state.make_dir(runs);
    made.map_err(|error| io("create", &error.path)(error.source))?;
    let mut run = wanted.to_owned();
    let mut count = 1;
    let dir = loop {
        let dir = runs.join(&run);
        match make_with(&dir, state.dir_mode()) {
            Ok(()) => break dir,
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists && count < 1_000 => {
                count += 1;
                run = format!("{wanted}-{count}");
            }
            Err(cause) => return Err(io("create", &dir)(cause)),
        }
    };
    // Written beside and renamed: whoever sees the journal sees its first line whole.
    let path = dir.join("journal.jsonl");
    let partial = dir.join(".journal.partial");
    let write = || -> std::io::Result<()> {
        let made = create_new_with(&partial, state.file_mode());
        let mut file = made.map_err(|error| error.source)?;
        file.write_all(&sealed::seal(1, event, GENESIS)?.0)?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)?;
        File::open(&dir)?.sync_all()?;
        File::open(runs)?.sync_all()
    };
    write().map_err(io("write", &path))?;
    Ok(run)
}

/// When the run was started, from the first line alone. A journal whose first line cannot be read is as old as its
/// last change, so that it stands where a person looks and says what is wrong when it is opened. `None` where there
/// is no journal: a start that a crash cut off.
pub(super) fn started_at(path: &Path) -> Option<Timestamp> {
    let changed_at = std::fs::metadata(path).ok()?.modified().ok()?;
    first_line_at(path).or_else(|| Timestamp::try_from(changed_at).ok())
}

fn first_line_at(path: &Path) -> Option<Timestamp> {
    let mut line = String::new();
    // JSON makes a source longer by its escapes.
    let start = File::open(path).ok()?.take(8 * super::LARGEST_BYTES);
    BufReader::new(start).read_line(&mut line).ok()?;
    let event: RunEvent = serde_json::from_str(&line).ok()?;
    matches!(event.kind, RunEventKind::Started { .. }).then_some(event.at)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal is written on a blocking thread, and a lock cannot be waited for with a time limit"
)]
fn lock(path: &Path, try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), RunbookError> {
    let begun = Instant::now();
    loop {
        match try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                // Who has waited long looks more often: of many who write without a pause nobody must come last for ever.
                let is_long = begun.elapsed() > LONG_WAIT;
                std::thread::sleep(if is_long { IMPATIENT } else { PATIENT });
            }
            Err(TryLockError::WouldBlock) => {
                return Err(RunbookError::Locked {
                    path: path.to_owned(),
                    seconds: LOCK_TIMEOUT.as_secs(),
                });
            }
            Err(TryLockError::Error(cause)) => {
                return Err(RunbookError::Io {
                    what: "lock",
                    path: PathBuf::from(path),
                    cause,
                });
            }
        }
    }
}
