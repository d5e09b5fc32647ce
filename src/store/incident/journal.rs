//! One journal: how a line is appended, read back, and checked.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::IncidentError;
use crate::domain::digest;
use crate::domain::incident::{Incident, IncidentEvent, IncidentEventKind};
use crate::domain::safe_text::SafeText;
use crate::store::paths::{StateDir, StoreError};
use crate::store::sealed::{self, GENESIS};

/// Read from the end at first; a longer line is read in more.
const TAIL: u64 = 16 * 1024;

type Line = sealed::Line<IncidentEvent>;

/// The first place where a journal does not agree with itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {problem}")]
pub struct Fault {
    /// The line, from 1.
    pub line: u64,
    /// What does not agree.
    pub problem: SafeText,
}

/// A journal, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// What it says, the oldest first; lines that are no event are left out and told by [`Journal::fault`].
    pub events: Vec<IncidentEvent>,
    /// How many whole lines there are.
    pub lines: u64,
    /// The hash of the newest line; 64 zeros for an empty journal.
    pub head: String,
    /// The first line that does not agree; `None` for a whole chain.
    pub fault: Option<Fault>,
    /// What a crash left of a last line; the next writer puts it aside.
    pub torn: Option<SafeText>,
}

/// Holds a line against its own hash and against the line before.
fn check(text: &[u8], number: u64, prev: &str) -> Result<(IncidentEvent, String), Fault> {
    sealed::check(text, number, prev).map_err(|problem| Fault {
        line: number,
        problem: SafeText::from_text(&problem),
    })
}

/// The hash that a line hands on: its own, and of a damaged one that of its bytes, so that writing goes on.
fn handed_on(text: &[u8]) -> String {
    digest::unseal(text).map_or_else(|| digest::sha256(text), str::to_owned)
}

/// See [`super::IncidentStore::read`].
pub(super) fn read(path: &Path) -> Result<Journal, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::at("read", path))?;
    Ok(walk(&bytes))
}

/// Reads the bytes of a journal.
pub(super) fn walk(bytes: &[u8]) -> Journal {
    let mut journal = Journal {
        events: Vec::new(),
        lines: 0,
        head: GENESIS.to_owned(),
        fault: None,
        torn: None,
    };
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else {
            journal.torn = Some(SafeText::from_bytes(line));
            break;
        };
        journal.lines += 1;
        match check(text, journal.lines, &journal.head) {
            Ok((event, _)) => journal.events.push(event),
            Err(fault) => {
                journal.fault.get_or_insert(fault);
                let event = serde_json::from_slice::<Line>(text);
                journal.events.extend(event.map(|line| line.event));
            }
        }
        journal.head = handed_on(text);
    }
    journal
}

/// Whether a line can change what an incident is, and not only what happened in it. A look at its bytes: most lines need
/// not be parsed for a list.
fn is_about_itself(text: &[u8]) -> bool {
    const KINDS: [&[u8]; 4] = [b"graded", b"assigned", b"handed_over", b"ended"];
    let Some(at) = memchr::memmem::find(text, b"\"event\":\"") else {
        return false;
    };
    let kind = &text[at + 9..];
    KINDS.iter().any(|wanted| kind.starts_with(wanted))
}

/// What the first line says, and those that changed it since; `None` where there is no journal or nothing whole in it.
pub(super) fn summary(
    path: &Path,
    id: &str,
) -> Result<Option<Result<Incident, Fault>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(StoreError::at("open", path)(error)),
    };
    let fail = || StoreError::at("read", path);
    let mut first = Vec::new();
    let mut reader = BufReader::new(file);
    reader.read_until(b'\n', &mut first).map_err(fail())?;
    if first.pop() != Some(b'\n') {
        return Ok(None);
    }
    let incident = check(&first, 1, GENESIS).and_then(|(event, _)| {
        Incident::new(id, &event).ok_or_else(|| Fault {
            line: 1,
            problem: SafeText::from_text("a journal begins with a start"),
        })
    });
    let mut incident = match incident {
        Ok(incident) => incident,
        Err(fault) => return Ok(Some(Err(fault))),
    };
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).map_err(fail())?;
    for line in rest.split_inclusive(|b| *b == b'\n') {
        if let Some(text) = line.strip_suffix(b"\n")
            && is_about_itself(text)
            && let Ok(line) = serde_json::from_slice::<Line>(text)
        {
            incident.take(&line.event);
        }
    }
    Ok(Some(Ok(incident)))
}

/// The end of a journal.
struct Tail {
    /// Bytes of whole lines.
    whole: u64,
    /// The last whole line, without its break.
    last: Option<Vec<u8>>,
    /// What stands behind it.
    torn: Vec<u8>,
}

fn tail(file: &mut File) -> io::Result<Tail> {
    let length = file.metadata()?.len();
    let mut size = TAIL;
    loop {
        let from = length.saturating_sub(size);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.take(length - from).read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|b| *b == b'\n');
        let start = end.and_then(|end| bytes[..end].iter().rposition(|b| *b == b'\n'));
        let is_whole = from == 0 || start.is_some();
        if !is_whole {
            size *= 4;
            continue;
        }
        let Some(end) = end else {
            return Ok(Tail {
                whole: 0,
                last: None,
                torn: bytes,
            });
        };
        let start = start.map_or(0, |at| at + 1);
        return Ok(Tail {
            whole: from + end as u64 + 1,
            last: Some(bytes[start..end].to_vec()),
            torn: bytes[end + 1..].to_vec(),
        });
    }
}

/// See [`super::IncidentStore::append`].
pub(super) fn append(
    state: &StateDir,
    path: &Path,
    id: &str,
    event: &IncidentEvent,
    head: Option<&str>,
) -> Result<String, IncidentError> {
    let mut file = state.with_reserve(|| state.open_append(path))?;
    // It ends with the file.
    file.lock().map_err(StoreError::at("lock", path))?;
    let Tail { whole, last, torn } = tail(&mut file).map_err(StoreError::at("read", path))?;
    let parsed = last
        .as_deref()
        .map(serde_json::from_slice::<Line>)
        .transpose();
    let mut seq = match &parsed {
        Ok(line) => line.as_ref().map_or(0, |line| line.seq),
        // Somebody wrote into it: writing goes on, and checking names the line.
        Err(_) => read(path)?.lines,
    };
    let is_over = |line: &Line| matches!(line.event.kind, IncidentEventKind::Ended { .. });
    if parsed.is_ok_and(|line| line.is_some_and(|line| is_over(&line))) {
        return Err(IncidentError::Over { id: id.to_owned() });
    }
    let mut prev = last
        .as_deref()
        .map_or_else(|| GENESIS.to_owned(), handed_on);
    if head.is_some_and(|head| head != prev) {
        return Err(IncidentError::Moved { id: id.to_owned() });
    }
    let mut lines = Vec::new();
    let mut push = |event: IncidentEvent| -> io::Result<()> {
        seq += 1;
        let (line, hash) = sealed::seal(seq, event, &prev)?;
        lines.extend_from_slice(&line);
        prev = hash;
        Ok(())
    };
    let fail = || StoreError::at("write", path);
    if !torn.is_empty() {
        push(IncidentEvent {
            kind: IncidentEventKind::Repaired {
                lost: SafeText::from_bytes(&torn),
            },
            ..event.clone()
        })
        .map_err(fail())?;
    }
    push(event.clone()).map_err(fail())?;
    state.with_reserve(|| {
        file.set_len(whole).map_err(fail())?;
        // One write: a reader sees all of it or, after a crash, a torn end that the next writer repairs.
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        written.map_err(|error| {
            // What a full disk cut off is no line.
            let _ = file.set_len(whole);
            fail()(error)
        })
    })?;
    Ok(prev)
}
