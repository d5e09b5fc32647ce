//! Sources that can only be read from their start to their end: compressed files, standard input, pipes.
//!
//! The places of a compressed file's lines count the bytes of its text.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use super::STDIN;
use super::last::LastLines;
use super::lines::{LineSplitter, READ_BYTES};
use super::outlet::Outlet;
use super::source::{Origin, ReadEnd};
use super::window::Filter;
use crate::domain::log::{LogBlock, Stream};
use crate::host::unpack::{self, Packing};

/// A source that is read once.
pub(super) struct Once {
    text: Box<dyn Read + Send>,
    /// The file, where it is one.
    origin: Option<Arc<Origin>>,
}

/// Whether the path means a source of this kind.
///
/// # Errors
/// The file is missing or cannot be read.
pub(super) fn is_once(path: &Path) -> io::Result<bool> {
    if path == Path::new(STDIN) {
        return Ok(true);
    }
    // Looked at before it is opened: opening a pipe that nobody writes to would wait.
    let kind = fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_char_device() {
        return Ok(true);
    }
    Ok(kind.is_file() && is_packed(&File::open(path)?)?)
}

/// Whether the file's first bytes are those of gzip or zstd.
pub(super) fn is_packed(file: &File) -> io::Result<bool> {
    let mut head = [0; 4];
    let got = file.read_at(&mut head, 0)?;
    Ok(Packing::of(&head[..got]).is_some())
}

impl Once {
    /// Opens it; waits for its first bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new(STDIN) {
            return Ok(Self {
                text: unpack::text(io::stdin())?,
                origin: None,
            });
        }
        let file = File::open(path)?;
        let meta = file.metadata()?;
        let origin = meta.is_file().then(|| {
            Arc::new(Origin {
                path: path.to_owned(),
                inode: meta.ino(),
            })
        });
        Ok(Self {
            text: unpack::text(file)?,
            origin,
        })
    }

    /// Sends its lines, or the last so many of them, as they come.
    pub(super) fn read(
        mut self,
        filter: &mut Option<Filter>,
        last_lines: Option<u64>,
        out: &mut Outlet,
    ) -> Result<(), ReadEnd> {
        let mut last = LastLines::of(last_lines);
        let mut splitter = match self.origin {
            Some(_) => LineSplitter::at(0),
            None => LineSplitter::new(Stream::Stdout),
        };
        let mut buffer = vec![0; READ_BYTES];
        let mut block = LogBlock::default();
        let origin = self.origin.take();
        let mut emit = |mut block: LogBlock| {
            if let Some(filter) = filter {
                filter.apply(&mut block);
            }
            match (last.take(block), &origin) {
                (Some(block), Some(origin)) => out.block(origin, block),
                (Some(block), None) => out.stray(block),
                (None, _) => Ok(()),
            }
        };
        loop {
            let read = match self.text.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            splitter.split(&buffer[..read], &mut block, |block| {
                emit(std::mem::take(block))
            })?;
            // Whoever writes to a pipe may pause for an hour.
            emit(std::mem::take(&mut block))?;
        }
        splitter.finish(&mut block);
        emit(block)?;
        if let Some(block) = last.finish() {
            match &origin {
                Some(origin) => out.block(origin, block)?,
                None => out.stray(block)?,
            }
        }
        Ok(())
    }
}
