//! redis: BGSAVE and the file that it wrote, or each master of a cluster over the network; restores into a server of
//! their own, of which the server that is there becomes a copy.

use std::time::{Duration, Instant};

use super::job::Job;
use super::pack::{self, Unpacked};
use super::place::succeeded;
use crate::domain::backup::{Backup, Counts};
use crate::host::Command;
use crate::host::stream::{Streams, channel};
use crate::ops::{ErrorKind, OpsError};
use crate::store::backup::StagedPart;

const QUERY: Duration = Duration::from_secs(30);
/// Between two looks whether a snapshot is written.
const PAUSE: Duration = Duration::from_millis(200);
const DEFAULT: (&str, &str) = ("127.0.0.1", "6379");

/// A server of its own on a snapshot that comes as input, in a folder that goes with it: nothing is left however this
/// ends, and where the input was cut the server does not start. Prints how many keys it has.
const TEST: &str = r#"
d=$(mktemp -d "${TMPDIR:-/tmp}/lastgood-redis-XXXXXX") || exit 70
p=
trap 'if [ -n "$p" ]; then kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; fi; rm -rf -- "$d"' EXIT
trap 'exit 71' HUP INT TERM
command -v redis-server >/dev/null || { echo "there is no redis-server to restore into" >&2; exit 75; }
unset REDISCLI_AUTH
cat > "$d/dump.rdb" || exit 70
redis-server --port 0 --unixsocket "$d/s" --unixsocketperm 700 --dir "$d" --dbfilename dump.rdb --save "" --appendonly no > "$d/log" 2>&1 &
p=$!
until [ "$(redis-cli -s "$d/s" ping 2>/dev/null)" = PONG ]; do
  kill -0 "$p" 2>/dev/null || { grep -v "^ *$" "$d/log" | tail -n 1 >&2; exit 72; }
  sleep 0.1
done
redis-cli -s "$d/s" info keyspace"#;
/// `$1` host and `$2` port of the server that is there. It copies a server of its own that has the snapshot, and is on its
/// own again, however this ends.
const SWAP: &str = r#"
d=$(mktemp -d "${TMPDIR:-/tmp}/lastgood-redis-XXXXXX") || exit 70
p= copying=
host=$1 port=$2
live() { redis-cli -h "$host" -p "$port" "$@"; }
field() { live info "$1" | tr -d '\r' | sed -n "s/^$2://p"; }
trap '[ -z "$copying" ] || live replicaof no one >/dev/null; if [ -n "$p" ]; then kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; fi; rm -rf -- "$d"' EXIT
trap 'exit 71' HUP INT TERM
command -v redis-server >/dev/null || { echo "there is no redis-server to restore from" >&2; exit 75; }
umask 077
cat > "$d/dump.rdb" || exit 70
[ "$(field cluster cluster_enabled)" = 0 ] || { echo "it is a cluster, or gives no answer" >&2; exit 73; }
[ "$(field replication role)" = master ] || { echo "it is a replica: restore its master" >&2; exit 73; }
cat > "$d/conf" <<TEXT
bind 127.0.0.1
dir $d
dbfilename dump.rdb
save ""
appendonly no
repl-diskless-sync no
TEXT
auth=$(live config get masterauth | sed -n 2p)
[ -z "$auth" ] || printf 'requirepass "%s"\n' "$auth" >> "$d/conf"
own() { if [ -n "$auth" ]; then REDISCLI_AUTH=$auth redis-cli -p "$at" "$@"; else (unset REDISCLI_AUTH; redis-cli -p "$at" "$@"); fi 2>/dev/null; }
n=0
while :; do
  n=$((n+1)); [ "$n" -le 20 ] || { echo "no free port" >&2; exit 72; }
  at=$((20000 + ($$ * 7 + n * 613) % 30000))
  [ "$(own ping)" = "" ] || continue
  redis-server "$d/conf" --port "$at" > "$d/log" 2>&1 & p=$!
  until [ "$(own ping)" = PONG ]; do
    kill -0 "$p" 2>/dev/null || break
    sleep 0.1
  done
  kill -0 "$p" 2>/dev/null && break
  grep -q "Address already in use" "$d/log" || { grep -v "^ *$" "$d/log" | tail -n 1 >&2; exit 72; }
done
keys=$(own info keyspace | tr -d '\r' | sed -n 's/^db[0-9]*:keys=\([0-9]*\),.*/\1/p' | awk '{ n += $1 } END { print n + 0 }')
copying=yes
[ "$(live replicaof 127.0.0.1 "$at")" = OK ] || { echo "it does not become a copy" >&2; exit 73; }
n=0
until [ "$(field replication master_link_status)" = up ]; do
  n=$((n+1)); [ "$n" -lt "$3" ] || { echo "it did not copy in time" >&2; exit 74; }
  kill -0 "$p" 2>/dev/null || { echo "the server with the snapshot ended" >&2; exit 74; }
  sleep 0.1
done
[ "$(live replicaof no one)" = OK ] || exit 74
copying=
echo "copied=$keys"
live info keyspace"#;

impl Job<'_> {
    fn server(&self) -> (String, String) {
        let (host, port) = DEFAULT;
        self.address()
            .unwrap_or_else(|| (host.to_owned(), port.to_owned()))
    }

    fn with_secret(&self, mut command: Command) -> Command {
        // Over a variable, and no warning that there is one.
        command.secret = self
            .password
            .clone()
            .map(|password| ("REDISCLI_AUTH".to_owned(), password));
        command
    }

    fn redis(&self, (host, port): (&str, &str), words: &[&str], limit: Duration) -> Command {
        let mut argv = vec!["redis-cli", "-h", host, "-p", port];
        if let Some(user) = &self.settings.user {
            argv.extend(["--user", user]);
        }
        argv.extend(words);
        self.with_secret(Command::new(argv, limit))
    }

    async fn ask(&self, server: (&str, &str), words: &[&str]) -> Result<String, OpsError> {
        let command = self.redis(server, words, QUERY);
        // BGSAVE writes a file of the server's own.
        let ended = self
            .place
            .change(self.permit, &command, Streams::default())
            .await?;
        let what = format!("redis-cli {}", words.join(" "));
        let ended = succeeded(&what, ErrorKind::Failed, ended)?;
        let said = ended.stdout_text().replace('\r', "");
        let is_error = [
            "ERR",
            "NOAUTH",
            "WRONGPASS",
            "NOPERM",
            "LOADING",
            "MISCONF",
            "(error)",
        ];
        match is_error.iter().any(|word| said.starts_with(word)) {
            true => Err(OpsError::new(
                ErrorKind::Failed,
                format!("{what}: {}", said.trim()),
            )),
            false => Ok(said),
        }
    }

    /// How many bytes the server holds.
    pub(super) async fn redis_size(&self) -> Result<u64, OpsError> {
        let (host, port) = self.server();
        let info = self.ask((&host, &port), &["info", "memory"]).await?;
        field(&info, "used_memory").ok_or_else(|| no_answer("used_memory"))
    }

    /// Saves the server, or every master of its cluster.
    pub(super) async fn redis_dump(&self) -> Result<(Vec<StagedPart>, Counts), OpsError> {
        let (host, port) = self.server();
        let server = (host.as_str(), port.as_str());
        let info = self.ask(server, &["info", "cluster"]).await?;
        let mut parts = Vec::new();
        let mut counts = Counts::new();
        if field(&info, "cluster_enabled") == Some(1) {
            let nodes = self.ask(server, &["cluster", "nodes"]).await?;
            for (host, port) in masters(&nodes)? {
                let of = format!("{host}:{port}");
                let keys = self.keys((&host, &port)).await?;
                let file = self.file(Some(&of));
                parts.push(self.fetch((&host, &port), &file, &of).await?);
                counts.insert(of, keys);
            }
            return Ok((parts, counts));
        }
        let of = format!("{host}:{port}");
        self.bgsave(server).await?;
        let keys = self.keys(server).await?;
        let setting = |text: String| text.lines().nth(1).map(str::to_owned);
        let dir = self.ask(server, &["config", "get", "dir"]).await;
        let name = self.ask(server, &["config", "get", "dbfilename"]).await;
        let path = match (dir.map(setting), name.map(setting)) {
            (Ok(Some(dir)), Ok(Some(name))) => Some(format!("{dir}/{name}")),
            // Managed servers do not say.
            _ => None,
        };
        let file = self.file(None);
        let part = match path {
            Some(path) if self.is_readable(&path).await? => {
                self.read(&["cat", "--", &path], &file, &of).await?
            }
            _ => self.fetch(server, &file, &of).await?,
        };
        parts.push(part);
        counts.insert(of, keys);
        Ok((parts, counts))
    }

    async fn keys(&self, server: (&str, &str)) -> Result<u64, OpsError> {
        let info = self.ask(server, &["info", "keyspace"]).await?;
        Ok(keys(&info))
    }

    async fn is_readable(&self, path: &str) -> Result<bool, OpsError> {
        let command = Command::new(["test", "-r", path], QUERY);
        let ended = self.place.query(&command, Streams::default()).await?;
        Ok(ended.is_success())
    }

    /// Has the server write its snapshot, and waits until it says that it did.
    async fn bgsave(&self, server: (&str, &str)) -> Result<(), OpsError> {
        let started = Instant::now();
        let before: u64 = number(&self.ask(server, &["lastsave"]).await?)?;
        // One that is under way began before this moment: it is waited for, and another is asked for.
        loop {
            match self.ask(server, &["bgsave"]).await {
                Ok(_) => break,
                Err(error)
                    if error.message.contains("in progress") && started.elapsed() < self.limit =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        loop {
            let info = self.ask(server, &["info", "persistence"]).await?;
            let is_over = field(&info, "rdb_bgsave_in_progress") == Some(0);
            let status = word(&info, "rdb_last_bgsave_status").unwrap_or_default();
            let saved: u64 = number(&self.ask(server, &["lastsave"]).await?)?;
            if is_over && status != "ok" {
                return Err(OpsError::new(
                    ErrorKind::Failed,
                    format!("BGSAVE failed: {status}; the server's own log says why"),
                ));
            }
            // The time has whole seconds: a second save within one does not move it.
            if is_over && (saved > before || started.elapsed() > Duration::from_secs(2)) {
                return Ok(());
            }
            if started.elapsed() >= self.limit {
                return Err(self.too_late());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Takes a snapshot over the network, as a replica would.
    async fn fetch(
        &self,
        server: (&str, &str),
        file: &str,
        of: &str,
    ) -> Result<StagedPart, OpsError> {
        let command = self.redis(server, &["--rdb", "-"], self.limit);
        self.read_by(&command, file, of).await
    }

    async fn read(&self, argv: &[&str], file: &str, of: &str) -> Result<StagedPart, OpsError> {
        self.read_by(&Command::new(argv.iter().copied(), self.limit), file, of)
            .await
    }

    async fn read_by(
        &self,
        command: &Command,
        file: &str,
        of: &str,
    ) -> Result<StagedPart, OpsError> {
        let (to, from) = channel();
        let (ended, part) = tokio::join!(
            self.place.query(command, Streams::default().to(to)),
            self.pack((file, of), from),
        );
        let part = part?;
        succeeded(&command.to_line(), ErrorKind::Failed, ended?)?;
        Ok(part)
    }

    /// Restores each part into a server of its own, and counts.
    pub(super) async fn redis_test(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let mut counts = Counts::new();
        for part in &backup.parts {
            let Unpacked { chunks, ended } =
                pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
            let command = Command::shell(TEST, &[], self.limit);
            let tested = self
                .place
                .change(self.permit, &command, Streams::from(chunks))
                .await;
            pack::ended(ended).await?;
            let tested = tested?;
            let kind = if tested.code == Some(72) {
                ErrorKind::No
            } else {
                ErrorKind::Failed
            };
            let tested = succeeded("redis-server does not take it", kind, tested)?;
            let of = part.of.as_str().to_owned();
            let seen = keys(&tested.stdout_text());
            let made = backup.counts.get(&of).copied().unwrap_or_default();
            // Keys come, go and expire between the count and the snapshot; all of them do not.
            if seen == 0 && made > 0 {
                return Err(OpsError::new(
                    ErrorKind::No,
                    format!("{of}: no key came back of {made}"),
                ));
            }
            counts.insert(of, seen);
        }
        Ok(counts)
    }

    pub(super) async fn redis_swap(&self, backup: &Backup) -> Result<String, OpsError> {
        let part = self.only_part(backup)?;
        let (host, port) = self.server();
        let Unpacked { chunks, ended } =
            pack::unpack(self.ctx, self.settings, backup, part, self.limit)?;
        let looks = (self.limit.as_secs() * 10).to_string();
        let command = self.with_secret(Command::shell(SWAP, &[&host, &port, &looks], self.limit));
        let swapped = self
            .place
            .change(self.permit, &command, Streams::from(chunks))
            .await;
        pack::ended(ended).await?;
        let swapped = succeeded("the server took nothing", ErrorKind::Failed, swapped?)?;
        let said = swapped.stdout_text();
        let copied = said.lines().find_map(|line| line.strip_prefix("copied="));
        Ok(format!(
            "{} keys copied, {} there now",
            copied.unwrap_or("?"),
            keys(&said)
        ))
    }

    pub(super) async fn redis_prove(&self, backup: &Backup) -> Result<Counts, OpsError> {
        let (host, port) = self.server();
        let server = (host.as_str(), port.as_str());
        let role = self.ask(server, &["info", "replication"]).await?;
        if word(&role, "role").as_deref() != Some("master") {
            return Err(OpsError::new(
                ErrorKind::No,
                "the server is a replica still",
            ));
        }
        let seen = self.keys(server).await?;
        if seen == 0 && backup.counts.values().sum::<u64>() > 0 {
            return Err(OpsError::new(ErrorKind::No, "the server has no keys"));
        }
        Ok([(format!("{host}:{port}"), seen)].into())
    }
}

/// Whether a server can be restored: the one with the snapshot listens on its own machine only.
pub(super) fn is_near(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    matches!(host, "127.0.0.1" | "localhost" | "::1" | "[::1]")
}

fn no_answer(what: &str) -> OpsError {
    OpsError::new(ErrorKind::Failed, format!("the server does not say {what}"))
}

fn number(text: &str) -> Result<u64, OpsError> {
    text.trim().parse().map_err(|_| no_answer("a number"))
}

fn word(info: &str, name: &str) -> Option<String> {
    info.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

fn field(info: &str, name: &str) -> Option<u64> {
    word(info, name)?.parse().ok()
}

/// The keys of all databases: `db0:keys=3,expires=0,avg_ttl=0`.
fn keys(info: &str) -> u64 {
    let rows = info.lines().filter_map(|line| {
        let (name, rest) = line.trim_end().split_once(":keys=")?;
        name.starts_with("db").then_some(rest)
    });
    rows.filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok())
        .sum()
}

/// The addresses of the masters of a cluster that hold slots, in `CLUSTER NODES`.
///
/// # Errors
/// One of them is failing: its part of the data would be missing.
fn masters(nodes: &str) -> Result<Vec<(String, String)>, OpsError> {
    let mut found = Vec::new();
    for line in nodes.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, flags, ..] = words.as_slice() else {
            continue;
        };
        let flags: Vec<&str> = flags.split(',').collect();
        if !flags.contains(&"master") || words.len() <= 8 {
            continue;
        }
        if flags.iter().any(|flag| flag.starts_with("fail")) {
            return Err(OpsError::new(
                ErrorKind::Failed,
                format!("the master {address} is failing: a backup without its keys is none"),
            ));
        }
        // `10.0.0.1:6379@16379,hostname`
        let address = address.split('@').next().unwrap_or_default();
        let (host, port) = address
            .rsplit_once(':')
            .ok_or_else(|| no_answer("where its nodes are"))?;
        found.push((host.to_owned(), port.to_owned()));
    }
    match found.is_empty() {
        true => Err(no_answer("which masters its cluster has")),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_databases_are_counted() {
        let info =
            "# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0\r\ndb5:keys=4,expires=1,avg_ttl=9\r\n";
        assert_eq!(keys(info), 7);
        assert_eq!(keys("# Keyspace\n"), 0);
        assert_eq!(
            field("# M\r\nused_memory:1024\r\n", "used_memory"),
            Some(1024)
        );
    }

    #[test]
    fn the_masters_that_hold_slots_are_found() {
        let nodes = "a 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n\
                     b 127.0.0.1:7002@17002,redis-2 master - 0 0 2 connected 5461-10922\n\
                     c 127.0.0.1:7003@17003 slave a 0 0 1 connected\n\
                     d 127.0.0.1:7004@17004 master - 0 0 4 connected\n";
        let found = masters(nodes).unwrap();
        assert_eq!(
            found,
            [
                ("127.0.0.1".to_owned(), "7001".to_owned()),
                ("127.0.0.1".to_owned(), "7002".to_owned())
            ]
        );
        let failing = nodes.replace("7002@17002,redis-2 master", "7002@17002 master,fail");
        let error = masters(&failing).unwrap_err();
        assert!(error.message.contains("127.0.0.1:7002"), "{error}");
        assert!(masters("").is_err());
    }
}
