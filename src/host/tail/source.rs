//! One log file that is being read: where reading stands, and how rotation is noticed.
//!
//! A file is known by its device and inode while it is open, so a rename does not confuse it. Truncation in
//! place (`copytruncate`) leaves the inode: it shows as a smaller file, or, if the file has grown past our
//! offset again in the meantime, as other bytes before the offset than those that were read there.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lines::{LineSplitter, READ_BYTES, end_of_last_line, read_at};
use crate::domain::log::{LogBlock, LogPosition};

/// How many bytes before the offset are remembered to notice truncation.
const WITNESS: usize = 64;

/// Where a [`Source`]'s lines go; an error means that nobody listens.
pub(super) type Emit<'a> = dyn FnMut(LogBlock) -> Result<(), Closed> + 'a;

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum ReadEnd {
    /// Nobody listens.
    Closed,
    /// The file cannot be read.
    Io(io::Error),
}

impl From<io::Error> for ReadEnd {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Closed> for ReadEnd {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// A file open for reading at an offset.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    identity: (u64, u64),
    offset: u64,
    splitter: LineSplitter,
    witness: Vec<u8>,
}

/// What a look at the path of an open file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The same file, as long as or longer than before.
    Same,
    /// The same file, made empty and perhaps written again.
    Truncated,
    /// Another file stands at the path.
    Replaced,
    /// No file stands at the path.
    Missing,
}

impl Source {
    /// Opens a regular file at its start.
    ///
    /// # Errors
    /// It is missing, may not be read, or is no regular file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        Ok(Self {
            file,
            identity: identity(&meta),
            offset: 0,
            splitter: LineSplitter::default(),
            witness: Vec::new(),
        })
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its length now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Goes on from an offset.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = offset;
        self.splitter = LineSplitter::default();
        let from = offset.saturating_sub(WITNESS as u64);
        self.witness.resize((offset - from) as usize, 0);
        let read = read_at(&self.file, &mut self.witness, from)?;
        self.witness.truncate(read);
        Ok(())
    }

    /// Sends every line that was ended since the last call, up to `limit` bytes of the file.
    pub(super) fn read_to(&mut self, limit: u64, emit: &mut Emit<'_>) -> Result<(), ReadEnd> {
        let mut buffer = vec![0; READ_BYTES];
        let mut block = LogBlock::default();
        while self.offset < limit {
            let wanted = (limit - self.offset).min(READ_BYTES as u64) as usize;
            let read = read_at(&self.file, &mut buffer[..wanted], self.offset)?;
            if read == 0 {
                break;
            }
            self.offset += read as u64;
            self.remember(&buffer[..read]);
            self.splitter.split(&buffer[..read], &mut block, |block| {
                emit(std::mem::take(block))
            })?;
        }
        if !block.is_empty() {
            emit(block)?;
        }
        Ok(())
    }

    /// Sends the unfinished last line as a line: nothing will end it any more.
    pub(super) fn finish(&mut self, emit: &mut Emit<'_>) -> Result<(), ReadEnd> {
        let mut block = LogBlock::default();
        self.splitter.finish(&mut block);
        if !block.is_empty() {
            emit(block)?;
        }
        Ok(())
    }

    /// Compares what stands at the path now with what is open.
    pub(super) fn look(&self, path: &Path) -> io::Result<Look> {
        match fs::metadata(path) {
            Ok(meta) if identity(&meta) != self.identity => Ok(Look::Replaced),
            Ok(meta) if meta.len() < self.offset => Ok(Look::Truncated),
            Ok(meta) if meta.len() > self.offset && !self.is_witnessed()? => Ok(Look::Truncated),
            Ok(_) => Ok(Look::Same),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Look::Missing),
            Err(error) => Err(error),
        }
    }

    /// Whether the bytes before the offset are still those that were read there.
    fn is_witnessed(&self) -> io::Result<bool> {
        let mut now = [0; WITNESS];
        let now = &mut now[..self.witness.len()];
        let from = self.offset - self.witness.len() as u64;
        Ok(read_at(&self.file, now, from)? == now.len() && now == self.witness.as_slice())
    }

    fn remember(&mut self, read: &[u8]) {
        if read.len() >= WITNESS {
            self.witness.clear();
            self.witness
                .extend_from_slice(&read[read.len() - WITNESS..]);
        } else {
            self.witness.extend_from_slice(read);
            let surplus = self.witness.len().saturating_sub(WITNESS);
            self.witness.drain(..surplus);
        }
    }
}

fn identity(meta: &Metadata) -> (u64, u64) {
    (meta.dev(), meta.ino())
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
    siblings.sort_by_key(|(_, meta)| (meta.mtime(), meta.mtime_nsec()));
    let found = siblings.iter().position(|(p, meta)| {
        meta.ino() == position.inode && p.extension().is_none_or(|e| e != "gz")
    });
    Ok(match found {
        Some(first) => Resumed {
            rotated: siblings
                .drain(first..)
                .enumerate()
                .map(|(n, (p, _))| {
                    let start = if n == 0 {
                        line_start(&p, position.offset)?
                    } else {
                        0
                    };
                    Ok((p, start))
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

/// The start of the line that an offset lies in: a position that was taken while a line was being written must
/// not cut that line. It then stands on both sides, and none is lost.
fn line_start(path: &Path, offset: u64) -> io::Result<u64> {
    end_of_last_line(&File::open(path)?, offset)
}

/// Uncompressed rotated files of a log: `app.log.1`, `app.log-20251227`, beside `app.log`.
fn siblings(path: &Path) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let other = entry.file_name();
        let Some(rest) = other.to_str().and_then(|o| o.strip_prefix(name)) else {
            continue;
        };
        let is_rotated = rest.starts_with(['.', '-', '_'])
            && ![".gz", ".zst", ".xz", ".bz2"]
                .iter()
                .any(|end| rest.ends_with(end));
        if is_rotated
            && let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            found.push((entry.path(), meta));
        }
    }
    Ok(found)
}
