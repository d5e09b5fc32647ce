//! The engine's events: what tells that something changed, so that nothing has to be polled.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};

use super::connect::Engine;
use crate::host::Host;
use crate::runtime::Changes;

/// The first wait before connecting again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// What changes the look of a service. `exec_*`, `top` and the like are left out: a health check alone would
/// otherwise wake everything every few seconds.
const ACTIONS: &[&str] = &[
    "create",
    "start",
    "die",
    "stop",
    "restart",
    "pause",
    "unpause",
    "destroy",
    "rename",
    "oom",
    "update",
    "health_status",
];

/// How exactly the clock of an engine is known, and more.
const CLOCKS: SignedDuration = SignedDuration::from_secs(2);

/// The engine's container events from now on, or from an instant of its clock; ends with the connection.
pub(super) fn container_events(
    engine: &Engine,
    since: Option<Timestamp>,
) -> impl Stream<Item = EventMessage> + Send + Unpin + use<> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        (
            "event".to_owned(),
            ACTIONS.iter().map(|a| (*a).to_owned()).collect(),
        ),
    ]);
    let options = EventsOptions {
        filters: Some(filters),
        since: since.map(|at| at.as_second().to_string()),
        ..EventsOptions::default()
    };
    Box::pin(
        engine
            .docker
            .events(Some(options))
            .take_while(|event| std::future::ready(event.is_ok()))
            .filter_map(|event| std::future::ready(event.ok())),
    )
}

/// Tells of each container that changed, and of all after each loss and each return of the engine, since what happened
/// meanwhile is not known. Never ends.
pub async fn watch(host: &Host, changes: &Changes) {
    let mut wait = FIRST_WAIT;
    // What happened between the first look and this is told too, so that there is no second look for it.
    let mut since = Some(changes.since());
    loop {
        let is_back = since.is_none();
        let engine = match is_back {
            true => Engine::connect(host).await,
            false => Engine::known(host).await,
        };
        if let Ok(engine) = engine {
            wait = FIRST_WAIT;
            let from = since.take().unwrap_or_else(Timestamp::now);
            let ahead = host.ahead().await.unwrap_or_default();
            let from = from.saturating_add(ahead - CLOCKS).unwrap_or(from);
            let mut events = container_events(&engine, Some(from));
            if is_back {
                changes.tell(|changed| changed.engine = true);
            }
            while let Some(event) = events.next().await {
                let id = event.actor.and_then(|actor| actor.id);
                changes.tell(|changed| match id {
                    Some(id) => changed.containers.extend([id]),
                    None => changed.engine = true,
                });
            }
            changes.tell(|changed| changed.engine = true);
        }
        since = None;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
