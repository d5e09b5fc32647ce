//! The configuration file's shape: every key there is, so that any other is a typing error.
//!
//! Values are checked while they are read, which gives each error its place in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::analysis::preflight;
use crate::domain::host::HostName;
use crate::domain::nearest::nearest;
use crate::domain::runbook::{Language, variables};
use crate::domain::service::ServiceId;
use crate::domain::settings::{
    Connections, ExecCommands, MigrationCommands, RequestRules, ServiceSettings,
};
use crate::domain::signal::{Limits, SignalName, Threshold};
use crate::domain::time::parse_span;
use crate::store::config::HighlightStyle;
use crate::store::config::alerts::{RawRoute, RawWatch, RuleEntry, SinkEntry};
use crate::store::config::backups::{BackupName, RawBackup};
use crate::store::config::probe::RawProbe;
use crate::store::config::signals::{RawMetrics, RawPrometheus, SignalEntry};
use crate::store::config::switch::RawSwitch;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) hosts: BTreeMap<HostKey, RawHost>,
    pub(super) ssh: RawSsh,
    pub(super) services: BTreeMap<ServiceKey, RawService>,
    pub(super) input: RawInput,
    pub(super) logs: RawLogs,
    pub(super) checkpoint: RawCheckpoint,
    pub(super) signals: BTreeMap<SignalName, SignalEntry>,
    pub(super) prometheus: RawPrometheus,
    pub(super) rules: Vec<RuleEntry>,
    pub(super) sinks: BTreeMap<String, SinkEntry>,
    pub(super) routes: Vec<RawRoute>,
    pub(super) watch: RawWatch,
    pub(super) switch: BTreeMap<String, RawSwitch>,
    pub(super) backups: BTreeMap<BackupName, RawBackup>,
    policy: RawPolicy,
    pub(super) preflight: RawPreflight,
    pub(super) runbooks: RawRunbooks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPreflight {
    pub(super) artifacts: Option<Vec<NamePattern>>,
    pub(super) skip: Vec<CheckName>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRunbooks {
    pub(super) language: Option<Language>,
    pub(super) variables: BTreeMap<VariableName, VariableValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHost {
    pub(super) ssh: Option<HostKey>,
    pub(super) read_only: Option<bool>,
    pub(super) protected: Option<bool>,
    #[serde(rename = "become")]
    pub(super) become_with: Option<Rights>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSsh {
    pub(super) config: Option<PathBuf>,
    pub(super) compression: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawInput {
    pub(super) layout_map: Option<String>,
    pub(super) mouse: Option<bool>,
    pub(super) keymap: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLogs {
    pub(super) memory_mib: Option<Mebibytes>,
    pub(super) fields: Vec<String>,
    pub(super) highlights: Vec<RawHighlight>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHighlight {
    pub(super) pattern: Pattern,
    #[serde(default)]
    pub(super) style: HighlightStyle,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCheckpoint {
    pub(super) keep_last: Option<usize>,
    pub(super) save_images: Option<bool>,
    pub(super) encrypt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawService {
    probe: Option<RawProbe>,
    env_files: Vec<PathBuf>,
    config_files: Vec<PathBuf>,
    log_files: Vec<PathBuf>,
    request_regex: Option<Pattern>,
    ignore_routes: Vec<String>,
    limits: BTreeMap<SignalKey, LimitRow>,
    release: RawRelease,
    metrics: RawMetrics,
    connections: Option<String>,
    migrations: RawMigrations,
    status: Option<String>,
    start: Option<String>,
    stop: Option<String>,
    restart: Option<String>,
    logs: Option<String>,
    release_command: Option<String>,
    roll_back: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRelease {
    git: Option<PathBuf>,
    install: Option<String>,
    install_if: Option<PathBuf>,
}

/// Sections of later features: their keys are known, their values are kept as they stand.
macro_rules! known_keys {
    ($($name:ident { $($(#[$meta:meta])* $key:ident: $kind:ty),* $(,)? })*) => {$(
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $name { $($(#[$meta])* $key: Option<$kind>),* }
    )*};
}

known_keys! {
    RawMigrations { current: String, head: String, downgrade: String }
    RawPolicy { rules: Vec<RawPolicyRule> }
    RawPolicyRule {
        user: String, host: String, service: String, operations: Vec<String>,
        two_person: Vec<RiskWord>,
    }
}

macro_rules! words {
    ($($name:ident { $($word:literal $variant:ident),* $(,)? })*) => {$(
        #[derive(Debug, Deserialize)]
        enum $name { $(#[serde(rename = $word)] $variant),* }
    )*};
}

words! {
    RiskWord {
        "read_only" ReadOnly, "disruptive" Disruptive, "destructive" Destructive, "data_losing" DataLosing,
    }
}

/// Reads a type from text, with the error at the text's place.
macro_rules! from_text {
    ($name:ident, |$text:ident| $read:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $text = String::deserialize(deserializer)?;
                $read.map_err(de::Error::custom)
            }
        }
    };
}

/// A host's name or ssh destination that no ssh client could take for an option.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HostKey(String);
from_text!(HostKey, |text| HostName::parse(&text)
    .map(|name| Self(name.as_str().to_owned())));

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is put before commands: never anything that could ask for a password.
#[derive(Debug)]
pub(super) struct Rights(pub(super) Vec<String>);
from_text!(Rights, |text| {
    let words = shell_words::split(&text).unwrap_or_default();
    let program = words.first().map(|word| word.rsplit('/').next());
    let is_silent = words.iter().any(|w| w == "-n" || w == "--non-interactive");
    match program.flatten() {
        Some("sudo" | "doas") if is_silent => Ok(Self(words)),
        Some("sudo" | "doas") => Err(format!(
            "{text:?} could ask for a password: write \"{} -n …\"",
            words[0]
        )),
        _ => Err(format!(
            "neither sudo nor doas: {text:?}; write \"sudo -n\""
        )),
    }
});

/// `[host:]group/name`, or a short name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceKey(pub(super) String);
from_text!(ServiceKey, |text| {
    let is_short = !text.is_empty() && !text.contains(['/', ':']);
    if is_short || ServiceId::parse(&text).is_some() {
        Ok(Self(text))
    } else {
        Err(format!(
            "not a service: {text:?}; write \"group/name\" (\"shop/backend\", \"exec/bot\")"
        ))
    }
});

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A regular expression that compiles.
#[derive(Debug)]
pub(super) struct Pattern(pub(super) String);
from_text!(Pattern, |text| match regex::Regex::new(&text) {
    Ok(_) => Ok(Self(text)),
    Err(error) => {
        // The parser draws its mistake over several lines; the last one says what it is.
        let text = error.to_string();
        let cause = text.lines().next_back().unwrap_or_default();
        let cause = cause.trim_start_matches("error: ");
        Err(format!("not a regular expression: {cause}"))
    }
});

/// A pattern of names in one folder: `dist`, `*.tar.gz`.
#[derive(Debug)]
pub(super) struct NamePattern(pub(super) String);
from_text!(NamePattern, |text| match glob::Pattern::new(&text) {
    Ok(_) if !text.is_empty() && !text.contains('/') => Ok(Self(text)),
    Ok(_) => Err(format!(
        "not a name in a service's folder: {text:?}; write \"dist\" or \"*.tar.gz\""
    )),
    Err(error) => Err(format!("not a pattern: {error}")),
});

/// The name of a preflight check.
#[derive(Debug)]
pub(super) struct CheckName(pub(super) &'static str);
from_text!(CheckName, |text| preflight::known(&text).map(Self));

/// The name of a runbook's variable.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VariableName(pub(super) String);
from_text!(VariableName, |text| variables::check_name(&text)
    .map(|()| Self(text)));

/// The value of a runbook's variable.
#[derive(Debug)]
pub(super) struct VariableValue(pub(super) String);
from_text!(VariableValue, |text| variables::check_value(&text)
    .map(|()| Self(text)));

/// A size in MiB that a machine has and a log needs.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(super) struct Mebibytes(pub(super) u32);

impl TryFrom<u32> for Mebibytes {
    type Error = String;

    fn try_from(size: u32) -> Result<Self, String> {
        if (1..=4096).contains(&size) {
            Ok(Self(size))
        } else {
            Err(format!("{size} MiB is not from 1 to 4096"))
        }
    }
}

/// A length of time: `500ms`, `2m`, `1h30m`.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanText(pub(super) Duration);
from_text!(SpanText, |text| read_span(&text).map(Self));

/// The pause between two measurements.
#[derive(Debug)]
pub(super) struct IntervalText(pub(super) Duration);
from_text!(IntervalText, |text| read_span(&text).and_then(|span| {
    match span >= Duration::from_secs(1) {
        true => Ok(Self(span)),
        false => Err(format!("{text:?} is under a second; write 2s, 15s, 1m")),
    }
}));

fn read_span(text: &str) -> Result<Duration, String> {
    parse_span(text)
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| format!("not a length of time: {text:?}; write 500ms, 30s, 2m, 1h30m"))
}

/// A signal's name; one that is nearly a known one is a typing error.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SignalKey(pub(super) SignalName);
from_text!(SignalKey, |text| {
    const KNOWN: &[&str] = &[
        "latency_p95",
        "error_rate",
        "traffic",
        "cpu",
        "memory",
        "disk",
        "connections",
        "inodes",
        "pressure",
        "load",
    ];
    match (
        SignalName::parse(&text),
        nearest(&text, KNOWN.iter().copied()),
    ) {
        (SignalName::Own(_), Some(near)) if near != text => {
            Err(format!("unknown key {text:?}; did you mean {near:?}?"))
        }
        (name, _) => Ok(Self(name)),
    }
});

/// One limit: a number in the signal's unit, a length of time (milliseconds), or a percentage (a fraction).
#[derive(Debug, Clone, Copy)]
struct LimitValue(f64, Written);

/// How a number was written, and so what it is now: a length of time became milliseconds, a percentage a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Plain,
    Span,
    Percent,
}

impl Written {
    /// The number in the unit of a signal of the user's own: `"5s"` is 5 where the unit is `s`.
    pub(super) fn in_unit(self, value: f64, unit: &str) -> f64 {
        match (self, unit) {
            (Self::Span, "s" | "sec" | "seconds") => value / 1_000.0,
            (Self::Span, "min" | "minutes") => value / 60_000.0,
            (Self::Percent, "%" | "percent") => value * 100.0,
            _ => value,
        }
    }
}

impl<'de> Deserialize<'de> for LimitValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl Visitor<'_> for Value {
            type Value = LimitValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a length of time (\"500ms\") or a percentage (\"5%\")")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<LimitValue, E> {
                limit(value, Written::Plain).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<LimitValue, E> {
                self.visit_f64(value as f64)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<LimitValue, E> {
                if let Some(percent) = text.strip_suffix('%') {
                    let percent: f64 = percent
                        .trim()
                        .parse()
                        .map_err(|_| E::custom(format!("not a percentage: {text:?}")))?;
                    return limit(percent / 100.0, Written::Percent).map_err(E::custom);
                }
                let span = read_span(text).map_err(E::custom)?;
                limit(span.as_secs_f64() * 1000.0, Written::Span).map_err(E::custom)
            }
        }
        fn limit(value: f64, written: Written) -> Result<LimitValue, String> {
            if value.is_finite() && value >= 0.0 {
                Ok(LimitValue(value, written))
            } else {
                Err(format!("{value} cannot be a limit"))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

/// `[warning, critical]`, and the limits of P1 and P0 where they differ from what follows from those.
#[derive(Debug)]
pub(super) struct LimitRow(Vec<LimitValue>);

impl<'de> Deserialize<'de> for LimitRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<LimitValue>::deserialize(deserializer)?;
        if !(2..=4).contains(&values.len()) {
            return Err(de::Error::custom(
                "limits are [warning, critical], or [warning, critical, P1, P0]",
            ));
        }
        if values[0].0 > values[1].0 {
            return Err(de::Error::custom(
                "the warning limit is over the critical one",
            ));
        }
        Ok(Self(values))
    }
}

impl LimitRow {
    /// The limits in the unit of a signal of the user's own.
    pub(super) fn in_unit(self, unit: &str) -> Self {
        let values = self.0.into_iter();
        Self(
            values
                .map(|v| LimitValue(v.1.in_unit(v.0, unit), v.1))
                .collect(),
        )
    }

    /// P1 and P0 keep the place that they have among the default limits: a slow service whose critical limit was
    /// doubled must not be rolled back by the default P0.
    pub(super) fn threshold(&self, default: Option<&Threshold>) -> Threshold {
        let (warning, critical) = (self.0[0].0, self.0[1].0);
        let moved = |value: Option<f64>| {
            let (default, value) = (default?, value?);
            if value == default.warning {
                Some(warning)
            } else {
                Some(value * critical / default.critical)
            }
        };
        Threshold {
            warning,
            critical,
            p1: self
                .0
                .get(2)
                .map(|v| v.0)
                .or(moved(default.and_then(|d| d.p1))),
            p0: self
                .0
                .get(3)
                .map(|v| v.0)
                .or(moved(default.and_then(|d| d.p0))),
        }
    }
}

impl From<RawService> for ServiceSettings {
    fn from(raw: RawService) -> Self {
        let exec = ExecCommands {
            status: raw.status,
            start: raw.start,
            stop: raw.stop,
            restart: raw.restart,
            logs: raw.logs,
            release_command: raw.release_command,
            roll_back: raw.roll_back,
        };
        let mut limits = Limits::default();
        for (SignalKey(name), row) in raw.limits {
            let threshold = row.threshold(limits.of(&name));
            limits.0.insert(name, threshold);
        }
        Self {
            probe: raw.probe.map(|probe| probe.0),
            env_files: raw.env_files,
            config_files: raw.config_files,
            log_files: raw.log_files,
            requests: RequestRules {
                request_regex: raw.request_regex.map(|pattern| pattern.0),
                ignore_routes: raw.ignore_routes,
            },
            limits,
            metrics: raw.metrics.into(),
            connections: raw.connections.map(|text| Connections::of(&text)),
            git: raw.release.git,
            install: raw.release.install,
            install_if: raw.release.install_if,
            migrations: MigrationCommands {
                current: raw.migrations.current,
                head: raw.migrations.head,
                downgrade: raw.migrations.downgrade,
            },
            exec: (exec != ExecCommands::default()).then_some(exec),
        }
    }
}
