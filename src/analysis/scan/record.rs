//! One record: its fields read, its request counted, its shape counted.

use std::collections::HashSet;

use super::{Example, RouteTally, Scan, ScanOptions, ServiceScan, ShapeCount, SlowRequest, Tally};
use crate::analysis::latency::Histogram;
use crate::analysis::parse::header::Header;
use crate::analysis::parse::json::{self, LEVEL_KEYS, Object, TIME_KEYS};
use crate::analysis::parse::request::RequestFields;
use crate::analysis::parse::{level, route, time};
use crate::analysis::pattern::{hash, mask, structured, trace};
use crate::domain::log::Level;

/// So many different shapes of one service are kept.
const MAX_SHAPES: usize = 65_536;
/// So many routes of one service are kept; more are counted in the total only.
const MAX_ROUTES: usize = 2_000;
/// Examples of a shape, and how much of each is kept.
const EXAMPLES: usize = 3;
const EXAMPLE_BYTES: usize = 2048;
/// The slowest requests that are kept.
const SLOWEST: usize = 10;
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
#[derive(Debug, Default)]
pub(super) struct Work {
    masked: Vec<u8>,
    route: Vec<u8>,
    failed_ids: HashSet<u64>,
}

struct Read<'a> {
    at: Option<i64>,
    level: Option<Level>,
    request: RequestFields<'a>,
}

pub(super) fn count(
    record: &Record<'_>,
    options: &mut ScanOptions,
    scan: &mut Scan,
    work: &mut Work,
) {
    let (head, rest) = match memchr::memchr(b'\n', record.text) {
        Some(end) => (&record.text[..end], Some(&record.text[end + 1..])),
        None => (record.text, None),
    };
    work.masked.clear();
    let read = read(record, head, rest, options, &mut work.masked);
    let at = record.at.or(read.at);
    let is_warm = at.is_some_and(|at| {
        options
            .warm_up
            .iter()
            .any(|(from, to)| (*from..*to).contains(&at))
    });
    let service = &mut scan.services[record.service];
    service.records += 1;
    service.levels.add(read.level);
    if let Some(at) = at {
        let (from, to) = service.span.unwrap_or((at, at));
        service.span = Some((from.min(at), to.max(at)));
    }
    let request = &read.request;
    let mut is_counted = false;
    if request.is_request() {
        route::normalise(request.route.unwrap_or(b"-"), &mut work.route);
        if !route::is_ignored(&work.route, &options.requests.ignored) {
            is_counted = true;
            let slow = count_request(
                service,
                request,
                &mut work.route,
                is_warm,
                options.slow_over_ms,
                (record.line, head),
            );
            if let Some((ms, endpoint)) = slow {
                scan.over_threshold +=
                    u64::from(options.slow_over_ms.is_some_and(|limit| ms > limit));
                keep_slowest(&mut scan.slowest, ms, endpoint, head);
            }
        }
    }
    let service = &mut scan.services[record.service];
    if read.level >= Some(Level::Error) {
        let is_first = request.request_id.is_none_or(|id| {
            work.failed_ids.len() >= MAX_IDS
                || work.failed_ids.insert(hash(id, record.service as u64))
        });
        if is_first {
            service.total.error_record(is_warm);
        }
    }
    let duration = request.duration_ms.filter(|_| is_counted);
    let shape = count_shape(
        service,
        record,
        &read,
        at,
        duration,
        &work.masked,
        &mut scan.dropped,
    );
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
    masked: &mut Vec<u8>,
) -> Read<'a> {
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
        structured::mask_object(&object, found.message, masked);
        return Read {
            at: found.at,
            level: found.level,
            request,
        };
    }
    let front = record.header.split(head, &mut options.times);
    let message = &head[front.message..];
    let (mut at, mut level) = (front.at, front.level);
    if let Some(pairs) = structured::logfmt(message) {
        for pair in pairs {
            let is = |keys: &[&str]| keys.iter().any(|k| k.as_bytes() == pair.key);
            if level.is_none() && (is(LEVEL_KEYS) || pair.key == b"at") {
                level = level::from_word(pair.value);
            }
            if at.is_none() && is(TIME_KEYS) {
                at = time::read(pair.value)
                    .and_then(|(written, _)| options.times.resolve(&written))
                    .or_else(|| time::epoch_ms(pair.value));
            }
        }
        structured::mask_pairs(pairs, masked);
    } else if let Some(object) = Some(message)
        .filter(|m| m.first() == Some(&b'{'))
        .and_then(Object::read)
    {
        // JSON behind a header of its own, as platforms print it.
        let found = json::read_head(&object, &mut options.times);
        level = level.or(found.level);
        at = at.or(found.at);
        structured::mask_object(&object, found.message, masked);
    } else {
        mask::mask(message, masked);
    }
    let mut request = options.requests.read(message);
    if request == RequestFields::default() && front.message > 0 && !options.requests.is_configured()
    {
        // An access log's time stands behind the address, so its header may have been learned as longer.
        request = options.requests.read(head);
    }
    if let Some(rest) = rest {
        let failure = trace::find(head, rest.split(|b| *b == b'\n'));
        if failure.line.is_some() && level.is_none() {
            level = Some(Level::Error);
        }
        trace::push(&failure, masked);
    }
    if level.is_none() {
        level = level::from_failure(message);
    }
    Read { at, level, request }
}

/// Counts a request and keeps the slowest and the first failed record of its route; returns duration and endpoint where the slow ones are wanted.
fn count_request(
    service: &mut ServiceScan,
    request: &RequestFields<'_>,
    route: &mut Vec<u8>,
    is_warm: bool,
    slow_over_ms: Option<f64>,
    (line, head): (u64, &[u8]),
) -> Option<(f64, String)> {
    service
        .total
        .request(request.status, request.duration_ms, is_warm);
    if request.route.is_none() {
        route.clear();
        route.extend_from_slice(b"-");
    }
    let key = hash(route, request.method.map_or(0, |m| hash(m, 3)));
    let name = || {
        let route = String::from_utf8_lossy(route);
        match request.method {
            Some(method) => format!("{} {route}", String::from_utf8_lossy(method)),
            None => route.into_owned(),
        }
    };
    let is_full = service.routes.len() >= MAX_ROUTES;
    if !is_full || service.routes.contains_key(&key) {
        let of_route = service.routes.entry(key).or_insert_with(|| RouteTally {
            name: name(),
            tally: Tally::with_bound(4096),
            slowest: None,
            failed: None,
        });
        of_route
            .tally
            .request(request.status, request.duration_ms, is_warm);
        let example = || Example {
            line,
            text: head[..head.len().min(EXAMPLE_BYTES)].to_vec(),
        };
        if let Some(ms) = request.duration_ms
            && of_route
                .slowest
                .as_ref()
                .is_none_or(|(slowest, _)| ms > *slowest)
        {
            of_route.slowest = Some((ms, example()));
        }
        if request.status.is_some_and(|s| s >= 500) && of_route.failed.is_none() {
            of_route.failed = Some(example());
        }
    }
    slow_over_ms?;
    request.duration_ms.map(|ms| (ms, name()))
}

fn keep_slowest(slowest: &mut Vec<SlowRequest>, ms: f64, endpoint: String, line: &[u8]) {
    if slowest.len() >= SLOWEST && slowest.last().is_some_and(|last| last.ms >= ms) {
        return;
    }
    let at = slowest.partition_point(|s| s.ms >= ms);
    slowest.insert(
        at,
        SlowRequest {
            ms,
            endpoint,
            line: String::from_utf8_lossy(&line[..line.len().min(EXAMPLE_BYTES)]).into_owned(),
        },
    );
    slowest.truncate(SLOWEST);
}

fn count_shape(
    service: &mut ServiceScan,
    record: &Record<'_>,
    read: &Read<'_>,
    at: Option<i64>,
    duration: Option<f64>,
    masked: &[u8],
    dropped: &mut u64,
) -> u64 {
    let mut key = hash(masked, read.level.map_or(7, |l| l as u64 + 10));
    let mut masked = masked;
    if service.shapes.len() >= MAX_SHAPES && !service.shapes.contains_key(&key) {
        *dropped += 1;
        key = 0;
        masked = &[crate::analysis::pattern::WILD];
    }
    let shape = service.shapes.entry(key).or_insert_with(|| ShapeCount {
        masked: masked.to_vec(),
        level: read.level,
        count: 0,
        seen: None,
        seconds: 0,
        last_second: i64::MIN,
        examples: Vec::new(),
        latency: None,
    });
    shape.count += 1;
    match at {
        Some(at) => {
            let (from, to) = shape.seen.unwrap_or((at, at));
            shape.seen = Some((from.min(at), to.max(at)));
            let second = at.div_euclid(1000);
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
    key
}
