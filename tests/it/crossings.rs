//! The golden signals of a Compose service and of a PM2 application: each crosses its limits and comes back, and its grade and
//! its alert follow.

use crate::compose_story::list;
use crate::harness::{Pm2, Project, Prometheus, Sandbox, missing, wait_for};
use lastgood::demo::{BAD, GOOD, Member, Shop};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;

/// A grade follows as soon as enough of the window is of the new kind.
const SOON: Duration = Duration::from_secs(60);
/// An alert fires on the five minutes that a watch looks at, and ends when they hold little enough of what was.
const LATER: Duration = Duration::from_secs(150);

/// Seconds a request takes, every how many fails, and whether it keeps a processor busy. Thirty requests a second.
const COMPOSE: &str = r#"echo "0.1 0 idle" > /mode; i=0
while true; do i=$((i+1)); read seconds every busy < /mode
status=200; [ "$every" -gt 0 ] && [ $((i % every)) -eq 0 ] && status=500
echo "INFO GET /orders/$i completed in ${seconds}s status=$status"
if [ "$busy" = busy ]; then n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; fi
usleep 30000; done"#;

const PM2: &str = r#"const fs = require("fs"); let i = 0;
setInterval(() => { i++;
  const [seconds, every] = fs.readFileSync("mode", "utf8").split(" ");
  const status = +every > 0 && i % +every === 0 ? 500 : 200;
  console.log(`${new Date().toISOString()} INFO GET /orders/${i} completed in ${seconds}s status=${status}`);
}, 30);"#;

fn signal(sandbox: &Sandbox, id: &str, name: &str) -> Value {
    // The last seconds: a window that holds what was before has its grade too.
    let read = sandbox.run(&["signals", id, "--since", "6s", "--format", "json"]);
    let read = read.json("signals");
    let own = list(&read["services"])[0]["signals"].clone();
    let mut own = list(&own).iter();
    own.find(|one| one["signal"] == name && one["route"].is_null())
        .cloned()
        .unwrap_or_else(|| panic!("no {name}: {read:#}"))
}

fn reaches(sandbox: &Sandbox, id: &str, name: &str, grade: &str) {
    wait_for(&format!("{name} of {id} is {grade}"), SOON, || {
        (signal(sandbox, id, name)["grade"] == grade).then_some(())
    });
}

/// Latency and errors of a service whose requests are as `set` says.
fn latency_and_errors_cross(sandbox: &Sandbox, id: &str, set: &dyn Fn(&str)) {
    for (mode, name, grade) in [
        ("0.1 0", "latency_p95", "ok"),
        ("0.7 0", "latency_p95", "warning"),
        ("1.4 0", "latency_p95", "critical"),
        ("0.1 0", "latency_p95", "ok"),
        ("0.1 0", "error_rate", "ok"),
        ("0.1 40", "error_rate", "warning"),
        ("0.1 4", "error_rate", "critical"),
        ("0.1 0", "error_rate", "ok"),
    ] {
        set(mode);
        reaches(sandbox, id, name, grade);
    }
    assert!(signal(sandbox, id, "traffic")["value"].as_f64().unwrap() > 5.0);
}

/// The alert of a service that begins to fail fires, and ends when a release that works has replaced it.
fn alert_follows(sandbox: &Sandbox, id: &str, set: &dyn Fn(&str), replace: &dyn Fn()) {
    let mut watch = sandbox.follow(&["watch", "--interval", "2s", "--format", "json"]);
    watch.until("a look", SOON, |line| line.contains("\"looked\""));
    let of = |line: &str, turn: &str| {
        line.contains(&format!("\"turn\":\"{turn}\"")) && line.contains(&format!("{id} error_rate"))
    };
    set("0.1 2");
    watch.until("the alert", LATER, |line| {
        of(line, "firing") || of(line, "worse")
    });
    let fired: Value = serde_json::from_str(watch.seen.last().unwrap()).unwrap();
    assert!(
        fired["alert"]["text"].as_str().unwrap().contains('%'),
        "{fired:#}"
    );
    set("0.1 0");
    replace();
    watch.until("its end", LATER, |line| of(line, "resolved"));
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

#[test]
fn a_compose_service_crosses_its_limits_and_comes_back() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("cross-compose");
    let mut project = Project::new(
        &sandbox,
        "cross",
        "services:\n  backend:\n    image: {project}:latest\n    pull_policy: never\n    network_mode: none\n    stop_grace_period: 0s\n    mem_limit: 100m\n    memswap_limit: 100m\n    shm_size: 100m\n    cpus: 0.3\n",
    );
    project.image(COMPOSE);
    project.up();
    project.wait_for_lines("backend", 100);
    let id = project.service("backend");
    let inside = |script: &str| {
        project.compose(&["exec", "-T", "backend", "sh", "-c", script]);
    };
    let set = |mode: &str| {
        inside(&format!(
            "echo '{mode} idle' > /mode.new; mv /mode.new /mode"
        ));
    };
    latency_and_errors_cross(&sandbox, &id, &set);

    // Of the container's own hundred megabytes.
    for (megabytes, grade) in [(0, "ok"), (84, "warning"), (94, "critical"), (0, "ok")] {
        inside(&format!(
            "dd if=/dev/zero of=/dev/shm/x bs=1M count={megabytes} 2>/dev/null"
        ));
        reaches(&sandbox, &id, "memory", grade);
    }
    // Of its own three tenths of a processor.
    reaches(&sandbox, &id, "cpu", "ok");
    inside("echo '0.1 0 busy' > /mode.new; mv /mode.new /mode");
    reaches(&sandbox, &id, "cpu", "critical");
    set("0.1 0");
    reaches(&sandbox, &id, "cpu", "ok");

    let replace = || {
        project.compose(&["up", "-d", "--force-recreate"]);
    };
    alert_follows(&sandbox, &id, &set, &replace);
}

#[test]
fn a_pm2_application_crosses_its_limits_and_comes_back() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("cross-pm2");
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let set = |mode: &str| {
        sandbox.write("mode.new", mode);
        std::fs::rename(sandbox.work().join("mode.new"), sandbox.work().join("mode")).unwrap();
    };
    set("0.1 0");
    let app = pm2.start("cross", PM2, json!({"cwd": sandbox.work()}));
    pm2.wait_for_lines(&app, "out", 100);
    let id = format!("pm2/{app}");
    latency_and_errors_cross(&sandbox, &id, &set);
    // What is in its log stays there: the new release begins with an empty one.
    let replace = || {
        pm2.run(&["flush", &app]);
        pm2.run(&["restart", &app]);
    };
    alert_follows(&sandbox, &id, &set, &replace);
}

/// The whole way of the numbers: a shop that serves requests, a Prometheus that scrapes it, the product that asks that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_as_a_prometheus_sees_it_crosses_its_limits_and_comes_back() {
    if missing(&["prometheus"]) {
        return;
    }
    let shop = Shop::start(std::path::Path::new(env!("CARGO_BIN_EXE_lastgood")), false)
        .await
        .unwrap();
    let sandbox = Sandbox::new("prometheus-shop")
        .with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let prometheus = Prometheus::scraping(&sandbox, &shop.address(Member::Api).to_string());
    // The api's log is not configured here: what is known comes from the server alone.
    sandbox.write(
        "lastgood.toml",
        format!(
            "[prometheus]\nurl = \"{}\"\n[services.\"exec/shop\"]\nstatus = \"true\"\nmetrics = {{ histogram = \"http_request_duration_seconds\", match = 'job=\"shop\"' }}\n",
            prometheus.url()
        ),
    );
    // Rates are of the last two minutes.
    let until = |name: &str, grade: &str| {
        wait_for(&format!("{name} {grade}"), 2 * LATER, || {
            let found = signal(&sandbox, "exec/shop", name);
            (found["grade"] == grade).then_some(())
        });
    };
    let names = ["latency_p95", "error_rate"];
    for name in names {
        until(name, "ok");
    }
    assert!(
        signal(&sandbox, "exec/shop", "traffic")["value"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    let mut watch = sandbox.follow(&["watch", "--interval", "2s", "--format", "json"]);
    let mut turns = |turn: &str| {
        let wanted = format!("\"turn\":\"{turn}\"");
        watch.until(turn, 2 * LATER, |line| {
            line.contains(&wanted) && line.contains("exec/shop error_rate")
        });
    };
    shop.command(&["deploy", BAD]).await.unwrap();
    turns("firing");
    for name in names {
        until(name, "critical");
    }
    shop.command(&["deploy", GOOD]).await.unwrap();
    // On its way back through what warns.
    for name in names {
        wait_for(&format!("{name} is no more critical"), 2 * LATER, || {
            (signal(&sandbox, "exec/shop", name)["grade"] != "critical").then_some(())
        });
        until(name, "ok");
    }
    turns("resolved");
    drop(prometheus);
    shop.stop().await.unwrap();
}
