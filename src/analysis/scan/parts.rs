//! One log read in two parts at once: the later part by a scanner of its own, which is then appended to the first.

use super::record::{self, MAX_ROUTES, MAX_SHAPES, SLOWEST};
use super::{
    Course, Example, MAX_TRACED, RouteTally, Scan, Scanner, ServiceScan, ShapeCount, Stream,
};
use crate::analysis::parse::{frame, header};
use crate::analysis::pattern::structured;
use crate::domain::comparison::LevelCounts;
use crate::domain::time_buckets::TimeBuckets;

/// So many lines behind the place must show that no record goes on across it.
const LOOK_AHEAD: usize = 400;

impl Scanner {
    /// A scanner for a later part of the log, that knows the headers which this one has learned. `None` where the parts
    /// cannot be read apart: times without a date depend on the lines before them.
    pub fn for_later_part(&self) -> Option<Self> {
        if self.options.times.counts_days() || !self.streams.iter().any(|s| s.is_learned) {
            return None;
        }
        let mut later = Self::new(self.options.clone());
        later.is_later_part = true;
        later.by_name.clone_from(&self.by_name);
        for (stream, service) in self.streams.iter().zip(&self.scan.services) {
            later.streams.push(Stream {
                service: stream.service,
                header: stream.header.clone(),
                is_learned: stream.is_learned,
                ..Stream::default()
            });
            later.scan.services.push(ServiceScan {
                name: service.name.clone(),
                course: Course::of_service(stream.service),
                ..ServiceScan::default()
            });
        }
        Some(later)
    }

    /// Where the part of this scanner can begin in a piece of the log: behind a line break, where the next line of every
    /// stream opens a record. `None` where there is no such place.
    pub fn place_to_begin(&self, piece: &[u8]) -> Option<usize> {
        let mut begin = memchr::memchr(b'\n', piece)? + 1;
        let mut seen: Vec<&[u8]> = Vec::new();
        let (mut at, mut looked) = (begin, 0);
        while let Some(length) = memchr::memchr(b'\n', &piece[at..]) {
            let line = &piece[at..at + length];
            at += length + 1;
            looked += 1;
            let (name, opens) = self.opens_record(line);
            if !seen.contains(&name) {
                if opens {
                    seen.push(name);
                } else {
                    // A record of this stream goes on here: the place is behind it.
                    (begin, looked) = (at, 0);
                    seen.clear();
                }
            }
            if looked >= LOOK_AHEAD {
                return Some(begin);
            }
        }
        None
    }

    /// The stream of a line, and whether it opens a record whatever stands above it.
    fn opens_record<'a>(&self, line: &'a [u8]) -> (&'a [u8], bool) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, _, text) = frame::cut_front(line, self.options.prefixes);
        let name = name.unwrap_or(b"");
        let mut colour = Vec::new();
        let text = frame::without_colour(text, &mut colour);
        // A line below a trace may be its end: only a header is sure.
        let is_sure = text.first() == Some(&b'{')
            || header::has_time(text)
            || structured::logfmt(text).is_some();
        let opens = is_sure && !frame::is_continuation(text, false, true, true);
        (name, opens)
    }

    /// Takes over what the scanner of the part behind this one has read.
    pub fn append(&mut self, mut later: Self) {
        self.close_all();
        later.close_all();
        let lines = self.scan.lines;
        let mut numbers = Vec::new();
        for service in std::mem::take(&mut later.scan.services) {
            let number = self.stream(service.name.as_deref().map(str::as_bytes));
            numbers.push(number);
            add_service(&mut self.scan, number, service, lines);
        }
        for (id, service) in later.work.take_failed_ids() {
            let number = numbers.get(service).copied().unwrap_or(0);
            // Records of one request on both sides of the cut are one error.
            if !self.work.remember_failed(id, number) {
                self.scan.services[number].total.uncount_error_record();
            }
        }
        let other = later.scan;
        self.scan.lines += other.lines;
        self.scan.bytes += other.bytes;
        self.scan.cut_lines += other.cut_lines;
        self.scan.dropped += other.dropped;
        self.scan.over_threshold += other.over_threshold;
        self.scan.slowest.extend(other.slowest);
        self.scan.slowest.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        self.scan.slowest.truncate(SLOWEST);
        let number = |(line, service, shape): (u64, u32, u64)| {
            let service = numbers.get(service as usize).copied().unwrap_or(0);
            (line + lines, service as u32, shape)
        };
        self.scan
            .assigned
            .extend(other.assigned.into_iter().map(number));
    }
}

fn add_service(scan: &mut Scan, number: usize, other: ServiceScan, lines: u64) {
    let service = &mut scan.services[number];
    service.records += other.records;
    service.span = join_spans(service.span, other.span);
    add_levels(&mut service.levels, other.levels);
    service.total.merge(&other.total);
    service.course.append(&other.course, lines);
    service
        .traced
        .extend(other.traced.into_iter().map(|mut traced| {
            traced.example.line += lines;
            traced
        }));
    service.traced.truncate(MAX_TRACED);
    for (key, mut route) in other.routes {
        let example = |example: &mut Example| example.line += lines;
        route.slowest.iter_mut().for_each(|(_, e)| example(e));
        route.failed.iter_mut().for_each(example);
        let is_full = service.routes.len() >= MAX_ROUTES;
        match service.routes.get_mut(&key) {
            Some(own) => add_route(own, route),
            None if !is_full => {
                service.routes.insert(key, route);
            }
            None => {}
        }
    }
    for (key, mut shape) in other.shapes {
        shape.examples.iter_mut().for_each(|e| e.line += lines);
        let is_full = service.shapes.len() >= MAX_SHAPES;
        match service.shapes.get_mut(&key) {
            Some(own) => add_shape(own, shape),
            None if !is_full => {
                service.numbered += usize::from(shape.numbers.is_some());
                service.shapes.insert(key, shape);
            }
            None => {
                scan.dropped += shape.count;
                record::open_untold(service).count += shape.count;
            }
        }
    }
}

/// The span that holds both, in milliseconds since 1970.
pub fn join_spans(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some((from, to)), Some((since, until))) => Some((from.min(since), to.max(until))),
        (a, b) => a.or(b),
    }
}

fn add_levels(levels: &mut LevelCounts, other: LevelCounts) {
    levels.trace += other.trace;
    levels.debug += other.debug;
    levels.info += other.info;
    levels.warn += other.warn;
    levels.error += other.error;
    levels.fatal += other.fatal;
    levels.none += other.none;
}

fn add_route(route: &mut RouteTally, other: RouteTally) {
    route.tally.merge(&other.tally);
    let is_slower = |ms: f64| route.slowest.as_ref().is_none_or(|(own, _)| ms > *own);
    if other.slowest.as_ref().is_some_and(|(ms, _)| is_slower(*ms)) {
        route.slowest = other.slowest;
    }
    if route.failed.is_none() {
        route.failed = other.failed;
    }
}

fn add_shape(shape: &mut ShapeCount, other: ShapeCount) {
    let is_shared = other.seen.is_some() && other.first_second == shape.last_second;
    shape.count += other.count;
    shape.seen = join_spans(shape.seen, other.seen);
    TimeBuckets::join(&mut shape.times, other.times.as_deref());
    shape.seconds += other.seconds - u64::from(is_shared);
    if other.seen.is_some() {
        shape.last_second = other.last_second;
    }
    shape.examples.extend(other.examples);
    shape.examples.truncate(record::EXAMPLES);
    match (&mut shape.latency, other.latency) {
        (Some(own), Some(other)) => own.merge(&other),
        (own, other) => *own = own.take().or(other),
    }
    match (&mut shape.numbers, other.numbers) {
        (Some(own), Some(other)) => own.append(*other),
        (own, other) => *own = own.take().or(other),
    }
}
