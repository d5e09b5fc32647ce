//! `lastgood resume`: go on with an operation whose process died, or take back what it did.
//!
//! The same command typed again does it too; this one says which run is meant, and is the only way to take it back.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use super::{Global, confirm};
use crate::ops::{Context, resume};

/// `lastgood resume`: go on with an operation whose process died, or take it back.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// The run, as it was told (default: the only one that did not end)
    pub run: Option<String>,
    /// Take back what it did instead
    #[arg(long)]
    pub undo: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &ResumeArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let operation = resume::operation(ctx, args.run.as_deref(), args.undo)?;
    confirm::run(ctx, &operation, global, out).await
}
