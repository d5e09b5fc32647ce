//! The error rate and the error patterns of some logs.

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::compare::show;
use super::input::{self, Input, ReadOptions, ReadSide};
use super::{Context, OpsError, secrets};
use crate::analysis::compare::{SideLogs, summarise};
use crate::analysis::pattern::group::{self, Pattern, Patterns};
use crate::analysis::redact::Redactor;
use crate::analysis::scan::ServiceScan;
use crate::domain::comparison::{LatencySummary, LevelCounts, SideSummary};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;

/// Errors in numbers and patterns.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// Records.
    pub records: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Errors over requests; `None` without requests.
    pub error_rate: Option<f64>,
    /// Durations of the requests.
    pub latency_ms: LatencySummary,
    /// Records by level.
    pub levels: LevelCounts,
    /// Error patterns, the most frequent first.
    pub patterns: Vec<ErrorPattern>,
    /// What could not be read, in words.
    pub missing: Vec<SafeText>,
}

/// One error pattern.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorPattern {
    /// Stable for the same template.
    pub id: String,
    /// The text with `<*>` for what varies.
    pub template: SafeText,
    /// Its level; `None` for a request that failed without one.
    pub level: Option<Level>,
    /// Occurrences.
    pub count: u64,
    /// The first, where records have times.
    pub first_seen: Option<Timestamp>,
    /// The last.
    pub last_seen: Option<Timestamp>,
    /// One record of it, redacted.
    pub example: SafeText,
}

/// Several inputs as one side, in their order.
pub(super) struct Joined {
    pub side: ReadSide,
    pub redactor: Redactor,
}

/// Inputs that are read at the same time: what each of them needs of memory is bounded, their sum by this.
const AT_ONCE: usize = 2;

/// Reads all inputs.
pub(super) async fn read_all(
    ctx: &Context,
    inputs: &[Input],
    options: ReadOptions,
    cancel: &CancellationToken,
) -> Result<Joined, OpsError> {
    let mut joined: Option<ReadSide> = None;
    for some in inputs.chunks(AT_ONCE) {
        let reading = some
            .iter()
            .map(|input| input::read(ctx, input, None, None, options, cancel));
        for side in futures_util::future::try_join_all(reading).await? {
            match &mut joined {
                None => joined = Some(side),
                Some(all) => {
                    all.logs.services.extend(side.logs.services);
                    all.scans.extend(side.scans);
                    all.live.extend(side.live);
                    all.missing.extend(side.missing);
                }
            }
        }
    }
    let side =
        joined.ok_or_else(|| OpsError::new(super::ErrorKind::Usage, "no input was named"))?;
    let redactor = secrets::redactor(ctx, &side.live).await?;
    Ok(Joined { side, redactor })
}

/// The patterns of everything that was read.
pub(super) fn patterns_of(logs: &SideLogs) -> Patterns {
    let scans: Vec<&ServiceScan> = logs.services.iter().map(|s| &s.scan).collect();
    group::group(&scans)
}

/// Counts and durations of everything that was read.
pub(super) fn summary_of(logs: &SideLogs) -> SideSummary {
    let by_status = |id: &_| {
        let mut services = logs.services.iter();
        services.any(|s| &s.id == id && s.scan.total.counts.with_status > 0)
    };
    summarise(logs, &by_status)
}

/// One record of a pattern, safe to show.
pub(super) fn example_of(pattern: &Pattern, redactor: &Redactor) -> SafeText {
    pattern
        .parts
        .iter()
        .find_map(|p| p.examples.first())
        .map(|e| show(redactor, &e.text))
        .unwrap_or_default()
}

/// Reads the inputs and counts their errors.
///
/// # Errors
/// An input cannot be read.
pub async fn errors(
    ctx: &Context,
    inputs: &[Input],
    cancel: &CancellationToken,
) -> Result<ErrorReport, OpsError> {
    let Joined { side, redactor } = read_all(ctx, inputs, ReadOptions::default(), cancel).await?;
    let summary = summary_of(&side.logs);
    let instant = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let patterns = patterns_of(&side.logs)
        .patterns
        .iter()
        .filter(|p| p.level >= Some(Level::Error) || is_failed_request(&p.template))
        .map(|pattern| ErrorPattern {
            id: pattern.id.clone(),
            template: show(&redactor, pattern.template.as_bytes()),
            level: pattern.level,
            count: pattern.count(),
            first_seen: instant(
                pattern
                    .parts
                    .iter()
                    .filter_map(|p| p.seen)
                    .map(|s| s.0)
                    .min(),
            ),
            last_seen: instant(
                pattern
                    .parts
                    .iter()
                    .filter_map(|p| p.seen)
                    .map(|s| s.1)
                    .max(),
            ),
            example: example_of(pattern, &redactor),
        })
        .collect();
    Ok(ErrorReport {
        records: summary.records,
        requests: summary.requests,
        errors: summary.errors,
        error_rate: summary.error_rate,
        latency_ms: summary.latency_ms,
        levels: summary.levels,
        patterns,
        missing: side.missing,
    })
}

/// Masks keep statuses, so a failed request has a pattern of its own.
fn is_failed_request(template: &str) -> bool {
    crate::analysis::compare::has_failed_status(template)
}
