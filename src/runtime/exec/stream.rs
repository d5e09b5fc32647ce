//! What a `logs` command prints, as log blocks.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::domain::log::{LogBlock, LogEvent, LogNote, LogNoteKind, LogRequest, Stream};
use crate::domain::service::ServiceId;
use crate::host::tail::{LastLines, LineSplitter};

/// A closed read of a command that follows for ever ends when nothing came for so long after its lines.
const SILENCE: Duration = Duration::from_secs(2);
/// So long a closed read waits for the first line, and for each of a command that does not follow. Less than a rollback
/// gives the saving of a log.
const PATIENT_SILENCE: Duration = Duration::from_secs(8);
/// Lines are handed on after so long even if their block is small.
const BLOCK_PATIENCE: Duration = Duration::from_millis(50);

/// A running command whose whole process group is killed when this is dropped.
#[derive(Debug)]
struct Group {
    child: Child,
    group: Option<Pid>,
}

impl Group {
    /// Starts `sh -c command` with nothing on standard input and pipes on the two outputs.
    fn start(command: &str) -> io::Result<Self> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Ok(Self { child, group })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // Gone already is as good as killed.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Whether a command says of itself that it follows: `-f`, `-F`, also among other letters, or `--follow`.
fn follows(command: &str) -> bool {
    let mut words = command.split(|c: char| c.is_whitespace() || "|;&()'\"".contains(c));
    words.any(|word| match word.strip_prefix("--") {
        Some(long) => long == "follow" || long.starts_with("follow="),
        None => word
            .strip_prefix('-')
            .is_some_and(|letters| letters.contains(['f', 'F'])),
    })
}

/// Runs the command and sends its lines until it ends or nobody listens; then its process group is killed. In a
/// follow its end is told with its exit code, since a log that stops is not a quiet service. In a closed read it is
/// killed when it is silent, which is the end of one that follows and a gap in any other, as is an end with a failure.
///
/// # Errors
/// The command cannot be started, its output cannot be read, or it failed without a line.
pub(super) async fn read(
    id: &ServiceId,
    command: &str,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> io::Result<()> {
    let mut group = Group::start(command)?;
    let (lines, mut blocks) = mpsc::channel(8);
    let readers = [
        group
            .child
            .stdout
            .take()
            .map(|pipe| tokio::spawn(forward(pipe, Stream::Stdout, lines.clone()))),
        group
            .child
            .stderr
            .take()
            .map(|pipe| tokio::spawn(forward(pipe, Stream::Stderr, lines.clone()))),
    ];
    drop(lines);
    if request.follow {
        // It runs, though it may print nothing for long.
        let _ = to.send(LogEvent::Block(LogBlock::default())).await;
    }
    let mut last = LastLines::new(request);
    let mut patience = PATIENT_SILENCE;
    let mut has_lines = false;
    let is_silent = loop {
        let block = tokio::select! {
            () = to.closed() => return Ok(()),
            block = blocks.recv() => block,
            () = tokio::time::sleep(patience), if !request.follow => break true,
        };
        let Some(block) = block else { break false };
        has_lines = true;
        if follows(command) {
            patience = SILENCE;
        }
        if let Some(block) = last.take(block)
            && to.send(LogEvent::Block(block)).await.is_err()
        {
            return Ok(());
        }
    };
    if let Some(block) = last.finish() {
        let _ = to.send(LogEvent::Block(block)).await;
    }
    let note = |kind, detail: String| LogEvent::Note(LogNote::new(id, kind, &detail));
    if is_silent {
        if !follows(command) {
            let detail = format!(
                "the logs command was ended after {} s of silence: later lines are missing",
                patience.as_secs()
            );
            let _ = to.send(note(LogNoteKind::Gap, detail)).await;
        }
        return Ok(());
    }
    for reader in readers.into_iter().flatten() {
        reader.await.map_err(io::Error::other)??;
    }
    if request.follow {
        let detail = format!("the logs command ended: {}", group.child.wait().await?);
        let _ = to.send(note(LogNoteKind::Ended, detail)).await;
        return Ok(());
    }
    // One that has closed its outputs and runs on has said everything.
    let Ok(status) = tokio::time::timeout(SILENCE, group.child.wait()).await else {
        return Ok(());
    };
    let status = status?;
    if status.success() {
        return Ok(());
    }
    let detail = format!("the logs command ended: {status}");
    if !has_lines {
        return Err(io::Error::other(detail));
    }
    let _ = to.send(note(LogNoteKind::Gap, detail)).await;
    Ok(())
}

async fn forward(
    mut pipe: impl AsyncRead + Unpin,
    stream: Stream,
    to: mpsc::Sender<LogBlock>,
) -> io::Result<()> {
    let mut splitter = LineSplitter::new(stream);
    let mut buffer = vec![0; 64 * 1024];
    let mut block = LogBlock::default();
    loop {
        let read = if block.is_empty() {
            pipe.read(&mut buffer).await?
        } else {
            match tokio::time::timeout(BLOCK_PATIENCE, pipe.read(&mut buffer)).await {
                Ok(read) => read?,
                Err(_) => {
                    if to.send(std::mem::take(&mut block)).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
            }
        };
        if read == 0 {
            splitter.finish(&mut block);
            if !block.is_empty() {
                let _ = to.send(block).await;
            }
            return Ok(());
        }
        let mut full = Vec::new();
        let _ = splitter.split(&buffer[..read], &mut block, |block| {
            full.push(std::mem::take(block));
            Ok::<_, std::convert::Infallible>(())
        });
        for block in full {
            if to.send(block).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::follows;

    #[test]
    fn a_command_that_follows_says_so() {
        for command in [
            "journalctl -f -u bot -o short-iso",
            "tail -F '/var/log/bot.log'",
            "tail -n 100 -qf a b | grep -v x",
            "kubectl logs --follow bot",
            "sh -c 'tail -f a'",
        ] {
            assert!(follows(command), "{command}");
        }
        for command in ["seq 3", "cat /var/log/-f.log/x", "journalctl -u bot --full"] {
            assert!(!follows(command), "{command}");
        }
    }
}
