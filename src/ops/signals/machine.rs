//! The machines below the services: disks, inodes, CPU, memory, pressure, the load where it has a limit; and the own signals
//! that belong to no service.
//!
//! A machine stands among the services as `host/machine`, so that its signals are shown, watched and kept like theirs.

use std::path::Path;
use std::time::Duration;

use futures_util::future;

use super::own;
use crate::analysis::machine::{self, Filesystem, MachineUse};
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Limits, ServiceSignals, Signal, SignalName};
use crate::host::machine::describe;
use crate::host::{Command, Host};
use crate::ops::Context;

const LIMIT: Duration = Duration::from_secs(10);
const WAY: Duration = Duration::from_secs(3);
/// So many file systems are listed besides the fullest.
const MOUNTS: usize = 8;
/// Where the engine keeps images, containers and their logs unless it was told otherwise.
const DOCKER_ROOT: &str = "/var/lib/docker";

/// Measures every machine of this context; none where only some of its services were asked for.
pub async fn machines(ctx: &Context) -> Vec<ServiceSignals> {
    if ctx.only.is_some() {
        return Vec::new();
    }
    future::join_all(ctx.hosts.iter().map(|host| one(ctx, host))).await
}

/// Measures the machine of that name, as [`machines`] does.
pub async fn machines_of(ctx: &Context, name: &HostName) -> Vec<ServiceSignals> {
    if ctx.only.is_some() {
        return Vec::new();
    }
    let hosts = ctx.hosts.iter().filter(|host| host.name() == *name);
    future::join_all(hosts.map(|host| one(ctx, host))).await
}

/// Measures the machine that a service runs on; `None` where no such machine is known.
pub async fn machine_of(ctx: &Context, name: &HostName) -> Option<ServiceSignals> {
    let host = ctx.hosts.iter().find(|host| host.name() == *name)?;
    Some(one(ctx, host).await)
}

/// The limits that hold for a machine.
pub fn machine_limits(ctx: &Context, id: &ServiceId) -> Limits {
    ctx.config.service(id).limits.over_machine()
}

async fn one(ctx: &Context, host: &Host) -> ServiceSignals {
    let id = ServiceId::machine(host.name());
    let limits = machine_limits(ctx, &id);
    let mut own = own::of(ctx, Some(&id));
    if host.name().is_local() {
        own.extend(own::of(ctx, None));
    }
    let (used, asked) = future::join(look(host), own::ask(ctx, host, &own, &limits)).await;
    let mut signals = from_use(&used, &limits);
    super::replace(&mut signals, asked);
    ServiceSignals { id, signals }
}

async fn look(host: &Host) -> Result<MachineUse, SafeText> {
    if matches!(host, Host::Local) {
        let described = tokio::time::timeout(LIMIT, describe()).await;
        let said =
            described.map_err(|_| SafeText::from_text("a file system did not answer in time"))?;
        return Ok(machine::read(&said));
    }
    let command = Command::shell(machine::SCRIPT, &[], LIMIT);
    // The way to another machine may hang before the command's own limit begins.
    match tokio::time::timeout(LIMIT + WAY, host.query(&command)).await {
        Ok(Ok(output)) if output.is_success() => Ok(machine::read(&output.stdout_text())),
        Ok(Ok(output)) => Err(output.describe()),
        Ok(Err(error)) => Err(SafeText::from_error(&error)),
        Err(_) => Err(SafeText::from_text("the machine did not answer in time")),
    }
}

fn from_use(used: &Result<MachineUse, SafeText>, limits: &Limits) -> Vec<Signal> {
    let inodes = || SignalName::Own("inodes".to_owned());
    let pressure = || SignalName::Own("pressure".to_owned());
    let used = match used {
        Ok(used) => used,
        Err(why) => {
            let load = SignalName::Own("load".to_owned());
            return [
                SignalName::Cpu,
                SignalName::Memory,
                SignalName::Disk,
                inodes(),
                pressure(),
            ]
            .into_iter()
            .chain(limits.of(&load).map(|_| load.clone()))
            .map(|name| share(name, None, None, limits, why.as_str()))
            .collect();
        }
    };
    let load = match (used.load, used.cores) {
        (Some(load), Some(cores)) => format!("load {load} on {cores} cores"),
        _ => "its load is not known".to_owned(),
    };
    let memory = used.memory.map(|(all, free)| {
        let share = 1.0 - free as f64 / all.max(1) as f64;
        (share, format!("{} of {} free", size(free), size(all)))
    });
    let mut signals = vec![
        share(SignalName::Cpu, None, used.cpu, limits, &load),
        share(
            SignalName::Memory,
            None,
            memory.as_ref().map(|m| m.0),
            limits,
            memory
                .as_ref()
                .map_or("/proc/meminfo says nothing", |m| &m.1),
        ),
    ];
    // How much is too much is known to its people alone.
    let name = SignalName::Own("load".to_owned());
    if limits.of(&name).is_some() {
        signals.push(super::signal(name, None, used.load, limits, Some(0), &load));
    }
    match used.disks.first() {
        None => signals.push(share(
            SignalName::Disk,
            None,
            None,
            limits,
            "df lists no file system",
        )),
        Some(fullest) => {
            let bytes =
                |disk: &Filesystem| format!("{} free on {}", size(disk.free), place(disk, used));
            signals.push(share(
                SignalName::Disk,
                None,
                Some(fullest.full()),
                limits,
                &bytes(fullest),
            ));
            for disk in used.disks.iter().take(MOUNTS) {
                let route = Some(SafeText::from_text(&disk.mount));
                signals.push(share(
                    SignalName::Disk,
                    route,
                    Some(disk.full()),
                    limits,
                    &bytes(disk),
                ));
            }
        }
    }
    let with_inodes = used
        .disks
        .iter()
        .filter_map(|disk| Some((disk, disk.inodes_full()?)));
    let most = with_inodes.max_by(|a, b| a.1.total_cmp(&b.1));
    signals.push(share(
        inodes(),
        None,
        most.map(|(_, full)| full),
        limits,
        &most.map_or_else(
            || "no file system has a fixed number of inodes".to_owned(),
            |(disk, _)| {
                let free = disk.inodes.map_or(0, |(_, free)| free);
                format!("{free} free on {}", place(disk, used))
            },
        ),
    ));
    let worst = used.pressure.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    signals.push(share(
        pressure(),
        None,
        worst.map(|(_, share)| *share),
        limits,
        &worst.map_or_else(
            || "this kernel does not tell".to_owned(),
            |(what, _)| format!("waiting for {what}"),
        ),
    ));
    signals
}

/// Where a file system is mounted, and that Docker's files are on it.
fn place(disk: &Filesystem, used: &MachineUse) -> String {
    let above = |disk: &&Filesystem| Path::new(DOCKER_ROOT).starts_with(&disk.mount);
    let holder = used
        .disks
        .iter()
        .filter(above)
        .max_by_key(|disk| disk.mount.len());
    match holder.is_some_and(|holder| holder.mount == disk.mount) {
        true => format!("{} (Docker's)", disk.mount),
        false => disk.mount.clone(),
    }
}

fn size(bytes: u64) -> String {
    match bytes >= 10 << 30 {
        true => format!("{} GiB", bytes >> 30),
        false => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn share(
    name: SignalName,
    route: Option<SafeText>,
    value: Option<f64>,
    limits: &Limits,
    detail: &str,
) -> Signal {
    Signal {
        unit: SafeText::from_text("fraction"),
        ..super::signal(name, route, value, limits, Some(0), detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::{Grade, Threshold};

    fn disk(mount: &str, used: u64, free: u64) -> Filesystem {
        Filesystem {
            mount: mount.into(),
            used,
            free,
            inodes: None,
        }
    }

    fn whole<'a>(signals: &'a [Signal], name: &str) -> &'a Signal {
        let mut all = signals.iter();
        all.find(|s| s.signal.as_str() == name && s.route.is_none())
            .unwrap()
    }

    #[test]
    fn the_fullest_disk_is_the_machines_and_each_is_listed() {
        let used = MachineUse {
            disks: vec![disk("/tmp/full", 100, 0), disk("/", 50, 50)],
            cpu: Some(0.75),
            load: Some(5.0),
            ..MachineUse::default()
        };
        let mut limits = Limits::of_machine();
        let signals = from_use(&Ok(used.clone()), &limits);
        let fullest = whole(&signals, "disk");
        assert_eq!((fullest.value, fullest.grade), (Some(1.0), Grade::Critical));
        let root = signals
            .iter()
            .find(|s| s.route.as_ref().is_some_and(|r| r.as_str() == "/"))
            .unwrap();
        assert_eq!((root.grade, root.unit.as_str()), (Grade::Ok, "fraction"));
        assert!(root.detail.as_str().contains("Docker's"), "{}", root.detail);
        assert_eq!(whole(&signals, "cpu").grade, Grade::Warning);
        assert!(!signals.iter().any(|s| s.signal.as_str() == "load"));
        let load = SignalName::Own("load".to_owned());
        let cpu = *limits.of(&SignalName::Cpu).unwrap();
        let limit = Threshold {
            warning: 4.0,
            critical: 8.0,
            ..cpu
        };
        limits.0.insert(load, limit);
        let asked = from_use(&Ok(used), &limits);
        let load = whole(&asked, "load");
        assert_eq!((load.value, load.grade), (Some(5.0), Grade::Warning));
        for name in ["memory", "inodes", "pressure"] {
            let one = whole(&signals, name);
            assert_eq!((one.value, one.grade), (None, Grade::Unknown));
            assert!(!one.detail.is_empty());
        }
    }

    #[test]
    fn a_machine_that_cannot_be_asked_is_unknown_and_never_well() {
        let signals = from_use(&Err(SafeText::from_text("away")), &Limits::of_machine());
        assert_eq!(signals.len(), 5);
        let is_unknown = |s: &Signal| s.grade == Grade::Unknown && s.detail.as_str() == "away";
        assert!(signals.iter().all(is_unknown), "{signals:#?}");
    }

    #[tokio::test]
    async fn this_machine_says_what_it_uses() {
        let used = look(&Host::Local).await.unwrap();
        assert!(used.cpu.is_some() && used.memory.is_some(), "{used:?}");
        assert!(!used.disks.is_empty(), "{used:?}");
    }
}
