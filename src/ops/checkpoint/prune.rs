//! Removing old checkpoints, as a plan: their folders, and the tags that keep their images from a prune of Docker's.
//!
//! What a service could be taken back to is never removed, however old: its newest good checkpoint, and the newest good
//! one of another release than runs now. What could not be read is not removed either: nobody knows what it holds.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::checkpoint::{Checkpoint, Manifest, NoManifest, SavedService};
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::operation::{FingerprintSubject, Operation, Plan, Risk, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, ServiceId};
use crate::ops::operation::{ABSENT, describe, look_at};
use crate::ops::resume::{self, Unfinished};
use crate::ops::roll_back::compose::docker_env;
use crate::ops::roll_back::target::check_files;
use crate::ops::services::{discover, host_of};
use crate::ops::{Context, OpsError};
use crate::store::checkpoint::{self as store, Checked};

/// A checkpoint that is still being made is younger than this.
const PARTIAL_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
const REMOVE_LIMIT_MS: u64 = 60_000;
const UNTAG_LIMIT_MS: u64 = 30_000;

/// The plan. Without a wish the configured number of the newest stays.
///
/// # Errors
/// The checkpoints cannot be listed.
pub(crate) async fn plan(
    ctx: &Context,
    operation: &Operation,
    keep_last: Option<usize>,
    since: Option<Timestamp>,
) -> Result<Plan, OpsError> {
    let all = super::list(ctx)?;
    let keep_last = match (keep_last, since) {
        (None, None) => Some(ctx.config.keep_last),
        (given, _) => given,
    };
    let (mut old, mut kept) = choose(&all, keep_last, since, Timestamp::now());
    let mut notes = Vec::new();
    for checkpoint in &all {
        if let Err(NoManifest::Unread(why)) = &checkpoint.manifest {
            notes.push(stays(
                checkpoint,
                &format!("what it holds is not known: {why}"),
            ));
        }
    }
    let left = resume::unfinished(ctx)?;
    for run in &left.unread {
        kept += old.len();
        old.clear();
        notes.push(SafeText::from_text(&format!(
            "nothing is removed: which checkpoints the run {} needs is not known ({}): {}",
            run.run, run.title, run.problem
        )));
    }
    let inventory = discover(ctx).await;
    let needed = needed(&all, &inventory).await;
    let used = used_by(&left.runs);
    let mut removed = Vec::new();
    for checkpoint in old {
        let why = match needed.get(&checkpoint.id) {
            Some(why) => why,
            None if used.iter().any(|plan| plan.contains(&checkpoint.id)) => {
                "a run that did not end needs it"
            }
            None => {
                removed.push(checkpoint);
                continue;
            }
        };
        kept += 1;
        notes.push(stays(checkpoint, why));
    }
    let mut steps = Vec::new();
    let mut services = BTreeSet::new();
    for checkpoint in &removed {
        steps.push(remove(checkpoint));
        let rows = checkpoint.manifest.iter().flat_map(|m| &m.services);
        for saved in rows {
            services.insert(saved.id.clone());
            match untag(ctx, saved).await {
                Ok(step) => steps.extend(step),
                Err(error) => notes.push(SafeText::from_text(&format!(
                    "the name {} stays: {}",
                    saved.pinned.as_deref().unwrap_or_default(),
                    error.to_safe_text()
                ))),
            }
        }
    }
    for folder in store::half_removed(&ctx.state)? {
        steps.push(removing(&folder, "what is left of a removed checkpoint"));
    }
    let to = match removed.len() {
        0 => format!("all {kept} checkpoints stay"),
        n => format!("{n} checkpoints are removed, {kept} stay"),
    };
    Ok(Plan {
        operation: operation.clone(),
        host: HostName::local(),
        risk: Risk::Disruptive,
        // Nobody rolls one of them back meanwhile.
        services: services.into_iter().collect(),
        from: None,
        to: Some(SafeText::from_text(&to)),
        notes,
        steps,
        not_rolled_back: Vec::new(),
        on_failure: Some(SafeText::from_text(
            "what was removed stays removed; the same command removes the rest",
        )),
        downtime_ms: Some(0),
        budget_ms: REMOVE_LIMIT_MS * 2,
        hash: String::new(),
    }
    .seal())
}

/// The checkpoints that neither number nor age keeps, the newest first, and how many stay.
fn choose(
    all: &[Checkpoint],
    keep_last: Option<usize>,
    since: Option<Timestamp>,
    now: Timestamp,
) -> (Vec<&Checkpoint>, usize) {
    let mut whole = 0;
    let (mut old, mut kept) = (Vec::new(), 0);
    for checkpoint in all {
        let at = store::made_at(checkpoint);
        let is_young = |border: Timestamp| at.is_none_or(|at| at >= border);
        let stays = match &checkpoint.manifest {
            Ok(_) => {
                whole += 1;
                keep_last.is_some_and(|n| whole <= n) || since.is_some_and(is_young)
            }
            Err(NoManifest::Partial(_)) => is_young(now - PARTIAL_FOR),
            Err(NoManifest::Unread(_)) => true,
        };
        match stays {
            true => kept += 1,
            false => old.push(checkpoint),
        }
    }
    (old, kept)
}

fn stays(checkpoint: &Checkpoint, why: &str) -> SafeText {
    SafeText::from_text(&format!("{} stays: {why}", checkpoint.id))
}

/// The checkpoints that a service may have to be taken back to, each with the reason: the first such service.
async fn needed(all: &[Checkpoint], inventory: &Inventory) -> BTreeMap<String, String> {
    let whole: Vec<(&Checkpoint, &Manifest)> = all
        .iter()
        .filter_map(|c| Some((c, c.manifest.as_ref().ok()?)))
        .collect();
    let services: BTreeSet<&ServiceId> = whole
        .iter()
        .flat_map(|(_, manifest)| manifest.services.iter().map(|saved| &saved.id))
        .collect();
    let mut looked_at: BTreeMap<&str, Checked> = BTreeMap::new();
    let mut needed = BTreeMap::new();
    for id in services {
        let mut running = inventory.find(id).map(|service| service.release.clone());
        let (mut is_newest_found, mut is_other_found) = (false, false);
        for (checkpoint, manifest) in &whole {
            let Some(saved) = manifest.services.iter().find(|saved| saved.id == *id) else {
                continue;
            };
            if is_newest_found && is_other_found || !is_good(manifest, saved) {
                continue;
            }
            let is_other = running
                .as_ref()
                .is_none_or(|now| !saved.release.is_same(now));
            if is_newest_found && !is_other {
                continue;
            }
            if !looked_at.contains_key(checkpoint.id.as_str()) {
                looked_at.insert(&checkpoint.id, check_files(checkpoint).await);
            }
            let checked = &looked_at[checkpoint.id.as_str()];
            if !checked.damage.is_empty() {
                continue;
            }
            let entry = needed.entry(checkpoint.id.clone());
            if let Some(why) = checked.unread.first() {
                // It may be whole. Another one is looked for all the same.
                entry.or_insert_with(|| format!("it may be the last good one of {id}: {why}"));
                continue;
            }
            entry.or_insert_with(|| format!("the last good one of {id}"));
            // What does not run now is taken back to another release than the newest, or to that.
            is_other_found |= is_other && running.is_some();
            running.get_or_insert_with(|| saved.release.clone());
            is_newest_found = true;
        }
        if !is_newest_found
            && let Some((newest, _)) = whole
                .iter()
                .find(|(_, manifest)| manifest.services.iter().any(|saved| saved.id == *id))
        {
            // Better than none at all.
            needed
                .entry(newest.id.clone())
                .or_insert_with(|| format!("the last one of {id}"));
        }
    }
    needed
}

fn is_good(manifest: &Manifest, saved: &SavedService) -> bool {
    manifest.complete
        && saved.health == Some(HealthState::Healthy)
        && saved.release.identity().is_some()
}

/// The plans of runs that did not end, as text: they name the checkpoints whose files they need.
fn used_by(runs: &[Unfinished]) -> Vec<String> {
    runs.iter()
        .filter(|left| left.plan.operation.is_of_service())
        .filter_map(|left| serde_json::to_string(&left.plan).ok())
        .collect()
}

fn remove(checkpoint: &Checkpoint) -> Step {
    removing(&checkpoint.path, &format!("checkpoint {}", checkpoint.id))
}

fn removing(folder: &std::path::Path, what: &str) -> Step {
    let work = StepWork::RemoveCheckpoint {
        folder: folder.to_owned(),
    };
    Step {
        text: SafeText::from_text(&format!("remove {what}")),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: REMOVE_LIMIT_MS,
        may_fail: false,
    }
}

/// Takes the name away that keeps an image; none where it has gone. An image that is in use keeps it: then its
/// containers are all that is left of it.
async fn untag(ctx: &Context, saved: &SavedService) -> Result<Option<Step>, OpsError> {
    let Some(name) = &saved.pinned else {
        return Ok(None);
    };
    let subject = FingerprintSubject::Image {
        host: saved.id.host.clone(),
        reference: name.clone(),
    };
    if look_at(ctx, &subject).await? == ABSENT {
        return Ok(None);
    }
    let argv = ["docker", "image", "rm", "--no-prune", name].map(str::to_owned);
    let work = StepWork::Command {
        argv: argv.to_vec(),
        cwd: None,
        env: docker_env(host_of(ctx, &saved.id)?),
    };
    Ok(Some(Step {
        text: SafeText::from_text(&argv.join(" ")),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: UNTAG_LIMIT_MS,
        may_fail: true,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::checkpoint::MANIFEST_SCHEMA;
    use crate::domain::service::Runtime;

    fn checkpoint(id: &str, hours_ago: i64, release: &str, health: HealthState) -> Checkpoint {
        let mut saved: SavedService = serde_json::from_value(serde_json::json!({
            "id": "shop/backend", "runtime": "compose", "log": null, "files": [],
            "release": {"digest": release}, "pinned": null, "health": null,
        }))
        .unwrap();
        saved.health = Some(health);
        assert_eq!(saved.runtime, Runtime::Compose);
        Checkpoint {
            id: id.to_owned(),
            path: format!("/nonexistent/{id}").into(),
            manifest: Ok(Manifest {
                schema: MANIFEST_SCHEMA.to_owned(),
                id: id.to_owned(),
                created_at: now() - jiff::SignedDuration::from_hours(hours_ago),
                label: None,
                by: SafeText::from_text("anna"),
                services: vec![saved],
                sums_sha256: String::new(),
                complete: true,
                problems: Vec::new(),
            }),
        }
    }

    fn now() -> Timestamp {
        "2025-12-27T15:00:00Z".parse().unwrap()
    }

    #[test]
    fn number_and_age_each_keep() {
        let all: Vec<Checkpoint> = (0..5)
            .map(|n| checkpoint(&format!("c{n}"), n, "a", HealthState::Healthy))
            .collect();
        let ids = |keep_last, hours: Option<i64>| -> Vec<&str> {
            let since = hours.map(|h| now() - jiff::SignedDuration::from_hours(h));
            let (old, kept) = choose(&all, keep_last, since, now());
            assert_eq!(old.len() + kept, 5);
            old.iter().map(|c| c.id.as_str()).collect()
        };
        assert_eq!(ids(Some(3), None), ["c3", "c4"]);
        assert_eq!(ids(None, Some(1)), ["c2", "c3", "c4"]);
        assert_eq!(ids(Some(1), Some(3)), ["c4"]);
        assert_eq!(ids(Some(0), None).len(), 5);
    }

    #[test]
    fn only_what_is_partial_goes_by_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let two_days_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
        let folder = std::fs::File::open(dir.path()).unwrap();
        folder.set_modified(two_days_ago).unwrap();
        let without = |id: &str, why: fn(SafeText) -> NoManifest| Checkpoint {
            id: id.to_owned(),
            path: dir.path().to_owned(),
            manifest: Err(why(SafeText::from_text("made by another version"))),
        };
        let all = [
            without("unread", NoManifest::Unread),
            without("cut off", NoManifest::Partial),
        ];
        let (old, kept) = choose(&all, Some(0), None, Timestamp::now());
        let old: Vec<&str> = old.iter().map(|c| c.id.as_str()).collect();
        assert_eq!((old.as_slice(), kept), (["cut off"].as_slice(), 1));
    }
}
