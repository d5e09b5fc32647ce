//! The log pane in a real terminal: several services as one log with the truth of each, a file that is searched, paged
//! and filtered in place, a flood of lines of which none is lost.

use crate::harness::{PrivateDocker, Sandbox, Terminal, missing, unique};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// Lines like those of a service, one a second, a needle far from the end.
fn numbered(lines: usize, needle: usize) -> String {
    let mut text = String::new();
    for n in 1..=lines {
        let (minute, second) = (n / 60 % 60, n % 60);
        let hour = n / 3600 % 24;
        let word = if n == needle { " needle" } else { "" };
        let _ = writeln!(
            text,
            "2025-12-26 {hour:02}:{minute:02}:{second:02} INFO line {n}{word}"
        );
    }
    text
}

#[test]
fn a_file_is_searched_and_read_where_it_is_not_held() {
    let sandbox = Sandbox::new("pane-file");
    let log = sandbox.write("app.log", numbered(60_000, 1234));
    let terminal = Terminal::start(&sandbox, &["tui", "app.log", "--only", "logs"], (120, 40));
    terminal.wait_for("line 60000");
    terminal.wait_for("held 1,000 of 60,000");

    // The match is not held: it is found in the file, and read with what stands around it.
    terminal.keys("/needle\r");
    terminal.wait_for("line 1234 needle");
    let screen = terminal.wait_for("line 1233");
    assert!(screen.contains("1 of 1"), "{screen}");
    terminal.wait_for("line 1240");

    // Back to the end, and what comes while it is followed.
    terminal.keys("G");
    terminal.wait_for("FOLLOW");
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    writeln!(file, "2025-12-26 23:00:00 ERROR the newest line").unwrap();
    terminal.wait_for("the newest line");

    // Only errors; then a line that is none does not show.
    terminal.keys("sss");
    terminal.wait_for("only from error");
    writeln!(file, "2025-12-26 23:00:01 INFO unseen").unwrap();
    writeln!(file, "2025-12-26 23:00:02 ERROR seen").unwrap();
    let screen = terminal.wait_for("ERROR seen");
    assert!(
        !screen.contains("unseen") && !screen.contains("line 60000"),
        "{screen}"
    );
    terminal.keys("x");
    terminal.wait_for("unseen");
}

#[test]
fn a_flood_is_taken_over_without_losing_a_line() {
    let sandbox = Sandbox::new("pane-flood");
    let log = sandbox.write("app.log", "");
    let terminal = Terminal::start(&sandbox, &["tui", "app.log", "--only", "logs"], (120, 40));
    terminal.wait_for("has written nothing yet");
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    for start in (0..200_000).step_by(1000) {
        let lines: String = (start + 1..=start + 1000).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "number {n}");
            text
        });
        file.write_all(lines.as_bytes()).unwrap();
    }
    writeln!(file, "the end").unwrap();
    terminal.wait_for("the end");
    // 200,001 lines came; those that are held and those that were dropped are all of them.
    let screen = terminal.wait_for("0 skipped");
    assert!(
        screen.contains("held 200,001") || screen.contains("of 200,001"),
        "{screen}"
    );
}

#[test]
fn two_files_are_one_log_and_a_trace_is_one_row() {
    let sandbox = Sandbox::new("pane-two");
    sandbox.write(
        "api.log",
        "2025-12-26 10:00:01 INFO a one\n2025-12-26 10:00:03 ERROR a three\nTraceback (most recent call last):\n  File \"x.py\", line 3, in f\nKeyError: 'price'\n2025-12-26 10:00:05 INFO a five\n",
    );
    sandbox.write(
        "worker.log",
        "2025-12-26 10:00:02 INFO w two\n2025-12-26 10:00:04 WARN w four\n",
    );
    let terminal = Terminal::start(
        &sandbox,
        &["tui", "api.log", "worker.log", "--only", "logs"],
        (120, 30),
    );
    terminal.wait_for("w four");
    let screen = terminal.wait_for("a five");
    let place = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("{text}:\n{screen}"))
    };
    let order = ["a one", "w two", "a three", "w four", "a five"].map(place);
    assert!(order.is_sorted(), "{screen}");
    assert!(
        screen.contains("+3") && !screen.contains("KeyError"),
        "{screen}"
    );
    // The error, opened.
    terminal.keys("eo");
    terminal.wait_for("KeyError: 'price'");
    terminal.keys("o");
    terminal.keys("\r");
    terminal.wait_for("Record");
}

#[test]
fn each_source_tells_its_truth() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let mut private = PrivateDocker::start("truth");
    let mut docker = private.docker();
    let talks = format!("{}:1", unique("talks"));
    docker.image(
        &talks,
        "i=0; while true; do i=$((i+1)); echo talk $i; sleep 1; done",
    );
    let ends = format!("{}:1", unique("ends"));
    docker.image(&ends, "echo last words; sleep 2; exit 3");
    docker.start("talker", &talks, &[]);
    docker.start("ender", &ends, &[]);
    let sandbox = Sandbox::new("truth").with("DOCKER_HOST", &private.host());
    let terminal = Terminal::start(&sandbox, &["tui"], (160, 40));
    terminal.wait_for("No checkpoint yet");
    terminal.wait_for("docker");
    // Both containers, marked as one group, are one log.
    terminal.keys("1*");
    terminal.wait_for("last words");
    terminal.wait_for("ended (exit 3");
    let screen = terminal.wait_for("live ");
    assert!(screen.contains("talk "), "{screen}");
    private.kill();
    terminal.wait_for("reconnecting");
    std::thread::sleep(Duration::from_millis(500));
    private.revive();
    terminal.wait_for("reconnected");
    // Both again, by name, with their counts.
    terminal.keys("2i");
    let screen = terminal.wait_for("Sources of the logs");
    assert!(
        screen.contains("skipped 0") && screen.contains("docker/"),
        "{screen}"
    );
}
