//! Reads the logs of a service.

use tokio::sync::mpsc;

use super::{Context, OpsError};
use crate::domain::log::{LogEvent, LogRequest};
use crate::domain::service::Service;

/// Sends what was asked for, in the order of the source. With `follow` it goes on through restarts, recreation
/// and lost links, telling each as a note, until nobody listens. Back-pressure: a full channel makes the source
/// wait, nothing is dropped here.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read(
    _ctx: &Context,
    _service: &Service,
    _request: &LogRequest,
    _to: mpsc::Sender<LogEvent>,
) -> Result<(), OpsError> {
    todo!("runtime")
}
