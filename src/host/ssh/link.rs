//! One connection to a machine: the master process, what the other side is, and one channel for one command.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use openssh::{ControlPersist, ForwardType, KnownHosts, SessionBuilder, Socket};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::engine::Found;
use super::folder;
use super::greeting::{Greeting, Hello};
use super::lately::Answers;
use super::relay::Relays;
use super::trouble::{Address, Trouble, explain, is_about_the_key, shown_key};
use crate::domain::digest;
use crate::domain::safe_text::SafeText;
use crate::host::stream::Streams;
use crate::host::{Command, CommandOutput};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A link that says nothing for three of these is dead, and told of within five seconds. Whatever comes counts: one that is
/// slow and busy is not.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A master that nobody uses ends after so many seconds.
const IDLE_SECONDS: usize = 60;
/// On top of a command's own limit, which the other side keeps: time for the link.
pub(super) const LINK_MARGIN: Duration = Duration::from_secs(10);
/// What a login shell may say before the first command runs.
const MAX_BANNER: usize = 64 * 1024;

const CLEAN: &str = r#"exec env -i HOME="$HOME" PATH="$PATH" USER="${USER:-}" LOGNAME="${LOGNAME:-}" LANG="${LANG:-C}" ${TZ:+"TZ=$TZ"} "$@""#;
const IN_FOLDER: &str = r#"cd -- "$1" || exit 126; shift; exec "$@""#;
/// Why a command gave no output.
#[derive(Debug)]
pub(super) enum Failure {
    /// The link is gone; what the command did is not known.
    Lost(String),
    /// The server opens no further channel now: the command did not begin.
    Full(String),
    /// The other side runs no commands of ours.
    NoShell(Trouble),
}

/// An open connection. Dropped, it tells the master to end and removes its folder.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) session: Arc<openssh::Session>,
    pub(super) hello: Hello,
    /// Where the engine's socket was found.
    pub(super) docker: Mutex<Found>,
    /// What was asked lately over it.
    pub(super) lately: Mutex<Answers>,
    /// Open for as long as the master lives.
    life: UnixStream,
    /// What is put before every command.
    pub(super) rights: Vec<String>,
    pub(super) relays: Relays,
    refusals_seen: AtomicUsize,
    forwards: Mutex<BTreeMap<PathBuf, PathBuf>>,
    // After the session, whose control socket lies in it.
    folder: TempDir,
}

impl Link {
    /// Connects, looks at what is there, and asks the questions that somebody waits for by then.
    ///
    /// # Errors
    /// Why not, in words.
    pub(super) async fn open(
        address: &Address,
        rights: &[String],
        questions: impl FnOnce() -> Vec<&'static str>,
    ) -> Result<Self, Trouble> {
        let other = |what: &str, error: &dyn std::fmt::Display| Trouble {
            text: format!("{what}: {error}"),
            fix: "look at the message".to_owned(),
        };
        let made = tokio::task::spawn_blocking(|| {
            folder::clean();
            folder::make()
        });
        let folder = made
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| other("no folder for the connection's sockets", &error))?;
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .connect_timeout(CONNECT_TIMEOUT)
            .server_alive_interval(ALIVE_INTERVAL)
            // Logs, the most of what comes, become a fifth to a tenth of their size: what a slow link cannot carry otherwise.
            .compression(address.is_compressed)
            .control_directory(folder.path())
            .control_persist(ControlPersist::IdleFor(
                std::num::NonZeroUsize::new(IDLE_SECONDS).unwrap_or(std::num::NonZeroUsize::MIN),
            ));
        if let Some(file) = &address.config_file {
            builder.config_file(file);
        }
        if let Some(port) = address.port {
            builder.port(port);
        }
        let connecting = builder.connect_mux(&address.host);
        let session = match tokio::time::timeout(CONNECT_TIMEOUT + LINK_MARGIN, connecting).await {
            Ok(Ok(session)) => session,
            Ok(Err(openssh::Error::Connect(error))) => {
                return Err(refusal(address, &error.to_string()).await);
            }
            Ok(Err(error)) => return Err(refusal(address, &chain(&error)).await),
            Err(_) => return Err(explain(address, "Connection timed out", None)),
        };
        let life = UnixStream::connect(session.control_socket())
            .await
            .map_err(|error| other("the connection's master ended at once", &error))?;
        let mut link = Self {
            session: Arc::new(session),
            hello: Hello::default(),
            docker: Mutex::new(Found::parse("")),
            lately: Mutex::default(),
            life,
            rights: rights.to_vec(),
            relays: Relays::default(),
            refusals_seen: AtomicUsize::new(0),
            forwards: Mutex::new(BTreeMap::new()),
            folder,
        };
        let greeting = Greeting::with(questions());
        let (hello, answers) = link.greet(address, &greeting).await?;
        (link.hello, link.lately) = (hello, Mutex::new(answers));
        link.docker = Mutex::new(Found::parse(&link.hello.docker));
        Ok(link)
    }

    async fn greet(
        &self,
        address: &Address,
        greeting: &Greeting,
    ) -> Result<(Hello, Answers), Trouble> {
        let by_hand = || format!("try it by hand: {} 'echo hello'", address.line());
        let asked_at = Timestamp::now();
        let output = match self.exec(&greeting.command(), Streams::default()).await {
            Ok(output) => output,
            Err(Failure::NoShell(trouble)) => return Err(trouble),
            Err(Failure::Lost(text) | Failure::Full(text)) => {
                return Err(Trouble {
                    text: format!("the connection was made and no command could be run: {text}"),
                    fix: by_hand(),
                });
            }
        };
        greeting.read(&output, asked_at).ok_or_else(|| Trouble {
            text: format!("it has not the usual commands: {}", output.describe()),
            fix: by_hand(),
        })
    }

    /// Whether the master lives. What it is connected to may be gone all the same: it finds out by itself.
    pub(super) fn is_alive(&self) -> bool {
        // What it says by itself, its greeting, is of no interest.
        let mut said = [0; 256];
        loop {
            match self.life.try_read(&mut said) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Waits until the master has ended, without looking again and again: the kernel tells.
    pub(super) async fn until_dead(&self) {
        while self.is_alive() {
            if self.life.readable().await.is_err() {
                return;
            }
        }
    }

    /// Runs a command over a channel of its own. The other side keeps its time limit.
    pub(super) async fn exec(
        &self,
        command: &Command,
        streams: Streams,
    ) -> Result<CommandOutput, Failure> {
        let limit = command.timeout + LINK_MARGIN;
        match tokio::time::timeout(limit, self.exec_unlimited(command, streams)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::Lost(format!(
                "nothing came back within {} s",
                limit.as_secs()
            ))),
        }
    }

    /// A socket of ours behind which that one of the other side listens, or nobody.
    ///
    /// # Errors
    /// The master does not take it.
    pub(super) async fn forward(&self, remote: &Path) -> Result<PathBuf, String> {
        let socket = Socket::UnixSocket {
            path: remote.into(),
        };
        self.forward_to(remote.to_owned(), socket).await
    }

    /// The same to an address as the other side sees it.
    ///
    /// # Errors
    /// The master does not take it.
    pub(super) async fn forward_tcp(&self, host: &str, port: u16) -> Result<PathBuf, String> {
        // No path of a socket is relative.
        let key = PathBuf::from(format!("{host}:{port}"));
        self.forward_to(key, Socket::new(host, port)).await
    }

    async fn forward_to(&self, key: PathBuf, connect: Socket<'_>) -> Result<PathBuf, String> {
        let mut forwards = self.forwards.lock().await;
        if let Some(known) = forwards.get(&key) {
            return Ok(known.clone());
        }
        let path = self.socket_path(&forwards.len().to_string());
        let listen = Socket::UnixSocket {
            path: path.as_path().into(),
        };
        self.session
            .request_port_forward(ForwardType::Local, listen, connect)
            .await
            .map_err(|error| chain(&error))?;
        forwards.insert(key, path.clone());
        Ok(path)
    }

    /// Why the server opened no channel to a forwarded socket, as the master noted it last, or why no program there
    /// reached it.
    pub(super) fn last_refusal(&self) -> Option<String> {
        self.relays.last_words().or_else(|| self.refusals().pop())
    }

    /// A path for one more socket of ours.
    pub(super) fn socket_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.sock"))
    }

    /// The words of a script with its arguments, with the rights that everything has there.
    pub(super) fn script<'a>(&'a self, script: &'a str) -> Vec<&'a str> {
        let rights = self.rights.iter().map(String::as_str);
        rights.chain(["sh", "-c", script]).collect()
    }

    /// The same, where one was noted since this was last asked.
    pub(super) fn new_refusal(&self) -> Option<String> {
        let mut all = self.refusals();
        let seen = self.refusals_seen.swap(all.len(), Ordering::Relaxed);
        (all.len() > seen).then(|| all.pop()).flatten()
    }

    fn refusals(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.folder.path());
        let log = folders.ok().and_then(|folders| {
            let mut logs = folders.flatten().map(|entry| entry.path().join("log"));
            logs.find_map(|log| std::fs::read_to_string(log).ok())
        });
        log.unwrap_or_default()
            .lines()
            .filter_map(|line| Some(line.split_once("open failed: ")?.1.trim().to_owned()))
            .collect()
    }
}

/// The words after which a command's output begins; unknown to whoever writes a banner.
pub(super) fn mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = format!(
        "{} {} {}",
        std::process::id(),
        Timestamp::now(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    format!("lastgood:{}", &digest::sha256(seed.as_bytes())[..16])
}

/// Reads until after the line of the mark; what came behind it with the same read. Without it, what came instead.
pub(super) async fn after_mark(
    out: &mut (impl AsyncRead + Unpin),
    mark: &str,
) -> Result<Vec<u8>, Vec<u8>> {
    let line = format!("{mark}\n");
    let mut seen = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while seen.len() < MAX_BANNER {
        match out.read(&mut buffer).await {
            Ok(read @ 1..) => seen.extend_from_slice(&buffer[..read]),
            _ => break,
        }
        if let Some(at) = memchr::memmem::find(&seen, line.as_bytes()) {
            return Ok(seen.split_off(at + line.len()));
        }
    }
    Err(seen)
}

pub(super) fn no_shell(said: &[u8], code: Option<i32>, rights: &[String]) -> Trouble {
    let said = String::from_utf8_lossy(said);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    if let Some(program) = rights.first() {
        let words = shell_words::join(rights);
        return Trouble {
            text: format!(
                "`{words}` is refused there: {}",
                SafeText::from_text(said.unwrap_or("it said nothing"))
            ),
            fix: match program.ends_with("doas") {
                true => "there, in /etc/doas.conf: permit nopass USER, with the user that signs in; or take `become` out of the configuration".to_owned(),
                false => format!("there, by sudo visudo: USER ALL=(ALL) NOPASSWD: ALL, with the user that signs in; by hand: {words} true; or take `become` out of the configuration"),
            },
        };
    }
    let code = code.map_or_else(String::new, |code| format!(" (exit {code})"));
    Trouble {
        text: format!(
            "its login shell runs no command of ours{code}: {}",
            SafeText::from_text(said.unwrap_or("it said nothing"))
        ),
        fix: "use a user whose login shell is sh, bash, dash, ksh or zsh".to_owned(),
    }
}

/// `MaxSessions` of the server: other channels are open already.
pub(super) fn is_full(text: &str) -> bool {
    text.contains("Session open refused") || text.contains("session request failed")
}

/// `timeout …` and the command, with its folder and its variables.
pub(super) fn limited(command: &Command) -> Vec<OsString> {
    // Whole seconds: not every `timeout` takes parts of them.
    let seconds = command.timeout.as_secs_f64().ceil().max(1.0);
    let seconds = format!("{seconds:.0}");
    let mut argv = ["timeout", "-k", "2", &seconds]
        .map(OsString::from)
        .to_vec();
    argv.extend(plain(command));
    argv
}

/// The command with its folder and its variables.
pub(super) fn plain(command: &Command) -> Vec<OsString> {
    let mut argv = Vec::new();
    if let Some(cwd) = &command.cwd {
        argv.extend(["sh", "-c", IN_FOLDER, "sh"].map(OsString::from));
        argv.push(cwd.clone().into_os_string());
    }
    if command.has_clean_env {
        argv.extend(["sh", "-c", CLEAN, "sh"].map(OsString::from));
    } else if !command.env.is_empty() {
        argv.push("env".into());
    }
    argv.extend(command.env.iter().map(|(n, v)| format!("{n}={v}").into()));
    argv.extend(command.argv.iter().cloned());
    argv
}

/// A word as a shell reads it, byte for byte: the library quotes text only. Also those shells keep it that take `!` out of
/// quotes.
pub(super) fn quoted(word: &OsStr) -> OsString {
    let mut bytes = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' | b'!' => bytes.extend([b'\'', b'\\', byte, b'\'']),
            _ => bytes.push(byte),
        }
    }
    bytes.push(b'\'');
    OsString::from_vec(bytes)
}

/// All that an error and its causes say: the library's own text hides its cause.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Explains a refused connection; where that is about the machine's key, the key is asked for.
async fn refusal(address: &Address, said: &str) -> Trouble {
    let key = match is_about_the_key(said) {
        true => ask_for_key(address).await,
        false => None,
    };
    let mut trouble = explain(address, said, key.as_deref());
    trouble.text = SafeText::from_text(&trouble.text).to_string();
    trouble
}

/// The fingerprint that the client sees on its way to refusing it: nothing is accepted, and nothing is asked.
async fn ask_for_key(address: &Address) -> Option<String> {
    let mut client = tokio::process::Command::new("ssh");
    client
        .args(["-v", "-T", "-o", "BatchMode=yes"])
        .args(["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5"])
        .args(["-o", "ControlMaster=no", "-o", "ControlPath=none"])
        .args(address.words())
        .arg("true")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(CONNECT_TIMEOUT, client.output()).await;
    shown_key(&String::from_utf8_lossy(&output.ok()?.ok()?.stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_carries_its_limit_folder_and_variables() {
        let command = Command::new(["docker", "ps"], Duration::from_millis(4500))
            .in_folder("/srv/shop")
            .with_env("A", "b c");
        let argv = limited(&command);
        assert_eq!(argv[..4], ["timeout", "-k", "2", "5"]);
        assert_eq!(
            argv[argv.len() - 5..],
            ["/srv/shop", "env", "A=b c", "docker", "ps"]
        );
        assert_eq!(quoted("it's!".as_ref()), r"'it'\''s'\!''");
        let clean = plain(&Command::new(["true"], Duration::ZERO).with_clean_env());
        assert_eq!(clean[..4], ["sh", "-c", CLEAN, "sh"]);
    }

    #[tokio::test]
    async fn what_a_login_shell_says_is_no_output() {
        let mut out: &[u8] = b"Welcome to prod!\nlastgood:1\nfirst\nlastgood:1\n";
        let rest = after_mark(&mut out, "lastgood:1").await.unwrap();
        assert_eq!(rest, b"first\nlastgood:1\n");
        let mut none: &[u8] = b"This account is currently not available.\n";
        let said = after_mark(&mut none, "lastgood:1").await.unwrap_err();
        let told = no_shell(&said, Some(1), &[]);
        assert!(told.text.contains("not available") && told.text.contains("exit 1"));
        let rights = ["sudo", "-n"].map(str::to_owned);
        let told = no_shell(b"sudo: a password is required\n", Some(1), &rights);
        assert!(
            told.text
                .contains("`sudo -n` is refused there: sudo: a password")
        );
        assert!(told.fix.contains("NOPASSWD"), "{told:?}");
    }
}
