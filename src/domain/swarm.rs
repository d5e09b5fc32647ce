//! A service of a swarm as its manager keeps it: its specification, the one before it, how its last update went.
//!
//! The specification stays the JSON that the engine gave. It is written back whole when a service is rolled back, and
//! what a newer engine knows and we do not must not be lost on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::digest;
use super::service::{RuntimeLimits, exact_bytes};

/// Swarm waits so long between TERM and KILL where a specification does not say.
const GRACE: Duration = Duration::from_secs(10);
/// A task is watched for so long after it started, where a specification does not say.
const MONITOR: Duration = Duration::from_secs(5);

/// The label of a service that was stopped: how many tasks it had.
const KEPT_REPLICAS: &str = "lastgood.replicas";

/// How a service of a swarm is to be made. Its debug form does not show it: it holds the environment.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SwarmSpec(pub Value);

impl fmt::Debug for SwarmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwarmSpec({})", self.digest())
    }
}

impl SwarmSpec {
    /// The bytes that are kept in a file and hashed: the same for the same specification.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a JSON value can be written")
    }

    /// SHA-256 of [`Self::to_bytes`], hex.
    pub fn digest(&self) -> String {
        digest::sha256(&self.to_bytes())
    }

    /// The image as it is named: `shop:1.4`, with `@sha256:…` where a registry told its digest.
    pub fn image(&self) -> Option<&str> {
        self.0
            .pointer("/TaskTemplate/ContainerSpec/Image")?
            .as_str()
    }

    /// The same with another image.
    #[must_use]
    pub fn with_image(&self, image: &str) -> Self {
        let mut copy = self.clone();
        if let Some(place) = copy.0.pointer_mut("/TaskTemplate/ContainerSpec/Image") {
            *place = Value::from(image);
        }
        copy
    }

    /// How many tasks are wanted; `None` where every node has one.
    pub fn replicas(&self) -> Option<u64> {
        self.0.pointer("/Mode/Replicated/Replicas")?.as_u64()
    }

    /// How many tasks it had when lastgood stopped it: a label of the service, so that whoever starts it knows.
    pub fn kept_replicas(&self) -> Option<u64> {
        let label = self.0.pointer("/Labels")?.get(KEPT_REPLICAS)?;
        label.as_str()?.parse().ok()
    }

    /// The same with so many tasks, and with or without that label. `None` where every node has one.
    #[must_use]
    pub fn scaled(&self, replicas: u64, keep: Option<u64>) -> Option<Self> {
        let mut copy = self.clone();
        let Value::Object(mode) = copy.0.pointer_mut("/Mode/Replicated")? else {
            return None;
        };
        mode.insert("Replicas".to_owned(), Value::from(replicas));
        let Value::Object(spec) = &mut copy.0 else {
            return None;
        };
        let labels = spec
            .entry("Labels")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(labels) = labels {
            match keep {
                Some(count) => {
                    labels.insert(KEPT_REPLICAS.to_owned(), Value::from(count.to_string()))
                }
                None => labels.remove(KEPT_REPLICAS),
            };
        }
        Some(copy)
    }

    /// Its variables, `NAME=value`.
    pub fn environment(&self) -> Vec<&str> {
        let all = self.0.pointer("/TaskTemplate/ContainerSpec/Env");
        let all = all.and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).collect()
    }

    /// How often its tasks were made anew for no other reason than that somebody wanted it.
    pub fn forced(&self) -> u64 {
        let counter = self.0.pointer("/TaskTemplate/ForceUpdate");
        counter.and_then(Value::as_u64).unwrap_or(0)
    }

    /// The same with that counter set: a higher one makes every task anew.
    #[must_use]
    pub fn with_forced(&self, count: u64) -> Self {
        let mut copy = self.clone();
        if let Some(Value::Object(template)) = copy.0.pointer_mut("/TaskTemplate") {
            template.insert("ForceUpdate".to_owned(), Value::from(count));
        }
        copy
    }

    /// Whether both make the same tasks, however often those were made anew.
    pub fn makes_the_same(&self, other: &Self) -> bool {
        self.with_forced(0) == other.with_forced(0)
    }

    /// What neither [`Self::image`], [`Self::environment`] nor [`Self::limits`] tells, one setting a line.
    pub fn settings(&self) -> String {
        let mut copy = self.with_forced(0);
        for (parent, names) in [
            (
                "/TaskTemplate",
                &["ForceUpdate", "Resources", "RestartPolicy"][..],
            ),
            ("/TaskTemplate/ContainerSpec", &["Image", "Env"]),
            ("/Mode/Replicated", &["Replicas"]),
        ] {
            if let Some(Value::Object(map)) = copy.0.pointer_mut(parent) {
                names.iter().for_each(|name| drop(map.remove(*name)));
            }
        }
        let mut lines = Vec::new();
        flatten(&copy.0, "", &mut lines);
        lines.join("\n")
    }

    /// What the swarm allows a task, and how many there are.
    pub fn limits(&self) -> RuntimeLimits {
        let mut limits = RuntimeLimits::new();
        let mut set = |name: &str, value: Option<String>| {
            limits.extend(value.map(|value| (name.to_owned(), value)));
        };
        let number = |path: &str| self.0.pointer(path)?.as_u64().filter(|n| *n > 0);
        set("replicas", self.replicas().map(|n| n.to_string()));
        let resources = "/TaskTemplate/Resources/Limits";
        let memory = number(&format!("{resources}/MemoryBytes"));
        set("memory", memory.map(exact_bytes));
        let cores = number(&format!("{resources}/NanoCPUs")).map(|n| n as f64 / 1e9);
        set("cpus", cores.map(|cores| cores.to_string()));
        let pids = number(&format!("{resources}/Pids"));
        set("pids", pids.map(|n| n.to_string()));
        let policy = "/TaskTemplate/RestartPolicy";
        let condition = self.0.pointer(&format!("{policy}/Condition"));
        let attempts = number(&format!("{policy}/MaxAttempts"));
        set(
            "restarts",
            condition
                .and_then(Value::as_str)
                .map(|condition| match attempts {
                    Some(attempts) => format!("{condition}:{attempts}"),
                    None => condition.to_owned(),
                }),
        );
        limits
    }

    /// How long an update of so many tasks may well take: batch after batch, each with its time to end, to be watched,
    /// and to wait. Starting itself is not in it.
    pub fn update_time(&self, tasks: u64) -> Duration {
        let nanos = |path: &str| Some(Duration::from_nanos(self.0.pointer(path)?.as_u64()?));
        let at_once = self.0.pointer("/UpdateConfig/Parallelism");
        let at_once = match at_once.and_then(Value::as_u64) {
            Some(0) => tasks,
            Some(n) => n,
            None => 1,
        };
        let batches = u32::try_from(tasks.max(1).div_ceil(at_once.max(1))).unwrap_or(u32::MAX);
        let grace = nanos("/TaskTemplate/ContainerSpec/StopGracePeriod").unwrap_or(GRACE);
        let delay = nanos("/UpdateConfig/Delay").unwrap_or_default();
        let monitor = nanos("/UpdateConfig/Monitor").unwrap_or(MONITOR);
        (grace + delay).saturating_mul(batches) + monitor
    }
}

fn flatten(value: &Value, name: &str, lines: &mut Vec<String>) {
    let inner = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    };
    match value {
        Value::Object(map) => map
            .iter()
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .for_each(|(key, value)| flatten(value, &inner(key), lines)),
        Value::Array(all) => all
            .iter()
            .enumerate()
            .for_each(|(at, value)| flatten(value, &inner(&at.to_string()), lines)),
        Value::Null => {}
        Value::String(text) => lines.push(format!("{name} = {text}")),
        other => lines.push(format!("{name} = {other}")),
    }
}

/// A service of a swarm.
#[derive(Debug, Clone, PartialEq)]
pub struct SwarmService {
    /// The manager's id of it.
    pub id: String,
    /// Its full name, `shop_backend`.
    pub name: String,
    /// Counted up with every change of it; an update names the one it was made for.
    pub version: u64,
    /// How it is to be.
    pub spec: SwarmSpec,
    /// What swarm's own rollback would bring back. One deep, and gone after swarm rolled back by itself.
    pub previous: Option<SwarmSpec>,
    /// Its last update; `None` where there was none, or it has just been asked for.
    pub update: Option<SwarmUpdate>,
}

impl SwarmService {
    /// Whether swarm took its last update back by itself: one that somebody asked for leaves a specification to go
    /// back to.
    pub fn was_rolled_back_by_itself(&self) -> bool {
        let is_over = matches!(
            self.update,
            Some(SwarmUpdate {
                state: UpdateState::RollbackCompleted,
                ..
            })
        );
        is_over && self.previous.is_none()
    }
}

/// The last update of a service, as swarm tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmUpdate {
    /// How it goes.
    pub state: UpdateState,
    /// Swarm's own words.
    pub message: String,
}

/// How an update goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// A task failed, and nobody said to go on.
    Paused,
    /// Every task was replaced.
    Completed,
    /// The specification before is being brought back.
    RollbackStarted,
    /// A task of the specification before failed, too.
    RollbackPaused,
    /// The specification before is back.
    RollbackCompleted,
    /// A word that we do not know.
    #[serde(other)]
    Unknown,
}

impl UpdateState {
    /// Whether tasks are still being replaced.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Updating | Self::RollbackStarted)
    }
}

/// What is done to a service of a swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SwarmChange {
    /// Its tasks are made anew, as they are.
    Force,
    /// It gets the image of this name and stays as it is otherwise.
    Image {
        /// The image.
        image: String,
    },
    /// So many tasks are wanted.
    Scale {
        /// How many.
        replicas: u64,
        /// How many there were, kept in a label of the service while it is stopped.
        keep: Option<u64>,
    },
    /// Swarm's own rollback, to the specification before.
    Previous {
        /// What that must be: [`SwarmSpec::digest`].
        sha256: String,
        /// Its image, for people.
        image: String,
    },
    /// It gets a specification that was kept.
    Spec {
        /// The file, absolute.
        source: PathBuf,
        /// [`SwarmSpec::digest`] of what the file holds.
        sha256: String,
        /// Its image, for people.
        image: String,
        /// Whether tasks are made anew also where it has this specification: the image's name means another image
        /// now.
        always: bool,
    },
}

/// A service of a swarm in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSwarm {
    /// Its full name.
    pub name: String,
    /// Its image as the specification named it, with its digest where it has one.
    pub image: String,
    /// Its specification: a file below the checkpoint's folder. It holds the environment.
    pub spec: PathBuf,
    /// [`SwarmSpec::digest`] of it.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec() -> SwarmSpec {
        SwarmSpec(json!({
            "Name": "shop_web",
            "TaskTemplate": {
                "ContainerSpec": {"Image": "shop:1", "Env": ["PORT=80"], "StopGracePeriod": 2_000_000_000u64},
                "Resources": {"Limits": {"MemoryBytes": 268_435_456, "NanoCPUs": 500_000_000}},
                "RestartPolicy": {"Condition": "on-failure", "MaxAttempts": 3},
                "ForceUpdate": 4
            },
            "Mode": {"Replicated": {"Replicas": 5}},
            "UpdateConfig": {"Parallelism": 2, "Delay": 1_000_000_000},
            "NotKnownToUs": {"kept": [1, {"a": null}]}
        }))
    }

    #[test]
    fn what_is_written_back_has_lost_nothing() {
        let bytes = spec().with_image("shop:2").with_forced(5).to_bytes();
        let mut back: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(back["TaskTemplate"]["ForceUpdate"], 5);
        back["TaskTemplate"]["ForceUpdate"] = json!(4);
        back["TaskTemplate"]["ContainerSpec"]["Image"] = json!("shop:1");
        assert_eq!(back, spec().0);
    }

    #[test]
    fn a_stopped_service_knows_how_many_it_had() {
        let stopped = spec().scaled(0, Some(5)).unwrap();
        assert_eq!(
            (stopped.replicas(), stopped.kept_replicas()),
            (Some(0), Some(5))
        );
        let labelled = spec().scaled(5, None).unwrap();
        assert_eq!(stopped.scaled(5, None).unwrap(), labelled);
        assert_eq!(labelled.kept_replicas(), None);
        assert_eq!(
            SwarmSpec(json!({"Mode": {"Global": {}}})).scaled(0, None),
            None
        );
    }

    #[test]
    fn tasks_made_anew_are_the_same_and_another_variable_is_not() {
        assert!(spec().makes_the_same(&spec().with_forced(9)));
        assert_ne!(spec().digest(), spec().with_forced(9).digest());
        assert!(!spec().makes_the_same(&spec().with_image("shop:2")));
    }

    #[test]
    fn limits_and_settings_are_told_once() {
        let told: Vec<String> = (spec().limits().iter())
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        assert_eq!(
            told,
            [
                "cpus 0.5",
                "memory 256 MiB",
                "replicas 5",
                "restarts on-failure:3"
            ]
        );
        let settings = spec().settings();
        assert!(
            settings.contains("UpdateConfig.Parallelism = 2"),
            "{settings}"
        );
        for told_elsewhere in ["shop:1", "PORT", "Replicas", "MemoryBytes", "ForceUpdate"] {
            assert!(!settings.contains(told_elsewhere), "{settings}");
        }
    }

    #[test]
    fn an_update_takes_as_long_as_its_batches() {
        // Three batches of two: 2 s to end and 1 s to wait each; then 5 s to be watched.
        assert_eq!(spec().update_time(5), Duration::from_secs(14));
        assert_eq!(SwarmSpec(json!({})).update_time(0), GRACE + MONITOR);
    }

    #[test]
    fn a_debug_form_shows_no_variable() {
        assert!(!format!("{:?}", spec()).contains("PORT"));
    }
}
