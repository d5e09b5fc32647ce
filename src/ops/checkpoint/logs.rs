//! Saves the log of a service: the same reader as the screen's, with a closed window and back-pressure.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::domain::checkpoint::SavedLog;
use crate::domain::log::{LogEvent, LogPosition, LogRequest, Window};
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::ops::services::{failed, host_of};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime;
use crate::store::StoreError;
use crate::store::checkpoint::{LogFile, LogTotals, Staging};

/// Blocks between the reader and the compressor: a few MiB at most.
const BLOCKS: usize = 32;
/// Lines that are saved where the whole log did not fit into the budget.
const NEWEST: u64 = 100_000;

/// What one reading gave.
struct Read {
    totals: LogTotals,
    /// What the source told to be missing.
    missing: Vec<String>,
    /// Why the source ended early.
    error: Option<OpsError>,
}

/// Saves the log of a window into a checkpoint. A log that cannot be read is a problem, not an error.
///
/// # Errors
/// The checkpoint cannot be written.
pub(super) async fn save(
    ctx: &Context,
    service: &Service,
    window: Window,
    staging: &Staging,
    progress: &mpsc::Sender<Progress>,
) -> Result<(Option<SavedLog>, Option<SafeText>), OpsError> {
    let place = log_place(service);
    let file = staging.add_log(&place, has_times(service))?;
    // Before the reading: a line that is written meanwhile then stands on both sides, none is lost.
    let positions = positions(ctx, service).await;
    let request = LogRequest {
        window,
        ..LogRequest::default()
    };
    let read = read_into(ctx, service, &request, file, Some(progress)).await?;
    let mut missing = read.missing;
    let mut problem = None;
    if let Some(error) = read.error {
        let cause = error.to_safe_text();
        missing.push(format!("the log ended early: {cause}"));
        problem = Some(SafeText::from_text(&format!(
            "{}: its log could not be read: {cause}",
            service.id
        )));
    }
    let positions = positions.unwrap_or_else(|error| {
        missing.push(format!("where its files ended: {}", error.to_safe_text()));
        Vec::new()
    });
    let log = SavedLog {
        file: place,
        lines: read.totals.lines,
        bytes: read.totals.bytes,
        from: read.totals.from,
        to: read.totals.to,
        missing: (!missing.is_empty()).then(|| SafeText::from_text(&missing.join("; "))),
        positions,
    };
    Ok((Some(log), problem))
}

/// Saves the newest of a service's log within a time: the whole log if it fits, else its newest lines. Returns
/// what was saved, the cut named.
///
/// # Errors
/// Nothing could be saved at all.
pub(crate) async fn save_with_budget(
    ctx: &Context,
    service: &Service,
    to: &Path,
    budget: Duration,
) -> Result<SafeText, OpsError> {
    if let Some(folder) = to.parent() {
        ctx.state.make_dir(folder)?;
    }
    let window = Window {
        since: None,
        until: Some(Timestamp::now()),
    };
    let whole = LogRequest {
        window,
        ..LogRequest::default()
    };
    let newest = LogRequest {
        tail: Some(NEWEST),
        ..whole.clone()
    };
    let mut cut = None;
    for (request, share) in [(&whole, budget * 2 / 3), (&newest, budget / 3)] {
        let _ = std::fs::remove_file(to);
        let file = LogFile::create(to, ctx.state.file_mode(), has_times(service))?;
        let reading = read_into(ctx, service, request, file, None);
        let Ok(read) = tokio::time::timeout(share, reading).await else {
            cut = Some(format!(
                "; the whole log did not fit into {} s: only the newest {NEWEST} lines",
                budget.as_secs()
            ));
            continue;
        };
        let read = match read {
            Ok(read) => read.error.map_or(Ok(read.totals), Err),
            Err(error) => Err(error),
        };
        let totals = match read {
            Ok(totals) => totals,
            Err(error) => {
                // On a full disk the half of it would take the space that the rollback itself needs.
                let _ = std::fs::remove_file(to);
                return Err(error);
            }
        };
        let lines = totals.lines;
        return Ok(SafeText::from_text(&format!(
            "{lines} lines in {}{}",
            to.display(),
            cut.unwrap_or_default()
        )));
    }
    let _ = std::fs::remove_file(to);
    Err(OpsError::new(
        ErrorKind::Failed,
        format!("no log could be saved within {} s", budget.as_secs()),
    ))
}

/// Where the service's log files end now; empty where its log is not in files.
async fn positions(ctx: &Context, service: &Service) -> Result<Vec<LogPosition>, OpsError> {
    let settings = ctx.config.service(&service.id);
    let host = host_of(ctx, &service.id)?;
    runtime::positions(host, service, &settings)
        .await
        .map_err(|error| failed(format!("cannot look at the log of {}", service.id), error))
}

/// `logs/[<host>/]<group>/<name>.log.zst`.
fn log_place(service: &Service) -> PathBuf {
    let mut place = Path::new("logs").join(service.id.relative_path());
    place.as_mut_os_string().push(".log.zst");
    place
}

/// Whether the runtime gives each line a time of its own, which is then written in front of it.
fn has_times(service: &Service) -> bool {
    matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Swarm
    )
}

/// Reads into a file: the reader on this task, compression on a thread of its own.
async fn read_into(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    mut file: LogFile,
    progress: Option<&mpsc::Sender<Progress>>,
) -> Result<Read, OpsError> {
    let (to, mut from) = mpsc::channel(BLOCKS);
    let what = SafeText::from_text(&format!("log of {}", service.id));
    let progress = progress.cloned();
    let writer =
        tokio::task::spawn_blocking(move || -> Result<(LogTotals, Vec<String>), StoreError> {
            let mut missing = Vec::new();
            let mut told = 0;
            while let Some(event) = from.blocking_recv() {
                match event {
                    LogEvent::Block(block) => file.write(&block)?,
                    LogEvent::Opened(_) => {}
                    LogEvent::Note(note) => {
                        if note.kind.is_loss() {
                            missing.push(format!("{}: {}", note.kind.as_str(), note.detail));
                        }
                    }
                }
                let done = file.totals().bytes;
                if let Some(progress) = &progress
                    && done >= told + 1024 * 1024
                {
                    told = done;
                    let _ = progress.try_send(Progress::Counted {
                        what: what.clone(),
                        done,
                        total: None,
                    });
                }
            }
            let totals = file.finish()?;
            if totals.cut_lines > 0 {
                missing.push(format!(
                    "{} lines were over 1 MiB and were cut",
                    totals.cut_lines
                ));
            }
            Ok((totals, missing))
        });
    let result = crate::ops::logs::read(ctx, service, request, to).await;
    let written = writer
        .await
        .map_err(|error| OpsError::new(ErrorKind::Failed, "cannot write the log").because(error))?;
    let (totals, missing) = written?;
    Ok(Read {
        totals,
        missing,
        error: result.err(),
    })
}
