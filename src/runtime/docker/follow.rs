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
use super::connect::{Engine, quick};
use super::events::container_events;
use super::inspect::{containers_of, inspect_container};
use super::logs::{Ask, Position, Source, read_closed};
use crate::domain::log::{LogEvent, LogNoteKind, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::host::Host;
use crate::runtime::RuntimeError;

mod known;
mod notes;

/// The first wait before trying a lost engine again; it doubles with each try …
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// … for so many tries, each of which is told …
const TOLD_TRIES: u32 = 5;
/// … and stays like this then, for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The old container's last lines stand before the seam; a stream that hangs does not hold it for ever.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Looked again without an event, in case one was lost …
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// … which is likeliest while the events are being subscribed to.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// The event that tells why a stream ended comes with its end; a container that is removed at once has told nothing
/// else.
const TOLD_WHY: Duration = Duration::from_millis(200);
/// The engine ends a stream a moment before it says that the container ended.
const SETTLING: Duration = Duration::from_millis(500);
const SETTLING_STEP: Duration = Duration::from_millis(25);
/// A process may write before the engine says that it was started.
const STARTING: Duration = Duration::from_secs(2);
/// The shortest time there is.
const INSTANT: Duration = Duration::from_nanos(1);

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
    while !to.is_closed() {
        if let Err(error) = follower.watch().await {
            follower.reconnect(error).await;
        }
    }
    Ok(())
}

/// A stream that ended, and whose it was.
type Ended = (String, Source);

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
            let past: Vec<_> = started.iter().map(|c| (*c).clone()).collect();
            positions = read_closed(&self.engine, &past, &self.request, &self.to).await?;
        }
        for (container, position) in started.into_iter().zip(positions) {
            let mut ask = Ask::window(container, self.request.window);
            ask.follow = true;
            self.begin(container, ask, position).await?;
        }
        Ok(())
    }

    /// Follows while the engine is there. Returns when nobody listens.
    async fn watch(&mut self) -> Result<(), RuntimeError> {
        loop {
            let mut events = container_events(&self.engine);
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
            match quick(inspect_container(&self.engine, &id)).await {
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
                let mut ask = Ask::window(container, Window { since: None, until });
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

    /// A container may be removed while it is being asked for: the next event tells that, and it is no failure.
    async fn unless_removed(
        &self,
        id: &str,
        result: Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        match result {
            Err(error) if !error.is_unreachable() => {
                match quick(inspect_container(&self.engine, id)).await {
                    Err(RuntimeError::NotFound(_)) => Ok(()),
                    Ok(container) if known::is_going(&container) => Ok(()),
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    /// Goes on with a container that is there, where its stream ended or it was started again.
    async fn settle(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
        was_lost: bool,
    ) -> Result<(), RuntimeError> {
        let Some(known) = self.known.get(id) else {
            return Ok(());
        };
        let is_restarted = known.started_at != known::started_at(container);
        match known.life {
            Life::Read | Life::Gone => Ok(()),
            Life::Ended if !is_restarted => Ok(()),
            Life::Ended => self.restart(id, container).await,
            Life::Broken(_) if known::is_running(container) && !is_restarted => {
                let settled = match was_lost {
                    true => container.clone(),
                    false => self.wait_for_end(id, container).await?,
                };
                if !known::is_running(&settled) || known::started_at(&settled) != known.started_at {
                    // The next look tells the rest.
                    return Box::pin(self.settle(id, &settled, was_lost)).await;
                }
                let (ask, position) = (known.ask.clone(), known.position);
                self.begin(container, ask, position).await
            }
            Life::Broken(_) => {
                let container = self.read_rest(id, container).await?;
                let Some(known) = self.known.get_mut(id) else {
                    return Ok(());
                };
                if known.started_at != known::started_at(&container) {
                    return self.restart(id, &container).await;
                }
                known.life = Life::Ended;
                let from = known.position.newest;
                let detail = self.known.how_it_ended(id, Some(&container));
                self.notes.tell(LogNoteKind::Ended, from, &detail).await;
                Ok(())
            }
        }
    }

    /// The stream ended. Gives the container's state once that is explained, or when it is not explained in time.
    async fn wait_for_end(
        &self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let deadline = Instant::now() + SETTLING;
        loop {
            let now = match quick(inspect_container(&self.engine, id)).await {
                Err(RuntimeError::NotFound(_)) => return Ok(container.clone()),
                now => now?,
            };
            let is_same = known::started_at(&now) == known::started_at(container);
            if !known::is_running(&now) || !is_same || Instant::now() >= deadline {
                return Ok(now);
            }
            tokio::time::sleep(SETTLING_STEP).await;
        }
    }

    /// Gives the container once it was started again, or when it was not in time.
    async fn wait_for_start(
        &self,
        id: &str,
        ended: ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let deadline = Instant::now() + STARTING;
        loop {
            let now = quick(inspect_container(&self.engine, id)).await?;
            let is_same = known::started_at(&now) == known::started_at(&ended);
            if !is_same || Instant::now() >= deadline {
                return Ok(now);
            }
            tokio::time::sleep(SETTLING_STEP).await;
        }
    }

    /// Sends what the container wrote until it ended and the stream did not give: the engine may end a stream before
    /// its last lines, and a broken one lacks them anyway. Gives the container as it is then: it may have been
    /// started again meanwhile, and the lines of its new run stand behind the seam.
    async fn read_rest(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<ContainerInspectResponse, RuntimeError> {
        let mut container = container.clone();
        let mut later = None;
        loop {
            let Some(known) = self.known.get_mut(id) else {
                return Ok(container);
            };
            let is_restarted = known.started_at != known::started_at(&container);
            let until = match is_restarted {
                true => known::end_of_last_run(&container, true),
                false => later.or_else(|| known::end_of_last_run(&container, false)),
            };
            let mut ask = known.ask.clone();
            ask.follow = false;
            let whole = ask.window.until;
            ask.window.until = whole.into_iter().chain(until).min();
            let mut rest = Source::resume(&self.engine, &ask, known.position).await?;
            let sent = send_all(&mut rest, &self.notes, &self.to).await;
            known.position = rest.position();
            sent?;
            later = rest.beyond().map(|at| super::logs::later(at, INSTANT));
            let is_outside = whole.is_some_and(|whole| later > Some(whole));
            if is_restarted || later.is_none() || is_outside {
                return Ok(container);
            }
            // Lines that are too late for the run that ended are those of the next, of which the engine may not know
            // yet, unless there is none.
            container = self.wait_for_start(id, container).await?;
        }
    }

    async fn restart(
        &mut self,
        id: &str,
        container: &ContainerInspectResponse,
    ) -> Result<(), RuntimeError> {
        let Some(known) = self.known.get(id) else {
            return Ok(());
        };
        let (ask, position) = (known.ask.clone(), known.position);
        let mut detail = known.name.clone();
        if !matches!(known.life, Life::Ended)
            && let Some(code) = known.exit_code
        {
            detail.push_str(&format!(", after exit {code}"));
        }
        let kind = LogNoteKind::Restarted;
        self.notes.tell(kind, position.newest, &detail).await;
        self.begin(container, ask, position).await
    }

    /// The container is not there any more.
    async fn bury(&mut self, id: &str) {
        let detail = self.known.how_it_ended(id, None);
        let Some(known) = self.known.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut known.life, Life::Gone) {
            // Its stream will end, and then it is buried.
            Life::Read => known.life = Life::Read,
            Life::Ended | Life::Gone => {}
            Life::Broken(mut source) => {
                if let Some(last) = source.rest() {
                    // Nobody listening is found out by the loop.
                    let _ = self.to.send(LogEvent::Block(last)).await;
                }
                let from = source.position().newest;
                self.notes.tell(LogNoteKind::Ended, from, &detail).await;
            }
        }
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
        let id = ask.id.clone();
        let (notes, to) = (self.notes.clone(), self.to.clone());
        let stream = self.streams.spawn(async move {
            // How it ended is asked of the engine.
            let _ = send_all(&mut source, &notes, &to).await;
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

/// Sends what a stream gives until it ends, or nobody listens.
async fn send_all(
    source: &mut Source,
    notes: &Notes,
    to: &mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    loop {
        let block = tokio::select! {
            () = to.closed() => return Ok(()),
            block = source.next() => block?,
        };
        if let Some((from, until)) = source.take_gap() {
            notes.tell_gap(from, until).await;
        }
        let Some(block) = block else {
            return Ok(());
        };
        if to.send(LogEvent::Block(block)).await.is_err() {
            return Ok(());
        }
    }
}
