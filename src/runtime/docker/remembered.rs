//! What was learnt of an engine and its containers a moment ago, for those who ask again and again: the version that it
//! speaks, and what measuring and reading a log need to know of a container.
//!
//! Whoever watches twenty services looks at all of them with one list, and then measures each: it would otherwise list and
//! inspect each of them twice more, every few seconds. What is remembered is proved by its use: a process that is not the
//! container's, a log that is not there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::ContainerInspectResponse;

use super::connect::{Address, Engine};
use super::inspect::{containers_of, own_cores};
use crate::domain::host::HostName;
use crate::domain::service::{Runtime, Service};
use crate::runtime::RuntimeError;

/// What is known of a container that is older is asked for again: twice as long as two looks at the services lie apart.
const FRESH: Duration = Duration::from_secs(60);
/// More containers than a machine runs are those of the past.
const MOST: usize = 1_000;

#[derive(Debug)]
struct KnownEngine {
    address: Address,
    docker: Docker,
}

/// By host.
static ENGINES: Mutex<BTreeMap<HostName, KnownEngine>> = Mutex::new(BTreeMap::new());
/// By id, which no two containers share.
static CONTAINERS: Mutex<BTreeMap<String, (Instant, Facts)>> = Mutex::new(BTreeMap::new());

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine answered, and a version was agreed on.
pub(super) fn engine_answered(host: &HostName, address: &Address, docker: &Docker) {
    let known = KnownEngine {
        address: address.clone(),
        docker: docker.clone(),
    };
    lock(&ENGINES).insert(host.clone(), known);
}

/// The engine that answered at this address last. It may be away since, or another: whoever asks it is told so.
pub(super) fn engine(host: &HostName, address: &Address) -> Option<Docker> {
    let engines = lock(&ENGINES);
    let known = engines.get(host)?;
    (known.address == *address).then(|| known.docker.clone())
}

/// It did not answer.
pub(super) fn forget_engine(host: &HostName) {
    lock(&ENGINES).remove(host);
}

/// What measuring and reading a log need to know of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    pub(super) id: String,
    /// Whether its log is that of a terminal.
    pub(super) is_tty: bool,
    pub(super) is_running: bool,
    /// Its first process, as its machine counts.
    pub(super) pid: Option<i64>,
    /// The cores that it may use; `None` where it may use all.
    pub(super) own_cores: Option<f64>,
}

impl Facts {
    pub(super) fn of(container: &ContainerInspectResponse) -> Self {
        let state = container.state.as_ref();
        Self {
            id: container.id.clone().unwrap_or_default(),
            is_tty: container.config.as_ref().and_then(|c| c.tty) == Some(true),
            is_running: state.and_then(|state| state.running) == Some(true),
            pid: state.and_then(|state| state.pid).filter(|pid| *pid > 0),
            own_cores: container.host_config.as_ref().and_then(own_cores),
        }
    }
}

/// A look saw a container.
pub(super) fn container_seen(container: &ContainerInspectResponse) {
    let facts = Facts::of(container);
    let mut all = lock(&CONTAINERS);
    if all.len() >= MOST {
        all.retain(|_, (at, _)| at.elapsed() < FRESH);
    }
    all.insert(facts.id.clone(), (Instant::now(), facts));
}

/// What is known of the containers of a service that a look has just found, the oldest first; `None` where it is too old, or
/// was never known. Of a swarm's service the node has more containers than it has instances.
pub(super) fn facts(service: &Service) -> Option<Vec<Facts>> {
    if service.runtime == Runtime::Swarm || service.instances.is_empty() {
        return None;
    }
    let mut instances: Vec<_> = service.instances.iter().collect();
    instances.sort_by_key(|instance| instance.created_at);
    let all = lock(&CONTAINERS);
    let known = instances.into_iter().map(|instance| {
        let (at, facts) = all.get(&instance.id)?;
        (at.elapsed() < FRESH).then(|| facts.clone())
    });
    known.collect()
}

/// What there is to know of the containers of a service now.
///
/// # Errors
/// The engine is unreachable or refused.
pub(super) async fn facts_anew(
    engine: &Engine,
    service: &Service,
) -> Result<Vec<Facts>, RuntimeError> {
    let containers = containers_of(engine, service).await?;
    Ok(containers.iter().map(Facts::of).collect())
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;
    use crate::domain::service::{ServiceId, ServiceState};
    use crate::runtime::docker::inspect::instance;

    fn seen(id: &str, pid: i64) -> ContainerInspectResponse {
        ContainerInspectResponse {
            id: Some(id.to_owned()),
            state: Some(ContainerState {
                running: Some(pid > 0),
                pid: Some(pid),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    fn service(ids: &[&str]) -> Service {
        Service {
            instances: ids.iter().map(|id| instance(&seen(id, 1))).collect(),
            ..Service::new(
                ServiceId::local("shop", "api"),
                Runtime::Compose,
                ServiceState::Running,
            )
        }
    }

    #[test]
    fn the_newest_look_counts_and_a_container_that_none_saw_is_not_known() {
        let pids = |service: &Service| {
            let found = facts(service)?;
            Some(found.iter().map(|facts| facts.pid).collect::<Vec<_>>())
        };
        container_seen(&seen("remembered-a", 7));
        assert_eq!(pids(&service(&["remembered-a"])), Some(vec![Some(7)]));
        container_seen(&seen("remembered-a", 8));
        assert_eq!(pids(&service(&["remembered-a"])), Some(vec![Some(8)]));
        container_seen(&seen("remembered-a", 0));
        assert_eq!(pids(&service(&["remembered-a"])), Some(vec![None]));
        assert_eq!(pids(&service(&["remembered-a", "remembered-b"])), None);
        assert_eq!(pids(&service(&[])), None, "nothing is no container at all");
    }

    #[test]
    fn an_engine_at_another_address_is_another() {
        let host = HostName::parse("remembered").unwrap();
        let at = |path: &str| Address::Unix(path.into());
        // Nobody has to listen there.
        let docker =
            Docker::connect_with_http("http://[::1]:9", 1, bollard::API_DEFAULT_VERSION).unwrap();
        engine_answered(&host, &at("/tmp/remembered"), &docker);
        assert!(engine(&host, &at("/tmp/remembered")).is_some());
        assert!(engine(&host, &at("/tmp/other")).is_none());
        forget_engine(&host);
        assert!(engine(&host, &at("/tmp/remembered")).is_none());
    }
}
