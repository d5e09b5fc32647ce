//! A filter goes on where nothing is held: through a large file in place, through older pages of a container's log.

use crate::harness::{Docker, Sandbox, Terminal, missing, unique};
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Records like those of a service, twenty a second; those of these numbers failed, each with a trace below.
fn write_log(path: &Path, records: usize, failed: &[usize]) {
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    for n in 1..=records {
        let (second, milli) = (n / 20, n % 20 * 50);
        let (day, hour) = (26 + second / 86_400, second / 3600 % 24);
        let (minute, second) = (second / 60 % 60, second % 60);
        write!(
            file,
            "2025-12-{day} {hour:02}:{minute:02}:{second:02}.{milli:03} "
        )
        .unwrap();
        if failed.contains(&n) {
            writeln!(
                file,
                "ERROR order {n} failed: no stock\n  at Shop.order(Shop.java:{n})"
            )
            .unwrap();
        } else {
            writeln!(file, "INFO GET /api/orders/{n} done in {} ms", n % 300).unwrap();
        }
    }
    file.flush().unwrap();
}

/// Fails unless each of these stands on the screen, in this order.
fn assert_in_order(screen: &str, failed: &[usize]) {
    let places: Vec<usize> = failed
        .iter()
        .map(|n| {
            let text = format!("order {n} failed");
            screen
                .find(&text)
                .unwrap_or_else(|| panic!("{text}:\n{screen}"))
        })
        .collect();
    assert!(places.is_sorted(), "{screen}");
}

#[test]
fn a_filter_finds_what_lies_anywhere_in_a_large_file() {
    let sandbox = Sandbox::new("filter-file");
    let failed = [7, 400_000, 1_000_001, 1_900_000, 2_349_500];
    write_log(&sandbox.work().join("app.log"), 2_350_000, &failed);
    let terminal = Terminal::start(&sandbox, &["tui", "app.log", "--only", "logs"], (120, 40));
    terminal.wait_for("orders/2350000");
    terminal.wait_for("of 2.4 M");

    // All five, with the number of the oldest: of 150 MB no more than these were taken into memory.
    terminal.keys("&no stock\r");
    terminal.wait_for("no older one");
    terminal.keys("gg");
    terminal.wait_for("PAUSED");
    let screen = terminal.wait_for("oldest match 00:00:00");
    assert_in_order(&screen, &failed);
    assert!(screen.contains("held 1,0"), "{screen}");

    // Their neighbours are read where they stand.
    terminal.keys("+");
    terminal.wait_for("+1 around");
    terminal.wait_for("orders/6 ");
    let screen = terminal.wait_for("no older one");
    for n in failed {
        let (before, after) = (format!("orders/{} ", n - 1), format!("orders/{} ", n + 1));
        assert!(
            screen.contains(&before) && screen.contains(&after),
            "{screen}"
        );
    }
    assert!(!screen.contains("orders/400002 "), "{screen}");

    // A time: the first that passes at or after it.
    terminal.keys("-:2025-12-26 13:00\r");
    let screen = terminal.wait_for("▌13:53:20.050");
    assert!(screen.contains("order 1000001 failed"), "{screen}");
    terminal.keys("x");
    terminal.wait_for("orders/1000002 ");
}

#[test]
fn a_level_is_looked_for_record_by_record() {
    let sandbox = Sandbox::new("filter-level");
    let failed = [3, 50_000, 100_001, 149_000, 199_900];
    write_log(&sandbox.work().join("app.log"), 200_000, &failed);
    let terminal = Terminal::start(&sandbox, &["tui", "app.log", "--only", "logs"], (80, 24));
    terminal.wait_for("orders/200000");
    terminal.keys("sss");
    terminal.wait_for("only from error");
    terminal.wait_for("no older one");
    let screen = terminal.wait_for("order 3 failed");
    assert_in_order(&screen, &failed);

    // What is narrowed further is looked for where it may be, and the trace belongs to its record.
    terminal.keys("&java:100001\r");
    let screen = terminal.wait_for("oldest match 01:23:20");
    assert!(
        screen.contains("order 100001 failed") && !screen.contains("order 50000 "),
        "{screen}"
    );

    // Only an exclusion: everything else, from the top.
    terminal.keys("x!GET\rgg");
    let screen = terminal.wait_for("▌00:00:00.150");
    assert_in_order(&screen, &failed);
}

#[test]
fn a_filter_reads_older_pages_of_a_container() {
    if missing(&["docker", "busybox", "root"]) {
        return;
    }
    let name = unique("filter");
    let mut docker = Docker::default();
    let image = format!("{name}:1");
    docker.image(&image, "true");
    let container = docker.start("filter", &image, &[]);
    docker.must(&["wait", &container]);
    let path = docker.must(&["inspect", "-f", "{{.LogPath}}", &container]);
    let mut text = String::new();
    for n in 1..=60_000 {
        let word = if n == 52_000 { "needle" } else { "line" };
        let (minute, second) = (n / 600 % 60, n / 10 % 60);
        let (hour, tenth) = (n / 36_000, n % 10);
        let _ = writeln!(
            text,
            "{{\"log\":\"{word} {n}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}.{tenth}00000000Z\"}}"
        );
    }
    std::fs::write(path, text).unwrap();
    let sandbox = Sandbox::new("filter-pages");
    let terminal = Terminal::start(&sandbox, &["tui", "--only", "logs"], (120, 30));
    terminal.wait_for("docker");
    terminal.keys(&format!(":{container}\r"));
    terminal.wait_for("line 60000");
    terminal.keys("&needle\r");
    terminal.wait_for("no match, older lines not read");
    // It lies four pages back: they are read one after the other.
    terminal.keys("\x1b[A");
    terminal.wait_for("needle 52000");
    // Nothing older passes: after some pages it stops, and says so.
    terminal.keys("\x1b[A");
    terminal.wait_for("again reads on");
}
