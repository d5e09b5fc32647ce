//! The span of time of a read, by the times that the lines themselves say.
//!
//! A line without a time belongs to the line before it (a stack trace to its record). A log none of whose lines
//! has a time cannot be cut by time: all of it is inside, since nothing says that it is not.

use std::fs::File;
use std::io;

use jiff::{Timestamp, Zoned};
use memchr::memchr;

use super::lines::read_at;
use crate::analysis::parse::read_line;
use crate::analysis::parse::time::TimeReader;
use crate::domain::log::{LogBlock, Window};

/// How far a probe looks for a line with a time.
const PROBE: usize = 64 * 1024;

/// Lets lines of a window through.
#[derive(Debug)]
pub(super) struct Filter {
    window: Window,
    times: TimeReader,
    is_inside: bool,
}

impl Filter {
    /// `None` where every line is wanted. An end that is not in the past cuts nothing: what is there now was
    /// written before it, whatever clock or zone its times are of.
    pub(super) fn new(window: Window) -> Option<Self> {
        let now = Zoned::now();
        let window = Window {
            since: window.since,
            until: window.until.filter(|until| *until < now.timestamp()),
        };
        (window != Window::ALL).then(|| Self {
            window,
            times: TimeReader::new(&now),
            is_inside: true,
        })
    }

    /// Takes the lines outside the window out of a block, their text too: a search runs over all of it at once.
    pub(super) fn apply(&mut self, block: &mut LogBlock) {
        let LogBlock { bytes, lines } = block;
        let mut kept = 0;
        lines.retain_mut(|line| {
            let (start, end) = (line.start as usize, line.end as usize);
            if let Some(at) = read_line(&bytes[start..end], &mut self.times).at {
                self.is_inside = self.window.contains(at);
            }
            if self.is_inside {
                bytes.copy_within(start..end + 1, kept);
                line.start = kept as u32;
                line.end = (kept + end - start) as u32;
                kept += end - start + 1;
            }
            self.is_inside
        });
        bytes.truncate(kept);
    }

    /// The first instant of the window.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.window.since
    }

    /// How it reads times.
    pub(super) fn times(&self) -> &TimeReader {
        &self.times
    }

    /// The bytes of a file, between two line starts, that can hold lines of the window. Found by bisection, so
    /// that the last minutes of a large log cost no more than those of a small one.
    pub(super) fn range(&self, file: &File, from: u64, to: u64) -> io::Result<(u64, u64)> {
        let start = match self.window.since {
            Some(since) => self.bisect(file, from, to, since)?.0,
            None => from,
        };
        let end = match self.window.until {
            Some(until) => self.bisect(file, start, to, until)?.1,
            None => to,
        };
        Ok((start, end))
    }

    /// A line start before which every line is earlier than `at`, and one from which on none is. They are the
    /// same unless the times near there are missing or out of order.
    fn bisect(&self, file: &File, from: u64, to: u64, at: Timestamp) -> io::Result<(u64, u64)> {
        let (mut low, mut high) = (from, to);
        while high - low > 2 * PROBE as u64 {
            let middle = low + (high - low) / 2;
            match self.first_time_after(file, middle)? {
                Some((line, time)) if time < at => low = line,
                Some((line, _)) if line < high => high = line,
                // No time near the middle: what is left is read line by line.
                _ => break,
            }
        }
        if high - low > 2 * PROBE as u64 {
            return Ok((low, high));
        }
        let mut buffer = vec![0; (high - low) as usize];
        let read = read_at(file, &mut buffer, low)?;
        let mut times = self.times.clone();
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &buffer[start..read]) {
            let line = &buffer[start..start + length];
            if read_line(line, &mut times)
                .at
                .is_some_and(|time| time >= at)
            {
                let exact = low + start as u64;
                return Ok((exact, exact));
            }
            start += length + 1;
        }
        Ok((if high == to { low } else { high }, high))
    }

    /// The first line after an offset that has a time, and where it starts.
    fn first_time_after(&self, file: &File, offset: u64) -> io::Result<Option<(u64, Timestamp)>> {
        let mut buffer = vec![0; PROBE];
        let read = read_at(file, &mut buffer, offset)?;
        let mut times = self.times.clone();
        let mut start = match memchr(b'\n', &buffer[..read]) {
            Some(end) => end + 1,
            None => return Ok(None),
        };
        while let Some(length) = memchr(b'\n', &buffer[start..read]) {
            if let Some(at) = read_line(&buffer[start..start + length], &mut times).at {
                return Ok(Some((offset + start as u64, at)));
            }
            start += length + 1;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn window(since: Option<i64>, until: Option<i64>) -> Window {
        Window {
            since: since.map(at),
            until: until.map(at),
        }
    }

    fn texts(block: &LogBlock) -> Vec<String> {
        block
            .iter()
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
            .collect()
    }

    #[test]
    fn a_trace_stays_with_its_record() {
        let mut filter = Filter::new(window(Some(1), Some(2))).unwrap();
        let mut block = LogBlock::default();
        for line in [
            format!("{} INFO early", at(0)),
            "  at early()".to_owned(),
            format!("{} ERROR inside", at(1)),
            "  at inside()".to_owned(),
            format!("{} INFO late", at(2)),
        ] {
            block.push(None, crate::domain::log::Stream::Stdout, line.as_bytes(), 0);
        }
        filter.apply(&mut block);
        let kept = texts(&block);
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[0].ends_with("ERROR inside") && kept[1] == "  at inside()");
    }

    #[test]
    fn lines_without_any_time_are_not_cut_by_time() {
        let mut filter = Filter::new(window(Some(0), None)).unwrap();
        let mut block = LogBlock::default();
        block.push(None, crate::domain::log::Stream::Stdout, b"plain", 0);
        filter.apply(&mut block);
        assert_eq!(texts(&block), ["plain"]);
        let future = Window {
            since: None,
            until: Some(Timestamp::now() + std::time::Duration::from_secs(60)),
        };
        assert!(Filter::new(future).is_none());
        assert!(Filter::new(Window::ALL).is_none());
    }

    #[test]
    fn bisection_finds_the_lines_that_reading_all_would() {
        let mut file = tempfile::tempfile().unwrap();
        let mut starts = Vec::new();
        let mut size = 0;
        for second in 0..20_000 {
            let line = format!("{} INFO line {second} {}\n", at(second), "x".repeat(40));
            starts.push(size);
            size += line.len() as u64;
            file.write_all(line.as_bytes()).unwrap();
        }
        for (since, until) in [(0, 5), (7_000, 7_010), (19_990, 19_999), (12_345, 12_346)] {
            let filter = Filter::new(window(Some(since), Some(until))).unwrap();
            let (start, end) = filter.range(&file, 0, size).unwrap();
            let first = starts[since as usize];
            let last = starts[until as usize];
            assert!(
                start <= first && end >= last,
                "{since}: {start} {first} {last} {end}"
            );
            assert!(end - start <= 5 * PROBE as u64, "{since}: {start}..{end}");
            assert!(starts.contains(&start));
        }
    }
}
