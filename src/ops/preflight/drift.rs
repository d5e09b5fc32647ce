//! Whether what runs is what the files say: somebody who changed one of both by hand finds out at the next deploy.
//!
//! Values of variables are compared and never told: their names are enough to look.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::analysis::preflight::Looked;
use crate::domain::pm2::{Pm2App, Pm2Restarts};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{ComposeOrigin, short_id};
use crate::host::{Command, Host};
use crate::runtime::compose::{ComposeOptions, project_argv};
use crate::runtime::docker::{self, ContainerSettings};
use crate::runtime::pm2::ecosystem::Declared;

/// Compose reads a few files; it asks no network for that.
const CONFIG_LIMIT: Duration = Duration::from_secs(20);
const MAX_CONFIG: usize = 16 * 1024 * 1024;

/// The part of `docker compose config` that is held against containers.
#[derive(Debug, Default, Deserialize)]
struct ComposeConfig {
    #[serde(default)]
    services: BTreeMap<String, ComposeService>,
}

#[derive(Deserialize)]
struct ComposeService {
    image: Option<String>,
    #[serde(default)]
    environment: Option<BTreeMap<String, Value>>,
}

impl std::fmt::Debug for ComposeService {
    /// Without its variables, which hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ComposeService")
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// How the containers of a Compose service differ from its compose files: the image and the variables.
///
/// # Errors
/// Compose could not read its files, or is not there.
pub(super) async fn of_containers(
    host: &Host,
    origin: &ComposeOrigin,
    containers: &[ContainerSettings],
) -> Looked<Vec<SafeText>> {
    let mut argv = project_argv(origin, &ComposeOptions::default());
    argv.extend(["config", "--format", "json"].map(str::to_owned));
    let mut command = Command::new(argv, CONFIG_LIMIT);
    command.max_output = MAX_CONFIG;
    let output = host.query(&command).await;
    let output = output.map_err(|error| SafeText::from_error(&error))?;
    if !output.is_success() {
        return Err(SafeText::from_text(&format!(
            "docker compose config: {}",
            output.describe()
        )));
    }
    let config: ComposeConfig = serde_json::from_slice(&output.stdout)
        .map_err(|_| SafeText::from_text("docker compose config did not print what it should"))?;
    let Some(wanted) = config.services.get(&origin.service) else {
        let text = format!("{} is not in the compose files any more", origin.service);
        return Ok(vec![SafeText::from_text(&text)]);
    };
    let mut differences = variables(wanted, containers);
    if let Some(image) = &wanted.image {
        let id = docker::image_id(host, image).await;
        let id = id.map_err(|error| SafeText::from_error(&error))?;
        differences.splice(0..0, images(image, id.as_deref(), containers));
    }
    Ok(differences
        .iter()
        .map(|text| SafeText::from_text(text))
        .collect())
}

fn images(image: &str, id: Option<&str>, containers: &[ContainerSettings]) -> Vec<String> {
    let mut found = Vec::new();
    for container in containers {
        let name = &container.name;
        let text = match id {
            Some(id) if id == container.image_id => continue,
            Some(id) => format!(
                "{name} runs {} ({}), {image} is {} now",
                container.image,
                short_id(&container.image_id),
                short_id(id)
            ),
            // An image that is still to be pulled or built.
            None if container.image == image => format!("there is no image {image} any more"),
            None => format!("{name} runs {}, the file says {image}", container.image),
        };
        found.push(text);
    }
    found
}

fn variables(wanted: &ComposeService, containers: &[ContainerSettings]) -> Vec<String> {
    let Some(container) = containers.first() else {
        return Vec::new();
    };
    let empty = BTreeMap::new();
    let wanted = wanted.environment.as_ref().unwrap_or(&empty);
    let running = &container.environment.0;
    let (mut changed, mut added) = (Vec::new(), Vec::new());
    for (name, value) in wanted {
        let value = match value {
            Value::String(text) => text.clone(),
            // Passed on from the environment of whoever ran Compose.
            Value::Null => continue,
            other => other.to_string(),
        };
        match running.get(name) {
            Some(now) if *now == value => {}
            Some(_) => changed.push(name.as_str()),
            None => added.push(name.as_str()),
        }
    }
    let mut removed: Vec<&str> = Vec::new();
    if let Some(image) = &container.image_environment {
        // What neither the image brings nor the engine adds was set by a file that has changed since.
        let is_own = |name: &str| matches!(name, "PATH" | "HOME" | "HOSTNAME" | "TERM");
        let gone = running.iter().filter(|(name, value)| {
            !wanted.contains_key(*name) && image.0.get(*name) != Some(*value) && !is_own(name)
        });
        removed.extend(gone.map(|(name, _)| name.as_str()));
    }
    let told = [
        ("other values in the file: ", changed),
        ("not set in what runs: ", added),
        ("no longer in the file: ", removed),
    ];
    told.into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(text, names)| format!("{text}{}", names.join(", ")))
        .collect()
}

/// How an application under PM2 differs from what its ecosystem file declares: script, folder and limits. What the file
/// does not say PM2 decides, so that it is no difference.
pub(super) fn of_app(app: &Pm2App, running: &Pm2Restarts, declared: &Declared) -> Vec<SafeText> {
    let mut found = Vec::new();
    if let Some(script) = app.script()
        && script != declared.script
    {
        found.push(format!(
            "it runs {}, the file says {}",
            script.display(),
            declared.script.display()
        ));
    }
    if let Some(cwd) = &app.cwd
        && *cwd != declared.cwd
    {
        found.push(format!(
            "it runs in {}, the file says {}",
            cwd.display(),
            declared.cwd.display()
        ));
    }
    let file = &declared.restarts;
    for (name, now, said) in [
        ("max_restarts", running.max_restarts, file.max_restarts),
        ("min_uptime", running.min_uptime_ms, file.min_uptime_ms),
        (
            "restart_delay",
            running.restart_delay_ms,
            file.restart_delay_ms,
        ),
    ] {
        if said.is_some() && now != said {
            let text = |value: Option<u64>| value.map_or("not set".to_owned(), |v| v.to_string());
            found.push(format!(
                "{name} {} now, {} in the file",
                text(now),
                text(said)
            ));
        }
    }
    found.iter().map(|text| SafeText::from_text(text)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::runtime::docker::Environment;

    fn environment(all: &[(&str, &str)]) -> Environment {
        let pairs = all.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Environment(pairs.collect())
    }

    fn container(running: &[(&str, &str)], image: &[(&str, &str)]) -> ContainerSettings {
        ContainerSettings {
            name: SafeText::from_text("shop-backend-1"),
            image: "shop:1.4".into(),
            image_id: "sha256:aaaaaaaaaaaaaaaa".into(),
            restart_policy: String::new(),
            log_driver: String::new(),
            log_options: BTreeMap::new(),
            has_health_check: false,
            environment: environment(running),
            image_environment: Some(environment(image)),
        }
    }

    #[test]
    fn variables_are_told_by_their_names_only() {
        let wanted: ComposeService = serde_json::from_str(
            r#"{"environment": {"TOKEN": "new-secret", "MODE": "prod", "PORT": 8000, "EXTRA": "1", "PASSED": null}}"#,
        )
        .unwrap();
        let running = [
            ("TOKEN", "old-secret"),
            ("MODE", "prod"),
            ("PORT", "8000"),
            ("LANG", "C"),
            ("OLD", "x"),
            ("PATH", "/bin"),
        ];
        let found = variables(&wanted, &[container(&running, &[("LANG", "C")])]);
        assert_eq!(
            found,
            [
                "other values in the file: TOKEN",
                "not set in what runs: EXTRA",
                "no longer in the file: OLD"
            ]
        );
        assert!(!format!("{wanted:?}").contains("secret"));
    }

    #[test]
    fn a_tag_that_moved_is_a_difference() {
        let running = [container(&[], &[])];
        assert!(images("shop:1.4", Some("sha256:aaaaaaaaaaaaaaaa"), &running).is_empty());
        let moved = images("shop:1.4", Some("sha256:bbbbbbbbbbbbbbbb"), &running);
        assert!(
            moved[0].contains("aaaaaaaaaaaa") && moved[0].contains("bbbbbbbbbbbb"),
            "{moved:?}"
        );
        let other = images("shop:1.5", None, &running);
        assert!(other[0].contains("shop:1.5"), "{other:?}");
    }

    #[test]
    fn limits_that_a_restart_did_not_take_over_are_told() {
        let app =
            crate::domain::pm2::tests::app([crate::domain::pm2::tests::run("/srv/shop/a.js", 15)]);
        let declared = Declared {
            name: "api".into(),
            script: "/srv/shop/a.js".into(),
            cwd: "/srv/shop".into(),
            restarts: Pm2Restarts {
                max_restarts: Some(3),
                ..Pm2Restarts::default()
            },
        };
        let running = Pm2Restarts {
            max_restarts: Some(15),
            ..Pm2Restarts::default()
        };
        let found = of_app(&app, &running, &declared);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].as_str(), "max_restarts 15 now, 3 in the file");
        assert!(of_app(&app, &declared.restarts, &declared).is_empty());
    }
}
