//! The engine's events: what tells that something changed, so that nothing has to be polled.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::connect::Engine;
use crate::host::Host;

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

/// The engine's container events from now on; ends with the connection.
pub(super) fn container_events(
    engine: &Engine,
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

/// Sends a signal for each change of a container, and one after each loss and each return of the engine, since
/// what happened meanwhile is not known. Signals that wait unread are one. Ends when nobody listens.
pub async fn watch(host: &Host, to: mpsc::Sender<()>) {
    let mut wait = FIRST_WAIT;
    while !to.is_closed() {
        if let Ok(engine) = Engine::connect(host).await {
            wait = FIRST_WAIT;
            let mut events = container_events(&engine);
            // Subscribed before this signal, so that nothing falls between the look and the events.
            signal(&to);
            loop {
                let event = tokio::select! {
                    () = to.closed() => return,
                    event = events.next() => event,
                };
                match event {
                    Some(_) => signal(&to),
                    None => break,
                }
            }
            signal(&to);
        }
        tokio::select! {
            () = to.closed() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn signal(to: &mpsc::Sender<()>) {
    // A full channel holds a signal already.
    let _ = to.try_send(());
}
