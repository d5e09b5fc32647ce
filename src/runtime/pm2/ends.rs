//! Ends that nobody asked for, from the log of the daemon itself.
//!
//! A loop that PM2 masks shows "online" whenever one looks, and its count of restarts holds those by hand too: two looks
//! a few seconds apart miss a process that dies every twenty. `pm2.log` tells each end with its time, and whether PM2 was
//! asked for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::DateTime;

use crate::host::Host;

/// So much of its end is read: hundreds of ends.
const TAIL: u64 = 256 * 1024;
/// Ends within this span are counted together.
pub(super) const SPAN: Duration = Duration::from_secs(60);
const FRONT: &str = ": PM2 log: ";

/// How often each instance (`api:0`) ended by itself.
pub(super) type Ends = BTreeMap<String, usize>;

/// The same of any machine. What its clock is ahead of ours is taken off the age of the log.
///
/// # Errors
/// As [`recent`]; or the machine cannot be reached.
pub(super) async fn recent_on(host: &Host, home: &Path) -> io::Result<Ends> {
    let Host::Ssh(session) = host else {
        return recent(home);
    };
    let path = home.join("pm2.log");
    let stat = host.stat(&path).await.map_err(io::Error::other)?;
    let stat = stat.ok_or(io::ErrorKind::NotFound)?;
    let from = stat.size.saturating_sub(TAIL);
    let piece = session.read_piece(&path, from, TAIL).await;
    let tail = piece.map_err(io::Error::other)?.bytes;
    let ahead = session.ahead().await.map_err(io::Error::other)?;
    let written = stat.modified_at.unwrap_or_default();
    let age = Timestamp::now().duration_since(written) + ahead;
    let age = Duration::try_from(age).unwrap_or_default();
    Ok(count(&String::from_utf8_lossy(&tail), age))
}

/// The ends within the last [`SPAN`], of each instance since it was last stopped on request.
///
/// # Errors
/// The log cannot be read.
pub(super) fn recent(home: &Path) -> io::Result<Ends> {
    let mut file = File::open(home.join("pm2.log"))?;
    let meta = file.metadata()?;
    file.seek(SeekFrom::Start(meta.len().saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let age = SystemTime::now()
        .duration_since(meta.modified()?)
        .unwrap_or_default();
    Ok(count(&String::from_utf8_lossy(&tail), age))
}

/// Counts them in a log whose last line is so old. Its times are local ones of the daemon, without a zone: they are
/// only held against each other.
fn count(log: &str, last_line: Duration) -> Ends {
    let lines: Vec<(DateTime, &str)> = log.lines().filter_map(parse).collect();
    let Some((newest, _)) = lines.last() else {
        return Ends::new();
    };
    let mut ends = Ends::new();
    let mut is_asked: BTreeMap<String, bool> = BTreeMap::new();
    for (at, text) in &lines {
        if let Some(who) = text.strip_prefix("Stopping app:") {
            let who = who.replacen(" id:", ":", 1);
            ends.remove(&who);
            is_asked.insert(who, true);
            continue;
        }
        let end = text
            .strip_prefix("App [")
            .and_then(|rest| rest.split_once("] exited with code ["));
        let Some((who, _)) = end else {
            continue;
        };
        let before = newest.duration_since(*at);
        let age = Duration::try_from(before).unwrap_or_default() + last_line;
        let was_asked = is_asked.remove(who).unwrap_or_default();
        if !was_asked && age <= SPAN {
            *ends.entry(who.to_owned()).or_default() += 1;
        }
    }
    ends
}

fn parse(line: &str) -> Option<(DateTime, &str)> {
    let (at, text) = line.split_once(FRONT)?;
    Some((at.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2025-12-27T14:50:00: PM2 log: App [api:0] exited with code [1] via signal [SIGINT]
2025-12-27T14:50:00: PM2 log: App [api:0] starting in -fork mode-
2025-12-27T14:50:30: PM2 log: App [api:0] exited with code [1] via signal [SIGINT]
2025-12-27T14:50:40: PM2 log: App [done:1] exited with code [0] via signal [SIGINT]
2025-12-27T14:50:41: PM2 log: Stopping app:api:b id:2
2025-12-27T14:50:41: PM2 log: App [api:b:2] exited with code [1] via signal [SIGINT]
2025-12-27T14:50:50: PM2 error: Trace
    at somewhere
2025-12-27T14:50:50: PM2 log: App [api:0] exited with code [0] via signal [SIGSEGV]
";

    #[test]
    fn ends_of_the_last_minute_that_nobody_asked_for_are_counted() {
        let of = |age| count(LOG, Duration::from_secs(age));
        let found = of(0);
        assert_eq!(found.get("api:0"), Some(&3));
        assert_eq!(found.get("done:1"), Some(&1));
        assert_eq!(found.get("api:b:2"), None, "it was stopped on request");
        assert_eq!(of(20).get("api:0"), Some(&2));
        assert_eq!(of(41).get("api:0"), Some(&1));
        assert!(of(61).is_empty());
        assert!(count("no such line\n", Duration::ZERO).is_empty());
    }

    #[test]
    fn what_came_before_a_stop_is_over() {
        let again = format!(
            "{LOG}2025-12-27T14:50:51: PM2 log: Stopping app:api id:0\n\
             2025-12-27T14:50:51: PM2 log: App [api:0] exited with code [0] via signal [SIGINT]\n\
             2025-12-27T14:50:55: PM2 log: App [api:0] exited with code [1] via signal [SIGINT]\n"
        );
        assert_eq!(count(&again, Duration::ZERO).get("api:0"), Some(&1));
    }
}
