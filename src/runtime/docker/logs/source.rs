//! The log of one container as a stream of blocks.

use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, Sleep};

use super::position::{Position, is_wanted};
use super::{BLOCK_BYTES, OUT_OF_ORDER};
use crate::domain::log::{LogBlock, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::runtime::RuntimeError;
use crate::runtime::docker::body::{Piece, RawBody};
use crate::runtime::docker::connect::{Engine, hanging};
use crate::runtime::docker::decode::Decoder;
use crate::runtime::docker::remembered::Facts;
use crate::runtime::docker::swarm::Task;

/// A block is sent when its first line is so old.
const BLOCK_AGE: Duration = Duration::from_millis(50);
/// The engine flushes the head of its answer before it looks into the files.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// So many lines may be new where a stream is resumed at the end of the log; or at most so many.
const MARGINS: [u64; 2] = [1000, 30_000];
/// So many of a log's last lines are tried for a window before the engine is made to look at all of them.
const TAILS: [u64; 5] = [20, 200, 2_000, 20_000, 500_000];
/// So many lines are read at once to see whether they are the whole log.
const READ_WHOLE: u64 = 2_000;
/// A log that was read has a line to give at once, unless it was emptied.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked of the engine for one container.
#[derive(Debug, Clone)]
pub(in crate::runtime::docker) struct Ask {
    pub(in crate::runtime::docker) id: String,
    /// Of what that is the id.
    pub(super) of: Of,
    pub(in crate::runtime::docker) is_tty: bool,
    /// What the engine is asked for: from this instant …
    pub(in crate::runtime::docker) since: Option<Timestamp>,
    /// … up to the first line after this one, where it stops.
    pub(in crate::runtime::docker) until: Option<Timestamp>,
    /// What is kept of it.
    pub(in crate::runtime::docker) window: Window,
    /// Only the last so many messages of the log, counted from its end whatever `until` says.
    pub(in crate::runtime::docker) tail: Option<u64>,
    pub(in crate::runtime::docker) follow: bool,
    /// Whether another stream goes on where this one ends: a line that is not over is left to it.
    pub(in crate::runtime::docker) is_part: bool,
    /// Where an earlier stream of the same container ended.
    pub(in crate::runtime::docker) resume: Option<Position>,
}

/// Whose log is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// A container of this node.
    Container,
    /// A task of a swarm, on whatever node: its manager fetches it. Its `until` is not known to the engine.
    Task,
}

impl Ask {
    /// The window that a request asks for, of each container.
    pub(in crate::runtime::docker) fn all(containers: &[Facts], request: &LogRequest) -> Vec<Self> {
        let asks = containers.iter().map(|container| Self {
            is_part: request.follow,
            ..Self::window(container, request.window)
        });
        asks.collect()
    }

    /// The log of a swarm's task.
    pub(in crate::runtime::docker) fn task(task: &Task, window: Window) -> Self {
        Self {
            id: task.id.clone(),
            of: Of::Task,
            is_tty: task.is_tty(),
            since: window.since,
            until: None,
            window,
            tail: None,
            follow: false,
            is_part: false,
            resume: None,
        }
    }

    pub(in crate::runtime::docker) fn window(container: &Facts, window: Window) -> Self {
        Self {
            id: container.id.clone(),
            of: Of::Container,
            is_tty: container.is_tty,
            since: window.since,
            until: window.until.map(|until| later(until, OUT_OF_ORDER)),
            window,
            tail: None,
            follow: false,
            is_part: false,
            resume: None,
        }
    }

    /// Whether it is a task's, which another node may have.
    pub(super) fn is_of_task(&self) -> bool {
        matches!(self.of, Of::Task)
    }

    /// The same from where an earlier stream ended.
    pub(in crate::runtime::docker) fn resume(&mut self, position: Option<Position>) {
        self.resume = position.filter(|p| p.newest.is_some());
        if let Some(second) = self.resume.and_then(|p| p.since()) {
            self.since = Timestamp::from_second(second).ok();
            self.tail = None;
        }
    }

    /// The last so many lines that are newer than one that was seen: those between are left out.
    pub(in crate::runtime::docker) fn newest_after(&mut self, seen: Option<Timestamp>, lines: u64) {
        self.window.since = seen.map(|seen| later(seen, Duration::from_nanos(1)));
        self.since = None;
        self.tail = Some(lines);
    }

    pub(super) fn path(&self) -> String {
        let mut path = format!(
            "/{}/{}/logs?stdout=1&stderr=1&timestamps=1&follow={}",
            match self.of {
                Of::Container => "containers",
                Of::Task => "tasks",
            },
            self.id,
            u8::from(self.follow)
        );
        let bounds = [("since", self.since), ("until", self.until)];
        for (name, at) in bounds {
            if let Some(at) = at {
                let (second, nanos) = (at.as_second(), at.subsec_nanosecond().max(0));
                path.push_str(&format!("&{name}={second}.{nanos:09}"));
            }
        }
        if let Some(tail) = self.tail {
            path.push_str(&format!("&tail={tail}"));
        }
        path
    }
}

/// So much later, or the end of time.
pub(in crate::runtime::docker) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The lines of one container, in blocks.
pub(in crate::runtime::docker) struct Source {
    body: Option<RawBody>,
    /// Why there is no body any more, unless it ended properly.
    broken: Option<RuntimeError>,
    pub(in crate::runtime::docker) decoder: Decoder,
    block: LogBlock,
    /// Lines of `block` that were looked at.
    checked: usize,
    window: Window,
    /// Whether the end of the stream may be that of the connection only.
    is_follow: bool,
    /// Lines of an earlier stream that come again.
    skip: u64,
    resumed: Option<Position>,
    position: Position,
    /// When the block is sent, however small.
    timer: Pin<Box<Sleep>>,
    /// Lines given so far.
    pub(super) given: u64,
    /// The time of the first line of the stream, wanted or not.
    first: Option<Timestamp>,
    /// The newest line that was left out because it lies behind the window.
    beyond: Option<Timestamp>,
    /// Between these the engine has no lines any more.
    gap: Option<(Timestamp, Timestamp)>,
}

impl Source {
    pub(in crate::runtime::docker) async fn open(
        engine: &Engine,
        ask: &Ask,
    ) -> Result<Self, RuntimeError> {
        let mut body = tokio::time::timeout(HEAD_TIMEOUT, engine.get_raw(&ask.path()))
            .await
            .unwrap_or_else(|_| Err(hanging(HEAD_TIMEOUT)))?;
        if ask.follow {
            body.pace();
        }
        let mut source = Self {
            body: Some(body),
            broken: None,
            decoder: Decoder::new(ask.is_tty),
            block: LogBlock::default(),
            checked: 0,
            window: ask.window,
            is_follow: ask.follow || ask.is_part,
            skip: ask.resume.map_or(0, |p| p.again()),
            resumed: ask.resume,
            position: ask.resume.unwrap_or_default(),
            timer: Box::pin(tokio::time::sleep(BLOCK_AGE)),
            given: 0,
            first: None,
            beyond: None,
            gap: None,
        };
        // A short answer came together with its head.
        source.decode().map_err(|error| broken(&error))?;
        source.check();
        Ok(source)
    }

    /// Opens the log of a window. To find its start the engine would look at every line from the log's first on, which takes
    /// seconds for a large one and burdens an engine in trouble: the log's last lines are read instead where they
    /// provably begin before the window does.
    pub(super) async fn of_window(engine: &Engine, ask: &Ask) -> Result<Self, RuntimeError> {
        let (Some(since), false) = (ask.since, ask.is_of_task()) else {
            return Self::open(engine, ask).await;
        };
        let from = since.checked_sub(OUT_OF_ORDER).unwrap_or(since);
        for lines in TAILS {
            let mut short = ask.clone();
            short.since = None;
            short.tail = Some(lines);
            // A terminal's messages cannot be counted exactly.
            let is_counted = lines <= READ_WHOLE && !ask.is_tty;
            if is_counted {
                // It would take lines off the end of those that are counted.
                short.until = None;
            }
            let mut source = Self::open(engine, &short).await?;
            let proof = async {
                source.await_first().await;
                source.first.is_some_and(|first| first < from)
                    || (is_counted && source.holds_all_of(lines).await)
            };
            // Not an error of its own: the whole log is asked for then.
            if tokio::time::timeout(PROOF_TIMEOUT, proof).await == Ok(true) {
                return Ok(source);
            }
        }
        Self::open(engine, ask).await
    }

    /// Reads to the end. Whether the log has no more than what came: less than the `lines` that were asked for.
    async fn holds_all_of(&mut self, lines: u64) -> bool {
        while self.body.is_some() {
            self.read_on().await;
        }
        self.broken.is_none() && self.decoder.messages() < lines
    }

    /// Opens a log where an earlier stream of it ended. Without `since` if that can be proved to lose nothing: it
    /// would make the engine look at every line from the log's first on, which takes seconds for a large one, at
    /// each restart of a service that crashes in a loop.
    pub(in crate::runtime::docker) async fn resume(
        engine: &Engine,
        ask: &Ask,
        position: Position,
    ) -> Result<Self, RuntimeError> {
        let mut ask = ask.clone();
        ask.resume(Some(position));
        let Some(from) = ask.resume.and(ask.since) else {
            return Self::open(engine, &ask).await;
        };
        for margin in MARGINS {
            let mut short = ask.clone();
            short.since = None;
            short.tail = Some(position.again() + margin);
            let mut source = Self::open(engine, &short).await?;
            // Not an error of its own: the whole log is asked for then.
            let _ = tokio::time::timeout(PROOF_TIMEOUT, source.await_first()).await;
            let is_before = |first| first < from || Some(first) < position.oldest;
            if source.first.is_some_and(is_before) {
                return Ok(source);
            }
        }
        Self::open(engine, &ask).await
    }

    async fn await_first(&mut self) {
        while self.first.is_none() && self.body.is_some() {
            self.read_on().await;
        }
    }

    async fn read_on(&mut self) {
        let Some(body) = &mut self.body else { return };
        if let Err(error) = body.fill().await.and_then(|()| self.decode()) {
            self.body = None;
            self.broken = Some(broken(&error));
        }
        self.check();
    }

    /// The newest line that the engine gave and that lies behind the window.
    pub(in crate::runtime::docker) fn beyond(&self) -> Option<Timestamp> {
        self.beyond
    }

    /// Between which instants lines are missing, once it is known: the engine no longer has the line where the
    /// stream was resumed. Tells it once.
    pub(in crate::runtime::docker) fn take_gap(&mut self) -> Option<(Timestamp, Timestamp)> {
        self.gap.take()
    }

    /// Reads nothing more, and gives the newest instant that it has given.
    pub(in crate::runtime::docker) fn leave(&mut self) -> Option<Timestamp> {
        self.body = None;
        self.position.newest
    }

    /// The time of the first line that the engine gave, wanted or not.
    pub(in crate::runtime::docker) fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// Where a later stream would have to go on.
    pub(in crate::runtime::docker) fn position(&self) -> Position {
        self.position
    }

    /// The next lines: about 64 KiB, or what came within 50 ms. `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection broke; the lines before it were returned. Cancelling loses nothing.
    pub(in crate::runtime::docker) async fn next(
        &mut self,
    ) -> Result<Option<LogBlock>, RuntimeError> {
        let mut is_timed = false;
        loop {
            if self.block.bytes.len() >= BLOCK_BYTES && self.checked > 0 {
                return Ok(Some(self.take()));
            }
            let Some(body) = &mut self.body else {
                return match (self.checked, self.broken.take()) {
                    (0, Some(error)) => Err(error),
                    (0, None) => Ok(None),
                    (_, error) => {
                        self.broken = error;
                        Ok(Some(self.take()))
                    }
                };
            };
            // One timer a block: one a read would cost more than the read.
            if self.checked > 0 && !is_timed {
                is_timed = true;
                self.timer.as_mut().reset(Instant::now() + BLOCK_AGE);
            }
            let filled = tokio::select! {
                biased;
                filled = body.fill() => filled,
                () = &mut self.timer, if is_timed => return Ok(Some(self.take())),
            };
            if let Err(error) = filled.and_then(|()| self.decode()) {
                // The line under way comes again, whole, when the stream is resumed.
                self.body = None;
                self.broken = Some(broken(&error));
            }
            self.check();
        }
    }

    /// Decodes what was read. At the end of the body there is no body any more.
    fn decode(&mut self) -> std::io::Result<()> {
        let Some(body) = &mut self.body else {
            return Ok(());
        };
        loop {
            match body.piece()? {
                Piece::Data(bytes) => self.decoder.feed(bytes, &mut self.block),
                Piece::Wait => return Ok(()),
                Piece::End => break,
            }
        }
        self.body = None;
        if !self.is_follow {
            self.decoder.finish(&mut self.block);
        }
        Ok(())
    }

    /// What is left of a line that was never ended, once it is known that no more will come. A follow whose
    /// connection ended keeps it back instead: the line comes again, whole, when the stream is resumed.
    pub(in crate::runtime::docker) fn rest(&mut self) -> Option<LogBlock> {
        self.decoder.finish(&mut self.block);
        self.check();
        (self.checked > 0).then(|| self.take())
    }

    /// Drops lines that were seen in an earlier stream or lie outside of the window.
    fn check(&mut self) {
        let from = self.checked;
        if self.first.is_none() {
            self.first = self.block.lines[from..].iter().find_map(|line| line.at);
            // The newest line that was seen comes again first, or one before it; or it is gone, and perhaps more.
            let newest = self.resumed.and_then(|position| position.newest);
            self.gap = newest.zip(self.first).filter(|(seen, first)| first > seen);
        }
        let mut keep = from;
        for at in from..self.block.lines.len() {
            let line = self.block.lines[at];
            if is_wanted(
                &line,
                &mut self.skip,
                self.resumed.as_ref(),
                &mut self.position,
                self.window,
            ) {
                self.block.lines[keep] = line;
                keep += 1;
            } else if self
                .window
                .until
                .is_some_and(|until| line.at >= Some(until))
            {
                self.beyond = self.beyond.max(line.at);
            }
        }
        if keep < self.block.lines.len() {
            self.block.lines.truncate(keep);
            close_up(&mut self.block, from);
        }
        self.given += (keep - from) as u64;
        self.checked = keep;
    }

    fn take(&mut self) -> LogBlock {
        self.checked = 0;
        // The next block will be about as large.
        let next = LogBlock {
            bytes: Vec::with_capacity(self.block.bytes.len()),
            lines: Vec::with_capacity(self.block.lines.len()),
        };
        std::mem::replace(&mut self.block, next)
    }
}

/// Takes the text of lines that were dropped out of a block, from its line `from` on.
pub(super) fn close_up(block: &mut LogBlock, from: usize) {
    let mut end = match from.checked_sub(1) {
        Some(last) => block.lines[last].end as usize + 1,
        None => 0,
    };
    for line in &mut block.lines[from..] {
        let (start, length) = (line.start as usize, (line.end - line.start) as usize);
        block.bytes.copy_within(start..=start + length, end);
        (line.start, line.end) = (end as u32, (end + length) as u32);
        end += length + 1;
    }
    block.bytes.truncate(end);
}

fn broken(error: &std::io::Error) -> RuntimeError {
    RuntimeError::Unreachable {
        error: SafeText::from_error(error),
        fix: "sudo systemctl status docker".into(),
        is_absent: false,
    }
}
