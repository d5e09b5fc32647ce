//! Old checkpoints are removed, never the last good one; and killed at any point none is half there.

use crate::compose_story::list;
use crate::harness::{Project, Run, Sandbox, missing};
use crate::resume::is_every_point;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

fn create(sandbox: &Sandbox, service: &str) -> String {
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", service]);
    assert_eq!(created["complete"], true, "{created:#}");
    created["id"].as_str().unwrap().to_owned()
}

fn listed(sandbox: &Sandbox) -> Vec<String> {
    let found = sandbox
        .run(&["checkpoint", "list", "--format", "json"])
        .exits(0);
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    list(&found["checkpoints"])
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_last_good_one_of_a_service_stays() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("prune");
    let mut project = Project::of_one(&sandbox, "prune");
    project.image("echo good; sleep 6000");
    project.up();
    let service = project.service("backend");
    let ids: Vec<String> = (0..3).map(|_| create(&sandbox, &service)).collect();
    project.image("echo next; sleep 6000");
    project.up();
    let newest = create(&sandbox, &service);
    let pin = |id: &str| format!("lastgood/{}-backend:{id}", project.name);
    let is_pinned = |id: &str| !project.docker.run(&["images", "-q", &pin(id)]).is_empty();
    assert!(ids.iter().all(|id| is_pinned(id)));

    // The newest of the release before is what a rollback would take.
    let plan = sandbox.json(
        0,
        "plan",
        &["checkpoint", "prune", "--keep-last", "1", "--dry-run"],
    );
    let notes = plan["notes"].to_string();
    assert!(
        notes.contains(&ids[2]) && notes.contains("last good one"),
        "{plan:#}"
    );
    let steps: Vec<&str> = list(&plan["steps"])
        .iter()
        .map(|step| step["text"].as_str().unwrap())
        .collect();
    assert_eq!(steps.len(), 4, "{plan:#}");
    for id in &ids[..2] {
        assert!(
            steps
                .iter()
                .any(|step| *step == format!("remove checkpoint {id}"))
        );
        assert!(
            steps.iter().any(|step| step.ends_with(&pin(id))),
            "{steps:?}"
        );
    }
    assert_eq!(listed(&sandbox).len(), 4, "a dry run changes nothing");
    sandbox
        .run(&[
            "--read-only",
            "checkpoint",
            "prune",
            "--keep-last",
            "1",
            "--yes",
        ])
        .exits(5)
        .says(&["read-only"]);
    sandbox
        .run(&["checkpoint", "prune", "--keep-within", "1h", "--yes"])
        .exits(0);
    assert_eq!(listed(&sandbox).len(), 4, "all are younger");

    let prune = ["checkpoint", "prune", "--keep-last", "1", "--yes"];
    let outcome = sandbox.json(0, "outcome", &prune);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(listed(&sandbox), [newest.clone(), ids[2].clone()]);
    assert!(is_pinned(&newest) && is_pinned(&ids[2]));
    assert!(
        !is_pinned(&ids[0]) && !is_pinned(&ids[1]),
        "nothing keeps them"
    );
    sandbox.run(&["checkpoint", "verify", "--all"]).exits(0);
    sandbox.run(&prune).exits(0);
    assert_eq!(listed(&sandbox).len(), 2, "once more takes nothing");
    let back = ["roll-back", &service, "--yes", "--confirm", "backend"];
    let outcome = sandbox.json(0, "outcome", &back);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    sandbox.run(&["audit", "verify"]).exits(0);
}

/// A sandbox with one service that is run by commands. Without Docker nothing else is waited for.
pub(crate) fn bot(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let work = sandbox.work();
    let at = work.display();
    fs::write(
        sandbox.path("config/lastgood/config.toml"),
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {at}/up\"\nstop = \"rm -f {at}/up\"\nrelease_command = \"cat {at}/release\"\nlogs = \"cat {at}/bot.log\"\nconfig_files = [\"{at}/bot.conf\"]\n"
        ),
    )
    .unwrap();
    sandbox.write("up", "");
    sandbox.write("release", "1.5\n");
    sandbox.write("bot.log", "2025-12-27T14:50:00Z INFO up\n");
    sandbox.write("bot.conf", "pool = 20\n");
    sandbox
}

/// Whatever reads this gets an error that says nothing of what it held.
fn make_unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    symlink(path, path).unwrap();
}

#[test]
fn what_could_not_be_read_stays() {
    let sandbox = bot("prune-unread");
    let ids: Vec<String> = (0..5).map(|_| create(&sandbox, "exec/bot")).collect();
    let folder = |name: &str| sandbox.state().join("checkpoints").join(name);
    let manifest = |id: &str| folder(id).join("MANIFEST.json");
    let newer = fs::read_to_string(manifest(&ids[0]))
        .unwrap()
        .replace("lastgood.checkpoint/1", "lastgood.checkpoint/9");
    fs::write(manifest(&ids[0]), newer).unwrap();
    make_unreadable(&manifest(&ids[1]));
    // Of the newest the files: whether it is the last good one is not known, so another one has to stay too.
    make_unreadable(&folder(&ids[4]).join("health.json"));
    fs::create_dir(folder(".cut.partial")).unwrap();
    for name in [&ids[0], &ids[1], ".cut.partial"] {
        let two_days_ago = SystemTime::now() - Duration::from_secs(48 * 60 * 60);
        let folder = fs::File::open(folder(name)).unwrap();
        folder.set_modified(two_days_ago).unwrap();
    }
    let prune = ["checkpoint", "prune", "--keep-last", "0"];
    let dry = [&prune[..], &["--dry-run"]].concat();
    let plan = sandbox.json(0, "plan", &dry);
    let steps: Vec<&str> = list(&plan["steps"])
        .iter()
        .map(|step| step["text"].as_str().unwrap())
        .collect();
    let removed = format!("remove checkpoint {}", ids[2]);
    assert_eq!(steps, [&removed, "remove checkpoint cut"], "{plan:#}");
    let kept = [
        format!("{} stays: what it holds is not known: made by", ids[0]),
        format!("{} stays: what it holds is not known: cannot", ids[1]),
        format!("{} stays: the last good one of exec/bot", ids[3]),
        format!("{} stays: it may be the last good one of", ids[4]),
    ];
    let text = sandbox.run(&dry).exits(0).stdout;
    for note in &kept {
        assert!(plan["notes"].to_string().contains(note), "{note}: {plan:#}");
        assert!(text.contains(note), "{note}: {text}");
    }
    let yes = [&prune[..], &["--yes"]].concat();
    sandbox.run(&yes).exits(0);
    for id in [&ids[0], &ids[1], &ids[3], &ids[4]] {
        assert!(folder(id).exists(), "{id}");
    }
    assert!(!folder(&ids[2]).exists() && !folder(".cut.partial").exists());
}

/// Calls that make bytes lasting or change what has a name.
const LASTING: &str = "fsync,fdatasync,rename,renameat,renameat2,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,ftruncate";
/// Those between them.
const BETWEEN: &str = "openat,write,pwrite64,close,fchmod,flock";

/// Kills a command at its `point`th call, of any of its threads; `false` where it ended before.
fn kill_at(sandbox: &Sandbox, arguments: &[&str], point: usize) -> bool {
    let calls = match is_every_point() {
        true => format!("{LASTING},{BETWEEN}"),
        false => LASTING.to_owned(),
    };
    let mut command = Command::new("strace");
    sandbox.surround(&mut command);
    command
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={calls}"),
        ])
        .args(["-e", &format!("inject={calls}:signal=KILL:when={point}")])
        .arg(sandbox.command(&[]).get_program())
        .args(arguments);
    let run = Run::of(command);
    assert!(matches!(run.code, 0 | 137), "killed at call {point}: {run}");
    run.code != 0
}

/// Every checkpoint that is listed as complete is whole.
fn are_whole(sandbox: &Sandbox, what: &str) -> Vec<String> {
    let run = sandbox
        .run(&["checkpoint", "list", "--format", "json"])
        .exits(0);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    let complete = list(&found["checkpoints"])
        .iter()
        .filter(|one| one["complete"] == true)
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect::<Vec<_>>();
    for id in &complete {
        let folder = sandbox.state().join("checkpoints").join(id);
        let run = Command::new("sha256sum")
            .args(["-c", "--quiet", "--strict", "SHA256SUMS"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(run.status.success(), "{what}: {id} is torn");
    }
    complete
}

#[test]
fn killed_at_any_point_no_checkpoint_is_torn_and_no_good_one_lost() {
    if missing(&["strace"]) {
        return;
    }
    let sandbox = bot("points");
    let work = sandbox.work();
    let good = create(&sandbox, "exec/bot");
    let mut points = 0;
    let mut kill_all =
        |what: &str, good: &str, arguments: &[&str], prepare: &dyn Fn(), check: &dyn Fn(usize)| {
            let mut count = 0;
            for point in (1..2000).step_by(2).take(150) {
                prepare();
                if !kill_at(&sandbox, arguments, point) {
                    break;
                }
                count += 1;
                let whole = are_whole(&sandbox, &format!("{what} at {point}"));
                assert!(
                    whole.iter().any(|id| id == good),
                    "{what} at {point}: the good one is lost"
                );
                check(point);
            }
            assert!(count >= 3, "{what}: killed at {count} points only");
            points += count;
        };
    let none = || {};
    let nothing = |_: usize| {};
    kill_all(
        "create",
        &good,
        &["checkpoint", "create", "exec/bot"],
        &none,
        &nothing,
    );
    let config = work.join("bot.conf");
    let restore = [
        "checkpoint",
        "restore",
        &good,
        "--service",
        "exec/bot",
        "--yes",
        "--confirm",
        "bot",
    ];
    kill_all(
        "restore",
        &good,
        &restore,
        &|| {
            fs::write(&config, "pool = 100\n").unwrap();
        },
        &|point| {
            // The old file or the new one, and nothing beside it.
            let text = fs::read_to_string(&config).unwrap();
            assert!(
                ["pool = 100\n", "pool = 20\n"].contains(&text.as_str()),
                "at {point}: {text}"
            );
        },
    );
    // What was left is ended or replaced; the whole of it works still.
    fs::write(&config, "pool = 100\n").unwrap();
    sandbox.run(&restore).exits(0);
    assert_eq!(fs::read_to_string(&config).unwrap(), "pool = 20\n");
    let up = || {
        sandbox.write("up", "");
    };
    kill_all(
        "journal",
        &good,
        &["stop", "exec/bot", "--yes"],
        &up,
        &|_| {
            for run in fs::read_dir(sandbox.state().join("runs")).unwrap() {
                let path = run.unwrap().path().join("journal.jsonl");
                let Ok(text) = fs::read_to_string(&path) else {
                    continue;
                };
                let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
                for line in whole.lines() {
                    serde_json::from_str::<Value>(line).unwrap();
                }
            }
        },
    );
    // The newest of another release than runs then: what a rollback would take.
    up();
    let last = create(&sandbox, "exec/bot");
    sandbox.write("release", "1.6\n");
    kill_all(
        "prune",
        &last,
        &["checkpoint", "prune", "--keep-last", "1", "--yes"],
        &|| {
            up();
            create(&sandbox, "exec/bot");
        },
        &nothing,
    );
    let prune = ["checkpoint", "prune", "--keep-last", "1", "--yes"];
    // What an earlier one was removing comes first.
    for _ in 0..2 {
        sandbox.run(&prune).exits(0);
    }
    let left: Vec<String> = fs::read_dir(sandbox.state().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".removing"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        points >= if is_every_point() { 300 } else { 15 },
        "{points} points"
    );
    sandbox.run(&["audit", "verify"]).exits(0);
}
