//! Where lines go, and whether any went: what was given is not given again.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::domain::log::LogEvent;

/// The reader's end, which knows whether it was used.
pub(in crate::runtime::docker) struct Outlet<'a> {
    to: &'a mpsc::Sender<LogEvent>,
    has_given: AtomicBool,
}

impl<'a> Outlet<'a> {
    pub(in crate::runtime::docker) fn new(to: &'a mpsc::Sender<LogEvent>) -> Self {
        Self {
            to,
            has_given: AtomicBool::new(false),
        }
    }

    /// Gives it to the reader. Whether there is one.
    pub(super) async fn give(&self, event: LogEvent) -> bool {
        self.has_given.store(true, Ordering::Relaxed);
        self.to.send(event).await.is_ok()
    }

    /// Whether anything was given.
    pub(super) fn has_given(&self) -> bool {
        self.has_given.load(Ordering::Relaxed)
    }
}
