//! Keep or roll back, and why.

use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;

/// What to do with the deploy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing speaks against it.
    Keep,
    /// Something is worse; look again soon.
    Watch,
    /// Go back.
    RollBack,
    /// The data does not allow a decision. Never read as keep.
    Inconclusive,
}

impl Decision {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Watch => "watch",
            Self::RollBack => "roll_back",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// The words on screen.
    pub fn words(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Watch => "watch",
            Self::RollBack => "ROLL BACK",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// How urgent it is to look at it: roll back, watch, inconclusive, keep.
    pub fn urgency(self) -> u8 {
        match self {
            Self::Keep => 0,
            Self::Inconclusive => 1,
            Self::Watch => 2,
            Self::RollBack => 3,
        }
    }
}

/// How bad it is. P0 is worse than P1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// People decide.
    P1,
    /// Roll back now.
    P0,
}

impl Severity {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P1 => "P1",
            Self::P0 => "P0",
        }
    }
}

/// How much the data carries the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A small sample: the same data could come from a service that is worse.
    Low,
    /// Enough data.
    High,
}

/// One reason of a verdict, with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which rule fired: `error-rate`, `new-error-pattern`, `latency`, `limit-latency_p95`, `crash-loop`, `probe`, ….
    pub rule: SafeText,
    /// How bad; `None` for one that informs only (`already over 1 s before`).
    pub severity: Option<Severity>,
    /// The service it was found in.
    pub service: ServiceId,
    /// The route, where it holds for one only.
    pub route: Option<SafeText>,
    /// One sentence for people, with the numbers.
    pub text: SafeText,
    /// The value before, in the rule's unit.
    pub before: Option<f64>,
    /// The value after.
    pub after: Option<f64>,
    /// The 95 % interval of the ratio or the value after, lower and upper.
    pub interval: Option<(f64, f64)>,
    /// Lines that show it, with their place.
    pub evidence: Vec<SafeText>,
}

/// Keep, watch, roll back or inconclusive, with the findings that say why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What to do.
    pub decision: Decision,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// How much the data carries it.
    pub confidence: Confidence,
    /// The reasons, the worst first.
    pub findings: Vec<Finding>,
}
