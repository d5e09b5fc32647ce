//! Checkpoints: create, list, find, verify, export.

mod configs;
mod images;
pub(crate) mod logs;
pub(crate) mod pin;
pub(crate) mod prune;
mod swarm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::{Timestamp, Zoned};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::code;
use super::input::Input;
use super::patterns::PatternReport;
use super::roll_back::target::check_files;
use super::{Access, Context, ErrorKind, OpsError, migrations, notify};
use crate::domain::checkpoint::{
    Checkpoint, MANIFEST_SCHEMA, Manifest, SavedFile, SavedLog, SavedService, Verification,
};
use crate::domain::health::{HealthReport, ServiceHealth};
use crate::domain::log::Window;
use crate::domain::outcome::Progress;
use crate::domain::pm2::SavedPm2;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Release, Runtime, Service, ServiceId};
use crate::domain::signal::ServiceSignals;
use crate::host::Host;
use crate::runtime::pm2;
use crate::store::checkpoint::{self as store, Staging};

/// What to put into a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct CreateCheckpoint {
    /// Names of services; empty for all.
    pub services: Vec<String>,
    /// What to call it.
    pub label: Option<String>,
    /// Logs from this instant on; `None` for all there is.
    pub since: Option<Timestamp>,
}

/// One line of `releases.json`.
#[derive(Debug, Serialize)]
struct ReleaseRow<'a> {
    id: &'a ServiceId,
    runtime: Runtime,
    release: &'a Release,
    instances: usize,
    restarts: u64,
}

/// The services that [`create`] would save, and what would keep the checkpoint from being complete. Writes nothing.
///
/// # Errors
/// Unknown service, or no runtime can be read.
pub async fn foresee(
    ctx: &Context,
    what: &CreateCheckpoint,
) -> Result<(Vec<Service>, Vec<SafeText>), OpsError> {
    choose(
        super::services::discover_for(ctx, &what.services).await,
        &what.services,
    )
}

/// The patterns of one service in `patterns.json`.
#[derive(Debug, Serialize)]
struct PatternRow {
    id: ServiceId,
    report: Option<PatternReport>,
    error: Option<SafeText>,
}

/// Saves logs, health, signals, configs and releases of the services, pins their images, and writes the
/// manifest last. Staged in `.<id>.partial` and renamed when whole; cancelling removes the staging folder.
///
/// # Errors
/// Unknown service, full disk, state folder not writable. A service whose log cannot be read does not stop the
/// others: the manifest is then not complete and names it.
pub async fn create(
    ctx: &Context,
    what: &CreateCheckpoint,
    progress: mpsc::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<(Manifest, PathBuf), OpsError> {
    let (mut manifest, path) = make(ctx, what, progress, cancel).await?;
    let ids: Vec<ServiceId> = manifest.services.iter().map(|s| s.id.clone()).collect();
    let title = format!(
        "checkpoint {} of {} services by {}",
        manifest.id,
        ids.len(),
        manifest.by
    );
    if let Err(error) = notify::changed(ctx, &title, &ids, Some(&manifest.id)).await {
        manifest.problems.push(error.to_safe_text());
    }
    Ok((manifest, path))
}

/// The same, and nobody is told: a watch that makes one every hour changes nothing that people did.
pub(crate) async fn make(
    ctx: &Context,
    what: &CreateCheckpoint,
    progress: mpsc::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<(Manifest, PathBuf), OpsError> {
    let (services, mut problems) = choose(
        super::services::discover_for(ctx, &what.services).await,
        &what.services,
    )?;
    let mut is_complete = problems.is_empty();
    let created_at = Timestamp::now();
    let staging = Staging::begin(&ctx.state, what.label.as_deref(), &Zoned::now())?;

    let work = save_all(ctx, what.since, &services, &staging, &progress);
    let saved = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        saved = work => saved?,
    };
    let (mut rows, mut found) = saved;
    let gone = if what.services.is_empty() && !found.is_empty() {
        drop_vanished(ctx, &mut rows, &mut found).await
    } else {
        Vec::new()
    };
    is_complete &= found.is_empty();
    problems.extend(found);
    problems.extend(gone);

    note(&progress, "pinning images");
    problems.extend(pin::pin_all(ctx, staging.id(), &mut rows).await);
    problems.extend(migrations::record(ctx, &services, &mut rows).await);
    if ctx.config.save_images {
        let copies = images::save_all(ctx, &staging, &mut rows, &progress);
        problems.extend(tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            lost = copies => lost?,
        });
    }
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        id: String::new(),
        created_at,
        label: what.label.as_deref().map(SafeText::from_text),
        by: SafeText::from_text(&ctx.actor.user),
        services: rows,
        sums_sha256: String::new(),
        complete: is_complete,
        problems,
    };
    note(&progress, "writing checksums");
    let finished = tokio::task::spawn_blocking(move || staging.finish(manifest)).await;
    Ok(finished.map_err(|error| {
        OpsError::new(ErrorKind::Failed, "cannot finish the checkpoint").because(error)
    })??)
}

/// A service that was removed while "all" were being saved is no gap in the others: it is left out and named.
async fn drop_vanished(
    ctx: &Context,
    rows: &mut Vec<SavedService>,
    problems: &mut Vec<SafeText>,
) -> Vec<SafeText> {
    let now = super::services::discover(ctx).await;
    if !now.unreachable.is_empty() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    rows.retain(|row| {
        if now.find(&row.id).is_some() {
            return true;
        }
        let own = format!("{}: ", row.id);
        problems.retain(|problem| !problem.as_str().starts_with(&own));
        notes.push(SafeText::from_text(&format!(
            "{} was removed while the checkpoint was made",
            row.id
        )));
        false
    });
    notes
}

fn cancelled() -> OpsError {
    OpsError::new(
        ErrorKind::Refused,
        "the checkpoint was cancelled; nothing of it was kept",
    )
}

fn note(progress: &mpsc::Sender<Progress>, text: &str) {
    // A slow listener misses a line and slows nothing.
    let _ = progress.try_send(Progress::Note(SafeText::from_text(text)));
}

/// The services to save, and what could not be looked at.
fn choose(
    inventory: Inventory,
    names: &[String],
) -> Result<(Vec<Service>, Vec<SafeText>), OpsError> {
    if !names.is_empty() {
        return Ok((super::services::choose(&inventory, names)?, Vec::new()));
    }
    if inventory.services.is_empty() {
        return Err(match inventory.unreachable.first() {
            Some(cause) => OpsError::new(
                ErrorKind::Failed,
                format!(
                    "no service could be read: {}: {}",
                    cause.runtime.as_str(),
                    cause.error
                ),
            )
            .fix(cause.fix.to_string()),
            None => OpsError::new(ErrorKind::Usage, "no services found").fix("lastgood services"),
        });
    }
    let problems = inventory
        .unreachable
        .iter()
        .map(|cause| {
            SafeText::from_text(&format!(
                "{} on {} could not be read: {}",
                cause.runtime.as_str(),
                cause.host,
                cause.error
            ))
        })
        .collect();
    Ok((inventory.services, problems))
}

/// Saves everything but the pins. Returns the rows of the manifest and what is missing.
async fn save_all(
    ctx: &Context,
    since: Option<Timestamp>,
    services: &[Service],
    staging: &Staging,
    progress: &mpsc::Sender<Progress>,
) -> Result<(Vec<SavedService>, Vec<SafeText>), OpsError> {
    let mut problems = Vec::new();
    note(progress, "health and signals");
    let health = super::health::check(ctx, services).await;
    let signals = measure(ctx, services).await;
    let mut rows = Vec::new();
    let mut patterns = Vec::new();
    for service in services {
        let window = Window {
            since,
            until: Some(Timestamp::now()),
        };
        let (log, problem) = logs::save(ctx, service, window, staging, progress).await?;
        problems.extend(problem);
        if let Some(log) = &log {
            patterns.push(patterns_in(ctx, service, staging.place(&log.file)).await);
        }
        let (files, missing) = configs::save(ctx, service, staging).await?;
        problems.extend(missing);
        let pm2 = match pm2::app(service) {
            Some(app) => Some(SavedPm2 {
                code: code::look(ctx, &service.id, &app).await?,
                app,
            }),
            None => None,
        };
        let (swarm, missing) = swarm::save(ctx, service, staging).await?;
        problems.extend(missing);
        let mut row = row(service, &health, log, files);
        (row.pm2, row.swarm) = (pm2, swarm);
        rows.push(row);
    }
    add_json(staging, "health.json", &health)?;
    add_json(staging, "signals.json", &signals)?;
    add_json(staging, "patterns.json", &patterns)?;
    let releases: Vec<ReleaseRow<'_>> = services
        .iter()
        .map(|service| ReleaseRow {
            id: &service.id,
            runtime: service.runtime,
            release: &service.release,
            instances: service.instances.len(),
            restarts: service.restarts,
        })
        .collect();
    add_json(staging, "releases.json", &releases)?;
    Ok((rows, problems))
}

/// The patterns of a saved log; the log itself is there, so that a failure here is told and stops nothing.
async fn patterns_in(ctx: &Context, service: &Service, log: PathBuf) -> PatternRow {
    let inputs = [Input::Path(log)];
    let found = super::patterns::patterns(ctx, &inputs, false, &CancellationToken::new()).await;
    let (report, error) = match found {
        Ok(report) => (Some(report), None),
        Err(error) => (None, Some(error.to_safe_text())),
    };
    PatternRow {
        id: service.id.clone(),
        report,
        error,
    }
}

async fn measure(ctx: &Context, services: &[Service]) -> Vec<ServiceSignals> {
    let now = Timestamp::now();
    let window = Window::since(now - jiff::SignedDuration::from_mins(15));
    let each = services
        .iter()
        .map(|service| super::signals::measure(ctx, service, window));
    let (mut measured, machines) = futures_util::future::join(
        futures_util::future::join_all(each),
        super::signals::machines(ctx),
    )
    .await;
    measured.extend(machines);
    measured
}

fn row(
    service: &Service,
    health: &HealthReport,
    log: Option<SavedLog>,
    files: Vec<SavedFile>,
) -> SavedService {
    let own = health.services.iter().find(|h| h.id == service.id);
    SavedService {
        id: service.id.clone(),
        runtime: service.runtime,
        log,
        files,
        release: service.release.clone(),
        pinned: None,
        health: own.map(ServiceHealth::of_release),
        probes: own
            .map(|h| h.checks.iter().map(|check| check.name.clone()).collect())
            .unwrap_or_default(),
        compose: service.compose.clone(),
        pm2: None,
        swarm: None,
        image_copy: None,
        schema_revision: None,
        restarts: service.restarts,
        limits: Some(service.limits.clone()),
    }
}

fn add_json(staging: &Staging, name: &str, content: &impl Serialize) -> Result<(), OpsError> {
    let mut json = serde_json::to_vec_pretty(content).map_err(|error| {
        OpsError::new(ErrorKind::Failed, format!("cannot write {name}")).because(error)
    })?;
    json.push(b'\n');
    Ok(staging.add(Path::new(name), &json)?)
}

/// The signals that stand in a checkpoint's folder; none where it was made by a version that kept none.
///
/// # Errors
/// They stand there and cannot be read.
pub(crate) fn saved_signals(folder: &Path) -> Result<Vec<ServiceSignals>, OpsError> {
    let path = folder.join("signals.json");
    let failed = || OpsError::new(ErrorKind::Failed, format!("cannot read {}", path.display()));
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| failed().because(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed().because(error)),
    }
}

/// Every checkpoint, the newest first, partial ones too.
///
/// # Errors
/// The state folder cannot be read.
pub fn list(ctx: &Context) -> Result<Vec<Checkpoint>, OpsError> {
    Ok(store::list(&ctx.state)?)
}

/// The checkpoint with this id, or a unique start of it, or its label.
///
/// # Errors
/// None or several match.
pub fn find(ctx: &Context, id: &str) -> Result<Checkpoint, OpsError> {
    let all = list(ctx)?;
    if let Some(exact) = all.iter().find(|c| c.id == id) {
        return Ok(exact.clone());
    }
    let has_label = |c: &&Checkpoint| {
        let label = c.manifest.as_ref().ok().and_then(|m| m.label.as_ref());
        label.is_some_and(|label| label.as_str() == id)
    };
    let mut found: Vec<&Checkpoint> = all.iter().filter(has_label).collect();
    if found.is_empty() && !id.is_empty() {
        found = all.iter().filter(|c| c.id.starts_with(id)).collect();
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "no checkpoint {id:?} in {}",
                ctx.state.checkpoints().display()
            ),
        )
        .fix("lastgood checkpoint list")),
        many => {
            let ids: Vec<&str> = many.iter().map(|c| c.id.as_str()).collect();
            Err(OpsError::new(
                ErrorKind::Usage,
                format!("{id:?} means several checkpoints: {}", ids.join(", ")),
            ))
        }
    }
}

/// Checks every file against its checksum and every pinned image against the engine.
pub async fn verify(ctx: &Context, checkpoint: &Checkpoint) -> Verification {
    let checked = check_files(checkpoint).await;
    let mut problems = checked.problems();
    if let Ok(manifest) = &checkpoint.manifest {
        for service in &manifest.services {
            problems.extend(pin::problem_of(ctx, service).await);
        }
    }
    Verification {
        id: checkpoint.id.clone(),
        ok: problems.is_empty(),
        files: checked.files,
        problems,
    }
}

/// What is wrong with the image of a service in a checkpoint; `None` where it is there, or there is none.
pub(super) async fn image_problem(ctx: &Context, service: &SavedService) -> Option<SafeText> {
    pin::problem_of(ctx, service).await
}

/// The configuration files that a checkpoint of the service saves, and whether each must be there.
pub(super) async fn config_files(
    ctx: &Context,
    host: &Host,
    service: &Service,
) -> BTreeMap<PathBuf, bool> {
    configs::wanted(ctx, host, service).await
}

/// Writes the checkpoint as one `.tar.gz` or `.tar.zst`, exact, secrets included; encrypted where a command for that is
/// configured. Returns its size.
///
/// # Errors
/// Unknown ending, file exists, disk full (nothing is left behind).
pub fn export(ctx: &Context, checkpoint: &Checkpoint, to: &Path) -> Result<u64, OpsError> {
    if let Err(cause) = &checkpoint.manifest {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("checkpoint {} is not exported: {cause}", checkpoint.id),
        ));
    }
    Ok(store::export(
        checkpoint,
        to,
        ctx.config.encrypt.as_deref(),
    )?)
}

/// Whether this session may put tags on images.
fn may_pin(ctx: &Context) -> bool {
    ctx.access == Access::Full
}
