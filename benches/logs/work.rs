//! What a run owns: a folder, and a name for its containers. Both are gone at the end, whatever ends the run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Fallible;

/// Begins the names of folders, containers and images; the process id of the run follows.
const PREFIX: &str = "lastgood-bench-";
/// Its value is the process id of the run.
pub(crate) const LABEL: &str = "lastgood-bench";

/// The file that marks a folder as one to be kept.
const KEPT: &str = "kept";

/// A run's folder and the surroundings of every program that is measured.
pub(crate) struct Work {
    folder: PathBuf,
    binary: PathBuf,
    is_kept: bool,
    /// Nothing is removed twice.
    is_over: AtomicBool,
}

impl Work {
    pub(crate) fn new(is_kept: bool) -> Fallible<Work> {
        remove_leftovers();
        let binary = std::env::var_os("LASTGOOD_BIN").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_lastgood")),
            PathBuf::from,
        );
        if !binary.is_file() {
            return Err(format!("no binary at {}", binary.display()).into());
        }
        let folder = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        for inner in ["home", "config/lastgood", "state", "runtime", "cache"] {
            fs::create_dir_all(folder.join(inner))?;
        }
        Ok(Work {
            folder,
            binary,
            is_kept,
            is_over: AtomicBool::new(false),
        })
    }

    pub(crate) fn path(&self, inner: &str) -> PathBuf {
        self.folder.join(inner)
    }

    /// The name of a container or image of this run.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{PREFIX}{}-{what}", std::process::id())
    }

    /// The binary under test, with nothing of the machine's user around it.
    pub(crate) fn lastgood(&self, arguments: &[&str]) -> Command {
        self.command(&self.binary, arguments)
    }

    /// Any program in the same surroundings.
    pub(crate) fn command(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        let inner = |name: &str| self.path(name).into_os_string();
        let outer = |name: &str| std::env::var_os(name);
        let mut command = Command::new(program.as_ref());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", outer("PATH").unwrap_or_default())
            .env("HOME", inner("home"))
            .env("XDG_CONFIG_HOME", inner("config"))
            .env("XDG_STATE_HOME", inner("state"))
            .env("XDG_RUNTIME_DIR", inner("runtime"))
            .env("XDG_CACHE_HOME", inner("cache"))
            .env("LASTGOOD_STATE_DIR", inner("state"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .env("TZ", "UTC");
        for name in ["DOCKER_HOST", "DOCKER_CONFIG"] {
            if let Some(value) = outer(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Removes the containers, the images and the folder.
    pub(crate) fn clean_up(&self) {
        if self.is_over.swap(true, Ordering::SeqCst) {
            return;
        }
        remove_from_docker(&std::process::id().to_string());
        if self.is_kept {
            let _ = fs::write(self.path(KEPT), "");
            eprintln!("kept: {}", self.folder.display());
        } else {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.clean_up();
    }
}

fn docker(arguments: &[&str]) -> String {
    Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

fn remove_from_docker(run: &str) {
    let filter = format!("label={LABEL}={run}");
    let containers = docker(&["ps", "-aq", "--filter", &filter]);
    for container in containers.split_whitespace() {
        docker(&["rm", "-f", "-v", container]);
    }
    let images = docker(&["images", "-q", "--filter", &filter]);
    for image in images.split_whitespace() {
        docker(&["rmi", "-f", image]);
    }
}

/// What a run that was killed has left behind: its process is gone, its containers are not.
fn remove_leftovers() {
    let is_dead = |run: &str| {
        !run.is_empty()
            && run.bytes().all(|b| b.is_ascii_digit())
            && !Path::new("/proc").join(run).exists()
    };
    let format = format!("{{{{.Label \"{LABEL}\"}}}}");
    let filter = format!("label={LABEL}");
    let listed = docker(&["ps", "-a", "--filter", &filter, "--format", &format]);
    for run in listed.lines().filter(|run| is_dead(run)) {
        remove_from_docker(run);
    }
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        // A folder that was kept for its log holds no image any more, and stays.
        if let Some(run) = run.filter(|run| is_dead(run) && !entry.path().join(KEPT).exists()) {
            remove_from_docker(run);
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
