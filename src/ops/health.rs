//! One look at every probe.

mod patience;

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::Context;
use super::services::host_of;
use crate::domain::health::{HealthCheck, HealthReport, HealthState, ServiceHealth};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceState};
use crate::domain::settings::Probe;

pub use patience::Circuits;

const AT_ONCE: usize = 8;

/// Asks every probe of the given services: configured probes, the container's own health check, the state of
/// its instances. A service that cannot be asked is unreachable, never healthy. A probe that fails is asked again, within the
/// time that its answer may take.
pub async fn check(ctx: &Context, services: &[Service]) -> HealthReport {
    check_all(ctx, services, None).await
}

/// Looks as [`check`] does, for those who look again and again: a probe that fails all the time is asked less often, and is as
/// ill meanwhile as it was.
pub async fn check_again(ctx: &Context, services: &[Service]) -> HealthReport {
    check_all(ctx, services, Some(&ctx.circuits)).await
}

async fn check_all(
    ctx: &Context,
    services: &[Service],
    circuits: Option<&Circuits>,
) -> HealthReport {
    // Made before they are streamed: a closure over references inside the stream would not be `Send`.
    let checks: Vec<_> = services
        .iter()
        .map(|service| check_one(ctx, service, circuits))
        .collect();
    let checked = stream::iter(checks).buffered(AT_ONCE).collect().await;
    HealthReport::new(checked)
}

async fn check_one(ctx: &Context, service: &Service, circuits: Option<&Circuits>) -> ServiceHealth {
    let mut found = vec![running(service)];
    found.extend(supervised(service));
    match host_of(ctx, &service.id) {
        Ok(host) => {
            if let Some(configured) = &ctx.config.service(&service.id).probe {
                let answer = patience::ask(host, service, configured, circuits).await;
                found.push(judge(answer));
            }
        }
        Err(error) => found.push((
            HealthState::Unreachable,
            HealthCheck::new("host", false, error.to_safe_text()),
        )),
    }
    ServiceHealth {
        id: service.id.clone(),
        state: found
            .iter()
            .map(|(state, _)| *state)
            .max()
            .unwrap_or(HealthState::Unreachable),
        checks: found.into_iter().map(|(_, check)| check).collect(),
    }
}

fn running(service: &Service) -> (HealthState, HealthCheck) {
    let count = service.instances.len();
    let up = service
        .instances
        .iter()
        .filter(|i| i.state == ServiceState::Running)
        .count();
    let state = match service.state {
        _ if service.crash_loop == Some(true) => HealthState::Unhealthy,
        ServiceState::Running => HealthState::Healthy,
        ServiceState::Partial => HealthState::Degraded,
        ServiceState::Starting
        | ServiceState::Paused
        | ServiceState::Stopped
        | ServiceState::Failed => HealthState::Unhealthy,
        ServiceState::Unknown => HealthState::Unreachable,
    };
    let mut detail = service.state.as_str().to_owned();
    if count > 1 {
        detail = format!("{detail}, {up} of {count} instances");
    }
    if state != HealthState::Healthy
        && let Some(problem) = service.problems.first()
    {
        detail = format!("{detail}: {problem}");
    }
    let is_well = state == HealthState::Healthy;
    (state, HealthCheck::new("running", is_well, detail))
}

/// The health check that the image or the compose file brings.
fn supervised(service: &Service) -> Option<(HealthState, HealthCheck)> {
    let state = service.health?;
    let failing = service
        .problems
        .iter()
        .find(|p| p.as_str().contains("health check fails"));
    let detail = match (state, failing) {
        (HealthState::Unhealthy, Some(problem)) => problem.clone(),
        // The runtime reports a check that has not decided yet as degraded.
        (HealthState::Degraded, _) => SafeText::from_text("starting"),
        (state, _) => SafeText::from_text(state.as_str()),
    };
    let is_well = state == HealthState::Healthy;
    Some((state, HealthCheck::new("container health", is_well, detail)))
}

/// Judges a probe's answer by what it said, how long it took, and what speaks against it.
fn judge(mut check: HealthCheck) -> (HealthState, HealthCheck) {
    let is_too_slow = |ms: u64| Duration::from_millis(ms) > Probe::TOO_SLOW;
    if check.ok && check.ms.is_some_and(is_too_slow) {
        check.ok = false;
        check.warnings.clear();
    }
    let state = match (check.ok, check.is_well()) {
        (false, _) => HealthState::Unhealthy,
        (true, false) => HealthState::Degraded,
        (true, true) => HealthState::Healthy,
    };
    (state, check)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::domain::health::HealthWarning;
    use crate::domain::service::{Runtime, ServiceId};

    fn answer(ok: bool, ms: u64, warnings: &[HealthWarning]) -> HealthState {
        judge(HealthCheck {
            ms: Some(ms),
            warnings: warnings.to_vec(),
            ..HealthCheck::new("http x", ok, "200 OK")
        })
        .0
    }

    #[test]
    fn an_answer_with_a_warning_is_degraded_and_a_very_late_one_is_none() {
        use HealthWarning::{Certificate, Slow};
        assert_eq!(answer(true, 2_000, &[]), HealthState::Healthy);
        assert_eq!(answer(true, 900, &[Slow]), HealthState::Degraded);
        assert_eq!(answer(true, 3, &[Certificate]), HealthState::Degraded);
        assert_eq!(answer(true, 5_000, &[Slow]), HealthState::Degraded);
        assert_eq!(answer(true, 5_001, &[Slow]), HealthState::Unhealthy);
        assert_eq!(answer(false, 3, &[]), HealthState::Unhealthy);
    }

    #[test]
    fn a_service_that_does_not_run_is_not_healthy_and_says_why() {
        let mut service = Service {
            crash_loop: Some(false),
            problems: vec!["api-1: ended with exit 1".into()],
            ..Service::new(
                ServiceId::local("shop", "api"),
                Runtime::Compose,
                ServiceState::Failed,
            )
        };
        let (state, check) = running(&service);
        assert_eq!(state, HealthState::Unhealthy);
        assert_eq!(check.detail.as_str(), "failed: api-1: ended with exit 1");
        service.state = ServiceState::Running;
        service.crash_loop = Some(true);
        assert_eq!(running(&service).0, HealthState::Unhealthy);
        service.crash_loop = None;
        service.health = Some(HealthState::Degraded);
        let (state, check) = supervised(&service).unwrap();
        assert_eq!((state, check.ok), (HealthState::Degraded, false));
    }
}
