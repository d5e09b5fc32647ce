//! Commands over a channel of their own, between two streams where there are any: they end where the link is lost.

use std::time::Instant;

use openssh::Stdio;
use tokio::sync::mpsc;

use super::Session;
use super::link::{Failure, Link, after_mark, chain, is_full, limited, mark, no_shell, quoted};
use crate::host::local::{Keep, Kept};
use crate::host::stream::{Chunk, Streams, channel, drain, feed};
use crate::host::{Command, CommandOutput, HostError};

/// `timeout` says so when it ended its command.
const TIMED_OUT: i32 = 124;
/// Reads the value of the variable `$2` from the first line of its input, since arguments are for everyone to read; a
/// shell reads a pipe byte by byte, so that the rest is left for the command. `$1` is the mark.
const MARKED: &str = r#"
echo "$1"
if [ -n "$2" ]; then IFS= read -r v || exit 126; export "$2=$v"; unset v; fi
shift 2; exec "$@""#;

impl Session {
    /// Runs a command between two streams. It is not asked a second time: what was read of a stream is gone.
    pub(in crate::host) async fn run_streamed(
        &self,
        command: &Command,
        streams: Streams,
    ) -> Result<CommandOutput, HostError> {
        let _channel = self
            .channels
            .acquire()
            .await
            .map_err(|error| self.lost(error.to_string()))?;
        let link = self.link().await?;
        match link.exec(command, streams).await {
            Ok(output) if output.code == Some(TIMED_OUT) => Err(HostError::TimedOut {
                line: command.to_line(),
                limit: command.timeout,
            }),
            Ok(output) => Ok(output),
            Err(Failure::Lost(text) | Failure::Full(text)) => Err(self.lost(text)),
            Err(Failure::NoShell(trouble)) => Err(self.refused(trouble)),
        }
    }
}

impl Link {
    /// The same without a time limit of ours: what is read of it, kept or handed on, stands behind a mark that tells it
    /// from what the login shell says by itself.
    pub(super) async fn exec_unlimited(
        &self,
        command: &Command,
        streams: Streams,
    ) -> Result<CommandOutput, Failure> {
        let started = Instant::now();
        let mark = mark();
        let secret = command.secret.as_ref();
        let input = with_first_line(secret.map(|(_, value)| value), streams.input);
        let name = secret.map_or("", |(name, _)| name.as_str());
        let words = self.script(MARKED);
        let mut remote = self.session.command(words[0]);
        remote
            .args(&words[1..])
            .args(["sh", &mark, name])
            .raw_args(limited(command).iter().map(|word| quoted(word)))
            .stdin(match &input {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = remote.spawn().await.map_err(|error| {
            let text = chain(&error);
            match is_full(&text) {
                true => Failure::Full(text),
                false => Failure::Lost(text),
            }
        })?;
        let mut stdout = Kept::new(command.max_output, Keep::First);
        let mut stderr = Kept::new(command.max_output, Keep::Last);
        let (mut out, err) = (child.stdout().take(), child.stderr().take());
        let stdin = child.stdin().take();
        let output = streams.output;
        let reading = async {
            let found = match &mut out {
                Some(out) => after_mark(out, &mark).await,
                None => Err(Vec::new()),
            };
            let Ok(rest) = &found else {
                return (found, true);
            };
            let is_taken = match &output {
                Some(output) if !rest.is_empty() => output.send(rest.clone()).await.is_ok(),
                Some(_) => true,
                None => {
                    stdout.push(rest);
                    true
                }
            };
            let is_taken = is_taken && drain(out.take(), output, &mut stdout).await;
            // Nobody reads any more: the other side's next write ends it.
            drop(out);
            (found, is_taken)
        };
        let work = async { tokio::join!(reading, stderr.fill(err), feed(stdin, input)) };
        let ((found, is_taken), (), ()) = work.await;
        let code = match child.wait().await {
            Ok(status) => status.code(),
            // Also what a lost link ends with: the master knows.
            Err(openssh::Error::RemoteProcessTerminated) if self.is_alive() => None,
            Err(error) => return Err(Failure::Lost(chain(&error))),
        };
        if let Err(banner) = found {
            // What stands between us and the shell says on stderr why not.
            let is_refused = !self.rights.is_empty() && !stderr.bytes.is_empty();
            let said = if banner.is_empty() || is_refused {
                &stderr.bytes
            } else {
                &banner
            };
            return Err(Failure::NoShell(no_shell(said, code, &self.rights)));
        }
        Ok(CommandOutput {
            code: code.filter(|_| is_taken),
            signal: None,
            cut_bytes: stdout.cut + stderr.cut,
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            took: started.elapsed(),
        })
    }
}

/// The value before everything else of an input.
fn with_first_line(
    value: Option<&String>,
    input: Option<mpsc::Receiver<Chunk>>,
) -> Option<mpsc::Receiver<Chunk>> {
    let Some(value) = value else {
        return input;
    };
    let line = format!("{value}\n").into_bytes();
    let (to, from) = channel();
    tokio::spawn(async move {
        if to.send(line).await.is_err() {
            return;
        }
        let Some(mut input) = input else {
            return;
        };
        while let Some(chunk) = input.recv().await {
            if to.send(chunk).await.is_err() {
                return;
            }
        }
    });
    Some(from)
}
