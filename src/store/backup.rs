//! Data backups on disk: `backups/<name>/<id>.…` with `<id>.json` beside them.
//!
//! Data is written under a partial name, flushed, and renamed last, so that a backup is listed whole or not at all. Its
//! files need no lastgood to be read: `zstdcat` and `pg_restore`, `redis-server` or `tar` are enough.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::paths::{StateDir, StoreError, create_new_with, sync_dir};
use crate::domain::backup::{BACKUP_SCHEMA, Backup, BackupPart, Listed};
use crate::domain::digest;
use crate::domain::safe_text::SafeText;

/// The ending of a data file that is being written.
const PARTIAL: &str = ".partial";

/// The folder of a backup.
pub fn folder(state: &StateDir, name: &str) -> PathBuf {
    state.root.join("backups").join(name)
}

fn description(state: &StateDir, name: &str, id: &str) -> PathBuf {
    folder(state, name).join(format!("{id}.json"))
}

/// The names of backups that have a folder, configured or not.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn names(state: &StateDir) -> Result<Vec<String>, StoreError> {
    let mut names = entries(&state.root.join("backups"))?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

fn entries(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read the folder", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::at("read the folder", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Every backup of a name, the newest first. Files that changed since their checksum was last right are read again, so
/// that one that was overwritten or cut is never told as ok; [`check`] reads all of them.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn list(state: &StateDir, name: &str) -> Result<Vec<Listed>, StoreError> {
    list_by(state, name, Depth::Changed)
}

/// The same by the sizes of their files alone: for whoever looks every few seconds.
///
/// # Errors
/// As [`list`].
pub fn list_by_size(state: &StateDir, name: &str) -> Result<Vec<Listed>, StoreError> {
    list_by(state, name, Depth::Size)
}

/// Which files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// None.
    Size,
    /// Those that changed since their checksum was last right.
    Changed,
    /// All.
    All,
}

fn list_by(state: &StateDir, name: &str, depth: Depth) -> Result<Vec<Listed>, StoreError> {
    let dir = folder(state, name);
    let all = entries(&dir)?;
    let mut found = Vec::new();
    for entry in &all {
        let Some(id) = entry
            .strip_suffix(".json")
            .filter(|id| !id.starts_with('.'))
        else {
            continue;
        };
        let backup = read(&dir.join(entry), name, id);
        if let Ok(backup) = &backup {
            let is_partial = |part: &BackupPart| all.contains(&partial(&part.file));
            // It is being made, or making it was cut off.
            if backup.parts.iter().any(is_partial) {
                continue;
            }
        }
        let (problem, is_data_unread) = match &backup {
            Ok(backup) => match look(&dir, backup, depth) {
                Ok(looked) => (problem(backup, looked.err()), false),
                Err(error) => (Some(SafeText::from_error(&error)), true),
            },
            Err(why) => (Some(why.clone()), false),
        };
        found.push(Listed {
            name: name.to_owned(),
            id: id.to_owned(),
            backup,
            problem,
            is_data_unread,
        });
    }
    let at = |one: &Listed| one.backup.as_ref().ok().map(|backup| backup.created_at);
    found.sort_by(|a, b| at(b).cmp(&at(a)).then_with(|| b.id.cmp(&a.id)));
    Ok(found)
}

fn read(path: &Path, name: &str, id: &str) -> Result<Backup, SafeText> {
    let say = |text: String| SafeText::from_text(&text);
    let shown = path.display();
    let bytes = fs::read(path).map_err(|error| say(format!("cannot read {shown}: {error}")))?;
    let backup: Backup = serde_json::from_slice(&bytes)
        .map_err(|error| say(format!("{shown} is damaged: {error}")))?;
    if backup.schema != BACKUP_SCHEMA {
        return Err(say(format!(
            "made by another version: its schema is {}",
            backup.schema
        )));
    }
    let is_own =
        |part: &BackupPart| part.file.starts_with(&format!("{id}.")) && !part.file.contains('/');
    if backup.id != id || backup.name != name || !backup.parts.iter().all(is_own) {
        return Err(say(format!("{shown} is of {}/{}", backup.name, backup.id)));
    }
    Ok(backup)
}

fn problem(backup: &Backup, damage: Option<SafeText>) -> Option<SafeText> {
    let damage = damage.or_else(|| backup.damage.clone());
    damage.or_else(|| {
        let test = backup.restore_test.as_ref().filter(|test| !test.ok)?;
        Some(SafeText::from_text(&format!(
            "its restore test failed: {}",
            test.detail
        )))
    })
}

/// The size and the time of change of each file of a backup that is whole, or its damage.
type Looked = Result<Vec<(u64, i64)>, SafeText>;

/// Holds each file against what was written.
///
/// # Errors
/// One that is there cannot be read, which says nothing of the backup.
fn look(dir: &Path, backup: &Backup, depth: Depth) -> Result<Looked, StoreError> {
    let mut stamps = Vec::new();
    for (place, part) in backup.parts.iter().enumerate() {
        let path = dir.join(&part.file);
        let damage = |text: String| {
            let text = format!("{}: {text}", part.file);
            Ok(Err(SafeText::from_text(&text)))
        };
        let meta = match fs::metadata(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return damage(error.to_string());
            }
            Err(error) => return Err(StoreError::at("read", &path)(error)),
        };
        if meta.len() != part.bytes {
            return damage(format!(
                "{} bytes, and {} were written",
                meta.len(),
                part.bytes
            ));
        }
        let stamp = (meta.len(), meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
        let has_changed = backup.checked.get(place) != Some(&stamp);
        if depth == Depth::All || depth == Depth::Changed && has_changed {
            let sum =
                super::checkpoint::sha256_file(&path).map_err(StoreError::at("read", &path))?;
            if sum != part.sha256 {
                return damage("its checksum is not that of what was written".to_owned());
            }
        }
        stamps.push(stamp);
    }
    Ok(Ok(stamps))
}

/// Reads every file of a backup and writes down what was found.
///
/// # Errors
/// A file that is there cannot be read: what was known of it stays; what was found cannot be written down.
pub fn check(state: &StateDir, backup: &mut Backup) -> Result<(), StoreError> {
    let dir = folder(state, &backup.name);
    match look(&dir, backup, Depth::All)? {
        Ok(stamps) => {
            backup.damage = None;
            backup.checked = stamps;
        }
        Err(why) => backup.damage = Some(why),
    }
    update(state, backup)
}

/// Writes what is known of a backup.
///
/// # Errors
/// A full disk, no permission; the old text is then still there.
pub fn update(state: &StateDir, backup: &Backup) -> Result<(), StoreError> {
    let path = description(state, &backup.name, &backup.id);
    let mut json = serde_json::to_vec_pretty(backup)
        .map_err(|error| StoreError::at("write", &path)(error.into()))?;
    json.push(b'\n');
    state.write_atomic(&path, &json)
}

/// A data file that is being written. Dropped before it is finished, it leaves nothing behind.
#[derive(Debug)]
pub struct PartFile {
    path: PathBuf,
    name: String,
    file: File,
    sum: Sha256,
    bytes: u64,
    is_kept: bool,
}

fn partial(file: &str) -> String {
    format!(".{file}{PARTIAL}")
}

impl PartFile {
    /// Begins one; `file` is its name once it is whole.
    ///
    /// # Errors
    /// It exists, no permission, a full disk.
    pub fn create(state: &StateDir, backup: &str, file: &str) -> Result<Self, StoreError> {
        let dir = folder(state, backup);
        state.make_dir(&dir)?;
        let path = dir.join(partial(file));
        Ok(Self {
            file: create_new_with(&path, state.file_mode())?,
            path,
            name: file.to_owned(),
            sum: Sha256::new(),
            bytes: 0,
            is_kept: false,
        })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// A full disk.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(StoreError::at("write", &self.path))?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Flushes it. It keeps its partial name until [`commit`].
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(mut self, of: &str, plain_bytes: u64) -> Result<StagedPart, StoreError> {
        self.file
            .sync_all()
            .map_err(StoreError::at("write", &self.path))?;
        let part = BackupPart {
            file: self.name.clone(),
            of: SafeText::from_text(of),
            bytes: self.bytes,
            sha256: digest::hex(&self.sum.finalize_reset()),
            plain_bytes,
        };
        Ok(StagedPart { file: self, part })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A data file that is whole and flushed and has its partial name still. Dropped so, it is removed.
#[derive(Debug)]
pub struct StagedPart {
    file: PartFile,
    /// What it is.
    pub part: BackupPart,
}

/// Gives the files of a backup their names. Before, it is not listed.
///
/// # Errors
/// A full disk, a file that is in the way: nothing is left behind.
pub fn commit(
    state: &StateDir,
    backup: &mut Backup,
    staged: Vec<StagedPart>,
) -> Result<(), StoreError> {
    let dir = folder(state, &backup.name);
    backup.parts = staged.iter().map(|one| one.part.clone()).collect();
    update(state, backup)?;
    let done = staged.into_iter().try_for_each(|mut one| {
        let whole = dir.join(&one.part.file);
        fs::rename(&one.file.path, &whole).map_err(StoreError::at("make", &whole))?;
        one.file.is_kept = true;
        Ok(())
    });
    if let Err(error) = done.and_then(|()| sync_dir(&dir)) {
        let _ = remove(state, &backup.name, &backup.id);
        return Err(error);
    }
    // From now on a list need not read the files again while they stay as they are.
    check(state, backup)
}

/// Removes a backup: from the list first, then its files. One that is gone is fine.
///
/// # Errors
/// It cannot be removed.
pub fn remove(state: &StateDir, name: &str, id: &str) -> Result<(), StoreError> {
    let dir = folder(state, name);
    let own = format!("{id}.");
    // Its description last is what a kill in between leaves: it says which file is missing, and this removes the rest.
    let mut files: Vec<String> = entries(&dir)?;
    files.retain(|file| file.starts_with(&own));
    files.sort_by_key(|file| file.ends_with(".json"));
    for file in files {
        let path = dir.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::at("remove", &path)(error));
            }
            _ => {}
        }
    }
    match dir.is_dir() {
        true => sync_dir(&dir),
        false => Ok(()),
    }
}

/// Removes what runs that were killed left of a backup that they were making. Called with its lease held.
///
/// # Errors
/// It cannot be read or removed.
pub fn clean(state: &StateDir, name: &str) -> Result<(), StoreError> {
    let dir = folder(state, name);
    for file in entries(&dir)? {
        let Some(whole) = file.strip_prefix('.').and_then(|f| f.strip_suffix(PARTIAL)) else {
            continue;
        };
        // The description went first; what has one by that time is no more than this.
        if let Some((id, _)) = whole.split_once('.') {
            remove(state, name, id)?;
        }
        let path = dir.join(&file);
        fs::remove_file(&path).map_err(StoreError::at("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::BackupKind;

    fn backup(id: &str) -> Backup {
        Backup {
            schema: BACKUP_SCHEMA.into(),
            name: "main".into(),
            id: id.into(),
            created_at: "2025-12-27T02:00:00Z".parse().unwrap(),
            by: SafeText::from_text("anna"),
            kind: BackupKind::Postgres,
            host: crate::domain::host::HostName::local(),
            service: None,
            database: Some("shop".into()),
            parts: Vec::new(),
            encrypted: false,
            counts: [("public.users".to_owned(), 3)].into(),
            before_restore: false,
            copy: None,
            restore_test: None,
            damage: None,
            checked: Vec::new(),
        }
    }

    fn write(state: &StateDir, id: &str) -> Backup {
        let mut file = PartFile::create(state, "main", &format!("{id}.dump.zst")).unwrap();
        file.add(b"rows and ").unwrap();
        file.add(b"rows").unwrap();
        let staged = file.finish("shop", 13).unwrap();
        assert!(list(state, "main").unwrap().iter().all(|one| one.id != id));
        let mut backup = backup(id);
        commit(state, &mut backup, vec![staged]).unwrap();
        backup
    }

    fn ids(state: &StateDir) -> Vec<(String, bool)> {
        let all = list(state, "main").unwrap();
        all.iter()
            .map(|one| (one.id.clone(), one.is_ok()))
            .collect()
    }

    #[test]
    fn a_backup_is_listed_whole_or_not_at_all_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        assert!(names(&state).unwrap().is_empty());
        let mut made = write(&state, "20251227-020000");
        assert_eq!(names(&state).unwrap(), ["main"]);
        assert_eq!(ids(&state), [("20251227-020000".to_owned(), true)]);
        let at = folder(&state, "main");
        let file = at.join("20251227-020000.dump.zst");
        assert_eq!(made.parts[0].sha256, digest::sha256(b"rows and rows"));

        // The same size, another byte.
        fs::write(&file, b"rows and rowz").unwrap();
        assert_eq!(ids(&state), [("20251227-020000".to_owned(), false)]);
        check(&state, &mut made).unwrap();
        assert!(made.damage.is_some());
        fs::write(&file, b"rows and rows").unwrap();
        check(&state, &mut made).unwrap();
        assert_eq!(ids(&state), [("20251227-020000".to_owned(), true)]);
        fs::write(&file, b"rows").unwrap();
        let problem = list(&state, "main").unwrap()[0].problem.clone().unwrap();
        assert!(problem.as_str().contains("4 bytes, and 13"), "{problem}");

        remove(&state, "main", "20251227-020000").unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    }

    #[test]
    fn what_was_cut_off_is_not_listed_and_is_cleaned() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        write(&state, "20251226-020000");
        let at = folder(&state, "main");
        // Killed while it was written, and killed right before it got its name.
        fs::write(at.join(".20251227-020000.dump.zst.partial"), b"ro").unwrap();
        let mut cut = backup("20251227-030000");
        cut.parts = vec![BackupPart {
            file: "20251227-030000.dump.zst".into(),
            of: SafeText::default(),
            bytes: 2,
            sha256: String::new(),
            plain_bytes: 2,
        }];
        update(&state, &cut).unwrap();
        fs::write(at.join(".20251227-030000.dump.zst.partial"), b"ro").unwrap();
        assert_eq!(ids(&state), [("20251226-020000".to_owned(), true)]);
        clean(&state, "main").unwrap();
        assert_eq!(ids(&state), [("20251226-020000".to_owned(), true)]);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
        // A dropped one leaves nothing.
        drop(PartFile::create(&state, "main", "x.tar.zst").unwrap());
        assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_read_is_not_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let mut made = write(&state, "20251227-020000");
        let file = folder(&state, "main").join("20251227-020000.dump.zst");
        let aside = dir.path().join("aside");
        let one = || list(&state, "main").unwrap().remove(0);
        fs::rename(&file, &aside).unwrap();
        assert!(!one().is_unread() && !one().is_ok(), "it is gone");
        std::os::unix::fs::symlink(&file, &file).unwrap();
        assert!(one().is_unread() && !one().is_ok(), "{:?}", one());
        assert!(check(&state, &mut made).is_err());
        fs::rename(&aside, &file).unwrap();
        assert!(!one().is_unread() && one().is_ok(), "{:?}", one());
        let description = description(&state, "main", "20251227-020000");
        let text = fs::read_to_string(&description).unwrap();
        fs::write(
            &description,
            text.replace(BACKUP_SCHEMA, "lastgood.backup/9"),
        )
        .unwrap();
        assert!(one().is_unread() && !one().is_ok(), "{:?}", one());
    }
}
