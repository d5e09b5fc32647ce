//! Services of a swarm, through its manager: what runs on every node, back to a checkpoint, what swarm does by itself.

use crate::compose_story::list;
use crate::harness::{Sandbox, Swarm, missing, unique, wait_for};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const GOOD: &str = "while true; do echo good $COLOUR; sleep 1; done";
const BAD: &str = "while true; do echo bad $COLOUR; sleep 1; done";
const CRASH: &str = "echo dying; sleep 1; exit 3";
const SERVICE: &str = "shop_web";
/// As `docker stack deploy` labels them.
const STACK: [&str; 4] = [
    "--label",
    "com.docker.stack.namespace=shop",
    "--container-label",
    "com.docker.stack.namespace=shop",
];

struct Story {
    sandbox: Sandbox,
    swarm: Swarm,
    repository: String,
    /// The id of the good image on the manager.
    good: String,
}

impl Story {
    /// The service `shop/web` with the good image, on the manager and so many workers.
    fn new(name: &str, workers: usize, replicas: usize, options: &[&str]) -> Story {
        let mut swarm = Swarm::start(name, workers);
        let sandbox = Sandbox::new(name).with("DOCKER_HOST", &swarm.host());
        let repository = unique(name);
        let image = format!("{repository}:1");
        let good = swarm.image(&image, GOOD);
        let options = [&STACK[..], &["-e", "COLOUR=blue"], options].concat();
        swarm.create(SERVICE, &image, replicas, &options);
        Story {
            sandbox,
            swarm,
            repository,
            good,
        }
    }

    fn image(&mut self, tag: &str, script: &str) -> (String, String) {
        let name = format!("{}:{tag}", self.repository);
        let id = self.swarm.image(&name, script);
        (name, id)
    }

    fn service(&self) -> Value {
        let listed = self.sandbox.json(0, "services", &["services"]);
        let all = list(&listed["services"]).iter();
        let mut own = all.filter(|service| service["id"] == "shop/web");
        own.next().unwrap_or_else(|| panic!("{listed:#}")).clone()
    }

    fn checkpoint(&self) -> Value {
        let made = self
            .sandbox
            .json(0, "checkpoint", &["checkpoint", "create", "shop/web"]);
        assert_eq!(made["complete"], true, "{made:#}");
        made
    }

    fn roll_back(&self, code: i32, options: &[&str]) -> Value {
        let words = [
            &["roll-back", "shop/web", "--yes", "--confirm", "web"],
            options,
        ];
        self.sandbox.json(code, "outcome", &words.concat())
    }

    /// What the task of the manager runs, by its container.
    fn images(&self) -> Vec<String> {
        let label = format!("label=com.docker.swarm.service.name={SERVICE}");
        let ids = self.swarm.manager.run(&["ps", "-q", "--filter", &label]);
        let image = |id| self.swarm.manager.run(&["inspect", "-f", "{{.Image}}", id]);
        ids.lines().map(image).collect()
    }

    fn spec(&self, template: &str) -> String {
        self.swarm.ask(SERVICE, template)
    }
}

const IMAGE: &str = "{{.Spec.TaskTemplate.ContainerSpec.Image}}";
const ENV: &str = "{{join .Spec.TaskTemplate.ContainerSpec.Env \",\"}}";
const REPLICAS: &str = "{{.Spec.Mode.Replicated.Replicas}}";

fn is_missing() -> bool {
    missing(&["docker", "busybox", "root", "dockerd"])
}

fn texts(value: &Value) -> String {
    list(value).iter().map(|text| format!("{text}\n")).collect()
}

#[test]
fn a_bad_release_goes_and_the_checkpoints_image_and_specification_come_back() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm", 0, 2, &[]);
    let service = story.service();
    assert_eq!(service["runtime"], "swarm", "{service:#}");
    assert_eq!(service["state"], "running", "{service:#}");
    assert_eq!(service["release"]["digest"], *story.good, "{service:#}");
    assert_eq!(list(&service["instances"]).len(), 2, "{service:#}");
    assert_eq!(service["instances"][1]["name"], "web.2", "{service:#}");
    let made = story.checkpoint();
    let folder = Path::new(made["path"].as_str().unwrap());
    let spec = fs::read_to_string(folder.join("specs/shop/web.json")).unwrap();
    assert!(spec.contains("COLOUR=blue"), "{spec}");
    assert_eq!(made["services"][0]["pinned"], true, "{made:#}");
    assert!(
        made["services"][0]["log"]["lines"].as_u64() > Some(0),
        "{made:#}"
    );

    // Two changes: swarm's own rollback would go back by one of them only.
    let (bad, _) = story.image("2", BAD);
    let update = [
        "--image",
        &bad,
        "--env-add",
        "COLOUR=red",
        "--replicas",
        "3",
    ];
    story.swarm.update(SERVICE, &update);
    story.swarm.update(SERVICE, &["--env-add", "MORE=1"]);
    let compared = story.sandbox.run(&["compare", "--format", "json"]);
    let compared = serde_json::from_str::<Value>(&compared.stdout).unwrap();
    for change in [
        ("image", "image", ":2 ("),
        ("env", "COLOUR=red", "COLOUR=red"),
        ("limits", "replicas", "replicas 3"),
    ] {
        let found = list(&compared["changes"]).iter().any(|found| {
            let after = found["after"].as_str().unwrap_or_default();
            found["what"] == change.0 && after.contains(change.2)
        });
        assert!(found, "{}: {:#}", change.1, compared["changes"]);
    }

    let plan = story
        .sandbox
        .json(0, "plan", &["roll-back", "shop/web", "--dry-run"]);
    assert_eq!(plan["risk"], "destructive", "{plan:#}");
    let notes = texts(&plan["notes"]);
    assert!(notes.contains("replicas: 3 → 2"), "{notes}");
    assert!(notes.contains("would bring back another"), "{notes}");
    let outcome = story.roll_back(0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(outcome["release"]["digest"], *story.good, "{outcome:#}");
    assert_eq!(story.images(), [&*story.good, &*story.good]);
    assert_eq!(story.spec(ENV), "COLOUR=blue");
    assert_eq!(story.spec(REPLICAS), "2");
    let kept = fs::read_dir(story.sandbox.state().join("runs"))
        .unwrap()
        .flatten();
    let is_log = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("failed-");
    assert!(kept.into_iter().any(|entry| is_log(&entry.file_name())));
    story.sandbox.run(&["audit", "verify"]).exits(0);

    // One change: what swarm would bring back is the checkpoint's, so swarm does it.
    story.swarm.update(SERVICE, &["--image", &bad]);
    let plan = story
        .sandbox
        .json(0, "plan", &["roll-back", "shop/web", "--dry-run"]);
    let steps = plan["steps"].to_string();
    assert!(
        steps.contains("docker service rollback shop_web"),
        "{plan:#}"
    );
    let outcome = story.roll_back(0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.images(), [&*story.good, &*story.good]);
}

#[test]
fn a_name_that_means_another_image_means_the_old_one_again() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm-moved", 0, 1, &[]);
    story.checkpoint();
    let (name, bad) = story.image("1", BAD);
    story.swarm.update(SERVICE, &["--force"]);
    assert_eq!(story.images(), [&*bad]);
    let outcome = story.roll_back(0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.images(), [&*story.good]);
    let now = story
        .swarm
        .manager
        .must(&["image", "inspect", "-f", "{{.Id}}", &name]);
    assert_eq!(now, story.good);
}

#[test]
fn what_swarm_takes_back_by_itself_is_told_as_that() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm-auto", 0, 1, &["--update-failure-action", "rollback"]);
    story.checkpoint();
    let (crash, _) = story.image("2", CRASH);
    story.swarm.update(SERVICE, &["--image", &crash]);
    // Swarm says so before the task is up.
    wait_for("the good task", Duration::from_secs(30), || {
        (story.service()["state"] == "running").then_some(())
    });
    let service = story.service();
    let problems = texts(&service["problems"]);
    assert!(
        problems.contains("took its last update back by itself"),
        "{service:#}"
    );
    assert_eq!(service["state"], "running", "{service:#}");
    assert_eq!(service["release"]["digest"], *story.good, "{service:#}");
    story
        .sandbox
        .run(&["roll-back", "shop/web", "--yes", "--confirm", "web"])
        .exits(1)
        .says(&["same release as runs now"]);

    // To an image that dies: swarm takes it back, and that is no success.
    let target = format!("image:{crash}");
    let outcome = story.roll_back(4, &["--to", &target]);
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    assert!(
        outcome
            .to_string()
            .contains("took the update back by itself"),
        "{outcome:#}"
    );
    assert_eq!(story.images(), [&*story.good]);

    // Where nobody told swarm to, it stops half-way; the plan takes it back.
    let words = [
        "service",
        "update",
        "--detach",
        "--update-failure-action",
        "pause",
    ];
    story.swarm.manager.must(&[&words[..], &[SERVICE]].concat());
    let outcome = story.roll_back(4, &["--to", &target]);
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    assert!(
        outcome.to_string().contains("paused the update"),
        "{outcome:#}"
    );
    assert_eq!(story.images(), [&*story.good]);
    assert_eq!(story.spec(IMAGE), format!("{}:1", story.repository));
}

#[test]
fn a_restart_makes_every_task_anew_and_a_task_that_dies_is_a_crash_loop() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm-restart", 0, 2, &[]);
    let before = story.swarm.running(SERVICE);
    let outcome = story
        .sandbox
        .json(0, "outcome", &["restart", "shop/web", "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let after = story.swarm.running(SERVICE);
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after.iter().all(|task| !before.contains(task)), "{after:?}");
    story
        .sandbox
        .run(&["--read-only", "restart", "shop/web", "--yes"])
        .exits(5);
    assert_eq!(story.swarm.running(SERVICE), after);

    let (crash, _) = story.image("2", CRASH);
    story.swarm.update(SERVICE, &["--image", &crash]);
    wait_for("a crash loop", Duration::from_secs(60), || {
        (story.service()["crash_loop"] == true).then_some(())
    });
    let service = story.service();
    assert!(
        texts(&service["problems"]).contains("non-zero exit (3)"),
        "{service:#}"
    );
}

#[test]
fn a_stopped_service_comes_back_with_as_many_tasks_as_it_had() {
    if is_missing() {
        return;
    }
    let story = Story::new("swarm-stop", 0, 3, &[]);
    let spec = || story.spec("{{json .Spec.TaskTemplate}} {{json .Spec.Mode}}");
    let before = spec();
    let plan = story
        .sandbox
        .json(0, "plan", &["stop", "shop/web", "--dry-run"]);
    let text = plan.to_string();
    assert!(text.contains("docker service scale shop_web=0"), "{plan:#}");
    story
        .sandbox
        .run(&["--read-only", "stop", "shop/web", "--yes"])
        .exits(5);
    assert_eq!(spec(), before);

    let outcome = story
        .sandbox
        .json(0, "outcome", &["stop", "shop/web", "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.swarm.running(SERVICE), Vec::<String>::new());
    assert_eq!(story.service()["state"], "stopped");
    // Once more is no error, and does not forget the number.
    story.sandbox.run(&["stop", "shop/web", "--yes"]).exits(0);

    let outcome = story
        .sandbox
        .json(0, "outcome", &["start", "shop/web", "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.swarm.running(SERVICE).len(), 3);
    assert_eq!(spec(), before);
    story.sandbox.run(&["start", "shop/web", "--yes"]).exits(0);

    // Stopped by somebody else: nothing says how many there were, until a checkpoint does.
    story.swarm.scale(SERVICE, 0);
    story
        .sandbox
        .run(&["start", "shop/web", "--yes"])
        .exits(1)
        .says(&["docker service scale shop_web=1"]);
    story.swarm.scale(SERVICE, 2);
    story.checkpoint();
    story.swarm.scale(SERVICE, 0);
    story.sandbox.run(&["start", "shop/web", "--yes"]).exits(0);
    assert_eq!(story.swarm.running(SERVICE).len(), 2);
}

#[test]
fn a_service_is_seen_on_every_node_and_its_log_is_whole() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm-nodes", 1, 2, &["--replicas-max-per-node", "1"]);
    let service = story.service();
    let names = texts(&service["instances"]);
    assert_eq!(names.matches('@').count(), 1, "{service:#}");
    let lines = |text: &str| text.matches("good blue").count();
    // Both are one service's: a line a second each.
    wait_for("lines of both nodes", Duration::from_secs(20), || {
        let run = story.sandbox.run(&["logs", "shop/web", "--since", "10m"]);
        let elsewhere = story.swarm.manager.run(&["service", "logs", SERVICE]);
        (lines(&run.stdout) >= 8 && lines(&elsewhere) >= 8).then_some(())
    });
    let mut following = story
        .sandbox
        .follow(&["logs", "shop/web", "--follow", "--format", "json"]);
    following.until("good", Duration::from_secs(10), |line| {
        line.contains("good blue")
    });
    let made = story.checkpoint();
    let own = made["services"][0]["log"]["lines"].as_u64().unwrap();
    let label = format!("label=com.docker.swarm.service.name={SERVICE}");
    let here = story.swarm.manager.run(&["ps", "-q", "--filter", &label]);
    let here = lines(&story.swarm.manager.logs(&here)) as u64;
    assert!(
        own > here * 3 / 2,
        "{own} lines of both nodes, {here} of this one"
    );

    let (bad, _) = story.image("2", BAD);
    story.swarm.update(SERVICE, &["--image", &bad]);
    following.until("bad", Duration::from_secs(20), |line| {
        line.contains("bad blue")
    });
    let outcome = story.roll_back(0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let running = story.swarm.running(SERVICE);
    let image = format!("{}:1", story.repository);
    assert!(
        running.len() == 2 && running.iter().all(|task| task.contains(&image)),
        "{running:?}"
    );

    // A name that means something else now cannot be moved on the other node from here.
    story.image("1", BAD);
    story.swarm.update(SERVICE, &["--force"]);
    story
        .sandbox
        .run(&["roll-back", "shop/web", "--yes", "--confirm", "web"])
        .exits(5)
        .says(&["on each node"]);

    // A worker sees its own task and changes nothing.
    let worker = Sandbox::new("swarm-worker").with("DOCKER_HOST", &story.swarm.worker(0));
    let listed = worker.json(0, "services", &["services"]);
    assert_eq!(listed["services"][0]["id"], "shop/web", "{listed:#}");
    worker
        .run(&["restart", "shop/web", "--yes"])
        .exits(5)
        .says(&["manages none"]);
}

#[test]
fn a_rollback_whose_process_died_is_gone_on_with_or_taken_back() {
    if is_missing() {
        return;
    }
    let mut story = Story::new("swarm-killed", 0, 1, &[]);
    story.checkpoint();
    let (name, bad) = story.image("2", BAD);
    for (options, image, code) in [
        (
            &["resume", "--undo", "--yes", "--confirm", "web"][..],
            &bad,
            4,
        ),
        (&["resume", "--yes", "--confirm", "web"], &story.good, 0),
    ] {
        if story.images() != [bad.as_str()] {
            story.swarm.update(SERVICE, &["--image", &name]);
        }
        let words = ["roll-back", "shop/web", "--yes", "--confirm", "web"];
        let mut child = story.sandbox.command(&words).spawn().unwrap();
        wait_for("swarm to begin", Duration::from_secs(30), || {
            let state = story.spec("{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}");
            let is_good = story.spec(IMAGE).ends_with(":1");
            (is_good && !state.ends_with("completed")).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let outcome = story.sandbox.json(code, "outcome", options);
        let expected = match code {
            0 => "verified",
            _ => "failed_unchanged",
        };
        assert_eq!(outcome["outcome"], expected, "{outcome:#}");
        wait_for("the task", Duration::from_secs(30), || {
            (story.images() == [image.as_str()]).then_some(())
        });
        story.sandbox.run(&["audit", "verify"]).exits(0);
    }
}
