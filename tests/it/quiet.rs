//! What a console and a wall write to a terminal on which nothing changes: nothing.

use std::time::{Duration, Instant};

use crate::harness::{Sandbox, Terminal, wait_for};

/// Looks at a terminal for so long.
const LONG: Duration = Duration::from_secs(15);
const SETTLED: Duration = Duration::from_secs(2);
/// What a new age of the data costs at most: a line of text with its place and its colours.
const AN_AGE: usize = 200;

fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let log = sandbox.write("bot.log", "2026-01-01T10:00:00Z INFO ready\n");
    sandbox.write(
        "lastgood.toml",
        format!(
            "[services.\"exec/bot\"]\nstatus = \"true\"\nlog_files = [\"{}\"]\n",
            log.display()
        ),
    );
    sandbox
}

#[test]
fn a_console_whose_data_stays_the_same_writes_nothing() {
    let sandbox = sandbox("quiet-console");
    let console = Terminal::start(&sandbox, &["tui", "--only", "logs"], (100, 30));
    console.wait_for("ready");
    std::thread::sleep(SETTLED);
    // The clock of the header shows minutes.
    wait_for("the middle of a minute", Duration::from_secs(60), || {
        let second = jiff::Timestamp::now().as_second() % 60;
        (2..40).contains(&second).then_some(())
    });
    let (bytes, screen) = (console.bytes().len(), console.screen());
    std::thread::sleep(LONG);
    let written = console.bytes();
    let text = String::from_utf8_lossy(&written[bytes..]);
    let now = console.screen();
    assert!(text.is_empty(), "{text:?} to\n{screen}\nthat is\n{now}");
    console.keys("q");
}

#[test]
fn a_wall_writes_only_what_changes_on_it() {
    let sandbox = sandbox("quiet-wall");
    let console = Terminal::start(&sandbox, &["tui", "--wall"], (60, 12));
    console.wait_for("data under 5 s old");
    // What the first frame says settles.
    std::thread::sleep(SETTLED);
    let look = || (console.bytes().len(), console.screen());
    let (first, mut last) = (console.bytes().len(), look());
    let (mut changes, end) = (0, Instant::now() + LONG);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        // A frame may be half read.
        let now = look();
        if now.0 == last.0 {
            continue;
        }
        let now = wait_for("a whole frame", LONG, || {
            std::thread::sleep(Duration::from_millis(50));
            let again = look();
            (again.0 == console.bytes().len()).then_some(again)
        });
        let written = console.bytes();
        let text = String::from_utf8_lossy(&written[last.0..now.0]);
        assert_ne!(now.1, last.1, "{text:?} changes nothing");
        changes += 1;
        last = now;
    }
    // The age of what is shown moves on in steps of five seconds.
    assert!(changes > 0, "{}", last.1);
    let written = last.0 - first;
    assert!(
        written <= changes * AN_AGE,
        "{changes} changes: {written} bytes"
    );
    console.keys("q");
}
