//! The hash chain: how a line is sealed, and how a file of lines is walked and checked.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::domain::digest;
use crate::domain::outcome::AuditRecord;
use crate::domain::safe_text::SafeText;
use crate::store::paths::StoreError;

use super::{AuditError, GENESIS};

/// How a record ends that has no hash yet.
const EMPTY_HASH: &str = ",\"hash\":\"\"}";
/// A line longer than this was not written by us.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// Where the chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ChainFault {
    /// The file.
    pub file: SafeText,
    /// The line, from 1.
    pub line: u64,
    /// What does not agree.
    pub problem: SafeText,
}

/// The end of a chain that agrees with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// How many records there are.
    pub records: u64,
    /// The hash of the newest; 64 zeros without any.
    pub hash: String,
    /// A last line that a crash cut off, as `file:line`; the next record sets it aside.
    pub torn: Option<SafeText>,
}

/// One whole line and its place.
pub(super) struct Line<'a> {
    path: &'a Path,
    number: u64,
    text: &'a [u8],
}

impl Line<'_> {
    fn fault(&self, problem: &str) -> ChainFault {
        ChainFault {
            file: SafeText::from_text(&self.path.display().to_string()),
            line: self.number,
            problem: SafeText::from_text(problem),
        }
    }

    /// The line as it stands there, without its break.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.text).trim_end().to_owned()
    }

    /// Reads the record without looking at its hash.
    pub(super) fn record(&self) -> Result<AuditRecord, ChainFault> {
        serde_json::from_slice(self.text)
            .map_err(|error| self.fault(&format!("not an audit record: {error}")))
    }

    /// Reads the record and holds it against its own hash and against the record before.
    pub(super) fn check(&self, records_before: u64, prev: &str) -> Result<AuditRecord, ChainFault> {
        let record = self.record()?;
        if digest::unseal(self.text) != Some(record.hash.as_str()) {
            return Err(self.fault(&format!(
                "record {} was edited: it does not agree with its hash",
                record.seq
            )));
        }
        if record.seq != records_before + 1 {
            return Err(self.fault(&format!(
                "record {} stands where record {} should be: records are missing or were moved",
                record.seq,
                records_before + 1
            )));
        }
        if record.prev != prev {
            return Err(self.fault(&format!(
                "record {} does not continue the record before it: records were replaced",
                record.seq
            )));
        }
        Ok(record)
    }
}

/// Puts the hash on a record. Returns the line with its break, and the hash.
pub(super) fn seal(mut record: AuditRecord) -> (Vec<u8>, String) {
    record.hash.clear();
    let mut object = serde_json::to_vec(&record).expect("a record is made of strings and numbers");
    object.truncate(object.len() - EMPTY_HASH.len());
    object.push(b'}');
    digest::seal(&object)
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(match path.extension().and_then(|e| e.to_str()) {
        Some("zst") => Box::new(BufReader::new(zstd::Decoder::new(file)?)),
        Some("gz") => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(file))),
        _ => Box::new(BufReader::new(file)),
    })
}

/// Gives each whole line to `visit`. Returns the place of a last line without its break: a crash cut it off.
pub(super) fn walk(
    files: &[PathBuf],
    mut visit: impl FnMut(&Line<'_>) -> Result<(), ChainFault>,
) -> Result<Option<SafeText>, AuditError> {
    let mut torn = None;
    for (index, path) in files.iter().enumerate() {
        let mut reader = open(path).map_err(StoreError::at("read", path))?;
        let mut text = Vec::new();
        let mut number = 0;
        loop {
            text.clear();
            let read = reader
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut text)
                .map_err(StoreError::at("read", path))?;
            if read == 0 {
                break;
            }
            number += 1;
            let is_whole = text.pop_if(|last| *last == b'\n').is_some();
            let line = Line {
                path,
                number,
                text: &text,
            };
            if is_whole {
                visit(&line)?;
            } else if index + 1 == files.len() {
                torn = Some(SafeText::from_text(&format!("{}:{number}", path.display())));
            } else {
                return Err(line
                    .fault("the line is cut off and later files go on")
                    .into());
            }
        }
    }
    Ok(torn)
}

/// The number and the hash of the newest record; `None` for an empty log.
///
/// A last line that is no record (someone wrote into the log) does not stop the next one: a damaged log must not
/// forbid a rollback. The chain then goes on from the hash of that line's bytes, and verifying names the line.
pub(super) fn tail(files: &[PathBuf]) -> Result<Option<(u64, String)>, AuditError> {
    for path in files.iter().rev() {
        let mut reader = open(path).map_err(StoreError::at("read", path))?;
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(StoreError::at("read", path))?;
        let mut lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let Some(last) = lines.next_back() else {
            continue;
        };
        if let Ok(record) = serde_json::from_slice::<AuditRecord>(last) {
            return Ok(Some((record.seq, record.hash)));
        }
        let known = lines
            .rev()
            .find_map(|line| serde_json::from_slice::<AuditRecord>(line).ok())
            .map_or(0, |record| record.seq);
        return Ok(Some((known + 1, digest::sha256(last))));
    }
    debug_assert_eq!(GENESIS.len(), 64);
    Ok(None)
}

/// Where the last line of a plain file begins and what it holds, if it has no line break.
pub(super) fn torn_tail(path: &Path) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    if path.extension().is_none_or(|e| e != "jsonl") {
        return Ok(None);
    }
    let bytes = fs::read(path).map_err(StoreError::at("read", path))?;
    let start = bytes
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    Ok((start < bytes.len()).then(|| (start as u64, bytes[start..].to_vec())))
}
