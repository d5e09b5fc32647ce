//! The state folder of a machine behind ssh: leases and audit records that engineers from elsewhere share with its own.
//!
//! It is the folder that lastgood has when it runs there: `/var/lib/lastgood` where that is shared and writable, else the
//! user's own. A lease there is a file like those of a local one. Its lock cannot be held from here, since a remote lock
//! outlives its client; so the lock is taken for a moment only, and the file changes hands where it still says what was
//! read.

use std::time::Duration;

use super::{Session, check};
use crate::audit::{Permit, Recorded};
use crate::host::{Command, HostError};

const LIMIT: Duration = Duration::from_secs(20);
/// Somebody of that machine holds the lock.
const LOCKED: i32 = 75;
/// The file says something else than what was read.
const CHANGED: i32 = 76;

/// Finds the folder. Of a shared one the group may write what is made.
const FOLDER: &str = r#"
LC_ALL=C; export LC_ALL
r=/var/lib/lastgood; [ -d "$r" ] && [ -w "$r" ] || r=${XDG_STATE_HOME:-$HOME/.local/state}/lastgood
umask 077; case $(stat -c %A -- "$r" 2>/dev/null) in ?????ws*) umask 007 ;; esac
"#;
/// A line a lease: the name of its file, and what it says. Nothing where nobody ever had one there; a folder that cannot be
/// looked into (67) or a file that cannot be read is no such thing.
const LIST: &str = r#"
d=$r/leases
e=$(ls -d -- "$d" 2>&1 > /dev/null) || case $e in
  *"No such file or directory"*) exit 0 ;;
  *) printf '%s\n' "$e" >&2; exit 1 ;;
esac
cd -- "$d" 2>/dev/null && [ -r . ] || exit 67
for f in *.lease; do
  [ -e "$f" ] || [ -L "$f" ] || continue
  printf '%s ' "$f"; head -c 65536 -- "$f" || exit 1; echo
done"#;
/// `$1` the file, `$2` what it said when it was read, `$3` what it is to say. The new words first, its end after:
/// whatever cuts it off, the first value in it is a whole one.
const SWAP: &str = r#"
mkdir -p -- "$r/leases" || exit 1
f=$r/leases/$1
exec 9>> "$f" || exit 1
flock -n 9 || { cat -- "$f"; exit 75; }
c=$(cat -- "$f") || exit 1
[ "$c" != "$3" ] || exit 0
[ "$c" = "$2" ] && [ "$f" -ef /proc/self/fd/9 ] || { printf %s "$c"; exit 76; }
printf %s "$3" | dd of="$f" conv=notrunc,fsync status=none && truncate -s "${#3}" -- "$f""#;
/// `$1` the file, `$2` the line. Asked twice, it stands there once.
const APPEND: &str = r#"
mkdir -p -- "$r/audit/from" || exit 1
f=$r/audit/from/$1
exec 9>> "$f" || exit 1
flock -w 5 9 || exit 1
[ "$(tail -n 1 -- "$f")" = "$2" ] || printf '%s\n' "$2" >&9 || exit 1
sync -- "$f""#;

/// What became of a file that was to change hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swap {
    /// It says the new words.
    Done,
    /// A process of that machine holds its lock; what it says.
    Locked(String),
    /// It says something else.
    Changed(String),
}

impl Session {
    /// The leases of that machine: the name of each file, and what it says.
    ///
    /// # Errors
    /// It cannot be reached, or one of them cannot be read.
    pub(crate) async fn leases(&self) -> Result<Vec<(String, String)>, HostError> {
        let output = self.run(&script(LIST, &[])).await?;
        let output = check("read", "leases".as_ref(), output)?;
        let text = output.stdout_text();
        let lines = text.lines().filter(|line| !line.is_empty());
        let pair = |line: &str| {
            let (file, text) = line.split_once(' ').unwrap_or((line, ""));
            (file.to_owned(), text.to_owned())
        };
        Ok(lines.map(pair).collect())
    }

    /// Gives the file of a lease new words where it still says what was read, the empty text where there is none yet.
    ///
    /// # Errors
    /// It cannot be reached, or its state folder cannot be written.
    pub(crate) async fn swap_lease(
        &self,
        _permit: &Permit,
        file: &str,
        expected: &str,
        new: &str,
    ) -> Result<Swap, HostError> {
        self.is_fit().await?;
        let output = self.run(&script(SWAP, &[file, expected, new])).await?;
        let text = || output.stdout_text().into_owned();
        match output.code {
            Some(LOCKED) => Ok(Swap::Locked(text())),
            Some(CHANGED) => Ok(Swap::Changed(text())),
            _ => check("write", format!("leases/{file}").as_ref(), output).map(|_| Swap::Done),
        }
    }

    /// Appends a record of our audit log to the copy that stands there. That it stands in the log is all that this needs.
    ///
    /// # Errors
    /// As [`Session::swap_lease`].
    pub(crate) async fn append_record(
        &self,
        record: &Recorded,
        file: &str,
    ) -> Result<(), HostError> {
        self.is_fit().await?;
        let output = self.run(&script(APPEND, &[file, record.line()])).await?;
        check("write", format!("audit/from/{file}").as_ref(), output).map(drop)
    }
}

fn script(what: &str, arguments: &[&str]) -> Command {
    Command::shell(&format!("{FOLDER}{what}"), arguments, LIMIT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn ask(home: &Path, what: &str, arguments: &[&str]) -> std::process::Output {
        let command = script(what, arguments);
        std::process::Command::new(&command.argv[0])
            .args(&command.argv[1..])
            .env("XDG_STATE_HOME", home)
            .output()
            .unwrap()
    }

    fn run(home: &Path, what: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = ask(home, what, arguments);
        assert!(output.stderr.is_empty(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said)
    }

    #[test]
    fn a_lease_changes_hands_only_where_it_says_what_was_read() {
        // Where the machine has a shared folder, the scripts use that.
        if std::path::Path::new("/var/lib/lastgood").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let swap = |expected: &str, new: &str| run(dir.path(), SWAP, &["a.lease", expected, new]);
        assert_eq!(swap("", "first, longer, ü"), (Some(0), String::new()));
        // The answer was lost and it is asked again.
        assert_eq!(swap("", "first, longer, ü").0, Some(0));
        assert_eq!(
            swap("", "second"),
            (Some(CHANGED), "first, longer, ü".to_owned())
        );
        assert_eq!(swap("first, longer, ü", "second").0, Some(0));
        let file = dir.path().join("lastgood/leases/a.lease");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "second");
        assert_eq!(run(dir.path(), LIST, &[]).1, "a.lease second\n");
        let held = std::fs::File::open(&file).unwrap();
        held.lock().unwrap();
        assert_eq!(swap("second", "third"), (Some(LOCKED), "second".to_owned()));
    }

    #[test]
    fn leases_that_cannot_be_read_are_not_none() {
        if Path::new("/var/lib/lastgood").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let nobody = (Some(0), String::new());
        assert_eq!(run(dir.path(), LIST, &[]), nobody, "no folder");
        let leases = dir.path().join("lastgood/leases");
        fs::create_dir_all(leases.parent().unwrap()).unwrap();
        fs::write(&leases, "").unwrap();
        assert_eq!(ask(dir.path(), LIST, &[]).status.code(), Some(67));
        fs::remove_file(&leases).unwrap();
        // Not even its owner, nor root, looks behind such a link.
        std::os::unix::fs::symlink(&leases, &leases).unwrap();
        assert_eq!(ask(dir.path(), LIST, &[]).status.code(), Some(67));
        fs::remove_file(&leases).unwrap();
        fs::create_dir(&leases).unwrap();
        assert_eq!(run(dir.path(), LIST, &[]), nobody, "an empty folder");
        // Nobody reads a folder as a file.
        fs::create_dir(leases.join("a.lease")).unwrap();
        let output = ask(dir.path(), LIST, &[]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("a.lease"), "{said}");
    }

    #[test]
    fn a_record_that_is_sent_twice_stands_once() {
        if std::path::Path::new("/var/lib/lastgood").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for line in ["one", "one", "two \\n %s"] {
            assert_eq!(run(dir.path(), APPEND, &["x.jsonl", line]).0, Some(0));
        }
        let file = dir.path().join("lastgood/audit/from/x.jsonl");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "one\ntwo \\n %s\n");
    }
}
