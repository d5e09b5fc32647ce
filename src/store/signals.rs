//! `signals/`: what each service measured over the last 24 hours, a file a service, so that a console that starts shows
//! what was before it.
//!
//! The watch and any number of consoles write here. A point a minute is kept of each service, whoever measures it; a file
//! that has grown is cut back to a day, and one whose service has gone is removed after that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::paths::{StateDir, StoreError};
use crate::domain::service::ServiceId;
use crate::domain::signal::{ServiceSignals, SignalName};

/// How long is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Between two points of a service.
const SPACING: Duration = Duration::from_secs(55);
/// A file that is larger is cut back to a day, and to half of this.
const MAX_BYTES: u64 = 1024 * 1024;
/// A file system's names are short.
const MAX_NAME: usize = 180;

/// What was measured at one instant, of the whole service. What had no value is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// Values by signal.
    pub values: BTreeMap<SignalName, f64>,
}

/// Adds what was measured, unless the newest point is younger than a minute.
///
/// # Errors
/// The state folder cannot be written.
pub fn append(
    state: &StateDir,
    measured: &ServiceSignals,
    now: Timestamp,
) -> Result<(), StoreError> {
    let path = path_of(state, &measured.id);
    let meta = fs::metadata(&path).ok();
    let age = meta
        .as_ref()
        .and_then(|meta| meta.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age < SPACING) {
        return Ok(());
    }
    if meta.is_none() {
        state.make_dir(&folder(state))?;
        forget(state);
    } else if meta.is_some_and(|meta| meta.len() > MAX_BYTES) {
        cut_back(state, &measured.id, now)?;
    }
    let whole = measured.signals.iter().filter(|s| s.route.is_none());
    let point = Point {
        at: now,
        values: whole
            .filter_map(|s| Some((s.signal.clone(), s.value?)))
            .collect(),
    };
    let mut line =
        serde_json::to_vec(&point).map_err(|e| StoreError::at("write", &path)(e.into()))?;
    line.push(b'\n');
    let mut file: File = state.open_append(&path)?;
    // One write of one line: two writers never mix theirs.
    file.write_all(&line)
        .map_err(StoreError::at("write", &path))
}

/// The points of a service since an instant, the oldest first; none where nothing was measured. A line that a full disk or
/// a crash cut off is left out.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(state: &StateDir, id: &ServiceId, since: Timestamp) -> Result<Vec<Point>, StoreError> {
    let path = path_of(state, id);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::at("read", &path)(error)),
    };
    let points = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(points.filter(|point: &Point| point.at >= since).collect())
}

fn folder(state: &StateDir) -> PathBuf {
    state.root.join("signals")
}

/// One flat name: what a service is called must not lead anywhere else.
fn path_of(state: &StateDir, id: &ServiceId) -> PathBuf {
    let mut name = String::new();
    for byte in id.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => {
                let _ = write!(name, "%{other:02x}");
            }
        }
    }
    name.truncate(MAX_NAME);
    folder(state).join(format!("{name}.jsonl"))
}

fn cut_back(state: &StateDir, id: &ServiceId, now: Timestamp) -> Result<(), StoreError> {
    let since = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
    let points = read(state, id, since)?;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    for point in points.iter().rev() {
        let Ok(line) = serde_json::to_vec(point) else {
            continue;
        };
        bytes += line.len() as u64 + 1;
        if bytes > MAX_BYTES / 2 {
            break;
        }
        kept.push(line);
    }
    let mut text = Vec::new();
    for line in kept.iter().rev() {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    state.write_atomic(&path_of(state, id), &text)
}

/// Removes the files of services that were not measured for a day. Nothing is lost where that fails.
fn forget(state: &StateDir) {
    let Ok(entries) = fs::read_dir(folder(state)) else {
        return;
    };
    let limit = Duration::try_from(KEPT).unwrap_or_default();
    for entry in entries.flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let age = modified
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if age.is_some_and(|age| age > limit) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::signal::{Grade, Signal};

    fn measured(name: &str, value: Option<f64>) -> ServiceSignals {
        ServiceSignals {
            id: ServiceId::local("pm2", name),
            signals: vec![Signal {
                signal: SignalName::Cpu,
                route: None,
                value,
                unit: "fraction".into(),
                grade: Grade::Unknown,
                age_ms: None,
                detail: "".into(),
            }],
        }
    }

    fn age(path: &std::path::Path, by: Duration) {
        let then = SystemTime::now() - by;
        File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(then)
            .unwrap();
    }

    #[test]
    fn a_point_a_minute_is_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let one = measured("../../api", Some(0.5));
        let path = path_of(&state, &one.id);
        assert_eq!(path.parent(), Some(folder(&state).as_path()));
        assert!(read(&state, &one.id, Timestamp::MIN).unwrap().is_empty());
        let at = |second| Timestamp::from_second(second).unwrap();
        append(&state, &one, at(1_000)).unwrap();
        append(&state, &one, at(1_015)).unwrap();
        age(&path, Duration::from_secs(60));
        append(&state, &measured("../../api", None), at(1_060)).unwrap();
        // What a crash cut off.
        fs::write(
            &path,
            [fs::read(&path).unwrap(), b"{\"at".to_vec()].concat(),
        )
        .unwrap();
        let points = read(&state, &one.id, Timestamp::MIN).unwrap();
        let cpu: Vec<_> = points
            .iter()
            .map(|p| (p.at.as_second(), p.values.get(&SignalName::Cpu).copied()))
            .collect();
        assert_eq!(cpu, [(1_000, Some(0.5)), (1_060, None)]);
        assert_eq!(read(&state, &one.id, at(1_001)).unwrap().len(), 1);
    }

    #[test]
    fn a_file_is_bounded_and_one_of_a_service_that_is_gone_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let (old, new) = (measured("old", Some(1.0)), measured("new", Some(1.0)));
        let start = Timestamp::from_second(1_000_000).unwrap();
        append(&state, &old, start).unwrap();
        let path = path_of(&state, &old.id);
        let line = fs::read_to_string(&path).unwrap();
        let copies = MAX_BYTES as usize / line.len() + 10;
        fs::write(&path, line.repeat(copies)).unwrap();
        age(&path, Duration::from_secs(60));
        append(&state, &old, start + SignedDuration::from_mins(1)).unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= MAX_BYTES / 2 + 200);
        // A day later none of it is kept.
        fs::write(&path, line.repeat(copies)).unwrap();
        age(&path, Duration::from_secs(60));
        append(&state, &old, start + SignedDuration::from_hours(25)).unwrap();
        assert_eq!(read(&state, &old.id, Timestamp::MIN).unwrap().len(), 1);
        age(&path, Duration::from_secs(25 * 3600));
        append(&state, &new, start).unwrap();
        assert!(!path.exists() && path_of(&state, &new.id).exists());
    }
}
