//! A small file system of memory, which a test may fill.

use std::path::PathBuf;
use std::process::Command;

/// Mounted by root, taken away again when this is dropped.
pub(crate) struct Tmpfs(pub(crate) PathBuf);

impl Tmpfs {
    /// `options` as mount takes them: `size=1m,nr_inodes=100`.
    pub(crate) fn mount(at: PathBuf, options: &str) -> Tmpfs {
        std::fs::create_dir_all(&at).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&at)
            .status();
        assert!(status.unwrap().success(), "mount {}", at.display());
        Tmpfs(at)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
