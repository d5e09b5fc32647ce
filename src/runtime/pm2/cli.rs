//! The `pm2` command: it changes things, and lists them for a daemon whose socket answers in a way that we cannot read.
//!
//! The protocol is not documented and may change; what the command does is what PM2 promises. It is run for a
//! living daemon of our own user only: without one it would start one, and for another user it would leave files
//! behind that are not that user's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::daemon::Daemon;
use super::list::{self, Process};
use crate::host::{Command, Host};

/// A Node.js program that starts, asks and prints: under a second on an idle machine.
const LIMIT: Duration = Duration::from_secs(10);
/// Two environments an application and a few KiB more.
const MAX_OUTPUT: usize = 64 * 1024 * 1024;
/// Folders below the home of a user in which `pm2` may stand, `*` for one folder of any name.
const FOLDERS: &[&str] = &[
    ".nvm/versions/node/*/bin",
    ".volta/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    ".fnm/node-versions/*/installation/bin",
    ".npm-global/bin",
    ".local/bin",
];

/// The `pm2` command for one daemon, and the variables that it needs besides a clean environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `pm2` where that is found in the path, else where it stands.
    pub program: String,
    /// `PM2_HOME`, and `PATH` where the program's own node is not in ours.
    pub variables: BTreeMap<String, String>,
}

/// Why there is no [`Tool`].
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Its home cannot be looked at.
    #[error("cannot look at {}", home.display())]
    Home {
        /// The home.
        home: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Run by us it would leave files behind that are not that user's.
    #[error("the PM2 daemon of {} is another user's", home.display())]
    OtherUser {
        /// Its home.
        home: PathBuf,
    },
    /// No `pm2` was found.
    #[error("no `pm2` command was found")]
    NotFound,
}

impl Tool {
    /// Finds it for the daemon of a home.
    ///
    /// # Errors
    /// The daemon is another user's, or no `pm2` was found.
    pub(super) fn find(home: &Path) -> Result<Self, ToolError> {
        let meta = fs::metadata(home).map_err(|source| ToolError::Home {
            home: home.to_owned(),
            source,
        })?;
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(ToolError::OtherUser {
                home: home.to_owned(),
            });
        }
        let daemon = fs::read_to_string(home.join("pm2.pid"))
            .ok()
            .and_then(|pid| pid.trim().parse().ok());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = find(daemon, &path).ok_or(ToolError::NotFound)?;
        Ok(Self::at(&program, home, &path))
    }

    /// The tool that stands there, for commands whose path is `path`.
    pub(super) fn at(program: &Path, home: &Path, path: &OsStr) -> Self {
        let mut variables =
            BTreeMap::from([("PM2_HOME".to_owned(), home.to_string_lossy().into_owned())]);
        let folder = program.parent().unwrap_or(Path::new("/"));
        if std::env::split_paths(path).any(|known| known == folder) {
            return Self {
                program: "pm2".to_owned(),
                variables,
            };
        }
        // `pm2` begins with `#!/usr/bin/env node`: its own node stands beside it.
        let path = format!("{}:{}", path.to_string_lossy(), folder.display());
        variables.insert("PATH".to_owned(), path);
        Self {
            program: program.to_string_lossy().into_owned(),
            variables,
        }
    }

    /// A command in a clean environment.
    pub(super) fn command(&self, arguments: &[&str], limit: Duration) -> Command {
        let argv = std::iter::once(self.program.as_str()).chain(arguments.iter().copied());
        let mut command = Command::new(argv, limit).with_clean_env();
        for (name, value) in &self.variables {
            command = command.with_env(name, value);
        }
        command
    }
}

/// What `pm2 jlist` prints.
///
/// # Errors
/// The daemon is another user's, no `pm2` was found, or it did not print a list.
pub(super) async fn list(
    daemon: &Daemon,
) -> Result<Vec<Process>, Box<dyn std::error::Error + Send + Sync>> {
    let (host, tool) = match &daemon.there {
        None => (Host::Local, Tool::find(&daemon.home)?),
        Some(there) => {
            let tool = there.tool.clone().ok_or(ToolError::NotFound)?;
            (Host::Ssh(Arc::clone(&there.session)), tool)
        }
    };
    let command = Command {
        max_output: MAX_OUTPUT,
        ..tool.command(&["--silent", "jlist"], LIMIT)
    };
    let output = host.query(&command).await?;
    if !output.is_success() {
        return Err(format!("pm2 jlist: {}", output.describe()).into());
    }
    list::from_printed(&output.stdout).map_err(|error| format!("pm2 jlist: {error}").into())
}

/// The `pm2` command: of the path, beside the daemon's own node, or where version managers put it.
fn find(daemon: Option<u32>, path: &OsStr) -> Option<PathBuf> {
    let beside_node = daemon
        .and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok())
        .and_then(|node| node.parent().map(Path::to_owned));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    std::env::split_paths(path)
        .chain(beside_node)
        .chain(
            home.iter()
                .flat_map(|home| FOLDERS.iter().flat_map(|f| expand(home, f))),
        )
        .map(|folder| folder.join("pm2"))
        .find(|program| program.is_file())
}

/// The folders that a pattern means, the newest version last in name and first here.
fn expand(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![base.to_owned()];
    for part in pattern.split('/') {
        found = found
            .iter()
            .flat_map(|folder| match part {
                "*" => {
                    let mut inner: Vec<PathBuf> = fs::read_dir(folder)
                        .into_iter()
                        .flatten()
                        .filter_map(|entry| Some(entry.ok()?.path()))
                        .collect();
                    inner.sort();
                    inner.reverse();
                    inner
                }
                name => vec![folder.join(name)],
            })
            .collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_beside_the_path_brings_its_node() {
        let home = Path::new("/root/.pm2");
        let path = OsStr::new("/usr/bin:/bin");
        let known = Tool::at(Path::new("/usr/bin/pm2"), home, path);
        assert_eq!(known.program, "pm2");
        assert_eq!(known.variables.len(), 1);
        let nvm = Tool::at(Path::new("/home/a/.nvm/v20/bin/pm2"), home, path);
        assert_eq!(nvm.program, "/home/a/.nvm/v20/bin/pm2");
        assert_eq!(nvm.variables["PATH"], "/usr/bin:/bin:/home/a/.nvm/v20/bin");
    }

    #[test]
    fn a_star_stands_for_one_folder_the_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["v18.1.0", "v20.2.0"] {
            fs::create_dir_all(
                dir.path()
                    .join(".nvm/versions/node")
                    .join(version)
                    .join("bin"),
            )
            .unwrap();
        }
        let found = expand(dir.path(), FOLDERS[0]);
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("v20.2.0/bin"), "{found:?}");
        assert!(expand(dir.path(), ".fnm/node-versions/*/installation/bin").is_empty());
    }
}
