//! `lastgood checkpoint`: save and look at how production looks now.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::{Timestamp, Zoned};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output::{Ended, Output, Paint, talk, talk_error};
use super::restart::resolve;
use super::{Global, confirm};
use crate::domain::checkpoint::{
    Checkpoint, Manifest, SavedFile, SavedLog, SavedService, Verification,
};
use crate::domain::health::HealthState;
use crate::domain::operation::Operation;
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, Runtime, ServiceId};
use crate::domain::time;
use crate::ops::checkpoint::{self, CreateCheckpoint};
use crate::ops::{Context, ErrorKind, OpsError};

/// `lastgood checkpoint`: save and look at how production looks now.
#[derive(Debug, Clone, Args)]
pub struct CheckpointArgs {
    /// What to do
    #[command(subcommand)]
    pub command: CheckpointCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &CheckpointArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    match &args.command {
        CheckpointCommand::Create {
            services,
            all: _,
            label,
            since,
        } => {
            let since = since
                .as_deref()
                .map(|text| time::parse(text, &Zoned::now()))
                .transpose()
                .map_err(|problem| OpsError::new(ErrorKind::Usage, problem))?;
            let what = CreateCheckpoint {
                services: services.clone(),
                label: label.clone(),
                since,
            };
            if global.dry_run {
                return foresee(&what, ctx, out).await;
            }
            create(&what, ctx, out).await
        }
        CheckpointCommand::List => list(ctx, out),
        CheckpointCommand::Show { id } => {
            let found = checkpoint::find(ctx, id)?;
            match &found.manifest {
                Ok(manifest) => show(manifest, &found.path, out),
                Err(cause) => Err(unusable(&found, cause.why()).into()),
            }
        }
        CheckpointCommand::Verify { id, all } => verify(id.as_deref(), *all, ctx, out).await,
        CheckpointCommand::Export { id, to } => {
            let found = checkpoint::find(ctx, id)?;
            talk("the export is exact: it holds every secret that the logs and files hold");
            let bytes = checkpoint::export(ctx, &found, to)?;
            let file = SafeText::from_text(&to.display().to_string());
            if out.is_json() {
                out.json(
                    "checkpoint-export",
                    &Exported {
                        id: &found.id,
                        file,
                        bytes,
                    },
                )?;
            } else {
                out.line(format_args!("{file}  {bytes} bytes"))?;
            }
            Ok(Exit::Done)
        }
        CheckpointCommand::Prune {
            keep_last,
            keep_within,
        } => {
            let since = keep_within
                .as_deref()
                .map(|text| time::parse(text, &Zoned::now()))
                .transpose()
                .map_err(|problem| OpsError::new(ErrorKind::Usage, problem))?;
            let operation = Operation::Prune {
                keep_last: *keep_last,
                since,
            };
            confirm::run(ctx, &operation, global, out).await
        }
        CheckpointCommand::Restore { id, service } => {
            let service = match service {
                Some(name) => resolve(ctx, std::slice::from_ref(name))
                    .await?
                    .into_iter()
                    .next(),
                None => None,
            };
            let operation = Operation::RestoreConfigs {
                checkpoint: checkpoint::find(ctx, id)?.id,
                service,
            };
            confirm::run(ctx, &operation, global, out).await
        }
    }
}

fn unusable(found: &Checkpoint, cause: &SafeText) -> OpsError {
    OpsError::new(
        ErrorKind::No,
        format!("checkpoint {} cannot be used: {cause}", found.id),
    )
}

/// What would be saved; nothing is written and no image is pinned.
async fn foresee(what: &CreateCheckpoint, ctx: &Context, out: &mut Output) -> Ended {
    let (services, problems) = checkpoint::foresee(ctx, what).await?;
    let exit = if problems.is_empty() {
        Exit::Done
    } else {
        Exit::NotSure
    };
    if out.is_json() {
        let services = services.iter().map(|s| &s.id).collect();
        out.json("checkpoint-plan", &Foreseen { services, problems })?;
        return Ok(exit);
    }
    out.line("would save logs, health, signals, configs and releases of")?;
    for service in &services {
        out.line(format_args!("  {}  {}", service.id, service.release))?;
    }
    for problem in &problems {
        let mark = out.paint(Paint::Warning, "▲");
        out.line(format_args!("  {mark} {problem}"))?;
    }
    let place = ctx.state.checkpoints();
    out.line(format_args!(
        "in {}, and pin their images; nothing was done",
        place.display()
    ))?;
    Ok(exit)
}

async fn create(what: &CreateCheckpoint, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    let cancel = CancellationToken::new();
    let (to, mut from) = mpsc::channel(64);
    let is_quiet = out.is_json() && out.verbose == 0;
    let telling = tokio::spawn(async move {
        while let Some(progress) = from.recv().await {
            match progress {
                _ if is_quiet => {}
                Progress::Note(text) => talk(format_args!("  {text}")),
                Progress::Counted { what, done, .. } => {
                    talk(format_args!("  {what}: {} MiB", done / (1024 * 1024)));
                }
                Progress::StepStarted { .. } | Progress::StepEnded { .. } => {}
            }
        }
    });
    // INT and TERM leave nothing behind: the staging folder is removed first.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let work = checkpoint::create(ctx, what, to, cancel.clone());
    tokio::pin!(work);
    let mut ended_by = None;
    let created = loop {
        tokio::select! {
            created = &mut work => break created,
            _ = interrupt.recv() => ended_by = Some(Exit::Interrupted),
            _ = terminate.recv() => ended_by = Some(Exit::Terminated),
        }
        cancel.cancel();
    };
    let _ = telling.await;
    match (created, ended_by) {
        (Ok((manifest, path)), _) => {
            show(&manifest, &path, out)?;
            Ok(if manifest.complete {
                Exit::Done
            } else {
                Exit::NotSure
            })
        }
        (Err(error), Some(exit)) => {
            talk_error(&error);
            Ok(exit)
        }
        (Err(error), None) => Err(error.into()),
    }
}

fn list(ctx: &Context, out: &mut Output) -> Ended {
    let found = checkpoint::list(ctx)?;
    if out.is_json() {
        let checkpoints: Vec<Row<'_>> = found.iter().map(Row::of).collect();
        out.json("checkpoints", &Rows { checkpoints })?;
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        let place = ctx.state.checkpoints();
        out.line(format_args!("no checkpoints in {}", place.display()))?;
        out.line("  make one before the deploy:  lastgood checkpoint create --label L")?;
    }
    for one in &found {
        match &one.manifest {
            Ok(manifest) => {
                let names: Vec<String> =
                    manifest.services.iter().map(|s| s.id.to_string()).collect();
                let (mark, paint) = if manifest.complete {
                    ("✔", Paint::Good)
                } else {
                    ("▲", Paint::Warning)
                };
                // The folder's name holds only the plain letters of the label.
                let label = manifest
                    .label
                    .as_ref()
                    .filter(|label| !one.id.ends_with(label.as_str()))
                    .map_or(String::new(), |label| format!(" ({label})"));
                out.line(format_args!(
                    "{} {}{label}  {}  by {}{}",
                    out.paint(paint, mark),
                    one.id,
                    names.join(" "),
                    manifest.by,
                    if manifest.complete {
                        ""
                    } else {
                        "  not complete"
                    },
                ))?;
            }
            Err(cause) => {
                let mark = out.paint(Paint::Bad, "✖");
                out.line(format_args!(
                    "{mark} {}  {cause}",
                    SafeText::from_text(&one.id)
                ))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn show(manifest: &Manifest, path: &Path, out: &mut Output) -> Ended {
    if out.is_json() {
        out.json("checkpoint", &View::of(manifest, path))?;
        return Ok(Exit::Done);
    }
    out.line(format_args!("checkpoint {}", manifest.id))?;
    out.line(format_args!("  {}", path.display()))?;
    for service in &manifest.services {
        let log = service
            .log
            .as_ref()
            .map_or_else(|| "no log".to_owned(), |log| format!("{} lines", log.lines));
        out.line(format_args!(
            "  {}  {}  {log}, {} files, {}{}",
            service.id,
            service.release,
            service.files.len(),
            service.health.map_or("health unknown", HealthState::as_str),
            if service.image_copy.is_some() {
                ", image copied"
            } else if service.pinned.is_some() {
                ", pinned"
            } else {
                ""
            },
        ))?;
        if let Some(revision) = &service.schema_revision {
            out.line(format_args!(
                "    schema: {}",
                SafeText::from_text(revision)
            ))?;
        }
        if let Some(missing) = service.log.as_ref().and_then(|log| log.missing.as_ref()) {
            out.line(format_args!("    log: {missing}"))?;
        }
    }
    for problem in &manifest.problems {
        let mark = out.paint(Paint::Warning, "▲");
        out.line(format_args!("  {mark} {problem}"))?;
    }
    if !manifest.complete {
        out.line("  not complete: it is no rollback target of its own accord")?;
    }
    Ok(Exit::Done)
}

async fn verify(id: Option<&str>, all: bool, ctx: &Context, out: &mut Output) -> Ended {
    let mut found = match id {
        Some(id) => vec![checkpoint::find(ctx, id)?],
        None => checkpoint::list(ctx)?,
    };
    if id.is_none() && !all {
        // Without a name the newest whole one, which is what one would go back to.
        found.retain(|c| c.manifest.is_ok());
        found.truncate(1);
    }
    let mut checkpoints = Vec::new();
    for one in &found {
        checkpoints.push(checkpoint::verify(ctx, one).await);
    }
    let is_ok = checkpoints.iter().all(|c| c.ok);
    if out.is_json() {
        out.json("checkpoint-verify", &Verified { checkpoints })?;
    } else {
        if checkpoints.is_empty() {
            out.line("no checkpoint to verify")?;
        }
        for one in &checkpoints {
            let mark = if one.ok {
                out.paint(Paint::Good, "✔")
            } else {
                out.paint(Paint::Bad, "✖")
            };
            out.line(format_args!("{mark} {}  {} files", one.id, one.files))?;
            for problem in &one.problems {
                out.line(format_args!("    {problem}"))?;
            }
        }
    }
    Ok(if is_ok { Exit::Done } else { Exit::No })
}

/// A checkpoint as scripts read it.
#[derive(Serialize)]
struct View<'a> {
    id: &'a str,
    path: &'a Path,
    created_at: Timestamp,
    label: Option<&'a SafeText>,
    by: &'a SafeText,
    services: Vec<ServiceView<'a>>,
    complete: bool,
    problems: &'a [SafeText],
}

/// A service of it: `pinned` says whether its image is, `pin` by which tag.
#[derive(Serialize)]
struct ServiceView<'a> {
    pinned: bool,
    pin: Option<&'a str>,
    image_copy: Option<&'a Path>,
    id: &'a ServiceId,
    runtime: Runtime,
    log: Option<&'a SavedLog>,
    files: &'a [SavedFile],
    release: &'a Release,
    health: Option<HealthState>,
    probes: &'a [SafeText],
    schema_revision: Option<&'a str>,
    restarts: u64,
}

impl<'a> ServiceView<'a> {
    fn of(saved: &'a SavedService) -> Self {
        Self {
            pinned: saved.pinned.is_some(),
            pin: saved.pinned.as_deref(),
            image_copy: saved.image_copy.as_deref(),
            id: &saved.id,
            runtime: saved.runtime,
            log: saved.log.as_ref(),
            files: &saved.files,
            release: &saved.release,
            health: saved.health,
            probes: &saved.probes,
            schema_revision: saved.schema_revision.as_deref(),
            restarts: saved.restarts,
        }
    }
}

impl<'a> View<'a> {
    fn of(manifest: &'a Manifest, path: &'a Path) -> Self {
        Self {
            id: &manifest.id,
            path,
            created_at: manifest.created_at,
            label: manifest.label.as_ref(),
            by: &manifest.by,
            services: manifest.services.iter().map(ServiceView::of).collect(),
            complete: manifest.complete,
            problems: &manifest.problems,
        }
    }
}

/// One line of the list.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    path: &'a Path,
    created_at: Option<Timestamp>,
    label: Option<&'a SafeText>,
    services: Vec<&'a ServiceId>,
    complete: bool,
    partial: bool,
    problems: Vec<&'a SafeText>,
}

impl<'a> Row<'a> {
    fn of(checkpoint: &'a Checkpoint) -> Self {
        let manifest = checkpoint.manifest.as_ref().ok();
        Self {
            id: &checkpoint.id,
            path: &checkpoint.path,
            created_at: manifest.map(|m| m.created_at),
            label: manifest.and_then(|m| m.label.as_ref()),
            services: manifest
                .map_or_else(Vec::new, |m| m.services.iter().map(|s| &s.id).collect()),
            complete: manifest.is_some_and(|m| m.complete),
            partial: manifest.is_none(),
            problems: match &checkpoint.manifest {
                Ok(manifest) => manifest.problems.iter().collect(),
                Err(cause) => vec![cause.why()],
            },
        }
    }
}

#[derive(Serialize)]
struct Rows<'a> {
    checkpoints: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Verified {
    checkpoints: Vec<Verification>,
}

#[derive(Serialize)]
struct Foreseen<'a> {
    services: Vec<&'a ServiceId>,
    problems: Vec<SafeText>,
}

#[derive(Serialize)]
struct Exported<'a> {
    id: &'a str,
    file: SafeText,
    bytes: u64,
}

/// What to do with checkpoints.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum CheckpointCommand {
    /// Save logs, health, signals, configs and releases now
    Create {
        /// Names of services; all without any
        services: Vec<String>,
        /// All services (the default without names)
        #[arg(long, conflicts_with = "services")]
        all: bool,
        /// What to call it
        #[arg(long, value_name = "L")]
        label: Option<String>,
        /// Logs from this time on: 30m (ago), 15:00, "2025-12-27 14:50", or RFC 3339
        #[arg(long, value_name = "T")]
        since: Option<String>,
    },
    /// Every checkpoint, the newest first
    List,
    /// What one holds
    Show {
        /// Its id
        id: String,
    },
    /// Check files and pinned images
    Verify {
        /// Its id
        id: Option<String>,
        /// Every checkpoint
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
    /// Write one as a single file, exact, secrets included
    Export {
        /// Its id
        id: String,
        /// The file, ending in .tar.gz or .tar.zst
        #[arg(value_name = "FILE")]
        to: std::path::PathBuf,
    },
    /// Remove old ones with the names that keep their images; never the last good one of a service
    Prune {
        /// Keep so many of the newest (default, without --keep-within: as configured, 20)
        #[arg(long, value_name = "N")]
        keep_last: Option<usize>,
        /// Keep what is younger: 12h, 7d
        #[arg(long, value_name = "T")]
        keep_within: Option<String>,
    },
    /// Put the saved configuration files back, after a look at the differences
    Restore {
        /// Its id
        id: String,
        /// Only this service's files
        #[arg(long, value_name = "S")]
        service: Option<String>,
    },
}
