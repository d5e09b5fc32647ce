//! Copies the configuration files of a service: compose files, environment files, the ecosystem file and lists of PM2,
//! what the configuration names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::checkpoint::SavedFile;
use crate::domain::digest;
use crate::domain::pm2::{ECOSYSTEM_FILES, SAVED_LISTS};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::host::{Host, HostError};
use crate::ops::secrets::{base_folder, env_files, in_folder};
use crate::ops::services::host_of;
use crate::ops::{Context, OpsError};
use crate::runtime::pm2;
use crate::store::checkpoint::{Staging, config_place};

/// A configuration file is small; a bigger one is named and left out.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// What a package of Node.js is made of besides its code.
const PACKAGE_FILES: &[&str] = &[
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
];

/// Copies every configuration file of the service. Returns them and what could not be copied.
///
/// # Errors
/// The checkpoint cannot be written.
pub(super) async fn save(
    ctx: &Context,
    service: &Service,
    staging: &Staging,
) -> Result<(Vec<SavedFile>, Vec<SafeText>), OpsError> {
    let mut saved = Vec::new();
    let host = host_of(ctx, &service.id)?;
    let (files, mut problems) = look_for(ctx, host, service).await;
    for (path, must_exist) in files {
        match read(host, &path).await {
            Ok((content, mode)) => {
                let file = config_place(&service.id.relative_path(), &path);
                staging.add(&file, &content)?;
                saved.push(SavedFile {
                    sha256: digest::sha256(&content),
                    path,
                    file,
                    mode,
                });
            }
            Err(error) if error.is_not_found() && !must_exist => {}
            Err(error) => problems.push(SafeText::from_text(&format!(
                "{}: a configuration file was not saved: {}",
                service.id,
                SafeText::from_error(&error)
            ))),
        }
    }
    Ok((saved, problems))
}

/// The files to copy, and whether each must be there. A file that is asked for twice stands once.
pub(super) async fn wanted(
    ctx: &Context,
    host: &Host,
    service: &Service,
) -> BTreeMap<PathBuf, bool> {
    look_for(ctx, host, service).await.0
}

/// The same, with what may be missing among them.
async fn look_for(
    ctx: &Context,
    host: &Host,
    service: &Service,
) -> (BTreeMap<PathBuf, bool>, Vec<SafeText>) {
    let mut problems = Vec::new();
    let settings = ctx.config.service(&service.id);
    let base = base_folder(service);
    let mut files = BTreeMap::new();
    for path in env_files(service, &settings) {
        files.insert(path, false);
    }
    if let Some(origin) = &service.compose {
        for path in &origin.config_files {
            let text = host
                .read_file(path, MAX_FILE)
                .await
                .unwrap_or_else(|error| {
                    problems.push(SafeText::from_text(&format!(
                        "{}: environment files of a compose file were not looked for: {}",
                        service.id,
                        SafeText::from_error(&error)
                    )));
                    Vec::new()
                });
            for env_file in env_file_entries(&String::from_utf8_lossy(&text)) {
                files.insert(origin.working_dir.join(env_file), false);
            }
        }
        // Not before all are read: what must be there wins.
        files.extend(origin.config_files.iter().map(|path| (path.clone(), true)));
    }
    if let Some(app) = pm2::app(service) {
        let beside = ECOSYSTEM_FILES.iter().chain(PACKAGE_FILES);
        let beside = app
            .cwd
            .iter()
            .flat_map(|cwd| beside.clone().map(|name| cwd.join(name)));
        let lists = SAVED_LISTS.iter().map(|name| app.home.join(name));
        files.extend(beside.chain(lists).map(|path| (path, false)));
    }
    let named = settings.env_files.iter().chain(&settings.config_files);
    files.extend(named.map(|path| (in_folder(base.as_deref(), path), true)));
    (files, problems)
}

async fn read(host: &Host, path: &Path) -> Result<(Vec<u8>, u32), HostError> {
    let content = host.read_file(path, MAX_FILE).await?;
    let mode = host.stat(path).await?.map_or(0o600, |stat| stat.mode);
    Ok((content, mode))
}

/// The files that `env_file:` entries of a compose file name: one value, or a list of values or of `path:` maps.
/// Variables in them are not resolved. Read by lines: a compose file is YAML, of which only this much is needed.
fn env_file_entries(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut list_indent = None;
    for line in text.lines() {
        let content = line.split(" #").next().unwrap_or(line);
        let trimmed = content.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = content.len() - content.trim_start().len();
        if let Some(value) = trimmed.strip_prefix("env_file:") {
            let value = value.trim();
            list_indent = value.is_empty().then_some(indent);
            let values = value.trim_start_matches('[').trim_end_matches(']');
            found.extend(values.split(',').filter_map(unquoted));
            continue;
        }
        let Some(limit) = list_indent else { continue };
        let is_item = trimmed.starts_with('-');
        if indent < limit || (indent == limit && !is_item) {
            list_indent = None;
            continue;
        }
        let item = trimmed.trim_start_matches('-').trim();
        match item.split_once(':') {
            Some(("path", path)) => found.extend(unquoted(path)),
            Some(_) => {}
            None => found.extend(unquoted(item)),
        }
    }
    found
}

fn unquoted(value: &str) -> Option<String> {
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty() && !value.contains('$')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_of_a_compose_file_are_found() {
        let text = "\
services:
  a:
    env_file: .env.a   # why
    image: x
  b:
    env_file:
      - ./b.env
      - path: \"c.env\"
        required: false
    image: y
  c:
    env_file: [one.env, 'two.env']
  d:
    env_file:
    - same.env
    image: z
  e:
    env_file: ${ENV}.env
";
        assert_eq!(
            env_file_entries(text),
            [
                ".env.a", "./b.env", "c.env", "one.env", "two.env", "same.env"
            ]
        );
    }
}
