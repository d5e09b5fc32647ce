//! Follows an application: its files as they grow, the files of instances that come later, and the seams.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::slice;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::super::bus::Written;
use super::super::daemon::Daemon;
use super::super::list::Process;
use super::super::service::{LogFile, log_files};
use super::change::changes;
use super::observe::{self, Look, Output};
use super::{BLOCKS, mark, note};
use crate::domain::log::{
    LogBlock, LogEvent, LogNote, LogNoteKind, LogPosition, LogRequest, Stream,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::Host;
use crate::host::tail::{self, LineSplitter};

/// Pieces of output that may wait for the listener before more are skipped.
const PIECES: usize = 256;

/// Nobody listens any more.
struct Closed;

/// The files to follow.
pub(super) struct Files {
    /// Each once.
    pub(super) files: Vec<LogFile>,
    /// Whether they are all that there will be: those of instances that are started later are then not added.
    pub(super) are_all: bool,
}

/// Sends the lines of the files and of what has no file, and tells of restarts, ends and a lost daemon, until
/// nobody listens.
pub(super) async fn run(
    host: &Host,
    id: &ServiceId,
    daemon: Daemon,
    name: String,
    Files { files, are_all }: Files,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) {
    let known = files.clone();
    let prepared = match host {
        Host::Local => tokio::task::spawn_blocking(move || prepare(known)).await,
        Host::Ssh(_) => Ok(Prepared::there(known)),
    };
    let Ok(Prepared {
        readable,
        blind,
        ends,
    }) = prepared
    else {
        return;
    };
    let (events_to, mut events) = mpsc::channel(BLOCKS);
    let (looks_to, mut looks) = watch::channel(Look::None);
    let (output_to, mut output) = mpsc::channel(PIECES);
    let streams = blind_streams(&files, &blind);
    let mut tasks = JoinSet::new();
    let output_to = (!streams.is_empty()).then_some(output_to);
    tasks.spawn(observe::run(daemon, name.clone(), looks_to, output_to));
    let mut follow = Follow {
        host: host.clone(),
        id: id.clone(),
        name,
        are_all,
        to: to.clone(),
        request: request.clone(),
        ends,
        events: events_to,
        tasks,
        files: Vec::new(),
        opened: Vec::new(),
        current: None,
        last: None,
        is_lost: false,
        streams,
        splitters: BTreeMap::new(),
    };
    for file in readable {
        follow.add(file, request.clone());
    }
    follow.files.extend(blind);
    loop {
        let sent = tokio::select! {
            () = to.closed() => return,
            Some((index, event)) = events.recv() => follow.forward(index, event).await,
            Some(output) = output.recv() => follow.write(output).await,
            Ok(()) = looks.changed() => {
                let look = looks.borrow_and_update().clone();
                follow.look(look).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What is known before the first line is read.
struct Prepared {
    readable: Vec<LogFile>,
    /// Files that do not exist by intention, or that we may not read.
    blind: Vec<LogFile>,
    /// Every file beside them and where it ends: an instance that is started later may write to one of them.
    ends: Vec<LogPosition>,
}

impl Prepared {
    /// Of another machine: only what PM2 throws away is known to be blind.
    fn there(files: Vec<LogFile>) -> Self {
        let (blind, readable) = files.into_iter().partition(LogFile::is_null);
        Self {
            readable,
            blind,
            ends: Vec::new(),
        }
    }
}

fn prepare(files: Vec<LogFile>) -> Prepared {
    let (blind, readable): (Vec<LogFile>, Vec<LogFile>) = files.into_iter().partition(is_blind);
    let mut folders: Vec<PathBuf> = readable
        .iter()
        .filter_map(|file| file.path.parent().map(ToOwned::to_owned))
        .collect();
    folders.sort();
    folders.dedup();
    let ends = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            Some(LogPosition {
                path: entry.path(),
                inode: meta.ino(),
                offset: meta.len(),
            })
        })
        .collect();
    Prepared {
        readable,
        blind,
        ends,
    }
}

fn is_blind(file: &LogFile) -> bool {
    let is_denied = || {
        fs::File::open(&file.path)
            .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    file.is_null() || is_denied()
}

/// The streams of which no file can be read. A file of both streams is listed as stdout.
fn blind_streams(files: &[LogFile], blind: &[LogFile]) -> Vec<Stream> {
    let is_blind = |stream| {
        let mut its = files.iter().filter(|f| f.stream == stream).peekable();
        its.peek().is_some() && its.all(|f| blind.contains(f))
    };
    let mut streams = Vec::new();
    if is_blind(Stream::Stdout) {
        streams.push(Stream::Stdout);
    }
    let has_own = files.iter().any(|f| f.stream == Stream::Stderr);
    if is_blind(Stream::Stderr) || (!has_own && !streams.is_empty()) {
        streams.push(Stream::Stderr);
    }
    streams
}

struct Follow {
    host: Host,
    id: ServiceId,
    name: String,
    are_all: bool,
    to: mpsc::Sender<LogEvent>,
    request: LogRequest,
    ends: Vec<LogPosition>,
    events: mpsc::Sender<(usize, LogEvent)>,
    tasks: JoinSet<()>,
    /// The files that are followed, in the order in which they were added, then those that cannot be.
    files: Vec<LogFile>,
    /// Where each file that is followed was last opened.
    opened: Vec<Option<LogPosition>>,
    /// The file that the listener was last told of.
    current: Option<usize>,
    /// The last look at the processes.
    last: Option<Vec<Process>>,
    is_lost: bool,
    /// The streams that the bus gives.
    streams: Vec<Stream>,
    splitters: BTreeMap<(u32, bool), LineSplitter>,
}

impl Follow {
    /// Follows one more file.
    fn add(&mut self, file: LogFile, request: LogRequest) {
        let index = self.opened.len();
        let (id, path) = (self.id.clone(), file.path.clone());
        let host = self.host.clone();
        let all = self.events.clone();
        self.opened.push(None);
        self.files.insert(index, file);
        self.tasks.spawn(async move {
            let (to, mut events) = mpsc::channel(BLOCKS);
            let forward = async {
                while let Some(event) = events.recv().await {
                    if all.send((index, event)).await.is_err() {
                        events.close();
                        return;
                    }
                }
            };
            // A follow tells what it cannot read and goes on trying: it has no error of its own.
            let (_, ()) = tokio::join!(
                tail::read_on(&host, &id, slice::from_ref(&path), &request, to),
                forward
            );
        });
    }

    async fn send(&self, event: LogEvent) -> Result<(), Closed> {
        self.to.send(event).await.map_err(|_| Closed)
    }

    async fn tell(&self, kind: LogNoteKind, detail: &str) -> Result<(), Closed> {
        self.send(note(&self.id, kind, detail)).await
    }

    /// Hands on what a file's reader says. Lines have their places in the file that was opened last, so it is named
    /// again whenever the lines of another one stood in between.
    async fn forward(&mut self, index: usize, mut event: LogEvent) -> Result<(), Closed> {
        match &event {
            LogEvent::Opened(position) => {
                self.opened[index] = Some(position.clone());
                self.current = Some(index);
            }
            LogEvent::Block(block) => {
                if self.current != Some(index)
                    && let Some(opened) = &self.opened[index]
                    && let Some(first) = block.lines.first()
                {
                    let again = LogPosition {
                        offset: first.place,
                        ..opened.clone()
                    };
                    self.send(LogEvent::Opened(again)).await?;
                }
                self.current = Some(index);
            }
            LogEvent::Note(_) => {}
        }
        mark(&mut event, self.files[index].stream);
        self.send(event).await
    }

    /// Hands on what the bus says of a stream without a file.
    async fn write(&mut self, output: Output) -> Result<(), Closed> {
        let Output { written, skipped } = output;
        if skipped > 0 {
            let note = LogNote {
                kind: LogNoteKind::Skipped,
                service: self.id.clone(),
                from: None,
                to: written.at,
                lines: Some(skipped),
                detail: SafeText::from_text(
                    "they came faster than they were taken, and PM2 keeps no file of them",
                ),
            };
            self.send(LogEvent::Note(note)).await?;
        }
        if !self.streams.contains(&written.stream) {
            return Ok(());
        }
        let block = self.lines_of(&written);
        if block.is_empty() {
            return Ok(());
        }
        self.current = None;
        self.send(LogEvent::Block(block)).await
    }

    fn lines_of(&mut self, written: &Written) -> LogBlock {
        let key = (written.pm_id, written.stream == Stream::Stderr);
        let splitter = self
            .splitters
            .entry(key)
            .or_insert_with(|| LineSplitter::new(written.stream));
        let mut block = LogBlock::default();
        // One piece is what a process wrote at once, so its lines make one block.
        let _ = splitter.split(written.data.as_bytes(), &mut block, |_| {
            Ok::<_, std::convert::Infallible>(())
        });
        for line in &mut block.lines {
            line.at = written.at;
        }
        block
    }

    /// Tells what a new look shows, and follows files that were not known before.
    async fn look(&mut self, look: Look) -> Result<(), Closed> {
        let processes = match look {
            Look::None => return Ok(()),
            Look::Lost(_) if self.is_lost => return Ok(()),
            Look::Lost(why) => {
                self.is_lost = true;
                return self.tell(LogNoteKind::Reconnecting, why.as_str()).await;
            }
            Look::Processes(processes) => processes,
        };
        if std::mem::take(&mut self.is_lost) {
            self.tell(LogNoteKind::Reconnected, "the PM2 daemon is there")
                .await?;
            if !self.streams.is_empty() {
                let text = "what was written meanwhile is lost: PM2 keeps no file of it";
                self.tell(LogNoteKind::Gap, text).await?;
            }
        }
        if let Some(last) = &self.last {
            for (kind, detail) in changes(&self.name, last, &processes) {
                self.tell(kind, &detail).await?;
            }
        }
        let all: Vec<&Process> = processes.iter().collect();
        for file in log_files(&all) {
            let is_known = self.files.iter().any(|known| known.path == file.path);
            if !self.are_all && !is_known && !file.is_null() {
                let from = self.ends.iter().find(|end| end.path == file.path);
                let request = LogRequest {
                    tail: None,
                    from: from.into_iter().cloned().collect(),
                    ..self.request.clone()
                };
                self.add(file, request);
            }
        }
        self.last = Some(processes);
        Ok(())
    }
}
