//! `lastgood approve`: the second person's yes to a plan that the policy does not let one person carry out.

use std::io::IsTerminal;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::Global;
use super::confirm;
use super::exit::Exit;
use super::output::{Ended, Output};
use crate::ops::{Context, policy};

/// `lastgood approve`: the second person's yes.
#[derive(Debug, Clone, Args)]
pub struct ApproveArgs {
    /// The plan's hash, or the start of it
    pub hash: String,
}

#[derive(Serialize)]
struct Approved<'a> {
    plan_hash: &'a str,
    operation: &'a str,
    by: &'a str,
    of: &'a str,
}

/// Runs it. At a terminal the plan is shown and the yes is asked for; elsewhere the command is the yes.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &ApproveArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let waiting = policy::find(ctx, &args.hash)?;
    if global.dry_run {
        for line in confirm::card(&waiting.plan) {
            out.line(line)?;
        }
        return Ok(Exit::Done);
    }
    if std::io::stdin().is_terminal() {
        confirm::confirm(&waiting.plan, global)?;
    }
    policy::approve(ctx, &waiting)?;
    if out.is_json() {
        let content = Approved {
            plan_hash: &waiting.plan.hash,
            operation: waiting.plan.operation.verb(),
            by: &ctx.actor.user,
            of: &waiting.by.user,
        };
        out.json("approval", &content)?;
    } else {
        out.line(format_args!(
            "approved: {} of {} may carry it out within 10 minutes",
            waiting.plan.operation.verb(),
            waiting.by.user
        ))?;
    }
    Ok(Exit::Done)
}
