//! One call of the binary: its exit code, its two streams, its time limit.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// No command of the product takes longer on the tests' small projects; one that does hangs.
const LIMIT: Duration = Duration::from_secs(120);
/// An alert of a busy machine, on which other tests fill the same disks, takes its next turn within it.
const ALERT: Duration = Duration::from_secs(150);

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    line: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Run {
    /// Runs to the end, or kills and fails after the time limit. A signal's exit code is 128 + signal, as in a shell.
    pub(crate) fn of(mut command: Command) -> Run {
        // Without the sandbox's environment, which `Debug` would print as well.
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line = words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        let code = wait(&mut child, LIMIT);
        if code.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let code = code.unwrap_or_else(|| {
            panic!(
                "still running after {} s: {line}\n{stdout}\n{stderr}",
                LIMIT.as_secs()
            )
        });
        Run {
            line,
            code,
            stdout,
            stderr,
            took: begun.elapsed(),
        }
    }

    /// Fails, with everything that was printed, unless the exit code is `code`.
    pub(crate) fn exits(self, code: i32) -> Run {
        assert_eq!(self.code, code, "exit code of {self}");
        self
    }

    /// stdout as one JSON document, whose `schema` is checked; an empty name stands for any of ours.
    pub(crate) fn json(&self, schema: &str) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}) from {self}"));
        let found = value["schema"].as_str().unwrap_or_default();
        let is_ours = found.starts_with("lastgood.") && found.ends_with("/1");
        let is_wanted = schema.is_empty() || found == format!("lastgood.{schema}/1");
        assert!(is_ours && is_wanted, "schema {found:?} of {self}");
        value
    }

    /// stdout as JSON lines; the first must be the header with the schema, and is left out.
    pub(crate) fn json_lines(&self, schema: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = self
            .stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
            })
            .collect();
        assert!(!lines.is_empty(), "no header from {self}");
        assert_eq!(
            lines.remove(0)["schema"],
            format!("lastgood.{schema}/1"),
            "header of {self}"
        );
        lines
    }

    /// Fails unless stderr holds each of `words`, letter case aside.
    pub(crate) fn says(self, words: &[&str]) -> Run {
        let said = self.stderr.to_lowercase();
        for word in words {
            let is_said = said.contains(&word.to_lowercase());
            assert!(is_said, "stderr lacks {word:?}: {self}");
        }
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shorten = |text: &str| {
            if text.len() > 6000 {
                format!(
                    "{} […] {}",
                    text.chars().take(3000).collect::<String>(),
                    text.chars()
                        .rev()
                        .take(1500)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect::<String>()
                )
            } else {
                text.to_string()
            }
        };
        write!(
            out,
            "{}\n-- exit {} after {} ms\n-- stdout\n{}\n-- stderr\n{}",
            self.line,
            self.code,
            self.took.as_millis(),
            shorten(&self.stdout),
            shorten(&self.stderr)
        )
    }
}

fn drain(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            );
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A call that goes on (`logs --follow`): its lines are read as they come; it is killed when dropped.
pub(crate) struct Following {
    child: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub(crate) seen: Vec<String>,
}

impl Following {
    pub(crate) fn start(mut command: Command) -> Following {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Following {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Reads on until a line satisfies `wanted`; fails after `limit` with the last lines.
    pub(crate) fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let is_wanted = wanted(&line);
                    self.seen.push(line);
                    if is_wanted {
                        return;
                    }
                }
                Err(error) => {
                    let tail = &self.seen[self.seen.len().saturating_sub(10)..];
                    panic!(
                        "{what} did not come ({error}; exit {:?}); {} lines, the last:\n{}",
                        self.child.try_wait(),
                        self.seen.len(),
                        tail.join("\n")
                    );
                }
            }
        }
    }

    /// The turns that an alert of a watch has taken so far; `alert` is the end of its key.
    pub(crate) fn turns(&self, alert: &str) -> Vec<String> {
        let turn = |line: &String| {
            let event: Value = serde_json::from_str(line).ok()?;
            let is_its = event["alert"]["key"].as_str()?.ends_with(alert);
            is_its.then(|| event["turn"].as_str().map(str::to_owned))?
        };
        self.seen.iter().filter_map(turn).collect()
    }

    /// Reads the events of a watch on until this turn is the last one of each of these alerts.
    pub(crate) fn alerts_are(&mut self, turn: &str, alerts: &[&str]) {
        for alert in alerts {
            while self.turns(alert).last().is_none_or(|last| last != turn) {
                let what = format!("{alert:?} is {turn} after {:?}", self.turns(alert));
                self.until(&what, ALERT, |line| line.contains("\"turn\""));
            }
        }
    }

    /// What has been seen, as JSON, without the header.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.seen
            .iter()
            .map(|line| {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("no JSON ({error}): {line}"))
            })
            .filter(|value| value.get("schema").is_none())
            .collect()
    }

    /// Sends `signal` and goes on.
    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }

    /// Sends `signal` and gives the exit code (128 + signal when it died by one).
    pub(crate) fn end_with(mut self, signal: rustix::process::Signal) -> i32 {
        self.signal(signal);
        wait(&mut self.child, Duration::from_secs(10))
            .expect("the follower ends within 10 s of a signal")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
