//! An incident: the clock, and what people and the program wrote down while it ran.
//!
//! The journal of an incident is a list of [`IncidentEvent`]s that several consoles append to. What else happened in its
//! window (checkpoints, operations, ticks) stands in the files of those and is put beside it when a report is made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::{Release, ServiceId};
use super::verdict::Severity;

pub mod report;

/// The schema of an incident's journal; it stands in the first line.
pub const JOURNAL_SCHEMA: &str = "lastgood.incident-journal/1";

/// One line of an incident's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentEvent {
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    pub by: SafeText,
    /// What happened.
    #[serde(flatten)]
    pub kind: IncidentEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum IncidentEventKind {
    /// Somebody opened it.
    Started {
        /// [`JOURNAL_SCHEMA`].
        schema: SafeText,
        /// What it is about.
        title: SafeText,
        /// How bad it is; `None` while nobody said.
        severity: Option<Severity>,
        /// When it began, which may be before anybody noticed.
        started_at: Timestamp,
        /// The checkpoint that everything is held against; `None` where there was none.
        baseline: Option<String>,
    },
    /// Somebody's remark.
    Note {
        /// Its lines.
        text: Vec<SafeText>,
    },
    /// Which releases ran.
    Looked {
        /// Each service that was found.
        services: Vec<SeenService>,
    },
    /// The checkpoint was compared with what ran; the comparison is a file beside the journal.
    Compared {
        /// Why it was looked at.
        moment: Moment,
        /// The file's SHA-256.
        sha256: String,
    },
    /// Something that the report needs could not be had.
    Missed {
        /// What, and why.
        text: SafeText,
    },
    /// A crash had torn off a line; the next writer put this in its place.
    Repaired {
        /// What was left of it.
        lost: SafeText,
    },
    /// It is over. Nothing follows.
    Ended {
        /// SHA-256 of the report that was stored beside the journal.
        report_sha256: String,
    },
}

/// When the comparison of an incident was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// When it was opened.
    Start,
    /// While it is open, for a report.
    Now,
    /// When it ended.
    End,
}

impl Moment {
    /// The word in file names and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Now => "now",
            Self::End => "end",
        }
    }

    /// The words of a report.
    pub fn words(self) -> &'static str {
        match self {
            Self::Start => "at the start",
            Self::Now => "now",
            Self::End => "at the end",
        }
    }
}

/// A service as it ran when somebody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenService {
    /// The service.
    pub id: ServiceId,
    /// What ran.
    pub release: Release,
    /// When its oldest instance was created or started; `None` where that is not known or nothing ran.
    pub created_at: Option<Timestamp>,
}

/// An incident, without what happened in it: a row of `incident list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// The name of its folder.
    pub id: String,
    /// What it is about.
    pub title: SafeText,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over; `None` while it is open.
    pub ended_at: Option<Timestamp>,
    /// Who opened it.
    pub started_by: SafeText,
    /// Who ended it.
    pub ended_by: Option<SafeText>,
    /// The checkpoint that everything is held against.
    pub baseline: Option<String>,
}

impl Incident {
    /// What the first line of a journal, and its last, say of an incident; `None` where the first opens none.
    pub fn new(id: &str, first: &IncidentEvent, last: Option<&IncidentEvent>) -> Option<Self> {
        let IncidentEventKind::Started {
            title,
            severity,
            started_at,
            baseline,
            ..
        } = &first.kind
        else {
            return None;
        };
        let end = last.filter(|last| matches!(last.kind, IncidentEventKind::Ended { .. }));
        Some(Self {
            id: id.to_owned(),
            title: title.clone(),
            severity: *severity,
            started_at: *started_at,
            ended_at: end.map(|end| end.at),
            started_by: first.by.clone(),
            ended_by: end.map(|end| end.by.clone()),
            baseline: baseline.clone(),
        })
    }

    /// Whether the clock still runs.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// `20251227-145000-checkout-fails`: the local time and the letters and digits of the title.
pub fn id_of(stamp: &str, title: &str) -> String {
    /// A folder's name is read by people.
    const LONGEST: usize = 40;
    let mut slug = String::new();
    for c in title.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c.to_ascii_lowercase()),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() >= LONGEST {
            break;
        }
    }
    match slug.trim_end_matches('-') {
        "" => stamp.to_owned(),
        slug => format!("{stamp}-{slug}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_folder_that_people_can_read() {
        assert_eq!(
            id_of("20251227-1450", "Checkout: 25 % fail!"),
            "20251227-1450-checkout-25-fail"
        );
        assert_eq!(id_of("20251227-1450", "../../etc"), "20251227-1450-etc");
        assert_eq!(id_of("20251227-1450", "оплата"), "20251227-1450");
        assert_eq!(id_of("s", &"long ".repeat(50)).len(), 1 + 1 + 39);
    }

    #[test]
    fn only_a_start_opens_and_only_an_end_closes() {
        let at = Timestamp::UNIX_EPOCH;
        let event = |kind| IncidentEvent {
            at,
            by: SafeText::from_text("anna"),
            kind,
        };
        let first = event(IncidentEventKind::Started {
            schema: SafeText::from_text(JOURNAL_SCHEMA),
            title: SafeText::from_text("slow"),
            severity: Some(Severity::P1),
            started_at: at,
            baseline: None,
        });
        let note = event(IncidentEventKind::Note { text: Vec::new() });
        let end = event(IncidentEventKind::Ended {
            report_sha256: String::new(),
        });
        assert!(Incident::new("x", &note, None).is_none());
        assert!(Incident::new("x", &first, Some(&note)).is_some_and(|i| i.is_open()));
        assert!(Incident::new("x", &first, Some(&end)).is_some_and(|i| !i.is_open()));
        // What is on the disk is read back as it was.
        for event in [first, note, end] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<IncidentEvent>(&text).unwrap(), event);
        }
    }
}
