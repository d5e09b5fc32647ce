//! `lastgood slow`: mean, percentiles and the slowest endpoints.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood slow`: mean, percentiles and the slowest endpoints.
#[derive(Debug, Clone, Args)]
pub struct SlowArgs {
    /// A path, `-`, checkpoint:ID[/service] or service:NAME
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// Requests over this are slow
    #[arg(long, default_value = "1s", value_name = "T")]
    pub threshold: String,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &SlowArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
