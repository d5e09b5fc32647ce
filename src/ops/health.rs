//! One look at every probe.

mod patience;

use futures_util::{StreamExt, stream};

use super::Context;
use super::services::host_of;
use crate::domain::health::{HealthCheck, HealthReport, HealthState, ServiceHealth};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceState};

pub use patience::Circuits;

/// An answer that took longer is degraded.
const SLOW_MS: u64 = 2_000;
/// An answer that took longer is none.
const TOO_SLOW_MS: u64 = 5_000;
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
            HealthCheck {
                name: SafeText::from_text("host"),
                ok: false,
                ms: None,
                detail: error.to_safe_text(),
            },
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
    let check = HealthCheck {
        name: SafeText::from_text("running"),
        ok: state == HealthState::Healthy,
        ms: None,
        detail: SafeText::from_text(&detail),
    };
    (state, check)
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
    let check = HealthCheck {
        name: SafeText::from_text("container health"),
        ok: state == HealthState::Healthy,
        ms: None,
        detail,
    };
    Some((state, check))
}

/// Judges a probe's answer by what it said and how long it took.
fn judge(mut check: HealthCheck) -> (HealthState, HealthCheck) {
    let state = match (check.ok, check.ms) {
        (false, _) => HealthState::Unhealthy,
        (true, Some(ms)) if ms > TOO_SLOW_MS => {
            check.ok = false;
            HealthState::Unhealthy
        }
        (true, Some(ms)) if ms > SLOW_MS => HealthState::Degraded,
        (true, _) => HealthState::Healthy,
    };
    (state, check)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::domain::service::{Runtime, ServiceId};

    fn answer(ok: bool, ms: u64) -> HealthState {
        judge(HealthCheck {
            name: "http x".into(),
            ok,
            ms: Some(ms),
            detail: "200 OK".into(),
        })
        .0
    }

    #[test]
    fn slow_answers_count_as_they_do_for_people() {
        assert_eq!(answer(true, 2_000), HealthState::Healthy);
        assert_eq!(answer(true, 2_001), HealthState::Degraded);
        assert_eq!(answer(true, 5_000), HealthState::Degraded);
        assert_eq!(answer(true, 5_001), HealthState::Unhealthy);
        assert_eq!(answer(false, 3), HealthState::Unhealthy);
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
