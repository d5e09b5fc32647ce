//! A machine that commands can be run on: this one, or one behind ssh.

pub mod tail;

use crate::domain::host::HostName;

/// A machine.
#[derive(Debug, Clone)]
pub enum Host {
    /// This machine.
    Local,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> HostName {
        match self {
            Self::Local => HostName::local(),
        }
    }
}
