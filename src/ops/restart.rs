//! Restart, stop and start of services, as plans.

pub(crate) mod pm2;
mod rolling;
mod swarm;

use std::collections::BTreeMap;

use super::operation::{self, find_service, unsupported};
use super::services::{discover_for, failed, host_of};
use super::{Context, ErrorKind, OpsError};
use crate::domain::operation::{
    ContainerAction, Fingerprint, FingerprintSubject, Operation, Plan, Risk, Step, StepWork,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId};
use crate::domain::settings::ExecCommands;
use crate::ops::operation::{container_limit_ms, describe, instances};
use crate::runtime::{self, docker};

/// Time between TERM and KILL where a container does not say: Docker's own default.
const GRACE_S: u32 = 10;
/// The variable that tells a `roll_back` command which release to bring back.
const RELEASE_VARIABLE: &str = "LASTGOOD_RELEASE";
/// How long a configured command may take.
const COMMAND_LIMIT_MS: u64 = 120_000;
/// How long a service must run without a restart to count as running.
pub(crate) const STABLE_MS: u64 = 5_000;
/// How many good answers of a probe in a row are needed.
pub(crate) const PROBES: u32 = 3;
/// How long the proof may take.
pub(crate) const VERIFY_LIMIT_MS: u64 = 60_000;
/// A health check that decides later than this after its start is not waited for any longer.
const DECIDES_AT_MOST_MS: u64 = 600_000;

/// The plan for restarting, stopping or starting these services, in this order.
///
/// # Errors
/// Unknown service, a runtime that cannot do it, services of several hosts, nothing to do it to.
pub(crate) async fn plan(
    ctx: &Context,
    operation: &Operation,
    services: &[ServiceId],
) -> Result<Plan, OpsError> {
    let names: Vec<String> = services.iter().map(ToString::to_string).collect();
    let inventory = discover_for(ctx, &names).await;
    let action = match operation {
        Operation::Stop { .. } => ContainerAction::Stop,
        Operation::Start { .. } => ContainerAction::Start,
        _ => ContainerAction::Restart,
    };
    let reload = matches!(operation, Operation::Restart { reload: true, .. });
    let rolling = matches!(operation, Operation::Restart { rolling: true, .. });
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
        if reload && service.runtime != Runtime::Pm2 {
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!(
                    "{id} is a {} service: only PM2 reloads one instance after the other",
                    service.runtime.as_str()
                ),
            )
            .fix(format!("lastgood restart {id}")));
        }
        let begins = steps.len();
        match service.runtime {
            Runtime::Compose | Runtime::Docker => {
                let graces = graces(ctx, service).await?;
                steps.extend(container_steps(service, action, &graces)?);
            }
            Runtime::Exec if rolling => return Err(rolling::one_by_one(service)),
            Runtime::Exec => {
                let commands = settings.exec.unwrap_or_default();
                let change = Change::State(action);
                steps.push(exec_step(service, &commands, &change)?);
            }
            Runtime::Pm2 => steps.extend(pm2::steps(service, action, reload || rolling)?),
            Runtime::Swarm => {
                let (step, note) = Box::pin(swarm::step(ctx, service, action)).await?;
                steps.extend(step);
                notes.extend(note);
            }
            Runtime::File => {
                return Err(unsupported(service, action.as_str()));
            }
        }
        if rolling {
            let own = steps.split_off(begins);
            notes.push(rolling::note(service, own.len()));
            steps.extend(rolling::proved(ctx, service, own));
        }
        steps.push(proof(ctx, service, action));
        if action != ContainerAction::Stop {
            notes.push(SafeText::from_text(&match service.runtime {
                Runtime::Pm2 => format!(
                    "{id} comes back with the script, limits and environment that PM2 has, and the code that stands there now: a changed ecosystem file is not applied"
                ),
                _ => format!("{id} comes back as it is: a new image or environment is not applied"),
            }));
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
        not_rolled_back: Vec::new(),
        on_failure: Some(SafeText::from_text(
            "nothing is taken back: the state is looked at and told",
        )),
        downtime_ms: None,
        budget_ms: operation::budget_ms(services.iter().filter_map(|id| inventory.find(id)))
            + rolling::extra_ms(&steps, services.len()),
        steps,
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

/// The time between TERM and KILL that each container asks for.
pub(crate) async fn graces(ctx: &Context, service: &Service) -> Result<Vec<u32>, OpsError> {
    let host = host_of(ctx, &service.id)?;
    let fail = |error| {
        failed(
            format!("cannot look at the containers of {}", service.id),
            error,
        )
    };
    let engine = docker::Engine::connect(host).await.map_err(fail)?;
    let mut graces = Vec::new();
    for instance in &service.instances {
        let container = docker::inspect_container(&engine, &instance.id)
            .await
            .map_err(fail)?;
        let own = container.config.and_then(|config| config.stop_timeout);
        graces.push(own.and_then(|s| u32::try_from(s).ok()).unwrap_or(GRACE_S));
    }
    Ok(graces)
}

fn container_steps(
    service: &Service,
    action: ContainerAction,
    graces: &[u32],
) -> Result<Vec<Step>, OpsError> {
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
            let grace_s = graces.get(index).copied().unwrap_or(GRACE_S);
            let line = format!("docker {} {}", action.as_str(), instance.name);
            // After the first step the containers are still the same: a restart keeps them.
            let fingerprints = (index == 0).then(|| is_as_planned(service));
            Step {
                text: SafeText::from_text(&line),
                manual: Some(SafeText::from_text(&line)),
                work: StepWork::Container {
                    container: instance.id.clone(),
                    action,
                    grace_s,
                },
                undo: None,
                fingerprints: fingerprints.into_iter().collect(),
                timeout_ms: container_limit_ms(grace_s),
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

/// What is done to a service that is run by commands.
pub(crate) enum Change<'a> {
    /// Restart, stop or start it.
    State(ContainerAction),
    /// Bring back this release.
    RollBack(&'a str),
}

/// A step that runs a configured command, by `sh -c`, so that the plan shows exactly what runs.
///
/// # Errors
/// The command is not configured.
pub(crate) fn exec_step(
    service: &Service,
    commands: &ExecCommands,
    change: &Change<'_>,
) -> Result<Step, OpsError> {
    let (key, command) = match change {
        Change::State(ContainerAction::Start) => ("start", commands.start.clone()),
        Change::State(ContainerAction::Stop) => ("stop", commands.stop.clone()),
        Change::State(ContainerAction::Restart) => {
            let both = commands.stop.as_ref().zip(commands.start.as_ref());
            let stop_start = both.map(|(stop, start)| format!("{{ {stop}; }} && {{ {start}; }}"));
            ("restart", commands.restart.clone().or(stop_start))
        }
        Change::RollBack(_) => ("roll_back", commands.roll_back.clone()),
    };
    let command = command.ok_or_else(|| {
        OpsError::new(
            ErrorKind::Usage,
            format!("no {key} command is configured for {}", service.id),
        )
        .fix(format!("[services.\"{}\"] {key} = \"…\"", service.id))
    })?;
    let mut env = BTreeMap::new();
    let mut text = format!("run: {command}");
    if let Change::RollBack(release) = change {
        env.insert(RELEASE_VARIABLE.to_owned(), (*release).to_owned());
        text.push_str(&format!("  with {RELEASE_VARIABLE}={release}"));
    }
    let work = StepWork::Command {
        argv: vec!["sh".to_owned(), "-c".to_owned(), command],
        cwd: None,
        env,
    };
    Ok(Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: COMMAND_LIMIT_MS,
        may_fail: false,
    })
}

fn proof(ctx: &Context, service: &Service, action: ContainerAction) -> Step {
    let identity = match service.runtime {
        // A restart may well bring what a link points to now.
        Runtime::Exec => None,
        // PM2 reads the version anew with every start; what did not run may have been replaced meanwhile.
        Runtime::Pm2 if action == ContainerAction::Start => None,
        // Of no task nobody knows what it would run.
        Runtime::Swarm if action == ContainerAction::Start => None,
        Runtime::Pm2 => operation::identity(service),
        _ => service.release.identity().map(str::to_owned),
    };
    let stable_ms = runtime::pm2::app(service).map_or(STABLE_MS, |app| pm2::stable_ms(&app));
    let stable_ms = (action != ContainerAction::Stop).then_some(stable_ms);
    let mut step = verify_step(ctx, service, identity, stable_ms);
    if let StepWork::Verify { replaced, .. } = &mut step.work
        && service.runtime == Runtime::Pm2
        && action == ContainerAction::Restart
    {
        *replaced = service.instances.iter().map(|i| i.id.clone()).collect();
        // What PM2 shows for a process that does not run.
        replaced.retain(|id| id != "0");
    }
    step
}

/// The last step of a plan: look until it is proved. `stable_ms` is how long it must run without a restart; `None`
/// where it must not run.
pub(crate) fn verify_step(
    ctx: &Context,
    service: &Service,
    identity: Option<String>,
    stable_ms: Option<u64>,
) -> Step {
    let id = &service.id;
    let probe = &ctx.config.service(id).probe;
    // Without a probe of its own, what the supervisor's check says is the proof, and is waited for.
    let decides_ms = match (probe, stable_ms, service.decides_within_ms) {
        (None, Some(_), Some(ms)) => ms.min(DECIDES_AT_MOST_MS),
        _ => 0,
    };
    let stable_more_ms = stable_ms.unwrap_or_default().saturating_sub(STABLE_MS);
    let timeout_ms = VERIFY_LIMIT_MS + stable_more_ms + decides_ms;
    let text = if let Some(stable_ms) = stable_ms {
        let what = identity.as_deref().map_or_else(String::new, |wanted| {
            format!("it runs {}, ", operation::shown(service, wanted))
        });
        let has_check = service.health.is_some() || service.decides_within_ms.is_some();
        let probe = match probe {
            Some(probe) => format!("{} {PROBES} of {PROBES}", probe.name()),
            None if has_check => format!("container health {PROBES} of {PROBES}"),
            None => "no probe configured".to_owned(),
        };
        format!(
            "verify: {what}no restart for {} s, {probe}",
            stable_ms / 1000
        )
    } else {
        "verify: it does not run".to_owned()
    };
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&format!("lastgood health {id}"))),
        work: StepWork::Verify {
            service: id.clone(),
            identity,
            running: stable_ms.is_some(),
            replaced: Vec::new(),
            stable_ms: stable_ms.unwrap_or_default(),
            probes: stable_ms.map_or(0, |_| PROBES),
            timeout_ms,
        },
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: timeout_ms + 10_000,
        may_fail: false,
    }
}
