//! A value that was asked for: not there yet, fresh, stale, or failed. Never silently empty.

use jiff::Timestamp;

use super::safe_text::SafeText;

/// The state of something a pane shows. "No data" and "could not read" are different states of the type,
/// so a pane cannot show green because data is missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Reading<T> {
    /// Asked for, no answer yet.
    #[default]
    Waiting,
    /// Answered at `at`.
    Fresh {
        /// The answer.
        value: T,
        /// When it was read.
        at: Timestamp,
    },
    /// The last good answer, older than its period allows, or followed by a failure.
    Stale {
        /// The last good answer.
        value: T,
        /// When it was read.
        at: Timestamp,
        /// Why there is no newer one.
        cause: SafeText,
    },
    /// Never answered; the last attempt failed.
    Failed {
        /// The whole cause chain.
        cause: SafeText,
        /// When it failed.
        at: Timestamp,
    },
}

impl<T> Reading<T> {
    /// A new answer.
    pub fn fresh(value: T, at: Timestamp) -> Self {
        Self::Fresh { value, at }
    }

    /// The value to show, fresh or stale; `None` while waiting or after a failure without any answer.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Fresh { value, .. } | Self::Stale { value, .. } => Some(value),
            Self::Waiting | Self::Failed { .. } => None,
        }
    }

    /// When the value was read, or when reading it failed.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Fresh { at, .. } | Self::Stale { at, .. } | Self::Failed { at, .. } => Some(*at),
            Self::Waiting => None,
        }
    }

    /// Records a failed attempt: a value that was there stays, as stale, with its own time.
    #[must_use]
    pub fn fail(self, cause: SafeText, now: Timestamp) -> Self {
        match self {
            Self::Fresh { value, at } | Self::Stale { value, at, .. } => {
                Self::Stale { value, at, cause }
            }
            Self::Waiting | Self::Failed { .. } => Self::Failed { cause, at: now },
        }
    }

    /// Turns an answer older than `limit` into a stale one.
    #[must_use]
    pub fn age(self, now: Timestamp, limit: std::time::Duration) -> Self {
        match self {
            Self::Fresh { value, at } if now.duration_since(at).unsigned_abs() > limit => {
                Self::Stale {
                    value,
                    at,
                    cause: SafeText::from_text("no newer answer"),
                }
            }
            other => other,
        }
    }

    /// `true` only for an answer that is still current.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_after_an_answer_keeps_the_answer_as_stale() {
        let t0 = Timestamp::UNIX_EPOCH;
        let t1 = t0 + std::time::Duration::from_secs(5);
        let reading = Reading::fresh(7, t0).fail(SafeText::from_text("daemon gone"), t1);
        assert_eq!(reading.value(), Some(&7));
        assert_eq!(reading.at(), Some(t0));
        assert!(!reading.is_fresh());
    }

    #[test]
    fn a_failure_without_an_answer_is_not_an_empty_value() {
        let reading = Reading::<Vec<u8>>::Waiting
            .fail(SafeText::from_text("no socket"), Timestamp::UNIX_EPOCH);
        assert!(reading.value().is_none());
        assert!(matches!(reading, Reading::Failed { .. }));
    }

    #[test]
    fn an_old_answer_turns_stale() {
        let t0 = Timestamp::UNIX_EPOCH;
        let now = t0 + std::time::Duration::from_secs(61);
        let reading = Reading::fresh(1, t0).age(now, std::time::Duration::from_secs(60));
        assert!(matches!(reading, Reading::Stale { .. }));
    }
}
