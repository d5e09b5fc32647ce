//! `lastgood restart`, `stop` and `start`.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood restart`, `stop` and `start`.
#[derive(Debug, Clone, Args)]
pub struct RestartArgs {
    /// Names of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &RestartArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}

/// The services to stop or to start.
#[derive(Debug, Clone, Args)]
pub struct ServicesToChange {
    /// Names of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}
