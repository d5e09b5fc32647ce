//! `lastgood signals`: the golden signals with their grades.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood signals`: the golden signals with their grades.
#[derive(Debug, Clone, Args)]
pub struct SignalsArgs {
    /// Names of services; all without any
    pub services: Vec<String>,
    /// Measure from this time on
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &SignalsArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
