//! What happened lately: checkpoints, operations and the open incident, as the state folder tells them.

use jiff::Timestamp;

use super::resume::{Unfinished, UnreadRun};
use super::{Context, OpsError};
use crate::domain::checkpoint::Checkpoint;
use crate::domain::outcome::{AuditPhase, AuditRecord};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};

/// The verb under which a checkpoint's tags stand in the audit log: the checkpoint itself is the event.
const CHECKPOINT: &str = "checkpoint";

/// The newest events, the oldest first, at most `limit`; with them what was said in the incident that is open.
///
/// # Errors
/// The state folder cannot be read.
pub fn recent(ctx: &Context, limit: usize) -> Result<Vec<TimelineEvent>, OpsError> {
    let mut events = all(ctx)?;
    if let Some(brief) = super::incident::brief(ctx)? {
        events.extend(brief.events);
        events.sort_by_key(|event| event.at);
    }
    let surplus = events.len().saturating_sub(limit);
    events.drain(..surplus);
    Ok(events)
}

/// Every event, the oldest first.
///
/// # Errors
/// As [`recent`].
pub(super) fn all(ctx: &Context) -> Result<Vec<TimelineEvent>, OpsError> {
    let checkpoints = super::checkpoint::list(ctx)?;
    let records = super::audit::list(ctx)?;
    let mut events: Vec<TimelineEvent> = checkpoints.iter().filter_map(made).collect();
    events.extend(
        records
            .iter()
            .filter(|record| record.operation != CHECKPOINT)
            .map(acted),
    );
    let runs = super::resume::unfinished(ctx)?;
    events.extend(runs.runs.iter().map(left));
    events.extend(runs.unread.iter().map(unread));
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// A checkpoint; a partial one has no time of its own and is left to the list.
fn made(checkpoint: &Checkpoint) -> Option<TimelineEvent> {
    let manifest = checkpoint.manifest.as_ref().ok()?;
    let (grade, rest) = if manifest.complete {
        (Grade::Ok, "")
    } else {
        (Grade::Warning, ", not complete")
    };
    let service = match manifest.services.as_slice() {
        [one] => Some(one.id.clone()),
        _ => None,
    };
    Some(TimelineEvent {
        at: manifest.created_at,
        kind: TimelineKind::Checkpoint,
        service,
        grade,
        text: SafeText::from_text(&format!(
            "checkpoint {} by {}{rest}",
            checkpoint.id, manifest.by
        )),
    })
}

/// What a process left that died. It stands where it was begun.
fn left(run: &Unfinished) -> TimelineEvent {
    let text = format!(
        "did not end: {} ({}); the same action again goes on with it",
        run.title(),
        run.progress()
    );
    TimelineEvent {
        at: run.at,
        kind: TimelineKind::Action,
        service: run.plan.services.first().cloned(),
        grade: Grade::Critical,
        text: SafeText::from_text(&text),
    }
}

/// What nobody knows the end of. It stands where the audit log says that it was begun, else at the end.
fn unread(run: &UnreadRun) -> TimelineEvent {
    let services = run.services.as_deref().unwrap_or_default();
    let text = format!("may not have ended: {}: {}", run.title, run.problem);
    TimelineEvent {
        at: run.at.unwrap_or_else(Timestamp::now),
        kind: TimelineKind::Action,
        service: services.first().cloned(),
        grade: Grade::Critical,
        text: SafeText::from_text(&text),
    }
}

fn acted(record: &AuditRecord) -> TimelineEvent {
    let user = &record.actor.user;
    let verb = &record.operation;
    let names: Vec<String> = record.services.iter().map(ToString::to_string).collect();
    let what = format!("{verb} {}", names.join(" "));
    let end = record.outcome.as_ref().map_or("", SafeText::as_str);
    let (grade, text) = match record.phase {
        AuditPhase::Intent => (Grade::Ok, format!("{user} begins {}", what.trim_end())),
        AuditPhase::Resumed => (Grade::Ok, format!("{user} takes up {}", what.trim_end())),
        AuditPhase::Approved => (Grade::Ok, format!("{user} approves {}", what.trim_end())),
        AuditPhase::Revealed => (Grade::Warning, format!("{user} sees {}", what.trim_end())),
        AuditPhase::Outcome => {
            let grade = match end {
                "verified" => Grade::Ok,
                "applied_not_verified" => Grade::Warning,
                _ => Grade::Critical,
            };
            let words = end.replace('_', " ");
            (grade, format!("{} of {user}: {words}", what.trim_end()))
        }
        AuditPhase::Denied => (
            Grade::Warning,
            format!("{} of {user} refused: {end}", what.trim_end()),
        ),
    };
    TimelineEvent {
        at: record.at,
        kind: TimelineKind::Action,
        service: record.services.first().cloned(),
        grade,
        text: SafeText::from_text(&text),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::Intent;
    use crate::domain::host::HostName;
    use crate::domain::outcome::OutcomeKind;
    use crate::domain::service::ServiceId;
    use crate::ops::Access;
    use crate::store::config::Config;

    #[test]
    fn operations_stand_in_the_order_of_time_and_old_ones_drop_out() {
        let dir = tempfile::tempdir().unwrap();
        let ctx = Context::of_anna(dir.path(), Config::default(), Access::Full);
        let actor = ctx.actor.clone();
        assert!(recent(&ctx, 10).unwrap().is_empty());
        let intent = Intent {
            operation: "restart".into(),
            host: HostName::local(),
            services: vec![ServiceId::local("shop", "backend")],
            plan_hash: String::new(),
            steps: Vec::new(),
        };
        let audit = ctx.audit();
        let permit = audit
            .begin_intent(intent.clone(), &actor, Access::Full)
            .unwrap();
        audit.finish(permit, OutcomeKind::FailedPartial).unwrap();
        audit
            .begin_intent(intent, &actor, Access::ReadOnly)
            .unwrap_err();
        let texts: Vec<String> = recent(&ctx, 10)
            .unwrap()
            .iter()
            .map(|event| format!("{} {}", event.grade.as_str(), event.text))
            .collect();
        assert_eq!(
            texts,
            [
                "ok anna begins restart shop/backend",
                "critical restart shop/backend of anna: failed partial",
                "warning restart shop/backend of anna refused: this session is read-only",
            ]
        );
        assert_eq!(recent(&ctx, 1).unwrap().len(), 1);
    }
}
