//! What goes on by itself: which services there are, and how the selected one does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Ended;
use crate::domain::log::Window;
use crate::domain::service::Service;
use crate::ops::{self, Context};
use crate::tui::msg::Msg;

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

pub(super) async fn sample(ctx: Arc<Context>, service: Box<Service>, after: Duration) -> Ended {
    tokio::time::sleep(after).await;
    let signals = ops::signals::measure(&ctx, &service, Window::ALL).await;
    Ok(Some(Msg::Sampled(signals)))
}
