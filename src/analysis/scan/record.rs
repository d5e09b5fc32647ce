//! One record: its fields read, its request counted, its shape counted.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::course::LastEvent;
use super::recall::{Lesson, Outcome, Recall, Recalled, Same, TimeText};
use super::{
    Example, MAX_TRACED, RouteTally, Scan, ScanOptions, ServiceScan, ShapeCount, SlowRequest,
    Tally, Traced, request_key,
};
use crate::analysis::kept::Kept;
use crate::analysis::latency::Histogram;
use crate::analysis::parse::header::{self, Header};
use crate::analysis::parse::json::{self, JsonHead, LEVEL_KEYS, Object, TIME_KEYS, Value};
use crate::analysis::parse::request::RequestFields;
use crate::analysis::parse::{frame, level, route};
use crate::analysis::pattern::{hash, mask, structured, trace};
use crate::domain::log::Level;
use crate::domain::time_buckets::TimeBuckets;

/// So many different shapes of one service are kept.
pub(super) const MAX_SHAPES: usize = 65_536;
/// So many routes of one service are kept; more are counted in the total only.
pub(super) const MAX_ROUTES: usize = 2_000;
/// The numbers of so many shapes of one service are sampled (at most 6 kB each).
const MAX_NUMBERED: usize = 2_000;
/// Examples of a shape, and how much of each is kept.
pub(super) const EXAMPLES: usize = 3;
const EXAMPLE_BYTES: usize = 2048;
/// The slowest requests that are kept.
pub(super) const SLOWEST: usize = 10;
/// What a slow request's route is called when there are too many to keep.
const MANY_ROUTES: &str = "one of many routes";
/// The key of all shapes that are not told apart.
const UNTOLD: u64 = 0;
/// Request ids with an error that are remembered.
const MAX_IDS: usize = 65_536;

/// A record as framing gives it.
pub(super) struct Record<'a> {
    pub line: u64,
    pub at: Option<i64>,
    pub text: &'a [u8],
    pub header: &'a Header,
    pub service: usize,
}

/// Memory that is used again for every record.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    masked: Vec<u8>,
    /// A head that stands on two lines.
    joined: Vec<u8>,
    route: Vec<u8>,
    kept: Kept,
    /// Requests with an error record, with their service.
    failed_ids: HashMap<u64, usize, BuildHasherDefault<Same>>,
}

impl Work {
    /// Notes that a request has an error record. False where that was known.
    pub(super) fn remember_failed(&mut self, id: u64, service: usize) -> bool {
        self.failed_ids.len() >= MAX_IDS || self.failed_ids.insert(id, service).is_none()
    }

    /// The requests that have error records, with their services.
    pub(super) fn take_failed_ids(&mut self) -> impl Iterator<Item = (u64, usize)> {
        std::mem::take(&mut self.failed_ids).into_iter()
    }
}

struct Read<'a> {
    at: Option<i64>,
    time: TimeText<'a>,
    level: Option<Level>,
    request: RequestFields<'a>,
}

/// What is counted of a record.
struct Facts {
    at: Option<i64>,
    outcome: Outcome,
    status: Option<u16>,
    duration_ms: Option<f64>,
    /// The hash of its request id.
    request_id: Option<u64>,
}

/// Reads a record in full and counts it; `recall` remembers it, unless it may not.
pub(super) fn count(
    record: &Record<'_>,
    options: &mut ScanOptions,
    scan: &mut Scan,
    work: &mut Work,
    recall: Option<&mut Recall>,
) {
    let (head, rest) = match memchr::memchr(b'\n', record.text) {
        Some(end) => (&record.text[..end], Some(&record.text[end + 1..])),
        None => (record.text, None),
    };
    let mut joined = std::mem::take(&mut work.joined);
    let (head, rest) = join_head(head, rest, &mut joined);
    work.masked.clear();
    work.kept.clear();
    let read = read(record, head, rest, options, work);
    let request = &read.request;
    let service = &mut scan.services[record.service];
    let mut route = None;
    if request.is_request() {
        route::normalise(
            request.route.unwrap_or(b"-"),
            &mut work.route,
            &mut work.kept,
        );
        if !route::is_ignored(&work.route, &options.requests.ignored) {
            if request.route.is_none() {
                work.route.clear();
                work.route.push(b'-');
            }
            route = Some(open_route(service, &work.route, request.method));
        }
    }
    let shape = open_shape(service, read.level, &work.masked, &mut scan.dropped);
    let facts = Facts {
        at: read.at,
        outcome: Outcome {
            level: read.level,
            route,
            shape,
        },
        status: request.status,
        duration_ms: request.duration_ms,
        request_id: request.request_id.map(request_key),
    };
    tally(record, head, &facts, options, scan, work);
    // What was not told apart for want of room is counted as such each time.
    let has_room = shape != UNTOLD
        && route.is_none_or(|key| scan.services[record.service].routes.contains_key(&key));
    if let Some(recall) = recall
        && has_room
    {
        let lesson = Lesson {
            line: head,
            time: read.time,
            request,
            kept: &work.kept,
            outcome: facts.outcome,
        };
        recall.learn(record.service, &lesson);
    }
    work.joined = joined;
}

/// Puts a message that stands below level and category (.NET's console logger) behind them.
fn join_head<'a>(
    head: &'a [u8],
    rest: Option<&'a [u8]>,
    joined: &'a mut Vec<u8>,
) -> (&'a [u8], Option<&'a [u8]>) {
    let Some(message) = rest.and_then(|rest| rest.strip_prefix(frame::CONSOLE_INDENT)) else {
        return (head, rest);
    };
    if !frame::names_category(head) {
        return (head, rest);
    }
    let (message, rest) = match memchr::memchr(b'\n', message) {
        Some(end) => (&message[..end], Some(&message[end + 1..])),
        None => (message, None),
    };
    joined.clear();
    joined.extend_from_slice(head);
    joined.push(b' ');
    joined.extend_from_slice(message);
    (joined, rest)
}

/// Counts a record that looks like one that was read before. False where its time is none, although it was one there:
/// then it has to be read in full.
pub(super) fn count_recalled(
    record: &Record<'_>,
    recalled: &Recalled,
    options: &mut ScanOptions,
    scan: &mut Scan,
    work: &mut Work,
) -> bool {
    let at = recalled.time.map(|t| t.resolve(&mut options.times));
    if at == Some(None) {
        return false;
    }
    let facts = Facts {
        at: at.flatten(),
        outcome: recalled.outcome,
        status: recalled.status,
        duration_ms: recalled.duration_ms,
        request_id: recalled.request_id,
    };
    tally(record, record.text, &facts, options, scan, work);
    true
}

fn tally(
    record: &Record<'_>,
    head: &[u8],
    facts: &Facts,
    options: &ScanOptions,
    scan: &mut Scan,
    work: &mut Work,
) {
    let Outcome {
        level,
        route,
        shape,
    } = facts.outcome;
    let at = record.at.or(facts.at);
    let is_warm = at.is_some_and(|at| {
        options
            .warm_up
            .iter()
            .any(|(from, to)| (*from..*to).contains(&at))
    });
    let service = &mut scan.services[record.service];
    service.records += 1;
    service.levels.add(level);
    if let Some(at) = at {
        let (from, to) = service.span.unwrap_or((at, at));
        service.span = Some((from.min(at), to.max(at)));
    }
    if let Some(key) = route {
        count_request(service, record, head, facts, key, is_warm);
        if let (Some(limit), Some(ms)) = (options.slow_over_ms, facts.duration_ms) {
            scan.over_threshold += u64::from(ms > limit);
            let endpoint = service.routes.get(&key).map(|r| r.name.as_str());
            keep_slowest(&mut scan.slowest, ms, endpoint.unwrap_or(MANY_ROUTES), head);
        }
    }
    if level >= Some(Level::Error) {
        let is_first = facts.request_id.is_none_or(|id| {
            let name = service.name.as_deref().unwrap_or("");
            let id = hash(&id.to_le_bytes(), hash(name.as_bytes(), 0));
            work.remember_failed(id, record.service)
        });
        if is_first {
            service.total.error_record(is_warm);
        }
    }
    if let Some(count) = service.shapes.get_mut(&shape) {
        let duration = facts.duration_ms.filter(|_| route.is_some());
        count_shape(count, record, at, duration);
        if duration.is_none() {
            sample_numbers(count, &mut service.numbered, record, head, options);
        }
        if options.course {
            let last = &mut count.last_event;
            service.course.add(record, at, shape, count.count, last);
        }
    }
    if options.traced.is_some()
        && options.traced == facts.request_id
        && service.traced.len() < MAX_TRACED
    {
        service.traced.push(Traced {
            at,
            shape,
            example: Example {
                line: record.line,
                text: record.text[..record.text.len().min(EXAMPLE_BYTES)].to_vec(),
            },
        });
    }
    if options.assign {
        scan.assigned
            .push((record.line, record.service as u32, shape));
    }
}

/// Reads a record and writes its shape.
fn read<'a>(
    record: &Record<'a>,
    head: &'a [u8],
    rest: Option<&'a [u8]>,
    options: &mut ScanOptions,
    work: &mut Work,
) -> Read<'a> {
    let Work { masked, kept, .. } = work;
    // An indented JSON document is one record over many lines.
    let whole = if head.trim_ascii() == b"{" {
        record.text
    } else {
        head
    };
    if whole.first() == Some(&b'{')
        && let Some(object) = Object::read(whole)
    {
        let found = json::read_head(&object, &mut options.times);
        let mut request = RequestFields::default();
        json::read_request(&object, &mut request);
        if let Some(message) = found.message
            && (options.requests.is_configured() || !request.is_request())
        {
            let from_text = options.requests.read(message);
            if from_text.is_request() || options.requests.is_configured() {
                request = from_text;
            }
        }
        structured::mask_object(&object, found.message, masked, kept);
        keep_head(&found, kept);
        return Read {
            at: found.at,
            time: time_of(&found),
            level: found.level,
            request,
        };
    }
    let front = record.header.split(head, &mut options.times);
    let message = &head[front.message..];
    if let Some((digits, _)) = header::priority(head.trim_ascii_start()) {
        // They decide on the level.
        kept.whole(digits);
    }
    let (mut at, mut level) = (front.at, front.level);
    let mut time = match front.time_column {
        Some(index) if at.is_some() => TimeText::Cell(index),
        Some(_) => TimeText::NoInstant,
        None => TimeText::None,
    };
    if let Some(pairs) = structured::logfmt(message) {
        for pair in pairs {
            let is = |keys: &[&str]| structured::is_one_of(pair.key, keys);
            if level.is_none() && (is(LEVEL_KEYS) || pair.key == b"at") {
                level = level::from_word(pair.value);
            }
            if at.is_none() && is(TIME_KEYS) {
                at = options.times.read_value(pair.value);
                if at.is_some() {
                    time = TimeText::Value(pair.value, false);
                } else {
                    kept.whole(pair.value);
                }
            }
        }
        structured::mask_pairs(pairs, masked, kept);
    } else if let Some(object) = Some(message)
        .filter(|m| m.first() == Some(&b'{'))
        .and_then(Object::read)
    {
        // JSON behind a header of its own, as platforms print it.
        let found = json::read_head(&object, &mut options.times);
        level = level.or(found.level);
        if at.is_none() && found.at.is_some() {
            (at, time) = (found.at, time_of(&found));
        }
        structured::mask_object(&object, found.message, masked, kept);
        keep_head(&found, kept);
    } else {
        mask::mask(message, masked, kept);
    }
    let mut request = options.requests.read(message);
    if request == RequestFields::default() && front.message > 0 && !options.requests.is_configured()
    {
        // An access log's time stands behind the address, so its header may have been learned as longer.
        request = options.requests.read(head);
    }
    if let Some(rest) = rest {
        let failure = trace::find(head, rest.split(|b| *b == b'\n'));
        if failure.class.is_some() && level.is_none() {
            level = Some(Level::Error);
        }
        trace::push(&failure, masked);
    }
    if level.is_none() {
        level = level::from_failure(message);
    }
    Read {
        at,
        time,
        level,
        request,
    }
}

fn time_of<'a>(head: &JsonHead<'a>) -> TimeText<'a> {
    match head.time_value {
        Some(Value::Number(text)) if head.at.is_some() => TimeText::Value(text, true),
        Some(Value::Text(text)) if head.at.is_some() => TimeText::Value(text, false),
        _ => TimeText::None,
    }
}

/// pino's levels are numbers, and what is not read as a time may be one in another record.
fn keep_head(head: &JsonHead<'_>, kept: &mut Kept) {
    if head.at.is_none()
        && let Some(text) = head.time_value.and_then(Value::scalar)
    {
        kept.whole(text);
    }
    if let Some(text) = head.level_value.and_then(Value::scalar) {
        kept.whole(text);
    }
}

/// The key of a route, which is there from now on unless there are too many.
fn open_route(service: &mut ServiceScan, route: &[u8], method: Option<&[u8]>) -> u64 {
    let key = hash(route, method.map_or(0, |m| hash(m, 3)));
    let is_full = service.routes.len() >= MAX_ROUTES;
    if !is_full {
        service.routes.entry(key).or_insert_with(|| {
            let route = String::from_utf8_lossy(route);
            RouteTally {
                name: match method {
                    Some(method) => format!("{} {route}", String::from_utf8_lossy(method)),
                    None => route.into_owned(),
                },
                tally: Tally::with_bound(4096),
                slowest: None,
                failed: None,
            }
        });
    }
    key
}

/// Counts a request and keeps the slowest and the first failed record of its route.
fn count_request(
    service: &mut ServiceScan,
    record: &Record<'_>,
    head: &[u8],
    facts: &Facts,
    key: u64,
    is_warm: bool,
) {
    let (status, duration_ms) = (facts.status, facts.duration_ms);
    service.total.request(status, duration_ms, is_warm);
    let Some(of_route) = service.routes.get_mut(&key) else {
        return;
    };
    of_route.tally.request(status, duration_ms, is_warm);
    let example = || Example {
        line: record.line,
        text: head[..head.len().min(EXAMPLE_BYTES)].to_vec(),
    };
    if let Some(ms) = duration_ms
        && of_route
            .slowest
            .as_ref()
            .is_none_or(|(slowest, _)| ms > *slowest)
    {
        of_route.slowest = Some((ms, example()));
    }
    if status.is_some_and(|s| s >= 500) && of_route.failed.is_none() {
        of_route.failed = Some(example());
    }
}

fn keep_slowest(slowest: &mut Vec<SlowRequest>, ms: f64, endpoint: &str, line: &[u8]) {
    if slowest.len() >= SLOWEST && slowest.last().is_some_and(|last| last.ms >= ms) {
        return;
    }
    let at = slowest.partition_point(|s| s.ms >= ms);
    slowest.insert(
        at,
        SlowRequest {
            ms,
            endpoint: endpoint.to_owned(),
            line: String::from_utf8_lossy(&line[..line.len().min(EXAMPLE_BYTES)]).into_owned(),
        },
    );
    slowest.truncate(SLOWEST);
}

/// The key of a shape, which is there from now on; [`UNTOLD`] where there are too many.
fn open_shape(
    service: &mut ServiceScan,
    level: Option<Level>,
    masked: &[u8],
    dropped: &mut u64,
) -> u64 {
    let key = hash(masked, level.map_or(7, |l| l as u64 + 10));
    if service.shapes.len() >= MAX_SHAPES && !service.shapes.contains_key(&key) {
        *dropped += 1;
        open_untold(service);
        return UNTOLD;
    }
    service
        .shapes
        .entry(key)
        .or_insert_with(|| ShapeCount::new(masked, level));
    key
}

/// The shape of all records that are not told apart.
pub(super) fn open_untold(service: &mut ServiceScan) -> &mut ShapeCount {
    let new = || ShapeCount::new(&[crate::analysis::pattern::WILD], None);
    service.shapes.entry(UNTOLD).or_insert_with(new)
}

impl ShapeCount {
    fn new(masked: &[u8], level: Option<Level>) -> Self {
        Self {
            masked: masked.to_vec(),
            level,
            count: 0,
            seen: None,
            times: None,
            seconds: 0,
            first_second: i64::MIN,
            last_second: i64::MIN,
            last_event: LastEvent::MAX,
            examples: Vec::new(),
            latency: None,
            numbers: None,
        }
    }
}

/// Keeps a few of the numbers that stand in the records of a shape.
fn sample_numbers(
    shape: &mut ShapeCount,
    numbered: &mut usize,
    record: &Record<'_>,
    head: &[u8],
    options: &ScanOptions,
) {
    if shape.numbers.is_none() {
        if *numbered >= MAX_NUMBERED {
            return;
        }
        *numbered += 1;
    }
    let numbers = shape.numbers.get_or_insert_default();
    if numbers.wants_next() {
        // Reading it once more must not tell the reader of times that it is later.
        numbers.take(head, record.header, &mut options.times.clone());
    }
}

fn count_shape(
    shape: &mut ShapeCount,
    record: &Record<'_>,
    at: Option<i64>,
    duration: Option<f64>,
) {
    shape.count += 1;
    match at {
        Some(at) => {
            let (from, to) = shape.seen.unwrap_or((at, at));
            shape.seen = Some((from.min(at), to.max(at)));
            let second = at.div_euclid(1000);
            let times = shape
                .times
                .get_or_insert_with(|| Box::new(TimeBuckets::starting(second)));
            times.add(second, 1);
            if shape.last_second == i64::MIN {
                shape.first_second = second;
            }
            if second != shape.last_second {
                shape.seconds += 1;
                shape.last_second = second;
            }
        }
        None => shape.seconds += 1,
    }
    if shape.examples.len() < EXAMPLES {
        shape.examples.push(Example {
            line: record.line,
            text: record.text[..record.text.len().min(EXAMPLE_BYTES)].to_vec(),
        });
    }
    if let Some(ms) = duration {
        shape
            .latency
            .get_or_insert_with(|| Box::new(Histogram::with_bound(256)))
            .record(ms);
    }
}
