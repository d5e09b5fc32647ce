//! What a record says of a request: status, duration, method, route, request id.
//!
//! One pass over the words of the message. Words that are keys (`status=`, `rt=`, `duration_ms=`), words that
//! announce a duration (`completed in`, `took`) and the shapes of access logs are understood; anything else is not
//! a request. A configured regular expression wins over all of it.

mod access;

use regex::bytes::Regex;

use super::json::{self, Object};
use crate::domain::settings::RequestRules;

/// The parts of a request that one record gives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RequestFields<'a> {
    /// The HTTP status.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
    /// `GET`, `POST`, ….
    pub method: Option<&'a [u8]>,
    /// The path as written.
    pub route: Option<&'a [u8]>,
    /// The id that joins the records of one request.
    pub request_id: Option<&'a [u8]>,
    /// How sure the duration is: a key or a phrase that names the whole request beats one of its parts.
    rank: u8,
    /// Whether the text speaks of a request (`request completed in …`).
    names_request: bool,
    /// Whether Lograge wrote it, whose durations are milliseconds with decimals.
    is_lograge: bool,
    /// Where the status was read.
    pub(in crate::analysis) status_text: &'a [u8],
    /// Where the duration was read, and the unit it is in if it says none.
    pub(in crate::analysis) duration_text: (&'a [u8], Unit),
}

impl<'a> RequestFields<'a> {
    /// Whether this is a request: a status or a duration, and a route. A status together with a duration, or
    /// the word "request" with a duration, is one without a route too.
    pub fn is_request(&self) -> bool {
        let route = self.route.is_some();
        match (self.status.is_some(), self.duration_ms.is_some()) {
            (true, true) => true,
            (true, false) => route,
            (false, true) => route || self.names_request,
            (false, false) => false,
        }
    }

    /// Takes a key with its value, from JSON or `key=value` text.
    pub fn take(&mut self, key: &'a [u8], value: &'a [u8]) {
        let key = key.rsplit(|b| *b == b'.').next().unwrap_or(key);
        match key {
            b"status" | b"statusCode" | b"status_code" | b"http_status" | b"response_status"
            | b"code" | b"StatusCode" | b"Status" | b"resp" => {
                if let Some(status) = read_status(value)
                    && (key != b"code" || self.status.is_none())
                {
                    self.status = Some(status);
                    self.status_text = value;
                }
            }
            b"method" | b"http_method" | b"request_method" | b"requestMethod"
            | b"RequestMethod" | b"verb" | b"Method" => {
                if is_method(value) {
                    self.method = Some(value);
                }
            }
            b"path" | b"url" | b"uri" | b"URI" | b"URL" | b"route" | b"request_uri"
            | b"request_path" | b"requestUrl" | b"originalUrl" | b"endpoint" | b"Path"
            | b"RequestPath" => {
                if is_path(value) && (self.route.is_none() || key == b"route") {
                    self.route = Some(value);
                }
            }
            b"request" => {
                if let Some((method, route)) = split_request_line(value) {
                    self.method = Some(method);
                    self.route = Some(route);
                }
            }
            b"req_id" | b"request_id" | b"reqId" | b"requestId" | b"trace_id" | b"traceId"
            | b"x_request_id" | b"correlation_id" | b"correlationId" => {
                if self.request_id.is_none() && !value.is_empty() {
                    self.request_id = Some(value);
                }
            }
            b"controller" | b"format" => self.is_lograge = true,
            // Under this name stands a clock as well, which has no unit.
            b"time" if !value.ends_with(b"s") => {}
            _ => {
                if let Some((unit, rank)) = duration_key(key).map(|(unit, rank)| match unit {
                    Unit::Guess if self.is_lograge => (Unit::Milliseconds, rank),
                    unit => (unit, rank),
                }) && rank > self.rank
                    && let Some(ms) = read_duration(value, unit)
                {
                    self.duration_ms = Some(ms);
                    self.duration_text = (value, unit);
                    self.rank = rank;
                }
            }
        }
    }
}

/// The unit of a number under a key without a unit of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Seconds where there is a decimal point, else milliseconds: loggers differ and that is how they do.
    #[default]
    Guess,
}

/// Whether a key names a duration, with its unit and how surely it is the request's own.
fn duration_key(key: &[u8]) -> Option<(Unit, u8)> {
    if key.len() > 24 {
        return None;
    }
    Some(match key {
        b"rt" | b"request_time" | b"requestTime" | b"duration_s" | b"duration_seconds"
        | b"elapsed_s" | b"duration_sec" | b"latency_s" | b"seconds" => (Unit::Seconds, 4),
        b"urt" | b"upstream_response_time" => (Unit::Seconds, 1),
        b"duration_ms"
        | b"durationMs"
        | b"durationMS"
        | b"response_time_ms"
        | b"responseTimeMs"
        | b"elapsed_ms"
        | b"elapsedMs"
        | b"latency_ms"
        | b"latencyMs"
        | b"took_ms"
        | b"tookMs"
        | b"responseTime"
        | b"response_time"
        | b"ms"
        | b"time_ms"
        | b"request_ms"
        | b"total_ms"
        | b"Elapsed"
        | b"ElapsedMilliseconds"
        | b"ElapsedMs" => (Unit::Milliseconds, 4),
        b"duration_us" | b"latency_us" | b"elapsed_us" => (Unit::Microseconds, 4),
        b"duration_ns" | b"latency_ns" | b"elapsed_ns" => (Unit::Nanoseconds, 4),
        b"duration" | b"dur" | b"latency" | b"elapsed" | b"took" | b"elapsed_time" | b"time"
        | b"response-time" | b"service" => (Unit::Guess, 3),
        _ => return None,
    })
}

/// Reads a number with or without a unit (`0.8s`, `151ms`, `1.5`, `12.3µs`, `1m2.5s`) in milliseconds.
pub fn read_duration(text: &[u8], default: Unit) -> Option<f64> {
    let text = trim_value(text);
    let digits = text
        .iter()
        .position(|b| !(b.is_ascii_digit() || *b == b'.'))
        .unwrap_or(text.len());
    if digits == 0 || digits > 18 {
        return None;
    }
    let number = read_decimal(&text[..digits])?;
    let factor = match &text[digits..] {
        b"" => match default {
            Unit::Nanoseconds => 1e-6,
            Unit::Microseconds => 1e-3,
            Unit::Milliseconds => 1.0,
            Unit::Seconds => 1000.0,
            Unit::Guess if text.contains(&b'.') => 1000.0,
            Unit::Guess => 1.0,
        },
        b"ms" | b"msec" | b"msecs" | b"millis" | b"milliseconds" => 1.0,
        b"s" | b"sec" | b"secs" | b"seconds" | b"second" => 1000.0,
        b"us" | b"usec" | b"microseconds" => 1e-3,
        b"ns" => 1e-6,
        unit if unit == "µs".as_bytes() || unit == "μs".as_bytes() => 1e-3,
        b"m" | b"min" | b"minutes" => 60_000.0,
        // So long, so deep: a value may be a million bytes of `1m1m1m…`.
        rest if rest[0] == b'm' && (3..=32).contains(&rest.len()) => {
            return Some(number * 60_000.0 + read_duration(&rest[1..], Unit::Seconds)?);
        }
        _ => return None,
    };
    Some(number * factor)
}

/// Reads at most 18 digits with at most one point among them. Up to 15 digits and their power of ten are exact, so that
/// one division rounds as the standard library does; it reads the rest.
fn read_decimal(text: &[u8]) -> Option<f64> {
    let (mut number, mut decimals, mut has_point) = (0u64, 0usize, false);
    for byte in text {
        if *byte == b'.' {
            if has_point {
                return None;
            }
            has_point = true;
        } else {
            number = number * 10 + u64::from(byte - b'0');
            decimals += usize::from(has_point);
        }
    }
    match POWERS.get(decimals) {
        Some(power) if text.len() <= 15 => {
            (text.len() > usize::from(has_point)).then(|| number as f64 / power)
        }
        _ => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

const POWERS: [f64; 15] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
];

fn trim_value(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|b| !matches!(b, b'"' | b'(' | b'[' | b'\''))
        .unwrap_or(text.len());
    let end = text
        .iter()
        .rposition(|b| {
            !matches!(
                b,
                b'"' | b')' | b']' | b'\'' | b',' | b';' | b'.' | b'|' | b'}' | b':'
            )
        })
        .map_or(start, |at| at + 1);
    &text[start..end.max(start)]
}

pub(in crate::analysis) fn read_status(text: &[u8]) -> Option<u16> {
    let text = trim_value(text);
    if text.len() != 3 || !text.iter().all(u8::is_ascii_digit) || !(b'1'..=b'5').contains(&text[0])
    {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn is_method(word: &[u8]) -> bool {
    matches!(
        word,
        b"GET" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"HEAD" | b"OPTIONS"
    )
}

fn is_path(word: &[u8]) -> bool {
    word.first() == Some(&b'/') || word.starts_with(b"http://") || word.starts_with(b"https://")
}

fn split_request_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut words = text.split(|b| *b == b' ');
    let method = words.next().filter(|w| is_method(w))?;
    let route = words.next().filter(|w| is_path(w))?;
    Some((method, route))
}

/// The rules of one service, ready to use.
#[derive(Debug, Clone, Default)]
pub struct RequestReader {
    configured: Option<Regex>,
    /// Routes not to count.
    pub ignored: Vec<String>,
}

impl RequestReader {
    /// Prepares the rules.
    ///
    /// # Errors
    /// The regular expression cannot be read; the text says where.
    pub fn new(rules: &RequestRules) -> Result<Self, String> {
        let configured = rules
            .request_regex
            .as_deref()
            .map(Regex::new)
            .transpose()
            .map_err(|error| format!("request_regex: {error}"))?;
        Ok(Self {
            configured,
            ignored: rules.ignore_routes.clone(),
        })
    }

    /// Reads the message of a text record. With a configured expression only what matches it is a request.
    pub fn read<'a>(&self, message: &'a [u8]) -> RequestFields<'a> {
        let mut fields = RequestFields::default();
        match &self.configured {
            None => read_words(message, &mut fields),
            Some(regex) => {
                read_words(message, &mut fields);
                let id = fields.request_id;
                let found = fields;
                fields = RequestFields::default();
                fields.request_id = id;
                if let Some(captures) = regex.captures(message) {
                    let group = |name: &str| captures.name(name).map(|m| m.as_bytes());
                    fields.status = group("status").and_then(read_status).or(found.status);
                    fields.duration_ms = group("seconds")
                        .and_then(|t| read_duration(t, Unit::Seconds))
                        .or_else(|| group("ms").and_then(|t| read_duration(t, Unit::Milliseconds)))
                        .or(found.duration_ms);
                    fields.route = group("route").or(found.route);
                    fields.method = group("method").or(found.method);
                    fields.names_request = true;
                }
            }
        }
        fields
    }

    /// Whether a configured expression is in force, so that JSON fields are read through it too.
    pub fn is_configured(&self) -> bool {
        self.configured.is_some()
    }
}

/// Reads the words of a message.
fn read_words<'a>(message: &'a [u8], fields: &mut RequestFields<'a>) {
    // Long records are stack traces and dumps; a request stands in their first lines.
    let message = &message[..message.len().min(4096)];
    let mut previous: &[u8] = b"";
    let mut before_previous: &[u8] = b"";
    let mut words = message
        .split(|b| matches!(b, b' ' | b'\t'))
        .filter(|w| !w.is_empty());
    let mut pending = words.next();
    while let Some(word) = pending {
        let next = words.next();
        // `request {"method":"GET","status":200}`: a message with its fields behind it.
        if word.starts_with(b"{\"")
            && let Some(object) = Object::read(&message[access::offset(message, word)..])
        {
            json::read_request(&object, fields);
            break;
        }
        if let Some(equals) = memchr::memchr(b'=', &word[..word.len().min(40)])
            && equals + 1 < word.len()
            && is_key(trim_value(&word[..equals]))
        {
            let key = trim_value(&word[..equals]);
            let value = trim_value(&word[equals + 1..]);
            if value.iter().any(|b| b.is_ascii_digit() || *b == b'/')
                || is_method(value)
                || matches!(key, b"controller" | b"format")
            {
                // `took=12 ms`
                match next {
                    Some(unit @ (b"ms" | b"s" | b"ms," | b"s,"))
                        if duration_key(key).is_some_and(|(_, r)| r > fields.rank) =>
                    {
                        let unit = if unit[0] == b'm' {
                            Unit::Milliseconds
                        } else {
                            Unit::Seconds
                        };
                        if let Some(ms) = read_duration(value, unit) {
                            fields.duration_ms = Some(ms);
                            fields.duration_text = (value, unit);
                        }
                        fields.rank = 4;
                    }
                    _ => fields.take(key, value),
                }
            }
        } else {
            read_word(word, previous, before_previous, next, fields);
        }
        before_previous = previous;
        previous = word;
        pending = next;
    }
    if fields.status.is_some() && fields.route.is_some() && fields.duration_ms.is_none() {
        access::read_tail(message, fields);
    }
}

fn is_key(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn read_word<'a>(
    word: &'a [u8],
    previous: &'a [u8],
    before_previous: &[u8],
    next: Option<&'a [u8]>,
    fields: &mut RequestFields<'a>,
) {
    let bare = word.strip_prefix(b"\"").unwrap_or(word);
    let first = bare.first().copied().unwrap_or(0);
    if first.is_ascii_uppercase() && is_method(trim_value(bare)) {
        if fields.method.is_none() {
            fields.method = Some(trim_value(bare));
        }
        return;
    }
    if (first == b'/' || first == b'h') && fields.route.is_none() && is_path(bare) {
        // A path is a route after its method only: file names and links stand in other messages too.
        if is_method(trim_value(previous)) {
            fields.route = Some(trim_route(bare));
        }
        return;
    }
    if first.is_ascii_digit() {
        read_number(bare, previous, before_previous, next, fields);
        return;
    }
    if matches!(
        trim_value(bare),
        b"Request" | b"request" | b"Response" | b"response"
    ) {
        fields.names_request = true;
    }
}

fn trim_route(word: &[u8]) -> &[u8] {
    let end = word
        .iter()
        .rposition(|b| !matches!(b, b'"' | b',' | b')' | b']' | b':' | b'\'' | b';'))
        .map_or(0, |at| at + 1);
    &word[..end]
}

/// A number is a status or a duration by what stands around it.
fn read_number<'a>(
    word: &'a [u8],
    previous: &[u8],
    before_previous: &[u8],
    next: Option<&'a [u8]>,
    fields: &mut RequestFields<'a>,
) {
    if memchr::memchr(b'/', word).is_some() && access::read_haproxy(word, next, fields) {
        return;
    }
    let announced = matches!(
        trim_value(previous),
        b"in"
            | b"In"
            | b"took"
            | b"after"
            | b"duration"
            | b"latency"
            | b"elapsed"
            | b"time"
            | b"within"
    );
    let unit_follows = match next.map(trim_value) {
        Some(b"ms" | b"msec" | b"msecs" | b"milliseconds" | b"millis") => Some(Unit::Milliseconds),
        Some(b"s" | b"sec" | b"secs" | b"seconds" | b"second") => Some(Unit::Seconds),
        Some(b"us" | b"microseconds") => Some(Unit::Microseconds),
        _ => None,
    };
    let value = trim_value(word);
    let has_unit = value.last().is_some_and(u8::is_ascii_alphabetic);
    if has_unit || unit_follows.is_some() {
        let rank = match trim_value(previous) {
            _ if matches!(
                trim_value(before_previous),
                b"completed" | b"Completed" | b"finished" | b"OK" | b"done"
            ) && announced =>
            {
                5
            }
            b"in" | b"In" | b"took" => 3,
            _ if announced => 2,
            // `GET /x 200 12.3 ms` and `| 200 |  1.2ms |` name the duration by its place alone.
            _ if fields.status.is_some() || fields.route.is_some() => 1,
            _ => 0,
        };
        if rank > fields.rank
            && let Some(ms) = read_duration(value, unit_follows.unwrap_or(Unit::Guess))
        {
            fields.duration_ms = Some(ms);
            fields.duration_text = (value, unit_follows.unwrap_or(Unit::Guess));
            fields.rank = rank;
        }
        return;
    }
    if fields.status.is_some() {
        return;
    }
    // `"GET /x HTTP/1.1" 200`, `GET /x 200`, `Completed 200 OK`, `| 200 |`, `(HTTP/1.1 200)`, `-> 200`, `status: 200`.
    let after = trim_value(previous);
    let placed = previous.ends_with(b"\"")
        || after.starts_with(b"HTTP/")
        || matches!(
            after,
            b"Completed"
                | b"Sent"
                | b"status"
                | b"Status"
                | b"code"
                | b"HTTP"
                | b"returned"
                | b"responded"
        )
        || (matches!(previous, b"|" | b"->" | b"=>" | b"-" | b"\xe2\x86\x92")
            && fields.duration_ms.is_none())
        || (fields.route.is_some() && is_path(previous));
    if placed
        && (after.starts_with(b"HTTP")
            || after.ends_with(b"tatus")
            || after == b"code"
            || after == b"Completed"
            || after == b"Sent"
            || fields.route.is_some()
            || (previous == b"|" && next == Some(b"|")))
        && let Some(status) = read_status(word)
    {
        fields.status = Some(status);
        fields.status_text = word;
    }
}

#[cfg(test)]
mod tests;
