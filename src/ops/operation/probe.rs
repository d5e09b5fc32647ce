//! Post-conditions: whether the work of a step is done, seen on the machine itself.
//!
//! A process that was killed may have begun a step and not written its end. Nobody repeats such a step blindly: what
//! it was to bring about is looked for first. Where nothing on the machine can tell, that is said.

use std::time::Duration;

use jiff::Timestamp;

use super::fingerprint::{ABSENT, instances, look_at};
use super::seen::{hidden_by, is_in_place, look};
use super::swarm;
use crate::domain::operation::{
    ContainerAction, FingerprintSubject, Operation, Plan, Step, StepWork,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{
    Inventory, Runtime, Service, ServiceId, ServiceState, Unreachable, short_id,
};
use crate::ops::services::{discover_one, discover_these};
use crate::ops::{Context, ErrorKind, OpsError, backup, lease, migrations};
use crate::runtime::pm2;
use crate::store;

/// How long the engine may go on with a call whose client is gone, besides the container's own time to end.
const ENGINE_TAIL: Duration = Duration::from_secs(2);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// What a look at the machine says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its work is done: the evidence.
    Done(SafeText),
    /// It is not, and doing it is safe.
    NotDone,
    /// What is there is neither what it was nor what the step makes: somebody else changed it.
    Foreign(SafeText),
    /// Nothing on the machine tells.
    Unknown,
}

fn done(text: &str) -> Found {
    Found::Done(SafeText::from_text(text))
}

/// A step that was begun and whose end nobody wrote down.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    /// When.
    pub(crate) at: Timestamp,
    /// What it was to replace.
    pub(crate) seen: Vec<String>,
}

/// The processes that a restart is to replace, one a line: nothing but other ones in their place shows that it ran.
pub(super) async fn seen_before(ctx: &Context, plan: &Plan, step: &Step) -> Vec<String> {
    let is_restart = matches!(
        &step.work,
        StepWork::Container {
            action: ContainerAction::Restart,
            ..
        }
    ) || matches!(&step.work, StepWork::Command { .. } if is_restart(&plan.operation));
    if !is_restart {
        return Vec::new();
    }
    processes(&look(ctx, plan, None).await.unwrap_or_default())
}

fn is_restart(operation: &Operation) -> bool {
    match operation {
        Operation::Restart { .. } => true,
        Operation::Resume { of, .. } => is_restart(of),
        _ => false,
    }
}

fn processes(services: &[Service]) -> Vec<String> {
    let each = services.iter().flat_map(|service| {
        service.instances.iter().enumerate().map(move |(at, i)| {
            let since = i.started_at.map_or_else(String::new, |at| at.to_string());
            // Of PM2 the process is another after a restart, of Docker the container stays.
            match pm2::app(service).and_then(|app| app.ids.get(at).copied()) {
                Some(number) => format!("{} {number} {}", service.id, i.id),
                None => format!("{} {} {since}", service.id, i.id),
            }
        })
    });
    each.collect()
}

/// Looks until the step is seen to be done, or what it started is over.
///
/// # Errors
/// It could not be looked at.
pub(crate) async fn settle(
    ctx: &Context,
    plan: &Plan,
    index: usize,
    begun: &Begun,
    before: Option<&Vec<Service>>,
) -> Result<Found, OpsError> {
    let step = &plan.steps[index];
    let tail = match &step.work {
        StepWork::Container { grace_s, .. } => {
            Duration::from_secs(u64::from(*grace_s)) + ENGINE_TAIL
        }
        _ => Duration::ZERO,
    };
    let limit = Duration::from_millis(step.timeout_ms);
    loop {
        let found = probe(ctx, plan, index, Some(begun), before).await?;
        let since = Timestamp::now().duration_since(begun.at);
        let since = Duration::try_from(since).unwrap_or(limit);
        let is_over = since >= limit || (since >= tail && !still_runs(&step.work));
        if matches!(found, Found::Done(_)) || is_over {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the command of a step still runs: what a process starts outlives it.
fn still_runs(work: &StepWork) -> bool {
    let StepWork::Command { argv, .. } = work else {
        return false;
    };
    let mut wanted = argv.join("\0").into_bytes();
    wanted.push(0);
    let Ok(all) = std::fs::read_dir("/proc") else {
        return false;
    };
    all.flatten().any(|entry| {
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        // A script's interpreter stands before its words.
        is_process
            && std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(&wanted))
    })
}

/// Looks at the machine once. `begun` is `None` for a step that is known to have ended.
///
/// # Errors
/// It could not be looked at.
pub(crate) async fn probe(
    ctx: &Context,
    plan: &Plan,
    index: usize,
    begun: Option<&Begun>,
    before: Option<&Vec<Service>>,
) -> Result<Found, OpsError> {
    let step = &plan.steps[index];
    match &step.work {
        StepWork::SaveLogs { to, .. } => Ok(match to.exists() && begun.is_none() {
            true => done("they are saved"),
            // Before anything was changed: they are saved anew, whole.
            false => Found::NotDone,
        }),
        // A proof is had again.
        StepWork::Verify { .. } | StepWork::Ask { .. } | StepWork::Judge { .. } => {
            Ok(Found::NotDone)
        }
        StepWork::WriteFile { path, sha256, .. } => {
            let subject = FingerprintSubject::File {
                host: plan.host.clone(),
                path: path.clone(),
            };
            let now = look_at(ctx, &subject).await?;
            let name = path.display();
            Ok(reached(
                step,
                &subject,
                &now,
                sha256,
                &format!("{name} is in place"),
                &name.to_string(),
            ))
        }
        StepWork::TagImage { image, reference } => {
            let subject = FingerprintSubject::Image {
                host: plan.host.clone(),
                reference: reference.clone(),
            };
            let now = look_at(ctx, &subject).await?;
            let text = format!("{reference} is {}", short_id(image));
            Ok(reached(step, &subject, &now, image, &text, reference))
        }
        StepWork::Downgrade {
            current,
            folder,
            revision,
            ..
        } => {
            let subject = migrations::subject(&plan.host, folder.clone(), current);
            let now = look_at(ctx, &subject).await?;
            let text = format!("the schema is at {revision}");
            Ok(reached(step, &subject, &now, revision, &text, "the schema"))
        }
        StepWork::LoadImage { image, .. } => {
            let subject = FingerprintSubject::Image {
                host: plan.host.clone(),
                reference: image.clone(),
            };
            Ok(match look_at(ctx, &subject).await? == ABSENT {
                true => Found::NotDone,
                false => done("the image is there"),
            })
        }
        StepWork::RemoveCheckpoint { folder } => {
            let is_there = store::checkpoint::is_there(folder);
            Ok(if is_there {
                Found::NotDone
            } else {
                done("its folder is gone")
            })
        }
        StepWork::Backup { act, name, id, .. } => Ok(match backup::is_done(ctx, *act, name, id)? {
            Some(true) => done("it is done"),
            Some(false) => Found::NotDone,
            None => Found::Unknown,
        }),
        StepWork::BreakLease { service, fence } => {
            let is_held = lease::is_held(ctx, service, *fence).await?;
            Ok(if is_held {
                Found::NotDone
            } else {
                done("it is free")
            })
        }
        StepWork::Container {
            container, action, ..
        } => container_is(ctx, plan, container, *action, begun).await,
        StepWork::UpdateService { name, change } => {
            Box::pin(swarm::probe(ctx, plan, index, name, change)).await
        }
        StepWork::Command { argv, .. } => command(ctx, plan, index, argv, begun, before).await,
    }
}

/// What the value of a subject says, where the step's fingerprint says what it was before.
fn reached(
    step: &Step,
    subject: &FingerprintSubject,
    now: &str,
    wanted: &str,
    evidence: &str,
    name: &str,
) -> Found {
    let known = step.fingerprints.iter().find(|f| f.subject == *subject);
    match known {
        _ if now == wanted => done(evidence),
        // Nothing says what it was: it was not there.
        None if now == ABSENT => Found::NotDone,
        Some(then) if then.value == now => Found::NotDone,
        _ => Found::Foreign(SafeText::from_text(&format!(
            "{name} is {} now",
            if now == ABSENT { now } else { short_id(now) }
        ))),
    }
}

/// What was not found, and nobody could look everywhere for it: neither there nor gone.
fn hidden(what: &str, away: &Unreachable) -> OpsError {
    let text = format!("{what} could not be looked at: {}", away.error);
    OpsError::new(ErrorKind::Failed, text).fix(away.fix.to_string())
}

/// A service that was not found is not there.
///
/// # Errors
/// What it may run under could not be read.
pub(crate) fn is_looked_for(
    inventory: &Inventory,
    id: &ServiceId,
    before: Option<&Vec<Service>>,
) -> Result<(), OpsError> {
    match hidden_by(inventory, id, before) {
        Some(away) => Err(hidden(&id.to_string(), away)),
        None => Ok(()),
    }
}

async fn container_is(
    ctx: &Context,
    plan: &Plan,
    container: &str,
    action: ContainerAction,
    begun: Option<&Begun>,
) -> Result<Found, OpsError> {
    let inventory = discover_these(ctx, &plan.host, &plan.services).await;
    let all = plan.services.iter().filter_map(|id| inventory.find(id));
    let services: Vec<Service> = all.cloned().collect();
    let instance = services
        .iter()
        .flat_map(|service| &service.instances)
        .find(|instance| instance.id == container);
    let Some(instance) = instance else {
        let mut away = inventory.unreachable.iter();
        if let Some(away) = away.find(|away| away.hides(&plan.host, Runtime::Docker)) {
            return Err(hidden(
                &format!("the container {}", short_id(container)),
                away,
            ));
        }
        return Ok(Found::Foreign(SafeText::from_text(&format!(
            "the container {} is gone",
            short_id(container)
        ))));
    };
    let is_up = instance.state == ServiceState::Running;
    Ok(match action {
        ContainerAction::Stop if !is_up => done("it does not run"),
        ContainerAction::Start if is_up => done("it runs"),
        ContainerAction::Restart => {
            let Some(begun) = begun.filter(|begun| !begun.seen.is_empty()) else {
                return Ok(Found::Unknown);
            };
            let now = processes(&services);
            let line = now.iter().find(|line| line.contains(container));
            match line {
                Some(line) if is_up && !begun.seen.contains(line) => done("it was restarted"),
                _ => Found::NotDone,
            }
        }
        _ => Found::NotDone,
    })
}

/// What a command did is seen on its service: by what the proof after it wants, or by the numbers and processes that
/// PM2 has.
async fn command(
    ctx: &Context,
    plan: &Plan,
    index: usize,
    argv: &[String],
    begun: Option<&Begun>,
    before: Option<&Vec<Service>>,
) -> Result<Found, OpsError> {
    let step = &plan.steps[index];
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["docker", "image", "rm", .., name] => {
            let subject = FingerprintSubject::Image {
                host: plan.host.clone(),
                reference: (*name).to_owned(),
            };
            let now = look_at(ctx, &subject).await?;
            return Ok(match now == ABSENT {
                true => done(&format!("{name} is gone")),
                false => Found::NotDone,
            });
        }
        // What a link or a checkout was before stands in the fingerprint; what it is now need only differ.
        _ => {
            if let Some(code) = step
                .fingerprints
                .iter()
                .find(|f| matches!(f.subject, FingerprintSubject::Code { .. }))
            {
                let now = look_at(ctx, &code.subject).await?;
                return Ok(match now == code.value {
                    true => Found::NotDone,
                    false => done("the code is another"),
                });
            }
        }
    }
    if plan.operation.is_of_proxy() {
        // A proxy that reads its files once more does the same.
        return Ok(Found::NotDone);
    }
    let Some(id) = service_of(plan, index) else {
        return Ok(Found::Unknown);
    };
    let inventory = discover_one(ctx, id).await;
    let now = inventory.find(id);
    if now.is_none() {
        is_looked_for(&inventory, id, before)?;
    }
    let is_pm2 = |verb: &str| {
        words.get(1) == Some(&verb) && words.first().is_some_and(|tool| tool.ends_with("pm2"))
    };
    if is_pm2("delete") {
        return Ok(match now {
            None => done("PM2 does not have it any more"),
            Some(_) => Found::NotDone,
        });
    }
    if is_pm2("save") {
        // It writes what runs: once more is the same.
        return Ok(Found::NotDone);
    }
    let Some(now) = now else {
        return Ok(Found::NotDone);
    };
    if is_pm2("stop") || is_pm2("start") && !words.contains(&"--only") {
        let is_wanted = |state| (state == ServiceState::Running) == is_pm2("start");
        return Ok(match now.instances.iter().all(|i| is_wanted(i.state)) {
            true => done("PM2 says so"),
            false => Found::NotDone,
        });
    }
    if is_pm2("restart") || is_pm2("reload") {
        return Ok(replaced(now, &words[2..], begun));
    }
    if is_pm2("start") {
        // After the delete nothing of that name was there.
        return Ok(done("PM2 has it again"));
    }
    let Some(wanted) = wanted_after(plan, index) else {
        return Ok(Found::Unknown);
    };
    let was = before.and_then(|all| all.iter().find(|s| s.id == *id));
    let own = super::identity(now);
    if !now.instances.is_empty() && now.instances.iter().any(|i| i.image_id.is_some()) {
        return Ok(match is_in_place(was, now, wanted) {
            true => done("the wanted release is in place"),
            false => Found::NotDone,
        });
    }
    // Run by commands: only its release tells, where that is to become another.
    let was = was.and_then(super::identity);
    Ok(match (was, own) {
        (Some(was), _) if was == wanted => Found::Unknown,
        (Some(_), Some(own)) if own == wanted => done("the wanted release is in place"),
        (Some(was), Some(own)) if own == was => Found::NotDone,
        _ => Found::Unknown,
    })
}

/// Whether none of the processes of these numbers of PM2 is the one it was.
fn replaced(now: &Service, numbers: &[&str], begun: Option<&Begun>) -> Found {
    let Some(begun) = begun.filter(|begun| !begun.seen.is_empty()) else {
        return Found::Unknown;
    };
    let lines = processes(std::slice::from_ref(now));
    let line_of = |number: &str| {
        let start = format!("{} {number} ", now.id);
        lines.iter().find(|line| line.starts_with(&start))
    };
    let is_new = |number: &&str| line_of(number).is_some_and(|line| !begun.seen.contains(line));
    match numbers.iter().all(is_new) {
        true => done("its processes are others"),
        false => Found::NotDone,
    }
}

/// The service that a step is for: the one of the next proof.
fn service_of(plan: &Plan, index: usize) -> Option<&ServiceId> {
    let rest = plan.steps.get(index..).unwrap_or_default();
    let next = rest.iter().find_map(|step| match &step.work {
        StepWork::Verify { service, .. } => Some(service),
        _ => None,
    });
    next.or_else(|| plan.services.last())
}

/// The release that the proof right after a step wants. Of what comes earlier (the installation of packages) it says
/// nothing.
fn wanted_after(plan: &Plan, index: usize) -> Option<&str> {
    match &plan.steps.get(index + 1)?.work {
        StepWork::Verify { identity, .. } => identity.as_deref(),
        _ => None,
    }
}

/// Whether the way back of a step is still to be gone.
///
/// # Errors
/// It could not be looked at.
pub(crate) async fn probe_undo(
    ctx: &Context,
    plan: &Plan,
    index: usize,
    undo: &StepWork,
    before: Option<&Vec<Service>>,
) -> Result<Found, OpsError> {
    let step = &plan.steps[index];
    match (&step.work, undo) {
        (StepWork::WriteFile { path, sha256, .. }, _) => {
            let subject = FingerprintSubject::File {
                host: plan.host.clone(),
                path: path.clone(),
            };
            let now = look_at(ctx, &subject).await?;
            let back = match undo {
                StepWork::WriteFile { sha256, .. } => sha256.as_str(),
                _ => ABSENT,
            };
            // A version that another step of this plan wrote is no stranger's.
            let is_own = |other: &Step| matches!(&other.work, StepWork::WriteFile { path: same, sha256, .. } if same == path && *sha256 == now);
            let made = match plan.steps.iter().any(is_own) {
                true => &now,
                false => sha256,
            };
            Ok(undone(&now, made, back, &path.display().to_string()))
        }
        (StepWork::TagImage { image, reference }, _) => {
            let subject = FingerprintSubject::Image {
                host: plan.host.clone(),
                reference: reference.clone(),
            };
            let now = look_at(ctx, &subject).await?;
            let back = match undo {
                StepWork::TagImage { image, .. } => image.as_str(),
                _ => ABSENT,
            };
            Ok(undone(&now, image, back, reference))
        }
        (StepWork::UpdateService { name, .. }, StepWork::UpdateService { change, .. }) => {
            Box::pin(swarm::probe_undo(ctx, plan, name, change)).await
        }
        _ => {
            if let Some(code) = step
                .fingerprints
                .iter()
                .find(|f| matches!(f.subject, FingerprintSubject::Code { .. }))
            {
                let now = look_at(ctx, &code.subject).await?;
                return Ok(match now == code.value {
                    true => done("the code is what it was"),
                    false => Found::NotDone,
                });
            }
            let now = look(ctx, plan, before).await.ok_or_else(|| {
                let text = format!("what runs on {} could not be looked at", plan.host);
                OpsError::new(ErrorKind::Failed, text).fix("lastgood services")
            })?;
            let is_back = before.is_some_and(|before| {
                !before.is_empty()
                    && before.iter().all(|was| {
                        now.iter().any(|now| {
                            now.id == was.id
                                && now.state == was.state
                                && (instances(now) == instances(was)
                                    || now.release.is_same(&was.release))
                        })
                    })
            });
            Ok(match is_back {
                true => done("it runs what it ran"),
                false => Found::NotDone,
            })
        }
    }
}

fn undone(now: &str, made: &str, back: &str, name: &str) -> Found {
    if now == back {
        return done(&format!("{name} is what it was"));
    }
    if now == made {
        return Found::NotDone;
    }
    Found::Foreign(SafeText::from_text(&format!(
        "{name} was changed since: it is left as it is"
    )))
}
