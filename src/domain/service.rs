//! A service: what engineers name, restart and roll back. Replicas are its instances.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::HostName;
use super::safe_text::SafeText;

/// What supervises a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// A service of a Compose project.
    Compose,
    /// A container that belongs to no project.
    Docker,
    /// A service of a swarm.
    Swarm,
    /// An application under PM2.
    Pm2,
    /// A service run by configured commands.
    Exec,
    /// Plain log files.
    File,
}

impl Runtime {
    /// The runtime in whose name what supervises these services is unreachable: Compose and Swarm are the engine's.
    #[must_use]
    pub fn daemon(self) -> Self {
        match self {
            Self::Compose | Self::Docker | Self::Swarm => Self::Docker,
            other => other,
        }
    }

    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compose => "compose",
            Self::Docker => "docker",
            Self::Swarm => "swarm",
            Self::Pm2 => "pm2",
            Self::Exec => "exec",
            Self::File => "file",
        }
    }
}

/// `[host:]group/name`. The group is the compose project, `docker` for a lone container, the swarm stack,
/// `pm2`, `exec` or `file`. Host `local` is left out in text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId {
    /// The machine.
    pub host: HostName,
    /// The compose project, stack, or kind.
    pub group: String,
    /// The short name.
    pub name: String,
}

impl ServiceId {
    /// A service of this machine.
    pub fn local(group: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            host: HostName::local(),
            group: group.into(),
            name: name.into(),
        }
    }

    /// What stands for a machine itself where its signals and alerts are kept beside those of services: `host/machine`,
    /// `prod-1:host/machine`. Its limits are configured under this name.
    pub fn machine(host: HostName) -> Self {
        Self {
            host,
            group: "host".into(),
            name: "machine".into(),
        }
    }

    /// Whether it names a machine.
    pub fn is_machine(&self) -> bool {
        self.group == "host" && self.name == "machine"
    }

    /// Reads the full form `[host:]group/name`; `None` where the group is missing. A file's name may have folders in
    /// front (`file/logs/app.log`); what would lead out of the folder of a checkpoint is no name.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, name) = text.split_once('/')?;
        let (host, group) = match head.rsplit_once(':') {
            Some((host, group)) => (HostName::parse(host).ok()?, group),
            None => (HostName::local(), head),
        };
        let is_name = std::iter::once(group)
            .chain(name.split('/'))
            .all(|part| !matches!(part, "" | "." | ".."));
        is_name.then(|| Self {
            host,
            group: group.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The path of this service below a checkpoint's `logs` or `configs`: `[<host>/]<group>/<name>`.
    pub fn relative_path(&self) -> PathBuf {
        let mut path = PathBuf::new();
        if !self.host.is_local() {
            path.push(self.host.as_str());
        }
        path.push(&self.group);
        path.push(&self.name);
        path
    }

    /// Whether `text`, a name with parts left out, means this service.
    pub fn matches(&self, text: &str) -> bool {
        let (host, rest) = match text.rsplit_once(':') {
            Some((h, r)) => (Some(h), r),
            None => (None, text),
        };
        if host.is_some_and(|h| h != self.host.as_str()) {
            return false;
        }
        rest == self.name || rest.split_once('/') == Some((self.group.as_str(), self.name.as_str()))
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host.is_local() {
            write!(f, "{}:", self.host)?;
        }
        write!(f, "{}/{}", self.group, self.name)
    }
}

impl Serialize for ServiceId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ServiceId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("not a service id: {text:?}")))
    }
}

/// What a supervisor says of a service or an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// All wanted instances run.
    Running,
    /// Some run, some do not.
    Partial,
    /// Being started or restarted.
    Starting,
    /// Frozen by someone.
    Paused,
    /// Ended on request or with exit code 0.
    Stopped,
    /// Ended with an error.
    Failed,
    /// The supervisor did not say.
    Unknown,
}

impl ServiceState {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Partial => "partial",
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Health as the supervisor reports it (a container's health check). `None` where there is no check.
pub type SupervisedHealth = Option<super::health::HealthState>;

/// Which release of a service runs. Identity is the image id (`digest`), the commit, or the release text of
/// an exec service; the image name is only a label that can move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The image as it was named, `shop-backend:1.5`.
    pub image: Option<SafeText>,
    /// The image id, `sha256:…`: what a rollback must bring back.
    pub digest: Option<String>,
    /// The commit, where the code is a git checkout.
    pub git: Option<String>,
    /// The release's path or, for exec services, what `release_command` printed. For PM2 the script, and in
    /// brackets the version that its package names: `/srv/shop/api.js (1.4.2)`.
    pub path: Option<SafeText>,
}

impl Release {
    /// The strongest identity that is known: image id, then commit, then path.
    pub fn identity(&self) -> Option<&str> {
        self.digest
            .as_deref()
            .or(self.git.as_deref())
            .or(self.path.as_ref().map(SafeText::as_str))
    }

    /// Whether both are known to be the same release; unknown is never the same. One commit can hold several
    /// scripts, so the path has to agree too.
    pub fn is_same(&self, other: &Self) -> bool {
        matches!((self.identity(), other.identity()), (Some(a), Some(b)) if a == b)
            && self.path == other.path
    }
}

impl fmt::Display for Release {
    /// The short form for a row: the image's tag, `1.5`; else the start of the identity, or the end of a path,
    /// `releases/42/api.js`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(image) = &self.image {
            let short = image.as_str().rsplit('/').next().unwrap_or(image.as_str());
            return f.write_str(short);
        }
        match self.identity() {
            Some(path) if path.starts_with('/') => f.write_str(end_of_path(path)),
            Some(id) => f.write_str(short_id(id)),
            None => f.write_str("?"),
        }
    }
}

/// The last three parts of a path: a script's name alone is the same in every release.
fn end_of_path(path: &str) -> &str {
    path.rmatch_indices('/')
        .nth(2)
        .map_or(path, |(at, _)| &path[at + 1..])
}

/// The first 12 characters of an id without its `sha256:`, as Docker prints them.
pub fn short_id(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.char_indices().nth(12).map_or(id, |(end, _)| &id[..end])
}

/// One replica of a service: a container, a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The container id, or the pid as text.
    pub id: String,
    /// The container's or process's name.
    pub name: SafeText,
    /// What the supervisor says of it.
    pub state: ServiceState,
    /// Its health check's answer.
    pub health: SupervisedHealth,
    /// The image id it runs, where it is a container.
    pub image_id: Option<String>,
    /// When the instance was created: a recreated container gets a new one, a restarted one does not.
    pub created_at: Option<Timestamp>,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// How often the supervisor restarted it.
    pub restarts: u64,
    /// The exit code of its last end.
    pub exit_code: Option<i64>,
}

/// A service as it was found, with what its supervisor knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its full name.
    pub id: ServiceId,
    /// What supervises it.
    pub runtime: Runtime,
    /// The state over all instances.
    pub state: ServiceState,
    /// The worst health check answer of its instances; `None` without health checks.
    pub health: SupervisedHealth,
    /// What runs.
    pub release: Release,
    /// The replicas.
    pub instances: Vec<Instance>,
    /// Restarts by the supervisor, over all instances.
    pub restarts: u64,
    /// How long the youngest running instance is up; `None` where nothing runs.
    pub uptime_ms: Option<u64>,
    /// Whether it is caught in a loop of crashes; `None` where it cannot be told yet.
    pub crash_loop: Option<bool>,
    /// CPU in use as a fraction of one core; `None` where it was not measured.
    pub cpu: Option<f64>,
    /// Memory in use; `None` where it was not measured.
    pub memory_bytes: Option<u64>,
    /// How long the health check that it brings may take until it has decided, in milliseconds; `None` without one.
    #[serde(skip)]
    pub decides_within_ms: Option<u64>,
    /// What is wrong with it, in words.
    pub problems: Vec<SafeText>,
    /// What its supervisor allows it.
    pub limits: RuntimeLimits,
    /// How a Compose project was started, from its labels.
    #[serde(skip)]
    pub compose: Option<ComposeOrigin>,
    /// Labels or attributes that later steps need (environment is never kept here).
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
}

/// What a supervisor allows a service, by name: `memory` to `512 MiB`, `restarts` to `on-failure:3`. A limit that is
/// not set is not in it.
pub type RuntimeLimits = BTreeMap<String, String>;

/// A limit in bytes, exactly: `512 MiB`, `1000000 bytes`.
pub fn exact_bytes(bytes: u64) -> String {
    match bytes {
        n if n % (1 << 30) == 0 => format!("{} GiB", n >> 30),
        n if n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n => format!("{n} bytes"),
    }
}

impl Service {
    /// A service of which nothing else is known.
    pub fn new(id: ServiceId, runtime: Runtime, state: ServiceState) -> Self {
        Self {
            id,
            runtime,
            state,
            health: None,
            release: Release::default(),
            instances: Vec::new(),
            restarts: 0,
            uptime_ms: None,
            crash_loop: None,
            cpu: None,
            memory_bytes: None,
            decides_within_ms: None,
            problems: Vec::new(),
            limits: RuntimeLimits::new(),
            compose: None,
            labels: BTreeMap::new(),
        }
    }
}

/// Where a Compose service comes from, as its labels say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComposeOrigin {
    /// The project's name.
    pub project: String,
    /// The service's name in the project.
    pub service: String,
    /// The folder the project was started in.
    pub working_dir: PathBuf,
    /// The compose files, absolute.
    pub config_files: Vec<PathBuf>,
    /// The version of Compose that created it; a leading `1` means the old Python tool.
    pub version: Option<String>,
}

impl ComposeOrigin {
    /// Whether the Python tool created it: Compose 2 would recreate the whole project.
    pub fn is_version_1(&self) -> bool {
        self.version.as_deref().is_some_and(|v| v.starts_with("1."))
    }
}

/// A part of the world that could not be read: an engine, a daemon, a host. It stands beside the services
/// that could be, so that "nothing found" is never shown for "could not look".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    /// The machine.
    pub host: HostName,
    /// What could not be read; [`Runtime::Docker`] where the whole machine could not.
    pub runtime: Runtime,
    /// Nothing that runs there could be read, whatever supervises it: the machine did not answer.
    #[serde(default)]
    pub is_whole_host: bool,
    /// The whole cause chain.
    pub error: SafeText,
    /// What to do about it.
    pub fix: SafeText,
}

impl Unreachable {
    /// Whether a service of that runtime on that machine may be there although it was not found. An engine hides the
    /// services of Compose and of its swarm; a swarm without a manager hides no container.
    pub fn hides(&self, host: &HostName, runtime: Runtime) -> bool {
        let is_its = self.runtime == runtime || self.runtime == runtime.daemon();
        self.host == *host && (self.is_whole_host || is_its)
    }
}

/// Everything that was found, and everything that could not be looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The services, sorted by id.
    pub services: Vec<Service>,
    /// What could not be read.
    pub unreachable: Vec<Unreachable>,
}

/// Why a name does not mean exactly one service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No service has that name.
    #[error("no service {name:?}{}", suggest(.nearest, .unreachable))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that are close.
        nearest: Vec<ServiceId>,
        /// How many runtimes could not be looked at, so that it may still exist there.
        unreachable: usize,
    },
    /// Several services have that name.
    #[error("{name:?} means several services: {}", list(.candidates))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it could mean.
        candidates: Vec<ServiceId>,
    },
}

fn list(ids: &[ServiceId]) -> String {
    ids.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn suggest(nearest: &[ServiceId], unreachable: &usize) -> String {
    let mut text = String::new();
    if nearest.is_empty() {
        text.push_str("; `lastgood services` lists what was found");
    } else {
        text.push_str("; did you mean ");
        text.push_str(&list(nearest));
        text.push('?');
    }
    if *unreachable > 0 {
        text.push_str(" (some runtimes could not be read: `lastgood services` says which)");
    }
    text
}

impl Inventory {
    /// The one service a name means; parts may be left out where the rest is unique.
    ///
    /// # Errors
    /// [`ResolveError`] where none or several have that name.
    pub fn resolve(&self, name: &str) -> Result<&Service, ResolveError> {
        let found: Vec<&Service> = self
            .services
            .iter()
            .filter(|s| s.id.matches(name))
            .collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => {
                let short = name
                    .rsplit(['/', ':'])
                    .next()
                    .unwrap_or(name)
                    .to_lowercase();
                let nearest = self
                    .services
                    .iter()
                    .filter(|s| {
                        let n = s.id.name.to_lowercase();
                        !short.is_empty() && (n.contains(&short) || short.contains(&n))
                    })
                    .map(|s| s.id.clone())
                    .take(5)
                    .collect();
                Err(ResolveError::Unknown {
                    name: name.to_owned(),
                    nearest,
                    unreachable: self.unreachable.len(),
                })
            }
            many => Err(ResolveError::Ambiguous {
                name: name.to_owned(),
                candidates: many.iter().map(|s| s.id.clone()).collect(),
            }),
        }
    }

    /// Whether several services have this name.
    pub fn is_ambiguous(&self, name: &str) -> bool {
        matches!(self.resolve(name), Err(ResolveError::Ambiguous { .. }))
    }

    /// The service with exactly this id.
    pub fn find(&self, id: &ServiceId) -> Option<&Service> {
        self.services.iter().find(|s| &s.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(group: &str, name: &str) -> Service {
        Service::new(
            ServiceId::local(group, name),
            Runtime::Compose,
            ServiceState::Running,
        )
    }

    fn inventory() -> Inventory {
        Inventory {
            services: vec![
                service("shop", "backend"),
                service("shop", "db"),
                service("blog", "db"),
            ],
            unreachable: Vec::new(),
        }
    }

    #[test]
    fn a_unique_short_name_is_enough() {
        assert_eq!(
            inventory().resolve("backend").unwrap().id.to_string(),
            "shop/backend"
        );
        assert_eq!(
            inventory().resolve("local:blog/db").unwrap().id.to_string(),
            "blog/db"
        );
    }

    #[test]
    fn a_name_may_have_folders_and_none_that_lead_out() {
        let id = ServiceId::parse("prod-1:file/logs/app.log").unwrap();
        assert_eq!(
            (id.group.as_str(), id.name.as_str()),
            ("file", "logs/app.log")
        );
        assert_eq!(id.to_string(), "prod-1:file/logs/app.log");
        assert!(id.matches("logs/app.log") && id.matches("file/logs/app.log"));
        assert!(!id.matches("app.log"));
        for text in ["file/../x", "../x", "file//x", "file/x/", "/x", "x"] {
            assert_eq!(ServiceId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_its_candidates() {
        let error = inventory().resolve("db").unwrap_err().to_string();
        assert!(
            error.contains("shop/db") && error.contains("blog/db"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_name_suggests() {
        let error = inventory().resolve("shop/back").unwrap_err().to_string();
        assert!(error.contains("did you mean shop/backend"), "{error}");
    }

    #[test]
    fn ids_go_through_text_and_back() {
        for text in [
            "shop/backend",
            "prod-1:shop/backend",
            "deploy@prod-1:2222:shop/backend",
        ] {
            assert_eq!(ServiceId::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ServiceId::parse("backend"), None);
    }

    #[test]
    fn an_unknown_release_is_never_the_same() {
        assert!(!Release::default().is_same(&Release::default()));
    }

    #[test]
    fn short_ids_are_twelve_characters() {
        assert_eq!(short_id("sha256:523ac97512345678"), "523ac9751234");
        assert_eq!(short_id("abc"), "abc");
    }
}
