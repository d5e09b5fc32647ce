//! `lastgood lease`: who changes which service just now, and how to take it away from them.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::exit::Exit;
use super::output::{Ended, Output};
use super::{Global, confirm};
use crate::ops::{Context, lease};

/// `lastgood lease`: who changes which service just now.
#[derive(Debug, Clone, Args)]
pub struct LeaseArgs {
    /// What to do
    #[command(subcommand)]
    pub command: LeaseCommand,
}

/// What to do with leases.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum LeaseCommand {
    /// Who, what step, since when, on which service; and what did not end
    Status,
    /// Take the lease of a service away from whoever holds it: they stop before their next step
    Break {
        /// The service
        service: String,
    },
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &LeaseArgs, global: &Global, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    match &args.command {
        LeaseCommand::Status => status(ctx, out).await,
        LeaseCommand::Break { service } => {
            let operation = lease::breaking(ctx, service).await?;
            confirm::run(ctx, &operation, global, out).await
        }
    }
}

async fn status(ctx: &Context, out: &mut Output) -> Ended {
    let report = lease::status(ctx).await?;
    let exit = match report.unreachable.is_empty() && report.unread.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if out.is_json() {
        out.json("lease", &report)?;
        return Ok(exit);
    }
    if report.leases.is_empty() && report.unreachable.is_empty() {
        out.line("nobody changes anything")?;
    }
    for away in &report.unreachable {
        out.line(format_args!("? {} unreachable: {}", away.host, away.error))?;
        out.line(format_args!("  {}", away.fix))?;
    }
    for held in &report.leases {
        let holder = &held.seen.holder;
        let seconds = Timestamp::now().duration_since(holder.since).as_secs();
        let step = match (&held.step, &holder.step) {
            (Some(step), _) => format!("  step {} of {}: {}", step.number, step.of, step.text),
            (None, Some(step)) => format!("  {step}"),
            (None, None) => String::new(),
        };
        let gone = match held.seen.is_alive {
            true => "",
            false => "  (its process is gone)",
        };
        out.line(format_args!(
            "{}  {} by {} for {seconds} s{step}{gone}",
            holder.service,
            holder.reason,
            holder.who(),
        ))?;
    }
    for left in &report.unfinished {
        out.line(format_args!(
            "did not end: {}; {}  lastgood resume {}",
            left.title, left.progress, left.run
        ))?;
    }
    for run in &report.unread {
        out.line(format_args!(
            "? may not have ended: {}; {}  lastgood resume {}",
            run.title, run.problem, run.run
        ))?;
    }
    Ok(exit)
}
