//! `lastgood health`: one look at every probe.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood health`: one look at every probe.
#[derive(Debug, Clone, Args)]
pub struct HealthArgs {
    /// Names of services; all without any
    pub services: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &HealthArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
