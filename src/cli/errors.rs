//! `lastgood errors`: error rate and error patterns.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood errors`: error rate and error patterns.
#[derive(Debug, Clone, Args)]
pub struct ErrorsArgs {
    /// A path, `-`, checkpoint:ID[/service] or service:NAME
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &ErrorsArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
