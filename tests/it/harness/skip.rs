//! A test whose component is missing says so and ends; under `CI=true` it fails instead.

use super::docker::Docker;
use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;

/// Whether one of `components` (docker, compose, busybox, tmux, zstd, pm2, sshd, nginx, prometheus,
/// postgres, redis-server, fish, sudo, root, pressure) cannot be had. Use as
/// `if missing(&["docker"]) { return; }`: the reason has been said by then.
pub(crate) fn missing(components: &[&str]) -> bool {
    components.iter().any(|component| {
        let Some(reason) = reason_missing(component) else {
            return false;
        };
        let ci = std::env::var("CI").unwrap_or_default();
        assert!(
            ci != "true" && ci != "1",
            "{component} is missing: {reason}"
        );
        let test = std::thread::current().name().unwrap_or("?").to_string();
        // Past the test harness, which hides what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {component} ({reason}): {test}");
        true
    })
}

fn reason_missing(component: &str) -> Option<String> {
    let asked = std::env::var("LASTGOOD_TEST_SKIP").unwrap_or_default();
    if asked.split(',').any(|skipped| skipped == component) {
        return Some("LASTGOOD_TEST_SKIP names it".into());
    }
    match component {
        "docker" => docker_error().clone(),
        "compose" => {
            let version = Docker::default().run(&["compose", "version", "--short"]);
            let is_two = version
                .trim_start_matches('v')
                .split('.')
                .next()
                .is_some_and(|major| major.parse::<u32>().is_ok_and(|major| major >= 2));
            (!is_two).then(|| "docker compose is not version 2".into())
        }
        // Not in everybody's PATH.
        daemon @ ("sshd" | "nginx") => {
            let is_there = ["/usr/sbin", "/usr/bin"]
                .iter()
                .any(|folder| std::path::Path::new(folder).join(daemon).is_file());
            (!is_there).then(|| format!("no {daemon}"))
        }
        "postgres" => super::data::postgres_programs()
            .is_none()
            .then(|| "no PostgreSQL server".into()),
        "pressure" => std::fs::read("/proc/pressure/io")
            .err()
            .map(|error| format!("/proc/pressure/io: {error}")),
        "root" => (!is_root())
            .then(|| "this test mounts, adds users or starts a daemon, which needs root".into()),
        program => {
            let found = Command::new("sh")
                .args(["-c", "command -v \"$0\"", program])
                .output();
            (!found.is_ok_and(|output| output.status.success()))
                .then(|| format!("no program {program}"))
        }
    }
}

fn docker_error() -> &'static Option<String> {
    static ERROR: OnceLock<Option<String>> = OnceLock::new();
    ERROR.get_or_init(|| {
        match Command::new("docker")
            .args(["info", "--format", "{{.ServerVersion}}"])
            .output()
        {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(
                String::from_utf8_lossy(&output.stderr)
                    .lines()
                    .last()
                    .unwrap_or("docker info failed")
                    .into(),
            ),
            Err(error) => Some(error.to_string()),
        }
    })
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
