//! `lastgood compare`: what changed, and the verdict.
//!
//! ```text
//! ✖ ROLL BACK  P0  (high confidence)
//!   P0  error rate 25 % (50 of 200 requests), over the P0 limit of 5 %, 0.5 % before
//!         line 12: [15:10:02] ERROR: NoneType has no attribute 'id'
//!
//!                     BEFORE        AFTER
//!   requests           1,000          200
//! …
//!   + 17  error  NoneType has no attribute 'id'
//! ```

mod print;
mod side_by_side;

pub(super) use print::{print_head as print_verdict, verdict_line};

use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::{Ended, Output, talk};
use crate::domain::outcome::Progress;
use crate::domain::verdict::Decision;
use crate::ops::compare::{compare, newest};
use crate::ops::input::Input;
use crate::ops::{Context, ErrorKind, OpsError};

/// `lastgood compare`: what changed, and the verdict.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The side before: a path (plain, .gz, .zst), -, checkpoint:ID[/service] or service:NAME[?since=30m&until=5m];
    /// default: the newest checkpoint
    pub before: Option<String>,
    /// The side after, named in the same ways; default: now
    pub after: Option<String>,
    /// Print both sides beside each other
    #[arg(long)]
    pub side_by_side: bool,
    /// Only this service
    #[arg(long, value_name = "S")]
    pub service: Option<String>,
}

/// Runs it. The exit code is the verdict.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &CompareArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let before = match &args.before {
        Some(text) => Input::parse(text)?,
        None => newest(ctx)?,
    };
    let after = match &args.after {
        Some(text) => Input::parse(text)?,
        None => default_after(&before)?,
    };
    let (progress, mut told) = mpsc::channel(16);
    let verbose = out.verbose > 0;
    let talking = tokio::spawn(async move {
        while let Some(progress) = told.recv().await {
            if let (true, Progress::Note(text)) = (verbose, progress) {
                talk(text);
            }
        }
    });
    let service = args.service.as_deref();
    let found = compare(
        ctx,
        &before,
        &after,
        service,
        args.side_by_side && !out.is_json(),
        progress,
        CancellationToken::new(),
    )
    .await;
    // Ends by itself: the comparison dropped its sender.
    let _ = talking.await;
    let found = found?;
    if out.is_json() {
        out.json("compare", &found)?;
    } else if args.side_by_side {
        side_by_side::print(&found, out)?;
    } else {
        print::print(&found, out)?;
    }
    if !out.is_json() && matches!(after, Input::Now | Input::Service { .. }) {
        out.flush()?;
        for service in &found.services {
            if service.verdict.decision == Decision::RollBack {
                let id = &service.id;
                talk(format_args!("next: lastgood roll-back {id} --dry-run"));
            }
        }
    }
    Ok(Exit::from(found.verdict.decision))
}

/// Now, where the side before is a checkpoint: a file has no "now".
fn default_after(before: &Input) -> Result<Input, OpsError> {
    match before {
        Input::Checkpoint { .. } => Ok(Input::Now),
        other => Err(OpsError::new(
            ErrorKind::Usage,
            format!("{other} is compared with what? only a checkpoint has a default"),
        )
        .fix(format!("lastgood compare {other} AFTER"))),
    }
}
