//! Rules: what counts as broken, looked at in one look at the services.
//!
//! Some hold without being written down: a service that does not answer is P0, a limit of P1 or P0 is what it says.
//! Others are the user's own (`[[rules]]`). What could not be measured is unknown: neither broken nor fine.

use std::time::Duration;

use crate::domain::alert::{AlertSeverity, Condition, KnownService, Observation};
use crate::domain::health::{HealthState, HealthWarning, ServiceHealth};
use crate::domain::host::HostName;
use crate::domain::own_signal::OwnSignal;
use crate::domain::runbook::probe::{Comparison, Probe};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, ServiceState, Unreachable};
use crate::domain::signal::{Limits, Signal, SignalName};

/// Saturation counts when it holds for so long: a start or a backup is no trouble.
const SATURATION_HOLD: Duration = Duration::from_secs(120);
/// A runtime that cannot be read is told of after so long: a daemon may be restarted.
const UNREADABLE_HOLD: Duration = Duration::from_secs(30);
/// A service that is slow or partly down works; that is told of when it stays so.
const DEGRADED_HOLD: Duration = Duration::from_secs(120);
/// One failed look may be chance.
const LOOKS: u32 = 2;
/// A limit that was broken at the checkpoint as well counts when the value is so many times that of then.
const WORSE_LATENCY: f64 = 1.25;
const WORSE: f64 = 1.5;

/// A rule of the user's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// As it was written.
    pub when: String,
    /// The service as a person names it; `*` for each.
    pub service: String,
    /// Which signal.
    pub signal: SignalName,
    /// How it is compared.
    pub op: Comparison,
    /// With what.
    pub bound: Bound,
    /// For how long it has to be so.
    pub hold: Duration,
    /// How urgent it is.
    pub severity: AlertSeverity,
}

/// What a value is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// A fixed value, in the signal's unit.
    Value(f64),
    /// So many times the value at the newest good checkpoint.
    Baseline(f64),
}

impl Rule {
    /// Reads `backend error_rate > 1%`, `* latency_p95 > 2x baseline`; a service that is left out means each.
    ///
    /// # Errors
    /// What is wrong with it, and the shape.
    pub fn parse(when: &str, hold: Duration, severity: AlertSeverity) -> Result<Self, String> {
        let shape = |why: &str| {
            format!(
                "{when:?} {why}; write \"backend error_rate > 1%\", \"* latency_p95 > 800ms\" or \"backend latency_p95 > 2x baseline\""
            )
        };
        let mut text = when.trim().to_owned();
        let mut factor = None;
        if let Some(front) = text.strip_suffix("baseline").map(str::trim_end) {
            let at = front.rfind(['<', '>', '=']).map_or(0, |at| at + 1);
            let number = front[at..].trim().trim_end_matches(['x', '*', '×']).trim();
            let times: f64 = match number {
                "" => 1.0,
                number => number
                    .parse()
                    .ok()
                    .filter(|n: &f64| n.is_finite() && *n > 0.0)
                    .ok_or_else(|| shape("does not say how many times the baseline"))?,
            };
            factor = Some(times);
            // Stands for the value while the rest is read; every unit takes it.
            text = format!("{} 0", &front[..at]);
        }
        let end = text.find(['<', '>', '=', '!']).unwrap_or(0);
        let names = text[..end].to_owned();
        if names.split_whitespace().count() == 1 {
            text = format!("* {text}");
        }
        if factor.is_some() && names.contains("latency") {
            text.push_str("ms");
        }
        match Probe::parse(&format!("signal {text}")) {
            Ok(Probe::Signal {
                service,
                signal,
                op,
                value,
            }) => Ok(Self {
                when: when.trim().to_owned(),
                service,
                signal,
                op,
                bound: factor.map_or(Bound::Value(value), Bound::Baseline),
                hold,
                severity,
            }),
            Ok(_) => Err(shape("is no comparison of a signal")),
            Err(error) => Err(shape(&format!("cannot be read: {}", error.message))),
        }
    }

    /// A rule for all is one for those that have such a signal, measured or not.
    fn is_for(&self, one: &Measured<'_>) -> bool {
        match self.service.as_str() {
            "*" => whole(one.signals, &self.signal).is_some(),
            name => one.id.matches(name),
        }
    }
}

/// What one look measured of one service, or of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Whose signals they are.
    pub id: &'a ServiceId,
    /// The signals.
    pub signals: &'a [Signal],
    /// The signals at the newest good checkpoint; empty without.
    pub baseline: &'a [Signal],
    /// The limits.
    pub limits: &'a Limits,
}

/// What one look saw of one service.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its probes' answers.
    pub health: &'a ServiceHealth,
    /// Its signals.
    pub measured: Measured<'a>,
    /// It was never meant to run for ever: that it has ended is no failure.
    pub is_job: bool,
}

/// Holds every rule against one look. What is known and was not found is gone where its runtime could be read, and
/// unknown where it could not.
pub fn observe(
    rules: &[Rule],
    own: &[OwnSignal],
    watched: &[Watched<'_>],
    machines: &[Measured<'_>],
    known: &[KnownService],
    unreachable: &[Unreachable],
) -> Vec<Observation> {
    let mut found = Vec::new();
    for one in watched {
        found.push(down(one));
        found.push(degraded(one));
    }
    for one in watched.iter().map(|one| &one.measured).chain(machines) {
        found.extend(over_limits(one, own));
        let meant = rules.iter().filter(|rule| rule.is_for(one));
        found.extend(meant.map(|rule| against(rule, one)));
    }
    let is_here = |id: &ServiceId| watched.iter().any(|one| one.service.id == *id);
    for gone in known.iter().filter(|known| !is_here(&known.id)) {
        let is_unreadable = unreachable
            .iter()
            .any(|u| u.hides(&gone.id.host, gone.runtime));
        found.push(Observation {
            key: format!("{} down", gone.id),
            service: Some(gone.id.clone()),
            severity: AlertSeverity::P0,
            condition: match (is_unreadable, gone.has_run) {
                (true, _) => Condition::Unknown,
                (false, true) => Condition::Broken,
                (false, false) => Condition::Fine,
            },
            hold: Duration::ZERO,
            looks: LOOKS,
            text: SafeText::from_text(&format!("{} is gone: it was removed or renamed", gone.id)),
        });
    }
    found.extend(unreachable.iter().map(|u| unreadable(u, known)));
    found.extend(unreachable.iter().flat_map(|u| hidden(u, unreachable)));
    found
}

/// The key of the alert about a runtime that cannot be read.
fn runtime_key(runtime: Runtime, host: &HostName) -> String {
    format!("{} on {host}", runtime.as_str())
}

fn unreadable(away: &Unreachable, known: &[KnownService]) -> Observation {
    let was_used = known.iter().any(|k| away.hides(&k.id.host, k.runtime));
    let key = runtime_key(away.runtime, &away.host);
    let what = match away.is_whole_host {
        true => away.host.to_string(),
        false => key.clone(),
    };
    Observation {
        key,
        service: None,
        severity: AlertSeverity::P1,
        condition: if was_used {
            Condition::Broken
        } else {
            Condition::Unknown
        },
        hold: UNREADABLE_HOLD,
        looks: LOOKS,
        text: SafeText::from_text(&format!(
            "{what} cannot be read, so its services are not watched: {}",
            away.error
        )),
    }
}

/// The runtimes that something else hides: whether they can be read again is not known then, so what fires for one of them
/// is not over.
fn hidden(away: &Unreachable, all: &[Unreachable]) -> Vec<Observation> {
    let is_told = |runtime| {
        all.iter()
            .any(|other| other.host == away.host && other.runtime == runtime)
    };
    let hidden = [Runtime::Docker, Runtime::Swarm, Runtime::Pm2]
        .into_iter()
        .filter(|runtime| away.hides(&away.host, *runtime) && !is_told(*runtime));
    let observed = hidden.map(|runtime| {
        let key = runtime_key(runtime, &away.host);
        Observation {
            text: SafeText::from_text(&format!("{key} cannot be asked: {}", away.error)),
            key,
            service: None,
            severity: AlertSeverity::P1,
            condition: Condition::Unknown,
            hold: UNREADABLE_HOLD,
            looks: LOOKS,
        }
    });
    observed.collect()
}

fn down(one: &Watched<'_>) -> Observation {
    let service = one.service;
    let is_looping = service.crash_loop == Some(true);
    let condition = match one.health.state {
        _ if one.is_job => Condition::Fine,
        _ if is_looping => Condition::Broken,
        HealthState::Unhealthy => Condition::Broken,
        HealthState::Unreachable => Condition::Unknown,
        // Young and restarted: whether that was the last time cannot be told yet.
        HealthState::Healthy | HealthState::Degraded
            if service.crash_loop.is_none() && service.restarts > 0 =>
        {
            Condition::Unknown
        }
        HealthState::Healthy | HealthState::Degraded => Condition::Fine,
    };
    let failing = one.health.checks.iter().filter(|check| !check.ok);
    let why: Vec<String> = failing
        .take(3)
        .map(|check| match check.name.as_str() {
            "running" => check.detail.to_string(),
            name => format!("{name}: {}", check.detail),
        })
        .collect();
    let what = match (condition, is_looping) {
        (Condition::Broken, true) => {
            format!("is in a crash loop: restarted {} times", service.restarts)
        }
        (Condition::Broken, false) => format!("is down: {}", why.join("; ")),
        (Condition::Unknown, _) => format!("cannot be judged: {}", why.join("; ")),
        (Condition::Fine, _) => format!("is {}", one.health.state.as_str()),
    };
    Observation {
        key: format!("{} down", service.id),
        service: Some(service.id.clone()),
        severity: AlertSeverity::P0,
        condition,
        hold: Duration::ZERO,
        looks: if is_looping { 1 } else { LOOKS },
        text: SafeText::from_text(&format!("{} {what}", service.id)),
    }
}

fn degraded(one: &Watched<'_>) -> Observation {
    let condition = match one.health.state {
        HealthState::Degraded if one.service.state != ServiceState::Starting => Condition::Broken,
        HealthState::Unreachable => Condition::Unknown,
        _ => Condition::Fine,
    };
    let why = one.health.checks.iter().find(|check| !check.is_well());
    let why = why.map_or(String::new(), |check| {
        let is_slow = check.warnings.contains(&HealthWarning::Slow);
        let took = check.ms.filter(|_| is_slow);
        let took = took.map_or(String::new(), |ms| format!(" (after {ms} ms)"));
        format!(": {}: {}{took}", check.name, check.detail)
    });
    Observation {
        key: format!("{} degraded", one.service.id),
        service: Some(one.service.id.clone()),
        severity: AlertSeverity::P2,
        condition,
        hold: DEGRADED_HOLD,
        looks: LOOKS,
        text: SafeText::from_text(&format!("{} is degraded{why}", one.service.id)),
    }
}

fn whole<'a>(signals: &'a [Signal], name: &SignalName) -> Option<&'a Signal> {
    signals
        .iter()
        .find(|signal| signal.signal == *name && signal.route.is_none())
}

/// P1 and P0 of the limits, an alert for each signal; where a limit has neither, P1 over the critical one and P2 over that
/// of the warning. A limit that was broken at the checkpoint as well counts only if the value got worse since: it is
/// known, and no news.
fn over_limits(one: &Measured<'_>, own: &[OwnSignal]) -> Vec<Observation> {
    let mut found = Vec::new();
    for signal in one.signals.iter().filter(|signal| signal.route.is_none()) {
        let name = &signal.signal;
        let own = own.iter().find(|own| {
            let is_here = match &own.service {
                Some(service) => one.id.matches(service),
                None => *one.id == ServiceId::machine(HostName::local()),
            };
            own.name == *name && is_here
        });
        let limit = own
            .and_then(|own| own.limits.as_ref())
            .or(one.limits.of(name));
        let Some(limit) = limit else { continue };
        let (mild, bad) = match (limit.p1, limit.p0) {
            // A machine that is busy does its work: nobody is woken for that alone.
            (None, None) if *name == SignalName::Cpu => (
                (AlertSeverity::P2, limit.warning),
                (AlertSeverity::P2, limit.critical),
            ),
            (None, None) => (
                (AlertSeverity::P2, limit.warning),
                (AlertSeverity::P1, limit.critical),
            ),
            (p1, p0) => (
                (AlertSeverity::P1, p1.or(p0).unwrap_or(limit.critical)),
                (AlertSeverity::P0, p0.unwrap_or(f64::INFINITY)),
            ),
        };
        let before = whole(one.baseline, name).and_then(|signal| signal.value);
        let (severity, bound) = match signal.value {
            Some(value) if value > bad.1 => bad,
            _ => mild,
        };
        let worse = match name {
            SignalName::LatencyP95 => WORSE_LATENCY,
            _ => WORSE,
        };
        let was_broken = before.is_some_and(|before| before > bound);
        let condition = match signal.value {
            None => Condition::Unknown,
            Some(value) if value <= bound => Condition::Fine,
            Some(value) if was_broken && before.is_some_and(|b| value <= b * worse) => {
                Condition::Fine
            }
            Some(_) => Condition::Broken,
        };
        let is_saturation =
            own.is_none() && !matches!(name, SignalName::LatencyP95 | SignalName::ErrorRate);
        let then = before.map_or(String::new(), |before| {
            format!(", {} at the checkpoint", show(signal, before))
        });
        let text = format!(
            "{} {name} is {}, over {}{then} ({})",
            one.id,
            signal.value.map_or("unknown".into(), |v| show(signal, v)),
            show(signal, bound),
            signal.detail
        );
        found.push(Observation {
            key: format!("{} {name}", one.id),
            service: Some(one.id.clone()),
            severity,
            condition,
            hold: if is_saturation {
                SATURATION_HOLD
            } else {
                Duration::ZERO
            },
            looks: LOOKS,
            text: SafeText::from_text(&text),
        });
    }
    found
}

fn against(rule: &Rule, one: &Measured<'_>) -> Observation {
    let name = &rule.signal;
    let signal = whole(one.signals, name);
    let value = signal.and_then(|signal| signal.value);
    let before = whole(one.baseline, name).and_then(|signal| signal.value);
    let bound = match rule.bound {
        Bound::Value(value) => Some(value),
        Bound::Baseline(factor) => before.map(|before| before * factor),
    };
    let condition = match (value, bound) {
        (Some(value), Some(bound)) if rule.op.holds(value, bound) => Condition::Broken,
        (Some(_), Some(_)) => Condition::Fine,
        _ => Condition::Unknown,
    };
    let seen = match (signal, value, bound) {
        (Some(signal), Some(value), Some(bound)) => format!(
            "is {} ({} {})",
            show(signal, value),
            rule.op,
            show(signal, bound)
        ),
        (None, ..) => "is no signal of it".to_owned(),
        (Some(signal), None, _) => format!("could not be measured: {}", signal.detail),
        (_, _, None) => "has no value at a checkpoint to be held against".to_owned(),
    };
    Observation {
        key: format!("{} {}", one.id, rule.when),
        service: Some(one.id.clone()),
        severity: rule.severity,
        condition,
        hold: rule.hold,
        looks: 1,
        text: SafeText::from_text(&format!("{} {name} {seen}", one.id)),
    }
}

/// A value in words: `4.2 %`, `812 ms`, `85 USD`.
fn show(signal: &Signal, value: f64) -> String {
    match signal.unit.as_str() {
        "fraction" => format!("{:.1} %", value * 100.0),
        "ms" if value >= 1_000.0 => format!("{:.2} s", value / 1_000.0),
        "ms" => format!("{value:.0} ms"),
        "1/s" => format!("{value:.1}/s"),
        unit => format!("{value} {unit}").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests;
