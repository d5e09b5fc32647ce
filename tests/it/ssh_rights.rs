//! Other rights on a machine behind ssh than those of the user that signs in: `become`.

use crate::compose_story::list;
use crate::harness::{Fleet, Pm2, Project, missing};
use crate::ssh::{WRITES, fleet};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_engine_is_reached_and_changed_with_the_rights_of_become() {
    if missing(&["docker", "compose", "busybox", "sshd", "sudo", "root"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-become");
    let mut project = Project::of_one(&sandbox, "ssh-become");
    project.image(WRITES);
    project.up();
    let _sshd = fleet.start("prod-1", 23, &[]);
    let service = format!("prod-1:{}", project.service("backend"));
    let become_ = |words: &str, more: &str| {
        sandbox.write(
            "lastgood.toml",
            format!("[hosts.prod-1]\nbecome = \"{words}\"\n{more}"),
        );
    };
    let keeps = "sudo -n --preserve-env=XDG_STATE_HOME";
    let who = "[services.\"prod-1:exec/bot\"]\nstatus = \"true\"\nrelease_command = \"id -un\"\n";
    become_(keeps, who);
    let found = sandbox.json(0, "services", &["services"]);
    let all = list(&found["services"]);
    assert!(all.iter().any(|s| s["id"] == service.as_str()), "{found:#}");
    let bot = all.iter().find(|s| s["id"] == "prod-1:exec/bot").unwrap();
    assert!(bot.to_string().contains("root"), "{bot:#}");
    let shown = sandbox.run(&["logs", &service]).exits(0);
    assert!(shown.stdout.contains("line 1"), "{shown}");
    let outcome = sandbox.json(0, "outcome", &["restart", &service, "--yes"]);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");

    // With the rights of somebody who may not use the engine: what the user that signs in may do does not count.
    become_("sudo -n -u nobody", who);
    let found = sandbox.json(0, "services", &["services"]);
    let bot = list(&found["services"])
        .iter()
        .find(|s| s["id"] == "prod-1:exec/bot");
    assert!(bot.unwrap().to_string().contains("nobody"), "{found:#}");
    let said = found["unreachable"].to_string();
    assert!(said.contains("permission denied on"), "{found:#}");

    // Refused: the cause, the fix, and no prompt.
    become_("sudo -n -u nobody sudo -n", "");
    let run = sandbox.run(&["services", "--format", "json"]);
    let said = run.json("services")["unreachable"].to_string();
    for part in ["is refused there: sudo: a password is required", "NOPASSWD"] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    become_("sudo", "");
    sandbox
        .run(&["services"])
        .exits(2)
        .says(&["could ask for a password", "sudo -n"]);
}

#[test]
fn what_the_user_there_may_not_look_at_is_told_and_is_not_missing() {
    if missing(&["pm2", "sshd", "sudo", "root"]) {
        return;
    }
    let (sandbox, pm2) = Pm2::new("ssh-closed");
    let (sandbox, mut fleet) = Fleet::new(sandbox);
    let home = sandbox.path("pm2");
    let variable = format!("SetEnv PM2_HOME={}", home.display());
    let _sshd = fleet.start("prod-1", 47, &[&variable]);
    pm2.start(
        "closed",
        "setInterval(() => {}, 1000)\n",
        serde_json::json!({}),
    );
    let closed = |path: &std::path::Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    };
    closed(&home);
    fs::create_dir(sandbox.path("closed")).unwrap();
    closed(&sandbox.path("closed"));
    let log = sandbox.path("closed/a.log");
    fs::write(&log, "one\n").unwrap();
    sandbox.write(
        "lastgood.toml",
        format!(
            "[hosts.prod-1]\nbecome = \"sudo -n --preserve-env=PM2_HOME -u nobody\"\n\
             [services.\"prod-1:file/closed\"]\nlog_files = [\"{}\"]\n",
            log.display()
        ),
    );
    let found = sandbox.run(&["services", "--format", "json"]);
    let found = found.json("services");
    let told = list(&found["unreachable"])
        .iter()
        .find(|one| one["host"] == "prod-1" && one.to_string().contains(&*home.to_string_lossy()))
        .unwrap_or_else(|| panic!("{found:#}"));
    for part in ["permission denied on the PM2 daemon of user", "become"] {
        assert!(told.to_string().contains(part), "{part:?} in {told:#}");
    }
    let file = list(&found["services"])
        .iter()
        .find(|one| one["id"] == "prod-1:file/closed")
        .unwrap_or_else(|| panic!("{found:#}"));
    assert_eq!(file["state"], "unknown", "{file:#}");
    assert!(file.to_string().contains("permission denied"), "{file:#}");
}
