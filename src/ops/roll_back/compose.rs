//! The steps for a service of a Compose project: tags and files first, then one `docker compose up`.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::ops::restart::{graces, is_as_planned};
use crate::ops::secrets::env_files;
use crate::ops::services::host_of;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::runtime::compose::{self, ComposeOptions};
use crate::runtime::docker;

/// How long the compose tool may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How long `up` waits for the service to be healthy.
const WAIT: Duration = Duration::from_secs(60);
/// Time for Compose itself: reading files, making containers, starting them.
const UP_MARGIN: Duration = Duration::from_secs(60);
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
    is_version_2(origin)?;
    let reference = match reference(host, origin, target, &put_back, notes).await {
        Ok(reference) => reference,
        Err(error) => {
            // Only now: asking for the version takes as long as everything else of a plan.
            check_tool(host, origin).await?;
            return Err(error);
        }
    };
    let running = service.release.digest.clone().ok_or_else(|| {
        OpsError::new(
            ErrorKind::Refused,
            format!("the image that {} runs is not known", service.id),
        )
    })?;
    let mut steps = Vec::new();
    if running != target.identity {
        steps.push(tag_failing(host, service, &running, &reference));
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
    let grace = graces(ctx, service).await?.into_iter().max().unwrap_or(0);
    let mut up = up(host, service, origin, grace);
    let untouched = untouched_files(ctx, service, origin, target, &put_back);
    up.fingerprints.extend(look_at_files(ctx, untouched).await?);
    steps.extend(put_back.steps);
    // Still there right before the first step: a prune may have come by since the plan was made.
    let tag = tag_target(ctx, host, service, target, &reference).await?;
    let needed = if tag.is_some() {
        target.identity.clone()
    } else {
        reference
    };
    if target.copy.is_none() {
        up.fingerprints.push(Fingerprint {
            subject: FingerprintSubject::Image {
                host: service.id.host.clone(),
                reference: needed,
            },
            value: target.identity.clone(),
        });
    }
    steps.extend(tag);
    steps.push(up);
    Ok(steps)
}

/// The files that say what `up` makes and that no step writes: if one changes, the plan was made for something else.
fn untouched_files(
    ctx: &Context,
    service: &Service,
    origin: &ComposeOrigin,
    target: &Target,
    put_back: &PutBack,
) -> Vec<FingerprintSubject> {
    let written: Vec<&PathBuf> = put_back
        .steps
        .iter()
        .filter_map(|step| match &step.work {
            StepWork::WriteFile { path, .. } => Some(path),
            _ => None,
        })
        .collect();
    let mut paths: BTreeSet<PathBuf> = origin.config_files.iter().cloned().collect();
    paths.extend(env_files(service, &ctx.config.service(&service.id)));
    if let Some((_, saved)) = &target.saved {
        paths.extend(saved.files.iter().map(|file| file.path.clone()));
    }
    paths.retain(|path| !written.contains(&path));
    let subject = |path| FingerprintSubject::File {
        host: service.id.host.clone(),
        path,
    };
    paths.into_iter().map(subject).collect()
}

async fn look_at_files(
    ctx: &Context,
    subjects: Vec<FingerprintSubject>,
) -> Result<Vec<Fingerprint>, OpsError> {
    let mut fingerprints = Vec::new();
    for subject in subjects {
        let value = look_at(ctx, &subject).await?;
        fingerprints.push(Fingerprint { subject, value });
    }
    Ok(fingerprints)
}

fn writes_any(work: &StepWork, paths: &[PathBuf]) -> bool {
    matches!(work, StepWork::WriteFile { path, .. } if paths.contains(path))
}

fn is_version_2(origin: &ComposeOrigin) -> Result<(), OpsError> {
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
    Ok(())
}

/// Says whether it was the tool that failed.
async fn check_tool(host: &Host, origin: &ComposeOrigin) -> Result<(), OpsError> {
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

/// The variables by which the Docker client finds the engine that we looked at, whatever its current context: ours
/// say nothing on another machine.
pub(crate) fn docker_env(host: &Host) -> BTreeMap<String, String> {
    docker_env_of(host.name().is_local(), |name| std::env::var(name).ok())
}

fn docker_env_of(
    is_local: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if is_local {
        let set = |name: &&str| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(((*name).to_owned(), value))
        };
        env.extend(DOCKER_VARIABLES.iter().filter_map(set));
    }
    // An address wins over the context that was chosen with `docker context use`.
    env.entry("DOCKER_HOST".to_owned())
        .or_insert_with(|| docker::DEFAULT_ADDRESS.to_owned());
    env
}

/// The image name that the compose files will say once the saved ones are back. It is what must be tagged.
async fn reference(
    host: &Host,
    origin: &ComposeOrigin,
    target: &Target,
    put_back: &PutBack,
    notes: &mut Vec<SafeText>,
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
    command.env = docker_env(host).into_iter().collect();
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
    let unset = unset_variables(&String::from_utf8_lossy(&output.stderr));
    let unset = unset.iter().cloned().collect::<Vec<_>>().join(", ");
    // `shop:${TAG}` without its variable.
    let is_whole = !reference.starts_with(':') && !reference.ends_with([':', '/', '-']);
    if reference.is_empty() || !is_whole {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "the image of {} would be {reference:?}: its compose file uses variables that no file sets ({unset})",
                origin.service
            ),
        )
        .fix(format!(
            "set them in {}",
            origin.working_dir.join(".env").display()
        )));
    }
    if !unset.is_empty() {
        notes.push(SafeText::from_text(&format!(
            "the compose files use variables that no file sets; they will be empty: {unset}"
        )));
    }
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

/// The variables that Compose warns of: a deploy that had them from its own shell made something else than `up`
/// without them will.
fn unset_variables(warnings: &str) -> BTreeSet<String> {
    let text = warnings.replace('\\', "");
    text.split("The \"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .filter(|(_, after)| after.starts_with(" variable is not set"))
        .map(|(name, _)| name.to_owned())
        .collect()
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
pub(super) fn tag_failing(host: &Host, service: &Service, running: &str, reference: &str) -> Step {
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
            env: docker_env(host),
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
pub(super) async fn tag_target(
    ctx: &Context,
    host: &Host,
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
        // Taking away an image's only name deletes the image, and this is the one to come back to.
        let pin = target.saved.as_ref().and_then(|(_, s)| s.pinned.as_ref());
        let has_another_name = match pin {
            Some(pin) => look_at(ctx, &image(pin)).await? == target.identity,
            None => false,
        };
        has_another_name.then(|| StepWork::Command {
            argv: ["docker", "image", "rm", "--no-prune", reference]
                .map(str::to_owned)
                .to_vec(),
            cwd: None,
            env: docker_env(host),
        })
    } else {
        Some(StepWork::TagImage {
            image: now.clone(),
            reference: reference.to_owned(),
        })
    };
    let text = format!("docker tag {} {reference}", short_id(&target.identity));
    let mut fingerprints = vec![Fingerprint {
        subject: image(reference),
        value: now,
    }];
    // Still there right before it is needed: a prune may have come by. One that a step before loads is not there yet.
    if target.copy.is_none() {
        fingerprints.push(Fingerprint {
            subject: image(&target.identity),
            value: target.identity.clone(),
        });
    }
    Ok(Some(Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo,
        fingerprints,
        timeout_ms: TAG_LIMIT_MS,
        may_fail: false,
    }))
}

/// Killed in the middle of its time to end, the old container would be gone and the new one not there yet.
fn up_limit_ms(grace_s: u32) -> u64 {
    let limit = WAIT + UP_MARGIN + Duration::from_secs(u64::from(grace_s));
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

fn up(host: &Host, service: &Service, origin: &ComposeOrigin, grace_s: u32) -> Step {
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
        env: docker_env(host),
    };
    // Going back to a release that failed: that it is not healthy is no news and no failure of going back.
    let mut undo = work.clone();
    if let StepWork::Command { argv, .. } = &mut undo
        && let Some(at) = argv.iter().position(|a| a == "--wait")
    {
        // `--wait`, `--wait-timeout` and its seconds.
        argv.drain(at..at + 3);
    }
    let text = format!(
        "docker compose up -d --no-deps --no-build --pull never --wait {}",
        origin.service
    );
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        undo: Some(undo),
        work,
        fingerprints: vec![is_as_planned(service)],
        timeout_ms: up_limit_ms(grace_s),
        may_fail: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_set_nowhere_are_named() {
        let warnings = concat!(
            r#"time="2025-12-27T14:50:00Z" level=warning msg="The \"TAG\" variable is not set. Defaulting to a blank string.""#,
            "\n",
            r#"WARN[0000] The "DB_URL" variable is not set. Defaulting to a blank string."#,
            "\n",
            r#"WARN[0000] The "x" network is odd"#,
        );
        let found: Vec<String> = unset_variables(warnings).into_iter().collect();
        assert_eq!(found, ["DB_URL", "TAG"]);
    }

    #[test]
    fn a_container_gets_its_time_to_end() {
        assert_eq!(up_limit_ms(0), 120_000);
        assert_eq!(up_limit_ms(300), 420_000);
    }

    #[test]
    fn the_tool_talks_to_the_engine_that_was_looked_at() {
        let ours = |name: &str| match name {
            "DOCKER_HOST" => Some("unix:///run/user/1000/docker.sock".to_owned()),
            "DOCKER_CONFIG" => Some("/home/anna/.docker".to_owned()),
            _ => None,
        };
        let local = docker_env_of(true, ours);
        assert_eq!(local["DOCKER_HOST"], "unix:///run/user/1000/docker.sock");
        assert_eq!(local["DOCKER_CONFIG"], "/home/anna/.docker");
        let default = BTreeMap::from([(
            "DOCKER_HOST".to_owned(),
            "unix:///var/run/docker.sock".to_owned(),
        )]);
        assert_eq!(
            docker_env_of(true, |_| None),
            default,
            "whatever the context"
        );
        assert_eq!(docker_env_of(false, ours), default, "ours are not theirs");
    }
}
