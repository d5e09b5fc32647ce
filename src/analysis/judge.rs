//! Keep, watch, roll back, or inconclusive: the rules, their numbers, and the sentences that say why.
//!
//! A hard gate (a probe that failed, a crash loop, an out-of-memory kill, a new panic) or a P0 limit rolls back. A
//! relative rule that is both significant and large rolls back as P1: people decide. What is significant but small
//! is watched. Missing data is never read as keep.

mod limits;
mod rules;
mod sentence;
mod wanted;

use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::signal::Limits;
use crate::domain::verdict::{Confidence, Decision, Finding, Verdict};

use super::compare::Drift;
use super::scan::{Counts, Tally};
pub use sentence::{count, milliseconds, percent};

/// Requests after the deploy that a verdict needs.
pub const REQUIRED_REQUESTS: u64 = 30;
/// Seconds after the deploy that a service without requests needs.
pub const REQUIRED_SECONDS: f64 = 60.0;
/// Requests that a rate or a percentile needs before it is held against a limit.
pub const RATED_REQUESTS: u64 = 20;

/// A fact that needs no statistics: a probe that turned, a crash loop, an out-of-memory kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HardFact {
    /// `probe`, `crash-loop`, `oom`, `down`.
    pub rule: &'static str,
    /// What happened, in a sentence.
    pub text: SafeText,
    /// What was seen.
    pub evidence: Vec<SafeText>,
}

/// An error or warning pattern of the service, tested.
#[derive(Debug, Clone)]
pub struct TestedPattern {
    /// The template.
    pub template: SafeText,
    /// Whether it is of level error or worse.
    pub is_error: bool,
    /// Whether the process gives up with it.
    pub is_fatal: bool,
    /// Whether it was not there before.
    pub is_new: bool,
    /// Occurrences.
    pub counts: BeforeAfter<u64>,
    /// In how many different seconds it occurred after.
    pub seconds_after: u64,
    /// The ratio of its rates; `None` where there was none before.
    pub ratio: Option<f64>,
    /// The 95 % interval of that ratio.
    pub interval: Option<(f64, f64)>,
    /// Whether its rise is significant among all that were looked at.
    pub is_significant: bool,
    /// Lines that show it, with their place.
    pub evidence: Vec<SafeText>,
}

/// A pattern that is written as often as before, but at another level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relevelled {
    /// The template.
    pub template: SafeText,
    /// Its level.
    pub levels: BeforeAfter<Option<Level>>,
    /// Its records.
    pub counts: BeforeAfter<u64>,
}

impl Relevelled {
    /// Its records that count as errors on one side only, because of the level.
    fn errors(&self, side: Side) -> u64 {
        let is_error = |side: Side| *self.levels.side(side) >= Some(Level::Error);
        match is_error(side) && !is_error(side.other()) {
            true => *self.counts.side(side),
            false => 0,
        }
    }
}

/// The requests of one route on both sides.
#[derive(Debug, Clone)]
pub struct RouteEvidence<'a> {
    /// Method and path.
    pub name: SafeText,
    /// Its requests.
    pub tally: BeforeAfter<Option<&'a Tally>>,
    /// The record of its slowest request after, with its place.
    pub slow_line: Option<SafeText>,
    /// The record of a request after that failed, with its place.
    pub error_line: Option<SafeText>,
}

/// Everything that is known of one service.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The service.
    pub service: &'a ServiceId,
    /// Its limits.
    pub limits: &'a Limits,
    /// Its requests; `None` where a side has no log of it.
    pub total: BeforeAfter<Option<&'a Tally>>,
    /// How much its error rate varies between quiet windows: the squared coefficient of variation.
    pub dispersion: f64,
    /// Records of each side.
    pub records: BeforeAfter<u64>,
    /// How long each side was observed; `None` where its records have no time.
    pub seconds: BeforeAfter<Option<f64>>,
    /// Whether errors are told by status; else by error records.
    pub by_status: bool,
    /// Its routes.
    pub routes: Vec<RouteEvidence<'a>>,
    /// Its error and warning patterns.
    pub patterns: Vec<&'a TestedPattern>,
    /// Its patterns whose level the deploy changed.
    pub relevelled: Vec<Relevelled>,
    /// Numbers in its patterns that drifted, the farthest first.
    pub drifts: Vec<&'a Drift>,
    /// What needs no statistics.
    pub hard: Vec<HardFact>,
    /// Probes that the checkpoint had and that could not be asked now.
    pub missing_probes: Vec<SafeText>,
    /// Other signals that could not be had.
    pub missing: Vec<SafeText>,
    /// Lines that show errors, and lines that show slow requests.
    pub error_lines: Vec<SafeText>,
    /// See `error_lines`.
    pub slow_lines: Vec<SafeText>,
}

impl Evidence<'_> {
    /// The requests of one side that failed. Where that is told by level, records that are errors on one side only
    /// because the deploy changed their level are none.
    fn errors(&self, side: Side, counts: Counts) -> u64 {
        let errors = counts.errors(self.by_status);
        if self.by_status {
            return errors;
        }
        let relevelled = self.relevelled.iter().map(|r| r.errors(side)).sum();
        errors.saturating_sub(relevelled)
    }
}

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Inform,
    Watch,
    RollBack,
}

/// A finding with what its rule asks for.
#[derive(Debug, Clone)]
struct Ruling {
    call: Call,
    /// Whether chance is ruled out at one in a thousand.
    is_sure: bool,
    finding: Finding,
}

/// A service's verdict, with the data it lacks.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Required data that is missing, in words.
    pub missing: Vec<SafeText>,
    /// Whether nothing is missing but time: the service logs no requests and was watched for less than a minute.
    pub is_only_short: bool,
    /// How many more requests a confident keep needs, where nothing but requests is missing for it.
    pub wanted_requests: Option<u64>,
}

/// Judges one service.
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let mut rulings = rules::apply(evidence);
    rulings.sort_by(|a, b| {
        b.call
            .cmp(&a.call)
            .then_with(|| b.finding.severity.cmp(&a.finding.severity))
            .then_with(|| b.is_sure.cmp(&a.is_sure))
    });
    let (missing, is_only_short) = required(evidence);
    let call = rulings.first().map_or(Call::Inform, |r| r.call);
    let is_sure = rulings.iter().any(|r| r.call == call && r.is_sure);
    let severity = rulings.iter().filter_map(|r| r.finding.severity).max();
    let decision = match call {
        Call::RollBack => Decision::RollBack,
        Call::Watch => Decision::Watch,
        Call::Inform if missing.is_empty() => Decision::Keep,
        Call::Inform => Decision::Inconclusive,
    };
    let confidence = match decision {
        Decision::RollBack | Decision::Watch if is_sure => Confidence::High,
        Decision::Keep if evidence.missing.is_empty() && rules::is_rate_bounded(evidence) => {
            Confidence::High
        }
        _ => Confidence::Low,
    };
    Judgement {
        verdict: Verdict {
            decision,
            severity,
            confidence,
            findings: rulings.into_iter().map(|r| r.finding).collect(),
        },
        missing,
        is_only_short,
        wanted_requests: match decision {
            Decision::Keep | Decision::Inconclusive => wanted::requests(evidence),
            Decision::Watch | Decision::RollBack => None,
        },
    }
}

/// The required data that is missing, and whether it is only the time of a service without requests.
fn required(evidence: &Evidence<'_>) -> (Vec<SafeText>, bool) {
    let service = evidence.service;
    let mut missing: Vec<SafeText> = evidence
        .missing_probes
        .iter()
        .map(|probe| {
            SafeText::from_text(&format!(
                "{service}: probe {probe} was not answered now, the checkpoint had it"
            ))
        })
        .collect();
    let requests = evidence.total.map(|t| t.map_or(0, |t| t.counts.requests));
    let mut is_only_short = false;
    let text = if evidence.total.after.is_none()
        || (evidence.records.after == 0 && evidence.total.before.is_some())
    {
        Some(format!("{service}: no log after the deploy"))
    } else if requests.before > 0 || requests.after > 0 {
        (requests.after < REQUIRED_REQUESTS).then(|| {
            format!(
                "{service}: {} after the deploy, a verdict needs {REQUIRED_REQUESTS}",
                count(requests.after, "request")
            )
        })
    } else {
        match evidence.seconds.after {
            None => Some(format!(
                "{service}: no requests, and no times by which to judge it"
            )),
            Some(seconds) if seconds < REQUIRED_SECONDS => {
                is_only_short = missing.is_empty();
                Some(format!(
                    "{service}: logs no requests and was watched for {seconds:.0} s, a verdict needs {REQUIRED_SECONDS:.0} s"
                ))
            }
            Some(_) => None,
        }
    };
    missing.extend(text.map(|t| SafeText::from_text(&t)));
    (missing, is_only_short)
}

/// The verdict over several services: the most urgent decides, the findings of all are kept, the worst first.
///
/// A service that logs no requests and was watched for less than a minute does not make the whole inconclusive
/// where another service has its data: it lowers the confidence.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    let mut counted: Vec<&Judgement> = judgements.iter().filter(|j| !j.is_only_short).collect();
    if counted.is_empty() {
        counted = judgements.iter().collect();
    }
    // A finding of a service that was not watched long enough counts all the same.
    counted.extend(
        judgements.iter().filter(|j| {
            j.is_only_short && j.verdict.decision.urgency() >= Decision::Watch.urgency()
        }),
    );
    let decision = counted
        .iter()
        .map(|j| j.verdict.decision)
        .max_by_key(|d| d.urgency())
        .unwrap_or(Decision::Inconclusive);
    let same = || judgements.iter().filter(|j| j.verdict.decision == decision);
    let confidence = match decision {
        Decision::RollBack | Decision::Watch => same().map(|j| j.verdict.confidence).max(),
        _ => judgements.iter().map(|j| j.verdict.confidence).min(),
    };
    let mut findings: Vec<(u8, Finding)> = judgements
        .iter()
        .flat_map(|j| {
            let urgency = j.verdict.decision.urgency();
            j.verdict.findings.iter().map(move |f| (urgency, f.clone()))
        })
        .collect();
    findings.sort_by(|a, b| b.1.severity.cmp(&a.1.severity).then(b.0.cmp(&a.0)));
    Verdict {
        decision,
        severity: same().filter_map(|j| j.verdict.severity).max().or_else(|| {
            judgements
                .iter()
                .filter(|j| j.verdict.decision.urgency() >= Decision::Watch.urgency())
                .filter_map(|j| j.verdict.severity)
                .max()
        }),
        confidence: confidence.unwrap_or(Confidence::Low),
        findings: findings.into_iter().map(|(_, f)| f).collect(),
    }
}

#[cfg(test)]
mod tests;
