//! Tells when a stream is behind what is written and does not catch up: the link carries less.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::host::Host;

/// Lines that came later than this after they were written are behind …
const BEHIND: SignedDuration = SignedDuration::from_secs(8);
/// … for good, unless within this time …
const PATIENCE: Duration = Duration::from_secs(4);
/// … so much of it is made up for.
const CATCHES_UP: SignedDuration = SignedDuration::from_secs(2);

/// How far a stream is behind.
#[derive(Debug)]
pub(super) struct Pace {
    /// How far the clock by which its lines are stamped is ahead of ours.
    ahead: SignedDuration,
    /// Since when it has been so far behind.
    since: Option<(Instant, SignedDuration)>,
}

impl Pace {
    /// That of a stream from another machine; nothing where there is no link that could be too slow.
    pub(super) async fn of(host: &Host) -> Option<Self> {
        let Host::Ssh(_) = host else { return None };
        Some(Self {
            ahead: host.ahead().await.unwrap_or_default(),
            since: None,
        })
    }

    /// Whether the stream whose line of this time has just come is behind for good.
    pub(super) fn is_behind(&mut self, line: Timestamp) -> bool {
        let now = Timestamp::now() + self.ahead;
        self.is_lost(now.duration_since(line), Instant::now())
    }

    fn is_lost(&mut self, lag: SignedDuration, now: Instant) -> bool {
        if lag < BEHIND {
            self.since = None;
            return false;
        }
        let (begun, first) = *self.since.get_or_insert((now, lag));
        if now.duration_since(begun) < PATIENCE {
            return false;
        }
        let is_lost = first - lag < CATCHES_UP;
        self.since = Some((now, lag));
        is_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds a stream is given up whose lag is this in each of them.
    fn lost(lags: impl IntoIterator<Item = i64>) -> Option<usize> {
        let mut pace = Pace {
            ahead: SignedDuration::ZERO,
            since: None,
        };
        let begun = Instant::now();
        let mut lags = lags.into_iter().enumerate();
        let is_lost = |(second, lag): (usize, i64)| {
            let now = begun + Duration::from_secs(second as u64);
            (pace.is_lost(SignedDuration::from_secs(lag), now)).then_some(second)
        };
        lags.find_map(is_lost)
    }

    #[test]
    fn what_does_not_catch_up_is_behind_for_good() {
        assert_eq!(lost(std::iter::repeat_n(3, 100)), None, "a little late");
        assert_eq!(lost((0..60).rev()), None, "it catches up after an outage");
        assert_eq!(lost(0..100), Some(12), "later and later");
        assert_eq!(lost(std::iter::repeat_n(30, 100)), Some(4), "never nearer");
        let fast_then_slow = (20..60).rev().chain(20..100);
        assert!(lost(fast_then_slow).is_some_and(|second| second < 50));
    }
}
