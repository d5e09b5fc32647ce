//! Blue-green on a real nginx in front of two real servers: to the other side, or back to the one that answered.

use crate::compose_story::list;
use crate::harness::{BlueGreen, Fleet, Sandbox, missing};
use crate::races::change_between;
use crate::resume::run_until;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;

const UP: &str = "green is up";
const GREEN: [&str; 4] = ["switch", "api", "green", "--yes"];

struct Story {
    front: BlueGreen,
    sandbox: Sandbox,
}

impl Story {
    /// Requests go to blue. `verify` is the text that the public way must answer for green.
    fn new(name: &str, verify: &str, more: &str) -> Story {
        let sandbox =
            Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
        let front = BlueGreen::start(&sandbox);
        let story = Story { front, sandbox };
        story.configure(verify, more);
        assert_eq!(story.front.answer().as_deref(), Some("blue is up"));
        story
    }

    fn configure(&self, verify: &str, more: &str) {
        fs::write(
            self.sandbox.path("config/lastgood/config.toml"),
            self.front.configuration(verify, more),
        )
        .unwrap();
    }

    /// Nothing was changed: neither the file nor what nginx serves.
    fn is_untouched(&self) {
        assert_eq!(self.front.read("active.conf"), self.front.read("blue.conf"));
        assert_eq!(self.front.answer().as_deref(), Some("blue is up"));
        assert_eq!(self.front.reloads(), 0);
    }
}

#[test]
fn requests_go_to_the_other_side_and_back() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("switch", UP, "");
    let (sandbox, front) = (&story.sandbox, &story.front);
    let plan = sandbox.json(0, "plan", &["switch", "api", "green", "--dry-run"]);
    assert_eq!(plan["operation"], "switch", "{plan:#}");
    assert_eq!(plan["risk"], "disruptive", "{plan:#}");
    assert_eq!(plan["services"][0], "switch/api", "{plan:#}");
    assert_eq!(list(&plan["steps"]).len(), 5, "{plan:#}");
    assert_eq!(list(&plan["fingerprints"]).len(), 3, "{plan:#}");
    sandbox.run(&["switch", "api", "green"]).exits(5);
    sandbox
        .run(&[&["--read-only"], &GREEN[..]].concat())
        .exits(5);
    story.is_untouched();

    let outcome = sandbox.json(0, "outcome", &GREEN);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(front.answer().as_deref(), Some("green is up"));
    assert_eq!(front.read("active.conf"), front.read("green.conf"));
    assert!(front.is_blue_up());

    // Once more: nothing is done, and that is said.
    let worker = front.worker();
    let again = sandbox.run(&["switch", "api", "green"]).exits(0);
    let again = again.says(&["on green already", "nothing was changed"]);
    assert_eq!(front.worker(), worker, "{again}");
    assert_eq!(front.reloads(), 1);
    let again = sandbox.json(0, "outcome", &GREEN);
    assert_eq!(again["outcome"], "verified", "{again:#}");
    assert_eq!(story.sandbox.outcomes(), [Value::from("verified")]);

    sandbox.run(&["switch", "api", "blue", "--yes"]).exits(0);
    assert_eq!(front.answer().as_deref(), Some("blue is up"));
    sandbox.run(&["audit", "verify"]).exits(0);
}

#[test]
fn a_side_that_is_down_never_takes_over() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let mut story = Story::new("switch-dead", UP, "");
    story.front.end_green();
    story
        .sandbox
        .run(&GREEN)
        .exits(1)
        .says(&["green of api is not healthy", "nothing was changed"]);
    story.is_untouched();
    assert!(story.sandbox.outcomes().is_empty());
}

#[test]
fn a_file_that_the_proxy_does_not_take_is_put_back_untested_by_traffic() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("switch-broken", UP, "");
    fs::write(
        story.front.path("green.conf"),
        "upstream api { sever x; }\n",
    )
    .unwrap();
    let worker = story.front.worker();
    let outcome = story.sandbox.json(4, "outcome", &GREEN);
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    let failed = list(&outcome["steps"])
        .iter()
        .find(|step| step["ok"] == false)
        .unwrap();
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.contains("exit 1"), "{outcome:#}");
    story.is_untouched();
    assert_eq!(story.front.worker(), worker);
    assert_eq!(story.sandbox.outcomes(), [Value::from("failed_unchanged")]);
}

#[test]
fn what_the_public_way_does_not_confirm_is_taken_back_at_once() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("switch-unproved", "green is at 2.0", "");
    let outcome = story.sandbox.json(4, "outcome", &GREEN);
    // What is said to be back answers again.
    assert_eq!(story.front.answer().as_deref(), Some("blue is up"));
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    let text = outcome.to_string();
    assert!(text.contains("body lacks"), "{outcome:#}");
    // There and back.
    assert_eq!(story.front.reloads(), 2, "{outcome:#}");
    assert_eq!(
        story.front.read("active.conf"),
        story.front.read("blue.conf")
    );
}

#[test]
fn a_file_that_changed_since_the_plan_makes_it_stale() {
    if missing(&["nginx", "busybox", "strace"]) {
        return;
    }
    for name in ["green.conf", "blue.conf", "active.conf"] {
        let story = Story::new(&format!("switch-stale-{}", &name[..4]), UP, "");
        let path = story.front.path(name);
        let changed = story.front.read(name) + "# by hand\n";
        let run = change_between(&story.sandbox, &GREEN, || {
            fs::write(&path, &changed).unwrap();
        })
        .exits(5)
        .says(&["the plan is stale", name]);
        assert_eq!(story.front.read(name), changed, "{run}");
        assert_eq!(story.front.reloads(), 0, "{run}");
        assert_eq!(story.front.answer().as_deref(), Some("blue is up"));
    }
}

#[test]
fn a_switch_killed_between_file_and_reload_is_gone_on_with_or_taken_back() {
    if missing(&["nginx", "busybox", "strace"]) {
        return;
    }
    for (options, answer, end) in [
        (vec!["resume", "--yes"], "green is up", "verified"),
        (
            vec!["resume", "--undo", "--yes"],
            "blue is up",
            "failed_unchanged",
        ),
    ] {
        let story = Story::new(&format!("switch-killed-{end}"), UP, "");
        // The lease twice, the intent; then each step begins and ends.
        let file_is_written = 3 + 2 * 2;
        run_until(&story.sandbox, &GREEN, "KILL", file_is_written + 1).exits(137);
        assert_eq!(
            story.front.read("active.conf"),
            story.front.read("green.conf")
        );
        assert_eq!(story.front.answer().as_deref(), Some("blue is up"));
        assert_eq!(story.front.reloads(), 0);
        let run = story.sandbox.run(&options);
        assert_eq!(run.code, if end == "verified" { 0 } else { 4 }, "{run}");
        assert_eq!(story.front.answer().as_deref(), Some(answer), "{run}");
        assert_eq!(story.sandbox.outcomes(), [Value::from(end)], "{run}");
        story
            .sandbox
            .run(&["resume"])
            .exits(1)
            .says(&["every run has ended"]);
    }
}

#[test]
fn what_cannot_be_a_switch_is_said_before_anything_is_done() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("switch-wrong", UP, "");
    let (sandbox, front) = (&story.sandbox, &story.front);
    sandbox
        .run(&["switch", "apo", "green"])
        .exits(2)
        .says(&["no [switch.apo]", "did you mean api"]);
    sandbox.run(&["switch", "api", "red"]).exits(2);
    story.configure(UP, "relod = \"true\"\n");
    sandbox
        .run(&GREEN)
        .exits(2)
        .says(&["config.toml", "relod", "reload", "^"]);
    story.configure(UP, "");
    // Whoever switches by a link would lose a side's file.
    fs::remove_file(front.path("active.conf")).unwrap();
    symlink("blue.conf", front.path("active.conf")).unwrap();
    let before = front.read("blue.conf");
    sandbox.run(&GREEN).exits(2).says(&["is a link to"]);
    assert_eq!(front.read("blue.conf"), before);
    story.is_untouched();
}

#[test]
fn a_policy_says_who_switches() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let rules = |service: &str| {
        format!("[policy]\nrules = [{{ service = \"{service}\", operations = [\"switch\"] }}]\n")
    };
    let story = Story::new("switch-policy", UP, &rules("shop/*"));
    story.sandbox.run(&GREEN).exits(5).says(&["policy"]);
    story.is_untouched();
    story.configure(UP, &rules("switch/api"));
    story.sandbox.run(&GREEN).exits(0);
    assert_eq!(story.front.answer().as_deref(), Some("green is up"));
}

#[test]
fn a_proxy_of_another_machine_is_switched_too() {
    if missing(&["nginx", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = Fleet::new(Sandbox::new("switch-ssh"));
    let _sshd = fleet.start("prod-1", 57, &[]);
    let front = BlueGreen::start(&sandbox);
    let config = sandbox.path("config/lastgood/config.toml");
    fs::write(config, front.configuration(UP, "")).unwrap();
    let words = [&["--host", "prod-1"], &GREEN[..]].concat();
    let outcome = sandbox.json(0, "outcome", &words);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(front.answer().as_deref(), Some(UP));
    let listed = sandbox.json(0, "", &["audit", "list"]);
    let first = &list(&listed["records"])[0];
    assert_eq!(first["host"], "prod-1", "{listed:#}");
}
