//! Services run by configured commands: whatever has no supervisor that we know, such as a systemd unit, a
//! script or a binary with a pid file.
//!
//! Each command is run by `sh -c` with a time limit and in a process group of its own. This module only asks;
//! `start`, `stop`, `restart` and `roll_back` are steps of a plan, which proves state, release and probe after them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::domain::log::{LogEvent, LogRequest};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Instance, Release, Runtime, Service, ServiceId, ServiceState};
use crate::domain::settings::{ExecCommands, ServiceSettings};
use crate::domain::signal::Saturation;
use crate::host::{Command, CommandOutput, Host, tail};
use crate::runtime::{Changes, RuntimeError, process};

mod stream;

/// `status` and `release_command` answer within this time or count as failed.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The CPU time of a process is counted over this moment.
const MEASURED_OVER: Duration = Duration::from_millis(300);
/// Between two looks for changes.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// Asks every configured exec service for its state and its release, all at once. A command that fails to
/// answer makes the state unknown and stands in the service's problems; the service itself is always there.
pub async fn discover(host: &Host, configured: &[(ServiceId, ServiceSettings)]) -> Vec<Service> {
    let asked = on_host(host, configured).map(|(id, commands)| look(host, id.clone(), commands));
    join_all(asked).await
}

async fn look(host: &Host, id: ServiceId, commands: &ExecCommands) -> Service {
    let mut problems = Vec::new();
    let (status, release) = tokio::join!(
        state(host, commands.status.as_deref()),
        release(host, commands.release_command.as_deref())
    );
    let (state, pid) = status.unwrap_or_else(|problem| {
        problems.push(problem);
        (ServiceState::Unknown, None)
    });
    let release = release.unwrap_or_else(|problem| {
        problems.push(problem);
        Release::default()
    });
    // A number of another machine means something else here.
    let is_here = host.name().is_local();
    let process = pid.filter(|_| is_here).and_then(process::look);
    let started_at = process.map(|p| p.started_at);
    let instances = match pid {
        Some(pid) if state == ServiceState::Running => vec![Instance {
            id: pid.to_string(),
            name: SafeText::from_text(&id.name),
            state,
            health: None,
            image_id: None,
            created_at: None,
            started_at,
            restarts: 0,
            exit_code: None,
        }],
        _ => Vec::new(),
    };
    let uptime = started_at.map(|at| Timestamp::now().duration_since(at));
    Service {
        release,
        instances,
        uptime_ms: uptime.map(|u| u64::try_from(u.as_millis()).unwrap_or(0)),
        memory_bytes: process.map(|p| p.memory_bytes),
        problems,
        ..Service::new(id, Runtime::Exec, state)
    }
}

/// Running, or not, and the process id where the first line is `pid N`.
async fn state(
    host: &Host,
    command: Option<&str>,
) -> Result<(ServiceState, Option<u32>), SafeText> {
    let Some(command) = command else {
        return Err(SafeText::from_text("no status command is configured"));
    };
    let answer = ask(host, "status", command).await?;
    let said = answer.stdout_text();
    match answer.code {
        Some(0) => {
            let first = said.lines().next().unwrap_or_default();
            let pid = first
                .strip_prefix("pid ")
                .and_then(|p| p.trim().parse().ok());
            Ok((ServiceState::Running, pid))
        }
        // The shell's own words for "cannot be run" and "not found" say nothing of the service.
        Some(126 | 127) | None => Err(problem("status", &answer.describe())),
        Some(_) if said.trim() == "failed" => Ok((ServiceState::Failed, None)),
        Some(_) => Ok((ServiceState::Stopped, None)),
    }
}

async fn release(host: &Host, command: Option<&str>) -> Result<Release, SafeText> {
    let Some(command) = command else {
        return Ok(Release::default());
    };
    let answer = ask(host, "release_command", command).await?;
    let said = answer.stdout_text();
    if !answer.is_success() {
        return Err(problem("release_command", &answer.describe()));
    }
    if said.trim().is_empty() {
        return Err(problem("release_command", &"printed nothing"));
    }
    Ok(Release {
        path: Some(SafeText::from_text(said.trim())),
        ..Release::default()
    })
}

async fn ask(host: &Host, what: &str, command: &str) -> Result<CommandOutput, SafeText> {
    let command = Command::shell(command, &[], ANSWER_LIMIT);
    host.query(&command)
        .await
        .map_err(|error| problem(what, &SafeText::from_error(&error)))
}

fn problem(what: &str, why: &dyn std::fmt::Display) -> SafeText {
    SafeText::from_text(&format!("{what}: {why}"))
}

/// Reads the service's log: its files in place, else what its `logs` command prints. A closed read of a command
/// that goes on for ever ends after a moment of silence, which is told where the command does not say that it follows.
///
/// # Errors
/// No log is configured, no file can be read, the command cannot be started, or it failed without a line.
pub async fn read_logs(
    host: &Host,
    id: &ServiceId,
    settings: &ServiceSettings,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    if !settings.log_files.is_empty() {
        return tail::read_on(host, id, &settings.log_files, request, to)
            .await
            .map_err(|error| RuntimeError::failed(format!("cannot read the log of {id}"), error));
    }
    match settings.exec.as_ref().and_then(|e| e.logs.as_deref()) {
        Some(_) if !host.name().is_local() => Err(RuntimeError::Unsupported {
            what: "reading the output of a logs command of another machine (log_files can be read)",
            service: id.clone(),
            runtime: Runtime::Exec,
        }),
        Some(command) => stream::read(id, command, request, to)
            .await
            .map_err(|error| {
                RuntimeError::failed(format!("cannot run the logs command of {id}"), error)
            }),
        None => Err(RuntimeError::Unsupported {
            what: "reading logs (neither log_files nor a logs command is configured)",
            service: id.clone(),
            runtime: Runtime::Exec,
        }),
    }
}

/// Measures CPU, over a short moment, and memory of the process that `status` names, each also as a fraction of
/// the machine: a process has no limit of its own that we know.
///
/// # Errors
/// `status` names no process, or it is gone.
pub async fn saturation(service: &Service) -> Result<Saturation, RuntimeError> {
    let nothing = || RuntimeError::Unsupported {
        what: "measuring CPU and memory (the status command prints no `pid N` of a running process)",
        service: service.id.clone(),
        runtime: Runtime::Exec,
    };
    let pid = service
        .instances
        .first()
        .and_then(|instance| instance.id.parse().ok())
        .ok_or_else(nothing)?;
    let begun = Instant::now();
    let first = process::look(pid).ok_or_else(nothing)?;
    tokio::time::sleep(MEASURED_OVER).await;
    let second = process::look(pid).ok_or_else(nothing)?;
    let used = (second.cpu_seconds - first.cpu_seconds).max(0.0);
    let cores = used / begun.elapsed().as_secs_f64();
    let machine = std::thread::available_parallelism().ok();
    Ok(Saturation {
        cpu_cores: Some(cores),
        cpu: machine.map(|n| (cores / n.get() as f64).min(1.0)),
        memory_bytes: Some(second.memory_bytes),
        memory: process::machine_memory().map(|all| second.memory_bytes as f64 / all as f64),
    })
}

/// Tells whenever a configured service of this host changed its state, its process or its release.
/// Commands tell nothing by themselves. While the process that `status` named still runs, the kernel is asked and
/// no command is run: a release that changes without a restart shows at the next look at everything. All other
/// services are asked again and again. With no such service this ends at once; else never.
pub async fn watch(host: &Host, configured: &[(ServiceId, ServiceSettings)], changes: &Changes) {
    watch_every(ASK_AGAIN, host, configured, changes).await;
}

async fn watch_every(
    period: Duration,
    host: &Host,
    configured: &[(ServiceId, ServiceSettings)],
    changes: &Changes,
) {
    let mut known = discover(host, configured).await;
    if known.is_empty() {
        return;
    }
    loop {
        tokio::time::sleep(period).await;
        let mut is_changed = false;
        for service in &mut known {
            if is_same_process(service) {
                continue;
            }
            let Some((id, commands)) = on_host(host, configured).find(|(id, _)| **id == service.id)
            else {
                continue;
            };
            let now = look(host, id.clone(), commands).await;
            let ids = |s: &Service| s.instances.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
            is_changed |= now.state != service.state
                || now.release != service.release
                || ids(&now) != ids(service);
            *service = now;
        }
        if is_changed {
            changes.tell(|changed| changed.exec = true);
        }
    }
}

/// Whether the very process that was seen still runs.
fn is_same_process(service: &Service) -> bool {
    service.id.host.is_local()
        && service.instances.first().is_some_and(|instance| {
            let process = instance.id.parse().ok().and_then(process::look);
            process.is_some_and(|now| Some(now.started_at) == instance.started_at)
        })
}

fn on_host<'a>(
    host: &'a Host,
    configured: &'a [(ServiceId, ServiceSettings)],
) -> impl Iterator<Item = (&'a ServiceId, &'a ExecCommands)> {
    configured
        .iter()
        .filter(|(id, _)| id.host == host.name())
        .filter_map(|(id, settings)| Some((id, settings.exec.as_ref()?)))
}

#[cfg(test)]
mod tests;
