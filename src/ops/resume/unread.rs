//! Runs whose journal cannot be read: told as what they are, for nobody knows how far they got.
//!
//! The audit log is another file. It may say what such a run was to do, and that it ended.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::title;
use crate::domain::outcome::{AuditPhase, AuditRecord};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::journal;

/// A run of which nobody knows whether it ended.
#[derive(Debug, Clone, Serialize)]
pub struct UnreadRun {
    /// Its name: the folder of its journal.
    pub run: String,
    /// That folder.
    pub folder: PathBuf,
    /// Why its journal cannot be read.
    pub problem: SafeText,
    /// What it is about, in words, as far as the audit log says.
    pub title: SafeText,
    /// When it was begun; `None` where the audit log does not say.
    pub at: Option<Timestamp>,
    /// Its services; `None` where the audit log does not say.
    pub services: Option<Vec<ServiceId>>,
}

/// Looks them up in the audit log. Those that it knows to have ended are left out.
pub(super) fn look_up(ctx: &Context, unread: Vec<journal::UnreadRun>) -> Vec<UnreadRun> {
    if unread.is_empty() {
        return Vec::new();
    }
    // A log that cannot be read says nothing of them, as one that does not know them.
    let records = ctx.audit().list().unwrap_or_default();
    let found = unread
        .into_iter()
        .filter_map(|one| UnreadRun::of(ctx, one, &records));
    found.collect()
}

impl UnreadRun {
    fn of(ctx: &Context, unread: journal::UnreadRun, records: &[AuditRecord]) -> Option<Self> {
        let run = unread.run;
        let mut own = records
            .iter()
            .filter(|record| record.run.as_deref() == Some(&run));
        let intent = own.find(|record| record.phase == AuditPhase::Intent);
        if own.any(|record| record.phase == AuditPhase::Outcome) {
            return None;
        }
        let title = intent.map_or_else(
            || SafeText::from_text("the audit log does not know it"),
            |found| {
                let by = Some(&found.actor);
                title(&found.operation, &found.services, by, found.at)
            },
        );
        Some(Self {
            folder: ctx.state.runs().join(&run),
            run,
            problem: SafeText::from_error(&unread.error),
            title,
            at: intent.map(|found| found.at),
            services: intent.map(|found| found.services.clone()),
        })
    }

    /// What is known of it: `stop exec/bot, begun by anna at …; cannot read …`.
    pub(super) fn line(&self) -> String {
        format!("{}  {}; {}", self.run, self.title, self.problem)
    }

    /// Whether it may have begun something with one of these.
    pub(super) fn may_touch(&self, services: &[ServiceId]) -> bool {
        let own = self.services.as_ref();
        own.is_none_or(|own| own.iter().any(|id| services.contains(id)))
    }

    /// What to know of it before something else is done to its services.
    pub(super) fn note(&self) -> SafeText {
        SafeText::from_text(&format!(
            "whether the run {} ended is not known ({}): {}; look on the machine what it did",
            self.run, self.title, self.problem
        ))
    }
}

/// Why none of these is gone on with.
pub(super) fn cannot_resume(all: &[UnreadRun]) -> OpsError {
    let lines: Vec<String> = all.iter().map(UnreadRun::line).collect();
    let folders: Vec<String> = all
        .iter()
        .map(|run| run.folder.display().to_string())
        .collect();
    OpsError::new(
        ErrorKind::Failed,
        "it is not known whether a run ended: its journal cannot be read",
    )
    .lines(&lines.join("\n"))
    .fix(format!(
        "`lastgood audit list` says what was to be done; once that is settled on the machine, move {} away",
        folders.join(" ")
    ))
}
