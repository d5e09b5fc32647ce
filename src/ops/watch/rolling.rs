//! Rolling checkpoints: while everything is healthy one is kept so often, so that there is a last good one when nobody
//! thought of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Looked, WatchEvent};
use crate::ops::checkpoint::{self, CreateCheckpoint};
use crate::ops::{Context, OpsError};

/// What they are called, and how those of people are told from them.
const LABEL: &str = "watch";
/// A checkpoint holds at least so much of the logs.
const SHORTEST_LOG: SignedDuration = SignedDuration::from_mins(15);

/// When the next one is due.
pub(super) struct Rolling {
    every: Duration,
}

impl Rolling {
    pub(super) fn new(every: Duration) -> Self {
        Self { every }
    }

    /// Makes one where it is due and everything is healthy. A failure is told and stops nothing.
    pub(super) async fn after(
        &mut self,
        ctx: &Context,
        looked: &Looked,
        to: &mpsc::Sender<WatchEvent>,
    ) {
        if !looked.is_healthy() {
            return;
        }
        let at = looked.at;
        let event = match self.make(ctx, at).await {
            Ok(None) => return,
            Ok(Some(id)) => WatchEvent::Checkpoint {
                at,
                id,
                removed: Vec::new(),
            },
            Err(error) => WatchEvent::Problem {
                at,
                text: error.to_safe_text(),
            },
        };
        let _ = to.send(event).await;
    }

    async fn make(&self, ctx: &Context, now: Timestamp) -> Result<Option<String>, OpsError> {
        let every = SignedDuration::try_from(self.every).unwrap_or(SignedDuration::from_hours(1));
        let newest = checkpoint::list(ctx)?
            .into_iter()
            .filter_map(|checkpoint| checkpoint.manifest.ok())
            .filter(|manifest| manifest.complete)
            .map(|manifest| manifest.created_at)
            .max();
        if newest.is_some_and(|at| now.duration_since(at) < every) {
            return Ok(None);
        }
        let what = CreateCheckpoint {
            services: Vec::new(),
            label: Some(LABEL.to_owned()),
            since: Some(now - every.max(SHORTEST_LOG)),
        };
        let (progress, _nobody) = mpsc::channel(1);
        let made = checkpoint::create(ctx, &what, progress, CancellationToken::new()).await?;
        Ok(Some(made.0.id))
    }
}
