//! The tasks that make checkpoints and carry plans out, and tell how far they are.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Ended, TaskKey};
use crate::domain::operation::{Operation, Plan};
use crate::domain::outcome::Progress;
use crate::ops::checkpoint::CreateCheckpoint;
use crate::ops::several::Order;
use crate::ops::{self, Confirmation, Context};
use crate::tui::msg::Msg;

/// Hands the progress of an operation to the loop until the operation ends.
async fn forward(key: TaskKey, mut from: mpsc::Receiver<Progress>, inbox: mpsc::Sender<Msg>) {
    while let Some(progress) = from.recv().await {
        let _ = inbox.send(Msg::Progress { key, progress }).await;
    }
}

/// Makes a checkpoint of every service.
pub(super) async fn create_checkpoint(ctx: Arc<Context>, inbox: mpsc::Sender<Msg>) -> Ended {
    let cancel = CancellationToken::new();
    let _end_with_this_task = cancel.clone().drop_guard();
    let (to, from) = mpsc::channel(16);
    let what = CreateCheckpoint::default();
    let (made, ()) = tokio::join!(
        ops::checkpoint::create(&ctx, &what, to, cancel),
        forward(TaskKey::CreateCheckpoint, from, inbox)
    );
    let (manifest, _path) = made?;
    Ok(Some(Msg::CheckpointMade(Box::new(manifest))))
}

/// Plans every operation, in their order.
pub(super) async fn plan(ctx: Arc<Context>, operations: Vec<Operation>) -> Ended {
    let order = Order::plan(&ctx, &operations).await?;
    Ok(Some(Msg::Planned(order)))
}

/// Carries a confirmed plan out.
pub(super) async fn execute(
    ctx: Arc<Context>,
    plan: Box<Plan>,
    confirmation: Confirmation,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    let (to, from) = mpsc::channel(64);
    let (outcome, ()) = tokio::join!(
        ops::execute(&ctx, &plan, &confirmation, to),
        forward(TaskKey::Execute, from, inbox)
    );
    Ok(Some(Msg::Executed(Box::new(outcome?))))
}
