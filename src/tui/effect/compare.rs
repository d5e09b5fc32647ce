//! Comparing a checkpoint with now, and looking for one request in both.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Ended, TaskKey};
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::side_by_side::RequestWanted;
use crate::ops::compare::Live;
use crate::ops::input::Input;
use crate::ops::{self, Context};
use crate::tui::msg::Msg;
use crate::tui::panes::compare::WATCH_EVERY;

/// The comparison that goes on; `None` where nothing is watched.
pub(super) type Watched = Arc<Mutex<Option<Live>>>;

/// Compares after that time with a fresh look at services and probes; with [`WATCH_EVERY`] as soon as there is something
/// new, at the latest after that.
pub(super) async fn compare(
    ctx: Arc<Context>,
    watched: Watched,
    checkpoint: String,
    after: Duration,
    inbox: mpsc::Sender<Msg>,
) -> Ended {
    let mut watched = watched.lock().await;
    if watched.as_ref().is_none_or(|live| !live.is_of(&checkpoint)) {
        *watched = None;
        let text = format!("reading checkpoint {checkpoint} and what runs now");
        let progress = Progress::Note(SafeText::from_text(&text));
        let key = TaskKey::Compare;
        let _ = inbox.send(Msg::Progress { key, progress }).await;
        *watched = Some(Live::open(ctx, &checkpoint).await?);
    }
    let Some(live) = watched.as_mut() else {
        return Ok(None);
    };
    if after < WATCH_EVERY {
        tokio::time::sleep(after).await;
        live.forget_look();
    } else {
        let _ = tokio::time::timeout(after, live.changed()).await;
    }
    let comparison = live.compare().await?;
    Ok(Some(Msg::Compared(Box::new(comparison))))
}

/// Ends all reading for a comparison that goes on.
pub(super) async fn end_watch(watched: Watched) -> Ended {
    *watched.lock().await = None;
    Ok(None)
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
