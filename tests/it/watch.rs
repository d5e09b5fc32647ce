//! The watch over real services: what dies, loops behind a mask or answers 500 is paged, and comes back.

use crate::compose_story::{GOOD, list};
use crate::harness::{
    Docker, Pm2, Project, Received, Receiver, Sandbox, missing, unique, wait_for,
};
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
fn a_masked_crash_loop_is_paged_within_a_minute_and_its_end_told() {
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
    let watch = sandbox.follow(&["watch", "--format", "json"]);
    let page = receiver.wait("the page", LONG, |_| true);
    assert!(page.at.duration_since(begun) < LONG);
    let page = page.json();
    assert_eq!(page["severity"], "P0", "{page:#}");
    assert_eq!(page["runbook"], "emergency-rollback-pm2", "{page:#}");
    assert_eq!(watch.end_with(Signal::TERM), 143);
    // A release that stays. That it does is known after a minute, to another watch as well.
    sandbox.write("masked.js", "setInterval(() => {}, 1000);");
    let _watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let stays = Instant::now();
    let is_end = |r: &Received| r.json()["event"] == "resolve";
    let end = receiver.wait("the end", Duration::from_secs(180), is_end);
    assert!(end.at.duration_since(stays) > Duration::from_secs(30));
    assert_eq!(end.json()["key"], page["key"]);
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

#[test]
fn a_port_where_nobody_listens_is_paged_within_a_minute_and_resolved() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let receiver = Receiver::http();
    let sandbox = Sandbox::new("watch-port").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let service = format!(
        "[services.\"exec/web\"]\nstatus = \"true\"\nprobe = {{ tcp = \"127.0.0.1:{port}\" }}\n"
    );
    sandbox.write("lastgood.toml", config(&receiver, "exec/web", &service));
    // The default interval: what is promised holds without a tuned one.
    let mut watch = sandbox.follow(&["watch", "--format", "json"]);
    watch.until("a look", LONG, |line| line.contains("\"looked\""));
    drop(listener);
    let died = Instant::now();
    let page = receiver.wait("the page", LONG, |_| true);
    assert!(page.at.duration_since(died) < LONG);
    let page = page.json();
    assert_eq!(page["severity"], "P0", "{page:#}");
    assert!(
        page["title"].as_str().unwrap().contains("refused"),
        "{page:#}"
    );
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    receiver.wait("the end", Duration::from_secs(90), |r| {
        r.json()["event"] == "resolve"
    });
}

#[test]
fn a_server_that_is_down_is_asked_again_then_seldom_and_never_taken_for_well() {
    let server = Receiver::http();
    let sandbox = Sandbox::new("watch-seldom").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/web\"]\nstatus = \"true\"\nprobe = \"{}\"\n",
            server.url("/health")
        ),
    );
    let asked = || server.received().len();
    // One failure is no outage: it is asked again.
    server.answer("503 Service Unavailable");
    let begun = Instant::now();
    let health = sandbox.json(1, "health", &["health", "exec/web"]);
    assert_eq!(health["state"], "unhealthy", "{health:#}");
    assert_eq!(asked(), 3, "at once, after a second and after two more");
    assert!(begun.elapsed() < Duration::from_secs(20));

    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let down = |line: &str, turn: &str| {
        line.contains(&format!("\"turn\":\"{turn}\"")) && line.contains("exec/web down")
    };
    watch.until("the alert", LONG, |line| down(line, "firing"));
    let before = asked();
    // Many looks: they are told of only where something changed.
    std::thread::sleep(Duration::from_secs(12));
    assert!(asked() <= before + 1, "{} times", asked() - before);
    let alerts = sandbox.run(&["alerts"]).stdout;
    for words in ["503", "in a row: not asked since", "next at"] {
        assert!(alerts.contains(words), "{words:?} in {alerts}");
    }
    // The next try is the one that counts.
    server.answer("200 OK");
    watch.until("the end", LONG, |line| down(line, "resolved"));
    let before = asked();
    std::thread::sleep(Duration::from_secs(5));
    assert!(asked() > before, "it is asked at each look again");
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

#[test]
fn a_machine_that_boots_again_loses_no_alert_and_pages_nobody_twice() {
    if missing(&["root"]) {
        return;
    }
    let (hook, late) = (Receiver::http(), Receiver::http());
    let sandbox = Sandbox::new("watch-boot").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let up = sandbox.write("up", "");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {}\"\n[sinks.hook]\nkind = \"webhook\"\nurl = \"{}\"\n[sinks.late]\nkind = \"webhook\"\nurl = \"{}\"\n[[routes]]\nservices = [\"exec/bot\"]\nsinks = [\"hook\", \"late\"]\n",
            up.display(),
            hook.url("/hook"),
            late.url("/late")
        ),
    );
    let watch = ["watch", "--interval", "1s", "--format", "json"];
    let is = |event: &'static str| move |r: &Received| r.json()["event"] == event;
    // One of the two takes nothing before the power is cut.
    late.answer("503 Service Unavailable");
    let mut before = sandbox.follow_on_boot(1, 1_000_000, &watch);
    before.until("a look", LONG, |line| line.contains("\"looked\""));
    std::fs::remove_file(&up).unwrap();
    let page = hook.wait("the page", LONG, is("trigger"));
    let refused = late.wait("the page that is not taken", LONG, is("trigger"));
    let alerts = || sandbox.json(1, "alerts", &["alerts"]);
    let alert = |all: &serde_json::Value| {
        let all = list(&all["alerts"]).clone();
        let own = all.into_iter().find(|one| one["key"] == "exec/bot down");
        own.expect("the alert")
    };
    let fired = alert(&alerts())["fired_at"].clone();
    before.end_with(Signal::KILL);

    // The same process number, another boot, and clocks that begin anew.
    late.answer("200 OK");
    let asked = late.received().len();
    let mut after = sandbox.follow_on_boot(2, 5, &watch);
    after.until("a look", LONG, |line| line.contains("\"looked\""));
    let taken = wait_for("the page that was waiting", LONG, || {
        late.received().into_iter().nth(asked)
    });
    let key = |r: &Received| r.header("idempotency-key");
    assert_eq!(key(&taken), key(&refused));
    std::thread::sleep(Duration::from_secs(5));
    let now = alert(&alerts());
    assert_eq!(
        (&now["state"], &now["fired_at"]),
        (&json!("firing"), &fired),
        "{now:#}"
    );
    let triggers = hook.received().into_iter().filter(|r| is("trigger")(r));
    assert_eq!(triggers.count(), 1, "nobody is paged twice");
    std::fs::write(&up, "").unwrap();
    for receiver in [&hook, &late] {
        let end = receiver.wait("the end", LONG, is("resolve"));
        assert_eq!(end.json()["key"], page.json()["key"]);
    }
    assert_eq!(late.received().len(), asked + 2, "the page and its end");
}

#[test]
fn a_service_behind_ssh_is_watched_like_one_here() {
    if missing(&["docker", "busybox", "sshd"]) {
        return;
    }
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("watch-far"));
    docker.image(&image, crate::ssh::WRITES);
    let container = docker.start("watch-far", &image, &[]);
    let (sandbox, mut fleet) = crate::ssh::fleet("watch-far");
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    let sshd = fleet.start("far", 71, &[]);
    let receiver = Receiver::http();
    let service = format!("far:docker/{container}");
    // What a machine that does not answer fires belongs to no service.
    let machine = "[[routes]]\nseverity = \"P0\"\nservices = [\"far:host/machine\"]\nsinks = [\"hook\"]\n[[routes]]\nseverity = \"P1\"\nsinks = [\"hook\"]\nservices = [\"far:host/machine\"]\n";
    sandbox.write("lastgood.toml", config(&receiver, &service, machine));
    let far = [
        "--host",
        "far",
        "watch",
        "--interval",
        "2s",
        "--format",
        "json",
    ];
    let mut watch = sandbox.follow(&far);
    watch.until("a look that knows it", LONG, |line| {
        line.contains("\"looked\"") && !line.contains("\"services\":0")
    });
    docker.must(&["stop", "--time", "0", &container]);
    let page = receiver.wait("the page", LONG, |r| r.body.contains(&container));
    let page = page.json();
    assert_eq!(
        (&page["severity"], &page["services"]),
        (&json!("P0"), &json!([service])),
        "{page:#}"
    );
    docker.must(&["start", &container]);
    let is_end = |r: &crate::harness::Received| {
        r.body.contains(&container) && r.json()["event"] == "resolve"
    };
    receiver.wait("its end", Duration::from_secs(90), is_end);
    // A machine that stands still: nothing of it is well, nothing is over, and the watch goes on.
    sshd.freeze();
    // The look that was under way may have had the engine's answer already.
    let is_away = |line: &str| {
        line.contains("docker on far: ") || line.contains("pm2 on far: far cannot be reached")
    };
    watch.until("what cannot be looked at", LONG, |line| {
        line.contains("\"looked\"") && is_away(line)
    });
    sshd.thaw();
    watch.until("a look at it again", LONG, |line| {
        line.contains("\"looked\"") && !is_away(line)
    });
    assert_eq!(watch.end_with(Signal::TERM), 143);
    // The signals of that machine are kept beside those of its services.
    let kept = std::fs::read_dir(sandbox.state().join("signals")).unwrap();
    let kept: Vec<String> = kept
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        kept.iter()
            .any(|name| name.contains("far") && name.contains("machine")),
        "{kept:?}"
    );
}

#[test]
fn a_full_disk_stops_neither_the_watch_nor_its_pages() {
    if missing(&["root"]) {
        return;
    }
    let receiver = Receiver::http();
    let sandbox = Sandbox::new("watch-full").with("DOCKER_HOST", "unix:///nonexistent/x.sock");
    // The state folder, on a file system that is soon full.
    let state = sandbox.state();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .arg(&state)
        .status()
        .unwrap();
    assert!(mounted.success());
    let _unmount = Unmount(state.clone());
    let up = sandbox.write("up", "");
    let service = format!(
        "[services.\"exec/bot\"]\nstatus = \"test -e {}\"\n",
        up.display()
    );
    sandbox.write("lastgood.toml", config(&receiver, "exec/bot", &service));
    let mut watch = sandbox.follow(&["watch", "--interval", "1s", "--format", "json"]);
    let looked = |line: &str| line.contains("\"looked\"");
    watch.until("a look", LONG, looked);
    // Everything that is left: so small a disk has no room for a reserve.
    let mut filler = std::fs::File::create(state.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {}
    while std::io::Write::write_all(&mut filler, &[0; 1]).is_ok() {}
    std::fs::remove_file(&up).unwrap();
    let page = receiver.wait("the page", LONG, |_| true).json();
    assert_eq!(page["severity"], "P0", "{page:#}");
    let begun = watch.seen.len();
    watch.until("what it cannot write", LONG, |line| {
        line.contains("\"problem\"") && line.contains("No space left")
    });
    watch.until("a look at a full disk", LONG, looked);
    assert!(watch.seen.len() > begun);
    drop(filler);
    std::fs::remove_file(state.join("filler")).unwrap();
    std::fs::write(&up, "").unwrap();
    receiver.wait("its end", Duration::from_secs(90), |r| {
        r.json()["event"] == "resolve"
    });
    let triggers = receiver.received();
    let triggers = triggers.iter().filter(|r| r.json()["event"] == "trigger");
    let ids: std::collections::BTreeSet<_> =
        triggers.map(|r| r.header("idempotency-key")).collect();
    assert_eq!(ids.len(), 1, "one page, however often it was sent");
    assert_eq!(watch.end_with(Signal::TERM), 143);
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let lazily = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
        let _ = lazily;
    }
}
