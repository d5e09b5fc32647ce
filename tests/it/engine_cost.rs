//! How often an engine is asked, and that what is remembered of it is never taken for what is.

use crate::harness::{
    Counted, Pm2, PrivateDocker, Sandbox, Terminal, is_root, missing, unique, wait_for,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SERVICES: usize = 3;
/// All is looked at again after this time, whatever happened.
const LOOK_AGAIN: u64 = 30;
/// Several looks, a second apart.
const LOOKS: Duration = Duration::from_secs(3);

fn is_missing() -> bool {
    missing(&["docker", "dockerd", "busybox"]) || !is_root()
}

/// Writes twenty requests a second that all end so.
fn requests(status: u16) -> String {
    format!(
        "while :; do echo \"INFO GET /orders completed in 0.02s status={status}\"; usleep 50000; done"
    )
}

fn count(asked: &[String], wanted: impl Fn(&str) -> bool) -> usize {
    asked.iter().filter(|path| wanted(path)).count()
}

#[test]
fn a_look_asks_for_one_list_and_each_container_once() {
    if is_missing() {
        return;
    }
    let private = PrivateDocker::start("engine-cost");
    let mut docker = private.docker();
    let image = docker.image(&format!("{}:1", unique("engine-cost")), &requests(200));
    for number in 0..SERVICES {
        docker.start(&format!("counted-{number}"), &image, &[]);
    }
    let counted = Counted::to(&private.host());
    let sandbox = Sandbox::new("engine-cost").with("DOCKER_HOST", &counted.host());
    let is_list = |path: &str| path.starts_with("/containers/json");
    let is_inspection = |path: &str| path.ends_with("/json") && path.starts_with("/containers/");
    let is_log = |path: &str| path.contains("/logs?");
    let check = |asked: &[String]| {
        let lists = count(asked, is_list);
        assert!(lists > 0, "{asked:#?}");
        assert_eq!(
            count(asked, |path| path.contains("filters=")),
            0,
            "{asked:#?}"
        );
        assert_eq!(
            count(asked, |path| path.contains("/version")),
            0,
            "{asked:#?}"
        );
        // A look may just have begun.
        let whole = (lists - 1) * SERVICES..=lists * SERVICES;
        let inspections = count(asked, is_inspection);
        assert!(whole.contains(&inspections), "{asked:#?}");
        // Of the swarm and of the containers, at the first look.
        assert!(count(asked, |path| path == "/_ping") <= 2, "{asked:#?}");
        lists
    };

    let run = sandbox.run(&["services", "--format", "json"]);
    let found = run.json("services");
    let services = found["services"].as_array().unwrap();
    let own = |service: &&Value| service["id"].as_str().unwrap().contains("counted-");
    let memory: Vec<&Value> = services
        .iter()
        .filter(own)
        .map(|s| &s["memory_bytes"])
        .collect();
    assert!(
        memory.len() == SERVICES && memory.iter().all(|m| m.is_u64()),
        "{found:#}"
    );
    // They are young, so it looks twice.
    assert!(check(&counted.take()) <= 2);

    let mut watch = sandbox.follow(&["watch", "--interval", "2s", "--format", "json"]);
    watch.until("a look", LONG, |line| line.contains("\"looked\""));
    let mut asked = Vec::new();
    wait_for("four looks", LONG, || {
        asked.extend(counted.take());
        (count(&asked, is_list) >= 4).then_some(())
    });
    let looks = check(&asked);
    assert!(looks >= 4, "{asked:#?}");
    // Twenty lines a second are more than the shortest read.
    assert!(
        count(&asked, is_log) <= (looks + 1) * SERVICES * 3,
        "{asked:#?}"
    );
}

#[test]
fn what_stands_in_a_containers_place_is_measured_and_a_lost_engine_is_no_memory() {
    if is_missing() {
        return;
    }
    let mut private = PrivateDocker::start("engine-place");
    let mut docker = private.docker();
    let good = docker.image(&format!("{}:1", unique("engine-place")), &requests(200));
    let bad = docker.image(&format!("{}:2", unique("engine-place")), &requests(500));
    let name = docker.start("place", &good, &[]);
    let sandbox = Sandbox::new("engine-place").with("DOCKER_HOST", &private.host());
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let looked = |line: &str| line.contains("\"looked\"");
    watch.until("a look", LONG, looked);
    std::thread::sleep(LOOKS);
    // Started again it is another process, and under the same name another container.
    docker.must(&["restart", "-t", "0", &name]);
    std::thread::sleep(LOOKS);
    docker.must(&["rm", "-f", &name]);
    docker.start("place", &bad, &[]);
    let is_alert = |line: &str, turn: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = line["alert"]["key"].as_str().unwrap_or_default().to_owned();
        line["turn"] == turn && key.contains(&name) && key.contains("error_rate")
    };
    watch.until("its errors", LONG, |line| is_alert(line, "firing"));

    let is_away = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let missing = line["missing"].as_array().cloned().unwrap_or_default();
        let text = json!(missing).to_string();
        line["event"] == "looked" && text.contains("docker on local")
    };
    private.kill();
    watch.until("the loss", LONG, is_away);
    private.revive();
    watch.until("its return", LONG, |line| looked(line) && !is_away(line));
}

#[test]
fn a_change_has_only_that_asked_which_changed() {
    if is_missing() || missing(&["pm2", "node"]) {
        return;
    }
    let private = PrivateDocker::start("engine-events");
    let mut docker = private.docker();
    let image = docker.image(&format!("{}:1", unique("engine-events")), &requests(200));
    let containers: Vec<String> = (0..SERVICES)
        .map(|number| docker.start(&format!("events-{number}"), &image, &[]))
        .collect();
    let counted = Counted::to(&private.host());
    let (sandbox, pm2) = Pm2::new("engine-events");
    let sandbox = sandbox.with("DOCKER_HOST", &counted.host());
    let app = pm2.start("events", "setInterval(() => {}, 1000)", json!({}));
    // What is older than the console is no change.
    std::thread::sleep(LOOKS + Duration::from_secs(1));
    let begun = Instant::now();
    let console = Terminal::start(&sandbox, &["tui", "--only", "services"], (160, 60));
    let line = |name: &str| {
        let screen = console.screen();
        let line = screen.lines().find(|line| line.contains(name));
        line.map(str::to_owned)
    };
    let told = |name: &str| wait_for(name, LONG, || line(name));
    told(&app);
    told(&containers[1]);
    std::thread::sleep(LOOKS);
    counted.take();

    let changes = |name: &str, change: &dyn Fn()| {
        let before = told(name);
        change();
        let is_new = || line(name).filter(|now| *now != before);
        let now = wait_for(&format!("a change of {name}"), LONG, is_new);
        assert!(!now.contains("running"), "{now}");
        std::thread::sleep(LOOKS / 3);
        let asked = counted.take();
        // All of it may have been looked at meanwhile.
        let whole = usize::try_from(begun.elapsed().as_secs() / LOOK_AGAIN).unwrap();
        let lists = count(&asked, |path| path.starts_with("/containers/json"));
        assert!(lists <= whole, "{asked:#?}");
        (asked, whole)
    };
    let id = docker.must(&["inspect", "-f", "{{.Id}}", &containers[1]]);
    let stop = || drop(docker.must(&["stop", "-t", "0", &containers[1]]));
    let (asked, whole) = changes(&containers[1], &stop);
    let is_inspection = |path: &str| path.starts_with("/containers/") && path.ends_with("/json");
    let of_it = |path: &str| is_inspection(path) && path.contains(id.trim());
    assert!(count(&asked, of_it) > 0, "{asked:#?}");
    let others = count(&asked, |path| is_inspection(path) && !of_it(path));
    assert!(others <= whole * SERVICES, "{asked:#?}");

    let stop = || drop(pm2.run(&["stop", &app]));
    let (asked, whole) = changes(&app, &stop);
    let inspections = count(&asked, is_inspection);
    assert!(inspections <= whole * SERVICES, "{asked:#?}");
}
