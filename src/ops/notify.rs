//! Tells people: messages go from the outbox to their sinks, again until each is taken.
//!
//! A message is on the disk before the first attempt and removed after its sink took it, so that a crash repeats it
//! under the same id and loses none. One sink's trouble delays no other; where all of them fail, the next one that is
//! configured is tried.

mod changes;
mod compose;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::future;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use super::{Context, ErrorKind, OpsError};
use crate::domain::alert::{AlertSeverity, Notification, NotificationEvent};
use crate::domain::nearest::nearest;
use crate::domain::safe_text::SafeText;
use crate::domain::sink::{Sink, SinkKind};
use crate::host::sink::{self, SinkError};
use crate::store::alerts::BookLock;
use crate::store::outbox::{self, Parcel};

pub use changes::changed;
pub(crate) use changes::operated;
pub(crate) use compose::{complete, redact};

/// The wait after the first failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);
/// A receiver that wants to be left alone longer is asked again after this all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);
/// Nobody is told of what happened so long ago.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(24);
const MINUTE: Duration = Duration::from_secs(60);

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The sink.
    pub sink: String,
    /// The message's id.
    pub id: String,
    /// The page's key.
    pub key: String,
    /// Why people are told.
    pub event: NotificationEvent,
    /// Attempts so far.
    pub attempts: u32,
    /// Why it was not taken; `None` when it was.
    pub error: Option<SafeText>,
    /// When it is tried again; `None` when it was taken or given up.
    pub retry_at: Option<Timestamp>,
}

impl Delivery {
    /// Whether the sink has it.
    pub fn is_taken(&self) -> bool {
        self.error.is_none()
    }
}

/// What was sent lately, for the limit of each sink.
#[derive(Debug, Default)]
pub struct Postman {
    sent: BTreeMap<String, VecDeque<Instant>>,
}

impl Postman {
    fn may_send(&mut self, sink: &Sink) -> bool {
        let sent = self.sent.entry(sink.name.clone()).or_default();
        while sent.front().is_some_and(|at| at.elapsed() > MINUTE) {
            sent.pop_front();
        }
        let is_free = sent.len() < sink.per_minute as usize;
        if is_free {
            sent.push_back(Instant::now());
        }
        is_free
    }
}

/// Whether every route leads to sinks that exist: a page that nobody gets is found out now and not at night.
///
/// # Errors
/// [`ErrorKind::Usage`] with the name.
pub fn check_routes(ctx: &Context) -> Result<(), OpsError> {
    let sinks = &ctx.config.sinks;
    for route in &ctx.config.routes {
        for name in route.sinks.iter().chain(&route.escalate_to) {
            find(sinks, name)?;
        }
    }
    Ok(())
}

fn find<'a>(sinks: &'a BTreeMap<String, Sink>, name: &str) -> Result<&'a Sink, OpsError> {
    sinks.get(name).ok_or_else(|| {
        let near = nearest(name, sinks.keys().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        OpsError::new(
            ErrorKind::Usage,
            format!("no sink {name:?} in the configuration{near}"),
        )
        .fix("add [sinks.NAME] to the configuration; `lastgood config check` says which files are read")
    })
}

/// Delivers what is due, each sink on its own and in order. Returns every attempt; empty while another process
/// delivers.
///
/// # Errors
/// The outbox cannot be read or written.
pub async fn deliver(ctx: &Context, postman: &mut Postman) -> Result<Vec<Delivery>, OpsError> {
    let Some(_courier) = outbox::courier(&ctx.state)? else {
        return Ok(Vec::new());
    };
    let (parcels, broken) = outbox::list(&ctx.state)?;
    let now = Timestamp::now();
    let mut queues: BTreeMap<String, Vec<Parcel>> = BTreeMap::new();
    for parcel in parcels {
        queues.entry(parcel.sink.clone()).or_default().push(parcel);
    }
    let mut work = Vec::new();
    for (name, queue) in queues {
        let sink = ctx.config.sinks.get(&name);
        let mut due = Vec::new();
        for parcel in queue {
            // What comes later waits for what comes first: a resolve never overtakes its trigger.
            let is_due = parcel.next_at <= now;
            if !is_due || !sink.is_none_or(|sink| postman.may_send(sink)) {
                break;
            }
            due.push(parcel);
        }
        work.push(deliver_to(ctx, sink, due));
    }
    let mut attempts = Vec::new();
    for done in future::join_all(work).await {
        attempts.extend(done?);
    }
    if attempts.iter().any(|delivery| delivery.error.is_some()) {
        try_the_next(ctx)?;
    }
    attempts.extend(broken.into_iter().map(|text| Delivery {
        sink: String::new(),
        id: String::new(),
        key: String::new(),
        event: NotificationEvent::Trigger,
        attempts: 0,
        error: Some(text),
        retry_at: None,
    }));
    Ok(attempts)
}

/// Sends a message to each of its sinks once, without the outbox: where nothing can be written, people are told all the same.
pub(crate) async fn send_at_once(ctx: &Context, message: &Notification) -> Vec<Delivery> {
    let sinks = message.sinks.iter();
    let sinks = sinks.filter_map(|name| ctx.config.sinks.get(name));
    let sending = sinks.map(|sink| async {
        let sent = sink::send(sink, message).await;
        Delivery {
            sink: sink.name.clone(),
            id: message.id.clone(),
            key: message.key.clone(),
            event: message.event,
            attempts: 1,
            error: sent.err().map(|error| error.text),
            retry_at: None,
        }
    });
    future::join_all(sending).await
}

async fn deliver_to(
    ctx: &Context,
    sink: Option<&Sink>,
    due: Vec<Parcel>,
) -> Result<Vec<Delivery>, OpsError> {
    let mut done = Vec::new();
    for mut parcel in due {
        let sent = match sink {
            Some(sink) => sink::send(sink, &parcel.notification).await,
            None => Err(SinkError {
                text: SafeText::from_text("no such sink in the configuration"),
                retry_after: None,
                is_final: false,
            }),
        };
        parcel.attempts += 1;
        let error = sent.err();
        let now = Timestamp::now();
        let retry_at = match &error {
            None => None,
            Some(error) if error.is_final => None,
            Some(_) if now.duration_since(parcel.notification.at) > GIVE_UP => None,
            Some(error) => Some(now + wait(parcel.attempts, error.retry_after)),
        };
        match retry_at {
            None => outbox::remove(&parcel)?,
            Some(at) => {
                parcel.next_at = at;
                parcel.error = error.as_ref().map(|error| error.text.clone());
                outbox::keep(&ctx.state, &parcel)?;
            }
        }
        let is_stuck = retry_at.is_some();
        done.push(Delivery {
            sink: parcel.sink,
            id: parcel.notification.id,
            key: parcel.notification.key,
            event: parcel.notification.event,
            attempts: parcel.attempts,
            error: error.map(|error| error.text),
            retry_at,
        });
        if is_stuck {
            break;
        }
    }
    Ok(done)
}

fn wait(attempts: u32, retry_after: Option<Duration>) -> SignedDuration {
    let doubled =
        FIRST_WAIT.saturating_mul(2u32.saturating_pow(attempts.saturating_sub(1).min(16)));
    let own = doubled.min(LONGEST_WAIT);
    let wanted = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    SignedDuration::try_from(own.max(wanted)).unwrap_or(SignedDuration::from_mins(5))
}

/// Where every sink of a message fails, one more is told: first those behind, then any other. A sink fails for all that
/// waits for it as long as its oldest message was not taken.
fn try_the_next(ctx: &Context) -> Result<(), OpsError> {
    let (parcels, _) = outbox::list(&ctx.state)?;
    let failing: BTreeSet<&str> = parcels
        .iter()
        .filter(|parcel| parcel.attempts > 0)
        .map(|parcel| parcel.sink.as_str())
        .collect();
    let mut by_id: BTreeMap<&str, Vec<&Parcel>> = BTreeMap::new();
    for parcel in &parcels {
        let id = parcel.notification.id.as_str();
        by_id.entry(id).or_default().push(parcel);
    }
    for waiting in by_id.values() {
        let message = &waiting[0].notification;
        let at: BTreeSet<&str> = waiting.iter().map(|parcel| parcel.sink.as_str()).collect();
        let passed = waiting.iter().flat_map(|parcel| &parcel.passed_to);
        let asked: BTreeSet<&str> = message
            .sinks
            .iter()
            .chain(passed)
            .map(String::as_str)
            .collect();
        // Who was asked and waits no more has taken it.
        let has_reached_someone = asked.iter().any(|sink| !at.contains(sink));
        if has_reached_someone
            || !at.is_subset(&failing)
            || message.event == NotificationEvent::Resolve
            || message.event == NotificationEvent::Change
        {
            continue;
        }
        let behind = ctx.config.routes.iter().flat_map(|r| &r.escalate_to);
        let mut others = behind
            .chain(ctx.config.sinks.keys())
            .filter(|name| ctx.config.sinks.contains_key(*name) && !asked.contains(name.as_str()));
        let Some(next) = others.next() else { continue };
        // Put first, then noted: a crash in between repeats the message and loses none.
        outbox::put_for(&ctx.state, message, next)?;
        for parcel in waiting {
            let mut noted = (*parcel).clone();
            noted.passed_to.insert(next.clone());
            outbox::keep(&ctx.state, &noted)?;
        }
        // It hears of the end too.
        let lock = BookLock::take(&ctx.state)?;
        let mut book = lock.read()?;
        if let Some(page) = book.pages.iter_mut().find(|page| page.key == message.key) {
            page.sinks.insert(next.clone());
            lock.write(&book)?;
        }
    }
    Ok(())
}

/// How a sink was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tested {
    /// The sink.
    pub sink: String,
    /// Its kind.
    pub kind: &'static str,
    /// The exact request, secrets masked; only of a dry run.
    pub request: Option<Vec<SafeText>>,
    /// Why it was not taken, or could not be made.
    pub error: Option<SafeText>,
}

/// Sends a test message to one sink or to all; a dry run shows the request and sends nothing.
///
/// # Errors
/// No sink is configured, or none of that name.
pub async fn test(
    ctx: &Context,
    name: Option<&str>,
    is_dry_run: bool,
) -> Result<Vec<Tested>, OpsError> {
    let sinks: Vec<&Sink> = match name {
        Some(name) => vec![find(&ctx.config.sinks, name)?],
        None => ctx.config.sinks.values().collect(),
    };
    if sinks.is_empty() {
        return Err(
            OpsError::new(ErrorKind::Usage, "no sink is configured").fix(
                "add to the configuration: [sinks.chat] kind = \"slack\" url_env = \"SLACK_WEBHOOK_URL\"",
            ),
        );
    }
    let mut message = Notification {
        id: format!("test-{}", Timestamp::now().as_microsecond()),
        key: format!("lastgood {} test", host_name()),
        event: NotificationEvent::Test,
        severity: AlertSeverity::P3,
        at: Timestamp::now(),
        host: SafeText::from_text(&host_name()),
        title: SafeText::from_text(&format!("lastgood can reach you, says {}", ctx.actor.user)),
        services: Vec::new(),
        alerts: Vec::new(),
        evidence: Vec::new(),
        verdict: None,
        checkpoint: None,
        runbook: None,
        by: None,
        audit_head: None,
        sinks: BTreeSet::new(),
    };
    complete(ctx, &mut message, &[]).await;
    let each = sinks
        .into_iter()
        .map(|sink| try_one(sink, &message, is_dry_run));
    Ok(future::join_all(each).await)
}

async fn try_one(sink: &Sink, message: &Notification, is_dry_run: bool) -> Tested {
    let (request, error) = if is_dry_run {
        match sink::preview(sink, message).await {
            Ok(text) => (Some(SafeText::lines(&text)), None),
            Err(error) => (None, Some(error.text)),
        }
    } else {
        let mut sent = sink::send(sink, message).await;
        if sent.is_ok() && matches!(sink.kind, SinkKind::Pagerduty { .. }) {
            // A test leaves nobody with an open incident.
            let over = Notification {
                event: NotificationEvent::Resolve,
                ..message.clone()
            };
            sent = sink::send(sink, &over).await;
        }
        (None, sent.err().map(|error| error.text))
    };
    Tested {
        sink: sink.name.clone(),
        kind: sink.kind.as_str(),
        request,
        error,
    }
}

/// The name of this machine, as its users know it.
pub(crate) fn host_name() -> String {
    // The kernel's own answer, then the file that it is set from.
    let name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let name = name.unwrap_or_default();
    match name.trim() {
        "" => "this machine".to_owned(),
        name => SafeText::from_text(name).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_five_minutes_and_a_receiver_may_ask_for_more() {
        let seconds =
            |attempts, after: Option<u64>| wait(attempts, after.map(Duration::from_secs)).as_secs();
        let own: Vec<i64> = (1..=4).map(|n| seconds(n, None)).collect();
        assert_eq!(own, [1, 2, 4, 8]);
        assert_eq!(seconds(40, None), 300);
        assert_eq!(seconds(1, Some(30)), 30);
        assert_eq!(seconds(1, Some(1_000_000)), 3_600);
    }

    #[test]
    fn a_sink_gets_so_many_messages_a_minute() {
        let sink = Sink {
            name: "chat".into(),
            kind: SinkKind::Command {
                command: "true".into(),
            },
            timeout: Duration::from_secs(1),
            per_minute: 3,
        };
        let mut postman = Postman::default();
        let sent = (0..10).filter(|_| postman.may_send(&sink)).count();
        assert_eq!(sent, 3);
    }
}
