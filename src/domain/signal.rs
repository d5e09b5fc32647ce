//! The golden signals: latency, traffic, errors, saturation; their limits and grades.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::ServiceId;

/// Which signal a value belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignalName {
    /// The 95th percentile of request durations, in milliseconds.
    LatencyP95,
    /// Errors over requests, as a fraction.
    ErrorRate,
    /// Requests per second.
    Traffic,
    /// CPU in use, as a fraction of the container's own limit, or of the machine where it has none.
    Cpu,
    /// Memory in use, as a fraction of the container's own limit, or of the machine where it has none.
    Memory,
    /// Disk in use, as a fraction.
    Disk,
    /// Database connections in use, as a fraction of the allowed.
    Connections,
    /// A signal of the user's own.
    Own(String),
}

impl SignalName {
    /// The word on screen, in JSON and in configuration.
    pub fn as_str(&self) -> &str {
        match self {
            Self::LatencyP95 => "latency_p95",
            Self::ErrorRate => "error_rate",
            Self::Traffic => "traffic",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Connections => "connections",
            Self::Own(name) => name,
        }
    }

    /// The signal of that name; an unknown word is a signal of the user's own.
    pub fn parse(text: &str) -> Self {
        match text {
            "latency_p95" => Self::LatencyP95,
            "error_rate" => Self::ErrorRate,
            "traffic" => Self::Traffic,
            "cpu" => Self::Cpu,
            "memory" => Self::Memory,
            "disk" => Self::Disk,
            "connections" => Self::Connections,
            own => Self::Own(own.to_owned()),
        }
    }

    /// The unit of its values.
    pub fn unit(&self) -> &'static str {
        match self {
            Self::LatencyP95 => "ms",
            Self::Traffic => "1/s",
            Self::ErrorRate | Self::Cpu | Self::Memory | Self::Disk | Self::Connections => {
                "fraction"
            }
            Self::Own(_) => "",
        }
    }
}

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SignalName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SignalName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(d)?))
    }
}

/// How good a value is. Unknown is a grade of its own: it is never drawn as ok.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Under every limit.
    Ok,
    /// Not measured, too few samples, or no limit to hold it against.
    #[default]
    Unknown,
    /// Over the warning limit.
    Warning,
    /// Over the critical limit.
    Critical,
}

impl Grade {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    /// The glyph that carries the grade without colour.
    pub fn glyph(self) -> &'static str {
        match self {
            Self::Ok => "✔",
            Self::Warning => "▲",
            Self::Critical => "✖",
            Self::Unknown => "?",
        }
    }
}

/// The limits of one signal, in the signal's unit. `p1`/`p0` are what an incident is called by; they may
/// differ from the colours of the gauge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Over it: warning.
    pub warning: f64,
    /// Over it: critical.
    pub critical: f64,
    /// Over it: P1.
    pub p1: Option<f64>,
    /// Over it: P0.
    pub p0: Option<f64>,
}

impl Threshold {
    /// Grades a value; `None` is unknown.
    pub fn grade(&self, value: Option<f64>) -> Grade {
        match value {
            None => Grade::Unknown,
            Some(v) if v.is_nan() => Grade::Unknown,
            Some(v) if v > self.critical => Grade::Critical,
            Some(v) if v > self.warning => Grade::Warning,
            Some(_) => Grade::Ok,
        }
    }
}

/// The limits that hold for one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits(pub BTreeMap<SignalName, Threshold>);

impl Default for Limits {
    /// Latency p95 500 ms and 1 s, P1 over 1 s, P0 over 2 s; error rate 1 and 5 %, P1 over 1 %, P0 over 5 %;
    /// CPU 70 and 90 %, P1 80, P0 95; memory 80 and 95 %, P1 85, P0 95; disk 85 and 95 %; connections 80 and 95 %.
    fn default() -> Self {
        let limits = |warning, critical, p1, p0| Threshold {
            warning,
            critical,
            p1,
            p0,
        };
        Self(BTreeMap::from([
            (
                SignalName::LatencyP95,
                limits(500.0, 1000.0, Some(1000.0), Some(2000.0)),
            ),
            (
                SignalName::ErrorRate,
                limits(0.01, 0.05, Some(0.01), Some(0.05)),
            ),
            (SignalName::Cpu, limits(0.70, 0.90, Some(0.80), Some(0.95))),
            (
                SignalName::Memory,
                limits(0.80, 0.95, Some(0.85), Some(0.95)),
            ),
            (SignalName::Disk, limits(0.85, 0.95, None, None)),
            (SignalName::Connections, limits(0.80, 0.95, None, None)),
        ]))
    }
}

impl Limits {
    /// What holds for a machine: the same for disks, 85 and 95 % for inodes; a busy CPU and a full memory are told of, but
    /// are no incident by themselves. Pressure is the share of a minute in which nothing could go on for want of memory or
    /// of a disk: 20 and 60 %.
    pub fn of_machine() -> Self {
        let limits = |warning, critical| Threshold {
            warning,
            critical,
            p1: None,
            p0: None,
        };
        Self(BTreeMap::from([
            (SignalName::Cpu, limits(0.70, 0.90)),
            (SignalName::Memory, limits(0.80, 0.95)),
            (SignalName::Disk, limits(0.85, 0.95)),
            (SignalName::Own("inodes".into()), limits(0.85, 0.95)),
            (SignalName::Own("pressure".into()), limits(0.20, 0.60)),
        ]))
    }

    /// The limits of one signal, if it has any.
    pub fn of(&self, signal: &SignalName) -> Option<&Threshold> {
        self.0.get(signal)
    }

    /// These limits where they were changed, those of a machine elsewhere.
    #[must_use]
    pub fn over_machine(&self) -> Self {
        let (usual, mut found) = (Self::default(), Self::of_machine());
        for (name, limit) in &self.0 {
            if usual.of(name) != Some(limit) {
                found.0.insert(name.clone(), *limit);
            }
        }
        found
    }

    /// Grades a value; without a limit it is unknown, except traffic, which has no limit of its own and is ok
    /// when it was measured.
    pub fn grade(&self, signal: &SignalName, value: Option<f64>) -> Grade {
        match (self.of(signal), signal, value) {
            (Some(limit), _, value) => limit.grade(value),
            (None, SignalName::Traffic, Some(_)) => Grade::Ok,
            _ => Grade::Unknown,
        }
    }
}

/// What a service uses of what it may use, over all its instances. Each value is `None` where it was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Saturation {
    /// CPU in use, in cores, summed over the instances.
    pub cpu_cores: Option<f64>,
    /// CPU in use as a fraction of what the busiest instance may use: its own limit, else the machine.
    pub cpu: Option<f64>,
    /// Memory in use, in bytes, without the page cache that can be given back, summed over the instances.
    pub memory_bytes: Option<u64>,
    /// Memory in use as a fraction of what the fullest instance may use: its own limit, else the machine.
    pub memory: Option<f64>,
}

/// One signal of a service, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Which signal.
    pub signal: SignalName,
    /// The route it holds for; `None` for the whole service.
    pub route: Option<SafeText>,
    /// The value; `None` where it could not be measured.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: SafeText,
    /// Its grade.
    pub grade: Grade,
    /// How old the value is; `None` where there is none.
    pub age_ms: Option<u64>,
    /// Why there is no value, or on how little it rests: `12 requests, needs 20`.
    pub detail: SafeText,
}

/// All signals of one service at one instant, with a short history for the gauges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSignals {
    /// The service.
    pub id: ServiceId,
    /// Its signals.
    pub signals: Vec<Signal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_data_is_never_ok() {
        let limits = Limits::default();
        assert_eq!(limits.grade(&SignalName::ErrorRate, None), Grade::Unknown);
        assert_eq!(limits.grade(&SignalName::Traffic, None), Grade::Unknown);
        assert_eq!(
            limits.grade(&SignalName::Own("queue".into()), Some(1.0)),
            Grade::Unknown
        );
        assert_eq!(
            limits.grade(&SignalName::Cpu, Some(f64::NAN)),
            Grade::Unknown
        );
    }

    #[test]
    fn a_limit_is_broken_only_above_it() {
        let limits = Limits::default();
        assert_eq!(
            limits.grade(&SignalName::LatencyP95, Some(500.0)),
            Grade::Ok
        );
        assert_eq!(
            limits.grade(&SignalName::LatencyP95, Some(500.1)),
            Grade::Warning
        );
        assert_eq!(
            limits.grade(&SignalName::LatencyP95, Some(3200.0)),
            Grade::Critical
        );
    }

    #[test]
    fn names_go_through_text_and_back() {
        for name in [
            "latency_p95",
            "error_rate",
            "traffic",
            "cpu",
            "memory",
            "disk",
            "connections",
            "cost",
        ] {
            assert_eq!(SignalName::parse(name).as_str(), name);
        }
    }
}
