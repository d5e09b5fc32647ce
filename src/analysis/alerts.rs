//! The life of alerts: pending, firing, resolved, flapping; and what people are told of it.
//!
//! One look's observations go in, changes and messages come out; the clock is a parameter. Missing data changes
//! nothing. Many alerts at once are one message.

pub mod silence;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::domain::alert::{
    Acknowledgement, Alert, AlertBook, AlertSeverity, AlertState, Condition, Notification,
    NotificationEvent, Observation, Page,
};
use crate::domain::safe_text::SafeText;
use crate::domain::sink::Route;

/// Fine in so many looks in a row: over.
const CALM_LOOKS: u32 = 2;
/// Fired or resolved so often within [`FLAP_SPAN`]: flapping.
const FLAP_TURNS: usize = 5;
const FLAP_SPAN: Duration = Duration::from_secs(30 * 60);
/// A flapping alert is over when it was fine for so long.
const FLAP_CALM: Duration = Duration::from_secs(10 * 60);
/// So many alerts that fire in one look are one message.
const STORM: usize = 4;
/// What fires so soon after a storm began belongs to it.
const STORM_SPAN: Duration = Duration::from_secs(5 * 60);
/// A storm's message names so many of its alerts.
const STORM_NAMES: usize = 10;
/// A resolved alert stays in the book for so long.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// PagerDuty takes keys of at most 255 characters.
const MAX_KEY: usize = 200;

/// What changed for an alert in one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Broken, not yet for long enough.
    Pending,
    /// It fires.
    Fired,
    /// It fires already and got more urgent.
    Worse,
    /// It is over.
    Resolved,
    /// Nobody can look any more.
    Missing,
    /// It fires and is resolved again and again.
    Flapping,
}

impl Turn {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fired => "firing",
            Self::Worse => "worse",
            Self::Resolved => "resolved",
            Self::Missing => "missing",
            Self::Flapping => "flapping",
        }
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    // A clock that was set back makes no span negative.
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Takes one look into the book. Returns what changed, by the alert's key.
pub fn advance(
    book: &mut AlertBook,
    observations: &[Observation],
    now: Timestamp,
) -> Vec<(String, Turn)> {
    let mut turns = Vec::new();
    for seen in observations {
        let at = book.alerts.iter().position(|alert| alert.key == seen.key);
        let at = match (at, seen.condition) {
            (Some(at), _) => at,
            (None, Condition::Broken) => {
                book.alerts.push(begin(seen, now));
                book.alerts.len() - 1
            }
            (None, _) => continue,
        };
        let turn = step(&mut book.alerts[at], seen, now);
        turns.extend(turn.map(|turn| (seen.key.clone(), turn)));
    }
    // A rule that is no more says nothing about its service: what it found is over. Of a service of which nothing is
    // known nothing is over, and a runtime of which nothing is said can be read again.
    for alert in &mut book.alerts {
        if observations.iter().any(|o| o.key == alert.key) {
            continue;
        }
        let of_it = || observations.iter().filter(|o| o.service == alert.service);
        let is_known = of_it().any(|o| o.condition != Condition::Unknown);
        if alert.service.is_some() && !is_known {
            if of_it().next().is_some() {
                let turn = miss(alert, now).map(|turn| (alert.key.clone(), turn));
                turns.extend(turn);
            }
            continue;
        }
        if alert.state == AlertState::Firing {
            resolve(alert, now);
            turns.push((alert.key.clone(), Turn::Resolved));
        } else if alert.state == AlertState::Pending {
            alert.state = AlertState::Resolved;
        }
    }
    book.alerts.retain(|alert| match alert.state {
        AlertState::Pending | AlertState::Firing => true,
        AlertState::Resolved => {
            alert
                .resolved_at
                .is_some_and(|at| since(at, now) < REMEMBERED)
                || alert.page.is_some()
        }
    });
    book.looked_at = Some(now);
    turns
}

fn begin(seen: &Observation, now: Timestamp) -> Alert {
    Alert {
        key: seen.key.clone(),
        service: seen.service.clone(),
        severity: seen.severity,
        state: AlertState::Resolved,
        text: seen.text.clone(),
        pending_at: now,
        fired_at: None,
        resolved_at: None,
        missing_since: None,
        looks: 0,
        fine_since: None,
        turns: Vec::new(),
        is_flapping: false,
        page: None,
        acknowledged: None,
        is_silenced: false,
    }
}

fn step(alert: &mut Alert, seen: &Observation, now: Timestamp) -> Option<Turn> {
    if seen.condition == Condition::Unknown {
        return miss(alert, now);
    }
    alert.missing_since = None;
    alert.turns.retain(|at| since(*at, now) < FLAP_SPAN);
    match (alert.state, seen.condition) {
        (AlertState::Resolved, Condition::Broken) => {
            alert.state = AlertState::Pending;
            alert.pending_at = now;
            alert.looks = 1;
            alert.severity = seen.severity;
            alert.text = seen.text.clone();
            fire_if_due(alert, seen, now).or(Some(Turn::Pending))
        }
        (AlertState::Pending, Condition::Broken) => {
            alert.looks += 1;
            alert.severity = seen.severity;
            alert.text = seen.text.clone();
            fire_if_due(alert, seen, now)
        }
        (AlertState::Pending, _) => {
            alert.state = AlertState::Resolved;
            alert.looks = 0;
            None
        }
        (AlertState::Firing, Condition::Broken) => {
            alert.looks = 0;
            alert.fine_since = None;
            alert.text = seen.text.clone();
            let is_worse = seen.severity > alert.severity;
            // It keeps the worst it was: an alert that swings between P1 and P0 is P0.
            alert.severity = alert.severity.max(seen.severity);
            is_worse.then_some(Turn::Worse)
        }
        (AlertState::Firing, _) => {
            alert.looks += 1;
            let calm = since(*alert.fine_since.get_or_insert(now), now);
            let is_over = match alert.is_flapping {
                true => calm >= FLAP_CALM,
                false => alert.looks >= CALM_LOOKS,
            };
            is_over.then(|| {
                resolve(alert, now);
                Turn::Resolved
            })
        }
        (AlertState::Resolved, _) => None,
    }
}

/// Nobody could look: neither a step towards firing nor one towards being over.
fn miss(alert: &mut Alert, now: Timestamp) -> Option<Turn> {
    let is_news = alert.state == AlertState::Firing && alert.missing_since.is_none();
    alert.missing_since.get_or_insert(now);
    alert.looks = 0;
    alert.fine_since = None;
    is_news.then_some(Turn::Missing)
}

fn fire_if_due(alert: &mut Alert, seen: &Observation, now: Timestamp) -> Option<Turn> {
    if alert.looks < seen.looks || since(alert.pending_at, now) < seen.hold {
        return None;
    }
    alert.state = AlertState::Firing;
    alert.fired_at = Some(now);
    alert.looks = 0;
    alert.fine_since = None;
    alert.acknowledged = None;
    alert.turns.push(now);
    if !alert.is_flapping && alert.turns.len() >= FLAP_TURNS {
        alert.is_flapping = true;
        return Some(Turn::Flapping);
    }
    Some(Turn::Fired)
}

fn resolve(alert: &mut Alert, now: Timestamp) {
    alert.state = AlertState::Resolved;
    alert.resolved_at = Some(now);
    alert.is_flapping = false;
    alert.looks = 0;
    alert.turns.push(now);
}

/// Decides what people are told after a look: pages are opened, raised, reminded of, escalated and closed. The
/// messages come without evidence, which the caller adds.
pub fn page(
    book: &mut AlertBook,
    turns: &[(String, Turn)],
    routes: &[Route],
    host: &str,
    now: Timestamp,
) -> Vec<Notification> {
    let mut told = Vec::new();
    let mut fired: Vec<usize> = Vec::new();
    let mut raised: BTreeSet<String> = BTreeSet::new();
    for (key, turn) in turns {
        let Some(at) = book.alerts.iter().position(|alert| alert.key == *key) else {
            continue;
        };
        match (turn, &book.alerts[at].page) {
            (Turn::Fired | Turn::Flapping | Turn::Worse, None) => fired.push(at),
            (Turn::Worse | Turn::Flapping, Some(page)) => {
                raised.insert(page.clone());
            }
            _ => {}
        }
    }
    silence::sift(book, &mut fired, now);
    fired.retain(|at| !sinks_of(routes, &book.alerts[*at]).is_empty());
    raised.retain(|key| {
        book.of_page(key)
            .any(|alert| alert.state == AlertState::Firing && is_loud(book, alert, now))
    });
    let storm = book
        .pages
        .iter()
        .find(|page| page.is_storm && since(page.opened_at, now) < STORM_SPAN)
        .map(|page| page.key.clone());
    if let Some(key) = storm {
        for at in fired {
            book.alerts[at].page = Some(key.clone());
            let is_worse = book
                .pages
                .iter()
                .any(|p| p.key == key && p.severity < book.alerts[at].severity);
            if is_worse {
                raised.insert(key.clone());
            }
        }
    } else if fired.len() >= STORM {
        let key = key_of(host, &format!("storm {now}"));
        open(book, &fired, key, true, routes, now);
    } else {
        for at in fired {
            let key = key_of(host, &book.alerts[at].key);
            open(book, &[at], key, false, routes, now);
        }
    }
    for index in 0..book.pages.len() {
        let event = event_of(book, index, &raised, routes, now);
        if let Some(event) = event {
            told.push(tell(book, index, event, routes, host, now));
        }
    }
    let over: BTreeSet<String> = told
        .iter()
        .filter(|message| message.event == NotificationEvent::Resolve)
        .map(|message| message.key.clone())
        .collect();
    book.pages.retain(|page| !over.contains(&page.key));
    for alert in &mut book.alerts {
        if alert.page.as_ref().is_some_and(|page| over.contains(page)) {
            alert.page = None;
        }
    }
    told
}

/// Someone takes every firing alert that `name` means: an alert's key, or its service. Returns what is to be told, a
/// message for each page of which nothing is left untaken, and how many alerts were taken.
pub fn acknowledge(
    book: &mut AlertBook,
    name: &str,
    by: &Acknowledgement,
    host: &str,
) -> (usize, Vec<Notification>) {
    let mut pages = BTreeSet::new();
    let mut taken = 0;
    for alert in &mut book.alerts {
        let is_meant = alert.key == name
            || alert.page.as_deref() == Some(name)
            || alert.service.as_ref().is_some_and(|id| id.matches(name));
        if is_meant && alert.state == AlertState::Firing && alert.acknowledged.is_none() {
            alert.acknowledged = Some(by.clone());
            pages.extend(alert.page.clone());
            taken += 1;
        }
    }
    let mut told = Vec::new();
    for key in pages {
        let is_left = book
            .of_page(&key)
            .any(|a| a.state == AlertState::Firing && a.acknowledged.is_none());
        let index = book.pages.iter().position(|page| page.key == key);
        if let (false, Some(index)) = (is_left, index) {
            let mut message = tell(
                book,
                index,
                NotificationEvent::Acknowledge,
                &[],
                host,
                by.at,
            );
            message.by = Some(by.by.clone());
            told.push(message);
        }
    }
    (taken, told)
}

/// The key of a page: the machine and what it is about, short enough for every sink.
fn key_of(host: &str, what: &str) -> String {
    let key = format!("lastgood {host} {what}");
    if key.chars().count() <= MAX_KEY {
        return key;
    }
    let start: String = key.chars().take(MAX_KEY - 17).collect();
    format!("{start} {}", &hash(&[&key])[..16])
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn open(
    book: &mut AlertBook,
    alerts: &[usize],
    key: String,
    is_storm: bool,
    routes: &[Route],
    now: Timestamp,
) {
    let mut sinks = BTreeSet::new();
    let mut severity = AlertSeverity::P3;
    for at in alerts {
        let alert = &mut book.alerts[*at];
        alert.page = Some(key.clone());
        severity = severity.max(alert.severity);
        sinks.extend(sinks_of(routes, alert));
    }
    book.pages.retain(|page| page.key != key);
    book.pages.push(Page {
        key,
        severity,
        opened_at: now,
        told_at: now,
        told: 0,
        is_escalated: false,
        sinks,
        is_storm,
    });
}

fn routes_of<'a>(routes: &'a [Route], alert: &'a Alert) -> impl Iterator<Item = &'a Route> {
    routes.iter().filter(move |route| {
        let is_severity = route.severity.map_or(alert.severity.pages(), |severity| {
            severity == alert.severity
        });
        let is_service = route.services.is_empty()
            || alert
                .service
                .as_ref()
                .is_some_and(|id| route.services.iter().any(|name| id.matches(name)));
        is_severity && is_service
    })
}

fn sinks_of(routes: &[Route], alert: &Alert) -> BTreeSet<String> {
    routes_of(routes, alert)
        .flat_map(|route| route.sinks.iter().cloned())
        .collect()
}

fn is_loud(book: &AlertBook, alert: &Alert, now: Timestamp) -> bool {
    !silence::is_silenced(&book.silences, alert, now)
}

fn event_of(
    book: &AlertBook,
    index: usize,
    raised: &BTreeSet<String>,
    routes: &[Route],
    now: Timestamp,
) -> Option<NotificationEvent> {
    let page = &book.pages[index];
    let firing: Vec<&Alert> = book
        .of_page(&page.key)
        .filter(|alert| alert.state == AlertState::Firing)
        .collect();
    if page.told == 0 || (raised.contains(&page.key) && !firing.is_empty()) {
        return Some(NotificationEvent::Trigger);
    }
    if firing.is_empty() {
        return Some(NotificationEvent::Resolve);
    }
    // Neither what someone has taken nor what is fine right now and only waits for its calm to be long enough.
    let is_quiet = |alert: &&Alert| {
        alert.acknowledged.is_some() || alert.fine_since.is_some() || !is_loud(book, alert, now)
    };
    if firing.iter().all(is_quiet) {
        return None;
    }
    let after = firing
        .iter()
        .flat_map(|alert| routes_of(routes, alert))
        .filter(|route| !route.escalate_to.is_empty())
        .filter_map(|route| route.escalate_after)
        .min();
    if !page.is_escalated && after.is_some_and(|after| since(page.opened_at, now) >= after) {
        return Some(NotificationEvent::Escalation);
    }
    let due = page.severity.reminder()?;
    (since(page.told_at, now) >= due).then_some(NotificationEvent::Reminder)
}

fn tell(
    book: &mut AlertBook,
    index: usize,
    event: NotificationEvent,
    routes: &[Route],
    host: &str,
    now: Timestamp,
) -> Notification {
    let key = book.pages[index].key.clone();
    let alerts: Vec<Alert> = book.of_page(&key).cloned().collect();
    let is_over = event == NotificationEvent::Resolve;
    let mut shown: Vec<&Alert> = alerts
        .iter()
        .filter(|alert| is_over || alert.state == AlertState::Firing)
        .collect();
    shown.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.key.cmp(&b.key)));
    let page = &mut book.pages[index];
    let worst = shown.iter().map(|alert| alert.severity).max();
    page.severity = page.severity.max(worst.unwrap_or(page.severity));
    page.sinks
        .extend(alerts.iter().flat_map(|alert| sinks_of(routes, alert)));
    let mut sinks = page.sinks.clone();
    if event == NotificationEvent::Escalation {
        page.is_escalated = true;
        sinks = shown
            .iter()
            .flat_map(|alert| routes_of(routes, alert))
            .flat_map(|route| route.escalate_to.iter().cloned())
            .collect();
        page.sinks.extend(sinks.iter().cloned());
    }
    page.told_at = now;
    page.told += 1;
    let services: BTreeSet<String> = shown
        .iter()
        .filter_map(|alert| alert.service.as_ref().map(ToString::to_string))
        .collect();
    let title = match shown.as_slice() {
        [one] => says(one),
        many => format!(
            "{} alerts for {} services",
            many.len(),
            services.len().max(1)
        ),
    };
    let mut lines: Vec<SafeText> = shown
        .iter()
        .take(STORM_NAMES)
        .map(|alert| SafeText::from_text(&format!("{} {}", alert.severity, says(alert))))
        .collect();
    if shown.len() > STORM_NAMES {
        let more = format!("and {} more", shown.len() - STORM_NAMES);
        lines.push(SafeText::from_text(&more));
    }
    let opened = page.opened_at.to_string();
    Notification {
        id: hash(&[&key, event.as_str(), &opened, &page.told.to_string()])[..32].to_owned(),
        event,
        severity: page.severity,
        at: now,
        host: SafeText::from_text(host),
        title: SafeText::from_text(&title),
        services: services.into_iter().collect(),
        alerts: lines,
        evidence: Vec::new(),
        verdict: None,
        checkpoint: None,
        runbook: None,
        by: None,
        audit_head: None,
        sinks,
        key,
    }
}

fn says(alert: &Alert) -> String {
    let flapping = if alert.is_flapping { " (flapping)" } else { "" };
    let missing = alert
        .missing_since
        .map_or(String::new(), |at| format!(" (no data since {at:.0})"));
    format!("{}{flapping}{missing}", alert.text)
}

#[cfg(test)]
mod tests;
