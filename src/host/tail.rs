//! Reads plain log files in place: from a position, from the last N lines, to the end or on and on, through
//! rotation.
//!
//! The kernel tells of changes (`notify` on the folder, so that a file that is renamed away or not there yet is
//! noticed too). Where it cannot (network file systems, no watches left) a slow poll sees the same a little
//! later, so a missed event delays lines and never loses them. Between changes nothing runs but that poll.

mod lines;
mod source;
mod window;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};

use crate::domain::log::{LogBlock, LogEvent, LogNote, LogNoteKind, LogPosition, LogRequest};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

pub use lines::{BLOCK_BYTES, LineSplitter, MAX_LINE, start_of_last};
use source::{Closed, Look, ReadEnd, Source};
use window::Filter;

/// How often files are looked at when the kernel tells of changes: only what it failed to tell is found so.
const POLL_WATCHED: Duration = Duration::from_secs(2);
/// How often files are looked at when nobody tells of changes.
const POLL_BLIND: Duration = Duration::from_millis(250);
/// A program may write to the renamed file until it is told to reopen its log; so long the old file is read on.
const DRAIN: Duration = Duration::from_secs(60);

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

/// Sends the lines of the files, one file after the other in a closed read, interleaved as they grow in a
/// follow. Lines carry no time of the runtime's; [`LogRequest::window`] is held against what they say themselves.
///
/// - [`LogRequest::from`] starts each file at its position, reading rotated files first; what is gone is told as
///   a gap.
/// - [`LogRequest::tail`] starts each file at its last so many lines.
/// - A closed read ends at the size that the file has when its turn comes, and sends an unterminated last line
///   too. A follow ends when nobody listens.
/// - A file that is missing is told as a gap, in a follow as a lost link that comes back when the file appears.
///
/// # Errors
/// No file could be read; the first cause. In a follow a missing file is waited for instead.
pub async fn read_files(
    service: &ServiceId,
    paths: &[PathBuf],
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let tails: Vec<Tail> = paths
        .iter()
        .map(|path| Tail::new(service.clone(), path.clone(), request))
        .collect();
    if request.follow {
        follow(tails, to).await;
        return Ok(());
    }
    on_blocking_thread(move || read_closed(tails, &to)).await
}

/// Where each file that can be read ends now: after its last line break, so that "after" starts with a whole
/// line. A file that is missing has no position: all that it will hold comes after.
///
/// # Errors
/// A file is there and cannot be read.
pub async fn positions(paths: &[PathBuf]) -> Result<Vec<LogPosition>, TailError> {
    let paths = paths.to_vec();
    on_blocking_thread(move || {
        let mut all = Vec::new();
        for path in paths {
            match position(&path) {
                Ok(found) => all.push(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(TailError { path, source }),
            }
        }
        Ok(all)
    })
    .await
}

fn position(path: &Path) -> io::Result<LogPosition> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    Ok(LogPosition {
        path: path.to_owned(),
        inode: meta.ino(),
        offset: lines::end_of_last_line(&file, meta.len())?,
    })
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn read_closed(tails: Vec<Tail>, to: &mpsc::Sender<LogEvent>) -> Result<(), TailError> {
    let mut failures = Vec::new();
    let count = tails.len();
    for mut tail in tails {
        match tail.read_closed(to) {
            Ok(()) => {}
            Err(ReadEnd::Closed) => return Ok(()),
            Err(ReadEnd::Io(source)) => failures.push((tail, source)),
        }
    }
    if failures.len() == count
        && let Some((tail, source)) = failures.pop()
    {
        return Err(TailError {
            path: tail.path,
            source,
        });
    }
    for (tail, source) in failures {
        let detail = format!("{}: {source}", tail.path.display());
        if tail.note(LogNoteKind::Gap, &detail, to).is_err() {
            break;
        }
    }
    Ok(())
}

/// One file of a read.
#[derive(Debug)]
struct Tail {
    service: ServiceId,
    path: PathBuf,
    from: Option<LogPosition>,
    last_lines: Option<u64>,
    filter: Option<Filter>,
    /// Where a closed read ends, if before the end of the file.
    end: Option<u64>,
    source: Option<Source>,
    /// A renamed file that may still be written to.
    previous: Option<(Source, Instant)>,
    /// Why the file cannot be read now, once that was told.
    told: Option<String>,
    is_started: bool,
}

impl Tail {
    fn new(service: ServiceId, path: PathBuf, request: &LogRequest) -> Self {
        let from = request.from.iter().find(|p| p.path == path).cloned();
        Self {
            service,
            path,
            from,
            last_lines: request.tail,
            filter: Filter::new(request.window),
            end: None,
            source: None,
            previous: None,
            told: None,
            is_started: false,
        }
    }

    fn note(
        &self,
        kind: LogNoteKind,
        detail: &str,
        to: &mpsc::Sender<LogEvent>,
    ) -> Result<(), Closed> {
        send(
            to,
            LogEvent::Note(LogNote {
                kind,
                service: self.service.clone(),
                from: None,
                to: None,
                lines: None,
                detail: SafeText::from_text(detail),
            }),
        )
    }

    fn read_closed(&mut self, to: &mpsc::Sender<LogEvent>) -> Result<(), ReadEnd> {
        let mut source = self.start(to)?;
        let length = source.length()?;
        let end = self.end.unwrap_or(length);
        let mut emit = emitter(&mut self.filter, to);
        source.read_to(end, &mut emit)?;
        source.finish(&mut emit)
    }

    /// Opens the file where the request starts. What lies in rotated files is sent on the way.
    fn start(&mut self, to: &mpsc::Sender<LogEvent>) -> Result<Source, ReadEnd> {
        let mut offset = 0;
        if let Some(position) = self.from.clone() {
            let resumed = source::resume(&self.path, &position)?;
            if let Some(gap) = &resumed.gap {
                self.note(LogNoteKind::Gap, gap, to)?;
            }
            for (path, start) in &resumed.rotated {
                let mut emit = emitter(&mut self.filter, to);
                let mut old = Source::open(path)?;
                old.seek(*start)?;
                old.read_to(old.length()?, &mut emit)?;
                old.finish(&mut emit)?;
                drop(emit);
                let detail = format!("{} goes on in {}", path.display(), self.path.display());
                self.note(LogNoteKind::Rotated, &detail, to)?;
            }
            // The rotated files are sent: whatever happens next must not send them again.
            self.from = None;
            offset = resumed.offset;
        }
        let mut source = Source::open(&self.path)?;
        let mut end = source.length()?;
        if let Some(filter) = &self.filter
            && offset < end
        {
            let whole = end;
            (offset, end) = filter.range(source.file(), offset, end)?;
            self.end = (end < whole).then_some(end);
        }
        if let Some(lines) = self.last_lines {
            offset = start_of_last(source.file(), lines, offset, end)?;
        }
        source.seek(offset)?;
        self.is_started = true;
        Ok(source)
    }

    /// Reads whatever is new. Failures are told once each and tried again at the next look.
    fn advance(&mut self, to: &mpsc::Sender<LogEvent>) -> Result<(), Closed> {
        match self.try_advance(to) {
            Ok(()) => Ok(()),
            Err(ReadEnd::Closed) => Err(Closed),
            Err(ReadEnd::Io(error)) => {
                let cause = match error.kind() {
                    io::ErrorKind::NotFound => {
                        format!("waiting for {}: no such file", self.path.display())
                    }
                    _ => format!("{}: {error}", self.path.display()),
                };
                if self.told.as_deref() != Some(&cause) {
                    self.note(LogNoteKind::Reconnecting, &cause, to)?;
                    self.told = Some(cause);
                }
                Ok(())
            }
        }
    }

    fn try_advance(&mut self, to: &mpsc::Sender<LogEvent>) -> Result<(), ReadEnd> {
        if let Some((previous, since)) = &mut self.previous {
            let mut emit = emitter(&mut self.filter, to);
            previous.read_to(previous.length()?, &mut emit)?;
            if since.elapsed() > DRAIN {
                previous.finish(&mut emit)?;
                self.previous = None;
            }
        }
        if self.source.is_none() {
            let source = if self.is_started {
                Source::open(&self.path)?
            } else {
                // A file that appears later is read from its start: nothing of it was there before.
                let is_late = self.told.is_some();
                if is_late {
                    self.last_lines = None;
                }
                self.start(to)?
            };
            if self.told.take().is_some() {
                let detail = format!("{} is there", self.path.display());
                self.note(LogNoteKind::Reconnected, &detail, to)?;
            }
            self.source = Some(source);
        }
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let mut look = source.look(&self.path)?;
        if look == Look::Truncated {
            source.finish(&mut emitter(&mut self.filter, to))?;
            source.seek(0)?;
            let detail = format!("{} was truncated", self.path.display());
            self.note(LogNoteKind::Rotated, &detail, to)?;
            look = Look::Same;
        }
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        source.read_to(source.length()?, &mut emitter(&mut self.filter, to))?;
        if look == Look::Replaced {
            let next = Source::open(&self.path)?;
            if let Some(old) = self.source.replace(next)
                && let Some((mut older, _)) = self.previous.replace((old, Instant::now()))
            {
                older.finish(&mut emitter(&mut self.filter, to))?;
            }
            let detail = format!("{} was replaced by a new file", self.path.display());
            self.note(LogNoteKind::Rotated, &detail, to)?;
            if let Some(source) = &mut self.source {
                source.read_to(source.length()?, &mut emitter(&mut self.filter, to))?;
            }
        }
        Ok(())
    }
}

/// Sends what the filter lets through.
fn emitter<'a>(
    filter: &'a mut Option<Filter>,
    to: &'a mpsc::Sender<LogEvent>,
) -> impl FnMut(LogBlock) -> Result<(), Closed> + 'a {
    move |mut block| {
        if let Some(filter) = filter {
            filter.apply(&mut block);
            if block.is_empty() {
                return Ok(());
            }
        }
        send(to, LogEvent::Block(block))
    }
}

/// Waits for room: back-pressure, not loss. Runs on a blocking thread.
fn send(to: &mpsc::Sender<LogEvent>, event: LogEvent) -> Result<(), Closed> {
    to.blocking_send(event).map_err(|_| Closed)
}

async fn follow(mut tails: Vec<Tail>, to: mpsc::Sender<LogEvent>) {
    let changed = Arc::new(Notify::new());
    let watch = Watch::start(tails.iter().map(|t| t.path.as_path()), &changed);
    let period = if watch.is_complete {
        POLL_WATCHED
    } else {
        POLL_BLIND
    };
    loop {
        // Registered before reading, so that a change during the read is not missed.
        let notified = changed.notified();
        let sender = to.clone();
        let (read, ended) = on_blocking_thread(move || {
            let ended = tails.iter_mut().try_for_each(|tail| tail.advance(&sender));
            (tails, ended)
        })
        .await;
        tails = read;
        if ended.is_err() {
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            () = notified => {}
            () = tokio::time::sleep(period) => {}
        }
    }
}

/// Watches on the folders of the files; ended when dropped.
struct Watch {
    _watcher: Option<notify::RecommendedWatcher>,
    /// Whether every folder is watched.
    is_complete: bool,
}

impl Watch {
    fn start<'a>(paths: impl Iterator<Item = &'a Path>, changed: &Arc<Notify>) -> Self {
        let mut names = BTreeSet::new();
        let mut folders = BTreeSet::new();
        for path in paths {
            names.extend(path.file_name().map(ToOwned::to_owned));
            folders.extend(path.parent().map(ToOwned::to_owned));
        }
        let tell = Arc::clone(changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let concerns = match &event {
                // Reading a file is an event as well, and our own reads would wake us for ever.
                Ok(event) if event.kind.is_access() => false,
                Ok(event) => event
                    .paths
                    .iter()
                    .any(|p| p.file_name().is_some_and(|n| names.contains(n))),
                Err(_) => true,
            };
            if concerns {
                tell.notify_one();
            }
        });
        let Ok(mut watcher) = watcher else {
            return Self {
                _watcher: None,
                is_complete: false,
            };
        };
        let mut is_complete = true;
        for folder in &folders {
            is_complete &= watcher.watch(folder, RecursiveMode::NonRecursive).is_ok();
        }
        Self {
            _watcher: Some(watcher),
            is_complete,
        }
    }
}

#[cfg(test)]
mod tests;
