//! `lastgood watch`: evaluates the rules and notifies, without a screen.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, Stop};
use crate::domain::alert::{AlertSeverity, NotificationEvent};
use crate::domain::health::HealthState;
use crate::domain::time::parse_span;
use crate::ops::notify::Delivery;
use crate::ops::watch::{self, Looked, WatchEvent, WatchOptions};
use crate::ops::{Context, ErrorKind, OpsError};

/// Events that may wait for a slow reader.
const WAITING: usize = 256;

/// `lastgood watch`: evaluates the rules and notifies, without a screen.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Look once and end, for cron: exit 0 healthy, 1 something of P0 or P1 fires, 3 degraded or data is missing
    #[arg(long)]
    pub once: bool,
    /// Between two looks; without it `interval` of [watch] in the configuration, 15s
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub interval: Option<Duration>,
    /// Keep a checkpoint so often of what is healthy
    #[arg(long, value_name = "TIME", value_parser = span)]
    pub checkpoint_every: Option<Duration>,
}

fn span(text: &str) -> Result<Duration, String> {
    parse_span(text)
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|span| *span >= Duration::from_secs(1))
        .ok_or_else(|| "write a length of time of at least a second: 15s, 2m, 1h".to_owned())
}

#[derive(Serialize)]
struct Header {
    schema: &'static str,
}

/// Runs it until a signal ends it, or once.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &WatchArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let options = WatchOptions {
        interval: args.interval.unwrap_or(ctx.config.measure_every),
        once: args.once,
        checkpoint_every: args.checkpoint_every,
    };
    let (to, mut events) = mpsc::channel(WAITING);
    let cancel = CancellationToken::new();
    let watching = watch::watch(ctx.clone(), options, to, cancel.clone());
    let mut watching = std::pin::pin!(watching);
    let mut ended = None;
    let mut by_signal = None;
    let mut signal = std::pin::pin!(Exit::by_signal());
    if out.is_json() {
        out.json_line(&Header {
            schema: "lastgood.watch/1",
        })?;
        out.flush()?;
    }
    let mut printer = Printer {
        is_quiet: !args.once && out.verbose == 0,
        last: None,
    };
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => printer.print(&event, out)?,
                None => break,
            },
            done = &mut watching, if ended.is_none() => ended = Some(done),
            exit = &mut signal, if by_signal.is_none() => {
                by_signal = Some(exit);
                cancel.cancel();
                if args.once {
                    break;
                }
            }
        }
        if ended.is_some() && events.is_empty() {
            break;
        }
    }
    match (ended, by_signal) {
        (_, Some(exit)) => Ok(exit),
        (Some(looked), None) => Ok(exit_of(&looked?)),
        (None, None) => Err(OpsError::new(ErrorKind::Failed, "the watch broke off").into()),
    }
}

fn exit_of(looked: &Looked) -> Exit {
    match looked.severity {
        Some(severity) if severity.pages() => Exit::No,
        _ if looked.is_healthy() => Exit::Done,
        _ => Exit::NotSure,
    }
}

/// Prints what is news: a watch that runs for weeks says nothing while nothing changes.
struct Printer {
    is_quiet: bool,
    last: Option<Looked>,
}

impl Printer {
    fn print(&mut self, event: &WatchEvent, out: &mut Output) -> Result<(), Stop> {
        if let WatchEvent::Looked(looked) = event {
            let is_same = self.last.as_ref().is_some_and(|last| {
                (
                    last.services,
                    last.state,
                    last.firing,
                    last.severity,
                    &last.missing,
                ) == (
                    looked.services,
                    looked.state,
                    looked.firing,
                    looked.severity,
                    &looked.missing,
                )
            });
            self.last = Some(looked.clone());
            if is_same && self.is_quiet {
                return Ok(());
            }
        }
        if out.is_json() {
            out.json_line(event)?;
        } else {
            print_line(event, out)?;
        }
        out.flush()
    }
}

fn print_line(event: &WatchEvent, out: &mut Output) -> Result<(), Stop> {
    match event {
        WatchEvent::Looked(looked) => {
            let paint = match (looked.severity, looked.state) {
                (Some(severity), _) if severity.pages() => Paint::Bad,
                _ if looked.is_healthy() => Paint::Good,
                _ => Paint::Warning,
            };
            let state = match (looked.state, looked.missing.is_empty()) {
                (HealthState::Healthy, false) => "data is missing",
                (state, _) => state.as_str(),
            };
            let firing = match (looked.firing, looked.severity) {
                (0, _) | (_, None) => String::new(),
                (count, Some(worst)) => format!(", {count} firing, the worst {worst}"),
            };
            let line = format!("{} services {state}{firing}", looked.services);
            out.line(format_args!(
                "{} {}",
                time(looked.at),
                out.paint(paint, &line)
            ))?;
            for missing in &looked.missing {
                out.line(format_args!("{} ? {missing}", time(looked.at)))?;
            }
        }
        WatchEvent::Alert { at, turn, alert } => {
            let paint = match (*turn, alert.severity) {
                ("resolved", _) => Paint::Good,
                ("firing" | "worse" | "flapping", AlertSeverity::P0 | AlertSeverity::P1) => {
                    Paint::Bad
                }
                _ => Paint::Warning,
            };
            let line = format!("{} {turn}: {}", alert.severity, alert.text);
            out.line(format_args!("{} {}", time(*at), out.paint(paint, &line)))?;
        }
        WatchEvent::Delivery { at, delivery } => print_delivery(*at, delivery, out)?,
        WatchEvent::Checkpoint { at, id, removed } => {
            let removed = match removed.as_slice() {
                [] => String::new(),
                removed => format!(", removed {}", removed.join(", ")),
            };
            out.line(format_args!("{} checkpoint {id}{removed}", time(*at)))?;
        }
        WatchEvent::Problem { at, text } => {
            let line = out.paint(Paint::Warning, &format!("problem: {text}"));
            out.line(format_args!("{} {line}", time(*at)))?;
        }
    }
    Ok(())
}

fn print_delivery(at: Timestamp, delivery: &Delivery, out: &mut Output) -> Result<(), Stop> {
    let what = match delivery.event {
        NotificationEvent::Trigger => "page",
        event => event.as_str(),
    };
    let line = match (&delivery.error, delivery.retry_at) {
        (None, _) => format!("told {}: {what} {}", delivery.sink, delivery.key),
        (Some(error), Some(again)) => out.paint(
            Paint::Bad,
            &format!(
                "sink {} failed: {error}; again at {}",
                delivery.sink,
                time(again)
            ),
        ),
        (Some(error), None) => out.paint(
            Paint::Bad,
            &format!("sink {} failed, given up: {error}", delivery.sink),
        ),
    };
    out.line(format_args!("{} {line}", time(at)))
}

fn time(at: Timestamp) -> impl std::fmt::Display {
    at.to_zoned(TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
}
