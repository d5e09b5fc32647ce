//! A machine that commands can be run on: this one, or one behind ssh.
//!
//! Reading takes [`Host::query`] and the file functions; whatever changes the machine takes a [`Permit`] too, which
//! only the audit log hands out. Every command has a time limit and a bound on its output.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::audit::Permit;
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;

pub mod cgroup;
pub mod foreground;
mod local;
pub mod machine;
pub mod probe;
pub mod sink;
pub mod ssh;
pub mod stream;
pub mod tail;
pub mod unpack;

pub use local::user_name;

/// The pauses before what was lost on the way is asked again.
const LOST: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// A machine.
#[derive(Debug, Clone)]
pub enum Host {
    /// This machine.
    Local,
    /// A machine behind ssh.
    Ssh(Arc<ssh::Session>),
}

/// A command to run: a program and its arguments, never a line for a shell to take apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments, each taken as it is.
    pub argv: Vec<OsString>,
    /// Where to run it; the session's own folder where nothing is said.
    pub cwd: Option<PathBuf>,
    /// Variables to set. Over ssh they are arguments, for everyone there to read.
    pub env: Vec<(String, String)>,
    /// A variable that nobody may read. Only commands between streams have one.
    pub secret: Option<(String, String)>,
    /// Start from `HOME`, `PATH`, `USER` and the locale only, so that our own shell's variables do not leak into
    /// what is started.
    pub has_clean_env: bool,
    /// Killed, with everything it started, when it takes longer.
    pub timeout: Duration,
    /// At most so many bytes of stdout are kept, the first; of stderr, the last.
    pub max_output: usize,
}

impl Command {
    /// A command with a time limit, 1 MiB of output, and the session's environment.
    pub fn new<S: Into<OsString>>(argv: impl IntoIterator<Item = S>, timeout: Duration) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: None,
            env: Vec::new(),
            secret: None,
            has_clean_env: false,
            timeout,
            max_output: 1024 * 1024,
        }
    }

    /// A line for `sh -c`, with its positional arguments (`$1`, …): data never becomes part of the line.
    pub fn shell(line: &str, arguments: &[&str], timeout: Duration) -> Self {
        Self::shell_with(line, arguments, timeout)
    }

    /// The same with arguments that need be no text, such as paths.
    pub fn shell_with<S: AsRef<OsStr>>(
        line: &str,
        arguments: impl IntoIterator<Item = S>,
        timeout: Duration,
    ) -> Self {
        let mut command = Self::new(["sh", "-c", line], timeout);
        for argument in arguments {
            if command.argv.len() == 3 {
                // `$0`.
                command.argv.push("sh".into());
            }
            command.argv.push(argument.as_ref().to_owned());
        }
        command
    }

    /// The program, as far as it is text.
    pub(crate) fn program(&self) -> Cow<'_, str> {
        self.argv
            .first()
            .map_or_else(Cow::default, |p| p.to_string_lossy())
    }

    /// Runs it in a folder.
    #[must_use]
    pub fn in_folder(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts from a clean environment.
    #[must_use]
    pub fn with_clean_env(mut self) -> Self {
        self.has_clean_env = true;
        self
    }

    /// The command as one would type it.
    pub fn to_line(&self) -> String {
        shell_words::join(self.argv.iter().map(|word| word.to_string_lossy()))
    }
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to stdout, cut at the end.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, cut at the start.
    pub stderr: Vec<u8>,
    /// Bytes of both that were not kept.
    pub cut_bytes: u64,
    /// How long it ran.
    pub took: Duration,
}

impl CommandOutput {
    /// Whether it exited with 0. That alone proves nothing about what it should have done.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// Its stdout as text.
    pub fn stdout_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.stdout)
    }

    /// How it ended, with its last words: `exit 1: no such service: backend`.
    pub fn describe(&self) -> SafeText {
        let end = match (self.code, self.signal) {
            (Some(code), _) => format!("exit {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "ended without a code".to_owned(),
        };
        let said = if self.stderr.is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let said = String::from_utf8_lossy(said);
        // How Node.js came to an error stands below the error.
        let is_word = |l: &&str| !l.trim().is_empty() && !l.trim_start().starts_with("at ");
        match said.lines().rev().find(is_word) {
            Some(last) => SafeText::from_text(&format!("{end}: {}", last.trim())),
            None => SafeText::from_text(&end),
        }
    }
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits, `0o644`.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its identity on its file system.
    pub inode: u64,
    /// When its content last changed.
    pub modified_at: Option<Timestamp>,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Why a machine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file could not be read or written.
    #[error("cannot {what} {}", path.display())]
    File {
        /// `read`, `write`, `look at`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than what was allowed for it; nothing of it is returned.
    #[error("{} has {size} bytes, over the limit of {max}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, as far as it was read.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command took too long and was killed with everything it had started.
    #[error("{line} did not end within {} s and was killed", limit.as_secs_f32())]
    TimedOut {
        /// The command as one would type it.
        line: String,
        /// Its limit.
        limit: Duration,
    },
    /// The machine could not be reached, or the link was lost: what a command did is then unknown.
    #[error("{host} cannot be reached")]
    Lost {
        /// The machine.
        host: HostName,
        /// The next command to type.
        fix: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A look at a machine that can be reached broke off: what it would have found is not known, and not nothing.
    #[error("{what} on {host} broke off: {said}")]
    Broken {
        /// `looking for PM2`.
        what: &'static str,
        /// The machine.
        host: HostName,
        /// How it ended, with its last words.
        said: SafeText,
        /// The next command to type.
        fix: String,
    },
    /// Nothing may be changed there.
    #[error("nothing is changed on {host}: {why}")]
    Unfit {
        /// The machine.
        host: HostName,
        /// Why not.
        why: String,
        /// What to do about it.
        fix: String,
    },
}

impl HostError {
    /// Whether a file does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(std::io::ErrorKind::NotFound)
    }

    /// Whether this user may not look at it.
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(std::io::ErrorKind::PermissionDenied)
    }

    fn kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::File { source, .. } | Self::Start { source, .. } => Some(source.kind()),
            Self::TooLarge { .. }
            | Self::TimedOut { .. }
            | Self::Lost { .. }
            | Self::Broken { .. }
            | Self::Unfit { .. } => None,
        }
    }

    /// Whether the link was lost, so that what was done is not known.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. })
    }

    /// What to do about it, where that is known.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Lost { fix, .. } | Self::Broken { fix, .. } | Self::Unfit { fix, .. } => {
                Some(fix)
            }
            _ => None,
        }
    }
}

impl Host {
    /// The machine `far` behind ssh, at whose port nobody listens.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn away() -> Self {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let name = HostName::parse("far").unwrap();
        Self::Ssh(Arc::new(ssh::Session::new(name, address, None)))
    }

    /// How far its clock is ahead of ours; `None` of this machine, and of one that cannot be reached.
    pub async fn ahead(&self) -> Option<SignedDuration> {
        match self {
            Self::Local => None,
            Self::Ssh(session) => session.ahead().await.ok(),
        }
    }

    /// What its clock shows now; ours where it cannot be reached.
    pub async fn now(&self) -> Timestamp {
        let ahead = self.ahead().await.unwrap_or_default();
        Timestamp::now()
            .saturating_add(ahead)
            .unwrap_or_else(|_| Timestamp::now())
    }

    /// Its name.
    pub fn name(&self) -> HostName {
        match self {
            Self::Local => HostName::local(),
            Self::Ssh(session) => session.name(),
        }
    }

    /// Does what may be done twice, of another machine up to three times more: its answer may be lost on the way, and the
    /// link comes back. Of this machine nothing is lost.
    ///
    /// # Errors
    /// That of the last try.
    pub async fn again<T, E, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut found = ask().await;
        if matches!(self, Self::Ssh(_)) {
            for pause in LOST {
                if found.is_ok() {
                    break;
                }
                tokio::time::sleep(pause).await;
                found = ask().await;
            }
        }
        found
    }

    /// While what is returned is held, whatever asks the machine waits for a lost link to come back: a change that has
    /// begun is not given up for it.
    pub fn patience(&self) -> Option<ssh::Patience> {
        match self {
            Self::Local => None,
            Self::Ssh(session) => Some(session.patience()),
        }
    }

    /// Runs a command that changes nothing. Ending with another code than 0 is an answer, not an error.
    ///
    /// # Errors
    /// It could not be started, or took too long.
    pub async fn query(&self, command: &Command) -> Result<CommandOutput, HostError> {
        match self {
            Self::Local => local::run(command).await,
            // Boxed, here and below: a machine behind ssh makes the futures of all that asks one very deep.
            Self::Ssh(session) => Box::pin(session.run(command)).await,
        }
    }

    /// Runs a command that changes the machine. It is not ended by a key press that ends this program.
    ///
    /// # Errors
    /// As [`Host::query`]; after a time limit what it did is unknown, and the caller has to look.
    pub async fn change(
        &self,
        permit: &Permit,
        command: &Command,
    ) -> Result<CommandOutput, HostError> {
        match self {
            Self::Local => local::run(command).await,
            Self::Ssh(session) => Box::pin(session.run_detached(permit.run(), command)).await,
        }
    }

    /// Runs a command that changes nothing between two streams. Ending with another code than 0 is an answer.
    ///
    /// # Errors
    /// It could not be started, took too long, or the link was lost.
    pub async fn query_streamed(
        &self,
        command: &Command,
        streams: stream::Streams,
    ) -> Result<CommandOutput, HostError> {
        match self {
            Self::Local => stream::run(command, streams).await,
            Self::Ssh(session) => Box::pin(session.run_streamed(command, streams)).await,
        }
    }

    /// Runs a command that changes the machine between two streams. Where the link is lost it ends too.
    ///
    /// # Errors
    /// As [`Host::query_streamed`]; what it did is then unknown.
    pub async fn change_streamed(
        &self,
        _permit: &Permit,
        command: &Command,
        streams: stream::Streams,
    ) -> Result<CommandOutput, HostError> {
        self.query_streamed(command, streams).await
    }

    /// Reads a whole file of at most `max` bytes.
    ///
    /// # Errors
    /// Not there ([`HostError::is_not_found`]), not readable, a folder, or larger.
    pub async fn read_file(&self, path: &Path, max: u64) -> Result<Vec<u8>, HostError> {
        match self {
            Self::Local => local::read_file(path.to_owned(), max).await,
            Self::Ssh(session) => Box::pin(session.read_file(path, max)).await,
        }
    }

    /// Where a link leads, as it says; `None` where there is no link.
    ///
    /// # Errors
    /// It could not be looked at.
    pub async fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, HostError> {
        match self {
            Self::Local => local::read_link(path.to_owned()).await,
            Self::Ssh(session) => Box::pin(session.read_link(path)).await,
        }
    }

    /// Looks at a file or folder; `None` where there is none. Links are followed.
    ///
    /// # Errors
    /// It could not be looked at.
    pub async fn stat(&self, path: &Path) -> Result<Option<FileStat>, HostError> {
        match self {
            Self::Local => local::stat(path.to_owned()).await,
            Self::Ssh(session) => Box::pin(session.stat(path)).await,
        }
    }

    /// Puts new content in a file's place in one step: whoever reads it sees the old or the new. Owner and mode of
    /// the file that was there are kept; a new file gets `mode`. A link stays a link, its target is written. A
    /// file that is a mount point cannot be replaced and is written in place.
    ///
    /// # Errors
    /// No permission, no such folder, disk full: the old file is then untouched.
    pub async fn write_file_atomic(
        &self,
        _permit: &Permit,
        path: &Path,
        content: Vec<u8>,
        mode: u32,
    ) -> Result<(), HostError> {
        match self {
            Self::Local => local::write_file_atomic(path.to_owned(), content, mode).await,
            Self::Ssh(session) => Box::pin(session.write_file_atomic(path, &content, mode)).await,
        }
    }
}
