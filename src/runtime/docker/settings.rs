//! How containers were made: restart policy, log driver, health check, environment. Only asked for by preflight.

use std::collections::BTreeMap;
use std::fmt;

use bollard::models::{ContainerInspectResponse, HostConfigLogConfig, RestartPolicyNameEnum};

use super::connect::{Engine, explain};
use super::inspect::{container_name, containers_of};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::host::Host;
use crate::runtime::RuntimeError;

/// The variables of an environment. Its debug form does not show them: they hold secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl Environment {
    fn of(lines: &[String]) -> Self {
        let pairs = lines.iter().filter_map(|line| line.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        )
    }
}

/// How one container was made.
#[derive(Debug, Clone)]
pub struct ContainerSettings {
    /// Its name.
    pub name: SafeText,
    /// The image as it was named.
    pub image: String,
    /// The image id that it runs.
    pub image_id: String,
    /// `no`, `always`, `on-failure`, `unless-stopped`; empty for none.
    pub restart_policy: String,
    /// The driver that keeps its log.
    pub log_driver: String,
    /// The driver's options.
    pub log_options: BTreeMap<String, String>,
    /// Whether it has a health check.
    pub has_health_check: bool,
    /// Its variables.
    pub environment: Environment,
    /// The variables that its image brings; `None` where the image is gone.
    pub image_environment: Option<Environment>,
}

/// The settings of every container of a service, by name.
///
/// # Errors
/// The engine is unreachable or refused.
pub async fn settings(
    host: &Host,
    service: &Service,
) -> Result<Vec<ContainerSettings>, RuntimeError> {
    Engine::ask(host, |engine| settings_of(engine, service)).await
}

async fn settings_of(
    engine: Engine,
    service: &Service,
) -> Result<Vec<ContainerSettings>, RuntimeError> {
    let mut all = Vec::new();
    for container in containers_of(&engine, service).await? {
        let mut settings = read(&container);
        settings.image_environment = image_environment(&engine, &settings.image_id).await?;
        all.push(settings);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

async fn image_environment(
    engine: &Engine,
    image: &str,
) -> Result<Option<Environment>, RuntimeError> {
    let inspected = engine.quick(async {
        let found = engine.docker.inspect_image(image).await;
        found.map_err(|e| explain(&format!("inspect the image {image}"), e))
    });
    match inspected.await {
        Ok(image) => {
            let lines = image
                .config
                .and_then(|config| config.env)
                .unwrap_or_default();
            Ok(Some(Environment::of(&lines)))
        }
        Err(RuntimeError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(container: &ContainerInspectResponse) -> ContainerSettings {
    let config = container.config.as_ref();
    let host = container.host_config.as_ref();
    let policy = host
        .and_then(|h| h.restart_policy.as_ref())
        .and_then(|p| p.name)
        .unwrap_or(RestartPolicyNameEnum::EMPTY);
    let log = host.and_then(|h| h.log_config.as_ref());
    let test = config
        .and_then(|c| c.healthcheck.as_ref())
        .and_then(|h| h.test.as_deref())
        .unwrap_or_default();
    ContainerSettings {
        name: SafeText::from_text(&container_name(container)),
        image: config.and_then(|c| c.image.clone()).unwrap_or_default(),
        image_id: container.image.clone().unwrap_or_default(),
        restart_policy: policy.to_string(),
        log_driver: log.and_then(|l| l.typ.clone()).unwrap_or_default(),
        log_options: log.map(options).unwrap_or_default(),
        has_health_check: test.first().is_some_and(|first| first != "NONE"),
        environment: Environment::of(config.and_then(|c| c.env.as_deref()).unwrap_or_default()),
        image_environment: None,
    }
}

fn options(log: &HostConfigLogConfig) -> BTreeMap<String, String> {
    log.config
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_the_engine_says_is_read() {
        let container: ContainerInspectResponse = serde_json::from_value(serde_json::json!({
            "Id": "abc", "Name": "/shop-backend-1", "Image": "sha256:01",
            "Config": {"Image": "shop:1.5", "Env": ["PATH=/bin", "TOKEN=a=b"], "Healthcheck": {"Test": ["NONE"]}},
            "HostConfig": {"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                           "LogConfig": {"Type": "json-file", "Config": {"max-size": "20m"}}},
        }))
        .unwrap();
        let found = read(&container);
        assert_eq!(found.name.as_str(), "shop-backend-1");
        assert_eq!(found.restart_policy, "unless-stopped");
        assert_eq!(found.log_options["max-size"], "20m");
        assert_eq!(found.environment.0["TOKEN"], "a=b");
        assert!(!found.has_health_check);
        assert!(
            !format!("{found:?}").contains("a=b"),
            "secrets are not in its debug form"
        );
    }
}
