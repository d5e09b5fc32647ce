//! The audit log, read and checked.

use super::{Context, OpsError};
use crate::domain::outcome::AuditRecord;

/// Every record, the oldest first.
///
/// # Errors
/// The log cannot be read.
pub fn list(_ctx: &Context) -> Result<Vec<AuditRecord>, OpsError> {
    todo!("store")
}

/// Walks the hash chain. Returns the number of records and the head hash.
///
/// # Errors
/// A record that does not agree with its hash or with its neighbour ([`super::ErrorKind::No`], with file and line).
pub fn verify(_ctx: &Context) -> Result<(u64, String), OpsError> {
    todo!("store")
}
