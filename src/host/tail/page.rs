//! A part of a log file that is read again: the lines before or after a place.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::last::LastLines;
use super::lines::{LineSplitter, READ_BYTES, next_line, read_at, start_of_last};
use super::rotated::open_inode;
use super::source::Closed;
use super::stream::is_packed;
use super::{TailError, names, on_blocking_thread};
use crate::domain::log::{LogBlock, LogPage, LogPosition, PageBorder, PageRequest};
use crate::host::unpack;

/// A page holds at most so many bytes of text, or one line.
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the last lines that begin before a place of a file, or the first that begin at it or after it. The file is
/// known by its inode: where it was rotated since, it is found under its new name beside the files of `paths`.
/// A page ends at [`PageRequest::lines`] or at 4 MiB of text, and at the present end of the file, an unterminated last
/// line included. A compressed file is unpacked from its start.
///
/// # Errors
/// The file is gone, which is said in words, or cannot be read; or the border is a time, which a file has none of.
pub async fn read_page(paths: &[PathBuf], request: &PageRequest) -> Result<LogPage, TailError> {
    let PageBorder::Place(position) = &request.border else {
        let first = paths.first().cloned().unwrap_or_default();
        let why = "a part of a file is asked for by its place, not by a time";
        return Err(TailError::new(
            first,
            io::Error::new(io::ErrorKind::InvalidInput, why),
        ));
    };
    let position = position.clone();
    let entries = paths.to_vec();
    let (lines, is_backward) = (request.lines, request.is_backward);
    on_blocking_thread(move || {
        let read = |file: &File| match (is_packed(file)?, is_backward) {
            (true, _) => unpacked(file, position.offset, lines, is_backward),
            (false, true) => before(file, position.offset, lines),
            (false, false) => after(file, position.offset, lines),
        };
        open(&entries, &position)
            .and_then(|file| read(&file))
            .map_err(|source| TailError::new(position.path.clone(), source))
    })
    .await
}

/// The file of a position, under whatever name it has now.
pub(super) fn open(entries: &[PathBuf], position: &LogPosition) -> io::Result<File> {
    let gone = match open_inode(&position.path, position.inode) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        found => return found,
    };
    let paths = names::resolve(entries, false).unwrap_or_default();
    paths
        .files
        .iter()
        .find_map(|path| open_inode(path, position.inode).ok())
        .ok_or(gone)
}

fn before(file: &File, border: u64, lines: u64) -> io::Result<LogPage> {
    let border = border.min(file.metadata()?.len());
    let floor = border.saturating_sub(PAGE_BYTES);
    let mut start = start_of_last(file, lines, floor, border)?;
    if start == floor && floor > 0 {
        // The limit may lie inside a line; a line that is longer than a page is a page of its own.
        start = match next_line(file, floor - 1, border)? {
            Some(next) if next < border => next,
            _ => start_of_last(file, 1, 0, border)?,
        };
    }
    let mut page = Collector::new(u64::MAX, u64::MAX);
    page.read(From { file, at: start }.take(border - start), start)?;
    Ok(page.finish(start == 0))
}

fn after(file: &File, border: u64, lines: u64) -> io::Result<LogPage> {
    let mut page = Collector::new(lines, PAGE_BYTES);
    let is_edge = page.read(From { file, at: border }, border)?;
    Ok(page.finish(is_edge))
}

/// A page of a compressed file, whose places count the bytes of its text.
fn unpacked(file: &File, border: u64, lines: u64, is_backward: bool) -> io::Result<LogPage> {
    let mut text = unpack::text(From { file, at: 0 })?;
    if !is_backward {
        io::copy(&mut text.by_ref().take(border), &mut io::sink())?;
        let mut page = Collector::new(lines, PAGE_BYTES);
        let is_edge = page.read(text, border)?;
        return Ok(page.finish(is_edge));
    }
    let mut last = LastLines::of(Some(lines));
    // Nobody stops it early.
    let _ = read_lines(text.take(border), 0, &mut |block| {
        last.take(block);
        Ok(())
    })?;
    let block = last.finish().unwrap_or_default();
    let surplus = (block.bytes.len() as u64).saturating_sub(PAGE_BYTES);
    let mut page = LogBlock::default();
    for (n, (line, text)) in block.iter().enumerate() {
        if u64::from(line.start) >= surplus || n + 1 == block.lines.len() {
            page.push_at(line.place, line.at, line.stream, text, line.cut_bytes);
        }
    }
    let is_edge = page
        .lines
        .first()
        .map_or(border == 0, |line| line.place == 0);
    Ok(LogPage {
        blocks: vec![page],
        is_edge,
    })
}

/// Gathers lines up to a limit.
struct Collector {
    blocks: Vec<LogBlock>,
    lines: u64,
    bytes: u64,
}

impl Collector {
    fn new(lines: u64, bytes: u64) -> Self {
        Self {
            blocks: Vec::new(),
            lines,
            bytes,
        }
    }

    /// Takes the lines of a text that begins at a place; says whether there was room for all of them.
    fn read(&mut self, text: impl Read, place: u64) -> io::Result<bool> {
        read_lines(text, place, &mut |block| self.take(block))
    }

    fn take(&mut self, mut block: LogBlock) -> Result<(), Closed> {
        let room = usize::try_from(self.lines).unwrap_or(usize::MAX);
        let is_first = self.blocks.is_empty();
        let fitting = block
            .lines
            .iter()
            .enumerate()
            .take(room)
            .take_while(|(n, line)| u64::from(line.end) <= self.bytes || (is_first && *n == 0))
            .count();
        let is_cut = fitting < block.lines.len();
        block.lines.truncate(fitting);
        if let Some(last) = block.lines.last() {
            block.bytes.truncate(last.end as usize + 1);
            self.lines -= fitting as u64;
            self.bytes = self.bytes.saturating_sub(block.bytes.len() as u64);
            self.blocks.push(block);
        }
        if is_cut { Err(Closed) } else { Ok(()) }
    }

    fn finish(self, is_edge: bool) -> LogPage {
        LogPage {
            blocks: self.blocks,
            is_edge,
        }
    }
}

/// Cuts a text that begins at a place into blocks of lines, until it ends or `take` wants no more; says whether it
/// ended.
fn read_lines(
    mut text: impl Read,
    place: u64,
    take: &mut dyn FnMut(LogBlock) -> Result<(), Closed>,
) -> io::Result<bool> {
    let mut splitter = LineSplitter::at(place);
    let mut buffer = vec![0; READ_BYTES];
    let mut block = LogBlock::default();
    loop {
        let read = match text.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let split = splitter.split(&buffer[..read], &mut block, |block| {
            take(std::mem::take(block))
        });
        if split
            .and_then(|()| take(std::mem::take(&mut block)))
            .is_err()
        {
            return Ok(false);
        }
    }
    splitter.finish(&mut block);
    Ok(take(block).is_ok())
}

/// Reads an open file from an offset, whatever else reads it.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    /// Places and lengths of a page's lines.
    fn lines(page: &LogPage) -> Vec<(u64, usize)> {
        let lines = page.blocks.iter().flat_map(LogBlock::iter);
        lines.map(|(line, text)| (line.place, text.len())).collect()
    }

    fn ask(
        path: &std::path::Path,
        inode: u64,
        offset: u64,
        lines: u64,
        is_backward: bool,
    ) -> Result<LogPage, TailError> {
        let request = PageRequest {
            border: PageBorder::Place(LogPosition {
                path: path.to_owned(),
                inode,
                offset,
            }),
            is_backward,
            lines,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(read_page(&[path.to_owned()], &request))
    }

    #[test]
    fn a_page_is_found_after_rotation_and_one_that_is_gone_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        std::fs::write(&path, "one\ntwo\nthree").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let rotated = dir.path().join("app.log.1");
        std::fs::rename(&path, &rotated).unwrap();
        std::fs::write(&path, "new\n").unwrap();
        let page = ask(&path, inode, 8, 1, true).unwrap();
        assert_eq!((lines(&page), page.is_edge), (vec![(4, 3)], false));
        let page = ask(&path, inode, 4, 9, false).unwrap();
        assert_eq!((lines(&page), page.is_edge), (vec![(4, 3), (8, 5)], true));
        // Rotated on, asked for by the name it had in between.
        std::fs::rename(&rotated, dir.path().join("app.log.2")).unwrap();
        assert_eq!(lines(&ask(&rotated, inode, 4, 9, true).unwrap()), [(0, 3)]);
        std::fs::remove_file(dir.path().join("app.log.2")).unwrap();
        let error = ask(&path, inode, 4, 9, true).unwrap_err();
        assert!(
            error
                .source
                .to_string()
                .contains("rotated and is not there"),
            "{error:?}"
        );
    }

    #[test]
    fn a_page_has_a_limit_and_a_long_line_is_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let long = 6 * 1024 * 1024;
        let mut text = b"first\n".to_vec();
        text.resize(text.len() + long, b'x');
        text.extend(b"\n");
        let many = text.len() as u64;
        text.extend(b"0123456789abcde\n".repeat(400_000));
        std::fs::write(&path, &text).unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        let end = text.len() as u64;
        let page = ask(&path, inode, end, u64::MAX, true).unwrap();
        assert_eq!(lines(&page).len() as u64 * 16, PAGE_BYTES);
        let page = ask(&path, inode, many, 10, true).unwrap();
        assert_eq!(lines(&page), [(6, 1024 * 1024)]);
        assert!(page.blocks[0].lines[0].cut_bytes > 0 && !page.is_edge);
        let page = ask(&path, inode, 6, 10, true).unwrap();
        assert!(page.is_edge && lines(&page) == [(0, 5)]);
        let page = ask(&path, inode, many, u64::MAX, false).unwrap();
        assert!(!page.is_edge && lines(&page).len() as u64 * 16 <= PAGE_BYTES);
        assert_eq!(lines(&page)[0].0, many);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_are_the_lines_on_that_side(
            text in "([a-c]{0,5}\r?\n){0,40}[a-c]{0,3}",
            border in 0usize..41,
            wanted in 0u64..50,
            is_packed in any::<bool>(),
        ) {
            let mut all = Vec::new();
            let mut at = 0;
            for line in text.split_inclusive('\n') {
                all.push((at, line.trim_end_matches(['\n', '\r']).len()));
                at += line.len() as u64;
            }
            let border = border.min(all.len());
            let offset = all.get(border).map_or(at, |line| line.0);
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let bytes = match is_packed {
                true => zstd::encode_all(text.as_bytes(), 1).unwrap(),
                false => text.into_bytes(),
            };
            file.write_all(&bytes).unwrap();
            let inode = file.as_file().metadata().unwrap().ino();
            let wanted_lines = usize::try_from(wanted).unwrap();
            let page = ask(file.path(), inode, offset, wanted, true).unwrap();
            let before = &all[border.saturating_sub(wanted_lines)..border];
            prop_assert_eq!(lines(&page), before);
            prop_assert_eq!(page.is_edge, before.first().map_or(offset == 0, |l| l.0 == 0));
            let page = ask(file.path(), inode, offset, wanted, false).unwrap();
            let after = &all[border..(border + wanted_lines).min(all.len())];
            prop_assert_eq!(lines(&page), after);
            prop_assert_eq!(page.is_edge, border + wanted_lines >= all.len());
        }
    }
}
