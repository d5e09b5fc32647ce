//! The PM2 daemons of this machine: each user has a daemon of its own, known by its home folder.
//!
//! Homes are `$PM2_HOME`, `~/.pm2`, and whatever the running daemons name in their process titles. A home whose
//! daemon does not answer is told as unreachable and never as "no applications": asking the `pm2` command instead
//! would start an empty daemon there and say that all is well.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::amp::{self, Argument};
use super::cli;
use super::list::{self, Process};
use super::remote::{Seen, There};
use super::socket::{Messages, SocketError};
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Unreachable};
use crate::host::ssh::FORWARDING;
use crate::host::{self, Host, HostError};
use crate::runtime::process;

/// The daemon answers within a few milliseconds; one that takes longer hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// The same over ssh, with a connection to the machine that may have to be made anew.
const REMOTE_LIMIT: Duration = Duration::from_secs(12);
/// A daemon that was told to end is gone within this time.
const ENDING: Duration = Duration::from_secs(1);
/// A dump of hundreds of applications with their environments is a few MiB.
const MAX_DUMP: u64 = 64 * 1024 * 1024;
/// What our only request on a connection is called.
const REQUEST: &str = "lastgood";

/// A daemon, or the place where one should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Daemon {
    /// Its home folder, with the sockets.
    pub(super) home: PathBuf,
    /// Whose it is.
    pub(super) user: String,
    /// Its process, where the kernel shows one.
    pub(super) pid: Option<u32>,
    /// Whether its home was named in `$PM2_HOME`.
    is_named: bool,
    /// What is known of it where it runs on another machine.
    pub(super) there: Option<There>,
}

/// Why a daemon did not say what runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nothing listens: no socket, or one that a killed daemon left behind.
    #[error("the PM2 daemon is not running")]
    NotRunning,
    /// It did not answer in time.
    #[error("the PM2 daemon did not answer within {} s", ANSWER_LIMIT.as_secs())]
    Silent,
    /// Its machine cannot be reached.
    #[error(transparent)]
    Host(HostError),
    /// The server of its machine opens no way to its socket.
    #[error("the sshd of its machine forbids forwarding to its socket ({0})")]
    Forbidden(String),
    /// The socket could not be used.
    #[error("cannot ask the PM2 daemon")]
    Socket(#[source] std::io::Error),
    /// It answered something else than a list.
    #[error("the PM2 daemon's answer cannot be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<SocketError> for AskError {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Io(error) => Self::Socket(error),
            SocketError::Amp(error) => Self::Answer(error.into()),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    args: Option<Vec<Vec<Process>>>,
    error: Option<serde_json::Value>,
}

impl Daemon {
    /// A daemon of which only this is known.
    pub(super) fn new(home: impl Into<PathBuf>, user: impl Into<String>) -> Self {
        Self {
            home: home.into(),
            user: user.into(),
            pid: None,
            is_named: false,
            there: None,
        }
    }

    /// A daemon of another machine.
    pub(super) fn there(
        home: PathBuf,
        user: impl Into<String>,
        pid: Option<u32>,
        is_named: bool,
        there: There,
    ) -> Self {
        Self {
            home,
            user: user.into(),
            pid,
            is_named,
            there: Some(there),
        }
    }

    /// The processes that it supervises: asked over its socket, and with the `pm2` command where the answer cannot
    /// be read and the daemon is our own.
    ///
    /// # Errors
    /// [`AskError`]; never an empty list for one.
    pub(super) async fn list(&self) -> Result<Vec<Process>, AskError> {
        let limit = match self.there {
            None => ANSWER_LIMIT,
            Some(_) => REMOTE_LIMIT,
        };
        let asked = tokio::time::timeout(limit, self.ask())
            .await
            .unwrap_or(Err(AskError::Silent));
        let asked = match (asked, &self.there) {
            (Err(AskError::Socket(error)), Some(there)) if is_cut(&error) => {
                Err(self.why_cut(there).await.unwrap_or(AskError::Socket(error)))
            }
            (asked, _) => asked,
        };
        match asked {
            Err(AskError::Answer(why)) => cli::list(self)
                .await
                .map_err(|also| AskError::Answer(format!("{why}; {also}").into())),
            asked => asked,
        }
    }

    /// What was seen of its socket on another machine.
    fn seen(&self) -> Option<Seen> {
        self.there.as_ref()?.socket
    }

    /// Why a forwarded socket ended at once.
    async fn why_cut(&self, there: &There) -> Option<AskError> {
        if there.socket == Some(Seen::Left) {
            return Some(AskError::NotRunning);
        }
        let cut = there.session.why_cut(&self.home.join("rpc.sock")).await;
        Some(match cut.ok()? {
            Some(why) => AskError::Forbidden(why),
            None => AskError::NotRunning,
        })
    }

    async fn ask(&self) -> Result<Vec<Process>, AskError> {
        match self.seen() {
            Some(Seen::Absent) => return Err(AskError::NotRunning),
            Some(Seen::Denied) => {
                return Err(AskError::Socket(io::ErrorKind::PermissionDenied.into()));
            }
            Some(Seen::Left | Seen::Heard) | None => {}
        }
        let mut stream = self.connect("rpc.sock").await?;
        let call =
            Argument::Json(br#"{"type":"call","method":"getMonitorData","args":[{}]}"#.to_vec());
        let id = Argument::Text(REQUEST.to_owned());
        let request = amp::encode(&[call, id.clone()]).map_err(SocketError::Amp)?;
        stream.write_all(&request).await.map_err(AskError::Socket)?;
        let mut messages = Messages::new(stream);
        loop {
            let message = messages.next().await?;
            let [Argument::Json(json), .., last] = message.as_slice() else {
                continue;
            };
            if *last != id {
                continue;
            }
            let answer: Answer =
                serde_json::from_slice(json).map_err(|e| AskError::Answer(e.into()))?;
            return match (
                answer.args.and_then(|args| args.into_iter().next()),
                answer.error,
            ) {
                (Some(list), _) => Ok(list),
                (None, Some(error)) => Err(AskError::Answer(format!("it says {error}").into())),
                (None, None) => Err(AskError::Answer("neither a list nor an error".into())),
            };
        }
    }

    /// Connects to one of its sockets.
    ///
    /// # Errors
    /// [`AskError::NotRunning`] where nothing listens.
    pub(super) async fn connect(&self, socket: &str) -> Result<UnixStream, AskError> {
        use std::io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        let mut path = self.home.join(socket);
        if let Some(there) = &self.there {
            path = Box::pin(there.session.forward(&path))
                .await
                .map_err(AskError::Host)?;
        }
        UnixStream::connect(path)
            .await
            .map_err(|error| match error.kind() {
                NotFound | NotADirectory | ConnectionRefused => AskError::NotRunning,
                _ => AskError::Socket(error),
            })
    }

    /// How a failure to ask stands beside what could be read; `None` where it hides nothing: the daemon was seen
    /// among the processes and has ended since, or its home never held an application.
    pub(super) async fn explain(&self, error: AskError, host: &HostName) -> Option<Unreachable> {
        let (what, fix) = match error {
            AskError::NotRunning => self.explain_not_running().await?,
            error @ AskError::Forbidden(_) => (error.to_string(), FORWARDING.to_owned()),
            AskError::Socket(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => (
                format!(
                    "permission denied on the PM2 daemon of user {} ({})",
                    self.user,
                    self.home.display()
                ),
                self.rights(),
            ),
            error => (
                format!(
                    "PM2 of user {} ({}): {}",
                    self.user,
                    self.home.display(),
                    SafeText::from_error(&error)
                ),
                format!(
                    "{} pm2 ping; pm2 update restarts a daemon that hangs",
                    self.variable()
                ),
            ),
        };
        Some(Unreachable {
            host: host.clone(),
            runtime: Runtime::Pm2,
            is_whole_host: false,
            error: SafeText::from_text(&what),
            fix: SafeText::from_text(&fix),
        })
    }

    /// Who may ask it.
    fn rights(&self) -> String {
        match &self.there {
            None => format!("run lastgood as {} or as root", self.user),
            Some(there) => format!(
                "become = \"sudo -n\" under [hosts.{}] in the configuration, or sign in there as {}",
                there.session.name(),
                self.user
            ),
        }
    }

    async fn explain_not_running(&self) -> Option<(String, String)> {
        if self.there.is_none()
            && let Some(pid) = self.pid
            && !self.is_own_home()
        {
            // It was seen a moment ago and closes its sockets before it ends.
            let ended = async {
                while process::look(pid).is_some() {
                    tokio::time::sleep(ENDING / 20).await;
                }
            };
            if tokio::time::timeout(ENDING, ended).await.is_ok() {
                return None;
            }
        }
        let (saved, has_traces) = match &self.there {
            Some(there) => (self.saved_there(there).await, there.has_traces),
            None => {
                let home = self.home.clone();
                let look = move || (saved(saved_names(&home)), has_traces(&home));
                tokio::task::spawn_blocking(look).await.ok()?
            }
        };
        // One of another machine was seen to run, and nobody saw it end.
        let is_running = self.there.is_some() && self.pid.is_some();
        if !self.is_named && !has_traces && !is_running {
            return None;
        }
        let user = &self.user;
        let fix = match saved {
            Saved::Apps(1..) => format!("{} pm2 resurrect", self.variable()),
            _ => format!("{} pm2 start ecosystem.config.js", self.variable()),
        };
        Some((
            format!("PM2 daemon not running for user {user} ({saved})"),
            fix.trim_start().to_owned(),
        ))
    }

    async fn saved_there(&self, there: &There) -> Saved {
        if there.has_dump == Some(false) {
            return Saved::Nothing;
        }
        let host = Host::Ssh(Arc::clone(&there.session));
        saved(saved_names_of(&host, &self.home).await)
    }

    /// What to set before a `pm2` command that is to reach this daemon; nothing for the default home of this user.
    fn variable(&self) -> String {
        if self.there.as_ref().is_some_and(|there| there.is_default) {
            return String::new();
        }
        match default_home().filter(|_| self.there.is_none()) {
            Some(home) if same(&home, &self.home) => String::new(),
            _ => format!("PM2_HOME={}", self.home.display()),
        }
    }

    fn is_own_home(&self) -> bool {
        self.is_named || default_home().is_some_and(|home| same(&home, &self.home))
    }
}

/// What a home's `dump.pm2` says.
enum Saved {
    Nothing,
    Apps(usize),
    Unreadable,
}

impl std::fmt::Display for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("no dump.pm2: nothing was saved"),
            Self::Apps(1) => f.write_str("dump.pm2 lists 1 app"),
            Self::Apps(n) => write!(f, "dump.pm2 lists {n} apps"),
            Self::Unreadable => f.write_str("dump.pm2 cannot be read"),
        }
    }
}

fn saved(names: io::Result<Option<BTreeSet<String>>>) -> Saved {
    match names {
        Ok(None) => Saved::Nothing,
        Ok(Some(names)) => Saved::Apps(names.len()),
        Err(_) => Saved::Unreadable,
    }
}

/// The applications in a home's `dump.pm2`; `None` where there is none.
///
/// # Errors
/// It cannot be read, is too large, or is no such list.
pub(super) fn saved_names(home: &Path) -> io::Result<Option<BTreeSet<String>>> {
    let path = home.join("dump.pm2");
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(meta) if meta.is_file() && meta.len() <= MAX_DUMP => {}
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(Some(list::saved_names(&fs::read(&path)?)?))
}

/// The same of any machine.
///
/// # Errors
/// As [`saved_names`]; or the machine cannot be reached.
pub(super) async fn saved_names_of(
    host: &Host,
    home: &Path,
) -> io::Result<Option<BTreeSet<String>>> {
    if host.name().is_local() {
        return saved_names(home);
    }
    match host.read_file(&home.join("dump.pm2"), MAX_DUMP).await {
        Ok(dump) => Ok(Some(list::saved_names(&dump)?)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Whether somebody took a connection and closed it without an answer.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Whether an application ever ran under this home. `pm2 --version` alone makes a home, and that is no outage.
fn has_traces(home: &Path) -> bool {
    let has_entries = |name: &str| {
        fs::read_dir(home.join(name)).is_ok_and(|mut entries| entries.next().is_some())
    };
    ["dump.pm2", "rpc.sock"]
        .iter()
        .any(|name| home.join(name).exists())
        || has_entries("logs")
        || has_entries("pids")
}

/// Every home that there is on this machine, with its daemon's process where one runs.
pub(super) async fn find() -> Vec<Daemon> {
    tokio::task::spawn_blocking(|| {
        let named = std::env::var_os("PM2_HOME").map(PathBuf::from);
        gather(named, default_home(), running())
    })
    .await
    .unwrap_or_default()
}

fn default_home() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".pm2"))
}

fn gather(named: Option<PathBuf>, default: Option<PathBuf>, running: Vec<Running>) -> Vec<Daemon> {
    let mut found: Vec<Daemon> = Vec::new();
    let named = named.filter(|home| !home.as_os_str().is_empty());
    let homes = named
        .into_iter()
        .map(|home| (home, true))
        .chain(default.into_iter().map(|home| (home, false)));
    for (home, is_named) in homes {
        let user = match fs::metadata(&home) {
            Ok(meta) => name_of(meta.uid()),
            // That is told when it is asked.
            Err(error) if is_named && error.kind() == io::ErrorKind::PermissionDenied => {
                "unknown".to_owned()
            }
            Err(_) => continue,
        };
        if !found.iter().any(|known| same(&known.home, &home)) {
            found.push(Daemon {
                user,
                home,
                pid: None,
                is_named,
                there: None,
            });
        }
    }
    for Running { pid, uid, home } in running {
        match found.iter_mut().find(|known| same(&known.home, &home)) {
            Some(known) => known.pid = known.pid.or(Some(pid)),
            None => found.push(Daemon {
                user: name_of(fs::metadata(&home).map_or(uid, |meta| meta.uid())),
                home,
                pid: Some(pid),
                is_named: false,
                there: None,
            }),
        }
    }
    found
}

fn name_of(uid: u32) -> String {
    host::user_name(uid).unwrap_or_else(|| uid.to_string())
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}

/// A daemon's process.
struct Running {
    pid: u32,
    uid: u32,
    home: PathBuf,
}

/// The daemons among the processes.
fn running() -> Vec<Running> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let title = fs::read(entry.path().join("cmdline")).ok()?;
            let home = home_in_title(&title)?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            if is_in_a_container(&status) {
                return None;
            }
            let uid = entry.metadata().ok()?.uid();
            // Anybody can call a process anything: only who owns a home, or root, speaks for it.
            let speaks = match fs::metadata(&home) {
                Ok(meta) => uid == 0 || meta.uid() == uid,
                // A home that we may not look into: that is told when it is asked.
                Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
            };
            speaks.then_some(Running { pid, uid, home })
        })
        .collect()
}

/// Whether a process has another id in a namespace of its own: the home that it names is not one of this machine.
fn is_in_a_container(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|ids| ids.split_ascii_whitespace().count() > 1)
}

/// `PM2 v7.0.4: God Daemon (/root/.pm2)`, filled up with blanks or zeros.
fn home_in_title(title: &[u8]) -> Option<PathBuf> {
    let title = str::from_utf8(title).ok()?;
    let title = title.trim_end_matches(['\0', ' ']);
    let (version, rest) = title.strip_prefix("PM2 v")?.split_once(": God Daemon (")?;
    let home = rest.strip_suffix(')')?;
    let is_version = version.bytes().all(|b| b.is_ascii_graphic());
    (is_version && home.starts_with('/')).then(|| PathBuf::from(home))
}

#[cfg(test)]
mod tests;
