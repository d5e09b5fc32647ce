//! A deploy under guard: what the deploy touched, how it is watched, and when the watch ends early.
//!
//! The front end strings the parts together: preflight, [`begin`], checkpoint, [`deploy`], [`watch`], and a rollback of
//! each service that [`to_roll_back`] names. No lease is held while the command runs, since a deploy may well call
//! `lastgood restart` itself; each rollback takes its own.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{Timestamp, Zoned};
use rustix::process::Signal;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::input::Input;
use super::services::discover;
use super::{Context, ErrorKind, OpsError, compare, operation, secrets};
use crate::audit::{Intent, Permit};
use crate::domain::comparison::Comparison;
use crate::domain::host::HostName;
use crate::domain::outcome::OutcomeKind;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, ServiceId};
use crate::domain::verdict::{Decision, Severity, Verdict};
use crate::host::foreground;

pub use crate::host::foreground::Passed;
pub use rustix::process::Signal as PassedSignal;

/// A look at every service costs a second or two of reading logs.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(15);
/// What a new release may take until its probe answers, where nothing else speaks against it.
const START_UP: Duration = Duration::from_secs(30);
/// Findings about the state of a service, which a start passes through. The others count what was logged.
const STATE_RULES: &[&str] = &["probe", "health", "down"];

/// Writes into the audit log that a deploy begins. A read-only session is refused here.
///
/// # Errors
/// Refused, or the log cannot be written: then nothing may begin.
pub async fn begin(
    ctx: &Context,
    services: &[ServiceId],
    argv: &[String],
) -> Result<Permit, OpsError> {
    let redactor = secrets::redactor(ctx, &[]).await?;
    let line = shell_words::join(argv);
    let intent = Intent {
        operation: "guard".to_owned(),
        host: HostName::local(),
        services: services.to_vec(),
        plan_hash: String::new(),
        steps: vec![SafeText::from_text(&redactor.redact(&line))],
    };
    Ok(ctx.audit().begin_intent(intent, &ctx.actor, ctx.access)?)
}

/// Writes into the audit log how it ended.
///
/// # Errors
/// The log cannot be written.
pub fn finish(ctx: &Context, permit: Permit, outcome: OutcomeKind) -> Result<(), OpsError> {
    ctx.audit().finish(permit, outcome)?;
    Ok(())
}

/// How the deploy command ended.
#[derive(Debug, Clone, Serialize)]
pub struct Deployed {
    /// The command, secrets taken out.
    pub command: SafeText,
    /// Its exit code; `None` where a signal ended it or it could not be started.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it could not be started.
    pub error: Option<SafeText>,
    /// Where its output is kept; `None` where that could not be.
    pub output: Option<PathBuf>,
    /// How long it ran.
    pub duration_ms: u64,
}

impl Deployed {
    /// Whether it exited with 0.
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0)
    }

    /// How it ended, in words.
    pub fn describe(&self) -> String {
        match (&self.error, self.exit_code, self.signal) {
            (Some(error), ..) => format!("it could not be started: {error}"),
            (None, Some(code), _) => format!("exit {code}"),
            (None, None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None, None) => "it ended without a code".to_owned(),
        }
    }
}

/// Runs the deploy command; its output passes through and is kept. Signals are passed on to it, and it is waited for.
pub async fn deploy(
    ctx: &Context,
    permit: &Permit,
    argv: &[String],
    passed: Passed,
    signals: &mut mpsc::Receiver<Signal>,
) -> Deployed {
    let started = Instant::now();
    let redactor = secrets::redactor(ctx, &[]).await;
    let line = shell_words::join(argv);
    let command = redactor.map_or_else(
        |_| SafeText::from_text(argv.first().map_or("", String::as_str)),
        |redactor| SafeText::from_text(&redactor.redact(&line)),
    );
    let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let path = ctx
        .state
        .runs()
        .join(format!("deploy-{stamp}-{}.log", std::process::id()));
    let kept = ctx.state.create_new(&path).ok();
    let output = kept.is_some().then_some(path);
    let ended = match foreground::start(permit, argv) {
        Ok(running) => running.wait(kept, passed, signals).await,
        Err(error) => Err(error),
    };
    let (exit_code, signal, error) = match ended {
        Ok(status) => (status.code(), status.signal(), None),
        Err(error) => (None, None, Some(SafeText::from_error(&error))),
    };
    Deployed {
        command,
        exit_code,
        signal,
        error,
        output,
        duration_ms: millis(started.elapsed()),
    }
}

/// What ran before the deploy, to be held against what runs after it.
#[derive(Debug, Clone)]
pub struct Before {
    instances: BTreeMap<ServiceId, String>,
    at: Timestamp,
}

/// Remembers what runs of the services under guard, right before the deploy.
pub async fn remember(ctx: &Context, services: &[ServiceId]) -> Before {
    let mut inventory = discover(ctx).await;
    inventory
        .services
        .retain(|service| services.contains(&service.id));
    let mut instances = fingerprints(&inventory);
    for id in services {
        // One that could not be seen is not taken for the same afterwards.
        instances.entry(id.clone()).or_default();
    }
    Before {
        instances,
        at: Timestamp::now(),
    }
}

fn fingerprints(inventory: &Inventory) -> BTreeMap<ServiceId, String> {
    let all = inventory.services.iter();
    all.map(|service| (service.id.clone(), operation::instances(service)))
        .collect()
}

impl Before {
    /// The services that the deploy touched: made anew, started anew, changed, or gone. A service run by commands does
    /// not tell, and counts as touched.
    pub async fn touched(&self, ctx: &Context) -> Vec<ServiceId> {
        let inventory = discover(ctx).await;
        self.touched_in(&inventory)
    }

    fn touched_in(&self, inventory: &Inventory) -> Vec<ServiceId> {
        let mut touched = Vec::new();
        for service in &inventory.services {
            // What others deploy meanwhile is not ours.
            let Some(was) = self.instances.get(&service.id) else {
                continue;
            };
            let is_started = service
                .instances
                .iter()
                .any(|instance| instance.started_at.is_some_and(|at| at >= self.at));
            let is_same = *was == operation::instances(service);
            if is_started || !is_same || service.runtime == Runtime::Exec {
                touched.push(service.id.clone());
            }
        }
        // What could not be asked is not gone.
        if inventory.unreachable.is_empty() {
            let gone = self
                .instances
                .keys()
                .filter(|id| inventory.find(id).is_none());
            touched.extend(gone.cloned());
        }
        touched
    }
}

/// How long to watch, and how often to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The whole.
    pub length: Duration,
    /// Between two looks.
    pub every: Duration,
}

impl Watch {
    /// Looks about twenty times, every 2 to 15 s.
    pub fn of(length: Duration) -> Self {
        Self {
            length,
            every: (length / 20).clamp(SHORTEST, LONGEST).min(length),
        }
    }
}

/// One look.
#[derive(Debug)]
pub struct Look {
    /// Since the watch began.
    pub after: Duration,
    /// What was found, or why nothing could be.
    pub found: Result<Comparison, OpsError>,
}

/// What the watch found.
#[derive(Debug)]
pub struct Watched {
    /// The last look.
    pub last: Result<Comparison, OpsError>,
    /// How many there were.
    pub looks: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether it ended early, because a P0 held.
    pub is_early: bool,
}

/// Compares the checkpoint with what runs, again and again, until the time is over or a P0 held. Each look but the last is
/// told. Changes nothing, and may be dropped at any time.
pub async fn watch(
    ctx: &Context,
    checkpoint: &str,
    watch: Watch,
    told: mpsc::Sender<Look>,
) -> Watched {
    let started = Instant::now();
    let before = Input::Checkpoint {
        id: checkpoint.to_owned(),
        service: None,
    };
    let mut course = Course::default();
    let (mut looks, mut length) = (0, watch.length);
    loop {
        let left = length.saturating_sub(started.elapsed());
        tokio::time::sleep(watch.every.min(left)).await;
        let (progress, _nobody) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let found =
            compare::compare(ctx, &before, &Input::Now, None, false, progress, cancel).await;
        looks += 1;
        let after = started.elapsed();
        let verdict = found.as_ref().ok().map(|found| &found.verdict);
        let is_settled = course.is_settled(after, verdict);
        let is_over = after >= length;
        // A P0 that only the last look found is looked at once more: nothing is taken back on one look alone.
        if is_over && course.since == Some(after) {
            length = after + watch.every;
        } else if is_settled || is_over {
            return Watched {
                last: found,
                looks,
                took: after,
                is_early: is_settled && after < watch.length,
            };
        }
        let _ = told.send(Look { after, found }).await;
    }
}

/// Whether a P0 held. One look is not enough: logs are read while they are written, and a start passes through states
/// that look like an outage. Two in a row are, and where only the state of the service speaks, [`START_UP`].
#[derive(Debug, Default)]
struct Course {
    /// Since when every look found a P0, and since when one that is not only about the state.
    since: Option<Duration>,
    counted_since: Option<Duration>,
}

impl Course {
    fn is_settled(&mut self, at: Duration, verdict: Option<&Verdict>) -> bool {
        let is_p0 = verdict.is_some_and(is_p0);
        let is_counted = is_p0 && verdict.is_some_and(is_about_more_than_state);
        self.since = is_p0.then(|| self.since.unwrap_or(at));
        self.counted_since = is_counted.then(|| self.counted_since.unwrap_or(at));
        self.counted_since.is_some_and(|since| at > since)
            || self.since.is_some_and(|since| at >= since + START_UP)
    }
}

/// Whether the verdict is to roll back at once.
pub fn is_p0(verdict: &Verdict) -> bool {
    verdict.decision == Decision::RollBack && verdict.severity == Some(Severity::P0)
}

fn is_about_more_than_state(verdict: &Verdict) -> bool {
    let p0 = verdict
        .findings
        .iter()
        .filter(|f| f.severity == Some(Severity::P0));
    p0.into_iter()
        .any(|finding| !STATE_RULES.contains(&finding.rule.as_str()))
}

/// The services to roll back: those whose own verdict says so, at P0 where only that counts, and that the deploy touched:
/// going back does not help one that it left alone.
pub fn to_roll_back(found: &Comparison, touched: &[ServiceId], only_p0: bool) -> Vec<ServiceId> {
    let is_bad = |verdict: &Verdict| match only_p0 {
        true => is_p0(verdict),
        false => verdict.decision == Decision::RollBack,
    };
    found
        .services
        .iter()
        .filter(|service| is_bad(&service.verdict) && touched.contains(&service.id))
        .map(|service| service.id.clone())
        .collect()
}

/// A refusal, of a command that is none.
///
/// # Errors
/// Always.
pub fn is_command(argv: &[String]) -> Result<(), OpsError> {
    match argv.first().map(String::as_str) {
        Some(program) if !program.is_empty() => Ok(()),
        _ => Err(OpsError::new(
            ErrorKind::Usage,
            "the command after -- is empty",
        )),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::{Instance, Service, ServiceState};
    use crate::domain::verdict::{Confidence, Finding};

    fn verdict(decision: Decision, severity: Option<Severity>, rule: &str) -> Verdict {
        Verdict {
            decision,
            severity,
            confidence: Confidence::High,
            findings: vec![Finding {
                rule: SafeText::from_text(rule),
                severity,
                service: ServiceId::local("shop", "backend"),
                route: None,
                text: SafeText::default(),
                before: None,
                after: None,
                interval: None,
                evidence: Vec::new(),
            }],
        }
    }

    fn p0(rule: &str) -> Verdict {
        verdict(Decision::RollBack, Some(Severity::P0), rule)
    }

    /// The second at which a watch that looks every 5 s ends early.
    fn ends_at(verdicts: &[Option<Verdict>]) -> Option<u64> {
        let mut course = Course::default();
        (1..).zip(verdicts).find_map(|(n, verdict)| {
            let at = Duration::from_secs(n * 5);
            course.is_settled(at, verdict.as_ref()).then_some(n * 5)
        })
    }

    #[test]
    fn a_p0_has_to_hold() {
        let errors = || Some(p0("error-rate"));
        let keep = || Some(verdict(Decision::Keep, None, "x"));
        assert_eq!(ends_at(&[errors(), errors()]), Some(10));
        assert_eq!(ends_at(&[errors(), keep(), errors(), keep()]), None);
        assert_eq!(
            ends_at(&[errors(), None, errors(), errors()]),
            Some(20),
            "a look that failed"
        );
        let p1 = || {
            Some(verdict(
                Decision::RollBack,
                Some(Severity::P1),
                "error-rate",
            ))
        };
        assert_eq!(ends_at(&[p1(), p1(), p1(), p1()]), None, "people decide");
    }

    #[test]
    fn a_start_is_not_an_outage() {
        let probe = || Some(p0("probe"));
        let all: Vec<_> = (0..10).map(|_| probe()).collect();
        assert_eq!(ends_at(&all), Some(35), "30 s after the first");
        let mut mixed = vec![
            probe(),
            probe(),
            Some(p0("crash-loop")),
            Some(p0("crash-loop")),
        ];
        assert_eq!(ends_at(&mixed), Some(20));
        mixed[3] = probe();
        assert_eq!(ends_at(&mixed), None);
    }

    #[test]
    fn a_watch_looks_about_twenty_times() {
        let every = |seconds| Watch::of(Duration::from_secs(seconds)).every.as_millis();
        assert_eq!(every(300), 15_000);
        assert_eq!(every(100), 5_000);
        assert_eq!(every(10), 2_000);
        assert_eq!(every(1), 1_000);
    }

    #[test]
    fn what_the_deploy_left_alone_is_not_touched() {
        let at = Timestamp::from_second(1_000_000).unwrap();
        let service = |name: &str, container: &str, started: i64| {
            let instance = Instance {
                id: container.to_owned(),
                name: SafeText::from_text(name),
                state: ServiceState::Running,
                health: None,
                image_id: Some("sha256:01".into()),
                created_at: None,
                started_at: Timestamp::from_second(started).ok(),
                restarts: 0,
                exit_code: None,
            };
            Service {
                instances: vec![instance],
                ..Service::new(
                    ServiceId::local("shop", name),
                    Runtime::Compose,
                    ServiceState::Running,
                )
            }
        };
        let inventory = |services| Inventory {
            services,
            unreachable: Vec::new(),
        };
        let before = Before {
            instances: fingerprints(&inventory(vec![
                service("db", "a", 10),
                service("api", "b", 10),
                service("web", "c", 10),
                service("old", "d", 10),
            ])),
            at,
        };
        let after = inventory(vec![
            service("db", "a", 10),
            service("api", "new", 1_000_100),
            service("web", "c", 1_000_100),
            service("of-others", "e", 1_000_100),
        ]);
        let names: Vec<String> = before
            .touched_in(&after)
            .iter()
            .map(|id| id.name.clone())
            .collect();
        assert_eq!(names, ["api", "web", "old"]);
    }
}
