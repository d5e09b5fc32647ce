//! `lastgood guard`: a deploy with a way back. Preflight, checkpoint, the deploy command, watch, verdict, roll back.
//!
//! ```text
//! preflight: 1 warning, 2 skipped, 23 ok
//! checkpoint 20251227-145000-guard
//! $ docker compose up -d
//!   exit 0 after 3.2 s
//! watching for 300 s
//!   +15 s  keep  (low confidence)
//!   +30 s  ROLL BACK  P0  error rate 25 % (50 of 200 requests), over the P0 limit of 5 %, 0.5 % before
//! ```
//!
//! All of that is talk, on standard error; the verdict and what became of it stand on standard output. Nothing here stops
//! because a terminal or a reader went away: what was begun is brought to its end.

mod report;
mod signals;
mod take_back;

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::{Ended, Output, talk, talk_error};
use super::preflight::{lines, summary};
use super::{Global, compare};
use crate::audit::Permit;
use crate::domain::check::{CheckGrade, worst};
use crate::domain::checkpoint::Manifest;
use crate::domain::comparison::Comparison;
use crate::domain::outcome::OutcomeKind;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::time::parse_span;
use crate::domain::verdict::Confidence;
use crate::ops::checkpoint::{self, CreateCheckpoint};
use crate::ops::guard::{self, Deployed, Look, Passed, PassedSignal, Watch, Watched};
use crate::ops::{self, Context, OpsError, alerts, notify, preflight};
use report::{End, Report, SavedAs, end_of, say_next};
use signals::Signals;
use take_back::decide;

/// `lastgood guard`: a deploy with a way back.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER)]
pub struct GuardArgs {
    /// Services (default: all)
    pub services: Vec<String>,
    /// How long to watch after the deploy
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = length)]
    pub watch: Duration,
    /// What to do when the verdict is to roll back
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = WhenBad::Ask)]
    pub roll_back: WhenBad,
    /// Do not look for what would bite first
    #[arg(long)]
    pub skip_preflight: bool,
    /// The deploy command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

const AFTER: &str = "\
The exit code is the verdict's: 0 keep, 1 roll back, 3 watch or not sure. A critical preflight ends with 1 before anything \
runs. A command that failed is judged all the same: 1 if it was rolled back, else 4; its own exit code is in the JSON.

A P0 that holds ends the watch early: two looks in a row, and 30 s where only the state of a service speaks, since a start \
looks like an outage. Only services that the deploy touched are rolled back.";

/// What to do when the verdict is to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenBad {
    /// Ask at the terminal; without one say the command
    Ask,
    /// Roll back at P0 without asking; a lesser one is left to people
    Auto,
    /// Say it only
    Never,
}

fn length(text: &str) -> Result<Duration, String> {
    parse_span(text)
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|length| *length >= Duration::from_secs(1))
        .ok_or_else(|| format!("not a length of time of 1 s or more: {text:?}; write 90s, 5m, 1h"))
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`]. Once the command has begun, only that the answer cannot be printed.
pub async fn run(args: &GuardArgs, global: &Global, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    guard::is_command(&args.command)?;
    if global.dry_run {
        return dry_run(args, ctx, out).await;
    }
    let mut signals = Signals::listen();
    let mut report = Report::default();
    let services = ops::services::choose(&ops::services::discover(ctx).await, &args.services)?;
    let ids: Vec<ServiceId> = services.iter().map(|service| service.id.clone()).collect();
    let permit = guard::begin(ctx, &ids, &args.command).await?;
    // Whoever deploys looks at it: others are told of a P0 only, and of the rest if it outlasts the deploy.
    let window = alerts::open_window(ctx, &ids, args.watch);
    let (exit, kind) = match steps(args, global, ctx, &permit, &mut signals, &mut report, out).await
    {
        Ok(ended) => ended,
        Err(error) => {
            talk_error(&error);
            report.error = Some(error.to_safe_text());
            (Exit::from(error.kind), OutcomeKind::FailedUnchanged)
        }
    };
    if let Err(error) = window.and_then(|name| alerts::close_window(ctx, &name)) {
        talk_error(&error);
    }
    if let Err(error) = guard::finish(ctx, permit, kind) {
        // The deploy is over either way: its end is told, and that the log does not have it.
        talk_error(&error);
    }
    if out.is_json() {
        out.json("guard", &report)?;
    }
    Ok(exit)
}

async fn dry_run(args: &GuardArgs, ctx: &Context, out: &mut Output) -> Ended {
    let mut report = Report::default();
    let services = ops::services::choose(&ops::services::discover(ctx).await, &args.services)?;
    let mut exit = Exit::Done;
    if !args.skip_preflight {
        let checks = preflight::check(ctx, &args.services).await?;
        if worst(&checks) == CheckGrade::Critical {
            exit = Exit::No;
        }
        report.preflight = Some(checks);
    }
    if out.is_json() {
        out.json("guard", &report)?;
        return Ok(exit);
    }
    if let Some(checks) = &report.preflight {
        for line in lines(checks, out) {
            out.line(line)?;
        }
    }
    let names: Vec<String> = services
        .iter()
        .map(|service| service.id.to_string())
        .collect();
    out.line(format_args!("checkpoint of {}", names.join(" ")))?;
    out.line(format_args!(
        "$ {}",
        SafeText::from_text(&shell_words::join(&args.command))
    ))?;
    let watch = Watch::of(args.watch);
    out.line(format_args!(
        "watch for {} s, a look every {} s",
        watch.length.as_secs(),
        watch.every.as_secs()
    ))?;
    out.line(match args.roll_back {
        WhenBad::Ask => "roll back: after asking at the terminal; without one the command is said",
        WhenBad::Auto => "roll back: at P0, without asking",
        WhenBad::Never => "roll back: never; the command is said",
    })?;
    Ok(exit)
}

async fn steps(
    args: &GuardArgs,
    global: &Global,
    ctx: &Arc<Context>,
    permit: &Permit,
    signals: &mut Signals,
    report: &mut Report,
    out: &mut Output,
) -> Result<End, OpsError> {
    if !args.skip_preflight {
        let checks = tokio::select! {
            checks = preflight::check(ctx, &args.services) => checks?,
            exit = signals.next() => return Ok((exit, OutcomeKind::FailedUnchanged)),
        };
        let is_critical = worst(&checks) == CheckGrade::Critical;
        match is_critical || out.verbose > 0 {
            true => lines(&checks, out).into_iter().for_each(talk),
            false => talk(format_args!("preflight: {}", summary(&checks))),
        }
        report.preflight = Some(checks);
        if is_critical {
            talk("preflight failed: nothing was run; --skip-preflight to deploy all the same");
            return Ok((Exit::No, OutcomeKind::FailedUnchanged));
        }
    }
    let Some((manifest, path)) = save(args, ctx, signals).await? else {
        return Ok((signals.ended(), OutcomeKind::FailedUnchanged));
    };
    talk(format_args!("checkpoint {}", manifest.id));
    for problem in &manifest.problems {
        talk(format_args!("  ▲ {problem}"));
    }
    report.checkpoint = Some(SavedAs {
        id: manifest.id.clone(),
        path,
        complete: manifest.complete,
    });
    let ids: Vec<ServiceId> = manifest
        .services
        .iter()
        .map(|saved| saved.id.clone())
        .collect();
    let before = guard::remember(ctx, &ids).await;
    let deployed = run_command(args, ctx, permit, signals, out).await;
    let is_deployed = deployed.is_success();
    report.command = Some(deployed);
    if let Some(exit) = signals.came() {
        report.touched = before.touched(ctx).await;
        let touched = report.touched.clone();
        say_next(
            "ended: the deploy is not judged",
            &manifest,
            touched,
            report,
        );
        return Ok((exit, OutcomeKind::FailedPartial));
    }
    report.touched = before.touched(ctx).await;
    tell_of_deploy(ctx, &manifest, report).await;
    let mut watching = Watch::of(args.watch);
    if !is_deployed && report.touched.is_empty() {
        talk("the command failed and touched nothing: one look");
        watching.length = watching.every;
    }
    let Some(watched) = watch(ctx, &manifest, watching, signals, out).await else {
        let touched = report.touched.clone();
        say_next("ended: the watch was not over", &manifest, touched, report);
        return Ok((signals.ended(), OutcomeKind::AppliedNotVerified));
    };
    report.watch_ms = Some(u64::try_from(watched.took.as_millis()).unwrap_or(u64::MAX));
    (report.looks, report.ended_early) = (watched.looks, watched.is_early);
    // A deploy may go on after its command has ended.
    report.touched = before.touched(ctx).await;
    let found = match watched.last {
        Ok(found) => found,
        Err(error) => {
            talk_error(&error);
            report.error = Some(error.to_safe_text());
            let exit = if is_deployed {
                Exit::NotSure
            } else {
                Exit::Failed
            };
            return Ok((exit, OutcomeKind::AppliedNotVerified));
        }
    };
    report.take(&found);
    if !out.is_json() {
        // A reader that went away does not stop what comes next.
        let _ = compare::print_verdict(&found, out);
        let _ = out.flush();
    }
    let exit = decide(args, global, ctx, signals, &manifest, &found, report, out).await;
    Ok(end_of(exit, is_deployed, &found.verdict, report))
}

/// Tells those who keep a timeline of changes.
async fn tell_of_deploy(ctx: &Context, manifest: &Manifest, report: &Report) {
    let Some(deployed) = &report.command else {
        return;
    };
    let title = format!(
        "deploy by {}: {} ({})",
        ctx.actor.user,
        deployed.command,
        deployed.describe()
    );
    let told = notify::changed(ctx, &title, &report.touched, Some(&manifest.id));
    if let Err(error) = told.await {
        talk_error(&error);
    }
}

/// Makes the checkpoint; `None` where a signal ended it, and nothing was left behind.
async fn save(
    args: &GuardArgs,
    ctx: &Context,
    signals: &mut Signals,
) -> Result<Option<(Manifest, std::path::PathBuf)>, OpsError> {
    let what = CreateCheckpoint {
        services: args.services.clone(),
        label: Some("guard".to_owned()),
        since: None,
    };
    let (progress, mut told) = mpsc::channel(64);
    let telling = tokio::spawn(async move { while told.recv().await.is_some() {} });
    let cancel = CancellationToken::new();
    let work = checkpoint::create(ctx, &what, progress, cancel.clone());
    tokio::pin!(work);
    let saved = loop {
        tokio::select! {
            saved = &mut work => break saved,
            _ = signals.next() => cancel.cancel(),
        }
    };
    telling.abort();
    match (saved, signals.came()) {
        (_, Some(_)) => Ok(None),
        (saved, None) => saved.map(Some),
    }
}

async fn run_command(
    args: &GuardArgs,
    ctx: &Context,
    permit: &Permit,
    signals: &mut Signals,
    out: &Output,
) -> Deployed {
    talk(format_args!(
        "$ {}",
        SafeText::from_text(&shell_words::join(&args.command))
    ));
    let passed = match out.is_json() {
        true => Passed::ToStderr,
        false => Passed::ToStdout,
    };
    let (pass, mut to_command) = mpsc::channel(8);
    let work = guard::deploy(ctx, permit, &args.command, passed, &mut to_command);
    tokio::pin!(work);
    let deployed = loop {
        tokio::select! {
            deployed = &mut work => break deployed,
            exit = signals.next() => {
                let signal = match exit {
                    Exit::Hangup => PassedSignal::HUP,
                    Exit::Interrupted => PassedSignal::INT,
                    _ => PassedSignal::TERM,
                };
                talk("waiting for the command to end");
                let _ = pass.try_send(signal);
            }
        }
    };
    talk(format_args!(
        "  {} after {:.1} s",
        deployed.describe(),
        deployed.duration_ms as f64 / 1000.0
    ));
    deployed
}

/// Watches and tells each look; `None` where a signal ended it.
async fn watch(
    ctx: &Arc<Context>,
    manifest: &Manifest,
    watching: Watch,
    signals: &mut Signals,
    out: &Output,
) -> Option<Watched> {
    talk(format_args!("watching for {} s", watching.length.as_secs()));
    let (told, mut looks) = mpsc::channel(4);
    let work = guard::watch(ctx, &manifest.id, watching, told);
    tokio::pin!(work);
    loop {
        tokio::select! {
            watched = &mut work => {
                if watched.is_early {
                    talk(format_args!("  +{} s  a P0 held: the watch ends here", watched.took.as_secs()));
                }
                return Some(watched);
            }
            Some(look) = looks.recv() => tell(&look, out),
            _ = signals.next() => return None,
        }
    }
}

fn tell(look: &Look, out: &Output) {
    let after = look.after.as_secs();
    match &look.found {
        Ok(found) => talk(format_args!("  +{after} s  {}", sentence(found, out))),
        Err(error) => talk(format_args!("  +{after} s  ? {}", error.to_safe_text())),
    }
}

/// The verdict and its first reason on one line.
fn sentence(found: &Comparison, out: &Output) -> String {
    let line = compare::verdict_line(&found.verdict, out);
    let first = found.verdict.findings.first();
    let reason = match (first, found.verdict.confidence, found.missing.first()) {
        (Some(finding), ..) => format!("  {}", finding.text),
        (None, Confidence::Low, Some(missing)) => format!("  {missing}"),
        _ => String::new(),
    };
    format!("{line}{reason}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    fn args(line: &[&str]) -> Result<GuardArgs, String> {
        let all = ["lastgood", "guard"].iter().chain(line);
        match crate::cli::Cli::try_parse_from(all) {
            Ok(cli) => match cli.command {
                Some(crate::cli::Command::Guard(args)) => Ok(args),
                other => Err(format!("{other:?}")),
            },
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_command_is_what_stands_after_the_dashes() {
        let found = args(&[
            "--watch", "90s", "backend", "--", "docker", "compose", "up", "--yes",
        ])
        .unwrap();
        assert_eq!(found.services, ["backend"]);
        assert_eq!(found.command, ["docker", "compose", "up", "--yes"]);
        assert_eq!(found.watch, Duration::from_secs(90));
        assert_eq!(found.roll_back, WhenBad::Ask);
        assert_eq!(
            args(&["--", "true"]).unwrap().watch,
            Duration::from_secs(300)
        );
        assert!(args(&["backend"]).is_err(), "no command");
        assert!(args(&["--watch", "soon", "--", "true"]).is_err());
        assert!(args(&["--watch", "0s", "--", "true"]).is_err());
    }
}
