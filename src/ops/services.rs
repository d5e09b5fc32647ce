//! What runs: every service of every runtime on every host.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Context;
use crate::domain::service::Inventory;

/// Looks once at every runtime of every host. Never fails: what could not be read stands in
/// [`Inventory::unreachable`] with its cause and its fix.
pub async fn discover(_ctx: &Context) -> Inventory {
    todo!("runtime")
}

/// Sends the inventory now and again after every change that the runtimes tell of (containers started, ended,
/// recreated, health changed), at most five times a second. Reconnects by itself. Ends when nobody listens.
pub async fn watch(_ctx: Arc<Context>, _to: mpsc::Sender<Inventory>) {
    todo!("runtime")
}
