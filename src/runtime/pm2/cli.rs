//! The `pm2` command, for a daemon whose socket answers in a way that we cannot read.
//!
//! The protocol is not documented and may change; what `pm2 jlist` prints is what PM2 promises. It is run for a
//! living daemon of our own user only: without one it would start one, and for another user it would leave files
//! behind that are not that user's.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// What `pm2 jlist` prints.
///
/// # Errors
/// The daemon is another user's, no `pm2` was found, or it did not print a list.
pub(super) async fn list(
    daemon: &Daemon,
) -> Result<Vec<Process>, Box<dyn std::error::Error + Send + Sync>> {
    let owner = fs::metadata(&daemon.home)?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err("`pm2 jlist` is not tried for another user's daemon".into());
    }
    let Some(program) = find(daemon.pid) else {
        return Err("no `pm2` command was found to ask instead".into());
    };
    // `pm2` begins with `#!/usr/bin/env node`: its own node stands beside it.
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = program.parent() {
        path.push(":");
        path.push(folder);
    }
    let command = Command::new(
        [program.to_string_lossy().as_ref(), "--silent", "jlist"],
        LIMIT,
    )
    .with_clean_env()
    .with_env("PATH", path.to_string_lossy())
    .with_env("PM2_HOME", daemon.home.to_string_lossy());
    let command = Command {
        max_output: MAX_OUTPUT,
        ..command
    };
    let output = Host::Local.query(&command).await?;
    if !output.is_success() {
        return Err(format!("pm2 jlist: {}", output.describe()).into());
    }
    list::from_printed(&output.stdout).map_err(|error| format!("pm2 jlist: {error}").into())
}

/// The `pm2` command: of the path, beside the daemon's own node, or where version managers put it.
fn find(daemon: Option<u32>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside_node = daemon
        .and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok())
        .and_then(|node| node.parent().map(Path::to_owned));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    std::env::split_paths(&path)
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
