//! Reads the logs of a service.

use jiff::{SignedDuration, Timestamp, Zoned};
use regex::bytes::Regex;
use tokio::sync::mpsc;

use super::services::{failed, host_of};
use super::{Context, OpsError};
use crate::analysis::parse;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::{
    FileHits, LogEvent, LogNote, LogNoteKind, LogPage, LogPosition, LogRequest, PageRequest,
    Passage,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::host::Host;
use crate::runtime;

pub use crate::host::tail::FileSearch;

/// Sends what was asked for, in the order of the source. With `follow` it goes on through restarts, recreation
/// and lost links, telling each as a note, until nobody listens. Back-pressure: a full channel makes the source
/// wait, nothing is dropped here.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), OpsError> {
    let host = host_of(ctx, &service.id)?;
    if let Some(note) = clock_note(host, &service.id).await
        && to.send(LogEvent::Note(note)).await.is_err()
    {
        return Ok(());
    }
    let settings = ctx.config.service(&service.id);
    runtime::read_logs(host, service, &settings, request, to)
        .await
        .map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
}

/// A clock that is wrong by less is not told: nobody misreads it.
const TOLD_FROM: SignedDuration = SignedDuration::from_secs(1);

/// What is to be said of the clock of another machine: lines of two machines stand in the order of their times.
async fn clock_note(host: &Host, service: &ServiceId) -> Option<LogNote> {
    let ahead = host.ahead().await?;
    if ahead.abs() < TOLD_FROM {
        return None;
    }
    let now = Timestamp::now();
    let word = if ahead.is_negative() {
        "behind"
    } else {
        "ahead of"
    };
    let seconds = ahead.unsigned_abs().as_secs_f64();
    let detail = format!("the clock of {} is {seconds:.1} s {word} ours", host.name());
    Some(LogNote {
        kind: LogNoteKind::Clock,
        service: service.clone(),
        from: Some(now),
        to: now.checked_add(ahead).ok(),
        lines: None,
        detail: SafeText::from_text(&detail),
    })
}

/// Reads a closed log whose lines are only wanted where they match. What comes may hold others too, such as the lines
/// above a line of a stack trace, which tell its level; none that matches is left out. On a plain file this costs little
/// more than reading it.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read_matching(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    pattern: &Regex,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    runtime::read_matching(host, service, &settings, request, pattern, to)
        .await
        .map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
}

/// Reads a part of a service's log again.
///
/// # Errors
/// The source is away, or cannot be asked for a part.
pub async fn page(
    ctx: &Context,
    service: &Service,
    request: &PageRequest,
) -> Result<LogPage, OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    runtime::read_page(host, service, &settings, request)
        .await
        .map_err(|e| failed(format!("cannot read more of the log of {}", service.id), e))
}

/// Searches a part of a log file in place, block by block, and sends where lines match; without an expression it counts
/// lines. Ends at once when nobody listens any more. Files are those that [`LogEvent::Opened`] names.
///
/// # Errors
/// The file is gone, is compressed, was truncated meanwhile, or cannot be read.
pub async fn search_file(
    ctx: &Context,
    service: &ServiceId,
    search: FileSearch,
    to: mpsc::Sender<FileHits>,
) -> Result<(), OpsError> {
    host_of(ctx, service)?;
    runtime::search_file(service, search, to)
        .await
        .map_err(|e| failed(format!("cannot search the log of {service}"), e))
}

/// Looks a part of a log file through for a filter, passage by passage: the lines that match an expression are
/// candidates, without one every line is. Whether a record passes is decided on what comes. Ends at once when nobody
/// listens any more.
///
/// # Errors
/// The file is gone, is compressed, was truncated meanwhile, or cannot be read.
pub async fn sift_file(
    ctx: &Context,
    service: &ServiceId,
    search: FileSearch,
    to: mpsc::Sender<Passage>,
) -> Result<(), OpsError> {
    host_of(ctx, service)?;
    runtime::sift_file(service, search, to)
        .await
        .map_err(|e| failed(format!("cannot filter the log of {service}"), e))
}

/// Where the first line of a log file begins that was written at or after an instant; the file's length where there is
/// none.
///
/// # Errors
/// The file is gone or cannot be read.
pub async fn place_at(
    ctx: &Context,
    service: &ServiceId,
    file: &LogPosition,
    at: Timestamp,
) -> Result<u64, OpsError> {
    host_of(ctx, service)?;
    runtime::place_at(service, file, at)
        .await
        .map_err(|e| failed(format!("cannot look for a time in the log of {service}"), e))
}

/// Reads the time of each line of one service, in order: the runtime's, else the one that the line says, else that of
/// the line before.
#[derive(Debug)]
pub struct Clock {
    times: TimeReader,
    last: Option<Timestamp>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            times: TimeReader::new(&Zoned::now()),
            last: None,
        }
    }
}

impl Clock {
    /// The time of the next line; `None` where no line has said one yet.
    pub fn read(&mut self, at: Option<Timestamp>, text: &[u8]) -> Option<Timestamp> {
        let at = at.or_else(|| parse::read_line(text, &mut self.times).at);
        self.last = at.or(self.last);
        self.last
    }
}
