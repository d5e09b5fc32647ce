//! What is counted of requests, for a service and for each of its routes.

use super::Example;
use crate::analysis::latency::Histogram;

/// Numbers of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests.
    pub requests: u64,
    /// Requests that carried a status.
    pub with_status: u64,
    /// Requests with a status of 500 or more.
    pub failed: u64,
    /// Records of level error or worse, at most one a request id.
    pub error_records: u64,
}

impl Counts {
    /// Requests that failed: by status, or by error records where no request carries one.
    pub fn errors(&self, by_status: bool) -> u64 {
        if by_status {
            self.failed
        } else {
            self.error_records
        }
    }

    /// Adds the counts of another part.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.with_status += other.with_status;
        self.failed += other.failed;
        self.error_records += other.error_records;
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            with_status: self.with_status.saturating_sub(other.with_status),
            failed: self.failed.saturating_sub(other.failed),
            error_records: self.error_records.saturating_sub(other.error_records),
        }
    }
}

/// Requests with their durations. Those right after a process start are in here too and once more in `warm`.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// How many.
    pub counts: Counts,
    /// How long.
    pub latency: Histogram,
    /// The share of the warm-up.
    pub warm: Option<Box<(Counts, Histogram)>>,
}

impl Tally {
    /// One that keeps at most so many durations exactly.
    pub fn with_bound(bound: usize) -> Self {
        Self {
            latency: Histogram::with_bound(bound),
            ..Self::default()
        }
    }

    /// The numbers that the statistical test takes: without the warm-up.
    pub fn tested(&self) -> Counts {
        self.warm
            .as_ref()
            .map_or(self.counts, |warm| self.counts.without(&warm.0))
    }

    /// The durations that the statistical test takes, sixteen buckets an octave.
    pub fn tested_latency(&self) -> Vec<(usize, u64)> {
        let mut all = self.latency.coarse();
        if let Some(warm) = &self.warm {
            for (index, count) in warm.1.coarse() {
                if let Ok(at) = all.binary_search_by_key(&index, |(i, _)| *i) {
                    all[at].1 = all[at].1.saturating_sub(count);
                }
            }
            all.retain(|(_, count)| *count > 0);
        }
        all
    }

    /// Counts one request.
    pub fn request(&mut self, status: Option<u16>, duration_ms: Option<f64>, is_warm: bool) {
        let one = Counts {
            requests: 1,
            with_status: u64::from(status.is_some()),
            failed: u64::from(status.is_some_and(|s| s >= 500)),
            error_records: 0,
        };
        self.counts.add(&one);
        if let Some(ms) = duration_ms {
            self.latency.record(ms);
        }
        if is_warm {
            let warm = self.warm.get_or_insert_default();
            warm.0.add(&one);
            if let Some(ms) = duration_ms {
                warm.1.record(ms);
            }
        }
    }

    /// Counts one record of level error or worse.
    pub fn error_record(&mut self, is_warm: bool) {
        self.counts.error_records += 1;
        if is_warm {
            self.warm.get_or_insert_default().0.error_records += 1;
        }
    }

    /// Takes one back: it was of a request that had been counted.
    pub(super) fn uncount_error_record(&mut self) {
        self.counts.error_records = self.counts.error_records.saturating_sub(1);
    }

    /// Adds another part of the same service.
    pub fn merge(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.latency.merge(&other.latency);
        if let Some(theirs) = &other.warm {
            let warm = self.warm.get_or_insert_default();
            warm.0.add(&theirs.0);
            warm.1.merge(&theirs.1);
        }
    }
}

/// The requests of one route.
#[derive(Debug, Clone)]
pub struct RouteTally {
    /// Method and normalised path: `GET /orders/<*>`.
    pub name: String,
    /// Its requests.
    pub tally: Tally,
    /// The record of its slowest request.
    pub slowest: Option<(f64, Example)>,
    /// The record of the first request that failed.
    pub failed: Option<Example>,
}
