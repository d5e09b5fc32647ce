//! What the log of a service says of its requests: latency, traffic, errors, and the numbers that own signals capture.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;

use super::{own, seconds_of, signal, unknown};
use crate::analysis::own_signal::Captured;
use crate::analysis::parse::time::TimeReader;
use crate::analysis::scan::{Scan, ScanOptions, Scanner, Tally, join_spans};
use crate::domain::log::{LogEvent, LogNoteKind, LogRequest, Window};
use crate::domain::own_signal::OwnSignal;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::settings::ServiceSettings;
use crate::domain::signal::{Grade, Limits, Signal, SignalName};
use crate::ops::{Context, ErrorKind, OpsError, logs};

/// Rates and percentiles of fewer requests say nothing.
const ENOUGH: u64 = 20;
/// Routes that are shown besides the whole.
const ROUTES: usize = 5;
/// So many routes are kept of a span, those with the most requests: what is kept of many spans stays small.
const KEPT_ROUTES: usize = 50;
/// Durations of a span, and of a route of it, that are kept exactly.
const EXACT: usize = 2_048;
const EXACT_OF_A_ROUTE: usize = 256;
const WAITING: usize = 8;

/// What was counted in a span of a log. Two of them merge into that of both spans.
#[derive(Debug, Clone, Default)]
pub(super) struct LogTally {
    /// Lines, of which several may be one record.
    lines: u64,
    records: u64,
    total: Tally,
    routes: BTreeMap<String, Tally>,
    /// The oldest line and the newest, in milliseconds since 1970.
    span: Option<(i64, i64)>,
    /// What own signals captured, in the order of their captures.
    captured: Vec<Captured>,
    /// Which part of the log could not be read, where there are several: what was counted is not all.
    unread: Option<SafeText>,
}

impl LogTally {
    /// All that was read.
    fn of(scan: Scan, captured: Vec<Captured>) -> Self {
        let mut found = Self {
            records: scan.records(),
            captured,
            ..Self::default()
        };
        for service in scan.services {
            found.total.merge(&service.total);
            found.span = join_spans(found.span, service.span);
            for route in service.routes.into_values() {
                found
                    .routes
                    .entry(route.name)
                    .or_default()
                    .merge(&route.tally);
            }
        }
        found
    }

    /// So many lines of that span.
    #[cfg(test)]
    pub(super) fn test(lines: u64, span: Option<(i64, i64)>) -> Self {
        Self {
            lines,
            span,
            ..Self::default()
        }
    }

    /// The same in less memory, to be kept.
    pub(super) fn bounded(self) -> Self {
        let smaller = |tally: &Tally, bound| {
            let mut small = Tally::with_bound(bound);
            small.merge(tally);
            small
        };
        let mut routes: Vec<(String, Tally)> = self.routes.into_iter().collect();
        routes.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.counts.requests));
        routes.truncate(KEPT_ROUTES);
        Self {
            total: smaller(&self.total, EXACT),
            routes: (routes.into_iter())
                .map(|(name, tally)| (name, smaller(&tally, EXACT_OF_A_ROUTE)))
                .collect(),
            ..self
        }
    }

    /// Whether it holds all that was written since then, where the last so many lines were asked for.
    pub(super) fn is_all_since(&self, since: Timestamp, asked: u64) -> bool {
        // Lines without times may be older: they are not left out by their times.
        let begins = self.span.map(|span| span.0);
        self.lines == 0 || self.lines < asked && begins >= Some(since.as_millisecond())
    }

    /// When its first line was written, where one was.
    pub(super) fn begins(&self) -> Option<Timestamp> {
        let (oldest, _) = self.span?;
        Timestamp::from_millisecond(oldest).ok()
    }

    /// Adds what was counted in the span behind this one.
    pub(super) fn merge(&mut self, later: &Self) {
        self.lines += later.lines;
        self.records += later.records;
        self.total.merge(&later.total);
        self.span = join_spans(self.span, later.span);
        self.unread = self.unread.take().or_else(|| later.unread.clone());
        for (name, tally) in &later.routes {
            match self.routes.get_mut(name) {
                Some(known) => known.merge(tally),
                None => {
                    self.routes.insert(name.clone(), tally.clone());
                }
            }
        }
        for (own, theirs) in self.captured.iter_mut().zip(&later.captured) {
            own.merge(theirs);
        }
    }
}

/// What a log is read for; nothing where nobody wants it read.
#[derive(Debug)]
pub(super) struct Wanted {
    are_golden: bool,
    captures: Vec<OwnSignal>,
}

impl Wanted {
    /// The golden signals where they are wanted, and the own signals that are captured.
    pub(super) fn new(are_golden: bool, own: &[&OwnSignal]) -> Self {
        let captures = own::captures(own).into_iter().map(|(own, _)| own).collect();
        Self {
            are_golden,
            captures,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.are_golden && self.captures.is_empty()
    }

    /// The signals that a tally gives, or that could not be had, with the reason.
    pub(super) fn signals(
        &self,
        tally: Result<&LogTally, &SafeText>,
        settings: &ServiceSettings,
        window: Window,
    ) -> Vec<Signal> {
        let now = Timestamp::now();
        let mut signals = match (self.are_golden, tally) {
            (false, _) => Vec::new(),
            (true, Ok(tally)) => from_log(tally, settings, window, now),
            (true, Err(why)) => unread(why),
        };
        let found = self.captures.iter().enumerate().map(|(at, own)| {
            let captured = tally.map(|tally| &tally.captured[at]);
            own::from_capture(own, captured, &settings.limits, now)
        });
        super::replace(&mut signals, found.collect());
        doubted(signals, tally.ok().and_then(|tally| tally.unread.as_ref()))
    }
}

/// Reads a window of a log and counts what is in it.
///
/// # Errors
/// The log cannot be read, or the expression of its requests cannot.
pub(super) async fn read(
    ctx: &Context,
    service: &Service,
    window: Window,
    own: &[&OwnSignal],
) -> Result<LogTally, OpsError> {
    let request = LogRequest {
        window,
        ..LogRequest::default()
    };
    let parts = read_parts(ctx, service, &request, own, Vec::new()).await?;
    Ok(parts.into_iter().next().unwrap_or_default())
}

/// Reads what is asked for as [`read`] does and counts each part of it for itself: `borders` are where the second part begins, and
/// each behind it.
///
/// # Errors
/// Those of [`read`].
pub(super) async fn read_parts(
    ctx: &Context,
    service: &Service,
    request: &LogRequest,
    own: &[&OwnSignal],
    borders: Vec<Timestamp>,
) -> Result<Vec<LogTally>, OpsError> {
    let rules = ctx.config.service(&service.id).requests;
    let options = ScanOptions::new(&rules, TimeReader::new(&Zoned::now())).map_err(|e| {
        OpsError::new(
            ErrorKind::Usage,
            format!("request_regex of {}: {e}", service.id),
        )
    })?;
    let captures: Vec<Captured> = own::captures(own).into_iter().map(|(_, c)| c).collect();
    let (to, mut from) = mpsc::channel(WAITING);
    let counting = tokio::task::spawn_blocking(move || {
        let mut parts = Vec::new();
        let mut borders = borders.into_iter().peekable();
        let mut part = Part::new(&options, &captures);
        let mut clock = logs::Clock::default();
        let mut unread = None;
        while let Some(event) = from.blocking_recv() {
            let block = match event {
                LogEvent::Block(block) => block,
                LogEvent::Note(note) => {
                    clock.hear(&note);
                    if note.kind == LogNoteKind::Unread {
                        unread.get_or_insert(note.detail);
                    }
                    continue;
                }
                LogEvent::Opened(_) => continue,
            };
            for (line, text) in block.iter() {
                while borders.next_if(|border| line.at >= Some(*border)).is_some() {
                    let ended = std::mem::replace(&mut part, Part::new(&options, &captures));
                    parts.push(ended.count());
                }
                // A file's lines have the time that they say.
                part.feed(line.at, text, &mut clock);
            }
        }
        parts.push(part.count());
        parts.extend(borders.map(|_| Part::new(&options, &captures).count()));
        parts
            .iter_mut()
            .for_each(|part: &mut LogTally| part.unread.clone_from(&unread));
        parts
    });
    // What reads is large, and stands in futures that stand in others.
    Box::pin(logs::read(ctx, service, request, to)).await?;
    counting.await.map_err(|e| {
        OpsError::new(
            ErrorKind::Failed,
            format!("cannot read the log of {}", service.id),
        )
        .because(e)
    })
}

/// A part of a log as it is counted.
struct Part {
    lines: u64,
    scanner: Scanner,
    captured: Vec<Captured>,
}

impl Part {
    fn new(options: &ScanOptions, captures: &[Captured]) -> Self {
        Self {
            lines: 0,
            scanner: Scanner::new(options.clone()),
            captured: captures.to_vec(),
        }
    }

    fn feed(&mut self, at: Option<Timestamp>, text: &[u8], clock: &mut logs::Clock) {
        self.lines += 1;
        self.scanner
            .feed_line(at.map(Timestamp::as_millisecond), text);
        if self.captured.is_empty() {
            return;
        }
        let at = clock.read(at, text).map(Timestamp::as_millisecond);
        for captured in &mut self.captured {
            captured.feed(at, text);
        }
    }

    fn count(self) -> LogTally {
        LogTally {
            lines: self.lines,
            ..LogTally::of(self.scanner.finish(), self.captured)
        }
    }
}

/// What was counted without a part of the log: bad is bad, and nothing else of it is known.
fn doubted(mut found: Vec<Signal>, unread: Option<&SafeText>) -> Vec<Signal> {
    let Some(unread) = unread else { return found };
    for signal in &mut found {
        if !matches!(signal.grade, Grade::Warning | Grade::Critical) {
            (signal.value, signal.grade, signal.age_ms) = (None, Grade::Unknown, None);
        }
        let text = format!("{}; not read: {unread}", signal.detail);
        signal.detail = SafeText::from_text(&text);
    }
    found
}

/// The golden signals of a log that could not be read: each there, none with a value.
pub(super) fn unread(why: &SafeText) -> Vec<Signal> {
    [
        SignalName::LatencyP95,
        SignalName::Traffic,
        SignalName::ErrorRate,
    ]
    .into_iter()
    .map(|name| unknown(name, why.clone()))
    .collect()
}

fn from_log(
    tally: &LogTally,
    settings: &ServiceSettings,
    window: Window,
    now: Timestamp,
) -> Vec<Signal> {
    let limits = &settings.limits;
    let newest = tally.span.map(|span| span.1);
    let age_ms = newest.map(|at| u64::try_from(now.as_millisecond() - at).unwrap_or(0));
    let total = &tally.total;
    let requests = total.counts.requests;
    let seconds = seconds_of(window);
    let mut signals = vec![
        latency(None, total, limits, age_ms),
        traffic(requests, seconds, tally.records, limits, age_ms),
        error_rate(None, total, limits, age_ms),
    ];
    let mut routes: Vec<(&String, &Tally)> = (tally.routes.iter())
        .filter(|(_, tally)| tally.counts.requests >= ENOUGH)
        .collect();
    routes.sort_by(|a, b| {
        let p95 = |t: &Tally| t.latency.percentile(0.95).unwrap_or(0.0);
        p95(b.1).total_cmp(&p95(a.1)).then(a.0.cmp(b.0))
    });
    for (name, tally) in routes.into_iter().take(ROUTES) {
        let route = Some(SafeText::from_text(name));
        signals.push(latency(route.clone(), tally, limits, age_ms));
        if tally.counts.with_status > 0 {
            signals.push(error_rate(route, tally, limits, age_ms));
        }
    }
    signals
}

fn latency(route: Option<SafeText>, tally: &Tally, limits: &Limits, age_ms: Option<u64>) -> Signal {
    let count = tally.latency.count();
    let value = (count >= ENOUGH)
        .then(|| tally.latency.percentile(0.95))
        .flatten();
    let detail = rests_on(count, "requests with a duration");
    signal(
        SignalName::LatencyP95,
        route,
        value,
        limits,
        age_ms,
        &detail,
    )
}

fn error_rate(
    route: Option<SafeText>,
    tally: &Tally,
    limits: &Limits,
    age_ms: Option<u64>,
) -> Signal {
    let counts = &tally.counts;
    let errors = counts.errors(counts.with_status > 0);
    let value = (counts.requests >= ENOUGH).then(|| errors as f64 / counts.requests as f64);
    let detail = match value {
        Some(_) => format!("{errors} of {} requests", counts.requests),
        None => rests_on(counts.requests, "requests"),
    };
    signal(SignalName::ErrorRate, route, value, limits, age_ms, &detail)
}

fn rests_on(count: u64, what: &str) -> String {
    if count >= ENOUGH {
        format!("{count} {what}")
    } else {
        format!("{count} {what}, needs {ENOUGH}")
    }
}

fn traffic(
    requests: u64,
    seconds: f64,
    records: u64,
    limits: &Limits,
    age_ms: Option<u64>,
) -> Signal {
    // A log without any request may be that of a worker: no traffic is not what it says.
    let value = (requests > 0 && seconds > 0.0).then(|| requests as f64 / seconds);
    let detail = match value {
        Some(_) => format!("{requests} requests in {seconds:.0} s"),
        None => format!("no requests among {records} records"),
    };
    signal(SignalName::Traffic, None, value, limits, age_ms, &detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::RequestRules;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn counted(lines: &[String], from: usize) -> LogTally {
        let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
        let mut scanner = Scanner::new(options);
        for (i, line) in lines.iter().enumerate() {
            scanner.feed_line(Some(1_000_000 + (from + i) as i64 * 100), line.as_bytes());
        }
        LogTally::of(scanner.finish(), Vec::new())
    }

    fn graded(tally: &LogTally) -> Vec<Signal> {
        let window = Window {
            since: Some(at(1_000)),
            until: Some(at(1_010)),
        };
        from_log(tally, &ServiceSettings::default(), window, at(1_010))
    }

    fn measured(lines: &[String]) -> Vec<Signal> {
        graded(&counted(lines, 0))
    }

    fn find(signals: &[Signal], name: &SignalName) -> Signal {
        signals
            .iter()
            .find(|s| s.signal == *name && s.route.is_none())
            .unwrap()
            .clone()
    }

    fn request(i: usize, status: u16) -> String {
        format!("INFO GET /orders/{i} completed in 0.5s status={status}")
    }

    #[test]
    fn requests_give_latency_traffic_and_errors() {
        let lines: Vec<String> = (0..100)
            .map(|i| request(i, if i % 10 == 0 { 500 } else { 200 }))
            .collect();
        let signals = measured(&lines);
        let latency = find(&signals, &SignalName::LatencyP95);
        assert_eq!((latency.value, latency.grade), (Some(500.0), Grade::Ok));
        assert_eq!(find(&signals, &SignalName::Traffic).value, Some(10.0));
        let errors = find(&signals, &SignalName::ErrorRate);
        assert_eq!((errors.value, errors.grade), (Some(0.1), Grade::Critical));
        assert_eq!(errors.detail.as_str(), "10 of 100 requests");
        assert!(signals.iter().any(|s| s.route.is_some()), "{signals:#?}");
    }

    #[test]
    fn the_parts_of_a_log_merge_into_the_whole() {
        let lines: Vec<String> = (0..100)
            .map(|i| request(i, if i % 10 == 0 { 500 } else { 200 }))
            .collect();
        let mut parts = counted(&lines[..30], 0).bounded();
        parts.merge(&counted(&lines[30..], 30).bounded());
        assert_eq!(graded(&parts), measured(&lines));
    }

    #[test]
    fn a_few_last_lines_are_all_there_were_if_none_is_older() {
        let of = |count: u64| LogTally {
            lines: count,
            ..counted(&vec![request(1, 200); count as usize], 0)
        };
        let written = at(1_000);
        assert!(LogTally::default().is_all_since(written, 5));
        assert!(of(4).is_all_since(written, 5));
        assert!(!of(5).is_all_since(written, 5));
        assert!(!of(4).is_all_since(at(1_001), 5));
        let timeless = LogTally {
            span: None,
            ..of(4)
        };
        assert!(!timeless.is_all_since(written, 5));
    }

    #[test]
    fn what_is_counted_without_a_part_of_the_log_is_never_well() {
        let of = |status| {
            let lines: Vec<String> = (0..100).map(|i| request(i, status)).collect();
            let mut tally = counted(&lines[..50], 0).bounded();
            let later = LogTally {
                unread: Some("task 7: its node is away".into()),
                ..counted(&lines[50..], 50)
            };
            tally.merge(&later);
            let wanted = Wanted::new(true, &[]);
            let window = Window {
                since: Some(at(1_000)),
                until: Some(at(1_010)),
            };
            let signals = wanted.signals(Ok(&tally), &ServiceSettings::default(), window);
            find(&signals, &SignalName::ErrorRate)
        };
        let (well, ill) = (of(200), of(500));
        assert_eq!((well.value, well.grade), (None, Grade::Unknown));
        assert_eq!((ill.value, ill.grade), (Some(1.0), Grade::Critical));
        for signal in [well, ill] {
            assert!(
                signal
                    .detail
                    .as_str()
                    .ends_with("not read: task 7: its node is away")
            );
        }
    }

    #[test]
    fn a_few_requests_are_unknown_and_say_so() {
        let lines: Vec<String> = (0..12).map(|i| request(i, 500)).collect();
        let errors = find(&measured(&lines), &SignalName::ErrorRate);
        assert_eq!((errors.value, errors.grade), (None, Grade::Unknown));
        assert_eq!(errors.detail.as_str(), "12 requests, needs 20");
        let traffic = find(&measured(&["INFO tick".to_owned()]), &SignalName::Traffic);
        assert_eq!(traffic.value, None);
        assert!(
            traffic
                .detail
                .as_str()
                .contains("no requests among 1 records")
        );
    }
}
