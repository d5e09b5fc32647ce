//! Restart, stop and start of services, as plans.

use std::collections::BTreeMap;

use super::operation::{find_service, unsupported};
use super::services::discover;
use super::{Context, ErrorKind, OpsError};
use crate::domain::operation::{
    ContainerAction, Fingerprint, FingerprintSubject, Operation, Plan, Risk, Step, StepWork,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::domain::settings::ExecCommands;
use crate::ops::operation::{container_limit_ms, instances};

/// Time between TERM and KILL, as Docker's own default.
const GRACE_S: u32 = 10;
/// How long a configured command may take.
const COMMAND_LIMIT_MS: u64 = 120_000;
/// How long a service must run without a restart to count as running.
pub(crate) const STABLE_MS: u64 = 5_000;
/// How many good answers of a probe in a row are needed.
pub(crate) const PROBES: u32 = 3;
/// How long the proof may take.
pub(crate) const VERIFY_LIMIT_MS: u64 = 60_000;
/// The budget of a service, as a clock.
pub(crate) const BUDGET_MS: u64 = 120_000;

/// The plan for restarting, stopping or starting these services, in this order.
///
/// # Errors
/// Unknown service, a runtime that cannot do it, services of several hosts, nothing to do it to.
pub(crate) async fn plan(
    ctx: &Context,
    operation: &Operation,
    services: &[ServiceId],
) -> Result<Plan, OpsError> {
    let inventory = discover(ctx).await;
    let action = match operation {
        Operation::Stop { .. } => ContainerAction::Stop,
        Operation::Start { .. } => ContainerAction::Start,
        _ => ContainerAction::Restart,
    };
    let Some(first) = services.first() else {
        return Err(OpsError::new(ErrorKind::Usage, "no service was named"));
    };
    let mut steps = Vec::new();
    let mut notes = Vec::new();
    for id in services {
        if id.host != first.host {
            return Err(OpsError::new(
                ErrorKind::Usage,
                "services of several hosts: one plan is for one host",
            ));
        }
        let service = find_service(&inventory, id)?;
        let settings = ctx.config.service(id);
        match service.runtime {
            Runtime::Compose | Runtime::Docker => {
                steps.extend(container_steps(service, action)?);
            }
            Runtime::Exec => {
                let commands = settings.exec.unwrap_or_default();
                steps.push(exec_step(service, &commands, action)?);
            }
            Runtime::Swarm | Runtime::Pm2 | Runtime::File => {
                return Err(unsupported(service, action.as_str()));
            }
        }
        steps.push(proof(service, action));
        if action != ContainerAction::Stop {
            notes.push(SafeText::from_text(&format!(
                "{id} comes back as it is: a new image or environment is not applied"
            )));
        }
    }
    Ok(Plan {
        operation: operation.clone(),
        host: first.host.clone(),
        risk: Risk::Disruptive,
        services: services.to_vec(),
        from: services
            .first()
            .and_then(|id| Some(from_line(inventory.find(id)?))),
        to: None,
        notes,
        steps,
        not_rolled_back: Vec::new(),
        on_failure: Some(SafeText::from_text(
            "nothing is taken back: the state is looked at and told",
        )),
        downtime_ms: None,
        budget_ms: BUDGET_MS * services.len() as u64,
        hash: String::new(),
    }
    .seal())
}

/// What runs now, for the card: `shop:1.5 sha256:5c20912d…, up 31 min, unhealthy`.
pub(crate) fn from_line(service: &Service) -> SafeText {
    let mut parts = vec![service.release.to_string()];
    if let Some(digest) = &service.release.digest {
        parts.push(crate::domain::service::short_id(digest).to_owned());
    }
    parts.push(service.state.as_str().to_owned());
    if let Some(up) = service.uptime_ms {
        parts.push(format!("up {}", rough(up)));
    }
    if let Some(health) = service.health {
        parts.push(health.as_str().to_owned());
    }
    SafeText::from_text(&parts.join("  "))
}

fn rough(ms: u64) -> String {
    match ms / 1000 {
        s @ ..120 => format!("{s} s"),
        s @ ..7200 => format!("{} min", s / 60),
        s @ ..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

fn container_steps(service: &Service, action: ContainerAction) -> Result<Vec<Step>, OpsError> {
    if service.instances.is_empty() {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("{} has no container to {}", service.id, action.as_str()),
        ));
    }
    let steps = service
        .instances
        .iter()
        .enumerate()
        .map(|(index, instance)| {
            let line = format!("docker {} {}", action.as_str(), instance.name);
            // After the first step the containers are still the same: a restart keeps them.
            let fingerprints = (index == 0).then(|| is_as_planned(service));
            Step {
                text: SafeText::from_text(&line),
                manual: Some(SafeText::from_text(&line)),
                work: StepWork::Container {
                    container: instance.id.clone(),
                    action,
                    grace_s: GRACE_S,
                },
                undo: None,
                fingerprints: fingerprints.into_iter().collect(),
                timeout_ms: container_limit_ms(GRACE_S),
                may_fail: false,
            }
        });
    Ok(steps.collect())
}

/// What the plan was made for: these instances.
pub(crate) fn is_as_planned(service: &Service) -> Fingerprint {
    Fingerprint {
        subject: FingerprintSubject::Instances {
            service: service.id.clone(),
        },
        value: instances(service),
    }
}

fn exec_step(
    service: &Service,
    commands: &ExecCommands,
    action: ContainerAction,
) -> Result<Step, OpsError> {
    let command = match action {
        ContainerAction::Start => commands.start.clone(),
        ContainerAction::Stop => commands.stop.clone(),
        ContainerAction::Restart => commands.restart.clone().or_else(|| {
            let (stop, start) = (commands.stop.as_ref()?, commands.start.as_ref()?);
            Some(format!("{{ {stop}; }} && {{ {start}; }}"))
        }),
    };
    let command = command.ok_or_else(|| {
        OpsError::new(
            ErrorKind::Usage,
            format!(
                "no {} command is configured for {}",
                action.as_str(),
                service.id
            ),
        )
        .fix(format!(
            "[services.\"{}\"] {} = \"…\"",
            service.id,
            action.as_str()
        ))
    })?;
    Ok(exec_command(service, &command, BTreeMap::new()))
}

/// A step that runs a configured command.
pub(crate) fn exec_command(
    service: &Service,
    command: &str,
    env: BTreeMap<String, String>,
) -> Step {
    Step {
        text: SafeText::from_text(&format!("run: {command}")),
        manual: Some(SafeText::from_text(command)),
        work: StepWork::Command {
            argv: vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()],
            cwd: None,
            env,
        },
        undo: None,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: COMMAND_LIMIT_MS,
        may_fail: false,
    }
}

fn proof(service: &Service, action: ContainerAction) -> Step {
    let identity = match service.runtime {
        // A restart may well bring what a link points to now.
        Runtime::Exec => None,
        _ => service.release.identity().map(str::to_owned),
    };
    verify_step(&service.id, identity, action != ContainerAction::Stop)
}

/// The last step of a plan: look until it is proved.
pub(crate) fn verify_step(id: &ServiceId, identity: Option<String>, running: bool) -> Step {
    let text = if running {
        format!("verify: {id} is what it should be, runs for 5 s, probe 3 of 3")
    } else {
        format!("verify: {id} does not run")
    };
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&format!("lastgood health {id}"))),
        work: StepWork::Verify {
            service: id.clone(),
            identity,
            running,
            stable_ms: if running { STABLE_MS } else { 0 },
            probes: if running { PROBES } else { 0 },
            timeout_ms: VERIFY_LIMIT_MS,
        },
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: VERIFY_LIMIT_MS + 10_000,
        may_fail: false,
    }
}
