//! Lines on their way out of the console: to the clipboard, into a file, into a program that shows them.
//!
//! A file is written in pieces, on threads that may block, and belongs to this module until it is whole: whatever
//! ends before that, a failure or the console itself, takes the half-written file away.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::{NamedTempFile, TempPath};

use crate::domain::safe_text::SafeText;
use crate::ops::{ErrorKind, OpsError};

use super::msg::Problem;

/// Programs that go to line N of a file when they are given `+N`.
const TAKE_A_LINE: [&str; 8] = [
    "vi",
    "vim",
    "nvim",
    "view",
    "nano",
    "emacs",
    "emacsclient",
    "less",
];

/// A program that shows lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `$PAGER`, else `less -R`.
    Pager,
    /// `$VISUAL`, else `$EDITOR`, else `vi`.
    Editor,
}

/// Where lines are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlet {
    /// To a new file of this name, as it was typed: `~/` is the home folder, what is relative is relative to the
    /// working directory.
    File(String),
    /// Into a program, by a temporary file.
    Tool(Tool),
}

/// A piece of what is taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it goes.
    pub to: Outlet,
    /// Whole lines.
    pub bytes: Vec<u8>,
    /// Whether the file is created with it.
    pub is_first: bool,
    /// Whether the file is whole with it.
    pub is_last: bool,
}

/// The file that is being written; its clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Writing(Arc<Mutex<Option<NamedTempFile>>>);

impl Writing {
    /// Writes a piece, and returns the path of the file. It is created with mode 0600 and never overwrites another.
    /// A whole file stays where it is; one for a program is kept until [`Writing::remove`]. Blocks.
    ///
    /// # Errors
    /// The file is there already ([`ErrorKind::Refused`]), or cannot be written; what was written of it is removed.
    pub fn write(&self, piece: &Piece) -> Result<PathBuf, OpsError> {
        let before = self.lock().take();
        let mut file = match (before, piece.is_first) {
            (_, true) => create(&piece.to)?,
            (Some(file), false) => file,
            (None, false) => {
                let text = "the file that was being written was given up";
                return Err(OpsError::new(ErrorKind::Failed, text));
            }
        };
        let path = file.path().to_owned();
        let is_whole = piece.is_last && matches!(piece.to, Outlet::File(_));
        let out = file.as_file_mut();
        let mut written = out.write_all(&piece.bytes);
        if is_whole {
            // Some file systems tell only now that there was no room.
            written = written.and_then(|()| out.sync_all());
        }
        // An error drops the file, which removes it.
        written.map_err(|error| not_written(&path, error))?;
        if is_whole {
            file.keep()
                .map_err(|error| not_written(&path, error.error))?;
        } else {
            *self.lock() = Some(file);
        }
        Ok(path)
    }

    /// The file, while there is one.
    pub fn path(&self) -> Option<PathBuf> {
        self.lock().as_ref().map(|file| file.path().to_owned())
    }

    /// Takes the file away.
    pub fn remove(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<NamedTempFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn create(to: &Outlet) -> Result<NamedTempFile, OpsError> {
    let name = match to {
        Outlet::File(name) => name,
        Outlet::Tool(_) => {
            let file = tempfile::Builder::new()
                .prefix("lastgood-")
                .suffix(".log")
                .tempfile();
            return file.map_err(|error| not_written(&std::env::temp_dir(), error));
        }
    };
    let path = expand(name, std::env::var_os("HOME").as_deref());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = format!("{} exists already: nothing was saved", path.display());
            return Err(OpsError::new(ErrorKind::Refused, text).fix("choose another name"));
        }
        Err(error) => return Err(not_written(&path, error)),
    };
    let path = TempPath::try_from_path(&path).map_err(|error| not_written(&path, error))?;
    Ok(NamedTempFile::from_parts(file, path))
}

fn not_written(path: &Path, error: io::Error) -> OpsError {
    let is_full = error.kind() == io::ErrorKind::StorageFull;
    let text = format!("cannot write {}", path.display());
    let failed = OpsError::new(ErrorKind::Failed, text).because(error);
    if is_full {
        failed.fix("df -h: the disk is full")
    } else {
        failed
    }
}

/// A path as a shell would understand it, as far as `~/` goes.
fn expand(name: &str, home: Option<&OsStr>) -> PathBuf {
    match (name.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) if !home.is_empty() => Path::new(home).join(rest),
        _ => PathBuf::from(name),
    }
}

/// The program that shows a file, with the cursor on that line where it can.
///
/// # Errors
/// The variable that names it cannot be taken apart into words.
pub fn program(tool: Tool, line: u64, file: &Path) -> Result<Command, OpsError> {
    let words = words(tool, line, |name| std::env::var(name).ok())?;
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(file);
    Ok(command)
}

fn words(
    tool: Tool,
    line: u64,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, OpsError> {
    let (names, default): (&[&str], &str) = match tool {
        Tool::Pager => (&["PAGER"], "less -R"),
        Tool::Editor => (&["VISUAL", "EDITOR"], "vi"),
    };
    let chosen = names.iter().find_map(|name| {
        let value = variable(name).filter(|value| !value.trim().is_empty())?;
        Some((*name, value))
    });
    let (name, value) = chosen.unwrap_or(("", default.to_owned()));
    let mut words = shell_words::split(&value).map_err(|error| {
        let text = format!("cannot understand ${name}: {value:?}");
        OpsError::new(ErrorKind::Usage, text).because(error)
    })?;
    let takes_a_line = words.first().is_some_and(|program| {
        let program = Path::new(program).file_name().and_then(OsStr::to_str);
        program.is_some_and(|name| TAKE_A_LINE.contains(&name))
    });
    if takes_a_line && line > 0 {
        words.push(format!("+{line}"));
    }
    Ok(words)
}

/// Lines for the clipboard.
pub(super) fn joined(lines: &[SafeText]) -> String {
    let lines: Vec<&str> = lines.iter().map(SafeText::as_str).collect();
    lines.join("\n")
}

/// How many lines went to the clipboard by that route.
pub(super) fn said(lines: &[SafeText], route: &str) -> SafeText {
    match lines.len() {
        1 => SafeText::from_text(route),
        n => SafeText::from_text(&format!("{n} lines {route}")),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
pub(super) fn not_copied(error: io::Error) -> Problem {
    Problem {
        kind: ErrorKind::Failed,
        text: SafeText::from_text(&format!("not copied: {error}")),
        fix: None,
        lines: Vec::new(),
        is_broken: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::Builder::new()
            .prefix("lastgood-test-")
            .tempdir()
            .unwrap()
    }

    fn piece(to: &Outlet, text: &str, is_first: bool, is_last: bool) -> Piece {
        Piece {
            to: to.clone(),
            bytes: text.into(),
            is_first,
            is_last,
        }
    }

    fn file(path: &Path) -> Outlet {
        Outlet::File(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_file_is_written_in_pieces_for_its_owner_alone() {
        let folder = folder();
        let path = folder.path().join("out.log");
        let (to, writing) = (file(&path), Writing::default());
        assert_eq!(
            writing.write(&piece(&to, "a\n", true, false)).unwrap(),
            path
        );
        writing.write(&piece(&to, "b\n", false, true)).unwrap();
        drop(writing);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_there_is_never_overwritten_nor_removed() {
        let folder = folder();
        let path = folder.path().join("out.log");
        fs::write(&path, "mine").unwrap();
        let writing = Writing::default();
        let error = writing
            .write(&piece(&file(&path), "a\n", true, true))
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        let text = error.to_safe_text().to_string();
        assert!(text.contains("out.log exists already"), "{text}");
        drop(writing);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn what_is_not_whole_is_removed() {
        let folder = folder();
        let path = folder.path().join("out.log");
        let writing = Writing::default();
        writing
            .write(&piece(&file(&path), "a\n", true, false))
            .unwrap();
        assert!(path.exists());
        drop(writing);
        assert!(!path.exists());
    }

    #[test]
    fn a_failure_names_the_place_and_the_cause() {
        let folder = folder();
        let path = folder.path().join("missing/out.log");
        let writing = Writing::default();
        let error = writing
            .write(&piece(&file(&path), "a\n", true, true))
            .unwrap_err();
        let text = error.to_safe_text().to_string();
        assert!(text.contains("missing/out.log"), "{text}");
        assert!(text.contains("No such file"), "{text}");
        // A piece that follows on a failure does not make a file without a beginning.
        assert!(
            writing
                .write(&piece(&file(&path), "b\n", false, true))
                .is_err()
        );
    }

    #[test]
    fn a_file_for_a_program_stays_until_it_is_removed() {
        let writing = Writing::default();
        let to = Outlet::Tool(Tool::Pager);
        let path = writing.write(&piece(&to, "a\n", true, true)).unwrap();
        assert_eq!(writing.path(), Some(path.clone()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\n");
        writing.remove();
        assert!(!path.exists());
    }

    #[test]
    fn the_home_folder_is_found() {
        let home = Some(OsStr::new("/home/anna"));
        assert_eq!(expand("~/a.log", home), Path::new("/home/anna/a.log"));
        assert_eq!(expand("~/a.log", None), Path::new("~/a.log"));
        assert_eq!(expand("x/~/a", home), Path::new("x/~/a"));
    }

    #[test]
    fn the_program_is_what_the_variables_say() {
        let none = |_: &str| None;
        let some = |wanted: &'static str, value: &'static str| {
            move |name: &str| (name == wanted).then(|| value.to_owned())
        };
        assert_eq!(words(Tool::Pager, 7, none).unwrap(), ["less", "-R", "+7"]);
        assert_eq!(words(Tool::Editor, 7, none).unwrap(), ["vi", "+7"]);
        let words_of = |tool, variable: &'static str, value| words(tool, 7, some(variable, value));
        assert_eq!(
            words_of(Tool::Pager, "PAGER", "cat -n").unwrap(),
            ["cat", "-n"]
        );
        assert_eq!(
            words_of(Tool::Editor, "EDITOR", "'/opt/my tools/nvim' -R").unwrap(),
            ["/opt/my tools/nvim", "-R", "+7"]
        );
        assert_eq!(words_of(Tool::Editor, "VISUAL", " ").unwrap(), ["vi", "+7"]);
        let error = words_of(Tool::Pager, "PAGER", "less '").unwrap_err();
        assert!(error.to_safe_text().as_str().contains("$PAGER"));
    }
}
