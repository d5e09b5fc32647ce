//! Reads the logs of a service's containers: closed windows here, open-ended ones in [`super::follow`].
//!
//! `attach` would cost the engine a twentieth of what its logs API does, and is never used: it hands out the
//! container's own output, so whoever reads it slowly stops the container. Measured with Engine 20.10: a container
//! that writes 56 MB took 5.0 s with nobody reading, 6.9 s with an `attach` that was read, and 4.8 s with a stopped
//! reader of `logs --follow`; with an `attach` that was not read it stood still after 1 to 2 MB for as long as the
//! connection was open (45 s, then the test ended it), and went on when it was closed. A stopped `docker attach` does
//! the same. The logs API reads what the logging driver keeps, and no reader of it can touch the container.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use tokio::sync::mpsc;

use self::merge::{Last, Merge};
pub(super) use self::outlet::Outlet;
pub(super) use self::position::Position;
pub(super) use self::source::{Ask, Source, later};
use super::connect::Engine;
use super::follow;
use super::inspect::containers_of;
use super::remembered::{self, Facts};
use super::swarm::{Task, tasks_elsewhere};
use crate::domain::log::{LogEvent, LogNote, LogNoteKind, LogRequest};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::host::Host;
use crate::runtime::RuntimeError;

mod merge;
mod outlet;
mod position;
mod source;

/// A block is sent when it holds so many bytes.
const BLOCK_BYTES: usize = 64 * 1024;
/// Asked for beyond a tail: the engine counts the fragments of long lines, we count lines.
pub(super) const TAIL_SLACK: u64 = 64;
/// The engine stops at the first line after `until`, and lines of two streams may be a little out of order.
const OUT_OF_ORDER: Duration = Duration::from_secs(1);

/// Reads what `request` asks for of every container of the service, and of a swarm's tasks on other nodes, replicas
/// merged by time (closed window) or by arrival (follow). Returns when the window is read or, following, when nobody listens.
///
/// # Errors
/// The engine is unreachable at the start, the service has no container, or its logging driver keeps nothing.
pub async fn read_logs(
    host: &Host,
    service: &Service,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    if request.follow {
        let engine = Engine::connect(host).await?;
        let (containers, _) = all_of(&engine, service).await?;
        let here = follow::follow(host, engine, service, containers, request, &to);
        if service.runtime != Runtime::Swarm {
            return here.await;
        }
        let others = follow::elsewhere::follow(host, service, request, &to);
        return tokio::join!(Box::pin(here), Box::pin(others)).0;
    }
    let outlet = Outlet::new(&to);
    // Lines that were given are not given again.
    let may_repeat = || !outlet.has_given();
    let read = |engine| read_now(engine, service, request, &outlet);
    Engine::ask_while(host, may_repeat, read).await
}

/// The containers of the service on this node, and a swarm's tasks on others; not none.
async fn all_of(
    engine: &Engine,
    service: &Service,
) -> Result<(Vec<ContainerInspectResponse>, Vec<Task>), RuntimeError> {
    let containers = containers_of(engine, service).await?;
    let elsewhere = match service.runtime {
        Runtime::Swarm => tasks_elsewhere(engine, service, &containers).await?,
        _ => Vec::new(),
    };
    if containers.is_empty() && elsewhere.is_empty() {
        return Err(RuntimeError::NotFound(format!(
            "a container of {}",
            service.id
        )));
    }
    Ok((containers, elsewhere))
}

async fn read_now(
    engine: Engine,
    service: &Service,
    request: &LogRequest,
    outlet: &Outlet<'_>,
) -> Result<(), RuntimeError> {
    if let Some(seen) = remembered::facts(service) {
        match read_closed(&engine, Ask::all(&seen, request), request, outlet).await {
            // Another container stands in its place since.
            Err(RuntimeError::NotFound(_)) if !outlet.has_given() => {}
            read => return read.map(drop),
        }
    }
    let (containers, elsewhere) = all_of(&engine, service).await?;
    let seen: Vec<Facts> = containers.iter().map(Facts::of).collect();
    let mut asks = Ask::all(&seen, request);
    asks.extend(elsewhere.iter().map(|task| Ask::task(task, request.window)));
    let asks = reachable(&engine, service, asks, outlet).await;
    read_closed(&engine, asks, request, outlet).await.map(drop)
}

/// Leaves out, and tells, the tasks whose node does not give their log: the others have theirs.
async fn reachable(
    engine: &Engine,
    service: &Service,
    mut asks: Vec<Ask>,
    outlet: &Outlet<'_>,
) -> Vec<Ask> {
    let mut at = 0;
    while let Some(ask) = asks.get(at) {
        let opened = match ask.is_of_task() {
            true => Source::open(engine, ask).await.map(drop),
            false => Ok(()),
        };
        let Err(error) = opened else {
            at += 1;
            continue;
        };
        let detail = format!("task {}: {}", ask.id, SafeText::from_error(&error));
        let note = LogNote::new(&service.id, LogNoteKind::Unread, &detail);
        let _ = outlet.give(LogEvent::Note(note)).await;
        asks.remove(at);
    }
    asks
}

/// Reads what is there now, merged by time. Gives where each container's log was read to, in the order of
/// `asks`; a line that is not over yet is left to the follow, if one is asked for.
///
/// # Errors
/// The engine is unreachable, or a logging driver keeps nothing.
pub(super) async fn read_closed(
    engine: &Engine,
    asks: Vec<Ask>,
    request: &LogRequest,
    to: &Outlet<'_>,
) -> Result<Vec<Position>, RuntimeError> {
    match request.tail {
        Some(lines) => read_tail(engine, asks, lines, to).await,
        None => {
            let mut sources = Vec::new();
            for ask in &asks {
                sources.push(Source::of_window(engine, ask).await?);
            }
            read_window(sources, to).await
        }
    }
}

async fn read_window(
    mut sources: Vec<Source>,
    to: &Outlet<'_>,
) -> Result<Vec<Position>, RuntimeError> {
    if let [source] = sources.as_mut_slice() {
        while let Some(block) = source.next().await? {
            if !to.give(LogEvent::Block(block)).await {
                break;
            }
        }
        return Ok(vec![source.position()]);
    }
    let mut merge = Merge::open(sources).await?;
    while let Some(block) = merge.next().await? {
        if !to.give(LogEvent::Block(block)).await {
            break;
        }
    }
    Ok(merge.positions())
}

/// The last `lines` lines of the window. The engine's own `tail` ignores the window's end and counts fragments, so
/// more is asked for until there is enough.
async fn read_tail(
    engine: &Engine,
    mut asks: Vec<Ask>,
    lines: u64,
    to: &Outlet<'_>,
) -> Result<Vec<Position>, RuntimeError> {
    let is_open = asks.iter().all(|ask| ask.until.is_none());
    let mut tail = is_open.then(|| lines.saturating_add(TAIL_SLACK));
    loop {
        let mut sources = Vec::new();
        for ask in &mut asks {
            ask.tail = tail;
            sources.push(Source::open(engine, ask).await?);
        }
        let mut merge = Merge::open(sources).await?;
        let mut last = Last::new(lines);
        while let Some(block) = merge.next().await? {
            last.push(block);
        }
        // The first line may be the end of a long one: it is whole only if another stands before it.
        let is_short =
            |s: &Source| tail.is_some_and(|n| s.decoder.messages() >= n) && s.given <= lines;
        if merge.sources.iter().any(is_short) {
            tail = tail
                .map(|n| n.saturating_mul(8))
                .filter(|n| *n < 10_000_000);
            continue;
        }
        for block in last.blocks {
            if !to.give(LogEvent::Block(block)).await {
                break;
            }
        }
        return Ok(merge.positions());
    }
}

#[cfg(test)]
mod tests;
