//! Services run by PM2: what its daemons supervise, and what the applications write.
//!
//! Each user has a daemon of its own. It is asked over its sockets (`amp`), which takes a millisecond; the `pm2`
//! command takes half a second and starts a daemon where none runs, so that an outage would read as "no
//! applications". What PM2 knows of an application includes its whole environment, so only named fields are ever
//! read (`list`). This module only asks; what changes an application are the commands of a plan, made of [`Tool`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::domain::pm2::{Pm2App, Pm2Restarts};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, Unreachable};
use crate::domain::signal::Saturation;
use crate::host::{Command, Host, HostError};
use crate::runtime::{Changed, Changes, RuntimeError, process, unreachable_host};

mod amp;
mod bus;
mod cli;
mod daemon;
pub mod ecosystem;
mod ends;
mod list;
mod logs;
mod remote;
mod service;
mod socket;
mod used;

pub use cli::{Tool, ToolError};
pub use logs::{positions, read_logs};

use bus::{Bus, BusEvent};
use daemon::{AskError, Daemon};
use remote::There;
use service::Origin;
use used::Measured;

/// The CPU time of a process is counted over this moment.
const MEASURED_OVER: Duration = Duration::from_millis(300);
/// The first wait before connecting again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A machine behind ssh has said by then that nobody listens, unless its link is slow.
const CUT_WITHIN: Duration = Duration::from_secs(2);
/// A program that prints its version is quick.
const NODE_LIMIT: Duration = Duration::from_secs(5);
/// Ends within a minute that are a loop.
const LOOP_ENDS: usize = 2;
/// How often daemons of other homes are looked for.
const LOOK_FOR_DAEMONS: Duration = Duration::from_secs(30);
/// What was seen of the daemons of a machine.
#[derive(Debug, Default)]
pub(super) struct Look {
    daemons: Vec<Daemon>,
    /// What they run.
    pub(super) services: Vec<Service>,
    /// Those that do not answer. A machine without PM2 has none.
    pub(super) unreachable: Vec<Unreachable>,
    /// Why the machine could not be asked: what it runs is not known then, and not nothing.
    pub(super) lost: Option<Unreachable>,
    /// Why the daemons could not be looked for, until they were.
    not_found: Option<Unreachable>,
}

impl Look {
    /// Asks every daemon once; with `finds`, or where that failed before, looks for them first.
    pub(super) async fn again(&mut self, host: &Host, finds: bool) {
        if finds || self.not_found.is_some() {
            match find(host).await {
                Ok(daemons) => (self.daemons, self.not_found) = (daemons, None),
                Err(error) => self.not_found = Some(lost(host, &error)),
            }
        }
        let listed = list(host, self.daemons.clone()).await;
        (self.services, self.unreachable) = (listed.services, listed.unreachable);
        self.lost = self.not_found.clone().or(listed.lost);
    }

    /// The daemons that were found.
    pub(super) fn daemons(&self) -> Daemons {
        Daemons(self.daemons.clone())
    }
}

/// Daemons of a machine, or places where one should be.
#[derive(Debug)]
pub struct Daemons(Vec<Daemon>);

fn lost(host: &Host, error: &HostError) -> Unreachable {
    Unreachable {
        runtime: Runtime::Pm2,
        ..unreachable_host(host.name(), error)
    }
}

/// What daemons said.
struct Listed {
    services: Vec<Service>,
    unreachable: Vec<Unreachable>,
    lost: Option<Unreachable>,
}

async fn list(host: &Host, daemons: Vec<Daemon>) -> Listed {
    let answers = join_all(daemons.iter().map(Daemon::list)).await;
    let mut lists = Vec::new();
    let (mut unreachable, mut is_lost) = (Vec::new(), None);
    for (daemon, answer) in daemons.into_iter().zip(answers) {
        match answer {
            Ok(list) => lists.push((daemon, list)),
            Err(AskError::Host(error)) => is_lost = Some(lost(host, &error)),
            Err(error) => unreachable.extend(daemon.explain(error, &host.name()).await),
        }
    }
    let mut services = service::services(&host.name(), &lists, host.now().await);
    // Some are young and were restarted before: the daemon's own log tells whether they die again and again.
    let mut logs = BTreeMap::new();
    for service in services.iter_mut().filter(|s| s.crash_loop.is_none()) {
        if let Some(ends) = most_ends(host, service, &mut logs).await
            && ends >= LOOP_ENDS
        {
            service.crash_loop = Some(true);
            service.problems.push(SafeText::from_text(&format!(
                "crash loop: ended {ends} times by itself within {} s, restarted {} times",
                ends::SPAN.as_secs(),
                service.restarts
            )));
        }
    }
    Listed {
        services,
        unreachable,
        lost: is_lost,
    }
}

/// How often that of its instances which ended most often did so by itself within the last minute; `None` where the
/// daemon's log does not tell. What a log tells is kept by its home: it tells of all applications.
async fn most_ends(
    host: &Host,
    service: &Service,
    logs: &mut BTreeMap<PathBuf, Option<ends::Ends>>,
) -> Option<usize> {
    let app = app(service)?;
    if !logs.contains_key(&app.home) {
        let recent = ends::recent_on(host, &app.home).await;
        logs.insert(app.home.clone(), recent.ok());
    }
    let ends = logs.get(&app.home)?.as_ref()?;
    let of = |id| ends.get(&format!("{}:{id}", app.name)).copied();
    app.ids.iter().filter_map(of).max()
}

/// What PM2 is on a machine, for whoever asks whether it can be worked with.
#[derive(Debug, Default)]
pub struct Found {
    /// The home of this user's daemon, where there is one.
    pub home: Option<PathBuf>,
    /// How `pm2` is called there.
    pub program: Option<String>,
    /// Whether a daemon answers.
    pub answers: bool,
    /// What could not be read.
    pub unreachable: Vec<Unreachable>,
    variables: Vec<(String, String)>,
}

impl Found {
    /// Asks for the version of the node that `pm2` runs on.
    pub fn node(&self) -> Command {
        let mut command = Command::new(["node", "--version"], NODE_LIMIT);
        command.env.clone_from(&self.variables);
        command
    }
}

/// Looks for this user's PM2 on a machine behind ssh.
pub async fn look_on(host: &Host) -> Found {
    let mut look = Look::default();
    look.again(host, true).await;
    let Look {
        daemons,
        services,
        mut unreachable,
        lost,
        ..
    } = look;
    unreachable.extend(lost);
    let own = daemons.into_iter().find_map(|daemon| {
        let there = daemon.there?;
        there.is_default.then_some((daemon.home, there.tool))
    });
    let (home, tool) = own.map_or((None, None), |(home, tool)| (Some(home), tool));
    Found {
        home,
        answers: !services.is_empty(),
        unreachable,
        program: tool.as_ref().map(|tool| tool.program.clone()),
        variables: tool.map_or_else(Vec::new, |tool| tool.variables.into_iter().collect()),
    }
}

/// The daemons of a machine, or places where one should be.
async fn find(host: &Host) -> Result<Vec<Daemon>, HostError> {
    match host {
        Host::Local => Ok(daemon::find().await),
        Host::Ssh(session) => remote::find(session).await,
    }
}

/// Measures CPU, over a short moment, and memory of a service's processes. CPU is held against the machine, memory
/// against the limit at which PM2 restarts a process, or the machine where there is none. A service of which
/// nothing runs has no values, and none that would be too small where a process ended meanwhile.
///
/// # Errors
/// Its daemon does not answer.
pub async fn saturation(host: &Host, service: &Service) -> Result<Saturation, RuntimeError> {
    let (daemon, origin) = daemon_of(host, service)?;
    let list = daemon
        .list()
        .await
        .map_err(|error| RuntimeError::failed(format!("cannot measure {}", service.id), error))?;
    let own = service::by_name(&list)
        .remove(&origin.app.name)
        .unwrap_or_default();
    if let Host::Ssh(_) = host {
        return Ok(used::as_told(&own));
    }
    let running: Vec<(u32, Option<u64>)> = own
        .iter()
        .filter_map(|p| Some((p.pid()?, p.memory_limit())))
        .collect();
    let begun = Instant::now();
    let before: Vec<_> = running.iter().map(|(pid, _)| process::look(*pid)).collect();
    if before.iter().all(Option::is_none) {
        return Ok(Saturation::default());
    }
    tokio::time::sleep(MEASURED_OVER).await;
    let machine_memory = process::machine_memory();
    let measured = running
        .iter()
        .zip(before)
        .map(|((pid, limit), before)| Measured {
            before,
            after: process::look(*pid),
            limit: limit.or(machine_memory),
        });
    let measured: Vec<Measured> = measured.collect();
    Ok(used::of_measured(&measured, begun.elapsed()))
}

/// When PM2 starts a service's processes again, as its list says now: of several instances those of the first.
///
/// # Errors
/// Its daemon does not answer, or does not have it any more.
pub async fn restarts(host: &Host, service: &Service) -> Result<Pm2Restarts, RuntimeError> {
    let (daemon, origin) = daemon_of(host, service)?;
    let list = daemon
        .list()
        .await
        .map_err(|error| RuntimeError::failed(format!("cannot ask for {}", service.id), error))?;
    let found = service::by_name(&list)
        .remove(&origin.app.name)
        .unwrap_or_default();
    let first = found.first().map(|process| process.configured_restarts());
    first.ok_or_else(|| RuntimeError::NotFound(service.id.to_string()))
}

/// How PM2 runs a service; `None` where it does not.
pub fn app(service: &Service) -> Option<Pm2App> {
    Origin::of(service).map(|origin| origin.app)
}

/// A service of an application that its daemon does not have any more, as a checkpoint knew it.
pub fn absent(id: ServiceId, app: &Pm2App) -> Service {
    service::absent(id, app)
}

/// The `pm2` command for an application's daemon.
///
/// # Errors
/// The daemon is another user's, or no `pm2` was found.
pub fn tool(service: &Service, app: &Pm2App) -> Result<Tool, RuntimeError> {
    let found = match service.id.host.is_local() {
        true => Tool::find(&app.home),
        // It was looked for with the application.
        false => Origin::of(service)
            .and_then(|origin| origin.tool)
            .ok_or(ToolError::NotFound),
    };
    found.map_err(|error| {
        let fix = match &error {
            ToolError::OtherUser { .. } => format!("sudo -u {} lastgood …", app.user),
            ToolError::Home { .. } => format!("run lastgood as {} or as root", app.user),
            ToolError::NotFound => "npm install -g pm2, or put its folder into PATH".to_owned(),
        };
        RuntimeError::Unreachable {
            error: SafeText::from_error(&error),
            fix: SafeText::from_text(&fix),
            is_absent: false,
        }
    })
}

/// The applications that `pm2 resurrect` would start; `None` where nothing was ever saved.
///
/// # Errors
/// The list cannot be read.
pub async fn saved_names(
    host: &Host,
    app: &Pm2App,
) -> Result<Option<BTreeSet<String>>, RuntimeError> {
    let names = daemon::saved_names_of(host, &app.home).await;
    names.map_err(|error| {
        let what = format!("cannot read {}", app.home.join("dump.pm2").display());
        RuntimeError::failed(what, error)
    })
}

/// Whether a process lives, whatever its daemon says: one that hangs still shows the last it knew.
pub fn is_alive(pid: u32) -> bool {
    process::look(pid).is_some()
}

fn daemon_of(host: &Host, service: &Service) -> Result<(Daemon, Origin), RuntimeError> {
    let origin =
        Origin::of(service).ok_or_else(|| RuntimeError::NotFound(service.id.to_string()))?;
    let daemon = match host {
        Host::Local => Daemon::new(&origin.app.home, ""),
        Host::Ssh(session) => {
            let there = There {
                session: Arc::clone(session),
                tool: origin.tool.clone(),
                has_traces: true,
                is_default: false,
                has_dump: None,
                socket: None,
            };
            Daemon::there(origin.app.home.clone(), "", None, false, there)
        }
    };
    Ok((daemon, origin))
}

/// Tells of each change of a process, and of each loss and each return of a daemon, since what happened meanwhile is not
/// known. Daemons that appear later are found too. Never ends.
pub async fn watch(host: &Host, daemons: Daemons, changes: &Arc<Changes>) {
    let mut known: Vec<Daemon> = Vec::new();
    let mut watches = JoinSet::new();
    let Daemons(mut there) = daemons;
    // Those were listed by whoever looked.
    let mut is_listed = true;
    loop {
        // A home that is gone is not watched any more, and is found again when it is back.
        known.retain(is_there);
        for found in there {
            if !known.iter().any(|d| d.home == found.home) {
                known.push(found.clone());
                watches.spawn(watch_one(found, is_listed, Arc::clone(changes)));
            }
        }
        tokio::time::sleep(LOOK_FOR_DAEMONS).await;
        there = find(host).await.unwrap_or_default();
        is_listed = false;
    }
}

async fn watch_one(daemon: Daemon, mut is_listed: bool, changes: Arc<Changes>) {
    let mut wait = FIRST_WAIT;
    // A daemon that comes after another is looked for: it has another process, and its socket was none before.
    let is_back = |changed: &mut Changed| (changed.pm2, changed.daemons) = (true, true);
    loop {
        if let Ok(mut bus) = Bus::connect(&daemon).await
            && has_somebody(&daemon, &mut bus).await
        {
            wait = FIRST_WAIT;
            // Subscribed before this is told, so that nothing falls between the look and the events.
            match is_listed {
                true => changes.tell(|changed| changed.pm2 = true),
                false => changes.tell(is_back),
            }
            while let Ok(event) = bus.next(false).await {
                if let BusEvent::Changed(_) = event {
                    changes.tell(|changed| changed.pm2 = true);
                }
            }
            changes.tell(is_back);
        }
        is_listed = false;
        tokio::time::sleep(wait).await;
        if !is_there(&daemon) {
            return;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Whether a daemon is behind the connection. A forwarded socket takes every connection, and ends one behind which nobody
/// listens: taken for a daemon that came and went, that would make the console look again each time.
async fn has_somebody(daemon: &Daemon, bus: &mut Bus) -> bool {
    if daemon.there.is_none() {
        return true;
    }
    match tokio::time::timeout(CUT_WITHIN, bus.next(false)).await {
        Ok(event) => event.is_ok(),
        Err(_) => true,
    }
}

/// Whether its home is there. One of another machine is found again by whoever looks for daemons.
fn is_there(daemon: &Daemon) -> bool {
    daemon.there.is_some() || daemon.home.exists()
}

#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    //! What the fuzz targets reach of this module.

    use super::amp;

    /// The decoder of the sockets' framing.
    #[derive(Debug)]
    pub struct AmpDecoder(amp::Decoder);

    impl AmpDecoder {
        /// One that refuses messages of more than so many bytes.
        pub fn with_limit(max_frame: usize) -> Self {
            Self(amp::Decoder::with_limit(max_frame))
        }

        /// Takes what was read.
        pub fn push(&mut self, bytes: &[u8]) {
            self.0.push(bytes);
        }

        /// The next whole message, written again; `None` where more has to be read first.
        ///
        /// # Errors
        /// What was read is no message.
        pub fn next_written(&mut self) -> Result<Option<Vec<u8>>, String> {
            let message = self.0.next().map_err(|error| error.to_string())?;
            message
                .map(|arguments| amp::encode(&arguments))
                .transpose()
                .map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_that_could_not_be_looked_at_is_not_without_applications_later() {
        let host = Host::away();
        let mut look = Look::default();
        look.again(&host, true).await;
        assert!(look.lost.is_some());
        look.again(&host, false).await;
        assert!(look.lost.is_some(), "nobody found its daemons since");
    }
}
