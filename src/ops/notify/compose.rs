//! What stands in a message besides the alert: evidence, verdict, checkpoint, runbook, the head of the audit log.
//!
//! Each has a short time limit and is left out where it cannot be had in time: the page itself never waits for it long.
//! All text is redacted here, the last step before it is kept or sent.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::analysis::redact::Redactor;
use crate::domain::alert::{Notification, NotificationEvent};
use crate::domain::health::HealthState;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::ops::input::Input;
use crate::ops::{Context, checkpoint, compare, errors};

/// Lines that show it.
const EVIDENCE: usize = 3;
/// A line of a page is read on a telephone.
const LINE: usize = 300;
/// Reading the log and comparing may take so long.
const PATIENCE: Duration = Duration::from_secs(8);

/// The text, its secrets replaced.
pub(crate) fn redact(redactor: &Redactor, text: &SafeText) -> SafeText {
    SafeText::from_text(&redactor.redact(text.as_str()))
}

/// Adds what helps to decide.
pub(crate) async fn complete(ctx: &Context, message: &mut Notification, services: &[Service]) {
    message.audit_head = ctx.audit().verify(None).ok().map(|head| head.hash);
    if message.event == NotificationEvent::Test || message.event == NotificationEvent::Resolve {
        return;
    }
    let first = message.services.first().and_then(|id| ServiceId::parse(id));
    let Some(id) = first else {
        message.runbook = Some("incident-response".to_owned());
        return;
    };
    let service = services.iter().find(|service| service.id == id);
    let runbook = match service.map(|service| service.runtime) {
        Some(Runtime::Pm2) => "emergency-rollback-pm2",
        Some(Runtime::Compose) => "emergency-rollback-compose",
        _ => "incident-response",
    };
    message.runbook = Some(runbook.to_owned());
    message.checkpoint = good_checkpoint(ctx, &id);
    let verdict = verdict(ctx, message.checkpoint.clone(), &id);
    let evidence = evidence(ctx, &id, service.is_some());
    let (verdict, evidence) = tokio::join!(
        tokio::time::timeout(PATIENCE, verdict),
        tokio::time::timeout(PATIENCE, evidence)
    );
    message.verdict = verdict.ok().flatten();
    message.evidence = evidence.unwrap_or_default();
}

/// The newest whole checkpoint at which the service was healthy.
fn good_checkpoint(ctx: &Context, id: &ServiceId) -> Option<String> {
    let all = checkpoint::list(ctx).ok()?;
    let good = all.into_iter().find(|checkpoint| {
        checkpoint.manifest.as_ref().is_ok_and(|manifest| {
            let own = manifest.services.iter().find(|service| service.id == *id);
            manifest.complete && own.is_some_and(|s| s.health == Some(HealthState::Healthy))
        })
    });
    good.map(|checkpoint| checkpoint.id)
}

async fn verdict(ctx: &Context, checkpoint: Option<String>, id: &ServiceId) -> Option<SafeText> {
    let service = id.to_string();
    let before = Input::Checkpoint {
        id: checkpoint?,
        service: Some(service.clone()),
    };
    let (progress, _nobody) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let found = compare::compare(
        ctx,
        &before,
        &Input::Now,
        Some(&service),
        false,
        progress,
        cancel,
    );
    let verdict = found.await.ok()?.verdict;
    let severity = verdict.severity.map_or(String::new(), |severity| {
        format!(" ({})", severity.as_str())
    });
    let why = verdict
        .findings
        .first()
        .map_or(String::new(), |finding| format!(": {}", finding.text));
    Some(SafeText::from_text(&format!(
        "{}{severity}{why}",
        verdict.decision.words()
    )))
}

/// The newest kinds of errors in the service's log, one line each.
async fn evidence(ctx: &Context, id: &ServiceId, is_there: bool) -> Vec<SafeText> {
    if !is_there {
        return Vec::new();
    }
    let input = Input::Service {
        name: id.to_string(),
        since: Some("5m".to_owned()),
        until: None,
    };
    let found = errors::errors(ctx, &[input], &CancellationToken::new()).await;
    let Ok(found) = found else {
        return Vec::new();
    };
    found
        .patterns
        .iter()
        .take(EVIDENCE)
        .map(|pattern| {
            let line = pattern.example.as_str().lines().next().unwrap_or_default();
            let line: String = line.chars().take(LINE).collect();
            SafeText::from_text(&line)
        })
        .collect()
}
