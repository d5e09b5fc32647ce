//! `lastgood logs`: logs of services and of files, merged by time.

use std::sync::Arc;

use clap::Args;
use jiff::Zoned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::merge::Merge;
use self::print::Printer;
use super::exit::Exit;
use super::output::{Ended, Output, talk, talk_error};
use crate::domain::log::{Level, LogRequest, Window};
use crate::domain::time;
use crate::ops::{Context, ErrorKind, OpsError, files, logs, secrets, services};

mod merge;
mod print;

/// Events of one service that may wait for the printer.
const WAITING: usize = 16;

/// `lastgood logs`: logs of services, merged by time.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Names of services; log files: paths, quoted patterns ('logs/*.log'), - for standard input; or checkpoint:ID
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
    /// From this time on: 30m (ago), 15:00, "2025-12-27 14:50", or RFC 3339
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time, written in the same ways
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only the last N lines
    #[arg(long, value_name = "N")]
    pub tail: Option<u64>,
    /// Go on with new lines, through restarts and new containers too
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// Only records of this level or louder: trace, debug, info, warn, error, fatal
    #[arg(long, value_name = "L")]
    pub level: Option<String>,
    /// Lines to show before a match
    #[arg(short = 'B', default_value_t = 0, value_name = "N")]
    pub before: usize,
    /// Lines to show after a match
    #[arg(short = 'A', default_value_t = 0, value_name = "N")]
    pub after: usize,
    /// Secrets too; in a pipe or a file the bytes as they are
    #[arg(long)]
    pub raw: bool,
}

/// Runs it. A service whose log cannot be read does not hide the others: it is named, and the end is 4.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &LogsArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let request = request(args)?;
    let filter = print::Filter {
        grep: args.grep.as_deref().map(pattern).transpose()?,
        level: args.level.as_deref().map(level).transpose()?,
        before: args.before,
        after: args.after,
    };
    // Where lines that do not match are shown never, they need not even be looked at one by one.
    let is_bare = !args.follow && args.level.is_none() && args.before == 0 && args.after == 0;
    let only = filter.grep.clone().filter(|_| is_bare);
    let inventory = services::discover_for(ctx, &args.services).await;
    let chosen = files::choose(ctx, &inventory, &args.services)?;
    let mut readers = JoinSet::new();
    let mut streams = Vec::new();
    for service in &chosen {
        let (to, from) = mpsc::channel(WAITING);
        streams.push(from);
        let (ctx, service, request) = (Arc::clone(ctx), service.clone(), request.clone());
        let pattern = only.clone();
        readers.spawn(async move {
            match pattern {
                Some(re) => logs::read_matching(&ctx, &service, &request, &re, to).await,
                None => logs::read(&ctx, &service, &request, to).await,
            }
        });
    }
    let redactor = match args.raw {
        true => None,
        false => Some(secrets::redactor(ctx, &chosen).await?),
    };
    let mut printer = Printer::new(&chosen, filter, redactor, out)?;
    let mut merge = Merge::new(streams, args.follow);
    let ended = tokio::select! {
        ended = merge.run(&mut printer, out) => ended.map(|()| None),
        exit = Exit::by_signal(), if args.follow => Ok(Some(exit)),
    };
    if merge.late > 0 {
        talk(format_args!(
            "{} lines came too late to be printed in the order of their times",
            merge.late
        ));
    }
    if let Some(exit) = ended? {
        printer.finish(out)?;
        out.flush()?;
        return Ok(exit);
    }
    printer.finish(out)?;
    out.flush()?;
    let mut exit = Exit::Done;
    while let Some(ended) = readers.join_next().await {
        if let Ok(Err(error)) = ended {
            talk_error(&error);
            exit = Exit::from(error.kind);
        }
    }
    Ok(exit)
}

fn request(args: &LogsArgs) -> Result<LogRequest, OpsError> {
    let now = Zoned::now();
    let read = |text: &Option<String>| {
        text.as_deref()
            .map(|t| time::parse(t, &now).map_err(|e| OpsError::new(ErrorKind::Usage, e)))
            .transpose()
    };
    Ok(LogRequest {
        window: Window {
            since: read(&args.since)?,
            until: read(&args.until)?,
        },
        tail: args.tail,
        follow: args.follow,
        ..LogRequest::default()
    })
}

fn pattern(text: &str) -> Result<regex::bytes::Regex, OpsError> {
    regex::bytes::Regex::new(text).map_err(|e| {
        OpsError::new(
            ErrorKind::Usage,
            format!("--grep {text:?} is not a regular expression"),
        )
        .because(last_line(&e.to_string()))
        .fix("--grep '\\(' finds a bracket as it is: a backslash before each of .*+?()[]{}|^$\\")
    })
}

/// The parser draws its mistake over several lines; the last one says what it is.
fn last_line(text: &str) -> String {
    let line = text.lines().next_back().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

fn level(text: &str) -> Result<Level, OpsError> {
    let wanted = text.to_lowercase();
    Level::ALL
        .into_iter()
        .find(|l| l.as_str() == wanted || (wanted == "warning" && *l == Level::Warn))
        .ok_or_else(|| {
            let known = Level::ALL.map(Level::as_str).join(", ");
            OpsError::new(
                ErrorKind::Usage,
                format!("unknown level {text:?}: use one of {known}"),
            )
        })
}
