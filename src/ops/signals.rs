//! The golden signals of a service: latency, traffic and errors from its logs or a Prometheus server, saturation from its
//! runtime, connections from the database itself; signals of the user's own; and those of the machines.

mod connections;
mod machine;
mod own;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future;
use jiff::{Timestamp, Zoned};
use tokio::sync::mpsc;

use super::services::host_of;
use super::{Context, ErrorKind, OpsError, logs};
use crate::analysis::own_signal::Captured;
use crate::analysis::parse::time::TimeReader;
use crate::analysis::scan::{Scan, ScanOptions, Scanner, Tally};
use crate::domain::log::{LogEvent, LogRequest, Window};
use crate::domain::own_signal::OwnSignal;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::domain::settings::{RequestRules, ServiceSettings};
use crate::domain::signal::{Limits, Saturation, ServiceSignals, Signal, SignalName};
use crate::host::Host;
use crate::runtime;
use crate::store::signals::{self as store, Point};

pub use machine::{machine_limits, machines, machines_of};

/// How far back a measurement looks by default.
const SPAN: Duration = Duration::from_secs(15 * 60);
/// Rates and percentiles of fewer requests say nothing.
const ENOUGH: u64 = 20;
/// A rate over less than two scrapes of a minute has no value.
const SHORTEST_RATE: u64 = 120;
/// Routes that are shown besides the whole.
const ROUTES: usize = 5;
const WAITING: usize = 8;

/// Measures every signal of a service over a window of its logs (default: the last 15 minutes, at most since
/// its creation). What cannot be measured is there with `value: None` and the reason.
pub async fn measure(ctx: &Context, service: &Service, window: Window) -> ServiceSignals {
    let now = Timestamp::now();
    let window = fit(service, window, now);
    let settings = ctx.config.service(&service.id);
    let own = own::of(ctx, Some(&service.id));
    let is_log_wanted = !own::has_all_of_the_log(&settings);
    let (read, others) = future::join(
        log_signals(ctx, service, window, &own, is_log_wanted),
        beside_the_log(ctx, service, window, &own),
    )
    .await;
    let mut signals = read;
    replace(&mut signals, others);
    ServiceSignals {
        id: service.id.clone(),
        signals,
    }
}

/// The signals of a service that could not be measured in time: each there, none with a value.
pub(crate) fn unmeasured(ctx: &Context, service: &Service, limit: Duration) -> ServiceSignals {
    let limits = ctx.config.service(&service.id).limits;
    let own = own::of(ctx, Some(&service.id));
    let names: BTreeSet<SignalName> = limits
        .0
        .into_keys()
        .chain([SignalName::Traffic])
        .chain(own.into_iter().map(|own| own.name.clone()))
        .collect();
    let why = SafeText::from_text(&format!("not measured within {} s", limit.as_secs()));
    ServiceSignals {
        id: service.id.clone(),
        signals: names
            .into_iter()
            .map(|name| unknown(name, why.clone()))
            .collect(),
    }
}

/// Measures what a comparison cannot take from the logs that it has read anyway: saturation, connections, what Prometheus
/// is asked for, and own signals.
pub(crate) async fn measure_beside_logs(ctx: &Context, service: &Service) -> ServiceSignals {
    let window = fit(service, Window::ALL, Timestamp::now());
    let own = own::of(ctx, Some(&service.id));
    let (mut signals, others) = future::join(
        log_signals(ctx, service, window, &own, false),
        beside_the_log(ctx, service, window, &own),
    )
    .await;
    replace(&mut signals, others);
    ServiceSignals {
        id: service.id.clone(),
        signals,
    }
}

/// What stands in a service's log: the golden signals where they are wanted, and numbers that own signals capture. A log
/// that nobody wants is not read.
async fn log_signals(
    ctx: &Context,
    service: &Service,
    window: Window,
    own: &[&OwnSignal],
    are_golden_wanted: bool,
) -> Vec<Signal> {
    let settings = ctx.config.service(&service.id);
    let captures = own::captures(own);
    if !are_golden_wanted && captures.is_empty() {
        return Vec::new();
    }
    let now = Timestamp::now();
    let wanted: Vec<OwnSignal> = captures.iter().map(|(own, _)| own.clone()).collect();
    let read = scan(ctx, service, &settings.requests, window, captures).await;
    let (scan, captured) = match read {
        Ok((scan, captured)) => (Ok(scan), Ok(captured)),
        Err(error) => {
            let why = error.to_safe_text();
            (Err(why.clone()), Err(why))
        }
    };
    let mut signals = match are_golden_wanted {
        true => from_log(&scan, &settings, window, now),
        false => Vec::new(),
    };
    let limits = &settings.limits;
    let found = wanted.iter().enumerate().map(|(at, own)| match &captured {
        Ok(captured) => own::from_capture(own, Ok(&captured[at].1), limits, now),
        Err(why) => own::from_capture(own, Err(why), limits, now),
    });
    replace(&mut signals, found.collect());
    signals
}

/// What stands in no log: saturation, connections, queries and commands.
async fn beside_the_log(
    ctx: &Context,
    service: &Service,
    window: Window,
    own: &[&OwnSignal],
) -> Vec<Signal> {
    let settings = ctx.config.service(&service.id);
    let limits = &settings.limits;
    let host = match host_of(ctx, &service.id) {
        Ok(host) => host,
        Err(error) => {
            let why = error.to_safe_text();
            return from_runtime(&Err(why), limits);
        }
    };
    let seconds = (seconds_of(window) as u64).clamp(SHORTEST_RATE, SPAN.as_secs());
    let (used, connections, metrics, asked) = tokio::join!(
        saturation(host, service),
        connections::measure(host, service, &settings),
        own::metrics(ctx, &settings, seconds),
        own::ask(ctx, host, own, limits),
    );
    let mut signals = from_runtime(&used, limits);
    signals.extend(connections);
    replace(&mut signals, metrics);
    replace(&mut signals, asked);
    signals
}

/// Puts what was asked for by name in the place of what was found by itself.
fn replace(signals: &mut Vec<Signal>, by: Vec<Signal>) {
    for new in by {
        signals.retain(|old| old.signal != new.signal || old.route != new.route);
        signals.push(new);
    }
}

/// Keeps what was measured for a day, a point a minute of each.
///
/// # Errors
/// The state folder cannot be written.
pub fn keep(ctx: &Context, measured: &[ServiceSignals]) -> Result<(), OpsError> {
    let now = Timestamp::now();
    for one in measured {
        store::append(&ctx.state, one, now)?;
    }
    Ok(())
}

/// What was kept of a service in the last day, the oldest first; nothing where that cannot be read: it is no part of what is
/// so now.
pub fn kept(ctx: &Context, id: &ServiceId) -> Vec<Point> {
    let since = Timestamp::now()
        .checked_sub(store::KEPT)
        .unwrap_or(Timestamp::MIN);
    store::read(&ctx.state, id, since).unwrap_or_default()
}

/// An open start becomes 15 minutes ago, or the creation of the oldest instance where that is later: a rate over
/// time in which nothing ran would be too low.
fn fit(service: &Service, window: Window, now: Timestamp) -> Window {
    let until = window.until.unwrap_or(now);
    let since = window.since.unwrap_or_else(|| until - SPAN);
    // A process has no creation besides its start.
    let born = service
        .instances
        .iter()
        .filter_map(|i| i.created_at.or(i.started_at));
    let created = born.min();
    Window {
        since: Some(created.map_or(since, |at| since.max(at))),
        until: Some(until),
    }
}

async fn scan(
    ctx: &Context,
    service: &Service,
    rules: &RequestRules,
    window: Window,
    mut captures: Vec<(OwnSignal, Captured)>,
) -> Result<(Scan, Vec<(OwnSignal, Captured)>), OpsError> {
    let options = ScanOptions::new(rules, TimeReader::new(&Zoned::now())).map_err(|e| {
        OpsError::new(
            ErrorKind::Usage,
            format!("request_regex of {}: {e}", service.id),
        )
    })?;
    let (to, mut from) = mpsc::channel(WAITING);
    let scanning = tokio::task::spawn_blocking(move || {
        let mut scanner = Scanner::new(options);
        let mut clock = logs::Clock::default();
        while let Some(event) = from.blocking_recv() {
            if let LogEvent::Block(block) = event {
                for (line, text) in block.iter() {
                    let at = line.at.map(Timestamp::as_millisecond);
                    scanner.feed_line(at, text);
                    if captures.is_empty() {
                        continue;
                    }
                    // A file's lines have the time that they say.
                    let at = clock.read(line.at, text).map(Timestamp::as_millisecond);
                    for (_, captured) in &mut captures {
                        captured.feed(at, text);
                    }
                }
            }
        }
        (scanner.finish(), captures)
    });
    let request = LogRequest {
        window,
        ..LogRequest::default()
    };
    logs::read(ctx, service, &request, to).await?;
    scanning.await.map_err(|e| {
        OpsError::new(
            ErrorKind::Failed,
            format!("cannot read the log of {}", service.id),
        )
        .because(e)
    })
}

async fn saturation(host: &Host, service: &Service) -> Result<Saturation, SafeText> {
    runtime::saturation(host, service)
        .await
        .map_err(|e| SafeText::from_error(&e))
}

fn from_log(
    scan: &Result<Scan, SafeText>,
    settings: &ServiceSettings,
    window: Window,
    now: Timestamp,
) -> Vec<Signal> {
    let limits = &settings.limits;
    let scan = match scan {
        Ok(scan) => scan,
        Err(why) => {
            return [
                SignalName::LatencyP95,
                SignalName::Traffic,
                SignalName::ErrorRate,
            ]
            .into_iter()
            .map(|name| unknown(name, why.clone()))
            .collect();
        }
    };
    let mut total = Tally::default();
    let mut routes: Vec<(&str, &Tally)> = Vec::new();
    for service in &scan.services {
        total.merge(&service.total);
        routes.extend(service.routes.values().map(|r| (r.name.as_str(), &r.tally)));
    }
    let newest = scan.services.iter().filter_map(|s| Some(s.span?.1)).max();
    let age_ms = newest.map(|at| u64::try_from(now.as_millisecond() - at).unwrap_or(0));
    let requests = total.counts.requests;
    let seconds = seconds_of(window);
    let mut signals = vec![
        latency(None, &total, limits, age_ms),
        traffic(requests, seconds, scan.records(), limits, age_ms),
        error_rate(None, &total, limits, age_ms),
    ];
    routes.retain(|(_, tally)| tally.counts.requests >= ENOUGH);
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

fn seconds_of(window: Window) -> f64 {
    match (window.since, window.until) {
        (Some(since), Some(until)) => until.duration_since(since).as_secs_f64(),
        _ => 0.0,
    }
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

fn from_runtime(used: &Result<Saturation, SafeText>, limits: &Limits) -> Vec<Signal> {
    let used = match used {
        Ok(used) => used,
        Err(why) => {
            return vec![
                unknown(SignalName::Cpu, why.clone()),
                unknown(SignalName::Memory, why.clone()),
            ];
        }
    };
    let nothing = || "nothing runs that could be measured".to_owned();
    let cpu = used
        .cpu_cores
        .map_or_else(nothing, |cores| format!("{cores:.2} cores in use"));
    let memory = used.memory_bytes.map_or_else(nothing, |b| {
        format!("{:.1} MiB in use", b as f64 / 1_048_576.0)
    });
    vec![
        signal(
            SignalName::Cpu,
            None,
            used.cpu,
            limits,
            used.cpu.map(|_| 0),
            &cpu,
        ),
        signal(
            SignalName::Memory,
            None,
            used.memory,
            limits,
            used.memory.map(|_| 0),
            &memory,
        ),
    ]
}

fn signal(
    name: SignalName,
    route: Option<SafeText>,
    value: Option<f64>,
    limits: &Limits,
    age_ms: Option<u64>,
    detail: &str,
) -> Signal {
    Signal {
        grade: limits.grade(&name, value),
        route,
        value,
        unit: SafeText::from_text(name.unit()),
        age_ms: value.and(age_ms),
        detail: SafeText::from_text(detail),
        signal: name,
    }
}

fn unknown(name: SignalName, why: SafeText) -> Signal {
    Signal {
        detail: why,
        ..signal(name, None, None, &Limits::default(), None, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signal::Grade;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn measured(lines: &[String]) -> Vec<Signal> {
        let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc()).unwrap();
        let mut scanner = Scanner::new(options);
        for (i, line) in lines.iter().enumerate() {
            scanner.feed_line(Some(1_000_000 + i as i64 * 100), line.as_bytes());
        }
        let window = Window {
            since: Some(at(1_000)),
            until: Some(at(1_010)),
        };
        from_log(
            &Ok(scanner.finish()),
            &ServiceSettings::default(),
            window,
            at(1_010),
        )
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

    #[test]
    fn a_failure_to_read_is_the_reason_of_every_signal() {
        let window = Window::ALL;
        let error = Err(SafeText::from_text("the engine is away"));
        let signals = from_log(&error, &ServiceSettings::default(), window, at(0));
        assert_eq!(signals.len(), 3);
        assert!(
            signals
                .iter()
                .all(|s| s.grade == Grade::Unknown && s.detail.as_str() == "the engine is away")
        );
        let away = Err(SafeText::from_text("away"));
        assert!(
            from_runtime(&away, &Limits::default())
                .iter()
                .all(|s| s.value.is_none())
        );
    }
}
