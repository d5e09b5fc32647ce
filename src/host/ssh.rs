//! A machine behind ssh: the system's own `ssh` with its configuration, agent and known hosts.
//!
//! One connection a machine carries every command as a channel; at most eight at a time, because servers refuse
//! more, and fewer where this one does. It is opened when first needed, and again after it was lost. Unknown or changed
//! host keys are refused and nothing is ever asked for: a prompt would write over the screen.
//!
//! Remote scripts are constants and data goes as their arguments. Nothing is changed through a login shell that does not
//! hand arguments on as they are. What a login shell says by itself is no output.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, Semaphore};

use super::stream::Streams;
use super::{Command, CommandOutput, FileStat, HostError};
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;

mod agreed;
mod detached;
mod engine;
mod folder;
mod greeting;
mod lately;
mod link;
mod linked;
mod reader;
mod relay;
mod streamed;
mod trouble;

pub(crate) use agreed::Swap;
pub use engine::{DockerSocket, FORWARDING};
use link::{Failure, Link};
pub use reader::Piece;
use trouble::{Address, Trouble};

/// Channels at a time: `MaxSessions` is 10 by default, and the engineer's own shell is one.
const CHANNELS: usize = 8;
/// For the small commands behind the file functions.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// A write is tried again for so long when the link is lost: it puts the same content there.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// While something is being changed, so long is waited for the machine to be there again.
const LINK_PATIENCE: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A server that refuses says so sooner.
const SILENCE: Duration = Duration::from_secs(5);
/// A machine that was silent is taken for silent for so long.
const SILENT_FOR: Duration = Duration::from_secs(2);
/// What the scripts below exit with: `EX_NOINPUT` and its neighbours.
const NOT_FOUND: i32 = 66;
const NOT_READABLE: i32 = 67;
const CUT_SHORT: i32 = 68;
/// `timeout` says so when it ended its command, and what a command says that it had to kill.
const TIMED_OUT: i32 = 124;
const KILLED: i32 = 137;

/// Before each that looks at `$1`. A shell's `-e` does not tell what is not there from what stands behind a closed folder.
const THERE: &str = r#"
[ -e "$1" ] || said=$(LC_ALL=C stat -L -- "$1" 2>&1) || case $said in
  *": No such file or directory" | *": Not a directory") exit 66 ;;
  *": Permission denied") exit 67 ;;
  *) echo "$said" >&2; exit 1 ;;
esac
"#;
const READ: &str = r#"[ -r "$1" ] || exit 67; exec head -c "$2" -- "$1""#;
const STAT: &str = r#"exec stat -L -c '%s %a %u %g %i %Y %F' -- "$1""#;
/// A link that leads nowhere is not there for [`THERE`], and a link all the same.
const IS_LINK: &str = r#"[ ! -L "$1" ] || exec readlink -- "$1""#;
/// After [`THERE`]: it is no link.
const NO_LINK: &str = "exit 66";
/// `$1` the file, `$2` the mode of a new one, `$3` the size of what comes on stdin: less means a lost link.
const WRITE: &str = r#"
t=$(readlink -f -- "$1") || exit 1
d=$(dirname -- "$t")
n=$(mktemp -- "$d/.lastgood-XXXXXX") || exit 1
trap 'rm -f -- "$n"' EXIT
cat > "$n" || exit 1
[ "$(wc -c < "$n")" -eq "$3" ] || exit 68
if [ -e "$t" ]; then
  chown --reference="$t" -- "$n" && chmod --reference="$t" -- "$n" || exit 1
else
  chmod -- "$2" "$n" || exit 1
fi
sync -- "$n" && mv -f -- "$n" "$t" && sync -- "$d"
"#;
/// A machine behind ssh, connected when first needed.
#[derive(Debug)]
pub struct Session {
    name: HostName,
    destination: String,
    address: Address,
    /// What is put before every command: `sudo -n`.
    rights: Vec<String>,
    link: Mutex<LinkState>,
    is_linked: AtomicBool,
    channels: Semaphore,
    /// How many channels there are at most, as far as the server let us know.
    width: AtomicUsize,
    reader: Mutex<Option<reader::Reader>>,
    /// What goes with the greeting of a new link.
    questions: std::sync::Mutex<BTreeSet<&'static str>>,
    /// How many changes are under way, which wait for a link that was lost.
    changes: AtomicUsize,
}

/// While this is held, whatever asks the machine waits for a lost link to come back.
#[derive(Debug)]
pub struct Patience(Arc<Session>);

impl Drop for Patience {
    fn drop(&mut self) {
        self.0.changes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Two are the same that lead to the same machine by the same name.
impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.address) == (&other.name, &other.address)
    }
}

impl Eq for Session {}

/// How connecting failed last.
#[derive(Debug)]
struct Failed {
    at: Instant,
    /// Nobody answered: it took as long as one waits for that.
    is_silent: bool,
    trouble: Trouble,
}

#[derive(Debug, Default)]
struct LinkState {
    open: Option<Arc<Link>>,
    failed: Option<Failed>,
}

/// What a machine is for whoever signs in there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Login {
    /// The user.
    pub(crate) user: String,
    /// Its home folder.
    pub(crate) home: PathBuf,
    /// Its login shell.
    pub(crate) shell: String,
    /// How far the clock there is ahead of ours.
    pub(crate) ahead: SignedDuration,
    /// Why nothing may be changed through it, and what to do about that.
    pub(crate) unfit: Option<(String, String)>,
}

impl Session {
    /// A session by name; `destination` is anything that ssh accepts, with an optional `:port`. Another configuration
    /// than `~/.ssh/config` is read where one is named.
    pub fn new(
        name: HostName,
        destination: impl Into<String>,
        config_file: Option<PathBuf>,
    ) -> Self {
        let destination = destination.into();
        let (host, port) = split_port(&destination);
        Self {
            name,
            address: Address {
                host: host.to_owned(),
                port,
                config_file,
                is_compressed: true,
            },
            destination,
            rights: Vec::new(),
            link: Mutex::default(),
            is_linked: AtomicBool::new(false),
            channels: Semaphore::new(CHANNELS),
            width: AtomicUsize::new(CHANNELS),
            reader: Mutex::new(None),
            questions: std::sync::Mutex::default(),
            changes: AtomicUsize::new(0),
        }
    }

    /// Does everything there with the rights that these words give: `sudo -n`, `doas -n -u deploy`.
    #[must_use]
    pub fn with_rights(mut self, words: Vec<String>) -> Self {
        self.rights = words;
        self
    }

    /// Whether what is sent is compressed, as it is where nothing is said.
    #[must_use]
    pub fn with_compression(mut self, is_compressed: bool) -> Self {
        self.address.is_compressed = is_compressed;
        self
    }

    /// The words that give other rights than those of the user that signs in; `None` without any.
    pub(crate) fn rights(&self) -> Option<String> {
        (!self.rights.is_empty()).then(|| shell_words::join(&self.rights))
    }

    /// Waits for lost links from now on, until what is returned is dropped.
    pub(super) fn patience(self: &Arc<Self>) -> Patience {
        self.changes.fetch_add(1, Ordering::Relaxed);
        Patience(Arc::clone(self))
    }

    /// The machine's name.
    pub fn name(&self) -> HostName {
        self.name.clone()
    }

    /// `ssh` with what reaches this machine, as one would type it.
    pub fn line(&self) -> String {
        self.address.line()
    }

    fn lost(&self, text: impl AsRef<str>) -> HostError {
        self.refused(Trouble {
            text: text.as_ref().to_owned(),
            fix: format!("see whether it is there: {} true", self.line()),
        })
    }

    /// A look at the machine that broke off, with what it said last.
    pub(crate) fn broken(&self, what: &'static str, said: &str) -> HostError {
        HostError::Broken {
            what,
            host: self.name.clone(),
            said: SafeText::from_text(said),
            fix: format!(
                "see what it is short of: {} 'ps -e | wc -l; free -m'",
                self.line()
            ),
        }
    }

    fn refused(&self, trouble: Trouble) -> HostError {
        let text = SafeText::from_text(&trouble.text);
        let text = text.as_str().replace("␍␊", "; ").replace('␊', "; ");
        HostError::Lost {
            host: self.name.clone(),
            fix: trouble.fix,
            source: text.into(),
        }
    }

    /// The connection, opened or opened again where it has died. Who waited while connecting failed is told of that
    /// failure, and does not try it once more; nor does who asks a machine that was silent a moment ago, unless a change
    /// waits for it: a look at it that asks one thing after the other would take minutes.
    async fn link(&self) -> Result<Arc<Link>, HostError> {
        let asked = Instant::now();
        let mut state = self.link.lock().await;
        if let Some(open) = &state.open {
            if open.is_alive() {
                return Ok(Arc::clone(open));
            }
            state.open = None;
            self.is_linked.store(false, Ordering::Relaxed);
        }
        let is_patient = || self.changes.load(Ordering::Relaxed) > 0;
        if let Some(failed) = &state.failed {
            let is_known = failed.is_silent && failed.at.elapsed() < SILENT_FOR && !is_patient();
            if failed.at >= asked || is_known {
                return Err(self.refused(failed.trouble.clone()));
            }
        }
        // An option or a command must not pass for a destination.
        if let Err(error) = HostName::parse(&self.destination) {
            return Err(self.refused(Trouble {
                text: error.to_string(),
                fix: "name it as ssh does: user@host, or an alias of ~/.ssh/config".to_owned(),
            }));
        }
        let begun = Instant::now();
        let deadline = begun + LINK_PATIENCE;
        let opened = loop {
            let questions = || self.waiting_questions();
            let opened = Box::pin(Link::open(&self.address, &self.rights, questions)).await;
            if opened.is_ok() || !is_patient() || Instant::now() >= deadline {
                break opened;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        };
        match opened {
            Ok(link) => {
                let link = Arc::new(link);
                state.open = Some(Arc::clone(&link));
                state.failed = None;
                self.is_linked.store(true, Ordering::Relaxed);
                Ok(link)
            }
            Err(trouble) => {
                state.failed = Some(Failed {
                    at: Instant::now(),
                    is_silent: begun.elapsed() >= SILENCE,
                    trouble: trouble.clone(),
                });
                Err(self.refused(trouble))
            }
        }
    }

    fn waiting_questions(&self) -> Vec<&'static str> {
        let questions = self.questions.lock();
        let questions = questions.unwrap_or_else(PoisonError::into_inner);
        questions.iter().copied().collect()
    }

    /// How far its clock is ahead of ours.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn ahead(&self) -> Result<SignedDuration, HostError> {
        Ok(self.link().await?.hello.ahead)
    }

    /// The home folder of the user that we are there.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn home(&self) -> Result<PathBuf, HostError> {
        Ok(self.link().await?.hello.home.clone())
    }

    /// What the other side is, connecting where that was not done yet.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn login(&self) -> Result<Login, HostError> {
        let hello = &self.link().await?.hello;
        Ok(Login {
            user: hello.user.clone(),
            home: hello.home.clone(),
            shell: hello.shell.clone(),
            ahead: hello.ahead,
            unfit: hello.unfit().map(|trouble| (trouble.text, trouble.fix)),
        })
    }

    /// Whether something may be changed through this login.
    async fn is_fit(&self) -> Result<(), HostError> {
        match self.link().await?.hello.unfit() {
            Some(trouble) => Err(HostError::Unfit {
                host: self.name.clone(),
                why: trouble.text,
                fix: trouble.fix,
            }),
            None => Ok(()),
        }
    }

    /// Runs a command that changes nothing to its end or to its time limit, which the other side keeps. Where the link
    /// was lost it is asked once more over a new one.
    pub(super) async fn run(&self, command: &Command) -> Result<CommandOutput, HostError> {
        match self.run_with(command, None).await {
            Err(HostError::Lost { .. }) => self.run_with(command, None).await,
            answered => answered,
        }
    }

    async fn run_with(
        &self,
        command: &Command,
        input: Option<&[u8]>,
    ) -> Result<CommandOutput, HostError> {
        loop {
            let channel = self
                .channels
                .acquire()
                .await
                .map_err(|error| self.lost(error.to_string()))?;
            let link = self.link().await?;
            let streams = input.map_or_else(Streams::default, Streams::from_bytes);
            let output = match link.exec(command, streams).await {
                Ok(output) => output,
                Err(Failure::Lost(text)) => return Err(self.lost(text)),
                Err(Failure::NoShell(trouble)) => return Err(self.refused(trouble)),
                Err(Failure::Full(text)) => {
                    if self.width.load(Ordering::Relaxed) <= 1 {
                        return Err(self.refused(Trouble {
                            text: format!("its sshd opens no channel: {text}"),
                            fix: "raise MaxSessions in /etc/ssh/sshd_config there (10 is usual)"
                                .to_owned(),
                        }));
                    }
                    // One channel less from now on.
                    self.width.fetch_sub(1, Ordering::Relaxed);
                    channel.forget();
                    continue;
                }
            };
            let is_late = output.took >= command.timeout;
            let is_ended = output.code == Some(TIMED_OUT);
            if is_ended || (is_late && output.code == Some(KILLED)) {
                return Err(HostError::TimedOut {
                    line: command.to_line(),
                    limit: command.timeout,
                });
            }
            return Ok(output);
        }
    }

    /// The first `max` bytes of a file, and whether there were more (as a count of at least one).
    async fn head(&self, path: &Path, max: u64) -> Result<(Vec<u8>, u64), HostError> {
        let asked = max.saturating_add(1);
        let size = asked.to_string();
        let arguments = [path.as_os_str(), size.as_ref()];
        let script = format!("{THERE}{READ}");
        let mut command = Command::shell_with(&script, arguments, FILE_TIMEOUT);
        command.max_output = usize::try_from(asked).unwrap_or(usize::MAX);
        let output = self.run(&command).await?;
        let mut content = check("read", path, output)?.stdout;
        let cut = (content.len() as u64).saturating_sub(max);
        content.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        Ok((content, cut))
    }

    pub(super) async fn read_file(&self, path: &Path, max: u64) -> Result<Vec<u8>, HostError> {
        match self.head(path, max).await? {
            (content, 0) => Ok(content),
            (_, cut) => Err(HostError::TooLarge {
                path: path.to_owned(),
                size: max + cut,
                max,
            }),
        }
    }

    pub(super) async fn read_link(&self, path: &Path) -> Result<Option<PathBuf>, HostError> {
        let script = format!("{IS_LINK}{THERE}{NO_LINK}");
        let output = self
            .run(&Command::shell_with(&script, [path], FILE_TIMEOUT))
            .await?;
        if output.code == Some(NOT_FOUND) {
            return Ok(None);
        }
        let target = check("look at", path, output)?.stdout;
        let target = target.strip_suffix(b"\n").unwrap_or(&target);
        Ok(Some(PathBuf::from(OsStr::from_bytes(target))))
    }

    pub(super) async fn stat(&self, path: &Path) -> Result<Option<FileStat>, HostError> {
        let script = format!("{THERE}{STAT}");
        let output = self
            .run(&Command::shell_with(&script, [path], FILE_TIMEOUT))
            .await?;
        if output.code == Some(NOT_FOUND) {
            return Ok(None);
        }
        let output = check("look at", path, output)?;
        let text = output.stdout_text();
        let found = parse_stat(text.trim());
        found.map(Some).ok_or_else(|| HostError::File {
            what: "look at",
            path: path.to_owned(),
            source: std::io::Error::other(format!("stat said {:?}", text.trim())),
        })
    }

    /// Tried again when the link is lost: whole or not at all, and the same content each time.
    pub(super) async fn write_file_atomic(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> Result<(), HostError> {
        self.is_fit().await?;
        let (mode, size) = (format!("{mode:o}"), content.len().to_string());
        let arguments = [path.as_os_str(), mode.as_ref(), size.as_ref()];
        let command = Command::shell_with(WRITE, arguments, FILE_TIMEOUT);
        let deadline = Instant::now() + WRITE_PATIENCE;
        loop {
            let output = match self.run_with(&command, Some(content)).await {
                Err(HostError::Lost { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(TRY_AGAIN).await;
                    continue;
                }
                Ok(output) if output.code == Some(CUT_SHORT) && Instant::now() < deadline => {
                    continue;
                }
                output => output?,
            };
            return check("write", path, output).map(|_| ());
        }
    }

    /// A socket of this machine behind which a socket of that one listens, or nobody.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn forward(&self, remote: &Path) -> Result<PathBuf, HostError> {
        let link = self.link().await?;
        // A forwarded socket is opened by sshd, with the rights of the user that signed in.
        let way = match self.rights.is_empty() {
            true => link.forward(remote).await,
            false => link.relay(remote).await,
        };
        way.map_err(|text| self.lost(text))
    }

    /// A socket of this machine that leads to an address as that machine sees it.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn forward_tcp(&self, host: &str, port: u16) -> Result<PathBuf, HostError> {
        let link = Box::pin(self.link()).await?;
        let way = link.forward_tcp(host, port).await;
        way.map_err(|text| self.lost(text))
    }

    /// What the server said when it opened no way for a forwarded socket, since this was last asked.
    pub(super) async fn refused_channel(&self) -> Option<String> {
        self.link().await.ok()?.new_refusal()
    }
}

fn check(
    what: &'static str,
    path: &Path,
    output: CommandOutput,
) -> Result<CommandOutput, HostError> {
    use std::io::{Error, ErrorKind};
    let source = match output.code {
        Some(0) => return Ok(output),
        Some(NOT_FOUND) => Error::from(ErrorKind::NotFound),
        Some(NOT_READABLE) => Error::from(ErrorKind::PermissionDenied),
        Some(CUT_SHORT) => Error::new(ErrorKind::UnexpectedEof, "the link was lost on the way"),
        _ => Error::other(output.describe().to_string()),
    };
    Err(HostError::File {
        what,
        path: path.to_owned(),
        source,
    })
}

/// Reads `SIZE MODE UID GID INODE MTIME KIND`.
fn parse_stat(text: &str) -> Option<FileStat> {
    let mut words = text.splitn(7, ' ');
    Some(FileStat {
        size: words.next()?.parse().ok()?,
        mode: u32::from_str_radix(words.next()?, 8).ok()?,
        uid: words.next()?.parse().ok()?,
        gid: words.next()?.parse().ok()?,
        inode: words.next()?.parse().ok()?,
        modified_at: Timestamp::from_second(words.next()?.parse().ok()?).ok(),
        is_folder: words.next()? == "directory",
    })
}

/// `user@host:2222` is not a form that ssh takes: the port goes as an option.
fn split_port(destination: &str) -> (&str, Option<u16>) {
    let (head, tail) = match destination.rsplit_once(']') {
        // A bracketed IPv6 address, whose colons are not ports. ssh takes it without brackets after `-p`.
        Some((_, tail)) => (&destination[..destination.len() - tail.len()], tail),
        None => match destination.rsplit_once(':') {
            Some((head, port)) => return (head, port.parse().ok()),
            None => return (destination, None),
        },
    };
    (head, tail.strip_prefix(':').and_then(|p| p.parse().ok()))
}

#[cfg(test)]
mod tests;
