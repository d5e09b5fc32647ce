//! A swarm, seen and changed through one of its managers: what runs on every node, and updates that are followed to
//! their end.
//!
//! Swarm replaces tasks by itself, and takes an update back by itself where that was asked for: `docker service update`
//! says 0 to both. So the end of an update is read from the service, and what runs is told from its tasks.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::docker::Engine;
use super::docker::swarm::{self as api, LocalTask, Task};
use crate::audit::Permit;
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Instance, Release, Runtime, Service, ServiceId, ServiceState};
use crate::domain::swarm::{SwarmService, SwarmSpec, UpdateState};
use crate::host::Host;
use crate::runtime::RuntimeError;
use crate::runtime::docker;

const NAME: &str = "com.docker.swarm.service.name";
const STACK: &str = "com.docker.stack.namespace";
/// Where a service keeps the digest of its specification: what a plan was made for.
const SPEC: &str = "lastgood.swarm.spec";
/// Tasks that failed within this time are a loop if there are two of one replica.
const LOOP_SPAN: SignedDuration = SignedDuration::from_secs(60);
/// A failure that is older is history.
const TOLD_FOR: SignedDuration = SignedDuration::from_mins(15);
/// Between two looks at an update.
const PAUSE: Duration = Duration::from_millis(300);
/// Swarm takes an update up at once, unless there is nothing to replace: then it says nothing.
const TAKEN_UP: Duration = Duration::from_secs(5);
/// A task that does not run by then is for the proof to judge.
const COMES_UP: Duration = Duration::from_secs(10);

/// Every service of the swarm that this host manages; `None` where it manages none.
///
/// # Errors
/// The engine is away, or the swarm has no leader or is locked.
pub(super) async fn look(
    host: &Host,
    engine: Engine,
) -> Result<Option<Vec<Service>>, RuntimeError> {
    let Some(services) = api::services(&engine).await? else {
        return Ok(None);
    };
    if services.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let tasks = api::tasks(&engine).await?;
    let here = api::local_tasks(&engine).await?;
    let has_no_container = |task: &Task| !task.node.is_empty() && !here.contains_key(&task.id);
    let mut nodes = HashMap::new();
    if tasks.iter().any(has_no_container) {
        nodes = api::nodes(&engine).await?;
        // A task of this node may not have got its container yet.
        nodes.remove(&api::own_node(&engine).await?);
    }
    let mut images = HashMap::new();
    for service in &services {
        let own = |task: &&Task| task.service == service.id && task.is_wanted();
        for reference in tasks.iter().filter(own).filter_map(Task::image) {
            if !images.contains_key(reference)
                && let Some(id) = docker::image_id(host, reference).await?
            {
                images.insert(reference.to_owned(), id);
            }
        }
    }
    let seen = Seen {
        host: host.name(),
        here,
        nodes,
        images,
        now: host.now().await,
    };
    let mut found: Vec<Service> = services
        .into_iter()
        .map(|service| {
            let own = tasks.iter().filter(|task| task.service == service.id);
            seen.build(&service, &own.collect::<Vec<_>>())
        })
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Some(found))
}

/// The digest of the specification that a service had when it was looked at; `None` where only a worker was asked.
pub fn spec_digest(service: &Service) -> Option<&str> {
    service.labels.get(SPEC).map(String::as_str)
}

/// The full name of a service in its swarm.
pub fn full_name(service: &Service) -> Option<&str> {
    service.labels.get(NAME).map(String::as_str)
}

/// A service as its manager keeps it.
///
/// # Errors
/// It is gone, or the engine is away or manages no swarm.
pub async fn inspect(host: &Host, name: &str) -> Result<SwarmService, RuntimeError> {
    api::service(&Engine::connect(host).await?, name).await
}

/// Gives a service a specification, or lets swarm roll it back to the one before. Refused by the manager where the
/// service was changed since `seen`. Swarm has only begun when this returns: see [`settle`].
///
/// # Errors
/// Refused, or the engine is away.
pub async fn update(
    host: &Host,
    permit: &Permit,
    seen: &SwarmService,
    spec: &SwarmSpec,
    is_rollback: bool,
) -> Result<(), RuntimeError> {
    let engine = Engine::connect(host).await?;
    api::update(&engine, permit, seen, spec, is_rollback).await
}

/// Waits until swarm has ended an update, however long it takes, and its tasks run. Gives what it says of it.
///
/// # Errors
/// It paused, it was rolled back and nobody asked for that, or the engine is away.
pub async fn settle(host: &Host, name: &str, is_rollback: bool) -> Result<SafeText, RuntimeError> {
    let started = Instant::now();
    loop {
        let engine = Engine::connect(host).await?;
        let service = api::service(&engine, name).await?;
        if let Some(end) = end_of(&service, is_rollback, started.elapsed()) {
            if !matches!(end, End::Paused(_)) {
                runs(&engine, &service.id).await;
            }
            return match end {
                End::Well(said) => Ok(said),
                End::Paused(said) | End::TakenBack(said) => Err(RuntimeError::Failed {
                    what: said.to_string(),
                    source: None,
                }),
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until a service has so many tasks that run: none, however long they take to end, or a little until all are up.
///
/// # Errors
/// The engine is away, or is too old to count.
pub async fn settle_count(
    host: &Host,
    name: &str,
    replicas: u64,
) -> Result<SafeText, RuntimeError> {
    let started = Instant::now();
    loop {
        let engine = Engine::connect(host).await?;
        let id = api::service(&engine, name).await?.id;
        let Some((running, _)) = api::counts(&engine, &id).await? else {
            return Err(RuntimeError::Failed {
                what: format!("the engine does not count the tasks of {name}"),
                source: None,
            });
        };
        // What does not come up is for the proof to judge.
        let is_over = replicas > 0 && started.elapsed() >= COMES_UP;
        if running == replicas || is_over {
            let text = format!("{running} of {replicas} tasks run");
            return Ok(SafeText::from_text(&text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How an update ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Well(SafeText),
    TakenBack(SafeText),
    Paused(SafeText),
}

/// The end of an update, once it is there.
fn end_of(service: &SwarmService, is_rollback: bool, since: Duration) -> Option<End> {
    let Some(update) = &service.update else {
        let text = SafeText::from_text("swarm had no task to replace");
        return (since > TAKEN_UP).then_some(End::Well(text));
    };
    let said = |what: &str| SafeText::from_text(&format!("swarm {what}: {}", update.message));
    match update.state {
        UpdateState::Completed => Some(End::Well(said("says"))),
        UpdateState::RollbackCompleted if is_rollback => Some(End::Well(said("says"))),
        UpdateState::RollbackCompleted => {
            Some(End::TakenBack(said("took the update back by itself")))
        }
        UpdateState::Paused => Some(End::Paused(said("paused the update"))),
        UpdateState::RollbackPaused => Some(End::Paused(said("paused the rollback"))),
        UpdateState::Updating | UpdateState::RollbackStarted => None,
        UpdateState::Unknown => {
            (since > TAKEN_UP).then(|| End::Paused(said("says a word that is not known")))
        }
    }
}

/// Waits a little until the tasks run that swarm wants: its rollback ends before the last of them is up.
async fn runs(engine: &Engine, id: &str) {
    let started = Instant::now();
    while started.elapsed() < COMES_UP {
        match api::counts(engine, id).await {
            Ok(Some((running, wanted))) if running < wanted => tokio::time::sleep(PAUSE).await,
            _ => return,
        }
    }
}

/// What was seen of a swarm at one time.
struct Seen {
    host: HostName,
    here: HashMap<String, LocalTask>,
    /// The names of the other nodes by their ids.
    nodes: HashMap<String, String>,
    /// Image ids on this node by the names that tasks use.
    images: HashMap<String, String>,
    now: Timestamp,
}

impl Task {
    /// Whether it is to run; what is not is history.
    fn is_wanted(&self) -> bool {
        !matches!(
            self.desired_state.as_str(),
            "shutdown" | "remove" | "complete" | "failed" | "rejected" | "orphaned"
        )
    }

    fn has_failed(&self) -> bool {
        matches!(
            self.status.state.as_str(),
            "failed" | "rejected" | "orphaned"
        )
    }

    fn image(&self) -> Option<&str> {
        self.spec.pointer("/ContainerSpec/Image")?.as_str()
    }

    /// When its state became what it is.
    fn at(&self) -> Option<Timestamp> {
        self.status.timestamp.parse().ok()
    }

    fn state(&self) -> ServiceState {
        match self.status.state.as_str() {
            "running" => ServiceState::Running,
            "complete" | "shutdown" | "remove" => ServiceState::Stopped,
            "failed" | "rejected" | "orphaned" => ServiceState::Failed,
            "new" | "allocated" | "pending" | "assigned" | "accepted" | "preparing" | "ready"
            | "starting" => ServiceState::Starting,
            _ => ServiceState::Unknown,
        }
    }

    /// Which replica it is: its number, or its node where each has one.
    fn place(&self) -> String {
        match self.slot {
            0 => self.node.clone(),
            slot => slot.to_string(),
        }
    }
}

impl Seen {
    fn build(&self, service: &SwarmService, tasks: &[&Task]) -> Service {
        let id = self.id_of(service);
        let mut wanted: Vec<&Task> = tasks.iter().copied().filter(|t| t.is_wanted()).collect();
        wanted.sort_by_key(|task| (task.slot, task.node.clone(), task.created_at.clone()));
        let own_failures = |task: &&&Task| task.has_failed() && is_of(task, &service.spec);
        let failures: Vec<&Task> = tasks.iter().filter(own_failures).copied().collect();
        let instances: Vec<Instance> = wanted
            .iter()
            .map(|task| {
                let failed = failures.iter().filter(|f| f.place() == task.place());
                self.instance(&id, task, failed.count() as u64)
            })
            .collect();
        let mut problems = self.update_problems(service);
        for task in &wanted {
            problems.extend(self.task_problems(&id, task));
        }
        problems.extend(self.failure_problems(&id, &failures));
        let running = |i: &&Instance| i.state == ServiceState::Running;
        let up = instances.iter().filter(running).count() as u64;
        let replicas = service.spec.replicas().unwrap_or(instances.len() as u64);
        let uptime_ms = instances
            .iter()
            .filter(running)
            .filter_map(|i| i.started_at)
            .map(|at| u64::try_from(self.now.duration_since(at).as_millis()).unwrap_or(0))
            .min();
        let crash_loop = self.crash_loop(&failures, uptime_ms);
        if crash_loop == Some(true) {
            problems.push(SafeText::from_text(&format!(
                "crash loop: {} tasks failed",
                failures.len()
            )));
        }
        let mut labels = BTreeMap::from([
            (NAME.to_owned(), service.name.clone()),
            (SPEC.to_owned(), service.spec.digest()),
        ]);
        labels.extend(stack(service).map(|stack| (STACK.to_owned(), stack.to_owned())));
        let is_starting = instances.iter().any(|i| i.state == ServiceState::Starting);
        Service {
            state: match up {
                _ if replicas == 0 => ServiceState::Stopped,
                n if n >= replicas => ServiceState::Running,
                1.. => ServiceState::Partial,
                0 if is_starting => ServiceState::Starting,
                0 => ServiceState::Failed,
            },
            health: instances.iter().filter_map(|i| i.health).max(),
            release: self.release(service, &instances),
            restarts: instances.iter().map(|i| i.restarts).sum(),
            uptime_ms,
            crash_loop,
            problems,
            limits: service.spec.limits(),
            labels,
            instances,
            ..Service::new(id, Runtime::Swarm, ServiceState::Unknown)
        }
    }

    fn id_of(&self, service: &SwarmService) -> ServiceId {
        let stack = stack(service);
        let name = stack
            .and_then(|stack| service.name.strip_prefix(stack)?.strip_prefix('_'))
            .unwrap_or(&service.name);
        ServiceId {
            host: self.host.clone(),
            group: stack.unwrap_or("swarm").to_owned(),
            name: name.to_owned(),
        }
    }

    /// `web.1`, with the node's name where it is another one.
    fn name(&self, id: &ServiceId, task: &Task) -> String {
        let node = self.nodes.get(&task.node).map(String::as_str);
        match (task.slot, node) {
            (0, node) => format!("{}@{}", id.name, node.unwrap_or("this node")),
            (slot, Some(node)) => format!("{}.{slot}@{node}", id.name),
            (slot, None) => format!("{}.{slot}", id.name),
        }
    }

    fn instance(&self, id: &ServiceId, task: &Task, restarts: u64) -> Instance {
        let container = task.status.container_status.as_ref();
        let is_up = task.state() == ServiceState::Running;
        let known = Instance {
            id: container
                .map(|c| c.id.clone())
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| task.id.clone()),
            name: SafeText::from_text(&self.name(id, task)),
            state: task.state(),
            health: None,
            image_id: task.image().and_then(|image| self.image_elsewhere(image)),
            created_at: task.created_at.parse().ok(),
            started_at: task.at().filter(|_| is_up),
            restarts,
            exit_code: container.filter(|_| !is_up).map(|c| c.exit_code),
        };
        // What runs here is asked of its container: its image by id, its health check.
        match self.here.get(&task.id).filter(|_| is_up) {
            Some(here) => Instance {
                name: known.name,
                restarts,
                ..here.instance.clone()
            },
            None => known,
        }
    }

    /// The image id that a task of another node runs: only a name with a digest means the same there.
    fn image_elsewhere(&self, reference: &str) -> Option<String> {
        let (_, digest) = reference.split_once('@')?;
        let here = self.images.get(reference);
        Some(here.cloned().unwrap_or_else(|| digest.to_owned()))
    }

    fn release(&self, service: &SwarmService, instances: &[Instance]) -> Release {
        let reference = service.spec.image().unwrap_or_default();
        let name = reference.split('@').next().unwrap_or(reference);
        let runs = instances
            .iter()
            .filter_map(|i| i.image_id.clone())
            .next_back();
        let digest = runs
            .or_else(|| self.images.get(reference).cloned())
            .or_else(|| {
                reference
                    .split_once('@')
                    .map(|(_, digest)| digest.to_owned())
            });
        Release {
            image: (!name.is_empty()).then(|| SafeText::from_text(name)),
            digest,
            ..Release::default()
        }
    }

    /// What swarm does by itself is told as what it is.
    fn update_problems(&self, service: &SwarmService) -> Vec<SafeText> {
        let Some(update) = &service.update else {
            return Vec::new();
        };
        let said = &update.message;
        let text = match update.state {
            UpdateState::Updating => "swarm is replacing its tasks".to_owned(),
            UpdateState::Paused => format!("swarm paused its update: {said}"),
            UpdateState::RollbackStarted => format!("swarm is taking its update back: {said}"),
            UpdateState::RollbackPaused => {
                format!("swarm paused in the middle of taking its update back: {said}")
            }
            UpdateState::RollbackCompleted if service.was_rolled_back_by_itself() => {
                "swarm took its last update back by itself: what runs is the release before it"
                    .to_owned()
            }
            _ => return Vec::new(),
        };
        vec![SafeText::from_text(&text)]
    }

    fn task_problems(&self, id: &ServiceId, task: &Task) -> Vec<SafeText> {
        let name = self.name(id, task);
        match self.here.get(&task.id) {
            Some(here) if task.state() == ServiceState::Running => {
                let own = &here.instance.name;
                let renamed =
                    |problem: &SafeText| problem.as_str().replacen(own.as_str(), &name, 1);
                let all = here.problems.iter().map(renamed);
                all.map(|text| SafeText::from_text(&text)).collect()
            }
            // No node fits, the image cannot be had.
            _ if !task.status.err.is_empty() => {
                vec![SafeText::from_text(&format!(
                    "{name} is {}: {}",
                    task.status.state, task.status.err
                ))]
            }
            _ => Vec::new(),
        }
    }

    /// The newest failure of each replica, with how many there were.
    fn failure_problems(&self, id: &ServiceId, failures: &[&Task]) -> Vec<SafeText> {
        let mut places: BTreeMap<String, Vec<&Task>> = BTreeMap::new();
        for task in failures {
            places.entry(task.place()).or_default().push(task);
        }
        let newest = places.values().filter_map(|all| {
            let newest = all.iter().max_by_key(|task| task.at())?;
            let age = self.now.duration_since(newest.at()?);
            if age > TOLD_FOR {
                return None;
            }
            let why = match newest.status.err.as_str() {
                "" => &newest.status.message,
                err => err,
            };
            let text = format!(
                "{} failed {} times, last {} s ago: {why}",
                self.name(id, newest),
                all.len(),
                age.as_secs().max(0)
            );
            Some(SafeText::from_text(&text))
        });
        newest.collect()
    }

    /// A replica whose tasks fail again and again; not to be told yet where one just did.
    fn crash_loop(&self, failures: &[&Task], uptime_ms: Option<u64>) -> Option<bool> {
        let mut recent: BTreeMap<String, u32> = BTreeMap::new();
        for task in failures {
            let is_recent = |at: Timestamp| self.now.duration_since(at) <= LOOP_SPAN;
            if task.at().is_some_and(is_recent) {
                *recent.entry(task.place()).or_default() += 1;
            }
        }
        let is_young =
            uptime_ms.is_none_or(|up| u128::from(up) < LOOP_SPAN.unsigned_abs().as_millis());
        match recent.values().max() {
            Some(2..) => Some(true),
            Some(_) if is_young => None,
            _ => Some(false),
        }
    }
}

fn stack(service: &SwarmService) -> Option<&str> {
    let label = service.spec.0.pointer("/Labels")?.get(STACK)?.as_str()?;
    let is_name = !label.is_empty()
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    is_name.then_some(label)
}

/// Whether a task was made for this very specification: those of an earlier one say nothing of what runs now.
fn is_of(task: &Task, spec: &SwarmSpec) -> bool {
    let template = spec.0.pointer("/TaskTemplate");
    let own = |name: &str| template.and_then(|t| t.get(name));
    ["ContainerSpec", "ForceUpdate"]
        .iter()
        .all(|name| task.spec.get(*name) == own(name))
}

#[cfg(test)]
mod tests;
