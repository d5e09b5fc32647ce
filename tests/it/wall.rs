//! The wall through what happens to it in weeks: a service that fails and recovers, an engine that is killed and comes back,
//! a machine that stands still, a terminal that changes its size.

use std::time::{Duration, Instant};

use crate::harness::{Docker, Fleet, PrivateDocker, Sandbox, Sshd, Terminal, missing, unique};
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

/// Whether a service is drawn as well. Those that are stand several on a line, each with its glyph behind it.
fn is_green(screen: &str, container: &str) -> bool {
    let found = screen.lines().find_map(|line| line.split_once(container));
    found.is_some_and(|(front, behind)| behind.starts_with(" ✔") || front.trim() == "✔")
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

/// How often this wall measures, and what two cores with other tests on them need to draw it.
const INTERVAL: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(3);
/// Rounds of half an hour at the default interval.
const HALF_AN_HOUR: usize = 30 * 60 / 15;

/// The window that it measures is then full.
const FULL: Duration = Duration::from_secs(330);

/// A wall over a service of an engine of its own and over one of a machine behind ssh.
struct Wall {
    name: String,
    private: PrivateDocker,
    docker: Docker,
    image: String,
    near: String,
    _engine: Docker,
    sshd: Sshd,
    far: String,
    sandbox: Sandbox,
    console: Terminal,
    // Its folder is the sandbox's.
    _fleet: Fleet,
}

impl Wall {
    fn start(name: &str) -> Wall {
        let private = PrivateDocker::start(name);
        let (mut docker, mut engine) = (private.docker(), Docker::default());
        let image = format!("{}:1", unique(name));
        let start = |docker: &mut Docker, name: &str| {
            docker.image(&image, SCRIPT);
            docker.start(name, &image, &[])
        };
        let near = start(&mut docker, &format!("{name}-near"));
        let far = start(&mut engine, &format!("{name}-far"));
        let (sandbox, mut fleet) = fleet(name);
        let sandbox = sandbox.with("DOCKER_HOST", &private.host());
        let sshd = fleet.start("far", 71, &[]);
        // Every round adds a line; other services of this machine are of no interest here.
        sandbox.write(
            "lastgood.toml",
            format!(
                "[hosts.far]\n[watch]\ninterval = \"{}s\"\n[signals.rounds]\ncommand = \"echo >> rounds; wc -l < rounds\"\n",
                INTERVAL.as_secs()
            ),
        );
        // Tall enough for whatever else of this machine can be seen.
        let console = Terminal::start(&sandbox, &["tui", "--wall"], (120, 200));
        let wall = Wall {
            name: name.to_owned(),
            private,
            docker,
            image,
            near,
            _engine: engine,
            sshd,
            far,
            sandbox,
            console,
            _fleet: fleet,
        };
        wall.is_well_again(&wall.near);
        wall.is_well_again(&wall.far);
        wall
    }

    fn is_well_again(&self, container: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_green(&self.console.screen(), container) {
            let screen = self.console.screen();
            assert!(Instant::now() < end, "{container} is not well:\n{screen}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn comes(&self, container: &str, words: &[&str]) {
        wait_for_line(&self.console, container, Duration::from_secs(60), words);
    }

    /// Nobody can look at it since then: it is green for two intervals at most, and never after them. Says how long it was.
    fn is_not_green(&self, container: &str, blind: Instant) -> Duration {
        let limit = 2 * INTERVAL + SLACK;
        let mut green = Duration::ZERO;
        while blind.elapsed() < limit + SLACK {
            let screen = self.console.screen();
            let at = blind.elapsed();
            if is_green(&screen, container) {
                green = at;
            }
            assert!(green <= limit, "green after {green:?}:\n{screen}");
            // What says of itself that it is old is green nowhere.
            let is_stale = screen.lines().any(|line| line.starts_with(" stale "));
            assert!(!(is_stale && screen.contains('✔')), "{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
        green
    }

    /// Breaks and recovers in every way, looked at all the time. Says how long each was green though nobody could look.
    fn breaks_and_recovers(&mut self) -> [Duration; 2] {
        let near = self.near.clone();
        self.docker.must(&["kill", "--signal", "USR1", &near]);
        self.comes(&near, &["✖", "ERRORS"]);
        // A release that works takes its place.
        self.docker.must(&["rm", "-f", &near]);
        self.docker
            .start(&format!("{}-near", self.name), &self.image, &[]);
        self.is_well_again(&near);
        self.docker.must(&["stop", "--time", "0", &near]);
        self.comes(&near, &["✖", "failed"]);
        self.docker.must(&["start", &near]);
        self.is_well_again(&near);

        self.private.kill();
        let without_engine = self.is_not_green(&near, Instant::now());
        assert!(!self.console.screen().contains("✔ ok"));
        self.console.wait_for("? docker: ");
        self.private.revive();
        self.is_well_again(&near);

        self.sshd.freeze();
        let frozen = self.is_not_green(&self.far, Instant::now());
        assert!(!self.console.screen().contains("✔ ok"));
        self.sshd.thaw();
        self.is_well_again(&self.far);
        [without_engine, frozen]
    }

    fn rounds(&self) -> usize {
        let rounds = std::fs::read_to_string(self.sandbox.work().join("rounds"));
        rounds.unwrap_or_default().lines().count()
    }
}

fn is_missing() -> bool {
    missing(&["docker", "busybox", "root", "dockerd", "sshd"])
}

#[test]
fn a_wall_tells_what_happens_and_promises_nothing_where_nobody_looks() {
    if is_missing() {
        return;
    }
    let mut wall = Wall::start("wall-breaks");
    wall.breaks_and_recovers();
    // No key arms a wall, and one that is made small still says the worst.
    let console = &wall.console;
    console.keys("LLaa");
    console.resize((40, 10));
    console.wait_for("data");
    assert!(!console.screen().contains("ARMED"), "{}", console.screen());
    console.keys("q");
}

/// Takes some minutes: `cargo test --test it wall::half_an_hour -- --ignored --nocapture` says what it measured.
#[test]
#[ignore = "minutes"]
fn half_an_hour_of_breaks_and_recoveries_needs_no_more_memory() {
    if is_missing() {
        return;
    }
    let mut wall = Wall::start("wall-memory");
    let (begun, mut from, mut before) = (Instant::now(), 0, 0);
    let (mut cycles, mut green) = (0, [Duration::ZERO; 2]);
    while begun.elapsed() < FULL || wall.rounds() < from + HALF_AN_HOUR {
        let found = wall.breaks_and_recovers();
        green = [green[0].max(found[0]), green[1].max(found[1])];
        cycles += 1;
        if begun.elapsed() < FULL {
            from = wall.rounds();
            before = wall.console.memory_kb();
        }
        eprintln!(
            "{:?}, {cycles} times, {} rounds: {} kB",
            begun.elapsed(),
            wall.rounds(),
            wall.console.memory_kb()
        );
    }
    let after = wall.console.memory_kb();
    eprintln!(
        "{} rounds after the first minutes: {before} kB, then {after} kB; green at most {:?} without an engine, {:?} on a frozen machine",
        wall.rounds() - from,
        green[0],
        green[1]
    );
    assert!(after <= before + 1024, "{before} kB, then {after} kB");
}
