//! Log files of a machine behind ssh, read in place by parts.
//!
//! A place in a file is its inode and a byte offset, there as here. So a lost link costs nothing: reading goes on where it
//! was, with no line lost and none doubled. Only new bytes travel. Lines have no places of ours: nothing of such a file can
//! be searched where it stands.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::{memchr, memrchr};
use tokio::sync::mpsc;

use super::lines::LineSplitter;
use super::window::Filter;
use super::{TailError, check, is_pattern, positions, read_files};
use crate::analysis::parse::read_line;
use crate::domain::log::{
    LogBlock, LogEvent, LogNote, LogNoteKind, LogPosition, LogRequest, Stream,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::ssh::{Piece, Session};
use crate::host::{Host, HostError};

/// How much is asked for at once.
const PIECE: u64 = 256 * 1024;
/// How far a look for a line's end or time goes.
const PROBE: u64 = 64 * 1024;
/// Between two looks at files that are followed.
const POLL: Duration = Duration::from_millis(400);
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// A closed read waits so long for a lost link.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the lines of the files of a machine, as [`read_files`] does of this one. Of another machine a window in time or
/// a position reaches back to the last rotated file (`app.log.1`) at most; what it does not reach is told as a gap.
///
/// # Errors
/// As [`read_files`].
pub async fn read_on(
    host: &Host,
    service: &ServiceId,
    paths: &[PathBuf],
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let Host::Ssh(session) = host else {
        return read_files(service, paths, request, to).await;
    };
    let mut files: Vec<Remote> = Vec::new();
    let out = Out {
        service: service.clone(),
        to,
    };
    for path in paths {
        if is_pattern(path) {
            let why = io::Error::new(
                io::ErrorKind::Unsupported,
                "a pattern is not looked for on another machine: name the files",
            );
            return Err(TailError::new(path, why));
        }
        files.push(Remote::new(Arc::clone(session), path.clone(), request));
    }
    match request.follow {
        true => follow(files, out).await,
        false => read_closed(files, out).await,
    }
}

/// Where each file ends, as [`positions`] says it of this machine's.
///
/// # Errors
/// A file is there and cannot be read, or the machine cannot be reached.
pub async fn positions_on(host: &Host, paths: &[PathBuf]) -> Result<Vec<LogPosition>, TailError> {
    let Host::Ssh(session) = host else {
        return positions(paths).await;
    };
    let mut all = Vec::new();
    for path in paths {
        match position(session, path).await {
            Ok(found) => all.push(found),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(TailError::new(path, io::Error::other(error))),
        }
    }
    Ok(all)
}

async fn position(session: &Session, path: &Path) -> Result<LogPosition, HostError> {
    let mut look = session.read_piece(path, 0, 0).await?;
    let mut upper = look.size;
    let inode = look.inode;
    while upper > 0 {
        let from = upper.saturating_sub(PROBE);
        look = session.read_piece(path, from, upper - from).await?;
        if let Some(at) = memrchr(b'\n', &look.bytes) {
            upper = from + at as u64 + 1;
            break;
        }
        upper = from;
    }
    Ok(LogPosition {
        path: path.to_owned(),
        inode,
        offset: upper,
    })
}

/// Which files can be read now, as [`check`] says it of this machine's.
pub async fn check_on(host: &Host, paths: &[PathBuf]) -> Vec<(PathBuf, io::Result<()>)> {
    let Host::Ssh(session) = host else {
        return check(paths).await;
    };
    let mut all = Vec::new();
    for path in paths {
        let found = match session.read_piece(path, 0, 0).await {
            Ok(_) => Ok(()),
            Err(HostError::File { source, .. }) => Err(source),
            Err(error) => Err(io::Error::other(SafeText::from_error(&error).to_string())),
        };
        all.push((path.clone(), found));
    }
    all
}

/// Nobody listens any more.
struct Closed;

struct Out {
    service: ServiceId,
    to: mpsc::Sender<LogEvent>,
}

impl Out {
    async fn note(&self, kind: LogNoteKind, detail: &str) -> Result<(), Closed> {
        let note = LogNote {
            kind,
            service: self.service.clone(),
            from: None,
            to: None,
            lines: None,
            detail: SafeText::from_text(detail),
        };
        let sent = self.to.send(LogEvent::Note(note)).await;
        sent.map_err(|_| Closed)
    }

    async fn block(&self, block: LogBlock) -> Result<(), Closed> {
        if block.is_empty() {
            return Ok(());
        }
        let sent = self.to.send(LogEvent::Block(block)).await;
        sent.map_err(|_| Closed)
    }
}

/// Why reading stopped.
enum End {
    Closed,
    Host(HostError),
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<HostError> for End {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

/// One file of a read.
struct Remote {
    session: Arc<Session>,
    path: PathBuf,
    from: Option<LogPosition>,
    last_lines: Option<u64>,
    filter: Option<Filter>,
    splitter: LineSplitter,
    inode: u64,
    offset: u64,
    is_started: bool,
    was_missing: bool,
    /// Why it cannot be read now, once that was told.
    told: Option<String>,
}

impl Remote {
    fn new(session: Arc<Session>, path: PathBuf, request: &LogRequest) -> Self {
        Self {
            from: request.from.iter().find(|p| p.path == path).cloned(),
            session,
            path,
            last_lines: request.tail,
            filter: Filter::new(request.window),
            splitter: LineSplitter::new(Stream::Stdout),
            inode: 0,
            offset: 0,
            is_started: false,
            was_missing: false,
            told: None,
        }
    }

    async fn piece(&self, path: &Path, offset: u64, max: u64) -> Result<Piece, HostError> {
        self.session.read_piece(path, offset, max).await
    }

    /// Sends what a piece holds of whole lines.
    async fn take(&mut self, bytes: &[u8], out: &Out) -> Result<(), Closed> {
        let mut blocks = Vec::new();
        let mut block = LogBlock::default();
        let _ = self.splitter.split(bytes, &mut block, |full| {
            blocks.push(std::mem::take(full));
            Ok::<_, std::convert::Infallible>(())
        });
        blocks.push(block);
        for mut block in blocks {
            if let Some(filter) = &mut self.filter {
                filter.apply(&mut block);
            }
            out.block(block).await?;
        }
        Ok(())
    }

    /// Ends a line that has no end.
    async fn finish(&mut self, out: &Out) -> Result<(), Closed> {
        let mut block = LogBlock::default();
        self.splitter.finish(&mut block);
        if let Some(filter) = &mut self.filter {
            filter.apply(&mut block);
        }
        out.block(block).await
    }

    /// The file that this one was before a rotation, if it stands under the usual name.
    fn rotated(&self) -> PathBuf {
        let mut path = self.path.clone();
        path.as_mut_os_string().push(".1");
        path
    }

    /// Looks where reading has to begin. Nothing was read before; what a rotated file holds is sent on the way.
    async fn start(&mut self, out: &Out) -> Result<(), End> {
        let look = self.piece(&self.path, 0, 0).await?;
        self.inode = look.inode;
        self.offset = 0;
        if let Some(position) = self.from.clone() {
            if position.inode == look.inode && position.offset <= look.size {
                self.offset = position.offset;
            } else {
                self.resume_rotated(&position, out).await?;
                self.offset = 0;
            }
            self.from = None;
        } else if let Some(lines) = self.last_lines {
            self.offset = self.start_of_last(lines, look.size).await?;
        } else if let Some(since) = self.filter.as_ref().and_then(Filter::since) {
            self.offset = self.bisect(since, look.size).await?;
        }
        self.is_started = true;
        Ok(())
    }

    /// Reads on in the file that was rotated away since a position was taken.
    async fn resume_rotated(&mut self, position: &LogPosition, out: &Out) -> Result<(), End> {
        let rotated = self.rotated();
        let is_it = match self.piece(&rotated, 0, 0).await {
            Ok(look) => look.inode == position.inode && position.offset <= look.size,
            Err(error @ HostError::Lost { .. }) => return Err(error.into()),
            Err(_) => false,
        };
        let path = self.path.display().to_string();
        if !is_it {
            let detail = format!(
                "{path} was rotated or truncated since, and {} is not what it was: lines in between may be missing",
                rotated.display()
            );
            return Ok(out.note(LogNoteKind::Gap, &detail).await?);
        }
        self.drain(&rotated, position.offset, out).await?;
        let detail = format!("{} goes on in {path}", rotated.display());
        Ok(out.note(LogNoteKind::Rotated, &detail).await?)
    }

    /// Sends the rest of a file that nobody writes to any more.
    async fn drain(&mut self, path: &Path, offset: u64, out: &Out) -> Result<(), End> {
        let mut at = offset;
        loop {
            let piece = self.piece(path, at, PIECE).await?;
            if piece.bytes.is_empty() {
                return Ok(self.finish(out).await?);
            }
            at += piece.bytes.len() as u64;
            // If the link is lost here, it goes on from here.
            self.offset = at;
            if let Some(from) = &mut self.from {
                from.offset = at;
            }
            self.take(&piece.bytes, out).await?;
        }
    }

    /// Where the last so many lines begin.
    async fn start_of_last(&self, lines: u64, size: u64) -> Result<u64, HostError> {
        let mut wanted = lines;
        let mut upper = size;
        let mut is_first = true;
        while upper > 0 && wanted > 0 {
            let from = upper.saturating_sub(PROBE);
            let piece = self.piece(&self.path, from, upper - from).await?;
            let mut rest = piece.bytes.as_slice();
            // The break that ends the last line separates it from nothing.
            if std::mem::take(&mut is_first) {
                rest = rest.strip_suffix(b"\n").unwrap_or(rest);
            }
            while let Some(at) = memrchr(b'\n', rest) {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(from + at as u64 + 1);
                }
                rest = &rest[..at];
            }
            upper = from;
        }
        Ok(if lines == 0 { size } else { 0 })
    }

    /// The start of a line before which every line is earlier than an instant, as far as lines have times in order.
    async fn bisect(&self, at: jiff::Timestamp, size: u64) -> Result<u64, HostError> {
        let (mut low, mut high) = (0, size);
        while high - low > 2 * PROBE {
            let middle = low + (high - low) / 2;
            match self.first_time_after(middle).await? {
                Some((line, time)) if time < at => low = line,
                Some((line, _)) if line < high => high = line,
                _ => break,
            }
        }
        Ok(low)
    }

    async fn first_time_after(
        &self,
        offset: u64,
    ) -> Result<Option<(u64, jiff::Timestamp)>, HostError> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let mut times = filter.times().clone();
        let piece = self.piece(&self.path, offset, PROBE).await?;
        let bytes = piece.bytes.as_slice();
        let Some(first) = memchr(b'\n', bytes) else {
            return Ok(None);
        };
        let mut start = first + 1;
        while let Some(length) = memchr(b'\n', &bytes[start..]) {
            if let Some(at) = read_line(&bytes[start..start + length], &mut times).at {
                return Ok(Some((offset + start as u64, at)));
            }
            start += length + 1;
        }
        Ok(None)
    }

    /// Reads to where the file ends when its turn comes.
    async fn read_to_end(&mut self, out: &Out) -> Result<(), End> {
        if !self.is_started {
            self.start(out).await?;
        }
        let end = self.piece(&self.path, 0, 0).await?.size;
        while self.offset < end {
            let max = PIECE.min(end - self.offset);
            let piece = self.piece(&self.path, self.offset, max).await?;
            if piece.inode != self.inode || piece.bytes.is_empty() {
                let detail = format!("{} was rotated while it was read", self.path.display());
                out.note(LogNoteKind::Gap, &detail).await?;
                break;
            }
            self.offset += piece.bytes.len() as u64;
            self.take(&piece.bytes, out).await?;
        }
        Ok(self.finish(out).await?)
    }

    /// Reads what is new; whether there was anything.
    async fn advance(&mut self, out: &Out) -> Result<bool, End> {
        if !self.is_started {
            // One that was waited for is new from its start.
            if self.was_missing {
                self.last_lines = None;
            }
            self.start(out).await?;
        }
        let piece = self.piece(&self.path, self.offset, PIECE).await?;
        if self.told.take().is_some() {
            let detail = format!("{} can be read", self.path.display());
            out.note(LogNoteKind::Reconnected, &detail).await?;
        }
        if piece.inode != self.inode {
            let rotated = self.rotated();
            let was = self.piece(&rotated, 0, 0).await;
            let is_it = was.is_ok_and(|was| was.inode == self.inode && was.size >= self.offset);
            if is_it {
                self.drain(&rotated, self.offset, out).await?;
            } else {
                self.finish(out).await?;
            }
            let detail = format!(
                "{} was replaced by a new file{}",
                self.path.display(),
                match is_it {
                    true => "",
                    false => ": what was written just before that may be missing",
                }
            );
            out.note(LogNoteKind::Rotated, &detail).await?;
            (self.inode, self.offset) = (piece.inode, 0);
            return Ok(true);
        }
        if piece.size < self.offset {
            self.finish(out).await?;
            let detail = format!(
                "{} was truncated: what was written just before that may be missing",
                self.path.display()
            );
            out.note(LogNoteKind::Rotated, &detail).await?;
            self.offset = 0;
            return Ok(true);
        }
        self.offset += piece.bytes.len() as u64;
        self.take(&piece.bytes, out).await?;
        Ok(!piece.bytes.is_empty())
    }
}

async fn read_closed(files: Vec<Remote>, out: Out) -> Result<(), TailError> {
    let count = files.len();
    let mut failures = Vec::new();
    for mut file in files {
        let deadline = Instant::now() + PATIENCE;
        let error = loop {
            match file.read_to_end(&out).await {
                Ok(()) => break None,
                Err(End::Closed) => return Ok(()),
                Err(End::Host(HostError::Lost { .. })) if Instant::now() < deadline => {
                    tokio::time::sleep(FIRST_WAIT).await;
                }
                Err(End::Host(error)) => break Some(error),
            }
        };
        failures.extend(error.map(|error| {
            let source = match error {
                HostError::File { source, .. } => source,
                error => io::Error::other(SafeText::from_error(&error).to_string()),
            };
            TailError::new(file.path, source)
        }));
    }
    if failures.len() == count
        && let Some(first) = failures.pop()
    {
        return Err(first);
    }
    for failure in failures {
        let detail = format!("{}: {}", failure.path.display(), failure.source);
        if out.note(failure.kind(), &detail).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn follow(mut files: Vec<Remote>, out: Out) -> Result<(), TailError> {
    let mut wait = FIRST_WAIT;
    // It is open, though nothing may come for long.
    if out
        .to
        .send(LogEvent::Block(LogBlock::default()))
        .await
        .is_err()
    {
        return Ok(());
    }
    loop {
        let mut has_more = false;
        let mut is_lost = false;
        for file in &mut files {
            match file.advance(&out).await {
                Ok(more) => has_more |= more,
                Err(End::Closed) => return Ok(()),
                Err(End::Host(error)) => {
                    is_lost |= error.is_lost();
                    file.was_missing |= error.is_not_found();
                    let cause = match &error {
                        HostError::File { source, .. } => {
                            format!("{}: {source}", file.path.display())
                        }
                        error => SafeText::from_error(error).to_string(),
                    };
                    if file.told.is_none() {
                        let told = out.note(LogNoteKind::Reconnecting, &cause).await;
                        if told.is_err() {
                            return Ok(());
                        }
                        file.told = Some(cause);
                    }
                }
            }
        }
        let pause = match (is_lost, has_more) {
            (true, _) => {
                wait = (wait * 2).min(LONGEST_WAIT);
                wait
            }
            (false, true) => Duration::ZERO,
            (false, false) => {
                wait = FIRST_WAIT;
                POLL
            }
        };
        tokio::select! {
            () = out.to.closed() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}
