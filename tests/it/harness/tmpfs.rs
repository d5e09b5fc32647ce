//! A small file system of memory, which a test may fill.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static MOUNTED: RwLock<()> = RwLock::new(());

/// Mounted by root, taken away again when this is dropped.
pub(crate) struct Tmpfs(
    pub(crate) PathBuf,
    #[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>,
);

/// While this is held no other test fills a disk of this machine.
pub(crate) fn no_full_disk() -> RwLockWriteGuard<'static, ()> {
    MOUNTED.write().unwrap_or_else(PoisonError::into_inner)
}

impl Tmpfs {
    /// `options` as mount takes them: `size=1m,nr_inodes=100`.
    pub(crate) fn mount(at: PathBuf, options: &str) -> Tmpfs {
        let held = MOUNTED.read().unwrap_or_else(PoisonError::into_inner);
        std::fs::create_dir_all(&at).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&at)
            .status();
        assert!(status.unwrap().success(), "mount {}", at.display());
        Tmpfs(at, held)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
