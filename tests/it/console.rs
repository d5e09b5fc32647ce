//! The console in a real terminal: it comes up, follows the size, ends by every door, and leaves the terminal as it was.

use crate::compose_story::GOOD;
use crate::harness::{Docker, PrivateDocker, Sandbox, Terminal, Tmux, missing, unique};
use rustix::process::Signal;
use std::time::Duration;

#[test]
fn every_way_out_leaves_the_terminal_sane() {
    let sandbox = dead_docker("out");
    let mut quit = Terminal::start(&sandbox, &["tui"], (100, 30));
    quit.wait_for("services");
    assert!(quit.is_alternate());
    quit.keys("q");
    assert_eq!(quit.exit_code(), 0);
    quit.is_left_sane();

    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut killed = Terminal::start(&sandbox, &[], (100, 30));
        killed.wait_for("services");
        killed.signal(signal);
        assert_eq!(killed.exit_code(), code, "{signal:?}");
        killed.is_left_sane();
    }
}

#[test]
fn a_dead_daemon_is_said_on_the_screen() {
    let sandbox = dead_docker("unreachable");
    let terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    terminal.wait_for("unreachable");
}

#[test]
fn every_size_has_its_screen() {
    let sandbox = dead_docker("sizes");
    let terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    terminal.wait_for("services");
    for size in [
        (200, 60),
        (80, 24),
        (60, 15),
        (40, 10),
        (20, 3),
        (1, 1),
        (120, 40),
    ] {
        terminal.resize(size);
        std::thread::sleep(Duration::from_millis(150));
    }
    let screen = terminal.wait_for("services");
    assert!(screen.lines().count() > 30, "{screen}");
}

#[test]
fn no_color_means_no_colour() {
    let sandbox = dead_docker("mono").with("NO_COLOR", "1");
    let mut terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    terminal.wait_for("services");
    terminal.keys("\t\t?");
    std::thread::sleep(Duration::from_millis(500));
    terminal.keys("\x1b");
    std::thread::sleep(Duration::from_millis(500));
    terminal.keys("q");
    terminal.exit_code();
    let bytes = terminal.bytes();
    let text = String::from_utf8_lossy(&bytes);
    let colours: Vec<&str> = text
        .split("\u{1b}[")
        .filter_map(|part| part.split_once('m').map(|(codes, _)| codes))
        .filter(|codes| {
            codes
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b';')
                && codes.split(';').any(|code| {
                    matches!(
                        code.parse(),
                        Ok(30..=37 | 40..=47 | 90..=97 | 100..=107 | 38 | 48)
                    )
                })
        })
        .collect();
    assert!(colours.is_empty(), "{colours:?}");
}

#[test]
fn the_console_in_tmux_suspends_resumes_and_quits() {
    if missing(&["tmux", "docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let private = PrivateDocker::start("tmux");
    let (sandbox, _docker) = one_quiet_container(&private, "tmux", GOOD);
    let tmux = Tmux::start(&sandbox, (120, 40));
    let binary = sandbox
        .command(&[])
        .get_program()
        .to_str()
        .unwrap()
        .to_string();
    tmux.line(&format!("{binary} tui"));
    tmux.wait_for("backend");
    assert_eq!(tmux.variable("alternate_on"), "1");

    tmux.keys(&["C-z"]);
    tmux.wait_until("the shell after Ctrl-Z", |screen| {
        screen.contains("Stopped")
    });
    tmux.is_sane();
    tmux.line("fg");
    tmux.wait_for("backend");
    tmux.wait_until("the alternate screen", |_| {
        tmux.variable("alternate_on") == "1"
    });

    tmux.resize((80, 24));
    tmux.wait_for("backend");
    tmux.console_takes_keys_and_quits();
}

#[test]
fn a_live_project_is_on_the_screen_and_quiet_when_idle() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let private = PrivateDocker::start("idle");
    let (sandbox, _docker) = one_quiet_container(&private, "idle", "echo the only line; sleep 600");
    let terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    terminal.wait_for("backend");
    // Ages under a minute may still count on the screen, so only their digits are allowed: 2 KB a minute.
    std::thread::sleep(Duration::from_secs(8));
    let (bytes, busy) = (terminal.bytes().len(), cpu_ticks(&terminal));
    std::thread::sleep(Duration::from_secs(12));
    let (written, used) = (terminal.bytes().len() - bytes, cpu_ticks(&terminal) - busy);
    // Generous against the goal of 2 KB in 60 s: this catches a redraw loop, the measurement proper is a benchmark.
    assert!(written < 4_000, "{written} bytes in 12 idle seconds");
    assert!(used <= 24, "{used} ticks (10 ms) of CPU in 12 idle seconds");
}

/// One container `…backend` on a daemon of the test's own: containers of other tests, which come and go on the
/// machine's daemon, would stand on the screen too.
fn one_quiet_container(private: &PrivateDocker, name: &str, script: &str) -> (Sandbox, Docker) {
    let mut docker = private.docker();
    let image = format!("{}:1", unique(name));
    docker.image(&image, script);
    docker.start("backend", &image, &[]);
    (
        Sandbox::new(name).with("DOCKER_HOST", &private.host()),
        docker,
    )
}

/// User and system time so far, in clock ticks.
fn cpu_ticks(terminal: &Terminal) -> u64 {
    let stat =
        std::fs::read_to_string(format!("/proc/{}/stat", terminal.process().as_raw_pid())).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn dead_docker(name: &str) -> Sandbox {
    Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock")
}

#[test]
fn a_broken_keymap_shows_line_caret_and_the_nearest_name() {
    let sandbox = dead_docker("keymap");
    std::fs::write(
        sandbox.path("config/lastgood/keymap.toml"),
        "[logs]\n\"ctrl-t\" = \"logs.toggle-folow\"\n",
    )
    .unwrap();
    let words = [
        "keymap.toml",
        "2",
        "logs.toggle-folow",
        "logs.toggle-follow",
        "^",
    ];
    sandbox.run(&["keys", "check"]).exits(2).says(&words);
    // The console says the same before it takes the screen.
    let mut terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    assert_eq!(terminal.exit_code(), 2);
    let said = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    assert!(
        said.contains("logs.toggle-folow") && said.contains('^'),
        "{said}"
    );

    std::fs::write(
        sandbox.path("config/lastgood/keymap.toml"),
        "[logs]\n\"ctrl-t\" = \"logs.toggle-follow\"\n",
    )
    .unwrap();
    sandbox.run(&["keys", "check"]).exits(0);
    let printed = sandbox.run(&["keys", "print"]).exits(0);
    assert!(printed.stdout.contains("Ctrl-t"), "{printed}");
}

#[test]
fn the_comparison_follows_what_is_written() {
    let sandbox =
        Sandbox::new("live").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let log = sandbox.work().join("app.log");
    let write = move |log: &std::path::Path, from: u32, count: u32, status: u16| {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut text = String::new();
        for i in from..from + count {
            let at = jiff::Timestamp::now();
            text += &format!("{at} INFO GET /orders/{i} completed in 0.05s status={status}\n");
        }
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    };
    write(&log, 0, 400, 200);
    let config = format!(
        "[services.\"file/app\"]\nlog_files = [\"{}\"]\n",
        log.display()
    );
    sandbox.write("lastgood.toml", &config);
    sandbox.run(&["checkpoint", "create", "file/app"]).exits(0);
    write(&log, 400, 100, 200);
    // The service is never quiet.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let busy = log.clone();
    let writer = std::thread::spawn(move || {
        let mut number = 10_000;
        while ended.recv_timeout(Duration::from_millis(40))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            write(&busy, number, 1, 200);
            number += 1;
        }
    });
    let mut terminal = Terminal::start(&sandbox, &["tui"], (120, 40));
    terminal.wait_for("keep");
    // A moment later users complain. The screen says so long before it would look again by itself.
    let began = std::time::Instant::now();
    write(&log, 500, 200, 500);
    terminal.wait_for("ROLL BACK");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    drop(end);
    writer.join().unwrap();
}
