//! The proof at the end: identity, running without a restart, probes. Exit codes prove nothing.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::domain::health::{HealthState, ServiceHealth};
use crate::domain::operation::StepWork;
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Instance, Runtime, Service, ServiceId, ServiceState, short_id};
use crate::domain::settings::Probe;
use crate::host::{self, Host};
use crate::ops::services::discover_one;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::pm2;

/// Between two questions of a probe.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// A wrong release, or one that was given up, that was seen so often in a row does not turn into the right one.
const WRONG_LOOKS: u32 = 6;

/// A probe that failed for so long in a row, after the supervisor had its own time to wait, will not recover by
/// being looked at.
const UNHEALTHY_FOR: Duration = Duration::from_secs(20);

/// Asks a probe until it answered well so many times in a row. Returns the last answer.
///
/// # Errors
/// [`ErrorKind::No`] with the last answer once the time is over.
pub(super) async fn ask_until(
    host: &Host,
    probe: &Probe,
    times: u32,
    timeout_ms: u64,
    progress: &mpsc::Sender<Progress>,
) -> Result<SafeText, OpsError> {
    let started = Instant::now();
    let mut good = 0;
    loop {
        let answer = host::probe::ask(host, probe).await;
        good = if answer.ok { good + 1 } else { 0 };
        let _ = progress.try_send(Progress::Counted {
            what: SafeText::from_text("probe"),
            done: u64::from(good),
            total: Some(u64::from(times)),
        });
        if good >= times {
            let text = format!("{}, {good} of {times}", answer.detail);
            return Ok(SafeText::from_text(&text));
        }
        if !answer.ok && started.elapsed() >= Duration::from_millis(timeout_ms) {
            let text = format!("{}: {}", answer.name, answer.detail);
            return Err(OpsError::new(ErrorKind::No, text));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// What must be true.
struct Wanted<'a> {
    service: &'a ServiceId,
    identity: Option<&'a str>,
    is_running: bool,
    replaced: &'a [String],
    stable: Duration,
    probes: u32,
    limit: Duration,
}

/// Looks again until the service is what the step wants, or its time is over. Returns the evidence.
///
/// # Errors
/// [`ErrorKind::No`] with what was seen last; [`ErrorKind::Failed`] where it could not be looked at.
pub(super) async fn verify(
    ctx: &Context,
    work: &StepWork,
    progress: &mpsc::Sender<Progress>,
) -> Result<SafeText, OpsError> {
    let StepWork::Verify {
        service,
        identity,
        running,
        replaced,
        stable_ms,
        probes,
        timeout_ms,
    } = work
    else {
        return Err(OpsError::new(ErrorKind::Failed, "not a verification"));
    };
    let wanted = Wanted {
        service,
        identity: identity.as_deref(),
        is_running: *running,
        replaced,
        stable: Duration::from_millis(*stable_ms),
        probes: *probes,
        limit: Duration::from_millis(*timeout_ms),
    };
    wanted.wait(ctx, progress).await
}

impl Wanted<'_> {
    async fn wait(
        &self,
        ctx: &Context,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<SafeText, OpsError> {
        let started = Instant::now();
        let mut since: Option<(String, Instant)> = None;
        let mut good = 0;
        let mut wrong = 0;
        let mut failing_since: Option<Instant> = None;
        loop {
            let inventory = discover_one(ctx, self.service).await;
            let seen = match inventory.find(self.service) {
                Some(found) => self.judge(found),
                None if inventory.unreachable.is_empty() => {
                    if self.is_running {
                        Err("it is gone".to_owned())
                    } else {
                        Ok("it is gone".to_owned())
                    }
                }
                None => Err(format!(
                    "it could not be looked at: {}",
                    inventory.unreachable[0].error
                )),
            };
            let mut problem = match &seen {
                Ok(state) => {
                    let is_same = since.as_ref().is_some_and(|(before, _)| before == state);
                    if !is_same {
                        since = Some((state.clone(), Instant::now()));
                        good = 0;
                    }
                    None
                }
                Err(text) => {
                    since = None;
                    good = 0;
                    Some(text.clone())
                }
            };
            let is_lost = |found: &Service| {
                self.is_running
                    && found.runtime == Runtime::Pm2
                    && found.state == ServiceState::Failed
            };
            wrong = match &problem {
                Some(text) if text.starts_with("it runs ") => wrong + 1,
                // PM2 gave up: it will not start it again.
                Some(_) if inventory.find(self.service).is_some_and(is_lost) => wrong + 1,
                _ => 0,
            };
            let stable_for = since.as_ref().map(|(_, at)| at.elapsed());
            if problem.is_none()
                && let Some(found) = inventory.find(self.service)
            {
                let is_stable = stable_for.is_some_and(|time| time >= self.stable);
                if !self.is_running {
                    return Ok(SafeText::from_text("not running"));
                }
                if !has_probe(ctx, found) {
                    if is_stable {
                        return Ok(self.evidence(found, "no probe configured"));
                    }
                } else if is_undecided(ctx, found) {
                    good = 0;
                    problem = Some("its health check has not decided yet".to_owned());
                } else {
                    match ask(ctx, found).await {
                        Ok(()) => {
                            good += 1;
                            failing_since = None;
                        }
                        Err(text) => {
                            good = 0;
                            failing_since.get_or_insert_with(Instant::now);
                            problem = Some(text);
                        }
                    }
                    let _ = progress.try_send(Progress::Counted {
                        what: SafeText::from_text("probe"),
                        done: u64::from(good.min(self.probes)),
                        total: Some(u64::from(self.probes)),
                    });
                    if good >= self.probes && is_stable {
                        let mut text = format!("probe {0} of {0}", self.probes);
                        if is_starting(found) {
                            text.push_str(", its own health check has not decided yet");
                        }
                        return Ok(self.evidence(found, &text));
                    }
                }
            } else if problem.is_none() {
                return Ok(SafeText::from_text("not running"));
            }
            let is_unhealthy = failing_since.is_some_and(|at| at.elapsed() >= UNHEALTHY_FOR);
            if started.elapsed() >= self.limit || wrong >= WRONG_LOOKS || is_unhealthy {
                let text = problem.unwrap_or_else(|| {
                    format!(
                        "not stable for {} s, {good} of {} probes in a row",
                        self.stable.as_secs(),
                        self.probes
                    )
                });
                let kind = if inventory.find(self.service).is_none()
                    && !inventory.unreachable.is_empty()
                {
                    ErrorKind::Failed
                } else {
                    ErrorKind::No
                };
                return Err(OpsError::new(kind, text));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What identifies this very run of the service, or what is wrong with it.
    fn judge(&self, found: &Service) -> Result<String, String> {
        let is_up = |state| matches!(state, ServiceState::Running);
        if !self.is_running {
            let running = found.instances.iter().filter(|i| is_up(i.state)).count();
            return if running == 0 && !is_up(found.state) {
                Ok(String::new())
            } else {
                Err(format!("{} still runs", found.id))
            };
        }
        if let Some(wanted) = self.identity {
            let images: Vec<&str> = found
                .instances
                .iter()
                .filter_map(|i| i.image_id.as_deref())
                .collect();
            let own = identity(found);
            let wrong = match images.is_empty() {
                true => own.as_deref().filter(|id| *id != wanted),
                false => images.into_iter().find(|image| *image != wanted),
            };
            if let Some(wrong) = wrong {
                return Err(format!(
                    "it runs {}, not {}",
                    shown(found, wrong),
                    shown(found, wanted)
                ));
            }
            if own.is_none() {
                return Err("what it runs is not known".to_owned());
            }
        }
        if !is_up(found.state) {
            let exit = found.instances.iter().find_map(|i| i.exit_code);
            let exit = exit.map_or_else(String::new, |code| format!(" (exit {code})"));
            // A crash loop is "starting" whenever one looks.
            let again = match found.restarts {
                0 => String::new(),
                n => format!(", restarted {n} times"),
            };
            return Err(format!("it is {}{exit}{again}", found.state.as_str()));
        }
        if let Some(old) = found
            .instances
            .iter()
            .find(|i| self.replaced.contains(&i.id))
        {
            return Err(format!("{} still is the process {}", old.name, old.id));
        }
        // A daemon that hangs shows the last it knew.
        let is_dead = |i: &&Instance| i.id.parse().is_ok_and(|pid| !pm2::is_alive(pid));
        if found.runtime == Runtime::Pm2
            && found.id.host.is_local()
            && let Some(dead) = found.instances.iter().find(is_dead)
        {
            return Err(format!("the process {} of {} is gone", dead.id, dead.name));
        }
        let runs: Vec<String> = found
            .instances
            .iter()
            .map(|i| format!("{} {:?} {}", i.id, i.started_at, i.restarts))
            .collect();
        Ok(format!("{} {}", found.restarts, runs.join(",")))
    }

    fn evidence(&self, found: &Service, probes: &str) -> SafeText {
        let what = if found.release.digest.is_some() {
            "image"
        } else {
            "release"
        };
        let own = identity(found);
        let own = own.as_deref().map_or("unknown", |id| shown(found, id));
        SafeText::from_text(&format!(
            "{what} {own}, running {} s without a restart, {probes}",
            self.stable.as_secs()
        ))
    }
}

/// What a proof holds against the wanted identity: the image id, or what else says which release runs. Of PM2 it is
/// the script with its version and its limits.
pub(crate) fn identity(service: &Service) -> Option<String> {
    match pm2::app(service) {
        Some(app) => Some(app.identity()),
        None => service.release.identity().map(str::to_owned),
    }
}

/// Ids are shortened; what PM2 runs is said in words.
pub(crate) fn shown<'a>(service: &Service, identity: &'a str) -> &'a str {
    match service.runtime {
        Runtime::Pm2 => identity,
        _ => short_id(identity),
    }
}

/// Whether anything can be asked besides the supervisor.
fn has_probe(ctx: &Context, service: &Service) -> bool {
    service.health.is_some() || ctx.config.service(&service.id).probe.is_some()
}

/// Whether the supervisor's health check has not decided yet, which it tells as degraded.
fn is_starting(service: &Service) -> bool {
    service.health == Some(HealthState::Degraded)
}

/// Whether that is all there is to ask: neither good nor bad, and worth waiting for.
fn is_undecided(ctx: &Context, service: &Service) -> bool {
    is_starting(service) && ctx.config.service(&service.id).probe.is_none()
}

async fn ask(ctx: &Context, service: &Service) -> Result<(), String> {
    let report = crate::ops::health::check(ctx, std::slice::from_ref(service)).await;
    let Some(health) = report.services.into_iter().next() else {
        return Err("its probes could not be asked".to_owned());
    };
    match health.state {
        HealthState::Healthy | HealthState::Degraded => Ok(()),
        HealthState::Unhealthy | HealthState::Unreachable => Err(first_problem(&health)),
    }
}

fn first_problem(health: &ServiceHealth) -> String {
    health.checks.iter().find(|check| !check.ok).map_or_else(
        || format!("it is {}", health.state.as_str()),
        |check| format!("{}: {}", check.name, check.detail),
    )
}
