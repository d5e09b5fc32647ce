//! Links that are slow, freeze and break: what is old is told in time, and everything goes on, each line once.

use crate::harness::{Project, Proxy, Terminal, missing, wait_for};
use crate::ssh::{WRITES, fleet};
use serde_json::Value;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
/// Five seconds, and what two cores with other tests on them need to draw it.
const TOLD_WITHIN: Duration = Duration::from_millis(6500);
/// Three seconds, and the same.
const BACK_WITHIN: Duration = Duration::from_millis(4500);

#[test]
fn a_link_that_freezes_or_breaks_is_told_and_everything_goes_on() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-links");
    let mut project = Project::of_one(&sandbox, "ssh-links");
    project.image(WRITES);
    project.up();
    let sshd = fleet.start("direct", 30, &[]);
    let proxy = Proxy::to(&sshd.address, sshd.port);
    fleet.add_through("far", &sshd, proxy.port);
    sandbox.write("lastgood.toml", "[hosts.far]\n");
    let service = format!("far:{}", project.service("backend"));
    let mut follow = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    follow.until("its lines", LONG, |line| line.contains("line 5\""));
    let console = Terminal::start(&sandbox, &["tui"], (160, 250));
    // The end of a long name is cut.
    let group = "far:lastgood-test";
    console.wait_for(group);

    for way in ["freeze", "cut"] {
        let begun = Instant::now();
        match way {
            "freeze" => proxy.freeze(),
            _ => proxy.cut(),
        }
        console.wait_for("Docker on far");
        let told = begun.elapsed();
        assert!(told < TOLD_WITHIN, "{way}: told after {told:?}");
        // Who was there stays in the list, and keys are answered.
        assert!(console.screen().contains(group), "{}", console.screen());
        let pressed = Instant::now();
        console.keys("?");
        wait_for("the help", Duration::from_secs(5), || {
            console.screen().contains(" Keys ").then_some(())
        });
        let answered = pressed.elapsed();
        assert!(answered < Duration::from_secs(1), "{way}: {answered:?}");
        console.keys("\u{1b}");
        std::thread::sleep(Duration::from_secs(9).saturating_sub(begun.elapsed()));

        let back = Instant::now();
        proxy.restore();
        wait_for("the machine", LONG, || {
            (!console.screen().contains("Docker on far")).then_some(())
        });
        let took = back.elapsed();
        assert!(took < BACK_WITHIN, "{way}: back after {took:?}");
        let before = numbers(&follow.seen).len();
        follow.until("new lines", LONG, |line| {
            line.contains("\"text\"") && line.contains("line ")
        });
        let took = back.elapsed();
        assert!(
            took < BACK_WITHIN + Duration::from_secs(1),
            "{way}: {took:?}"
        );
        let last = numbers(&follow.seen).last().copied().unwrap_or_default();
        let wanted = format!("line {}\"", last + 30);
        follow.until(&wanted, LONG, |line| line.contains(&wanted));
        assert!(numbers(&follow.seen).len() > before);
    }
    let seen = numbers(&follow.seen);
    let all: Vec<u64> = (seen[0]..=seen[seen.len() - 1]).collect();
    assert_eq!(seen, all, "nothing lost, nothing doubled");
}

/// The numbers of the lines that came, in their order.
fn numbers(seen: &[String]) -> Vec<u64> {
    seen.iter()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["text"].as_str()?.rsplit_once("line ")?.1.parse().ok()
        })
        .collect()
}

#[test]
fn a_slow_link_carries_everything() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, mut fleet) = fleet("ssh-slow");
    let mut project = Project::of_one(&sandbox, "ssh-slow");
    project.image(WRITES);
    project.up();
    project.wait_for_lines("backend", 20);
    let sshd = fleet.start("direct", 31, &[]);
    let proxy = Proxy::to(&sshd.address, sshd.port);
    // 256 kbit/s, and 300 ms there and back.
    proxy.slow(Duration::from_millis(150), 32_000);
    fleet.add_through("far", &sshd, proxy.port);
    sandbox.write("lastgood.toml", "[hosts.far]\n");
    let service = format!("far:{}", project.service("backend"));
    let run = sandbox
        .run(&["logs", &service, "--format", "json"])
        .exits(0);
    let lines: Vec<String> = run.stdout.lines().map(str::to_owned).collect();
    let seen = numbers(&lines);
    assert!(seen.len() >= 20, "{run}");
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    let done = ["restart", &service, "--yes"];
    assert_eq!(sandbox.json(0, "outcome", &done)["outcome"], "verified");
}
