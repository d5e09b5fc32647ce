//! Harvests the values that are known to be secret, so that text can be cleaned of them.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::services::host_of;
use super::{Context, OpsError, checkpoint};
use crate::analysis::redact::{KnownSecrets, RedactionKey, Redactor};
use crate::domain::host::HostName;
use crate::domain::service::Service;
use crate::domain::settings::ServiceSettings;
use crate::host::Host;
use crate::runtime::{pm2, swarm};
use crate::store::StoreError;
use crate::store::paths::StateDir;

/// An environment file is small; a bigger one is not read for secrets.
const MAX_ENV_FILE: u64 = 1024 * 1024;

/// What was found in environment files, for whoever looks again and again while machines come to the list: none of them is
/// asked for a file a second time.
#[derive(Debug, Default)]
pub struct EnvFiles(BTreeMap<(HostName, PathBuf), KnownSecrets>);

impl EnvFiles {
    /// What a file holds; nothing where it cannot be read, and that is asked for again.
    async fn read(&mut self, host: &Host, path: PathBuf) -> KnownSecrets {
        let key = (host.name(), path);
        if let Some(known) = self.0.get(&key) {
            return known.clone();
        }
        let mut known = KnownSecrets::default();
        match host.read_file(&key.1, MAX_ENV_FILE).await {
            Ok(text) => known.harvest_env_file(&String::from_utf8_lossy(&text)),
            Err(error) if error.is_not_found() => {}
            Err(_) => return known,
        }
        self.0.insert(key, known.clone());
        known
    }
}

/// A redactor that knows the secrets in the environment files of these services.
///
/// # Errors
/// As [`redactor_from`].
pub async fn redactor(ctx: &Context, services: &[Service]) -> Result<Redactor, OpsError> {
    redactor_from(ctx, services, &mut EnvFiles::default()).await
}

/// The same with what was read before.
///
/// # Errors
/// The key of the tokens cannot be read. Where it cannot be kept (a full disk, a folder of someone else) it is made
/// for this run only: reading a log never needs a writable state folder. An environment file that cannot be read is passed over: what has
/// the shape of a secret is still found.
pub async fn redactor_from(
    ctx: &Context,
    services: &[Service],
    files: &mut EnvFiles,
) -> Result<Redactor, OpsError> {
    let mut known = KnownSecrets::default();
    for service in services {
        let Ok(host) = host_of(ctx, &service.id) else {
            continue;
        };
        known.harvest_env_file(&swarm_environment(host, service).await);
        for path in env_files(service, &ctx.config.service(&service.id)) {
            known.extend(&files.read(host, path).await);
        }
    }
    Ok(Redactor::new(&known, key(&ctx.state)?))
}

/// Like [`redactor`]; where its key cannot be used, one that knows shapes only: nothing keeps a machine from being brought
/// back.
pub(super) async fn redactor_or_shapes(ctx: &Context, services: &[Service]) -> Redactor {
    redactor(ctx, services).await.unwrap_or_else(|_| {
        // Not kept, so that nobody can compare its tokens with those of another run.
        let key =
            std::array::from_fn(|_| RandomState::new().build_hasher().finish().to_le_bytes()[0]);
        Redactor::new(&KnownSecrets::default(), RedactionKey(key))
    })
}

/// Like [`redactor`], and it also knows the secrets that these saved files hold, those of a checkpoint for one: what was a
/// password before the deploy is not to be shown after it either.
///
/// # Errors
/// As [`redactor`].
pub(super) async fn redactor_with(
    ctx: &Context,
    services: &[Service],
    saved: &[PathBuf],
) -> Result<Redactor, OpsError> {
    let mut known = KnownSecrets::default();
    let mut harvest = |text: &[u8]| known.harvest_config(&String::from_utf8_lossy(text));
    for path in saved {
        let is_small = fs::metadata(path).is_ok_and(|meta| meta.len() <= MAX_ENV_FILE);
        if let (true, Ok(text)) = (is_small, fs::read(path)) {
            harvest(&text);
        }
    }
    for service in services {
        let Ok(host) = host_of(ctx, &service.id) else {
            continue;
        };
        harvest(swarm_environment(host, service).await.as_bytes());
        for path in checkpoint::config_files(ctx, host, service)
            .await
            .into_keys()
        {
            if let Ok(text) = host.read_file(&path, MAX_ENV_FILE).await {
                harvest(&text);
            }
        }
    }
    Ok(Redactor::new(&known, key(&ctx.state)?))
}

/// The variables of a swarm's service, one a line; none of another, or where its manager does not tell.
async fn swarm_environment(host: &Host, service: &Service) -> String {
    let Some(name) = swarm::full_name(service) else {
        return String::new();
    };
    let found = swarm::inspect(host, name).await;
    found.map_or_else(
        |_| String::new(),
        |found| found.spec.environment().join("\n"),
    )
}

/// The environment files of a service: `.env` of its folder and the configured ones, absolute.
pub(crate) fn env_files(service: &Service, settings: &ServiceSettings) -> Vec<PathBuf> {
    let base = base_folder(service);
    let base = base.as_deref();
    let mut files: Vec<PathBuf> = base.map(|dir| dir.join(".env")).into_iter().collect();
    files.extend(settings.env_files.iter().map(|path| in_folder(base, path)));
    files.dedup();
    files
}

/// The folder that a service is described in: of its Compose project, or the one that PM2 runs it in.
pub(crate) fn base_folder(service: &Service) -> Option<PathBuf> {
    match &service.compose {
        Some(origin) => Some(origin.working_dir.clone()),
        None => pm2::app(service)?.cwd,
    }
}

/// A configured path: relative ones stand in the service's folder, or where lastgood was started.
pub(crate) fn in_folder(base: Option<&Path>, path: &Path) -> PathBuf {
    match base {
        Some(base) => base.join(path),
        None => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    }
}

/// The key of this state folder, made at first use.
fn key(state: &StateDir) -> Result<RedactionKey, StoreError> {
    let path = state.redaction_key();
    match fs::read(&path) {
        Ok(bytes) => {
            let length = bytes.len();
            bytes.try_into().map(RedactionKey).map_err(|_| {
                let cause = format!("{length} bytes where 32 should be; remove it");
                StoreError::at("use", &path)(io::Error::new(io::ErrorKind::InvalidData, cause))
            })
        }
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            let mut key = [0; 32];
            let source = Path::new("/dev/urandom");
            File::open(source)
                .and_then(|mut file| file.read_exact(&mut key))
                .map_err(StoreError::at("read", source))?;
            // Not kept: the tokens of the next run will be others, and that is all.
            let _ = state.write_atomic(&path, &key);
            Ok(RedactionKey(key))
        }
        Err(error) => Err(StoreError::at("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_state_folder_has_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"));
        let first = key(&state).unwrap();
        assert_eq!(key(&state).unwrap(), first);
        let other = StateDir::at(dir.path().join("other"));
        assert_ne!(key(&other).unwrap(), first);
        // Its parent is a file: nothing can be kept there, and a log can be read all the same.
        let unwritable = StateDir::at(state.redaction_key().join("state"));
        assert_ne!(key(&unwritable).unwrap(), first);
        fs::write(state.redaction_key(), b"short").unwrap();
        assert!(key(&state).is_err());
    }
}
