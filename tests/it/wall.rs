//! The wall in a small terminal, through what happens to it in weeks: a service that fails and recovers, an engine that is
//! killed and comes back, a terminal that changes its size.

use std::time::{Duration, Instant};

use crate::harness::{Docker, PrivateDocker, Sandbox, Terminal, missing, unique};
use crate::ssh::fleet;

/// Requests as fast as a service that is in use; the file decides whether they succeed.
const SCRIPT: &str = "touch /ok; trap 'rm /ok' USR1; trap 'touch /ok' USR2
while true; do i=$((i+1))
if test -e /ok; then echo \"INFO GET /orders/$i completed in 0.1s status=200\"
else echo \"INFO GET /orders/$i completed in 3.9s status=500\"; fi
usleep 20000; done";

/// The line of the screen that names the container.
fn line(console: &Terminal, container: &str) -> String {
    let screen = console.screen();
    let found = screen.lines().find(|line| line.contains(container));
    found.unwrap_or_default().to_owned()
}

fn wait_for_line(console: &Terminal, container: &str, limit: Duration, words: &[&str]) {
    let end = Instant::now() + limit;
    while !words
        .iter()
        .all(|word| line(console, container).contains(word))
    {
        assert!(
            Instant::now() < end,
            "{words:?} did not come for {container}:\n{}",
            console.screen()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_wall_tells_what_happens_and_promises_nothing_where_nobody_looks() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let mut private = PrivateDocker::start("wall");
    let mut docker = private.docker();
    let image = format!("{}:1", unique("wall"));
    docker.image(&image, SCRIPT);
    let sandbox = Sandbox::new("wall").with("DOCKER_HOST", &private.host());
    let container = docker.start("wall", &image, &[]);
    // Tall enough for whatever else of this machine can be seen.
    let console = Terminal::start(&sandbox, &["tui", "--wall"], (90, 60));
    console.wait_for("data under 5 s old");
    wait_for_line(&console, &container, Duration::from_secs(20), &["✔"]);

    docker.must(&["kill", "--signal", "USR1", &container]);
    wait_for_line(
        &console,
        &container,
        Duration::from_secs(60),
        &["✖", "ERRORS"],
    );
    docker.must(&["stop", "--time", "0", &container]);
    wait_for_line(
        &console,
        &container,
        Duration::from_secs(20),
        &["✖", "failed"],
    );
    docker.must(&["start", &container]);
    let ends = |line: &str| !line.contains("failed") && !line.is_empty();
    let end = Instant::now() + Duration::from_secs(20);
    while !ends(&line(&console, &container)) {
        assert!(Instant::now() < end, "{}", console.screen());
        std::thread::sleep(Duration::from_millis(100));
    }

    private.kill();
    let screen = console.wait_for("? docker");
    let green = screen
        .lines()
        .find(|line| line.contains(&container) && line.contains('✔'));
    assert!(green.is_none(), "{screen}");
    assert!(!screen.contains("✔ ok"), "{screen}");
    private.revive();
    wait_for_line(&console, &container, Duration::from_secs(40), &["ERRORS"]);
    assert!(
        !console.screen().contains("? docker"),
        "{}",
        console.screen()
    );

    // No key arms a wall, and one that is made small still says the worst.
    console.keys("LLaa");
    console.resize((40, 10));
    console.wait_for("data");
    assert!(!console.screen().contains("ARMED"), "{}", console.screen());
    console.keys("q");
}

/// What is shown is at most so old and green: twice the pause between two looks, and what two cores with other tests on
/// them need to draw it.
const GREEN_FOR: Duration = Duration::from_secs(30 + 3);

#[test]
fn a_machine_that_stands_still_is_not_green_for_longer_than_two_looks() {
    if missing(&["docker", "busybox", "sshd"]) {
        return;
    }
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("wall-far"));
    docker.image(&image, SCRIPT);
    let container = docker.start("wall-far", &image, &[]);
    let (sandbox, mut fleet) = fleet("wall-far");
    // Here is nothing: what is shown is all behind the link.
    let sandbox = sandbox.with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let sshd = fleet.start("far", 70, &[]);
    sandbox.write("lastgood.toml", "[hosts.far]\n");
    let console = Terminal::start(&sandbox, &["tui", "--wall"], (120, 200));
    wait_for_line(&console, &container, Duration::from_secs(40), &["✔"]);

    for _ in 0..2 {
        sshd.freeze();
        let frozen = Instant::now();
        let (mut green_until, mut is_told) = (Duration::ZERO, false);
        while frozen.elapsed() < GREEN_FOR + Duration::from_secs(5) {
            let shown = line(&console, &container);
            assert!(!shown.is_empty(), "it is gone:\n{}", console.screen());
            if shown.contains('✔') {
                green_until = frozen.elapsed();
            }
            let screen = console.screen();
            is_told |= screen.contains("docker on far: ");
            assert!(!screen.contains("✔ ok"), "{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(green_until < GREEN_FOR, "green for {green_until:?}");
        assert!(is_told, "{}", console.screen());
        sshd.thaw();
        wait_for_line(&console, &container, Duration::from_secs(60), &["✔"]);
        let end = Instant::now() + Duration::from_secs(20);
        while console.screen().contains("docker on far: ") {
            assert!(Instant::now() < end, "{}", console.screen());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    console.keys("q");
}

/// How long a wall stands still before its memory is looked at twice: its window of five minutes is then full.
const FULL: Duration = Duration::from_secs(330);

/// Takes ten minutes: `cargo test --test it wall::a_wall_that_stands -- --ignored`.
#[test]
#[ignore = "ten minutes"]
fn a_wall_that_stands_through_breaks_and_recoveries_needs_no_more_memory() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let mut private = PrivateDocker::start("wall-memory");
    let mut docker = private.docker();
    let image = format!("{}:1", unique("wall-memory"));
    docker.image(&image, SCRIPT);
    let sandbox = Sandbox::new("wall-memory").with("DOCKER_HOST", &private.host());
    let container = docker.start("wall-memory", &image, &[]);
    let console = Terminal::start(&sandbox, &["tui", "--wall"], (90, 60));
    wait_for_line(&console, &container, Duration::from_secs(20), &["✔"]);
    let mut breaks = |length: Duration| {
        let end = Instant::now() + length;
        while Instant::now() < end {
            for signal in ["USR1", "USR2"] {
                docker.must(&["kill", "--signal", signal, &container]);
                std::thread::sleep(Duration::from_secs(20));
            }
            private.kill();
            console.wait_for("? docker");
            private.revive();
            std::thread::sleep(Duration::from_secs(15));
        }
        console.memory_kb()
    };
    let before = breaks(FULL);
    let after = breaks(Duration::from_secs(240));
    assert!(after <= before + 1024, "{before} kB, then {after} kB");
}
