//! Reads plain log files in place: from a position, from the last N lines, to the end or on and on, through
//! rotation.
//!
//! The kernel tells of changes (`notify` on the folder, so that a file that is renamed away or not there yet is
//! noticed too). Where it cannot (network file systems, no watches left) a slow poll sees the same a little
//! later, so a missed event delays lines and never loses them. Between changes nothing runs but that poll.
//!
//! Every line knows its place, and [`LogEvent::Opened`] says in which file: what the screen has let go of is read
//! again from there ([`read_page`]), and a search or a filter runs over the file itself ([`search()`], [`sift()`]), not over a
//! copy.

mod grep;
mod last;
mod lines;
mod names;
mod one_file;
mod outlet;
mod page;
mod remote;
mod rotated;
mod search;
mod sift;
mod source;
mod stream;
mod watch;
mod window;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use regex::bytes::Regex;
use tokio::sync::{Notify, mpsc};

use crate::analysis::line_pattern::LinePattern;
use crate::domain::log::{LogBlock, LogEvent, LogNoteKind, LogPosition, LogRequest};
use crate::domain::service::ServiceId;

pub use last::LastLines;
pub use lines::{BLOCK_BYTES, LineSplitter, MAX_LINE, read_at, start_of_last};
pub use names::{is_pattern, matching};
use one_file::Tail;
use outlet::Outlet;
pub use page::read_page;
pub use remote::{check_on, positions_on, read_on};
pub use search::{FileSearch, place_at, search};
pub use sift::sift;
use source::{Closed, ReadEnd};
use watch::Watch;

/// The path that means standard input.
pub const STDIN: &str = "-";

/// How often files are looked at when the kernel tells of changes: only what it failed to tell is found so.
const POLL_WATCHED: Duration = Duration::from_secs(2);
/// How often files are looked at when nobody tells of changes.
const POLL_BLIND: Duration = Duration::from_millis(250);
/// Between two looks for new files that match a pattern: a busy log must not have its folder listed all the time.
const LOOK_FOR_NEW: Duration = Duration::from_millis(500);

/// A log file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the log file {}", .path.display())]
pub struct TailError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl TailError {
    fn new(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            path: path.into(),
            source,
        }
    }

    /// What is told of it where other files are read. One that is not there may never have been written: an error log
    /// without errors.
    pub(crate) fn kind(&self) -> LogNoteKind {
        match self.source.kind() {
            io::ErrorKind::NotFound => LogNoteKind::Gap,
            _ => LogNoteKind::Unread,
        }
    }
}

/// Sends the lines of the files, one file after the other in a closed read, interleaved as they grow in a
/// follow. An entry may be a pattern (`/var/log/app/*.log`) or [`STDIN`]. Lines carry no time of the runtime's;
/// [`LogRequest::window`] is held against what they say themselves.
///
/// - [`LogRequest::from`] starts each file at its position, reading rotated files first; what is gone is told as
///   a gap.
/// - [`LogRequest::tail`] starts each file at its last so many lines.
/// - A window that begins before the file does reads its rotated files first, compressed ones too; where they do
///   not go back far enough either, a gap says so.
/// - A closed read ends at the size that the file has when its turn comes, and sends an unterminated last line
///   too. A follow ends when nobody listens, or with the last of its sources where all of them end (standard
///   input, compressed files).
/// - A file that is missing is told as a gap, in a follow as a lost link that comes back when the file appears.
///   A file that appears and matches a pattern is followed from its start. A folder that cannot be looked into, where a
///   pattern might match, is told as a gap, once.
///
/// # Errors
/// No file could be read; the first cause. In a follow a missing file is waited for instead.
pub async fn read_files(
    service: &ServiceId,
    paths: &[PathBuf],
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let out = Outlet::new(service.clone(), to.clone());
    let entries = paths.to_vec();
    let request = request.clone();
    if request.follow {
        return follow(entries, request, out, to).await;
    }
    on_blocking_thread(move || read_closed(&entries, &request, None, out)).await
}

/// Reads as [`read_files`] does, closed, and leaves out lines that do not match wherever it can do so without looking at
/// each: in plain files, and where times do not matter. Whoever wants the matching lines only looks at what comes once
/// more: there are others among them, such as the head of the record that a matching line belongs to.
///
/// # Errors
/// See [`read_files`].
pub async fn read_matching(
    service: &ServiceId,
    paths: &[PathBuf],
    request: &LogRequest,
    pattern: &Regex,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let out = Outlet::new(service.clone(), to);
    let entries = paths.to_vec();
    let request = LogRequest {
        follow: false,
        ..request.clone()
    };
    let pattern = Arc::new(LinePattern::new(pattern));
    on_blocking_thread(move || read_closed(&entries, &request, Some(&pattern), out)).await
}

/// Where each file that can be read ends now: after its last line break, so that "after" starts with a whole
/// line. A file that is missing has no position: all that it will hold comes after. What can only be read from its
/// start (standard input, compressed files) has none either.
///
/// # Errors
/// A file is there and cannot be read.
pub async fn positions(paths: &[PathBuf]) -> Result<Vec<LogPosition>, TailError> {
    let entries = paths.to_vec();
    on_blocking_thread(move || {
        // A folder that cannot be looked into is told of by whoever reads.
        let paths = resolve(&entries, false)?.files;
        let mut all = Vec::new();
        for path in paths {
            match position(&path) {
                Ok(found) => all.extend(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(TailError { path, source }),
            }
        }
        Ok(all)
    })
    .await
}

fn position(path: &Path) -> io::Result<Option<LogPosition>> {
    if stream::is_once(path)? {
        return Ok(None);
    }
    let file = File::open(path)?;
    let meta = file.metadata()?;
    Ok(Some(LogPosition {
        path: path.to_owned(),
        inode: meta.ino(),
        offset: lines::end_of_last_line(&file, meta.len())?,
    }))
}

/// Which of the entries can be read now, each with why not. A pattern that matches nothing cannot; standard input
/// can. Only looks: no byte is read.
pub async fn check(paths: &[PathBuf]) -> Vec<(PathBuf, io::Result<()>)> {
    let entries = paths.to_vec();
    on_blocking_thread(move || {
        let look = |entry: &PathBuf| {
            if names::is_stdin(entry) {
                return Ok(());
            }
            if is_pattern(entry) {
                return match matching(entry)?.is_empty() {
                    true => Err(io::Error::new(io::ErrorKind::NotFound, "no file matches")),
                    false => Ok(()),
                };
            }
            let meta = fs::metadata(entry)?;
            if meta.is_dir() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a folder"));
            }
            // A pipe that is opened is used up.
            if meta.is_file() {
                File::open(entry)?;
            }
            Ok(())
        };
        entries
            .into_iter()
            .map(|entry| {
                let found = look(&entry);
                (entry, found)
            })
            .collect()
    })
    .await
}

fn resolve(entries: &[PathBuf], with_rotated: bool) -> Result<names::Found, TailError> {
    names::resolve(entries, with_rotated).map_err(|(path, source)| TailError { path, source })
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The files of a read. A window that reaches back reads rotated files as the past
/// of their log, and so does a position; else whoever asks for `app.log*` gets all of them.
fn tails_of(entries: &[PathBuf], request: &LogRequest) -> Result<Vec<Tail>, TailError> {
    let is_whole = !request.follow && request.from.is_empty() && request.window.since.is_none();
    let mut found = resolve(entries, is_whole)?;
    if found.files.is_empty()
        && !request.follow
        && let Some(pattern) = entries.first()
    {
        let none = io::Error::new(io::ErrorKind::NotFound, "no file matches");
        let why = found.closed.pop().unwrap_or((pattern.clone(), none));
        return Err(TailError::new(why.0, why.1));
    }
    let tails = found.files.into_iter();
    Ok(tails.map(|path| Tail::new(path, request)).collect())
}

fn read_closed(
    entries: &[PathBuf],
    request: &LogRequest,
    pattern: Option<&Arc<LinePattern>>,
    mut out: Outlet,
) -> Result<(), TailError> {
    // A follow tells what it may not look into. Here it would be a loss, and `/var/log/*/app.log` would lose something
    // for ever, because of the folders of others.
    let tails = tails_of(entries, request)?;
    let mut failures = Vec::new();
    let count = tails.len();
    for mut tail in tails {
        tail.pattern = pattern.cloned();
        match tail.read_closed(&mut out) {
            Ok(()) => {}
            Err(ReadEnd::Closed) => return Ok(()),
            Err(ReadEnd::Io(source)) => failures.push(TailError::new(tail.path, source)),
        }
    }
    if failures.len() == count
        && let Some(failure) = failures.pop()
    {
        return Err(failure);
    }
    for failure in failures {
        let detail = format!("{}: {}", failure.path.display(), failure.source);
        if out.note(failure.kind(), &detail).is_err() {
            break;
        }
    }
    Ok(())
}

/// The files of a follow, and the patterns that new ones are looked for by.
struct Follow {
    tails: Vec<Tail>,
    entries: Vec<PathBuf>,
    out: Outlet,
    /// What could not be looked at when new files were last looked for, which was told.
    closed: BTreeSet<PathBuf>,
}

impl Follow {
    /// Reads whatever is new in every file.
    fn advance(&mut self) -> Result<(), Closed> {
        let Self { tails, out, .. } = self;
        tails
            .iter_mut()
            .filter(|tail| !tail.is_done)
            .try_for_each(|tail| tail.advance(out))
    }

    /// Takes up files that appeared and match a pattern; says whether there were any. One that is read already
    /// under the name it had before is the same file. A folder that cannot be looked into hides no other.
    fn look_for_new(&mut self) -> Result<bool, Closed> {
        let Ok(found) = names::resolve(&self.entries, false) else {
            return Ok(false);
        };
        for (path, why) in &found.closed {
            if !self.closed.contains(path) {
                let detail = format!("{}: {why}", path.display());
                self.out.note(LogNoteKind::Gap, &detail)?;
            }
        }
        self.closed = found.closed.into_iter().map(|(path, _)| path).collect();
        let before = self.tails.len();
        for path in found.files {
            let is_known = self.tails.iter().any(|tail| tail.path == path)
                || fs::metadata(&path).is_ok_and(|meta| {
                    let identity = (meta.dev(), meta.ino());
                    self.tails.iter().any(|tail| tail.reads(identity))
                });
            if !is_known {
                self.tails.push(Tail::appeared(path));
            }
        }
        Ok(self.tails.len() > before)
    }

    fn watch(&self, patterns: &BTreeSet<PathBuf>, changed: &Arc<Notify>) -> Watch {
        Watch::start(
            self.tails.iter().map(|t| t.path.as_path()),
            patterns,
            changed,
        )
    }
}

async fn follow(
    entries: Vec<PathBuf>,
    request: LogRequest,
    out: Outlet,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let changed = Arc::new(Notify::new());
    let folders: BTreeSet<PathBuf> = entries
        .iter()
        .filter(|entry| is_pattern(entry))
        .map(|entry| names::folder_of(entry))
        .collect();
    let has_patterns = !folders.is_empty();
    let mut all = Follow {
        // What cannot be looked at is told when new files are looked for.
        tails: tails_of(&entries, &request)?,
        entries,
        out,
        closed: BTreeSet::new(),
    };
    let mut watch = all.watch(&folders, &changed);
    let mut looked_at = Instant::now();
    // Whether something changed since new files were last looked for.
    let mut is_owed = false;
    let mut is_told = false;
    loop {
        // Registered before reading, so that a change during the read is not missed.
        let notified = changed.notified();
        let is_look_due = has_patterns && looked_at.elapsed() >= LOOK_FOR_NEW;
        let reading = on_blocking_thread(move || {
            let looked = match is_look_due {
                true => all.look_for_new(),
                false => Ok(false),
            };
            let read = looked.and_then(|has_new| all.advance().map(|()| has_new));
            (all, read)
        });
        // Reading may wait for ever on a pipe that nobody writes to.
        let (own, read) = tokio::select! {
            done = reading => done,
            () = to.closed() => return Ok(()),
        };
        all = own;
        let Ok(has_new) = read else { return Ok(()) };
        // It is open, though nothing may come for long.
        if !std::mem::replace(&mut is_told, true)
            && to.send(LogEvent::Block(LogBlock::default())).await.is_err()
        {
            return Ok(());
        }
        if is_look_due {
            looked_at = Instant::now();
            is_owed = false;
        }
        if has_new {
            watch = all.watch(&folders, &changed);
        }
        let is_over = !has_patterns && all.tails.iter().all(|tail| tail.is_done);
        if is_over {
            return Ok(());
        }
        let period = match watch.is_complete {
            _ if is_owed => LOOK_FOR_NEW.saturating_sub(looked_at.elapsed()),
            true => POLL_WATCHED,
            false => POLL_BLIND,
        };
        tokio::select! {
            () = to.closed() => return Ok(()),
            () = notified => is_owed = has_patterns,
            () = tokio::time::sleep(period) => {}
        }
    }
}

#[cfg(test)]
mod tests;
