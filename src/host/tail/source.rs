//! One log file that is being read: where reading stands, and how rotation is noticed.
//!
//! A file is known by its device and inode while it is open, so a rename does not confuse it. Truncation in
//! place (`copytruncate`) leaves the inode: it shows as a smaller file, or, if the file has grown past our
//! offset again in the meantime, as other bytes before the offset than those that were read there.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lines::{LineSplitter, READ_BYTES, read_at};
use crate::domain::log::LogBlock;

/// How many bytes before the offset are remembered to notice truncation.
const WITNESS: usize = 64;

/// Where a [`Source`]'s lines go; an error means that nobody listens.
pub(super) type Emit<'a> = dyn FnMut(&Arc<Origin>, LogBlock) -> Result<(), Closed> + 'a;

/// The file that lines come from. A file that is read again from elsewhere is another origin: compared by address.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Its path when it was opened.
    pub(super) path: PathBuf,
    /// Its inode.
    pub(super) inode: u64,
}

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
    origin: Arc<Origin>,
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
            origin: Arc::new(Origin {
                path: path.to_owned(),
                inode: meta.ino(),
            }),
            file,
            identity: identity(&meta),
            offset: 0,
            splitter: LineSplitter::at(0),
            witness: Vec::new(),
        })
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// What the lines that are read from here on come from.
    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Where reading goes on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Its device and inode.
    pub(super) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Its length now.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Goes on from an offset.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.origin = Arc::new(Origin::clone(&self.origin));
        self.offset = offset;
        self.splitter = LineSplitter::at(offset);
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
            let origin = &self.origin;
            self.splitter.split(&buffer[..read], &mut block, |block| {
                emit(origin, std::mem::take(block))
            })?;
        }
        if !block.is_empty() {
            emit(&self.origin, block)?;
        }
        Ok(())
    }

    /// Sends the unfinished last line as a line: nothing will end it any more.
    pub(super) fn finish(&mut self, emit: &mut Emit<'_>) -> Result<(), ReadEnd> {
        let mut block = LogBlock::default();
        self.splitter.finish(&mut block);
        if !block.is_empty() {
            emit(&self.origin, block)?;
        }
        Ok(())
    }

    /// Goes on in a copy of this file: what was written between our last look and the truncation stands there. Says
    /// whether the file at the path is such a copy: it holds the same bytes before our offset.
    pub(super) fn go_on_in_copy(&mut self, path: &Path) -> io::Result<bool> {
        let mut copy = Self::open(path)?;
        copy.offset = self.offset;
        std::mem::swap(&mut copy.witness, &mut self.witness);
        let is_copy =
            !copy.witness.is_empty() && copy.length()? >= self.offset && copy.is_witnessed()?;
        std::mem::swap(&mut copy.witness, &mut self.witness);
        if is_copy {
            copy.splitter = std::mem::replace(&mut self.splitter, LineSplitter::at(0));
            copy.witness = std::mem::take(&mut self.witness);
            *self = copy;
        }
        Ok(is_copy)
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
