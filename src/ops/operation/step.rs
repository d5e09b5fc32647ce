//! Carries out one step of a plan, exactly as it says.

use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;

use super::fingerprint::on;
use super::swarm;
use super::verify;
use crate::analysis::redact::Redactor;
use crate::audit::Permit;
use crate::domain::digest;
use crate::domain::host::HostName;
use crate::domain::operation::{ContainerAction, Mix, StepWork};
use crate::domain::outcome::Progress;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{ServiceId, short_id};
use crate::domain::swarm::SwarmChange;
use crate::host::{Command, Host};
use crate::ops::checkpoint::logs::save_with_budget;
use crate::ops::operation::find_service;
use crate::ops::services::{discover_one, host_of};
use crate::ops::{Context, ErrorKind, OpsError, backup, lease, migrations, switch};
use crate::runtime::docker;
use crate::store;

/// Files that a plan puts back are small.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// Work on a backup keeps its time by itself; this is for what it takes away again afterwards.
const CLEAN_UP: Duration = Duration::from_secs(60);
/// What the engine needs besides the time that the container gets to end.
const ENGINE_MARGIN: Duration = Duration::from_secs(20);
/// Variables that tell the Docker client where the engine is.
pub(crate) const DOCKER_VARIABLES: &[&str] = &[
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "XDG_RUNTIME_DIR",
];

/// Everything a step needs.
pub(super) struct Machine<'a> {
    pub(super) ctx: &'a Context,
    pub(super) name: &'a HostName,
    pub(super) permit: &'a Permit,
    pub(super) progress: &'a mpsc::Sender<Progress>,
    /// Takes out of what commands say what is secret: it goes to the journal, to the screen and into reports.
    pub(super) redactor: &'a Redactor,
}

fn failed(text: impl Into<String>) -> OpsError {
    OpsError::new(ErrorKind::Failed, text)
}

impl Machine<'_> {
    fn host(&self) -> Result<&Host, OpsError> {
        host_of(self.ctx, &on(self.name))
    }

    /// Runs it within its time. Returns the evidence.
    ///
    /// # Errors
    /// It did not do what it should, or not in time.
    pub(super) async fn run(&self, work: &StepWork, limit: Duration) -> Result<SafeText, OpsError> {
        let clean = |text: &SafeText| SafeText::from_text(&self.redactor.redact(text.as_str()));
        match self.act(work, limit).await {
            Ok(said) => Ok(clean(&said)),
            Err(error) => {
                let told = error.to_safe_text();
                let safe = clean(&told);
                // An error without a secret keeps its cause and its next command.
                match safe == told {
                    true => Err(error),
                    false => Err(OpsError::new(error.kind, safe.as_str())),
                }
            }
        }
    }

    async fn act(&self, work: &StepWork, limit: Duration) -> Result<SafeText, OpsError> {
        match work {
            StepWork::SaveLogs {
                service,
                to,
                budget_ms,
            } => self.save_logs(service, to, *budget_ms).await,
            StepWork::Command { argv, cwd, env } => {
                let mut command = Command::new(argv.iter().cloned(), limit).with_clean_env();
                command.cwd.clone_from(cwd);
                for (name, value) in env {
                    command = command.with_env(name, value);
                }
                self.command(&command).await
            }
            StepWork::TagImage { image, reference } => {
                timed(limit, self.tag(image, reference)).await
            }
            StepWork::LoadImage { source, image } => {
                timed(limit, Box::pin(self.load(source, image))).await
            }
            StepWork::WriteFile {
                path,
                source,
                from_machine,
                mix,
                sha256,
                mode,
            } => {
                let content = self.content(source, *from_machine, mix.as_ref());
                timed(limit, self.write_file(path, source, content, sha256, *mode)).await
            }
            StepWork::Container {
                container,
                action,
                grace_s,
            } => timed(limit, self.container(container, *action, *grace_s)).await,
            StepWork::UpdateService { name, change } => {
                let update = swarm::update(self.host()?, self.permit, name, change);
                timed(limit, Box::pin(update)).await
            }
            StepWork::Downgrade { .. } => {
                let host = self.host()?;
                Box::pin(migrations::downgrade(
                    self.ctx,
                    host,
                    self.permit,
                    work,
                    limit,
                ))
                .await
            }
            StepWork::RemoveCheckpoint { folder } => {
                store::checkpoint::remove(&self.ctx.state, folder)?;
                Ok(SafeText::from_text("its folder is gone"))
            }
            StepWork::Backup { .. } => {
                let work = backup::act(self.ctx, self.permit, self.name, work, limit);
                Box::pin(timed(limit + CLEAN_UP, work)).await
            }
            StepWork::BreakLease { service, fence } => {
                let now = lease::free(self.ctx, self.permit, service, *fence).await?;
                Ok(SafeText::from_text(&format!(
                    "free, with the fencing counter {now}: its owner stops before the next step"
                )))
            }
            StepWork::Verify { .. } => verify::verify(self.ctx, work, self.progress).await,
            StepWork::Ask {
                probe,
                times,
                timeout_ms,
            } => verify::ask_until(self.host()?, probe, *times, *timeout_ms, self.progress).await,
            StepWork::Judge {
                probes,
                services,
                hold_ms,
            } => {
                let hold = Duration::from_millis(*hold_ms);
                let host = self.host()?;
                Box::pin(switch::judge(
                    self.ctx,
                    host,
                    probes,
                    services.as_ref(),
                    hold,
                    self.progress,
                ))
                .await
            }
        }
    }

    async fn save_logs(
        &self,
        service: &ServiceId,
        to: &Path,
        budget_ms: u64,
    ) -> Result<SafeText, OpsError> {
        let inventory = discover_one(self.ctx, service).await;
        let service = find_service(&inventory, service)?;
        let budget = Duration::from_millis(budget_ms);
        save_with_budget(self.ctx, service, to, budget).await
    }

    async fn command(&self, command: &Command) -> Result<SafeText, OpsError> {
        let output = self
            .host()?
            .change(self.permit, command)
            .await
            .map_err(|error| failed(error.to_string()).because(error))?;
        if output.is_success() {
            // Never the proof, only what is known: verification decides.
            return Ok(SafeText::from_text("exit 0"));
        }
        Err(failed(output.describe().to_string()))
    }

    async fn tag(&self, image: &str, reference: &str) -> Result<SafeText, OpsError> {
        let host = self.host()?;
        let (repository, tag) = split_reference(reference);
        // The same tag may be set twice.
        let tagged = host.again(|| docker::tag_image(host, self.permit, image, repository, tag));
        tagged
            .await
            .map_err(|error| failed(error.to_string()).because(error))?;
        let found = docker::image_id(host, reference)
            .await
            .map_err(|error| failed(error.to_string()).because(error))?;
        match found {
            Some(found) if found == image => Ok(SafeText::from_text(&format!(
                "{reference} is {}",
                short_id(image)
            ))),
            other => Err(failed(format!(
                "{reference} is {} after it was tagged {}",
                other.as_deref().map_or("absent", short_id),
                short_id(image)
            ))),
        }
    }

    async fn load(&self, source: &Path, image: &str) -> Result<SafeText, OpsError> {
        let host = self.host()?;
        let fail = |error: crate::runtime::RuntimeError| failed(error.to_string()).because(error);
        docker::load_image(host, self.permit, source)
            .await
            .map_err(fail)?;
        match docker::image_id(host, image).await.map_err(fail)? {
            Some(_) => Ok(SafeText::from_text(&format!("{} is back", short_id(image)))),
            None => Err(failed(format!(
                "{} is not in {}",
                short_id(image),
                source.display()
            ))),
        }
    }

    /// What is to be written.
    async fn content(
        &self,
        source: &Path,
        from_machine: bool,
        mix: Option<&Mix>,
    ) -> Result<Vec<u8>, OpsError> {
        if let Some(mix) = mix {
            return switch::mixed(self.host()?, source, mix).await;
        }
        if from_machine {
            return self
                .host()?
                .read_file(source, MAX_FILE)
                .await
                .map_err(|error| failed(error.to_string()).because(error));
        }
        tokio::fs::read(source)
            .await
            .map_err(|error| failed(format!("cannot read {}", source.display())).because(error))
    }

    async fn write_file(
        &self,
        path: &Path,
        source: &Path,
        content: impl Future<Output = Result<Vec<u8>, OpsError>>,
        sha256: &str,
        mode: u32,
    ) -> Result<SafeText, OpsError> {
        let host = self.host()?;
        let content = content.await?;
        if digest::sha256(&content) != sha256 {
            return Err(failed(format!("{} was changed", source.display())));
        }
        let bytes = content.len();
        // Also where it cannot be written: a full disk does not matter to what needs no writing.
        let present = host.read_file(path, MAX_FILE).await;
        if present.is_ok_and(|present| present == content) {
            return Ok(SafeText::from_text(&format!("{bytes} bytes, as they were")));
        }
        host.write_file_atomic(self.permit, path, content, mode)
            .await
            .map_err(|error| failed(error.to_string()).because(error))?;
        let written = host
            .read_file(path, MAX_FILE)
            .await
            .map_err(|error| failed(error.to_string()).because(error))?;
        if digest::sha256(&written) != sha256 {
            return Err(failed(format!(
                "{} is not what was written",
                path.display()
            )));
        }
        Ok(SafeText::from_text(&format!("{bytes} bytes, read back")))
    }

    async fn container(
        &self,
        id: &str,
        action: ContainerAction,
        grace_s: u32,
    ) -> Result<SafeText, OpsError> {
        let host = self.host()?;
        let grace = Some(Duration::from_secs(u64::from(grace_s)));
        let result = match action {
            ContainerAction::Restart => {
                docker::restart_container(host, self.permit, id, grace).await
            }
            ContainerAction::Stop => docker::stop_container(host, self.permit, id, grace).await,
            ContainerAction::Start => docker::start_container(host, self.permit, id).await,
        };
        result.map_err(|error| failed(error.to_string()).because(error))?;
        Ok(SafeText::from_text("the engine agreed"))
    }

    /// Keeps the present content of a file, or the specification of a service, that is about to be replaced, where the step's undo will look for it.
    ///
    /// # Errors
    /// It cannot be read or kept; then it must not be replaced.
    pub(super) async fn keep_for_undo(
        &self,
        work: &StepWork,
        undo: Option<&StepWork>,
    ) -> Result<(), OpsError> {
        let (content, source) = match (work, undo) {
            (
                StepWork::WriteFile { path, .. },
                Some(StepWork::WriteFile { source, sha256, .. }),
            ) => {
                let content = self.host()?.read_file(path, MAX_FILE).await;
                let content = content.map_err(|error| failed(error.to_string()).because(error))?;
                if digest::sha256(&content) != *sha256 {
                    // What is there is a version that an earlier step wrote: what was before that one is kept already.
                    return is_kept(source, sha256, path).await;
                }
                (content, source)
            }
            (
                StepWork::UpdateService { name, .. },
                Some(StepWork::UpdateService {
                    change: SwarmChange::Spec { source, sha256, .. },
                    ..
                }),
            ) => (swarm::present(self.host()?, name, sha256).await?, source),
            _ => return Ok(()),
        };
        Ok(self.ctx.state.write_atomic(source, &content)?)
    }
}

/// # Errors
/// The content to go back to is not there.
async fn is_kept(source: &Path, sha256: &str, path: &Path) -> Result<(), OpsError> {
    let kept = tokio::fs::read(source).await;
    if kept.is_ok_and(|kept| digest::sha256(&kept) == sha256) {
        return Ok(());
    }
    Err(failed(format!(
        "{} is not what the plan was made for, and what it was is not kept: it is left as it is",
        path.display()
    )))
}

/// The limit of a container's step: its own time to end, and some for the engine.
pub(crate) fn container_limit_ms(grace_s: u32) -> u64 {
    u64::from(grace_s) * 1000 + u64::try_from(ENGINE_MARGIN.as_millis()).unwrap_or(20_000)
}

async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, OpsError>>,
) -> Result<T, OpsError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(failed(format!(
            "no end within {} s; what it did is not known",
            limit.as_secs()
        )))
    })
}

/// `repo:tag`; a colon before a slash belongs to a registry's port. Without a tag it is `latest`.
pub(crate) fn split_reference(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_at_the_tag() {
        assert_eq!(split_reference("shop:1.4"), ("shop", "1.4"));
        assert_eq!(split_reference("shop"), ("shop", "latest"));
        assert_eq!(
            split_reference("r.io:5000/a/shop"),
            ("r.io:5000/a/shop", "latest")
        );
        assert_eq!(split_reference("r.io:5000/shop:x"), ("r.io:5000/shop", "x"));
    }
}
