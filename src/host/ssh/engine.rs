//! Where the Docker engine of a machine listens, and whether anybody does behind a forwarded socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{FILE_TIMEOUT, Session};
use crate::host::{Command, HostError};

/// Says in a line where a socket is that this user may use: `at PATH`, `denied PATH` or `absent`.
pub(super) const FIND: &str = r#"
f=absent
is_at() {
  [ -S "$1" ] || return 1
  if [ -r "$1" ] && [ -w "$1" ]; then f="at $1"; return 0; fi
  [ "$f" != absent ] || f="denied $1"
  return 1
}
is_at /var/run/docker.sock || is_at "/run/user/$(id -u)/docker.sock"
echo "$f"
"#;
/// A socket stays where it is, and one that is gone is told of when it is used. That there was none is asked again after
/// this time: an engine was installed, or rights were given.
const NONE_IS_KEPT: Duration = Duration::from_secs(10);
/// Whether somebody listens at a socket, as the kernel tells every user.
const IS_LISTENING: &str = r#"
t=$(readlink -f -- "$1") || exit 1
while read -r _ _ _ flags _ _ _ path; do
  [ "$flags" = 00010000 ] || continue
  case $path in "$1" | "$t") exit 0 ;; esac
done < /proc/net/unix
exit 1"#;

/// What a server has to say for its sockets to be reached.
pub const FORWARDING: &str = "in /etc/ssh/sshd_config there: DisableForwarding no, AllowTcpForwarding yes, AllowStreamLocalForwarding yes; no `restrict` before the key in authorized_keys; then sudo systemctl reload ssh";

/// Where the Docker engine of a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerSocket {
    /// A socket of that machine, and one of this machine that leads there.
    At {
        /// There.
        remote: PathBuf,
        /// Here.
        local: PathBuf,
    },
    /// There is no socket.
    Absent,
    /// There is one, and this user may not use it.
    Denied(PathBuf),
}

/// What was found, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    place: Place,
    at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    At(PathBuf),
    Absent,
    Denied(PathBuf),
}

impl Found {
    /// Reads the line of [`FIND`].
    pub(super) fn parse(line: &str) -> Self {
        let place = match line.trim_end().split_once(' ') {
            Some(("at", path)) => Place::At(path.into()),
            Some(("denied", path)) => Place::Denied(path.into()),
            _ => Place::Absent,
        };
        Self {
            place,
            at: Instant::now(),
        }
    }

    fn is_current(&self) -> bool {
        matches!(self.place, Place::At(_)) || self.at.elapsed() < NONE_IS_KEPT
    }
}

impl Session {
    /// Where its Docker engine is, by the sockets that are usual. Known since the machine was connected to.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn docker_socket(&self) -> Result<DockerSocket, HostError> {
        let link = self.link().await?;
        let place = {
            // Who comes meanwhile waits for this answer instead of asking too.
            let mut found = link.docker.lock().await;
            if !found.is_current() {
                let asked = self.run(&Command::shell(FIND, &[], FILE_TIMEOUT)).await?;
                if !asked.is_success() {
                    return Err(self.broken("looking for Docker", asked.describe().as_str()));
                }
                *found = Found::parse(&asked.stdout_text());
            }
            found.place.clone()
        };
        Ok(match place {
            Place::At(remote) => DockerSocket::At {
                local: self.forward(&remote).await?,
                remote,
            },
            Place::Absent => DockerSocket::Absent,
            Place::Denied(path) => DockerSocket::Denied(path),
        })
    }

    /// Why a forwarded socket ended at once: `Ok` where nobody listens there, and what its server says where it opens no
    /// way to somebody who does. The client is told the same in both cases, so the machine is asked.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(crate) async fn why_cut(&self, remote: &Path) -> Result<Option<String>, HostError> {
        let output = self
            .run(&Command::shell_with(IS_LISTENING, [remote], FILE_TIMEOUT))
            .await?;
        match output.code {
            Some(0) => Ok(self.link().await?.last_refusal()),
            Some(1) => Ok(None),
            // Lost on the way: nothing is known of who listens.
            _ => Err(HostError::File {
                what: "look who listens at",
                path: remote.to_owned(),
                source: std::io::Error::other(output.describe().to_string()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_kept_and_what_was_not_is_asked_again() {
        let mut at = Found::parse("at /run/user/7/my docker.sock\n");
        assert_eq!(at.place, Place::At("/run/user/7/my docker.sock".into()));
        let mut denied = Found::parse("denied /var/run/docker.sock");
        assert_eq!(denied.place, Place::Denied("/var/run/docker.sock".into()));
        assert_eq!(Found::parse("absent").place, Place::Absent);
        assert!(denied.is_current());
        for found in [&mut at, &mut denied] {
            found.at -= NONE_IS_KEPT;
        }
        assert!(at.is_current() && !denied.is_current());
    }

    #[test]
    fn the_script_says_one_line() {
        let output = std::process::Command::new("sh").args(["-c", FIND]).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        let words = ["at ", "denied ", "absent"];
        assert!(words.iter().any(|word| said.starts_with(word)), "{said}");
    }
}
