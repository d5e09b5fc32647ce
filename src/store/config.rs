//! The configuration: what was found in the files, the environment and the flags.
//!
//! Files are layered: `/etc/lastgood/config.toml`, then the user's, then `./lastgood.toml`; a later one wins key
//! by key. Each is read on its own first, so that an error names the file, the line and the key. What this
//! version does not act on yet is known all the same, kept in [`Config::raw`], and checked for typing errors.

mod alerts;
mod backups;
mod error;
mod load;
mod probe;
mod raw;
mod signals;
mod switch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::analysis::rules::Rule;
use crate::domain::backup::BackupSettings;
use crate::domain::own_signal::{OwnSignal, PrometheusSettings};
use crate::domain::policy::PolicyRule;
use crate::domain::runbook::Language;
use crate::domain::runbook::variables::Variables;
use crate::domain::service::ServiceId;
use crate::domain::settings::{ServiceSettings, SwitchSettings};
use crate::domain::sink::{Route, SecretSource, Sink};

pub use error::ConfigError;
pub use load::{Places, load};

/// The commented default, as `assets/config.toml` ships it.
pub const DEFAULT_TEXT: &str = include_str!("../../assets/config.toml");

/// Checkpoints that `prune` keeps where nothing is said.
const KEEP_LAST: usize = 20;
/// How often signals are measured where nothing is said.
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// Memory for the lines of logs where nothing is said, in MiB.
const MEMORY_MIB: usize = 64;

/// The configuration in force. Nothing in it is needed: what is found is used.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Hosts by name: what ssh accepts as a destination.
    pub hosts: BTreeMap<String, HostConfig>,
    /// The configuration of the ssh client, where it is not `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// Whether what comes over ssh is compressed: by default.
    pub ssh_compression: bool,
    /// Settings by service id text (`shop/backend`).
    pub services: BTreeMap<String, ServiceSettings>,
    /// Whether mouse events are asked for.
    pub mouse: bool,
    /// `auto`, or the name of a keyboard layout whose letters are mapped to Latin ones.
    pub layout_map: String,
    /// How logs are kept and drawn by the console.
    pub logs: LogsConfig,
    /// The user's keymap, layered on the default one.
    pub keymap: Option<PathBuf>,
    /// Checkpoints to keep when pruning.
    pub keep_last: usize,
    /// Whether a checkpoint keeps a copy of each image besides pinning it.
    pub save_images: bool,
    /// The command that encrypts what it reads, through which an export goes; run by `sh -c`.
    pub encrypt: Option<String>,
    /// What preflight looks for.
    pub preflight: PreflightConfig,
    /// The language of the shipped runbooks.
    pub runbook_language: Language,
    /// Values for the variables of runbooks.
    pub runbook_variables: Variables,
    /// Applications that run twice behind a proxy, by name.
    pub switches: BTreeMap<String, SwitchSettings>,
    /// The user's own signals, by name.
    pub signals: Vec<OwnSignal>,
    /// The Prometheus server.
    pub prometheus: PrometheusSettings,
    /// Data backups, by name.
    pub backups: BTreeMap<String, BackupSettings>,
    /// The user's own alert rules.
    pub rules: Vec<Rule>,
    /// Where people can be told, by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Who is told of what; empty where there is no sink.
    pub routes: Vec<Route>,
    /// An address that is asked for after each look: who stops asking is dead.
    pub heartbeat: Option<SecretSource>,
    /// How often the watch, the console and the wall measure, at least a second. What was measured is stale after twice that.
    pub measure_every: Duration,
    /// The files it was read from, in the order in which they win.
    pub sources: Vec<PathBuf>,
    /// Everything that was said, merged: sections of later features are read from here.
    pub raw: toml::Table,
}

impl Config {
    /// The rules of the policy; `None` where there is none, and everybody may do what their user can do.
    pub fn policy(&self) -> Option<Vec<PolicyRule>> {
        let section = self.raw.get("policy")?.clone();
        let rules = section.get("rules").cloned();
        // Its shape was checked when it was read; what does not fit all the same allows nothing.
        Some(
            rules
                .and_then(|rules| rules.try_into().ok())
                .unwrap_or_default(),
        )
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            ssh_config: None,
            ssh_compression: true,
            services: BTreeMap::new(),
            mouse: false,
            layout_map: "auto".to_owned(),
            logs: LogsConfig::default(),
            keymap: None,
            keep_last: KEEP_LAST,
            save_images: false,
            encrypt: None,
            preflight: PreflightConfig::default(),
            runbook_language: Language::default(),
            runbook_variables: Variables::new(),
            switches: BTreeMap::new(),
            backups: BTreeMap::new(),
            signals: Vec::new(),
            prometheus: signals::default_server(),
            rules: Vec::new(),
            sinks: BTreeMap::new(),
            routes: Vec::new(),
            heartbeat: None,
            measure_every: MEASURE_EVERY,
            sources: Vec::new(),
            raw: toml::Table::new(),
        }
    }
}

/// What preflight looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreflightConfig {
    /// Patterns of names that must not lie in a service's folder; `None` for the usual ones.
    pub artifacts: Option<Vec<String>>,
    /// Checks that are not made.
    pub skip: Vec<String>,
}

/// How logs are kept and drawn by the console.
#[derive(Debug, Clone, PartialEq)]
pub struct LogsConfig {
    /// Bytes of lines that are kept in memory, over all sources.
    pub memory_bytes: usize,
    /// The fields that are shown of structured lines beside their message; all where empty.
    pub fields: Vec<String>,
    /// What is drawn in a way of its own.
    pub highlights: Vec<Highlight>,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY_MIB * 1024 * 1024,
            fields: Vec::new(),
            highlights: Vec::new(),
        }
    }
}

/// A pattern that is drawn in a way of its own wherever it stands in a log.
#[derive(Debug, Clone)]
pub struct Highlight {
    /// The pattern.
    pub pattern: regex::bytes::Regex,
    /// How it is drawn.
    pub style: HighlightStyle,
}

impl PartialEq for Highlight {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.style == other.style
    }
}

/// How a highlight is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HighlightStyle {
    /// As what can be acted on.
    #[default]
    Accent,
    /// As over a warning limit.
    Warning,
    /// As over a critical limit.
    Critical,
    /// As under every limit.
    Ok,
    /// As less important.
    Dim,
}

/// A configured host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Anything ssh accepts as a destination.
    pub ssh: String,
    /// Nothing may be changed there.
    pub read_only: bool,
    /// Confirmations are graded as in production.
    pub protected: bool,
    /// Put before every command there, as words: `sudo -n`. Empty where the user that signs in has the rights.
    pub become_with: Vec<String>,
}

impl Config {
    /// The settings of a service; the defaults where nothing is said. A full id wins over a name with parts left
    /// out (`backend`), and of several such the first.
    pub fn service(&self, id: &ServiceId) -> ServiceSettings {
        self.services
            .get(&id.to_string())
            .or_else(|| {
                self.services
                    .iter()
                    .find(|(name, _)| id.matches(name))
                    .map(|(_, settings)| settings)
            })
            .cloned()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
