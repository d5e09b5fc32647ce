//! Plans that wait for the yes of a second person, and those yeses.
//!
//! A plan waits in a file of whoever made it; the yes is another file beside it. Who said yes is the owner of that file,
//! as the system knows it: what stands in a file can be written by anybody who shares the folder.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
use crate::domain::operation::Plan;
use crate::domain::outcome::Actor;

/// How long a plan waits, and how long a yes holds.
pub const VALID_FOR: Duration = Duration::from_secs(600);

/// A plan that waits for a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The plan.
    pub plan: Plan,
    /// Who made it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

fn folder(state: &StateDir) -> PathBuf {
    state.root.join("approvals")
}

fn path(state: &StateDir, hash: &str, ending: &str) -> PathBuf {
    // A hash is hexadecimal: nothing else becomes a path.
    let clean: String = hash.chars().filter(char::is_ascii_hexdigit).collect();
    folder(state).join(format!("{clean}.{ending}"))
}

/// Lets a plan wait.
///
/// # Errors
/// The state folder cannot be written.
pub fn wait(state: &StateDir, waiting: &Waiting) -> Result<(), StoreError> {
    let path = path(state, &waiting.plan.hash, "plan");
    let text = serde_json::to_vec(waiting).map_err(|e| StoreError::at("write", &path)(e.into()))?;
    state.write_atomic(&path, &text)
}

/// The plans that wait and are not too old. One whose content no longer agrees with its hash, or whose file is another
/// user's than it says, is none.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn waiting(state: &StateDir, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
    let dir = folder(state);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", &dir)(error)),
    };
    let mut found: Vec<Waiting> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "plan"))
        .filter_map(|path| {
            let waiting: Waiting = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            let owner = fs::metadata(&path).ok()?.uid();
            let is_sound = waiting.plan.is_sealed() && owner == waiting.by.uid;
            (is_sound && is_young(waiting.at, now)).then_some(waiting)
        })
        .collect();
    found.sort_by_key(|waiting| waiting.at);
    Ok(found)
}

fn is_young(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|age| age <= VALID_FOR)
}

/// Says yes to a plan, as the user of this process.
///
/// # Errors
/// The state folder cannot be written.
pub fn approve(state: &StateDir, hash: &str) -> Result<(), StoreError> {
    let path = path(state, hash, "yes");
    // An old one may be another user's: the owner has to be this one.
    let _ = fs::remove_file(&path);
    state.write_atomic(&path, b"")
}

/// The user id of whoever said yes to a plan, if that was not too long ago.
pub fn approved_by(state: &StateDir, hash: &str, now: Timestamp) -> Option<u32> {
    let meta = fs::metadata(path(state, hash, "yes")).ok()?;
    let at = Timestamp::try_from(meta.modified().ok()?).ok()?;
    is_young(at, now).then(|| meta.uid())
}

/// Forgets a plan and its yes: it holds once.
pub fn forget(state: &StateDir, hash: &str) {
    for ending in ["plan", "yes"] {
        let _ = fs::remove_file(path(state, hash, ending));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_plan_waits_ten_minutes_for_a_yes_that_holds_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let now = Timestamp::now();
        assert!(waiting(&state, now).unwrap().is_empty());
        let own = rustix::process::getuid().as_raw();
        let one = Waiting {
            plan: crate::domain::operation::tests::plan(),
            by: Actor {
                user: "anna".into(),
                uid: own,
                via: "cli".into(),
                from: None,
            },
            at: now,
        };
        wait(&state, &one).unwrap();
        assert_eq!(waiting(&state, now).unwrap(), std::slice::from_ref(&one));
        let later = now + Duration::from_secs(601);
        assert!(waiting(&state, later).unwrap().is_empty());
        let hash = &one.plan.hash;
        assert_eq!(approved_by(&state, hash, now), None);
        approve(&state, hash).unwrap();
        let soon = Timestamp::now() + Duration::from_secs(1);
        assert_eq!(approved_by(&state, hash, soon), Some(own));
        assert_eq!(
            approved_by(&state, hash, later + Duration::from_secs(60)),
            None
        );
        forget(&state, hash);
        assert_eq!(approved_by(&state, hash, soon), None);
        assert!(waiting(&state, now).unwrap().is_empty());
        // Made by somebody else in anna's name.
        let forged = Waiting {
            by: Actor {
                uid: own + 1,
                ..one.by.clone()
            },
            ..one
        };
        wait(&state, &forged).unwrap();
        assert!(waiting(&state, now).unwrap().is_empty());
    }
}
