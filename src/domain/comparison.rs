//! The result of comparing two sides: what both panes and JSON show.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::before_after::BeforeAfter;
use super::change::Change;
use super::health::HealthState;
use super::log::Level;
use super::safe_text::SafeText;
use super::service::ServiceId;
use super::side_by_side::SideBySide;
use super::signal::{Grade, SignalName};
use super::time_buckets::TimeBuckets;
use super::verdict::{Decision, Verdict};

/// Durations of requests, in milliseconds. Everything but the count is `None` without a sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    /// How many requests carried a duration.
    pub count: u64,
    /// The arithmetic mean.
    pub mean: Option<f64>,
    /// The median.
    pub p50: Option<f64>,
    /// The 95th percentile.
    pub p95: Option<f64>,
    /// The 99th percentile; under 100 samples it is the largest or nearly so.
    pub p99: Option<f64>,
    /// The largest.
    pub max: Option<f64>,
}

/// How many records of each level; a record without a level counts in `none`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelCounts {
    /// Trace records.
    pub trace: u64,
    /// Debug records.
    pub debug: u64,
    /// Info records.
    pub info: u64,
    /// Warnings.
    pub warn: u64,
    /// Errors.
    pub error: u64,
    /// Fatal records.
    pub fatal: u64,
    /// Records whose level is not known.
    pub none: u64,
}

impl LevelCounts {
    /// Counts one record.
    pub fn add(&mut self, level: Option<Level>) {
        *match level {
            Some(Level::Trace) => &mut self.trace,
            Some(Level::Debug) => &mut self.debug,
            Some(Level::Info) => &mut self.info,
            Some(Level::Warn) => &mut self.warn,
            Some(Level::Error) => &mut self.error,
            Some(Level::Fatal) => &mut self.fatal,
            None => &mut self.none,
        } += 1;
    }
}

/// One side in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideSummary {
    /// What was read: a path, `checkpoint:…`, `service:…`.
    pub input: SafeText,
    /// Records, a stack trace counting as one.
    pub records: u64,
    /// The time of the first record that has one.
    pub from: Option<Timestamp>,
    /// The time of the last record that has one.
    pub to: Option<Timestamp>,
    /// Requests, health-check routes left out.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Errors over requests; `None` without requests.
    pub error_rate: Option<f64>,
    /// Durations of the requests.
    pub latency_ms: LatencySummary,
    /// Records by level.
    pub levels: LevelCounts,
}

/// How a pattern's rate moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatternChange {
    /// Not there before.
    New,
    /// Not there after, though the time or the traffic would have shown it.
    Gone,
    /// Significantly more often.
    More,
    /// Significantly less often.
    Less,
    /// No significant difference.
    Same,
}

impl PatternChange {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::More => "more",
            Self::Less => "less",
            Self::Same => "same",
        }
    }

    /// The mark in the compare pane.
    pub fn mark(self) -> &'static str {
        match self {
            Self::New => "+",
            Self::Gone => "−",
            Self::More => "▲",
            Self::Less => "▼",
            Self::Same => "=",
        }
    }
}

/// What a pattern was before the deploy worded it otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasPattern {
    /// The text, with `<*>` for what varies.
    pub template: SafeText,
    /// The level of its records.
    pub level: Option<Level>,
}

/// One log pattern on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatternRow {
    /// Stable for the same template across runs and machines.
    pub id: String,
    /// The text with `<*>` for what varies.
    pub template: SafeText,
    /// The level of its records.
    pub level: Option<Level>,
    /// Its text and its level before, where the deploy changed either; its counts before are of that.
    #[serde(default)]
    pub was: Option<WasPattern>,
    /// How its rate moved.
    pub change: PatternChange,
    /// Occurrences before.
    pub before: u64,
    /// Occurrences after.
    pub after: u64,
    /// The ratio of the rates, after over before; `None` where before is 0.
    pub ratio: Option<f64>,
    /// The services it was seen in.
    pub services: Vec<ServiceId>,
    /// When it was first seen on the after side, or on the before side if it is gone.
    pub first_seen: Option<Timestamp>,
    /// One record of it, redacted; of the after side where there is one.
    pub example: SafeText,
    /// One record of each side, for the side-by-side view.
    pub examples: BeforeAfter<Option<SafeText>>,
    /// The 95th percentile of the durations in its records, in milliseconds.
    pub p95_ms: BeforeAfter<Option<f64>>,
    /// When it occurred on each side; `None` where its records have no time.
    pub times: BeforeAfter<Option<TimeBuckets>>,
}

/// A percentile that moved by this factor is another one …
const OTHER_LATENCY: f64 = 1.5;
/// … where each side has so many records.
const LATENCY_RECORDS: u64 = 20;

impl PatternRow {
    /// Whether its records take clearly longer, or shorter, than before.
    pub fn has_other_latency(&self) -> bool {
        let (BeforeAfter { before, after }, enough) = (self.p95_ms, LATENCY_RECORDS);
        match (before, after) {
            (Some(b), Some(a)) if self.before >= enough && self.after >= enough && b > 0.0 => {
                !(1.0 / OTHER_LATENCY..OTHER_LATENCY).contains(&(a / b))
            }
            _ => false,
        }
    }

    /// Whether its rate or its latency moved, or its text changed.
    pub fn is_changed(&self) -> bool {
        self.change != PatternChange::Same || self.has_other_latency() || self.was.is_some()
    }

    /// The mark of its row: that of its change, `~` where only the latency or the text is another.
    pub fn mark(&self) -> &'static str {
        if self.change == PatternChange::Same && self.is_changed() {
            "~"
        } else {
            self.change.mark()
        }
    }
}

/// One signal on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalChange {
    /// Which signal.
    pub signal: SignalName,
    /// The service.
    pub service: ServiceId,
    /// The route; `None` for the whole service.
    pub route: Option<SafeText>,
    /// The value before.
    pub before: Option<f64>,
    /// The value after.
    pub after: Option<f64>,
    /// The unit of both.
    pub unit: SafeText,
    /// The grade of the value after.
    pub grade: Grade,
}

/// The health of a service on both sides; `None` where it was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    /// The service.
    pub service: ServiceId,
    /// Before the deploy.
    pub before: Option<HealthState>,
    /// After the deploy.
    pub after: Option<HealthState>,
}

/// The verdict of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceVerdict {
    /// The service.
    pub id: ServiceId,
    /// Its verdict.
    pub verdict: Verdict,
    /// How many more requests a confident keep needs, where nothing but requests is missing for it.
    #[serde(default)]
    pub wanted_requests: Option<u64>,
}

impl ServiceVerdict {
    /// What is still missing, in words; `with_name` says of which service.
    fn wanted(&self, with_name: bool) -> Option<String> {
        let requests = self.wanted_requests?;
        let plural = if requests == 1 { "" } else { "s" };
        let name = if with_name {
            format!("{}: ", self.id.name)
        } else {
            String::new()
        };
        Some(format!(
            "{name}{requests} more request{plural} for a confident keep"
        ))
    }
}

/// Everything the comparison of two sides found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The side before the deploy.
    pub before: SideSummary,
    /// The side after the deploy.
    pub after: SideSummary,
    /// What the deploy changed.
    pub changes: Vec<Change>,
    /// Health on both sides.
    pub health: Vec<HealthChange>,
    /// Patterns, the most harmful first.
    pub patterns: Vec<PatternRow>,
    /// Signals on both sides.
    pub signals: Vec<SignalChange>,
    /// The verdict of each service.
    pub services: Vec<ServiceVerdict>,
    /// The verdict over all: the most urgent of the services.
    pub verdict: Verdict,
    /// What could not be had, in words.
    pub missing: Vec<SafeText>,
    /// Both sides beside each other, for people: no part of JSON.
    #[serde(skip)]
    pub side_by_side: SideBySide,
}

impl Comparison {
    /// What is still missing for a confident keep, in words; nothing where it is no keep anyway.
    pub fn wanted(&self) -> Vec<String> {
        let is_open = matches!(
            self.verdict.decision,
            Decision::Keep | Decision::Inconclusive
        );
        let services = self.services.iter().filter(|_| is_open);
        let with_name = self.services.len() > 1;
        services.filter_map(|s| s.wanted(with_name)).collect()
    }
}
