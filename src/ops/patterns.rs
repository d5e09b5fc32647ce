//! The log patterns of some logs, and which pattern each record belongs to.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::compare::show;
use super::errors::{Joined, example_of, patterns_of, read_all, summary_of};
use super::input::{Input, ReadOptions};
use super::{Context, OpsError};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;

/// The patterns.
#[derive(Debug, Clone, Serialize)]
pub struct PatternReport {
    /// Records.
    pub records: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that failed; records of level error and worse where none carries a status.
    pub errors: u64,
    /// The patterns, the most frequent first.
    pub patterns: Vec<PatternCount>,
    /// What could not be read, in words.
    pub missing: Vec<SafeText>,
    /// With `assign`: the number of each record's first line and its pattern's place in `patterns`.
    #[serde(skip)]
    pub assigned: Vec<(u64, usize)>,
}

/// One pattern.
#[derive(Debug, Clone, Serialize)]
pub struct PatternCount {
    /// Stable for the same template.
    pub id: String,
    /// The text with `<*>` for what varies.
    pub template: SafeText,
    /// Its level.
    pub level: Option<Level>,
    /// Occurrences.
    pub count: u64,
    /// One record of it, redacted.
    pub example: SafeText,
}

/// Reads the inputs and finds their patterns.
///
/// # Errors
/// An input cannot be read.
pub async fn patterns(
    ctx: &Context,
    inputs: &[Input],
    assign: bool,
    cancel: &CancellationToken,
) -> Result<PatternReport, OpsError> {
    let options = ReadOptions {
        assign,
        ..ReadOptions::default()
    };
    let Joined { side, redactor } = read_all(ctx, inputs, options, cancel).await?;
    let found = patterns_of(&side.logs);
    let summary = summary_of(&side.logs);
    let mut assigned = Vec::new();
    // The services of the scans stand one behind the other, as they were read.
    let mut first = 0;
    for scan in &side.scans {
        for (line, service, shape) in &scan.assigned {
            let source = first + *service as usize;
            if let Some(pattern) = found.of_shape.get(&(source, *shape)) {
                assigned.push((*line, *pattern));
            }
        }
        first += scan.service_count;
    }
    Ok(PatternReport {
        records: summary.records,
        requests: summary.requests,
        errors: summary.errors,
        patterns: found
            .patterns
            .iter()
            .map(|pattern| PatternCount {
                id: pattern.id.clone(),
                template: show(&redactor, pattern.template.as_bytes()),
                level: pattern.level,
                count: pattern.count(),
                example: example_of(pattern, &redactor),
            })
            .collect(),
        missing: side.missing,
        assigned,
    })
}
