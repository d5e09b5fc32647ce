//! Follows a service, not a container: through restarts, recreation, scaling and a daemon that goes away.
//!
//! One task reads each container's stream and gives it back when it ends, however it ends: a dead link ends like a
//! normal end. What the end means is found out by the loop here, which asks the engine, reads what the stream did
//! not give, tells what happened, and goes on. It is woken by the engine's events.

use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::known::{Known, KnownContainers, Life};
use self::notes::Notes;
use self::pace::Pace;
use super::connect::Engine;
use super::events::container_events;
use super::inspect::{containers_of, inspect_container};
use super::logs::{Ask, Outlet, Position, Source, read_closed};
use super::remembered::Facts;
use crate::domain::log::{LogBlock, LogEvent, LogNoteKind, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::host::Host;
use crate::runtime::RuntimeError;

pub(super) mod elsewhere;
mod known;
mod notes;
mod pace;
mod settle;

/// The first wait before trying a lost engine again; it doubles with each try …
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// … for so many tries, each of which is told …
const TOLD_TRIES: u32 = 5;
/// … and stays like this then, for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The old container's last lines stand before the seam; a stream that hangs does not hold it for ever.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Looked again without an event, in case one was lost …
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// … which is likeliest while the events are being subscribed to.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// The event that tells why a stream ended comes with its end; a container that is removed at once has told nothing
/// else.
const TOLD_WHY: Duration = Duration::from_millis(200);
/// So many of the newest lines come first where a link left others out.
const NEWEST: u64 = 100;
const BEHIND: &str = "the link carries less than is written: lines were left out";
/// Follows until nobody listens.
///
/// # Errors
/// The logs could not be opened at all.
pub(super) async fn follow(
    host: &Host,
    engine: Engine,
    service: &Service,
    containers: Vec<ContainerInspectResponse>,
    request: &LogRequest,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    let mut follower = Follower {
        host: host.clone(),
        service: service.clone(),
        request: request.clone(),
        known: KnownContainers::default(),
        streams: JoinSet::new(),
        notes: Notes::new(service.id.clone(), to.clone()),
        to: to.clone(),
        engine,
    };
    follower.begin_all(&containers).await?;
    // It is open, though it may have nothing to say for long. Nobody listening is found out by the loop.
    let _ = to.send(LogEvent::Block(LogBlock::default())).await;
    while !to.is_closed() {
        if let Err(error) = follower.watch().await {
            follower.reconnect(error).await;
        }
    }
    Ok(())
}

/// A stream that ended, and whose it was.
type Ended = (String, Source);

/// Why nothing more is read of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// It ended, broke, or nobody listens.
    Over,
    /// The link carries less than is written.
    Behind,
}

struct Follower {
    host: Host,
    engine: Engine,
    service: Service,
    request: LogRequest,
    known: KnownContainers,
    streams: JoinSet<Ended>,
    notes: Notes,
    to: mpsc::Sender<LogEvent>,
}

impl Follower {
    async fn begin_all(
        &mut self,
        containers: &[ContainerInspectResponse],
    ) -> Result<(), RuntimeError> {
        self.known.count(containers);
        let started: Vec<_> = containers
            .iter()
            .filter(|c| known::has_started(c))
            .collect();
        // The past of several logs is merged by time; from there on lines come as they arrive.
        let mut positions = vec![Position::default(); started.len()];
        if started.len() > 1 || self.request.tail.is_some() {
            let past: Vec<_> = started.iter().map(|c| Facts::of(c)).collect();
            let asks = Ask::all(&past, &self.request);
            let outlet = Outlet::new(&self.to);
            positions = read_closed(&self.engine, asks, &self.request, &outlet).await?;
        }
        for (container, position) in started.into_iter().zip(positions) {
            let mut ask = Ask::window(&Facts::of(container), self.request.window);
            ask.follow = true;
            self.begin(container, ask, position).await?;
        }
        Ok(())
    }

    /// Follows while the engine is there. Returns when nobody listens.
    async fn watch(&mut self) -> Result<(), RuntimeError> {
        loop {
            let mut events = container_events(&self.engine, None);
            let mut look_at = Instant::now() + FIRST_LOOK;
            let mut is_connected = true;
            while is_connected {
                let to = self.to.clone();
                tokio::select! {
                    () = to.closed() => return Ok(()),
                    Some(ended) = self.streams.join_next() => {
                        self.keep(ended);
                        look_at = look_at.min(Instant::now() + TOLD_WHY);
                        continue;
                    }
                    event = events.next() => match event {
                        Some(event) if self.known.concerns(&event, &self.service) => {}
                        Some(_) => continue,
                        None => is_connected = false,
                    },
                    () = tokio::time::sleep_until(look_at) => {}
                }
                self.look().await?;
                look_at = Instant::now() + LOOK_AGAIN;
            }
        }
    }

    /// Tries until the engine answers again. Tells each of the first tries, if a stream broke: without one nothing
    /// is missed.
    async fn reconnect(&mut self, mut error: RuntimeError) {
        let mut wait = FIRST_WAIT;
        let mut tried = 0;
        let to = self.to.clone();
        loop {
            let deadline = Instant::now() + wait;
            if self.known.has_broken() && tried < TOLD_TRIES {
                tried += 1;
                let rest = match tried {
                    TOLD_TRIES => format!("; from now on every {} s", LONGEST_WAIT.as_secs()),
                    _ => String::new(),
                };
                let cause = SafeText::from_error(&error);
                let detail = format!("{tried}/{TOLD_TRIES}: {cause}{rest}");
                let from = self.known.newest();
                self.notes
                    .tell(LogNoteKind::Reconnecting, from, &detail)
                    .await;
            }
            loop {
                tokio::select! {
                    () = to.closed() => return,
                    Some(ended) = self.streams.join_next() => self.keep(ended),
                    () = tokio::time::sleep_until(deadline) => break,
                }
            }
            let is_told = tried >= TOLD_TRIES;
            wait = if is_told {
                LONGEST_WAIT
            } else {
                (wait * 2).min(LONGEST_WAIT)
            };
            match self.come_back(tried).await {
                Ok(()) => return,
                Err(next) => error = next,
            }
        }
    }

    async fn come_back(&mut self, tried: u32) -> Result<(), RuntimeError> {
        self.engine = Engine::connect(&self.host).await?;
        let containers = self.containers().await?;
        if tried > 0 {
            let from = self.known.newest();
            self.notes.tell(LogNoteKind::Reconnected, from, "").await;
        }
        self.compare(&containers, true).await
    }

    async fn look(&mut self) -> Result<(), RuntimeError> {
        let containers = self.containers().await?;
        self.compare(&containers, false).await
    }

    /// The service's containers, and those that were renamed since they are followed.
    async fn containers(&self) -> Result<Vec<ContainerInspectResponse>, RuntimeError> {
        let mut containers = containers_of(&self.engine, &self.service).await?;
        if self.service.runtime != Runtime::Docker || !containers.is_empty() {
            return Ok(containers);
        }
        for id in self.known.living() {
            match self
                .engine
                .quick(inspect_container(&self.engine, &id))
                .await
            {
                Ok(container) => containers.push(container),
                Err(RuntimeError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(containers)
    }

    /// Compares what there is with what is read.
    async fn compare(
        &mut self,
        containers: &[ContainerInspectResponse],
        was_lost: bool,
    ) -> Result<(), RuntimeError> {
        self.known.count(containers);
        for id in self.known.ids() {
            let container = containers.iter().find(|c| c.id.as_deref() == Some(&*id));
            match container {
                Some(container) => {
                    let settled = self.settle(&id, container, was_lost).await;
                    self.unless_removed(&id, settled).await?;
                }
                None => self.bury(&id).await,
            }
        }
        for container in containers {
            if known::has_started(container) && !self.known.has(container) {
                self.take_over(container).await;
                // It is read from its own beginning, whatever was asked of the first one.
                let until = self.request.window.until;
                let mut ask = Ask::window(&Facts::of(container), Window { since: None, until });
                ask.follow = true;
                let id = ask.id.clone();
                let begun = self.begin(container, ask, Position::default()).await;
                self.unless_removed(&id, begun).await?;
            }
        }
        if self.known.is_forsaken() {
            let detail = "no container is left: waiting for a new one";
            self.notes.tell(LogNoteKind::Ended, None, detail).await;
        }
        Ok(())
    }

    /// Draws the seam before a new container's first line, after the last line of the one it replaces.
    async fn take_over(&mut self, container: &ContainerInspectResponse) {
        let Some(replaced) = self.known.replaced_by(container) else {
            if !self.known.is_empty() {
                let detail = format!("new instance {}", known::name(container));
                let kind = LogNoteKind::Recreated;
                self.notes.tell(kind, None, &detail).await;
            }
            return;
        };
        let deadline = Instant::now() + LAST_LINES;
        while self.known.is_read(&replaced) && !self.known.is_alive(&replaced) {
            match tokio::time::timeout_at(deadline, self.streams.join_next()).await {
                Ok(Some(ended)) => self.keep(ended),
                _ => break,
            }
        }
        self.bury(&replaced).await;
        if let Some(old) = self.known.remove(&replaced) {
            let image = known::image(container);
            let detail = match self.known.is_several() && old.image == image {
                true => format!("new instance {}", known::name(container)),
                false => format!("{} → {image}", old.image),
            };
            let kind = LogNoteKind::Recreated;
            self.notes.tell(kind, old.position.newest, &detail).await;
        }
    }

    async fn begin(
        &mut self,
        container: &ContainerInspectResponse,
        ask: Ask,
        position: Position,
    ) -> Result<(), RuntimeError> {
        let mut source = Source::resume(&self.engine, &ask, position).await?;
        let (id, mut next) = (ask.id.clone(), ask.clone());
        let (notes, to) = (self.notes.clone(), self.to.clone());
        let engine = self.engine.clone();
        let mut pace = match self.request.keeps_up {
            true => Pace::of(&self.host).await,
            false => None,
        };
        let stream = self.streams.spawn(async move {
            // How it ended is asked of the engine.
            while let Ok(Why::Behind) = send_all(&mut source, &notes, &to, pace.as_mut()).await {
                let newest = source.leave();
                notes.tell(LogNoteKind::Gap, newest, BEHIND).await;
                next.newest_after(newest, NEWEST);
                match Source::open(&engine, &next).await {
                    Ok(newer) => source = newer,
                    Err(_) => break,
                }
            }
            (id, source)
        });
        let known = Known::new(container, ask, position, stream);
        self.known.insert(known);
        Ok(())
    }

    fn keep(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        // A stream that was given up has nothing to keep.
        if let Ok((id, source)) = ended
            && let Some(known) = self.known.get_mut(&id)
        {
            known.position = source.position();
            known.life = Life::Broken(Box::new(source));
        }
    }
}

/// Sends what a stream gives until it ends, falls behind, or nobody listens.
async fn send_all(
    source: &mut Source,
    notes: &Notes,
    to: &mpsc::Sender<LogEvent>,
    mut pace: Option<&mut Pace>,
) -> Result<Why, RuntimeError> {
    loop {
        let block = tokio::select! {
            () = to.closed() => return Ok(Why::Over),
            block = source.next() => block?,
        };
        if let Some((from, until)) = source.take_gap() {
            notes.tell_gap(from, until).await;
        }
        let Some(block) = block else {
            return Ok(Why::Over);
        };
        let newest = block.lines.last().and_then(|line| line.at);
        if to.send(LogEvent::Block(block)).await.is_err() {
            return Ok(Why::Over);
        }
        if let (Some(pace), Some(newest)) = (&mut pace, newest)
            && pace.is_behind(newest)
        {
            return Ok(Why::Behind);
        }
    }
}
