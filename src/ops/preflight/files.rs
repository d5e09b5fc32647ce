//! What lies in a service's folder: files with secrets, leftovers of builds, switches of error tracking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::analysis::preflight::{
    Artifact, Looked, SecretFile, ServiceFacts, Switch, is_address, is_switch,
};
use crate::analysis::redact::{Redactor, env_variables};
use crate::domain::pm2::SAVED_LISTS;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::host::{Command, Host};
use crate::ops::secrets::{base_folder, env_files};
use crate::ops::{Context, checkpoint};
use crate::runtime::pm2;

/// A file with secrets is small; a bigger one is told as not looked at.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Names that are left over from a build or a deploy, where nothing is configured.
const USUAL: &[&str] = &[
    "dist",
    "*.tar",
    "*.tar.gz",
    "*.tgz",
    "*.tar.zst",
    "*.zip",
    "*.rar",
];
/// What lies in a folder: kind, size and name, each ended by a NUL since a name can hold anything else.
const LIST: &str = r#"find "$1" -mindepth 1 -maxdepth 1 -printf '%y %s %f\0'"#;
const LIST_LIMIT: Duration = Duration::from_secs(10);

/// Looks at the files of a service. What belongs to the whole folder is looked at for the first of its services only.
pub(super) async fn look(
    ctx: &Context,
    host: &Host,
    service: &Service,
    is_first: bool,
    redactor: &Redactor,
    facts: &mut ServiceFacts,
) {
    if !is_first {
        return;
    }
    let settings = ctx.config.service(&service.id);
    let environment = env_files(service, &settings);
    let mut texts = String::new();
    for (path, must_exist) in checkpoint::config_files(ctx, host, service).await {
        // PM2 writes its lists by itself, and not to be edited.
        if path
            .file_name()
            .is_some_and(|name| SAVED_LISTS.iter().any(|list| name == *list))
        {
            continue;
        }
        let read = async {
            let content = host.read_file(&path, MAX_FILE).await?;
            Ok((content, host.stat(&path).await?))
        };
        let (content, stat) = match read.await {
            Ok(found) => found,
            Err(error) => {
                let error: crate::host::HostError = error;
                if must_exist || !error.is_not_found() {
                    facts.unread_files.push(SafeText::from_error(&error));
                }
                continue;
            }
        };
        let text = String::from_utf8_lossy(&content);
        if holds_secrets(&text, redactor) {
            facts.secret_files.push(SecretFile {
                path: path.clone(),
                mode: stat.map_or(0o777, |stat| stat.mode),
            });
        }
        let is_compose = service
            .compose
            .as_ref()
            .is_some_and(|c| c.config_files.contains(&path));
        if is_compose {
            texts.push_str(&text);
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if environment.contains(&path) || name.starts_with(".env") || name.ends_with(".env") {
            facts.switches.extend(switches(&path, &text));
        }
    }
    if let Some(folder) = base_folder(service) {
        let script = pm2::app(service).and_then(|app| app.script().map(Path::to_owned));
        let found = artifacts(ctx, host, &folder).await;
        let is_used = |artifact: &Artifact| {
            let name = artifact
                .path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            let runs_from_it = script
                .as_ref()
                .is_some_and(|s| s.starts_with(&artifact.path));
            // A build folder that the compose file mounts or builds from belongs there.
            !artifact.is_configured && (runs_from_it || texts.contains(&*name))
        };
        facts.artifacts = Some(found.map(|mut all| {
            all.retain(|artifact| !is_used(artifact));
            all
        }));
    }
}

/// Whether a text holds what looks like a secret. A variable that is filled in elsewhere (`${DB_PASSWORD}`) is none.
fn holds_secrets(text: &str, redactor: &Redactor) -> bool {
    text.lines()
        .filter(|line| {
            !line.trim_start().starts_with('#')
                && !line.contains("${")
                && !line.contains("process.env")
        })
        .any(|line| redactor.redact(line) != line)
}

fn switches(path: &Path, text: &str) -> Vec<Switch> {
    env_variables(text)
        .filter(|(name, _)| is_switch(name))
        .map(|(name, value)| Switch {
            name: name.to_owned(),
            // An address holds a key: only that there is one is told.
            value: match (is_address(name), value.is_empty()) {
                (true, false) => "set".to_owned(),
                _ => SafeText::from_text(value).as_str().to_lowercase(),
            },
            file: path.to_owned(),
        })
        .collect()
}

async fn artifacts(ctx: &Context, host: &Host, folder: &Path) -> Looked<Vec<Artifact>> {
    let configured = ctx.config.preflight.artifacts.as_ref();
    let patterns: Vec<glob::Pattern> = match configured {
        Some(own) => own
            .iter()
            .filter_map(|p| glob::Pattern::new(p).ok())
            .collect(),
        None => USUAL
            .iter()
            .filter_map(|p| glob::Pattern::new(p).ok())
            .collect(),
    };
    let path = folder.to_string_lossy();
    let command = Command::shell(LIST, &[&path], LIST_LIMIT);
    let output = host.query(&command).await;
    let output = output.map_err(|error| SafeText::from_error(&error))?;
    if !output.is_success() {
        return Err(output.describe());
    }
    let text = output.stdout_text();
    let mut found: Vec<Artifact> = entries(&text)
        .filter(|(_, _, name)| patterns.iter().any(|pattern| pattern.matches(name)))
        .map(|(kind, bytes, name)| Artifact {
            path: folder.join(PathBuf::from(name)),
            bytes: (kind != "d").then_some(bytes),
            is_configured: configured.is_some(),
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn entries(text: &str) -> impl Iterator<Item = (&str, u64, &str)> {
    text.split('\0').filter_map(|entry| {
        let mut words = entry.splitn(3, ' ');
        let (kind, bytes, name) = (words.next()?, words.next()?, words.next()?);
        Some((kind, bytes.parse().ok()?, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::redact::{KnownSecrets, RedactionKey};

    #[test]
    fn secrets_are_told_from_references_to_them() {
        let redactor = Redactor::new(&KnownSecrets::default(), RedactionKey([1; 32]));
        for text in [
            "DB_PASSWORD=hunter2hunter2",
            "    environment:\n      POSTGRES_PASSWORD: s3cret-value-9\n",
            "DATABASE_URL=postgres://shop:pw1234@db/shop",
        ] {
            assert!(holds_secrets(text, &redactor), "{text}");
        }
        for text in [
            "PORT=8000\nMODE=prod",
            "      POSTGRES_PASSWORD: ${DB_PASSWORD}",
            "# DB_PASSWORD=hunter2hunter2",
            "services:\n  backend:\n    image: shop:1.5\n",
        ] {
            assert!(!holds_secrets(text, &redactor), "{text}");
        }
    }

    #[test]
    fn a_key_is_told_as_set() {
        let text = "SENTRY_DSN=https://42b795ea@sentry.io/1\nSENTRY_ENABLED=True\nPORT=1\n";
        let found = switches(Path::new("/srv/.env"), text);
        let found: Vec<_> = found
            .iter()
            .map(|s| (s.name.as_str(), s.value.as_str()))
            .collect();
        assert_eq!(found, [("SENTRY_DSN", "set"), ("SENTRY_ENABLED", "true")]);
    }

    #[test]
    fn names_with_blanks_and_line_ends_are_whole() {
        let text = "d 4096 dist\0f 12 a b\nc.zip\0";
        let found: Vec<_> = entries(text).collect();
        assert_eq!(found, [("d", 4096, "dist"), ("f", 12, "a b\nc.zip")]);
    }
}
