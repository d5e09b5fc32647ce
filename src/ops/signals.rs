//! The golden signals of a service: latency, traffic and errors from its logs or a Prometheus server, saturation from its
//! runtime, connections from the database itself; signals of the user's own; and those of the machines.

mod connections;
mod lately;
mod log;
mod machine;
mod own;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future;
use jiff::{SignedDuration, Timestamp};

use super::services::host_of;
use super::{Context, OpsError, checkpoint};
use crate::domain::log::Window;
use crate::domain::own_signal::OwnSignal;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::domain::signal::{Limits, Saturation, ServiceSignals, Signal, SignalName};
use crate::host::Host;
use crate::runtime;
use crate::store::signals::{self as store, Point};
use log::Wanted;

pub use lately::Lately;
pub use machine::{machine_limits, machine_of, machines, machines_of};

/// How far back a measurement looks by default.
const SPAN: Duration = Duration::from_secs(15 * 60);
/// A service among many that takes longer has no signals this time.
const IN_TIME: Duration = Duration::from_secs(10);
/// A rate over less than two scrapes of a minute has no value.
const SHORTEST_RATE: u64 = 120;

/// Measures every signal of a service over a window of its logs (default: the last 15 minutes, at most since
/// its creation). What cannot be measured is there with `value: None` and the reason.
pub async fn measure(ctx: &Context, service: &Service, window: Window) -> ServiceSignals {
    let is_golden = !own::has_all_of_the_log(&ctx.config.service(&service.id));
    all_of(ctx, service, window, is_golden, false).await
}

/// Measures as [`measure`] does over the last `span` (default: 15 minutes), for those who look again and again: only what was
/// written since the last look is read, and the window is longer than asked for by a tenth at most.
pub async fn measure_lately(
    ctx: &Context,
    service: &Service,
    span: Option<SignedDuration>,
) -> ServiceSignals {
    let window = span.map_or(Window::ALL, |span| Window::since(Timestamp::now() - span));
    let is_golden = !own::has_all_of_the_log(&ctx.config.service(&service.id));
    all_of(ctx, service, window, is_golden, lately::is_sliced(service)).await
}

/// Measures as [`measure_lately`] does, of a service among many: one that takes too long is not waited for.
pub async fn measure_in_time(
    ctx: &Context,
    service: &Service,
    span: SignedDuration,
) -> ServiceSignals {
    tokio::time::timeout(IN_TIME, measure_lately(ctx, service, Some(span)))
        .await
        .unwrap_or_else(|_| unmeasured(ctx, service, IN_TIME))
}

/// Measures what a comparison cannot take from the logs that it has read anyway: saturation, connections, what Prometheus
/// is asked for, and own signals.
pub(crate) async fn measure_beside_logs(ctx: &Context, service: &Service) -> ServiceSignals {
    all_of(ctx, service, Window::ALL, false, false).await
}

/// `is_golden`: whether latency, traffic and errors are wanted of the log. `is_again`: whether it is read on from the last
/// look.
async fn all_of(
    ctx: &Context,
    service: &Service,
    window: Window,
    is_golden: bool,
    is_again: bool,
) -> ServiceSignals {
    let window = fit(service, window, Timestamp::now());
    let settings = ctx.config.service(&service.id);
    let own = own::of(ctx, Some(&service.id));
    let wanted = Wanted::new(is_golden, &own);
    let from_log = async {
        if wanted.is_nothing() {
            return Vec::new();
        }
        let read = match is_again {
            true => lately::read(ctx, service, window, &own).await,
            false => (log::read(ctx, service, window, &own).await).map(|tally| (tally, window)),
        };
        match read {
            Ok((tally, window)) => wanted.signals(Ok(&tally), &settings, window),
            Err(error) => wanted.signals(Err(&error.to_safe_text()), &settings, window),
        }
    };
    let beside = beside_the_log(ctx, service, window, &own);
    let (mut signals, others) = future::join(from_log, beside).await;
    replace(&mut signals, others);
    ServiceSignals {
        id: service.id.clone(),
        signals,
    }
}

/// The signals of a service that could not be measured in time: each there, none with a value.
fn unmeasured(ctx: &Context, service: &Service, limit: Duration) -> ServiceSignals {
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

/// When the newest whole checkpoint that has a service was made, and what it measured then; `None` without one.
pub fn at_checkpoint(ctx: &Context, id: &ServiceId) -> Option<(Timestamp, Vec<Signal>)> {
    let all = checkpoint::list(ctx).unwrap_or_default();
    let newest = all.iter().find(|one| {
        let manifest = one.manifest.as_ref();
        manifest.is_ok_and(|m| m.complete && m.services.iter().any(|s| s.id == *id))
    });
    let newest = newest?;
    let made_at = newest.manifest.as_ref().ok()?.created_at;
    let saved = checkpoint::saved_signals(&newest.path).unwrap_or_default();
    let mut saved = saved.into_iter();
    let own = saved.find(|own| own.id == *id);
    Some((made_at, own.map_or_else(Vec::new, |own| own.signals)))
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

async fn saturation(host: &Host, service: &Service) -> Result<Saturation, SafeText> {
    runtime::saturation(host, service)
        .await
        .map_err(|e| SafeText::from_error(&e))
}

fn seconds_of(window: Window) -> f64 {
    match (window.since, window.until) {
        (Some(since), Some(until)) => until.duration_since(since).as_secs_f64(),
        _ => 0.0,
    }
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

    #[test]
    fn a_failure_to_read_is_the_reason_of_every_signal() {
        let error = SafeText::from_text("the engine is away");
        let signals = log::unread(&error);
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
