//! Several machines behind ssh: one list of them all, and clocks that do not agree.

use crate::compose_story::list;
use crate::harness::{Project, missing};
use crate::ssh::{WRITES, fleet};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_clock_that_is_not_ours_is_told_before_its_lines() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-clock");
    let mut project = Project::of_one(&sandbox, "ssh-clock");
    project.image(WRITES);
    project.up();
    project.wait_for_lines("backend", 3);
    // The machine is this one, so its clock is ours: what it is asked with says another time.
    let date = sandbox.write(
        "bin/date",
        "#!/bin/sh\nexec /bin/date -d '+90 seconds' \"$@\"\n",
    );
    fs::set_permissions(&date, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!(
        "SetEnv PATH={}:/usr/bin:/bin",
        date.parent().unwrap().display()
    );
    let _fast = fleet.start("fast", 60, &[&path]);
    let _right = fleet.start("right", 61, &[]);
    let logs = |host: &str| {
        let id = format!("{host}:{}", project.service("backend"));
        let run = sandbox.run(&["--host", host, "logs", &id, "--format", "json"]);
        run.exits(0).stdout
    };
    let told = logs("fast");
    let notes: Vec<Value> = told
        .lines()
        .filter(|line| line.contains("\"event\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(notes.len(), 1, "{told}");
    assert_eq!(notes[0]["event"], "clock");
    let detail = notes[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains("fast is 9") && detail.contains("ahead of ours"),
        "{detail}"
    );
    assert!(told.contains("line 1"), "{told}");
    let right = logs("right");
    assert!(!right.contains("\"event\""));
    // Its lines stand at our time: ninety seconds before what its clock would say, if it were the engine's.
    let first_at = |text: &str| -> jiff::Timestamp {
        let line = text.lines().find(|l| l.contains("line 1")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        line["at"].as_str().unwrap().parse().unwrap()
    };
    let moved = first_at(&right).duration_since(first_at(&told)).as_secs();
    assert!((88..=92).contains(&moved), "{moved}");
    // The last seconds are asked for by its clock: what the engine says was written now, it wrote ninety seconds ago.
    let since = |host: &str, since: &str| {
        let id = format!("{host}:{}", project.service("backend"));
        let run = sandbox.run(&["--host", host, "logs", &id, "--since", since]);
        run.exits(0).stdout
    };
    assert!(!since("fast", "60s").contains("INFO line"));
    assert!(since("fast", "10m").contains("INFO line"));
    assert!(since("right", "60s").contains("INFO line"));
}

#[test]
fn twenty_machines_are_one_list() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-twenty");
    let mut project = Project::of_one(&sandbox, "ssh-twenty");
    project.image(WRITES);
    project.up();
    let service = project.service("backend");
    let names: Vec<String> = (1..=20).map(|n| format!("box-{n}")).collect();
    let mut config = String::new();
    let mut servers = Vec::new();
    for (name, last) in names.iter().zip(41..) {
        servers.push(fleet.start(name, last, &[]));
        config.push_str(&format!("[hosts.{name}]\n"));
    }
    sandbox.write("lastgood.toml", config);
    let run = sandbox.run(&["services", "--format", "json"]).exits(0);
    let found = run.json("services");
    // Whether this machine's own user has applications of PM2 is not this test's matter: other tests do.
    let dead: Vec<&Value> = list(&found["unreachable"])
        .iter()
        .filter(|one| one["runtime"] != "pm2")
        .collect();
    assert!(dead.is_empty(), "{found:#}");
    for name in &names {
        let id = format!("{name}:{service}");
        assert!(
            list(&found["services"]).iter().any(|s| s["id"] == id),
            "{id}"
        );
    }
}
