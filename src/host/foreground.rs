//! Runs the user's own deploy command in the foreground: its output is seen while it comes, and kept.
//!
//! Unlike [`Host::change`](super::Host::change) it is not captured and has no time limit: how long a deploy takes only
//! its author knows. On a terminal it stays in our process group, so that it may ask for a password and a Ctrl-C
//! reaches it by itself; without one it gets a group of its own, and signals for us are passed on to all of it.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::audit::Permit;

/// So much of the output is kept; a deploy that prints more keeps its beginning.
const MAX_KEPT: u64 = 64 * 1024 * 1024;
/// A program in the background may hold the pipes of a command that has ended: it is not waited for.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_millis(500);

/// Where what the command writes to its standard output goes; its standard error always goes to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// To our standard output.
    ToStdout,
    /// To our standard error: our own standard output carries a document.
    ToStderr,
}

/// A command under way.
#[derive(Debug)]
pub struct Foreground {
    child: Child,
    shares_terminal: bool,
}

/// Starts a command on this machine; its standard input is ours.
///
/// # Errors
/// It could not be started: nothing was changed.
pub fn start(_permit: &Permit, argv: &[String]) -> io::Result<Foreground> {
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an empty command",
        ));
    };
    let shares_terminal = is_in_front();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if !shares_terminal {
        command.process_group(0);
    }
    let child = command.spawn()?;
    Ok(Foreground {
        child,
        shares_terminal,
    })
}

/// Whether the terminal sends its signals to our process group.
fn is_in_front() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|front| front == rustix::process::getpgrp())
}

impl Foreground {
    /// Passes the output on and keeps it until the command has ended. `signals` are passed on to it as they come.
    ///
    /// # Errors
    /// It could not be waited for. That its output could not be kept or seen is none: it goes on.
    pub async fn wait(
        mut self,
        kept: Option<File>,
        passed: Passed,
        signals: &mut tokio::sync::mpsc::Receiver<Signal>,
    ) -> io::Result<ExitStatus> {
        let kept = std::sync::Mutex::new(Kept {
            file: kept,
            bytes: 0,
        });
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        let reading = async {
            tokio::join!(
                pass_on(out, &kept, passed == Passed::ToStdout),
                pass_on(err, &kept, false)
            );
        };
        let mut reading = std::pin::pin!(reading);
        let mut is_read = false;
        let pid = self.child.id();
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                () = &mut reading, if !is_read => is_read = true,
                Some(signal) = signals.recv() => pass_signal(pid, self.shares_terminal, signal),
            }
        };
        if !is_read {
            let _ = tokio::time::timeout(LAST_WORDS, reading).await;
        }
        Ok(status)
    }
}

/// The terminal has sent INT and HUP to the command as well; TERM was sent to us alone.
fn pass_signal(pid: Option<u32>, shares_terminal: bool, signal: Signal) {
    let pid = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(Pid::from_raw);
    let Some(pid) = pid else { return };
    // It may have ended meanwhile.
    let _ = match shares_terminal {
        true if signal == Signal::TERM => kill_process(pid, signal),
        true => Ok(()),
        false => kill_process_group(pid, signal),
    };
}

struct Kept {
    file: Option<File>,
    bytes: u64,
}

impl Kept {
    /// A full disk ends the keeping, never the deploy.
    fn keep(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let room = usize::try_from(MAX_KEPT.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let part = &bytes[..bytes.len().min(room)];
        if file.write_all(part).is_err() {
            self.file = None;
        }
        self.bytes += part.len() as u64;
    }
}

async fn pass_on(
    from: Option<impl AsyncRead + Unpin>,
    kept: &std::sync::Mutex<Kept>,
    to_stdout: bool,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..read];
        if let Ok(mut kept) = kept.lock() {
            kept.keep(bytes);
        }
        // Nobody may be there to read it any more: the command goes on.
        let _ = match to_stdout {
            true => io::stdout()
                .write_all(bytes)
                .and_then(|()| io::stdout().flush()),
            false => io::stderr().write_all(bytes),
        };
    }
}
