//! How patiently a probe is asked: again when it fails, within its own time, and seldom once it has failed again and again.
//!
//! One lost packet is no outage, and a service that is down is not helped by being asked all the time. What is not asked is
//! as ill as when it last answered, and says since when it was not asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::domain::health::HealthCheck;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::domain::settings::Probe;
use crate::host::{Host, probe};

/// So often it is asked again.
const AGAIN: u32 = 3;
/// The first pause before that; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// After so many failures in a row it is asked less often.
const TOO_MANY: u32 = 5;
/// It is then not asked for so long; after that once.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// The tries of one look.
struct Tries {
    begun: Instant,
    limit: Duration,
    failed: u32,
}

impl Tries {
    fn new(begun: Instant, limit: Duration) -> Self {
        Self {
            begun,
            limit,
            failed: 0,
        }
    }

    /// One more has failed: the pause before the next, up to a quarter longer than it doubles to, so that many watchers do not
    /// ask in step. `None` where there is no next within the time that an answer may take.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.failed += 1;
        if self.failed > AGAIN {
            return None;
        }
        let pause = FIRST_PAUSE * 2_u32.pow(self.failed - 1);
        let chance = f64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() % 1000) / 1000.0;
        let pause = pause.mul_f64(1.0 + chance / 4.0);
        (now.duration_since(self.begun) + pause < self.limit).then_some(pause)
    }
}

/// Asks, and again where it fails. Gives the last answer and how many tries failed.
async fn ask_again(host: &Host, wanted: &Probe, is_trial: bool) -> (HealthCheck, u32) {
    let mut tries = Tries::new(Instant::now(), wanted.timeout);
    let mut first = None;
    loop {
        let mut answer = probe::ask(host, wanted).await;
        if answer.ok {
            if let Some(first) = first {
                let text = format!("{}, at try {} ({first})", answer.detail, tries.failed + 1);
                answer.detail = SafeText::from_text(&text);
            }
            return (answer, tries.failed);
        }
        let pause = tries.pause(Instant::now()).filter(|_| !is_trial);
        let Some(pause) = pause else {
            return (answer, tries.failed);
        };
        first.get_or_insert(answer.detail);
        tokio::time::sleep(pause).await;
    }
}

/// What is known of the probes of those who are asked again and again.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<BTreeMap<ServiceId, Circuit>>);

#[derive(Debug, Clone, Default)]
struct Circuit {
    /// What ran when it was asked: something else is asked at once.
    runs: Vec<(String, Option<Timestamp>)>,
    failures: u32,
    /// The last answer, and when it was, where it has failed too often.
    open: Option<(Instant, Timestamp, HealthCheck)>,
}

impl Circuit {
    /// The answer where it is not asked now.
    fn not_asked(&self, now: Instant, today: Timestamp) -> Option<HealthCheck> {
        let (since, asked_at, last) = self.open.as_ref()?;
        let left = OPEN_FOR.checked_sub(now.duration_since(*since))?;
        let left = Some(left).filter(|left| !left.is_zero())?;
        let text = format!(
            "{}; {} failures in a row: not asked since {}, next at {}",
            last.detail,
            self.failures,
            clock(*asked_at),
            clock(today + left)
        );
        Some(HealthCheck {
            ok: false,
            ms: None,
            detail: SafeText::from_text(&text),
            ..last.clone()
        })
    }

    fn take(&mut self, answer: &HealthCheck, failed: u32, now: Instant, today: Timestamp) {
        if answer.ok {
            (self.failures, self.open) = (0, None);
            return;
        }
        self.failures += failed;
        if self.failures >= TOO_MANY {
            self.open = Some((now, today, answer.clone()));
        }
    }
}

fn clock(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::system());
    at.strftime("%H:%M:%S").to_string()
}

/// Asks a service's probe, and again where it fails. `circuits`: of those who look again and again.
pub(super) async fn ask(
    host: &Host,
    service: &Service,
    wanted: &Probe,
    circuits: Option<&Circuits>,
) -> HealthCheck {
    let Some(circuits) = circuits else {
        return ask_again(host, wanted, false).await.0;
    };
    let instances = service.instances.iter();
    let runs: Vec<_> = instances.map(|i| (i.id.clone(), i.started_at)).collect();
    let known = |all: &BTreeMap<ServiceId, Circuit>| {
        let known = all.get(&service.id).filter(|known| known.runs == runs);
        known.cloned().unwrap_or_default()
    };
    let mut circuit = {
        let all = circuits.0.lock().unwrap_or_else(PoisonError::into_inner);
        known(&all)
    };
    if let Some(last) = circuit.not_asked(Instant::now(), Timestamp::now()) {
        return last;
    }
    let is_trial = circuit.open.is_some();
    let (answer, failed) = ask_again(host, wanted, is_trial).await;
    circuit.take(&answer, failed, Instant::now(), Timestamp::now());
    circuit.runs = runs;
    let mut all = circuits.0.lock().unwrap_or_else(PoisonError::into_inner);
    match circuit.failures {
        0 => all.remove(&service.id),
        _ => all.insert(service.id.clone(), circuit),
    };
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ok: bool) -> HealthCheck {
        HealthCheck {
            ms: Some(3),
            ..HealthCheck::new("http x", ok, "connection refused")
        }
    }

    #[test]
    fn pauses_double_and_end_within_the_time_of_an_answer() {
        let begun = Instant::now();
        let mut tries = Tries::new(begun, Duration::from_secs(60));
        let mut now = begun;
        for seconds in [1.0, 2.0, 4.0] {
            let pause = tries.pause(now).unwrap();
            let most = seconds * 1.25;
            assert!((seconds..=most).contains(&pause.as_secs_f64()), "{pause:?}");
            now += pause;
        }
        assert_eq!(tries.pause(now), None);
        let mut tries = Tries::new(begun, Duration::from_secs(5));
        let first = tries.pause(begun).unwrap();
        let late = begun + first + Duration::from_secs(3);
        assert_eq!(tries.pause(late), None, "an answer would come too late");
    }

    #[test]
    fn a_probe_that_fails_too_often_is_asked_seldom_and_is_never_well_meanwhile() {
        let mut circuit = Circuit::default();
        let (mut now, today) = (Instant::now(), Timestamp::now());
        let look = |circuit: &mut Circuit, now, ok, failed| {
            circuit.take(&answer(ok), failed, now, today);
            circuit.not_asked(now, today)
        };
        assert_eq!(look(&mut circuit, now, false, 3), None);
        // Well in between: it begins anew.
        assert_eq!(look(&mut circuit, now, true, 0), None);
        assert_eq!(look(&mut circuit, now, false, 4), None);
        let shown = look(&mut circuit, now, false, 1).unwrap();
        assert!(!shown.ok && shown.ms.is_none());
        for words in [
            "connection refused; 5 failures in a row",
            "not asked since",
            "next at",
        ] {
            assert!(shown.detail.as_str().contains(words), "{}", shown.detail);
        }
        now += OPEN_FOR - Duration::from_millis(1);
        assert!(circuit.not_asked(now, today).is_some());
        now += Duration::from_millis(1);
        assert_eq!(circuit.not_asked(now, today), None, "one trial");
        assert!(look(&mut circuit, now, false, 1).is_some());
        now += OPEN_FOR;
        assert_eq!(look(&mut circuit, now, true, 0), None);
        assert!(circuit.open.is_none() && circuit.failures == 0);
    }

    #[tokio::test]
    async fn what_runs_anew_is_asked_at_once() {
        use crate::domain::service::{Instance, Runtime, ServiceState};
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let mut wanted = Probe::of(crate::domain::settings::ProbeKind::Command {
            command: format!("echo >> {}; false", asked.display()),
        });
        wanted.timeout = Duration::from_secs(1);
        let count = || std::fs::read_to_string(&asked).map_or(0, |text| text.lines().count());
        let id = ServiceId::local("exec", "bot");
        let mut service = Service::new(id, Runtime::Exec, ServiceState::Running);
        service.instances = vec![Instance {
            id: "7".into(),
            name: "bot".into(),
            state: ServiceState::Running,
            health: Default::default(),
            image_id: None,
            created_at: None,
            started_at: None,
            restarts: 0,
            exit_code: None,
        }];
        let circuits = Circuits::default();
        for _ in 0..8 {
            let answer = ask(&Host::Local, &service, &wanted, Some(&circuits)).await;
            assert!(!answer.ok);
        }
        assert_eq!(count(), 5);
        service.instances[0].id = "8".into();
        ask(&Host::Local, &service, &wanted, Some(&circuits)).await;
        assert_eq!(count(), 6);
        // Who looks once asks.
        ask(&Host::Local, &service, &wanted, None).await;
        assert_eq!(count(), 7);
    }
}
