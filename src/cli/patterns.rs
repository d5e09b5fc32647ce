//! `lastgood patterns`: log patterns.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood patterns`: log patterns.
#[derive(Debug, Clone, Args)]
pub struct PatternsArgs {
    /// A path, `-`, checkpoint:ID[/service] or service:NAME
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// One LINE_NUMBER<TAB>PATTERN_ID a record
    #[arg(long)]
    pub assign: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &PatternsArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
