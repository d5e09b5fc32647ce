//! Log files that are named on the command line, and logs saved in a checkpoint: each becomes a service of the group
//! `file`, as if it stood in the configuration.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::input::{self, Input};
use super::services::resolve;
use super::{Context, ErrorKind, OpsError};
use crate::domain::checkpoint::SavedService;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId};
use crate::domain::settings::ServiceSettings;
use crate::host::tail;
use crate::runtime::file::GROUP;

/// The arguments, with `checkpoint:ID` and `checkpoint:ID/service` as the paths of the logs that were saved there.
///
/// # Errors
/// No such checkpoint, or nothing was saved of that service; [`ErrorKind::Usage`].
pub(super) fn expand(ctx: &Context, arguments: &[String]) -> Result<Vec<String>, OpsError> {
    let mut expanded = Vec::new();
    for argument in arguments {
        if argument.starts_with("checkpoint:") {
            expanded.extend(saved_logs(ctx, argument)?);
        } else {
            expanded.push(argument.clone());
        }
    }
    Ok(expanded)
}

fn saved_logs(ctx: &Context, argument: &str) -> Result<Vec<String>, OpsError> {
    let wrong = |what: String| OpsError::new(ErrorKind::Usage, what);
    let Input::Checkpoint { id, service } = Input::parse(argument)? else {
        return Err(wrong(format!("{argument} is no checkpoint")));
    };
    let checkpoint = input::open_checkpoint(ctx, &id)?;
    let services: Vec<&SavedService> = match &service {
        None => checkpoint.manifest.services.iter().collect(),
        Some(name) => checkpoint.manifest.service(name).into_iter().collect(),
    };
    let logs = services.iter().filter_map(|s| s.log.as_ref());
    let paths: Vec<String> = logs
        .map(|log| checkpoint.path.join(&log.file).display().to_string())
        .collect();
    match (paths.is_empty(), service) {
        (false, _) => Ok(paths),
        (true, Some(service)) => Err(wrong(format!("{argument}: no log of {service} was saved"))
            .fix(format!("lastgood checkpoint show {id}"))),
        (true, None) => Err(wrong(format!("{argument}: no log was saved"))
            .fix(format!("lastgood checkpoint show {id}"))),
    }
}

/// Makes services of the arguments that mean files: paths that are there, patterns that match something, and `-`.
/// The others are left for the services' own names. Gives the service of each argument that is one.
pub(super) fn open(
    arguments: &[String],
    services: &mut BTreeMap<String, ServiceSettings>,
) -> BTreeMap<String, ServiceId> {
    // Two ways to write one path are one file.
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut keys: Vec<(&String, PathBuf)> = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if find(argument).is_ok() {
            let key = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            files.entry(key.clone()).or_insert_with(|| path.to_owned());
            keys.push((argument, key));
        }
    }
    let mut ids: BTreeMap<&Path, ServiceId> = BTreeMap::new();
    for (key, path) in &files {
        let id = name(key, path, &files, services);
        let settings = ServiceSettings {
            log_files: vec![path.clone()],
            ..ServiceSettings::default()
        };
        services.insert(id.to_string(), settings);
        ids.insert(key, id);
    }
    keys.iter()
        .filter_map(|(argument, key)| Some(((*argument).clone(), ids.get(key.as_path())?.clone())))
        .collect()
}

/// Whether an argument means a file that is there.
fn find(argument: &str) -> Result<(), OpsError> {
    let path = Path::new(argument);
    if argument == tail::STDIN {
        return Ok(());
    }
    let wrong = |what: String| OpsError::new(ErrorKind::Usage, what);
    if tail::is_pattern(path) {
        return match tail::matching(path) {
            Ok(found) if found.is_empty() => Err(wrong(format!("no file matches {argument}"))),
            Ok(_) => Ok(()),
            Err(error) => Err(wrong(format!("{argument} cannot be looked for")).because(error)),
        };
    }
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Err(wrong(format!("{argument} is a folder, not a log")).fix(
            format!("its files: '{}/*.log'", argument.trim_end_matches('/')),
        )),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(wrong(format!("no such file: {argument}")))
        }
        Err(error) => Err(
            OpsError::new(ErrorKind::Failed, format!("cannot look at {argument}")).because(error),
        ),
    }
}

/// Whether no service can have this name: `-`, a pattern, a path that begins at a folder.
pub(super) fn is_path_only(argument: &str) -> bool {
    argument == tail::STDIN
        || ["/", "./", "../"].iter().any(|s| argument.starts_with(s))
        || argument.contains(['*', '?', '['])
}

/// The file's name, with as many of the folders above it as set it apart from the other files and from services of
/// the configuration.
fn name(
    key: &Path,
    path: &Path,
    files: &BTreeMap<PathBuf, PathBuf>,
    taken: &BTreeMap<String, ServiceSettings>,
) -> ServiceId {
    if path == Path::new(tail::STDIN) {
        return ServiceId::local(GROUP, "stdin");
    }
    let own = parts(key);
    let mut name = String::new();
    for count in 1..=own.len() {
        let end = &own[own.len() - count..];
        name = end.join("/");
        let is_shared = files
            .keys()
            .any(|other| other != key && parts(other).ends_with(end));
        let id = ServiceId::local(GROUP, name.clone());
        if !is_shared && !taken.contains_key(&id.to_string()) {
            return id;
        }
    }
    let free = (2..)
        .map(|n| ServiceId::local(GROUP, format!("{name}-{n}")))
        .find(|id| !taken.contains_key(&id.to_string()));
    free.unwrap_or_else(|| ServiceId::local(GROUP, name))
}

/// The names along a path, without what a service's name cannot hold.
fn parts(path: &Path) -> Vec<String> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(
                name.to_string_lossy()
                    .replace(|c: char| c == ':' || c.is_control(), "_"),
            ),
            _ => None,
        })
        .collect()
}

/// The services that the arguments mean, in that order. A service's name wins over a path that is written the same.
///
/// # Errors
/// Neither a service nor a file ([`ErrorKind::Usage`], with the candidates), an ambiguous name, or nobody could look.
pub fn choose(
    ctx: &Context,
    inventory: &Inventory,
    arguments: &[String],
) -> Result<Vec<Service>, OpsError> {
    let opened = |service: &&Service| ctx.opened.values().any(|id| *id == service.id);
    let named = Inventory {
        services: inventory
            .services
            .iter()
            .filter(|service| !opened(service))
            .cloned()
            .collect(),
        unreachable: inventory.unreachable.clone(),
    };
    let mut chosen: Vec<Service> = Vec::new();
    for argument in &expand(ctx, arguments)? {
        let service = match resolve(&named, argument) {
            _ if is_path_only(argument) => of_file(ctx, inventory, argument)?,
            Ok(service) => service.clone(),
            Err(_) if ctx.opened.contains_key(argument) && !named.is_ambiguous(argument) => {
                of_file(ctx, inventory, argument)?
            }
            Err(error) if error.fix.is_none() => {
                return Err(error.fix(format!(
                    "there is no file {argument} either; a file is named by its path: ./app.log"
                )));
            }
            Err(error) => return Err(error),
        };
        if !chosen.iter().any(|s| s.id == service.id) {
            chosen.push(service);
        }
    }
    Ok(chosen)
}

fn of_file(ctx: &Context, inventory: &Inventory, argument: &str) -> Result<Service, OpsError> {
    let id = ctx.file(argument)?;
    inventory.find(id).cloned().ok_or_else(|| {
        OpsError::new(
            ErrorKind::Failed,
            format!("{argument} was not found among the services"),
        )
    })
}

impl Context {
    /// Looks at log files and at nothing else of the machine.
    #[must_use]
    pub fn only_files(self) -> Self {
        self.only(Runtime::File)
    }

    /// The services that the files on the command line became.
    ///
    /// # Errors
    /// There is no such file or checkpoint, it is a folder, or nothing matches; [`ErrorKind::Usage`].
    pub fn files(&self, arguments: &[String]) -> Result<Vec<ServiceId>, OpsError> {
        let paths = expand(self, arguments)?;
        paths.iter().map(|path| self.file(path).cloned()).collect()
    }

    fn file(&self, argument: &str) -> Result<&ServiceId, OpsError> {
        match self.opened.get(argument) {
            Some(id) => Ok(id),
            None => Err(find(argument).err().unwrap_or_else(|| {
                OpsError::new(ErrorKind::Usage, format!("{argument} was not opened"))
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_short_as_they_can_be_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for folder in ["a", "b", "a/logs", "b/logs"] {
            std::fs::create_dir(path(folder)).unwrap();
        }
        for file in ["a/logs/app.log", "b/logs/app.log", "x:y.log", "nginx"] {
            std::fs::write(path(file), "").unwrap();
        }
        let arguments = [
            path("a/logs/app.log"),
            path("a/logs/../../b/logs/app.log"),
            path("a/./logs/app.log"),
            path("x:y.log"),
            path("nginx"),
            path("*.log"),
            "-".to_owned(),
            path("gone.log"),
            path("*.none"),
            path("a"),
        ];
        let mut services = BTreeMap::from([("file/nginx".to_owned(), ServiceSettings::default())]);
        let opened = open(&arguments, &mut services);
        let names: Vec<Option<&str>> = arguments
            .iter()
            .map(|argument| opened.get(argument).map(|id| id.name.as_str()))
            .collect();
        let folder = dir.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(
            names,
            [
                Some("a/logs/app.log"),
                Some("b/logs/app.log"),
                Some("a/logs/app.log"),
                Some("x_y.log"),
                Some(format!("{folder}/nginx").as_str()),
                Some("*.log"),
                Some("stdin"),
                None,
                None,
                None
            ]
        );
        for id in opened.values() {
            assert_eq!(ServiceId::parse(&id.to_string()).as_ref(), Some(id));
            assert!(services.contains_key(&id.to_string()));
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let said = |argument: &str| find(argument).unwrap_err().to_string();
        assert_eq!(said("./no/such.log"), "no such file: ./no/such.log");
        assert_eq!(said("./no/*.log"), "no file matches ./no/*.log");
        assert!(said("/").contains("folder"));
        assert!(is_path_only("-") && is_path_only("./a") && is_path_only("a/*.log"));
        assert!(!is_path_only("app.log") && !is_path_only("shop/api"));
    }
}
