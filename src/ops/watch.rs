//! The watch: looks at every service again and again, keeps the alerts, tells people. It never acts on a service.
//!
//! Everything it knows is on the disk between two looks, so that it may be killed at any time and goes on where it was.
//! What could not be looked at is missing: neither healthy nor over. On a full disk it goes on in memory, and tells people
//! without the outbox: the night a disk is full is one of those that it is for.

mod book;
mod look;
mod rolling;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::notify::{Delivery, Postman};
use super::{Context, ErrorKind, OpsError, incident, notify, services};
use crate::domain::alert::{Alert, AlertSeverity, AlertState};
use crate::domain::health::HealthState;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::sink;
use crate::store::alerts::{BookLock, only_watch};
use crate::store::outbox;

/// The outbox is looked at so often while something waits in it.
const POST_EVERY: Duration = Duration::from_secs(1);
/// A single look sends what it has to say within this; the rest waits for the next.
const ONCE_POST: Duration = Duration::from_secs(30);
/// Between the two looks of a single run that found something new.
const ONCE_AGAIN: Duration = Duration::from_secs(3);
/// A watch that is ended still sends for so long.
const LAST_POST: Duration = Duration::from_secs(3);
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// How to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Between two looks.
    pub interval: Duration,
    /// One look and an end.
    pub once: bool,
    /// Keep a checkpoint so often of what is healthy.
    pub checkpoint_every: Option<Duration>,
}

/// What the watch has to say, as it happens.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum WatchEvent {
    /// It looked.
    Looked(Looked),
    /// An alert changed.
    Alert {
        /// When.
        at: Timestamp,
        /// How.
        turn: &'static str,
        /// The alert.
        alert: Box<Alert>,
    },
    /// A message was taken by its sink, or not.
    Delivery {
        /// When.
        at: Timestamp,
        /// How it went.
        delivery: Delivery,
    },
    /// A rolling checkpoint was made.
    Checkpoint {
        /// When.
        at: Timestamp,
        /// Its id.
        id: String,
        /// Older ones that made room for it.
        removed: Vec<String>,
    },
    /// Something of the watch itself does not work.
    Problem {
        /// When.
        at: Timestamp,
        /// What.
        text: SafeText,
    },
}

/// One look, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// When.
    pub at: Timestamp,
    /// Services that were looked at.
    pub services: usize,
    /// The worst of them.
    pub state: HealthState,
    /// Alerts that fire.
    pub firing: usize,
    /// The worst that fires.
    pub severity: Option<AlertSeverity>,
    /// What could not be looked at.
    pub missing: Vec<SafeText>,
    /// Services of which a checkpoint made now is one to go back to: healthy, and nothing of P0 or P1 fires or begins.
    #[serde(skip)]
    pub good: Vec<ServiceId>,
    /// How long the look took.
    pub took_ms: u64,
}

impl Looked {
    /// Nothing is missing, nothing is degraded and nothing fires.
    pub fn is_healthy(&self) -> bool {
        self.missing.is_empty() && self.state == HealthState::Healthy && self.firing == 0
    }
}

/// Watches until it is cancelled, or looks once. Returns the last look.
///
/// # Errors
/// Another watch runs over this state folder ([`ErrorKind::Refused`]); a route names no sink; the state folder cannot
/// be used at the start. Later trouble with it is told as [`WatchEvent::Problem`] and tried again at the next look.
pub async fn watch(
    ctx: Arc<Context>,
    options: WatchOptions,
    to: mpsc::Sender<WatchEvent>,
    cancel: CancellationToken,
) -> Result<Looked, OpsError> {
    notify::check_routes(&ctx)?;
    let Some(_only) = only_watch(&ctx.state)? else {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "another watch runs over {} and would page twice",
                ctx.state.root.display()
            ),
        )
        .fix("systemctl status lastgood-watch, or give --state-dir"));
    };
    // A book that cannot be read must not be found out in the middle of the night.
    BookLock::take(&ctx.state)?.read()?;
    ctx.audit().keep_reserve();
    if options.once {
        return look_once(&ctx, options.interval, &to).await;
    }
    let posted = Arc::new(Notify::new());
    let posting = tokio::spawn(post(
        ctx.clone(),
        posted.clone(),
        to.clone(),
        cancel.clone(),
    ));
    let looked = go_on(&ctx, options, &to, &cancel, &posted).await;
    // What is not taken by then waits in the outbox for the next watch.
    let _ = tokio::time::timeout(LAST_POST, posting).await;
    looked
}

async fn go_on(
    ctx: &Arc<Context>,
    options: WatchOptions,
    to: &mpsc::Sender<WatchEvent>,
    cancel: &CancellationToken,
    posted: &Notify,
) -> Result<Looked, OpsError> {
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking = look::Looking::default();
    let mut rolling = options.checkpoint_every.map(rolling::Rolling::new);
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let looked = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            looked = look_and_keep(ctx, &mut looking, false, to) => looked,
        };
        posted.notify_one();
        match looked {
            Ok(looked) => {
                if let Some(rolling) = &mut rolling {
                    rolling.after(ctx, &looked, to).await;
                }
                beat(ctx, to).await;
                last = Some(looked.clone());
                if to.send(WatchEvent::Looked(looked)).await.is_err() {
                    break;
                }
            }
            Err(error) => problem(to, error.to_safe_text()).await,
        }
    }
    last.ok_or_else(|| OpsError::new(ErrorKind::NotSure, "ended before the first look"))
}

async fn look_once(
    ctx: &Context,
    interval: Duration,
    to: &mpsc::Sender<WatchEvent>,
) -> Result<Looked, OpsError> {
    let mut looking = look::Looking::default();
    let mut looked = look_and_keep(ctx, &mut looking, true, to).await?;
    let book = crate::store::alerts::read(&ctx.state)?;
    let is_new = |alert: &Alert| alert.state == AlertState::Pending && alert.severity.pages();
    if book.alerts.iter().any(is_new) {
        // One failed look may be chance, and cron comes again in minutes.
        tokio::time::sleep(interval.min(ONCE_AGAIN)).await;
        looked = look_and_keep(ctx, &mut looking, true, to).await?;
    }
    let mut postman = Postman::default();
    let end = Instant::now() + ONCE_POST;
    loop {
        for delivery in notify::deliver(ctx, &mut postman).await? {
            tell(to, delivery).await;
        }
        let (waiting, _) = outbox::list(&ctx.state)?;
        let next = waiting.iter().map(|parcel| parcel.next_at).min();
        let Some(next) = next else { break };
        let wait = Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default();
        let wait = wait.max(Duration::from_millis(100));
        if Instant::now() + wait > end {
            let text = format!("{} messages wait in the outbox", waiting.len());
            problem(to, SafeText::from_text(&text)).await;
            break;
        }
        tokio::time::sleep(wait).await;
    }
    beat(ctx, to).await;
    let _ = to.send(WatchEvent::Looked(looked.clone())).await;
    Ok(looked)
}

/// Looks, takes it into the book, and puts what people are to know into the outbox.
async fn look_and_keep(
    ctx: &Context,
    looking: &mut look::Looking,
    is_close: bool,
    to: &mpsc::Sender<WatchEvent>,
) -> Result<Looked, OpsError> {
    let started = Instant::now();
    let inventory = match is_close {
        true => services::look_closely(ctx).await,
        false => services::discover(ctx).await,
    };
    let seen = looking.look(ctx, inventory).await?;
    let now = Timestamp::now();
    let (turns, book, unseen) = looking.keeper.keep(ctx, &seen, now, to).await?;
    if let Err(error) = seen.keep_signals(ctx) {
        problem(to, error.to_safe_text()).await;
    }
    let turned = turns
        .iter()
        .filter_map(|(key, _)| book.alerts.iter().find(|alert| alert.key == *key));
    if let Err(error) = incident::alerted(ctx, turned) {
        problem(to, error.to_safe_text()).await;
    }
    for (key, turn) in &turns {
        if let Some(alert) = book.alerts.iter().find(|alert| alert.key == *key) {
            let event = WatchEvent::Alert {
                at: now,
                turn: turn.as_str(),
                alert: Box::new(alert.clone()),
            };
            let _ = to.send(event).await;
        }
    }
    let firing = |alert: &&Alert| alert.state == AlertState::Firing;
    Ok(Looked {
        at: now,
        services: seen.inventory.services.len(),
        state: seen.state(&ctx.config, &book.known),
        firing: book.alerts.iter().filter(firing).count(),
        severity: book.worst(),
        missing: seen.missing(&book, &unseen),
        good: seen.good(&book),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

/// Delivers beside the looks: a sink that hangs delays none.
async fn post(
    ctx: Arc<Context>,
    posted: Arc<Notify>,
    to: mpsc::Sender<WatchEvent>,
    cancel: CancellationToken,
) {
    let mut postman = Postman::default();
    loop {
        match notify::deliver(&ctx, &mut postman).await {
            Ok(deliveries) => {
                for delivery in deliveries {
                    tell(&to, delivery).await;
                }
            }
            Err(error) => problem(&to, error.to_safe_text()).await,
        }
        if cancel.is_cancelled() {
            return;
        }
        let is_empty = outbox::list(&ctx.state).is_ok_and(|(waiting, _)| waiting.is_empty());
        let again = async {
            match is_empty {
                true => std::future::pending().await,
                false => tokio::time::sleep(POST_EVERY).await,
            }
        };
        tokio::select! {
            // Once more for what the last look had to say.
            () = cancel.cancelled() => {}
            () = posted.notified() => {}
            () = again => {}
        }
    }
}

async fn beat(ctx: &Context, to: &mpsc::Sender<WatchEvent>) {
    if let Some(url) = &ctx.config.heartbeat
        && let Err(error) = sink::ping(url, HEARTBEAT_TIMEOUT).await
    {
        let text = format!("the heartbeat was not taken: {error}");
        problem(to, SafeText::from_text(&text)).await;
    }
}

async fn tell(to: &mpsc::Sender<WatchEvent>, delivery: Delivery) {
    let at = Timestamp::now();
    let _ = to.send(WatchEvent::Delivery { at, delivery }).await;
}

async fn problem(to: &mpsc::Sender<WatchEvent>, text: SafeText) {
    let at = Timestamp::now();
    let _ = to.send(WatchEvent::Problem { at, text }).await;
}
