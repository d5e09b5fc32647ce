//! Tells what happened to a log between its lines.

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::domain::log::{LogEvent, LogNote, LogNoteKind};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;

/// Sends the notes of one service. Nobody listening is found out by whoever sends lines.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    service: ServiceId,
    to: mpsc::Sender<LogEvent>,
}

impl Notes {
    pub(super) fn new(service: ServiceId, to: mpsc::Sender<LogEvent>) -> Self {
        Self { service, to }
    }

    /// Something happened between the newest line, if any, and now.
    pub(super) async fn tell(&self, kind: LogNoteKind, from: Option<Timestamp>, detail: &str) {
        self.send(kind, from, Some(Timestamp::now()), detail).await;
    }

    /// Lines may be missing between two instants.
    pub(super) async fn tell_gap(&self, from: Timestamp, to: Timestamp) {
        let detail = "the engine has dropped its lines from before";
        self.send(LogNoteKind::Gap, Some(from), Some(to), detail)
            .await;
    }

    async fn send(
        &self,
        kind: LogNoteKind,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        detail: &str,
    ) {
        let note = LogNote {
            kind,
            service: self.service.clone(),
            from,
            to,
            lines: None,
            detail: SafeText::from_text(detail),
        };
        let _ = self.to.send(LogEvent::Note(note)).await;
    }
}
