//! Rollbacks of real services whose process is ended at the borders of their steps: the same command ends them, each
//! effect once; or they are taken back.
//!
//! The border is found without a hook in the product: every line of a journal is flushed by `fdatasync` of the main
//! thread, and `strace` sends the signal as it is called. A line that was never written is one cut off afterwards.

use crate::compose_story::list;
use crate::harness::{Pm2, Project, Run, Sandbox, missing, unique, wait_for};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Set to try every border with every signal; else a few of each.
pub(crate) const EVERY_POINT: &str = "LASTGOOD_TEST_EVERY_POINT";
/// The flushes before the first step: the lease twice, the intent.
const BEFORE_STEPS: usize = 3;

/// The call that flushes `BEGIN` of a step, from 0.
fn begin_of(step: usize) -> usize {
    BEFORE_STEPS + 1 + 2 * step
}

/// The call that flushes `DONE` of a step, from 0.
pub(crate) fn done_of(step: usize) -> usize {
    begin_of(step) + 1
}

pub(crate) fn is_every_point() -> bool {
    std::env::var_os(EVERY_POINT).is_some()
}

/// Runs the binary until the main thread flushes something for the `count`th time, and sends it a signal then.
pub(crate) fn run_until(sandbox: &Sandbox, arguments: &[&str], signal: &str, count: usize) -> Run {
    let mut command = Command::new("strace");
    sandbox.surround(&mut command);
    command
        .args(["-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e"])
        .arg(format!("inject=fdatasync:signal={signal}:when={count}"))
        .arg(sandbox.command(&[]).get_program())
        .args(arguments);
    Run::of(command)
}

/// The only journal without an end.
pub(crate) fn open_journal(sandbox: &Sandbox) -> PathBuf {
    let runs = fs::read_dir(sandbox.state().join("runs")).unwrap();
    let open: Vec<PathBuf> = runs
        .map(|entry| entry.unwrap().path().join("journal.jsonl"))
        .filter(|path| {
            fs::read_to_string(path).is_ok_and(|text| {
                !text.contains("\"entry\":\"COMMIT\"") && !text.contains("\"entry\":\"ABORT\"")
            })
        })
        .collect();
    assert_eq!(open.len(), 1, "{open:?}");
    open[0].clone()
}

fn entries(journal: &PathBuf) -> Vec<Value> {
    let text = fs::read_to_string(journal).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Cuts the last line off, as if it had never been flushed.
pub(crate) fn cut_last_line(journal: &PathBuf) {
    let text = fs::read_to_string(journal).unwrap();
    let whole = text.trim_end().rsplit_once('\n').unwrap().0;
    fs::write(journal, format!("{whole}\n")).unwrap();
}

/// The journal has one end, and each step was done once; the audit log has one intent and one outcome for it.
fn is_ended_once(sandbox: &Sandbox, journal: &PathBuf, end: &str, outcome: &str) {
    let entries = entries(journal);
    let ends: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["entry"] == "COMMIT" || entry["entry"] == "ABORT")
        .collect();
    assert_eq!(ends.len(), 1, "{entries:#?}");
    assert_eq!(
        (&ends[0]["entry"], &ends[0]["outcome"]),
        (&Value::from(end), &Value::from(outcome)),
        "{entries:#?}"
    );
    let steps = list(&entries[0]["plan"]["steps"]).len();
    for step in 0..steps {
        for what in ["DONE", "UNDONE"] {
            let count = entries
                .iter()
                .filter(|entry| entry["entry"] == what && entry["step"] == step)
                .filter(|entry| entry["result"]["ok"] == true)
                .count();
            let is_proof = entries[0]["plan"]["steps"][step]["work"]["do"] == "verify";
            assert!(count <= 1 || is_proof, "step {step}, {what}: {entries:#?}");
            assert!(
                count == 1 || end != "COMMIT" || what == "UNDONE" || is_proof,
                "step {step}: {entries:#?}"
            );
        }
    }
    sandbox.run(&["audit", "verify"]).exits(0);
    let run = journal
        .parent()
        .unwrap()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap();
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let of = |phase: &str| -> Vec<Value> {
        list(&listed["records"])
            .iter()
            .filter(|record| record["run"] == run && record["phase"] == phase)
            .map(|record| record["outcome"].clone())
            .collect()
    };
    assert_eq!(of("intent").len(), 1, "{listed:#}");
    assert_eq!(of("outcome"), [Value::from(outcome)], "{listed:#}");
    sandbox
        .run(&["resume"])
        .exits(1)
        .says(&["every run has ended"]);
}

/// What the engine does, while it is watched.
struct Events(Child);

impl Events {
    /// Containers of a project that are made, and images that are tagged.
    fn of(project: &Project) -> Events {
        let child = project
            .docker
            .command(&[
                "events",
                "--filter",
                "event=create",
                "--filter",
                "event=tag",
            ])
            .args([
                "--format",
                "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until it listens.
        std::thread::sleep(Duration::from_millis(300));
        Events(child)
    }

    /// The lines of this project so far.
    fn end(mut self, project: &Project) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(200));
        let _ = self.0.kill();
        let mut text = String::new();
        let mut out = self.0.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        let _ = self.0.wait();
        text.lines()
            .filter(|line| line.contains(&project.name) && !line.contains("lastgood/"))
            .map(str::to_owned)
            .collect()
    }
}

const COMPOSE: &str = "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
    env_file: [.env]
    environment: { RELEASE: \"good\" }
";
const SCRIPT: &str = "echo release VERSION; sleep 6000";

/// A project with a checkpoint, and a release deployed over it that changed the image and two files.
struct World {
    sandbox: Sandbox,
    project: Project,
    good: String,
    bad: String,
    checkpoint: String,
}

impl World {
    fn new(name: &str) -> World {
        let sandbox = Sandbox::new(name);
        let mut project = Project::new(&sandbox, name, COMPOSE);
        fs::write(project.folder().join(".env"), "POOL=20\n").unwrap();
        let good = project.image(&SCRIPT.replace("VERSION", "good"));
        project.up();
        let service = project.service("backend");
        let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
        assert_eq!(created["complete"], true, "{created:#}");
        let bad = project.image(&SCRIPT.replace("VERSION", "bad"));
        let kept = format!("{}:bad", project.name);
        project
            .docker
            .must(&["tag", &format!("{}:latest", project.name), &kept]);
        World {
            sandbox,
            project,
            good,
            bad,
            checkpoint: created["id"].as_str().unwrap().to_owned(),
        }
    }

    fn files(&self) -> Vec<String> {
        ["compose.yaml", ".env"]
            .map(|name| fs::read_to_string(self.project.folder().join(name)).unwrap())
            .to_vec()
    }

    fn deploy_bad(&self) {
        let folder = self.project.folder();
        let compose = fs::read_to_string(folder.join("compose.yaml")).unwrap();
        fs::write(
            folder.join("compose.yaml"),
            compose.replace("\"good\"", "\"bad\""),
        )
        .unwrap();
        fs::write(folder.join(".env"), "POOL=100\n").unwrap();
        let name = &self.project.name;
        self.project
            .docker
            .must(&["tag", &format!("{name}:bad"), &format!("{name}:latest")]);
        self.project.up();
        assert_eq!(self.project.running_image("backend"), self.bad);
    }

    fn roll_back(&self) -> Vec<String> {
        let service = self.project.service("backend");
        [
            "roll-back",
            &service,
            "--to",
            &self.checkpoint,
            "--yes",
            "--confirm",
            "backend",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// Ended by a signal at a border, and gone on with by the same command.
    fn interrupt_and_resume(&self, signal: &str, count: usize, is_last_line_lost: bool) {
        let what = format!("{signal} at flush {count}, last line lost: {is_last_line_lost}");
        self.deploy_bad();
        let events = Events::of(&self.project);
        let words = self.roll_back();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let code = match signal {
            "KILL" => 137,
            "TERM" => 143,
            _ => 129,
        };
        let killed = run_until(&self.sandbox, &words, signal, count).exits(code);
        let journal = open_journal(&self.sandbox);
        if is_last_line_lost {
            cut_last_line(&journal);
        }
        let left = entries(&journal);
        let again = self
            .sandbox
            .run(&[&words[..], &["--format", "json"]].concat());
        assert_eq!(again.code, 0, "{what}: {killed}\n{left:#?}\n{again}");
        let outcome = again.json("outcome");
        assert_eq!(outcome["outcome"], "verified", "{what}: {outcome:#}");
        assert_eq!(self.project.running_image("backend"), self.good, "{what}");
        let files = self.files().join("\n");
        assert!(
            files.contains("\"good\"") && files.contains("POOL=20"),
            "{what}: {files}"
        );
        is_ended_once(&self.sandbox, &journal, "COMMIT", "verified");
        let mut events = events.end(&self.project);
        events.sort();
        let all = events.len();
        events.dedup();
        assert_eq!(events.len(), all, "{what}: done twice: {events:?}");
        assert_eq!(all, 3, "{what}: two tags, one container: {events:?}");
    }
}

fn steps_of(world: &World) -> usize {
    world.deploy_bad();
    let mut words = world.roll_back();
    words.push("--dry-run".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plan = world.sandbox.json(0, "plan", &words);
    let steps = list(&plan["steps"]).len();
    assert!(steps >= 5, "{plan:#}");
    steps
}

fn is_missing() -> bool {
    missing(&["docker", "compose", "busybox", "strace"])
}

#[test]
fn killed_at_a_border_it_is_ended_by_the_same_command() {
    if is_missing() {
        return;
    }
    let world = World::new("resume-kill");
    let steps = steps_of(&world);
    let points: Vec<usize> = match is_every_point() {
        true => (BEFORE_STEPS..=done_of(steps - 1) + 1).collect(),
        // After the tag of the failing release, before and after the container is made, before the end.
        false => vec![
            done_of(1),
            begin_of(steps - 2),
            done_of(steps - 2),
            done_of(steps - 1),
        ],
    };
    for count in points {
        world.interrupt_and_resume("KILL", count, false);
    }
}

#[test]
fn asked_to_end_at_a_border_it_is_ended_by_the_same_command() {
    if is_missing() {
        return;
    }
    let world = World::new("resume-term");
    let steps = steps_of(&world);
    let every = |signal: &'static str| (1..steps - 1).map(move |step| (signal, done_of(step)));
    let points: Vec<(&str, usize)> = match is_every_point() {
        true => every("TERM").chain(every("HUP")).collect(),
        // Before the proof no border is left where a signal that is heard late could still end it.
        false => vec![("TERM", done_of(2)), ("HUP", done_of(steps - 3))],
    };
    for (signal, count) in points {
        world.interrupt_and_resume(signal, count, false);
    }
}

#[test]
fn work_whose_end_was_not_written_is_found_and_not_repeated() {
    if is_missing() {
        return;
    }
    let world = World::new("resume-lost");
    let steps = steps_of(&world);
    let all = match is_every_point() {
        true => (1..steps).collect(),
        // The tag of the failing release, a file, the container.
        false => vec![1, 2, steps - 2],
    };
    for step in all {
        world.interrupt_and_resume("KILL", done_of(step), true);
    }
}

#[test]
fn what_was_begun_is_taken_back_or_ended_by_its_name() {
    if is_missing() {
        return;
    }
    let world = World::new("resume-undo");
    let steps = steps_of(&world);
    let bad = world.files();
    let words = world.roll_back();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Before the container is made, and after.
    for count in [begin_of(steps - 2), done_of(steps - 2)] {
        world.deploy_bad();
        run_until(&world.sandbox, &words, "KILL", count).exits(137);
        let journal = open_journal(&world.sandbox);
        world
            .sandbox
            .run(&["resume", "--undo", "--yes"])
            .exits(5)
            .says(&["--confirm backend"]);
        let plan = world
            .sandbox
            .json(0, "plan", &["resume", "--undo", "--dry-run"]);
        assert!(!list(&plan["steps"]).is_empty(), "{plan:#}");
        world
            .sandbox
            .run(&["--read-only", "resume", "--yes", "--confirm", "backend"])
            .exits(5)
            .says(&["read-only"]);
        let taken = ["resume", "--undo", "--yes", "--confirm", "backend"];
        let outcome = world.sandbox.json(4, "outcome", &taken);
        assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
        assert_eq!(world.files(), bad);
        assert_eq!(world.project.running_image("backend"), world.bad);
        let name = format!("{}:latest", world.project.name);
        let now = world
            .project
            .docker
            .must(&["image", "inspect", "-f", "{{.Id}}", &name]);
        assert_eq!(now, world.bad, "its name as well");
        is_ended_once(&world.sandbox, &journal, "ABORT", "failed_unchanged");
    }
    // Taken to another release by somebody else after the container was made: the same command begins anew.
    world.deploy_bad();
    run_until(&world.sandbox, &words, "KILL", done_of(steps - 2)).exits(137);
    world.deploy_bad();
    let outcome = world.sandbox.json(0, "outcome", &words);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(world.project.running_image("backend"), world.good);
    world.sandbox.run(&["resume"]).exits(1);
    // What somebody else changed meanwhile is neither ended nor overwritten; a new plan takes its place.
    world.deploy_bad();
    run_until(&world.sandbox, &words, "KILL", done_of(3)).exits(137);
    let run = open_journal(&world.sandbox);
    let run = run.parent().unwrap().file_name().unwrap().to_str().unwrap();
    fs::write(world.project.folder().join(".env"), "POOL=by hand\n").unwrap();
    world
        .sandbox
        .run(&["resume", run, "--yes", "--confirm", "backend"])
        .exits(5)
        .says(&["stale"]);
    let outcome = world.sandbox.json(0, "outcome", &words);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(world.project.running_image("backend"), world.good);
    let listed = world.sandbox.json(0, "", &["audit", "list"]);
    let ends: Vec<&Value> = list(&listed["records"])
        .iter()
        .filter(|record| record["run"] == run && record["phase"] == "outcome")
        .collect();
    assert_eq!(ends.len(), 1, "{listed:#}");
    assert_eq!(ends[0]["outcome"], "failed_partial", "{listed:#}");
    world.sandbox.run(&["resume"]).exits(1);
}

#[test]
fn a_restart_whose_process_died_is_not_done_twice() {
    if is_missing() {
        return;
    }
    let sandbox = Sandbox::new("resume-restart");
    let mut project = Project::of_one(&sandbox, "resume-restart");
    project.image("sleep 6000");
    project.up();
    let service = project.service("backend");
    let started = || {
        let container = project.container("backend");
        project
            .docker
            .must(&["inspect", "-f", "{{.State.StartedAt}}", &container])
    };
    let words = ["restart", &service, "--yes"];
    for (count, is_lost) in [
        (begin_of(0), false),
        (done_of(0), false),
        (done_of(0), true),
    ] {
        let before = started();
        run_until(&sandbox, &words, "KILL", count).exits(137);
        let journal = open_journal(&sandbox);
        if is_lost {
            cut_last_line(&journal);
        }
        let between = started();
        assert_eq!(between == before, count == begin_of(0));
        let outcome = sandbox.json(0, "outcome", &words);
        assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
        assert_eq!(started() == between, count != begin_of(0), "restarted once");
        is_ended_once(&sandbox, &journal, "COMMIT", "verified");
    }
}

#[test]
fn an_application_that_was_deleted_and_not_started_is_started() {
    if missing(&["pm2", "strace"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("resume-pm2");
    let app = unique("resumed");
    let script = |release: &str| {
        format!(
            "require('fs').appendFileSync('starts', '{release}\\n'); setInterval(() => {{}}, 1000);\n"
        )
    };
    sandbox.write("v1.js", script("1"));
    sandbox.write("v2.js", script("2"));
    let ecosystem = |file: &str| {
        format!("module.exports = {{ apps: [{{ name: '{app}', script: '{file}' }}] }};\n")
    };
    sandbox.write("ecosystem.config.js", ecosystem("v1.js"));
    pm2.run(&["start", "ecosystem.config.js"]);
    let starts = sandbox.work().join("starts");
    let wait_for_start = |release: &str| {
        wait_for("a start", Duration::from_secs(60), || {
            let text = fs::read_to_string(&starts).unwrap_or_default();
            text.lines().any(|line| line == release).then_some(())
        });
    };
    wait_for_start("1");
    let name = format!("pm2/{app}");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &name]);
    let id = created["id"].as_str().unwrap();
    let words = ["roll-back", &app, "--to", id, "--yes", "--confirm", &app];
    // Gone from PM2; started, and nobody wrote it down.
    for (step, is_lost) in [("delete", false), ("--only", true)] {
        sandbox.write("ecosystem.config.js", ecosystem("v2.js"));
        pm2.run(&["delete", &app]);
        let _ = fs::remove_file(&starts);
        pm2.run(&["start", "ecosystem.config.js"]);
        wait_for_start("2");
        let plan = sandbox.json(0, "plan", &["roll-back", &app, "--to", id, "--dry-run"]);
        let at = list(&plan["steps"])
            .iter()
            .position(|one| one["text"].as_str().unwrap().contains(step))
            .unwrap_or_else(|| panic!("{plan:#}"));
        run_until(&sandbox, &words, "KILL", done_of(at)).exits(137);
        let journal = open_journal(&sandbox);
        if is_lost {
            cut_last_line(&journal);
            wait_for_start("1");
        } else {
            assert!(
                !pm2.run(&["--silent", "jlist"]).contains(&app),
                "it is gone"
            );
        }
        let outcome = sandbox.json(0, "outcome", &words);
        assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
        let text = fs::read_to_string(&starts).unwrap();
        assert_eq!(text, "2\n1\n", "started once");
        is_ended_once(&sandbox, &journal, "COMMIT", "verified");
    }
}
