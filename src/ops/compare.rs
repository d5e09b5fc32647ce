//! What the deploy changed, and the verdict.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::{Context, OpsError};
use crate::domain::comparison::Comparison;
use crate::domain::outcome::Progress;

/// Compares two sides, service by service where both have services, and judges.
///
/// # Errors
/// An input that cannot be read. Missing data is not an error: it makes the verdict inconclusive.
pub async fn compare(
    _ctx: &Context,
    _before: &Input,
    _after: &Input,
    _service: Option<&str>,
    _progress: mpsc::Sender<Progress>,
    _cancel: CancellationToken,
) -> Result<Comparison, OpsError> {
    todo!("analysis")
}
