//! A PostgreSQL and redis servers on loopback, in folders of their own; ended when dropped.

use super::{unique, wait_for};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What every server here asks for.
pub(crate) const PASSWORD: &str = "hunter-2 it's";
/// PostgreSQL does not run as root: it runs as nobody there.
const NOBODY: u32 = 65534;
const SOON: Duration = Duration::from_secs(40);

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A folder that another user may enter, outside of the sandbox, which nobody else can.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix(&format!("{}-", unique(name)))
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn as_nobody(program: &Path) -> Command {
    match super::is_root() {
        false => Command::new(program),
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(program);
            command
        }
    }
}

/// Where Debian puts the servers' programs, the newest version; `None` where there are none.
pub(crate) fn postgres_programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}

/// A server that asks every user for a password.
pub(crate) struct Postgres {
    pub(crate) port: u16,
    server: Child,
    _folder: tempfile::TempDir,
}

impl Postgres {
    pub(crate) fn start(name: &str) -> Postgres {
        let programs = postgres_programs().unwrap();
        let folder = folder(name);
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        fs::create_dir(&data).unwrap();
        if super::is_root() {
            for path in [&data, &password] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let made = as_nobody(&programs.join("initdb"))
            .args([
                "-N",
                "-U",
                "postgres",
                "-A",
                "scram-sha-256",
                "--locale=C.UTF-8",
            ])
            .arg(format!("--pwfile={}", password.display()))
            .arg("-D")
            .arg(&data)
            .current_dir("/")
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = free_port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let server = as_nobody(&programs.join("postgres"))
            .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"])
            .args(["-k", "", "-p", &port.to_string(), "-D"])
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let postgres = Postgres {
            port,
            server,
            _folder: folder,
        };
        wait_for("PostgreSQL", SOON, || {
            postgres.try_sql("postgres", "SELECT 1").ok()
        });
        postgres
    }

    /// What psql says.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// A client that has a table for itself until it ends.
    pub(crate) fn lock(&self, database: &str, table: &str) -> Child {
        let lock = format!("BEGIN; LOCK TABLE {table}; SELECT 'locked'; SELECT pg_sleep(600)");
        let client = Command::new("psql")
            .args(["-X", "-q", "-c", &lock])
            .env("PGPASSWORD", PASSWORD)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", database)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sql = format!(
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = '{table}'::regclass AND granted"
        );
        wait_for("the lock", SOON, || {
            (self.sql(database, &sql) == "1").then_some(())
        });
        client
    }

    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The databases that are not the server's own.
    pub(crate) fn databases(&self) -> Vec<String> {
        let sql = "SELECT datname FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate ORDER BY 1";
        self.sql("postgres", sql)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// How many rows a table of the database `shop` has.
    pub(crate) fn rows(&self, table: &str) -> u64 {
        let count = self.sql("shop", &format!("SELECT count(*) FROM {table}"));
        count.parse().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A quick end, with its children.
        end(&mut self.server, rustix::process::Signal::INT);
    }
}

fn end(server: &mut Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
    let _ = server.wait();
}

/// A server with a password.
pub(crate) struct Redis {
    pub(crate) port: u16,
    server: Child,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start(name: &str, options: &[&str]) -> Redis {
        let folder = folder(name);
        let port = free_port();
        // In a file: some tests look for the password among the arguments of every process.
        let config = folder.path().join("conf");
        fs::write(&config, format!("requirepass \"{PASSWORD}\"\n")).unwrap();
        let server = Command::new("redis-server")
            .arg(config)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(folder.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Redis {
            port,
            server,
            _folder: folder,
        };
        wait_for("redis", SOON, || {
            (redis.ask(&["ping"]) == "PONG").then_some(())
        });
        redis
    }

    /// What it answers.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(words)
            .env("REDISCLI_AUTH", PASSWORD)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .replace('\r', "")
            .trim()
            .to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        end(&mut self.server, rustix::process::Signal::KILL);
    }
}
