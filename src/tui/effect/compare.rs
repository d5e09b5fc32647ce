//! Comparing a checkpoint with now, and looking for one request in both.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Ended, TaskKey, forward};
use crate::domain::side_by_side::RequestWanted;
use crate::ops::input::Input;
use crate::ops::{self, Context};
use crate::tui::msg::Msg;

pub(super) async fn compare(
    ctx: Arc<Context>,
    checkpoint: String,
    after: Duration,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    tokio::time::sleep(after).await;
    let before = Input::Checkpoint {
        id: checkpoint,
        service: None,
    };
    let cancel = CancellationToken::new();
    let _end_with_this_task = cancel.clone().drop_guard();
    let (to, from) = mpsc::channel(16);
    let (comparison, ()) = tokio::join!(
        ops::compare::compare(&ctx, &before, &Input::Now, None, true, to, cancel),
        forward(TaskKey::Compare, from, inbox)
    );
    Ok(Some(Msg::Compared(Box::new(comparison?))))
}

pub(super) async fn find_request(
    ctx: Arc<Context>,
    checkpoint: String,
    wanted: Box<RequestWanted>,
) -> Ended {
    let before = Input::Checkpoint {
        id: checkpoint,
        service: None,
    };
    let cancel = CancellationToken::new();
    let _end_with_this_task = cancel.clone().drop_guard();
    let found = ops::compare::find_request(&ctx, &before, &Input::Now, &wanted, cancel).await?;
    Ok(Some(Msg::RequestFound(Box::new(found))))
}
