//! Where a container's log was read to, so that another stream can go on there.

use jiff::Timestamp;

use crate::domain::log::{RawLine, Window};

/// How far a container's log was read: enough to go on in another stream without losing or doubling a line.
///
/// The engine takes whole seconds and gives lines in the order of its file, in which two lines may share a time and
/// neighbours may be out of order by a little (stdout and stderr are stamped before they are written). So a stream
/// is resumed one whole second before the newest, and as many lines are dropped as were seen from there on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::runtime::docker) struct Position {
    /// The newest second seen.
    second: Option<i64>,
    /// Lines seen in it.
    seen: u64,
    /// Lines seen in the second before it.
    seen_before: u64,
    /// The newest instant seen: a later line is new whatever was counted.
    pub(in crate::runtime::docker) newest: Option<Timestamp>,
    /// The oldest instant seen: what lies before was not asked for.
    pub(super) oldest: Option<Timestamp>,
}

impl Position {
    pub(super) fn note(&mut self, at: Timestamp) {
        let second = at.as_second();
        match self.second {
            Some(newest) if second == newest => self.seen += 1,
            Some(newest) if second == newest - 1 => self.seen_before += 1,
            Some(newest) if second < newest => {}
            previous => {
                let is_next = previous == Some(second - 1);
                self.seen_before = if is_next { self.seen } else { 0 };
                self.second = Some(second);
                self.seen = 1;
            }
        }
        self.newest = self.newest.max(Some(at));
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
    }

    /// The second to ask from.
    pub(in crate::runtime::docker) fn since(&self) -> Option<i64> {
        self.second.map(|s| s - 1)
    }

    /// How many lines come again from there.
    pub(in crate::runtime::docker) fn again(&self) -> u64 {
        self.seen + self.seen_before
    }
}

/// Whether a line is new and inside of the window; counts it. `skip` is how many lines come again.
pub(super) fn is_wanted(
    line: &RawLine,
    skip: &mut u64,
    resumed: Option<&Position>,
    position: &mut Position,
    window: Window,
) -> bool {
    let Some(at) = line.at else {
        return true;
    };
    if let Some(resumed) = resumed {
        if resumed.since().is_some_and(|since| at.as_second() < since) {
            return false;
        }
        if resumed.oldest.is_some_and(|oldest| at < oldest) {
            return false;
        }
        if *skip > 0 && resumed.newest.is_some_and(|newest| at <= newest) {
            *skip -= 1;
            return false;
        }
    }
    let is_inside = window.contains(at);
    if is_inside {
        position.note(at);
    }
    is_inside
}
