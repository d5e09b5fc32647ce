//! Compose: the `docker compose` command lines that change a service of a project.
//!
//! The engine's API knows containers only; what a project's file says a container should be, only Compose knows. So
//! Compose 2 recreates containers, in the project's own folder with its own files, and never touches another
//! service, builds or pulls. What it reports is not trusted: the caller verifies image, state and probe.

use std::path::Path;
use std::time::Duration;

use crate::domain::safe_text::SafeText;
use crate::domain::service::ComposeOrigin;
use crate::host::{Command, Host};
use crate::runtime::RuntimeError;

/// Asking for the version is quick; a plugin that hangs is none.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// What to add to the project's own options, where the labels do not tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComposeOptions {
    /// `--env-file` files, in order.
    pub env_files: Vec<std::path::PathBuf>,
    /// `--profile` names.
    pub profiles: Vec<String>,
}

/// The start of every command on a project: `docker compose -p … --project-directory … -f …`.
pub fn project_argv(origin: &ComposeOrigin, options: &ComposeOptions) -> Vec<String> {
    let mut argv = vec![
        "docker".to_owned(),
        "compose".to_owned(),
        "-p".to_owned(),
        origin.project.clone(),
    ];
    let path = |p: &Path| p.to_string_lossy().into_owned();
    if !origin.working_dir.as_os_str().is_empty() {
        argv.extend(["--project-directory".to_owned(), path(&origin.working_dir)]);
    }
    for file in &origin.config_files {
        argv.extend(["-f".to_owned(), path(file)]);
    }
    for file in &options.env_files {
        argv.extend([
            "--env-file".to_owned(),
            path(&origin.working_dir.join(file)),
        ]);
    }
    for profile in &options.profiles {
        argv.extend(["--profile".to_owned(), profile.clone()]);
    }
    argv
}

/// Recreates one service if its image or configuration changed, and waits until it runs and is healthy. Other
/// services are not touched; nothing is built or pulled.
pub fn up_argv(origin: &ComposeOrigin, options: &ComposeOptions, wait: Duration) -> Vec<String> {
    let mut argv = project_argv(origin, options);
    let wait = wait.as_secs().max(1).to_string();
    argv.extend(
        [
            "up",
            "-d",
            "--no-deps",
            "--no-build",
            "--pull",
            "never",
            "--wait",
            "--wait-timeout",
            &wait,
            "--",
            &origin.service,
        ]
        .map(str::to_owned),
    );
    argv
}

/// The version of the Compose plugin, `2.26.1`.
///
/// # Errors
/// There is none, or it is older than 2.
pub async fn version(host: &Host) -> Result<String, RuntimeError> {
    let command = Command::new(["docker", "compose", "version", "--short"], VERSION_TIMEOUT);
    let missing = |why: String| RuntimeError::Failed {
        what: format!(
            "Compose 2 is needed on {}: {why}; install the package docker-compose-plugin (or docker-compose-v2)",
            host.name()
        ),
        source: None,
    };
    let output = host
        .query(&command)
        .await
        .map_err(|e| missing(SafeText::from_error(&e).to_string()))?;
    if !output.is_success() {
        return Err(missing(output.describe().to_string()));
    }
    let text = output.stdout_text();
    let version = text.trim().trim_start_matches('v').to_owned();
    let major = version
        .split('.')
        .next()
        .and_then(|m| m.parse::<u32>().ok());
    match major {
        Some(2..) => Ok(version),
        _ => Err(missing(format!(
            "found version {}",
            SafeText::from_text(&version)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn origin() -> ComposeOrigin {
        ComposeOrigin {
            project: "shop".into(),
            service: "backend".into(),
            working_dir: "/srv/shop".into(),
            config_files: vec![
                "/srv/shop/compose.yaml".into(),
                "/srv/shop/prod.yaml".into(),
            ],
            version: Some("2.26.1".into()),
        }
    }

    #[test]
    fn one_service_is_brought_up_with_the_projects_own_files() {
        let argv = up_argv(
            &origin(),
            &ComposeOptions::default(),
            Duration::from_secs(60),
        );
        assert_eq!(
            shell_words::join(argv),
            "docker compose -p shop --project-directory /srv/shop -f /srv/shop/compose.yaml -f /srv/shop/prod.yaml \
             up -d --no-deps --no-build --pull never --wait --wait-timeout 60 -- backend"
        );
    }

    #[test]
    fn what_labels_do_not_tell_comes_from_the_configuration() {
        let options = ComposeOptions {
            env_files: vec![PathBuf::from("prod.env"), PathBuf::from("/etc/shop.env")],
            profiles: vec!["blue".into()],
        };
        let line = shell_words::join(project_argv(&origin(), &options));
        assert!(
            line.ends_with("--env-file /srv/shop/prod.env --env-file /etc/shop.env --profile blue"),
            "{line}"
        );
    }
}
