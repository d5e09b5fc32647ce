//! Sockets of a machine that the user who signs in may not open: a program there opens them with other rights.
//!
//! sshd opens a forwarded socket as the user that signed in, whatever `become` says. So a socket of ours is listened at,
//! and each connection to it is a channel whose other end is a program with those rights: a few lines of perl, which starts
//! soonest, else `docker system dial-stdio`, as Docker's own ssh transport does it, or node, which is wherever PM2 is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::link::{Failure, Link};
use crate::host::Command;
use crate::host::stream::{Streams, channel};

/// At a time: `MaxSessions` is 10 by default, and commands need some.
const CHANNELS: usize = 6;
/// A stream of events or of a log is open for as long as the console is.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The size of a piece that is handed on.
const PIECE: usize = 64 * 1024;

/// Joins its input and output with the socket `$1`.
const DIAL: &str = r#"
if command -v perl > /dev/null; then exec perl -e '
  use IO::Socket::UNIX;
  my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "cannot connect to $ARGV[0]: $!\n";
  my $p = fork; my $b;
  if (!$p) { close STDOUT; while (sysread(STDIN, $b, 65536)) { syswrite($s, $b) } shutdown($s, 1); exit 0 }
  while (sysread($s, $b, 65536)) { syswrite(STDOUT, $b) }
  kill 9, $p' "$1"; fi
if command -v docker > /dev/null; then case $1 in *docker.sock) DOCKER_HOST="unix://$1" exec docker system dial-stdio ;; esac; fi
if command -v node > /dev/null; then exec node -e '
  const s = require("net").connect(process.argv[1]);
  s.on("error", e => { console.error(e.message); process.exit(1) });
  process.stdin.pipe(s); s.pipe(process.stdout)' "$1"; fi
echo "no perl, docker or node to reach $1 with" >&2
exit 69"#;

/// The sockets that are listened at, and how the last connection through one failed.
#[derive(Debug, Default)]
pub(super) struct Relays {
    listeners: Mutex<JoinSet<()>>,
    said: Arc<Mutex<Option<String>>>,
    paths: tokio::sync::Mutex<Vec<(PathBuf, PathBuf)>>,
}

impl Relays {
    /// Why the last connection failed, where it did.
    pub(super) fn last_words(&self) -> Option<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Link {
    /// A socket of ours behind which that one of the other side is opened with the rights that everything has there.
    ///
    /// # Errors
    /// It cannot be listened at.
    pub(super) async fn relay(self: &Arc<Self>, remote: &Path) -> Result<PathBuf, String> {
        let mut paths = self.relays.paths.lock().await;
        if let Some((_, known)) = paths.iter().find(|(of, _)| of == remote) {
            return Ok(known.clone());
        }
        let path = self.socket_path(&format!("r{}", paths.len()));
        let listener = UnixListener::bind(&path).map_err(|error| error.to_string())?;
        let accepting = accept(listener, Arc::downgrade(self), remote.to_owned());
        self.relays
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(accepting);
        paths.push((remote.to_owned(), path.clone()));
        Ok(path)
    }
}

/// Takes connections until the link is gone, which ends this.
async fn accept(listener: UnixListener, link: Weak<Link>, remote: PathBuf) {
    let channels = Arc::new(Semaphore::new(CHANNELS));
    let mut open = JoinSet::new();
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            Some(_) = open.join_next() => continue,
        };
        let (Ok((stream, _)), Some(link)) = (taken, link.upgrade()) else {
            return;
        };
        let (remote, channels) = (remote.clone(), Arc::clone(&channels));
        open.spawn(async move {
            let _channel = channels.acquire().await;
            carry(&link, stream, &remote).await;
        });
    }
}

/// Carries one connection to its end.
async fn carry(link: &Link, stream: UnixStream, remote: &Path) {
    let (mut from, mut to) = stream.into_split();
    let (input, inputs) = channel();
    let (output, mut outputs) = channel();
    let command = Command::shell_with(DIAL, [remote], LIMIT);
    let up = async {
        let mut piece = vec![0; PIECE];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            if input.send(piece[..n].to_vec()).await.is_err() {
                break;
            }
        }
        drop(input);
    };
    let down = async {
        while let Some(piece) = outputs.recv().await {
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        // Nobody reads what comes now: the other side's next write ends it.
        drop(outputs);
        let _ = to.shutdown().await;
    };
    let work = link.exec_unlimited(&command, Streams::from(inputs).to(output));
    let (done, (), ()) = tokio::join!(work, up, down);
    let words = match done {
        Ok(output) if output.is_success() || output.code.is_none() => None,
        Ok(output) => Some(output.describe().to_string()),
        Err(Failure::Lost(text) | Failure::Full(text)) => Some(text),
        Err(Failure::NoShell(trouble)) => Some(trouble.text),
    };
    *link
        .relays
        .said
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = words;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_script_joins_its_streams_with_a_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("echo it's.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.reverse();
            stream.write_all(&all).unwrap();
        });
        let mut child = std::process::Command::new("sh")
            .args(["-c", DIAL, "sh"])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"abc\0d").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"d\0cba");
    }
}
