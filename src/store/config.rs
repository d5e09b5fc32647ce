//! The configuration: what was found in the files, the environment and the flags.

use std::collections::BTreeMap;

use crate::domain::service::ServiceId;
use crate::domain::settings::ServiceSettings;

/// The configuration in force. Nothing in it is needed: what is found is used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// Hosts by name: what ssh accepts as a destination.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Settings by service id text (`shop/backend`).
    pub services: BTreeMap<String, ServiceSettings>,
    /// Whether mouse events are asked for.
    pub mouse: bool,
    /// Checkpoints to keep when pruning.
    pub keep_last: usize,
}

/// A configured host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Anything ssh accepts as a destination.
    pub ssh: String,
    /// Nothing may be changed there.
    pub read_only: bool,
}

impl Config {
    /// The settings of a service; the defaults where nothing is said.
    pub fn service(&self, id: &ServiceId) -> ServiceSettings {
        self.services
            .get(&id.to_string())
            .cloned()
            .unwrap_or_default()
    }
}
