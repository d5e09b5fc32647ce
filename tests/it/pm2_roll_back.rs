//! Changing applications under a real PM2: restart, stop, start, and rollbacks with and without their code.

use crate::compose_story::list;
use crate::harness::{Pm2, Sandbox, missing, unique, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Writes what it is and what it was given to `now.json`, beside which it runs.
const TELLS: &str = "const { MODE, EXTRA, LASTGOOD_STATE_DIR } = process.env;
require('fs').writeFileSync('now.json', JSON.stringify({ release: RELEASE, MODE, EXTRA, LASTGOOD_STATE_DIR }));
console.log('INFO release RELEASE is up');
setInterval(() => {}, 1000);
";

fn release(text: &str) -> String {
    TELLS.replace("RELEASE", text)
}

/// An ecosystem file of one application.
fn ecosystem(app: &str, script: &str, more: &str) -> String {
    format!("module.exports = {{ apps: [{{ name: '{app}', script: '{script}', {more} }}] }};\n")
}

/// Waits for what the newest start of the application tells.
fn told(folder: &Path, release: &str) -> Value {
    wait_for(&format!("release {release}"), LONG, || {
        let text = fs::read_to_string(folder.join("now.json")).ok()?;
        let told: Value = serde_json::from_str(&text).ok()?;
        let is_it = told["release"] == release.parse::<u64>().unwrap();
        is_it.then_some(told)
    })
}

fn checkpoint(sandbox: &Sandbox, app: &str) -> Value {
    let name = format!("pm2/{app}");
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &name]);
    assert_eq!(created["complete"], true, "{created:#}");
    created
}

fn roll_back(sandbox: &Sandbox, app: &str, to: &Value, code: i32, more: &[&str]) -> Value {
    let id = to["id"].as_str().unwrap();
    let mut arguments = vec!["roll-back", app, "--to", id, "--yes", "--confirm", app];
    arguments.extend(more);
    sandbox.json(code, "outcome", &arguments)
}

fn texts(values: &Value) -> Vec<String> {
    list(values)
        .iter()
        .map(|one| one["text"].as_str().or(one.as_str()).unwrap().to_owned())
        .collect()
}

fn sh(folder: &Path, line: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The one file below `folder` whose name begins so.
fn file_that_begins(folder: &Path, name: &str) -> PathBuf {
    let found: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(name)
        })
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn script_limits_and_environment_of_a_checkpoint_come_back() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-back");
    let app = unique("back");
    let work = sandbox.work();
    sandbox.write("v1.js", release("1"));
    sandbox.write("v2.js", release("2"));
    sandbox.write("package.json", r#"{"name":"shop","version":"1.4.2"}"#);
    let good = "max_restarts: 3, min_uptime: '10s', env: { MODE: 'good', TOKEN: 'hunter2secret' }";
    sandbox.write("ecosystem.config.js", ecosystem(&app, "v1.js", good));
    pm2.run(&["start", "ecosystem.config.js"]);
    pm2.run(&["save"]);
    told(&work, "1");
    let saved = checkpoint(&sandbox, &app);
    let kept = Path::new(saved["path"].as_str().unwrap()).join(format!("configs/pm2/{app}"));
    for file in [
        work.join("ecosystem.config.js"),
        work.join("package.json"),
        sandbox.path("pm2/dump.pm2"),
    ] {
        let copy = kept.join(file.strip_prefix("/").unwrap());
        assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap());
        use std::os::unix::fs::MetadataExt;
        let mode = fs::metadata(&copy).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", copy.display());
    }

    let bad = "max_restarts: 15, min_uptime: '5s', env: { MODE: 'bad', EXTRA: '1', TOKEN: 'hunter2secret' }";
    sandbox.write("ecosystem.config.js", ecosystem(&app, "v2.js", bad));
    pm2.run(&["delete", &app]);
    pm2.run(&["start", "ecosystem.config.js"]);
    assert_eq!(told(&work, "2")["EXTRA"], "1");

    // Refused before anything is done, and told to be so.
    for verb in ["restart", "stop", "roll-back"] {
        sandbox
            .run(&["--read-only", verb, &app, "--yes", "--confirm", &app])
            .exits(5)
            .says(&["read-only"]);
    }
    // Without `--to` it is the newest good one that differs.
    let plan = sandbox.json(0, "plan", &["roll-back", &app, "--dry-run"]);
    assert_eq!(plan["risk"], "destructive", "{plan:#}");
    let steps = texts(&plan["steps"]).join("\n");
    for part in [
        "save the logs",
        "put back",
        "pm2 delete ",
        "--only",
        "verify: ",
        "pm2 save",
    ] {
        assert!(steps.contains(part), "{part}: {steps}");
    }
    let start = list(&plan["steps"])
        .iter()
        .find(|step| step["text"].as_str().unwrap().contains("--only"))
        .unwrap();
    let file = work.join("ecosystem.config.js");
    assert_eq!(
        start["command"],
        json!(["pm2", "start", file, "--only", app]),
        "{plan:#}"
    );
    assert!(
        texts(&plan["notes"])[0].contains("what it loads was not compared"),
        "{plan:#}"
    );
    assert!(!plan.to_string().contains("hunter2"), "{plan:#}");

    let outcome = roll_back(&sandbox, &app, &saved, 0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert!(list(&outcome["manual"]).is_empty(), "{outcome:#}");
    let now = told(&work, "1");
    assert_eq!(
        now,
        json!({"release": 1, "MODE": "good"}),
        "nothing of the bad release nor of our own environment"
    );
    let list: Value = serde_json::from_str(&pm2.run(&["--silent", "jlist"])).unwrap();
    let env = &list[0]["pm2_env"];
    assert_eq!(
        (&env["max_restarts"], &env["min_uptime"]),
        (&json!(3), &json!(10_000))
    );
    let dump = fs::read_to_string(sandbox.path("pm2/dump.pm2")).unwrap();
    assert!(
        dump.contains("v1.js") && !dump.contains("v2.js"),
        "saved anew"
    );
    let log = file_that_begins(&sandbox.path("state/runs"), "failed-");
    let log = zstd::decode_all(fs::read(log).unwrap().as_slice()).unwrap();
    assert!(String::from_utf8_lossy(&log).contains("release 2 is up"));
    sandbox.run(&["audit", "verify"]).exits(0);
}

#[test]
fn a_start_that_fails_brings_the_failing_release_back_or_says_how_to() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-fails");
    let app = unique("fails");
    let work = sandbox.work();
    sandbox.write("v1.js", release("1"));
    // What ends it leaves a mark. Beside that the good configuration declares nothing, for which PM2 says 0, or breaks.
    let mark =
        "process.on('SIGINT', () => { require('fs').writeFileSync('mark', ''); process.exit(); });";
    sandbox.write("v2.js", release("2") + mark);
    let is_there = |name: &str| format!("require('fs').existsSync('{name}')");
    let checked = format!(
        "if ({} && {}) throw new Error('the database is locked');\n",
        is_there("mark"),
        is_there("breaks")
    );
    let good = checked.clone()
        + &ecosystem(&app, "v1.js", "")
        + &format!(
            "if ({}) module.exports = {{ apps: [] }};\n",
            is_there("mark")
        );
    let bad = ecosystem(&app, "v2.js", "");
    sandbox.write("ecosystem.config.js", &good);
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "1");
    let saved = checkpoint(&sandbox, &app);
    let deploy = |ecosystem: &str| {
        let _ = fs::remove_file(work.join("mark"));
        sandbox.write("ecosystem.config.js", ecosystem);
        pm2.run(&["delete", &app]);
        let _ = fs::remove_file(work.join("mark"));
        pm2.run(&["start", "ecosystem.config.js"]);
        told(&work, "2");
    };

    for why in ["is not there", "the database is locked"] {
        deploy(&bad);
        let outcome = roll_back(&sandbox, &app, &saved, 4, &[]);
        assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
        for part in ["take back", why] {
            assert!(outcome.to_string().contains(part), "{part}: {outcome:#}");
        }
        let now = fs::read_to_string(work.join("ecosystem.config.js")).unwrap();
        assert_eq!(now, bad);
        sandbox.write("breaks", "");
    }
    let services = sandbox
        .run(&["services", "--format", "json"])
        .json("services");
    let found = list(&services["services"])
        .iter()
        .find(|service| service["name"] == app.as_str())
        .unwrap_or_else(|| panic!("gone: {services:#}"));
    assert_eq!(found["state"], "running", "{found:#}");
    assert!(
        found["release"]["path"]
            .as_str()
            .unwrap()
            .ends_with("v2.js")
    );

    // Neither can be started now.
    deploy(&(checked + &bad));
    let outcome = roll_back(&sandbox, &app, &saved, 4, &[]);
    assert_eq!(outcome["outcome"], "failed_partial", "{outcome:#}");
    let manual = outcome["manual"].to_string();
    let kept = saved["path"].as_str().unwrap();
    for part in ["start", "--only", &app, "PM2_HOME=", kept] {
        assert!(manual.contains(part), "{part}: {outcome:#}");
    }
    // The line works when it is typed.
    fs::remove_file(work.join("mark")).unwrap();
    let line = list(&outcome["manual"])
        .iter()
        .filter_map(Value::as_str)
        .find(|line| line.contains("env -i"))
        .unwrap_or_else(|| panic!("{outcome:#}"));
    fs::remove_file(work.join("now.json")).unwrap();
    sh(&work, line);
    told(&work, "2");

    // Gone, as a deploy that failed leaves it: the checkpoint knows what it was.
    pm2.run(&["delete", &app]);
    fs::remove_file(work.join("mark")).unwrap();
    fs::remove_file(work.join("now.json")).unwrap();
    let plan = sandbox.json(0, "plan", &["roll-back", &app, "--dry-run"]);
    assert!(
        !texts(&plan["steps"])
            .iter()
            .any(|step| step.contains("delete")),
        "{plan:#}"
    );
    let outcome = roll_back(&sandbox, &app, &saved, 0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    told(&work, "1");
}

#[test]
fn a_release_link_is_led_back() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-link");
    let app = unique("link");
    let work = sandbox.work();
    let current = work.join("current");
    let more = format!("cwd: '{}'", current.display());
    for number in ["41", "42"] {
        sandbox.write(&format!("releases/{number}/api.js"), release(number));
        let folder = format!("releases/{number}/ecosystem.config.js");
        sandbox.write(&folder, ecosystem(&app, "api.js", &more));
    }
    let start = |number: &str| {
        sh(&work, &format!("ln -sfn releases/{number} current"));
        pm2.run(&[
            "start",
            current.join("ecosystem.config.js").to_str().unwrap(),
        ]);
        told(&work.join("releases").join(number), number);
    };
    start("41");
    let saved = checkpoint(&sandbox, &app);
    pm2.run(&["delete", &app]);
    start("42");
    let _ = fs::remove_file(work.join("releases/41/now.json"));

    let plan = sandbox.json(0, "plan", &["roll-back", &app, "--dry-run"]);
    let steps = texts(&plan["steps"]);
    assert!(
        steps[1].contains("to releases/41 (now releases/42)"),
        "{steps:?}"
    );
    let outcome = roll_back(&sandbox, &app, &saved, 0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(fs::read_link(&current).unwrap(), Path::new("releases/41"));
    told(&work.join("releases/41"), "41");
    assert!(
        !sandbox.path("pm2/dump.pm2").exists(),
        "nobody saved before"
    );
}

#[test]
fn a_clean_checkout_is_checked_out_again_and_installed() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-git");
    let app = unique("git");
    let work = sandbox.work();
    fs::write(
        sandbox.path("config/lastgood/config.toml"),
        format!(
            "[services.\"pm2/{app}\"]\nrelease = {{ git = \"{}\", install = \"cp package-lock.json installed\", install_if = \"package-lock.json\" }}\n",
            work.display()
        ),
    )
    .unwrap();
    let commit = |number: &str| {
        sandbox.write("api.js", release(number));
        sandbox.write("package-lock.json", format!("{{\"lock\": {number}}}"));
        sandbox.write(
            "ecosystem.config.js",
            ecosystem(&app, "api.js", &format!("env: {{ MODE: 'of-{number}' }}")),
        );
        sh(
            &work,
            "git add api.js package-lock.json ecosystem.config.js && git -c user.name=a -c user.email=a@b.c commit -q -m next && git rev-parse HEAD",
        )
    };
    sh(&work, "git init -q -b main .");
    let first = commit("1");
    // Not in the checkout: it comes from the checkpoint.
    sandbox.write(".env", "POOL=20\n");
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "1");
    let saved = checkpoint(&sandbox, &app);
    commit("2");
    sandbox.write(".env", "POOL=100\n");
    pm2.run(&["delete", &app]);
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "2");

    let outcome = roll_back(&sandbox, &app, &saved, 0, &[]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(sh(&work, "git rev-parse HEAD"), first);
    assert_eq!(told(&work, "1")["MODE"], "of-1");
    assert_eq!(fs::read_to_string(work.join(".env")).unwrap(), "POOL=20\n");
    assert_eq!(
        fs::read_to_string(work.join("installed")).unwrap(),
        "{\"lock\": 1}"
    );
    assert!(
        texts(&outcome["steps"])
            .iter()
            .any(|step| step.starts_with("run: cp package-lock")),
        "{outcome:#}"
    );

    // What is not committed is nothing that a checkout may throw away.
    sh(&work, "git checkout -q main && echo '// by hand' >> api.js");
    let id = saved["id"].as_str().unwrap();
    sandbox
        .run(&["roll-back", &app, "--to", id, "--dry-run"])
        .exits(5)
        .says(&["NOT rolled back", "uncommitted", "--configs-only"]);
}

#[test]
fn code_that_nothing_brings_back_is_said_first() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-code");
    let app = unique("code");
    let work = sandbox.work();
    sandbox.write("api.js", release("1"));
    sandbox.write(
        "ecosystem.config.js",
        ecosystem(&app, "api.js", "max_restarts: 3"),
    );
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "1");
    let saved = checkpoint(&sandbox, &app);
    sandbox.write("api.js", release("2"));
    sandbox.write(
        "ecosystem.config.js",
        ecosystem(&app, "api.js", "max_restarts: 15"),
    );
    pm2.run(&["delete", &app]);
    pm2.run(&["start", "ecosystem.config.js"]);
    told(&work, "2");
    let id = saved["id"].as_str().unwrap();
    sandbox
        .run(&["roll-back", &app, "--to", id, "--yes", "--confirm", &app])
        .exits(5)
        .says(&["NOT rolled back", "changed in place", "--configs-only"]);
    told(&work, "2");
    let plan = sandbox.json(
        0,
        "plan",
        &["roll-back", &app, "--to", id, "--configs-only", "--dry-run"],
    );
    assert!(
        texts(&plan["notes"])[0].starts_with("code is NOT rolled back: "),
        "{plan:#}"
    );
    let outcome = roll_back(&sandbox, &app, &saved, 0, &["--configs-only"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    told(&work, "2");
    let list: Value = serde_json::from_str(&pm2.run(&["--silent", "jlist"])).unwrap();
    assert_eq!(list[0]["pm2_env"]["max_restarts"], 3);

    // What PM2 could not start again is not deleted.
    fs::remove_file(work.join("api.js")).unwrap();
    sandbox
        .run(&[
            "roll-back",
            &app,
            "--to",
            id,
            "--configs-only",
            "--yes",
            "--confirm",
            &app,
        ])
        .exits(1)
        .says(&["is gone"]);
    let started = pm2.start("by-hand", &release("3"), json!({}));
    told(&work, "3");
    let by_hand = checkpoint(&sandbox, &started);
    sandbox
        .run(&[
            "roll-back",
            &started,
            "--to",
            by_hand["id"].as_str().unwrap(),
            "--dry-run",
        ])
        .exits(1)
        .says(&["ecosystem file", "config_files"]);
}

#[test]
fn restart_stop_and_start_are_proved_whatever_pm2_says() {
    if missing(&["pm2"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("pm2-restart");
    let app = pm2.start(
        "restart",
        &(release("1") + "if (require('fs').existsSync('broken')) process.exit(3);"),
        json!({"max_restarts": 3, "env": {"MODE": "kept"}, "instances": 2, "exec_mode": "cluster"}),
    );
    let work = sandbox.work();
    told(&work, "1");
    let processes = || {
        let services = sandbox
            .run(&["services", "--format", "json"])
            .json("services");
        let found = list(&services["services"])
            .iter()
            .find(|service| service["name"] == app.as_str())
            .unwrap()
            .clone();
        let ids = list(&found["instances"])
            .iter()
            .map(|i| i["id"].to_string());
        (
            found["state"].as_str().unwrap().to_owned(),
            ids.collect::<Vec<_>>(),
        )
    };
    let before = processes();
    let plan = sandbox.json(0, "plan", &["restart", &app, "--reload", "--dry-run"]);
    assert_eq!(plan["risk"], "disruptive", "{plan:#}");
    let command = list(&plan["steps"])[0]["command"].clone();
    assert_eq!(command, json!(["pm2", "reload", "0"]), "{plan:#}");
    assert_eq!(processes(), before, "a dry run changes nothing");
    let outcome = sandbox.json(0, "outcome", &["restart", &app, "--reload", "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let after = processes();
    assert!(
        before.1.iter().all(|id| !after.1.contains(id)),
        "{before:?} {after:?}"
    );
    assert_eq!(told(&work, "1")["MODE"], "kept");

    let outcome = sandbox.json(0, "outcome", &["stop", &app, "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(processes().0, "stopped");
    let outcome = sandbox.json(0, "outcome", &["start", &app, "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let running = processes();
    assert_eq!(running.0, "running");

    // PM2 says 0 to this restart.
    fs::write(work.join("broken"), "").unwrap();
    let outcome = sandbox.json(1, "outcome", &["restart", &app, "--yes"]);
    assert_eq!(outcome["outcome"], "applied_not_verified", "{outcome:#}");
    let last = list(&outcome["steps"]).last().unwrap().clone();
    assert_eq!(last["ok"], false, "{outcome:#}");
}
