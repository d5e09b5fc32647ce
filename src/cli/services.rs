//! `lastgood services`: every service found.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood services`: every service found.
#[derive(Debug, Clone, Args)]
pub struct ServicesArgs {}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &ServicesArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
