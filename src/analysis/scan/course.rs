//! In what order a service wrote: which shape stands where, kept while the log streams by.
//!
//! A log of millions of records is kept in a bounded number of events. When there is no more room, the records of one
//! shape that stand near each other become one event with their count, and near doubles each time. What is rare has
//! nothing near to become one with, so a new error keeps its exact place, however long the log is.

use super::ByHash;
use super::record::Record;

/// So many events are kept of each of the first services of a log …
const ROOM: usize = 32_768;
/// … which are so many; of each of the others fewer events are kept.
const ROOMY: usize = 16;
const LITTLE_ROOM: usize = 2_048;
/// The first events of a service stay as they are: what it writes when it starts.
const FIRST: usize = 256;
/// The text is kept of so many records of a shape, beside that of the first events …
const TEXTS: u64 = 16;
/// … so many bytes of each …
const TEXT_BYTES: usize = 512;
/// … and for each event there is room for so many bytes on average.
const BYTES_PER_EVENT: usize = 32;
/// Near is at most `1 << FARTHEST` lines: the whole log.
const FARTHEST: u32 = 40;

/// Records of one shape that stand near each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The number of the first line of the first of them, from 1.
    pub line: u64,
    /// When that was, in milliseconds since 1970; `None` where it has no time.
    pub at: Option<i64>,
    /// The hash of their shape.
    pub shape: u64,
    /// How many they are.
    pub count: u32,
    /// Where the text of the first begins, and how long it is; 0 where it is not kept.
    text: (u32, u16),
}

/// What one service wrote, in order.
#[derive(Debug, Clone, Default)]
pub struct Course {
    events: Vec<Event>,
    texts: Vec<u8>,
    /// Lines whose numbers are the same without their last `near` bits are near each other.
    near: u32,
    /// The lines that are near the last one, and the first event that stands among them.
    now: u64,
    now_from: usize,
    room: usize,
    /// Records that are in no event: their shapes are too many.
    pub dropped: u64,
}

/// The last event of a shape, so that the next record of it finds it without a search.
pub(super) type LastEvent = u32;

impl Course {
    /// A course of the service of that number.
    pub(super) fn of_service(number: usize) -> Self {
        Self {
            room: if number < ROOMY { ROOM } else { LITTLE_ROOM },
            ..Self::default()
        }
    }

    /// The events in the order of the log.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The start of an event's first record, as it was read; `None` where it was not kept.
    pub fn text(&self, event: &Event) -> Option<&[u8]> {
        let (start, length) = (event.text.0 as usize, usize::from(event.text.1));
        self.texts
            .get(start..start + length)
            .filter(|text| !text.is_empty())
    }

    /// Adds the record that is the `count`th of its shape.
    pub(super) fn add(
        &mut self,
        record: &Record<'_>,
        at: Option<i64>,
        shape: u64,
        count: u64,
        last: &mut LastEvent,
    ) {
        let now = record.line >> self.near;
        if now != self.now {
            (self.now, self.now_from) = (now, self.events.len());
        }
        let place = *last as usize;
        if place >= self.now_from.max(FIRST)
            && let Some(event) = self.events.get_mut(place)
        {
            event.count = event.count.saturating_add(1);
            return;
        }
        if self.events.len() >= self.room {
            self.draw_together();
            if self.events.len() >= self.room {
                self.dropped += 1;
                return;
            }
        }
        let text = if count <= TEXTS || self.events.len() < FIRST {
            self.keep(record.text)
        } else {
            (0, 0)
        };
        *last = self.events.len() as LastEvent;
        self.events.push(Event {
            line: record.line,
            at,
            shape,
            count: 1,
            text,
        });
    }

    fn keep(&mut self, text: &[u8]) -> (u32, u16) {
        // A word that is cut would not be recognised as a secret.
        let text = match text.get(..TEXT_BYTES) {
            Some(cut) => &cut[..memchr::memrchr(b' ', cut).unwrap_or(0)],
            None => text,
        };
        let start = self.texts.len();
        if start + text.len() > self.room * BYTES_PER_EVENT {
            return (0, 0);
        }
        self.texts.extend_from_slice(text);
        (start as u32, text.len() as u16)
    }

    /// Makes events of one shape that are near each other one, until half of the room is free or all are near.
    fn draw_together(&mut self) {
        while self.events.len() > self.room / 2 && self.near < FARTHEST {
            self.near += 1;
            let mut last: ByHash<(u64, usize)> = ByHash::default();
            let first = FIRST.min(self.events.len());
            let mut to = first;
            for from in first..self.events.len() {
                let event = self.events[from];
                let now = event.line >> self.near;
                match last.get(&event.shape) {
                    Some((then, place)) if *then == now => {
                        let count = &mut self.events[*place].count;
                        *count = count.saturating_add(event.count);
                    }
                    _ => {
                        last.insert(event.shape, (now, to));
                        self.events[to] = event;
                        to += 1;
                    }
                }
            }
            self.events.truncate(to);
        }
        // No shape knows where its last event is now.
        self.now_from = self.events.len();
    }

    /// Takes over what was read behind so many lines.
    pub(super) fn append(&mut self, later: &Self, lines: u64) {
        let start = self.texts.len() as u32;
        self.texts.extend_from_slice(&later.texts);
        self.events.extend(later.events.iter().map(|event| Event {
            line: event.line + lines,
            text: (event.text.0 + start, event.text.1),
            ..*event
        }));
        self.dropped += later.dropped;
        self.near = self.near.max(later.near);
        if self.events.len() > self.room {
            self.draw_together();
        }
        self.now_from = self.events.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::parse::time::TimeReader;
    use crate::analysis::scan::{ScanOptions, Scanner, ServiceScan};
    use crate::domain::settings::RequestRules;

    fn service(text: &str) -> ServiceScan {
        let options = ScanOptions {
            course: true,
            ..ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap()
        };
        let mut scanner = Scanner::new(options);
        scanner.feed(text.as_bytes());
        scanner.finish().services.remove(0)
    }

    fn line(n: u64) -> String {
        format!(
            "2025-12-27T14:{:02}:{:02}Z INFO job {n} finished in {} ms\n",
            n / 6000 % 60,
            n / 100 % 60,
            n % 700
        )
    }

    #[test]
    fn a_short_log_is_kept_as_it_is() {
        let text: String = (0..300).map(line).collect();
        let scan = service(&(text + "2025-12-27T15:00:00Z ERROR out of paper\n"));
        let events = scan.course.events();
        assert_eq!(events.len(), 301);
        let last = &events[300];
        assert_eq!((last.line, last.count), (301, 1));
        assert_eq!(last.at, Some(1_766_847_600_000));
        let text = scan.course.text(last).unwrap();
        assert_eq!(text, b"2025-12-27T15:00:00Z ERROR out of paper");
        assert!(scan.course.text(&events[200]).is_some(), "one of the first");
        assert!(scan.course.text(&events[290]).is_none(), "one of many");
    }

    #[test]
    fn a_long_log_is_bounded_and_what_is_rare_keeps_its_place() {
        let mut text = String::new();
        for n in 0..200_000 {
            text.push_str(&line(n));
            if n == 123_456 {
                text.push_str("2025-12-27T14:59:59Z ERROR out of paper\n");
            }
        }
        let scan = service(&text);
        let course = &scan.course;
        assert!(course.events().len() <= ROOM);
        assert_eq!(course.dropped, 0);
        let all: u64 = course.events().iter().map(|e| u64::from(e.count)).sum();
        assert_eq!(all, 200_001);
        let rare = course.events().iter().find(|e| e.line == 123_458).unwrap();
        assert_eq!(rare.count, 1);
        assert!(course.text(rare).unwrap().ends_with(b"out of paper"));
        assert!(course.events().is_sorted_by_key(|e| e.line));
        assert!(course.events()[..FIRST].iter().all(|e| e.count == 1));
    }

    #[test]
    fn nothing_is_kept_where_nobody_asks() {
        let mut scanner =
            Scanner::new(ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap());
        scanner.feed(line(1).as_bytes());
        assert!(scanner.finish().services[0].course.events().is_empty());
    }
}
