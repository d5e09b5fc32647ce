//! The machines below the services: disks, and the backups in the state folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::analysis::preflight::{BackupFacts, DiskUse, Looked, read_df};
use crate::domain::backup::Listed;
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::host::{Command, Host};
use crate::ops::Context;
use crate::ops::secrets::base_folder;
use crate::store::config::Config;
use crate::store::paths::StateDir;
use crate::store::{StoreError, backup};

/// Where the engine keeps images, containers and their logs unless it was told otherwise.
const DOCKER_ROOT: &str = "/var/lib/docker";
/// A network file system that is away hangs whoever asks for its room.
const DF_LIMIT: Duration = Duration::from_secs(5);

/// The disks that hold the services' folders, the engine's files and the state folder.
///
/// # Errors
/// One of the machines did not say.
pub(super) async fn disks(ctx: &Context, services: &[Service]) -> Looked<Vec<DiskUse>> {
    let mut paths: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for service in services {
        let of_host = paths.entry(service.id.host.to_string()).or_default();
        of_host.extend(base_folder(service));
        of_host.push(PathBuf::from(DOCKER_ROOT));
    }
    let local = paths.entry("local".to_owned()).or_default();
    local.push(existing(&ctx.state.root));
    let mut disks = Vec::new();
    for host in &ctx.hosts {
        let name = host.name();
        let Some(of_host) = paths.get(name.as_str()) else {
            continue;
        };
        let found = of_paths(host, of_host).await?;
        let label = |disk: DiskUse| match name.is_local() {
            true => disk,
            false => DiskUse {
                mount: format!("{name}:{}", disk.mount),
                ..disk
            },
        };
        disks.extend(found.into_iter().map(label));
    }
    Ok(disks)
}

/// How full the file systems of these paths are; paths that are not there are left out. A folder that this user may not
/// look into stands for what lies in it.
///
/// # Errors
/// One of them cannot be looked at: its file system may be the full one.
pub(super) async fn of_paths(host: &Host, paths: &[PathBuf]) -> Looked<Vec<DiskUse>> {
    let mut present: Vec<String> = Vec::new();
    for path in paths {
        let mut path = path.as_path();
        let is_there = loop {
            match (host.stat(path).await, path.parent()) {
                (Ok(stat), _) => break stat.is_some(),
                (Err(error), Some(parent)) if error.is_denied() => path = parent,
                (Err(error), _) => return Err(SafeText::from_error(&error)),
            }
        };
        let text = path.to_string_lossy().into_owned();
        if is_there && !present.contains(&text) {
            present.push(text);
        }
    }
    if present.is_empty() {
        present.push("/".to_owned());
    }
    let (kilobytes, inodes) = (
        df(host, "-k", &present).await?,
        df(host, "-i", &present).await?,
    );
    let disks = read_df(&kilobytes, &inodes);
    match disks.is_empty() {
        true => Err(SafeText::from_text("df printed no file system")),
        false => Ok(disks),
    }
}

/// What `df` prints of these paths.
///
/// # Errors
/// It could not be run, or not say.
async fn df(host: &Host, option: &str, paths: &[String]) -> Looked<String> {
    let argv = ["df", "-P", option, "--"].map(str::to_owned).into_iter();
    let command = Command::new(argv.chain(paths.iter().cloned()), DF_LIMIT).with_env("LC_ALL", "C");
    let output = host.query(&command).await;
    let output = output.map_err(|error| SafeText::from_error(&error))?;
    match output.is_success() {
        true => Ok(output.stdout_text().into_owned()),
        false => Err(SafeText::from_text(&format!("df: {}", output.describe()))),
    }
}

/// The folder itself, or the nearest one above it that is there.
pub(super) fn existing(path: &Path) -> PathBuf {
    let mut at = path;
    while !at.is_dir() {
        match at.parent() {
            Some(parent) => at = parent,
            None => return PathBuf::from("/"),
        }
    }
    at.to_owned()
}

/// The configured backups: how old the newest of each is, and whether one was restored to prove it.
pub(super) fn backups(ctx: &Context) -> Vec<BackupFacts> {
    let configured = ctx.config.backups.iter();
    configured
        .map(|(name, settings)| facts(name, settings.rpo, &ctx.state, backup::list))
        .collect()
}

/// The same by the sizes of the files alone, without reading any: for whoever looks every few seconds.
pub(in crate::ops) fn backups_by_size(config: &Config, state: &StateDir) -> Vec<BackupFacts> {
    let configured = config.backups.iter();
    configured
        .map(|(name, settings)| facts(name, settings.rpo, state, backup::list_by_size))
        .collect()
}

fn facts(
    name: &str,
    rpo: Option<Duration>,
    state: &StateDir,
    list: fn(&StateDir, &str) -> Result<Vec<Listed>, StoreError>,
) -> BackupFacts {
    let mut facts = BackupFacts {
        name: name.to_owned(),
        rpo_s: rpo.map(|rpo| rpo.as_secs()),
        age_s: Ok(None),
        damage: None,
        restore_test: None,
        is_provable: false,
        copy_failed: None,
    };
    let all = match list(state, name) {
        Ok(all) => all,
        Err(error) => {
            facts.age_s = Err(SafeText::from_error(&error));
            return facts;
        }
    };
    let good = |one: &&Listed| one.is_ok() && one.backup.as_ref().is_ok_and(|b| !b.before_restore);
    let newest = all
        .iter()
        .find(good)
        .and_then(|one| one.backup.as_ref().ok());
    facts.age_s = match newest {
        Some(backup) => Ok(Some(age_s(backup.created_at))),
        // What other tools put there counts by its time.
        None => newest_foreign(&backup::folder(state, name), &all),
    };
    facts.is_provable = !all.is_empty();
    facts.damage = all.first().and_then(|one| one.problem.clone());
    let copy = newest.and_then(|backup| backup.copy.clone());
    facts.copy_failed = copy.filter(|copy| copy.as_str().starts_with("failed"));
    let tests = all.iter().filter_map(|one| {
        let test = one.backup.as_ref().ok()?.restore_test.clone()?;
        Some((age_s(test.at), test.ok, test.detail))
    });
    facts.restore_test = tests.min_by_key(|(age, ..)| *age);
    facts
}

fn age_s(at: Timestamp) -> u64 {
    u64::try_from(Timestamp::now().duration_since(at).as_secs()).unwrap_or(0)
}

/// The age of the newest file that belongs to none of these, in seconds. One that is still being written is none yet.
fn newest_foreign(folder: &Path, all: &[Listed]) -> Looked<Option<u64>> {
    let unread = |error: std::io::Error| {
        SafeText::from_text(&format!("cannot read {}: {error}", folder.display()))
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unread(error)),
    };
    let mut newest: Option<SystemTime> = None;
    for entry in entries {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_own = |one: &Listed| name.starts_with(&format!("{}.", one.id));
        if name.starts_with('.') || all.iter().any(is_own) {
            continue;
        }
        let meta = entry.metadata().map_err(unread)?;
        let modified = meta.modified().map_err(unread)?;
        newest = Some(newest.map_or(modified, |known| known.max(modified)));
    }
    Ok(newest.map(|at| at.elapsed().map_or(0, |age| age.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_file_counts_and_one_under_way_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let newest = |folder: &Path| newest_foreign(folder, &[]);
        assert_eq!(newest(&dir.path().join("none")), Ok(None));
        assert_eq!(newest(dir.path()), Ok(None));
        std::fs::write(dir.path().join(".partial"), "x").unwrap();
        assert_eq!(newest(dir.path()), Ok(None));
        std::fs::write(dir.path().join("20251227-020000.dump"), "x").unwrap();
        assert!(newest(dir.path()).unwrap().unwrap() < 60);
    }

    #[tokio::test]
    async fn this_machine_says_how_full_it_is() {
        let disks = of_paths(
            &Host::Local,
            &[PathBuf::from("/"), PathBuf::from("/no/such")],
        )
        .await;
        let disks = disks.unwrap();
        assert!(disks.iter().any(|disk| disk.bytes.0 > 0), "{disks:?}");
        assert!(existing(Path::new("/no/such/folder")) == Path::new("/"));
    }

    #[tokio::test]
    async fn a_file_system_that_cannot_be_looked_at_is_not_one_with_room() {
        let dir = tempfile::tempdir().unwrap();
        let around = dir.path().join("around");
        std::os::unix::fs::symlink(&around, &around).unwrap();
        let looked = of_paths(&Host::Local, &["/".into(), around.join("data")]).await;
        let error = looked.unwrap_err();
        assert!(error.as_str().contains("around/data"), "{error}");
    }
}
