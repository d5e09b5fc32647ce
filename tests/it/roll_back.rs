//! Rolling back and restarting where it does not go as in the story.

use crate::compose_story::{GOOD, list};
use crate::harness::{Docker, Project, Sandbox, missing, unique};
use std::fs;

/// A service whose health check fails while the file `/shared/broken` is there; `/shared` is the project's folder `shared`.
const CHECKED: &str = "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    volumes: [\"./shared:/shared\"]
    healthcheck:
      test: [\"CMD\", \"/bin/test\", \"!\", \"-e\", \"/shared/broken\"]
      interval: 500ms
      timeout: 5s
      retries: 2
";

#[test]
fn a_service_that_never_gets_healthy_is_applied_not_verified() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("unhealthy");
    let mut project = Project::new(&sandbox, "unhealthy", CHECKED);
    fs::create_dir(project.folder().join("shared")).unwrap();
    let good = project.image(GOOD);
    project.compose(&["up", "-d", "--wait"]);
    let service = project.service("backend");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);

    project.image("echo the new release; sleep 600");
    project.up();
    fs::write(project.folder().join("shared/broken"), "").unwrap();
    let outcome = sandbox.json(
        1,
        "outcome",
        &[
            "roll-back",
            &service,
            "--to",
            created["id"].as_str().unwrap(),
            "--yes",
            "--confirm",
            "backend",
        ],
    );
    assert_eq!(outcome["outcome"], "applied_not_verified", "{outcome:#}");
    assert_eq!(
        project.running_image("backend"),
        good,
        "the old image runs; only its health is missing"
    );
    assert!(
        list(&outcome["steps"])
            .iter()
            .any(|step| step["ok"] == false && !step["detail"].is_null()),
        "the step that failed says why: {outcome:#}"
    );
    sandbox.run(&["audit", "verify"]).exits(0);
    let listed = sandbox.json(0, "", &["audit", "list"]);
    assert!(
        list(&listed["records"])
            .iter()
            .any(|record| record["outcome"] == "applied_not_verified"),
        "{listed:#}"
    );
    let health = sandbox.json(1, "health", &["health", &service]);
    assert_eq!(health["state"], "unhealthy", "{health:#}");
}

#[test]
fn nothing_to_roll_back_to_is_said_with_the_list() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("notarget");
    let mut project = Project::of_one(&sandbox, "notarget");
    let running = project.image(GOOD);
    project.up();
    let service = project.service("backend");
    sandbox
        .run(&["roll-back", &service, "--yes", "--confirm", "backend"])
        .exits(1)
        .says(&["checkpoint"]);
    // A checkpoint of the release that runs is no target.
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let id = created["id"].as_str().unwrap();
    sandbox
        .run(&["roll-back", &service, "--yes", "--confirm", "backend"])
        .exits(1)
        .says(&[id]);
    sandbox
        .run(&[
            "roll-back",
            &service,
            "--to",
            "20000101-000000",
            "--dry-run",
        ])
        .exits(2);
    assert_eq!(project.running_image("backend"), running);
}

#[test]
fn a_damaged_checkpoint_is_no_target() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("damaged");
    let mut project = Project::of_one(&sandbox, "damaged");
    project.image(GOOD);
    project.up();
    let service = project.service("backend");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let next = project.image("echo the new release; sleep 600");
    project.up();
    let releases = std::path::Path::new(created["path"].as_str().unwrap()).join("releases.json");
    let text = fs::read_to_string(&releases).unwrap();
    fs::write(&releases, text + "\n").unwrap();
    sandbox
        .run(&["roll-back", &service, "--yes", "--confirm", "backend"])
        .exits(1);
    assert_eq!(
        project.running_image("backend"),
        next,
        "nothing was touched"
    );
}

#[test]
fn an_image_can_be_named_as_the_target() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("image");
    let mut project = Project::of_one(&sandbox, "image");
    let first = project.image(GOOD);
    let kept = format!("{}:kept", project.name);
    project
        .docker
        .must(&["tag", &format!("{}:latest", project.name), &kept]);
    project.image("echo the new release; sleep 600");
    project.up();
    let outcome = sandbox.json(
        0,
        "outcome",
        &[
            "roll-back",
            &project.service("backend"),
            "--to",
            &format!("image:{kept}"),
            "--yes",
            "--confirm",
            "backend",
        ],
    );
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(project.running_image("backend"), first);
    sandbox.run(&[
        "roll-back",
        &project.service("backend"),
        "--to",
        "image:lastgood-test-none:such",
        "--yes",
        "--confirm",
        "backend",
    ]);
    assert_eq!(
        project.running_image("backend"),
        first,
        "an image that is not there changes nothing"
    );
    project.docker.run(&["rmi", &kept]);
}

#[test]
fn a_restart_is_planned_done_and_verified() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("restart");
    let mut project = Project::of_one(&sandbox, "restart");
    project.image(GOOD);
    project.up();
    let service = project.service("backend");
    let started = |project: &Project| {
        project.docker.must(&[
            "inspect",
            "-f",
            "{{.State.StartedAt}}",
            &project.container("backend"),
        ])
    };
    let before = started(&project);
    let plan = sandbox.json(0, "plan", &["restart", &service, "--dry-run"]);
    assert_eq!(plan["risk"], "disruptive", "{plan:#}");
    assert!(
        plan["hash"].as_str().is_some_and(|hash| hash.len() >= 8),
        "{plan:#}"
    );
    assert_eq!(started(&project), before, "a dry run changes nothing");
    let outcome = sandbox.json(0, "outcome", &["restart", &service, "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_ne!(started(&project), before);
}

#[test]
fn a_restart_of_a_crashing_service_is_not_verified() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("crash");
    let mut project = Project::new(
        &sandbox,
        "crash",
        "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    restart: always
    stop_grace_period: 0s
    volumes: [\"./shared:/shared\"]
",
    );
    fs::create_dir(project.folder().join("shared")).unwrap();
    project.image("echo up; test -e /shared/broken && exit 3; sleep 600");
    project.up();
    fs::write(project.folder().join("shared/broken"), "").unwrap();
    // Docker says 0 to this restart; the state a moment later says otherwise.
    let outcome = sandbox.json(
        1,
        "outcome",
        &["restart", &project.service("backend"), "--yes"],
    );
    assert_eq!(outcome["outcome"], "applied_not_verified", "{outcome:#}");
}

#[test]
fn a_health_check_that_has_not_decided_is_no_proof() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("undecided");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("undecided"));
    docker.image(&image, "touch /up; sleep 600");
    // It decides long after a restart counts as stable.
    let check = |command| {
        [
            "--health-cmd",
            command,
            "--health-interval",
            "8s",
            "--health-retries",
            "1",
        ]
    };
    let restart = |container: &str, code| {
        let service = format!("docker/{container}");
        sandbox.json(code, "outcome", &["restart", &service, "--yes"])
    };
    let ill = docker.start("undecided-ill", &image, &check("false"));
    let outcome = restart(&ill, 1);
    assert_eq!(outcome["outcome"], "applied_not_verified", "{outcome:#}");
    assert!(outcome.to_string().contains("health"), "{outcome:#}");
    let well = docker.start("undecided-well", &image, &check("test -e /up"));
    let outcome = restart(&well, 0);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let state = docker.must(&["inspect", "-f", "{{.State.Health.Status}}", &well]);
    assert_eq!(state.trim(), "healthy", "it was waited for");
}
