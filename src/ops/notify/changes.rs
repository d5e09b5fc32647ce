//! What people do to production, told to those who keep a timeline of it: a checkpoint, a deploy, a way back.
//!
//! PagerDuty shows such changes beside an incident: the first question of whoever is woken is what was changed. Nobody is
//! paged by one. It goes the way of every message, through the outbox, so that what cannot be sent now is sent later.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{Postman, deliver, host_name};
use crate::domain::alert::{AlertSeverity, Notification, NotificationEvent};
use crate::domain::operation::Plan;
use crate::domain::outcome::OutcomeKind;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::sink::SinkKind;
use crate::ops::{Context, OpsError};
use crate::store::outbox;

/// Sending may take so long of the time of whoever changed something; the rest waits in the outbox.
const PATIENCE: Duration = Duration::from_secs(3);
/// What was done by these is a change of what runs.
const VERBS: [&str; 3] = ["roll-back", "restore-configs", "switch"];

/// Tells of a change. Without a sink that keeps changes nothing happens.
///
/// # Errors
/// The outbox cannot be written. That a sink does not take it is no error: it waits.
pub async fn changed(
    ctx: &Context,
    title: &str,
    services: &[ServiceId],
    checkpoint: Option<&str>,
) -> Result<(), OpsError> {
    let keeps = ctx.config.sinks.values();
    let sinks: BTreeSet<String> = keeps
        .filter(|sink| matches!(sink.kind, SinkKind::Pagerduty { .. }))
        .map(|sink| sink.name.clone())
        .collect();
    if sinks.is_empty() {
        return Ok(());
    }
    let at = Timestamp::now();
    let id = format!("change-{}-{}", at.as_microsecond(), std::process::id());
    let message = Notification {
        key: id.clone(),
        id,
        event: NotificationEvent::Change,
        severity: AlertSeverity::P3,
        at,
        host: SafeText::from_text(&host_name()),
        title: SafeText::from_text(title),
        services: services.iter().map(ToString::to_string).collect(),
        alerts: Vec::new(),
        evidence: Vec::new(),
        verdict: None,
        checkpoint: checkpoint.map(str::to_owned),
        runbook: None,
        by: None,
        audit_head: ctx.audit().verify(None).ok().map(|head| head.hash),
        sinks,
    };
    outbox::put(&ctx.state, &message)?;
    let mut postman = Postman::default();
    if let Ok(sent) = tokio::time::timeout(PATIENCE, deliver(ctx, &mut postman)).await {
        sent?;
    }
    Ok(())
}

/// Tells of an operation that changes what runs; of no other.
///
/// # Errors
/// As [`changed`].
pub(crate) async fn operated(
    ctx: &Context,
    plan: &Plan,
    outcome: OutcomeKind,
) -> Result<(), OpsError> {
    let verb = plan.operation.verb();
    if !VERBS.contains(&verb) {
        return Ok(());
    }
    let services: Vec<String> = plan.services.iter().map(ToString::to_string).collect();
    let to = plan.to.as_ref();
    let to = to.map_or_else(String::new, |to| format!(" to {to}"));
    let title = format!(
        "{verb} of {}{to} by {}: {}",
        services.join(" "),
        ctx.actor.user,
        outcome.words().to_lowercase()
    );
    changed(ctx, &title, &plan.services, None).await
}
