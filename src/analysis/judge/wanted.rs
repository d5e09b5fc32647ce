//! How many more requests a confident keep needs.

use super::{Evidence, RATED_REQUESTS, REQUIRED_REQUESTS, rules};
use crate::analysis::compare::statistics::share_interval;
use crate::domain::before_after::Side;

/// More than this is not worth waiting for.
const MOST: u64 = 1_000_000;

/// The requests that are missing until a keep is certain, if as many of them fail as up to now. `None` where it is certain
/// already, where requests alone cannot make it so, and where that would take more than a million.
pub(super) fn requests(evidence: &Evidence<'_>) -> Option<u64> {
    let after = evidence.total.after?.counts;
    let before = evidence.total.before?.counts;
    let is_missing = !evidence.missing.is_empty() || !evidence.missing_probes.is_empty();
    let is_certain = after.requests > 0 && rules::is_rate_bounded(evidence);
    if is_missing || before.requests < RATED_REQUESTS || is_certain {
        return None;
    }
    let failed = evidence.errors(Side::After, after);
    let share = match after.requests {
        0 => 0.0,
        requests => failed as f64 / requests as f64,
    };
    let was = evidence.errors(Side::Before, before) as f64 / before.requests as f64;
    let is_enough = |requests: u64| {
        let errors = (share * requests as f64).round() as u64;
        let interval = share_interval(errors, requests);
        requests >= REQUIRED_REQUESTS && interval.is_some_and(|(_, upper)| upper <= was + 0.01)
    };
    let (mut low, mut high) = (after.requests, after.requests.max(1));
    while !is_enough(high) {
        if high > MOST {
            return None;
        }
        (low, high) = (high, high * 2);
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high - after.requests)
}
