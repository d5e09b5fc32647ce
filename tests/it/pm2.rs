//! Services under a real PM2: found, read, followed through what PM2 does to them, compared.

use crate::compose_story::list;
use crate::harness::{Pm2, Sandbox, Terminal, missing, unique, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Numbered lines on both streams, in bursts; each process says its own id.
const NUMBERED: &str = "let n = 0;
setInterval(() => { for (let i = 0; i < 5; i++) { n++; console.log(`out ${process.pid} ${n}`); console.error(`err ${process.pid} ${n}`); } }, 10);";

fn service<'a>(inventory: &'a Value, app: &str) -> &'a Value {
    list(&inventory["services"])
        .iter()
        .find(|service| service["name"] == app)
        .unwrap_or_else(|| panic!("no {app} in {inventory:#}"))
}

fn services(sandbox: &Sandbox) -> Value {
    // Other daemons of this machine are found as well, so the exit code can be theirs.
    sandbox
        .run(&["services", "--format", "json"])
        .json("services")
}

#[test]
fn applications_are_services_with_what_pm2_hides() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-states");
    fs::write(
        sandbox.work().join("package.json"),
        r#"{"name":"shop","version":"1.4.2"}"#,
    )
    .unwrap();
    let quiet = "setInterval(() => {}, 1000);";
    let fails = "setTimeout(() => process.exit(3), 200);";
    let secret = json!({"DATABASE_URL": "postgres://u:hunter2secret@h/d"});
    let good = pm2.start("good", quiet, json!({"env": secret}));
    let cluster = pm2.start(
        "cluster",
        quiet,
        json!({"instances": 2, "exec_mode": "cluster"}),
    );
    let once = pm2.start("once", fails, json!({"autorestart": false}));
    let errored = pm2.start(
        "errored",
        fails,
        json!({"max_restarts": 2, "min_uptime": 5000}),
    );
    let delayed = pm2.start(
        "delayed",
        fails,
        json!({"restart_delay": 100, "max_restarts": 2, "min_uptime": 5000}),
    );
    let looping = pm2.start(
        "looping",
        "setTimeout(() => process.exit(1), 900);",
        json!({"min_uptime": 500, "max_restarts": 15}),
    );
    // Up for so long that two looks one after the other mostly miss its end.
    let slow = pm2.start(
        "slow",
        "setTimeout(() => process.exit(0), 9000);",
        json!({}),
    );
    let found = wait_for("PM2 to give up", LONG, || {
        let found = services(&sandbox);
        let has_given_up = |app| service(&found, app)["state"] == "failed";
        (has_given_up(&errored) && has_given_up(&delayed)).then_some(found)
    });

    let good = service(&found, &good);
    assert_eq!(
        (
            &good["group"],
            &good["runtime"],
            &good["state"],
            &good["restarts"]
        ),
        (&json!("pm2"), &json!("pm2"), &json!("running"), &json!(0)),
        "{good:#}"
    );
    let path = good["release"]["path"].as_str().unwrap();
    assert!(path.ends_with("/good.js (1.4.2)"), "{path}");
    assert!(
        good["memory_bytes"].as_u64().unwrap() > 1_000_000,
        "{good:#}"
    );
    assert_eq!(good["crash_loop"], false, "{good:#}");

    let cluster = service(&found, &cluster);
    assert_eq!(list(&cluster["instances"]).len(), 2, "{cluster:#}");

    let told = |app: &str| {
        let service = service(&found, app);
        let problems = service["problems"].to_string();
        (
            service["state"].clone(),
            service["crash_loop"].clone(),
            problems,
        )
    };
    let (state, _, problems) = told(&once);
    assert_eq!(state, "failed", "{problems}");
    assert!(problems.contains("exit code 3"), "{problems}");
    for app in [&errored, &delayed] {
        let (state, crash_loop, problems) = told(app);
        assert_eq!(
            (state, crash_loop),
            (json!("failed"), json!(true)),
            "{problems}"
        );
        assert!(problems.contains("gave up"), "{problems}");
    }
    assert_eq!(
        told(&looping).1,
        true,
        "the masked loop: {:?}",
        told(&looping)
    );

    wait_for("the slow loop to be named", LONG, || {
        (service(&services(&sandbox), &slow)["crash_loop"] == true).then_some(())
    });

    let human = sandbox.run(&["services"]);
    for text in [&found.to_string(), &human.stdout, &human.stderr] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(human.stdout.contains(&format!("pm2/{once}")), "{human}");
}

#[test]
fn a_stopped_daemon_is_unreachable_and_never_no_applications() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-stopped");
    let app = pm2.start("kept", "setInterval(() => {}, 1000);", json!({}));
    pm2.run(&["save"]);
    pm2.run(&["kill"]);
    let found = services(&sandbox);
    let told = list(&found["unreachable"])
        .iter()
        .find(|one| one["runtime"] == "pm2")
        .unwrap_or_else(|| panic!("{found:#}"))
        .clone();
    let error = told["error"].as_str().unwrap();
    assert!(
        error.starts_with("PM2 daemon not running for user ")
            && error.ends_with("(dump.pm2 lists 1 app)"),
        "{error}"
    );
    assert!(
        told["fix"].as_str().unwrap().ends_with("pm2 resurrect"),
        "{told:#}"
    );
    assert!(
        !sandbox.path("pm2/rpc.sock").exists(),
        "looking started a daemon"
    );
    sandbox
        .run(&["logs", &format!("pm2/{app}")])
        .exits(4)
        .says(&["PM2 daemon not running"]);
}

#[test]
fn a_follow_loses_and_doubles_nothing_through_restarts_and_rotation() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-follow");
    let app = pm2.start("numbered", NUMBERED, json!({}));
    let mut following = sandbox.follow(&["logs", &app, "--follow", "--format", "json"]);
    following.until("lines", LONG, |line| line.contains(" 50\""));
    for verb in ["reload", "restart"] {
        pm2.run(&[verb, &app]);
        following.until(verb, LONG, |line| line.contains("\"restarted\""));
        following.until("lines", LONG, |line| {
            line.contains("err") && line.contains(" 100\"")
        });
    }
    // As logrotate does it: the old files are written to until PM2 is told.
    for stream in ["out", "error"] {
        let file = pm2.log(&app, stream);
        fs::rename(&file, file.with_extension("log.1")).unwrap();
    }
    following.until("lines", LONG, |line| line.contains(" 400\""));
    pm2.run(&["reloadLogs"]);
    pm2.wait_for_lines(&app, "out", 200);
    pm2.run(&["stop", &app]);
    following.until("the end", LONG, |line| line.contains("\"ended\""));

    let whole = |stream: &str| -> Vec<String> {
        let file = pm2.log(&app, stream);
        [file.with_extension("log.1"), file]
            .iter()
            .flat_map(|path| {
                let text = fs::read_to_string(path).unwrap();
                text.lines().map(String::from).collect::<Vec<_>>()
            })
            .collect()
    };
    for (stream, file) in [("stdout", "out"), ("stderr", "error")] {
        let written = whole(file);
        let last = written.last().unwrap().clone();
        if !following
            .seen
            .iter()
            .any(|line| line.contains(&format!("\"{last}\"")))
        {
            following.until("the last line", LONG, |line| {
                line.contains(&format!("\"{last}\""))
            });
        }
        let read: Vec<String> = following
            .json()
            .iter()
            .filter(|line| line["stream"] == stream)
            .filter_map(|line| line["text"].as_str().map(String::from))
            .collect();
        let wrong = read
            .iter()
            .zip(&written)
            .find(|(got, wanted)| got != wanted);
        assert_eq!(
            (read.len(), wrong),
            (written.len(), None),
            "{stream}: lost or doubled"
        );
        assert!(written.len() > 400, "{stream}: {}", written.len());
    }
    assert_eq!(following.end_with(Signal::INT), 130);

    // The same through a closed read.
    let closed = sandbox.run(&["logs", &app, "--format", "json"]).exits(0);
    let errors = closed.json_lines("logs");
    let errors = errors
        .iter()
        .filter(|line| line["stream"] == "stderr")
        .count();
    let file = fs::read_to_string(pm2.log(&app, "error")).unwrap();
    assert_eq!(errors, file.lines().count());
}

#[test]
fn instances_that_come_later_are_followed_and_a_flush_is_told() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-scale");
    let slow = "let n = 0; setInterval(() => console.log(`${process.pid} ${++n}`), 50);";
    let app = pm2.start(
        "scaled",
        slow,
        json!({"instances": 2, "exec_mode": "cluster"}),
    );
    let mut following = sandbox.follow(&["logs", &app, "--follow", "--format", "json"]);
    following.until("lines", LONG, |line| line.contains(" 10\""));
    pm2.run(&["scale", &app, "3"]);
    following.until("the new instance", LONG, |line| {
        line.contains("\"restarted\"") && line.contains("was started")
    });
    let third = wait_for("the third instance", LONG, || {
        let found = services(&sandbox);
        let instances = list(&service(&found, &app)["instances"]).clone();
        (instances.len() == 3).then(|| instances[2]["id"].as_str().unwrap().to_owned())
    });
    let first_line = format!("\"{third} 1\"");
    if !following.seen.iter().any(|line| line.contains(&first_line)) {
        following.until("its first line", LONG, |line| line.contains(&first_line));
    }
    pm2.run(&["flush", &app]);
    following.until("the flush", LONG, |line| line.contains("\"rotated\""));
    let goes_on = format!("\"{third} ");
    following.until("lines after it", LONG, |line| line.contains(&goes_on));
    let texts: Vec<String> = following
        .json()
        .iter()
        .filter_map(|line| line["text"].as_str().map(String::from))
        .collect();
    let mut once = texts.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), texts.len(), "doubled lines");
    pm2.run(&["delete", &app]);
    following.until("the end", LONG, |line| {
        line.contains("\"ended\"") && line.contains("deleted from PM2")
    });
}

#[test]
fn an_application_without_log_files_is_read_from_the_bus() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-null");
    let app = pm2.start(
        "null",
        "let n = 0; setInterval(() => { n++; process.stdout.write(`begin ${n}`); process.stdout.write(` end ${n}\\n`); console.error(`bad ${n}`) }, 20);",
        json!({"out_file": "/dev/null", "error_file": "/dev/null"}),
    );
    let past = sandbox.run(&["logs", &app, "--format", "json"]).exits(0);
    assert!(
        past.stdout.contains("\"gap\""),
        "the past is not empty, it is not there: {past}"
    );
    let mut following = sandbox.follow(&["logs", &app, "--follow", "--format", "json"]);
    following.until("a line", LONG, |line| line.contains("begin"));
    for _ in 0..100 {
        following.until("more", LONG, |line| line.contains("\"bad "));
    }
    let lines = following.json();
    let numbers = |stream: &str| -> Vec<u64> {
        lines
            .iter()
            .filter(|line| line["stream"] == stream)
            .map(|line| {
                assert!(line["at"].is_string(), "the bus knows when: {line}");
                let text = line["text"].as_str().unwrap();
                text.rsplit(' ').next().unwrap().parse().unwrap()
            })
            .collect()
    };
    for stream in ["stdout", "stderr"] {
        let numbers = numbers(stream);
        let is_whole = numbers.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(is_whole && numbers.len() > 50, "{stream}: {numbers:?}");
    }
}

#[test]
fn a_checkpoint_holds_the_log_and_is_compared_with_the_next_release() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-compare");
    let release = |status: u16, seconds: f64| {
        let level = if status == 200 { "INFO" } else { "ERROR" };
        format!(
            "setInterval(() => console.log(`${{new Date().toISOString()}} {level} GET /cart completed in {seconds}s status={status}`), 10);"
        )
    };
    let secret = json!({"env": {"DATABASE_URL": "postgres://u:hunter2secret@h/d"}});
    let app = pm2.start("shop", &release(200, 0.05), secret.clone());
    pm2.wait_for_lines(&app, "out", 100);
    let created = sandbox.json(
        0,
        "checkpoint",
        &["checkpoint", "create", &format!("pm2/{app}")],
    );
    assert_eq!(created["complete"], true, "{created:#}");
    let log = &list(&created["services"])[0]["log"];
    assert!(log["lines"].as_u64().unwrap() >= 100, "{created:#}");

    pm2.run(&["delete", &app]);
    pm2.start("shop", &release(500, 3.0), secret);
    let mark = fs::read_to_string(pm2.log(&app, "out"))
        .unwrap()
        .lines()
        .count();
    pm2.wait_for_lines(&app, "out", mark + 100);
    let compared = sandbox.json(1, "compare", &["compare", "--service", &app]);
    assert_eq!(
        compared["verdict"]["decision"], "roll_back",
        "{:#}",
        compared["verdict"]
    );
    let (before, after) = (&compared["before"], &compared["after"]);
    assert_eq!(before["errors"], 0, "{before:#}");
    assert!(after["errors"].as_u64().unwrap() >= 100, "{after:#}");
    let all = fs::read_to_string(pm2.log(&app, "out"))
        .unwrap()
        .lines()
        .count() as u64;
    assert!(
        after["requests"].as_u64().unwrap() <= all - log["lines"].as_u64().unwrap(),
        "after begins where the checkpoint ended: {after:#}"
    );

    let whole = compared.to_string() + &created.to_string();
    assert!(!whole.contains("hunter2"), "{whole}");
    assert_no_file_holds(&sandbox.state(), "hunter2");
    assert!(unique("shop") == app, "named for the clean-up");
}

fn assert_no_file_holds(folder: &Path, word: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_file_holds(&path, word);
            continue;
        }
        let mut content = fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "zst") {
            content = zstd::decode_all(content.as_slice()).unwrap();
        }
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(word), "{}", path.display());
    }
}

#[test]
fn the_console_sees_a_change_without_asking_again() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-watch");
    // In this order: PM2 is ended before the folder is removed.
    let (sandbox, pm2) = (
        sandbox.with("DOCKER_HOST", "unix:///nowhere/docker.sock"),
        pm2,
    );
    let app = pm2.start("seen", "setInterval(() => {}, 1000);", json!({}));
    let terminal = Terminal::start(&sandbox, &["tui", "--only", "services"], (160, 50));
    let row = |state: &str| {
        // The console looks again by itself after 30 s: sooner means that PM2 told it.
        wait_for(state, Duration::from_secs(20), || {
            let screen = terminal.screen();
            let is_seen = |line: &str| line.contains(&app) && line.contains(state);
            screen.lines().any(is_seen).then_some(())
        });
    };
    row("✔");
    pm2.run(&["stop", &app]);
    row("stopped");
    pm2.run(&["kill"]);
    terminal.wait_for("not running");
    pm2.run(&[
        "start",
        sandbox.work().join("seen.config.json").to_str().unwrap(),
    ]);
    row("✔");
}
