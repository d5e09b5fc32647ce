//! What a look at a service, a signal, an address or a path says about a probe. Pure but for the path, so that
//! the console and the command line, which look at different times, judge alike.

use jiff::{SignedDuration, Timestamp};

use crate::domain::health::{HealthCheck, HealthState, ServiceHealth};
use crate::domain::log::Window;
use crate::domain::runbook::run::{ProbeAnswer, ProbeOutcome};
use crate::domain::runbook::{Probe, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::{ServiceSignals, SignalName};

/// A signal of a runbook is measured over so much time: long enough for 20 requests of a quiet service, short
/// enough to see a failure within a look or two.
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);

/// The window to measure a run's signals over: the last ten minutes, but nothing from before T, since what was
/// before the deploy says nothing about it. Before T: simply the last ten minutes.
pub fn signal_window(state: &RunState, now: Timestamp) -> Window {
    let recent = now.saturating_sub(LOOK_BACK).unwrap_or(now);
    let since = if state.t_at < now {
        recent.max(state.t_at)
    } else {
        recent
    };
    Window {
        since: Some(since),
        until: None,
    }
}

/// The answer to a `service NAME healthy` probe. A daemon that did not answer leaves it unknown.
pub fn answer_health(probe: &Probe, health: &ServiceHealth) -> ProbeAnswer {
    let outcome = match health.of_release() {
        HealthState::Healthy => ProbeOutcome::Passed,
        HealthState::Degraded | HealthState::Unhealthy => ProbeOutcome::Failed,
        HealthState::Unreachable => ProbeOutcome::Unknown,
    };
    let is_well = outcome == ProbeOutcome::Passed;
    let seen = health
        .checks
        .iter()
        .filter(|check| check.ok == is_well || !check.warnings.is_empty())
        .map(check_words)
        .collect::<Vec<_>>();
    let detail = match seen.as_slice() {
        [] => health.state.as_str().to_owned(),
        seen => format!("{} ({})", health.state.as_str(), seen.join(", ")),
    };
    answer(probe, outcome, &detail)
}

/// The answer to a `signal` probe. A signal that was not measured leaves it unknown: missing is never well.
pub fn answer_signal(probe: &Probe, signals: &ServiceSignals) -> ProbeAnswer {
    let Probe::Signal {
        signal,
        op,
        value: limit,
        ..
    } = probe
    else {
        return answer(
            probe,
            ProbeOutcome::Unknown,
            "this probe asks for no signal",
        );
    };
    let measured = signals
        .signals
        .iter()
        .find(|s| s.route.is_none() && s.signal == *signal);
    match measured.map(|s| (s.value.filter(|value| value.is_finite()), &s.detail)) {
        None => answer(
            probe,
            ProbeOutcome::Unknown,
            "this service has no such signal",
        ),
        Some((None, why)) if why.is_empty() => answer(probe, ProbeOutcome::Unknown, "not measured"),
        Some((None, why)) => answer(
            probe,
            ProbeOutcome::Unknown,
            &format!("not measured: {why}"),
        ),
        Some((Some(value), _)) => {
            let outcome = if op.holds(value, *limit) {
                ProbeOutcome::Passed
            } else {
                ProbeOutcome::Failed
            };
            let said = value_words(signal, value);
            // Which disk, and how much is left of it.
            match (signal, measured.map(|s| s.detail.as_str())) {
                (SignalName::Disk, Some(detail)) if !detail.is_empty() => {
                    answer(probe, outcome, &format!("{said}, {detail}"))
                }
                _ => answer(probe, outcome, &said),
            }
        }
    }
}

/// The answer to an `http` or `tcp` probe, from one look at [`Probe::to_check`].
pub fn answer_check(probe: &Probe, check: &HealthCheck) -> ProbeAnswer {
    let outcome = if check.ok {
        ProbeOutcome::Passed
    } else {
        ProbeOutcome::Failed
    };
    let ms = check
        .ms
        .map(|ms| format!(" in {ms} ms"))
        .unwrap_or_default();
    answer(probe, outcome, &format!("{}{ms}", check.detail))
}

/// The answer to a `file-absent` probe on this machine. What cannot be looked at is unknown, not absent.
pub fn answer_file_absent(probe: &Probe) -> ProbeAnswer {
    let Probe::FileAbsent { path } = probe else {
        return answer(probe, ProbeOutcome::Unknown, "this probe asks for no file");
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => answer(
            probe,
            ProbeOutcome::Failed,
            "a folder of that name is there",
        ),
        Ok(_) => answer(probe, ProbeOutcome::Failed, "a file of that name is there"),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            answer(probe, ProbeOutcome::Passed, "nothing is there")
        }
        Err(cause) => answer(
            probe,
            ProbeOutcome::Unknown,
            &format!("cannot look: {cause}"),
        ),
    }
}

/// The answer where a probe could not be asked at all: an unknown or ambiguous name, a daemon out of reach.
pub fn answer_unknown(probe: &Probe, why: &SafeText) -> ProbeAnswer {
    answer(probe, ProbeOutcome::Unknown, why.as_str())
}

fn answer(probe: &Probe, outcome: ProbeOutcome, detail: &str) -> ProbeAnswer {
    ProbeAnswer {
        probe: probe.clone(),
        outcome,
        detail: SafeText::from_text(detail),
    }
}

fn check_words(check: &HealthCheck) -> String {
    let ms = check
        .ms
        .map(|ms| format!(" in {ms} ms"))
        .unwrap_or_default();
    if check.detail.is_empty() {
        format!("{}{ms}", check.name)
    } else {
        format!("{}: {}{ms}", check.name, check.detail)
    }
}

/// A value as people say it: `25 %`, `812 ms`, `6.7/s`.
fn value_words(signal: &SignalName, value: f64) -> String {
    match signal.unit() {
        "fraction" => format!("{:.2} %", value * 100.0).replace(".00 %", " %"),
        "ms" => format!("{value:.0} ms"),
        "1/s" => format!("{value:.1}/s"),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::HealthWarning;
    use crate::domain::runbook::parse;
    use crate::domain::service::ServiceId;
    use crate::domain::signal::{Grade, Signal};

    fn probe(line: &str) -> Probe {
        let source = format!("# A\n- [ ] x\n\n  ```probe\n  {line}\n  ```\n");
        let runbook = parse::parse("a", "a.md", &source).unwrap();
        let item = runbook.find("1").unwrap();
        item.probes().next().unwrap().clone()
    }

    fn health(state: HealthState) -> ServiceHealth {
        let check = |name: &str, ok, detail: &str| HealthCheck {
            ms: Some(12),
            ..HealthCheck::new(name, ok, detail)
        };
        let checks = vec![
            check("running", state != HealthState::Unhealthy, "exit code 1"),
            check("http /health", state == HealthState::Healthy, "status 500"),
        ];
        ServiceHealth {
            id: ServiceId::local("shop", "backend"),
            state,
            checks,
        }
    }

    fn signals(value: Option<f64>, detail: &str) -> ServiceSignals {
        let signal = |route: Option<&str>, value| Signal {
            signal: SignalName::ErrorRate,
            route: route.map(SafeText::from_text),
            value,
            unit: "fraction".into(),
            grade: Grade::Unknown,
            age_ms: None,
            detail: detail.into(),
        };
        // A route of its own must not speak for the whole service.
        let signals = vec![signal(Some("/payment"), Some(0.9)), signal(None, value)];
        ServiceSignals {
            id: ServiceId::local("shop", "backend"),
            signals,
        }
    }

    #[test]
    fn only_healthy_is_healthy() {
        let probe = probe("service backend healthy");
        for (state, outcome) in [
            (HealthState::Healthy, ProbeOutcome::Passed),
            (HealthState::Degraded, ProbeOutcome::Failed),
            (HealthState::Unhealthy, ProbeOutcome::Failed),
            (HealthState::Unreachable, ProbeOutcome::Unknown),
        ] {
            assert_eq!(
                answer_health(&probe, &health(state)).outcome,
                outcome,
                "{state:?}"
            );
        }
        let mut dated = health(HealthState::Healthy);
        dated.state = HealthState::Degraded;
        dated.checks[1].warnings = vec![HealthWarning::Certificate];
        let answer = answer_health(&probe, &dated);
        assert_eq!(
            answer.outcome,
            ProbeOutcome::Passed,
            "a certificate holds nothing back"
        );
        assert!(
            answer.detail.as_str().starts_with("degraded ("),
            "{answer:?}"
        );
        let detail = answer_health(&probe, &health(HealthState::Degraded)).detail;
        assert_eq!(
            detail.as_str(),
            "degraded (http /health: status 500 in 12 ms)"
        );
    }

    #[test]
    fn a_signal_is_held_against_the_limit_of_the_probe() {
        let probe = probe("signal backend error_rate < 1%");
        let seen = |value, detail| answer_signal(&probe, &signals(value, detail));
        assert_eq!(seen(Some(0.005), "").outcome, ProbeOutcome::Passed);
        assert_eq!(seen(Some(0.25), "").outcome, ProbeOutcome::Failed);
        assert_eq!(seen(Some(0.25), "").detail.as_str(), "25 %");
        assert_eq!(
            seen(Some(0.01), "").outcome,
            ProbeOutcome::Failed,
            "1 % is not under 1 %"
        );
        let missing = seen(None, "12 requests, needs 20");
        assert_eq!(missing.outcome, ProbeOutcome::Unknown);
        assert_eq!(
            missing.detail.as_str(),
            "not measured: 12 requests, needs 20"
        );
        assert_eq!(seen(Some(f64::NAN), "").outcome, ProbeOutcome::Unknown);
        let nothing = ServiceSignals {
            signals: Vec::new(),
            ..signals(None, "")
        };
        assert_eq!(
            answer_signal(&probe, &nothing).outcome,
            ProbeOutcome::Unknown
        );
    }

    #[test]
    fn a_file_is_looked_for() {
        let dir = tempfile::Builder::new()
            .prefix("lastgood-test-")
            .tempdir()
            .unwrap();
        let path = dir.path().join("dist");
        let probe = Probe::FileAbsent {
            path: path.display().to_string(),
        };
        assert_eq!(answer_file_absent(&probe).outcome, ProbeOutcome::Passed);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(answer_file_absent(&probe).outcome, ProbeOutcome::Failed);
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert_eq!(
            answer_file_absent(&probe).outcome,
            ProbeOutcome::Failed,
            "a dangling link is there"
        );
        let below_a_file = Probe::FileAbsent {
            path: "/etc/passwd/dist".to_owned(),
        };
        assert_eq!(
            answer_file_absent(&below_a_file).outcome,
            ProbeOutcome::Unknown
        );
    }

    #[test]
    fn nothing_from_before_t_is_measured_after_it() {
        let runbook = parse::parse("a", "a.md", "# A\n- [ ] x\n").unwrap();
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
        let state = RunState::new("r", runbook, at(0), at(-60), SafeText::from_text("anna"));
        assert_eq!(signal_window(&state, at(3)).since, Some(at(0)));
        assert_eq!(signal_window(&state, at(30)).since, Some(at(20)));
        assert_eq!(signal_window(&state, at(-30)).since, Some(at(-40)));
    }
}
