//! A Compose project that is taken down again, also when the test fails.

use super::docker::Docker;
use super::{Sandbox, unique, wait_for};
use std::path::PathBuf;
use std::time::Duration;

/// A project under the sandbox's working folder, in a folder of its own name.
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) docker: Docker,
    folder: PathBuf,
}

impl Project {
    /// A project without containers yet. In `compose`, `{project}` stands for its name, which is also the repository
    /// of its images; every service should have `network_mode: none` and `stop_grace_period: 0s`.
    pub(crate) fn new(sandbox: &Sandbox, name: &str, compose: &str) -> Project {
        let name = unique(name);
        let folder = sandbox.work().join(&name);
        sandbox.write(
            &format!("{name}/compose.yaml"),
            format!("name: {name}\n{}", compose.replace("{project}", &name)),
        );
        Project {
            name,
            docker: Docker::default(),
            folder,
        }
    }

    /// One service `backend` that runs the image `{project}:latest`.
    pub(crate) fn of_one(sandbox: &Sandbox, name: &str) -> Project {
        Project::new(sandbox, name, ONE)
    }

    /// Makes (or replaces) the image `{project}:latest`; gives its id.
    pub(crate) fn image(&mut self, script: &str) -> String {
        let name = format!("{}:latest", self.name);
        self.docker.image(&name, script)
    }

    /// Makes the image `{project}:latest` of empty folders and the usual links: with `/usr` and `/etc` of this machine
    /// in it, its programs run inside.
    pub(crate) fn bare_image(&mut self) {
        self.docker.bare_image(&format!("{}:latest", self.name));
    }

    /// `docker compose …` in the project's folder; fails with what it said.
    pub(crate) fn compose(&self, arguments: &[&str]) -> String {
        let output = self
            .docker
            .command(&["compose"])
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "docker compose {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// Creates what changed and starts it.
    pub(crate) fn up(&self) {
        self.compose(&["up", "-d"]);
    }

    /// `project/service`, as the product names it.
    pub(crate) fn service(&self, service: &str) -> String {
        format!("{}/{service}", self.name)
    }

    pub(crate) fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// The id of the service's container.
    pub(crate) fn container(&self, service: &str) -> String {
        let id = self.compose(&["ps", "-aq", service]);
        assert!(!id.is_empty(), "no container of {service}");
        id
    }

    /// The image id that the service's container runs.
    pub(crate) fn running_image(&self, service: &str) -> String {
        self.docker
            .must(&["inspect", "-f", "{{.Image}}", &self.container(service)])
    }

    /// Waits until the engine has restarted the service's container `count` times.
    pub(crate) fn wait_for_restarts(&self, service: &str, count: u64) {
        let container = self.container(service);
        let what = format!("{count} restarts of {service}");
        wait_for(&what, Duration::from_secs(40), || {
            let text = self
                .docker
                .run(&["inspect", "-f", "{{.RestartCount}}", &container]);
            (text.parse::<u64>().ok()? >= count).then_some(())
        });
    }

    /// Waits until the service has written `count` lines.
    pub(crate) fn wait_for_lines(&self, service: &str, count: usize) {
        let container = self.container(service);
        wait_for(
            &format!("{count} lines of {service}"),
            Duration::from_secs(40),
            || (self.docker.logs(&container).lines().count() >= count).then_some(()),
        );
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = self
            .docker
            .command(&["compose", "down", "-t", "0", "-v", "--remove-orphans"])
            .current_dir(&self.folder)
            .output();
        // A compose file that the test broke cannot take its project down.
        let label = format!("label=com.docker.compose.project={}", self.name);
        for id in self.docker.run(&["ps", "-aq", "--filter", &label]).lines() {
            let _ = self.docker.command(&["rm", "-f", "-v", id]).output();
        }
    }
}

const ONE: &str = "services:
  backend:
    image: {project}:latest
    pull_policy: never
    network_mode: none
    stop_grace_period: 0s
";
