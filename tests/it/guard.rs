//! A deploy under guard, on a real Compose service: a bad release leaves the old one running, a good one stays.

use crate::compose_story::{BAD, GOOD, list};
use crate::harness::{Project, Sandbox, Terminal, missing, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::time::Duration;

struct Guarded {
    sandbox: Sandbox,
    project: Project,
    service: String,
    good: String,
}

impl Guarded {
    /// A service that runs the good release and has written enough to be judged by.
    fn new(name: &str) -> Guarded {
        let sandbox = Sandbox::new(name);
        let mut project = Project::of_one(&sandbox, name);
        let good = project.image(GOOD);
        project.up();
        project.wait_for_lines("backend", 250);
        let service = project.service("backend");
        Guarded {
            sandbox,
            project,
            service,
            good,
        }
    }

    /// The deploy: what a pipeline would run.
    fn deploy(&self) -> String {
        let file = self.project.folder().join("compose.yaml");
        format!("echo deploying; docker compose -f {} up -d", file.display())
    }

    fn guard(&self, code: i32, options: &[&str], command: &str) -> Value {
        let mut line = vec!["guard", "--format", "json"];
        line.extend(options);
        line.extend([self.service.as_str(), "--", "sh", "-c", command]);
        self.sandbox.run(&line).exits(code).json("guard")
    }

    fn operations(&self) -> Vec<String> {
        let listed = self.sandbox.json(0, "", &["audit", "list"]);
        let text = |record: &Value| {
            format!("{} {}", record["operation"], record["outcome"]).replace('"', "")
        };
        let records = list(&listed["records"]);
        records
            .iter()
            .filter(|r| r["phase"] == "outcome")
            .map(text)
            .collect()
    }
}

#[test]
fn a_bad_release_is_rolled_back_and_a_good_one_stays() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let mut guarded = Guarded::new("guard");
    guarded.project.image(BAD);
    let report = guarded.guard(
        1,
        &["--watch", "60s", "--roll-back", "auto"],
        &guarded.deploy(),
    );
    assert_eq!(report["verdict"]["decision"], "roll_back", "{report:#}");
    assert_eq!(report["verdict"]["severity"], "P0");
    assert_eq!(
        report["ended_early"], true,
        "a P0 that holds is not watched to the end"
    );
    assert_eq!(report["command"]["exit_code"], 0);
    let kept = fs::read_to_string(report["command"]["output"].as_str().unwrap()).unwrap();
    assert!(kept.contains("deploying"), "{kept}");
    assert_eq!(report["roll_backs"][0]["service"], guarded.service.as_str());
    assert_eq!(
        report["roll_backs"][0]["outcome"]["outcome"], "verified",
        "{report:#}"
    );
    assert_eq!(
        guarded.project.running_image("backend"),
        guarded.good,
        "the very image id is back"
    );
    assert_eq!(
        guarded.operations(),
        [
            "checkpoint verified",
            "roll-back verified",
            "guard failed_unchanged"
        ]
    );
    guarded.sandbox.run(&["audit", "verify"]).exits(0);

    // Another release, as good as the first.
    let better = guarded.project.image(&GOOD.replace("orders", "orders/v2"));
    let report = guarded.guard(
        0,
        &["--watch", "8s", "--roll-back", "auto"],
        &guarded.deploy(),
    );
    assert_eq!(report["verdict"]["decision"], "keep", "{report:#}");
    assert_eq!(report["roll_backs"], Value::Array(Vec::new()));
    assert_eq!(report["touched"][0], guarded.service.as_str());
    assert_eq!(guarded.project.running_image("backend"), better);
}

#[test]
fn without_a_terminal_the_command_is_said_and_nothing_rolled_back() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let mut guarded = Guarded::new("guardask");
    let bad = guarded.project.image(BAD);
    for way in ["ask", "never"] {
        let report = guarded.guard(1, &["--watch", "6s", "--roll-back", way], &guarded.deploy());
        assert_eq!(report["verdict"]["decision"], "roll_back", "{report:#}");
        let next = report["next"][0].as_str().unwrap();
        let checkpoint = report["checkpoint"]["id"].as_str().unwrap();
        assert_eq!(
            next,
            format!("lastgood roll-back {} --to {checkpoint}", guarded.service)
        );
        assert_eq!(guarded.project.running_image("backend"), bad, "{way}");
        guarded.project.docker.must(&[
            "tag",
            &guarded.good,
            &format!("{}:latest", guarded.project.name),
        ]);
        guarded.project.up();
        guarded.project.wait_for_lines("backend", 250);
        guarded
            .project
            .docker
            .must(&["tag", &bad, &format!("{}:latest", guarded.project.name)]);
    }
}

#[test]
fn a_command_that_fails_is_judged_all_the_same() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let mut guarded = Guarded::new("guardfail");
    let auto = ["--watch", "30s", "--roll-back", "auto"];
    let report = guarded.guard(4, &auto, "echo no >&2; exit 7");
    assert_eq!(report["command"]["exit_code"], 7, "{report:#}");
    assert_eq!(report["touched"], Value::Array(Vec::new()));
    assert!(!report["verdict"].is_null(), "judged: {report:#}");
    assert!(
        report["watch_ms"].as_u64().unwrap() < 25_000,
        "nothing was deployed: one look"
    );
    assert_eq!(guarded.project.running_image("backend"), guarded.good);

    let mut line = vec![
        "guard",
        "--format",
        "json",
        "--watch",
        "2s",
        &guarded.service,
    ];
    line.extend(["--", "/no/such/program"]);
    let report = guarded.sandbox.run(&line).exits(4).json("guard");
    assert!(
        report["command"]["error"]
            .as_str()
            .unwrap()
            .contains("No such file"),
        "{report:#}"
    );

    // It put the bad release in place and then failed.
    guarded.project.image(BAD);
    let report = guarded.guard(1, &auto, &format!("{}; exit 9", guarded.deploy()));
    assert_eq!(report["command"]["exit_code"], 9);
    assert_eq!(
        report["roll_backs"][0]["outcome"]["outcome"], "verified",
        "{report:#}"
    );
    assert_eq!(guarded.project.running_image("backend"), guarded.good);
}

#[test]
fn nothing_runs_after_a_critical_preflight_or_in_a_read_only_session() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let guarded = Guarded::new("guardpre");
    let ran = guarded.sandbox.work().join("ran");
    let touch = format!("touch {}", ran.display());
    guarded
        .sandbox
        .write("lastgood.toml", "[preflight]\nartifacts = [\"dist\"]\n");
    fs::create_dir(guarded.project.folder().join("dist")).unwrap();
    let report = guarded.guard(1, &["--watch", "2s"], &touch);
    assert!(
        list(&report["preflight"])
            .iter()
            .any(|c| c["name"] == "artifacts" && c["grade"] == "critical")
    );
    assert!(
        report["command"].is_null() && report["checkpoint"].is_null(),
        "{report:#}"
    );
    let report = guarded.guard(1, &["--dry-run"], &touch);
    assert!(report["command"].is_null());
    let read_only = [
        "guard",
        "--read-only",
        "--skip-preflight",
        &guarded.service,
        "--",
        "sh",
        "-c",
        &touch,
    ];
    guarded
        .sandbox
        .run(&read_only)
        .exits(5)
        .says(&["read-only"]);
    assert!(!ran.exists());
    guarded.guard(0, &["--watch", "4s", "--skip-preflight"], &touch);
    assert!(ran.exists());
    guarded.sandbox.run(&["guard", &guarded.service]).exits(2);
}

#[test]
fn a_signal_ends_it_with_its_own_code_and_leaves_the_command_whole() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let guarded = Guarded::new("guardsig");
    let mark = guarded.sandbox.work().join("mark");
    let begun = |command: &str| {
        let line = [
            "guard",
            "--skip-preflight",
            "--watch",
            "60s",
            &guarded.service,
            "--",
            "sh",
            "-c",
            command,
        ];
        let running = guarded.sandbox.follow(&line);
        wait_for("the deploy", Duration::from_secs(30), || {
            mark.exists().then_some(())
        });
        running
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let command = format!("touch {}", mark.display());
        let running = begun(&command);
        // In the watch.
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(running.end_with(signal), code);
        fs::remove_file(&mark).unwrap();
    }
    // In the middle of the deploy: the command gets it too, and is waited for.
    let done = guarded.sandbox.work().join("done");
    let command = format!(
        "trap 'sleep 1; touch {}; exit 0' TERM; touch {}; while true; do sleep 0.1; done",
        done.display(),
        mark.display()
    );
    let running = begun(&command);
    assert_eq!(running.end_with(Signal::TERM), 143);
    assert!(done.exists(), "the command was waited for");
    guarded.sandbox.run(&["audit", "verify"]).exits(0);
    assert_eq!(
        guarded.operations().len(),
        8,
        "each deploy and its checkpoint ended in the log"
    );
}

#[test]
fn at_a_terminal_the_person_is_asked_and_may_leave() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let mut guarded = Guarded::new("guardtty");
    let bad = guarded.project.image(BAD);
    let deploy = guarded.deploy();
    let service = guarded.service.clone();
    let line = [
        "guard",
        "--skip-preflight",
        "--watch",
        "5s",
        &service,
        "--",
        "sh",
        "-c",
        &deploy,
    ];
    let ask = |answer: &str| {
        let mut terminal = Terminal::start(&guarded.sandbox, &line, (140, 60));
        terminal.wait_for("Type  backend  to do it");
        terminal.keys(answer);
        terminal.exit_code()
    };
    assert_eq!(ask("\x03"), 130, "Ctrl-C instead of an answer");
    assert_eq!(guarded.project.running_image("backend"), bad);
    // Once more from the good release.
    let tag = format!("{}:latest", guarded.project.name);
    guarded.project.docker.must(&["tag", &guarded.good, &tag]);
    guarded.project.up();
    guarded.project.wait_for_lines("backend", 250);
    guarded.project.docker.must(&["tag", &bad, &tag]);
    assert_eq!(ask("backend\r"), 1);
    assert_eq!(guarded.project.running_image("backend"), guarded.good);
}
