//! Rolling checkpoints: of what is healthy one is kept so often, so that there is a last good one when nobody thought of
//! it. A service that is ill has no part in them, and keeps no other from having one.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Looked, WatchEvent};
use crate::domain::checkpoint::{Checkpoint, Manifest};
use crate::domain::health::HealthState;
use crate::domain::service::ServiceId;
use crate::ops::checkpoint::{self, CreateCheckpoint};
use crate::ops::{Context, OpsError, resume};
use crate::store::checkpoint as store;

/// What they are called, and how those of people are told from them.
const LABEL: &str = "watch";
/// So many are kept.
const KEEP: usize = 24;
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

    /// Makes one of what is healthy where it is due. A failure is told and stops nothing.
    pub(super) async fn after(
        &mut self,
        ctx: &Context,
        looked: &Looked,
        to: &mpsc::Sender<WatchEvent>,
    ) {
        if looked.good.is_empty() {
            return;
        }
        let at = looked.at;
        let event = match self.make(ctx, looked).await {
            Ok(None) => return,
            Ok(Some((id, removed))) => WatchEvent::Checkpoint { at, id, removed },
            Err(error) => WatchEvent::Problem {
                at,
                text: error.to_safe_text(),
            },
        };
        let _ = to.send(event).await;
    }

    async fn make(
        &self,
        ctx: &Context,
        looked: &Looked,
    ) -> Result<Option<(String, Vec<String>)>, OpsError> {
        let every = SignedDuration::try_from(self.every).unwrap_or(SignedDuration::from_hours(1));
        let now = looked.at;
        let all = checkpoint::list(ctx)?;
        // One that is not complete counts as well: a log that cannot be read is not tried again every few seconds.
        let newest = all.iter().filter_map(|checkpoint| {
            let manifest = checkpoint.manifest.as_ref().ok()?;
            is_rolling(manifest).then_some(manifest.created_at)
        });
        if newest
            .max()
            .is_some_and(|at| now.duration_since(at) < every)
        {
            return Ok(None);
        }
        let what = CreateCheckpoint {
            services: looked.good.iter().map(ToString::to_string).collect(),
            label: Some(LABEL.to_owned()),
            since: Some(now - every.max(SHORTEST_LOG)),
        };
        let (progress, _nobody) = mpsc::channel(1);
        let made = checkpoint::make(ctx, &what, progress, CancellationToken::new()).await?;
        let mut removed = Vec::new();
        // A run that did not end may need any of them; they are removed with the next one.
        let left = resume::unfinished(ctx)?;
        if !left.runs.is_empty() || !left.unread.is_empty() {
            return Ok(Some((made.0.id, removed)));
        }
        for old in to_remove(&checkpoint::list(ctx)?) {
            if let Ok(manifest) = &old.manifest {
                checkpoint::pin::unpin_all(ctx, manifest).await?;
            }
            store::remove(&ctx.state, &old.path)?;
            removed.push(old.id.clone());
        }
        Ok(Some((made.0.id, removed)))
    }
}

fn is_rolling(manifest: &Manifest) -> bool {
    manifest
        .label
        .as_ref()
        .is_some_and(|label| label.as_str() == LABEL)
}

/// The rolling ones over [`KEEP`], the newest first in `all`. Never one that people made, nor the last at which some
/// service was healthy.
fn to_remove(all: &[Checkpoint]) -> Vec<&Checkpoint> {
    let mut rolling = 0;
    let mut has_good: BTreeSet<&ServiceId> = BTreeSet::new();
    let mut over = Vec::new();
    for checkpoint in all {
        let Ok(manifest) = &checkpoint.manifest else {
            continue;
        };
        let healthy = manifest
            .services
            .iter()
            .filter(|s| s.health == Some(HealthState::Healthy) && manifest.complete);
        let good: Vec<&ServiceId> = healthy.map(|s| &s.id).collect();
        let is_last_good = good.iter().any(|id| !has_good.contains(*id));
        has_good.extend(good);
        if is_rolling(manifest) {
            rolling += 1;
            if rolling > KEEP && !is_last_good {
                over.push(checkpoint);
            }
        }
    }
    over
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(id: &str, label: &str, services: &[&str]) -> Checkpoint {
        let rows: Vec<_> = services
            .iter()
            .map(|id| {
                json!({"id": id, "runtime": "compose", "log": null, "files": [], "release": {},
                    "pinned": null, "health": "healthy"})
            })
            .collect();
        let manifest = json!({"schema": "lastgood.checkpoint/1", "id": id,
            "created_at": "2025-12-27T14:50:00Z", "label": label, "by": "anna", "services": rows,
            "sums_sha256": "", "complete": true, "problems": []});
        Checkpoint {
            id: id.into(),
            path: id.into(),
            manifest: Ok(serde_json::from_value(manifest).unwrap()),
        }
    }

    #[test]
    fn the_oldest_rolling_ones_go_and_no_last_good_one_nor_one_of_people() {
        let mut all: Vec<Checkpoint> = (0..30)
            .map(|n| made(&format!("c{n}"), LABEL, &["shop/api"]))
            .collect();
        all[27] = made("c27", "pre-1.2", &["shop/api"]);
        all[28] = made("c28", LABEL, &["shop/api", "shop/old"]);
        let ids: Vec<&str> = to_remove(&all).iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["c24", "c25", "c26", "c29"]);
    }
}
