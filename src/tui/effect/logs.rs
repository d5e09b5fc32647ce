//! The tasks that read logs for the console: following, reading again, searching in place.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::secrets::Learned;
use super::{Ended, SETTLE};
use crate::domain::log::{FileHits, LogEvent, LogRequest, PageBorder, PageRequest, Window};
use crate::domain::service::{Service, ServiceId};
use crate::ops::logs::FileSearch;
use crate::ops::{self, Context};
use crate::store::ring::{FilePart, LineReader, OpenedFile, PreparedPage, Sieve, Sifter};
use crate::tui::msg::{LogPiece, Msg};
use crate::tui::panes::logs::WantedPage;

/// Lines of the past that are read before a log is followed.
const TAIL: u64 = 1000;
/// Of another machine fewer: more come when somebody goes back to them, and a slow link has others to carry.
const TAIL_BEHIND_SSH: u64 = 200;
/// How often the progress of a search without hits is told.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// Lines that are read again at once.
const PAGE: u64 = 2000;
/// Lines that pass the filter that are looked for at once …
const SIFTED: u64 = 1000;
/// … and bytes that they may take.
const SIFTED_BYTES: usize = 4 * 1024 * 1024;
/// How long the event loop may keep log lines waiting before they are skipped.
const PATIENCE: Duration = Duration::from_millis(250);
/// Log blocks in one message.
const PIECES: usize = 8;

/// A regular expression; two are the same if their text is.
#[derive(Debug, Clone)]
pub struct FilePattern(pub regex::bytes::Regex);

impl PartialEq for FilePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// A part of a file that is looked through for a filter.
#[derive(Debug, Clone)]
pub struct FileSift {
    /// Which part.
    pub part: FilePart,
    /// From the end.
    pub is_backward: bool,
    /// Which records pass.
    pub sieve: Sieve,
    /// Which filter that is: two are the same if their numbers are.
    pub generation: u32,
}

impl PartialEq for FileSift {
    fn eq(&self, other: &Self) -> bool {
        let is_same = self.generation == other.generation && self.part == other.part;
        is_same && self.is_backward == other.is_backward
    }
}

pub(super) async fn follow(
    ctx: Arc<Context>,
    slot: u32,
    service: Box<Service>,
    (after, learned): (Duration, Learned),
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    tokio::time::sleep(after).await;
    learned.wait().await;
    let tail = match service.id.host.is_local() {
        true => TAIL,
        false => TAIL_BEHIND_SSH,
    };
    let request = LogRequest {
        window: Window::ALL,
        tail: Some(tail),
        follow: true,
        keeps_up: true,
        from: Vec::new(),
    };
    let (to, from) = mpsc::channel(16);
    let (read, ()) = tokio::join!(
        ops::logs::read(&ctx, &service, &request, to),
        pump(slot, from, inbox)
    );
    read?;
    Ok(Some(Msg::LogEnded(slot)))
}

pub(super) async fn read_page(
    ctx: Arc<Context>,
    wanted: WantedPage,
    service: Box<Service>,
    border: PageBorder,
    file: Option<OpenedFile>,
) -> Ended {
    let request = PageRequest {
        border,
        is_backward: wanted.is_backward,
        lines: PAGE,
    };
    let page = ops::logs::page(&ctx, &service, &request).await?;
    let page = PreparedPage::read(page, file.as_ref(), &jiff::Zoned::now());
    Ok(Some(Msg::LogPage { wanted, page }))
}

/// Searches a file, or counts its lines, and tells the loop as it goes.
pub(super) async fn search_file(
    ctx: Arc<Context>,
    service: Box<ServiceId>,
    search: FileSearch,
    tell: impl Fn(FileHits) -> Msg + Send + 'static,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    // While a text is typed, only its last form is worth reading a file for.
    if search.pattern.is_some() {
        tokio::time::sleep(SETTLE).await;
    }
    let (to, mut from) = mpsc::channel(4);
    let forward = async {
        // What was looked at without a hit is told with the next one, or once in a while.
        let mut waiting: Option<FileHits> = None;
        let mut told = tokio::time::Instant::now();
        while let Some(hits) = from.recv().await {
            let hits = match waiting.take() {
                Some(before) => with(before, hits),
                None => hits,
            };
            if hits.hits.is_empty() && told.elapsed() < TELL_EVERY {
                waiting = Some(hits);
                continue;
            }
            told = tokio::time::Instant::now();
            if inbox.send(tell(hits)).await.is_err() {
                return;
            }
        }
        if let Some(hits) = waiting {
            let _ = inbox.send(tell(hits)).await;
        }
    };
    let (searched, ()) = tokio::join!(ops::logs::search_file(&ctx, &service, search, to), forward);
    searched?;
    Ok(None)
}

/// Looks a part of a file through for lines that pass the filter, until there are enough for a while, and tells the loop
/// as it goes.
pub(super) async fn sift(
    ctx: Arc<Context>,
    slot: u32,
    service: Box<ServiceId>,
    sift: FileSift,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    let search = FileSearch {
        path: sift.part.file.position.path.clone(),
        inode: sift.part.file.position.inode,
        // The others are asked where this one is found.
        pattern: sift.sieve.include.first().cloned(),
        range: sift.part.places.clone(),
        is_backward: sift.is_backward,
    };
    let now = jiff::Zoned::now();
    let sifter = Sifter::new(sift.sieve, sift.generation, sift.part, &now);
    let (to, mut from) = mpsc::channel(2);
    let decide = async {
        let mut found = sifter.nothing();
        let (mut lines, mut size) = (0, 0);
        let mut told = tokio::time::Instant::now();
        let mut is_enough = false;
        while !is_enough && let Some(passage) = from.recv().await {
            let is_torn = sifter.is_torn(&passage);
            let some = sifter.sift(passage);
            lines += some.lines();
            size += some.size();
            found.extend(some);
            is_enough = !is_torn && (lines >= SIFTED || size >= SIFTED_BYTES);
            if told.elapsed() >= TELL_EVERY {
                told = tokio::time::Instant::now();
                let msg = Msg::Sifted {
                    slot,
                    sifted: std::mem::replace(&mut found, sifter.nothing()),
                    is_over: false,
                };
                is_enough |= inbox.send(msg).await.is_err();
            }
        }
        // Nobody listens any more: the reading ends.
        drop(from);
        (found, is_enough)
    };
    let (read, (mut sifted, is_enough)) =
        tokio::join!(ops::logs::sift_file(&ctx, &service, search, to), decide);
    read?;
    if !is_enough {
        sifter.end(&mut sifted);
    }
    Ok(Some(Msg::Sifted {
        slot,
        sifted,
        is_over: true,
    }))
}

/// Two looks at a file, the later one at what stands before.
fn with(before: FileHits, after: FileHits) -> FileHits {
    FileHits {
        looked: after.looked.start..before.looked.end,
        lines: before.lines + after.lines,
        hits: after.hits.into_iter().chain(before.hits).collect(),
    }
}

/// Brings log events to the loop. The past waits until it is taken; what comes live is skipped, and counted,
/// when the loop is busy for longer than a person would notice.
async fn pump(slot: u32, mut from: mpsc::Receiver<LogEvent>, inbox: mpsc::Sender<Msg>) {
    let mut reader = LineReader::new(&jiff::Zoned::now());
    let mut seen = 0;
    let mut skipped = 0;
    let mut events = Vec::new();
    while from.recv_many(&mut events, PIECES).await > 0 {
        let mut pieces = Vec::with_capacity(events.len() + 1);
        let mut lines = 0;
        let mut may_skip = seen >= TAIL;
        let now = jiff::Timestamp::now();
        for event in events.drain(..) {
            pieces.push(match event {
                LogEvent::Block(block) => {
                    let block = reader.read(block, now);
                    lines += block.lines();
                    LogPiece::Block(block)
                }
                // What happened to the source is never skipped.
                LogEvent::Note(note) => {
                    may_skip = false;
                    LogPiece::Note(reader.note(note))
                }
                LogEvent::Opened(position) => {
                    may_skip = false;
                    LogPiece::Opened(reader.open(position))
                }
            });
        }
        seen += lines;
        let room = if may_skip {
            tokio::time::timeout(PATIENCE, inbox.reserve()).await
        } else {
            Ok(inbox.reserve().await)
        };
        match room {
            Ok(Ok(room)) => {
                if skipped > 0 {
                    pieces.insert(0, LogPiece::Skipped(std::mem::take(&mut skipped)));
                }
                room.send(Msg::Log { slot, pieces });
            }
            Ok(Err(_)) => return,
            Err(_) => skipped += lines,
        }
    }
}
