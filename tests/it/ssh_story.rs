//! The product's main job on another machine, through ssh only: checkpoint, a bad release, the verdict, back, proof.

use crate::compose_story::{BAD, GOOD, list};
use crate::harness::{Fleet, Pm2, Project, Sandbox, Sshd, missing, unique, wait_for};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_bad_release_of_a_remote_project_is_seen_and_rolled_back() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = Fleet::new(Sandbox::new("ssh-story"));
    let docker_config = std::env::var("DOCKER_CONFIG")
        .unwrap_or_else(|_| format!("{}/.docker", std::env::var("HOME").unwrap()));
    let variables = format!("SetEnv DOCKER_CONFIG={docker_config}");
    let _sshd = fleet.start("prod-1", 14, &[&variables]);
    sandbox.write("lastgood.toml", "[hosts.prod-1]\n");
    let mut project = Project::of_one(&sandbox, "ssh-story");
    let good = project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 250);
    let service = format!("prod-1:{}", project.service("backend"));

    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    assert_eq!(created["complete"], true, "{created:#}");
    let id = created["id"].as_str().unwrap().to_owned();
    let path = Path::new(created["path"].as_str().unwrap());
    assert!(
        path.join(format!("logs/prod-1/{}/backend.log.zst", project.name))
            .is_file()
    );
    let compose = project.folder().join("compose.yaml");
    let copy = path
        .join(format!("configs/prod-1/{}/backend", project.name))
        .join(compose.strip_prefix("/").unwrap());
    assert_eq!(fs::read(copy).unwrap(), fs::read(&compose).unwrap());
    sandbox.run(&["checkpoint", "verify", &id]).exits(0);

    let bad = project.image(BAD);
    project.up();
    project.wait_for_lines("backend", 250);
    let compared = sandbox.json(1, "compare", &["compare", "--service", &service]);
    assert_eq!(
        compared["verdict"]["decision"], "roll_back",
        "{:#}",
        compared["verdict"]
    );
    assert!(
        list(&compared["changes"])
            .iter()
            .any(|change| change["what"] == "image"),
        "{:#}",
        compared["changes"]
    );
    // A deploy changes files as well.
    fs::write(
        &compose,
        fs::read_to_string(&compose).unwrap() + "# deployed\n",
    )
    .unwrap();
    let back = ["roll-back", &service, "--yes", "--confirm", "backend"];
    sandbox
        .run(&[&["--read-only"], &back[..]].concat())
        .exits(5);
    assert_eq!(project.running_image("backend"), bad);
    let outcome = sandbox.json(0, "outcome", &back);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(project.running_image("backend"), good);
    assert!(!fs::read_to_string(&compose).unwrap().contains("# deployed"));
    sandbox.json(0, "outcome", &["restart", &service, "--yes"]);
    let records = sandbox.json(0, "", &["audit", "list"]);
    assert!(
        list(&records["records"])
            .iter()
            .any(|record| record["host"] == "prod-1"),
        "{records:#}"
    );
}

/// A sandbox whose PM2 is found by the login on the machine behind ssh.
pub(crate) fn remote_pm2(name: &str, last: u8) -> (Sandbox, Pm2, Sshd) {
    let (sandbox, pm2) = Pm2::new(name);
    let (sandbox, mut fleet) = Fleet::new(sandbox);
    let variables = format!(
        "SetEnv PM2_HOME={} TMPDIR={}",
        sandbox.path("pm2").display(),
        sandbox.path("tmp").display()
    );
    let sshd = fleet.start("prod-1", last, &[&variables]);
    sandbox.write("lastgood.toml", "[hosts.prod-1]\n");
    (sandbox, pm2, sshd)
}

fn release(text: &str) -> String {
    format!(
        "require('fs').writeFileSync('now', '{text}' + (process.env.MODE || ''));
console.log('INFO release {text} is up'); let i = 0;
setInterval(() => console.log('INFO {text} line ' + (++i)), 100);\n"
    )
}

fn told(folder: &Path, wanted: &str) {
    wait_for(wanted, LONG, || {
        (fs::read_to_string(folder.join("now")).ok()? == wanted).then_some(())
    });
}

#[test]
fn a_remote_application_comes_back_as_it_was() {
    if missing(&["pm2", "sshd"]) {
        return;
    }
    let (sandbox, pm2, _sshd) = remote_pm2("ssh-pm2", 15);
    let app = unique("far");
    let work = sandbox.work();
    let ecosystem = |script: &str, mode: &str| {
        format!(
            "module.exports = {{ apps: [{{ name: '{app}', script: '{script}', env: {{ MODE: '{mode}' }} }}] }};\n"
        )
    };
    sandbox.write("v1.js", release("v1"));
    let errors = "setInterval(() => console.error('ERROR payment refused'), 50);\n";
    sandbox.write("v2.js", release("v2") + errors);
    sandbox.write("ecosystem.config.js", ecosystem("v1.js", "good"));
    pm2.run(&["start", "ecosystem.config.js"]);
    pm2.run(&["save"]);
    told(&work, "v1good");
    let service = format!("prod-1:pm2/{app}");
    let found = sandbox.json(0, "services", &["services"]);
    let own = list(&found["services"])
        .iter()
        .find(|s| s["id"] == service.as_str());
    let own = own.unwrap_or_else(|| panic!("{found:#}"));
    assert_eq!(
        (own["host"].as_str(), own["runtime"].as_str()),
        (Some("prod-1"), Some("pm2"))
    );

    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    assert_eq!(created["complete"], true, "{created:#}");
    let saved = &created["services"][0];
    assert!(saved["log"]["lines"].as_u64().unwrap() > 0, "{created:#}");

    sandbox.write("ecosystem.config.js", ecosystem("v2.js", "bad"));
    pm2.run(&["delete", &app]);
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "v2bad");
    let shown = sandbox
        .run(&["logs", &service, "--format", "json"])
        .exits(0);
    assert!(shown.stdout.contains("v2 line"), "{shown}");
    wait_for("its errors", LONG, || {
        let shown = sandbox.run(&["logs", &service]).exits(0).stdout;
        (shown.matches("payment refused").count() > 40).then_some(())
    });
    let compared = sandbox.json(1, "compare", &["compare", "--service", &service]);
    let decision = &compared["verdict"]["decision"];
    assert_eq!(decision, "roll_back", "{:#}", compared["verdict"]);
    let changed = compared["changes"].to_string();
    assert!(changed.contains("v2.js"), "{changed}");
    let outcome = sandbox.json(
        0,
        "outcome",
        &["roll-back", &service, "--yes", "--confirm", &app],
    );
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    told(&work, "v1good");
    let dump = fs::read_to_string(sandbox.path("pm2/dump.pm2")).unwrap();
    assert!(
        dump.contains("v1.js") && !dump.contains("v2.js"),
        "saved anew"
    );
    // No step left anything on the machine.
    let left: Vec<_> = fs::read_dir(sandbox.path("tmp"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("lastgood-step"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_log_of_a_remote_application_survives_a_lost_link_and_rotation() {
    if missing(&["pm2", "sshd"]) {
        return;
    }
    let (sandbox, pm2, mut sshd) = remote_pm2("ssh-tail", 16);
    let app = pm2.start("tail", &release("v1"), serde_json::json!({}));
    pm2.wait_for_lines(&app, "out", 10);
    let service = format!("prod-1:pm2/{app}");
    let mut follow = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    follow.until("line 15", LONG, |line| line.contains("line 15\""));
    sshd.kill();
    std::thread::sleep(Duration::from_secs(1));
    sshd.revive();
    follow.until("line 60", LONG, |line| line.contains("line 60\""));
    let log = pm2.log(&app, "out");
    let mut rotated = log.clone();
    rotated.as_mut_os_string().push(".1");
    fs::rename(&log, &rotated).unwrap();
    pm2.run(&["reloadLogs"]);
    follow.until("line 120", LONG, |line| line.contains("line 120\""));
    let numbers: Vec<u64> = follow
        .seen
        .iter()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["text"].as_str()?.rsplit_once("line ")?.1.parse().ok()
        })
        .collect();
    let expected: Vec<u64> = (numbers[0]..numbers[0] + numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "nothing lost, nothing doubled");
    // The server of the machine goes on taking connections to the daemon's socket.
    pm2.run(&["kill"]);
    follow.until("a daemon that is gone", LONG, |line| {
        line.contains("\"reconnecting\"")
    });
}

/// Wherever the link breaks, the rollback goes on when it is back, and nothing is done twice.
#[test]
fn a_rollback_goes_on_after_lost_links() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = Fleet::new(Sandbox::new("ssh-cut"));
    let docker_config = std::env::var("DOCKER_CONFIG")
        .unwrap_or_else(|_| format!("{}/.docker", std::env::var("HOME").unwrap()));
    let variables = format!("SetEnv DOCKER_CONFIG={docker_config}");
    let mut sshd = fleet.start("prod-1", 20, &[&variables]);
    sandbox.write("lastgood.toml", "[hosts.prod-1]\n");
    let mut project = Project::of_one(&sandbox, "ssh-cut");
    let good = project.image(GOOD);
    project.up();
    project.wait_for_lines("backend", 50);
    let service = format!("prod-1:{}", project.service("backend"));
    sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let bad = project.image(BAD);
    project.up();
    assert_eq!(project.running_image("backend"), bad);
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 1;
    std::thread::sleep(Duration::from_secs(1));
    let back = ["roll-back", &service, "--yes", "--confirm", "backend"];
    let plan = sandbox.json(0, "plan", &["roll-back", &service, "--dry-run"]);
    let steps = list(&plan["steps"]).len();
    let mut follow = sandbox.follow(&[&back[..], &["--format", "json"]].concat());
    for step in 1..=steps {
        wait_for(&format!("step {step}"), LONG, || {
            (begun(&sandbox) >= step).then_some(())
        });
        sshd.kill();
        std::thread::sleep(Duration::from_millis(300));
        sshd.revive();
    }
    follow.until("its end", LONG, |line| {
        line.starts_with("  \"duration_ms\"")
    });
    let said = follow.seen.join("\n");
    assert!(said.contains("\"verified\""), "{said}");
    assert_eq!(project.running_image("backend"), good);
    let filter = format!("label=com.docker.compose.project={}", project.name);
    let created = project.docker.must(&[
        "events",
        "--since",
        &since.to_string(),
        "--until",
        "0s",
        "--filter",
        "event=create",
        "--filter",
        &filter,
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(created.lines().count(), 1, "{created}");
}

/// How many steps the newest journal has begun.
fn begun(sandbox: &Sandbox) -> usize {
    let Ok(runs) = fs::read_dir(sandbox.path("state/runs")) else {
        return 0;
    };
    runs.filter_map(|run| fs::read_to_string(run.ok()?.path().join("journal.jsonl")).ok())
        .map(|journal| journal.matches("\"entry\":\"BEGIN\"").count())
        .max()
        .unwrap_or(0)
}
