//! Files and standard input, compressed or not, read once in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tokio_util::sync::CancellationToken;

use crate::analysis::scan::{Scan, Scanner};
use crate::host::tail::read_at;
use crate::host::unpack::{self, Packing};
use crate::ops::{ErrorKind, OpsError};

/// Bytes that are read at once.
const CHUNK: usize = 256 * 1024;
/// So many bytes at the start tell whether it is text.
const LOOK: usize = 8 * 1024;
/// Files from this size on are read in two parts at once …
const SPLIT_FROM: u64 = 32 << 20;
/// … when the headers have been learned from so many bytes.
const HEAD: usize = 4 << 20;

/// Opens a file for reading.
pub(super) fn open(path: &Path) -> Result<File, OpsError> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::Usage,
            _ => ErrorKind::Failed,
        };
        let what = match error.kind() {
            io::ErrorKind::NotFound => format!("no such file: {shown}"),
            _ => format!("cannot read {shown}"),
        };
        let made = OpsError::new(kind, what);
        match kind {
            ErrorKind::Usage => made.fix("a path, -, checkpoint:ID[/service] or service:NAME"),
            _ => made.because(error),
        }
    };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!("{shown} is a folder, not a log"),
        ));
    }
    Ok(file)
}

/// The instant that a file's times without a date are held against: when it was last written.
pub(super) fn written_at(file: &File) -> Zoned {
    let at = file
        .metadata()
        .and_then(|m| m.modified())
        .ok()
        .and_then(|t| Timestamp::try_from(t).ok())
        .unwrap_or_else(Timestamp::now);
    at.to_zoned(TimeZone::system())
}

/// Reads a source to its end. It is decompressed by its first bytes, whatever it is called. With `is_text_only` a
/// binary file is refused; a saved log is read whatever is in it.
pub(super) fn scan(
    source: impl Read + Send,
    name: &str,
    mut scanner: Scanner,
    is_text_only: bool,
    cancel: &CancellationToken,
) -> Result<Scan, OpsError> {
    let mut reader = unpack::text(source).map_err(|e| failed(name, e))?;
    let mut chunk = vec![0u8; CHUNK];
    let mut looked = 0;
    loop {
        stop_if(cancel, name)?;
        let got = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(name, error)),
        };
        let look = &chunk[..got.min(LOOK.saturating_sub(looked))];
        if is_text_only && is_binary(look) {
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!("{name} is not a text log: it is full of control bytes"),
            )
            .fix("print it as text and read that from `-`: xzcat, bzcat, journalctl"));
        }
        looked += got;
        scanner.feed(&chunk[..got]);
    }
    Ok(scanner.finish())
}

/// Reads a file to its end, a large one in two parts at once. As [`scan`] otherwise.
pub(super) fn scan_file(
    file: File,
    name: &str,
    mut scanner: Scanner,
    is_text_only: bool,
    cancel: &CancellationToken,
) -> Result<Scan, OpsError> {
    // A pipe has no length, nor places to read at.
    let length = file.metadata().map_err(|e| failed(name, e))?.len();
    if length < SPLIT_FROM {
        return scan(file, name, scanner, is_text_only, cancel);
    }
    let mut head = vec![0; HEAD];
    let got = read_at(&file, &mut head, 0).map_err(|e| failed(name, e))?;
    if got < HEAD || Packing::of(&head).is_some() || is_binary(&head[..LOOK]) {
        return scan(file, name, scanner, is_text_only, cancel);
    }
    scanner.feed(&head);
    drop(head);
    let later = later_part(&file, &scanner, length).map_err(|e| failed(name, e))?;
    let Some((mut later, cut)) = later else {
        feed(&file, name, &mut scanner, HEAD as u64..u64::MAX, cancel)?;
        return Ok(scanner.finish());
    };
    std::thread::scope(|scope| {
        let behind = scope.spawn(|| feed(&file, name, &mut later, cut..u64::MAX, cancel));
        let own = feed(&file, name, &mut scanner, HEAD as u64..cut, cancel);
        let behind = behind.join().unwrap_or_else(|_| {
            let what = format!("reading {name} broke off");
            Err(OpsError::new(ErrorKind::Failed, what))
        });
        own.and(behind)
    })?;
    scanner.append(later);
    Ok(scanner.finish())
}

/// A scanner for the second half of what follows the head, and where that begins; `None` where the halves cannot be read
/// apart.
fn later_part(file: &File, first: &Scanner, length: u64) -> io::Result<Option<(Scanner, u64)>> {
    let Some(later) = first.for_later_part() else {
        return Ok(None);
    };
    let middle = u64::midpoint(HEAD as u64, length);
    let mut piece = vec![0; HEAD];
    let got = read_at(file, &mut piece, middle)?;
    let begin = later.place_to_begin(&piece[..got]);
    Ok(begin.map(|begin| (later, middle + begin as u64)))
}

/// Feeds a part of a file to a scanner, up to the file's end at most.
fn feed(
    file: &File,
    name: &str,
    scanner: &mut Scanner,
    part: std::ops::Range<u64>,
    cancel: &CancellationToken,
) -> Result<(), OpsError> {
    let mut chunk = vec![0; CHUNK];
    let mut at = part.start;
    while at < part.end {
        stop_if(cancel, name)?;
        let length = (part.end - at).min(CHUNK as u64) as usize;
        let got = read_at(file, &mut chunk[..length], at).map_err(|e| failed(name, e))?;
        if got == 0 {
            break;
        }
        scanner.feed(&chunk[..got]);
        at += got as u64;
    }
    Ok(())
}

fn stop_if(cancel: &CancellationToken, name: &str) -> Result<(), OpsError> {
    if cancel.is_cancelled() {
        let what = format!("reading {name} was cancelled");
        return Err(OpsError::new(ErrorKind::Failed, what));
    }
    Ok(())
}

/// A program may write a control byte now and then; whatever is packed or compiled is full of them.
fn is_binary(bytes: &[u8]) -> bool {
    let controls = bytes
        .iter()
        .filter(|b| **b < 0x20 && !matches!(**b, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x1b))
        .count();
    controls * 20 > bytes.len()
}

fn failed(name: &str, error: io::Error) -> OpsError {
    // A damaged archive is bad input; everything else is the machine's.
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            ErrorKind::Usage
        }
        _ => ErrorKind::Failed,
    };
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("{name} is cut off: the compressed data ends early")
        }
        _ => format!("cannot read {name}"),
    };
    OpsError::new(kind, what).because(error)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::analysis::parse::time::TimeReader;
    use crate::analysis::scan::ScanOptions;
    use crate::domain::settings::RequestRules;

    fn read(bytes: &[u8]) -> Result<Scan, OpsError> {
        let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
        scan(
            io::Cursor::new(bytes.to_vec()),
            "x.log",
            Scanner::new(options),
            true,
            &CancellationToken::new(),
        )
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_and_plain_are_the_same() {
        let text = b"INFO one\nINFO two\nERROR three\n".repeat(1000);
        let plain = read(&text).unwrap();
        let two_members = [gzip(&text[..15_000]), gzip(&text[15_000..])].concat();
        for bytes in [
            gzip(&text),
            two_members,
            zstd::encode_all(text.as_slice(), 1).unwrap(),
        ] {
            let scan = read(&bytes).unwrap();
            assert_eq!((scan.records(), scan.bytes), (plain.records(), plain.bytes));
        }
    }

    #[test]
    fn damaged_and_binary_input_is_named() {
        let text = (0..10_000)
            .map(|i| format!("INFO line {i} {}\n", i * 7919))
            .collect::<String>();
        for packed in [
            gzip(text.as_bytes()),
            zstd::encode_all(text.as_bytes(), 1).unwrap(),
        ] {
            let error = read(&packed[..packed.len() / 2]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage, "{error}");
            assert!(error.to_string().contains("x.log is cut off"), "{error}");
        }
        let error = read(b"\x7fELF\0\0\0\0\0").unwrap_err();
        assert!(error.to_string().contains("not a text log"));
        // Packed by something that is not unpacked here (xz): hardly any NUL, every byte as likely as another.
        let packed: Vec<u8> = (0u32..8192)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let error = read(&packed).unwrap_err();
        assert!(error.to_string().contains("not a text log"), "{error}");
        let coloured = "\u{1b}[31mERROR\u{1b}[0m ошибка\r\n".repeat(500);
        assert!(read(coloured.as_bytes()).is_ok());
        assert_eq!(read(b"").unwrap().records(), 0);
        assert_eq!(read(b"ab").unwrap().records(), 1);
    }

    #[test]
    fn a_byte_order_mark_hides_no_error() {
        let levels = |bytes: &[u8]| read(bytes).unwrap().services[0].levels.error;
        let text = b"2025-12-27 10:00:00 ERROR failed\n";
        let marked = [b"\xef\xbb\xbf".as_slice(), text].concat();
        assert_eq!((levels(&marked), levels(text)), (1, 1));
    }

    #[test]
    fn a_large_file_is_read_as_a_small_one() {
        let line = |n: u64| {
            format!(
                "2025-12-27 10:{:02}:{:02} INFO [w] GET /orders/{n} completed in {} ms status=200\n",
                n / 6000 % 60,
                n / 100 % 60,
                n % 700
            )
        };
        let text: String = (0..600_000).map(line).collect();
        assert!(text.len() as u64 > SPLIT_FROM);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let scanner = || {
            let rules = RequestRules::default();
            Scanner::new(ScanOptions::new(&rules, TimeReader::utc()).unwrap())
        };
        let cancel = CancellationToken::new();
        let parts = scan_file(file, "x.log", scanner(), true, &cancel).unwrap();
        let whole = scan(io::Cursor::new(text), "x.log", scanner(), true, &cancel).unwrap();
        assert_eq!((parts.lines, parts.bytes), (whole.lines, whole.bytes));
        let [parts, whole] = [&parts, &whole].map(|s| &s.services[0]);
        assert_eq!(parts.total.counts, whole.total.counts);
        assert_eq!(parts.total.latency.coarse(), whole.total.latency.coarse());
        assert_eq!(parts.span, whole.span);
        let counts = |scan: &crate::analysis::scan::ServiceScan| -> Vec<(u64, u64, u64)> {
            let mut counts: Vec<_> = (scan.shapes.iter())
                .map(|(key, shape)| (*key, shape.count, shape.seconds))
                .collect();
            counts.sort_unstable();
            counts
        };
        assert_eq!(counts(parts), counts(whole));
    }

    #[test]
    fn a_pipe_is_read_like_a_file() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"INFO one\nERROR two\n").unwrap();
        drop(writer);
        let pipe = File::from(std::os::fd::OwnedFd::from(reader));
        let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
        let cancel = CancellationToken::new();
        let scan = scan_file(pipe, "/dev/fd/3", Scanner::new(options), true, &cancel).unwrap();
        assert_eq!(scan.records(), 2);
    }

    #[test]
    fn a_missing_file_is_a_wrong_name() {
        let error = open(Path::new("/no/such/file.log")).unwrap_err();
        assert_eq!(
            (error.kind, error.to_string().as_str()),
            (ErrorKind::Usage, "no such file: /no/such/file.log")
        );
        assert_eq!(open(Path::new("/")).unwrap_err().kind, ErrorKind::Usage);
    }
}
