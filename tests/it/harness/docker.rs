//! Docker's own client against the machine's daemon, or against a private one that a test may kill.

use super::{unique, wait_for};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
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
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&root_file_system(script))
            .unwrap();
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

/// A Docker daemon of the test's own, with live-restore: containers outlive it, so killing it is a daemon that crashed.
/// Needs root.
pub(crate) struct PrivateDocker {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
}

impl PrivateDocker {
    pub(crate) fn start(name: &str) -> PrivateDocker {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", unique(name)))
            .tempdir()
            .unwrap();
        let mut private = PrivateDocker {
            folder,
            daemon: None,
        };
        private.revive();
        private
    }

    fn inner(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `unix:///…`, for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.inner("docker.sock").display())
    }

    /// A client of this daemon.
    pub(crate) fn docker(&self) -> Docker {
        Docker {
            host: Some(self.host()),
            images: Vec::new(),
            containers: Vec::new(),
        }
    }

    /// The daemon dies without a word; its containers live on.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
        // Its containerd dies with it. Where process 1 reaps nobody it stays a zombie, which the next daemon would take
        // for alive, and wait for; the pid files have to go.
        let containerd = self.inner("exec/containerd/containerd.pid");
        if let Some(process) = fs::read_to_string(&containerd)
            .ok()
            .and_then(|text| text.trim().parse().ok())
        {
            kill_process(process);
        }
        let _ = fs::remove_file(containerd);
        let _ = fs::remove_file(self.inner("dockerd.pid"));
    }

    /// Starts the daemon (again) and waits until it answers.
    pub(crate) fn revive(&mut self) {
        self.spawn();
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while !self.answers() {
            let log = fs::read_to_string(self.inner("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            assert!(
                std::time::Instant::now() < end,
                "the private dockerd does not answer: {tail:#?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        !self
            .docker()
            .run(&["info", "--format", "{{.ServerVersion}}"])
            .is_empty()
    }

    fn spawn(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.inner("log"))
            .unwrap();
        let daemon = Command::new("dockerd")
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()),
            )
            .args(["--host", &self.host()])
            .arg("--data-root")
            .arg(self.inner("data"))
            .arg("--exec-root")
            .arg(self.inner("exec"))
            .arg("--pidfile")
            .arg(self.inner("dockerd.pid"))
            // Without these it would take docker0 and the firewall rules from the machine's daemon.
            .args(["--bridge=none", "--iptables=false", "--live-restore"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        if self.daemon.is_none() {
            // Its containers can only be ended through it. No assertion here: a second panic would abort the run.
            self.spawn();
            for _ in 0..100 {
                if self.answers() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        let docker = self.docker();
        let all = docker.run(&["ps", "-aq"]);
        if !all.is_empty() {
            let mut arguments = vec!["rm", "-f", "-v"];
            arguments.extend(all.lines());
            let _ = docker.command(&arguments).output();
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(&daemon),
                rustix::process::Signal::TERM,
            );
            for _ in 0..100 {
                if daemon.try_wait().is_ok_and(|status| status.is_some()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // Nothing may live on below a folder that goes: shims and what runs under them, where the daemon failed.
        let folder = self.folder.path().to_str().unwrap().to_string();
        for process in processes_naming(&folder) {
            let children = format!("/proc/{process}/task/{process}/children");
            let children = fs::read_to_string(children).unwrap_or_default();
            for child in children.split_whitespace().flat_map(str::parse) {
                kill_process(child);
            }
            kill_process(process);
        }
        // Layers and namespaces may still be mounted, and then the folder could not be removed.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut below: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| at.starts_with(self.folder.path().to_str().unwrap()))
            .collect();
        below.sort_unstable();
        for at in below.into_iter().rev() {
            let _ = Command::new("umount").args(["-l", at]).output();
        }
    }
}

fn kill_process(process: i32) {
    if let Some(process) = rustix::process::Pid::from_raw(process) {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

/// Processes whose command line names `folder`.
fn processes_naming(folder: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(folder)
    })
    .collect()
}

#[test]
fn a_container_outlives_its_private_daemon() {
    if super::missing(&["docker", "busybox", "root", "dockerd"]) {
        return;
    }
    let mut private = PrivateDocker::start("private");
    let mut docker = private.docker();
    let image = format!("{}:1", unique("private"));
    docker.image(&image, "echo up; sleep 600");
    let container = docker.start("private", &image, &[]);
    let process = docker.must(&["inspect", "-f", "{{.State.Pid}}", &container]);
    private.kill();
    assert!(!private.answers());
    assert!(PathBuf::from(format!("/proc/{process}")).exists());
    private.revive();
    assert_eq!(
        docker.must(&["inspect", "-f", "{{.State.Pid}}", &container]),
        process
    );
}
