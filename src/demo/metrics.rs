//! What the shop's api tells a Prometheus server: how long its requests took, as a histogram by status.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NAME: &str = "http_request_duration_seconds";
/// Upper ends of the buckets, in seconds.
const ENDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, f64::INFINITY];
const STATUSES: [u16; 3] = [200, 201, 500];

/// How long requests of one status took.
#[derive(Default)]
struct Histogram {
    /// Not cumulative.
    buckets: [AtomicU64; ENDS.len()],
    micros: AtomicU64,
}

/// All requests since the process started.
#[derive(Default)]
pub(super) struct Metrics {
    by_status: [Histogram; STATUSES.len()],
}

impl Metrics {
    /// Counts a request.
    pub(super) fn count(&self, status: u16, took: Duration) {
        let Some(index) = STATUSES.iter().position(|known| *known == status) else {
            return;
        };
        let histogram = &self.by_status[index];
        let seconds = took.as_secs_f64();
        let bucket = ENDS.iter().position(|end| seconds <= *end);
        histogram.buckets[bucket.unwrap_or(ENDS.len() - 1)].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        histogram.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// As Prometheus reads it. A status that never was has no series.
    pub(super) fn text(&self) -> String {
        let mut text = format!("# TYPE {NAME} histogram\n");
        for (status, histogram) in STATUSES.iter().zip(&self.by_status) {
            let counts = histogram.buckets.iter().map(|b| b.load(Ordering::Relaxed));
            let counts: Vec<u64> = counts.collect();
            let all: u64 = counts.iter().sum();
            if all == 0 {
                continue;
            }
            let mut below = 0;
            for (end, count) in ENDS.iter().zip(counts) {
                below += count;
                let end = match end.is_finite() {
                    true => end.to_string(),
                    false => "+Inf".to_owned(),
                };
                let _ = writeln!(
                    text,
                    "{NAME}_bucket{{status=\"{status}\",le=\"{end}\"}} {below}"
                );
            }
            let sum = Duration::from_micros(histogram.micros.load(Ordering::Relaxed));
            let _ = writeln!(
                text,
                "{NAME}_sum{{status=\"{status}\"}} {}",
                sum.as_secs_f64()
            );
            let _ = writeln!(text, "{NAME}_count{{status=\"{status}\"}} {all}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_below_their_end() {
        let metrics = Metrics::default();
        for ms in [20, 100, 700, 9_000] {
            metrics.count(200, Duration::from_millis(ms));
        }
        let text = metrics.text();
        for line in [
            r#"http_request_duration_seconds_bucket{status="200",le="0.05"} 1"#,
            r#"http_request_duration_seconds_bucket{status="200",le="0.1"} 2"#,
            r#"http_request_duration_seconds_bucket{status="200",le="1"} 3"#,
            r#"http_request_duration_seconds_bucket{status="200",le="+Inf"} 4"#,
            r#"http_request_duration_seconds_sum{status="200"} 9.82"#,
            r#"http_request_duration_seconds_count{status="200"} 4"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        assert!(!text.contains("500"), "{text}");
    }
}
