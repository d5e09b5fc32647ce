//! One configured command, run by `sh -c` in a process group of its own, so that ending it ends whatever it
//! started.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// More of an answer is not kept: status and release are one line.
const MAX_ANSWER: u64 = 64 * 1024;

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its exit code; `None` where a signal ended it.
    pub(super) code: Option<i32>,
    /// Standard output, cut at 64 KiB.
    pub(super) stdout: String,
    /// Standard error, cut at 64 KiB.
    pub(super) stderr: String,
}

/// A running command whose whole process group is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    /// The shell.
    pub(super) child: Child,
    group: Option<Pid>,
}

impl Group {
    /// Starts `sh -c command` with nothing on standard input and pipes on the two outputs.
    pub(super) fn start(command: &str) -> io::Result<Self> {
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

    /// The command ended by itself and left nothing that should be ended.
    fn release(&mut self) {
        self.group = None;
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

/// Runs a command to its end and takes its answer.
///
/// # Errors
/// The shell could not be started, or `limit` passed (`TimedOut`): the process group was killed.
pub(super) async fn ask(command: &str, limit: Duration) -> io::Result<Answer> {
    let mut group = Group::start(command)?;
    let stdout = group.child.stdout.take();
    let stderr = group.child.stderr.take();
    let work = async {
        let (stdout, stderr, status) =
            tokio::join!(read_some(stdout), read_some(stderr), group.child.wait());
        Ok::<_, io::Error>(Answer {
            code: status?.code(),
            stdout: stdout?,
            stderr: stderr?,
        })
    };
    match tokio::time::timeout(limit, work).await {
        Ok(answer) => {
            group.release();
            answer
        }
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", limit.as_secs_f32()),
        )),
    }
}

async fn read_some(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_ANSWER).read_to_end(&mut bytes).await?;
        // A command that says more must not be stopped by a full pipe.
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_answer_has_code_and_both_outputs() {
        let answer = ask("echo out; echo err >&2; exit 3", LIMIT).await.unwrap();
        assert_eq!(
            answer,
            Answer {
                code: Some(3),
                stdout: "out\n".into(),
                stderr: "err\n".into()
            }
        );
    }

    #[tokio::test]
    async fn a_command_that_says_much_is_cut_and_ends() {
        let answer = ask("head -c 300000 /dev/zero | tr '\\0' x", LIMIT)
            .await
            .unwrap();
        assert_eq!(answer.code, Some(0));
        assert_eq!(answer.stdout.len() as u64, MAX_ANSWER);
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let command = format!("sleep 600 & echo $! > '{}'; wait", mark.display());
        let error = ask(&command, Duration::from_millis(700)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let pid: i32 = std::fs::read_to_string(&mark)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the child of a command that was ended still runs");
    }
}
