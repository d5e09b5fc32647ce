//! What a user may say of a service: probes, limits, how requests look, the commands of an exec service.
//!
//! The configuration file's text belongs to `store::config`; these are the nouns it is read into, so that
//! layers below the store can take them.

use std::path::PathBuf;
use std::time::Duration;

use super::signal::Limits;

/// How to ask a service whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// No answer by then is a failure. Default 5 s.
    pub timeout: Duration,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// An HTTP GET.
    Http {
        /// The address, `http://localhost:8000/health`.
        url: String,
        /// The status that is expected; `None` for any 2xx.
        status: Option<u16>,
        /// Text that must stand in the body.
        contains: Option<String>,
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
    /// A GET that expects any 2xx within 5 s.
    pub fn http(url: impl Into<String>) -> Self {
        Self {
            kind: ProbeKind::Http {
                url: url.into(),
                status: None,
                contains: None,
            },
            timeout: Duration::from_secs(5),
        }
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
