//! `lastgood roll-back`: bring back the release and configuration of a checkpoint.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood roll-back`: bring back the release and configuration of a checkpoint.
#[derive(Debug, Clone, Args)]
pub struct RollBackArgs {
    /// The service
    pub service: String,
    /// A checkpoint, or image:REF (default: the last good checkpoint)
    #[arg(long, value_name = "ID|image:REF")]
    pub to: Option<String>,
    /// Put back the configuration files only
    #[arg(long)]
    pub configs_only: bool,
    /// Do not save the logs of the failing release first
    #[arg(long)]
    pub no_save_logs: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &RollBackArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
