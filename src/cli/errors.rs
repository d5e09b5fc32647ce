//! `lastgood errors`: error rate and error patterns.
//!
//! ```text
//! 50 of 200 requests failed (25 %), 250 records
//!
//!    17×  15:10:02 … 15:23:44  error  NoneType has no attribute 'id'
//! ```

use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::ops::errors::{ErrorReport, errors};
use crate::ops::input::Input;
use crate::ops::{Context, OpsError};

/// `lastgood errors`: error rate and error patterns.
#[derive(Debug, Clone, Args)]
pub struct ErrorsArgs {
    /// A path (plain, .gz, .zst), -, checkpoint:ID[/service] or service:NAME[?since=30m&until=5m]
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &ErrorsArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let inputs = parse_inputs(&args.inputs)?;
    let report = errors(ctx, &inputs, &CancellationToken::new()).await?;
    if out.is_json() {
        out.json("errors", &report)?;
    } else {
        print(&report, out)?;
    }
    // An empty log says nothing about errors: that is no "none".
    Ok(match report.records {
        0 => Exit::NotSure,
        _ => Exit::Done,
    })
}

/// Reads the inputs of a subcommand.
pub(super) fn parse_inputs(texts: &[String]) -> Result<Vec<Input>, OpsError> {
    texts.iter().map(|text| Input::parse(text)).collect()
}

/// Says what could not be read.
pub(super) fn print_missing(missing: &[SafeText], out: &mut Output) -> Result<(), Stop> {
    for text in missing {
        out.line(out.paint(Paint::Warning, &format!("? missing: {text}")))?;
    }
    Ok(())
}

/// A level as a word of fixed width, coloured by how loud it is.
pub(super) fn level_word(level: Option<Level>, out: &Output) -> String {
    let word = format!("{:<5}", level.map_or("-", Level::as_str));
    match level {
        Some(Level::Error | Level::Fatal) => out.paint(Paint::Bad, &word),
        Some(Level::Warn) => out.paint(Paint::Warning, &word),
        _ => out.paint(Paint::Dim, &word),
    }
}

fn print(report: &ErrorReport, out: &mut Output) -> Result<(), Stop> {
    if report.records == 0 {
        out.line("no log records: nothing is known about errors")?;
        return print_missing(&report.missing, out);
    }
    let head = match report.error_rate {
        Some(rate) => format!(
            "{} of {} requests failed ({:.1} %), {} records",
            report.errors,
            report.requests,
            rate * 100.0,
            report.records
        ),
        None => format!(
            "no requests in {} records; error rate unknown",
            report.records
        ),
    };
    out.line(out.paint(Paint::Bold, &head))?;
    print_missing(&report.missing, out)?;
    if report.patterns.is_empty() {
        return out.line("no error patterns");
    }
    out.line("")?;
    for pattern in &report.patterns {
        let clock = |at: Option<jiff::Timestamp>| {
            at.map_or_else(
                || "-".to_owned(),
                |at| {
                    at.to_zoned(jiff::tz::TimeZone::system())
                        .strftime("%H:%M:%S")
                        .to_string()
                },
            )
        };
        let span = match (pattern.first_seen, pattern.last_seen) {
            (None, None) => String::new(),
            (first, last) if first == last => format!("{:<19}  ", clock(first)),
            (first, last) => format!("{} … {}  ", clock(first), clock(last)),
        };
        let level = level_word(pattern.level, out);
        out.line(format_args!(
            "{:>7}×  {span}{level}  {}",
            pattern.count, pattern.template
        ))?;
    }
    Ok(())
}
