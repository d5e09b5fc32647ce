//! What runs full: the connections of real databases, the bytes and the inodes of a file system. Each crosses its warning, then
//! its critical limit, and comes back; so do the alerts of both, and who was paged is told of the end.

use crate::compose_story::list;
use crate::harness::{Database, Received, Receiver, Sandbox, Tmpfs, missing, wait_for};
use crate::own_signals::{NO_ENGINE, signal};
use rustix::process::Signal;
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Other tests fill file systems of the same machine for a while.
const LATER: Duration = Duration::from_secs(150);

/// What can run full, and how a test fills it.
struct Vessel<'a> {
    /// Whose signal it is.
    id: &'a str,
    name: &'a str,
    /// Its limits, in per cent.
    limits: [u32; 2],
    /// What has to be configured, so that it is measured.
    config: &'a str,
    /// Fills it as far as this grade says.
    fill: &'a mut dyn FnMut(&str),
    /// The grade that is measured.
    grade: &'a dyn Fn() -> String,
}

impl Vessel<'_> {
    fn crosses(&mut self, sandbox: &Sandbox) {
        sandbox.write("lastgood.toml", self.config);
        for wanted in ["ok", "warning", "critical", "warning", "ok"] {
            (self.fill)(wanted);
            let what = format!("{} of {} is {wanted}", self.name, self.id);
            wait_for(&what, LATER, || ((self.grade)() == wanted).then_some(()));
        }
    }

    /// Rules at the same limits, for those who cannot wait for two minutes. Gives what was told of the page.
    fn alerts_follow(&mut self, sandbox: &Sandbox) -> Vec<Received> {
        let receiver = Receiver::http();
        let id = self.id;
        let [mild, bad] = self.limits.map(|limit| format!("{} > {limit}%", self.name));
        let rule = |limit: &str, severity: &str| {
            format!("[[rules]]\nwhen = \"{id} {limit}\"\nfor = \"1s\"\nseverity = \"{severity}\"\n")
        };
        sandbox.write(
            "lastgood.toml",
            format!(
                "{}{}{}[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n[[routes]]\nservices = [\"{id}\"]\nsinks = [\"hook\"]\n",
                self.config,
                rule(&mild, "P2"),
                rule(&bad, "P1"),
                receiver.url("/hook"),
            ),
        );
        let is_of_page = |r: &Received| r.json()["key"].as_str().unwrap().ends_with(&bad);
        let is = |r: &Received, event: &str| is_of_page(r) && r.json()["event"] == event;

        let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
        watch.until("a look", LONG, |line| line.contains("\"looked\""));
        (self.fill)("warning");
        watch.alerts_are("firing", &[&mild]);
        (self.fill)("critical");
        watch.alerts_are("firing", &[&bad]);
        let page = receiver.wait("the page", LONG, |r| is(r, "trigger")).json();
        assert_eq!(
            (&page["severity"], &page["services"]),
            (&json!("P1"), &json!([id])),
            "{page:#}"
        );
        let title = format!("{id} {} is ", self.name);
        assert!(page["title"].as_str().unwrap().contains(&title), "{page:#}");
        (self.fill)("ok");
        watch.alerts_are("resolved", &[&mild, &bad]);
        let end = receiver.wait("its end", LONG, |r| is(r, "resolve")).json();
        assert_eq!(end["key"], page["key"]);
        for alert in [&mild, &bad] {
            // Another test may have filled another file system for a moment before.
            let mut turns = watch.turns(alert);
            turns.dedup();
            assert_eq!(turns[..2], ["pending", "firing"], "{alert}: {turns:?}");
        }
        assert_eq!(watch.end_with(Signal::TERM), 143);
        receiver.received().into_iter().filter(is_of_page).collect()
    }
}

/// A database that has room for ten clients. Who asks is one of them.
fn clients_come_and_go(sandbox: &Sandbox, database: &mut Database) {
    let id = database.service();
    let mut fill = |grade: &str| {
        // Whoever comes while somebody asks may be turned away: all go, and those that are wanted come.
        database.hold(0);
        database.hold(match grade {
            "warning" => 9,
            "critical" => 12,
            _ => 3,
        });
    };
    let grade = || {
        let found = signal(sandbox, &id, "connections");
        found["grade"].as_str().unwrap().to_owned()
    };
    let mut connections = Vessel {
        id: &id,
        name: "connections",
        limits: [80, 95],
        config: "",
        fill: &mut fill,
        grade: &grade,
    };
    connections.crosses(sandbox);
    let told = connections.alerts_follow(sandbox);
    assert_eq!(told.len(), 2, "a page and its end: {told:#?}");
}

#[test]
fn a_postgres_at_its_connection_limit_is_critical_and_comes_back() {
    if missing(&["docker", "busybox", "postgres"]) {
        return;
    }
    let sandbox = Sandbox::new("pg-limit");
    clients_come_and_go(&sandbox, &mut Database::postgres("pg-limit", 10));
}

#[test]
fn a_redis_at_its_client_limit_is_critical_and_comes_back() {
    if missing(&["docker", "busybox", "redis-server"]) {
        return;
    }
    let sandbox = Sandbox::new("redis-limit");
    clients_come_and_go(&sandbox, &mut Database::redis("redis-limit", 10));
}

/// Of any other database the numbers come from a command.
#[test]
fn connections_that_a_command_counts_cross_their_limits_and_come_back() {
    let sandbox = Sandbox::new("counted-connections").with(NO_ENGINE.0, NO_ENGINE.1);
    let counted = sandbox.work().join("counted");
    let config = format!(
        "[services.\"exec/db\"]\nstatus = \"true\"\nconnections = \"cat {}\"\n",
        counted.display()
    );
    let mut fill = |grade: &str| {
        let used = match grade {
            "warning" => 190,
            "critical" => 191,
            _ => 160,
        };
        fs::write(&counted, format!("{used} 200\n")).unwrap();
    };
    let grade = || {
        let found = signal(&sandbox, "exec/db", "connections");
        found["grade"].as_str().unwrap().to_owned()
    };
    let mut connections = Vessel {
        id: "exec/db",
        name: "connections",
        limits: [80, 95],
        config: &config,
        fill: &mut fill,
        grade: &grade,
    };
    connections.crosses(&sandbox);
    let told = connections.alerts_follow(&sandbox);
    assert_eq!(told.len(), 2, "a page and its end: {told:#?}");
}

/// A machine whose file systems are looked at, and a small one among them.
fn small(name: &str, options: &str) -> (Sandbox, Tmpfs) {
    let sandbox = Sandbox::new(name).with(NO_ENGINE.0, NO_ENGINE.1);
    let disk = Tmpfs::mount(sandbox.path("small"), options);
    (sandbox, disk)
}

#[test]
fn a_full_disk_is_critical_pages_and_comes_back() {
    if missing(&["root"]) {
        return;
    }
    let (sandbox, disk) = small("full-disk", "size=1m");
    let file = disk.0.join("x");
    let mut fill = |grade: &str| {
        let kilobytes = match grade {
            "warning" => 920,
            "critical" => 1000,
            // The fullest file systems are listed: an empty one may be too far down.
            _ => 820,
        };
        fs::write(&file, vec![0; kilobytes * 1024]).unwrap();
    };
    let place = json!(disk.0);
    let grade = || {
        let read = sandbox.json(0, "signals", &["signals", "host/machine"]);
        let all = list(&list(&read["services"])[0]["signals"]).clone();
        let disks = || all.iter().filter(|signal| signal["signal"] == "disk");
        let own = disks().find(|signal| signal["route"] == place);
        let fullest = disks().find(|signal| signal["route"].is_null());
        let (Some(own), Some(fullest)) = (own, fullest) else {
            return "not listed".to_owned();
        };
        assert!(
            fullest["value"].as_f64() >= own["value"].as_f64(),
            "{read:#}"
        );
        own["grade"].as_str().unwrap().to_owned()
    };
    let mut bytes = Vessel {
        id: "host/machine",
        name: "disk",
        limits: [85, 95],
        config: "",
        fill: &mut fill,
        grade: &grade,
    };
    bytes.crosses(&sandbox);
    bytes.alerts_follow(&sandbox);
}

#[test]
fn a_disk_without_inodes_is_critical_pages_and_comes_back() {
    if missing(&["root"]) {
        return;
    }
    let (sandbox, disk) = small("no-inodes", "size=1m,nr_inodes=100");
    let mut fill = |grade: &str| {
        let files = match grade {
            "warning" => 90,
            "critical" => 97,
            _ => 10,
        };
        for number in 0..97 {
            let file = disk.0.join(number.to_string());
            match number < files {
                true => fs::write(&file, "").unwrap(),
                false => remove(&file),
            }
        }
    };
    let grade = || {
        let found = signal(&sandbox, "host/machine", "inodes");
        found["grade"].as_str().unwrap().to_owned()
    };
    let mut inodes = Vessel {
        id: "host/machine",
        name: "inodes",
        limits: [85, 95],
        config: "",
        fill: &mut fill,
        grade: &grade,
    };
    inodes.crosses(&sandbox);
    inodes.alerts_follow(&sandbox);
}

fn remove(file: &Path) {
    if file.exists() {
        fs::remove_file(file).unwrap();
    }
}
