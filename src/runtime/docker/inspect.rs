//! What runs: containers, grouped into services by the labels that Compose and Swarm put on them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, HostConfig,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::InspectContainerOptions;
use jiff::Timestamp;
use serde::Deserialize;

use super::connect::{Engine, explain, parse_reply};
use super::remembered;
use crate::domain::health::HealthState;
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{
    ComposeOrigin, Instance, Release, Runtime, RuntimeLimits, Service, ServiceId, ServiceState,
    exact_bytes,
};
use crate::host::Host;
use crate::runtime::RuntimeError;

pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
const VERSION: &str = "com.docker.compose.version";
pub(super) const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const SWARM_STACK: &str = "com.docker.stack.namespace";
/// A container younger than this may still turn out to be in a crash loop.
const YOUNG_MS: u64 = 60_000;
/// Between two health checks, and for one, where nothing else is said.
const HEALTH_EVERY_MS: u64 = 30_000;
/// So many that fail in a row are a decision, where nothing else is said.
const HEALTH_RETRIES: i64 = 3;

/// The containers of one service as they are now, the oldest first.
///
/// # Errors
/// The engine is unreachable or refused.
pub(super) async fn containers_of(
    engine: &Engine,
    service: &Service,
) -> Result<Vec<ContainerInspectResponse>, RuntimeError> {
    let filter = match service.runtime {
        Runtime::Compose => HashMap::from([(
            "label".to_owned(),
            vec![
                format!("{PROJECT}={}", service.id.group),
                format!("{SERVICE}={}", service.id.name),
            ],
        )]),
        Runtime::Swarm => HashMap::from([(
            "label".to_owned(),
            service
                .labels
                .get(SWARM_SERVICE)
                .map(|name| vec![format!("{SWARM_SERVICE}={name}")])
                .unwrap_or_default(),
        )]),
        // The engine's name filter is a regular expression; a container's name has no special characters but `.`.
        _ => HashMap::from([(
            "name".to_owned(),
            vec![format!("^/{}$", service.id.name.replace('.', "\\."))],
        )]),
    };
    let mut found = engine.quick(containers(engine, &filter)).await?;
    found.retain(|c| !is_one_off(c));
    found.sort_by(|a, b| a.created.cmp(&b.created));
    Ok(found)
}

/// The containers that a filter of the engine lets through, stopped ones too.
///
/// # Errors
/// The engine is unreachable or refused.
pub(super) async fn containers(
    engine: &Engine,
    filters: &HashMap<String, Vec<String>>,
) -> Result<Vec<ContainerInspectResponse>, RuntimeError> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "Id")]
        id: String,
    }
    let mut path = "/containers/json?all=true".to_owned();
    if !filters.is_empty() {
        let json = serde_json::to_vec(filters)
            .map_err(|error| RuntimeError::failed("cannot write a filter", error))?;
        path.push_str("&filters=");
        path.extend(json.iter().map(|byte| format!("%{byte:02X}")));
    }
    let listed: Vec<Listed> = engine.get_json(&path).await?;
    let ids: Vec<String> = listed.into_iter().map(|container| container.id).collect();
    inspected(engine, &ids).await
}

/// The containers with these ids; one that is gone is left out.
///
/// # Errors
/// The engine is unreachable or refused.
pub(super) async fn inspected(
    engine: &Engine,
    ids: &[String],
) -> Result<Vec<ContainerInspectResponse>, RuntimeError> {
    let paths: Vec<String> = ids
        .iter()
        .map(|id| format!("/containers/{id}/json"))
        .collect();
    let replies = engine.get_all(&paths).await?;
    let mut found = Vec::with_capacity(replies.len());
    for (path, reply) in paths.iter().zip(&replies) {
        match parse_reply::<ContainerInspectResponse>(path, reply) {
            Ok(container) => {
                remembered::container_seen(&container);
                found.push(container);
            }
            // It went away between the list and the look.
            Err(RuntimeError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One container as the engine knows it, by id or name.
///
/// # Errors
/// [`RuntimeError::NotFound`], or the engine is unreachable or refused.
pub async fn inspect_container(
    engine: &Engine,
    id: &str,
) -> Result<ContainerInspectResponse, RuntimeError> {
    engine
        .docker
        .inspect_container(id, None::<InspectContainerOptions>)
        .await
        .map_err(|e| explain(&format!("inspect the container {id}"), e))
}

/// The image id (`sha256:…`) that a name, a tag or an id stands for now; `None` where there is no such image.
///
/// # Errors
/// The engine is unreachable or refused.
pub async fn image_id(host: &Host, reference: &str) -> Result<Option<String>, RuntimeError> {
    let ask = |engine| ask_image_id(engine, reference);
    host.again(|| Engine::ask(host, ask)).await
}

async fn ask_image_id(engine: Engine, reference: &str) -> Result<Option<String>, RuntimeError> {
    let inspected = engine.quick(async {
        engine
            .docker
            .inspect_image(reference)
            .await
            .map_err(|e| explain(&format!("inspect the image {reference}"), e))
    });
    match inspected.await {
        Ok(image) => Ok(image.id),
        Err(RuntimeError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn label<'a>(container: &'a ContainerInspectResponse, name: &str) -> Option<&'a str> {
    container
        .config
        .as_ref()?
        .labels
        .as_ref()?
        .get(name)
        .map(String::as_str)
        .filter(|v| !v.is_empty())
}

fn is_one_off(container: &ContainerInspectResponse) -> bool {
    label(container, ONE_OFF).is_some_and(|v| v.eq_ignore_ascii_case("true"))
}

/// Names are part of ids, paths and commands: anyone can put anything into a label, so one with other characters
/// than Compose itself allows is not believed.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn identify(host: &HostName, container: &ContainerInspectResponse) -> (Runtime, ServiceId) {
    let id = |group: &str, name: &str| ServiceId {
        host: host.clone(),
        group: group.to_owned(),
        name: name.to_owned(),
    };
    if let (Some(project), Some(service)) = (label(container, PROJECT), label(container, SERVICE))
        && is_name(project)
        && is_name(service)
    {
        return (Runtime::Compose, id(project, service));
    }
    if let Some(full) = label(container, SWARM_SERVICE).filter(|n| is_name(n)) {
        let stack = label(container, SWARM_STACK).filter(|n| is_name(n));
        let name = stack
            .and_then(|s| full.strip_prefix(s)?.strip_prefix('_'))
            .unwrap_or(full);
        return (Runtime::Swarm, id(stack.unwrap_or("swarm"), name));
    }
    let name = container_name(container);
    (Runtime::Docker, id("docker", &name))
}

/// The container's name without the slash that the engine puts in front; its short id where it has none.
pub(super) fn container_name(container: &ContainerInspectResponse) -> String {
    let name = container.name.as_deref().unwrap_or_default();
    let name = name.strip_prefix('/').unwrap_or(name);
    if is_name(name) {
        return name.to_owned();
    }
    let id = container.id.as_deref().unwrap_or("unnamed");
    crate::domain::service::short_id(id).to_owned()
}

/// The services that containers are, without one-off containers.
pub(super) fn group<'a>(
    host: &HostName,
    containers: impl IntoIterator<Item = &'a ContainerInspectResponse>,
    now: Timestamp,
) -> Vec<Service> {
    let mut services: BTreeMap<ServiceId, (Runtime, Vec<&ContainerInspectResponse>)> =
        BTreeMap::new();
    for container in containers.into_iter().filter(|c| !is_one_off(c)) {
        let (runtime, id) = identify(host, container);
        services
            .entry(id)
            .or_insert_with(|| (runtime, Vec::new()))
            .1
            .push(container);
    }
    services
        .into_iter()
        .map(|(id, (runtime, mut containers))| {
            if runtime == Runtime::Swarm {
                leave_out_old_tasks(&mut containers);
            }
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            service(id, runtime, &containers, now)
        })
        .collect()
}

/// Swarm keeps the containers of ended tasks: they are history, not replicas, as long as one runs.
fn leave_out_old_tasks(containers: &mut Vec<&ContainerInspectResponse>) {
    let runs =
        |c: &ContainerInspectResponse| c.state.as_ref().and_then(|s| s.running).unwrap_or(false);
    if containers.iter().any(|c| runs(c)) {
        containers.retain(|c| runs(c));
    }
}

fn service(
    id: ServiceId,
    runtime: Runtime,
    containers: &[&ContainerInspectResponse],
    now: Timestamp,
) -> Service {
    let instances: Vec<Instance> = containers.iter().map(|c| instance(c)).collect();
    let mut problems: Vec<SafeText> = containers.iter().flat_map(|c| problems_of(c)).collect();
    let newest = containers
        .iter()
        .copied()
        .max_by(|a, b| a.created.cmp(&b.created));
    let digests: std::collections::BTreeSet<&str> = instances
        .iter()
        .filter_map(|i| i.image_id.as_deref())
        .collect();
    if digests.len() > 1 {
        problems.push(SafeText::from_text(&format!(
            "its {} instances run {} different images",
            instances.len(),
            digests.len()
        )));
    }
    let uptime_ms = instances
        .iter()
        .filter(|i| i.state == ServiceState::Running)
        .filter_map(|i| i.started_at)
        .map(|at| age_ms(at, now))
        .min();
    let restarts = instances.iter().map(|i| i.restarts).sum();
    let state = sum_up(&instances);
    let crash_loop = crash_loop(containers, uptime_ms, restarts);
    if crash_loop == Some(true) {
        problems.push(SafeText::from_text(&format!(
            "crash loop: restarted {restarts} times"
        )));
    }
    let compose = newest.and_then(|c| compose_origin(c, runtime));
    if compose.as_ref().is_some_and(ComposeOrigin::is_version_1) {
        problems.push(SafeText::from_text(
            "created by Compose 1, which Compose 2 would recreate whole: it is shown and not changed",
        ));
    }
    Service {
        health: instances.iter().filter_map(|i| i.health).max(),
        release: newest.map(release).unwrap_or_default(),
        restarts,
        uptime_ms,
        crash_loop,
        cpu: None,
        memory_bytes: None,
        decides_within_ms: containers.iter().filter_map(|c| decides_within_ms(c)).max(),
        problems,
        compose,
        labels: newest.map(kept_labels).unwrap_or_default(),
        limits: newest
            .map(|c| limits(c, containers.len()))
            .unwrap_or_default(),
        id,
        runtime,
        state,
        instances,
    }
}

/// What the engine allows a container, and how many of them there are.
fn limits(container: &ContainerInspectResponse, replicas: usize) -> RuntimeLimits {
    let mut limits = RuntimeLimits::new();
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            limits.insert(name.to_owned(), value);
        }
    };
    set("replicas", Some(replicas.to_string()));
    let Some(host) = &container.host_config else {
        return limits;
    };
    let positive = |value: Option<i64>| u64::try_from(value?).ok().filter(|v| *v > 0);
    set("memory", positive(host.memory).map(exact_bytes));
    set("cpus", own_cores(host).map(|cores| format!("{cores}")));
    set("pids", positive(host.pids_limit).map(|n| n.to_string()));
    let restarts = host.restart_policy.as_ref().and_then(|policy| {
        let name = policy.name?;
        Some(match policy.maximum_retry_count {
            Some(count) if count > 0 => format!("{name}:{count}"),
            _ => name.to_string(),
        })
    });
    set("restarts", restarts.filter(|r| !r.is_empty()));
    limits
}

/// The cores that a container may use; `None` where it may use all.
pub(super) fn own_cores(host: &HostConfig) -> Option<f64> {
    let nano = host.nano_cpus.filter(|n| *n > 0).map(|n| n as f64 / 1e9);
    let quota = match (host.cpu_quota, host.cpu_period) {
        (Some(quota), period) if quota > 0 => {
            let period = period.filter(|p| *p > 0).unwrap_or(100_000);
            Some(quota as f64 / period as f64)
        }
        _ => None,
    };
    nano.or(quota)
}

fn kept_labels(container: &ContainerInspectResponse) -> BTreeMap<String, String> {
    container
        .config
        .iter()
        .filter_map(|c| c.labels.as_ref())
        .flatten()
        .filter(|(name, _)| name.starts_with("com.docker."))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn compose_origin(container: &ContainerInspectResponse, runtime: Runtime) -> Option<ComposeOrigin> {
    if runtime != Runtime::Compose {
        return None;
    }
    let working_dir = PathBuf::from(label(container, WORKING_DIR).unwrap_or_default());
    // Compose 1 wrote them relative to the working folder, Compose 2 absolute.
    let config_files = label(container, CONFIG_FILES)
        .unwrap_or_default()
        .split(',')
        .filter(|f| !f.is_empty())
        .map(|f| working_dir.join(f))
        .collect();
    Some(ComposeOrigin {
        project: label(container, PROJECT)?.to_owned(),
        service: label(container, SERVICE)?.to_owned(),
        config_files,
        working_dir,
        version: label(container, VERSION).map(str::to_owned),
    })
}

fn release(container: &ContainerInspectResponse) -> Release {
    Release {
        image: container
            .config
            .as_ref()
            .and_then(|c| c.image.as_deref())
            .map(SafeText::from_text),
        digest: container.image.clone(),
        git: None,
        path: None,
    }
}

pub(super) fn instance(container: &ContainerInspectResponse) -> Instance {
    let state = container.state.as_ref();
    Instance {
        id: container.id.clone().unwrap_or_default(),
        name: SafeText::from_text(&container_name(container)),
        state: state_of(container),
        health: health_of(container),
        image_id: container.image.clone(),
        created_at: container.created.as_deref().and_then(instant),
        started_at: state.and_then(|s| instant(s.started_at.as_deref()?)),
        restarts: container
            .restart_count
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
        exit_code: state
            .filter(|s| s.running == Some(false))
            .and_then(|s| s.exit_code),
    }
}

/// The engine writes `0001-01-01T00:00:00Z` for "never".
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().filter(|t| t.as_second() > 0)
}

fn age_ms(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(at).as_millis()).unwrap_or(0)
}

fn state_of(container: &ContainerInspectResponse) -> ServiceState {
    let Some(state) = &container.state else {
        return ServiceState::Unknown;
    };
    match state.status {
        Some(ContainerStateStatusEnum::RUNNING) => ServiceState::Running,
        Some(ContainerStateStatusEnum::PAUSED) => ServiceState::Paused,
        Some(ContainerStateStatusEnum::RESTARTING) => ServiceState::Starting,
        Some(ContainerStateStatusEnum::CREATED) => match state.exit_code {
            Some(0) | None => ServiceState::Stopped,
            // The engine could not start it at all: no such program, no such port.
            Some(_) => ServiceState::Failed,
        },
        Some(ContainerStateStatusEnum::EXITED) if ended_on_request(container) => {
            ServiceState::Stopped
        }
        Some(
            ContainerStateStatusEnum::EXITED
            | ContainerStateStatusEnum::DEAD
            | ContainerStateStatusEnum::REMOVING,
        ) => ServiceState::Failed,
        _ => ServiceState::Unknown,
    }
}

/// The engine does not say who ended a container. It was on request if the exit code is that of a normal or a
/// terminated end, or if a restart policy would have started it again.
fn ended_on_request(container: &ContainerInspectResponse) -> bool {
    let Some(state) = &container.state else {
        return false;
    };
    if state.oom_killed == Some(true) {
        return false;
    }
    let always = container
        .host_config
        .as_ref()
        .and_then(|h| h.restart_policy.as_ref()?.name)
        .is_some_and(|name| {
            matches!(
                name,
                RestartPolicyNameEnum::ALWAYS | RestartPolicyNameEnum::UNLESS_STOPPED
            )
        });
    always || matches!(state.exit_code, Some(0 | 130 | 143))
}

fn health_of(container: &ContainerInspectResponse) -> Option<HealthState> {
    let state = container.state.as_ref()?;
    match state.health.as_ref()?.status? {
        HealthStatusEnum::HEALTHY => Some(HealthState::Healthy),
        // Not known yet: neither good nor bad.
        HealthStatusEnum::STARTING => Some(HealthState::Degraded),
        HealthStatusEnum::UNHEALTHY => Some(HealthState::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

/// Until its health check must have decided: it may fail all through its start, then as often as it is tried.
fn decides_within_ms(container: &ContainerInspectResponse) -> Option<u64> {
    let check = container.config.as_ref()?.healthcheck.as_ref()?;
    let kind = check.test.as_ref()?.first()?;
    if kind == "NONE" {
        return None;
    }
    // Nanoseconds; 0 stands for what the engine takes.
    let ms = |span: Option<i64>, usual: u64| match span {
        Some(span) if span > 0 => u64::try_from(span).unwrap_or_default() / 1_000_000,
        _ => usual,
    };
    let tries = check.retries.filter(|n| *n > 0).unwrap_or(HEALTH_RETRIES);
    let each =
        ms(check.interval, HEALTH_EVERY_MS).saturating_add(ms(check.timeout, HEALTH_EVERY_MS));
    let tries = u64::try_from(tries).unwrap_or(u64::MAX).saturating_add(1);
    Some(ms(check.start_period, 0).saturating_add(each.saturating_mul(tries)))
}

fn sum_up(instances: &[Instance]) -> ServiceState {
    let has = |state| instances.iter().any(|i| i.state == state);
    let all = |state| instances.iter().all(|i| i.state == state);
    match instances {
        [] => ServiceState::Unknown,
        [first, ..] if all(first.state) => first.state,
        _ if has(ServiceState::Running) => ServiceState::Partial,
        _ if has(ServiceState::Failed) => ServiceState::Failed,
        _ if has(ServiceState::Starting) => ServiceState::Starting,
        _ => ServiceState::Stopped,
    }
}

fn crash_loop(
    containers: &[&ContainerInspectResponse],
    uptime_ms: Option<u64>,
    restarts: u64,
) -> Option<bool> {
    let is_restarting = containers
        .iter()
        .any(|c| c.state.as_ref().and_then(|s| s.restarting) == Some(true));
    match uptime_ms {
        _ if is_restarting && restarts > 0 => Some(true),
        _ if is_restarting => None,
        Some(up) if up < YOUNG_MS && restarts > 0 => None,
        _ => Some(false),
    }
}

pub(super) fn problems_of(container: &ContainerInspectResponse) -> Vec<SafeText> {
    let mut problems = Vec::new();
    let name = container_name(container);
    let mut add = |text: String| problems.push(SafeText::from_text(&text));
    let Some(state) = &container.state else {
        return vec![SafeText::from_text(&format!("{name}: state unknown"))];
    };
    if state.oom_killed == Some(true) {
        add(format!("{name}: killed for lack of memory"));
    }
    match state_of(container) {
        ServiceState::Failed => {
            let code = state.exit_code.unwrap_or(-1);
            add(format!("{name}: ended with exit {code}"));
        }
        ServiceState::Starting => add(format!(
            "{name}: restarting after exit {}",
            state.exit_code.unwrap_or(-1)
        )),
        ServiceState::Paused => add(format!("{name}: paused")),
        ServiceState::Stopped => add(format!("{name}: stopped")),
        _ => {}
    }
    if let Some(error) = state.error.as_deref().filter(|e| !e.is_empty()) {
        add(format!("{name}: {error}"));
    }
    if health_of(container) == Some(HealthState::Unhealthy) {
        let output = state
            .health
            .as_ref()
            .and_then(|h| h.log.as_ref()?.last()?.output.as_deref())
            .unwrap_or_default();
        let first_line = output.lines().find(|line| !line.trim().is_empty());
        let said = first_line.unwrap_or("it printed nothing");
        add(format!("{name}: health check fails: {said}"));
    }
    problems
}

#[cfg(test)]
mod tests;
