//! `lastgood config`: the configuration in force.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood config`: the configuration in force.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &ConfigArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}

/// What to do with the configuration.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigCommand {
    /// Print it, secrets masked
    Show,
    /// Check the files and say which are read
    Check,
}
