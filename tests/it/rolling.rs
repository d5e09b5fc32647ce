//! One replica after the other: the service goes on answering, and a restart that fails costs one replica.

use crate::compose_story::list;
use crate::harness::{Pm2, Project, Sandbox, missing};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

/// Replicas that are healthy while `/shared/broken` is not there.
const REPLICAS: &str = "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    scale: 3
    volumes: [\"./shared:/shared\"]
    healthcheck:
      test: [\"CMD\", \"/bin/test\", \"!\", \"-e\", \"/shared/broken\"]
      interval: 300ms
      timeout: 5s
      retries: 1
";

fn project(sandbox: &Sandbox, name: &str) -> Project {
    let mut project = Project::new(sandbox, name, REPLICAS);
    fs::create_dir(project.folder().join("shared")).unwrap();
    project.image("echo up; sleep 600");
    project.compose(&["up", "-d", "--wait"]);
    project
}

/// When each replica was started, by its name.
fn started(project: &Project) -> BTreeMap<String, jiff::Timestamp> {
    let ids = project.compose(&["ps", "-aq", "backend"]);
    let format = "{{.Name}} {{.State.StartedAt}}";
    let mut words = vec!["inspect", "-f", format];
    words.extend(ids.lines());
    let told = project.docker.must(&words);
    let lines = told.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, at)| (name.to_owned(), at.parse().unwrap()))
        .collect()
}

#[test]
fn replicas_are_restarted_one_after_the_other_each_proved() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("rolling");
    let project = project(&sandbox, "rolling");
    let service = project.service("backend");
    let before = started(&project);
    let words = ["restart", &service, "--rolling"];
    let plan = sandbox.json(0, "plan", &[&words[..], &["--dry-run"]].concat());
    assert_eq!(list(&plan["steps"]).len(), 6, "{plan:#}");
    assert!(
        plan["notes"].to_string().contains("3 instances"),
        "{plan:#}"
    );
    let outcome = sandbox.json(0, "outcome", &[&words[..], &["--yes"]].concat());
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let after = started(&project);
    assert!(
        after.iter().all(|(name, at)| before[name] < *at),
        "{after:?}"
    );
    let mut times: Vec<&jiff::Timestamp> = after.values().collect();
    times.sort();
    for pair in times.windows(2) {
        let apart = pair[1].duration_since(*pair[0]);
        // Each ran for two seconds and answered three times before the next one's turn.
        assert!(apart.as_millis() >= 2000, "{after:?}");
    }
}

#[test]
fn a_replica_that_does_not_prove_itself_ends_it() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("rolling-stops");
    let project = project(&sandbox, "rolling-stops");
    let before = started(&project);
    fs::write(project.folder().join("shared/broken"), "").unwrap();
    let words = ["restart", &project.service("backend"), "--rolling", "--yes"];
    let outcome = sandbox.json(4, "outcome", &words);
    assert_eq!(outcome["outcome"], "failed_partial", "{outcome:#}");
    let manual = outcome["manual"].to_string();
    assert!(
        manual.contains("docker restart"),
        "the rest is said: {outcome:#}"
    );
    let after = started(&project);
    let touched = after.iter().filter(|(name, at)| before[*name] != **at);
    assert_eq!(touched.count(), 1, "{before:?} {after:?}");
}

#[test]
fn instances_of_a_cluster_are_reloaded_one_after_the_other_each_proved() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("rolling-pm2");
    let script = "setInterval(() => {}, 1000)";
    let app = pm2.start(
        "web",
        script,
        json!({ "exec_mode": "cluster", "instances": 2 }),
    );
    let words = ["restart", &app, "--rolling"];
    let plan = sandbox.json(0, "plan", &[&words[..], &["--dry-run"]].concat());
    let steps = list(&plan["steps"]);
    let texts: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["text"].as_str())
        .collect();
    assert_eq!(texts.len(), 4, "{plan:#}");
    assert!(texts[0].starts_with("pm2 reload") && texts[2].starts_with("pm2 reload"));
    assert!(texts[1].starts_with("verify:") && texts[1].contains("no restart for 2 s"));
    let outcome = sandbox.json(0, "outcome", &[&words[..], &["--yes"]].concat());
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
}

#[test]
fn what_is_run_by_commands_has_no_replicas() {
    let sandbox = Sandbox::new("rolling-exec");
    fs::write(
        sandbox.path("config/lastgood/config.toml"),
        "[services.\"exec/bot\"]\nstatus = \"true\"\nrestart = \"true\"\n",
    )
    .unwrap();
    sandbox
        .run(&["restart", "exec/bot", "--rolling", "--yes"])
        .exits(2)
        .says(&["run by commands"]);
}
