//! Being told by the kernel when the journals in some folders grow.

use std::path::PathBuf;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};

/// Watches folders; ended when dropped.
#[derive(Debug)]
pub struct Watch {
    folders: Vec<PathBuf>,
    /// `None` where the kernel refuses.
    watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Calls `tell` after every change of a file in one of the folders, and of the folders themselves. Folders that are
    /// not there are left out.
    pub fn start(folders: &[PathBuf], tell: impl Fn() + Send + 'static) -> Self {
        let folders: Vec<PathBuf> = folders.iter().filter(|f| f.is_dir()).cloned().collect();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event as well, and our own reads would wake us for ever. That a file is closed which was
            // open for writing is how somebody leaves who was killed.
            let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
            if event.map_or(true, |event| {
                event.kind == closed || !event.kind.is_access()
            }) {
                tell();
            }
        });
        let watcher = watcher.ok().and_then(|mut watcher| {
            let mut watched = folders.iter();
            watched
                .all(|folder| watcher.watch(folder, RecursiveMode::NonRecursive).is_ok())
                .then_some(watcher)
        });
        Self { folders, watcher }
    }

    /// Whether the kernel tells of every change; else somebody has to look from time to time.
    pub fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Whether exactly those of the folders that are there are watched.
    pub fn covers(&self, folders: &[PathBuf]) -> bool {
        let there = folders.iter().filter(|f| f.is_dir());
        there.eq(self.folders.iter())
    }
}
