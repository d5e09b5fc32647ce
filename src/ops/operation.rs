//! Plans and their execution: the one way by which a machine is changed.

use tokio::sync::mpsc;

use super::{Context, OpsError};
use crate::domain::operation::{Operation, Plan};
use crate::domain::outcome::{Outcome, Progress};

/// The engineer's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The hash of the plan that was shown.
    pub plan_hash: String,
    /// The name that was typed, where the plan asks for one.
    pub typed: Option<String>,
}

/// Asks the host and says exactly what would be done. Changes nothing.
///
/// # Errors
/// Unknown service, nothing to roll back to ([`super::ErrorKind::No`]), unreachable host, unsupported runtime.
pub async fn plan(_ctx: &Context, _operation: &Operation) -> Result<Plan, OpsError> {
    todo!("store")
}

/// Carries out a confirmed plan: lease, audit intent, journal, fingerprints re-checked before each step,
/// compensation, verification, audit outcome. Progress is told as it happens; a slow listener does not slow it.
///
/// # Errors
/// Refused before the first step (read-only, not confirmed, stale plan, lease held): nothing was changed. Once a
/// step has begun the result is an [`Outcome`], whatever happens.
pub async fn execute(
    _ctx: &Context,
    _plan: &Plan,
    _confirmation: &Confirmation,
    _progress: mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    todo!("store")
}
