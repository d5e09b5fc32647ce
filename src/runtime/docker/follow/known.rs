//! What is known of the containers of a followed service.

use std::collections::BTreeMap;

use bollard::models::{ContainerInspectResponse, EventMessage};
use jiff::{SignedDuration, Timestamp};
use tokio::task::AbortHandle;

use crate::domain::service::{Runtime, Service, short_id};
use crate::runtime::docker::inspect::{
    PROJECT, SERVICE, SWARM_SERVICE, container_name, instant, label,
};
use crate::runtime::docker::logs::{Ask, Position, Source};

/// Which of its replicas a container is: a new one with the same number takes its place.
const NUMBER: &str = "com.docker.compose.container-number";
/// The same of Swarm: `shop_web.2.0kq…`, where the last part is the task's own.
const TASK: &str = "com.docker.swarm.task.name";

/// Lines of a run that ended are stamped within this time after its end, nearly always.
const LATE: SignedDuration = SignedDuration::from_millis(50);

/// A container whose log is or was read.
pub(super) struct Known {
    /// How its log was asked for.
    pub(super) ask: Ask,
    pub(super) name: String,
    pub(super) image: String,
    slot: String,
    /// When the run began that was read last.
    pub(super) started_at: Option<String>,
    pub(super) position: Position,
    pub(super) life: Life,
    /// How it ended last, as an event told.
    pub(super) exit_code: Option<i64>,
    stream: AbortHandle,
    is_alive: bool,
}

/// What is being done about a container.
pub(super) enum Life {
    /// Its stream is being read.
    Read,
    /// Its stream ended; why is to be found out.
    Broken(Box<Source>),
    /// It ended, was read to its end, and this was told.
    Ended,
    /// It was removed.
    Gone,
}

impl Known {
    pub(super) fn new(
        container: &ContainerInspectResponse,
        ask: Ask,
        position: Position,
        stream: AbortHandle,
    ) -> Self {
        Self {
            ask,
            name: name(container),
            image: image(container),
            slot: slot(container),
            started_at: started_at(container),
            position,
            life: Life::Read,
            exit_code: None,
            stream,
            is_alive: true,
        }
    }
}

/// The containers of one service, by id.
#[derive(Default)]
pub(super) struct KnownContainers {
    all: BTreeMap<String, Known>,
    is_several: bool,
    /// Whether there is none at all, and whether that was told.
    is_none: bool,
    is_told: bool,
}

impl KnownContainers {
    pub(super) fn get(&self, id: &str) -> Option<&Known> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Known> {
        self.all.get_mut(id)
    }

    pub(super) fn insert(&mut self, known: Known) {
        self.is_told = false;
        self.all.insert(known.ask.id.clone(), known);
    }

    /// Forgets a container, and gives up its stream.
    pub(super) fn remove(&mut self, id: &str) -> Option<Known> {
        let known = self.all.remove(id)?;
        known.stream.abort();
        Some(known)
    }

    pub(super) fn has(&self, container: &ContainerInspectResponse) -> bool {
        let id = container.id.as_deref().unwrap_or_default();
        self.all.contains_key(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether there is more than one, so that each has to be named.
    pub(super) fn is_several(&self) -> bool {
        self.is_several
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.all.keys().cloned().collect()
    }

    /// Containers that may still be there.
    pub(super) fn living(&self) -> Vec<String> {
        let living = self
            .all
            .iter()
            .filter(|(_, k)| !matches!(k.life, Life::Gone));
        living.map(|(id, _)| id.clone()).collect()
    }

    /// Takes note of which containers there are.
    pub(super) fn count(&mut self, containers: &[ContainerInspectResponse]) {
        for (id, known) in &mut self.all {
            known.is_alive = containers.iter().any(|c| c.id.as_deref() == Some(id));
        }
        self.is_several = containers.len() > 1 || self.living().len() > 1;
        self.is_none = containers.is_empty();
    }

    pub(super) fn is_read(&self, id: &str) -> bool {
        self.get(id).is_some_and(|k| matches!(k.life, Life::Read))
    }

    pub(super) fn is_alive(&self, id: &str) -> bool {
        self.get(id).is_some_and(|k| k.is_alive)
    }

    /// Whether a stream ended that has not been looked into.
    pub(super) fn has_broken(&self) -> bool {
        let is_broken = |k: &Known| matches!(k.life, Life::Broken(_));
        self.all.values().any(is_broken)
    }

    /// Whether every container is gone and this was not told yet.
    pub(super) fn is_forsaken(&mut self) -> bool {
        let is_gone = |k: &Known| matches!(k.life, Life::Gone);
        let is_new =
            self.is_none && !self.is_told && !self.all.is_empty() && self.all.values().all(is_gone);
        self.is_told |= is_new;
        is_new
    }

    /// The newest line of all.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.all.values().filter_map(|k| k.position.newest).max()
    }

    /// The container whose place a new one takes.
    pub(super) fn replaced_by(&self, container: &ContainerInspectResponse) -> Option<String> {
        let slot = slot(container);
        let mut others = self
            .all
            .iter()
            .filter(|(_, k)| k.slot == slot && !k.is_alive);
        others.next_back().map(|(id, _)| id.clone())
    }

    /// How a container ended: `exit 137, out of memory, instance shop-web-3, removed`.
    pub(super) fn how_it_ended(
        &self,
        id: &str,
        container: Option<&ContainerInspectResponse>,
    ) -> String {
        let known = self.get(id);
        let state = container.and_then(|c| c.state.as_ref());
        let code = state
            .and_then(|s| s.exit_code)
            .or_else(|| known.and_then(|k| k.exit_code));
        let mut parts: Vec<String> = code.iter().map(|code| format!("exit {code}")).collect();
        if state.and_then(|s| s.oom_killed) == Some(true) {
            parts.push("out of memory".to_owned());
        }
        if let Some(known) = known.filter(|_| self.is_several) {
            parts.push(format!("instance {}", known.name));
        }
        if container.is_none() {
            parts.push("removed".to_owned());
        }
        parts.join(", ")
    }

    /// Whether an event is about this service; keeps the exit code that it tells.
    pub(super) fn concerns(&mut self, event: &EventMessage, service: &Service) -> bool {
        let Some(actor) = &event.actor else {
            return true;
        };
        let attribute = |name: &str| {
            let all = actor.attributes.as_ref();
            all.and_then(|a| a.get(name)).map(String::as_str)
        };
        if let Some(known) = actor.id.as_deref().and_then(|id| self.all.get_mut(id)) {
            if event.action.as_deref() == Some("die") {
                known.exit_code = attribute("exitCode").and_then(|code| code.parse().ok());
            }
            return true;
        }
        match service.runtime {
            Runtime::Compose => {
                attribute(PROJECT) == Some(&service.id.group)
                    && attribute(SERVICE) == Some(&service.id.name)
            }
            Runtime::Swarm => {
                let name = service.labels.get(SWARM_SERVICE).map(String::as_str);
                attribute(SWARM_SERVICE) == name
            }
            _ => attribute("name") == Some(&service.id.name),
        }
    }
}

pub(super) fn name(container: &ContainerInspectResponse) -> String {
    container_name(container)
}

fn slot(container: &ContainerInspectResponse) -> String {
    let task = || label(container, TASK).map(|t| t.rsplit_once('.').map_or(t, |(slot, _)| slot));
    let slot = label(container, NUMBER).or_else(task);
    slot.unwrap_or_default().to_owned()
}

pub(super) fn started_at(container: &ContainerInspectResponse) -> Option<String> {
    container.state.as_ref()?.started_at.clone()
}

pub(super) fn has_started(container: &ContainerInspectResponse) -> bool {
    started_at(container).as_deref().and_then(instant).is_some()
}

pub(super) fn is_running(container: &ContainerInspectResponse) -> bool {
    let state = container.state.as_ref();
    state.is_some_and(|s| s.running == Some(true) && s.restarting != Some(true))
}

/// Whether it is being removed: the engine no longer gives its log.
pub(super) fn is_going(container: &ContainerInspectResponse) -> bool {
    use bollard::models::ContainerStateStatusEnum::{DEAD, REMOVING};
    let status = container.state.as_ref().and_then(|s| s.status);
    matches!(status, Some(DEAD | REMOVING))
}

/// Until when a line belongs to the run that ended. The engine stamps the last lines a moment after the end, and the
/// first lines of the next run a moment before it calls that started; but it takes it longer than either to start a
/// process.
pub(super) fn end_of_last_run(
    container: &ContainerInspectResponse,
    is_restarted: bool,
) -> Option<Timestamp> {
    let state = container.state.as_ref()?;
    let end = instant(state.finished_at.as_deref()?)?;
    let mut late = LATE;
    if is_restarted {
        let start = instant(state.started_at.as_deref()?)?;
        late = late.min(start.duration_since(end) / 4);
    }
    end.checked_add(late).ok().filter(|at| *at > end)
}

/// The image in words: a tag is often the same before and after, only the id tells the releases apart.
pub(super) fn image(container: &ContainerInspectResponse) -> String {
    let name = container.config.as_ref().and_then(|c| c.image.as_deref());
    let id = container.image.as_deref().unwrap_or("?");
    match name {
        Some(name) if !name.starts_with("sha256:") => format!("{name} ({})", short_id(id)),
        _ => short_id(id).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::docker::remembered::Facts;
    use bollard::models::{ContainerConfig, ContainerState};

    fn container(id: &str, labels: &[(&str, &str)]) -> ContainerInspectResponse {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string()));
        ContainerInspectResponse {
            id: Some(id.to_owned()),
            name: Some(format!("/{id}-name")),
            config: Some(ContainerConfig {
                labels: Some(labels.collect()),
                ..ContainerConfig::default()
            }),
            state: Some(ContainerState {
                exit_code: Some(137),
                finished_at: Some("2026-01-01T00:00:10Z".into()),
                started_at: Some("2026-01-01T00:00:10.1Z".into()),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    async fn following(containers: &[&ContainerInspectResponse]) -> KnownContainers {
        let mut known = KnownContainers::default();
        for container in containers {
            let ask = Ask::window(&Facts::of(container), crate::domain::log::Window::ALL);
            let stream = tokio::spawn(async {}).abort_handle();
            known.insert(Known::new(container, ask, Position::default(), stream));
        }
        known
    }

    #[tokio::test]
    async fn an_end_is_told_with_all_that_is_known_of_it() {
        let one = container("one", &[]);
        let mut known = following(&[&one]).await;
        known.count(std::slice::from_ref(&one));
        assert_eq!(known.how_it_ended("one", Some(&one)), "exit 137");
        let mut killed = one.clone();
        killed.state.as_mut().unwrap().oom_killed = Some(true);
        let told = known.how_it_ended("one", Some(&killed));
        assert_eq!(told, "exit 137, out of memory");
        assert_eq!(known.how_it_ended("one", None), "removed");
        known.get_mut("one").unwrap().exit_code = Some(3);
        known.count(&[one, container("two", &[])]);
        let told = known.how_it_ended("one", None);
        assert_eq!(told, "exit 3, instance one-name, removed");
    }

    #[tokio::test]
    async fn a_new_container_takes_the_place_with_its_number() {
        let first = container("a", &[(NUMBER, "1")]);
        let second = container("b", &[(NUMBER, "2")]);
        let mut known = following(&[&first, &second]).await;
        let new = container("c", &[(NUMBER, "2")]);
        known.count(&[first.clone(), second.clone(), new.clone()]);
        assert_eq!(known.replaced_by(&new), None, "both are still there");
        known.count(&[first, new.clone()]);
        assert_eq!(known.replaced_by(&new).as_deref(), Some("b"));
        assert_eq!(known.replaced_by(&container("d", &[(NUMBER, "3")])), None);
        let task = |id: &str, name: &str| container(id, &[(TASK, name)]);
        let mut swarm = following(&[&task("x", "shop_web.2.0kq")]).await;
        swarm.count(&[]);
        let next = swarm.replaced_by(&task("y", "shop_web.2.7fz"));
        assert_eq!(next.as_deref(), Some("x"));
    }

    #[tokio::test]
    async fn that_none_is_left_is_told_once_each_time() {
        let one = container("one", &[]);
        let mut known = following(&[&one]).await;
        known.get_mut("one").unwrap().life = Life::Gone;
        known.count(std::slice::from_ref(&one));
        assert!(!known.is_forsaken(), "one was made and not started yet");
        known.count(&[]);
        assert!(known.is_forsaken());
        assert!(!known.is_forsaken());
    }

    #[test]
    fn lines_are_divided_soon_after_the_end() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let one = container("one", &[]);
        let until = end_of_last_run(&one, false);
        assert_eq!(until, at("2026-01-01T00:00:10.05Z"));
        let until = end_of_last_run(&one, true);
        assert_eq!(until, at("2026-01-01T00:00:10.025Z"));
    }
}
