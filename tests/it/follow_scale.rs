//! A follow stays with its service: through scaling, ends, new names, and a time without any container.

use crate::follow::is_line;
use crate::harness::{Docker, Project, Sandbox, missing, unique};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn replicas_come_and_go_and_no_line_of_theirs_is_lost() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    const LAST: usize = 400;
    let sandbox = Sandbox::new("scale");
    let mut project = Project::of_one(&sandbox, "scale");
    project.image(&format!("i=0; while [ $i -lt {LAST} ]; do for n in 1 2 3 4 5 6 7 8; do i=$((i+1)); echo $HOSTNAME $i; done; usleep 5000; done; echo $HOSTNAME done; sleep 600"));
    project.up();
    let service = project.service("backend");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    let is_done = |line: &str| line.contains(" done\"");
    following.until("the first replica's end", SOON, is_done);
    project.compose(&["up", "-d", "--scale", "backend=3", "--no-recreate"]);
    following.until("the second replica's end", SOON, is_done);
    following.until("the third replica's end", SOON, is_done);
    project.compose(&["up", "-d", "--scale", "backend=1", "--no-recreate"]);
    for _ in 0..2 {
        following.until("an instance's end", SOON, |line| {
            line.contains("\"event\":\"ended\"")
        });
    }

    let lines = following.json();
    let mut replicas: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for text in lines.iter().filter_map(|line| line["text"].as_str()) {
        let (replica, number) = text.split_once(' ').unwrap();
        if let Ok(number) = number.parse() {
            replicas.entry(replica).or_default().push(number);
        }
    }
    assert_eq!(replicas.len(), 3);
    for (replica, numbers) in replicas {
        assert!(
            numbers.iter().copied().eq(1..=LAST),
            "{replica}: {numbers:?}"
        );
    }
    let told = details(&lines);
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    let name = |number: usize| format!("{}-backend-{number}", project.name);
    for number in [2, 3] {
        let is_new = format!("recreated: new instance {}", name(number));
        assert!(told.contains(&is_new.as_str()), "{told:#?}");
        let mut ends = told.iter().filter(|t| t.starts_with("ended: exit "));
        assert!(ends.any(|t| t.contains(&name(number))), "{told:#?}");
    }
    assert_eq!(told.len(), 4, "{told:#?}");
}

#[test]
fn an_end_is_told_with_its_exit_code_and_the_follow_stays() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("ends");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("ends"));
    docker.image(
        &image,
        "if [ -e /tmp/second ]; then echo second; sleep 600; fi; touch /tmp/second; sleep 1; echo first; printf unfinished; exit 3",
    );
    let container = docker.start("ends", &image, &[]);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    let is_end = |line: &str| line.contains("\"event\":\"ended\"");
    following.until("the end", SOON, is_end);
    docker.must(&["start", &container]);
    following.until("the second run", SOON, is_line("second"));
    docker.must(&["kill", &container]);
    following.until("the second end", SOON, is_end);

    let lines = following.json();
    let texts: Vec<&str> = lines.iter().filter_map(|l| l["text"].as_str()).collect();
    assert_eq!(texts, ["first", "unfinished", "second"]);
    let restarted = format!("restarted: {container}");
    assert_eq!(
        details(&lines),
        ["ended: exit 3", restarted.as_str(), "ended: exit 137"]
    );
}

#[test]
fn an_end_for_lack_of_memory_says_so() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("memory");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("memory"));
    docker.image(&image, "echo greedy; sleep 1; exec tail /dev/zero");
    let limits = ["--memory", "16m", "--memory-swap", "16m"];
    let container = docker.start("memory", &image, &limits);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    following.until("the end", SOON, |line| line.contains("\"event\":\"ended\""));
    assert_eq!(
        details(&following.json()),
        ["ended: exit 137, out of memory"]
    );
}

#[test]
fn a_container_is_followed_under_its_new_name_and_waited_for_when_it_is_gone() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("rename");
    let mut docker = Docker::default();
    let image = format!("{}:1", unique("rename"));
    docker.image(
        &image,
        "echo $HOSTNAME begins; while [ ! -e /tmp/go ]; do usleep 20000; done; echo $HOSTNAME goes on; sleep 600",
    );
    let container = docker.start("rename", &image, &["--hostname", "one"]);
    let service = format!("docker/{container}");
    let mut following = sandbox.follow(&["logs", &service, "--follow", "--format", "json"]);
    following.until("the first line", SOON, is_line("one begins"));
    let renamed = format!("{container}-old");
    docker.must(&["rename", &container, &renamed]);
    docker.must(&["exec", &renamed, "/bin/touch", "/tmp/go"]);
    following.until("a line under the new name", SOON, is_line("one goes on"));
    docker.must(&["rm", "-f", &renamed]);
    following.until("that it is waited for", SOON, |line| {
        line.contains("waiting for a new one")
    });
    docker.start("rename", &image, &["--hostname", "two"]);
    following.until("a line of the new container", SOON, is_line("two begins"));

    let told = details(&following.json());
    assert!(told[0].starts_with("ended: exit 137"), "{told:#?}");
    assert_eq!(
        told[1],
        "ended: no container is left: waiting for a new one"
    );
    assert!(told[2].starts_with("recreated: "), "{told:#?}");
    assert_eq!(told.len(), 3, "{told:#?}");
}

/// `event: detail` of every note.
fn details(lines: &[Value]) -> Vec<String> {
    let notes = lines
        .iter()
        .filter_map(|l| Some((l["event"].as_str()?, l["detail"].as_str()?)));
    notes
        .map(|(event, detail)| format!("{event}: {detail}"))
        .collect()
}
