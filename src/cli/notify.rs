//! `lastgood notify`: whether people can be told.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Global;
use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::ops::notify::Tested;
use crate::ops::{Context, notify};

/// `lastgood notify`: whether people can be told.
#[derive(Debug, Clone, Args)]
pub struct NotifyArgs {
    /// What to do
    #[command(subcommand)]
    pub command: NotifyCommand,
}

/// What to do with the sinks.
#[derive(Debug, Clone, Subcommand)]
pub enum NotifyCommand {
    /// Send a test message to every sink; with --dry-run print the exact request, secrets masked, and send nothing
    Test {
        /// Only to this sink
        #[arg(long, value_name = "NAME")]
        sink: Option<String>,
    },
}

#[derive(Serialize)]
struct Document<'a> {
    sinks: &'a [Tested],
}

/// Runs it. Exit 4 where a sink did not take it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &NotifyArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let NotifyCommand::Test { sink } = &args.command;
    let tested = notify::test(ctx, sink.as_deref(), global.dry_run).await?;
    if out.is_json() {
        out.json("notify", &Document { sinks: &tested })?;
    } else {
        for one in &tested {
            let name = format!("{} ({})", one.sink, one.kind);
            match (&one.request, &one.error) {
                (_, Some(error)) => {
                    out.line(out.paint(Paint::Bad, &format!("✖ {name}: {error}")))?;
                }
                (Some(request), None) => {
                    out.line(out.paint(Paint::Bold, &name))?;
                    for line in request {
                        out.line(format_args!("  {line}"))?;
                    }
                }
                (None, None) => {
                    out.line(out.paint(Paint::Good, &format!("✔ {name}: taken")))?;
                }
            }
        }
    }
    let has_failed = tested.iter().any(|one| one.error.is_some());
    Ok(if has_failed { Exit::Failed } else { Exit::Done })
}
