//! Docker's own client, images made without a registry, and containers that are always removed.

use super::{unique, wait_for};
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The programs that a container's script may call.
const APPLETS: &[&str] = &[
    "sh", "sleep", "usleep", "echo", "cat", "date", "seq", "awk", "head", "tail", "tr", "wc", "nc",
    "httpd", "printf", "mkdir", "test", "base64", "touch", "rm", "kill", "trap", "wget",
];

/// A daemon to talk to. Images and containers made here are named after the test run and removed when dropped.
#[derive(Default)]
pub(crate) struct Docker {
    host: Option<String>,
    /// Repositories of the images made here.
    images: Vec<String>,
    containers: Vec<String>,
}

impl Docker {
    /// A client of the daemon at `host` (`unix:///…`).
    pub(crate) fn at(host: String) -> Docker {
        Docker {
            host: Some(host),
            images: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// The client with its arguments, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments).stdin(Stdio::null());
        if let Some(host) = &self.host {
            command.env("DOCKER_HOST", host);
        }
        command
    }

    /// stdout, trimmed; empty when the client fails.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        self.command(arguments)
            .output()
            .map(|output| {
                if output.status.success() {
                    text(&output)
                } else {
                    String::new()
                }
            })
            .unwrap_or_default()
    }

    /// stdout, trimmed; fails with stderr.
    pub(crate) fn must(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        text(&output)
    }

    /// An image whose command is `script`, made without a registry: a static busybox, its links and the script, imported.
    /// Gives the image id. `name` is `repository:tag`, where the repository comes from [`unique`].
    pub(crate) fn image(&mut self, name: &str, script: &str) -> String {
        self.import(name, &root_file_system(script))
    }

    /// An image of empty folders and the usual links, for containers that have `/usr` and `/etc` of this machine.
    pub(crate) fn bare_image(&mut self, name: &str) -> String {
        self.import(name, &bare_file_system())
    }

    fn import(&mut self, name: &str, archive: &[u8]) -> String {
        let repository = name.split(':').next().unwrap_or(name);
        let label = format!("LABEL lastgood-test={repository}");
        let run = "CMD [\"/bin/sh\",\"/run.sh\"]";
        let mut import = self.command(&["import", "-c", run, "-c", &label, "-", name]);
        let mut child = import
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "docker import {name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if !self.images.iter().any(|image| image == repository) {
            self.images.push(repository.into());
        }
        text(&output)
    }

    /// Starts a lone container without a network; gives its name.
    pub(crate) fn start(&mut self, name: &str, image: &str, options: &[&str]) -> String {
        let container = unique(name);
        self.containers.push(container.clone());
        let mut arguments = vec!["run", "-d", "--name", &container, "--network", "none"];
        arguments.extend(options);
        arguments.push(image);
        self.must(&arguments);
        container
    }

    /// All that a container has written so far, as Docker's own client gives it.
    pub(crate) fn logs(&self, container: &str) -> String {
        let output = self.command(&["logs", container]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits until the container has written a line that holds `word`.
    pub(crate) fn wait_for_log(&self, container: &str, word: &str) {
        wait_for(
            &format!("{word:?} in the log of {container}"),
            Duration::from_secs(40),
            || {
                let tail = self
                    .command(&["logs", "--tail", "5", container])
                    .output()
                    .unwrap();
                String::from_utf8_lossy(&tail.stdout)
                    .contains(word)
                    .then_some(())
            },
        );
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        for container in &self.containers {
            let _ = self.command(&["rm", "-f", "-v", container]).output();
        }
        // By the label, which pins of checkpoints (tags of these images) and images without a name carry as well.
        for repository in &self.images {
            let label = format!("label=lastgood-test={repository}");
            let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
            let listed = self.run(&["images", "--filter", &label, "--format", format]);
            for (name, id) in listed.lines().filter_map(|line| line.split_once(' ')) {
                let image = if name.contains("<none>") { id } else { name };
                let _ = self.command(&["rmi", "-f", image]).output();
            }
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn bare_file_system() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for folder in ["usr", "etc", "proc", "dev", "tmp", "var", "run", "data"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o1777);
        header.set_size(0);
        archive
            .append_data(&mut header, format!("{folder}/"), std::io::empty())
            .unwrap();
    }
    let links = [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("var/run", "/run"),
    ];
    for (link, target) in links {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, link, target).unwrap();
    }
    archive.into_inner().unwrap()
}

fn root_file_system(script: &str) -> Vec<u8> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find_map(|path| fs::read(path).ok())
        .expect("busybox-static is installed");
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        archive.append_data(&mut header, path, content).unwrap();
    };
    add("bin/busybox", 0o755, &busybox);
    add("run.sh", 0o755, format!("{script}\n").as_bytes());
    for folder in ["tmp", "shared"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o1777);
        header.set_size(0);
        archive
            .append_data(&mut header, format!("{folder}/"), std::io::empty())
            .unwrap();
    }
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive
            .append_link(&mut header, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    archive.into_inner().unwrap()
}
