//! Who may do what; the second person's yes; and a read-only session over every verb.

use crate::compose_story::list;
use crate::harness::{Run, Sandbox, missing};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn configure(sandbox: &Sandbox, policy: &str) {
    let work = sandbox.work();
    let at = work.display();
    fs::write(
        sandbox.path("config/lastgood/config.toml"),
        format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {at}/up\"\nstart = \"touch {at}/up\"\nstop = \"rm -f {at}/up\"\nrestart = \"touch {at}/restarted\"\nroll_back = \"echo $LASTGOOD_RELEASE > {at}/release\"\nrelease_command = \"cat {at}/release\"\nlogs = \"cat {at}/bot.log\"\nconfig_files = [\"{at}/bot.conf\"]\n{policy}"
        ),
    )
    .unwrap();
}

fn no_docker(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    sandbox.write("up", "");
    sandbox.write("release", "1.5\n");
    sandbox.write("bot.log", "2025-12-27T14:50:00Z INFO up\n");
    sandbox.write("bot.conf", "pool = 20\n");
    sandbox
}

/// The user that the tests run as.
fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_the_policy_does_not_allow_is_refused_with_the_rule() {
    let sandbox = no_docker("policy");
    let user = own_name();
    configure(
        &sandbox,
        &format!(
            "[policy]\nrules = [{{ user = \"nobody-else\", service = \"*\", operations = [\"stop\"] }}, {{ user = \"{user}\", host = \"*\", service = \"exec/*\", operations = [\"start\", \"roll-back\"] }}]\n"
        ),
    );
    // The plan can be looked at; it is carried out by those who may.
    sandbox.run(&["stop", "exec/bot", "--dry-run"]).exits(0);
    sandbox.run(&["stop", "exec/bot", "--yes"]).exits(5).says(&[
        "policy",
        "rule 2",
        "start, roll-back",
    ]);
    assert!(sandbox.work().join("up").exists());
    sandbox.run(&["start", "exec/bot", "--yes"]).exits(0);
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let denied = list(&listed["records"])
        .iter()
        .find(|record| record["phase"] == "denied")
        .unwrap_or_else(|| panic!("{listed:#}"));
    assert!(
        denied["outcome"].as_str().unwrap().contains("rule 2"),
        "{denied:#}"
    );
    configure(&sandbox, "[policy]\nrules = []\n");
    sandbox.run(&["start", "exec/bot", "--yes"]).exits(5);
}

fn open_up(folder: &Path) {
    let mode = if folder.is_dir() { 0o2777 } else { 0o666 };
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    if folder.is_dir() {
        for entry in fs::read_dir(folder).unwrap() {
            open_up(&entry.unwrap().path());
        }
    }
}

/// The yes of another user, who shares the state.
pub(crate) fn another_user_approves(sandbox: &Sandbox, hash: &str) -> Run {
    let binary = sandbox.path("lastgood");
    fs::copy(sandbox.command(&[]).get_program(), &binary).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(sandbox.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    open_up(&sandbox.state());
    let mut command = Command::new("setpriv");
    sandbox.surround(&mut command);
    command
        .args(["--reuid=65534", "--regid=0", "--clear-groups"])
        .arg(&binary)
        .args(["approve", hash])
        .current_dir("/");
    Run::of(command)
}

#[test]
fn a_second_person_says_yes_once() {
    if missing(&["root", "setpriv"]) {
        return;
    }
    let sandbox = no_docker("second");
    configure(
        &sandbox,
        "[policy]\nrules = [{ user = \"*\", two_person = [\"destructive\", \"data_losing\"] }]\n",
    );
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", "exec/bot"]);
    let id = created["id"].as_str().unwrap();
    sandbox.write("release", "1.6\n");
    let words = [
        "roll-back",
        "exec/bot",
        "--to",
        id,
        "--yes",
        "--confirm",
        "bot",
    ];
    let release = || fs::read_to_string(sandbox.work().join("release")).unwrap();
    let plan = sandbox.json(
        0,
        "plan",
        &["roll-back", "exec/bot", "--to", id, "--dry-run"],
    );
    let hash = plan["hash"].as_str().unwrap();
    sandbox
        .run(&words)
        .exits(5)
        .says(&["second person", "lastgood approve", &hash[..12]]);
    sandbox.run(&["approve", hash]).exits(5).says(&["your own"]);
    sandbox.run(&["approve", "0123456789ab"]).exits(1);
    assert_eq!(release(), "1.6\n");

    let approved = another_user_approves(&sandbox, &hash[..16]).exits(0);
    assert!(approved.stdout.contains("roll-back"), "{approved}");

    let outcome = sandbox.json(0, "outcome", &words);
    assert_eq!(outcome["plan_hash"], hash, "the plan that was approved");
    assert_eq!(release(), "1.5\n");
    sandbox.write("release", "1.6\n");
    sandbox.run(&words).exits(5).says(&["second person"]);
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let approvals: Vec<&Value> = list(&listed["records"])
        .iter()
        .filter(|record| record["phase"] == "approved")
        .collect();
    assert_eq!(approvals.len(), 1, "{listed:#}");
    assert_eq!(approvals[0]["actor"]["uid"], 65534, "{listed:#}");
    sandbox.run(&["audit", "verify"]).exits(0);
}

#[test]
fn a_read_only_session_writes_nothing_whatever_the_verb() {
    let sandbox = no_docker("readonly-all");
    let at = sandbox.work().display().to_string();
    for (name, text) in [("blue", "1"), ("green", "2"), ("active", "1")] {
        sandbox.write(&format!("{name}.conf"), text);
    }
    let side = |name: &str| {
        format!("{name} = {{ file = \"{at}/{name}.conf\", probe = {{ command = \"true\" }} }}\n")
    };
    configure(
        &sandbox,
        &format!(
            "[backups.bot]\nkind = \"files\"\nfiles = [\"{at}/bot.conf\"]\n[switch.bot]\n{}{}active = \"{at}/active.conf\"\ntest = \"true\"\nreload = \"touch {at}/reloaded\"\nverify = {{ command = \"true\" }}\n",
            side("blue"),
            side("green")
        ),
    );
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", "exec/bot"]);
    let id = created["id"].as_str().unwrap();
    sandbox.run(&["backup", "run", "bot"]).exits(0);
    sandbox.write("release", "1.6\n");
    sandbox.write("bot.conf", "pool = 100\n");
    let work = || -> Vec<(String, Vec<u8>, std::time::SystemTime)> {
        let mut all: Vec<_> = fs::read_dir(sandbox.work())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let content = fs::read(entry.path()).unwrap();
                (name, content, entry.metadata().unwrap().modified().unwrap())
            })
            .collect();
        all.sort();
        all
    };
    let before = work();
    let confirmed = ["--yes", "--confirm", "bot"];
    let changing: [&[&str]; 14] = [
        &["restart", "exec/bot"],
        &["stop", "exec/bot"],
        &["start", "exec/bot"],
        &["roll-back", "exec/bot", "--to", id],
        &["roll-back", "exec/bot", "--to", id, "--configs-only"],
        &["switch", "bot", "green"],
        &["backup", "run", "bot"],
        &["backup", "verify", "bot"],
        &["backup", "restore", "bot"],
        &["checkpoint", "restore", id],
        &["checkpoint", "prune", "--keep-last", "0"],
        &["lease", "break", "exec/bot"],
        &["approve", "0123"],
        &["guard", "exec/bot", "--", "touch", "deployed"],
    ];
    for words in changing {
        let all = [&["--read-only"], words, &confirmed[..]].concat();
        let run = sandbox.run(&all);
        // These two have nothing to be refused yet.
        let expected = if matches!(words[0], "lease" | "approve") {
            1
        } else {
            5
        };
        assert_eq!(run.code, expected, "{run}");
        assert_eq!(work(), before, "{run}");
    }
    let reading: [&[&str]; 32] = [
        &["services"],
        &["logs", "exec/bot"],
        &["health"],
        &["signals"],
        &["errors", "service:exec/bot"],
        &["slow", "service:exec/bot"],
        &["patterns", "service:exec/bot"],
        &["compare"],
        &["checkpoint", "create", "exec/bot"],
        &["checkpoint", "list"],
        &["checkpoint", "show", id],
        &["checkpoint", "verify", "--all"],
        &["audit", "list"],
        &["audit", "verify"],
        &["config", "show"],
        &["config", "check"],
        &["lease", "status"],
        &["backup", "list"],
        &["runbook", "list"],
        &["preflight", "exec/bot"],
        &["incident", "start", "slow"],
        &["incident", "note", "looking"],
        &["incident", "severity", "P1"],
        &["incident", "role", "scribe", "boris"],
        &["incident", "hand-over", "boris", "watching"],
        &["incident", "end"],
        &["incident", "list"],
        &["incident", "report"],
        &["doctor"],
        &["watch", "--once"],
        &["alerts"],
        &["alerts", "--silence", "all", "--reason", "a test"],
    ];
    for words in reading {
        let all = [&["--read-only"], words].concat();
        let run = sandbox.run(&all);
        assert_ne!(run.code, 2, "{run}");
        assert_eq!(work(), before, "{run}");
    }
    // Every verb there is stands in one of the two lists, or cannot reach a machine.
    let help = sandbox.run(&["--help"]).exits(0).stdout;
    let elsewhere = [
        "tui",
        "demo",
        "init",
        "notify",
        "keys",
        "completions",
        "man",
        "help",
        "resume",
    ];
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    for line in commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
    {
        let verb = line.split_whitespace().next().unwrap();
        let is_known = elsewhere.contains(&verb)
            || changing
                .iter()
                .chain(reading.iter())
                .any(|words| words[0] == verb);
        assert!(is_known, "{verb} is tried by no read-only session here");
    }
}
