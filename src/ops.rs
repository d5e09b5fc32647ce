//! Use cases, one file a verb. Both front ends call these and nothing below.
//!
//! Reading functions never change a machine. What changes one is first a [`Plan`] from [`plan`], which both
//! front ends print, then [`execute`], which writes the audit log before the first step.

pub mod audit;
pub mod checkpoint;
pub mod compare;
pub mod error;
pub mod health;
pub mod input;
pub mod logs;
pub mod operation;
pub mod services;
pub mod signals;
pub mod timeline;

use std::path::PathBuf;

use crate::domain::outcome::Actor;
use crate::host::Host;
use crate::store::config::Config;
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
}

impl Context {
    /// Reads the configuration, finds the state folder and the user.
    ///
    /// # Errors
    /// A broken configuration or an unusable state folder; [`ErrorKind::Usage`].
    pub fn open(_options: &Options) -> Result<Self, OpsError> {
        todo!("store")
    }

    /// A context over a given configuration and state folder, as the demo needs it.
    pub fn with(config: Config, state: StateDir, actor: Actor, access: Access) -> Self {
        Self {
            config,
            state,
            actor,
            access,
            hosts: vec![Host::Local],
        }
    }
}
