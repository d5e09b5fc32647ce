//! Blue-green: an application runs twice behind a proxy, and the proxy is sent to the other side, at once or by steps.
//!
//! The side that is to answer is asked directly first. Then the file that the proxy reads becomes that side's file, the
//! proxy says whether it would take it, reads it, and the public way is asked. Whatever fails puts the old file back; the
//! side that answered before is never touched, so that going back is one reload.

mod judge;
mod steps;

use std::path::{Path, PathBuf};

use super::operation::BUDGET_MS;
use super::operation::{ABSENT, look_at};
use super::services::{discover, host_of, resolve as resolve_service};
use super::{Context, ErrorKind, OpsError};
use crate::domain::before_after::BeforeAfter;
use crate::domain::host::HostName;
use crate::domain::nearest::nearest;
use crate::domain::operation::{Fingerprint, FingerprintSubject, Operation, Plan, Risk, SwitchWay};
use crate::domain::outcome::{Outcome, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, ServiceId};
use crate::domain::settings::{CanarySettings, Colour, Probe, SwitchSettings};
use crate::host::{self, Host};

/// The group of the names by which leases, the policy and the audit log know what is switched.
const GROUP: &str = "switch";

pub(super) use judge::judge;
pub(super) use steps::mixed;

/// The name of an application as a service: `api`, `prod-1:api`. Without a machine in the name it is the one asked for.
///
/// # Errors
/// The name of the machine is none.
pub fn resolve(name: &str, hosts: &[String]) -> Result<ServiceId, OpsError> {
    let (host, name) = match (name.rsplit_once(':'), hosts) {
        (Some((host, name)), _) => (Some(host), name),
        (None, [only]) => (Some(only.as_str()), name),
        (None, _) => (None, name),
    };
    let host = match host {
        Some(host) => HostName::parse(host)
            .map_err(|error| OpsError::new(ErrorKind::Usage, error.to_string()))?,
        None => HostName::local(),
    };
    let name = name.strip_prefix("switch/").unwrap_or(name);
    Ok(ServiceId {
        host,
        group: GROUP.to_owned(),
        name: name.to_owned(),
    })
}

/// Everything that the configuration says of one switch, complete.
struct Wanted {
    /// The file that the proxy reads, absolute.
    active: PathBuf,
    /// The file of the side that is to answer.
    file: PathBuf,
    /// The file of the side that answers now, as far as is known.
    other_file: PathBuf,
    probe: Probe,
    test: String,
    reload: String,
    verify: Probe,
    /// Asks the public way for the side that answers now.
    verify_other: Option<Probe>,
    /// Whether the answer of the public way tells the sides apart.
    is_told_apart: bool,
    /// Asks the public way, whichever side answers.
    verify_any: Option<Probe>,
    /// What lies between the sides where it goes by steps.
    canary: CanarySettings,
    /// The services of the side that answers now and of the other, by their names.
    services: Option<BeforeAfter<String>>,
}

impl Wanted {
    fn read(ctx: &Context, id: &ServiceId, to: Colour) -> Result<Self, OpsError> {
        let settings = settings(ctx, id)?;
        let missing = |key: &str| {
            OpsError::new(
                ErrorKind::Usage,
                format!("[switch.{}] does not say {key}", id.name),
            )
            .fix("assets/config.toml shows a whole [switch.NAME]")
        };
        let file = |colour: Colour| {
            let key = format!("{}.file", colour.as_str());
            let path = settings.side(colour).file.clone();
            absolute(id, path.ok_or_else(|| missing(&key))?)
        };
        let side = settings.side(to);
        let key = format!("{}.probe", to.as_str());
        let own = side.verify.clone();
        let other = settings.side(to.other()).verify.clone();
        let is_told_apart = own.is_some();
        let services = match (&settings.side(to.other()).service, &side.service) {
            (Some(before), Some(after)) => Some(BeforeAfter::new(before.clone(), after.clone())),
            (None, None) => None,
            (one, _) => {
                let which = if one.is_some() { to } else { to.other() };
                return Err(missing(&format!(
                    "{}.service, as of the other side",
                    which.as_str()
                )));
            }
        };
        Ok(Self {
            active: absolute(
                id,
                settings.active.clone().ok_or_else(|| missing("active"))?,
            )?,
            file: file(to)?,
            other_file: file(to.other())?,
            probe: side.probe.clone().ok_or_else(|| missing(&key))?,
            test: settings.test.clone().ok_or_else(|| missing("test"))?,
            reload: settings.reload.clone().ok_or_else(|| missing("reload"))?,
            verify: own
                .or(settings.verify.clone())
                .ok_or_else(|| missing("verify"))?,
            verify_other: other.or(settings.verify.clone()),
            is_told_apart,
            verify_any: settings.verify.clone(),
            canary: settings.canary.clone(),
            services,
        })
    }
}

fn settings<'a>(ctx: &'a Context, id: &ServiceId) -> Result<&'a SwitchSettings, OpsError> {
    let all = &ctx.config.switches;
    all.get(&id.name).ok_or_else(|| {
        let error = OpsError::new(
            ErrorKind::Usage,
            format!("no [switch.{}] in the configuration", id.name),
        );
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        match (nearest(&id.name, names.iter().copied()), names.is_empty()) {
            (Some(near), _) => error.fix(format!("did you mean {near}?")),
            (None, false) => error.fix(format!("it has {}", names.join(", "))),
            (None, true) => error.fix("assets/config.toml shows one"),
        }
    })
}

/// Relative files are those of the working folder; another machine has none of ours.
fn absolute(id: &ServiceId, path: PathBuf) -> Result<PathBuf, OpsError> {
    if path.is_absolute() {
        return Ok(path);
    }
    if !id.host.is_local() {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "[switch.{}] names {}: on {} that is no file without its whole path",
                id.name,
                path.display(),
                id.host
            ),
        ));
    }
    std::path::absolute(&path).map_err(|error| {
        OpsError::new(
            ErrorKind::Failed,
            format!("no working folder for {}", path.display()),
        )
        .because(error)
    })
}

/// The plan for a switch. Where that side answers already it has no steps.
///
/// # Errors
/// Not configured, a file that is not there, or the other side is not healthy ([`ErrorKind::No`]).
pub(super) async fn plan(
    ctx: &Context,
    operation: &Operation,
    id: &ServiceId,
    (to, way): (Colour, SwitchWay),
) -> Result<Plan, OpsError> {
    let wanted = Wanted::read(ctx, id, to)?;
    let host = host_of(ctx, id)?;
    is_a_file_of_its_own(host, &wanted).await?;
    let active = seen(ctx, id, &wanted.active).await?;
    let file = seen(ctx, id, &wanted.file).await?;
    let other = seen(ctx, id, &wanted.other_file).await?;
    for fingerprint in [&active, &file] {
        if fingerprint.value == ABSENT
            && let FingerprintSubject::File { path, .. } = &fingerprint.subject
        {
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!(
                    "{} is not there: there is nothing to switch",
                    path.display()
                ),
            )
            .fix(format!("[switch.{}] in the configuration", id.name)));
        }
    }
    if file.value == other.value {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "{} and {} are the same: they lead to one side",
                wanted.file.display(),
                wanted.other_file.display()
            ),
        ));
    }
    let target = to.as_str();
    let mut plan = Plan {
        operation: operation.clone(),
        host: id.host.clone(),
        risk: Risk::Disruptive,
        services: vec![id.clone()],
        from: None,
        to: Some(SafeText::from_text(&format!(
            "{target}  {}",
            wanted.file.display()
        ))),
        notes: Vec::new(),
        steps: Vec::new(),
        not_rolled_back: Vec::new(),
        on_failure: Some(SafeText::from_text(
            "the old file is put back and the proxy reads it again; the side that answered before was never touched",
        )),
        downtime_ms: Some(0),
        budget_ms: BUDGET_MS,
        hash: String::new(),
    };
    if active.value == file.value {
        plan.from.clone_from(&plan.to);
        plan.notes = vec![SafeText::from_text(&format!(
            "{} is on {target} already: nothing is changed",
            id.name
        ))];
        return Ok(plan.seal());
    }
    let now = to.other().as_str();
    let is_other = active.value == other.value;
    plan.from = Some(if is_other {
        plan.notes.push(SafeText::from_text(&format!(
            "{now} goes on running: `lastgood switch {} {now}` goes back",
            id.name
        )));
        SafeText::from_text(&format!("{now}  {}", wanted.other_file.display()))
    } else {
        plan.notes.push(SafeText::from_text(&format!(
            "{} is neither the file of blue nor that of green: whoever wrote it, it is replaced",
            wanted.active.display()
        )));
        SafeText::from_text("a file that belongs to neither side")
    });
    if !wanted.is_told_apart {
        plan.notes.push(SafeText::from_text(&format!(
            "the public way is asked for an answer, not for whose it is: [switch.{}] {target}.verify tells the sides apart",
            id.name
        )));
    }
    is_healthy(host, id, to, &wanted.probe).await?;
    let mut way_back_proof = None;
    if let (true, Some(verify)) = (is_other, &wanted.verify_other) {
        let answer = host::probe::ask(host, verify).await;
        if answer.ok {
            way_back_proof = Some(steps::public(verify));
        } else {
            plan.notes.push(SafeText::from_text(&format!(
                "the public way does not answer for {now} either: {}: {}",
                answer.name, answer.detail
            )));
        }
    }
    let between = match way {
        SwitchWay::AtOnce => Vec::new(),
        _ if !is_other => {
            return Err(OpsError::new(
                ErrorKind::Refused,
                format!(
                    "{} is not the file of {now}: by steps it goes from one side to the other",
                    wanted.active.display()
                ),
            )
            .fix(format!(
                "lastgood switch {} {target}, which goes at once",
                id.name
            )));
        }
        _ => {
            let gate = steps::Gate {
                services: judged(ctx, &wanted).await?,
                hold: wanted.canary.hold,
            };
            plan.notes.push(gate.note(&id.name, target));
            let between = steps::between(host, &wanted, way).await?;
            let holds = u64::try_from(between.len()).unwrap_or(u64::MAX);
            plan.budget_ms += holds.saturating_mul(gate.limit_ms());
            between
                .into_iter()
                .map(|version| (version, gate.clone()))
                .collect()
        }
    };
    plan.steps = steps::Course {
        wanted: &wanted,
        to,
        put_back: steps::put_back(ctx, &wanted, &active),
        proof: way_back_proof,
        sides: [file, other],
    }
    .steps(active, &between);
    Ok(plan.seal())
}

/// The services whose logs are compared, by their whole names.
async fn judged(
    ctx: &Context,
    wanted: &Wanted,
) -> Result<Option<BeforeAfter<ServiceId>>, OpsError> {
    let Some(names) = &wanted.services else {
        return Ok(None);
    };
    let inventory = discover(ctx).await;
    let of = |name: &str| Ok::<_, OpsError>(resolve_service(&inventory, name)?.id.clone());
    Ok(Some(BeforeAfter::new(
        of(&names.before)?,
        of(&names.after)?,
    )))
}

/// Writing through a link would overwrite the file of a side.
async fn is_a_file_of_its_own(host: &Host, wanted: &Wanted) -> Result<(), OpsError> {
    let fail =
        |error: host::HostError| OpsError::new(ErrorKind::Failed, error.to_string()).because(error);
    if host
        .read_link(&wanted.active)
        .await
        .map_err(fail)?
        .is_none()
    {
        return Ok(());
    }
    let active = host.stat(&wanted.active).await.map_err(fail)?;
    for side in [&wanted.file, &wanted.other_file] {
        let file = host.stat(side).await.map_err(fail)?;
        if active.is_some() && active.map(|stat| stat.inode) == file.map(|stat| stat.inode) {
            let (active, side) = (wanted.active.display(), side.display());
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!(
                    "{active} is a link to {side}: writing it would overwrite that side's file"
                ),
            )
            .fix(format!("cp --remove-destination {side} {active}")));
        }
    }
    Ok(())
}

async fn seen(ctx: &Context, id: &ServiceId, path: &Path) -> Result<Fingerprint, OpsError> {
    let subject = FingerprintSubject::File {
        host: id.host.clone(),
        path: path.to_owned(),
    };
    let value = look_at(ctx, &subject).await?;
    Ok(Fingerprint { subject, value })
}

/// A side that is not healthy never gets as far as a plan.
async fn is_healthy(
    host: &Host,
    id: &ServiceId,
    to: Colour,
    probe: &Probe,
) -> Result<(), OpsError> {
    let answer = host::probe::ask(host, probe).await;
    if answer.ok {
        return Ok(());
    }
    Err(OpsError::new(
        ErrorKind::No,
        format!(
            "{} of {} is not healthy: {}: {}; nothing was changed",
            to.as_str(),
            id.name,
            answer.name,
            answer.detail
        ),
    )
    .fix(format!(
        "start {} and look at its logs before it takes over",
        to.as_str()
    )))
}

/// How it stands where nothing has to be switched: what the public way says. Changes nothing.
///
/// # Errors
/// Not configured, or no such machine.
pub async fn standing(ctx: &Context, plan: &Plan) -> Result<Outcome, OpsError> {
    let Operation::Switch { service, to, .. } = &plan.operation else {
        return Err(OpsError::new(ErrorKind::Failed, "not a switch"));
    };
    let wanted = Wanted::read(ctx, service, *to)?;
    let answer = host::probe::ask(host_of(ctx, service)?, &wanted.verify).await;
    let result = StepResult {
        text: SafeText::from_text(&format!(
            "{} is on {} already: nothing was changed",
            service.name,
            to.as_str()
        )),
        ok: answer.ok,
        ms: answer.ms.unwrap_or_default(),
        detail: SafeText::from_text(&format!("{}: {}", answer.name, answer.detail)),
    };
    Ok(Outcome {
        operation: plan.operation.verb().to_owned(),
        plan_hash: plan.hash.clone(),
        outcome: match answer.ok {
            true => OutcomeKind::Verified,
            false => OutcomeKind::AppliedNotVerified,
        },
        duration_ms: result.ms,
        budget_ms: None,
        steps: vec![result],
        manual: Vec::new(),
        release: Release::default(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_name_says_its_machine_or_takes_the_one_asked_for() {
        let of = |name: &str, hosts: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            resolve(name, &hosts).unwrap().to_string()
        };
        assert_eq!(of("api", &[]), "switch/api");
        assert_eq!(of("switch/api", &[]), "switch/api");
        assert_eq!(of("api", &["prod-1"]), "prod-1:switch/api");
        assert_eq!(of("prod-2:api", &["prod-1", "prod-2"]), "prod-2:switch/api");
        assert!(resolve("-oProxyCommand=x:api", &[]).is_err());
    }
}
