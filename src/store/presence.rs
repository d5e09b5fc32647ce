//! Who looks at which item of which runbook, so that two who work through one list do not do the same thing twice.
//!
//! Each console of a shared state folder has a file there, `presence/<uid>-<pid>.json`, and a lock on it for as long as it
//! lives: whoever was killed is gone with the lock, and nobody has to say every few seconds that they are still there.
//! Whoever may not write there looks on unseen.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::paths::{StateDir, StoreError};
use crate::domain::runbook::Presence;

/// Longer than a presence is: what is larger is something else.
const LARGEST: u64 = 4096;

/// The folder of the files.
pub fn folder(state: &StateDir) -> PathBuf {
    state.root.join("presence")
}

/// This console, as the others see it; they see it leave when this is dropped.
#[derive(Debug)]
pub struct Here {
    file: File,
    path: PathBuf,
}

impl Here {
    /// Comes in, seen as `presence` says.
    ///
    /// # Errors
    /// No permission, a full disk.
    pub fn enter(state: &StateDir, presence: &Presence) -> Result<Self, StoreError> {
        let folder = folder(state);
        state.make_dir(&folder)?;
        let name = own_name();
        // Under a name that nobody looks at until it is locked: unlocked, it would be taken for that of a dead one.
        let coming = folder.join(format!(".{name}"));
        // One that died had the same process id.
        let _ = fs::remove_file(&coming);
        let file = super::paths::create_new_with(&coming, state.file_mode())?;
        file.try_lock()
            .map_err(|error| StoreError::at("lock", &coming)(error.into()))?;
        let mut here = Self { file, path: coming };
        here.show(presence)?;
        let path = folder.join(name);
        fs::rename(&here.path, &path).map_err(StoreError::at("rename", &here.path))?;
        here.path = path;
        Ok(here)
    }

    /// Goes to another item.
    ///
    /// # Errors
    /// A full disk.
    pub fn show(&self, presence: &Presence) -> Result<(), StoreError> {
        let fail = || StoreError::at("write", &self.path);
        let text = serde_json::to_vec(presence).map_err(|e| fail()(e.into()))?;
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(&text, 0))
            .map_err(fail())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn own_name() -> String {
    let uid = rustix::process::geteuid().as_raw();
    format!("{uid}-{}.json", std::process::id())
}

/// The other consoles, in the order of their names. A file of a dead one is cleared away.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn others(state: &StateDir) -> Result<Vec<Presence>, StoreError> {
    let folder = folder(state);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", &folder)(error)),
    };
    let own = own_name();
    let is_other =
        |name: &OsStr| name != own.as_str() && !name.as_encoded_bytes().starts_with(b".");
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(is_other))
        .collect();
    paths.sort();
    let mut found: Vec<Presence> = paths.iter().filter_map(|path| look(path)).collect();
    found.sort_by(|a, b| a.user.as_str().cmp(b.user.as_str()));
    Ok(found)
}

/// What a file says, where its console lives. One that is being written says nothing yet; its writer tells of the end.
fn look(path: &Path) -> Option<Presence> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if file.try_lock_shared().is_ok() {
        let _ = fs::remove_file(path);
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length.min(LARGEST)).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::safe_text::SafeText;

    #[test]
    fn who_is_there_is_seen_and_who_died_is_gone() {
        // Another process is another console: this test runs itself once more.
        const CHILD: &str = "LASTGOOD_TEST_PRESENCE_DIR";
        let presence = |item| Presence {
            user: SafeText::from_text("anna"),
            run: "run-1".into(),
            item,
        };
        if let Some(root) = std::env::var_os(CHILD) {
            let state = StateDir::at(PathBuf::from(root));
            // Whoever looks while it comes in does not take it for dead.
            for _ in 0..500 {
                let here = Here::enter(&state, &presence(3)).unwrap();
                assert!(here.path.exists(), "taken for dead");
            }
            let here = Here::enter(&state, &presence(3)).unwrap();
            here.show(&presence(12)).unwrap();
            assert!(
                others(&state).unwrap().is_empty(),
                "nobody is their own other"
            );
            // Until it is killed.
            let mut line = String::new();
            let _ = io::stdin().read_line(&mut line);
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::presence::tests::who_is_there_is_seen_and_who_died_is_gone",
            ])
            .env(CHILD, dir.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begun = std::time::Instant::now();
        while others(&state).unwrap() != [presence(12)] {
            assert!(begun.elapsed().as_secs() < 20, "nobody came");
            std::thread::yield_now();
        }
        assert_eq!(fs::read_dir(folder(&state)).unwrap().count(), 1);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(others(&state).unwrap().is_empty());
        assert_eq!(fs::read_dir(folder(&state)).unwrap().count(), 0);
    }
}
