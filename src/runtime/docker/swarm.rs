//! What the manager of a swarm says, and what is asked of it: services, tasks, nodes.
//!
//! Read over our own connection and not into bollard's types: a specification is written back as it came.

use std::collections::HashMap;

use bollard::models::ContainerInspectResponse;
use serde::Deserialize;
use serde_json::Value;

use super::connect::Engine;
use super::inspect::{SWARM_SERVICE, containers, instance, label, problems_of};
use crate::audit::Permit;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Instance, Service};
use crate::domain::swarm::{SwarmService, SwarmSpec, SwarmUpdate, UpdateState};
use crate::runtime::RuntimeError;

/// What every node says that manages no swarm, whether it works in one or not.
const NO_MANAGER: &str = "This node is not a swarm manager";
const TASK_ID: &str = "com.docker.swarm.task.id";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceAnswer {
    #[serde(rename = "ID")]
    id: String,
    version: Version,
    spec: Value,
    previous_spec: Option<Value>,
    update_status: Option<UpdateAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAnswer {
    state: Option<UpdateState>,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Counted {
    service_status: Option<Counts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Counts {
    running_tasks: u64,
    desired_tasks: u64,
}

/// A task: one run of one replica, also one that is over.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::runtime) struct Task {
    #[serde(rename = "ID")]
    pub(in crate::runtime) id: String,
    #[serde(rename = "ServiceID", default)]
    pub(in crate::runtime) service: String,
    /// Which replica; none where every node has one task.
    #[serde(default)]
    pub(in crate::runtime) slot: u64,
    #[serde(rename = "NodeID", default)]
    pub(in crate::runtime) node: String,
    pub(in crate::runtime) created_at: String,
    pub(in crate::runtime) desired_state: String,
    pub(in crate::runtime) status: TaskStatus,
    #[serde(default)]
    pub(in crate::runtime) spec: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::runtime) struct TaskStatus {
    pub(in crate::runtime) timestamp: String,
    pub(in crate::runtime) state: String,
    #[serde(default)]
    pub(in crate::runtime) message: String,
    #[serde(default)]
    pub(in crate::runtime) err: String,
    #[serde(default)]
    pub(in crate::runtime) container_status: Option<TaskContainer>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::runtime) struct TaskContainer {
    #[serde(rename = "ContainerID", default)]
    pub(in crate::runtime) id: String,
    #[serde(default)]
    pub(in crate::runtime) exit_code: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeAnswer {
    #[serde(rename = "ID")]
    id: String,
    description: Option<NodeDescription>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeDescription {
    #[serde(default)]
    hostname: String,
}

/// A task's container on this very node.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct LocalTask {
    pub(in crate::runtime) instance: Instance,
    pub(in crate::runtime) problems: Vec<SafeText>,
}

/// Every service of the swarm; `None` where this node manages none.
///
/// # Errors
/// The engine is away, or the swarm has no leader or is locked.
pub(in crate::runtime) async fn services(
    engine: &Engine,
) -> Result<Option<Vec<SwarmService>>, RuntimeError> {
    match engine.get_json::<Vec<ServiceAnswer>>("/services").await {
        Ok(all) => Ok(Some(all.into_iter().map(read).collect())),
        Err(error) if error.to_string().contains(NO_MANAGER) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One service, by name or id.
///
/// # Errors
/// [`RuntimeError::NotFound`], or the engine is away or manages no swarm.
pub(in crate::runtime) async fn service(
    engine: &Engine,
    name: &str,
) -> Result<SwarmService, RuntimeError> {
    let path = format!("/services/{name}");
    engine.get_json(&path).await.map(read)
}

fn read(answer: ServiceAnswer) -> SwarmService {
    let name = answer.spec.get("Name").and_then(Value::as_str);
    SwarmService {
        name: name.unwrap_or(&answer.id).to_owned(),
        id: answer.id,
        version: answer.version.index,
        spec: SwarmSpec(answer.spec),
        previous: answer.previous_spec.map(SwarmSpec),
        update: answer.update_status.and_then(|update| {
            Some(SwarmUpdate {
                state: update.state?,
                message: update.message,
            })
        }),
    }
}

/// How many tasks of a service run, and how many are wanted; `None` where the engine is too old to count.
///
/// # Errors
/// The engine is away or manages no swarm.
pub(in crate::runtime) async fn counts(
    engine: &Engine,
    id: &str,
) -> Result<Option<(u64, u64)>, RuntimeError> {
    // `{"id":["…"]}`; an id is letters and digits.
    let path = format!("/services?status=true&filters=%7B%22id%22%3A%5B%22{id}%22%5D%7D");
    let found: Vec<Counted> = engine.get_json(&path).await?;
    let status = found
        .into_iter()
        .next()
        .and_then(|found| found.service_status);
    Ok(status.map(|counts| (counts.running_tasks, counts.desired_tasks)))
}

/// Every task that the manager remembers, of every service.
///
/// # Errors
/// The engine is away or manages no swarm.
pub(in crate::runtime) async fn tasks(engine: &Engine) -> Result<Vec<Task>, RuntimeError> {
    engine.get_json("/tasks").await
}

/// The names of the nodes by their ids.
///
/// # Errors
/// The engine is away or manages no swarm.
pub(in crate::runtime) async fn nodes(
    engine: &Engine,
) -> Result<HashMap<String, String>, RuntimeError> {
    let all: Vec<NodeAnswer> = engine.get_json("/nodes").await?;
    let names = all.into_iter().map(|node| {
        let name = node.description.map(|d| d.hostname).unwrap_or_default();
        (node.id, name)
    });
    Ok(names.collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    swarm: SwarmInfo,
}

#[derive(Deserialize)]
struct SwarmInfo {
    #[serde(rename = "NodeID", default)]
    node: String,
}

/// The id of this node.
///
/// # Errors
/// The engine is away.
pub(in crate::runtime) async fn own_node(engine: &Engine) -> Result<String, RuntimeError> {
    let info: Info = engine.get_json("/info").await?;
    Ok(info.swarm.node)
}

/// The containers of tasks on this node, ended ones too, by the id of their task.
///
/// # Errors
/// The engine is away.
pub(in crate::runtime) async fn local_tasks(
    engine: &Engine,
) -> Result<HashMap<String, LocalTask>, RuntimeError> {
    let filter = HashMap::from([("label".to_owned(), vec![SWARM_SERVICE.to_owned()])]);
    let found = containers(engine, &filter).await?;
    let tasks = found.iter().filter_map(|container| {
        let task = LocalTask {
            instance: instance(container),
            problems: problems_of(container),
        };
        Some((label(container, TASK_ID)?.to_owned(), task))
    });
    Ok(tasks.collect())
}

/// The tasks of a service on other nodes, whose logs come through the manager; none where this node manages no swarm.
///
/// # Errors
/// The engine is away.
pub(super) async fn tasks_elsewhere(
    engine: &Engine,
    service: &Service,
    here: &[ContainerInspectResponse],
) -> Result<Vec<Task>, RuntimeError> {
    let Some(name) = service.labels.get(SWARM_SERVICE) else {
        return Ok(Vec::new());
    };
    let id = match self::service(engine, name).await {
        Ok(service) => service.id,
        // A worker sees what runs on it.
        Err(error) if error.to_string().contains(NO_MANAGER) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut tasks = tasks(engine).await?;
    let is_here = |task: &Task| here.iter().any(|c| label(c, TASK_ID) == Some(&*task.id));
    tasks.retain(|task| task.service == id && task.has_started() && !is_here(task));
    tasks.sort_by(|a, b| a.created_at.cmp(&b.created_at));
    Ok(tasks)
}

impl Task {
    /// Whether it has a container, so that there can be a log.
    pub(in crate::runtime) fn has_started(&self) -> bool {
        let container = self.status.container_status.as_ref();
        container.is_some_and(|container| !container.id.is_empty())
    }

    /// Whether its container writes to a terminal.
    pub(super) fn is_tty(&self) -> bool {
        let tty = self.spec.pointer("/ContainerSpec/TTY");
        tty.and_then(Value::as_bool) == Some(true)
    }
}

/// Gives a service a specification, if it still is of that version. Swarm has begun when this returns, not more.
///
/// # Errors
/// It was changed since, the specification is refused, or the engine is away.
pub(in crate::runtime) async fn update(
    engine: &Engine,
    _permit: &Permit,
    service: &SwarmService,
    spec: &SwarmSpec,
    is_rollback: bool,
) -> Result<(), RuntimeError> {
    let mut path = format!(
        "/services/{}/update?version={}&registryAuthFrom=spec",
        service.id, service.version
    );
    if is_rollback {
        path.push_str("&rollback=previous");
    }
    let answer: Value = engine.post_json(&path, &spec.to_bytes()).await?;
    // It goes on with warnings such as an image that no registry knows.
    drop(answer);
    Ok(())
}
