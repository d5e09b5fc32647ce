//! `[signals.*]`, `[prometheus]` and a service's `metrics`: what is measured besides what is found by itself.
//!
//! A signal may stand in several files, a part in each: whether it is whole is checked when all were read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::alerts::source;
use super::error::ConfigError;
use super::raw::{LimitRow, Pattern, RawConfig, SignalKey, SpanText, Written};
use crate::analysis::rules::{Bound, Rule};
use crate::domain::own_signal::{MetricSettings, OwnSignal, OwnSource, Pick, PrometheusSettings};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::{Limits, SignalName};
use crate::domain::sink::SecretSource;

/// Where a Prometheus server listens unless it was told otherwise.
const PROMETHEUS: &str = "http://localhost:9090";
/// No answer by then is a failure.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A value that is older says nothing about now; as long as signals look back into a log.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSignal {
    promql: Option<String>,
    command: Option<String>,
    regex: Option<Pattern>,
    value: Option<Pick>,
    service: Option<String>,
    unit: Option<String>,
    limits: Option<LimitRow>,
    timeout: Option<SpanText>,
    max_age: Option<SpanText>,
}

/// A signal whose parts do not contradict each other; whether one is missing is not known before every file was read.
#[derive(Debug)]
pub(super) struct SignalEntry(RawSignal);

impl<'de> Deserialize<'de> for SignalEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawSignal::deserialize(deserializer)?;
        let sources = [
            raw.promql.is_some(),
            raw.command.is_some(),
            raw.regex.is_some(),
        ];
        if sources.iter().filter(|is| **is).count() > 1 {
            return Err(de::Error::custom(
                "a signal has one of regex, promql and command",
            ));
        }
        if raw.value.is_some() && raw.regex.is_none() {
            return Err(de::Error::custom(
                "value says which of the numbers of a regex counts; there is no regex",
            ));
        }
        if let Some(Pattern(regex)) = &raw.regex
            && raw.value != Some(Pick::Count)
            && regex::Regex::new(regex).is_ok_and(|regex| regex.captures_len() < 2)
        {
            return Err(de::Error::custom(
                "the regex captures nothing: put the number in a group, 'cost=([\\d.]+)', or say value = \"count\"",
            ));
        }
        Ok(Self(raw))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPrometheus {
    url: Option<ServerUrl>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    token_command: Option<String>,
    timeout: Option<SpanText>,
}

/// An address with a scheme and a host.
#[derive(Debug)]
struct ServerUrl(String);

impl<'de> Deserialize<'de> for ServerUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"));
        if rest.is_none_or(str::is_empty) || text.contains(char::is_whitespace) {
            return Err(de::Error::custom(format!(
                "not an address: {text:?}; write {PROMETHEUS}"
            )));
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl From<RawPrometheus> for PrometheusSettings {
    fn from(raw: RawPrometheus) -> Self {
        Self {
            url: raw.url.map_or_else(|| PROMETHEUS.to_owned(), |url| url.0),
            token: source([
                raw.token_env.map(SecretSource::Env),
                raw.token_file.map(SecretSource::File),
                raw.token_command.map(SecretSource::Command),
                None,
            ]),
            timeout: raw.timeout.map_or(TIMEOUT, |span| span.0),
        }
    }
}

/// The server where nothing is said.
pub(super) fn default_server() -> PrometheusSettings {
    RawPrometheus::default().into()
}

/// How a service's golden signals are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMetrics {
    histogram: Option<MetricName>,
    r#match: Option<String>,
    status: Option<MetricName>,
    queries: BTreeMap<SignalKey, String>,
}

/// The name of a metric or a label.
#[derive(Debug)]
struct MetricName(String);

impl<'de> Deserialize<'de> for MetricName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if text.is_empty() || !text.chars().all(is_letter) {
            return Err(de::Error::custom(format!(
                "not the name of a metric or a label: {text:?}; write http_request_duration_seconds, without _bucket"
            )));
        }
        Ok(Self(text))
    }
}

impl From<RawMetrics> for MetricSettings {
    fn from(raw: RawMetrics) -> Self {
        Self {
            histogram: raw.histogram.map(|name| name.0),
            matchers: raw.r#match.unwrap_or_default(),
            status: raw
                .status
                .map_or_else(|| "status".to_owned(), |name| name.0),
            queries: raw
                .queries
                .into_iter()
                .map(|(SignalKey(name), query)| (name, query))
                .collect(),
        }
    }
}

/// What can be checked only now that every file was read: each signal has a source, and a regex a service.
pub(super) fn check(raw: &RawConfig) -> Result<(), ConfigError> {
    for (name, SignalEntry(signal)) in &raw.signals {
        let why = if signal.regex.is_some() && signal.service.is_none() {
            "has a regex and no service whose lines it reads"
        } else if signal.regex.is_none() && signal.promql.is_none() && signal.command.is_none() {
            "has no regex, promql or command"
        } else if !matches!(name, SignalName::Own(_)) && signal.service.is_none() {
            "is a golden signal and names no service"
        } else {
            continue;
        };
        return Err(ConfigError::about(
            Path::new("the layered configuration"),
            format!("signals.{name} {why}"),
        ));
    }
    Ok(())
}

/// The own signals by name.
pub(super) fn own(raw: BTreeMap<SignalName, SignalEntry>) -> Vec<OwnSignal> {
    let defaults = Limits::default();
    raw.into_iter()
        .filter_map(|(name, SignalEntry(raw))| {
            let source = match (raw.regex, raw.promql, raw.command) {
                (Some(Pattern(regex)), ..) => OwnSource::Capture {
                    regex,
                    pick: raw.value.unwrap_or_default(),
                },
                (_, Some(query), _) => OwnSource::Promql(query),
                (.., Some(command)) => OwnSource::Command(command),
                _ => return None,
            };
            let unit = raw.unit.unwrap_or_else(|| name.unit().to_owned());
            Some(OwnSignal {
                source,
                service: raw.service,
                unit: SafeText::from_text(&unit),
                limits: raw
                    .limits
                    .map(|row| row.in_unit(&unit).threshold(defaults.of(&name))),
                timeout: raw.timeout.map_or(TIMEOUT, |span| span.0),
                max_age: raw.max_age.map_or(MAX_AGE, |span| span.0),
                name,
            })
        })
        .collect()
}

/// Rules are read before the units of own signals are known: `> 5s` is 5 where the signal counts in seconds.
pub(super) fn fit_rules(rules: &mut [Rule], signals: &[OwnSignal]) {
    for rule in rules {
        let own = signals.iter().find(|own| own.name == rule.signal);
        let (Some(own), Bound::Value(value)) = (own, rule.bound) else {
            continue;
        };
        if !matches!(rule.signal, SignalName::Own(_)) {
            continue;
        }
        let written = match rule.when.chars().last() {
            Some('%') => Written::Percent,
            Some('s') => Written::Span,
            _ => Written::Plain,
        };
        rule.bound = Bound::Value(written.in_unit(value, own.unit.as_str()));
    }
}
