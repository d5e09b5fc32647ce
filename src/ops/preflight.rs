//! Preflight: what would bite in a deploy. Collects plain facts of services and machines; `analysis::preflight` judges them.
//!
//! Nothing is changed. A look that fails is a fact too: it becomes a warning with its cause, never an ok.

mod drift;
mod files;
mod fix;
mod machine;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, stream};

use super::checkpoint;
use super::secrets::{base_folder, in_folder};
use super::services::{choose, host_of, look_closely};
use super::{Context, OpsError, health, secrets};
use crate::analysis::preflight::{
    self, ContainerFacts, DiskUse, EcosystemFacts, Facts, Looked, ServiceFacts,
};
use crate::analysis::redact::Redactor;
use crate::domain::check::Check;
use crate::domain::health::{HealthCheck, HealthState, HealthWarning, ServiceHealth};
use crate::domain::pm2::ECOSYSTEM_FILES;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service};
use crate::host::Host;
use crate::runtime::{docker, pm2};

pub use fix::has_plan;
pub(super) use fix::plan as plan_fix;
pub(super) use machine::backups_by_size;

const AT_ONCE: usize = 8;

/// Looks at the services of these names, all without any, and at the machines they run on.
///
/// # Errors
/// Unknown or ambiguous service, nobody could look for it, or the key of the redaction cannot be read.
pub async fn check(ctx: &Context, names: &[String]) -> Result<Vec<Check>, OpsError> {
    let facts = gather(ctx, names).await?;
    Ok(preflight::judge(&facts))
}

/// How full the disk is that holds a folder, or would hold it.
///
/// # Errors
/// The machine did not say.
pub(super) async fn disks_of(host: &Host, folder: &Path) -> Looked<Vec<DiskUse>> {
    let folder = match host {
        Host::Local => nearest_folder(folder),
        Host::Ssh(_) => folder.to_owned(),
    };
    machine::of_paths(host, &[folder]).await
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn nearest_folder(folder: &Path) -> PathBuf {
    machine::existing(folder)
}

async fn gather(ctx: &Context, names: &[String]) -> Result<Facts, OpsError> {
    let inventory = look_closely(ctx).await;
    let services = choose(&inventory, names)?;
    let redactor = secrets::redactor(ctx, &[]).await?;
    let report = health::check(ctx, &services).await;
    let claims = claims(&services);
    // Made one by one: a closure over references inside the stream would not be `Send`.
    let mut looks = Vec::new();
    for ((service, health), is_first) in services.iter().zip(&report.services).zip(claims) {
        looks.push(look_at(ctx, service, health, is_first, &redactor));
    }
    let facts: Vec<ServiceFacts> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    // Whoever names services does not ask for the daemons of others.
    let unreachable = match names.is_empty() {
        true => inventory.unreachable,
        false => Vec::new(),
    };
    let unreachable = unreachable.into_iter().map(|away| {
        let (runtime, host) = (away.runtime.as_str(), &away.host);
        let text = format!("{runtime} on {host}: {}", away.error);
        (SafeText::from_text(&text), away.fix)
    });
    Ok(Facts {
        unreachable: unreachable.collect(),
        disks: machine::disks(ctx, &services).await,
        backups: machine::backups(ctx),
        skipped: ctx.config.preflight.skip.clone(),
        services: facts,
    })
}

/// Services of one folder share its files: each file and each folder is looked at for the first of them only.
fn claims(services: &[Service]) -> Vec<bool> {
    let mut seen: BTreeSet<(String, PathBuf)> = BTreeSet::new();
    let mut is_first = |service: &Service| match base_folder(service) {
        Some(folder) => seen.insert((service.id.host.to_string(), folder)),
        None => true,
    };
    services.iter().map(&mut is_first).collect()
}

async fn look_at(
    ctx: &Context,
    service: &Service,
    health: &ServiceHealth,
    is_first: bool,
    redactor: &Redactor,
) -> ServiceFacts {
    let mut facts = ServiceFacts {
        id: service.id.clone(),
        runtime: service.runtime,
        crash_loop: service.crash_loop,
        restarts: service.restarts,
        has_probe: ctx.config.service(&service.id).probe.is_some() || service.health.is_some(),
        health: (health.of_release(), seen(health)),
        certificate: certificate(health),
        containers: None,
        pm2: None,
        ecosystem: None,
        artifacts: None,
        secret_files: Vec::new(),
        unread_files: Vec::new(),
        switches: Vec::new(),
        drift: None,
        migrations: None,
        pinned: None,
    };
    // A file has nothing but its lines.
    if service.runtime == Runtime::File {
        facts.has_probe = true;
        facts.crash_loop = Some(false);
        return facts;
    }
    let host = match host_of(ctx, &service.id) {
        Ok(host) => host,
        Err(error) => {
            facts.unread_files.push(error.to_safe_text());
            return facts;
        }
    };
    if matches!(
        service.runtime,
        Runtime::Compose | Runtime::Docker | Runtime::Swarm
    ) {
        let settings = docker::settings(host, service).await;
        let settings = settings.map_err(|error| SafeText::from_error(&error));
        if let (Ok(found), Some(origin)) = (&settings, &service.compose) {
            facts.drift = Some(drift::of_containers(host, origin, found).await);
        }
        facts.has_probe |= (settings.iter().flatten()).any(|container| container.has_health_check);
        facts.containers = Some(settings.map(|all| all.iter().map(container).collect()));
        facts.pinned = pinned(ctx, service).await;
    }
    if let Some(app) = pm2::app(service) {
        let restarts = pm2::restarts(host, service).await;
        facts.pm2 = Some(restarts.map_err(|error| SafeText::from_error(&error)));
        let (ecosystem, drift) = ecosystem(ctx, host, service, &app).await;
        facts.ecosystem = Some(ecosystem);
        facts.drift = drift;
    }
    files::look(ctx, host, service, is_first, redactor, &mut facts).await;
    let commands = ctx.config.service(&service.id).migrations;
    facts.migrations = super::migrations::look(host, service, &commands).await;
    facts
}

/// What was seen of its health: the first check that fails, or all of them.
fn seen(health: &ServiceHealth) -> SafeText {
    let failing = health.checks.iter().find(|check| !check.ok);
    let text = match failing {
        Some(check) => format!("{}: {}", check.name, check.detail),
        None => {
            let all = health.checks.iter();
            let all: Vec<String> = all.map(|c| format!("{}: {}", c.name, c.detail)).collect();
            all.join(", ")
        }
    };
    match (text.is_empty(), health.state) {
        (true, HealthState::Healthy) => SafeText::from_text("healthy"),
        (true, _) => SafeText::from_text("nothing was seen"),
        (false, _) => SafeText::from_text(&text),
    }
}

/// What a probe that was answered saw of a certificate, and whether that is to be told.
fn certificate(health: &ServiceHealth) -> Option<(SafeText, bool)> {
    let asked = |check: &&HealthCheck| check.ok && check.name.as_str().starts_with("http https://");
    let check = health.checks.iter().find(asked)?;
    let warns = check.warnings.contains(&HealthWarning::Certificate);
    let text = format!("{}: {}", check.name, check.detail);
    Some((SafeText::from_text(&text), warns))
}

fn container(settings: &docker::ContainerSettings) -> ContainerFacts {
    let option = |name: &str| settings.log_options.get(name);
    ContainerFacts {
        name: settings.name.clone(),
        image: SafeText::from_text(&settings.image),
        restart_policy: settings.restart_policy.clone(),
        log_driver: settings.log_driver.clone(),
        is_log_cache_off: option("cache-disabled").is_some_and(|off| off == "true"),
        log_max_size: option("max-size").cloned(),
    }
}

/// The newest complete checkpoint that holds the service, and what is wrong with its image there.
async fn pinned(ctx: &Context, service: &Service) -> Option<(String, Option<SafeText>)> {
    let all = match checkpoint::list(ctx) {
        Ok(all) => all,
        Err(error) => return Some(("(unreadable)".to_owned(), Some(error.to_safe_text()))),
    };
    let (id, saved) = all.iter().find_map(|found| {
        let manifest = found.manifest.as_ref().ok().filter(|m| m.complete)?;
        let saved = manifest.services.iter().find(|s| s.id == service.id)?;
        Some((found.id.clone(), saved))
    })?;
    Some((id, checkpoint::image_problem(ctx, saved).await))
}

/// What the ecosystem file says of an application, and in what it runs otherwise.
async fn ecosystem(
    ctx: &Context,
    host: &Host,
    service: &Service,
    app: &crate::domain::pm2::Pm2App,
) -> (Looked<EcosystemFacts>, Option<Looked<Vec<SafeText>>>) {
    let settings = ctx.config.service(&service.id);
    let configured = settings.config_files.iter();
    let mut candidates: Vec<PathBuf> = configured
        .filter(|file| pm2::ecosystem::is_ecosystem_file(file))
        .map(|file| in_folder(app.cwd.as_deref(), file))
        .collect();
    if let Some(cwd) = &app.cwd {
        candidates.extend(ECOSYSTEM_FILES.iter().map(|name| cwd.join(name)));
    }
    let mut file = None;
    for candidate in candidates {
        match host.stat(&candidate).await {
            Ok(Some(_)) => {
                file = Some(candidate);
                break;
            }
            Ok(None) => {}
            Err(error) => return (Err(SafeText::from_error(&error)), None),
        }
    }
    let Some(file) = file else {
        return (Ok(EcosystemFacts::default()), None);
    };
    let declared = async {
        let tool = pm2::tool(service, app)?;
        pm2::ecosystem::declared(host, &tool, &file, &file).await
    };
    match declared.await {
        Err(error) => (Err(SafeText::from_error(&error)), None),
        Ok(apps) => {
            let own = apps.into_iter().find(|declared| declared.name == app.name);
            let differences = match (&own, pm2::restarts(host, service).await) {
                (None, _) => None,
                (Some(own), Ok(running)) => Some(Ok(drift::of_app(app, &running, own))),
                (Some(_), Err(error)) => Some(Err(SafeText::from_error(&error))),
            };
            let facts = EcosystemFacts {
                file: Some(file),
                restarts: own.map(|own| own.restarts),
            };
            (Ok(facts), differences)
        }
    }
}
