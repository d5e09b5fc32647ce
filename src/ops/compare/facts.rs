//! What is known beside the logs: health on both sides, hard gates, missing probes, limits, changes.

use std::collections::BTreeMap;

use super::changes;
use crate::analysis::compare::Facts;
use crate::analysis::judge::HardFact;
use crate::analysis::redact::Redactor;
use crate::domain::checkpoint::SavedService;
use crate::domain::comparison::HealthChange;
use crate::domain::health::{HealthReport, HealthState, ServiceHealth};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId, ServiceState};
use crate::ops::Context;
use crate::ops::input::ReadSide;

pub(super) async fn gather(
    ctx: &Context,
    old: &ReadSide,
    new: &ReadSide,
    report: Option<&HealthReport>,
    redactor: &Redactor,
) -> Facts {
    let mut facts = Facts {
        missing: old.missing.iter().chain(&new.missing).cloned().collect(),
        ..Facts::default()
    };
    for service in old.logs.services.iter().chain(&new.logs.services) {
        facts
            .limits
            .insert(service.id.clone(), ctx.config.service(&service.id).limits);
    }
    let saved: Vec<&SavedService> = old
        .baseline
        .iter()
        .flat_map(|b| &b.manifest.services)
        .collect();
    for service in &new.live {
        let before = saved.iter().find(|s| s.id == service.id).copied();
        let now = report.and_then(|r| r.services.iter().find(|s| s.id == service.id));
        live(service, before, now, &mut facts);
        if let (Some(before), Some(baseline)) = (before, &old.baseline) {
            let settings = ctx.config.service(&service.id);
            let (found, missing) =
                changes::find(ctx, baseline, before, service, &settings, redactor).await;
            facts.changes.extend(found);
            facts.missing.extend(missing);
        }
    }
    if let (Some(_), Some(after)) = (&old.baseline, &new.baseline) {
        for (before, after) in saved
            .iter()
            .filter_map(|b| Some((b, after.manifest.services.iter().find(|a| a.id == b.id)?)))
        {
            if !new.logs.services.iter().any(|s| s.id == after.id) {
                continue;
            }
            two_checkpoints(before, after, &mut facts);
            facts.changes.extend(changes::of_releases(
                &before.id,
                &before.release,
                &after.release,
            ));
            facts.changes.extend(changes::of_limits(
                &before.id,
                before.limits.as_ref(),
                after.limits.as_ref(),
            ));
        }
    }
    facts
}

/// Held against what runs now.
fn live(
    service: &Service,
    before: Option<&SavedService>,
    now: Option<&ServiceHealth>,
    facts: &mut Facts,
) {
    let id = &service.id;
    let was = before.and_then(|b| b.health);
    let is = now.map(ServiceHealth::of_release);
    if was.is_some() || is.is_some() {
        facts.health.push(HealthChange {
            service: id.clone(),
            before: was,
            after: is,
        });
    }
    let was_healthy = was == Some(HealthState::Healthy);
    let hard = facts.hard.entry(id.clone()).or_default();
    if was_healthy && let Some(now) = now {
        for check in now.checks.iter().filter(|c| !c.ok) {
            hard.push(fact(
                "probe",
                &format!(
                    "{} fails now, the service was healthy before: {}",
                    check.name, check.detail
                ),
                &check.detail,
            ));
        }
        if now.state == HealthState::Unhealthy && hard.is_empty() {
            hard.push(fact(
                "health",
                "the service is unhealthy now, it was healthy before",
                &SafeText::default(),
            ));
        }
    }
    if service.crash_loop == Some(true) {
        let text = format!("crash loop: restarted {} times", service.restarts);
        hard.push(fact("crash-loop", &text, &SafeText::default()));
    }
    for problem in &service.problems {
        let lower = problem.as_str().to_lowercase();
        if lower.contains("out of memory") || lower.contains("oom") {
            hard.push(fact("oom", &format!("killed: {problem}"), problem));
        }
    }
    if matches!(service.state, ServiceState::Failed | ServiceState::Stopped)
        && was_healthy
        && hard.is_empty()
    {
        hard.push(fact(
            "down",
            &format!("the service is {}, it ran before", service.state.as_str()),
            &SafeText::default(),
        ));
    }
    if hard.is_empty() {
        facts.hard.remove(id);
    }
    let missing = missing_probes(before, now);
    if !missing.is_empty() {
        facts.missing_probes.insert(id.clone(), missing);
    }
}

/// Probes of the checkpoint that nobody answered for now.
fn missing_probes(before: Option<&SavedService>, now: Option<&ServiceHealth>) -> Vec<SafeText> {
    let Some(before) = before else {
        return Vec::new();
    };
    let unreachable = now.is_none_or(|n| n.state == HealthState::Unreachable);
    before
        .probes
        .iter()
        .filter(|probe| {
            unreachable || !now.is_some_and(|n| n.checks.iter().any(|c| c.name == **probe))
        })
        .cloned()
        .collect()
}

fn two_checkpoints(before: &SavedService, after: &SavedService, facts: &mut Facts) {
    if before.health.is_none() && after.health.is_none() {
        return;
    }
    facts.health.push(HealthChange {
        service: before.id.clone(),
        before: before.health,
        after: after.health,
    });
    if before.health == Some(HealthState::Healthy) && after.health == Some(HealthState::Unhealthy) {
        let text = "the second checkpoint was made while the service was unhealthy";
        let facts: &mut BTreeMap<ServiceId, Vec<HardFact>> = &mut facts.hard;
        facts.entry(before.id.clone()).or_default().push(fact(
            "health",
            text,
            &SafeText::default(),
        ));
    }
}

fn fact(rule: &'static str, text: &str, evidence: &SafeText) -> HardFact {
    HardFact {
        rule,
        text: SafeText::from_text(text),
        evidence: if evidence.is_empty() {
            Vec::new()
        } else {
            vec![evidence.clone()]
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::HealthCheck;
    use crate::domain::service::{Release, Runtime};

    fn saved(health: HealthState, probes: &[&str]) -> SavedService {
        SavedService {
            id: ServiceId::local("shop", "backend"),
            runtime: Runtime::Compose,
            log: None,
            files: Vec::new(),
            release: Release::default(),
            pinned: None,
            health: Some(health),
            probes: probes.iter().map(|p| SafeText::from_text(p)).collect(),
            compose: None,
            pm2: None,
            image_copy: None,
            schema_revision: None,
            swarm: None,
            restarts: 0,
            limits: None,
        }
    }

    fn service(state: ServiceState) -> Service {
        Service {
            restarts: 7,
            ..Service::new(ServiceId::local("shop", "backend"), Runtime::Compose, state)
        }
    }

    fn answered(name: &str, ok: bool) -> ServiceHealth {
        ServiceHealth {
            id: ServiceId::local("shop", "backend"),
            state: if ok {
                HealthState::Healthy
            } else {
                HealthState::Unhealthy
            },
            checks: vec![HealthCheck::new(name, ok, "status 503")],
        }
    }

    fn rules(facts: &Facts) -> Vec<&'static str> {
        facts.hard.values().flatten().map(|f| f.rule).collect()
    }

    #[test]
    fn a_probe_that_turned_is_a_hard_fact() {
        let before = saved(HealthState::Healthy, &["http x"]);
        let mut facts = Facts::default();
        live(
            &service(ServiceState::Running),
            Some(&before),
            Some(&answered("http x", false)),
            &mut facts,
        );
        assert_eq!(rules(&facts), ["probe"]);
        assert!(facts.missing_probes.is_empty());
        let mut facts = Facts::default();
        let sick = saved(HealthState::Unhealthy, &["http x"]);
        live(
            &service(ServiceState::Running),
            Some(&sick),
            Some(&answered("http x", false)),
            &mut facts,
        );
        assert!(facts.hard.is_empty(), "it failed before as well");
    }

    #[test]
    fn a_probe_that_nobody_answered_is_missing() {
        let before = saved(HealthState::Healthy, &["http x"]);
        for now in [None, Some(answered("running", true))] {
            let mut facts = Facts::default();
            live(
                &service(ServiceState::Running),
                Some(&before),
                now.as_ref(),
                &mut facts,
            );
            assert_eq!(facts.missing_probes.values().flatten().count(), 1);
        }
    }

    #[test]
    fn loops_kills_and_ends_are_hard_facts() {
        let before = saved(HealthState::Healthy, &[]);
        let found = |change: fn(&mut Service)| {
            let mut service = service(ServiceState::Running);
            change(&mut service);
            let mut facts = Facts::default();
            live(&service, Some(&before), None, &mut facts);
            rules(&facts)
        };
        assert_eq!(found(|s| s.crash_loop = Some(true)), ["crash-loop"]);
        assert_eq!(
            found(|s| s
                .problems
                .push(SafeText::from_text("exit 137, out of memory"))),
            ["oom"]
        );
        assert_eq!(found(|s| s.state = ServiceState::Failed), ["down"]);
        assert!(found(|_| {}).is_empty());
    }
}
