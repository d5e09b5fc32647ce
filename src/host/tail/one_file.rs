//! One file of a read: where it starts, and how reading goes on through rotation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::grep;
use super::lines::start_of_last;
use super::outlet::Outlet;
use super::rotated;
use super::source::{Closed, Look, Origin, ReadEnd, Source};
use super::stream::{Once, is_once};
use super::window::Filter;
use crate::analysis::line_pattern::LinePattern;
use crate::domain::log::{LogBlock, LogNoteKind, LogPosition, LogRequest};

/// A program may write to the renamed file until it is told to reopen its log; so long the old file is read on.
const DRAIN: Duration = Duration::from_secs(60);

/// One file of a read.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) path: PathBuf,
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
    /// All of it is read: it was one that ends.
    pub(super) is_done: bool,
    /// Lines of a closed read that do not match may be left out.
    pub(super) pattern: Option<Arc<LinePattern>>,
}

impl Tail {
    pub(super) fn new(path: PathBuf, request: &LogRequest) -> Self {
        let from = request.from.iter().find(|p| p.path == path).cloned();
        Self {
            path,
            from,
            last_lines: request.tail,
            filter: Filter::new(request.window),
            end: None,
            source: None,
            previous: None,
            told: None,
            is_started: false,
            is_done: false,
            pattern: None,
        }
    }

    /// A file that appeared during a follow: nothing of it was there before, so all of it is new.
    pub(super) fn appeared(path: PathBuf) -> Self {
        Self::new(path, &LogRequest::default())
    }

    /// Whether this very file, by device and inode, is being read here.
    pub(super) fn reads(&self, identity: (u64, u64)) -> bool {
        let previous = self.previous.iter().map(|(source, _)| source);
        self.source
            .iter()
            .chain(previous)
            .any(|source| source.identity() == identity)
    }

    /// Reads the file to its end, or to that of the window.
    pub(super) fn read_closed(&mut self, out: &mut Outlet) -> Result<(), ReadEnd> {
        if is_once(&self.path)? {
            return self.read_once(out);
        }
        let mut source = self.start(out)?;
        let length = source.length()?;
        let end = self.end.unwrap_or(length);
        if let Some(pattern) = &self.pattern
            && self.filter.is_none()
        {
            let range = source.offset()..end;
            return grep::read(source.file(), source.origin(), range, pattern, out);
        }
        let mut emit = emitter(&mut self.filter, out);
        source.read_to(end, &mut emit)?;
        source.finish(&mut emit)
    }

    /// Reads a source that can only be read from its start.
    fn read_once(&mut self, out: &mut Outlet) -> Result<(), ReadEnd> {
        self.is_done = true;
        Once::open(&self.path)?.read(&mut self.filter, self.last_lines, out)
    }

    /// Opens the file where the request starts. What lies in rotated files is sent on the way.
    fn start(&mut self, out: &mut Outlet) -> Result<Source, ReadEnd> {
        let mut offset = 0;
        let is_resumed = self.from.is_some();
        if let Some(position) = self.from.clone() {
            let resumed = rotated::resume(&self.path, &position)?;
            if let Some(gap) = &resumed.gap {
                out.note(LogNoteKind::Gap, gap)?;
            }
            for (path, start) in &resumed.rotated {
                self.read_rotated(path, *start, out)?;
                out.rotated(path, &self.path)?;
            }
            // The rotated files are sent: whatever happens next must not send them again.
            self.from = None;
            offset = resumed.offset;
        }
        // Opened before the rotated files are looked for: the file itself may be rotated while they are read.
        let mut source = Source::open(&self.path)?;
        if let Some(filter) = &self.filter
            && let Some(since) = filter.since()
            && self.last_lines.is_none()
            && !is_resumed
        {
            let history = rotated::history(&self.path, source.file(), since, filter.times())?;
            if let Some(gap) = &history.gap {
                out.note(LogNoteKind::Gap, gap)?;
            }
            self.read_history(&history.files, out)?;
        }
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

    /// Sends what rotated files hold of the window, oldest first, once.
    fn read_history(&mut self, files: &[PathBuf], out: &mut Outlet) -> Result<(), ReadEnd> {
        for path in files {
            let sent = match is_once(path)? {
                true => Once::open(path)?.read(&mut self.filter, None, out),
                false => self.read_rotated(path, 0, out),
            };
            match sent {
                Ok(()) => out.rotated(path, &self.path)?,
                Err(ReadEnd::Closed) => return Err(ReadEnd::Closed),
                Err(ReadEnd::Io(error)) => {
                    let detail = format!("{}: {error}", path.display());
                    out.note(LogNoteKind::Gap, &detail)?;
                }
            }
        }
        Ok(())
    }

    fn read_rotated(&mut self, path: &Path, start: u64, out: &mut Outlet) -> Result<(), ReadEnd> {
        let mut old = Source::open(path)?;
        let (mut start, mut end) = (start, old.length()?);
        if let Some(filter) = &self.filter
            && start < end
        {
            (start, end) = filter.range(old.file(), start, end)?;
        }
        old.seek(start)?;
        let mut emit = emitter(&mut self.filter, out);
        old.read_to(end, &mut emit)?;
        old.finish(&mut emit)
    }

    /// Reads whatever is new. Failures are told once each and tried again at the next look.
    pub(super) fn advance(&mut self, out: &mut Outlet) -> Result<(), Closed> {
        match self.try_advance(out) {
            Ok(()) => Ok(()),
            Err(ReadEnd::Closed) => Err(Closed),
            Err(ReadEnd::Io(error)) => {
                let cause = match error.kind() {
                    io::ErrorKind::NotFound => {
                        format!("waiting for {}: no such file", self.path.display())
                    }
                    _ => format!("{}: {error}", self.path.display()),
                };
                if self.is_done {
                    return out.note(LogNoteKind::Gap, &cause);
                }
                if self.told.as_deref() != Some(&cause) {
                    out.note(LogNoteKind::Reconnecting, &cause)?;
                    self.told = Some(cause);
                }
                Ok(())
            }
        }
    }

    fn try_advance(&mut self, out: &mut Outlet) -> Result<(), ReadEnd> {
        if let Some((previous, since)) = &mut self.previous {
            let mut emit = emitter(&mut self.filter, out);
            previous.read_to(previous.length()?, &mut emit)?;
            if since.elapsed() > DRAIN {
                previous.finish(&mut emit)?;
                self.previous = None;
            }
        }
        if self.source.is_none() && !self.open(out)? {
            return Ok(());
        }
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        let mut look = source.look(&self.path)?;
        if look == Look::Truncated {
            self.restart(out)?;
            look = Look::Same;
        }
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        source.read_to(source.length()?, &mut emitter(&mut self.filter, out))?;
        if look == Look::Replaced {
            let next = Source::open(&self.path)?;
            if let Some(old) = self.source.replace(next)
                && let Some((mut older, _)) = self.previous.replace((old, Instant::now()))
            {
                older.finish(&mut emitter(&mut self.filter, out))?;
            }
            let detail = format!("{} was replaced by a new file", self.path.display());
            out.note(LogNoteKind::Rotated, &detail)?;
            if let Some(source) = &mut self.source {
                source.read_to(source.length()?, &mut emitter(&mut self.filter, out))?;
            }
        }
        Ok(())
    }

    /// Opens the file of a follow for the first time, or again after it was gone; `false` where it is one that ends,
    /// and all of it is sent.
    fn open(&mut self, out: &mut Outlet) -> Result<bool, ReadEnd> {
        if !self.is_started && is_once(&self.path)? {
            self.read_once(out)?;
            return Ok(false);
        }
        let source = if self.is_started {
            Source::open(&self.path)?
        } else {
            // A file that appears later is read from its start: nothing of it was there before.
            let is_late = self.told.is_some();
            if is_late {
                self.last_lines = None;
            }
            self.start(out)?
        };
        if self.told.take().is_some() {
            let detail = format!("{} is there", self.path.display());
            out.note(LogNoteKind::Reconnected, &detail)?;
        }
        self.source = Some(source);
        Ok(true)
    }

    /// Starts a truncated file over. What was written to it after our last look stands in the copy that was made
    /// before (`copytruncate`), where one was.
    fn restart(&mut self, out: &mut Outlet) -> Result<(), ReadEnd> {
        let Some(mut old) = self.source.take() else {
            return Ok(());
        };
        let mut emit = emitter(&mut self.filter, out);
        let mut copy = None;
        for file in rotated::siblings(&self.path)?.into_iter().rev() {
            if old.go_on_in_copy(&file.path).unwrap_or(false) {
                old.read_to(old.length()?, &mut emit)?;
                copy = Some(file.path);
                break;
            }
        }
        old.finish(&mut emit)?;
        drop(emit);
        let path = self.path.display();
        let detail = match copy {
            Some(copy) => format!("{path} was truncated, {} holds what it was", copy.display()),
            None => {
                format!("{path} was truncated: what was written just before that may be missing")
            }
        };
        out.note(LogNoteKind::Rotated, &detail)?;
        self.source = Some(Source::open(&self.path)?);
        Ok(())
    }
}

/// Sends what the filter lets through.
fn emitter<'a>(
    filter: &'a mut Option<Filter>,
    out: &'a mut Outlet,
) -> impl FnMut(&Arc<Origin>, LogBlock) -> Result<(), Closed> + 'a {
    move |origin, mut block| {
        if let Some(filter) = filter {
            filter.apply(&mut block);
        }
        out.block(origin, block)
    }
}
