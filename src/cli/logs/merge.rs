//! Merges the logs of several services by time.
//!
//! Of each service the next line is held; the earliest goes first. A service that has none yet holds the others up: for
//! ever in a closed read, where it will have one or end, and in a follow for [`HOLD_BACK`] at most, since it may say
//! nothing for hours. What comes later than that is printed when it comes, and counted.

use std::time::Duration;

use futures_util::future::select_all;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::print::Printer;
use crate::cli::output::{Output, Stop};
use crate::domain::log::{LogBlock, LogEvent};
use crate::ops::logs::Clock;

/// So long a line of a follow waits for earlier ones of other services.
const HOLD_BACK: Duration = Duration::from_millis(100);

/// What is merged, and how far it is.
pub(super) struct Merge {
    streams: Vec<Stream>,
    is_following: bool,
    /// The time of the last line that was printed, and whose it was.
    printed: Option<(Timestamp, usize)>,
    /// Lines that came too late to be printed in their place.
    pub(super) late: u64,
}

/// One service's log.
struct Stream {
    /// `None` once it ended.
    events: Option<mpsc::Receiver<LogEvent>>,
    head: Option<Head>,
    clock: Clock,
}

/// The lines of a service that wait.
struct Head {
    block: LogBlock,
    next: usize,
    /// The time of the next line; a line without one has that of the line before it.
    at: Option<Timestamp>,
    came_at: Instant,
}

impl Merge {
    pub(super) fn new(streams: Vec<mpsc::Receiver<LogEvent>>, is_following: bool) -> Self {
        let streams = streams.into_iter().map(|events| Stream {
            events: Some(events),
            head: None,
            clock: Clock::default(),
        });
        Self {
            streams: streams.collect(),
            is_following,
            printed: None,
            late: 0,
        }
    }

    /// Prints everything until all services end. What is printed is handed on whenever nothing more waits.
    pub(super) async fn run(
        &mut self,
        printer: &mut Printer,
        out: &mut Output,
    ) -> Result<(), Stop> {
        // The order of one service is its own.
        if let [one] = self.streams.as_mut_slice()
            && let Some(events) = &mut one.events
        {
            while let Some(event) = events.recv().await {
                printer.event(0, &event, out)?;
                if self.is_following && events.is_empty() {
                    printer.hand_over(out)?;
                    out.flush()?;
                }
            }
            return Ok(());
        }
        loop {
            self.receive_waiting(printer, out)?;
            let first = self.first();
            let is_complete = self
                .streams
                .iter()
                .all(|stream| stream.head.is_some() || stream.events.is_none());
            match first {
                None if is_complete => return Ok(()),
                Some((index, came_at)) if is_complete || self.is_due(came_at) => {
                    self.print(index, printer, out)?;
                }
                first => {
                    if self.is_following {
                        printer.hand_over(out)?;
                        out.flush()?;
                    }
                    let until = first
                        .filter(|_| self.is_following)
                        .map(|(_, came_at)| came_at + HOLD_BACK);
                    self.wait(until, printer, out).await?;
                }
            }
        }
    }

    fn is_due(&self, came_at: Instant) -> bool {
        self.is_following && came_at.elapsed() >= HOLD_BACK
    }

    /// The service whose line is the earliest, and when that line came.
    fn first(&self) -> Option<(usize, Instant)> {
        let heads = self.streams.iter().enumerate();
        heads
            .filter_map(|(n, stream)| stream.head.as_ref().map(|head| (head.at, n, head.came_at)))
            .min()
            .map(|(_, n, came_at)| (n, came_at))
    }

    fn print(&mut self, index: usize, printer: &mut Printer, out: &mut Output) -> Result<(), Stop> {
        let stream = &mut self.streams[index];
        let Some(head) = &mut stream.head else {
            return Ok(());
        };
        let line = head.block.lines[head.next];
        printer.line(index, &line, head.block.text(&line), out)?;
        if let Some(at) = head.at {
            let is_late = self
                .printed
                .is_some_and(|(last, service)| at < last && service != index);
            self.late += u64::from(is_late);
            if !is_late {
                self.printed = Some((at, index));
            }
        }
        head.next += 1;
        match head.block.lines.get(head.next) {
            Some(line) => head.at = stream.clock.read(line.at, head.block.text(line)),
            None => stream.head = None,
        }
        Ok(())
    }

    /// Takes what has come of the services that no line is held of.
    fn receive_waiting(&mut self, printer: &mut Printer, out: &mut Output) -> Result<(), Stop> {
        for index in 0..self.streams.len() {
            while self.streams[index].head.is_none() {
                let Some(events) = &mut self.streams[index].events else {
                    break;
                };
                match events.try_recv() {
                    Ok(event) => self.take(index, event, printer, out)?,
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => {
                        self.streams[index].events = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for a service that no line is held of.
    async fn wait(
        &mut self,
        until: Option<Instant>,
        printer: &mut Printer,
        out: &mut Output,
    ) -> Result<(), Stop> {
        let missing = self
            .streams
            .iter_mut()
            .enumerate()
            .filter(|(_, stream)| stream.head.is_none())
            .filter_map(|(index, stream)| Some((index, stream.events.as_mut()?)))
            .map(|(index, events)| Box::pin(async move { (index, events.recv().await) }));
        let next = select_all(missing);
        let (index, event) = match until {
            None => next.await.0,
            Some(until) => match tokio::time::timeout_at(until, next).await {
                Ok(next) => next.0,
                Err(_) => return Ok(()),
            },
        };
        match event {
            Some(event) => self.take(index, event, printer, out),
            None => {
                self.streams[index].events = None;
                Ok(())
            }
        }
    }

    fn take(
        &mut self,
        index: usize,
        event: LogEvent,
        printer: &mut Printer,
        out: &mut Output,
    ) -> Result<(), Stop> {
        let stream = &mut self.streams[index];
        match event {
            LogEvent::Block(block) if !block.is_empty() => {
                let line = block.lines[0];
                stream.head = Some(Head {
                    at: stream.clock.read(line.at, block.text(&line)),
                    block,
                    next: 0,
                    came_at: Instant::now(),
                });
                Ok(())
            }
            LogEvent::Block(_) => Ok(()),
            event => {
                if let LogEvent::Note(note) = &event {
                    stream.clock.hear(note);
                }
                printer.event(index, &event, out)
            }
        }
    }
}
