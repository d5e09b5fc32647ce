//! Finds the configuration files, refuses those that others could have written, and layers them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::alerts;
use super::error::ConfigError;
use super::raw::{RawConfig, RawLogs};
use super::signals;
use super::{Config, Highlight, HostConfig, LogsConfig, PreflightConfig};
use crate::domain::backup::BackupSettings;
use crate::domain::settings::{ServiceSettings, SwitchSettings};
use crate::store::paths;

/// Where the configuration may stand, the weakest first.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Files that are read where they exist.
    pub files: Vec<PathBuf>,
    /// A file that must exist (`--config`); then the others are not read.
    pub given: Option<PathBuf>,
    /// `LASTGOOD_*` variables.
    pub variables: Vec<(String, String)>,
}

impl Places {
    /// The usual places of this user and this folder.
    pub fn usual(given: Option<&Path>) -> Self {
        let mut files = vec![PathBuf::from("/etc/lastgood/config.toml")];
        files.extend(paths::config_dir().map(|dir| dir.join("config.toml")));
        files.push(PathBuf::from("lastgood.toml"));
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("LASTGOOD_"))
            .collect();
        Self {
            files,
            given: given.map(Path::to_owned),
            variables,
        }
    }
}

/// The variables that stand for a key: the only sections with single values.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("LASTGOOD_INPUT_MOUSE", "input", "mouse"),
    ("LASTGOOD_INPUT_LAYOUT_MAP", "input", "layout_map"),
    ("LASTGOOD_INPUT_KEYMAP", "input", "keymap"),
    ("LASTGOOD_SSH_CONFIG", "ssh", "config"),
    ("LASTGOOD_LOGS_MEMORY_MIB", "logs", "memory_mib"),
    ("LASTGOOD_CHECKPOINT_KEEP_LAST", "checkpoint", "keep_last"),
    (
        "LASTGOOD_CHECKPOINT_SAVE_IMAGES",
        "checkpoint",
        "save_images",
    ),
    ("LASTGOOD_CHECKPOINT_ENCRYPT", "checkpoint", "encrypt"),
    ("LASTGOOD_RUNBOOKS_LANGUAGE", "runbooks", "language"),
];

/// Reads and layers the files and the variables.
///
/// # Errors
/// A file that is broken, unreadable, or writable by others; an unknown key; a value of the wrong kind.
pub fn load(places: &Places) -> Result<Config, ConfigError> {
    let mut merged = toml::Table::new();
    let mut sources = Vec::new();
    let candidates = match &places.given {
        Some(given) => std::slice::from_ref(given),
        None => places.files.as_slice(),
    };
    for path in candidates {
        let Some(text) = read_trusted(path, places.given.is_some())? else {
            continue;
        };
        // Once for its errors, with their places; once for the values.
        if let Err(error) = RawConfig::deserialize(
            toml::Deserializer::parse(&text)
                .map_err(|error| ConfigError::of_toml(path, &text, &error))?,
        ) {
            return Err(ConfigError::of_toml(path, &text, &error));
        }
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| ConfigError::of_toml(path, &text, &error))?;
        merge(&mut merged, table);
        sources.push(path.clone());
    }
    for (name, value) in &places.variables {
        if let Some((_, section, key)) = VARIABLES.iter().find(|(known, _, _)| known == name) {
            merge(&mut merged, from_variable(name, section, key, value)?);
        }
    }
    let raw = RawConfig::deserialize(merged.clone()).map_err(|error| {
        ConfigError::about(
            Path::new("the layered configuration"),
            error.message().trim_end(),
        )
    })?;
    alerts::check(&raw)?;
    signals::check(&raw)?;
    Ok(assemble(raw, sources, merged))
}

fn from_variable(
    name: &str,
    section: &str,
    key: &str,
    value: &str,
) -> Result<toml::Table, ConfigError> {
    let text = match key {
        "mouse" | "save_images" | "keep_last" => format!("[{section}]\n{key} = {value}\n"),
        _ => format!("[{section}]\n{key} = {}\n", toml::Value::from(value)),
    };
    let refuse = || {
        ConfigError::about(
            Path::new(name),
            format!("{value:?} is not a value for {section}.{key}"),
        )
    };
    toml::from_str::<RawConfig>(&text).map_err(|_| refuse())?;
    toml::from_str(&text).map_err(|_| refuse())
}

/// Later values win key by key; lists are replaced whole.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The file's text; `None` where there is no such file and none was asked for by name.
///
/// Commands stand in the configuration, so whoever can write it can run them as this user: the file must belong
/// to the user or root and be writable by nobody else. The open file is checked, not the path.
fn read_trusted(path: &Path, must_exist: bool) -> Result<Option<String>, ConfigError> {
    let fail = |error: io::Error| ConfigError::about(path, format!("cannot read it: {error}"));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if !must_exist && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if !must_exist && error.kind() == io::ErrorKind::NotADirectory => {
            return Ok(None);
        }
        Err(error) => return Err(fail(error)),
    };
    let meta = file.metadata().map_err(fail)?;
    if !meta.is_file() {
        return Err(ConfigError::about(path, "not a file"));
    }
    let us = rustix::process::geteuid().as_raw();
    if meta.uid() != us && meta.uid() != 0 {
        return Err(ConfigError::about(
            path,
            format!(
                "it belongs to user {}, who could make lastgood run commands as you; chown it to yourself or root",
                meta.uid()
            ),
        ));
    }
    let our_group = rustix::process::getegid().as_raw();
    let is_open = meta.mode() & 0o002 != 0 || (meta.mode() & 0o020 != 0 && meta.gid() != our_group);
    if is_open {
        return Err(ConfigError::about(
            path,
            format!(
                "others can write it (mode {:04o}) and could make lastgood run commands as you; chmod go-w it",
                meta.mode() & 0o7777
            ),
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(fail)?;
    Ok(Some(text))
}

fn assemble(raw: RawConfig, sources: Vec<PathBuf>, table: toml::Table) -> Config {
    let defaults = Config::default();
    let hosts = raw
        .hosts
        .into_iter()
        .map(|(name, host)| {
            let host = HostConfig {
                ssh: host
                    .ssh
                    .map_or_else(|| name.to_string(), |ssh| ssh.to_string()),
                read_only: host.read_only.unwrap_or(false),
                protected: host.protected.unwrap_or(false),
                become_with: host.become_with.map_or_else(Vec::new, |rights| rights.0),
            };
            (name.to_string(), host)
        })
        .collect();
    let services = raw
        .services
        .into_iter()
        .map(|(id, service)| (id.to_string(), ServiceSettings::from(service)))
        .collect();
    let own_signals = signals::own(raw.signals);
    let mut rules: Vec<_> = raw.rules.into_iter().map(|rule| rule.0).collect();
    signals::fit_rules(&mut rules, &own_signals);
    Config {
        hosts,
        ssh_config: raw.ssh.config,
        ssh_compression: raw.ssh.compression.unwrap_or(defaults.ssh_compression),
        services,
        mouse: raw.input.mouse.unwrap_or(defaults.mouse),
        layout_map: raw.input.layout_map.unwrap_or(defaults.layout_map),
        logs: logs(raw.logs),
        keymap: raw.input.keymap,
        keep_last: raw.checkpoint.keep_last.unwrap_or(defaults.keep_last),
        save_images: raw.checkpoint.save_images.unwrap_or(defaults.save_images),
        encrypt: raw
            .checkpoint
            .encrypt
            .filter(|command| !command.trim().is_empty()),
        preflight: PreflightConfig {
            artifacts: raw
                .preflight
                .artifacts
                .map(|patterns| patterns.into_iter().map(|pattern| pattern.0).collect()),
            skip: raw
                .preflight
                .skip
                .iter()
                .map(|name| name.0.to_owned())
                .collect(),
        },
        runbook_language: raw.runbooks.language.unwrap_or(defaults.runbook_language),
        runbook_variables: raw
            .runbooks
            .variables
            .into_iter()
            .map(|(name, value)| (name.0, value.0))
            .collect(),
        switches: raw
            .switch
            .into_iter()
            .map(|(name, switch)| (name, SwitchSettings::from(switch)))
            .collect(),
        backups: raw
            .backups
            .into_iter()
            .map(|(name, backup)| (name.to_string(), BackupSettings::from(backup)))
            .collect(),
        signals: own_signals,
        prometheus: raw.prometheus.into(),
        rules,
        routes: alerts::routes(&raw.routes, &raw.sinks),
        sinks: alerts::sinks(raw.sinks),
        measure_every: raw.watch.interval().unwrap_or(defaults.measure_every),
        heartbeat: raw.watch.heartbeat(),
        sources,
        raw: table,
    }
}

fn logs(raw: RawLogs) -> LogsConfig {
    let defaults = LogsConfig::default();
    LogsConfig {
        memory_bytes: raw
            .memory_mib
            .map_or(defaults.memory_bytes, |size| size.0 as usize * 1024 * 1024),
        fields: raw.fields,
        highlights: raw
            .highlights
            .into_iter()
            .filter_map(|highlight| {
                // It was compiled when it was read, for text; bytes take the same expressions.
                let pattern = regex::bytes::Regex::new(&highlight.pattern.0).ok()?;
                Some(Highlight {
                    pattern,
                    style: highlight.style,
                })
            })
            .collect(),
    }
}
