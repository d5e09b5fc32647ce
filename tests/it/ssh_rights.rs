//! Other rights on a machine behind ssh than those of the user that signs in: `become`.

use crate::compose_story::list;
use crate::harness::{Project, missing};
use crate::ssh::{WRITES, fleet};

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
