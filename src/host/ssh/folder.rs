//! The private folder of a connection's sockets, and what earlier runs left of theirs.
//!
//! Its name holds our process id. Who is killed cannot clean up, so each start removes the folders whose process is
//! gone, after telling a master that still listens there to end; by itself it ends a minute after its last use.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const PREFIX: &str = "lastgood-ssh-";
/// A socket's path must stay under 100 bytes, with the name that ssh gives it while it makes it.
const LONGEST_BASE: usize = 24;

/// A new folder that only this user can enter.
///
/// # Errors
/// It cannot be made.
pub(super) fn make() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o700))
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(base())
}

fn base() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_dir() && path.as_os_str().len() <= LONGEST_BASE)
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Removes what runs that were killed left behind, and ends their masters.
pub(super) fn clean() {
    clean_in(&base());
}

fn clean_in(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    let us = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(owner) else {
            continue;
        };
        // Not through a link, and nothing of another user's.
        let is_ours = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == us);
        if is_ours && !is_alive(pid) {
            remove(&entry.path());
        }
    }
}

fn owner(name: &str) -> Option<i32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn is_alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else {
        return false;
    };
    if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    // Dead, and nobody has asked how it ended.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    !stat.is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}

fn remove(folder: &Path) {
    let masters = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|inner| inner.path().join("master"));
    for socket in masters {
        let is_socket = std::fs::symlink_metadata(&socket).is_ok_and(|m| m.file_type().is_socket());
        if is_socket {
            // Gone already is what is wanted. The name after it is not looked up: the socket decides.
            let _ = Command::new("ssh")
                .args(["-F", "none", "-O", "exit", "-S"])
                .arg(&socket)
                .arg("master")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_its_sockets_have_short_paths() {
        let folder = make().unwrap();
        let mode = std::fs::metadata(folder.path())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let made = ".ssh-connectionXXXXXX/master.0123456789abcdef";
        assert!(folder.path().join(made).as_os_str().len() < 108 - 8);
        let longest = format!("{}/{PREFIX}4194304-abcdef/{made}", "x".repeat(LONGEST_BASE));
        assert!(longest.len() < 108, "{}", longest.len());
    }

    #[test]
    fn only_what_dead_runs_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let at = |name: String| base.path().join(name);
        let (gone, ours, other) = (
            at(format!("{PREFIX}{dead}-aaaaaa")),
            at(format!("{PREFIX}{}-aaaaaa", std::process::id())),
            at("lastgood-other".to_owned()),
        );
        for folder in [&gone, &ours, &other] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(gone.join("left"), "").unwrap();
        std::os::unix::fs::symlink(&other, at(format!("{PREFIX}{dead}-bbbbbb"))).unwrap();
        clean_in(base.path());
        assert!(!gone.exists() && ours.exists() && other.exists());
    }
}
