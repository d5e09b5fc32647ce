//! Where the lines of several files go: one channel, on which it is always told which file the next lines are of.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::source::{Closed, Origin};
use crate::domain::log::{LogBlock, LogEvent, LogNote, LogNoteKind, LogPosition};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

/// The sending end of a read. Waits for room: back-pressure, not loss. Used on blocking threads only.
#[derive(Debug)]
pub(super) struct Outlet {
    service: ServiceId,
    to: mpsc::Sender<LogEvent>,
    /// The file that was opened last, as the reader knows it.
    opened: Option<Arc<Origin>>,
}

impl Outlet {
    pub(super) fn new(service: ServiceId, to: mpsc::Sender<LogEvent>) -> Self {
        Self {
            service,
            to,
            opened: None,
        }
    }

    /// Sends lines, and before them the file that they come from where the lines before came from elsewhere.
    pub(super) fn block(&mut self, origin: &Arc<Origin>, block: LogBlock) -> Result<(), Closed> {
        let Some(first) = block.lines.first() else {
            return Ok(());
        };
        if self
            .opened
            .as_ref()
            .is_none_or(|opened| !Arc::ptr_eq(opened, origin))
        {
            let position = LogPosition {
                path: origin.path.clone(),
                inode: origin.inode,
                offset: first.place,
            };
            self.opened = Some(Arc::clone(origin));
            self.send(LogEvent::Opened(position))?;
        }
        self.send(LogEvent::Block(block))
    }

    /// Sends lines of a source that is no file.
    pub(super) fn stray(&self, block: LogBlock) -> Result<(), Closed> {
        if block.is_empty() {
            return Ok(());
        }
        self.send(LogEvent::Block(block))
    }

    /// Tells what happened besides lines.
    pub(super) fn note(&self, kind: LogNoteKind, detail: &str) -> Result<(), Closed> {
        self.send(LogEvent::Note(LogNote {
            kind,
            service: self.service.clone(),
            from: None,
            to: None,
            lines: None,
            detail: SafeText::from_text(detail),
        }))
    }

    /// Tells that a file goes on in another.
    pub(super) fn rotated(&self, old: &Path, new: &Path) -> Result<(), Closed> {
        let detail = format!("{} goes on in {}", old.display(), new.display());
        self.note(LogNoteKind::Rotated, &detail)
    }

    fn send(&self, event: LogEvent) -> Result<(), Closed> {
        self.to.blocking_send(event).map_err(|_| Closed)
    }
}
