//! What is said about a run: the lines of its journal, what people want, what probes answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::runbook::probe::Probe;
use crate::domain::safe_text::SafeText;

/// One line of a run's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// When.
    pub at: Timestamp,
    /// Who: a user name, or `auto` for a probe.
    pub by: SafeText,
    /// The item's number; absent for what concerns the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    /// The item's revision after this event; 0 for what concerns the whole run.
    #[serde(default)]
    pub revision: u64,
    /// What.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEventKind {
    /// The first line of every journal. It carries the runbook itself, so that a run stays what it was when
    /// somebody edits the file meanwhile.
    Started {
        /// `lastgood.runbook-run/1`.
        schema: SafeText,
        /// The runbook's name.
        name: SafeText,
        /// The instant that due times count from.
        t_at: Timestamp,
        /// The Markdown, byte for byte, with the values of its variables.
        source: String,
    },
    /// Somebody is on it.
    Claimed,
    /// The first of the two people that an item needs says that it is done, or may be done.
    Agreed {
        /// What they saw, if they said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<SafeText>,
    },
    /// Done, by a person; of an item for two people by the second.
    Ticked {
        /// What they saw, if they said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<SafeText>,
    },
    /// It did not work.
    Failed {
        /// What was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<SafeText>,
    },
    /// Left out on purpose.
    Skipped {
        /// Why; never empty.
        reason: SafeText,
    },
    /// Claim, tick, fail or skip taken back: the item is open again.
    Undone,
    /// A remark.
    Commented {
        /// The remark.
        text: SafeText,
    },
    /// A probe was asked.
    Probed {
        /// All of the item's probes together.
        outcome: ProbeOutcome,
        /// What was seen.
        evidence: SafeText,
    },
    /// The line before this one was torn by a crash and was cut off.
    Repaired {
        /// What was lost, as far as it was written.
        lost: SafeText,
    },
}

/// What came of asking a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeOutcome {
    /// It holds.
    Passed,
    /// It was answered, and does not hold.
    Failed,
    /// It could not be asked, or there was too little data: never a tick.
    Unknown,
}

/// What a person does to an item.
#[derive(Debug, Clone, PartialEq)]
pub enum ItemAction {
    /// Say that you are on it.
    Claim,
    /// Done.
    Tick {
        /// What was seen.
        evidence: Option<SafeText>,
    },
    /// It did not work.
    Fail {
        /// What was seen.
        reason: Option<SafeText>,
    },
    /// Leave it out.
    Skip {
        /// Why.
        reason: SafeText,
    },
    /// Take back what was said last.
    Undo,
    /// Remark.
    Comment {
        /// The remark.
        text: SafeText,
    },
}

/// Why an event does not fit a run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// No such item.
    #[error("the runbook has {count} items, and no item {number}")]
    NoItem {
        /// What was named.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// Somebody else changed the item first.
    #[error("item {number} was changed meanwhile: {now}")]
    Conflict {
        /// The item.
        number: usize,
        /// Where it stands now, in words: `done by anna at …`.
        now: String,
    },
    /// The item is not where this makes sense.
    #[error("item {number} cannot be {what}: it is {now}")]
    NotNow {
        /// The item.
        number: usize,
        /// What was wanted: `ticked`.
        what: &'static str,
        /// Where it stands, in words, and what helps.
        now: String,
    },
    /// An item for two people has the yes of one.
    #[error("item {number} needs two different people: {now}")]
    SecondPerson {
        /// The item.
        number: usize,
        /// Whose yes there is, and whose is missing.
        now: String,
    },
    /// A skip needs a reason, a comment a text.
    #[error("{0}")]
    Empty(&'static str),
    /// A second start, or an event before it.
    #[error("{0}")]
    Order(&'static str),
}

/// An item whose probes are to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct DueProbe {
    /// The item's number.
    pub item: usize,
    /// Its revision when the question was raised.
    pub revision: u64,
    /// All of its probes; every one has to pass.
    pub probes: Vec<Probe>,
}

/// The answer to one probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    /// What was asked.
    pub probe: Probe,
    /// What came of it.
    pub outcome: ProbeOutcome,
    /// What was seen: `200 in 12 ms`, `25 %`, `connection refused`.
    pub detail: SafeText,
}

impl ProbeAnswer {
    /// Several answers as one: one failure fails, one unknown leaves it unknown. With no answer at all: unknown.
    pub fn sum(answers: &[Self]) -> (ProbeOutcome, SafeText) {
        let outcome = if answers.iter().any(|a| a.outcome == ProbeOutcome::Failed) {
            ProbeOutcome::Failed
        } else if answers.is_empty() || answers.iter().any(|a| a.outcome == ProbeOutcome::Unknown) {
            ProbeOutcome::Unknown
        } else {
            ProbeOutcome::Passed
        };
        let texts: Vec<String> = answers
            .iter()
            .map(|a| format!("{}: {}", a.probe, a.detail))
            .collect();
        (outcome, SafeText::from_text(&texts.join("; ")))
    }
}
