//! What happened lately: checkpoints, operations, and what the services' own state tells (recreations).

use super::{Context, OpsError};
use crate::domain::timeline::TimelineEvent;

/// The newest events, the oldest first, at most `limit`.
///
/// # Errors
/// The state folder cannot be read.
pub fn recent(_ctx: &Context, _limit: usize) -> Result<Vec<TimelineEvent>, OpsError> {
    todo!("store")
}
