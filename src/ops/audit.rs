//! The audit log, read and checked.

use super::{Context, OpsError};
use crate::audit::Intent;
use crate::domain::host::HostName;
use crate::domain::outcome::{AuditPhase, AuditRecord};
use crate::domain::service::ServiceId;

pub use crate::audit::Head;

/// Every record, the oldest first.
///
/// # Errors
/// The log cannot be read.
pub fn list(ctx: &Context) -> Result<Vec<AuditRecord>, OpsError> {
    Ok(ctx.audit().list()?)
}

/// Records that somebody has the secrets in the logs of these services shown.
///
/// # Errors
/// The log cannot be written; then they are not to be shown.
pub fn note_reveal(ctx: &Context, services: Vec<ServiceId>) -> Result<(), OpsError> {
    let intent = Intent {
        operation: "secrets".to_owned(),
        host: HostName::local(),
        services,
        plan_hash: String::new(),
        steps: Vec::new(),
    };
    Ok(ctx
        .audit()
        .note(AuditPhase::Revealed, &intent, &ctx.actor)?)
}

/// Walks the hash chain. With an anchor, a head hash that a report printed, the log must still contain it.
///
/// # Errors
/// A record that does not agree with its hash or with its neighbour ([`super::ErrorKind::No`], with file and line).
pub fn verify(ctx: &Context, anchor: Option<&str>) -> Result<Head, OpsError> {
    Ok(ctx.audit().verify(anchor)?)
}
