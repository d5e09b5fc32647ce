//! A machine whose clock is not ours: what it says is put on our clock as it comes in, so that the lines of several
//! machines stand in the order in which they were written, and "the last five minutes" are the same everywhere.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;

use crate::domain::log::{
    LogBlock, LogEvent, LogNote, LogNoteKind, LogPage, LogRequest, PageBorder, PageRequest, Window,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::Host;

/// A clock that is wrong by less is left as it is: how far it is off is only known to half the time that the question
/// took, and nobody misreads it.
const CORRECTED_FROM: SignedDuration = SignedDuration::from_secs(1);

/// How far the clock of another machine is ahead of ours. In words: `90.0 s ahead of ours`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ops) struct Skew(SignedDuration);

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.0.is_negative() {
            "behind"
        } else {
            "ahead of"
        };
        write!(
            f,
            "{:.1} s {word} ours",
            self.0.unsigned_abs().as_secs_f64()
        )
    }
}

impl Skew {
    /// Of a machine whose clock is to be corrected; `None` of others.
    pub(super) async fn of(host: &Host) -> Option<Self> {
        Self::from(host.ahead().await?)
    }

    /// The same of a known difference.
    pub(in crate::ops) fn from(ahead: SignedDuration) -> Option<Self> {
        (ahead.abs() >= CORRECTED_FROM).then_some(Self(ahead))
    }

    /// Says how far it is off, and that it is corrected.
    pub(super) fn note(self, host: &Host, service: &ServiceId) -> LogNote {
        let now = Timestamp::now();
        let detail = format!(
            "the clock of {} is {self}; its lines stand at our time",
            host.name()
        );
        LogNote {
            kind: LogNoteKind::Clock,
            service: service.clone(),
            from: Some(now),
            to: Some(self.there(now)),
            lines: None,
            detail: SafeText::from_text(&detail),
        }
    }

    fn there(self, at: Timestamp) -> Timestamp {
        at.saturating_add(self.0).unwrap_or(at)
    }

    fn here(self, at: Timestamp) -> Timestamp {
        at.saturating_sub(self.0).unwrap_or(at)
    }

    /// What is asked of that machine, by its clock.
    pub(super) fn ask(self, request: &LogRequest) -> LogRequest {
        LogRequest {
            window: Window {
                since: request.window.since.map(|at| self.there(at)),
                until: request.window.until.map(|at| self.there(at)),
            },
            ..request.clone()
        }
    }

    /// The same of a page.
    pub(super) fn ask_page(self, request: &PageRequest) -> PageRequest {
        let mut asked = request.clone();
        if let PageBorder::Time { at, .. } = &mut asked.border {
            *at = self.there(*at);
        }
        asked
    }

    /// A page on our clock.
    pub(super) fn page(self, mut page: LogPage) -> LogPage {
        page.blocks.iter_mut().for_each(|block| self.correct(block));
        page
    }

    /// Hands on what comes, on our clock, until either end is gone.
    pub(super) async fn hand_on(
        self,
        mut from: mpsc::Receiver<LogEvent>,
        to: mpsc::Sender<LogEvent>,
    ) {
        while let Some(mut event) = from.recv().await {
            match &mut event {
                LogEvent::Block(block) => self.correct(block),
                LogEvent::Note(note) => {
                    note.from = note.from.map(|at| self.here(at));
                    note.to = note.to.map(|at| self.here(at));
                }
                LogEvent::Opened(_) => {}
            }
            if to.send(event).await.is_err() {
                return;
            }
        }
    }

    fn correct(self, block: &mut LogBlock) {
        for line in &mut block.lines {
            line.at = line.at.map(|at| self.here(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::log::Stream;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_clock_that_is_nearly_right_is_left_alone() {
        assert_eq!(Skew::from(SignedDuration::from_millis(-999)), None);
        assert!(Skew::from(SignedDuration::from_millis(-1001)).is_some());
    }

    #[tokio::test]
    async fn a_machine_is_asked_by_its_clock_and_answers_on_ours() {
        let skew = Skew(SignedDuration::from_secs(40));
        let request = LogRequest {
            window: Window::since(at(1_000)),
            ..LogRequest::default()
        };
        assert_eq!(skew.ask(&request).window.since, Some(at(1_040)));
        let page = PageRequest {
            border: PageBorder::Time {
                at: at(1_000),
                same: 1,
                newer: 0,
            },
            is_backward: true,
            lines: 5,
        };
        let PageBorder::Time { at: border, .. } = skew.ask_page(&page).border else {
            panic!("another border");
        };
        assert_eq!(border, at(1_040));

        let mut block = LogBlock::default();
        block.push(Some(at(1_050)), Stream::Stdout, b"one", 0);
        block.push(None, Stream::Stdout, b"two", 0);
        let (into, from) = mpsc::channel(4);
        let (to, mut out) = mpsc::channel(4);
        into.send(LogEvent::Block(block)).await.unwrap();
        drop(into);
        skew.hand_on(from, to).await;
        let Some(LogEvent::Block(block)) = out.recv().await else {
            panic!("no lines");
        };
        let times: Vec<_> = block.lines.iter().map(|line| line.at).collect();
        assert_eq!(times, [Some(at(1_010)), None]);
    }
}
