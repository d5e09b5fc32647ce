//! What a user may say of a service: probes, limits, how requests look, the commands of an exec service.
//!
//! The configuration file's text belongs to `store::config`; these are the nouns it is read into, so that
//! layers below the store can take them.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::own_signal::MetricSettings;
use super::signal::Limits;

/// How to ask a service whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// No answer by then is a failure. Default 5 s.
    pub timeout: Duration,
    /// A later answer is slow, which degrades the service; [`Probe::SLOW`] where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<Duration>,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// An HTTP GET.
    Http {
        /// The address, `http://localhost:8000/health`.
        url: String,
        /// The status that is expected; `None` for any 2xx.
        status: Option<u16>,
        /// Text that must stand in the body.
        contains: Option<String>,
        /// Fields that the body must have, as JSON: `{"status": "up"}`, `{"checks.db": true}`; `null` stands for any value
        /// but none.
        #[serde(default)]
        json: Option<serde_json::Value>,
        /// A certificate of an `https` address that ends in fewer days degrades the service, 0 for never;
        /// [`Probe::CERTIFICATE_DAYS`] where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_days: Option<u16>,
        /// A file with the certificates (PEM) of authorities that are trusted besides those of this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<PathBuf>,
    },
    /// A TCP connection, `localhost:5432`.
    Tcp {
        /// Host and port.
        address: String,
    },
    /// A command that must exit with 0, run by `sh -c`.
    Command {
        /// The command.
        command: String,
    },
}

impl Probe {
    /// A later answer is slow.
    pub const SLOW: Duration = Duration::from_secs(2);
    /// An answer that took longer is as good as none.
    pub const TOO_SLOW: Duration = Duration::from_secs(5);
    /// A certificate that ends in fewer days is told of: two weeks are enough to renew it by hand.
    pub const CERTIFICATE_DAYS: u16 = 14;

    /// Asks something, within 5 s.
    pub fn of(kind: ProbeKind) -> Self {
        Self {
            kind,
            timeout: Duration::from_secs(5),
            slower_than: None,
        }
    }

    /// A GET that expects any 2xx within 5 s.
    pub fn http(url: impl Into<String>) -> Self {
        Self::of(ProbeKind::Http {
            url: url.into(),
            status: None,
            contains: None,
            json: None,
            certificate_days: None,
            ca: None,
        })
    }

    /// Its name in health reports: `http http://localhost:8000/health`.
    pub fn name(&self) -> String {
        match &self.kind {
            ProbeKind::Http { url, .. } => format!("http {url}"),
            ProbeKind::Tcp { address } => format!("tcp {address}"),
            ProbeKind::Command { command } => format!("command {command}"),
        }
    }
}

/// How requests are found in a service's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestRules {
    /// A record that matches is a request; the named groups `seconds`, `ms`, `status`, `route` give its parts.
    pub request_regex: Option<String>,
    /// Routes that are not counted, besides the usual health-check routes.
    pub ignore_routes: Vec<String>,
}

/// The commands of an exec service, each run by `sh -c`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecCommands {
    /// Exit 0 means running.
    pub status: Option<String>,
    /// Starts it.
    pub start: Option<String>,
    /// Stops it.
    pub stop: Option<String>,
    /// Restarts it.
    pub restart: Option<String>,
    /// Prints its log and goes on; ended when nobody reads.
    pub logs: Option<String>,
    /// Prints the identity of the release that runs.
    pub release_command: Option<String>,
    /// Brings back a release: `$LASTGOOD_RELEASE` is the checkpoint's identity.
    pub roll_back: Option<String>,
}

/// The commands that tell which revision of its schema a database has, each run by `sh -c` in the service's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationCommands {
    /// Prints the revision that the database has: `alembic current`.
    pub current: Option<String>,
    /// Prints the revision that the code wants: `alembic heads`.
    pub head: Option<String>,
    /// Takes the database back to `{revision}`: `alembic downgrade {revision}`.
    pub downgrade: Option<String>,
}

/// How the connections of a database are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connections {
    /// It is a PostgreSQL server.
    Postgres,
    /// It is a Redis server, or one that speaks like it.
    Redis,
    /// It is no database.
    None,
    /// A command prints how many are in use and how many there may be, run by `sh -c` on the service's machine.
    Command(String),
}

impl Connections {
    /// What `connections = "…"` says: a kind of database, `none`, or a command.
    pub fn of(text: &str) -> Self {
        match text {
            "postgres" => Self::Postgres,
            "redis" => Self::Redis,
            "none" => Self::None,
            command => Self::Command(command.to_owned()),
        }
    }

    /// What an image's name says of what runs in it: `postgres:16`, `bitnami/redis`; `None` where it says nothing.
    pub fn of_image(image: &str) -> Option<Self> {
        let repository = image.split('@').next().unwrap_or(image);
        let name = repository.rsplit('/').next().unwrap_or(repository);
        let name = name.split(':').next().unwrap_or(name);
        match name {
            // What only talks to a database has a longer name: postgres-exporter, redis-commander.
            "postgres" | "postgresql" | "postgis" | "pgvector" | "timescaledb"
            | "timescaledb-ha" | "supabase-postgres" => Some(Self::Postgres),
            "redis" | "valkey" | "keydb" | "redis-stack" | "redis-stack-server" => {
                Some(Self::Redis)
            }
            _ => None,
        }
    }
}

/// Everything a user may say of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceSettings {
    /// Its probe.
    pub probe: Option<Probe>,
    /// Environment files to save, relative to the project's folder.
    pub env_files: Vec<PathBuf>,
    /// Configuration files to save.
    pub config_files: Vec<PathBuf>,
    /// Log files of an exec or a file service: paths, patterns (`/var/log/app/*.log`), `-` for standard input.
    pub log_files: Vec<PathBuf>,
    /// How requests look.
    pub requests: RequestRules,
    /// Limits; the defaults where nothing is said.
    pub limits: Limits,
    /// How a Prometheus server is asked for its golden signals; nothing where its log is read.
    pub metrics: MetricSettings,
    /// How its database connections are counted; by what its image says where nothing is said.
    pub connections: Option<Connections>,
    /// The git checkout of its code.
    pub git: Option<PathBuf>,
    /// What brings its dependencies in line with its code, run by `sh -c` in the checkout: `npm ci`.
    pub install: Option<String>,
    /// The file, relative to the checkout, whose change makes that necessary; any change of the code without it.
    pub install_if: Option<PathBuf>,
    /// How its migrations are looked at.
    pub migrations: MigrationCommands,
    /// Its commands, where it is an exec service.
    pub exec: Option<ExecCommands>,
}

/// One of the two sides of an application that runs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// The one.
    Blue,
    /// The other.
    Green,
}

impl Colour {
    /// The word in the configuration and in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
        }
    }

    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Blue => Self::Green,
            Self::Green => Self::Blue,
        }
    }
}

/// One side of an application that runs twice behind a proxy. Nothing in it has a default: what is missing is said when
/// it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SideSettings {
    /// The proxy's file that sends requests to this side.
    pub file: Option<PathBuf>,
    /// Asks this side itself, past the proxy.
    pub probe: Option<Probe>,
    /// Asks the public way for an answer that only this side gives.
    pub verify: Option<Probe>,
    /// The service that runs on this side, by any of its names: its log is what the verdict reads.
    pub service: Option<String>,
}

/// What a switch by steps has between its two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanarySettings {
    /// The shares of the requests that the new side gets, in percent, growing.
    pub shares: Vec<u8>,
    /// How long each is looked at.
    pub hold: Duration,
}

impl Default for CanarySettings {
    fn default() -> Self {
        Self {
            shares: vec![10, 50],
            hold: Duration::from_secs(60),
        }
    }
}

/// An application that runs twice behind a proxy, and how the proxy is sent to one or the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SwitchSettings {
    /// The one side.
    pub blue: SideSettings,
    /// The other side.
    pub green: SideSettings,
    /// The file that the proxy reads: it becomes what one of the two files is.
    pub active: Option<PathBuf>,
    /// Says whether the proxy would take its files, run by `sh -c`: `nginx -t`.
    pub test: Option<String>,
    /// Lets the proxy read its files again, run by `sh -c`: `nginx -s reload`.
    pub reload: Option<String>,
    /// Asks the public way, whichever side answers.
    pub verify: Option<Probe>,
    /// The steps of `--canary`, and how long a step of `--rolling` is looked at.
    pub canary: CanarySettings,
}

impl SwitchSettings {
    /// The side of a colour.
    pub fn side(&self, colour: Colour) -> &SideSettings {
        match colour {
            Colour::Blue => &self.blue,
            Colour::Green => &self.green,
        }
    }
}
