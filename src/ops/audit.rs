//! The audit log, read and checked.

use super::{Context, OpsError};
use crate::domain::outcome::AuditRecord;

pub use crate::audit::Head;

/// Every record, the oldest first.
///
/// # Errors
/// The log cannot be read.
pub fn list(ctx: &Context) -> Result<Vec<AuditRecord>, OpsError> {
    Ok(ctx.audit().list()?)
}

/// Walks the hash chain. With an anchor, a head hash that a report printed, the log must still contain it.
///
/// # Errors
/// A record that does not agree with its hash or with its neighbour ([`super::ErrorKind::No`], with file and line).
pub fn verify(ctx: &Context, anchor: Option<&str>) -> Result<Head, OpsError> {
    Ok(ctx.audit().verify(anchor)?)
}
