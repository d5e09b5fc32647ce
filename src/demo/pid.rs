//! Processes by number and start time: a number alone may belong to somebody else by now.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A process that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pid: i32,
    /// Clock ticks after boot; 0 where the system does not tell.
    started: u64,
}

impl Identity {
    /// This very process.
    pub(super) fn own() -> Self {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    fn of(pid: i32) -> Self {
        Self {
            pid,
            started: started(pid).unwrap_or(0),
        }
    }

    /// Its number.
    pub(super) fn pid(self) -> i32 {
        self.pid
    }

    /// Reads `pid started …`; `None` where there is no such file or something else in it.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(Self {
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
        })
    }

    /// Writes it for [`Identity::read`], with a word more, whole or not at all.
    pub(super) fn write(self, path: &Path, more: &str) -> io::Result<()> {
        let new = path.with_extension("new");
        fs::write(&new, format!("{} {} {more}\n", self.pid, self.started))?;
        fs::rename(new, path)
    }

    /// Whether this very process still runs; a zombie does not.
    pub(super) fn is_alive(self) -> bool {
        if Path::new("/proc/self/stat").exists() {
            return started(self.pid).is_some_and(|s| s == self.started);
        }
        Pid::from_raw(self.pid).is_some_and(|pid| test_kill_process(pid).is_ok())
    }

    /// Sends it a signal, if it is still the same process.
    pub(super) fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            // Gone in between is what was wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it is gone; `false` where it still runs after `limit`.
    pub(super) async fn wait_gone(self, limit: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + limit;
        while self.is_alive() {
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }
}

/// When a process was started, in clock ticks after boot; `None` where there is none or only a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(')')?.1;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_belongs_to_another_process_is_not_alive() {
        let own = Identity::own();
        assert!(own.is_alive());
        let other = Identity {
            started: own.started + 1,
            ..own
        };
        assert!(!other.is_alive());
    }

    #[test]
    fn an_identity_goes_through_a_file_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        assert_eq!(Identity::read(&path), None);
        Identity::own().write(&path, "1.4").unwrap();
        assert_eq!(Identity::read(&path), Some(Identity::own()));
    }
}
