//! `lastgood switch`: blue-green, a plan like any other.
//!
//! Where that side answers already there is nothing to confirm and nothing to do: that is said, with what the public way
//! answers.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::output::{Ended, Output, talk};
use super::{Global, confirm};
use crate::domain::operation::{Operation, SwitchWay};
use crate::domain::settings::Colour;
use crate::ops::{self, Context, switch};

/// Sends the requests of an application to one of its two sides, or says that they go there already.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &SwitchArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let operation = Operation::Switch {
        service: switch::resolve(&args.app, &global.host)?,
        to: args.to.into(),
        way: match (args.canary, args.rolling) {
            (true, _) => SwitchWay::Canary,
            (_, true) => SwitchWay::Rolling,
            _ => SwitchWay::AtOnce,
        },
    };
    let plan = ops::plan(ctx, &operation).await?;
    let is_there = plan.operation == operation && plan.steps.is_empty();
    if global.dry_run || !is_there {
        return confirm::carry_out(ctx, &plan, global, out).await;
    }
    let outcome = switch::standing(ctx, &plan).await?;
    for step in &outcome.steps {
        talk(&step.text);
    }
    if out.is_json() {
        out.json("outcome", &outcome)?;
    } else {
        confirm::print_outcome(&outcome, out)?;
    }
    Ok(Exit::from(outcome.outcome))
}

/// `lastgood switch`.
#[derive(Debug, Clone, Args)]
pub struct SwitchArgs {
    /// The application, as `[switch.APP]` of the configuration names it
    #[arg(value_name = "APP")]
    pub app: String,
    /// The side that is to answer
    #[arg(value_enum, value_name = "blue|green")]
    pub to: Side,
    /// By growing shares of the requests, each judged before the next
    #[arg(long, conflicts_with = "rolling")]
    pub canary: bool,
    /// One server of the upstream after the other, each judged before the next
    #[arg(long)]
    pub rolling: bool,
}

/// A side on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// The one.
    Blue,
    /// The other.
    Green,
}

impl From<Side> for Colour {
    fn from(side: Side) -> Self {
        match side {
            Side::Blue => Self::Blue,
            Side::Green => Self::Green,
        }
    }
}
