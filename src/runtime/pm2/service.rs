//! From PM2's list of processes to services: the instances of one application are one service.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cli::Tool;
use super::daemon::Daemon;
use super::list::{Process, Status};
use crate::domain::host::HostName;
use crate::domain::log::Stream;
use crate::domain::pm2::{Pm2App, Pm2Run};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{
    Instance, Release, Runtime, RuntimeLimits, Service, ServiceId, ServiceState, exact_bytes,
};

/// The group of an application, where its name is unique on the host.
const GROUP: &str = "pm2";
/// The label that holds an [`Origin`].
const LABEL: &str = "pm2";
/// Younger processes that were restarted before may be in a crash loop: only a second look tells.
const YOUNG_MS: u64 = 60_000;

/// Where a service comes from: what has to be known to read its log and to ask for it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// How PM2 runs it.
    pub(super) app: Pm2App,
    /// Where its output goes.
    pub(super) logs: Vec<LogFile>,
    /// How `pm2` is called on its machine, where that is another one.
    #[serde(default)]
    pub(super) tool: Option<Tool>,
}

/// A file that PM2 writes one of an application's streams to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct LogFile {
    /// Its path; `/dev/null` where nothing is kept.
    pub(super) path: PathBuf,
    /// What is written there; stdout where both streams share the file.
    pub(super) stream: Stream,
}

impl LogFile {
    /// Whether PM2 throws this stream away.
    pub(super) fn is_null(&self) -> bool {
        self.path == Path::new("/dev/null") || self.path == Path::new("NULL")
    }
}

impl Origin {
    fn to_label(&self) -> String {
        // Paths that are not UTF-8 do not come through PM2's JSON, so this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`services`] noted; `None` for a service that did not come from there.
    pub(super) fn of(service: &Service) -> Option<Self> {
        serde_json::from_str(service.labels.get(LABEL)?).ok()
    }
}

/// The services of all daemons. An application has the group `pm2`, or `pm2@USER` where several daemons have one of
/// its name.
pub(super) fn services(
    host: &HostName,
    lists: &[(Daemon, Vec<Process>)],
    now: Timestamp,
) -> Vec<Service> {
    let applications: Vec<(&Daemon, String, Vec<&Process>)> = lists
        .iter()
        .flat_map(|(daemon, list)| {
            by_name(list)
                .into_iter()
                .map(move |(name, processes)| (daemon, name, processes))
        })
        .collect();
    let mut services = Vec::new();
    let mut taken = BTreeSet::new();
    for (daemon, name, processes) in &applications {
        let rivals: Vec<&Daemon> = applications
            .iter()
            .filter(|(other, its, _)| its == name && other.home != daemon.home)
            .map(|(other, ..)| *other)
            .collect();
        let mut id = ServiceId {
            host: host.clone(),
            group: group(daemon, &rivals),
            name: plain(name),
        };
        while !taken.insert(id.clone()) {
            id.name.push('_');
        }
        services.push(service(id, daemon, name, processes, now));
    }
    services
}

/// The processes of each application, by their number in PM2.
pub(super) fn by_name(list: &[Process]) -> BTreeMap<String, Vec<&Process>> {
    let mut found: BTreeMap<String, Vec<&Process>> = BTreeMap::new();
    for process in list.iter().filter(|p| p.is_of_an_application()) {
        if let Some(name) = &process.name {
            found.entry(name.clone()).or_default().push(process);
        }
    }
    for processes in found.values_mut() {
        processes.sort_by_key(|p| p.pm_id());
    }
    found
}

fn group(daemon: &Daemon, rivals: &[&Daemon]) -> String {
    if rivals.is_empty() {
        return GROUP.to_owned();
    }
    let user = plain(&daemon.user);
    if rivals.iter().all(|rival| rival.user != daemon.user) {
        return format!("{GROUP}@{user}");
    }
    // One user with several homes: the homes' own names tell them apart.
    let home = daemon.home.file_name().unwrap_or_default();
    let home = plain(home.to_string_lossy().trim_start_matches('.'));
    format!("{GROUP}@{user}+{home}")
}

/// A name that can be part of a service's name and of a path: PM2 takes anything, `@org/api` and `../..` too.
fn plain(name: &str) -> String {
    let plain: String = SafeText::from_text(name)
        .as_str()
        .chars()
        .map(|c| match c {
            '/' | ':' | '\\' => '_',
            c if c.is_control() || c.is_whitespace() => '_',
            c => c,
        })
        .collect();
    match plain.as_str() {
        "" | "." | ".." => "_".to_owned(),
        _ => plain,
    }
}

fn service(
    id: ServiceId,
    daemon: &Daemon,
    name: &str,
    processes: &[&Process],
    now: Timestamp,
) -> Service {
    let instances: Vec<Instance> = processes.iter().map(|p| instance(name, p)).collect();
    let uptime_ms = processes
        .iter()
        .filter(|p| p.status() == Status::Online)
        .filter_map(|p| p.started_ms())
        .map(|ms| u64::try_from(now.as_millisecond() - ms).unwrap_or(0))
        .min();
    let mut problems: Vec<SafeText> = processes.iter().filter_map(|p| problem(name, p)).collect();
    let newest = processes.iter().max_by_key(|p| p.started_ms());
    let releases: BTreeSet<_> = processes.iter().map(|p| identity(p)).collect();
    if releases.len() > 1 {
        problems.push(SafeText::from_text(&format!(
            "its {} instances run {} different releases",
            processes.len(),
            releases.len()
        )));
    }
    let app = app(daemon, name, processes);
    let limits = limits(&app, processes.len());
    let origin = Origin {
        app,
        logs: log_files(processes),
        tool: daemon.there.as_ref().and_then(|there| there.tool.clone()),
    };
    Service {
        id,
        runtime: Runtime::Pm2,
        state: sum_up(processes),
        health: None,
        release: newest.map(|p| release(p)).unwrap_or_default(),
        restarts: processes.iter().map(|p| p.restarts()).sum(),
        uptime_ms,
        crash_loop: crash_loop(processes, uptime_ms),
        cpu: sum(processes.iter().filter_map(|p| p.cpu())),
        memory_bytes: sum(processes.iter().filter_map(|p| p.memory_bytes())),
        problems,
        compose: None,
        decides_within_ms: None,
        labels: BTreeMap::from([(LABEL.to_owned(), origin.to_label())]),
        limits,
        instances,
    }
}

/// An application that its daemon does not have any more, as a checkpoint knew it: nothing of it runs.
pub(super) fn absent(id: ServiceId, app: &Pm2App) -> Service {
    let app = Pm2App {
        ids: Vec::new(),
        runs: BTreeSet::new(),
        ..app.clone()
    };
    let origin = Origin {
        app,
        logs: Vec::new(),
        tool: None,
    };
    Service {
        crash_loop: Some(false),
        problems: vec![SafeText::from_text("it is not in PM2")],
        labels: BTreeMap::from([(LABEL.to_owned(), origin.to_label())]),
        ..Service::new(id, Runtime::Pm2, ServiceState::Stopped)
    }
}

fn app(daemon: &Daemon, name: &str, processes: &[&Process]) -> Pm2App {
    let run = |process: &&Process| Pm2Run {
        script: process.pm2_env.pm_exec_path.as_deref().map(PathBuf::from),
        version: process.version().map(str::to_owned),
        revision: process.revision().map(str::to_owned),
        max_restarts: process.max_restarts(),
        min_uptime_ms: process.min_uptime_ms(),
        memory_limit_bytes: process.memory_limit(),
    };
    Pm2App {
        home: daemon.home.clone(),
        user: daemon.user.clone(),
        name: name.to_owned(),
        ids: processes.iter().filter_map(|p| p.pm_id()).collect(),
        cwd: processes.iter().find_map(|p| p.pm2_env.pm_cwd.clone()),
        runs: processes.iter().map(run).collect(),
        kill_timeout_ms: processes
            .iter()
            .map(|p| p.kill_timeout_ms())
            .max()
            .unwrap_or_default(),
    }
}

/// What PM2 allows an application. Where its instances differ, all of what they may.
fn limits(app: &Pm2App, instances: usize) -> RuntimeLimits {
    let all = |value: fn(&Pm2Run) -> Option<String>| {
        let values: BTreeSet<String> = app.runs.iter().filter_map(value).collect();
        let values: Vec<String> = values.into_iter().collect();
        (!values.is_empty()).then(|| values.join(" and "))
    };
    let named = [
        ("instances", Some(instances.to_string())),
        (
            "max_restarts",
            all(|run| Some(run.max_restarts.to_string())),
        ),
        (
            "min_uptime",
            all(|run| Some(format!("{} ms", run.min_uptime_ms))),
        ),
        ("memory", all(|run| run.memory_limit_bytes.map(exact_bytes))),
    ];
    let set = named
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    set.collect()
}

fn sum<T: std::ops::Add<Output = T>>(values: impl Iterator<Item = T>) -> Option<T> {
    values.reduce(|a, b| a + b)
}

/// The instance's name, as PM2's own log writes it: `api:0`.
pub(super) fn instance_name(name: &str, process: &Process) -> String {
    match process.pm_id() {
        Some(id) => format!("{name}:{id}"),
        None => name.to_owned(),
    }
}

fn instance(name: &str, process: &Process) -> Instance {
    Instance {
        id: process.pid().unwrap_or(0).to_string(),
        name: SafeText::from_text(&instance_name(name, process)),
        state: state_of(process),
        health: None,
        image_id: None,
        // PM2 counts it anew at every restart by hand.
        created_at: None,
        started_at: process
            .started_ms()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        restarts: process.restarts(),
        exit_code: process.exit_code(),
    }
}

fn state_of(process: &Process) -> ServiceState {
    match process.status() {
        Status::Online => ServiceState::Running,
        Status::Launching | Status::Waiting => ServiceState::Starting,
        Status::Stopped => ServiceState::Stopped,
        Status::Crashed | Status::Errored | Status::Dead => ServiceState::Failed,
        Status::Unknown => ServiceState::Unknown,
    }
}

fn sum_up(processes: &[&Process]) -> ServiceState {
    let states: Vec<ServiceState> = processes.iter().map(|p| state_of(p)).collect();
    let has = |state| states.contains(&state);
    match states.first() {
        None => ServiceState::Unknown,
        Some(first) if states.iter().all(|s| s == first) => *first,
        _ if has(ServiceState::Running) => ServiceState::Partial,
        _ if has(ServiceState::Failed) => ServiceState::Failed,
        _ if has(ServiceState::Starting) => ServiceState::Starting,
        _ => ServiceState::Unknown,
    }
}

/// What one look can tell. Restarts by hand count as well, so a young process that was restarted before may be either.
fn crash_loop(processes: &[&Process], uptime_ms: Option<u64>) -> Option<bool> {
    let is = |status| processes.iter().any(|p| p.status() == status);
    let was_restarted = processes.iter().any(|p| p.restarts() > 0);
    if is(Status::Errored) || is(Status::Dead) {
        return Some(true);
    }
    if is(Status::Waiting) {
        return None;
    }
    match uptime_ms {
        Some(up) if up < YOUNG_MS && was_restarted => None,
        _ => Some(false),
    }
}

fn problem(name: &str, process: &Process) -> Option<SafeText> {
    let who = instance_name(name, process);
    let after = match process.exit_code() {
        Some(code) => format!("exit code {code}"),
        None => "an unknown exit code".to_owned(),
    };
    let text = match process.status() {
        Status::Errored => format!(
            "{who}: errored, PM2 gave up after {} starts that did not last {} ms ({after})",
            process.max_restarts(),
            process.min_uptime_ms()
        ),
        Status::Dead => {
            format!("{who}: `waiting restart` that never comes, PM2 gave up after {after}")
        }
        Status::Waiting => format!(
            "{who}: waiting restart after {after} (delay {} ms)",
            process.restart_delay_ms()
        ),
        Status::Crashed => format!("{who}: ended with {after} and is not started again"),
        Status::Stopped => format!("{who}: stopped"),
        Status::Unknown => format!("{who}: PM2 gives a state that is not known"),
        Status::Online | Status::Launching => return None,
    };
    Some(SafeText::from_text(&text))
}

fn identity(process: &Process) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        process.revision(),
        process.pm2_env.pm_exec_path.as_deref(),
        process.version(),
    )
}

/// What a process runs: the commit that PM2 found, the script and its package's version.
pub(super) fn release(process: &Process) -> Release {
    let (git, script, version) = identity(process);
    let path = script.map(|script| match version {
        Some(version) => SafeText::from_text(&format!("{script} ({version})")),
        None => SafeText::from_text(script),
    });
    Release {
        git: git.map(|g| SafeText::from_text(g).to_string()),
        path,
        ..Release::default()
    }
}

/// The log files of an application, each once: instances can share a file, and so can the two streams.
pub(super) fn log_files(processes: &[&Process]) -> Vec<LogFile> {
    let of = |stream| {
        processes.iter().filter_map(move |p| {
            let path = match stream {
                Stream::Stdout => p.pm2_env.pm_out_log_path.clone(),
                Stream::Stderr => p.pm2_env.pm_err_log_path.clone(),
            };
            path.map(|path| LogFile { path, stream })
        })
    };
    let mut files: Vec<LogFile> = Vec::new();
    for file in of(Stream::Stdout).chain(of(Stream::Stderr)) {
        let is_known = |known: &LogFile| {
            known.path == file.path && (known.stream == file.stream || !file.is_null())
        };
        if !files.iter().any(is_known) {
            files.push(file);
        }
    }
    files
}

#[cfg(test)]
mod tests;
