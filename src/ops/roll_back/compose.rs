//! The steps for a service of a Compose project: tags and files first, then one `docker compose up`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Zoned;
use serde::Deserialize;

use super::Target;
use super::files::PutBack;
use crate::domain::checkpoint::{Checkpoint, SavedService};
use crate::domain::operation::{Fingerprint, FingerprintSubject, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{ComposeOrigin, Service, short_id};
use crate::host::{Command, Host};
use crate::ops::operation::{ABSENT, DOCKER_VARIABLES, describe, look_at, split_reference};
use crate::ops::restart::is_as_planned;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::compose::{self, ComposeOptions};

/// How long the compose tool may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long `up` waits for the service to be healthy.
const WAIT: Duration = Duration::from_secs(60);
/// Stopping the old container takes up to its grace period on top.
const UP_LIMIT_MS: u64 = 120_000;
const TAG_LIMIT_MS: u64 = 10_000;

/// The part of `docker compose config --format json` that is needed; the rest holds secrets.
#[derive(Deserialize)]
struct ComposeConfig {
    services: BTreeMap<String, ComposeService>,
}

#[derive(Deserialize)]
struct ComposeService {
    image: Option<String>,
}

/// The steps between saving the logs and the proof.
///
/// # Errors
/// No compose tool, Compose 1, files that are missing, an image reference that cannot be tagged.
pub(super) async fn steps(
    ctx: &Context,
    service: &Service,
    target: &Target,
    put_back: PutBack,
    notes: &mut Vec<SafeText>,
) -> Result<Vec<Step>, OpsError> {
    let origin = service.compose.as_ref().ok_or_else(|| {
        OpsError::new(
            ErrorKind::Refused,
            format!(
                "{} has no labels that say where its compose files are",
                service.id
            ),
        )
    })?;
    let host = host_of(ctx, &service.id)?;
    check_tool(host, origin).await?;
    let reference = reference(host, origin, target, &put_back).await?;
    let running = service.release.digest.clone().ok_or_else(|| {
        OpsError::new(
            ErrorKind::Refused,
            format!("the image that {} runs is not known", service.id),
        )
    })?;
    let mut steps = Vec::new();
    if running != target.identity {
        steps.push(tag_failing(service, &running, &reference));
    }
    if put_back
        .steps
        .iter()
        .any(|step| writes_any(&step.work, &origin.config_files))
    {
        notes.push(SafeText::from_text(&format!(
            "the compose files are shared by the project {}: its other services see them at their next up",
            origin.project
        )));
    }
    steps.extend(put_back.steps);
    steps.extend(tag_target(ctx, service, target, &reference).await?);
    steps.push(up(service, origin));
    Ok(steps)
}

fn writes_any(work: &StepWork, paths: &[PathBuf]) -> bool {
    matches!(work, StepWork::WriteFile { path, .. } if paths.contains(path))
}

async fn check_tool(host: &Host, origin: &ComposeOrigin) -> Result<(), OpsError> {
    if origin.is_version_1() {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "project {} was made by Compose 1: Compose 2 would recreate all of it",
                origin.project
            ),
        )
        .fix(format!(
            "cd {} && docker-compose up -d --no-deps --no-build {}",
            origin.working_dir.display(),
            origin.service
        )));
    }
    compose::version(host).await.map_err(|error| {
        OpsError::new(
            ErrorKind::Failed,
            format!("{} cannot be rolled back", origin.service),
        )
        .because(error)
        .fix("install the Compose 2 plugin of Docker (docker-compose-v2 or docker-compose-plugin)")
    })?;
    Ok(())
}

/// The variables that the Docker client needs to find the same engine.
fn docker_env() -> BTreeMap<String, String> {
    DOCKER_VARIABLES
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// The image name that the compose files will say once the saved ones are back. It is what must be tagged.
async fn reference(
    host: &Host,
    origin: &ComposeOrigin,
    target: &Target,
    put_back: &PutBack,
) -> Result<String, OpsError> {
    let restored = target
        .saved
        .as_ref()
        .filter(|_| !put_back.steps.is_empty())
        .map(|(checkpoint, saved)| restored_files(origin, checkpoint, saved));
    let (files, env_file) = match restored {
        Some((files, env_file)) => (files, env_file),
        None => (origin.config_files.clone(), None),
    };
    let as_restored = ComposeOrigin {
        config_files: files,
        ..origin.clone()
    };
    let options = ComposeOptions {
        env_files: env_file.into_iter().collect(),
        profiles: Vec::new(),
    };
    let mut argv = compose::project_argv(&as_restored, &options);
    argv.extend(["config", "--format", "json"].map(str::to_owned));
    let mut command = Command::new(argv, ANSWER_LIMIT).in_folder(&origin.working_dir);
    command.has_clean_env = true;
    command.env = docker_env().into_iter().collect();
    command.max_output = 16 * 1024 * 1024;
    let fail = |problem: String| {
        OpsError::new(
            ErrorKind::Failed,
            format!(
                "the compose files of {} cannot be read: {problem}",
                origin.project
            ),
        )
        .fix(format!(
            "cd {} && docker compose config",
            origin.working_dir.display()
        ))
    };
    let output = host
        .query(&command)
        .await
        .map_err(|error| fail(SafeText::from_error(&error).to_string()))?;
    if !output.is_success() {
        return Err(fail(output.describe().to_string()));
    }
    let mut config: ComposeConfig = serde_json::from_slice(&output.stdout)
        .map_err(|error| fail(format!("its answer is no JSON: {error}")))?;
    let found = config
        .services
        .remove(&origin.service)
        .ok_or_else(|| fail(format!("they hold no service {}", origin.service)))?;
    // Without an image the name of a built one follows from project and service.
    let reference = found
        .image
        .unwrap_or_else(|| format!("{}-{}", origin.project, origin.service));
    if reference.contains('@') {
        let (_, wanted) = reference.rsplit_once('@').unwrap_or_default();
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "{} names its image by digest ({}): a tag cannot move it",
                origin.service,
                short_id(wanted)
            ),
        )
        .fix(format!(
            "edit image: of {} in its compose file",
            origin.service
        )));
    }
    Ok(reference)
}

/// The compose files as they will stand, and the environment file that fills their variables: the saved copies,
/// and those in place where nothing was saved.
fn restored_files(
    origin: &ComposeOrigin,
    checkpoint: &Checkpoint,
    saved: &SavedService,
) -> (Vec<PathBuf>, Option<PathBuf>) {
    let copy_of = |path: &Path| {
        saved
            .files
            .iter()
            .find(|file| file.path == path)
            .map(|file| checkpoint.path.join(&file.file))
    };
    let files = origin
        .config_files
        .iter()
        .map(|path| copy_of(path).unwrap_or_else(|| path.clone()))
        .collect();
    (files, copy_of(&origin.working_dir.join(".env")))
}

/// The failing image keeps a name, so that it can be looked at and is not pruned.
fn tag_failing(service: &Service, running: &str, reference: &str) -> Step {
    let (repository, _) = split_reference(reference);
    let stamp = Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = format!("{repository}:failed-{stamp}");
    Step {
        text: SafeText::from_text(&format!("docker tag {} {name}", short_id(running))),
        manual: None,
        undo: Some(StepWork::Command {
            argv: ["docker", "image", "rm", "--no-prune", &name]
                .map(str::to_owned)
                .to_vec(),
            cwd: None,
            env: docker_env(),
        }),
        work: StepWork::TagImage {
            image: running.to_owned(),
            reference: name,
        },
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: TAG_LIMIT_MS,
        may_fail: false,
    }
}

/// Moves the name that compose uses to the image of the target, if it stands for another now.
async fn tag_target(
    ctx: &Context,
    service: &Service,
    target: &Target,
    reference: &str,
) -> Result<Option<Step>, OpsError> {
    let image = |name: &str| FingerprintSubject::Image {
        host: service.id.host.clone(),
        reference: name.to_owned(),
    };
    let now = look_at(ctx, &image(reference)).await?;
    if now == target.identity {
        return Ok(None);
    }
    let work = StepWork::TagImage {
        image: target.identity.clone(),
        reference: reference.to_owned(),
    };
    let undo = if now == ABSENT {
        StepWork::Command {
            argv: ["docker", "image", "rm", "--no-prune", reference]
                .map(str::to_owned)
                .to_vec(),
            cwd: None,
            env: docker_env(),
        }
    } else {
        StepWork::TagImage {
            image: now.clone(),
            reference: reference.to_owned(),
        }
    };
    let text = format!("docker tag {} {reference}", short_id(&target.identity));
    Ok(Some(Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: Some(undo),
        fingerprints: vec![
            // Still there right before it is needed: a prune may have come by.
            Fingerprint {
                subject: image(&target.identity),
                value: target.identity.clone(),
            },
            Fingerprint {
                subject: image(reference),
                value: now,
            },
        ],
        timeout_ms: TAG_LIMIT_MS,
        may_fail: false,
    }))
}

fn up(service: &Service, origin: &ComposeOrigin) -> Step {
    let mut argv = compose::up_argv(origin, &ComposeOptions::default(), WAIT);
    if service.instances.len() > 1 {
        // Replicas that were asked for on the command line stand in no file.
        let scale = format!("{}={}", origin.service, service.instances.len());
        let end_of_options = argv.iter().rposition(|a| a == "--").unwrap_or(argv.len());
        argv.splice(
            end_of_options..end_of_options,
            ["--scale".to_owned(), scale],
        );
    }
    let work = StepWork::Command {
        argv,
        cwd: Some(origin.working_dir.clone()),
        env: docker_env(),
    };
    let text = format!(
        "docker compose up -d --no-deps --no-build --pull never --wait {}",
        origin.service
    );
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        undo: Some(work.clone()),
        work,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: UP_LIMIT_MS,
        may_fail: false,
    }
}
