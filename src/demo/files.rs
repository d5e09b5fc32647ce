//! The shop's folder: what stands where, and the two releases.
//!
//! ```text
//! lastgood-demo-x7Kq2f/
//!   lastgood.toml            the shop's configuration, for other terminals too
//!   shop                     the script that every configured command calls
//!   ports                    the loopback ports, one line each
//!   owner                    the process whose end ends the shop
//!   current -> releases/1.4  what the api runs
//!   releases/1.4|1.5/        release.toml (how it behaves), api.env (its template)
//!   config/api.env  config/gateway.conf
//!   logs/  queue/  run/      log files, the worker's jobs, pid files
//!   state/                   lastgood's own state folder
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Member;

/// The release that is good.
pub const GOOD: &str = "1.4";
/// The release that is not.
pub const BAD: &str = "1.5";

const RELEASES: [(&str, &str, &str); 2] = [
    (
        GOOD,
        "# How this release of the api behaves.
median_ms = 80
slow_share = 0.0
slow_ms = [0, 0]
errors = false
",
        "# Settings of the api; a deploy replaces this file with the one of its release.
POOL_SIZE=20
PRICING=v1
",
    ),
    (
        BAD,
        "# How this release of the api behaves.
median_ms = 320
slow_share = 0.30
slow_ms = [2100, 2900]
errors = true
",
        "# Settings of the api; a deploy replaces this file with the one of its release.
POOL_SIZE=100
PRICING=v2
",
    ),
];

/// The shop's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at a path, whether it is filled or not.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The script behind every configured command; `shop deploy 1.5` deploys.
    pub fn script(&self) -> PathBuf {
        self.root.join("shop")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.root.join("lastgood.toml")
    }

    /// Where lastgood keeps the demo's checkpoints and its audit log.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The api's environment file.
    pub fn api_env(&self) -> PathBuf {
        self.root.join("config/api.env")
    }

    /// The gateway's configuration.
    pub fn gateway_conf(&self) -> PathBuf {
        self.root.join("config/gateway.conf")
    }

    /// The log file of a process.
    pub fn log(&self, member: Member) -> PathBuf {
        self.root.join(format!("logs/{}.log", member.as_str()))
    }

    /// What a process printed besides its log, such as why it could not start.
    pub(super) fn output(&self, member: Member) -> PathBuf {
        self.root.join(format!("run/{}.out", member.as_str()))
    }

    pub(super) fn pid_file(&self, member: Member) -> PathBuf {
        self.root.join(format!("run/{}.pid", member.as_str()))
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("run/lock")
    }

    pub(super) fn owner(&self) -> PathBuf {
        self.root.join("owner")
    }

    /// There while the folder shall stay after the end.
    pub(super) fn keep_mark(&self) -> PathBuf {
        self.root.join("keep")
    }

    pub(super) fn queue(&self) -> PathBuf {
        self.root.join("queue")
    }

    pub(super) fn release_file(&self) -> PathBuf {
        self.root.join("current/release.toml")
    }

    /// The release that `current` names.
    pub(super) fn current(&self) -> io::Result<String> {
        let target = fs::read_link(self.root.join("current"))?;
        Ok(target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned())
    }

    /// Points `current` at another release, in one step.
    pub(super) fn relink(&self, release: &str) -> io::Result<()> {
        let known = RELEASES.iter().any(|(name, ..)| *name == release);
        if !known {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no release {release:?}; there are {GOOD} and {BAD}"),
            ));
        }
        let new = self.root.join("run/current.new");
        let _ = fs::remove_file(&new);
        symlink(Path::new("releases").join(release), &new)?;
        fs::rename(&new, self.root.join("current"))
    }

    /// Puts the release's environment file in place, as a deploy does.
    pub(super) fn install_env(&self, release: &str) -> io::Result<()> {
        let template = self.root.join("releases").join(release).join("api.env");
        fs::copy(template, self.api_env()).map(drop)
    }

    /// A port of a process, as the folder says.
    pub(super) fn port(&self, member: Member) -> io::Result<u16> {
        let text = fs::read_to_string(self.root.join("ports"))?;
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == member.as_str())
            .and_then(|(_, port)| port.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no port for {}", member.as_str())))
    }

    /// Writes everything but the running processes. `program` is the binary that the script calls.
    ///
    /// # Errors
    /// The disk is full, or the folder cannot be written.
    pub(super) fn fill(&self, program: &Path, ports: &[(Member, u16)]) -> io::Result<()> {
        for folder in ["releases", "config", "logs", "queue", "run", "state"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        fs::set_permissions(self.state(), fs::Permissions::from_mode(0o700))?;
        for (name, behaviour, env) in RELEASES {
            let folder = self.root.join("releases").join(name);
            fs::create_dir_all(&folder)?;
            fs::write(folder.join("release.toml"), behaviour)?;
            fs::write(folder.join("api.env"), env)?;
        }
        self.relink(GOOD)?;
        self.install_env(GOOD)?;
        let lines: String = ports
            .iter()
            .map(|(member, port)| format!("{}={port}\n", member.as_str()))
            .collect();
        fs::write(self.root.join("ports"), lines)?;
        let api = self.port(Member::Api)?;
        fs::write(
            self.gateway_conf(),
            format!(
                "# Where the gateway sends requests, and how long it waits.\nupstream = 127.0.0.1:{api}\ntimeout_s = 10\n"
            ),
        )?;
        fs::write(self.config(), super::config_file::text(self, ports))?;
        // The loader trusts no file that others can write, whatever the umask.
        fs::set_permissions(self.config(), fs::Permissions::from_mode(0o600))?;
        let script = format!(
            "#!/bin/sh\n# status|start|stop|restart|release|roll-back SERVICE, or: deploy RELEASE\nexec {} {} ctl --dir {} \"$@\"\n",
            quote(program),
            super::process::SUBCOMMAND,
            quote(&self.root)
        );
        fs::write(self.script(), script)?;
        fs::set_permissions(self.script(), fs::Permissions::from_mode(0o700))
    }
}

/// A path as one word of a shell.
pub(super) fn quote(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::Builder::new()
            .prefix("lastgood-test-shop-")
            .tempdir()
            .unwrap();
        let folder = Folder::new(dir.path());
        let ports = [
            (Member::Api, 1001),
            (Member::Worker, 1002),
            (Member::Gateway, 1003),
        ];
        folder.fill(Path::new("/opt/last good"), &ports).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_deploy_is_a_link_and_an_environment_file() {
        let (_dir, folder) = filled();
        assert_eq!(folder.current().unwrap(), GOOD);
        let before = fs::read_to_string(folder.api_env()).unwrap();
        folder.relink(BAD).unwrap();
        folder.install_env(BAD).unwrap();
        assert_eq!(folder.current().unwrap(), BAD);
        let after = fs::read_to_string(folder.api_env()).unwrap();
        assert!(before.contains("POOL_SIZE=20\n") && after.contains("POOL_SIZE=100\n"));
        assert!(
            fs::read_to_string(folder.release_file())
                .unwrap()
                .contains("errors = true")
        );
    }

    #[test]
    fn an_unknown_release_changes_nothing() {
        let (_dir, folder) = filled();
        let error = folder.relink("../../etc").unwrap_err();
        assert!(
            error.to_string().contains("there are 1.4 and 1.5"),
            "{error}"
        );
        assert_eq!(folder.current().unwrap(), GOOD);
    }

    #[test]
    fn every_process_has_its_port_and_the_script_survives_a_space() {
        let (_dir, folder) = filled();
        assert_eq!(folder.port(Member::Gateway).unwrap(), 1003);
        assert!(folder.port(Member::Load).is_err());
        let script = fs::read_to_string(folder.script()).unwrap();
        assert!(
            script.contains("exec '/opt/last good' demo-process ctl"),
            "{script}"
        );
    }
}
