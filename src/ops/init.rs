//! Makes the state folder: private to one user, or shared by the engineers of a box. Done twice it does nothing.
//!
//! What lies in a shared folder can be written by everyone of its group, which is what pairing needs; nobody else can
//! even look, since checkpoints hold configuration files with their secrets.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{ErrorKind, OpsError, Options};
use crate::host::{Command, Host};
use crate::store::StoreError;
use crate::store::paths::StateDir;

const LIMIT: Duration = Duration::from_secs(5);
const SHARED: (u32, u32) = (0o2770, 0o660);
const PRIVATE: (u32, u32) = (0o700, 0o600);

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// The state folder.
    pub path: PathBuf,
    /// The group that shares it; `None` for a private one.
    pub group: Option<String>,
    /// Its permission bits, in octal digits.
    pub mode: String,
    /// What was changed, in words; empty where it was all there.
    pub done: Vec<String>,
}

/// Makes the state folder, or says with `dry_run` what would be done. With a group it is shared, in `/var/lib/lastgood`
/// unless another folder is named; what is in it already is given to the group.
///
/// # Errors
/// No such group, no right to make it (both with the command that helps), a file in the way.
pub async fn init(options: &Options, group: Option<&str>, dry_run: bool) -> Result<Made, OpsError> {
    if options.read_only && !dry_run {
        return Err(OpsError::new(
            ErrorKind::Refused,
            "init is refused: this session is read-only",
        )
        .fix("start lastgood without --read-only"));
    }
    let Some(group) = group else {
        let state = StateDir::find(options.state_dir.as_deref())?;
        // A folder that others share already is not made private behind their backs.
        if state.is_shared {
            let mode = format!("{:04o}", mode(&state.root)?);
            return Ok(Made {
                path: state.root,
                group: None,
                mode,
                done: Vec::new(),
            });
        }
        return make(&state.root, None, PRIVATE, dry_run);
    };
    let gid = group_id(group).await?;
    let root = match &options.state_dir {
        Some(given) => StateDir::find(Some(given))?.root,
        None => StateDir::shared_root().to_owned(),
    };
    make(&root, Some((group, gid)), SHARED, dry_run)
}

async fn group_id(group: &str) -> Result<u32, OpsError> {
    let found = Host::Local
        .query(&Command::new(["getent", "group", "--", group], LIMIT))
        .await;
    let found = found.map_err(|error| {
        OpsError::new(ErrorKind::Failed, "cannot look for the group").because(error)
    })?;
    let text = found.stdout_text();
    let id = text.trim().split(':').nth(2).and_then(|id| id.parse().ok());
    id.filter(|_| found.is_success()).ok_or_else(|| {
        OpsError::new(
            ErrorKind::Usage,
            format!("there is no group {group:?} on this machine"),
        )
        .fix(format!(
            "sudo groupadd {group} && sudo usermod -aG {group} USER"
        ))
    })
}

fn make(
    root: &Path,
    group: Option<(&str, u32)>,
    modes: (u32, u32),
    dry_run: bool,
) -> Result<Made, OpsError> {
    let mut work = Work {
        group: group.map(|(_, gid)| gid),
        modes,
        dry_run,
        done: Vec::new(),
    };
    let described = work.root(root, group.map(|(name, _)| name));
    described.map_err(|error| {
        let again = match group {
            Some((name, _)) => format!("sudo lastgood init --shared {name}"),
            None => "give --state-dir DIR, a folder that is yours".to_owned(),
        };
        OpsError::from(error).fix(again)
    })?;
    Ok(Made {
        path: root.to_owned(),
        group: group.map(|(name, _)| name.to_owned()),
        mode: format!("{:04o}", modes.0),
        done: work.done,
    })
}

struct Work {
    group: Option<u32>,
    modes: (u32, u32),
    dry_run: bool,
    done: Vec<String>,
}

impl Work {
    fn root(&mut self, root: &Path, group: Option<&str>) -> Result<(), StoreError> {
        if root.exists() {
            let before = self.done.len();
            self.own(root)?;
            if self.done.len() > before
                && let Some(group) = group
            {
                self.done
                    .push(format!("what lies in it belongs to the group {group} now"));
            }
            return Ok(());
        }
        self.done.push(format!(
            "made {} (mode {:04o})",
            root.display(),
            self.modes.0
        ));
        if self.dry_run {
            return Ok(());
        }
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(StoreError::at("make the folder", parent))?;
        }
        // Closed until it has its group: nobody looks in between.
        fs::DirBuilder::new()
            .create(root)
            .map_err(StoreError::at("make the folder", root))?;
        self.set(root, 0o700)?;
        self.give(root)?;
        self.set(root, self.modes.0)
    }

    /// Sets group and mode of a folder and of everything in it, where they differ. Links are left alone: what they lead to
    /// is not ours.
    fn own(&mut self, path: &Path) -> Result<(), StoreError> {
        let meta = fs::symlink_metadata(path).map_err(StoreError::at("look at", path))?;
        if meta.is_symlink() {
            return Ok(());
        }
        let wanted = if meta.is_dir() {
            self.modes.0
        } else {
            self.modes.1
        };
        self.fit(path, &meta, wanted)?;
        if !meta.is_dir() {
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(StoreError::at("read the folder", path))?;
        for entry in entries {
            self.own(
                &entry
                    .map_err(StoreError::at("read the folder", path))?
                    .path(),
            )?;
        }
        Ok(())
    }

    fn fit(&mut self, path: &Path, meta: &Metadata, wanted: u32) -> Result<(), StoreError> {
        let is_other_group = self.group.is_some_and(|gid| gid != meta.gid());
        let has = meta.mode() & 0o7777;
        if !is_other_group && has == wanted {
            return Ok(());
        }
        self.done.push(format!(
            "{}: mode {wanted:04o}, {has:04o} before",
            path.display()
        ));
        if self.dry_run {
            return Ok(());
        }
        // The group first: changing it takes the set-group-id bit away.
        self.give(path)?;
        self.set(path, wanted)
    }

    fn give(&self, path: &Path) -> Result<(), StoreError> {
        match self.group {
            Some(gid) => {
                lchown(path, None, Some(gid)).map_err(StoreError::at("give to the group", path))
            }
            None => Ok(()),
        }
    }

    fn set(&self, path: &Path, mode: u32) -> Result<(), StoreError> {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(StoreError::at("set the permissions of", path))
    }
}

fn mode(path: &Path) -> Result<u32, StoreError> {
    let meta = fs::metadata(path).map_err(StoreError::at("look at", path))?;
    Ok(meta.mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(root: &Path) -> Options {
        Options {
            state_dir: Some(root.to_owned()),
            ..Options::default()
        }
    }

    /// A group of this process: what a user may give away without being root.
    async fn own_group() -> String {
        let output = Host::Local
            .query(&Command::new(["id", "-gn"], LIMIT))
            .await
            .unwrap();
        output.stdout_text().trim().to_owned()
    }

    #[tokio::test]
    async fn a_private_folder_is_made_once_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/state");
        let made = init(&options(&root), None, false).await.unwrap();
        assert_eq!((made.mode.as_str(), mode(&root).unwrap()), ("0700", 0o700));
        assert_eq!(made.done.len(), 1);
        let again = init(&options(&root), None, false).await.unwrap();
        assert!(again.done.is_empty(), "{again:?}");
        fs::write(root.join("file"), "").unwrap();
        fs::set_permissions(root.join("file"), Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        let foreseen = init(&options(&root), None, true).await.unwrap();
        assert_eq!(mode(&root).unwrap(), 0o755, "a dry run changes nothing");
        let closed = init(&options(&root), None, false).await.unwrap();
        assert_eq!(closed.done, foreseen.done);
        assert_eq!(
            (mode(&root).unwrap(), mode(&root.join("file")).unwrap()),
            (0o700, 0o600)
        );
    }

    #[tokio::test]
    async fn a_shared_folder_belongs_to_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("state");
        let group = own_group().await;
        let made = init(&options(&root), Some(&group), false).await.unwrap();
        assert_eq!(mode(&root).unwrap(), 0o2770);
        assert_eq!(made.group.as_deref(), Some(group.as_str()));
        assert!(StateDir::at(root.clone()).is_shared);
        let again = init(&options(&root), Some(&group), false).await.unwrap();
        assert!(again.done.is_empty(), "{again:?}");
        // Without a group a shared folder stays shared.
        let kept = init(&options(&root), None, false).await.unwrap();
        assert!(kept.done.is_empty() && mode(&root).unwrap() == 0o2770);
    }

    #[tokio::test]
    async fn what_cannot_be_is_said_with_the_command_that_helps() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("state");
        let error = init(&options(&root), Some("no-such-group-here"), false)
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.fix.unwrap().contains("groupadd"));
        let read_only = Options {
            read_only: true,
            ..options(&root)
        };
        let error = init(&read_only, None, false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(!root.exists());
        fs::write(&root, "").unwrap();
        let below = init(&options(&root.join("x")), None, false)
            .await
            .unwrap_err();
        assert!(below.fix.unwrap().contains("--state-dir"));
    }
}
