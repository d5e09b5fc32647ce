//! Where a source stands: what it says by its seams, how late its lines come, how long it is silent. Silence is not
//! health: it is told, with its length.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::RATE_WINDOW;
use crate::domain::log::{LogNote, LogNoteKind};
use crate::domain::signal::Grade;
use crate::store::ring::PreparedBlock;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::msg::Problem;

/// By then the last lines of the past have come, and what comes is written now.
const PAST_READ_MS: u64 = 2000;
/// A line that comes so long after it was written is late enough to say so.
const LAG_MS: u64 = 1000;
/// A source that says nothing for so long is called silent.
const SILENT_MS: u64 = 30_000;
/// A gap stands in the title for so long; in the log it stands for good.
const GAP_SHOWN_MS: u64 = 60_000;

/// Where a source stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum State {
    /// Asked for, nothing came yet.
    #[default]
    Waiting,
    /// Lines come, or would come.
    Live,
    /// The link is lost and tried again; how often, in the words of the source.
    Reconnecting(String),
    /// The service ended; its log is still waited for. How, in the words of the source.
    Stopped(String),
    /// The log came to its end.
    Ended,
    /// It could not be read.
    Failed(Problem),
}

/// What is known of a source besides its lines.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// Where it stands.
    pub state: State,
    /// Lines that came faster than they could be taken over.
    pub skipped: u64,
    /// When the last line came.
    pub heard_at: Option<Timestamp>,
    /// How late the last lines came.
    lag_ms: u64,
    /// How far the clock that their times are of is ahead of ours.
    ahead: SignedDuration,
    /// When lines may be missing, and when that was told.
    gap: Option<(Option<Timestamp>, Option<Timestamp>, Timestamp)>,
    arrivals: VecDeque<(Timestamp, u64)>,
    began_at: Option<Timestamp>,
}

impl Truth {
    /// Something came.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.began_at.get_or_insert(now);
        if self.state == State::Waiting {
            self.state = State::Live;
        }
    }

    /// Lines came.
    pub(super) fn lines(&mut self, block: &PreparedBlock, now: Timestamp) {
        if block.lines() == 0 {
            return;
        }
        let is_past_read = self
            .began_at
            .is_some_and(|at| format::elapsed_ms(at, now) >= PAST_READ_MS);
        self.heard_at = self.heard_at.max(block.newest_at()).or(Some(now));
        if matches!(self.state, State::Reconnecting(_) | State::Stopped(_)) && is_past_read {
            self.state = State::Live;
        }
        // What was read of the past, at the beginning, is no traffic of now.
        let arrived = if is_past_read {
            self.heard_at = Some(now);
            self.lag_ms = block
                .newest_at()
                .and_then(|newest| newest.checked_sub(self.ahead).ok())
                .map_or(0, |newest| format::elapsed_ms(newest, now));
            block.lines()
        } else {
            let recent = now.saturating_sub(RATE_WINDOW).unwrap_or(now);
            block.lines_since(recent)
        };
        if arrived == 0 {
            return;
        }
        match self.arrivals.back_mut() {
            Some((at, n)) if format::elapsed_ms(*at, now) < 1000 => *n += arrived,
            _ => self.arrivals.push_back((now, arrived)),
        }
        while self.arrivals.len() > RATE_WINDOW.as_secs() as usize + 2 {
            self.arrivals.pop_front();
        }
    }

    /// The source said what happened to it.
    pub(super) fn note(&mut self, note: &LogNote, now: Timestamp) {
        match note.kind {
            LogNoteKind::Gap | LogNoteKind::Unread | LogNoteKind::Skipped => {
                self.gap = Some((note.from, note.to, now));
            }
            LogNoteKind::Reconnecting => {
                self.state = State::Reconnecting(note.detail.as_str().to_owned());
            }
            LogNoteKind::Ended => self.state = State::Stopped(note.detail.as_str().to_owned()),
            LogNoteKind::Recreated | LogNoteKind::Restarted | LogNoteKind::Reconnected => {
                self.state = State::Live;
            }
            LogNoteKind::Rotated => {}
            LogNoteKind::Clock => {
                if let (Some(here), Some(there)) = (note.from, note.to) {
                    self.ahead = there.duration_since(here);
                }
            }
        }
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

    /// Whether its words will change though nothing comes.
    pub(super) fn is_busy(&self, now: Timestamp) -> bool {
        // Silence is told from half a minute on, in seconds until it is a minute.
        let is_counted = |ms: u64| (SILENT_MS - 1000..60_000).contains(&ms);
        self.rate(now) > 0 || self.silence_ms(now).is_some_and(is_counted)
    }

    /// How long nothing came, once something did.
    fn silence_ms(&self, now: Timestamp) -> Option<u64> {
        self.heard_at.map(|at| format::elapsed_ms(at, now))
    }

    /// Where it stands in a few words, with how bad that is.
    pub fn words(&self, app: &App) -> (String, Grade) {
        let now = app.now;
        match &self.state {
            State::Waiting => ("opening…".to_owned(), Grade::Unknown),
            State::Failed(problem) => (format!("no connection: {}", problem.text), Grade::Critical),
            State::Reconnecting(detail) => (reconnecting(detail), Grade::Warning),
            State::Stopped(detail) => (format!("ended ({detail})"), Grade::Warning),
            State::Ended => ("ended".to_owned(), Grade::Warning),
            State::Live => {
                let (words, grade) = self.live_words(app, now);
                (words + &self.clock_words(), grade)
            }
        }
    }

    /// `, clock +5.0 s`: its times are not those of the lines of another machine.
    fn clock_words(&self) -> String {
        let sign = match self.ahead.signum() {
            0 => return String::new(),
            1.. => '+',
            _ => '-',
        };
        let ahead = self.ahead.unsigned_abs().as_secs_f64();
        format!(", clock {sign}{ahead:.1} s")
    }

    fn live_words(&self, app: &App, now: Timestamp) -> (String, Grade) {
        if let Some((from, to, at)) = self.gap
            && format::elapsed_ms(at, now) < GAP_SHOWN_MS
        {
            let end = |at: Option<Timestamp>| at.map_or_else(|| "?".to_owned(), |at| app.time(at));
            return (format!("gap {}–{}", end(from), end(to)), Grade::Warning);
        }
        let rate = self.rate(now);
        if self.lag_ms >= LAG_MS && rate > 0 {
            let lag = format::millis(Some(self.lag_ms as f64));
            return (format!("lagging {lag}"), Grade::Warning);
        }
        if rate > 0 {
            return (format!("live {}/s", format::count(rate)), Grade::Ok);
        }
        match self.silence_ms(now) {
            Some(ms) if ms >= SILENT_MS => {
                (format!("live, silent {}", format::span(ms)), Grade::Unknown)
            }
            _ => ("live 0/s".to_owned(), Grade::Ok),
        }
    }
}

/// `reconnecting 2/5` where the source counts its tries, else with its cause.
fn reconnecting(detail: &str) -> String {
    let detail = detail.strip_prefix("reconnecting ").unwrap_or(detail);
    format!("reconnecting {detail}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::fixtures::{at, broken, id};

    #[test]
    fn another_clock_is_shown_and_is_no_lag() {
        let app = broken(120, 40);
        let mut truth = Truth::default();
        truth.begin(app.now);
        let note = LogNote {
            kind: LogNoteKind::Clock,
            service: id("backend"),
            from: Some(at("15:00:00.000")),
            to: Some(at("14:59:52.500")),
            lines: None,
            detail: "the clock of prod-1 is 7.5 s behind ours".into(),
        };
        truth.note(&note, app.now);
        assert_eq!(truth.words(&app).0, "live 0/s, clock -7.5 s");
    }
}
