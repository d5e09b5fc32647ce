//! From one side to the other by steps, on a real nginx with weights: each step has to prove itself before the next.

use crate::compose_story::list;
use crate::harness::{BlueGreen, Run, Sandbox, missing, wait_for};
use crate::resume::run_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

const CANARY: [&str; 5] = ["switch", "api", "green", "--canary", "--yes"];
const ROLLING: [&str; 5] = ["switch", "api", "green", "--rolling", "--yes"];
const SOON: Duration = Duration::from_secs(30);

struct Story {
    front: BlueGreen,
    sandbox: Sandbox,
}

impl Story {
    /// Requests go to blue. `hold` is how long each step is looked at.
    fn new(name: &str, hold: &str) -> Story {
        let sandbox =
            Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
        let front = BlueGreen::start(&sandbox);
        let story = Story { front, sandbox };
        story.configure(hold, "");
        story
    }

    fn configure(&self, hold: &str, more: &str) {
        let steps = format!("canary = {{ shares = [10, 50], hold = \"{hold}\" }}\n{more}");
        fs::write(
            self.sandbox.path("config/lastgood/config.toml"),
            self.front.configuration("green is up", &steps),
        )
        .unwrap();
    }

    /// Both sides are known by what nginx writes of their requests.
    fn configure_judged(&self, hold: &str) {
        self.configure(hold, "");
        let path = self.sandbox.path("config/lastgood/config.toml");
        let mut text = fs::read_to_string(&path).unwrap();
        for side in ["blue", "green"] {
            text = text.replace(
                &format!("{side}.conf\", probe"),
                &format!("{side}.conf\", service = \"file/{side}\", probe"),
            );
            let log = self.front.path(&format!("logs/{side}.log"));
            text.push_str(&format!(
                "[services.\"file/{side}\"]\nlog_files = [\"{}\"]\n",
                log.display()
            ));
        }
        fs::write(path, text).unwrap();
    }

    /// What went to nginx, as weights of blue and green.
    fn weights(&self) -> Vec<[u32; 2]> {
        let all = self.front.versions();
        all.iter()
            .map(|version| BlueGreen::weights(version, self.front.ports()))
            .collect()
    }

    fn begin(&self, words: &[&str]) -> JoinHandle<Run> {
        let command = self.sandbox.command(words);
        spawn(move || Run::of(command))
    }

    fn wait_for_reload(&self, count: usize) {
        wait_for("the reload", SOON, || {
            (self.front.reloads() >= count).then_some(())
        });
    }

    fn is_back_on_blue(&self) {
        assert_eq!(self.front.read("active.conf"), self.front.read("blue.conf"));
        assert_eq!(self.front.answer().as_deref(), Some("blue is up"));
        assert_eq!(self.weights().last(), Some(&[1, 0]));
    }
}

/// Requests to the front until it is dropped.
struct Load(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Load {
    fn on(front: &BlueGreen) -> Load {
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, port) = (Arc::clone(&is_over), front.port());
        let thread = spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let _ = BlueGreen::ask(port, "/order");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Load(is_over, Some(thread))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

#[test]
fn requests_go_over_by_shares() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("canary", "1s");
    let plan = story
        .sandbox
        .json(0, "plan", &[&CANARY[..4], &["--dry-run"]].concat());
    // It is asked; two shares of a file, a test, a reload and a hold; the whole file, and the proof.
    assert_eq!(list(&plan["steps"]).len(), 1 + 2 * 4 + 4, "{plan:#}");
    assert_eq!(list(&plan["fingerprints"]).len(), 3, "{plan:#}");
    let text = plan.to_string();
    assert!(text.contains("10 % of the requests"), "{plan:#}");
    assert!(text.contains("only probes decide"), "{plan:#}");
    story
        .sandbox
        .run(&[&["--read-only"], &CANARY[..]].concat())
        .exits(5);
    assert_eq!(story.front.reloads(), 0);

    let outcome = story.sandbox.json(0, "outcome", &CANARY);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.weights(), [[9, 1], [1, 1], [0, 1]]);
    assert_eq!(
        story.front.read("active.conf"),
        story.front.read("green.conf")
    );
    assert_eq!(story.front.answer().as_deref(), Some("green is up"));
    // Back the same way, with the shares of blue.
    story
        .sandbox
        .run(&["switch", "api", "blue", "--canary", "--yes"])
        .exits(0);
    assert_eq!(story.weights()[3..], [[1, 9], [1, 1], [1, 0]]);
    story.is_back_on_blue();
}

#[test]
fn servers_go_over_one_by_one() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("rolling", "1s");
    // One server is nothing to go over by.
    let refused = story.sandbox.run(&ROLLING).exits(2);
    refused.says(&["one server on each side", "at once"]);
    let [blue, green] = story.front.ports();
    for (name, port) in [("blue", blue), ("green", green), ("active", blue)] {
        let servers = ["127.0.0.1", "127.1"].map(|host| format!("server {host}:{port};"));
        let text = format!("upstream api {{ {} }}\n", servers.join(" "));
        fs::write(story.front.path(&format!("{name}.conf")), text).unwrap();
    }
    let outcome = story.sandbox.json(0, "outcome", &ROLLING);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    assert_eq!(story.weights(), [[1, 1], [0, 2]]);
    assert_eq!(story.front.answer().as_deref(), Some("green is up"));
}

#[test]
fn a_side_that_dies_under_its_share_gives_way_at_once() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let mut story = Story::new("canary-dies", "60s");
    let run = story.begin(&[&CANARY[..], &["--format", "json"]].concat());
    story.wait_for_reload(1);
    let since = Instant::now();
    story.front.end_green();
    let outcome = run.join().unwrap().exits(4).json("outcome");
    // Long before the step's time.
    assert!(since.elapsed() < Duration::from_secs(20), "{outcome:#}");
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    assert_eq!(story.weights(), [[9, 1], [1, 0]]);
    story.is_back_on_blue();
    assert_eq!(story.sandbox.outcomes(), [Value::from("failed_unchanged")]);
}

#[test]
fn a_side_that_fails_requests_is_judged_and_gives_way() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let mut story = Story::new("canary-judged", "20s");
    story.front.break_green();
    story.front.serve("order");
    story.configure_judged("20s");
    let load = Load::on(&story.front);
    std::thread::sleep(Duration::from_secs(2));
    let outcome = story.sandbox.json(4, "outcome", &CANARY);
    drop(load);
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    let failed = list(&outcome["steps"])
        .iter()
        .find(|step| step["ok"] == false)
        .unwrap();
    let detail = failed["detail"].as_str().unwrap();
    assert!(detail.starts_with("roll_back: "), "{outcome:#}");
    assert_eq!(story.weights(), [[9, 1], [1, 0]]);
    story.is_back_on_blue();
}

#[test]
fn a_side_that_keeps_up_is_judged_and_gets_more() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("canary-keeps", "6s");
    story.front.serve("order");
    story.configure_judged("6s");
    let load = Load::on(&story.front);
    std::thread::sleep(Duration::from_secs(3));
    let outcome = story.sandbox.json(0, "outcome", &CANARY);
    drop(load);
    assert_eq!(outcome["outcome"], "verified", "{outcome:#}");
    let holds: Vec<&str> = list(&outcome["steps"])
        .iter()
        .filter_map(|step| step["detail"].as_str())
        .filter(|detail| detail.starts_with("keep: "))
        .collect();
    assert_eq!(holds.len(), 2, "{outcome:#}");

    // Without requests nothing is known, and what is not known gets no more.
    let outcome = story.sandbox.json(
        4,
        "outcome",
        &["switch", "api", "blue", "--canary", "--yes"],
    );
    assert_eq!(outcome["outcome"], "failed_unchanged", "{outcome:#}");
    assert!(outcome.to_string().contains("inconclusive"), "{outcome:#}");
    assert_eq!(story.front.answer().as_deref(), Some("green is up"));
}

#[test]
fn a_canary_killed_at_any_step_is_gone_on_with_or_taken_back() {
    if missing(&["nginx", "busybox", "strace"]) {
        return;
    }
    // Steps: 0 asks; 1 writes, 2 tests, 3 reloads, 4 holds; 5 to 8 the same; 9 writes, 10 tests, 11 reloads, 12 verifies.
    for (at, step) in [2, 4, 6, 8, 11].into_iter().enumerate() {
        for undo in [false, true] {
            let story = Story::new(&format!("canary-killed-{step}-{undo}"), "300ms");
            // The lease twice, the intent, each step before with its begin and end; then it begins, or begins and ends.
            let flushes = 3 + 2 * step + 1 + at % 2;
            run_until(&story.sandbox, &CANARY, "KILL", flushes).exits(137);
            let words: &[&str] = match undo {
                false => &["resume", "--yes"],
                true => &["resume", "--undo", "--yes"],
            };
            let run = story.sandbox.run(words).exits(if undo { 4 } else { 0 });
            let end = if undo { "failed_unchanged" } else { "verified" };
            assert_eq!(
                story.sandbox.outcomes(),
                [Value::from(end)],
                "step {step}: {run}"
            );
            if undo {
                assert_eq!(
                    story.front.read("active.conf"),
                    story.front.read("blue.conf")
                );
                assert_eq!(story.front.answer().as_deref(), Some("blue is up"), "{run}");
            } else {
                assert_eq!(
                    story.front.read("active.conf"),
                    story.front.read("green.conf")
                );
                assert_eq!(
                    story.front.answer().as_deref(),
                    Some("green is up"),
                    "{run}"
                );
            }
            story.sandbox.run(&["resume"]).exits(1);
        }
    }
}

#[test]
fn a_signal_ends_a_hold_at_once_and_the_share_is_told() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("canary-term", "60s");
    let run = story.begin(&CANARY);
    story.wait_for_reload(1);
    let leases = fs::read_dir(story.sandbox.state().join("leases")).unwrap();
    let pid = leases
        .filter_map(|file| fs::read_to_string(file.unwrap().path()).ok())
        .find_map(|text| {
            let lease: Value = serde_json::from_str(&text).ok()?;
            lease["holder"]["pid"].as_i64()
        })
        .unwrap();
    let since = Instant::now();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let run = run.join().unwrap().exits(143);
    assert!(since.elapsed() < Duration::from_secs(10), "{run}");
    assert!(run.stdout.contains("lastgood resume"), "{run}");
    // A share is what it is until somebody says what to do with it.
    assert_eq!(story.weights(), [[9, 1]]);
    story.configure("1s", "");
    story.sandbox.run(&["resume", "--undo", "--yes"]).exits(4);
    story.is_back_on_blue();
}

#[test]
fn what_has_no_steps_is_said_before_anything_is_done() {
    if missing(&["nginx", "busybox"]) {
        return;
    }
    let story = Story::new("canary-wrong", "1s");
    let green = story.front.read("green.conf");
    fs::write(
        story.front.path("green.conf"),
        format!("{green}# x\nkeepalive_timeout 5;\n"),
    )
    .unwrap();
    story
        .sandbox
        .run(&CANARY)
        .exits(2)
        .says(&["differ in more than the servers", "at once"]);
    fs::write(story.front.path("green.conf"), green).unwrap();
    for (shares, says) in [
        ("[50, 10]", "more than the one before"),
        ("[0]", "1 to 99"),
        ("[10, 100]", "1 to 99"),
    ] {
        let path = story.sandbox.path("config/lastgood/config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[10, 50]", shares)).unwrap();
        story.sandbox.run(&CANARY).exits(2).says(&[says]);
        fs::write(&path, text).unwrap();
    }
    story
        .sandbox
        .run(&[&CANARY[..], &["--rolling"]].concat())
        .exits(2);
    assert_eq!(story.front.reloads(), 0);
    // A file of neither side: only at once.
    let blue = story.front.read("blue.conf");
    fs::write(
        story.front.path("active.conf"),
        format!("# by hand\n{blue}"),
    )
    .unwrap();
    story
        .sandbox
        .run(&CANARY)
        .exits(5)
        .says(&["is not the file of blue", "at once"]);
    story
        .sandbox
        .run(&["switch", "api", "green", "--yes"])
        .exits(0);
}
