//! The files that the entries of a list of logs mean: paths, and patterns such as `/var/log/app/*.log`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::STDIN;
use super::rotated::rotation_of;

/// Whether an entry is a pattern and no path. A file whose very name has a `*` or a `[` in it is a path.
pub fn is_pattern(entry: &Path) -> bool {
    has_wildcard(entry) && fs::symlink_metadata(entry).is_err()
}

fn has_wildcard(entry: &Path) -> bool {
    let text = entry.as_os_str().as_encoded_bytes();
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// What patterns match now.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files, each once.
    pub(super) files: Vec<PathBuf>,
    /// Folders that may hold more, and files that may be there, with why they cannot be looked at.
    pub(super) closed: Vec<(PathBuf, io::Error)>,
}

/// A part of a pattern between two `/`.
enum Part<'a> {
    Name(&'a OsStr),
    Wild(Pattern),
}

/// The files that a pattern matches now, sorted. What cannot be looked at is left out where anything was found.
///
/// # Errors
/// It is no pattern, or nothing was found and something cannot be looked at.
pub fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let Found { files, closed } = look_for(pattern)?;
    match closed.into_iter().next() {
        Some((_, error)) if files.is_empty() => Err(error),
        _ => Ok(files),
    }
}

/// The files that a pattern matches now, sorted, and what else may match.
fn look_for(pattern: &Path) -> io::Result<Found> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    if pattern.to_str().is_none() {
        return Err(wrong("a pattern must be UTF-8".to_owned()));
    }
    let mut parts = Vec::new();
    for part in pattern.components() {
        if part == Component::CurDir {
            continue;
        }
        let part = part.as_os_str();
        parts.push(match has_wildcard(Path::new(part)) {
            true => Part::Wild(
                Pattern::new(&part.to_string_lossy())
                    .map_err(|error| wrong(format!("not a pattern: {error}")))?,
            ),
            false => Part::Name(part),
        });
    }
    let mut found = Found::default();
    walk(PathBuf::new(), &parts, &mut found);
    found.files.sort();
    found.files.dedup();
    Ok(found)
}

/// Looks for what the rest of a pattern matches below a folder. A walk of our own: that of `glob` does not tell what it cannot
/// look at, and ends with a panic at a name that is no text.
fn walk(at: PathBuf, parts: &[Part<'_>], found: &mut Found) {
    let Some((part, rest)) = parts.split_first() else {
        match fs::metadata(&at) {
            Ok(meta) if meta.is_file() => found.files.push(at),
            Ok(_) => {}
            Err(error) => found.leave_out(at, error),
        }
        return;
    };
    let pattern = match part {
        Part::Name(name) => return walk(at.join(name), rest, found),
        Part::Wild(pattern) => pattern,
    };
    let is_any_depth = pattern.as_str() == "**";
    if is_any_depth {
        walk(at.clone(), rest, found);
    }
    let folder = match at.as_os_str().is_empty() {
        true => Path::new("."),
        false => &at,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return found.leave_out(at, error),
    };
    let options = MatchOptions {
        require_literal_leading_dot: true,
        ..MatchOptions::default()
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.leave_out(at.clone(), error);
                continue;
            }
        };
        let name = entry.file_name();
        let is_match = pattern.matches_with(&name.to_string_lossy(), options);
        match is_any_depth {
            false if is_match => walk(at.join(name), rest, found),
            // Not through links, which may lead in a circle.
            true if is_match && entry.file_type().is_ok_and(|kind| kind.is_dir()) => {
                walk(at.join(name), parts, found);
            }
            _ => {}
        }
    }
}

impl Found {
    /// What is gone, or is no folder, has nothing in it.
    fn leave_out(&mut self, path: PathBuf, error: io::Error) {
        use io::ErrorKind::{NotADirectory, NotFound};
        if !matches!(error.kind(), NotFound | NotADirectory) {
            self.closed.push((path, error));
        }
    }
}

/// The files that the entries mean now: paths as they are, there or not, patterns as what they match.
/// Unless `with_rotated`, a rotated file is left out of a pattern's where the log it was rotated from is there too:
/// `app.log*` follows `app.log`, and reads `app.log.1` as its past.
///
/// # Errors
/// The first entry that is no pattern, with the cause.
pub(super) fn resolve(
    entries: &[PathBuf],
    with_rotated: bool,
) -> Result<Found, (PathBuf, io::Error)> {
    let mut all = Found::default();
    for entry in entries {
        if !is_pattern(entry) {
            if !all.files.contains(entry) {
                all.files.push(entry.clone());
            }
            continue;
        }
        let mut found = look_for(entry).map_err(|error| (entry.clone(), error))?;
        if !with_rotated {
            let logs = found.files.clone();
            found
                .files
                .retain(|path| !logs.iter().any(|log| is_rotated_from(path, log)));
        }
        found.files.retain(|path| !all.files.contains(path));
        all.files.extend(found.files);
        all.closed.extend(found.closed);
    }
    Ok(all)
}

fn is_rotated_from(path: &Path, log: &Path) -> bool {
    path.parent() == log.parent() && rotation_of(log, path).is_some()
}

/// The folder below which a pattern's wildcards begin: where new files appear.
pub(super) fn folder_of(pattern: &Path) -> PathBuf {
    let folder: PathBuf = pattern
        .components()
        .take_while(|part| !has_wildcard(Path::new(part.as_os_str())))
        .collect();
    match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder,
    }
}

/// Whether an entry is standard input.
pub(super) fn is_stdin(entry: &Path) -> bool {
    entry == Path::new(STDIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_files_that_it_matches() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a.log", "b.log", "b.log.1", "b.txt", "[x].log"] {
            fs::write(path(name), "").unwrap();
        }
        fs::create_dir(path("folder.log")).unwrap();
        assert_eq!(
            matching(&path("*.log")).unwrap(),
            [path("[x].log"), path("a.log"), path("b.log")]
        );
        assert!(matching(&path("*.none")).unwrap().is_empty());
        assert!(
            !is_pattern(&path("[x].log")),
            "a file of that name is there"
        );
        assert!(is_pattern(&path("[y].log")) && !is_pattern(&path("y.log")));
        let entries = [path("b.log*"), path("gone.log"), path("b.log")];
        assert_eq!(
            resolve(&entries, false).unwrap().files,
            [path("b.log"), path("gone.log")]
        );
        assert_eq!(
            resolve(&entries, true).unwrap().files,
            [path("b.log"), path("b.log.1"), path("gone.log")]
        );
        assert_eq!(
            folder_of(Path::new("/var/log/*/x.log")),
            Path::new("/var/log")
        );
        assert_eq!(folder_of(Path::new("*.log")), Path::new("."));
        assert!(matching(&path("[")).is_err());
    }

    #[test]
    fn what_cannot_be_looked_at_stands_beside_what_matches() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for folder in ["a", "b/deep", ".hidden"] {
            fs::create_dir_all(path(folder)).unwrap();
            fs::write(path(folder).join("x.log"), "").unwrap();
        }
        fs::write(path("file"), "").unwrap();
        fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        // Nobody can look into a circle, root neither.
        std::os::unix::fs::symlink(path("circle"), path("circle")).unwrap();
        let of = |pattern: &str| {
            let found = look_for(&path(pattern)).unwrap();
            let closed: Vec<PathBuf> = found.closed.into_iter().map(|(path, _)| path).collect();
            (found.files, closed)
        };
        let own = vec![path("a/x.log")];
        assert_eq!(of("*/x.log"), (own.clone(), vec![path("circle/x.log")]));
        assert_eq!(of("*/*.log"), (own, vec![path("circle")]));
        let all = vec![path("a/x.log"), path("b/deep/x.log")];
        assert_eq!(of("**/x.log"), (all, Vec::new()));
        assert!(matching(&path("circle*/x.log")).is_err());
        assert_eq!(matching(&path("*/x.log")).unwrap(), [path("a/x.log")]);
    }
}
