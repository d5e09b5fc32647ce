//! The PM2 daemons of a machine behind ssh, found by one script; they are asked over forwarded sockets.
//!
//! A login without a terminal has not the path that version managers set up: `pm2` is looked for where they put it, and
//! beside the node that the daemon itself runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cli::Tool;
use super::daemon::Daemon;
use crate::host::ssh::Session;
use crate::host::{CommandOutput, HostError};

const LIMIT: Duration = Duration::from_secs(15);

/// A line a home, its fields parted by `|`: kind, process or `-`, whether it is our own user's, its owner, whether it has
/// traces of applications, whether it has a `dump.pm2`, whether somebody listens at its socket or it may not be asked, where
/// `pm2` is or nothing, the home. The first line is the path that commands have. It ends with 0, or has broken off.
///
/// A process speaks for a home that its user owns, root for any, and one in a container for none. A home that may not be
/// looked into is told of.
const FIND: &str = r#"
echo "$PATH"
n="
"
heard=
pm2=$(command -v pm2)
is_heard() {
  [ -n "$heard" ] || heard=$n$(sed -n '/^[^ ]* [^ ]* [^ ]* 00010000 /s/^\([^ ]*  *\)\{7\}//p' /proc/net/unix)$n
  case $heard in *"$n$1$n"*) return 0 ;; esac
  case $heard in *"$n$(readlink -f -- "$1")$n"*) return 0 ;; esac
  return 1
}
tool() {
  l=$pm2
  [ -z "$l" ] || return 0
  case $1 in
    "" | *[!0-9]*) ;;
    *) e=$(readlink "/proc/$1/exe" 2>/dev/null) && [ -f "${e%/*}/pm2" ] && { l=${e%/*}/pm2; return 0; } ;;
  esac
  for p in "$HOME"/.nvm/versions/node/*/bin/pm2 "$HOME"/.volta/bin/pm2 "$HOME"/.local/share/fnm/node-versions/*/installation/bin/pm2 \
    "$HOME"/.fnm/node-versions/*/installation/bin/pm2 "$HOME"/.npm-global/bin/pm2 "$HOME"/.local/bin/pm2; do [ ! -f "$p" ] || l=$p; done
}
closed() {
  [ ! -e "$1" ] && case $(LC_ALL=C stat -L -- "$1" 2>&1) in *": Permission denied") return 0 ;; esac
  return 1
}
tell() {
  if [ "$1" != default ] && closed "$3"; then
    u=unknown; [ "$2" = - ] || u=$(stat -c %U "/proc/$2") || return 0
    echo "$1|$2|no|$u|no|no|denied||$3"
    return 0
  fi
  [ -d "$3" ] || return 0
  u=$(stat -c %U -- "$3") || { [ ! -d "$3" ] || exit 1; return 0; }
  o=no; [ ! -O "$3" ] || o=own
  t=no
  for f in "$3/dump.pm2" "$3/rpc.sock" "$3"/logs/* "$3"/logs/.[!.]* "$3"/pids/*; do [ ! -e "$f" ] || { t=traces; break; }; done
  d=dump; [ -e "$3/dump.pm2" ] || d=no
  s=no
  if [ ! -x "$3" ]; then
    s=denied
  elif [ -S "$3/rpc.sock" ]; then
    s=left; ! is_heard "$3/rpc.sock" || { s=heard; [ -w "$3/rpc.sock" ] || s=denied; }
  fi
  p=$2
  [ "$p" != - ] || { p=; { read -r p < "$3/pm2.pid"; } 2>/dev/null; }
  tool "$p"
  echo "$1|$2|$o|$u|$t|$d|$s|$l|$3"
}
[ -z "${PM2_HOME:-}" ] || tell named - "$PM2_HOME"
tell default - "$HOME/.pm2"
g=$(grep -la '^PM2 v[^ ]*: God Daemon (' /proc/[0-9]*/cmdline 2>/dev/null)
# 1: none; 2: a process has ended meanwhile.
[ $? -le 2 ] || { echo "the processes cannot be looked through" >&2; exit 1; }
for c in $g; do
  q=${c%/cmdline}
  h=$(tr '\0' ' ' < "$c" | sed -n 's/^PM2 v[^ ]*: God Daemon (\(\/.*\)) *$/\1/p')
  case $h in "" | *"$n"*) continue ;; esac
  [ "$(sed -n 's/^NSpid://p' "$q/status" | wc -w)" -le 1 ] && u=$(stat -c %u "$q") || continue
  [ "$u" = 0 ] || closed "$h" || [ "$u" = "$(stat -c %u -- "$h" 2>/dev/null)" ] || continue
  tell running "${q#/proc/}" "$h"
done
exit 0"#;

/// What is known of a daemon of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    /// The machine.
    pub(super) session: Arc<Session>,
    /// How `pm2` is called there; `None` where it was not found, or the daemon is another user's.
    pub(super) tool: Option<Tool>,
    /// Whether an application ever ran under this home.
    pub(super) has_traces: bool,
    /// Whether it is the home that `pm2` takes without being told.
    pub(super) is_default: bool,
    /// Whether its home holds a `dump.pm2`; `None` where nobody looked.
    pub(super) has_dump: Option<bool>,
    /// Its socket; `None` where nobody looked.
    pub(super) socket: Option<Seen>,
}

/// What was seen of a daemon's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// There is none.
    Absent,
    /// There is one, and the kernel names nobody who listens at it: left behind by a daemon that was killed, or of a
    /// daemon that has a network of its own.
    Left,
    /// Somebody listens.
    Heard,
    /// It may not be asked by the user that we are there, or not even looked at.
    Denied,
}

/// The daemons, or places where one should be, each once.
///
/// # Errors
/// The machine cannot be asked, or what it said is not whole: then nothing of it is taken.
pub(super) async fn find(session: &Arc<Session>) -> Result<Vec<Daemon>, HostError> {
    let output = session.ask_together(FIND, LIMIT).await?;
    parse(session, &output)
}

fn parse(session: &Arc<Session>, output: &CommandOutput) -> Result<Vec<Daemon>, HostError> {
    let broken = |said: &str| session.broken("looking for PM2", said);
    if !output.is_success() {
        return Err(broken(output.describe().as_str()));
    }
    if output.cut_bytes > 0 {
        return Err(broken("it said too much"));
    }
    let text = output.stdout_text();
    let mut lines = text.lines();
    let path = lines.next().ok_or_else(|| broken("it said nothing"))?;
    let mut found: Vec<Daemon> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.splitn(9, '|').collect();
        let [kind, pid, own, user, traces, dump, socket, program, home] = fields.as_slice() else {
            return Err(broken(&format!("it said {line:?}")));
        };
        let home = PathBuf::from(home);
        let pid = pid.parse().ok();
        if let Some(known) = found.iter_mut().find(|known| known.home == home) {
            known.pid = known.pid.or(pid);
            continue;
        }
        let is_ours = *own == "own" && !program.is_empty();
        let tool = is_ours.then(|| Tool::at(Path::new(program), &home, path.as_ref()));
        let there = There {
            session: Arc::clone(session),
            tool,
            has_traces: *traces == "traces",
            is_default: *kind == "default",
            has_dump: Some(*dump == "dump"),
            socket: Some(match *socket {
                "no" => Seen::Absent,
                "left" => Seen::Left,
                "denied" => Seen::Denied,
                _ => Seen::Heard,
            }),
        };
        found.push(Daemon::there(home, *user, pid, *kind == "named", there));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::host::HostName;
    use crate::domain::safe_text::SafeText;

    fn session() -> Arc<Session> {
        let name = HostName::parse("prod-1").unwrap();
        Arc::new(Session::new(name, "prod-1", None))
    }

    fn said(text: &str) -> CommandOutput {
        CommandOutput {
            code: Some(0),
            stdout: text.into(),
            ..CommandOutput::default()
        }
    }

    #[test]
    fn what_broke_off_is_not_a_machine_without_applications() {
        let of = |output| {
            let error = parse(&session(), &output).unwrap_err();
            SafeText::from_error(&error).to_string()
        };
        let path = said("/usr/bin\n");
        assert_eq!(parse(&session(), &path).unwrap(), []);
        let told = of(CommandOutput {
            code: Some(2),
            stderr: b"sh: 0: Cannot fork\n".to_vec(),
            ..path.clone()
        });
        assert_eq!(
            told,
            "looking for PM2 on prod-1 broke off: exit 2: sh: 0: Cannot fork"
        );
        of(CommandOutput {
            code: Some(2),
            ..path.clone()
        });
        of(CommandOutput {
            code: None,
            signal: Some(9),
            ..path.clone()
        });
        of(CommandOutput {
            cut_bytes: 1,
            ..path
        });
        of(said("/usr/bin\nrunning|78|no|an"));
        of(said(""));
    }

    #[test]
    fn each_home_stands_once_with_its_process_and_its_tool() {
        let text = "/usr/bin:/bin\nnamed|-|own|deploy|traces|dump|heard|/nvm/v20/bin/pm2|/home/deploy/.pm2\n\
                    running|77|own|deploy|traces|dump|heard|/nvm/v20/bin/pm2|/home/deploy/.pm2\n\
                    running|78|no|anna|no|no|left|/usr/bin/pm2|/home/an|na/.pm2\n";
        let found = parse(&session(), &said(text)).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].pid, found[1].pid), (Some(77), Some(78)));
        assert_eq!(found[1].home, Path::new("/home/an|na/.pm2"));
        let there = found[1].there.as_ref().unwrap();
        assert_eq!(
            (there.has_dump, there.socket),
            (Some(false), Some(Seen::Left))
        );
        let tool = |daemon: &Daemon| daemon.there.as_ref().and_then(|t| t.tool.clone());
        assert_eq!(tool(&found[1]), None, "another user's");
        let own = tool(&found[0]).unwrap();
        assert_eq!(own.variables["PATH"], "/usr/bin:/bin:/nvm/v20/bin");
    }

    #[tokio::test]
    async fn a_daemon_that_runs_or_may_not_be_asked_is_told_of() {
        let text = "/usr/bin\nrunning|78|no|anna|no|no|denied||/home/anna/.pm2\n\
                    running|79|no|bob|no|no|no|/usr/bin/pm2|/home/bob/.pm2\n\
                    default|-|own|deploy|no|no|no|/usr/bin/pm2|/home/deploy/.pm2\n";
        let found = parse(&session(), &said(text)).unwrap();
        let told = async |daemon: &Daemon| {
            let error = daemon.list().await.unwrap_err();
            let told = daemon.explain(error, &session().name()).await?;
            Some(format!("{}; {}", told.error, told.fix))
        };
        let anna = told(&found[0]).await.unwrap();
        assert_eq!(
            anna,
            "permission denied on the PM2 daemon of user anna (/home/anna/.pm2); become = \"sudo -n\" under \
             [hosts.prod-1] in the configuration, or sign in there as anna"
        );
        let bob = told(&found[1]).await.unwrap();
        assert!(bob.contains("not running for user bob"), "{bob}");
        assert_eq!(told(&found[2]).await, None, "nothing ever ran there");
    }

    #[test]
    fn the_script_finds_a_home_of_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("my pm2");
        std::fs::create_dir_all(home.join("logs")).unwrap();
        std::fs::write(home.join("logs/a-out.log"), "").unwrap();
        let find = || {
            let output = std::process::Command::new("sh")
                .args(["-c", FIND])
                .env("PM2_HOME", &home)
                .env("HOME", dir.path())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let line = text.lines().find(|l| l.starts_with("named|"));
            line.unwrap().to_owned()
        };
        let line = find();
        assert!(line.contains("|traces|no|no|"), "{line}");
        let socket = home.join("rpc.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(find().contains("|no|heard|"));
        drop(listener);
        std::fs::write(home.join("dump.pm2"), "[]").unwrap();
        assert!(find().contains("|dump|left|"));
        assert!(line.starts_with("named|-|own|"), "{line}");
        assert!(line.contains("|traces|"), "{line}");
        assert!(line.ends_with(&format!("|{}", home.display())), "{line}");
    }
}
