//! Signals that a user defines: a number in the lines of a service, the answer of a Prometheus server, or what a command
//! prints; and how a service's golden signals are asked for where a Prometheus server knows them better than its log.
//!
//! The configuration's text belongs to `store::config`; these are the nouns it is read into.

use std::time::Duration;

use super::safe_text::SafeText;
use super::signal::{SignalName, Threshold};
use super::sink::SecretSource;

/// The unit in which Prometheus has durations: seconds, where a latency here is in milliseconds.
const MS_PER_SECOND: f64 = 1000.0;

/// A signal of the user's own, `[signals.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnSignal {
    /// Its name. One of the golden signals' names replaces what would be measured otherwise.
    pub name: SignalName,
    /// Where its value comes from.
    pub source: OwnSource,
    /// The service that it belongs to, as a person names it; `None` for the machine that lastgood runs on.
    pub service: Option<String>,
    /// The unit of its values, as people write it; that of the golden signal where it is one.
    pub unit: SafeText,
    /// Its limits; those of the service where it is a golden signal and nothing is said.
    pub limits: Option<Threshold>,
    /// No answer by then is a failure.
    pub timeout: Duration,
    /// A value that is older is unknown.
    pub max_age: Duration,
}

/// Where the value of an own signal comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnSource {
    /// A number that a regular expression captures in the lines of a service.
    Capture {
        /// The expression: its group `value`, or its first one.
        regex: String,
        /// Which of the numbers counts.
        pick: Pick,
    },
    /// A query that gives one number.
    Promql(String),
    /// A command whose standard output is one number, run by `sh -c` where the service runs.
    Command(String),
}

/// What becomes of the numbers that an expression captured in a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The newest.
    #[default]
    Last,
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// All of them together.
    Sum,
    /// The nearest-rank 95th percentile.
    P95,
    /// How many lines match; the expression needs no group.
    Count,
}

/// A Prometheus server, `[prometheus]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSettings {
    /// Its address, `http://localhost:9090`; a path in front of `/api` is kept.
    pub url: String,
    /// A bearer token, where it wants one.
    pub token: Option<SecretSource>,
    /// No answer by then is a failure.
    pub timeout: Duration,
}

/// How a Prometheus server is asked for the golden signals of a service, `metrics = { … }`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricSettings {
    /// The histogram of request durations in seconds, `http_request_duration_seconds`.
    pub histogram: Option<String>,
    /// What picks the service's series, `job="shop"`.
    pub matchers: String,
    /// The label that holds the status.
    pub status: String,
    /// Queries of their own, by signal. A latency is in seconds, as Prometheus has it.
    pub queries: Vec<(SignalName, String)>,
}

impl MetricSettings {
    /// The queries over a window of so many seconds: those that were written down, and those that a histogram gives.
    pub fn queries(&self, seconds: u64) -> Vec<(SignalName, String)> {
        let mut found = self.queries.clone();
        let Some(name) = &self.histogram else {
            return found;
        };
        let rate = |suffix: &str, more: &str| {
            let labels: Vec<&str> = [self.matchers.as_str(), more]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            format!("rate({name}_{suffix}{{{}}}[{seconds}s])", labels.join(","))
        };
        let total = format!("sum({})", rate("count", ""));
        let failed = rate("count", &format!("{}=~\"5..\"", self.status));
        let made = [
            (
                SignalName::LatencyP95,
                format!(
                    "histogram_quantile(0.95, sum by (le) ({}))",
                    rate("bucket", "")
                ),
            ),
            // A series of failures begins with the first failure: until then there is none, and that is 0.
            (
                SignalName::ErrorRate,
                format!("(sum({failed}) or 0 * {total}) / {total}"),
            ),
            (SignalName::Traffic, total),
        ];
        for (signal, query) in made {
            if !found.iter().any(|(known, _)| *known == signal) {
                found.push((signal, query));
            }
        }
        found
    }
}

/// A value as Prometheus has it, in the unit that the signal has here.
pub fn from_base_unit(signal: &SignalName, value: f64) -> f64 {
    match signal {
        SignalName::LatencyP95 => value * MS_PER_SECOND,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_gives_three_queries_and_a_written_one_wins() {
        let mut metrics = MetricSettings {
            histogram: Some("http_request_duration_seconds".into()),
            matchers: "job=\"shop\"".into(),
            status: "status".into(),
            queries: Vec::new(),
        };
        let of = |metrics: &MetricSettings, signal: SignalName| {
            let all = metrics.queries(300);
            assert_eq!(all.len(), 3);
            all.into_iter().find(|(s, _)| *s == signal).unwrap().1
        };
        assert_eq!(
            of(&metrics, SignalName::LatencyP95),
            "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{job=\"shop\"}[300s])))"
        );
        assert_eq!(
            of(&metrics, SignalName::ErrorRate),
            "(sum(rate(http_request_duration_seconds_count{job=\"shop\",status=~\"5..\"}[300s])) or 0 * sum(rate(http_request_duration_seconds_count{job=\"shop\"}[300s]))) / sum(rate(http_request_duration_seconds_count{job=\"shop\"}[300s]))"
        );
        metrics.matchers.clear();
        assert_eq!(
            of(&metrics, SignalName::Traffic),
            "sum(rate(http_request_duration_seconds_count{}[300s]))"
        );
        metrics.queries = vec![(SignalName::Traffic, "up".into())];
        assert_eq!(of(&metrics, SignalName::Traffic), "up");
    }
}
