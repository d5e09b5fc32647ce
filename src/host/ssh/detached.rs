//! Commands that change something: they outlive the link, and their end is read from the other side.
//!
//! Output to a channel would kill a command half-way when the link is lost. So it runs in a session of its own, with
//! its output and its exit code in a folder. The name of that folder is chosen here, before anything is asked of the
//! other side: where the answer to the start is lost, the same start asked again finds the folder and starts nothing.

use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::link::{LINK_MARGIN, plain};
use super::{FILE_TIMEOUT, Session};
use crate::domain::digest;
use crate::host::{Command, CommandOutput, HostError};

/// `timeout` says so when it ended its command.
const TIMED_OUT: i32 = 124;
/// The other side's command is gone and left no exit code.
const VANISHED: i32 = 70;
/// Between two tries to reach the machine again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long one look for the end waits there.
const LOOK: Duration = Duration::from_secs(20);

/// `$1` names the folder. Prints it; starts the rest unless the folder is there already.
const START: &str = r#"
d=${TMPDIR:-/tmp}/$1; shift
if mkdir -m 700 -- "$d" 2>/dev/null; then
  setsid sh -c 'd=$1; shift; echo $$ > "$d/pid"; "$@" > "$d/out" 2> "$d/err"; echo $? > "$d/rc.new"; mv -- "$d/rc.new" "$d/rc"' sh "$d" "$@" < /dev/null > /dev/null 2>&1 &
else
  [ -d "$d" ] && [ -O "$d" ] && [ ! -L "$d" ] || { echo "cannot make $d" >&2; exit 1; }
fi
echo "$d""#;
/// Prints the exit code, or nothing while it runs; `$2` times five looks a second.
const AWAIT: &str = r#"
n=$2
while [ ! -e "$1/rc" ] && [ "$n" -gt 0 ]; do
  if [ -e "$1/pid" ] && ! kill -0 "$(cat "$1/pid")" 2>/dev/null; then
    sleep 0.5; [ -e "$1/rc" ] || exit 70
  fi
  sleep 0.2; n=$((n-1))
done
[ ! -e "$1/rc" ] || cat "$1/rc""#;
const CLEAN: &str = r#"rm -rf -- "$1""#;

/// A name that nobody else has and that no one can guess.
fn name(run: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seed = format!("{} {} {count}", std::process::id(), Timestamp::now());
    format!(
        "lastgood-step-{run}-{count}-{}",
        &digest::sha256(seed.as_bytes())[..12]
    )
}

impl Session {
    /// Runs a command that outlives the link. Where the link is lost it is picked up again, until the command's time
    /// is over.
    ///
    /// # Errors
    /// [`HostError::Lost`] where its end could not be read: what it did is then not known.
    pub(in crate::host) async fn run_detached(
        &self,
        run: &str,
        command: &Command,
    ) -> Result<CommandOutput, HostError> {
        self.is_fit().await?;
        let started = Instant::now();
        let deadline = started + command.timeout + LINK_MARGIN;
        let name = name(run);
        let seconds = command.timeout.as_secs().max(1).to_string();
        let limit = [&name, "timeout", "-k", "2", &seconds].map(OsString::from);
        let words = limit.into_iter().chain(plain(command));
        let start = Command::shell_with(START, words, FILE_TIMEOUT);
        let begun = self.again_until(deadline, &start).await?;
        let folder = begun.stdout_text().trim().to_owned();
        if !begun.is_success() || folder.is_empty() {
            // Nothing was started: an answer came.
            return Ok(begun);
        }
        let looks = (LOOK.as_secs() * 5).to_string();
        let wait = Command::shell(AWAIT, &[&folder, &looks], LOOK * 2);
        let code = loop {
            let looked = self.again_until(deadline, &wait).await?;
            if looked.code == Some(VANISHED) {
                return Err(self.lost("its command was ended from elsewhere and left no exit code"));
            }
            if let Ok(code) = looked.stdout_text().trim().parse::<i32>() {
                break code;
            }
            if Instant::now() >= deadline {
                return Err(self.lost("its command gave no exit code in its time"));
            }
        };
        let max = command.max_output as u64;
        let [out, err] = ["out", "err"].map(|name| format!("{folder}/{name}"));
        let out = self.head(out.as_ref(), max).await;
        let err = self.head(err.as_ref(), max).await;
        let unread = out.as_ref().err().or(err.as_ref().err());
        // How it ended is known; what it said is not nothing.
        let note = unread.map(|error| format!("what it wrote could not be read: {error}\n"));
        let is_cut = u64::from(note.is_some());
        let (stdout, cut_out) = out.unwrap_or_default();
        let (mut stderr, cut_err) = err.unwrap_or_default();
        stderr.extend(note.unwrap_or_default().bytes());
        // What is left behind in a folder of temporary files does no harm.
        let _ = self
            .run(&Command::shell(CLEAN, &[&folder], FILE_TIMEOUT))
            .await;
        if code == TIMED_OUT {
            return Err(HostError::TimedOut {
                line: command.to_line(),
                limit: command.timeout,
            });
        }
        Ok(CommandOutput {
            code: Some(code),
            signal: None,
            stdout,
            stderr,
            cut_bytes: cut_out + cut_err + is_cut,
            took: started.elapsed(),
        })
    }

    /// Asks what may be asked twice until it is answered.
    async fn again_until(
        &self,
        deadline: Instant,
        command: &Command,
    ) -> Result<CommandOutput, HostError> {
        loop {
            match self.run(command).await {
                Err(HostError::Lost { .. } | HostError::TimedOut { .. })
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                answered => return answered,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    fn sh(script: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Process::new("sh")
            .args(["-c", script, "sh"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.code(), said)
    }

    #[test]
    fn a_start_that_is_asked_twice_starts_once() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let line = r#"echo once >> "$1"; echo said; exit 7"#;
        let name = name("run");
        let words = [&name, "sh", "-c", line, "sh", mark.to_str().unwrap()];
        let (code, folder) = sh(START, &words);
        assert_eq!(code, Some(0));
        assert_eq!(sh(AWAIT, &[&folder, "50"]), (Some(0), "7".to_owned()));
        assert_eq!(sh(START, &words), (Some(0), folder.clone()));
        assert_eq!(std::fs::read_to_string(mark).unwrap(), "once\n");
        let out = std::path::Path::new(&folder).join("out");
        assert_eq!(std::fs::read_to_string(out).unwrap(), "said\n");
        assert_eq!(sh(CLEAN, &[&folder]).0, Some(0));
    }

    #[test]
    fn a_command_that_is_killed_is_not_waited_for() {
        let name = name("run");
        let (_, folder) = sh(START, &[&name, "sh", "-c", "kill -9 $PPID; sleep 5"]);
        assert_eq!(sh(AWAIT, &[&folder, "50"]).0, Some(VANISHED));
        assert_eq!(sh(AWAIT, &["/nonexistent", "1"]), (Some(0), String::new()));
        sh(CLEAN, &[&folder]);
    }
}
