//! Follows the tasks of a swarm's service that run on other nodes, through its manager.
//!
//! The manager tells of no event when a task of another node begins, so it is asked every two seconds. A task is read
//! from where it was read to when its stream broke; lines come as they arrive, not merged with those of this node.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::notes::Notes;
use super::send_all;
use crate::domain::log::{LogEvent, LogNoteKind, LogRequest, Window};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::host::Host;
use crate::runtime::RuntimeError;
use crate::runtime::docker::connect::Engine;
use crate::runtime::docker::inspect::containers_of;
use crate::runtime::docker::logs::{Ask, Position, Source};
use crate::runtime::docker::swarm::{Task, tasks_elsewhere};

/// Between two looks at the tasks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A task whose log is or was read.
enum Known {
    /// It is being read.
    Read,
    /// Its stream ended here; it is gone on with where the task runs.
    Ended(Position),
    /// Its stream broke here: there may be more to read, also of a task that ended since.
    Broken(Position),
}

/// Follows until nobody listens. What cannot be read is told, and tried again.
pub(in crate::runtime::docker) async fn follow(
    host: &Host,
    service: &Service,
    request: &LogRequest,
    to: &mpsc::Sender<LogEvent>,
) {
    let notes = Notes::new(service.id.clone(), to.clone());
    let mut streams = JoinSet::new();
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    let (mut is_first, mut is_told) = (true, false);
    loop {
        match look(host, service).await {
            Ok((engine, tasks)) => {
                is_told = false;
                for task in tasks {
                    let begun = begin(&engine, &task, &known, request, is_first).await;
                    let source = match begun {
                        Ok(Some(source)) => source,
                        Ok(None) => continue,
                        Err(error) => {
                            // A node that is away keeps its lines until it is back.
                            let why = format!("task {}: {}", task.id, SafeText::from_error(&error));
                            notes.tell(LogNoteKind::Gap, None, &why).await;
                            known.insert(task.id, Known::Ended(Position::default()));
                            continue;
                        }
                    };
                    known.insert(task.id.clone(), Known::Read);
                    let (notes, to) = (notes.clone(), to.clone());
                    streams.spawn(async move {
                        let mut source = source;
                        // How it ended is seen by its task.
                        let known = match send_all(&mut source, &notes, &to, None).await {
                            Ok(_) => Known::Ended(source.position()),
                            Err(_) => Known::Broken(source.position()),
                        };
                        (task.id, known)
                    });
                }
                is_first = false;
            }
            Err(error) if !is_told => {
                is_told = true;
                let why = format!("tasks of other nodes: {}", SafeText::from_error(&error));
                notes.tell(LogNoteKind::Reconnecting, None, &why).await;
            }
            Err(_) => {}
        }
        let again = tokio::time::sleep(LOOK_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = to.closed() => return,
                () = &mut again => break,
                Some(Ok((id, how))) = streams.join_next() => {
                    known.insert(id, how);
                }
            }
        }
    }
}

async fn look(host: &Host, service: &Service) -> Result<(Engine, Vec<Task>), RuntimeError> {
    let engine = Engine::connect(host).await?;
    let here = containers_of(&engine, service).await?;
    let tasks = tasks_elsewhere(&engine, service, &here).await?;
    Ok((engine, tasks))
}

/// The stream of a task that is not read yet, or goes on; `None` where there is nothing to begin.
async fn begin(
    engine: &Engine,
    task: &Task,
    known: &BTreeMap<String, Known>,
    request: &LogRequest,
    is_first: bool,
) -> Result<Option<Source>, RuntimeError> {
    let mut ask = Ask::task(task, request.window);
    ask.follow = true;
    match known.get(&task.id) {
        Some(Known::Read) => Ok(None),
        Some(Known::Ended(_)) if task.status.state != "running" => Ok(None),
        Some(Known::Ended(position) | Known::Broken(position)) => {
            Source::resume(engine, &ask, *position).await.map(Some)
        }
        None if is_first => {
            ask.tail = request.tail;
            Source::open(engine, &ask).await.map(Some)
        }
        None => {
            // It is read from its own beginning, whatever was asked of the first ones.
            let until = request.window.until;
            ask.since = None;
            ask.window = Window { since: None, until };
            Source::open(engine, &ask).await.map(Some)
        }
    }
}
