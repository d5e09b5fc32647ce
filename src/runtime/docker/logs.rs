//! Reads the logs of a service's containers: closed windows here, open-ended ones in [`super::follow`].

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::merge::{Last, Merge};
pub(super) use self::position::Position;
use self::position::is_wanted;
use super::connect::{Engine, RawBody};
use super::decode::Decoder;
use super::inspect::containers_of;
use crate::domain::log::{LogBlock, LogEvent, LogRequest, Window};
use crate::domain::service::Service;
use crate::host::Host;
use crate::runtime::RuntimeError;

mod merge;
mod position;

/// A block is sent when it holds so many bytes …
const BLOCK_BYTES: usize = 64 * 1024;
/// … or when its first line is so old.
const BLOCK_AGE: Duration = Duration::from_millis(50);
/// The engine flushes the head of its answer before it looks into the files.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Asked for beyond a tail: the engine counts the fragments of long lines, we count lines.
pub(super) const TAIL_SLACK: u64 = 64;
/// The engine stops at the first line after `until`, and lines of two streams may be a little out of order.
const OUT_OF_ORDER: Duration = Duration::from_secs(1);

/// Reads what `request` asks for of every container of the service, replicas merged by time (closed window) or by
/// arrival (follow). Returns when the window is read or, following, when nobody listens.
///
/// # Errors
/// The engine is unreachable at the start, the service has no container, or its logging driver keeps nothing.
pub async fn read_logs(
    host: &Host,
    service: &Service,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let containers = containers_of(&engine, service).await?;
    if containers.is_empty() {
        return Err(RuntimeError::NotFound(format!(
            "a container of {}",
            service.id
        )));
    }
    if request.follow {
        return super::follow::follow(host, engine, service, containers, request, &to).await;
    }
    match request.tail {
        Some(lines) => read_tail(&engine, &containers, request.window, lines, &to).await,
        None => {
            let mut sources = Vec::new();
            for container in &containers {
                let ask = Ask::window(container, request.window);
                sources.push(Source::open(&engine, &ask).await?);
            }
            read_window(sources, &to).await
        }
    }
}

async fn read_window(
    mut sources: Vec<Source>,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    if let [source] = sources.as_mut_slice() {
        while let Some(block) = source.next().await? {
            if to.send(LogEvent::Block(block)).await.is_err() {
                return Ok(());
            }
        }
        return Ok(());
    }
    let mut merge = Merge::open(sources).await?;
    while let Some(block) = merge.next().await? {
        if to.send(LogEvent::Block(block)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The last `lines` lines of the window. The engine's own `tail` ignores the window's end and counts fragments, so
/// more is asked for until there is enough.
async fn read_tail(
    engine: &Engine,
    containers: &[ContainerInspectResponse],
    window: Window,
    lines: u64,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    let mut asked = window
        .until
        .is_none()
        .then(|| lines.saturating_add(TAIL_SLACK));
    loop {
        let mut sources = Vec::new();
        for container in containers {
            let mut ask = Ask::window(container, window);
            ask.tail = asked;
            sources.push(Source::open(engine, &ask).await?);
        }
        let mut merge = Merge::open(sources).await?;
        let mut last = Last::new(lines);
        while let Some(block) = merge.next().await? {
            last.push(block);
        }
        let is_cut = asked.is_some_and(|n| merge.sources.iter().any(|s| s.decoder.messages() >= n));
        // The first line may be the end of a long one: it is whole only if another stands before it.
        if is_cut && last.seen <= lines {
            asked = asked
                .map(|n| n.saturating_mul(8))
                .filter(|n| *n < 10_000_000);
            continue;
        }
        for block in last.blocks {
            if to.send(LogEvent::Block(block)).await.is_err() {
                break;
            }
        }
        return Ok(());
    }
}

/// What is asked of the engine for one container.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) id: String,
    pub(super) is_tty: bool,
    /// What the engine is asked for: from this instant …
    pub(super) since: Option<Timestamp>,
    /// … up to the first line after this one, where it stops.
    pub(super) until: Option<Timestamp>,
    /// What is kept of it.
    pub(super) window: Window,
    /// Only the last so many messages of the log, counted from its end whatever `until` says.
    pub(super) tail: Option<u64>,
    pub(super) follow: bool,
    /// Where an earlier stream of the same container ended.
    pub(super) resume: Option<Position>,
}

impl Ask {
    pub(super) fn window(container: &ContainerInspectResponse, window: Window) -> Self {
        Self {
            id: container.id.clone().unwrap_or_default(),
            is_tty: is_tty(container),
            since: window.since,
            until: window.until.map(|until| later(until, OUT_OF_ORDER)),
            window,
            tail: None,
            follow: false,
            resume: None,
        }
    }

    /// The same from where an earlier stream ended.
    pub(super) fn resume(&mut self, position: Option<Position>) {
        self.resume = position.filter(|p| p.newest.is_some());
        if let Some(second) = self.resume.and_then(|p| p.since()) {
            self.since = Timestamp::from_second(second).ok();
            self.tail = None;
        }
    }

    fn path(&self) -> String {
        let mut path = format!(
            "/containers/{}/logs?stdout=1&stderr=1&timestamps=1&follow={}",
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
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn is_tty(container: &ContainerInspectResponse) -> bool {
    container.config.as_ref().and_then(|c| c.tty) == Some(true)
}

/// The lines of one container, in blocks.
pub(super) struct Source {
    body: Option<RawBody>,
    pub(super) decoder: Decoder,
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
    /// The time of the first line of the stream, wanted or not.
    first: Option<Timestamp>,
}

impl Source {
    pub(super) async fn open(engine: &Engine, ask: &Ask) -> Result<Self, RuntimeError> {
        let body = tokio::time::timeout(HEAD_TIMEOUT, engine.get_raw(&ask.path()))
            .await
            .unwrap_or_else(|_| Err(super::connect::hanging(HEAD_TIMEOUT)))?;
        Ok(Self {
            body: Some(body),
            decoder: Decoder::new(ask.is_tty),
            block: LogBlock::default(),
            checked: 0,
            window: ask.window,
            is_follow: ask.follow,
            skip: ask.resume.map_or(0, |p| p.again()),
            resumed: ask.resume,
            position: ask.resume.unwrap_or_default(),
            first: None,
        })
    }

    /// The time of the first line that the engine gave, wanted or not.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// Where a later stream would have to go on.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The next lines: about 64 KiB, or what came within 50 ms. `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection broke; the lines before it were returned. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<LogBlock>, RuntimeError> {
        let mut deadline = None;
        loop {
            if self.block.bytes.len() >= BLOCK_BYTES && self.checked > 0 {
                return Ok(Some(self.take()));
            }
            let Some(body) = &mut self.body else {
                return Ok((self.checked > 0).then(|| self.take()));
            };
            let chunk = match deadline {
                None => body.chunk().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, body.chunk()).await {
                    Ok(chunk) => chunk,
                    Err(_late) => return Ok(Some(self.take())),
                },
            };
            match chunk {
                Some(Ok(bytes)) => self.decoder.feed(&bytes, &mut self.block),
                None => {
                    self.body = None;
                    if !self.is_follow {
                        self.decoder.finish(&mut self.block);
                    }
                }
                Some(Err(error)) => {
                    self.body = None;
                    // The line under way comes again, whole, when the stream is resumed.
                    if self.checked == 0 {
                        return Err(RuntimeError::Unreachable {
                            error: crate::domain::safe_text::SafeText::from_error(&error),
                            fix: "sudo systemctl status docker".into(),
                            is_absent: false,
                        });
                    }
                }
            }
            self.check();
            if self.checked > 0 && deadline.is_none() {
                deadline = Some(Instant::now() + BLOCK_AGE);
            }
        }
    }

    /// What is left of a line that was never ended, once it is known that no more will come. A follow whose
    /// connection ended keeps it back instead: the line comes again, whole, when the stream is resumed.
    pub(super) fn rest(&mut self) -> Option<LogBlock> {
        self.decoder.finish(&mut self.block);
        self.check();
        (self.checked > 0).then(|| self.take())
    }

    /// Drops lines that were seen in an earlier stream or lie outside of the window.
    fn check(&mut self) {
        let from = self.checked;
        let mut keep = from;
        for at in from..self.block.lines.len() {
            let line = self.block.lines[at];
            self.first = self.first.or(line.at);
            if is_wanted(
                &line,
                &mut self.skip,
                self.resumed.as_ref(),
                &mut self.position,
                self.window,
            ) {
                self.block.lines[keep] = line;
                keep += 1;
            }
        }
        self.block.lines.truncate(keep);
        self.checked = keep;
        if keep == 0 {
            self.block.clear();
        }
    }

    fn take(&mut self) -> LogBlock {
        self.checked = 0;
        std::mem::take(&mut self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::{RawLine, Stream};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    /// What an engine gives that keeps `log` and is asked from the position's second on.
    fn resume(log: &[i64], seen: usize) -> Vec<i64> {
        let mut position = Position::default();
        for millis in &log[..seen] {
            position.note(at(*millis));
        }
        let from = position.since().unwrap_or(0);
        let mut skip = position.again();
        let mut after = position;
        log.iter()
            .filter(|m| at(**m).as_second() >= from)
            .filter(|m| {
                let line = RawLine {
                    start: 0,
                    end: 0,
                    at: Some(at(**m)),
                    stream: Stream::Stdout,
                    cut_bytes: 0,
                    place: 0,
                };
                is_wanted(&line, &mut skip, Some(&position), &mut after, Window::ALL)
            })
            .copied()
            .collect()
    }

    #[test]
    fn resuming_anywhere_loses_and_doubles_nothing() {
        // Equal times, neighbours out of order, second borders.
        let log = [
            1000, 1000, 1000, 1500, 1400, 1999, 2000, 2000, 1998, 2001, 3000, 5000,
        ];
        for seen in 1..=log.len() {
            assert_eq!(resume(&log, seen), log[seen..], "after {seen} lines");
        }
    }

    #[test]
    fn lines_that_rotated_away_do_not_hide_new_ones() {
        let mut position = Position::default();
        for _ in 0..5 {
            position.note(at(1000));
        }
        let mut skip = position.again();
        let mut after = position;
        let line = RawLine {
            start: 0,
            end: 0,
            at: Some(at(1001)),
            stream: Stream::Stdout,
            cut_bytes: 0,
            place: 0,
        };
        assert!(is_wanted(
            &line,
            &mut skip,
            Some(&position),
            &mut after,
            Window::ALL
        ));
    }

    #[test]
    fn the_last_lines_are_kept_across_blocks() {
        let mut last = Last::new(3);
        for chunk in [vec![1, 2], vec![3], vec![4, 5, 6, 7]] {
            let mut block = LogBlock::default();
            for n in chunk {
                block.push(Some(at(n)), Stream::Stdout, n.to_string().as_bytes(), 0);
            }
            last.push(block);
        }
        let texts: Vec<String> = last
            .blocks
            .iter()
            .flat_map(|b| {
                b.iter()
                    .map(|(_, t)| String::from_utf8_lossy(t).into_owned())
            })
            .collect();
        assert_eq!(texts, ["5", "6", "7"]);
        assert_eq!(last.seen, 7);
    }

    #[test]
    fn the_engine_is_asked_for_a_little_more_than_the_window() {
        let mut ask = Ask {
            tail: Some(10),
            ..Ask::window(
                &ContainerInspectResponse::default(),
                Window {
                    since: Some(at(1_700)),
                    until: Some(at(3_200)),
                },
            )
        };
        let asked = "&since=1.700000000&until=4.200000000&tail=10";
        assert!(ask.path().ends_with(asked), "{}", ask.path());
        let mut position = Position::default();
        position.note(at(2_900));
        ask.resume(Some(position));
        let asked = "&since=1.000000000&until=4.200000000";
        assert!(ask.path().ends_with(asked), "{}", ask.path());
    }
}
