//! What changed on a host since it was looked at: only that is looked at again.
//!
//! A deploy is a burst of the engine's events. Each of them would otherwise have PM2's daemons, the configured commands and
//! every other container asked too.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::domain::service::Runtime;

/// What is to be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// All that the engine runs.
    pub(super) engine: bool,
    /// Of the engine, the containers with these ids.
    pub(super) containers: BTreeSet<String>,
    /// What the PM2 daemons run.
    pub(super) pm2: bool,
    /// Which PM2 daemons there are.
    pub(super) daemons: bool,
    /// What configured commands run.
    pub(super) exec: bool,
    /// The log files that are services.
    pub(super) files: bool,
}

impl Changed {
    /// Everything that is there to be looked at; with `only`, of that runtime.
    pub fn all(only: Option<Runtime>) -> Self {
        let asks = |runtime| only.is_none_or(|only| only == runtime);
        Self {
            engine: asks(Runtime::Docker),
            containers: BTreeSet::new(),
            pm2: asks(Runtime::Pm2),
            daemons: asks(Runtime::Pm2),
            exec: asks(Runtime::Exec),
            files: asks(Runtime::File),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the runtimes of a host tell what changed, and whoever looks takes it.
#[derive(Debug)]
pub struct Changes {
    since: Timestamp,
    changed: Mutex<Changed>,
    told: Notify,
}

impl Changes {
    /// Of what happens from now on.
    pub fn from_now() -> Self {
        Self {
            since: Timestamp::now(),
            changed: Mutex::default(),
            told: Notify::new(),
        }
    }

    /// What happened before was seen by whoever looks, by our clock.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    fn lock(&self) -> MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed.
    pub(super) fn tell(&self, what: impl FnOnce(&mut Changed)) {
        what(&mut self.lock());
        self.told.notify_one();
    }

    /// Waits until something has changed that nobody took.
    pub async fn wait(&self) {
        while self.lock().is_nothing() {
            self.told.notified().await;
        }
    }

    /// All that changed since this was last called.
    pub fn take(&self) -> Changed {
        std::mem::take(&mut self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changed_is_told_once_and_nothing_else() {
        let changes = Changes::from_now();
        for id in ["a", "b", "a"] {
            changes.tell(|changed| changed.containers.extend([id.to_owned()]));
        }
        changes.wait().await;
        let changed = changes.take();
        assert_eq!(changed.containers.len(), 2);
        assert!(!changed.engine && !changed.pm2 && !changed.exec && !changed.files);
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), changes.wait());
        assert!(waiting.await.is_err(), "it was taken");
        changes.tell(|changed| changed.pm2 = true);
        changes.wait().await;
        assert!(changes.take().pm2);
    }
}
