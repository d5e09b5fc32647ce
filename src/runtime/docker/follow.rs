//! Follows a service, not a container: through restarts, recreation and a daemon that goes away.
//!
//! One task reads each container and ends with it; the loop here watches the engine's events, starts a reader for
//! every container that begins to run, and draws a seam where a new container takes over.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connect::{Engine, quick};
use super::events::container_events;
use super::inspect::{container_name, containers_of, inspect_container};
use super::logs::{Ask, Position, Source};
use crate::domain::log::{LogEvent, LogNote, LogNoteKind, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId, short_id};
use crate::host::Host;
use crate::runtime::RuntimeError;

/// The first wait before trying a lost engine again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The old container's last lines stand before the seam; a reader that hangs does not hold it for ever.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Looked again without an event, in case one was lost …
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// … which is likeliest while the events are being subscribed to.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// What is known of a container whose log is or was read.
struct Known {
    started_at: Option<String>,
    image: String,
    position: Position,
    is_read: bool,
    is_gone: bool,
}

/// How the reader of a container ended.
struct Ended {
    id: String,
    position: Position,
    started_at: Option<String>,
    /// The note to draw; `None` where the container was removed while it ran.
    exit_code: Option<i64>,
    is_gone: bool,
}

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
        service: service.id.clone(),
        request: request.clone(),
        known: HashMap::new(),
        readers: JoinSet::new(),
        to: to.clone(),
        engine,
    };
    for container in &containers {
        follower.begin(container, true).await?;
    }
    let mut wait = FIRST_WAIT;
    loop {
        let mut events = container_events(&follower.engine);
        let mut is_connected = true;
        let mut look_again = FIRST_LOOK;
        while is_connected {
            tokio::select! {
                () = to.closed() => return Ok(()),
                Some(ended) = follower.readers.join_next() => {
                    if let Ok(ended) = ended {
                        follower.end(ended).await;
                    }
                }
                event = events.next() => is_connected = event.is_some(),
                () = tokio::time::sleep(look_again) => look_again = LOOK_AGAIN,
            }
            if to.is_closed() {
                return Ok(());
            }
            match follower.look(service).await {
                Ok(()) => wait = FIRST_WAIT,
                Err(_) => is_connected = false,
            }
        }
        tokio::select! {
            () = to.closed() => return Ok(()),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
        }
        if let Ok(engine) = Engine::connect(host).await {
            follower.engine = engine;
        }
    }
}

struct Follower {
    host: Host,
    engine: Engine,
    service: ServiceId,
    request: LogRequest,
    known: HashMap<String, Known>,
    readers: JoinSet<Ended>,
    to: mpsc::Sender<LogEvent>,
}

impl Follower {
    /// Compares what runs with what is read, and begins to read what is new.
    async fn look(&mut self, service: &Service) -> Result<(), RuntimeError> {
        let containers = containers_of(&self.engine, service).await?;
        for (id, known) in &mut self.known {
            known.is_gone = !containers.iter().any(|c| c.id.as_deref() == Some(id));
        }
        for container in &containers {
            let Some(id) = container.id.as_deref() else {
                continue;
            };
            if !has_started(container) {
                continue;
            }
            match self.known.get(id) {
                Some(known) if known.is_read => {}
                Some(known) if known.started_at == started_at(container) => {}
                Some(known) => {
                    let from = known.position.newest;
                    self.note(
                        LogNoteKind::Restarted,
                        from,
                        SafeText::from_text(&container_name(container)),
                    )
                    .await;
                    self.begin(container, false).await?;
                }
                None => {
                    self.take_over(container).await;
                    self.begin(container, false).await?;
                }
            }
        }
        Ok(())
    }

    /// Draws the seam before a new container's first line, after the last line of the one it replaces.
    async fn take_over(&mut self, container: &ContainerInspectResponse) {
        let is_replaced = |k: &Known| k.is_gone;
        if !self.known.values().any(is_replaced) {
            let detail = format!("new instance {}", container_name(container));
            self.note(LogNoteKind::Recreated, None, SafeText::from_text(&detail))
                .await;
            return;
        }
        let deadline = tokio::time::Instant::now() + LAST_LINES;
        while self.known.values().any(|k| k.is_gone && k.is_read) {
            match tokio::time::timeout_at(deadline, self.readers.join_next()).await {
                Ok(Some(Ok(ended))) => self.end(ended).await,
                _ => break,
            }
        }
        let gone = self
            .known
            .iter()
            .find(|(_, k)| k.is_gone)
            .map(|(id, k)| (id.clone(), k.image.clone(), k.position.newest));
        if let Some((id, image, from)) = gone {
            self.known.remove(&id);
            let detail = format!("{image} → {}", image_of(container));
            self.note(LogNoteKind::Recreated, from, SafeText::from_text(&detail))
                .await;
        }
    }

    async fn begin(
        &mut self,
        container: &ContainerInspectResponse,
        is_first: bool,
    ) -> Result<(), RuntimeError> {
        let id = container.id.clone().unwrap_or_default();
        let resume = self.known.get(&id).map(|k| k.position);
        let mut ask = Ask::window(container, self.request.window);
        ask.follow = true;
        if is_first {
            ask.tail = self.request.tail;
        }
        if !is_first && !self.known.contains_key(&id) {
            // A container that took over is read from its own beginning.
            ask.window = Window {
                since: None,
                ..ask.window
            };
            ask.since = None;
        }
        ask.resume(resume);
        let source = Source::open(&self.engine, &ask).await?;
        self.known.insert(
            id,
            Known {
                started_at: started_at(container),
                image: image_of(container),
                position: resume.unwrap_or_default(),
                is_read: true,
                is_gone: false,
            },
        );
        let reader = Reader {
            host: self.host.clone(),
            service: self.service.clone(),
            name: container_name(container),
            started_at: started_at(container),
            ask,
            to: self.to.clone(),
        };
        self.readers.spawn(reader.run(source));
        Ok(())
    }

    async fn end(&mut self, ended: Ended) {
        let mut from = None;
        if let Some(known) = self.known.get_mut(&ended.id) {
            known.position = ended.position;
            known.started_at = ended.started_at;
            known.is_read = false;
            known.is_gone = known.is_gone || ended.is_gone;
            from = known.position.newest;
        }
        let detail = match ended.exit_code {
            Some(code) => format!("exit {code}"),
            None => "the container was removed".to_owned(),
        };
        self.note(LogNoteKind::Ended, from, SafeText::from_text(&detail))
            .await;
    }

    async fn note(&self, kind: LogNoteKind, from: Option<Timestamp>, detail: SafeText) {
        let note = note(&self.service, kind, from, detail);
        // Nobody listening is found out by the loop.
        let _ = self.to.send(note).await;
    }
}

fn note(
    service: &ServiceId,
    kind: LogNoteKind,
    from: Option<Timestamp>,
    detail: SafeText,
) -> LogEvent {
    LogEvent::Note(LogNote {
        kind,
        service: service.clone(),
        from,
        to: Some(Timestamp::now()),
        lines: None,
        detail,
    })
}

fn started_at(container: &ContainerInspectResponse) -> Option<String> {
    container.state.as_ref()?.started_at.clone()
}

fn has_started(container: &ContainerInspectResponse) -> bool {
    started_at(container)
        .as_deref()
        .and_then(super::inspect::instant)
        .is_some()
}

fn image_of(container: &ContainerInspectResponse) -> String {
    let name = container.config.as_ref().and_then(|c| c.image.as_deref());
    let id = container.image.as_deref().unwrap_or("?");
    match name {
        // A tag is often the same before and after: only the id tells the releases apart.
        Some(name) if !name.starts_with("sha256:") => format!("{name} ({})", short_id(id)),
        _ => short_id(id).to_owned(),
    }
}

/// Reads one container until it ends, through losses of the connection.
struct Reader {
    host: Host,
    service: ServiceId,
    name: String,
    started_at: Option<String>,
    ask: Ask,
    to: mpsc::Sender<LogEvent>,
}

impl Reader {
    async fn run(mut self, mut source: Source) -> Ended {
        loop {
            self.drain(&mut source).await;
            let position = source.position();
            if self.to.is_closed() {
                return self.ended(position, None, false);
            }
            self.ask.resume(Some(position));
            match self.reopen(position).await {
                Ok(resumed) => source = resumed,
                Err(mut ended) => {
                    if let Some(last) = source.rest().filter(|_| ended.position == position) {
                        // Nobody listening is found out by the loop that follows.
                        let _ = self.to.send(LogEvent::Block(last)).await;
                        ended.position = source.position();
                    }
                    return ended;
                }
            }
        }
    }

    /// Sends what the stream gives until it ends, however it ends.
    async fn drain(&self, source: &mut Source) {
        loop {
            let block = tokio::select! {
                () = self.to.closed() => return,
                block = source.next() => block,
            };
            match block {
                Ok(Some(block)) => {
                    if self.to.send(LogEvent::Block(block)).await.is_err() {
                        return;
                    }
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// The stream ended: because the container did, or was restarted, or because the engine is away. A dead link
    /// ends like a normal end, so the engine is asked which it was.
    async fn reopen(&mut self, position: Position) -> Result<Source, Ended> {
        let mut wait = FIRST_WAIT;
        let mut is_lost = false;
        loop {
            if self.to.is_closed() {
                return Err(self.ended(position, None, false));
            }
            match self.try_reopen(position, is_lost).await {
                Ok(result) => return result,
                Err(error) => {
                    if !is_lost {
                        is_lost = true;
                        let detail = SafeText::from_error(&error);
                        let lost = note(
                            &self.service,
                            LogNoteKind::Reconnecting,
                            position.newest,
                            detail,
                        );
                        let _ = self.to.send(lost).await;
                    }
                }
            }
            tokio::select! {
                () = self.to.closed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn try_reopen(
        &mut self,
        position: Position,
        was_lost: bool,
    ) -> Result<Result<Source, Ended>, RuntimeError> {
        let engine = Engine::connect(&self.host).await?;
        let container = match quick(inspect_container(&engine, &self.ask.id)).await {
            Ok(container) => container,
            Err(RuntimeError::NotFound(_)) => return Ok(Err(self.ended(position, None, true))),
            Err(error) => return Err(error),
        };
        let state = container.state.clone().unwrap_or_default();
        let started = started_at(&container);
        let is_restarted = started != self.started_at;
        if state.running != Some(true) || state.restarting == Some(true) {
            if was_lost {
                // Lines written before the end while the engine was away are still to be read.
                let mut ask = self.ask.clone();
                ask.follow = false;
                let mut rest = Source::open(&engine, &ask).await?;
                self.drain(&mut rest).await;
                let position = rest.position();
                return Ok(Err(self.ended(position, state.exit_code, false)));
            }
            return Ok(Err(self.ended(position, state.exit_code, false)));
        }
        let source = Source::open(&engine, &self.ask).await?;
        let (kind, detail) = if is_restarted {
            (LogNoteKind::Restarted, self.name.clone())
        } else {
            (LogNoteKind::Reconnected, "no line is missing".to_owned())
        };
        self.started_at = started;
        let back = note(
            &self.service,
            kind,
            position.newest,
            SafeText::from_text(&detail),
        );
        let _ = self.to.send(back).await;
        Ok(Ok(source))
    }

    fn ended(&self, position: Position, exit_code: Option<i64>, is_gone: bool) -> Ended {
        Ended {
            id: self.ask.id.clone(),
            position,
            started_at: self.started_at.clone(),
            exit_code,
            is_gone,
        }
    }
}
