//! `lastgood checkpoint`: save and look at how production looks now.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood checkpoint`: save and look at how production looks now.
#[derive(Debug, Clone, Args)]
pub struct CheckpointArgs {
    /// What to do
    #[command(subcommand)]
    pub command: CheckpointCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &CheckpointArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}

/// What to do with checkpoints.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum CheckpointCommand {
    /// Save logs, health, signals, configs and releases now
    Create {
        /// Names of services; all without any
        services: Vec<String>,
        /// All services (the default without names)
        #[arg(long, conflicts_with = "services")]
        all: bool,
        /// What to call it
        #[arg(long, value_name = "L")]
        label: Option<String>,
        /// Logs from this time on
        #[arg(long, value_name = "T")]
        since: Option<String>,
    },
    /// Every checkpoint, the newest first
    List,
    /// What one holds
    Show {
        /// Its id
        id: String,
    },
    /// Check files and pinned images
    Verify {
        /// Its id
        id: Option<String>,
        /// Every checkpoint
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Write one as a single file, exact, secrets included
    Export {
        /// Its id
        id: String,
        /// The file, ending in .tar.gz or .tar.zst
        #[arg(value_name = "FILE")]
        to: std::path::PathBuf,
    },
}
