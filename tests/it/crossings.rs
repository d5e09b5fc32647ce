//! Every signal crosses its limits and comes back, from real load, and its grade and its alert follow.
//!
//! | signal | of | where |
//! |---|---|---|
//! | latency, errors, traffic | Compose, PM2 | here |
//! | latency, errors, own by PromQL | Prometheus over written numbers | `own_signals` |
//! | latency, errors and the alert | Prometheus over the demo shop | here |
//! | CPU, memory | Compose against the container's limits, PM2 | here |
//! | restarts | PM2 | `watch` (a masked crash loop) |
//! | CPU, memory, load, pressure | the machine | `machine_crosses` |
//! | disk, inodes | the machine, with a full tmpfs | `saturation` |
//! | database connections | postgres, redis | `saturation` |
//! | own by regex (time of queries), by command | postgres, exec | `own_signals` |

use crate::compose_story::list;
use crate::harness::{Knob, Pm2, Project, Prometheus, Sandbox, missing, wait_for};
use lastgood::demo::{BAD, GOOD, Member, Shop};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// A grade follows as soon as enough of the window is of the new kind.
const SOON: Duration = Duration::from_secs(60);
/// An alert fires on the five minutes that a watch looks at, and ends when they hold little enough of what was.
const LATER: Duration = Duration::from_secs(150);

/// Seconds a request takes, every how many fails, microseconds between two, and how long it keeps a processor busy.
const COMPOSE: &str = r#"echo "0.1 0 60000 0" > /mode; i=0
while true; do i=$((i+1)); read seconds every pause busy < /mode
status=200; [ "$every" -gt 0 ] && [ $((i % every)) -eq 0 ] && status=500
echo "INFO GET /orders/$i completed in ${seconds}s status=$status"
n=0; while [ $n -lt $busy ]; do n=$((n+1)); done
usleep $pause; done"#;

/// The same, busy for so many microseconds, and with so many megabytes in use.
const PM2: &str = r#"const fs = require("fs"); let i = 0, held = [];
function request() { i++;
  const [seconds, every, pause, busy, megabytes] = fs.readFileSync("mode", "utf8").split(" ").map(Number);
  const status = every > 0 && i % every === 0 ? 500 : 200;
  console.log(`${new Date().toISOString()} INFO GET /orders/${i} completed in ${seconds}s status=${status}`);
  if (held.length > megabytes) { held.length = megabytes; global.gc(); }
  while (held.length < megabytes) held.push(Buffer.alloc(1 << 20, 1));
  const end = process.hrtime.bigint() + BigInt(busy) * 1000n;
  while (process.hrtime.bigint() < end);
  setTimeout(request, pause / 1000);
}
request();"#;

/// Quick, none fails, about fifteen a second.
const CALM: &str = "0.1 0 60000";
/// Slow, every second fails, as fast as it goes.
const ILL: &str = "1.4 2 3000";

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

fn grade_of(sandbox: &Sandbox, id: &str, name: &str) -> String {
    let found = signal(sandbox, id, name);
    found["grade"].as_str().unwrap().to_owned()
}

fn reaches(sandbox: &Sandbox, id: &str, name: &str, grade: &str) {
    wait_for(&format!("{name} of {id} is {grade}"), SOON, || {
        (grade_of(sandbox, id, name) == grade).then_some(())
    });
}

/// What its limits and its rules say: between calm and ill there is room for each grade on a machine that is busy as well.
fn config(id: &str, cpu: [f64; 2], memory: &str) -> String {
    let rule = |when: &str| format!("[[rules]]\nwhen = \"{id} {when}\"\nseverity = \"P2\"\n");
    format!(
        "[services.\"{id}\"]\nlimits = {{ traffic = [25, 45], cpu = {cpu:?}, memory = {memory} }}\n{}{}{}",
        rule("traffic > 20/s"),
        rule(&format!("cpu > {}%", cpu[1] * 100.0)),
        rule("memory > 70%"),
    )
}

/// Latency, errors and traffic of a service whose requests are as `set` says.
fn requests_cross(sandbox: &Sandbox, id: &str, set: &dyn Fn(&str)) {
    for (mode, name, grade) in [
        (CALM, "latency_p95", "ok"),
        ("0.7 0 60000", "latency_p95", "warning"),
        ("1.4 0 60000", "latency_p95", "critical"),
        ("0.7 0 60000", "latency_p95", "warning"),
        (CALM, "latency_p95", "ok"),
        (CALM, "error_rate", "ok"),
        ("0.1 40 20000", "error_rate", "warning"),
        ("0.1 4 60000", "error_rate", "critical"),
        (CALM, "error_rate", "ok"),
    ] {
        set(&format!("{mode} 0 0"));
        reaches(sandbox, id, name, grade);
    }
    let mut pace = Knob::new(0.1, |at| {
        // From sixteen a second up to hundreds.
        let pause = 60_000.0 * (1.0 - at).powi(2);
        set(&format!("0.1 0 {pause:.0} 0 0"));
    });
    for grade in ["ok", "warning", "critical", "warning", "ok"] {
        let look = || grade_of(sandbox, id, "traffic");
        pace.until(&format!("traffic of {id}"), grade, look);
    }
}

/// What a service suffers from: one that is kept busy answers few requests.
#[derive(Clone, Copy)]
enum IllBy {
    Requests,
    Load,
}

/// The alerts of a service that becomes ill and busy fire, and end when a release that works has replaced it.
fn alerts_follow(sandbox: &Sandbox, id: &str, ill: &dyn Fn(IllBy), replace: &dyn Fn()) {
    let mut watch = sandbox.follow(&["watch", "--interval", "2s", "--format", "json"]);
    let (mut fired, mut firing) = (BTreeSet::new(), BTreeSet::new());
    let mut until = |what: &str, is_so: &dyn Fn(&BTreeSet<String>, &BTreeSet<String>) -> bool| {
        watch.until(what, LATER, |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            let key = event["alert"]["key"].as_str().unwrap_or_default();
            if key.contains(id) {
                let text = event["alert"]["text"].as_str();
                assert!(text.is_some_and(|text| !text.is_empty()), "{event:#}");
                match event["turn"].as_str() {
                    Some("firing") => {
                        fired.insert(key.to_owned());
                        firing.insert(key.to_owned());
                    }
                    Some("resolved") => {
                        firing.remove(key);
                    }
                    _ => {}
                }
            }
            is_so(&fired, &firing)
        });
    };
    // Of the requests the last minutes count: some may fire at the first look already.
    for (by, names) in [
        (
            IllBy::Requests,
            ["latency_p95", "error_rate", "traffic"].as_slice(),
        ),
        (IllBy::Load, &["cpu", "memory"]),
    ] {
        ill(by);
        for name in names {
            until(&format!("the alert of {name}"), &|fired, _| {
                fired.iter().any(|key| key.contains(name))
            });
        }
    }
    replace();
    until("the end of each", &|_, firing| firing.is_empty());
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
    project.wait_for_lines("backend", 50);
    let id = project.service("backend");
    sandbox.write(
        "lastgood.toml",
        config(&id, [0.4, 0.7], "[\"80%\", \"95%\"]"),
    );
    let inside = |script: &str| {
        project.compose(&["exec", "-T", "backend", "sh", "-c", script]);
    };
    let set = |mode: &str| inside(&format!("echo '{mode}' > /mode.new; mv /mode.new /mode"));
    requests_cross(&sandbox, &id, &set);

    // Of the container's own hundred megabytes.
    let hold = |megabytes: u32| {
        inside(&format!(
            "dd if=/dev/zero of=/dev/shm/x bs=1M count={megabytes} 2>/dev/null"
        ));
    };
    for (megabytes, grade) in [
        (0, "ok"),
        (84, "warning"),
        (94, "critical"),
        (84, "warning"),
        (0, "ok"),
    ] {
        hold(megabytes);
        reaches(&sandbox, &id, "memory", grade);
    }
    // Of its own three tenths of a processor.
    let mut busy = Knob::new(0.08, |at| {
        set(&format!("{CALM} {:.0}", at.powi(2) * 60_000.0));
    });
    for grade in ["ok", "warning", "critical", "warning", "ok"] {
        busy.until("cpu of the container", grade, || {
            grade_of(&sandbox, &id, "cpu")
        });
    }

    let ill = |by| match by {
        IllBy::Requests => set(&format!("{ILL} 0")),
        IllBy::Load => {
            hold(94);
            set(&format!("{ILL} 60000"));
        }
    };
    let replace = || {
        project.compose(&["up", "-d", "--force-recreate"]);
    };
    alerts_follow(&sandbox, &id, &ill, &replace);
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
    set(&format!("{CALM} 0 0"));
    let options = json!({
        "cwd": sandbox.work(), "node_args": "--expose-gc", "max_memory_restart": "400M"
    });
    let app = pm2.start("cross", PM2, options);
    pm2.wait_for_lines(&app, "out", 50);
    let id = format!("pm2/{app}");
    // A share of the machine: a quarter and a half of one processor. PM2 restarts what is over its whole memory.
    let processors = std::thread::available_parallelism().unwrap().get() as f64;
    let cpu = [0.25 / processors, 0.5 / processors];
    let memory = "[0.5, 0.8]";
    sandbox.write("lastgood.toml", config(&id, cpu, memory));
    requests_cross(&sandbox, &id, &set);

    let mut memory = Knob::new(0.1, |at| {
        set(&format!("{CALM} 0 {:.0}", at * 300.0));
    });
    for grade in ["ok", "warning", "critical", "warning", "ok"] {
        memory.until("memory of the application", grade, || {
            grade_of(&sandbox, &id, "memory")
        });
    }
    let mut busy = Knob::new(0.1, |at| {
        // A request takes as long as it is busy and sixty milliseconds.
        set(&format!("{CALM} {:.0} 0", at * 400_000.0));
    });
    for grade in ["ok", "warning", "critical", "warning", "ok"] {
        busy.until("cpu of the application", grade, || {
            grade_of(&sandbox, &id, "cpu")
        });
    }

    let ill = |by| match by {
        IllBy::Requests => set(&format!("{ILL} 0 0")),
        IllBy::Load => set(&format!("{ILL} 20000 300")),
    };
    // What is in its log stays there: the new release begins with an empty one.
    let replace = || {
        set(&format!("{CALM} 0 0"));
        pm2.run(&["flush", &app]);
        pm2.run(&["restart", &app]);
    };
    alerts_follow(&sandbox, &id, &ill, &replace);
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
