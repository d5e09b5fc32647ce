//! Signals of the user's own, and golden signals that a Prometheus server is asked for.
//!
//! A query, a command or an expression that gives nothing is unknown with its reason; a value that is too old is unknown
//! with its age.

use std::time::Duration;

use futures_util::future;
use jiff::Timestamp;

use crate::analysis::own_signal::{Captured, read_number};
use crate::domain::own_signal::{OwnSignal, OwnSource, from_base_unit};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::settings::ServiceSettings;
use crate::domain::signal::{Grade, Limits, Signal, SignalName};
use crate::host::{Command, Host};
use crate::ops::Context;
use crate::runtime::prometheus;

/// The way to another machine may hang before a command's own limit begins.
const WAY: Duration = Duration::from_secs(3);

/// The own signals of a service; with `None` those that belong to no service.
pub(super) fn of<'a>(ctx: &'a Context, id: Option<&ServiceId>) -> Vec<&'a OwnSignal> {
    let all = ctx.config.signals.iter();
    all.filter(|own| match (&own.service, id) {
        (Some(name), Some(id)) => id.matches(name),
        (None, None) => true,
        _ => false,
    })
    .collect()
}

/// The expressions among them, ready to be fed with lines.
pub(super) fn captures(own: &[&OwnSignal]) -> Vec<(OwnSignal, Captured)> {
    own.iter()
        .filter_map(|own| match &own.source {
            // Its text was checked when the configuration was read.
            OwnSource::Capture { regex, pick } => {
                Some(((*own).clone(), Captured::new(regex, *pick).ok()?))
            }
            _ => None,
        })
        .collect()
}

/// What an expression found.
pub(super) fn from_capture(
    own: &OwnSignal,
    captured: Result<&Captured, &SafeText>,
    limits: &Limits,
    now: Timestamp,
) -> Signal {
    let found = captured
        .map_err(Clone::clone)
        .and_then(|c| c.value().map_err(|why| SafeText::from_text(&why)));
    match found {
        Ok((value, at, detail)) => {
            let age = at.map(|at| now.as_millisecond() - at);
            let age_ms = age.map(|ms| u64::try_from(ms).unwrap_or(0));
            graded(own, value, age_ms, &detail, limits)
        }
        Err(why) => unknown(own, why),
    }
}

/// Asks for all that come from a query or a command, side by side.
pub(super) async fn ask(
    ctx: &Context,
    host: &Host,
    own: &[&OwnSignal],
    limits: &Limits,
) -> Vec<Signal> {
    let asked = own.iter().map(|own| async move {
        match &own.source {
            OwnSource::Capture { .. } => None,
            OwnSource::Promql(promql) => Some(query(ctx, own, promql, limits).await),
            OwnSource::Command(line) => Some(run(host, own, line, limits).await),
        }
    });
    future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect()
}

async fn query(ctx: &Context, own: &OwnSignal, promql: &str, limits: &Limits) -> Signal {
    let server = crate::domain::own_signal::PrometheusSettings {
        timeout: own.timeout,
        ..ctx.config.prometheus.clone()
    };
    match prometheus::query(&server, promql).await {
        Ok(sample) => {
            let age = Timestamp::now().duration_since(sample.at).as_millis();
            let age_ms = Some(u64::try_from(age).unwrap_or(0));
            graded(own, sample.value, age_ms, "Prometheus", limits)
        }
        Err(error) => unknown(own, SafeText::from_error(&error)),
    }
}

async fn run(host: &Host, own: &OwnSignal, line: &str, limits: &Limits) -> Signal {
    let command = Command::shell(line, &[], own.timeout);
    let output = match tokio::time::timeout(own.timeout + WAY, host.query(&command)).await {
        Ok(Ok(output)) if output.is_success() => output,
        Ok(Ok(output)) => return unknown(own, output.describe()),
        Ok(Err(error)) => return unknown(own, SafeText::from_error(&error)),
        Err(_) => {
            return unknown(
                own,
                SafeText::from_text("the machine did not answer in time"),
            );
        }
    };
    let text = output.stdout_text();
    match read_number(&text) {
        Some(value) => graded(own, value, Some(0), "its command", limits),
        None => {
            let start: String = text.trim().chars().take(60).collect();
            let why = format!("its command printed {start:?}, which is no number");
            unknown(own, SafeText::from_text(&why))
        }
    }
}

/// The golden signals of a service that the configuration has Prometheus asked for, over a window of so many seconds.
pub(super) async fn metrics(
    ctx: &Context,
    settings: &ServiceSettings,
    seconds: u64,
) -> Vec<Signal> {
    let queries = settings.metrics.queries(seconds);
    let asked = queries.into_iter().map(|(name, promql)| async move {
        let (value, detail) = match prometheus::query(&ctx.config.prometheus, &promql).await {
            Ok(sample) => (
                Some(from_base_unit(&name, sample.value)),
                SafeText::from_text("Prometheus"),
            ),
            Err(error) => (None, SafeText::from_error(&error)),
        };
        Signal {
            grade: settings.limits.grade(&name, value),
            route: None,
            value,
            unit: SafeText::from_text(name.unit()),
            age_ms: value.map(|_| 0),
            detail,
            signal: name,
        }
    });
    future::join_all(asked).await
}

/// The golden signals that need no log, because Prometheus has them.
pub(super) fn has_all_of_the_log(settings: &ServiceSettings) -> bool {
    let queries = settings.metrics.queries(1);
    [
        SignalName::LatencyP95,
        SignalName::ErrorRate,
        SignalName::Traffic,
    ]
    .iter()
    .all(|name| queries.iter().any(|(known, _)| known == name))
}

fn graded(
    own: &OwnSignal,
    value: f64,
    age_ms: Option<u64>,
    detail: &str,
    limits: &Limits,
) -> Signal {
    let limit = own.limits.as_ref().or(limits.of(&own.name));
    let is_stale = age_ms.is_some_and(|age| Duration::from_millis(age) > own.max_age);
    if is_stale {
        let age = Duration::from_millis(age_ms.unwrap_or(0)).as_secs();
        let why = format!("the newest value is {age} s old: {value} {}", own.unit);
        return unknown(own, SafeText::from_text(why.trim_end()));
    }
    let grade = limit.map_or(Grade::Unknown, |limit| limit.grade(Some(value)));
    let detail = match limit {
        Some(_) => detail.to_owned(),
        None => format!("{detail}; no limits to hold it against"),
    };
    Signal {
        signal: own.name.clone(),
        route: None,
        value: Some(value),
        unit: own.unit.clone(),
        grade,
        age_ms,
        detail: SafeText::from_text(&detail),
    }
}

fn unknown(own: &OwnSignal, why: SafeText) -> Signal {
    Signal {
        signal: own.name.clone(),
        route: None,
        value: None,
        unit: own.unit.clone(),
        grade: Grade::Unknown,
        age_ms: None,
        detail: why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::own_signal::Pick;
    use crate::domain::signal::Threshold;

    fn own() -> OwnSignal {
        OwnSignal {
            name: SignalName::Own("queue".into()),
            source: OwnSource::Capture {
                regex: "queue=(.*)".into(),
                pick: Pick::Last,
            },
            service: Some("backend".into()),
            unit: SafeText::from_text("jobs"),
            limits: Some(Threshold {
                warning: 50.0,
                critical: 80.0,
                p1: None,
                p0: None,
            }),
            timeout: Duration::from_secs(5),
            max_age: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_value_is_graded_by_its_own_limits_and_an_old_one_is_unknown() {
        let own = own();
        let limits = Limits::default();
        for (value, grade) in [
            (50.0, Grade::Ok),
            (51.0, Grade::Warning),
            (81.0, Grade::Critical),
        ] {
            assert_eq!(graded(&own, value, Some(0), "", &limits).grade, grade);
        }
        let old = graded(&own, 10.0, Some(61_000), "", &limits);
        assert_eq!((old.value, old.grade), (None, Grade::Unknown));
        assert!(old.detail.as_str().contains("61 s old"), "{}", old.detail);
    }

    #[test]
    fn what_an_expression_did_not_find_is_unknown_with_the_reason() {
        let (own, limits) = (own(), Limits::default());
        let mut captured = captures(&[&own]).pop().unwrap().1;
        let now = Timestamp::from_second(1_000).unwrap();
        let none = from_capture(&own, Ok(&captured), &limits, now);
        assert_eq!((none.value, none.grade), (None, Grade::Unknown));
        captured.feed(Some(990_000), b"queue=70");
        let some = from_capture(&own, Ok(&captured), &limits, now);
        assert_eq!(
            (some.value, some.grade, some.age_ms),
            (Some(70.0), Grade::Warning, Some(10_000))
        );
        let away = SafeText::from_text("the engine is away");
        let none = from_capture(&own, Err(&away), &limits, now);
        assert_eq!(
            (none.grade, none.detail.as_str()),
            (Grade::Unknown, away.as_str())
        );
    }
}
