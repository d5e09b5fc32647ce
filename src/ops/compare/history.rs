//! How much the error rate of a service varied between its earlier checkpoints: a service that doubles at noon every day
//! is no alarm when it doubles, and one that never moves is one when it does.
//!
//! The logs of two checkpoints overlap where the container lived on. What both hold is taken out: only what the later one
//! has more is a window of its own.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use crate::analysis::compare::statistics::{Rate, dispersion};
use crate::domain::checkpoint::{Checkpoint, Manifest, SavedLog};
use crate::domain::health::HealthState;
use crate::domain::service::ServiceId;
use crate::ops::input::Baseline;
use crate::store::checkpoint;
use crate::store::paths::StateDir;

/// The newest checkpoints that are looked at: a day of those that `watch` keeps every hour.
const LOOKED_AT: usize = 25;
/// A rate of fewer requests than this is none.
const LEAST_REQUESTS: u64 = 20;

/// A service in `patterns.json`: nothing but its counts.
#[derive(Debug, Deserialize)]
struct Counted {
    id: ServiceId,
    report: Option<Counts>,
}

/// Requests of a saved log. A checkpoint of an earlier version did not keep them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Counts {
    requests: Option<u64>,
    errors: Option<u64>,
}

/// What one checkpoint holds of a service's log.
#[derive(Debug, Clone)]
struct Saved {
    log: SavedLog,
    requests: u64,
    errors: u64,
}

/// Measured for each service of the checkpoint that has at least three windows, over this checkpoint and those before it
/// in which the service was healthy. What cannot be read is left out: then what is assumed of every service holds.
pub(super) fn measure(state: &StateDir, baseline: &Baseline) -> BTreeMap<ServiceId, f64> {
    let until = baseline.manifest.created_at;
    let earlier = checkpoint::list(state).unwrap_or_default();
    let earlier = earlier
        .iter()
        .filter_map(|c| Some((c, c.manifest.as_ref().ok()?)));
    let mut saved: BTreeMap<ServiceId, Vec<Saved>> = BTreeMap::new();
    for (checkpoint, manifest) in earlier
        .filter(|(_, m)| m.created_at <= until)
        .take(LOOKED_AT)
    {
        for (id, one) in saved_in(checkpoint, manifest) {
            saved.entry(id).or_default().push(one);
        }
    }
    saved
        .into_iter()
        .filter_map(|(id, mut saved)| {
            saved.reverse();
            Some((id, dispersion(&windows(&saved))?))
        })
        .collect()
}

/// The logs of healthy services in a checkpoint, counted.
fn saved_in(checkpoint: &Checkpoint, manifest: &Manifest) -> Vec<(ServiceId, Saved)> {
    let text = fs::read(checkpoint.path.join("patterns.json")).unwrap_or_default();
    let counted: Vec<Counted> = serde_json::from_slice(&text).unwrap_or_default();
    let one = |counted: Counted| {
        let service = manifest.services.iter().find(|s| s.id == counted.id)?;
        let counts = counted.report?;
        let saved = Saved {
            log: service.log.clone()?,
            requests: counts.requests?,
            errors: counts.errors?,
        };
        let is_healthy = service.health == Some(HealthState::Healthy);
        (is_healthy && saved.log.missing.is_none()).then_some((counted.id, saved))
    };
    counted.into_iter().filter_map(one).collect()
}

/// Windows that have nothing in common, from the oldest on.
fn windows(saved: &[Saved]) -> Vec<Rate> {
    let mut windows = Vec::new();
    let mut last: Option<&Saved> = None;
    for one in saved {
        let (requests, errors) = match last {
            None => (one.requests, one.errors),
            Some(last) if one.log.from >= last.log.to => (one.requests, one.errors),
            // The same start: the later log is the earlier one and more.
            Some(last) if one.log.from == last.log.from => (
                one.requests.saturating_sub(last.requests),
                one.errors.saturating_sub(last.errors),
            ),
            // What they have in common is not known: such a log begins a new row and is none itself.
            Some(_) => (0, 0),
        };
        last = Some(one);
        if requests >= LEAST_REQUESTS {
            windows.push(Rate {
                events: errors,
                exposure: requests as f64,
            });
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, Zoned};

    use super::*;
    use crate::analysis::compare::statistics::OVER_DISPERSION;
    use crate::domain::checkpoint::{MANIFEST_SCHEMA, SavedService};
    use crate::domain::service::{Release, Runtime};
    use crate::store::checkpoint::Staging;

    fn saved(from: i64, to: i64, requests: u64, errors: u64) -> Saved {
        let at = |minutes: i64| Timestamp::from_second(1_766_847_000 + minutes * 60).ok();
        let log = SavedLog {
            file: "logs/shop/api.log.zst".into(),
            lines: requests,
            bytes: requests * 80,
            from: at(from),
            to: at(to),
            missing: None,
            positions: Vec::new(),
        };
        Saved {
            log,
            requests,
            errors,
        }
    }

    #[test]
    fn what_two_checkpoints_have_in_common_is_counted_once() {
        let found = windows(&[
            saved(0, 60, 1_000, 10),
            // The container lived on: an hour more.
            saved(0, 120, 2_500, 18),
            // Looked at again at once: nothing new.
            saved(0, 120, 2_505, 18),
            // A new container.
            saved(125, 180, 900, 9),
            // Its log was rotated: nobody knows what is new.
            saved(150, 240, 1_500, 20),
            saved(150, 300, 2_500, 31),
        ]);
        let found: Vec<(u64, f64)> = found.iter().map(|w| (w.events, w.exposure)).collect();
        assert_eq!(
            found,
            [(10, 1_000.0), (8, 1_500.0), (9, 900.0), (11, 1_000.0)]
        );
    }

    /// A checkpoint of one service as it is kept.
    fn keep(state: &StateDir, one: &Saved, health: HealthState, at: i64) -> Baseline {
        let staging = Staging::begin(state, Some(&at.to_string()), &Zoned::now()).unwrap();
        let (requests, errors) = (one.requests, one.errors);
        let counted = format!(
            r#"[{{"id":"shop/api","report":{{"requests":{requests},"errors":{errors}}}}}]"#
        );
        let place = std::path::Path::new("patterns.json");
        staging.add(place, counted.as_bytes()).unwrap();
        let service = SavedService {
            id: ServiceId::local("shop", "api"),
            runtime: Runtime::Exec,
            log: Some(one.log.clone()),
            files: Vec::new(),
            release: Release::default(),
            pinned: None,
            health: Some(health),
            probes: Vec::new(),
            compose: None,
            pm2: None,
            restarts: 0,
            limits: None,
            image_copy: None,
            schema_revision: None,
            swarm: None,
        };
        let manifest = Manifest {
            schema: MANIFEST_SCHEMA.to_owned(),
            id: String::new(),
            created_at: Timestamp::from_second(1_766_847_000 + at * 60).unwrap(),
            label: None,
            by: "test".into(),
            services: vec![service],
            sums_sha256: String::new(),
            complete: true,
            problems: Vec::new(),
        };
        let (manifest, path) = staging.finish(manifest).unwrap();
        Baseline { manifest, path }
    }

    #[test]
    fn healthy_checkpoints_up_to_the_compared_one_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path().join("state"));
        let api = ServiceId::local("shop", "api");
        let hour = |n: i64, errors| saved(n * 60, n * 60 + 59, 10_000, errors);
        keep(&state, &hour(1, 100), HealthState::Healthy, 120);
        // An incident is no quiet window.
        keep(&state, &hour(2, 9_000), HealthState::Unhealthy, 180);
        let second = keep(&state, &hour(3, 104), HealthState::Healthy, 240);
        assert!(measure(&state, &second).is_empty(), "two tell nothing");
        let third = keep(&state, &hour(4, 97), HealthState::Healthy, 300);
        // What came after the compared one, the deploy perhaps, does not count.
        keep(&state, &hour(5, 900), HealthState::Healthy, 360);
        let measured = measure(&state, &third);
        let expected = dispersion(&windows(&[hour(1, 100), hour(3, 104), hour(4, 97)]));
        assert_eq!(measured.get(&api).copied(), expected);
        assert!(expected.unwrap() < OVER_DISPERSION, "{expected:?}");
    }

    #[test]
    fn counts_of_an_earlier_version_are_none() {
        let text = r#"[{"id":"shop/api","report":{"records":3,"patterns":[],"missing":[]},"error":null},
            {"id":"shop/db","report":null,"error":"no"},
            {"id":"shop/web","report":{"records":3,"requests":2,"errors":1,"patterns":[]},"error":null}]"#;
        let counted: Vec<Counted> = serde_json::from_str(text).unwrap();
        let counts: Vec<_> = counted.iter().map(|c| c.report).collect();
        let of = |requests, errors| Some(Counts { requests, errors });
        assert_eq!(counts, [of(None, None), None, of(Some(2), Some(1))]);
    }
}
