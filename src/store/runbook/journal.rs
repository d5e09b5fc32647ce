//! The journal of one run: JSON lines, appended under a lock that is held for the append only.
//!
//! A reader takes no lock: a line counts when it is whole. What a crash tore off is cut by the next writer, who
//! also writes down what was lost.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{RunbookError, parse_text};
use crate::domain::runbook::RunState;
use crate::domain::runbook::run::{RunEvent, RunEventKind};
use crate::domain::safe_text::SafeText;

/// An append takes milliseconds: whoever holds the lock for longer hangs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A journal, read.
pub(super) struct Folded {
    pub(super) state: RunState,
    /// Bytes of whole lines, the final line break included.
    whole: usize,
    /// The last line has no line break: it is an event that counts, or what a crash left of one.
    tail: Tail,
}

#[derive(PartialEq)]
enum Tail {
    None,
    /// A whole event that only lacks its line break.
    Event,
    Torn,
}

/// Makes the folder of a run and its first line. Returns the run's id, which has a number behind it where the
/// wanted one is taken.
pub(super) fn create(runs: &Path, wanted: &str, event: &RunEvent) -> Result<String, RunbookError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |cause| RunbookError::Io { what, path, cause }
    };
    make_dir(runs, runs.parent())
        .or_else(ignore_existing)
        .map_err(io("create", runs))?;
    let mut run = wanted.to_owned();
    let mut count = 1;
    let dir = loop {
        let dir = runs.join(&run);
        match make_dir(&dir, Some(runs)) {
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
        let mode = if is_shared(&dir) { 0o660 } else { 0o600 };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&partial)?;
        // The umask of a shared state must not lock the colleagues out.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(line_of(event)?.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&partial, &path)?;
        File::open(&dir)?.sync_all()?;
        File::open(runs)?.sync_all()
    };
    write().map_err(io("write", &path))?;
    Ok(run)
}

/// A folder like its parent: group-writable where the state is shared, private where it is not.
fn make_dir(dir: &Path, parent: Option<&Path>) -> std::io::Result<()> {
    let mode = if parent.is_some_and(is_shared) {
        0o2770
    } else {
        0o700
    };
    if let Some(parent) = parent
        && !parent.exists()
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
    }
    std::fs::DirBuilder::new().mode(mode).create(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode))
}

fn ignore_existing(cause: std::io::Error) -> std::io::Result<()> {
    if cause.kind() == std::io::ErrorKind::AlreadyExists {
        Ok(())
    } else {
        Err(cause)
    }
}

/// Whether the engineers of the box share this folder: set-group-id and group-writable.
fn is_shared(dir: &Path) -> bool {
    std::fs::metadata(dir).is_ok_and(|metadata| metadata.mode() & 0o2020 == 0o2020)
}

fn line_of(event: &RunEvent) -> std::io::Result<String> {
    let mut line = serde_json::to_string(event).map_err(std::io::Error::other)?;
    line.push('\n');
    Ok(line)
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

/// Reads a journal's bytes into the state they add up to.
pub(super) fn fold(run: &str, path: &Path, bytes: &[u8]) -> Result<Folded, RunbookError> {
    let damaged = |line: usize, cause: String| RunbookError::Damaged {
        path: path.to_owned(),
        line,
        cause,
    };
    let mut state: Option<RunState> = None;
    let mut whole = 0;
    let mut tail = Tail::None;
    for (index, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        let is_whole = line.ends_with(b"\n");
        let event = match serde_json::from_slice::<RunEvent>(line) {
            Ok(event) => event,
            Err(_) if !is_whole && state.is_some() => {
                tail = Tail::Torn;
                break;
            }
            Err(cause) => return Err(damaged(index + 1, cause.to_string())),
        };
        match (&mut state, &event.kind) {
            (
                None,
                RunEventKind::Started {
                    name, t_at, source, ..
                },
            ) => {
                let runbook = parse_text(
                    name.as_str(),
                    &format!("{} (as started)", path.display()),
                    source,
                )?;
                state = Some(RunState::new(
                    run,
                    runbook,
                    *t_at,
                    event.at,
                    event.by.clone(),
                ));
            }
            (None, _) => {
                return Err(damaged(
                    index + 1,
                    "a journal begins with a start".to_owned(),
                ));
            }
            (Some(state), _) => state
                .apply(&event)
                .map_err(|unfit| damaged(index + 1, unfit.to_string()))?,
        }
        if is_whole {
            whole += line.len();
        } else {
            tail = Tail::Event;
        }
    }
    let state = state.ok_or_else(|| damaged(1, "the file is empty".to_owned()))?;
    Ok(Folded { state, whole, tail })
}

/// See [`super::RunbookStore::append`].
pub(super) fn append(
    run: &str,
    path: &Path,
    decide: impl FnOnce(&RunState) -> Result<Option<RunEvent>, RunbookError>,
) -> Result<RunState, RunbookError> {
    let io = |what| {
        move |cause| RunbookError::Io {
            what,
            path: path.to_owned(),
            cause,
        }
    };
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .open(path)
        .map_err(io("write"))?;
    lock(&file, path)?;
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .map_err(io("read"))?;
    let Folded {
        mut state,
        whole,
        tail,
    } = fold(run, path, &bytes)?;
    let Some(event) = decide(&state)? else {
        return Ok(state);
    };
    let mut lines = String::new();
    match tail {
        Tail::None => {}
        Tail::Event => lines.push('\n'),
        Tail::Torn => {
            file.set_len(whole as u64).map_err(io("repair"))?;
            let lost = SafeText::from_bytes(&bytes[whole..]);
            let kind = RunEventKind::Repaired { lost };
            let repaired = RunEvent {
                at: event.at,
                by: event.by.clone(),
                item: None,
                revision: 0,
                kind,
            };
            state.apply(&repaired)?;
            lines.push_str(&line_of(&repaired).map_err(io("write"))?);
        }
    }
    state.apply(&event)?;
    lines.push_str(&line_of(&event).map_err(io("write"))?);
    // One write: another reader sees all of it or, after a crash, a torn end that the next writer repairs.
    file.write_all(lines.as_bytes())
        .and_then(|()| file.sync_data())
        .map_err(io("write"))?;
    // The lock ends with the file.
    Ok(state)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the journal is written on a blocking thread, and a lock cannot be waited for with a time limit"
)]
fn lock(file: &File, path: &Path) -> Result<(), RunbookError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(2));
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
