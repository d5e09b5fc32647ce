//! One pass over a log: framing, fields, requests, patterns, in bounded memory.
//!
//! `errors`, `slow`, `patterns`, `compare` and the signals of a service all read a [`Scan`]. Bytes may come in
//! chunks cut anywhere; the result is the same.

mod course;
mod numbers;
mod parts;
mod recall;
mod record;
mod skeleton;
mod tally;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::domain::log::Level;
use crate::domain::settings::RequestRules;
use crate::domain::time_buckets::TimeBuckets;

use super::latency::Histogram;
use super::parse::frame;
use super::parse::header::{self, Header};
use super::parse::request::RequestReader;
use super::parse::time::TimeReader;
pub use course::{Course, Event};
pub use numbers::Numbers;
pub use parts::join_spans;
pub use recall::{ByHash, Same};
use recall::{Recall, Recalled};
pub use tally::{Counts, RouteTally, Tally};

/// A line longer than this is cut; what follows up to its end is counted, not read.
pub const MAX_LINE: usize = 1 << 20;
/// A record keeps at most so many bytes of its lines.
const MAX_RECORD: usize = 64 * 1024;
/// The header is learned from so many lines.
const SAMPLE_LINES: usize = 1000;
/// … or so many bytes of them.
const SAMPLE_BYTES: usize = 1 << 20;
/// So many records of one request are kept of a service.
pub const MAX_TRACED: usize = 200;
/// So many compose prefixes are told apart; more are one stream.
const MAX_STREAMS: usize = 256;

/// How to read a log.
#[derive(Debug, Clone)]
pub struct ScanOptions {
    /// How requests look.
    pub requests: RequestReader,
    /// How written times become instants.
    pub times: TimeReader,
    /// Spans after a process start, in milliseconds since 1970: left out of the statistical test only.
    pub warm_up: Vec<(i64, i64)>,
    /// Whether lines may carry compose's prefix (`backend-1  | `); a service's own log does not.
    pub prefixes: bool,
    /// Whether to keep which pattern each record belongs to.
    pub assign: bool,
    /// Whether to keep in what order each service wrote.
    pub course: bool,
    /// Keep the records of the request with this id, by its [`request_key`].
    pub traced: Option<u64>,
    /// Requests over this many milliseconds are counted as slow, and the slowest are kept.
    pub slow_over_ms: Option<f64>,
}

impl ScanOptions {
    /// Rules of a service, times filled in by `times`.
    ///
    /// # Errors
    /// The configured regular expression cannot be read.
    pub fn new(rules: &RequestRules, times: TimeReader) -> Result<Self, String> {
        Ok(Self {
            requests: RequestReader::new(rules)?,
            times,
            warm_up: Vec::new(),
            prefixes: true,
            assign: false,
            course: false,
            traced: None,
            slow_over_ms: None,
        })
    }
}

/// One slow request.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowRequest {
    /// How long it took.
    pub ms: f64,
    /// Method and route.
    pub endpoint: String,
    /// The record's first line.
    pub line: String,
}

/// An example of a pattern with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The number of the record's first line, from 1.
    pub line: u64,
    /// The start of the record, as it was read.
    pub text: Vec<u8>,
}

/// A record of the request that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// When it was written, in milliseconds since 1970.
    pub at: Option<i64>,
    /// The hash of its shape.
    pub shape: u64,
    /// The record with its place.
    pub example: Example,
}

/// The key of a request id.
pub fn request_key(id: &[u8]) -> u64 {
    super::pattern::hash(id, 0)
}

/// A distinct shape of records and what was counted of it.
#[derive(Debug, Clone)]
pub struct ShapeCount {
    /// The masked text.
    pub masked: Vec<u8>,
    /// Its level.
    pub level: Option<Level>,
    /// Occurrences.
    pub count: u64,
    /// When it was first and last seen, in milliseconds since 1970.
    pub seen: Option<(i64, i64)>,
    /// How often it occurred when; `None` where records have no time.
    pub times: Option<Box<TimeBuckets>>,
    /// In how many different seconds it occurred; every occurrence counts where records have no time.
    pub seconds: u64,
    first_second: i64,
    last_second: i64,
    last_event: course::LastEvent,
    /// The first records of it.
    pub examples: Vec<Example>,
    /// Durations in its records.
    pub latency: Option<Box<Histogram>>,
    /// Other numbers in its records.
    pub numbers: Option<Box<Numbers>>,
}

/// What one service wrote.
#[derive(Debug, Clone, Default)]
pub struct ServiceScan {
    /// The service's name in the compose prefix; `None` for lines without one.
    pub name: Option<String>,
    /// Records.
    pub records: u64,
    /// First and last instant, in milliseconds since 1970.
    pub span: Option<(i64, i64)>,
    /// Records by level.
    pub levels: crate::domain::comparison::LevelCounts,
    /// Requests of all routes.
    pub total: Tally,
    /// Requests by route.
    pub routes: ByHash<RouteTally>,
    /// Shapes by hash.
    pub shapes: ByHash<ShapeCount>,
    /// How many of them keep a sample of their numbers.
    pub numbered: usize,
    /// With [`ScanOptions::course`]: its records in order.
    pub course: Course,
    /// With [`ScanOptions::traced`]: the records of that request, at most [`MAX_TRACED`].
    pub traced: Vec<Traced>,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// Each service; lines without a prefix are one service without a name.
    pub services: Vec<ServiceScan>,
    /// How many services there are, also after they were moved out.
    pub service_count: usize,
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Lines that were longer than [`MAX_LINE`].
    pub cut_lines: u64,
    /// Records whose shape was not kept because there were too many different ones.
    pub dropped: u64,
    /// With [`ScanOptions::assign`]: first line, service and shape of each record.
    pub assigned: Vec<(u64, u32, u64)>,
    /// With [`ScanOptions::slow_over_ms`]: how many requests were slower.
    pub over_threshold: u64,
    /// With [`ScanOptions::slow_over_ms`]: the slowest requests, the slowest first.
    pub slowest: Vec<SlowRequest>,
}

impl Scan {
    /// Records of all services.
    pub fn records(&self) -> u64 {
        self.services.iter().map(|s| s.records).sum()
    }
}

/// A stream of lines that framing follows on its own.
#[derive(Debug, Clone, Default)]
struct Stream {
    service: usize,
    header: Header,
    is_learned: bool,
    sample: Sample,
    /// The open record: its lines, parted by `\n`.
    open: Vec<u8>,
    open_line: u64,
    open_at: Option<i64>,
    is_open: bool,
    in_trace: bool,
    /// Whether the open record's message stands on the next line.
    in_category: bool,
    /// What is known of the open record, as long as it is one line.
    recalled: Option<Recalled>,
}

impl Stream {
    fn open_record(&mut self, number: u64, at: Option<i64>, text: &[u8]) {
        self.open.extend_from_slice(text);
        self.open_line = number;
        self.open_at = at;
        self.is_open = true;
        self.in_category = frame::names_category(text);
    }

    /// Whether a line goes on with the record that is open.
    fn goes_on(&self, text: &[u8]) -> bool {
        if self.in_category && text.starts_with(frame::CONSOLE_INDENT) {
            return true;
        }
        let expects = self.header.is_timed;
        let has_header = (expects || self.in_trace)
            && (text.first().is_some_and(|b| *b == b'{') || header::has_time(text));
        frame::is_continuation(text, self.in_trace, expects, has_header)
    }

    /// Whether a record is one line that would open a record under any other that is no trace.
    fn opens_alone(&self, record: &[u8]) -> bool {
        !self.in_trace
            && !self.in_category
            && !record.starts_with(frame::CONSOLE_INDENT)
            && memchr::memchr(b'\n', record).is_none()
            && !self.goes_on(record)
    }
}

/// Lines that wait until the header is learned.
#[derive(Debug, Clone, Default)]
struct Sample {
    bytes: Vec<u8>,
    lines: Vec<(usize, u64, Option<i64>)>,
}

/// Reads a log chunk by chunk.
#[derive(Debug, Clone)]
pub struct Scanner {
    options: ScanOptions,
    scan: Scan,
    streams: Vec<Stream>,
    by_name: HashMap<Vec<u8>, usize, BuildHasherDefault<Same>>,
    carry: Vec<u8>,
    is_cut: bool,
    colour: Vec<u8>,
    work: record::Work,
    /// Whether the first line is not the first of the log.
    is_later_part: bool,
    /// `None` where requests are told by an expression: it may depend on anything.
    recall: Option<Recall>,
}

impl Scanner {
    /// A scanner that has read nothing.
    pub fn new(options: ScanOptions) -> Self {
        Self {
            recall: (!options.requests.is_configured()).then(Recall::default),
            options,
            scan: Scan::default(),
            streams: Vec::new(),
            by_name: HashMap::default(),
            carry: Vec::new(),
            is_cut: false,
            colour: Vec::new(),
            work: record::Work::default(),
            is_later_part: false,
        }
    }

    /// A scanner that reads every record in full, to hold the other against.
    #[cfg(test)]
    fn without_recall(options: ScanOptions) -> Self {
        Self {
            recall: None,
            ..Self::new(options)
        }
    }

    /// Reads the next bytes, cut anywhere.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.scan.bytes += chunk.len() as u64;
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end);
            rest = &tail[1..];
            if self.carry.is_empty() && !self.is_cut {
                self.line(None, line);
                continue;
            }
            self.extend_carry(line);
            let carry = std::mem::take(&mut self.carry);
            self.line(None, &carry);
            self.carry = carry;
            self.carry.clear();
            self.is_cut = false;
        }
        self.extend_carry(rest);
    }

    fn extend_carry(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.carry.len());
        self.carry
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room && !self.is_cut {
            self.is_cut = true;
            self.scan.cut_lines += 1;
        }
    }

    /// Reads one line that came with the runtime's own time (milliseconds since 1970).
    pub fn feed_line(&mut self, at: Option<i64>, line: &[u8]) {
        self.scan.bytes += line.len() as u64 + 1;
        self.line(at, line);
    }

    fn line(&mut self, at: Option<i64>, line: &[u8]) {
        self.scan.lines += 1;
        let number = self.scan.lines;
        let line = if line.len() > MAX_LINE {
            self.scan.cut_lines += 1;
            &line[..MAX_LINE]
        } else {
            line
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = match number {
            // A byte order mark is no part of the first line.
            1 if !self.is_later_part => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            _ => line,
        };
        let (name, stamp, text) = frame::cut_front(line, self.options.prefixes);
        let mut at = at;
        if let Some(stamp) = stamp {
            at = super::parse::time::read(stamp)
                .and_then(|(written, _)| self.options.times.resolve(&written))
                .or(at);
        }
        let index = self.stream(name);
        let mut colour = std::mem::take(&mut self.colour);
        let text = frame::without_colour(text, &mut colour);
        if self.streams[index].is_learned {
            self.frame(index, number, at, text);
        } else {
            let sample = &mut self.streams[index].sample;
            sample.bytes.extend_from_slice(text);
            sample.lines.push((sample.bytes.len(), number, at));
            if sample.lines.len() >= SAMPLE_LINES || sample.bytes.len() >= SAMPLE_BYTES {
                self.learn(index);
            }
        }
        self.colour = colour;
    }

    fn stream(&mut self, name: Option<&[u8]>) -> usize {
        let key = name.unwrap_or(b"");
        if let Some(index) = self.by_name.get(key) {
            return *index;
        }
        if self.streams.len() >= MAX_STREAMS {
            return 0;
        }
        let index = self.streams.len();
        self.streams.push(Stream {
            service: index,
            ..Stream::default()
        });
        self.scan.services.push(ServiceScan {
            name: name.map(|n| String::from_utf8_lossy(n).into_owned()),
            course: Course::of_service(index),
            ..ServiceScan::default()
        });
        self.by_name.insert(key.to_vec(), index);
        index
    }

    /// Learns the header from the sample and reads the sample's lines.
    fn learn(&mut self, index: usize) {
        let sample = std::mem::take(&mut self.streams[index].sample);
        let stream = &mut self.streams[index];
        let mut start = 0;
        let starts = sample.lines.iter().map(|(end, ..)| {
            let line = &sample.bytes[start..*end];
            start = *end;
            line
        });
        // Lines of a trace say nothing of the header, nor does the one that ends it.
        let mut in_trace = false;
        let heads = starts.filter(|line| {
            let is_trace =
                line.first().is_some_and(|b| matches!(b, b' ' | b'\t')) || frame::is_trace(line);
            let ends_trace = std::mem::replace(&mut in_trace, is_trace) && !header::has_time(line);
            !line.is_empty() && line[0] != b'{' && !is_trace && !ends_trace
        });
        stream.header = Header::learn(heads);
        stream.is_learned = true;
        let mut start = 0;
        for (end, number, at) in &sample.lines {
            self.frame(index, *number, *at, &sample.bytes[start..*end]);
            start = *end;
        }
    }

    /// Adds a line to the stream's open record, or closes that record and opens the next.
    fn frame(&mut self, index: usize, number: u64, at: Option<i64>, text: &[u8]) {
        let stream = &mut self.streams[index];
        if !stream.in_trace
            && let Some(recall) = &mut self.recall
            && let Some(found) = recall.find(index, text)
        {
            self.close(index);
            let stream = &mut self.streams[index];
            stream.open_record(number, at, text);
            stream.recalled = Some(found);
            return;
        }
        let stream = &mut self.streams[index];
        if stream.is_open && stream.goes_on(text) {
            stream.in_trace |= frame::is_trace(text);
            stream.recalled = None;
            if stream.open.len() + text.len() < MAX_RECORD {
                stream.open.push(b'\n');
                stream.open.extend_from_slice(text);
            }
            return;
        }
        self.close(index);
        if text.is_empty() {
            return;
        }
        let stream = &mut self.streams[index];
        stream.open_record(number, at, text);
        stream.in_trace = frame::is_trace(text);
    }

    /// Counts the stream's open record.
    fn close(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        if !stream.is_open {
            return;
        }
        stream.is_open = false;
        let open = std::mem::take(&mut stream.open);
        let record = record::Record {
            line: stream.open_line,
            at: stream.open_at,
            text: &open,
            header: &stream.header,
            service: stream.service,
        };
        let (options, scan, work) = (&mut self.options, &mut self.scan, &mut self.work);
        let recalled = stream.recalled.take();
        let is_counted = recalled.is_some_and(|recalled| {
            record::count_recalled(&record, &recalled, options, scan, work)
        });
        if !is_counted {
            // Only a line that opens a record whatever stands above it may be recognised as one.
            let opens = stream.opens_alone(&open);
            let recall = self.recall.as_mut().filter(|_| opens);
            record::count(&record, options, scan, work, recall);
        }
        let stream = &mut self.streams[index];
        stream.open = open;
        stream.open.clear();
    }

    /// Counts what waits for more: an unfinished line, lines whose header is to be learned, open records.
    fn close_all(&mut self) {
        if !self.carry.is_empty() {
            let carry = std::mem::take(&mut self.carry);
            self.line(None, &carry);
        }
        for index in 0..self.streams.len() {
            if !self.streams[index].is_learned {
                self.learn(index);
            }
            self.close(index);
        }
    }

    /// Drops services that have no record, and renumbers the assignments.
    fn keep_spoken(&mut self) {
        let mut numbers = Vec::new();
        let mut next = 0;
        for service in &self.scan.services {
            numbers.push(next);
            next += u32::from(service.records > 0);
        }
        self.scan.services.retain(|s| s.records > 0);
        self.scan.service_count = self.scan.services.len();
        for (_, service, _) in &mut self.scan.assigned {
            *service = numbers[*service as usize];
        }
    }

    /// Ends the reading.
    pub fn finish(mut self) -> Scan {
        self.close_all();
        self.scan.assigned.sort_unstable_by_key(|(line, ..)| *line);
        self.keep_spoken();
        self.scan
    }
}

#[cfg(test)]
mod tests;
