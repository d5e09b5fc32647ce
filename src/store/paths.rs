//! Where the state stands, and how its files are written: with exact permissions, and so that a crash or a
//! power cut leaves either the old content or the new one.
//!
//! The state folder is shared by the engineers of a box (`/var/lib/lastgood`, made by an administrator) or
//! private to one of them. It is made when the first file is written, so that reading needs no rights.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// The state folder that the engineers of a box share, where an administrator made it.
const SHARED_ROOT: &str = "/var/lib/lastgood";

/// The state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    /// The folder.
    pub root: PathBuf,
    /// Whether other engineers of this box use it too.
    pub is_shared: bool,
}

/// A file of ours that could not be read or written, or does not say what it should.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}", path = path.display())]
pub struct StoreError {
    /// What was tried: `read`, `write`, `lock`.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl StoreError {
    /// Names the action and the path of an error of the system.
    pub fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the disk, or the user's share of it, is full.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Whether the error says that the disk, or the user's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl StateDir {
    /// The folder in force: the given one, else the shared one where it exists and is writable, else the user's
    /// own below `$XDG_STATE_HOME`. Makes nothing.
    ///
    /// # Errors
    /// Neither is to be had: no home folder is known.
    pub fn find(given: Option<&Path>) -> Result<Self, StoreError> {
        if let Some(root) = given {
            let root = std::path::absolute(root).map_err(StoreError::at("find", root))?;
            return Ok(Self::at(root));
        }
        let shared = Self::shared_root();
        let writable = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        if shared.is_dir() && rustix::fs::access(shared, writable).is_ok() {
            return Ok(Self::at(shared.to_owned()));
        }
        directories::ProjectDirs::from("", "", "lastgood")
            .and_then(|dirs| dirs.state_dir().map(Path::to_owned))
            .map(Self::at)
            .ok_or_else(|| StoreError {
                action: "find",
                path: PathBuf::from("$XDG_STATE_HOME/lastgood"),
                source: io::Error::new(
                    io::ErrorKind::NotFound,
                    "no home folder is known; give --state-dir",
                ),
            })
    }

    /// The folder that the engineers of a box share, where one was made.
    pub fn shared_root() -> &'static Path {
        Path::new(SHARED_ROOT)
    }

    /// The folder at `root`; shared where it exists with the set-group-id bit and is writable by its group.
    pub fn at(root: PathBuf) -> Self {
        let is_shared =
            fs::metadata(&root).is_ok_and(|m| m.permissions().mode() & 0o2070 == 0o2070);
        Self { root, is_shared }
    }

    /// Checkpoints, one folder each.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Journals of operations, one folder each.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// The audit log, one file a day.
    pub fn audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// Incidents, one folder each.
    pub fn incidents(&self) -> PathBuf {
        self.root.join("incidents")
    }

    /// What the watch remembers.
    pub fn alerts(&self) -> PathBuf {
        self.root.join("alerts.json")
    }

    /// Messages on their way to people.
    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    /// Who is working on which service.
    pub fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    /// The key of the tokens that stand for secrets.
    pub fn redaction_key(&self) -> PathBuf {
        self.root.join("redaction.key")
    }

    /// Disk space held back for what a change of a machine must be able to write.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Does what an operation cannot go on without. A full disk gives up the reserve and it is tried once more, so
    /// that a full disk never forbids a rollback.
    ///
    /// # Errors
    /// Those of the work; a full disk that had no reserve either.
    pub fn with_reserve<T>(
        &self,
        mut work: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match work() {
            Err(error) if error.is_full() && fs::remove_file(self.reserve()).is_ok() => work(),
            done => done,
        }
    }

    /// Permission bits of a folder here.
    pub fn dir_mode(&self) -> u32 {
        if self.is_shared { 0o2770 } else { 0o700 }
    }

    /// Permission bits of a file here.
    pub fn file_mode(&self) -> u32 {
        if self.is_shared { 0o660 } else { 0o600 }
    }

    /// Makes a folder of the state folder and those above it, each with [`StateDir::dir_mode`] whatever the
    /// umask. Folders that exist keep their permissions: `--state-dir` may name one that is not ours alone.
    ///
    /// # Errors
    /// No permission, a file in the way, a full disk.
    pub fn make_dir(&self, dir: &Path) -> Result<(), StoreError> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(parent) = dir.parent() {
            if dir == self.root {
                // What lies above the state folder is not ours: the usual permissions.
                fs::create_dir_all(parent).map_err(StoreError::at("make the folder", parent))?;
            } else {
                self.make_dir(parent)?;
            }
        }
        match make_with(dir, self.dir_mode()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            Err(error) => Err(StoreError::at("make the folder", dir)(error)),
        }
    }

    /// Opens a file for appending, making it and its folder with [`StateDir::file_mode`] whatever the umask.
    ///
    /// # Errors
    /// No permission, a full disk.
    pub fn open_append(&self, path: &Path) -> Result<File, StoreError> {
        if let Some(parent) = path.parent() {
            self.make_dir(parent)?;
        }
        let open = || OpenOptions::new().read(true).append(true).open(path);
        let opened = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match create_new_with(path, self.file_mode()) {
                    Ok(_) => sync_parent(path)?,
                    // Somebody else made it at this moment.
                    Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
                open()
            }
            opened => opened,
        };
        opened.map_err(StoreError::at("open", path))
    }

    /// Makes a new file with [`StateDir::file_mode`] whatever the umask, and its folder.
    ///
    /// # Errors
    /// It exists, no permission, a full disk.
    pub fn create_new(&self, path: &Path) -> Result<File, StoreError> {
        if let Some(parent) = path.parent() {
            self.make_dir(parent)?;
        }
        create_new_with(path, self.file_mode())
    }

    /// Replaces a file's content so that a crash leaves the old or the new one.
    ///
    /// # Errors
    /// No permission, a full disk; the old content is then still there.
    pub fn write_atomic(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.with_reserve(|| {
            if let Some(parent) = path.parent() {
                self.make_dir(parent)?;
            }
            write_atomic(path, content, self.file_mode())
        })
    }
}

/// The user's configuration folder, `$XDG_CONFIG_HOME/lastgood`; `None` where no home folder is known.
pub fn config_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "lastgood").map(|dirs| dirs.config_dir().to_owned())
}

/// Makes a folder that has these permission bits from the moment on in which others see it.
///
/// # Errors
/// It exists, no permission, a full disk.
pub(super) fn make_with(dir: &Path, mode: u32) -> io::Result<()> {
    let made = |coming: &Path| {
        DirBuilder::new().mode(0o700).create(coming)?;
        fs::set_permissions(coming, fs::Permissions::from_mode(mode))
    };
    appear(dir, made, fs::remove_dir)
}

/// Makes a new file with exactly these permission bits, whatever the umask, from the moment on in which others see it.
///
/// # Errors
/// It exists, no permission, a full disk.
pub fn create_new_with(path: &Path, mode: u32) -> Result<File, StoreError> {
    let made = |path: &Path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path)?;
        set_mode(&file, mode)?;
        Ok(file)
    };
    // What nobody else may open needs no other name.
    let made = match mode {
        0o600 => made(path),
        _ => appear(path, made, fs::remove_file),
    };
    made.map_err(StoreError::at("make", path))
}

/// Makes something under a name that nobody looks for, and gives it its own where that is free: whoever came between its
/// making and its permissions would be refused.
fn appear<T>(
    path: &Path,
    make: impl FnOnce(&Path) -> io::Result<T>,
    remove: fn(PathBuf) -> io::Result<()>,
) -> io::Result<T> {
    static COMING: AtomicU32 = AtomicU32::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COMING.fetch_add(1, Ordering::Relaxed);
    let coming = path.with_file_name(format!(".{name}.{}-{number}", std::process::id()));
    let made = make(&coming).and_then(|made| {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(CWD, &coming, CWD, path, flags) {
            // A file system that cannot: of two at once one is told that it is there.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match path.exists() {
                true => return Err(io::ErrorKind::AlreadyExists.into()),
                false => fs::rename(&coming, path)?,
            },
            renamed => renamed?,
        }
        Ok(made)
    });
    if made.is_err() {
        let _ = remove(coming);
    }
    made
}

/// Writes beside the file, flushes, renames over it, and flushes the folder.
///
/// # Errors
/// No permission, a full disk; the old content is then still there and nothing is left beside it.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<(), StoreError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let error = || StoreError::at("write", path);
    let mut staged = tempfile::Builder::new()
        .prefix(".lastgood-")
        .tempfile_in(parent)
        .map_err(error())?;
    staged.write_all(content).map_err(error())?;
    set_mode(staged.as_file(), mode).map_err(error())?;
    staged.as_file().sync_all().map_err(error())?;
    staged
        .persist(path)
        .map_err(|failed| error()(failed.error))?;
    sync_parent(path)
}

/// Flushes the folder that names this file: without it a power cut can lose the name.
///
/// # Errors
/// The folder cannot be opened or flushed.
pub fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    sync_dir(parent)
}

/// Flushes a folder.
///
/// # Errors
/// The folder cannot be opened or flushed.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::at("flush the folder", dir))
}

fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_is_of_all_is_never_seen_closed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir {
            root: dir.path().to_owned(),
            is_shared: true,
        };
        let folder = |n: u32| dir.path().join(format!("presence-{n}"));
        let file = |n: u32| dir.path().join(format!("log-{n}"));
        let at = |path: PathBuf| loop {
            if let Ok(found) = fs::metadata(&path) {
                break found.permissions().mode() & 0o7777;
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..500 {
                    state.make_dir(&folder(n)).unwrap();
                    state.open_append(&file(n)).unwrap();
                }
            });
            for n in 0..500 {
                assert_eq!((at(folder(n)), at(file(n))), (0o2770, 0o660), "{n}");
            }
        });
        // Whoever comes second finds it, and leaves nothing.
        assert!(make_with(&folder(0), 0o700).is_err());
        let error = create_new_with(&file(0), 0o660).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1000);
    }

    #[test]
    fn permissions_are_exact_whatever_the_umask() {
        // The umask belongs to the process, so each is tried in a child that runs this very test.
        const CHILD: &str = "LASTGOOD_TEST_UMASK_DIR";
        if let Some(root) = std::env::var_os(CHILD) {
            let state = StateDir::at(PathBuf::from(root).join("private"));
            state
                .write_atomic(&state.root.join("a/b/one"), b"1")
                .unwrap();
            state.open_append(&state.root.join("a/two")).unwrap();
            state.create_new(&state.root.join("three")).unwrap();
            let shared = StateDir {
                root: state.root.with_file_name("shared"),
                is_shared: true,
            };
            shared
                .write_atomic(&shared.root.join("a/one"), b"1")
                .unwrap();
            return;
        }
        for umask in ["000", "077"] {
            let dir = tempfile::tempdir().unwrap();
            let status = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("umask {umask}; exec \"$0\" \"$@\""))
                .arg(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "store::paths::tests::permissions_are_exact_whatever_the_umask",
                ])
                .env(CHILD, dir.path())
                .stdout(std::process::Stdio::null())
                .status()
                .unwrap();
            assert!(status.success());
            let private = dir.path().join("private");
            for folder in ["", "a", "a/b"] {
                assert_eq!(mode(&private.join(folder)), 0o700, "{umask} {folder:?}");
            }
            for file in ["a/b/one", "a/two", "three"] {
                assert_eq!(mode(&private.join(file)), 0o600, "{umask} {file}");
            }
            assert_eq!(mode(&dir.path().join("shared/a")), 0o2770, "{umask}");
            assert_eq!(mode(&dir.path().join("shared/a/one")), 0o660, "{umask}");
        }
    }

    #[test]
    fn a_shared_folder_is_known_by_its_permissions() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!StateDir::at(dir.path().to_owned()).is_shared);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o2770)).unwrap();
        let state = StateDir::at(dir.path().to_owned());
        assert!(state.is_shared);
        assert_eq!((state.dir_mode(), state.file_mode()), (0o2770, 0o660));
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let path = state.root.join("file");
        state.write_atomic(&path, b"old").unwrap();
        state.write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A folder in the way of the rename.
        fs::create_dir(state.root.join("taken")).unwrap();
        fs::write(state.root.join("taken/x"), b"").unwrap();
        let error = state
            .write_atomic(&state.root.join("taken"), b"new")
            .unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(&state.root).unwrap().count(), 2);
    }

    #[test]
    fn a_full_disk_gives_up_the_reserve_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        state.create_new(&state.reserve()).unwrap();
        let full = |path: &Path| {
            StoreError::at("write", path)(io::Error::from(io::ErrorKind::StorageFull))
        };
        let path = state.root.join("file");
        let mut tries = 0;
        let done = state.with_reserve(|| {
            tries += 1;
            match state.reserve().exists() {
                true => Err(full(&path)),
                false => Ok(tries),
            }
        });
        assert_eq!(done.unwrap(), 2);
        let mut tries = 0;
        let refused: Result<(), _> = state.with_reserve(|| {
            tries += 1;
            Err(full(&path))
        });
        assert!(refused.unwrap_err().is_full());
        assert_eq!(tries, 1, "there is no second reserve");
    }

    #[test]
    fn a_given_folder_wins() {
        let state = StateDir::find(Some(Path::new("/tmp/lastgood-test-given"))).unwrap();
        assert_eq!(state.root, Path::new("/tmp/lastgood-test-given"));
        assert!(!state.root.exists());
    }
}
