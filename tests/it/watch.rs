//! The watch over real services: what dies, loops behind a mask or answers 500 is paged, and comes back.

use crate::compose_story::{GOOD, list};
use crate::harness::{Pm2, Project, Receiver, Sandbox, missing};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Only what this test started pages: other services of the machine have no route.
fn config(receiver: &Receiver, service: &str, more: &str) -> String {
    let routes: String = ["P0", "P1"]
        .iter()
        .map(|severity| {
            format!("[[routes]]\nseverity = \"{severity}\"\nservices = [\"{service}\"]\nsinks = [\"hook\"]\n")
        })
        .collect();
    format!(
        "[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n{routes}{more}",
        receiver.url("/hook")
    )
}

#[test]
fn a_dead_compose_service_is_paged_in_time_and_resolved() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("watch-compose");
    let mut project = Project::of_one(&sandbox, "watch");
    project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 100);
    let service = project.service("backend");
    let receiver = Receiver::http();
    sandbox.write("lastgood.toml", config(&receiver, &service, ""));
    sandbox
        .run(&["checkpoint", "create", &service, "--label", "good"])
        .exits(0);
    // The default interval: what is promised holds without a tuned one.
    let mut watch = sandbox.follow(&["watch", "--format", "json"]);
    watch.until("a look", LONG, |line| line.contains("\"looked\""));
    project.compose(&["kill", "backend"]);
    let died = Instant::now();
    let page = receiver.wait("the page", LONG, |_| true);
    assert!(page.at.duration_since(died) < LONG);
    let page = page.json();
    assert_eq!(
        (&page["event"], &page["severity"]),
        (&json!("trigger"), &json!("P0")),
        "{page:#}"
    );
    assert_eq!(page["services"], json!([service]), "{page:#}");
    assert_eq!(page["runbook"], "emergency-rollback-compose", "{page:#}");
    assert!(
        page["checkpoint"].as_str().unwrap().ends_with("good"),
        "{page:#}"
    );
    assert!(
        page["verdict"]
            .as_str()
            .is_some_and(|text| text.starts_with("ROLL BACK (P0)")),
        "{page:#}"
    );
    assert_eq!(page["audit_head"].as_str().unwrap().len(), 64, "{page:#}");
    project.compose(&["start", "backend"]);
    let end = receiver.wait("the end", Duration::from_secs(90), |r| {
        r.json()["event"] == "resolve"
    });
    assert_eq!(end.json()["key"], page["key"]);
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

#[test]
fn once_says_by_its_exit_code_what_is_so() {
    let sandbox =
        Sandbox::new("watch-once").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let up = sandbox.bot();
    // The engine that cannot be asked is missing data, whatever else is well.
    let run = sandbox
        .run(&["watch", "--once", "--interval", "1s"])
        .exits(3);
    assert!(run.stdout.contains("nonexistent"), "{run}");
    std::fs::remove_file(&up).unwrap();
    let run = sandbox
        .run(&["watch", "--once", "--interval", "1s", "--format", "json"])
        .exits(1);
    let lines = run.json_lines("watch");
    let alert = lines
        .iter()
        .find(|line| line["turn"] == "firing")
        .unwrap_or_else(|| panic!("{run}"));
    assert_eq!(alert["alert"]["severity"], "P0", "{alert:#}");
    let looked = lines.last().unwrap();
    assert_eq!(
        (&looked["event"], &looked["severity"]),
        (&json!("looked"), &json!("P0")),
        "{looked:#}"
    );
    assert!(!list(&looked["missing"]).is_empty(), "{looked:#}");
    // Once more: it fires on, and says nothing new.
    let run = sandbox
        .run(&["watch", "--once", "--interval", "1s", "--format", "json"])
        .exits(1);
    assert!(!run.stdout.contains("\"turn\""), "{run}");
}

#[test]
fn a_checkpoint_is_kept_of_what_is_healthy_and_of_nothing_else() {
    let sandbox =
        Sandbox::new("watch-rolling").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let up = sandbox.write("up", "");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {}\"\nlogs = \"echo ready\"\n[services.\"exec/well\"]\nstatus = \"true\"\nlogs = \"echo ready\"\n",
            up.display()
        ),
    );
    let mut watch = sandbox.follow(&[
        "watch",
        "--interval",
        "1s",
        "--checkpoint-every",
        "4s",
        "--format",
        "json",
    ]);
    let is_made = |line: &str| line.contains("\"checkpoint\"");
    watch.until("a checkpoint", LONG, is_made);
    std::fs::remove_file(&up).unwrap();
    watch.until("the alert", LONG, |line| {
        line.contains("\"firing\"") && line.contains("exec/bot")
    });
    watch.until("one more checkpoint", LONG, is_made);
    watch.until("and one more", LONG, is_made);
    assert_eq!(watch.end_with(Signal::TERM), 143);
    let all = sandbox.json(0, "checkpoints", &["checkpoint", "list"]);
    let held: Vec<String> = list(&all["checkpoints"])
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(held.len() >= 3, "{all:#}");
    assert!(
        held[0].contains("exec/well") && !held[0].contains("exec/bot"),
        "{all:#}"
    );
    assert!(held.last().unwrap().contains("exec/bot"), "{all:#}");
}

#[test]
fn there_is_only_one_watch() {
    let sandbox = Sandbox::new("watch-two").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let mut first = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    first.until("a look", LONG, |line| line.contains("\"looked\""));
    sandbox
        .run(&["watch", "--once"])
        .exits(5)
        .says(&["another watch"]);
}

#[test]
fn a_masked_crash_loop_is_paged_within_a_minute() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("watch-loop");
    let app = pm2.start(
        "masked",
        "setTimeout(() => process.exit(1), 3000);",
        json!({"min_uptime": 500, "max_restarts": 1000}),
    );
    let begun = Instant::now();
    let receiver = Receiver::http();
    sandbox.write(
        "lastgood.toml",
        config(&receiver, &format!("pm2/{app}"), ""),
    );
    let _watch = sandbox.follow(&["watch", "--format", "json"]);
    let page = receiver.wait("the page", LONG, |_| true);
    assert!(page.at.duration_since(begun) < LONG);
    let page = page.json();
    assert_eq!(page["severity"], "P0", "{page:#}");
    assert_eq!(page["runbook"], "emergency-rollback-pm2", "{page:#}");
}

#[test]
fn a_service_that_answers_500_is_paged_and_the_heartbeat_goes_on() {
    let (app, receiver, heart) = (Receiver::http(), Receiver::http(), Receiver::http());
    let sandbox = Sandbox::new("watch-500").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let service = format!(
        "[watch]\nheartbeat = \"{}\"\n[services.\"exec/web\"]\nstatus = \"true\"\nprobe = \"{}\"\n",
        heart.url("/ping/secret-heart"),
        app.url("/health")
    );
    sandbox.write("lastgood.toml", config(&receiver, "exec/web", &service));
    let mut watch = sandbox.follow(&["watch", "--interval", "1s"]);
    watch.until("a look", LONG, |line| line.contains("services"));
    app.answer("500 Internal Server Error");
    let page = receiver.wait("the page", LONG, |_| true).json();
    assert!(page["title"].as_str().unwrap().contains("500"), "{page:#}");
    heart.wait("a heartbeat", LONG, |r| {
        r.head.starts_with("GET /ping/secret-heart")
    });
    heart.answer("404 Not Found");
    watch.until("the missed heartbeat", LONG, |line| {
        line.contains("heartbeat")
    });
    assert!(
        watch.seen.iter().all(|line| !line.contains("secret-heart")),
        "{:#?}",
        watch.seen
    );
}
