//! A follow outlives its daemon and its container, and shows the seam.

use crate::harness::{Docker, PrivateDocker, Project, Sandbox, missing, unique, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

#[test]
fn a_killed_daemon_costs_no_line_and_doubles_none() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    const LAST: usize = 3000;
    let mut private = PrivateDocker::start("killed");
    let mut docker = private.docker();
    let image = format!("{}:1", unique("killed"));
    // Bursts within one timestamp, and pauses: the resume has to get both right.
    docker.image(&image, &format!("i=0; while [ $i -lt {LAST} ]; do for n in 1 2 3 4 5; do i=$((i+1)); echo $i; done; usleep 10000; done; echo done; sleep 600"));
    let sandbox = Sandbox::new("killed").with("DOCKER_HOST", &private.host());
    let container = docker.start("killed", &image, &[]);
    let mut following = sandbox.follow(&[
        "logs",
        &format!("docker/{container}"),
        "--follow",
        "--format",
        "json",
    ]);
    for kill_at in [400, 1200, 2000] {
        let wanted = number_line(kill_at);
        following.until(
            &format!("line {kill_at}"),
            Duration::from_secs(30),
            |line| line.contains(&wanted),
        );
        private.kill();
        std::thread::sleep(Duration::from_millis(300));
        private.revive();
    }
    following.until("the last line", Duration::from_secs(60), |line| {
        line.contains("\"done\"")
    });
    let lines = following.json();
    let numbers: Vec<usize> = lines
        .iter()
        .filter_map(|line| line["text"].as_str()?.parse().ok())
        .collect();
    let wrong = numbers
        .iter()
        .zip(1..)
        .find(|(got, wanted)| **got != *wanted);
    assert_eq!(
        (numbers.len(), wrong),
        (LAST, None),
        "lines lost or doubled"
    );
}

#[test]
fn a_recreated_container_draws_the_seam_and_goes_on() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("seam");
    let mut project = Project::of_one(&sandbox, "seam");
    project.image("i=0; while true; do i=$((i+1)); echo old $i; usleep 50000; done");
    project.up();
    let mut following = sandbox.follow(&[
        "logs",
        &project.service("backend"),
        "--follow",
        "--format",
        "json",
    ]);
    following.until(
        "a line of the old release",
        Duration::from_secs(20),
        |line| line.contains("old 20"),
    );
    project.image("i=0; while true; do i=$((i+1)); echo new $i; usleep 50000; done");
    project.up();
    following.until(
        "a line of the new release",
        Duration::from_secs(30),
        |line| line.contains("\"new 20\""),
    );

    let lines = following.json();
    let is_text = |line: &Value, start: &str| {
        line["text"]
            .as_str()
            .is_some_and(|text| text.starts_with(start))
    };
    let seam = lines
        .iter()
        .position(|line| line["event"] == "recreated")
        .unwrap_or_else(|| panic!("no seam: {:#?}", &lines[lines.len() - 30..]));
    assert!(
        lines[..seam].iter().all(|line| !is_text(line, "new "))
            && lines[seam..].iter().all(|line| !is_text(line, "old ")),
        "the seam stands between the releases"
    );
    let detail = lines[seam]["detail"].as_str().unwrap();
    let (from, to) = detail.split_once(" → ").expect(detail);
    assert_ne!(from, to, "the tag is the same, the images are not");
    let new: Vec<&str> = lines
        .iter()
        .filter(|line| is_text(line, "new "))
        .filter_map(|line| line["text"].as_str())
        .collect();
    assert!(
        new.iter()
            .zip(1..)
            .all(|(text, number)| *text == format!("new {number}")),
        "from the first line on, each once: {new:?}"
    );
    let code = following.end_with(Signal::INT);
    assert!(code == 130 || code == 0, "exit {code} after Ctrl-C");
}

#[test]
fn a_follow_ends_by_its_signal() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("signal");
    let (_docker, service) = crate::checkpoint::one_container("signal", "echo done; sleep 600");
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut following = sandbox.follow(&["logs", &service, "--follow"]);
        following.until("the line", Duration::from_secs(20), |line| {
            line.contains("done")
        });
        assert_eq!(following.end_with(signal), code, "{signal:?}");
    }
}

#[test]
fn a_burst_comes_once_and_in_order() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    const LAST: usize = 200_000;
    let sandbox = Sandbox::new("flood");
    let (docker, service) = crate::checkpoint::one_container(
        "flood",
        &format!(
            "echo done; while [ ! -e /tmp/go ]; do usleep 20000; done; seq 1 {LAST}; echo over; sleep 600"
        ),
    );
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    following.until("the first line", Duration::from_secs(20), is_line("done"));
    let container = service.trim_start_matches("docker/");
    docker.must(&["exec", container, "/bin/touch", "/tmp/go"]);
    following.until("the last line", Duration::from_secs(60), is_line("over"));
    assert_numbers(&following.json(), LAST);
}

#[test]
fn a_restart_is_told_and_costs_no_line() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("again");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("again"));
    docker.image(&image, "echo begin; i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; echo line $i >&2; usleep 2000; done; echo over; sleep 600");
    let container = docker.start("again", &image, &[]);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    for _ in 0..3 {
        following.until("a line", Duration::from_secs(20), is_line("line 100"));
        docker.must(&["restart", "-t", "0", &container]);
        following.until("the seam", Duration::from_secs(20), |line| {
            line.contains("\"restarted\"")
        });
    }
    // Each stream has its own pipe: the last line of one may come behind that of the other.
    let (is_over, is_last) = (is_line("over"), is_line("line 400"));
    let (mut over, mut last) = (false, 0);
    following.until("the last lines", Duration::from_secs(20), |line| {
        over |= is_over(line);
        last += u32::from(is_last(line));
        over && last == 2
    });
    let lines = following.json();
    let texts: Vec<&str> = lines.iter().filter_map(|l| l["text"].as_str()).collect();
    // In the order of the driver's file, which the client tells for each stream only.
    for (stream, flag) in [("stdout", true), ("stderr", false)] {
        let output = docker.command(&["logs", &container]).output().unwrap();
        let all = if flag { output.stdout } else { output.stderr };
        let all = String::from_utf8(all).unwrap();
        let read: Vec<&str> = lines
            .iter()
            .filter(|l| l["stream"] == stream)
            .filter_map(|l| l["text"].as_str())
            .collect();
        assert_eq!(read, all.lines().collect::<Vec<_>>(), "{stream}");
    }
    // The seam stands where one run ends and the next begins.
    let seams = lines.iter().enumerate();
    let seams: Vec<usize> = seams
        .filter(|(_, l)| l["event"] == "restarted")
        .map(|(i, _)| i)
        .collect();
    assert_eq!(seams.len(), 3, "{texts:?}");
    for seam in seams {
        // The two streams of a process are not read in turns.
        let mut after = lines[seam..].iter().filter(|l| l["stream"] == "stdout");
        let next = after.find_map(|l| l["text"].as_str());
        assert_eq!(next, Some("begin"), "the first line of a run");
    }
}

/// The logs API, unlike `attach`, lets a reader be as slow as it likes: it reads the driver's file.
#[test]
fn a_slow_reader_never_slows_the_container() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    const LAST: usize = 300_000;
    let sandbox = Sandbox::new("slow");
    let shared = sandbox.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("slow"));
    let script = format!(
        "echo ready; while [ ! -e /shared/go ]; do usleep 20000; done; seq 1 {LAST} | awk '{{print $1, \"{}\"}}'; touch /shared/written; echo over; sleep 600",
        "x".repeat(100)
    );
    docker.image(&image, &script);
    let mount = format!("{}:/shared", shared.display());
    let container = docker.start("slow", &image, &["-v", &mount]);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    following.until("the first line", Duration::from_secs(20), is_line("ready"));

    following.signal(Signal::STOP);
    std::fs::write(shared.join("go"), "").unwrap();
    // 30 MB are many times what pipes and sockets hold.
    wait_for("the container's own work", Duration::from_secs(60), || {
        shared.join("written").exists().then_some(())
    });
    following.signal(Signal::CONT);
    following.until("the last line", Duration::from_secs(90), is_line("over"));
    assert_numbers(&following.json(), LAST);
}

#[test]
fn lines_that_the_driver_dropped_meanwhile_are_a_gap() {
    if missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let mut private = PrivateDocker::start("gap");
    let mut docker = private.docker();
    let sandbox = Sandbox::new("gap").with("DOCKER_HOST", &private.host());
    let shared = sandbox.path("shared");
    std::fs::create_dir(&shared).unwrap();
    let image = format!("{}:1", unique("gap"));
    // 60 KB wait in the pipe while there is no daemon, and are several times what its driver keeps.
    let script = format!(
        "seq 1 100; while [ ! -e /shared/go ]; do usleep 20000; done; seq 101 600 | awk '{{print $1, \"{}\"}}'; touch /shared/written; echo over; sleep 600",
        "x".repeat(100)
    );
    docker.image(&image, &script);
    let mount = format!("{}:/shared", shared.display());
    let limits = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"];
    let options = [&["-v", mount.as_str()], limits.as_slice()].concat();
    let container = docker.start("gap", &image, &options);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    following.until("line 100", Duration::from_secs(20), is_line("100"));

    private.kill();
    std::fs::write(shared.join("go"), "").unwrap();
    following.until("the second try", Duration::from_secs(20), |line| {
        line.contains("\"reconnecting\"") && line.contains("\"2/5: ")
    });
    private.revive();
    following.until("the last line", Duration::from_secs(60), is_line("over"));
    let lines = following.json();
    let numbers: Vec<(usize, usize)> = lines
        .iter()
        .enumerate()
        .filter_map(|(i, l)| Some((i, number_of(l)?)))
        .collect();
    let jumps: Vec<_> = numbers
        .windows(2)
        .filter(|pair| pair[1].1 != pair[0].1 + 1)
        .collect();
    let [jump] = jumps.as_slice() else {
        panic!("one gap, not {jumps:?}");
    };
    let between = &lines[jump[0].0..jump[1].0];
    let gap = between
        .iter()
        .find(|l| l["event"] == "gap")
        .unwrap_or_else(|| panic!("no gap is told: {between:#?}"));
    let (from, to) = (time(&gap["from"]), time(&gap["to"]));
    assert_eq!(from, time(&between[0]["at"]), "from the last line before");
    assert_eq!(to, time(&lines[jump[1].0]["at"]), "to the first line after");
    assert!(between.iter().any(|l| l["event"] == "reconnected"));
}

pub(crate) fn is_line(text: &str) -> impl Fn(&str) -> bool {
    let wanted = format!("\"text\":\"{text}\"");
    move |line| line.contains(&wanted)
}

fn time(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// The number that a line's text begins with.
fn number_of(line: &Value) -> Option<usize> {
    line["text"].as_str()?.split(' ').next()?.parse().ok()
}

/// Every number from 1 to `last` came once and in order, and nothing was told to be missing.
fn assert_numbers(lines: &[Value], last: usize) {
    let numbers: Vec<usize> = lines.iter().filter_map(number_of).collect();
    let mut pairs = numbers.iter().zip(1..);
    let wrong = pairs.find(|(got, wanted)| **got != *wanted);
    assert_eq!(
        (numbers.len(), wrong),
        (last, None),
        "lines lost or doubled"
    );
    assert!(lines.iter().all(|l| l["event"] != "gap"));
}

fn number_line(number: usize) -> String {
    format!("\"text\":\"{number}\"")
}
