//! The binary with nothing of the machine's user around it: own home, own state, own working folder.

use super::run::{Following, Run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A temporary home; gone when dropped.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Sandbox {
    pub(crate) fn new(name: &str) -> Sandbox {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{}-", super::unique(name)))
            .tempdir()
            .unwrap();
        for inner in [
            "home",
            "config/lastgood",
            "state",
            "runtime",
            "cache",
            "work",
            "tmp",
        ] {
            fs::create_dir_all(folder.path().join(inner)).unwrap();
        }
        Sandbox {
            folder,
            environment: Vec::new(),
        }
    }

    /// One more environment variable for every call.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Sandbox {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join(inner)
    }

    /// The state directory that every call uses.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The working folder of every call.
    pub(crate) fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// Writes a file below the working folder and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The binary with its arguments, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.work());
        self.surround(&mut command);
        command
    }

    /// Gives `command` the sandbox's environment, and only that.
    pub(crate) fn surround(&self, command: &mut Command) {
        command.env_clear();
        for (name, value) in self.variables() {
            command.env(name, value);
        }
    }

    /// Everything the binary sees of its environment. HOME is the sandbox's, so Docker's client is told where its
    /// plugins (Compose) really are.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let inner = |name: &str| self.path(name).to_str().unwrap().to_string();
        let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
        let docker_config =
            std::env::var("DOCKER_CONFIG").unwrap_or_else(|_| format!("{home}/.docker"));
        let mut variables = vec![
            ("PATH".into(), std::env::var("PATH").unwrap()),
            ("HOME".into(), inner("home")),
            ("DOCKER_CONFIG".into(), docker_config),
            ("XDG_CONFIG_HOME".into(), inner("config")),
            ("XDG_STATE_HOME".into(), inner("state")),
            ("XDG_RUNTIME_DIR".into(), inner("runtime")),
            ("XDG_CACHE_HOME".into(), inner("cache")),
            ("LASTGOOD_STATE_DIR".into(), inner("state")),
            ("TMPDIR".into(), inner("tmp")),
            ("LANG".into(), "C.UTF-8".into()),
            ("TERM".into(), "xterm-256color".into()),
            ("TZ".into(), "UTC".into()),
        ];
        if let Ok(host) = std::env::var("DOCKER_HOST") {
            variables.push(("DOCKER_HOST".into(), host));
        }
        variables.extend(self.environment.iter().cloned());
        variables
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// The outcomes in the audit log.
    pub(crate) fn outcomes(&self) -> Vec<Value> {
        let listed = self.json(0, "", &["audit", "list"]);
        let records = listed["records"].as_array().expect("a list of records");
        records
            .iter()
            .filter(|record| record["phase"] == "outcome")
            .map(|record| record["outcome"].clone())
            .collect()
    }

    /// Configures `exec/bot`, a service that runs as long as the file is there whose path this gives.
    pub(crate) fn bot(&self) -> PathBuf {
        let up = self.write("up", "");
        let status = format!(
            "[services.\"exec/bot\"]\nstatus = \"test -e {}\"\n",
            up.display()
        );
        self.write("lastgood.toml", status);
        up
    }

    /// Runs with `--format json`, expects `code`, and gives the document.
    pub(crate) fn json(&self, code: i32, schema: &str, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        self.run(&all).exits(code).json(schema)
    }

    /// Starts a call that goes on.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Following {
        Following::start(self.command(arguments))
    }

    /// Starts a call that goes on, as the first process of a machine that has another boot behind it and has run for so many
    /// seconds. Needs root.
    pub(crate) fn follow_on_boot(&self, boot: u32, up: u64, arguments: &[&str]) -> Following {
        let id = self.path(&format!("boot-{boot}"));
        fs::write(&id, format!("{boot:08}-0000-4000-8000-000000000000\n")).unwrap();
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        // Clocks that begin with the boot; not every kernel lets a process have its own.
        if Path::new("/proc/self/ns/time").exists() {
            let up = up.to_string();
            command.args(["--time", "--monotonic", &up, "--boottime", &up]);
        }
        command.args(["sh", "-c", script, "sh"]).arg(id);
        command.arg(binary()).args(arguments);
        command.current_dir(self.work());
        self.surround(&mut command);
        Following::start(command)
    }

    /// The newest audit file.
    pub(crate) fn audit_file(&self) -> PathBuf {
        let folder = self.state().join("audit");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "jsonl")
            })
            .collect();
        files.sort();
        files
            .pop()
            .unwrap_or_else(|| panic!("no audit file in {}", folder.display()))
    }
}

/// The binary under test: the release binary that `tests/run` names, else the one Cargo built beside the tests.
pub(crate) fn binary() -> &'static Path {
    use std::sync::OnceLock;
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let path = std::env::var_os("LASTGOOD_BIN").map_or_else(
            || PathBuf::from(env!("CARGO_BIN_EXE_lastgood")),
            PathBuf::from,
        );
        assert!(path.is_file(), "no binary at {}", path.display());
        path
    })
}
