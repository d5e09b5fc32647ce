//! Two at once, and changes between the plan and its first step: exactly one acts, and on nothing that changed.

use crate::compose_story::list;
use crate::harness::{Project, Run, Sandbox, missing, wait_for};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How many races are run, and how many changes are made: 500 and 50 for the whole proof.
const RACES: &str = "LASTGOOD_TEST_RACES";
const CHANGES: &str = "LASTGOOD_TEST_CHANGES";

fn count(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// A service that is two files and a log of what was done to it; nobody waits for its state.
fn by_commands(sandbox: &Sandbox, pause: &str) {
    let work = sandbox.work();
    let work = work.display();
    fs::write(
        sandbox.path("config/lastgood/config.toml"),
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {work}/up\"\nstart = \"touch {work}/up\"\n\
             stop = \"echo stopped >> {work}/log; sleep {pause}; rm -f {work}/up\"\nrelease_command = \"cat {work}/release\"\n"
        ),
    )
    .unwrap();
    sandbox.write("up", "");
    sandbox.write("release", "1.5\n");
}

#[test]
fn of_two_at_once_exactly_one_acts() {
    // Docker is not asked: only the two and their state folder matter.
    let sandbox =
        Sandbox::new("races").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    by_commands(&sandbox, "0.7");
    let log = sandbox.work().join("log");
    let races = count(RACES, 15);
    for race in 0..races {
        sandbox.write("up", "");
        let _ = fs::remove_file(&log);
        let start = |_: usize| {
            let mut command = sandbox.command(&["stop", "exec/bot", "--yes"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let both: Vec<_> = (0..2).map(start).collect();
        let mut codes = Vec::new();
        let mut said = String::new();
        for child in both {
            let output = child.wait_with_output().unwrap();
            codes.push(output.status.code().unwrap());
            said += &String::from_utf8_lossy(&output.stderr);
        }
        codes.sort_unstable();
        assert_eq!(codes, [0, 5], "race {race}: {said}");
        assert!(said.contains("is held by"), "race {race}: {said}");
        let done = fs::read_to_string(&log).unwrap();
        assert_eq!(done, "stopped\n", "race {race}: {said}");
    }
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let of = |phase: &str| {
        list(&listed["records"])
            .iter()
            .filter(|record| record["phase"] == phase)
            .count()
    };
    assert_eq!(
        (of("intent"), of("outcome"), of("denied")),
        (races, races, races)
    );
    sandbox.run(&["audit", "verify"]).exits(0);
    let status = sandbox.json(0, "lease", &["lease", "status"]);
    assert!(list(&status["leases"]).is_empty(), "{status:#}");
}

/// Starts the binary so that it stops once it has the lease, makes the change, and lets it go on.
pub(crate) fn change_between(sandbox: &Sandbox, arguments: &[&str], change: impl FnOnce()) -> Run {
    let leases = sandbox.state().join("leases");
    let is_held = || {
        fs::read_dir(&leases).is_ok_and(|all| {
            all.flatten().any(|file| {
                fs::read_to_string(file.path()).is_ok_and(|text| text.contains("\"pid\""))
            })
        })
    };
    assert!(!is_held());
    let mut command = Command::new("strace");
    sandbox.surround(&mut command);
    command
        .args(["-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"])
        .arg("inject=fdatasync:signal=STOP:when=1")
        .arg(sandbox.command(&[]).get_program())
        .args(arguments);
    let running = std::thread::spawn(move || Run::of(command));
    wait_for("the lease", Duration::from_secs(30), || {
        is_held().then_some(())
    });
    let file = fs::read_dir(&leases)
        .unwrap()
        .flatten()
        .map(|file| fs::read_to_string(file.path()).unwrap())
        .find(|text| text.contains("\"pid\""))
        .unwrap();
    let lease: Value = serde_json::from_str(&file).unwrap();
    let pid = i32::try_from(lease["holder"]["pid"].as_u64().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    wait_for("the stop", Duration::from_secs(10), || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let state = stat.rsplit_once(") ")?.1.chars().next()?;
        matches!(state, 'T' | 't').then_some(())
    });
    change();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    running.join().unwrap()
}

#[test]
fn what_changed_since_the_plan_stops_it_before_any_effect() {
    if missing(&["docker", "compose", "busybox", "strace"]) {
        return;
    }
    let sandbox = Sandbox::new("stale");
    let mut project = Project::new(
        &sandbox,
        "stale",
        "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    env_file: [.env]
",
    );
    let folder = project.folder().clone();
    let env = folder.join(".env");
    let compose = folder.join("compose.yaml");
    fs::write(&env, "POOL=20\n").unwrap();
    project.image("echo good; sleep 6000");
    project.up();
    let service = project.service("backend");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    let id = created["id"].as_str().unwrap();
    let bad = project.image("echo bad; sleep 6000");
    let name = format!("{}:latest", project.name);
    project
        .docker
        .must(&["tag", &name, &format!("{}:bad", project.name)]);
    fs::write(&env, "POOL=100\n").unwrap();
    project.up();
    let words = [
        "roll-back",
        &service,
        "--to",
        id,
        "--yes",
        "--confirm",
        "backend",
    ];
    let compose_text = fs::read_to_string(&compose).unwrap();
    for number in 0..count(CHANGES, 8) {
        let before = project.container("backend");
        let run = change_between(&sandbox, &words, || match number % 4 {
            0 => fs::write(&env, format!("POOL={number} by hand\n")).unwrap(),
            1 => fs::write(&compose, format!("{compose_text}# {number}\n")).unwrap(),
            2 => {
                project.docker.must(&[
                    "tag",
                    &format!("{}:bad", project.name),
                    "lastgood-test-stale:other",
                ]);
                let pin = format!("lastgood/{}-backend:{id}", project.name);
                project.docker.must(&["tag", &pin, &name]);
                project.docker.run(&["rmi", "lastgood-test-stale:other"]);
            }
            _ => drop(project.compose(&["up", "-d", "--force-recreate", "--no-deps"])),
        });
        let what = format!("change {number}: {run}");
        assert_eq!(run.code, 5, "{what}");
        assert!(run.stderr.contains("the plan is stale"), "{what}");
        let after = project.container("backend");
        assert_eq!(before == after, number % 4 != 3, "{what}");
        assert_eq!(project.running_image("backend"), bad, "{what}");
        // As the next plan finds it.
        fs::write(&env, "POOL=100\n").unwrap();
        fs::write(&compose, &compose_text).unwrap();
        project
            .docker
            .must(&["tag", &format!("{}:bad", project.name), &name]);
    }
    let listed = sandbox.json(0, "", &["audit", "list"]);
    assert!(
        !list(&listed["records"])
            .iter()
            .any(|record| record["operation"] == "roll-back" && record["phase"] == "intent"),
        "{listed:#}"
    );
}

#[test]
fn an_owner_whose_lease_was_broken_stops_before_its_next_step() {
    if missing(&["strace"]) {
        return;
    }
    let sandbox =
        Sandbox::new("broken").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    by_commands(&sandbox, "0");
    let run = change_between(&sandbox, &["stop", "exec/bot", "--yes"], || {
        let status = sandbox.json(0, "lease", &["lease", "status"]);
        let held = &list(&status["leases"])[0];
        assert_eq!(held["holder"]["reason"], "stop", "{status:#}");
        assert_eq!(
            (&held["fence"], &held["is_alive"]),
            (&1.into(), &true.into())
        );
        sandbox
            .run(&["restart", "exec/bot", "--yes"])
            .exits(5)
            .says(&["is held by"]);
        sandbox
            .run(&["lease", "break", "exec/bot", "--yes"])
            .exits(5)
            .says(&["--confirm bot"]);
        sandbox
            .run(&[
                "--read-only",
                "lease",
                "break",
                "bot",
                "--yes",
                "--confirm",
                "bot",
            ])
            .exits(5)
            .says(&["read-only"]);
        let outcome = sandbox.json(
            0,
            "outcome",
            &["lease", "break", "bot", "--yes", "--confirm", "bot"],
        );
        assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
        sandbox
            .run(&["lease", "break", "bot"])
            .exits(1)
            .says(&["nobody holds"]);
    });
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stderr.contains("the lease was broken"), "{run}");
    assert!(
        sandbox.work().join("up").exists(),
        "nothing was done: {run}"
    );
    assert!(!sandbox.work().join("log").exists());
    // The next one has a higher counter, and the audit log tells all three.
    sandbox.run(&["stop", "exec/bot", "--yes"]).exits(0);
    let lease = fs::read_to_string(sandbox.state().join("leases/exec%2fbot.lease")).unwrap();
    let lease: Value = serde_json::from_str(&lease).unwrap();
    assert_eq!(
        (&lease["fence"], &lease["holder"]),
        (&3.into(), &Value::Null)
    );
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let outcomes: Vec<(&Value, &Value)> = list(&listed["records"])
        .iter()
        .filter(|record| record["phase"] == "outcome")
        .map(|record| (&record["operation"], &record["outcome"]))
        .collect();
    let expected = [
        ("break-lease", "verified"),
        ("stop", "failed_unchanged"),
        ("stop", "verified"),
    ];
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    for ((operation, outcome), (verb, word)) in outcomes.iter().zip(expected) {
        assert!(**operation == verb && **outcome == word, "{outcomes:?}");
    }
}
