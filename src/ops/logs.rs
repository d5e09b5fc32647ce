//! Reads the logs of a service.

pub(super) mod skew;

use jiff::{SignedDuration, Timestamp, Zoned};
use regex::bytes::Regex;
use tokio::sync::mpsc;

use self::skew::Skew;
use super::services::{failed, host_of};
use super::{Context, OpsError};
use crate::analysis::parse;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::{
    FileHits, LogEvent, LogNote, LogPage, LogPosition, LogRequest, PageRequest, Passage,
};
use crate::domain::service::{Service, ServiceId};
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
    read_with(ctx, service, request, to, None).await
}

/// What comes of a machine whose clock is not ours is put on our clock, and a note says so first.
async fn read_with(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
    pattern: Option<&Regex>,
) -> Result<(), OpsError> {
    let host = host_of(ctx, &service.id)?;
    let settings = ctx.config.service(&service.id);
    let read = async |request: &LogRequest, to| match pattern {
        Some(pattern) => {
            runtime::read_matching(host, service, &settings, request, pattern, to).await
        }
        None => runtime::read_logs(host, service, &settings, request, to).await,
    };
    let read = match Skew::of(host).await {
        None => read(request, to).await,
        Some(skew) => {
            let note = LogEvent::Note(skew.note(host, &service.id));
            if to.send(note).await.is_err() {
                return Ok(());
            }
            let (raw, from) = mpsc::channel(1);
            let request = skew.ask(request);
            tokio::join!(read(&request, raw), skew.hand_on(from, to)).0
        }
    };
    read.map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
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
    read_with(ctx, service, request, to, Some(pattern)).await
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
    let skew = Skew::of(host).await;
    let asked = skew.map(|skew| skew.ask_page(request));
    let page = runtime::read_page(host, service, &settings, asked.as_ref().unwrap_or(request))
        .await
        .map_err(|e| failed(format!("cannot read more of the log of {}", service.id), e))?;
    Ok(match skew {
        Some(skew) => skew.page(page),
        None => page,
    })
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
    /// How far the clock is ahead by which the lines themselves tell the time.
    ahead: SignedDuration,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            times: TimeReader::new(&Zoned::now()),
            last: None,
            ahead: SignedDuration::ZERO,
        }
    }
}

impl Clock {
    /// Learns from a note that the lines are of another clock than ours.
    pub fn hear(&mut self, note: &LogNote) {
        self.ahead = note.ahead().unwrap_or(self.ahead);
    }

    /// The time of the next line; `None` where no line has said one yet.
    pub fn read(&mut self, at: Option<Timestamp>, text: &[u8]) -> Option<Timestamp> {
        let at = at.or_else(|| {
            let said = parse::read_line(text, &mut self.times).at?;
            said.checked_sub(self.ahead).ok()
        });
        self.last = at.or(self.last);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::LogNoteKind;
    use crate::domain::service::ServiceId;

    #[test]
    fn a_line_that_tells_its_time_is_put_on_our_clock() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let mut clock = Clock::default();
        clock.hear(&LogNote {
            kind: LogNoteKind::Clock,
            service: ServiceId::local("shop", "api"),
            from: at("2026-11-26T04:00:00Z"),
            to: at("2026-11-26T04:00:40Z"),
            lines: None,
            detail: "".into(),
        });
        let text = b"2026-11-26T04:10:40Z ERROR payment failed";
        assert_eq!(clock.read(None, text), at("2026-11-26T04:10:00Z"));
        // The runtime's times are corrected where they come in.
        let given = at("2026-11-26T04:11:00Z");
        assert_eq!(clock.read(given, text), given);
    }
}
