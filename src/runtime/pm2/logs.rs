//! What an application under PM2 wrote.
//!
//! PM2 writes each stream to a file and sends the same text over its event bus. Reading the past from the files
//! and going on with the bus would need a seam that neither loses nor doubles a line, and nothing gives one: the bus
//! knows no offsets, the files know no times, and the daemon writes to the file after it has told the bus. So the
//! files are all that is read, the past and the present alike: they have exact places, a checkpoint can name
//! them, they survive a restart of the daemon, and [`tail`] follows them through rotation. The kernel tells of
//! each write, so a line is here a few milliseconds after it was written. The bus gives a stream's lines only where
//! there is no file to read: PM2 was told to keep none (`/dev/null`), or we may not read it. Then there is no past.
//!
//! In a follow the bus also tells that a process was started or ended ([`follow`]): a seam in the log.

use std::path::PathBuf;
use std::slice;

use tokio::sync::mpsc;

use super::daemon_of;
use super::service::LogFile;
use crate::domain::log::{LogEvent, LogNote, LogNoteKind, LogPosition, LogRequest, Stream};
use crate::domain::service::{Service, ServiceId};
use crate::domain::settings::ServiceSettings;
use crate::host::Host;
use crate::host::tail::{self, TailError};
use crate::runtime::RuntimeError;

mod change;
mod follow;
mod observe;

/// Blocks that may wait between a file's reader and its listener.
const BLOCKS: usize = 4;

/// Reads the service's log: the files that are configured for it, else those that PM2 writes. A closed read gives one
/// file after the other, stdout before stderr; [`LogRequest::tail`] counts in each file, as `pm2 logs` does. A
/// follow interleaves them as they grow, and finds the files of instances that are started later.
///
/// # Errors
/// No file could be read. In a follow a missing file is waited for instead.
pub async fn read_logs(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    let (daemon, origin) = daemon_of(host, service)?;
    let mut files = files_of(settings, &origin.logs);
    add_earlier(&mut files, &request.from);
    if request.follow {
        let are_all = !settings.log_files.is_empty();
        let files = follow::Files { files, are_all };
        follow::run(
            host,
            &service.id,
            daemon,
            origin.app.name,
            files,
            request,
            to,
        )
        .await;
        return Ok(());
    }
    read_closed(host, &service.id, &files, request, &to)
        .await
        .map_err(|error| {
            RuntimeError::failed(format!("cannot read the log of {}", service.id), error)
        })
}

/// Where the service's log files end now, so that "after" can start exactly there. Streams that PM2 throws away have
/// no place.
///
/// # Errors
/// A file is there and cannot be read.
pub async fn positions(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
) -> Result<Vec<LogPosition>, RuntimeError> {
    let (_, origin) = daemon_of(host, service)?;
    let paths: Vec<PathBuf> = files_of(settings, &origin.logs)
        .into_iter()
        .filter(|file| !file.is_null())
        .map(|file| file.path)
        .collect();
    tail::positions_on(host, &paths).await.map_err(|error| {
        RuntimeError::failed(
            format!("cannot read the log files of {}", service.id),
            error,
        )
    })
}

/// Who configures files says where the log really is.
fn files_of(settings: &ServiceSettings, own: &[LogFile]) -> Vec<LogFile> {
    if settings.log_files.is_empty() {
        return own.to_vec();
    }
    settings
        .log_files
        .iter()
        .map(|path| LogFile {
            path: path.clone(),
            stream: Stream::Stdout,
        })
        .collect()
}

/// A deploy can move the log: what was written to the old place after a checkpoint belongs to "after" as well.
fn add_earlier(files: &mut Vec<LogFile>, from: &[LogPosition]) {
    for position in from {
        if !files.iter().any(|file| file.path == position.path) {
            files.push(LogFile {
                path: position.path.clone(),
                stream: Stream::Stdout,
            });
        }
    }
}

async fn read_closed(
    host: &Host,
    id: &ServiceId,
    files: &[LogFile],
    request: &LogRequest,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let mut failures = Vec::new();
    let (null, kept): (Vec<&LogFile>, Vec<&LogFile>) = files.iter().partition(|f| f.is_null());
    for file in &null {
        let text = format!("PM2 keeps no file of {}", file.stream.as_str());
        if to.send(note(id, LogNoteKind::Gap, &text)).await.is_err() {
            return Ok(());
        }
    }
    for file in &kept {
        if let Err(error) = read_one(host, id, file, request, to).await {
            failures.push(error);
        }
        if to.is_closed() {
            return Ok(());
        }
    }
    if failures.len() == kept.len()
        && let Some(first) = failures.pop()
    {
        return Err(first);
    }
    for failure in failures {
        let text = format!("{}: {}", failure.path.display(), failure.source);
        if to.send(note(id, failure.kind(), &text)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Sends one file's lines with the stream that PM2 writes there.
async fn read_one(
    host: &Host,
    id: &ServiceId,
    file: &LogFile,
    request: &LogRequest,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), TailError> {
    let (inner, mut events) = mpsc::channel(BLOCKS);
    let forward = async {
        while let Some(mut event) = events.recv().await {
            mark(&mut event, file.stream);
            if to.send(event).await.is_err() {
                // The reader waits for room here, and ends when there will never be any.
                events.close();
                break;
            }
        }
    };
    let read = tail::read_on(host, id, slice::from_ref(&file.path), request, inner);
    let (read, ()) = tokio::join!(read, forward);
    read
}

/// Says which stream the lines are of: a file alone does not know.
fn mark(event: &mut LogEvent, stream: Stream) {
    if let LogEvent::Block(block) = event {
        for line in &mut block.lines {
            line.stream = stream;
        }
    }
}

fn note(id: &ServiceId, kind: LogNoteKind, detail: &str) -> LogEvent {
    LogEvent::Note(LogNote::new(id, kind, detail))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(path: impl Into<PathBuf>, stream: Stream) -> LogFile {
        LogFile {
            path: path.into(),
            stream,
        }
    }

    async fn read(files: &[LogFile], request: &LogRequest) -> Result<Vec<String>, TailError> {
        let (to, mut from) = mpsc::channel(100);
        let id = ServiceId::local("pm2", "api");
        read_closed(&Host::Local, &id, files, request, &to).await?;
        drop(to);
        let mut all = Vec::new();
        while let Some(event) = from.recv().await {
            match event {
                LogEvent::Block(block) => all.extend(block.iter().map(|(line, text)| {
                    format!("{} {}", line.stream.as_str(), String::from_utf8_lossy(text))
                })),
                LogEvent::Note(note) => {
                    all.push(format!("{}: {}", note.kind.as_str(), note.detail));
                }
                LogEvent::Opened(_) => {}
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn both_streams_are_read_and_a_missing_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (out, err) = (dir.path().join("out.log"), dir.path().join("err.log"));
        fs::write(&out, "one\ntwo\n").unwrap();
        fs::write(&err, "bad\n").unwrap();
        let files = [file(&out, Stream::Stdout), file(&err, Stream::Stderr)];
        let request = LogRequest::default();
        assert_eq!(
            read(&files, &request).await.unwrap(),
            ["stdout one", "stdout two", "stderr bad"]
        );
        fs::remove_file(&err).unwrap();
        let told = read(&files, &request).await.unwrap();
        assert!(
            told[2].starts_with("gap: ") && told[2].contains("err.log"),
            "{told:?}"
        );
        fs::remove_file(&out).unwrap();
        assert!(read(&files, &request).await.is_err());
    }

    #[tokio::test]
    async fn a_stream_that_is_thrown_away_is_a_gap_and_no_empty_log() {
        let files = [
            file("/dev/null", Stream::Stdout),
            file("/dev/null", Stream::Stderr),
        ];
        assert_eq!(
            read(&files, &LogRequest::default()).await.unwrap(),
            [
                "gap: PM2 keeps no file of stdout",
                "gap: PM2 keeps no file of stderr"
            ]
        );
    }

    #[tokio::test]
    async fn a_log_that_moved_is_read_at_both_places() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old.log"), dir.path().join("new.log"));
        fs::write(&old, "before\n").unwrap();
        let from = tail::positions(slice::from_ref(&old)).await.unwrap();
        fs::write(&old, "before\nafter\n").unwrap();
        fs::write(&new, "later\n").unwrap();
        let mut files = vec![file(&new, Stream::Stdout)];
        add_earlier(&mut files, &from);
        let request = LogRequest {
            from,
            ..LogRequest::default()
        };
        assert_eq!(
            read(&files, &request).await.unwrap(),
            ["stdout later", "stdout after"]
        );
    }

    #[test]
    fn configured_files_stand_for_those_of_pm2() {
        let own = [file("/l/api-out.log", Stream::Stdout)];
        let mut settings = ServiceSettings::default();
        assert_eq!(files_of(&settings, &own), own);
        settings.log_files = vec![PathBuf::from("/srv/app.log")];
        assert_eq!(
            files_of(&settings, &own),
            [file("/srv/app.log", Stream::Stdout)]
        );
    }
}
