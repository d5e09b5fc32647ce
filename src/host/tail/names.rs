//! The files that the entries of a list of logs mean: paths, and patterns such as `/var/log/app/*.log`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// The files that a pattern matches now, sorted.
///
/// # Errors
/// It is no pattern, or a folder on its way cannot be read.
pub fn matching(pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let text = pattern
        .to_str()
        .ok_or_else(|| wrong("a pattern must be UTF-8".to_owned()))?;
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let found =
        glob::glob_with(text, options).map_err(|error| wrong(format!("not a pattern: {error}")))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(io::Error::from)?;
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

/// The files that the entries mean now, each once: paths as they are, there or not, patterns as what they match.
/// Unless `with_rotated`, a rotated file is left out of a pattern's where the log it was rotated from is there too:
/// `app.log*` follows `app.log`, and reads `app.log.1` as its past.
///
/// # Errors
/// The first pattern that cannot be looked for, with the cause.
pub(super) fn resolve(
    entries: &[PathBuf],
    with_rotated: bool,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        if !is_pattern(entry) {
            if !paths.contains(entry) {
                paths.push(entry.clone());
            }
            continue;
        }
        let mut found = matching(entry).map_err(|error| (entry.clone(), error))?;
        if !with_rotated {
            let all = found.clone();
            found.retain(|path| !all.iter().any(|log| is_rotated_from(path, log)));
        }
        found.retain(|path| !paths.contains(path));
        paths.extend(found);
    }
    Ok(paths)
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
            resolve(&entries, false).unwrap(),
            [path("b.log"), path("gone.log")]
        );
        assert_eq!(
            resolve(&entries, true).unwrap(),
            [path("b.log"), path("b.log.1"), path("gone.log")]
        );
        assert_eq!(
            folder_of(Path::new("/var/log/*/x.log")),
            Path::new("/var/log")
        );
        assert_eq!(folder_of(Path::new("*.log")), Path::new("."));
        assert!(matching(&path("[")).is_err());
    }
}
