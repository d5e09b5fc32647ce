//! Links that are slow, freeze and break: what is old is told in time, and everything goes on, each line once.

use crate::harness::{Project, Proxy, Sandbox, Sshd, Terminal, missing, wait_for};
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

/// Request lines of five hundred a second, some 65 kB: a slow link carries them once they are compressed.
const BUSY: &str = r#"i=0; while true; do i=$((i+1)); awk -v s=$i -v now="$(date +%Y-%m-%dT%H:%M:%S)" 'BEGIN { srand(s); for (n = 0; n < 50; n++) printf "%s INFO request GET /api/orders/%d/items/%08x completed in %.3fs status=200 request_id=%08x%08x line %d\n", now, rand() * 100000, rand() * 4294967295, rand(), rand() * 4294967295, rand() * 4294967295, s * 50 + n }'; sleep 0.09; done"#;
/// Some 500 kB every two seconds that nothing makes smaller.
const NOISE: &str = r#"head -c 375000 /dev/urandom | base64 -w 290 | awk '{ print "noise " NR " " $0 }' > /tmp/noise; while true; do cat /tmp/noise; sleep 2; done"#;

/// A machine whose link can be made slow, and a service on it that writes a lot.
fn behind_a_link(name: &str, number: u8, script: &str) -> (Sandbox, Project, Sshd, Proxy, String) {
    let (sandbox, mut fleet) = fleet(name);
    let mut project = Project::of_one(&sandbox, name);
    project.image(script);
    project.up();
    project.wait_for_lines("backend", 500);
    let sshd = fleet.start("direct", number, &[]);
    let proxy = Proxy::to(&sshd.address, sshd.port);
    fleet.add_through("far", &sshd, proxy.port);
    sandbox.write("lastgood.toml", "[hosts.far]\n");
    let service = format!("far:{}", project.service("backend"));
    (sandbox, project, sshd, proxy, service)
}

#[test]
fn a_slow_link_carries_a_busy_log_as_it_is_written() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, _project, _sshd, proxy, service) = behind_a_link("ssh-busy", 32, BUSY);
    proxy.slow(Duration::from_millis(150), 32_000);
    let mut follow = sandbox.follow(&[
        "logs", &service, "--follow", "--tail", "10", "--format", "json",
    ]);
    let late = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let at: jiff::Timestamp = line["at"].as_str()?.parse().ok()?;
        Some(jiff::Timestamp::now().duration_since(at).as_secs_f64())
    };
    follow.until("a line", LONG, |line| late(line).is_some());
    let end = Instant::now() + Duration::from_secs(15);
    // It would be half a second later each second, were it carried as it is.
    follow.until("lines for a while", LONG, |_| Instant::now() > end);
    follow.until("a line that is new", LONG, |line| {
        late(line).is_some_and(|late| late < 4.0)
    });
}

/// Whether a line of its log is there: the name of its group is on the screen, too.
fn is_noise(screen: &str) -> bool {
    let mut behind = screen.split("noise ").skip(1);
    behind.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[test]
fn what_a_link_cannot_carry_is_left_out_and_told() {
    if missing(&["docker", "compose", "busybox", "sshd"]) {
        return;
    }
    let (sandbox, _project, _sshd, proxy, _service) = behind_a_link("ssh-noise", 33, NOISE);
    // Only what is behind the link.
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let arguments = ["--host", "far", "tui"];
    // So tall that what is told stays on it while the newest lines come in below.
    let console = Terminal::start(&sandbox, &arguments, (160, 450));
    // Other tests have their services on that machine. What stands there for a moment may be of the service before.
    let mut seen = 0;
    wait_for("the service's log", 2 * LONG, || {
        let screen = console.screen();
        seen = if screen.contains("noise ") {
            seen + 1
        } else {
            0
        };
        if seen == 0 && !screen.contains("pening") {
            console.keys("]");
        }
        std::thread::sleep(Duration::from_secs(1));
        (seen == 4).then_some(())
    });
    proxy.slow(Duration::from_millis(150), 64_000);
    // What was left out is told, and the newest lines stand below it.
    console.wait_until("what was left out", 2 * LONG, |screen| {
        let below = screen.split_once("lines were left out");
        below.is_some_and(|(_, newer)| is_noise(newer))
    });
    let pressed = Instant::now();
    console.keys("?");
    console.wait_for(" Keys ");
    let answered = pressed.elapsed();
    assert!(answered < Duration::from_secs(1), "{answered:?}");
}
