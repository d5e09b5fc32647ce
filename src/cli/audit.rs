//! `lastgood audit`: the audit log.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood audit`: the audit log.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What to do
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &AuditArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}

/// What to do with the audit log.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AuditCommand {
    /// Every record
    List,
    /// Check the hash chain
    Verify {
        /// The head hash as a report printed it: the log must still contain it
        #[arg(long, value_name = "HASH")]
        anchor: Option<String>,
    },
    /// Write the records as JSON lines
    Export,
}
