//! A machine behind ssh: the system's own `ssh` with its configuration, agent and known hosts.
//!
//! One connection a machine carries every command as a channel; at most eight at a time, because servers refuse
//! more. It is opened when first needed, and again after it was lost. Unknown or changed host keys are refused and
//! nothing is ever asked for: a prompt would write over the screen.
//!
//! Remote scripts are constants and data goes as their arguments. A command that changes something runs detached,
//! with its output in files: a lost link neither kills it half-way nor hides how it ended.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use openssh::{ControlPersist, ForwardType, KnownHosts, SessionBuilder, Socket, Stdio};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, Semaphore};

use super::local::{Keep, Kept};
use super::{Command, CommandOutput, FileStat, HostError};
use crate::domain::host::HostName;
use crate::domain::safe_text::SafeText;

/// Channels at a time: `MaxSessions` is 10 by default, and the engineer's own shell is one.
const CHANNELS: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A link that says nothing for three of these is dead.
const ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// For the small commands behind the file functions.
const FILE_TIMEOUT: Duration = Duration::from_secs(30);
/// On top of a command's own limit, which the other side keeps: time for the link.
const LINK_MARGIN: Duration = Duration::from_secs(10);
const REMOTE_DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// What the scripts below exit with: `EX_NOINPUT` and its neighbours.
const NOT_FOUND: i32 = 66;
const NOT_READABLE: i32 = 67;
const CUT_SHORT: i32 = 68;
/// `timeout` says so when it killed its command.
const TIMED_OUT: i32 = 124;

const IN_FOLDER: &str = r#"cd -- "$1" || exit 126; shift; exec "$@""#;
const READ: &str = r#"[ -e "$1" ] || exit 66; [ -r "$1" ] || exit 67; exec head -c "$2" -- "$1""#;
const STAT: &str = r#"[ -e "$1" ] || exit 66; exec stat -L -c '%s %a %u %g %i %Y %F' -- "$1""#;
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
/// Starts a command that outlives the channel and prints the folder of its output.
const DETACH: &str = r#"
d=$(mktemp -d "${TMPDIR:-/tmp}/lastgood-XXXXXX") || exit 1
setsid sh -c 'd=$1; shift; "$@" > "$d/out" 2> "$d/err"; echo $? > "$d/rc.new"; mv "$d/rc.new" "$d/rc"' sh "$d" "$@" < /dev/null > /dev/null 2>&1 &
echo "$d"
"#;
const AWAIT: &str = r#"while [ ! -e "$1/rc" ]; do sleep 0.2; done; cat "$1/rc""#;
const CLEAN: &str = r#"rm -rf -- "$1""#;

/// A machine behind ssh, connected when first needed.
#[derive(Debug)]
pub struct Session {
    name: HostName,
    destination: String,
    config_file: Option<PathBuf>,
    link: Mutex<Option<Arc<Link>>>,
    channels: Semaphore,
}

#[derive(Debug)]
struct Link {
    session: openssh::Session,
    docker: Mutex<bool>,
    // After the session, whose control socket lies in it.
    folder: TempDir,
}

impl Session {
    /// A session by name; `destination` is anything that ssh accepts, with an optional `:port`.
    pub fn new(name: HostName, destination: impl Into<String>) -> Self {
        Self {
            name,
            destination: destination.into(),
            config_file: None,
            link: Mutex::new(None),
            channels: Semaphore::new(CHANNELS),
        }
    }

    /// Uses another configuration file than `~/.ssh/config`.
    #[must_use]
    pub fn with_config_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config_file = Some(path.into());
        self
    }

    /// The machine's name.
    pub fn name(&self) -> HostName {
        self.name.clone()
    }

    fn lost(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> HostError {
        // The library's own text hides its cause, and ssh's spans lines.
        let source = source.into();
        let text = SafeText::from_error(source.as_ref());
        let text = text.as_str().replace("␍␊", "; ").replace('␊', "; ");
        HostError::Lost {
            host: self.name.clone(),
            source: text.into(),
        }
    }

    /// The connection, opened or opened again where it has died.
    async fn link(&self) -> Result<Arc<Link>, HostError> {
        let mut link = self.link.lock().await;
        if let Some(open) = link.as_ref() {
            if open.session.check().await.is_ok() {
                return Ok(Arc::clone(open));
            }
            *link = None;
        }
        // An option or a command must not pass for a destination.
        HostName::parse(&self.destination).map_err(|e| self.lost(e))?;
        let folder = control_folder().map_err(|e| self.lost(e))?;
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(CONNECT_TIMEOUT)
            .server_alive_interval(ALIVE_INTERVAL)
            .control_directory(folder.path())
            .control_persist(ControlPersist::IdleFor(
                std::num::NonZeroUsize::new(60).unwrap_or(std::num::NonZeroUsize::MIN),
            ));
        if let Some(file) = &self.config_file {
            builder.config_file(file);
        }
        let (host, port) = split_port(&self.destination);
        if let Some(port) = port {
            builder.port(port);
        }
        let connecting = builder.connect_mux(host);
        let session = tokio::time::timeout(CONNECT_TIMEOUT + LINK_MARGIN, connecting)
            .await
            .map_err(|late| self.lost(late))?
            .map_err(|e| self.lost(e))?;
        let open = Arc::new(Link {
            session,
            docker: Mutex::new(false),
            folder,
        });
        *link = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Runs a command to its end or to its time limit, which the other side keeps.
    pub(super) async fn run(&self, command: &Command) -> Result<CommandOutput, HostError> {
        self.run_with(command, None).await
    }

    async fn run_with(
        &self,
        command: &Command,
        input: Option<&[u8]>,
    ) -> Result<CommandOutput, HostError> {
        let _channel = self.channels.acquire().await.map_err(|e| self.lost(e))?;
        let link = self.link().await?;
        let started = Instant::now();
        let argv = remote_argv(command);
        let running = async {
            let mut remote = link.session.command("timeout");
            remote
                .args(&argv)
                .stdin(if input.is_some() {
                    Stdio::piped()
                } else {
                    Stdio::null()
                })
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = remote.spawn().await?;
            let mut stdout = Kept::new(command.max_output, Keep::First);
            let mut stderr = Kept::new(command.max_output, Keep::Last);
            let (out, err) = (child.stdout().take(), child.stderr().take());
            let stdin = child.stdin().take();
            let writing = async {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    // A command that stops reading says why on its own.
                    let _ = stdin.write_all(input).await;
                    let _ = stdin.shutdown().await;
                }
            };
            tokio::join!(stdout.fill(out), stderr.fill(err), writing);
            let status = child.wait().await?;
            Ok::<_, openssh::Error>((status, stdout, stderr))
        };
        let (status, stdout, stderr) = tokio::time::timeout(command.timeout + LINK_MARGIN, running)
            .await
            .map_err(|late| self.lost(late))?
            .map_err(|e| self.lost(e))?;
        if status.code() == Some(TIMED_OUT) {
            return Err(HostError::TimedOut {
                line: command.to_line(),
                limit: command.timeout,
            });
        }
        Ok(CommandOutput {
            code: status.code(),
            signal: std::os::unix::process::ExitStatusExt::signal(&status),
            stdout: stdout.bytes,
            stderr: stderr.bytes,
            cut_bytes: stdout.cut + stderr.cut,
            took: started.elapsed(),
        })
    }

    /// Runs a command that outlives the link: after a loss its end is read from the other side.
    pub(super) async fn run_detached(&self, command: &Command) -> Result<CommandOutput, HostError> {
        let started = Instant::now();
        let mut argv = vec!["timeout".to_owned()];
        argv.extend(remote_argv(command));
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        // Without an answer it is unknown whether it began: never tried again.
        let start = self
            .run(&Command::shell(DETACH, &argv, FILE_TIMEOUT))
            .await?;
        let folder = start.stdout_text().trim().to_owned();
        if !start.is_success() || folder.is_empty() {
            return Err(self.lost(start.describe().to_string()));
        }
        let deadline = started + command.timeout + LINK_MARGIN;
        let code = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = Command::shell(AWAIT, &[&folder], left.max(Duration::from_secs(1)));
            match self.run(&wait).await {
                Ok(ended) => break ended.stdout_text().trim().parse::<i32>().ok(),
                Err(error @ HostError::Lost { .. }) if left.is_zero() => return Err(error),
                Err(HostError::Lost { .. }) => tokio::time::sleep(Duration::from_secs(1)).await,
                Err(error) => return Err(error),
            }
        };
        if code == Some(TIMED_OUT) {
            return Err(HostError::TimedOut {
                line: command.to_line(),
                limit: command.timeout,
            });
        }
        let max = command.max_output as u64;
        let folder_path = Path::new(&folder);
        let (stdout, cut_out) = self.head(&folder_path.join("out"), max).await?;
        let (stderr, cut_err) = self.head(&folder_path.join("err"), max).await?;
        // What is left behind in a folder of temporary files does no harm.
        let _ = self
            .run(&Command::shell(CLEAN, &[&folder], FILE_TIMEOUT))
            .await;
        Ok(CommandOutput {
            code,
            signal: None,
            stdout,
            stderr,
            cut_bytes: cut_out + cut_err,
            took: started.elapsed(),
        })
    }

    /// The first `max` bytes of a file, and whether there were more (as a count of at least one).
    async fn head(&self, path: &Path, max: u64) -> Result<(Vec<u8>, u64), HostError> {
        let text = path.to_string_lossy();
        let asked = max.saturating_add(1);
        let mut command = Command::shell(READ, &[&text, &asked.to_string()], FILE_TIMEOUT);
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

    pub(super) async fn stat(&self, path: &Path) -> Result<Option<FileStat>, HostError> {
        let text = path.to_string_lossy();
        let output = self
            .run(&Command::shell(STAT, &[&text], FILE_TIMEOUT))
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

    pub(super) async fn write_file_atomic(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> Result<(), HostError> {
        let text = path.to_string_lossy();
        let arguments = [&*text, &format!("{mode:o}"), &content.len().to_string()];
        let command = Command::shell(WRITE, &arguments, FILE_TIMEOUT);
        let output = self.run_with(&command, Some(content)).await?;
        check("write", path, output).map(|_| ())
    }

    /// A socket on this machine behind which the engine of that machine listens.
    pub(crate) async fn docker_socket(&self) -> Result<PathBuf, HostError> {
        let link = self.link().await?;
        let path = link.folder.path().join("docker.sock");
        let mut is_forwarded = link.docker.lock().await;
        if !*is_forwarded {
            let listen = Socket::UnixSocket {
                path: path.as_path().into(),
            };
            let connect = Socket::UnixSocket {
                path: Path::new(REMOTE_DOCKER_SOCKET).into(),
            };
            link.session
                .request_port_forward(ForwardType::Local, listen, connect)
                .await
                .map_err(|e| self.lost(e))?;
            *is_forwarded = true;
        }
        Ok(path)
    }
}

/// The arguments of `timeout` that run a command with its folder and its variables. A channel's environment is that
/// of a fresh login, so there is nothing to clean.
fn remote_argv(command: &Command) -> Vec<String> {
    let seconds = command.timeout.as_secs_f64().max(0.1);
    let mut argv = vec!["-k".to_owned(), "2".to_owned(), format!("{seconds:.1}")];
    if let Some(cwd) = &command.cwd {
        let cwd = cwd.to_string_lossy().into_owned();
        argv.extend(["sh", "-c", IN_FOLDER, "sh"].map(str::to_owned));
        argv.push(cwd);
    }
    if !command.env.is_empty() {
        argv.push("env".to_owned());
        argv.extend(command.env.iter().map(|(n, v)| format!("{n}={v}")));
    }
    argv.extend(command.argv.iter().cloned());
    argv
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

/// A private folder with a short path: control sockets end before 100 bytes.
fn control_folder() -> std::io::Result<TempDir> {
    let base = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|p| p.is_dir() && p.as_os_str().len() < 40)
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    // 0700 by its constructor.
    tempfile::Builder::new()
        .prefix("lastgood-")
        .tempdir_in(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_taken_off_the_destination() {
        assert_eq!(split_port("prod-1"), ("prod-1", None));
        assert_eq!(
            split_port("deploy@prod-1:2222"),
            ("deploy@prod-1", Some(2222))
        );
        assert_eq!(
            split_port("root@[fe80::1]:22"),
            ("root@[fe80::1]", Some(22))
        );
        assert_eq!(split_port("root@[fe80::1]"), ("root@[fe80::1]", None));
    }

    #[test]
    fn a_command_carries_its_limit_folder_and_variables() {
        let command = Command::new(["docker", "ps"], Duration::from_secs(5))
            .in_folder("/srv/shop")
            .with_env("A", "b c");
        let argv = remote_argv(&command);
        assert_eq!(argv[..3], ["-k", "2", "5.0"]);
        assert_eq!(
            argv[argv.len() - 5..],
            ["/srv/shop", "env", "A=b c", "docker", "ps"]
        );
    }

    #[test]
    fn what_stat_prints_is_read() {
        let found = parse_stat("12 640 0 33 4711 1700000000 regular file").unwrap();
        assert_eq!((found.size, found.mode, found.gid), (12, 0o640, 33));
        assert!(!found.is_folder);
        assert!(parse_stat("nonsense").is_none());
    }

    #[tokio::test]
    async fn an_option_does_not_pass_for_a_destination() {
        let session = Session::new(HostName::local(), "-oProxyCommand=touch /tmp/x");
        let error = session
            .run(&Command::new(["true"], FILE_TIMEOUT))
            .await
            .unwrap_err();
        assert!(matches!(error, HostError::Lost { .. }), "{error}");
    }
}
