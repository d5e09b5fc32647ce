//! `lastgood logs`: logs of services, merged by time.

use std::sync::Arc;

use clap::Args;

use super::output::{Ended, Output};
use crate::ops::Context;

/// `lastgood logs`: logs of services, merged by time.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Names of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// From this time on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Go on with new lines
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines that match
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// Only records of this level or louder
    #[arg(long, value_name = "L")]
    pub level: Option<String>,
    /// Lines to show before a match
    #[arg(short = 'B', default_value_t = 0, value_name = "N")]
    pub before: usize,
    /// Lines to show after a match
    #[arg(short = 'A', default_value_t = 0, value_name = "N")]
    pub after: usize,
    /// Do not redact secrets
    #[arg(long)]
    pub raw: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(_args: &LogsArgs, _ctx: &Arc<Context>, _out: &mut Output) -> Ended {
    todo!()
}
