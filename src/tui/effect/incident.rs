//! The tasks around an incident: its journal, its report, what would bite next, and whether the record is whole.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Ended, TaskKey, blocking};
use crate::domain::incident::{Mark, Moment};
use crate::domain::safe_text::SafeText;
use crate::domain::verdict::Severity;
use crate::ops::incident::{self, StartIncident};
use crate::ops::{self, Context, audit, report};
use crate::store::ring::Key;
use crate::tui::msg::Msg;

/// What is done to the open incident, or read of it.
#[derive(Debug, Clone, PartialEq)]
pub enum IncidentWork {
    /// Read it.
    Read,
    /// Open one of that title.
    Start(String),
    /// Write a remark.
    Note(String),
    /// Write down that a line of a log is marked, or is not any more.
    Mark(Key, Mark),
    /// Say how bad it is, and why.
    Grade(Severity, String),
    /// Give a role to somebody.
    Assign {
        /// The role.
        role: String,
        /// Who.
        who: String,
    },
    /// Give the lead to somebody.
    HandOver {
        /// Who.
        who: String,
        /// What they have to know.
        text: String,
    },
    /// Make its report.
    Report,
    /// Stop the clock, after a last remark.
    End(String),
}

impl IncidentWork {
    /// Lines are marked faster than they are written down, and none may be lost.
    pub(super) fn key(&self) -> TaskKey {
        match self {
            Self::Mark(key, _) => TaskKey::Mark(*key),
            _ => TaskKey::Incident,
        }
    }
}

/// Does it; what is there then is read by the next [`IncidentWork::Read`].
pub(super) async fn run(ctx: Arc<Context>, work: IncidentWork) -> Ended {
    let said = match work {
        IncidentWork::Read => {
            let brief = blocking(move || incident::brief(&ctx)).await?;
            return Ok(Some(Msg::Incident(brief.map(Box::new))));
        }
        IncidentWork::Report => {
            let found = incident::report(&ctx, None).await?;
            let lines = report::to_markdown(&found, &TimeZone::system());
            return Ok(Some(Msg::IncidentReport(lines)));
        }
        IncidentWork::Start(title) => {
            let what = StartIncident {
                title,
                ..StartIncident::default()
            };
            let opened = incident::start(&ctx, &what).await?;
            incident::observe(&ctx, &opened, Moment::Start).await?;
            format!("The incident {} is open, the clock runs.", opened.id)
        }
        IncidentWork::Note(text) => {
            incident::note(&ctx, None, &text).await?;
            "Noted.".to_owned()
        }
        IncidentWork::Mark(_, mark) => {
            let is_marked = mark.is_marked;
            incident::mark(&ctx, None, mark).await?;
            match is_marked {
                true => "Marked, and written into the incident.".to_owned(),
                false => "The mark is taken back in the incident too.".to_owned(),
            }
        }
        IncidentWork::Grade(severity, reason) => {
            incident::grade(&ctx, None, severity, &reason).await?;
            format!("It is {} now.", severity.as_str())
        }
        IncidentWork::Assign { role, who } => {
            incident::assign(&ctx, None, &role, &who).await?;
            format!("{role} is {who} now.")
        }
        IncidentWork::HandOver { who, text } => {
            incident::hand_over(&ctx, None, &who, &text).await?;
            format!("{who} leads now.")
        }
        IncidentWork::End(text) => {
            incident::note(&ctx, None, &text).await?;
            let (ended, _) = incident::end(&ctx, None).await?;
            format!(
                "The incident is over; the report: lastgood incident report {}",
                ended.id
            )
        }
    };
    Ok(Some(Msg::IncidentSaid(SafeText::from_text(&said))))
}

/// Looks at every service and the machines.
pub(super) async fn preflight(ctx: Arc<Context>) -> Ended {
    Ok(Some(Msg::Preflight(
        ops::preflight::check(&ctx, &[]).await?,
    )))
}

/// Walks the hash chain of the audit log.
pub(super) async fn verify_audit(ctx: Arc<Context>, anchor: Option<String>) -> Ended {
    let has_anchor = anchor.is_some();
    let head = blocking(move || audit::verify(&ctx, anchor.as_deref())).await?;
    let anchored = match has_anchor {
        true => ", and that head is among them",
        false => "",
    };
    let text = format!(
        "{} audit records agree with each other{anchored}; head {}",
        head.records, head.hash
    );
    Ok(Some(Msg::AuditVerified(SafeText::from_text(&text))))
}
