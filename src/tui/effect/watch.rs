//! What goes on by itself: which services there are, and how the selected one does.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use tokio::sync::mpsc;

use super::{Ended, blocking};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::signal::ServiceSignals;
use crate::ops::{self, Context};
use crate::tui::msg::Msg;
use crate::tui::panes::signals::Around;
use crate::tui::panes::signals::board::Measured;

pub(super) async fn services(ctx: Arc<Context>, inbox: mpsc::Sender<Msg>) -> Ended {
    let (to, mut from) = mpsc::channel(4);
    let forward = async {
        while let Some(inventory) = from.recv().await {
            if inbox.send(Msg::Inventory(inventory)).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(ops::services::watch(ctx, to), forward);
    Ok(None)
}

/// Measures a service and its machine, and reads what fires; at the first look also what was kept of it.
pub(super) async fn sample(
    ctx: Arc<Context>,
    service: Box<Service>,
    after: Duration,
    is_first: bool,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    tokio::time::sleep(after).await;
    let id = service.id.clone();
    let (signals, machines) = tokio::join!(
        ops::signals::measure_lately(&ctx, &service, None),
        ops::signals::machines_of(&ctx, &id.host),
    );
    let measured: Vec<ServiceSignals> = machines
        .iter()
        .chain(std::iter::once(&signals))
        .cloned()
        .collect();
    let around = blocking(move || {
        let kept = match is_first {
            true => ops::signals::kept(&ctx, &id),
            false => Vec::new(),
        };
        let limits = ctx.config.service(&id).limits;
        let (since, before) = match ops::signals::at_checkpoint(&ctx, &id) {
            Some((made_at, before)) => (Some(made_at), before),
            None => (None, Vec::new()),
        };
        // A history that cannot be written is missed after a restart, and nothing is wrong now.
        let _ = ops::signals::keep(&ctx, &measured);
        let (alerts, unread) = match ops::alerts::read(&ctx) {
            Ok(book) => (book.alerts, None),
            Err(error) => (Vec::new(), Some(error.to_safe_text())),
        };
        Ok(Around {
            service: Some(id),
            machine: None,
            alerts,
            unread,
            kept,
            limits,
            since,
            before,
        })
    })
    .await?;
    let around = Around {
        machine: machines.into_iter().next(),
        ..around
    };
    if inbox.send(Msg::Around(Box::new(around))).await.is_err() {
        return Ok(None);
    }
    Ok(Some(Msg::Sampled(signals)))
}

/// So many services are measured at once: most of the time of one is a pause between two samples.
const AT_ONCE: usize = 16;
/// An outage of a moment ago shows, and one slow request does not.
const SPAN: SignedDuration = SignedDuration::from_mins(5);

/// Measures all services and their machines, and reads what fires.
pub(super) async fn sample_all(
    ctx: Arc<Context>,
    services: Vec<Service>,
    after: Duration,
) -> Ended {
    tokio::time::sleep(after).await;
    // Made before they are streamed: a closure over references inside the stream would not be `Send`.
    let looks: Vec<_> = (services.iter())
        .map(|service| ops::signals::measure_in_time(&ctx, service, SPAN))
        .collect();
    let looks = stream::iter(looks).buffered(AT_ONCE).collect::<Vec<_>>();
    let (mut signals, machines) = tokio::join!(looks, ops::signals::machines(&ctx));
    signals.extend(machines);
    let measured = blocking(move || {
        // A history that cannot be written is missed after a restart, and nothing is wrong now.
        let _ = ops::signals::keep(&ctx, &signals);
        let (alerts, unread) = match ops::alerts::read(&ctx) {
            Ok(book) => (book.alerts, None),
            Err(error) => (Vec::new(), Some(error.to_safe_text())),
        };
        Ok(Measured {
            signals,
            alerts,
            unread,
        })
    })
    .await?;
    Ok(Some(Msg::Measured(Box::new(measured))))
}

/// Takes an alert for the user of this console.
pub(super) async fn acknowledge(ctx: Arc<Context>, key: String) -> Ended {
    let (taken, deliveries) = ops::alerts::acknowledge(&ctx, &key).await?;
    let failed = deliveries.iter().filter(|d| d.error.is_some()).count();
    let book = blocking(move || ops::alerts::read(&ctx)).await?;
    let told = match (deliveries.len(), failed) {
        (0, _) => String::new(),
        (all, 0) => format!(", {all} sinks were told"),
        (all, failed) => format!(", {failed} of {all} sinks could not be told yet"),
    };
    Ok(Some(Msg::Acknowledged {
        text: SafeText::from_text(&format!("{taken} taken: {key}{told}")),
        alerts: book.alerts,
    }))
}
