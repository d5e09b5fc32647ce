//! How the specification of a swarm's service differs from that of the checkpoint: its variables, and what else is in it
//! besides the image and the limits, which are told as such.

use super::changes::of_texts;
use crate::analysis::redact::Redactor;
use crate::domain::change::{Change, ChangeKind};
use crate::domain::checkpoint::SavedService;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::swarm::SwarmSpec;
use crate::ops::input::Baseline;
use crate::ops::operation::read_spec;
use crate::ops::roll_back::swarm::inspect;
use crate::ops::{Context, OpsError};

/// Every line that differs, and what could not be looked at.
pub(super) async fn find(
    ctx: &Context,
    baseline: &Baseline,
    before: &SavedService,
    now: &Service,
    redactor: &Redactor,
) -> (Vec<Change>, Option<SafeText>) {
    match both(ctx, baseline, before, now).await {
        Ok(None) => (Vec::new(), None),
        Ok(Some((old, new))) => {
            let changes = of_specs(now, &old, &new, redactor);
            (changes, None)
        }
        Err(error) => {
            let why = error.to_safe_text();
            let text = format!("{}: its specification could not be compared: {why}", now.id);
            (Vec::new(), Some(SafeText::from_text(&text)))
        }
    }
}

async fn both(
    ctx: &Context,
    baseline: &Baseline,
    before: &SavedService,
    now: &Service,
) -> Result<Option<(SwarmSpec, SwarmSpec)>, OpsError> {
    let Some(saved) = &before.swarm else {
        return Ok(None);
    };
    let old = read_spec(&baseline.path.join(&saved.spec), &saved.sha256)?;
    Ok(Some((old, inspect(ctx, now).await?.spec)))
}

fn of_specs(
    service: &Service,
    old: &SwarmSpec,
    new: &SwarmSpec,
    redactor: &Redactor,
) -> Vec<Change> {
    let lines = |spec: &SwarmSpec| {
        let mut all = spec.environment();
        all.sort_unstable();
        all.join("\n")
    };
    let of = |what, name, old: String, new: String| {
        of_texts(&service.id, what, name, (&old, &new), redactor)
    };
    let mut changes = of(ChangeKind::Env, "environment", lines(old), lines(new));
    let (old, new) = (old.settings(), new.settings());
    changes.extend(of(ChangeKind::Config, "service", old, new));
    changes
}
