//! The signals of the machine itself cross their limits and come back, from real load. Other tests use the same machine, so
//! that limits are set a little above what it needs without this one.

use crate::compose_story::list;
use crate::harness::{Busy, Knob, Sandbox, Tmpfs, missing, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

const LATER: Duration = Duration::from_secs(300);

fn sandbox(name: &str) -> Sandbox {
    Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
}

fn signal(sandbox: &Sandbox, name: &str) -> Value {
    let read = sandbox.json(0, "signals", &["signals", "host/machine"]);
    let all = list(&list(&read["services"])[0]["signals"]).clone();
    let found = all
        .into_iter()
        .find(|s| s["signal"] == name && s["route"].is_null());
    found.unwrap_or_else(|| panic!("no {name}: {read:#}"))
}

fn grade(sandbox: &Sandbox, name: &str) -> String {
    signal(sandbox, name)["grade"].as_str().unwrap().to_owned()
}

fn value(sandbox: &Sandbox, name: &str) -> f64 {
    let found = signal(sandbox, name);
    found["value"]
        .as_f64()
        .unwrap_or_else(|| panic!("{found:#}"))
}

/// Sets the limits of a signal, and a rule for the critical one.
fn limit(sandbox: &Sandbox, name: &str, [warning, critical]: [f64; 2]) {
    let unit = |value: f64| match name {
        "load" => value.to_string(),
        _ => format!("{}%", value * 100.0),
    };
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"true\"\n[services.\"host/machine\"]\nlimits = {{ {name} = [{warning:?}, {critical:?}] }}\n[[rules]]\nwhen = \"host/machine {name} > {}\"\nseverity = \"P2\"\n",
            unit(critical)
        ),
    );
}

/// Every grade in turn, the alert with more than it takes, and its end without any load.
fn crosses(sandbox: &Sandbox, name: &str, mut knob: Knob<'_>) {
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let mut turn = |turn: &str| {
        watch.until(turn, LATER, |line| {
            let is_turn = line.contains(&format!("\"turn\":\"{turn}\""));
            is_turn && line.contains(&format!("{name} > "))
        });
    };
    let what = format!("{name} of the machine");
    for wanted in ["ok", "warning", "critical"] {
        knob.until(&what, wanted, || grade(sandbox, name));
    }
    knob.more(0.2);
    turn("firing");
    knob.to(0.0);
    for wanted in ["warning", "ok"] {
        knob.until(&what, wanted, || grade(sandbox, name));
    }
    turn("resolved");
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

#[test]
fn the_memory_of_the_machine_crosses_and_comes_back() {
    if missing(&["root"]) {
        return;
    }
    let sandbox = sandbox("machine-memory");
    let used = value(&sandbox, "memory");
    limit(&sandbox, "memory", [used + 0.03, used + 0.06]);
    // An eighth of all there is.
    let all = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: u64 = all.split_whitespace().nth(1).unwrap().parse().unwrap();
    let most = kilobytes / 8;
    let disk = Tmpfs::mount(sandbox.path("held"), &format!("size={most}k"));
    let file = disk.0.join("x");
    let hold = Knob::new(0.05, |at| {
        let bytes = (most as f64 * at * 0.99) as usize * 1024;
        let had = std::fs::metadata(&file).map_or(0, |x| x.len() as usize);
        if bytes < had {
            let file = std::fs::OpenOptions::new().write(true).open(&file);
            file.unwrap().set_len(bytes as u64).unwrap();
        } else {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .unwrap();
            std::io::Write::write_all(&mut file, &vec![1; bytes - had]).unwrap();
        }
    });
    crosses(&sandbox, "memory", hold);
}

fn processors() -> usize {
    std::thread::available_parallelism().unwrap().get()
}

/// What its processors need while it is not as busy as it can be.
fn calm(sandbox: &Sandbox) -> f64 {
    wait_for("a calmer moment", LATER, || {
        let used = (0..5).map(|_| value(sandbox, "cpu")).fold(1.0, f64::min);
        (used < 0.7).then_some(used)
    })
}

#[test]
#[ignore = "loads all processors for minutes, and other tests with them; see the README"]
fn the_processors_of_the_machine_cross_and_come_back() {
    let sandbox = sandbox("machine-cpu");
    let used = calm(&sandbox);
    let free = 1.0 - used;
    limit(&sandbox, "cpu", [used + 0.3 * free, used + 0.7 * free]);
    let busy = Busy::new(processors());
    crosses(&sandbox, "cpu", Knob::new(0.08, |at| busy.set(at)));
}

#[test]
#[ignore = "loads all processors for minutes, and other tests with them; see the README"]
fn the_load_of_the_machine_crosses_and_comes_back() {
    let sandbox = sandbox("machine-load");
    limit(&sandbox, "load", [1000.0, 2000.0]);
    let used = value(&sandbox, "load");
    limit(&sandbox, "load", [used + 0.5, used + 1.0]);
    let busy = Busy::new(processors() * 8);
    crosses(&sandbox, "load", Knob::new(0.2, |at| busy.set(at)));
}

/// The share of a minute in which nothing could go on: it rises while all that runs waits, and falls by itself, slowly.
#[test]
#[ignore = "needs processors that have nothing else to do, which other tests do not leave it; see the README"]
fn the_pressure_of_the_machine_crosses_and_comes_back() {
    if missing(&["pressure"]) {
        return;
    }
    let sandbox = sandbox("machine-pressure");
    calm(&sandbox);
    let used = value(&sandbox, "pressure");
    limit(&sandbox, "pressure", [used + 0.04, used + 0.05]);
    let reads = Busy::reading(processors() * 2);
    crosses(&sandbox, "pressure", Knob::new(0.05, |at| reads.set(at)));
}
