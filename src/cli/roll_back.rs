//! `lastgood roll-back`: bring back the release and configuration of a checkpoint.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use super::{Global, confirm, several};
use crate::domain::operation::{Operation, RollBackTarget};
use crate::ops::{self, Context};

/// `lastgood roll-back`: bring back the release and configuration of a checkpoint.
#[derive(Debug, Clone, Args)]
pub struct RollBackArgs {
    /// The service; several are rolled back one after the other, until one does not prove itself
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// A checkpoint, or image:REF (default: the last good checkpoint)
    #[arg(long, value_name = "ID|image:REF")]
    pub to: Option<String>,
    /// Put back the configuration files only; under PM2 it is started with them, and the code stays as it is
    #[arg(long)]
    pub configs_only: bool,
    /// Do not save the logs of the failing release first
    #[arg(long)]
    pub no_save_logs: bool,
    /// Take the schema of its database back first, to the revision of the checkpoint: data is lost
    #[arg(long, conflicts_with = "configs_only")]
    pub downgrade: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &RollBackArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let to = args
        .to
        .as_deref()
        .map_or(RollBackTarget::LastGood, RollBackTarget::parse);
    let mut operations = Vec::new();
    for name in &args.services {
        let operation = Operation::RollBack {
            service: ops::roll_back::resolve(ctx, name, &to).await?,
            to: to.clone(),
            configs_only: args.configs_only,
            save_logs: !args.no_save_logs,
            downgrade: args.downgrade,
        };
        if !operations.contains(&operation) {
            operations.push(operation);
        }
    }
    match operations.as_slice() {
        [one] => confirm::run(ctx, one, global, out).await,
        all => several::run(ctx, all, global, out).await,
    }
}
