//! The log of the selected service: follows the end, or stands still where the cursor is.
//!
//! ```text
//! ╔ 2 logs  backend ══ FOLLOW ══ live 312/s · held 48,210 · 0 skipped ══════════════╗
//! ║ 15:31:05.113 ERROR Invalid JSON response from payment service order=88121       ║
//! ║ ── recreated 15:00:12  backend 1.4 → 1.5 ────────────────────────────────────── ║
//! ║ 15:31:05.204 info  job finished queue=mail 151 ms                               ║
//! ╚ /payment 3 of 212 ══════════════════════════════════════════════════════════════╝
//! ```
//! The title tells the truth: how fast lines come, how many are held in memory of how many that came, how many
//! were skipped because they came faster than they could be taken over.
//!
//! The window is described by the cursor's line and how many screen rows stand above it, so that new lines,
//! dropped lines and wrapped lines all leave what is being read where it is.

mod draw;
mod search;

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::log::LogNote;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::store::ring::Ring;
use crate::tui::format;
use crate::tui::msg::{LogPiece, Problem};

pub use draw::draw;
pub use search::Search;

/// The rate is the mean of the last so many seconds.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// By then the last lines of the past have come, and what comes is written now.
const PAST_READ_MS: u64 = 2000;

/// Where the source of the log stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Source {
    /// No service is selected.
    #[default]
    None,
    /// Asked for, nothing came yet.
    Waiting,
    /// Lines come, or would come.
    Live,
    /// It came to its end.
    Ended,
    /// It could not be read.
    Failed(Problem),
}

/// The log of the selected service.
#[derive(Debug)]
pub struct LogsPane {
    /// The lines.
    pub ring: Ring,
    /// Whose log it is.
    pub service: Option<ServiceId>,
    /// Where its source stands.
    pub source: Source,
    /// Whether the end is followed.
    pub is_following: bool,
    /// Whether long lines are wrapped.
    pub is_wrapped: bool,
    /// The first column that is shown of each line.
    pub column: usize,
    /// The line under the cursor.
    pub cursor: u64,
    /// How many screen rows stand above the cursor.
    pub above: usize,
    /// What is searched for.
    pub search: Option<Search>,
    /// Lines that came faster than they could be taken over.
    pub skipped: u64,
    arrivals: VecDeque<(Timestamp, u64)>,
    /// When the first piece of this log came.
    began_at: Option<Timestamp>,
}

impl LogsPane {
    /// An empty pane that keeps at most `bytes` of lines.
    pub fn new(bytes: usize) -> Self {
        Self {
            ring: Ring::new(bytes),
            service: None,
            source: Source::None,
            is_following: true,
            is_wrapped: false,
            column: 0,
            cursor: 0,
            above: 0,
            search: None,
            skipped: 0,
            arrivals: VecDeque::new(),
            began_at: None,
        }
    }

    /// Begins the log of another service, or of the same from the start.
    pub fn begin(&mut self, service: Option<ServiceId>) {
        self.source = if service.is_some() {
            Source::Waiting
        } else {
            Source::None
        };
        self.service = service;
        self.ring.clear();
        self.skipped = 0;
        self.arrivals.clear();
        self.began_at = None;
        self.is_following = true;
        self.column = 0;
        self.cursor = self.ring.range().end;
        if let Some(search) = &mut self.search {
            search.restart(self.cursor);
        }
    }

    /// Takes pieces of the log over. Returns the seams among them.
    pub fn push(&mut self, pieces: Vec<LogPiece>, now: Timestamp) -> Vec<LogNote> {
        let mut notes = Vec::new();
        self.source = Source::Live;
        let began_at = *self.began_at.get_or_insert(now);
        let is_past_read = format::elapsed_ms(began_at, now) >= PAST_READ_MS;
        let mut arrived = 0;
        for piece in pieces {
            match piece {
                LogPiece::Block(block) => {
                    // What was read of the past, at the beginning, is no traffic of now.
                    let recent = now.saturating_sub(RATE_WINDOW).unwrap_or(now);
                    arrived += if is_past_read {
                        block.lines()
                    } else {
                        block.lines_since(recent)
                    };
                    self.ring.push(block);
                }
                LogPiece::Note(note) => {
                    notes.push(note.clone());
                    self.ring.push_note(note);
                }
                LogPiece::Skipped(lines) => self.skipped += lines,
            }
        }
        if arrived > 0 {
            match self.arrivals.back_mut() {
                Some((at, n)) if format::elapsed_ms(*at, now) < 1000 => *n += arrived,
                _ => self.arrivals.push_back((now, arrived)),
            }
        }
        while self.arrivals.len() > RATE_WINDOW.as_secs() as usize + 2 {
            self.arrivals.pop_front();
        }
        self.settle();
        notes
    }

    /// Lines a second over the last seconds.
    pub fn rate(&self, now: Timestamp) -> u64 {
        let window = RATE_WINDOW.as_millis() as u64;
        let recent: u64 = self
            .arrivals
            .iter()
            .filter(|(at, _)| format::elapsed_ms(*at, now) < window)
            .map(|(_, n)| n)
            .sum();
        recent.div_ceil(RATE_WINDOW.as_secs())
    }

    /// Whether the rate in the title will change though nothing comes.
    pub fn is_busy(&self, now: Timestamp) -> bool {
        self.rate(now) > 0
    }

    /// Keeps the cursor on a line that is held, and at the end while that is followed.
    pub fn settle(&mut self) {
        let range = self.ring.range();
        let last = range.end.saturating_sub(1);
        if self.is_following {
            self.cursor = last;
            self.above = usize::MAX;
        } else {
            self.cursor = self.cursor.clamp(range.start, last.max(range.start));
        }
    }

    /// Moves the cursor by so many lines. Moving up stands still; reaching the end does not follow by itself.
    pub fn step(&mut self, by: i64, height: usize) {
        if self.ring.is_empty() {
            return;
        }
        self.stand_still(height);
        let range = self.ring.range();
        let before = self.cursor;
        self.cursor = self
            .cursor
            .saturating_add_signed(by)
            .clamp(range.start, range.end.saturating_sub(1));
        let moved = self.cursor as i64 - before as i64;
        self.above = self
            .above
            .saturating_add_signed(moved as isize)
            .min(height.saturating_sub(1));
    }

    /// Puts the cursor on a line, in the middle of the window unless it is near already.
    pub fn go_to(&mut self, number: u64, height: usize) {
        self.stand_still(height);
        let distance = number as i64 - self.cursor as i64;
        let above = self.above as i64 + distance;
        self.above = if above >= 0 && above < height as i64 {
            above as usize
        } else {
            height / 2
        };
        self.cursor = number;
    }

    /// To the first line that is held.
    pub fn go_top(&mut self, height: usize) {
        self.stand_still(height);
        self.cursor = self.ring.range().start;
        self.above = 0;
    }

    /// Follows the end again.
    pub fn follow(&mut self) {
        self.is_following = true;
        self.settle();
    }

    /// Stops following where the window is.
    pub fn stand_still(&mut self, height: usize) {
        if self.is_following {
            self.is_following = false;
            let range = self.ring.range();
            self.above = (range.end - range.start)
                .saturating_sub(1)
                .min(height.saturating_sub(1) as u64) as usize;
        }
    }

    /// To the next error after the cursor, or the one before it. Returns whether there was one.
    pub fn go_to_error(&mut self, is_forward: bool, height: usize) -> bool {
        // From the followed end, "next" has nothing ahead: the last error is what is meant.
        let is_forward = is_forward && !self.is_following;
        let from = if self.is_following {
            self.cursor + 1
        } else {
            self.cursor
        };
        match self.ring.find_error(from, is_forward) {
            Some(number) => {
                self.go_to(number, height);
                true
            }
            None => false,
        }
    }

    /// The text under the cursor, safe to show and to copy.
    pub fn line_under_cursor(&self) -> Option<SafeText> {
        let line = self.ring.line(self.cursor)?;
        line.note
            .is_none()
            .then(|| SafeText::from_bytes(line.bytes))
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::log::{Level, LogBlock, Stream};
    use crate::store::ring::{LineFacts, PreparedBlock};

    use super::*;

    fn lines(texts: &[&str]) -> Vec<LogPiece> {
        let mut block = LogBlock::default();
        for text in texts {
            block.push(None, Stream::Stdout, text.as_bytes(), 0);
        }
        let look = |text: &[u8]| LineFacts {
            level: text.starts_with(b"ERROR").then_some(Level::Error),
            ..LineFacts::default()
        };
        vec![LogPiece::Block(PreparedBlock::new(block, look))]
    }

    fn pane() -> LogsPane {
        let mut pane = LogsPane::new(1 << 20);
        pane.begin(Some(ServiceId::local("shop", "api")));
        pane
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn it_follows_until_the_cursor_moves_and_again_on_demand() {
        let mut pane = pane();
        pane.push(lines(&["a", "b", "c"]), NOW);
        assert_eq!(pane.cursor, 2);
        pane.step(-1, 10);
        pane.push(lines(&["d"]), NOW);
        assert_eq!((pane.cursor, pane.is_following), (1, false));
        pane.follow();
        assert_eq!(pane.cursor, 3);
    }

    #[test]
    fn e_from_the_followed_end_goes_to_the_last_error() {
        let mut pane = pane();
        pane.push(lines(&["ERROR 1", "a", "ERROR 2", "b"]), NOW);
        assert!(pane.go_to_error(true, 10));
        assert_eq!(pane.cursor, 2);
        assert!(pane.go_to_error(false, 10));
        assert_eq!(pane.cursor, 0);
        assert!(!pane.go_to_error(false, 10));
        assert!(pane.go_to_error(true, 10));
        assert_eq!(pane.cursor, 2);
    }

    #[test]
    fn the_rate_falls_to_nothing_when_nothing_comes() {
        let mut pane = pane();
        pane.push(lines(&["a"; 50]), NOW);
        assert_eq!(pane.rate(NOW), 5);
        let later = NOW + Duration::from_secs(11);
        assert_eq!(pane.rate(later), 0);
        assert!(!pane.is_busy(later));
    }

    #[test]
    fn a_cursor_on_a_dropped_line_moves_to_the_oldest() {
        let mut pane = LogsPane::new(300);
        pane.begin(Some(ServiceId::local("shop", "api")));
        pane.push(lines(&["a", "b", "c"]), NOW);
        pane.go_top(10);
        for _ in 0..20 {
            pane.push(lines(&["d", "e"]), NOW);
        }
        assert_eq!(pane.cursor, pane.ring.range().start);
        assert!(pane.cursor > 0);
    }
}
