//! A second Docker daemon, which a test may kill without taking anything from the machine.

use super::{Docker, unique};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A Docker daemon of the test's own, with live-restore: containers outlive it, so killing it is a daemon that crashed.
/// Needs root.
pub(crate) struct PrivateDocker {
    folder: tempfile::TempDir,
    daemon: Option<Child>,
    /// Containers outlive the daemon. A daemon in a swarm has no such thing.
    is_live: bool,
}

impl PrivateDocker {
    pub(crate) fn start(name: &str) -> PrivateDocker {
        PrivateDocker::start_as(name, true)
    }

    /// A daemon that may become a node of a swarm.
    pub(crate) fn start_node(name: &str) -> PrivateDocker {
        PrivateDocker::start_as(name, false)
    }

    fn start_as(name: &str, is_live: bool) -> PrivateDocker {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", unique(name)))
            .tempdir()
            .unwrap();
        let mut private = PrivateDocker {
            folder,
            daemon: None,
            is_live,
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
        Docker::at(self.host())
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
            .args(["--bridge=none", "--iptables=false"])
            .args(self.is_live.then_some("--live-restore"))
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
        if !self.is_live {
            // Else it would start its tasks anew.
            let _ = docker.command(&["swarm", "leave", "--force"]).output();
        }
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
