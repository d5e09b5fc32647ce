//! The rotated files of a log, and where they hold what is asked for.
//!
//! `app.log` was renamed to `app.log.1`, `app.log-20251227`, `app-20251227.log`, and perhaps compressed since. Rotated
//! files are known by their names and put in order by their numbers or by when they were last written.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use memchr::memchr;

use super::lines::{end_of_last_line, read_at};
use crate::analysis::parse::read_line;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::LogPosition;
use crate::host::unpack;

/// How far into a file its first time is looked for.
const HEAD: usize = 64 * 1024;
/// What packs a rotated file, by the end of its name.
const PACKED: [&str; 4] = [".gz", ".zst", ".xz", ".bz2"];

/// A rotated file.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) path: PathBuf,
    pub(super) meta: Metadata,
    is_packed: bool,
    number: Option<u64>,
}

/// The rotated files of a log, oldest first.
///
/// # Errors
/// The folder is there and cannot be read.
pub(super) fn siblings(path: &Path) -> io::Result<Vec<Rotated>> {
    let Some(folder) = path.parent() else {
        return Ok(Vec::new());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let other = entry.path();
        if let Some(mark) = rotation_of(path, &other)
            && let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            found.push(Rotated {
                is_packed: is_packed(&other),
                path: other,
                meta,
                number: mark.parse().ok().filter(|_| mark.len() < 6),
            });
        }
    }
    if found.iter().all(|file| file.number.is_some()) {
        found.sort_by_key(|file| std::cmp::Reverse(file.number));
    } else {
        found.sort_by_key(|file| (file.meta.mtime(), file.meta.mtime_nsec()));
    }
    Ok(found)
}

/// What the name of a rotated file has beside that of its log: `1`, `20251227`; `None` for any other file.
pub(super) fn rotation_of(log: &Path, other: &Path) -> Option<String> {
    let log = log.file_name()?.to_str()?;
    let mut other = other.file_name()?.to_str()?;
    for end in PACKED {
        other = other.strip_suffix(end).unwrap_or(other);
    }
    let inner = log.rsplit_once('.').and_then(|(stem, end)| {
        other
            .strip_prefix(stem)?
            .strip_suffix(end)?
            .strip_suffix('.')
    });
    let mark = other
        .strip_prefix(log)
        .or(inner)?
        .strip_prefix(['.', '-', '_'])?;
    let is_mark = matches!(mark, "old" | "bak" | "prev")
        || (mark.contains(|c: char| c.is_ascii_digit())
            && mark
                .chars()
                .all(|c| c.is_ascii_digit() || "-_.:TZ".contains(c)));
    is_mark.then(|| mark.to_owned())
}

fn is_packed(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    PACKED.iter().any(|end| name.ends_with(end.as_bytes()))
}

/// Where to go on from a remembered position.
#[derive(Debug)]
pub(super) struct Resumed {
    /// Rotated files to read to their end first, oldest first, each from an offset.
    pub(super) rotated: Vec<(PathBuf, u64)>,
    /// The offset in the file that stands at the path now.
    pub(super) offset: u64,
    /// What may be missing, in words.
    pub(super) gap: Option<String>,
}

/// Finds the bytes that came after a position, through rotation by rename: the file with that inode may stand
/// under another name in the same folder by now (`app.log.1`). If it is gone or compressed, what it held after
/// the position cannot be read, and [`Resumed::gap`] says so.
///
/// # Errors
/// The folder or the file cannot be read.
pub(super) fn resume(path: &Path, position: &LogPosition) -> io::Result<Resumed> {
    let current = match fs::metadata(path) {
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(meta) = &current
        && meta.ino() == position.inode
    {
        let is_whole = meta.len() >= position.offset;
        return Ok(Resumed {
            rotated: Vec::new(),
            offset: if is_whole { line_start(path, position.offset)? } else { 0 },
            gap: (!is_whole).then(|| {
                format!(
                    "{} was truncated after the checkpoint: what it held in between is not there any more",
                    path.display()
                )
            }),
        });
    }
    let mut siblings = siblings(path)?;
    siblings.retain(|file| !file.is_packed);
    let found = siblings
        .iter()
        .position(|file| file.meta.ino() == position.inode);
    Ok(match found {
        Some(first) => Resumed {
            rotated: siblings
                .drain(first..)
                .enumerate()
                .map(|(n, file)| {
                    let start = if n == 0 {
                        line_start(&file.path, position.offset)?
                    } else {
                        0
                    };
                    Ok((file.path, start))
                })
                .collect::<io::Result<_>>()?,
            offset: 0,
            gap: None,
        },
        None => Resumed {
            rotated: Vec::new(),
            offset: 0,
            gap: Some(format!(
                "{} was rotated after the checkpoint and the old file is not there any more: lines in between are missing",
                path.display()
            )),
        },
    })
}

/// The file with this inode: the one at the path, or one that was rotated away from there.
///
/// # Errors
/// It is neither, which is said in words; or a folder cannot be read.
pub(super) fn open_inode(path: &Path, inode: u64) -> io::Result<File> {
    match File::open(path) {
        Ok(file) if file.metadata()?.ino() == inode => return Ok(file),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // A file that was rotated meanwhile may itself have been `app.log.1`: the log's name is asked for its siblings.
    for log in [Some(path.to_owned()), log_of(path)].into_iter().flatten() {
        let file = File::open(&log).ok();
        let others = siblings(&log)?;
        let others = others
            .iter()
            .filter(|other| other.meta.ino() == inode)
            .filter_map(|other| File::open(&other.path).ok());
        for file in file.into_iter().chain(others) {
            if file.metadata()?.ino() == inode {
                return Ok(file);
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "the file was rotated and is not there any more",
    ))
}

/// `app.log` of `app.log.1`.
fn log_of(rotated: &Path) -> Option<PathBuf> {
    let name = rotated.file_name()?.to_str()?;
    name.rmatch_indices(['.', '-', '_'])
        .map(|(at, _)| rotated.with_file_name(&name[..at]))
        .find(|log| rotation_of(log, rotated).is_some())
}

/// The start of the line that an offset lies in: a position that was taken while a line was being written must
/// not cut that line. It then stands on both sides, and none is lost.
fn line_start(path: &Path, offset: u64) -> io::Result<u64> {
    end_of_last_line(&File::open(path)?, offset)
}

/// The rotated files that a span of time reaches back into.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Files to read before the log itself, oldest first.
    pub(super) files: Vec<PathBuf>,
    /// What may be missing, in words.
    pub(super) gap: Option<String>,
}

/// Looks from the log back through its rotated files until one begins before the instant. Where none does, the
/// oldest is not old enough, and [`History::gap`] says so. A log whose lines have no times is not cut by time.
///
/// # Errors
/// The folder or the log cannot be read. A rotated file that cannot be read is told as a gap.
pub(super) fn history(
    path: &Path,
    log: &File,
    since: Timestamp,
    times: &TimeReader,
) -> io::Result<History> {
    let meta = log.metadata()?;
    let is_empty = meta.len() == 0;
    match first_time(log, times)? {
        Some(at) if at <= since => return Ok(History::default()),
        None if !is_empty => return Ok(History::default()),
        _ => {}
    }
    let mut found = History::default();
    let mut begins = None;
    let mut older = siblings(path)?;
    older.retain(|file| file.meta.ino() != meta.ino());
    for older in older.into_iter().rev() {
        match first_time_of(&older.path, times) {
            Ok(at) => {
                begins = at;
                found.files.insert(0, older.path);
                if at.is_some_and(|at| at <= since) {
                    return Ok(found);
                }
            }
            Err(error) => {
                found.gap = Some(format!(
                    "{} cannot be read ({error}): what it and older files hold is missing",
                    older.path.display()
                ));
                return Ok(found);
            }
        }
    }
    if let Some(oldest) = found.files.first() {
        let from = begins.map_or_else(String::new, |at| format!(", which begins at {at:.0}"));
        found.gap = Some(format!(
            "nothing is left from before {}{from}",
            oldest.display()
        ));
    }
    Ok(found)
}

fn first_time_of(path: &Path, times: &TimeReader) -> io::Result<Option<Timestamp>> {
    let name = path.as_os_str().as_encoded_bytes();
    if name.ends_with(b".xz") || name.ends_with(b".bz2") {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only gzip and zstd are unpacked",
        ));
    }
    first_time(&File::open(path)?, times)
}

/// The first time that a line near the start of a file says.
fn first_time(file: &File, times: &TimeReader) -> io::Result<Option<Timestamp>> {
    let mut start = vec![0; HEAD];
    let read = read_at(file, &mut start, 0)?;
    start.truncate(read);
    let mut head = Vec::new();
    match unpack::text(start.as_slice())?
        .take(HEAD as u64)
        .read_to_end(&mut head)
    {
        // The start of a packed file ends in the middle.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    let mut times = times.clone();
    let mut rest = head.as_slice();
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        if let Some(at) = read_line(&rest[..end], &mut times).at {
            return Ok(Some(at));
        }
        rest = &rest[(end + 1).min(rest.len())..];
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        let rotated = |other: &str| rotation_of(Path::new("logs/app.log"), Path::new(other));
        for (name, mark) in [
            ("app.log.1", "1"),
            ("app.log.12.gz", "12"),
            ("app.log-20251227", "20251227"),
            ("app.log-20251227-140000.zst", "20251227-140000"),
            ("app-2025-12-27.log", "2025-12-27"),
            ("app.2.log.gz", "2"),
            ("app.log.old", "old"),
        ] {
            assert_eq!(rotated(name).as_deref(), Some(mark), "{name}");
        }
        for name in [
            "app.log",
            "app.log.swp",
            "app-errors.log",
            "app.log~",
            "other.log.1",
            "app2.log",
            "app.log.",
        ] {
            assert_eq!(rotated(name), None, "{name}");
        }
        assert_eq!(log_of(Path::new("a/app.log.1")), Some("a/app.log".into()));
        assert_eq!(log_of(Path::new("a/app.log")), None);
    }

    #[test]
    fn numbers_go_before_times_and_the_oldest_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["app.log.1", "app.log.10", "app.log.2.gz", "app.log"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = siblings(&dir.path().join("app.log")).unwrap();
        let names: Vec<&str> = found
            .iter()
            .map(|file| file.path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["app.log.10", "app.log.2.gz", "app.log.1"]);
    }

    #[test]
    fn history_goes_back_as_far_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let at = |hour: i64| Timestamp::from_second(1_700_000_000 + hour * 3600).unwrap();
        for (name, hour) in [("app.log.2", 0), ("app.log.1", 10), ("app.log", 20)] {
            fs::write(dir.path().join(name), format!("{} INFO x\n", at(hour))).unwrap();
        }
        let look = |hour| {
            history(
                &path,
                &File::open(&path).unwrap(),
                at(hour),
                &TimeReader::utc(),
            )
            .unwrap()
        };
        assert!(look(21).files.is_empty() && look(20).files.is_empty());
        assert_eq!(look(15).files, [dir.path().join("app.log.1")]);
        assert_eq!(look(15).gap, None);
        assert_eq!(look(5).files.len(), 2);
        let far = look(-1);
        assert_eq!(far.files.len(), 2);
        assert!(far.gap.unwrap().contains("nothing is left from before"));
    }
}
