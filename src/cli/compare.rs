//! `lastgood compare`: what changed, and the verdict.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood compare`: what changed, and the verdict.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The side before: INPUT (default: the newest checkpoint)
    pub before: Option<String>,
    /// The side after: INPUT (default: now)
    pub after: Option<String>,
    /// Print both sides beside each other
    #[arg(long)]
    pub side_by_side: bool,
    /// Only this service
    #[arg(long, value_name = "S")]
    pub service: Option<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &CompareArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
