//! How long requests take, and which take longest.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::compare::show;
use super::errors::{Joined, read_all};
use super::input::{Input, ReadOptions};
use super::{Context, OpsError};
use crate::analysis::latency::Histogram;
use crate::domain::comparison::LatencySummary;
use crate::domain::safe_text::SafeText;

/// Durations in numbers.
#[derive(Debug, Clone, Serialize)]
pub struct SlowReport {
    /// Requests over this are slow.
    pub threshold_ms: f64,
    /// Requests that carry a duration.
    pub count: u64,
    /// Those over the threshold.
    pub over_threshold: u64,
    /// Durations of all.
    pub latency_ms: LatencySummary,
    /// By endpoint, the largest p95 first.
    pub endpoints: Vec<Endpoint>,
    /// The slowest requests, the slowest first.
    pub slowest: Vec<Slowest>,
    /// What could not be read, in words.
    pub missing: Vec<SafeText>,
}

/// Durations of one endpoint, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Endpoint {
    /// Method and route.
    pub endpoint: SafeText,
    /// Its requests with a duration.
    pub count: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their 95th percentile.
    pub p95: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
}

/// One slow request.
#[derive(Debug, Clone, Serialize)]
pub struct Slowest {
    /// How long it took.
    pub ms: f64,
    /// Method and route.
    pub endpoint: SafeText,
    /// Its record, redacted.
    pub line: SafeText,
}

/// Reads the inputs and measures their requests.
///
/// # Errors
/// An input cannot be read.
pub async fn slow(
    ctx: &Context,
    inputs: &[Input],
    threshold_ms: f64,
    cancel: &CancellationToken,
) -> Result<SlowReport, OpsError> {
    let options = ReadOptions {
        slow_over_ms: Some(threshold_ms),
        ..ReadOptions::default()
    };
    let Joined { side, redactor } = read_all(ctx, inputs, options, cancel).await?;
    let mut all = Histogram::default();
    let mut routes: BTreeMap<&str, Histogram> = BTreeMap::new();
    for service in &side.logs.services {
        all.merge(&service.scan.total.latency);
        for route in service.scan.routes.values() {
            if route.tally.latency.count() > 0 {
                routes
                    .entry(&route.name)
                    .or_insert_with(|| Histogram::with_bound(4096))
                    .merge(&route.tally.latency);
            }
        }
    }
    let mut endpoints: Vec<Endpoint> = routes
        .into_iter()
        .map(|(name, latency)| {
            let summary = latency.summary();
            Endpoint {
                endpoint: show(&redactor, name.as_bytes()),
                count: summary.count,
                mean: summary.mean,
                p95: summary.p95,
                max: summary.max,
            }
        })
        .collect();
    endpoints.sort_by(|a, b| b.p95.unwrap_or(0.0).total_cmp(&a.p95.unwrap_or(0.0)));
    let mut slowest: Vec<_> = side.scans.iter().flat_map(|s| &s.slowest).collect();
    slowest.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    Ok(SlowReport {
        threshold_ms,
        count: all.count(),
        over_threshold: side.scans.iter().map(|s| s.over_threshold).sum(),
        latency_ms: all.summary(),
        endpoints,
        slowest: slowest
            .into_iter()
            .take(10)
            .map(|s| Slowest {
                ms: s.ms,
                endpoint: show(&redactor, s.endpoint.as_bytes()),
                line: show(&redactor, s.line.as_bytes()),
            })
            .collect(),
        missing: side.missing,
    })
}
