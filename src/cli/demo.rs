//! `lastgood demo`: the built-in shop.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood demo`: the built-in shop.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Play the whole story and print it
    #[arg(long)]
    pub headless: bool,
    /// Keep the folder with the shop
    #[arg(long)]
    pub keep: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &DemoArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
