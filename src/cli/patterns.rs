//! `lastgood patterns`: log patterns.

use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::errors::{level_word, parse_inputs, print_missing};
use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use crate::ops::Context;
use crate::ops::patterns::patterns;

/// `lastgood patterns`: log patterns.
#[derive(Debug, Clone, Args)]
pub struct PatternsArgs {
    /// A path (plain, .gz, .zst), -, checkpoint:ID[/service] or service:NAME[?since=30m&until=5m]
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
    /// One line a record: the number of its first line, a tab, its pattern's id
    #[arg(long)]
    pub assign: bool,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &PatternsArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let inputs = parse_inputs(&args.inputs)?;
    let report = patterns(ctx, &inputs, args.assign, &CancellationToken::new()).await?;
    if args.assign {
        for (line, pattern) in &report.assigned {
            out.line(format_args!("{line}\t{}", report.patterns[*pattern].id))?;
        }
    } else if out.is_json() {
        out.json("patterns", &report)?;
    } else {
        let head = format!(
            "{} patterns in {} records",
            report.patterns.len(),
            report.records
        );
        out.line(out.paint(Paint::Bold, &head))?;
        print_missing(&report.missing, out)?;
        for pattern in &report.patterns {
            let level = level_word(pattern.level, out);
            out.line(format_args!(
                "{:>9}×  {level}  {}",
                pattern.count, pattern.template
            ))?;
        }
    }
    Ok(Exit::Done)
}
