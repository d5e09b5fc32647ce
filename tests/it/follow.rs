//! A follow outlives its daemon and its container, and shows the seam.

use crate::harness::{PrivateDocker, Project, Sandbox, missing, unique};
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

fn number_line(number: usize) -> String {
    format!("\"text\":\"{number}\"")
}
