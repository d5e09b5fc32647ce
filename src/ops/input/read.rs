//! Opens an input and scans it, on threads of its own.

use std::path::{Path, PathBuf};

use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Input, file};
use crate::analysis::compare::{SideLogs, SideService};
use crate::analysis::parse::time::TimeReader;
use crate::analysis::scan::{Scan, ScanOptions, Scanner, ServiceScan};
use crate::domain::checkpoint::{Manifest, SavedService};
use crate::domain::log::{LogEvent, LogPosition, LogRequest, Window};
use crate::domain::outcome::{AuditRecord, OutcomeKind};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Service, ServiceId};
use crate::domain::settings::RequestRules;
use crate::domain::time;
use crate::ops::{Context, ErrorKind, OpsError, audit, checkpoint, logs, services};

/// Blocks that may wait between a source and its scanner.
const BLOCKS: usize = 16;
/// Only so many saved logs are scanned at once.
const AT_ONCE: usize = 2;

/// What else to find out while reading.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadOptions {
    /// Keep which pattern each record belongs to.
    pub assign: bool,
    /// Keep in what order each service wrote.
    pub course: bool,
    /// Keep the records of the request with this key.
    pub traced: Option<u64>,
    /// Requests over so many milliseconds are slow.
    pub slow_over_ms: Option<f64>,
}

/// The checkpoint that "after" is held against: nothing from before it was made is read.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    /// What the checkpoint holds.
    pub manifest: Manifest,
    /// Its folder.
    pub path: PathBuf,
}

/// One input, read.
#[derive(Debug)]
pub(crate) struct ReadSide {
    /// The services with what they wrote.
    pub logs: SideLogs,
    /// The totals of each source: lines, cut lines, slow requests, assignments. Its services were moved out.
    pub scans: Vec<Scan>,
    /// The checkpoint, where the input is one.
    pub baseline: Option<Baseline>,
    /// The services as they run now, where the input is live.
    pub live: Vec<Service>,
    /// What could not be read, in words.
    pub missing: Vec<SafeText>,
}

impl ReadSide {
    pub(super) fn new(input: &Input) -> Self {
        Self {
            logs: SideLogs {
                input: SafeText::from_text(&input.to_string()),
                services: Vec::new(),
            },
            scans: Vec::new(),
            baseline: None,
            live: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        name: &dyn Fn(&ServiceScan) -> ServiceId,
        mut scan: Scan,
        observed: Option<(i64, i64)>,
    ) {
        if scan.cut_lines > 0 {
            self.missing.push(SafeText::from_text(&format!(
                "{}: {} over 1 MiB cut short",
                self.logs.input,
                crate::analysis::judge::count(scan.cut_lines, "line")
            )));
        }
        if scan.dropped > 0 {
            self.missing.push(SafeText::from_text(&format!(
                "{}: {} of rare shapes are not told apart, there are too many different ones",
                self.logs.input,
                crate::analysis::judge::count(scan.dropped, "record")
            )));
        }
        for scan in std::mem::take(&mut scan.services) {
            self.logs.services.push(SideService {
                id: name(&scan),
                scan,
                observed,
            });
        }
        self.scans.push(scan);
    }
}

impl ReadSide {
    /// Adds what a running service wrote. One that wrote nothing was watched all the same.
    pub(super) fn add_live(&mut self, id: &ServiceId, scan: Scan, observed: Option<(i64, i64)>) {
        let is_silent = scan.services.is_empty();
        self.add(&|_| id.clone(), scan, observed);
        if is_silent {
            self.logs.services.push(SideService {
                id: id.clone(),
                scan: ServiceScan::default(),
                observed,
            });
        }
    }
}

/// Reads an input. `baseline` is the other side's checkpoint; `only` keeps one service.
///
/// # Errors
/// What was named does not exist or cannot be read at all. Parts of it that cannot be read stand in
/// [`ReadSide::missing`].
pub(crate) async fn read(
    ctx: &Context,
    input: &Input,
    baseline: Option<&Baseline>,
    only: Option<&str>,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<ReadSide, OpsError> {
    let mut side = ReadSide::new(input);
    match input {
        Input::Path(path) => read_path(path, &mut side, options, cancel).await?,
        Input::Stdin => read_stdin(&mut side, options, cancel).await?,
        Input::Checkpoint { id, service } => {
            let only = service.as_deref().or(only);
            let baseline = open_checkpoint(ctx, id)?;
            read_checkpoint(ctx, &baseline, only, &mut side, options, cancel).await?;
            side.baseline = Some(baseline);
        }
        Input::Service { name, since, until } => {
            let inventory = services::discover_for(ctx, std::slice::from_ref(name)).await;
            let service = services::resolve(&inventory, name)?.clone();
            let window = (parse_time(since.as_deref())?, parse_time(until.as_deref())?);
            read_live(ctx, &service, window, baseline, &mut side, options, cancel).await?;
            side.live.push(service);
        }
        Input::Now => read_now(ctx, baseline, only, &mut side, options, cancel).await?,
    }
    if let Some(only) = only {
        side.logs.services.retain(|s| s.id.matches(only));
    }
    Ok(side)
}

/// The checkpoint with its manifest.
pub(crate) fn open_checkpoint(ctx: &Context, id: &str) -> Result<Baseline, OpsError> {
    let found = checkpoint::find(ctx, id)?;
    match found.manifest {
        Ok(manifest) => Ok(Baseline {
            manifest,
            path: found.path,
        }),
        Err(why) => Err(OpsError::new(
            ErrorKind::Usage,
            format!("checkpoint {} cannot be compared: {why}", found.id),
        )
        .fix("lastgood checkpoint list")),
    }
}

fn parse_time(text: Option<&str>) -> Result<Option<Timestamp>, OpsError> {
    text.map(|text| {
        time::parse(text, &Zoned::now()).map_err(|why| OpsError::new(ErrorKind::Usage, why))
    })
    .transpose()
}

fn scanner(
    rules: &RequestRules,
    reference: &Zoned,
    options: ReadOptions,
) -> Result<Scanner, OpsError> {
    scan_options(rules, reference, options).map(Scanner::new)
}

pub(super) fn scan_options(
    rules: &RequestRules,
    reference: &Zoned,
    options: ReadOptions,
) -> Result<ScanOptions, OpsError> {
    let base = ScanOptions::new(rules, TimeReader::new(reference))
        .map_err(|why| OpsError::new(ErrorKind::Usage, why).fix("lastgood config check"))?;
    Ok(ScanOptions {
        assign: options.assign,
        course: options.course,
        traced: options.traced,
        slow_over_ms: options.slow_over_ms,
        ..base
    })
}

/// Runs something that reads and computes on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpsError> + Send + 'static,
) -> Result<T, OpsError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        OpsError::new(ErrorKind::Failed, "reading a log broke off").because(error)
    })?
}

/// The service of a line without a prefix, in a file: the file's name without its endings.
fn file_service(path: &Path) -> ServiceId {
    let name = path
        .file_name()
        .map_or_else(|| "log".into(), |n| n.to_string_lossy());
    let stem = name
        .split('.')
        .find(|part| !part.is_empty())
        .unwrap_or("log");
    ServiceId::local("file", stem)
}

async fn read_path(
    path: &Path,
    side: &mut ReadSide,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let (path, cancel) = (path.to_owned(), cancel.clone());
    let whole = file_service(&path);
    let scan = blocking(move || {
        let file = file::open(&path)?;
        let scanner = scanner(&RequestRules::default(), &file::written_at(&file), options)?;
        file::scan_file(file, &path.display().to_string(), scanner, true, &cancel)
    })
    .await?;
    side.add(&|scan| named(scan, &whole), scan, None);
    Ok(())
}

fn named(scan: &ServiceScan, whole: &ServiceId) -> ServiceId {
    match &scan.name {
        Some(name) => ServiceId::local("file", name.clone()),
        None => whole.clone(),
    }
}

async fn read_stdin(
    side: &mut ReadSide,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let cancel = cancel.clone();
    let scan = blocking(move || {
        let scanner = scanner(&RequestRules::default(), &Zoned::now(), options)?;
        file::scan(std::io::stdin(), "standard input", scanner, true, &cancel)
    })
    .await?;
    let whole = ServiceId::local("file", "stdin");
    side.add(&|scan| named(scan, &whole), scan, None);
    Ok(())
}

async fn read_checkpoint(
    ctx: &Context,
    baseline: &Baseline,
    only: Option<&str>,
    side: &mut ReadSide,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let wanted: Vec<&SavedService> = baseline
        .manifest
        .services
        .iter()
        .filter(|s| only.is_none_or(|name| s.id.matches(name)))
        .collect();
    if wanted.is_empty() {
        let have: Vec<String> = baseline
            .manifest
            .services
            .iter()
            .map(|s| s.id.to_string())
            .collect();
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "checkpoint {} has no service {:?}; it has {}",
                baseline.manifest.id,
                only.unwrap_or(""),
                have.join(", ")
            ),
        ));
    }
    let created = baseline.manifest.created_at;
    for some in wanted.chunks(AT_ONCE) {
        let mut tasks = Vec::new();
        for service in some {
            let Some(log) = &service.log else {
                side.missing.push(SafeText::from_text(&format!(
                    "{}: the checkpoint has no log of it",
                    service.id
                )));
                continue;
            };
            if let Some(missing) = &log.missing {
                side.missing.push(SafeText::from_text(&format!(
                    "{}: the checkpoint's log is not whole: {missing}",
                    service.id
                )));
            }
            let path = baseline.path.join(&log.file);
            let rules = ctx.config.service(&service.id).requests;
            let reference = created.to_zoned(jiff::tz::TimeZone::system());
            let cancel = cancel.clone();
            let task = tokio::spawn(blocking(move || {
                let file = file::open(&path)?;
                let options = scan_options(&rules, &reference, options)?;
                let scanner = Scanner::new(ScanOptions {
                    prefixes: false,
                    ..options
                });
                file::scan(file, &path.display().to_string(), scanner, false, &cancel)
            }));
            let observed = log
                .from
                .map(|from| (from.as_millisecond(), created.as_millisecond()));
            tasks.push((service.id.clone(), observed, task));
        }
        for (id, observed, task) in tasks {
            let scan = task.await.map_err(|error| {
                OpsError::new(ErrorKind::Failed, "reading a log broke off").because(error)
            })??;
            side.add(&|_| id.clone(), scan, observed);
        }
    }
    Ok(())
}

async fn read_now(
    ctx: &Context,
    baseline: Option<&Baseline>,
    only: Option<&str>,
    side: &mut ReadSide,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let Some(baseline) = baseline else {
        return Err(OpsError::new(
            ErrorKind::Usage,
            "\"now\" needs a checkpoint on the other side",
        )
        .fix("lastgood compare checkpoint:ID service:NAME"));
    };
    // Another machine that is away says nothing of these.
    let names: Vec<String> = match only {
        Some(only) => vec![only.to_owned()],
        None => baseline
            .manifest
            .services
            .iter()
            .map(|saved| saved.id.to_string())
            .collect(),
    };
    let inventory: Inventory = services::discover_for(ctx, &names).await;
    for unreachable in &inventory.unreachable {
        side.missing.push(SafeText::from_text(&format!(
            "{} on {} could not be read: {}",
            unreachable.runtime.as_str(),
            unreachable.host,
            unreachable.error
        )));
    }
    for saved in &baseline.manifest.services {
        if only.is_some_and(|name| !saved.id.matches(name)) {
            continue;
        }
        let Some(service) = inventory.find(&saved.id) else {
            side.missing.push(SafeText::from_text(&format!(
                "{}: it was in the checkpoint and is not found now",
                saved.id
            )));
            continue;
        };
        // One service that cannot be read must not hide the others.
        if let Err(error) = read_live(
            ctx,
            service,
            (None, None),
            Some(baseline),
            side,
            options,
            cancel,
        )
        .await
        {
            side.missing.push(SafeText::from_text(&format!(
                "{}: its log could not be read: {}",
                saved.id,
                error.to_safe_text()
            )));
        }
        side.live.push(service.clone());
    }
    Ok(())
}

/// When a service of the checkpoint was last rolled back since it was made: from then on the failing release is not what
/// is compared any more, in the logs of its neighbours neither. The creation of its own containers shows it by itself,
/// and earlier: with `but` that service is left out.
fn rolled_back_at(
    records: &[AuditRecord],
    manifest: &Manifest,
    but: Option<&ServiceId>,
) -> Option<Timestamp> {
    let applied = [OutcomeKind::Verified, OutcomeKind::AppliedNotVerified].map(OutcomeKind::as_str);
    let is_known =
        |id: &ServiceId| Some(id) != but && manifest.services.iter().any(|s| s.id == *id);
    records
        .iter()
        .rev()
        .find(|r| {
            r.operation == "roll-back"
                && r.at > manifest.created_at
                && r.services.iter().any(is_known)
                && r.outcome
                    .as_ref()
                    .is_some_and(|o| applied.contains(&o.as_str()))
        })
        .map(|r| r.at)
}

/// What to read of a running service: from `since`, else from where the checkpoint's files ended or from the creation of
/// its containers, and then not from before the last rollback; never from before the checkpoint was made.
pub(super) fn request(
    service: &Service,
    window: (Option<Timestamp>, Option<Timestamp>),
    baseline: Option<&Baseline>,
    records: &[AuditRecord],
) -> LogRequest {
    let saved = baseline.and_then(|b| b.manifest.services.iter().find(|s| s.id == service.id));
    let mut positions: Vec<LogPosition> = match (window.0, saved.and_then(|s| s.log.as_ref())) {
        (None, Some(log)) => log.positions.clone(),
        _ => Vec::new(),
    };
    let has_positions = !positions.is_empty();
    let own = (!has_positions).then_some(&service.id);
    let rolled_back = match window.0 {
        Some(_) => None,
        None => baseline.and_then(|b| rolled_back_at(records, &b.manifest, own)),
    };
    let created = service.instances.iter().filter_map(|i| i.created_at).min();
    let floor = baseline.map(|b| b.manifest.created_at);
    let since = match (window.0, rolled_back) {
        (Some(since), _) => Some(since).max(floor),
        (None, Some(at)) if has_positions => {
            positions.clear();
            Some(at)
        }
        // Byte offsets are exact where times may have no zone.
        (None, None) if has_positions => None,
        (None, at) => created.max(floor).max(at),
    };
    LogRequest {
        window: Window {
            since,
            until: window.1,
        },
        from: positions,
        ..LogRequest::default()
    }
}

/// Process starts inside the window: their first minute, or tenth of the window, is warm-up.
pub(super) fn warm_up(service: &Service, window: &Window, now: Timestamp) -> Vec<(i64, i64)> {
    let until = window.until.unwrap_or(now).as_millisecond();
    let starts = service
        .instances
        .iter()
        .filter_map(|i| i.started_at)
        .map(|t| t.as_millisecond());
    let first = window.since.map_or(i64::MIN, |s| s.as_millisecond());
    starts
        .filter(|start| (first..until).contains(start))
        .map(|start| {
            let from = first.max(start);
            (start, start + (60_000).min((until - from) / 10))
        })
        .collect()
}

async fn read_live(
    ctx: &Context,
    service: &Service,
    window: (Option<Timestamp>, Option<Timestamp>),
    baseline: Option<&Baseline>,
    side: &mut ReadSide,
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let records = match baseline {
        Some(_) => audit::list(ctx)?,
        None => Vec::new(),
    };
    let request = request(service, window, baseline, &records);
    let now = Zoned::now();
    let base = scan_options(&ctx.config.service(&service.id).requests, &now, options)?;
    let scan_options = ScanOptions {
        prefixes: false,
        warm_up: warm_up(service, &request.window, now.timestamp()),
        ..base
    };
    let (to, mut from) = mpsc::channel::<LogEvent>(BLOCKS);
    let stop = cancel.clone();
    let id = service.id.clone();
    let reading = tokio::spawn(blocking(move || {
        let mut scanner = Scanner::new(scan_options);
        let mut missing = Vec::new();
        while let Some(event) = from.blocking_recv() {
            if stop.is_cancelled() {
                return Err(OpsError::new(ErrorKind::Failed, "reading was cancelled"));
            }
            missing.extend(take(event, &id, &mut scanner));
        }
        Ok((scanner.finish(), missing))
    }));
    let sent = logs::read(ctx, service, &request, to).await;
    let (scan, missing) = reading.await.map_err(|error| {
        OpsError::new(ErrorKind::Failed, "reading a log broke off").because(error)
    })??;
    sent?;
    side.missing.extend(missing);
    let until = request.window.until.unwrap_or(now.timestamp());
    side.add_live(&service.id, scan, observed(&request, baseline, until));
    Ok(())
}

/// Since when a service is watched, and until when, in milliseconds since 1970.
pub(super) fn observed(
    request: &LogRequest,
    baseline: Option<&Baseline>,
    until: Timestamp,
) -> Option<(i64, i64)> {
    let since = request.window.since;
    let since = since.or(baseline.map(|b| b.manifest.created_at))?;
    Some((since.as_millisecond(), until.as_millisecond()))
}

/// Scans what came of a service's log, and says what of it is lost.
pub(super) fn take(event: LogEvent, id: &ServiceId, scanner: &mut Scanner) -> Option<SafeText> {
    match event {
        LogEvent::Block(block) => {
            for (line, text) in block.iter() {
                scanner.feed_line(line.at.map(|at| at.as_millisecond()), text);
            }
            None
        }
        LogEvent::Note(note) => note.kind.is_loss().then(|| {
            let what = note.kind.as_str();
            SafeText::from_text(&format!("{id}: {what}: {}", note.detail))
        }),
        LogEvent::Opened(_) => None,
    }
}

#[cfg(test)]
mod tests;
