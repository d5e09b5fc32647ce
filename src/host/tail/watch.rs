//! Being told by the kernel when log files change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Watches on the folders of files; ended when dropped. The folder is watched and not the file, so that one that is
/// renamed away or not there yet is noticed too.
pub(super) struct Watch {
    _watcher: Option<notify::RecommendedWatcher>,
    /// Whether every folder is watched.
    pub(super) is_complete: bool,
}

impl Watch {
    /// Watches the folders of the files, and every file in `whole`.
    pub(super) fn start<'a>(
        paths: impl Iterator<Item = &'a Path>,
        whole: &BTreeSet<PathBuf>,
        changed: &Arc<Notify>,
    ) -> Self {
        let mut names = BTreeSet::new();
        let mut folders = whole.clone();
        for path in paths {
            names.extend(path.file_name().map(ToOwned::to_owned));
            folders.extend(path.parent().map(|folder| {
                // `app.log` stands in the working folder.
                match folder.as_os_str().is_empty() {
                    true => PathBuf::from("."),
                    false => folder.to_owned(),
                }
            }));
        }
        let tell = Arc::clone(changed);
        let is_any = !whole.is_empty();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let concerns = match &event {
                // Reading a file is an event as well, and our own reads would wake us for ever.
                Ok(event) if event.kind.is_access() => false,
                Ok(event) => {
                    is_any
                        || event
                            .paths
                            .iter()
                            .any(|p| p.file_name().is_some_and(|n| names.contains(n)))
                }
                Err(_) => true,
            };
            if concerns {
                tell.notify_one();
            }
        });
        let Ok(mut watcher) = watcher else {
            return Self {
                _watcher: None,
                is_complete: false,
            };
        };
        let mut is_complete = true;
        for folder in &folders {
            is_complete &= watcher.watch(folder, RecursiveMode::NonRecursive).is_ok();
        }
        Self {
            _watcher: Some(watcher),
            is_complete,
        }
    }
}
