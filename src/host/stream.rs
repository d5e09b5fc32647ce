//! Programs whose input or output is a stream: dumps and restores of any size, in bounded memory.
//!
//! Both ends are bounded channels of chunks, so that whoever is slow slows the others, and whoever stops ends them.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::local::{Group, Keep, Kept, LAST_WORDS, output_of, process};
use super::{Command, CommandOutput, HostError};

/// A piece of a stream.
pub type Chunk = Vec<u8>;
/// Chunks that wait between two stages.
const WAITING: usize = 16;
/// The size of a chunk that is read.
const CHUNK: usize = 64 * 1024;

/// A channel between two stages.
pub fn channel() -> (mpsc::Sender<Chunk>, mpsc::Receiver<Chunk>) {
    mpsc::channel(WAITING)
}

/// What a program reads and where it writes. Without an input it reads nothing; without an output what it writes is
/// kept as that of any command.
#[derive(Debug, Default)]
pub struct Streams {
    /// Its standard input.
    pub input: Option<mpsc::Receiver<Chunk>>,
    /// Where its standard output goes.
    pub output: Option<mpsc::Sender<Chunk>>,
}

impl Streams {
    /// It reads this.
    pub fn from(input: mpsc::Receiver<Chunk>) -> Self {
        Self {
            input: Some(input),
            output: None,
        }
    }

    /// It reads these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (to, from) = channel();
        // There is room for one.
        let _ = to.try_send(bytes.to_vec());
        Self::from(from)
    }

    /// It writes there.
    #[must_use]
    pub fn to(mut self, output: mpsc::Sender<Chunk>) -> Self {
        self.output = Some(output);
        self
    }
}

/// Writes what comes until there is no more, or the program reads no more; its exit code says why.
pub(crate) async fn feed(
    stdin: Option<impl AsyncWrite + Unpin>,
    input: Option<mpsc::Receiver<Chunk>>,
) {
    let (Some(mut stdin), Some(mut input)) = (stdin, input) else {
        return;
    };
    while let Some(chunk) = input.recv().await {
        if stdin.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

/// Hands on what is read, or keeps it. `false` where nobody took it.
pub(super) async fn drain(
    stdout: Option<impl AsyncRead + Unpin>,
    output: Option<mpsc::Sender<Chunk>>,
    kept: &mut Kept,
) -> bool {
    let Some(mut stdout) = stdout else {
        return true;
    };
    let Some(output) = output else {
        kept.fill(Some(stdout)).await;
        return true;
    };
    let mut buffer = vec![0; CHUNK];
    while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
        if output.send(buffer[..n].to_vec()).await.is_err() {
            return false;
        }
    }
    true
}

/// Runs a command on this machine between two streams, to its end or to its time limit. It is ended where nobody takes
/// its output.
pub(super) async fn run(command: &Command, streams: Streams) -> Result<CommandOutput, HostError> {
    let mut process = process(command)?;
    if streams.input.is_some() {
        process.stdin(Stdio::piped());
    }
    let started = Instant::now();
    let program = command.program().into_owned();
    let start_error = |source| HostError::Start {
        program: program.clone(),
        source,
    };
    let mut child = process.spawn().map_err(start_error)?;
    let group = Group::of(&child);
    let mut stdout = Kept::new(command.max_output, Keep::First);
    let mut stderr = Kept::new(command.max_output, Keep::Last);
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(command.timeout, async {
        // To the last byte: what a program has written is still to be read when it has ended.
        let mut main = std::pin::pin!(async {
            if !drain(out, streams.output, &mut stdout).await {
                group.kill();
            }
            child.wait().await
        });
        let side = async { tokio::join!(stderr.fill(err), feed(stdin, streams.input)) };
        let mut side = std::pin::pin!(side);
        let mut is_side_over = false;
        let status = loop {
            tokio::select! {
                status = &mut main => break status,
                _ = &mut side, if !is_side_over => is_side_over = true,
            }
        };
        if !is_side_over {
            // Whoever feeds a program that has ended waits for chunks that nobody needs.
            let _ = tokio::time::timeout(LAST_WORDS, side).await;
        }
        status
    })
    .await;
    let Ok(status) = ended else {
        group.end(&mut child).await;
        return Err(HostError::TimedOut {
            line: command.to_line(),
            limit: command.timeout,
        });
    };
    group.release();
    let status = status.map_err(start_error)?;
    Ok(output_of(status, stdout, stderr, started))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sh(line: &str) -> Command {
        Command::shell(line, &[], Duration::from_secs(20))
    }

    async fn all(mut from: mpsc::Receiver<Chunk>) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(chunk) = from.recv().await {
            bytes.extend(chunk);
        }
        bytes
    }

    #[tokio::test]
    async fn a_program_stands_between_two_streams() {
        let (to, from) = channel();
        let (out, result) = channel();
        let large = vec![b'x'; 3 * 1024 * 1024];
        let feeding = async {
            for chunk in large.chunks(100_000) {
                to.send(chunk.to_vec()).await.unwrap();
            }
            drop(to);
        };
        let command = sh("cat; echo done >&2; exit 3");
        let (ended, bytes, ()) = tokio::join!(
            run(&command, Streams::from(from).to(out)),
            all(result),
            feeding
        );
        let ended = ended.unwrap();
        assert_eq!(bytes, large);
        assert_eq!(ended.describe().as_str(), "exit 3: done");
    }

    #[tokio::test]
    async fn what_an_ended_program_has_written_is_read_however_slowly() {
        let (out, mut result) = channel();
        let command = sh("head -c 200000 /dev/zero");
        let slowly = async {
            let mut bytes = 0;
            while let Some(chunk) = result.recv().await {
                tokio::time::sleep(Duration::from_millis(300)).await;
                bytes += chunk.len();
            }
            bytes
        };
        let (ended, bytes) = tokio::join!(run(&command, Streams::default().to(out)), slowly);
        assert!(ended.unwrap().is_success());
        assert_eq!(bytes, 200_000);
    }

    #[tokio::test]
    async fn text_is_read_to_its_end_and_answers_are_kept() {
        let ended = run(&sh("sort"), Streams::from_bytes(b"b\na\n"))
            .await
            .unwrap();
        assert_eq!(ended.stdout, b"a\nb\n");
        let ended = run(
            &sh("true"),
            Streams::from_bytes("x".repeat(1 << 20).as_bytes()),
        )
        .await;
        assert!(ended.unwrap().is_success());
    }

    #[tokio::test]
    async fn a_program_that_nobody_listens_to_is_ended() {
        let (out, result) = channel();
        drop(result);
        let started = Instant::now();
        let ended = run(&sh("while :; do echo y; done"), Streams::default().to(out)).await;
        assert!(!ended.unwrap().is_success());
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_in_time() {
        let (_held, from) = channel();
        let command = Command::shell("cat", &[], Duration::from_millis(300));
        let error = run(&command, Streams::from(from)).await.unwrap_err();
        assert!(matches!(error, HostError::TimedOut { .. }), "{error}");
    }
}
