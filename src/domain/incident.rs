//! An incident: the clock, and what people and the program wrote down while it ran.
//!
//! The journal of an incident is a list of [`IncidentEvent`]s that several consoles append to. What else happened in its
//! window (checkpoints, operations, ticks) stands in the files of those and is put beside it when a report is made.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::AlertSeverity;
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
    /// Somebody said how bad it is, other than before.
    Graded {
        /// How bad.
        severity: Severity,
        /// Why; empty where nobody said.
        reason: SafeText,
    },
    /// Somebody took a role.
    Assigned {
        /// `lead`, `communications`, …
        role: SafeText,
        /// Who has it now.
        who: SafeText,
    },
    /// The lead went to somebody else, with what they have to know.
    HandedOver {
        /// Who leads from now on.
        who: SafeText,
        /// The lines of the note.
        text: Vec<SafeText>,
    },
    /// Somebody marked a line of a log, or took its mark away.
    Marked(Mark),
    /// The watch saw an alert fire or end.
    Alerted {
        /// As in `lastgood alerts`.
        key: SafeText,
        /// The service; `None` for what belongs to the machine.
        service: Option<ServiceId>,
        /// How urgent it is.
        severity: AlertSeverity,
        /// Whether it fires; else it is over.
        is_firing: bool,
        /// Since when, which may be before the incident was opened.
        since: Timestamp,
        /// One sentence with the numbers.
        text: SafeText,
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

/// A line of a log that somebody marked: what was seen, kept where the log itself may be gone by tomorrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose log it is.
    pub service: Option<ServiceId>,
    /// The line's own time; `None` for a log without times.
    pub line_at: Option<Timestamp>,
    /// The line, without secrets.
    pub line: SafeText,
    /// What was said of it; empty for a bare mark.
    pub note: SafeText,
    /// Whether it is marked; else its mark was taken away.
    pub is_marked: bool,
}

impl Mark {
    /// Whether both are of one line.
    pub fn is_of_same_line(&self, other: &Self) -> bool {
        let key = |mark: &Self| (mark.service.clone(), mark.line_at, mark.line.clone());
        key(self) == key(other)
    }
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

/// The role of whoever decides; whoever opens an incident has it first.
pub const LEAD: &str = "lead";

/// Who has a role in an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleHolder {
    /// The role.
    pub role: SafeText,
    /// Who.
    pub who: SafeText,
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
    /// Who has which role, the lead first.
    pub roles: Vec<RoleHolder>,
}

impl Incident {
    /// What the first line of a journal says of an incident; `None` where it opens none.
    pub fn new(id: &str, first: &IncidentEvent) -> Option<Self> {
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
        Some(Self {
            id: id.to_owned(),
            title: title.clone(),
            severity: *severity,
            started_at: *started_at,
            ended_at: None,
            started_by: first.by.clone(),
            ended_by: None,
            baseline: baseline.clone(),
            roles: vec![RoleHolder {
                role: SafeText::from_text(LEAD),
                who: first.by.clone(),
            }],
        })
    }

    /// Takes a later line over.
    pub fn take(&mut self, event: &IncidentEvent) {
        match &event.kind {
            IncidentEventKind::Graded { severity, .. } => self.severity = Some(*severity),
            IncidentEventKind::Assigned { role, who } => self.assign(role, who),
            IncidentEventKind::HandedOver { who, .. } => {
                self.assign(&SafeText::from_text(LEAD), who);
            }
            IncidentEventKind::Ended { .. } => {
                self.ended_at = Some(event.at);
                self.ended_by = Some(event.by.clone());
            }
            _ => {}
        }
    }

    fn assign(&mut self, role: &SafeText, who: &SafeText) {
        let who = who.clone();
        match self.roles.iter_mut().find(|held| held.role == *role) {
            Some(held) => held.who = who,
            None => self.roles.push(RoleHolder {
                role: role.clone(),
                who,
            }),
        }
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
        assert!(Incident::new("x", &note).is_none());
        let mut incident = Incident::new("x", &first).unwrap();
        let boris = SafeText::from_text("boris");
        let graded = event(IncidentEventKind::Graded {
            severity: Severity::P0,
            reason: SafeText::default(),
        });
        let assigned = event(IncidentEventKind::Assigned {
            role: SafeText::from_text("scribe"),
            who: boris.clone(),
        });
        let handed = event(IncidentEventKind::HandedOver {
            who: boris,
            text: Vec::new(),
        });
        let marked = event(IncidentEventKind::Marked(Mark {
            service: Some(ServiceId::local("shop", "backend")),
            line_at: Some(at),
            line: SafeText::from_text("ERROR no pool"),
            note: SafeText::default(),
            is_marked: true,
        }));
        for event in [&note, &graded, &assigned, &handed, &marked] {
            incident.take(event);
        }
        assert!(incident.is_open());
        assert_eq!(incident.severity, Some(Severity::P0));
        let roles: Vec<(&str, &str)> = incident
            .roles
            .iter()
            .map(|held| (held.role.as_str(), held.who.as_str()))
            .collect();
        assert_eq!(roles, [("lead", "boris"), ("scribe", "boris")]);
        incident.take(&end);
        assert!(!incident.is_open());
        // What is on the disk is read back as it was.
        for event in [first, note, graded, assigned, handed, marked, end] {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<IncidentEvent>(&text).unwrap(), event);
        }
    }
}
