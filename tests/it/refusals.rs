//! Bad input and failure: each has its message and its exit code, and none is an empty list.

use crate::checkpoint::one_container;
use crate::compose_story::{GOOD, list};
use crate::harness::{Project, Run, Sandbox, missing};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn no_docker_is_unreachable_not_empty() {
    let sandbox =
        Sandbox::new("dead").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let run = sandbox.run(&["services", "--format", "json"]).exits(4);
    let found = run.json("services");
    assert!(
        list(&found["services"])
            .iter()
            .all(|service| service["runtime"] != "docker" && service["runtime"] != "compose"),
        "{found:#}"
    );
    let docker = list(&found["unreachable"])
        .iter()
        .find(|one| matches!(one["runtime"].as_str(), Some("docker" | "compose")))
        .unwrap_or_else(|| panic!("{found:#}"));
    for field in ["error", "fix"] {
        assert!(
            docker[field].as_str().is_some_and(|text| text.len() > 8),
            "{field}: {docker:#}"
        );
    }
    assert!(
        docker["error"]
            .as_str()
            .unwrap()
            .contains("/nonexistent/lastgood-test.sock"),
        "it names the socket: {docker:#}"
    );
    let human = sandbox.run(&["services"]).exits(4);
    assert!(
        format!("{}{}", human.stdout, human.stderr).contains("unreachable"),
        "{human}"
    );
    sandbox.run(&["logs", "docker/any"]).exits(4);
    sandbox.run(&["checkpoint", "create"]).exits(4);
}

#[test]
fn a_socket_that_is_forbidden_names_the_fix() {
    if missing(&["docker", "root", "setpriv"]) {
        return;
    }
    let sandbox = Sandbox::new("forbidden");
    // A user without the group, with a copy of the binary it may run.
    let binary = sandbox.path("lastgood");
    fs::copy(sandbox.command(&[]).get_program(), &binary).unwrap();
    open_up(&sandbox.path("."));
    let mut command = std::process::Command::new("setpriv");
    sandbox.surround(&mut command);
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["services", "--format", "json"])
        .current_dir("/");
    let found = Run::of(command).exits(4).json("services");
    let docker = &list(&found["unreachable"])[0];
    assert!(
        docker["error"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .contains("permission denied"),
        "{docker:#}"
    );
    assert!(
        docker["fix"].as_str().unwrap().contains("docker"),
        "{docker:#}"
    );
}

fn open_up(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            open_up(&path);
        }
    }
}

#[test]
fn an_unknown_service_is_a_usage_error() {
    if missing(&["docker"]) {
        return;
    }
    let sandbox = Sandbox::new("unknown");
    for arguments in [
        vec!["logs", "no-such-service"],
        vec!["health", "no-such/service"],
        vec!["checkpoint", "create", "no-such-service"],
        vec!["roll-back", "no-such-service"],
        vec!["restart", "no-such-service"],
    ] {
        let run = sandbox.run(&arguments).exits(2).says(&["no-such"]);
        assert!(run.stdout.is_empty(), "talk belongs on stderr: {run}");
    }
    sandbox.run(&["no-such-command"]).exits(2);
    sandbox.run(&["logs"]).exits(2);
    sandbox.run(&["services", "--format", "xml"]).exits(2);
    sandbox.run(&["compare", "only-one.log"]).exits(2);
    sandbox
        .run(&["errors", "no-such-file.log"])
        .exits(2)
        .says(&["no-such-file.log"]);
    sandbox
        .run(&["errors", "checkpoint:no-such-id"])
        .exits(2)
        .says(&["no-such-id"]);
}

#[test]
fn an_ambiguous_name_lists_its_candidates() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("ambiguous");
    let mut one = Project::of_one(&sandbox, "ambiguous-one");
    let mut two = Project::of_one(&sandbox, "ambiguous-two");
    for project in [&mut one, &mut two] {
        project.image("echo up; sleep 600");
        project.up();
    }
    sandbox
        .run(&["logs", "backend"])
        .exits(2)
        .says(&[&one.service("backend"), &two.service("backend")]);
    sandbox
        .run(&["restart", "backend", "--yes"])
        .exits(2)
        .says(&[&one.service("backend"), &two.service("backend")]);
    sandbox.run(&["logs", &one.service("backend")]).exits(0);
}

#[test]
fn a_broken_configuration_shows_line_and_caret() {
    let sandbox = Sandbox::new("config");
    let file = sandbox.write(
        "lastgood.toml",
        "[checkpoint]\nkeep_last = 20\nkep_within = \"7d\"\n",
    );
    let run = sandbox
        .run(&["services"])
        .exits(2)
        .says(&["lastgood.toml", "kep_within", "^", "3"]);
    assert!(run.stdout.is_empty(), "{run}");
    sandbox.write("lastgood.toml", "[chekpoint]\nkeep_last = 20\n");
    sandbox
        .run(&["services"])
        .exits(2)
        .says(&["chekpoint", "checkpoint", "^"]);
    sandbox.write("lastgood.toml", "[checkpoint]\nkeep_last = \"many\"\n");
    sandbox
        .run(&["config", "check"])
        .exits(2)
        .says(&["keep_last", "^", "2"]);
    sandbox.write("lastgood.toml", "[checkpoint\n");
    sandbox
        .run(&["services"])
        .exits(2)
        .says(&["lastgood.toml", "^"]);

    sandbox.write("lastgood.toml", "[checkpoint]\nkeep_last = 20\n");
    sandbox.run(&["config", "check"]).exits(0);
    // Anyone who can write the file could have commands run by whoever starts lastgood here.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    sandbox
        .run(&["config", "check"])
        .exits(2)
        .says(&["lastgood.toml", "writ"]);
    sandbox
        .run(&["--config", "/nonexistent.toml", "services"])
        .exits(2)
        .says(&["/nonexistent.toml"]);
}

#[test]
fn a_read_only_session_changes_nothing() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("readonly");
    let mut project = Project::of_one(&sandbox, "readonly");
    project.image(GOOD);
    project.up();
    let service = project.service("backend");
    let started = project.docker.must(&[
        "inspect",
        "-f",
        "{{.State.StartedAt}}",
        &project.container("backend"),
    ]);
    sandbox
        .run(&["--read-only", "restart", &service, "--yes"])
        .exits(5)
        .says(&["read-only"]);
    sandbox.run(&["--read-only", "services"]).exits(0);
    sandbox
        .run(&["restart", &service])
        .exits(5)
        .says(&["--yes"]);
    assert_eq!(
        project.docker.must(&[
            "inspect",
            "-f",
            "{{.State.StartedAt}}",
            &project.container("backend")
        ]),
        started,
        "it ran on"
    );
}

#[test]
fn without_a_terminal_the_console_gives_a_hint() {
    let sandbox = Sandbox::new("noterm");
    for arguments in [vec![], vec!["tui"], vec!["demo"]] {
        sandbox.run(&arguments).exits(2).says(&["terminal"]);
    }
}

#[test]
fn windows_without_requests_are_inconclusive() {
    let sandbox = Sandbox::new("nothing");
    let lines = |count: usize| {
        (0..count).fold(String::new(), |log, number| log + &format!("2025-12-27T14:{:02}:{:02} INFO GET /orders/{number} completed in 0.1s status=200\n", number / 60, number % 60))
    };
    let full = sandbox.write("full.log", lines(400));
    let empty = sandbox.write("empty.log", "");
    let few = sandbox.write("few.log", lines(5));
    let (full, empty, few) = (
        full.to_str().unwrap(),
        empty.to_str().unwrap(),
        few.to_str().unwrap(),
    );
    for after in [empty, few] {
        let compared = sandbox.json(3, "compare", &["compare", full, after]);
        assert_eq!(
            compared["verdict"]["decision"], "inconclusive",
            "{after}: {:#}",
            compared["verdict"]
        );
    }
    assert_eq!(
        sandbox.json(3, "compare", &["compare", empty, empty])["verdict"]["decision"],
        "inconclusive"
    );

    let errors = sandbox.json(3, "errors", &["errors", empty]);
    assert_eq!(
        (&errors["requests"], &errors["error_rate"]),
        (&Value::from(0), &Value::Null),
        "no requests, no rate: {errors:#}"
    );
    let slow = sandbox.run(&["slow", empty, "--format", "json"]);
    assert!(slow.code == 3 || slow.code == 0, "{slow}");
    let slow = slow.json("slow");
    assert_eq!(
        (&slow["count"], &slow["latency_ms"]["p95"]),
        (&Value::from(0), &Value::Null),
        "{slow:#}"
    );
}

#[test]
fn a_container_that_never_wrote_is_no_error() {
    if missing(&["docker", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("silent");
    let mut docker = crate::harness::Docker::default();
    let image = format!("{}:1", crate::harness::unique("silent"));
    docker.image(&image, "sleep 600");
    let container = docker.start("silent", &image, &[]);
    let service = format!("docker/{container}");
    assert!(
        sandbox
            .run(&["logs", &service, "--format", "json"])
            .exits(0)
            .json_lines("logs")
            .iter()
            .all(|line| line.get("text").is_none())
    );
    let created = sandbox.json(0, "checkpoint", &["checkpoint", "create", &service]);
    assert_eq!(
        (
            &created["complete"],
            &list(&created["services"])[0]["log"]["lines"]
        ),
        (&Value::from(true), &Value::from(0)),
        "{created:#}"
    );
}

#[test]
fn services_are_found_with_what_they_are() {
    if missing(&["docker", "compose", "busybox"]) {
        return;
    }
    let sandbox = Sandbox::new("found");
    let mut project = Project::of_one(&sandbox, "found");
    let image = project.image("echo up; sleep 600");
    project.up();
    let (docker, lone) = one_container("found-lone", "echo up; sleep 600");
    let (crashing_docker, crashing) = one_container("found-crash", "echo boom; exit 3");
    let found = sandbox.json(0, "services", &["services"]);
    let service = |id: &str| {
        list(&found["services"])
            .iter()
            .find(|service| {
                service["id"]
                    .as_str()
                    .is_some_and(|found| found.ends_with(id))
            })
            .unwrap_or_else(|| panic!("no {id}: {found:#}"))
    };
    let backend = service(&project.service("backend"));
    assert_eq!(
        (&backend["runtime"], &backend["group"], &backend["name"]),
        (
            &Value::from("compose"),
            &Value::from(project.name.as_str()),
            &Value::from("backend")
        ),
        "{backend:#}"
    );
    assert!(
        backend["release"]
            .to_string()
            .contains(image.trim_start_matches("sha256:"))
            || backend["release"]["image"]
                .as_str()
                .is_some_and(|name| name.starts_with(&project.name)),
        "{backend:#}"
    );
    assert_eq!(list(&backend["instances"]).len(), 1, "{backend:#}");
    assert_eq!(service(&lone)["runtime"], "docker");
    assert_ne!(
        service(&crashing)["state"],
        backend["state"],
        "an exited container does not look like a running one"
    );
    drop((docker, crashing_docker));
}

#[test]
fn help_and_the_exit_code_table_are_printed() {
    let sandbox = Sandbox::new("help");
    let table = sandbox.run(&["help", "exit-codes"]).exits(0);
    for code in ["0", "1", "2", "3", "4", "5", "129", "130", "143"] {
        assert!(
            table.stdout.lines().any(|line| line
                .split_whitespace()
                .any(|word| word.trim_matches(',') == code)),
            "{code}: {table}"
        );
    }
    for arguments in [["--help"], ["--version"]] {
        let run = sandbox.run(&arguments).exits(0);
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    }
}
