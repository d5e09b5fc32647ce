//! Use cases, one file a verb. Both front ends call these and nothing below.
//!
//! Reading functions never change a machine. What changes one is first a [`Plan`](crate::domain::operation::Plan) from [`plan`], which both
//! front ends print, then [`execute`], which writes the audit log before the first step.

pub mod alerts;
pub mod audit;
pub mod backup;
pub mod checkpoint;
mod code;
pub mod compare;
pub mod doctor;
pub mod error;
pub mod errors;
pub mod files;
pub mod guard;
pub mod health;
mod hosts;
pub mod incident;
pub mod init;
pub mod input;
pub mod lease;
pub mod logs;
mod markdown;
pub mod migrations;
pub mod notify;
pub mod operation;
pub mod patterns;
pub mod policy;
pub mod preflight;
pub mod report;
mod restart;
pub mod resume;
pub mod roll_back;
pub mod runbook;
pub mod secrets;
pub mod services;
pub mod several;
pub mod signals;
pub mod slow;
pub mod switch;
pub mod timeline;
pub mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::audit::Audit;
use crate::domain::outcome::Actor;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, ServiceId};
use crate::host::Host;
use crate::store::config::{self, Config};
use crate::store::paths::StateDir;

pub use crate::domain::operation::Access;
pub use error::{ErrorKind, OpsError};
pub use operation::{Confirmation, execute, plan};

/// What was asked for on the command line, before anything was read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir` or `LASTGOOD_STATE_DIR`.
    pub state_dir: Option<PathBuf>,
    /// `--host`, repeatable.
    pub hosts: Vec<String>,
    /// `--read-only`.
    pub read_only: bool,
    /// `console` or `cli`, for the audit log.
    pub via: String,
    /// Arguments that may be log files: paths, patterns, `-`. What is none may be the name of a service.
    pub files: Vec<String>,
}

/// Everything a use case needs: configuration, state folder, machines, and who acts.
#[derive(Debug)]
pub struct Context {
    /// The configuration in force.
    pub config: Config,
    /// The state folder.
    pub state: StateDir,
    /// Who acts.
    pub actor: Actor,
    /// What this session may do.
    pub access: Access,
    /// The machines.
    pub(crate) hosts: Vec<Host>,
    /// The only runtime that is asked; `None` for every one.
    pub(crate) only: Option<Runtime>,
    /// The services that files on the command line became, by argument.
    pub(crate) opened: BTreeMap<String, ServiceId>,
    /// What was counted of logs that are looked at again and again.
    pub(crate) lately: signals::Lately,
    /// Probes that fail again and again.
    pub(crate) circuits: health::Circuits,
}

impl Context {
    /// Reads the configuration, finds the state folder and the user.
    ///
    /// # Errors
    /// A broken configuration or an unusable state folder; [`ErrorKind::Usage`].
    pub fn open(options: &Options) -> Result<Self, OpsError> {
        let places = config::Places::usual(options.config.as_deref());
        let config = config::load(&places)?;
        let state = StateDir::find(options.state_dir.as_deref())
            .map_err(|error| OpsError::new(ErrorKind::Usage, "no state folder").because(error))?;
        let access = if options.read_only {
            Access::ReadOnly
        } else {
            Access::Full
        };
        let hosts = hosts::open(&config, &options.hosts)?;
        let mut ctx = Self::with(config, state, actor(&options.via), access);
        ctx.hosts = hosts;
        let files = files::expand(&ctx, &options.files)?;
        ctx.opened = files::open(&files, &mut ctx.config.services);
        let is_files_only = !files.is_empty() && files.iter().all(|f| files::is_path_only(f));
        Ok(match is_files_only {
            // Whoever reads a file does not wait for Docker.
            true => ctx.only(Runtime::File),
            false => ctx,
        })
    }

    /// A context over a given configuration and state folder, as the demo needs it.
    pub fn with(config: Config, state: StateDir, actor: Actor, access: Access) -> Self {
        Self {
            config,
            state,
            actor,
            access,
            hosts: vec![Host::Local],
            only: None,
            opened: BTreeMap::new(),
            lately: signals::Lately::default(),
            circuits: health::Circuits::default(),
        }
    }

    /// That of a user of tests, with a state folder in `folder`.
    #[cfg(test)]
    pub(crate) fn of_anna(folder: &std::path::Path, config: Config, access: Access) -> Self {
        let actor = Actor {
            user: "anna".to_owned(),
            uid: 1000,
            via: "cli".to_owned(),
            from: None,
        };
        let state = StateDir::at(folder.join("state"));
        Self::with(config, state, actor, access)
    }

    /// Asks no other runtime than this: the demo shows its own shop and nothing else of the machine, and whoever opens
    /// files waits for no daemon.
    #[must_use]
    pub fn only(mut self, runtime: Runtime) -> Self {
        self.only = Some(runtime);
        self
    }

    /// The audit log.
    pub(crate) fn audit(&self) -> Audit {
        Audit::of(&self.state)
    }
}

/// Who runs this process, and from where. Names come from the system's own list: `$USER` can say anything.
pub fn actor(via: &str) -> Actor {
    let uid = rustix::process::getuid().as_raw();
    let name = crate::host::user_name(uid)
        .or_else(|| std::env::var("USER").ok())
        .unwrap_or_else(|| uid.to_string());
    let user = match std::env::var("SUDO_USER") {
        Ok(sudo) if uid == 0 && !sudo.is_empty() => format!("{sudo} (sudo)"),
        _ => name,
    };
    let from = std::env::var("SSH_CONNECTION")
        .ok()
        .and_then(|text| text.split_whitespace().next().map(SafeText::from_text));
    Actor {
        user: SafeText::from_text(&user).to_string(),
        uid,
        via: via.to_owned(),
        from,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_actor_is_the_user_of_this_process() {
        assert_eq!(actor("cli").uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn what_no_ssh_client_may_be_given_is_no_host() {
        let options = Options {
            hosts: vec!["-oProxyCommand=id".into()],
            ..Options::default()
        };
        let error = Context::open(&options).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Usage);
        assert!(error.message.contains("-oProxyCommand"));
    }
}
