//! A comparison of a checkpoint with now that goes on: the checkpoint is read once, what the services write is scanned as
//! it comes, and the verdict follows within a second. Services and probes are asked less often: that costs the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{dispersion, facts, measured, show};
use crate::analysis::compare;
use crate::domain::comparison::Comparison;
use crate::domain::health::HealthReport;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::ServiceSignals;
use crate::ops::input::{self, Followed, Input, ReadOptions, ReadSide};
use crate::ops::{Context, ErrorKind, OpsError, health, secrets, services};

/// How often services and probes are asked.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// What is compared at most so often …
const AT_MOST: Duration = Duration::from_secs(1);
/// … and not for more than a share of the time: where one comparison takes long, the next one waits so many times that.
const REST: u32 = 4;

/// A comparison that goes on. Dropping it ends all reading.
#[derive(Debug)]
pub struct Live {
    ctx: Arc<Context>,
    checkpoint: String,
    before: Arc<ReadSide>,
    dispersion: BTreeMap<ServiceId, f64>,
    after: Followed,
    health: Option<HealthReport>,
    saved: Vec<ServiceSignals>,
    /// Why the checkpoint's signals could not be read.
    unread: Vec<SafeText>,
    /// What was measured last; a look that is under way takes a second, and the verdict does not wait for it.
    measured: Vec<ServiceSignals>,
    measuring: JoinSet<Vec<ServiceSignals>>,
    looked_at: Option<Instant>,
    compared_at: Option<Instant>,
    took: Duration,
}

impl Live {
    /// Reads the checkpoint. What runs now is looked at by the first [`compare`](Self::compare).
    ///
    /// # Errors
    /// There is no such checkpoint, or it cannot be read.
    pub async fn open(ctx: Arc<Context>, id: &str) -> Result<Self, OpsError> {
        let options = ReadOptions {
            course: true,
            ..ReadOptions::default()
        };
        let input = Input::Checkpoint {
            id: id.to_owned(),
            service: None,
        };
        let cancel = CancellationToken::new();
        let before = input::read(&ctx, &input, None, None, options, &cancel).await?;
        let baseline = Arc::new(input::open_checkpoint(&ctx, id)?);
        let dispersion = dispersion(&ctx, &before).await;
        let mut unread = Vec::new();
        Ok(Self {
            saved: measured::saved(&baseline.path, &mut unread),
            unread,
            measured: Vec::new(),
            measuring: JoinSet::new(),
            after: Followed::new(Arc::clone(&ctx), baseline, options),
            ctx,
            checkpoint: id.to_owned(),
            before: Arc::new(before),
            dispersion,
            health: None,
            looked_at: None,
            compared_at: None,
            took: Duration::ZERO,
        })
    }

    /// Whether this is the comparison with that checkpoint.
    pub fn is_of(&self, checkpoint: &str) -> bool {
        self.checkpoint == checkpoint
    }

    /// Looks at services and probes again at the next [`compare`](Self::compare), however fresh the last look is.
    pub fn forget_look(&mut self) {
        self.looked_at = None;
    }

    /// Waits until another comparison can say something else: a service wrote something, or it is time to look at
    /// services and probes again.
    pub async fn changed(&self) {
        let Some(compared_at) = self.compared_at else {
            return;
        };
        let rest = AT_MOST.max(self.took * REST);
        tokio::time::sleep_until((compared_at + rest).into()).await;
        let look_at = self.looked_at.unwrap_or(compared_at) + LOOK_EVERY;
        tokio::select! {
            () = self.after.grown() => {}
            () = tokio::time::sleep_until(look_at.into()) => {}
        }
    }

    /// Compares with what is there now.
    ///
    /// # Errors
    /// The rules of a service are broken, or secrets could not be looked for. Missing data is no error: it makes the
    /// verdict inconclusive.
    pub async fn compare(&mut self) -> Result<Comparison, OpsError> {
        let is_due = |at: Instant| at.elapsed() >= LOOK_EVERY;
        if self.looked_at.is_none_or(is_due) {
            let inventory = services::discover_for(&self.ctx, &self.after.names()).await;
            self.after.look(&inventory)?;
            self.health = Some(health::check(&self.ctx, self.after.live()).await);
            self.looked_at = Some(Instant::now());
            if self.measuring.is_empty() {
                let (ctx, live) = (Arc::clone(&self.ctx), self.after.live().to_vec());
                self.measuring
                    .spawn(async move { measured::now(&ctx, &live, true).await });
            }
        }
        if let Some(Ok(found)) = self.measuring.try_join_next() {
            self.measured = found;
        }
        let after = self.after.side().await;
        let began = Instant::now();
        let redactor = secrets::redactor(&self.ctx, &after.live).await?;
        let report = self.health.as_ref();
        let mut facts = facts::gather(&self.ctx, &self.before, &after, report, &redactor).await;
        facts.dispersion = self.dispersion.clone();
        measured::add(&self.saved, &self.measured, &mut facts);
        facts.missing.extend(self.unread.iter().cloned());
        let before = Arc::clone(&self.before);
        let judged = tokio::task::spawn_blocking(move || {
            compare::compare(&before.logs, &after.logs, facts, &|text| {
                show(&redactor, text)
            })
        });
        let comparison = judged.await.map_err(|error| {
            OpsError::new(ErrorKind::Failed, "the comparison broke off").because(error)
        })?;
        self.took = began.elapsed();
        self.compared_at = Some(Instant::now());
        Ok(comparison)
    }
}
