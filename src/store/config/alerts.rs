//! `[[rules]]`, `[sinks.*]`, `[[routes]]` and `[watch]`: what pages whom, and how.
//!
//! A route may name a sink that only another machine's configuration has; whoever pages by it checks that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::error::ConfigError;
use super::raw::{IntervalText, RawConfig, SpanText};
use crate::analysis::rules::Rule;
use crate::domain::alert::AlertSeverity;
use crate::domain::sink::{MailTls, Route, SecretSource, Sink, SinkKind};

const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
const TELEGRAM: &str = "https://api.telegram.org";
/// No answer of a sink by then is a failure.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Messages a minute and sink.
const PER_MINUTE: u32 = 30;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    when: String,
    r#for: Option<SpanText>,
    severity: Option<AlertSeverity>,
}

/// A rule that could be read.
#[derive(Debug)]
pub(super) struct RuleEntry(pub(super) Rule);

impl<'de> Deserialize<'de> for RuleEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawRule::deserialize(deserializer)?;
        let hold = raw.r#for.map_or(Duration::ZERO, |span| span.0);
        Rule::parse(&raw.when, hold, raw.severity.unwrap_or(AlertSeverity::P1))
            .map(Self)
            .map_err(de::Error::custom)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawWatch {
    interval: Option<IntervalText>,
    heartbeat: Option<String>,
    heartbeat_env: Option<String>,
    heartbeat_file: Option<PathBuf>,
}

impl RawWatch {
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval.as_ref().map(|interval| interval.0)
    }

    pub(super) fn heartbeat(self) -> Option<SecretSource> {
        source([
            self.heartbeat.map(SecretSource::Inline),
            self.heartbeat_env.map(SecretSource::Env),
            self.heartbeat_file.map(SecretSource::File),
            None,
        ])
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRoute {
    severity: Option<AlertSeverity>,
    services: Vec<String>,
    sinks: BTreeSet<String>,
    escalate_after: Option<SpanText>,
    escalate_to: BTreeSet<String>,
}

/// One text or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
    Number(i64),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Slack,
    Pagerduty,
    Telegram,
    Email,
    Webhook,
    Command,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    Implicit,
    Starttls,
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawSink {
    kind: Option<Kind>,
    url: Option<String>,
    url_env: Option<String>,
    url_file: Option<PathBuf>,
    url_command: Option<String>,
    key: Option<String>,
    key_env: Option<String>,
    key_file: Option<PathBuf>,
    key_command: Option<String>,
    token: Option<String>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    token_command: Option<String>,
    password: Option<String>,
    password_env: Option<String>,
    password_file: Option<PathBuf>,
    password_command: Option<String>,
    chat: Option<Texts>,
    channel: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    tls: Option<Tls>,
    user: Option<String>,
    from: Option<String>,
    to: Option<Texts>,
    command: Option<String>,
    timeout: Option<SpanText>,
    per_minute: Option<u32>,
}

/// A sink that has what its kind needs. Without a kind it is a part that another file completes.
#[derive(Debug)]
pub(super) struct SinkEntry(Option<(SinkKind, Duration, u32)>);

impl<'de> Deserialize<'de> for SinkEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawSink::deserialize(deserializer)?;
        let Some(kind) = raw.kind else {
            return Ok(Self(None));
        };
        let timeout = raw.timeout.map_or(TIMEOUT, |span| span.0);
        let per_minute = raw.per_minute.unwrap_or(PER_MINUTE).max(1);
        match sink_kind(kind, raw) {
            Ok(kind) => Ok(Self(Some((kind, timeout, per_minute)))),
            Err(why) => Err(de::Error::custom(why)),
        }
    }
}

/// The first of the places that was named.
pub(super) fn source(found: [Option<SecretSource>; 4]) -> Option<SecretSource> {
    found.into_iter().flatten().next()
}

fn sink_kind(kind: Kind, raw: RawSink) -> Result<SinkKind, String> {
    let plain_url = raw.url.clone();
    let url = source([
        raw.url.map(SecretSource::Inline),
        raw.url_env.map(SecretSource::Env),
        raw.url_file.map(SecretSource::File),
        raw.url_command.map(SecretSource::Command),
    ]);
    let key = source([
        raw.key.map(SecretSource::Inline),
        raw.key_env.map(SecretSource::Env),
        raw.key_file.map(SecretSource::File),
        raw.key_command.map(SecretSource::Command),
    ]);
    let token = source([
        raw.token.map(SecretSource::Inline),
        raw.token_env.map(SecretSource::Env),
        raw.token_file.map(SecretSource::File),
        raw.token_command.map(SecretSource::Command),
    ]);
    let password = source([
        raw.password.map(SecretSource::Inline),
        raw.password_env.map(SecretSource::Env),
        raw.password_file.map(SecretSource::File),
        raw.password_command.map(SecretSource::Command),
    ]);
    let needs = |what: &str| format!("this kind of sink needs {what}");
    Ok(match kind {
        Kind::Slack => SinkKind::Slack {
            url: url.ok_or_else(|| needs("url_env (or url_file, url_command, url)"))?,
        },
        Kind::Pagerduty => SinkKind::Pagerduty {
            key: key.ok_or_else(|| needs("key_env (or key_file, key_command, key)"))?,
            url: plain_url.unwrap_or_else(|| PAGERDUTY.to_owned()),
        },
        Kind::Telegram => SinkKind::Telegram {
            token: token.ok_or_else(|| needs("token_env (or token_file, token_command, token)"))?,
            chat: match (raw.chat, raw.channel) {
                (Some(Texts::One(chat)), _) | (None, Some(chat)) => chat,
                (Some(Texts::Number(chat)), _) => chat.to_string(),
                _ => return Err(needs("chat")),
            },
            url: plain_url.unwrap_or_else(|| TELEGRAM.to_owned()),
        },
        Kind::Email => {
            let host = raw.host.ok_or_else(|| needs("host"))?;
            let is_here = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
            let port = raw.port.unwrap_or(if is_here { 25 } else { 587 });
            let tls = match (raw.tls, port) {
                (Some(Tls::None), _) if !is_here => {
                    return Err("tls = \"none\" is for this machine itself only".to_owned());
                }
                (Some(Tls::None), _) => MailTls::None,
                (Some(Tls::Implicit), _) | (None, 465) => MailTls::Implicit,
                (None, _) if is_here => MailTls::None,
                (Some(Tls::Starttls) | None, _) => MailTls::StartTls,
            };
            let to = match raw.to {
                Some(Texts::One(to)) => vec![to],
                Some(Texts::Many(to)) if !to.is_empty() => to,
                _ => return Err(needs("to")),
            };
            let login = match (raw.user, password) {
                (Some(user), Some(password)) => Some((user, password)),
                (None, None) => None,
                _ => return Err(needs("user and password_env together")),
            };
            SinkKind::Email {
                port,
                tls,
                login,
                from: raw.from.ok_or_else(|| needs("from"))?,
                to,
                host,
            }
        }
        Kind::Webhook => SinkKind::Webhook {
            url: url.ok_or_else(|| needs("url (or url_env, url_file, url_command)"))?,
            key,
        },
        Kind::Command => SinkKind::Command {
            command: raw.command.ok_or_else(|| needs("command"))?,
        },
    })
}

/// What can be checked only now that every file was read: each sink has a kind.
pub(super) fn check(raw: &RawConfig) -> Result<(), ConfigError> {
    let fail = |why: String| ConfigError::about(Path::new("the layered configuration"), why);
    if let Some((name, _)) = raw.sinks.iter().find(|(_, sink)| sink.0.is_none()) {
        return Err(fail(format!(
            "sinks.{name} has no kind: slack, pagerduty, telegram, email, webhook or command"
        )));
    }
    Ok(())
}

/// The sinks by name.
pub(super) fn sinks(raw: BTreeMap<String, SinkEntry>) -> BTreeMap<String, Sink> {
    raw.into_iter()
        .filter_map(|(name, entry)| {
            let (kind, timeout, per_minute) = entry.0?;
            let sink = Sink {
                name: name.clone(),
                kind,
                timeout,
                per_minute,
            };
            Some((name, sink))
        })
        .collect()
}

/// The routes; without any, every sink is told of P0 and P1.
pub(super) fn routes(raw: &[RawRoute], sinks: &BTreeMap<String, SinkEntry>) -> Vec<Route> {
    if raw.is_empty() && !sinks.is_empty() {
        return vec![Route {
            severity: None,
            services: Vec::new(),
            sinks: sinks.keys().cloned().collect(),
            escalate_after: None,
            escalate_to: BTreeSet::new(),
        }];
    }
    raw.iter()
        .map(|route| Route {
            severity: route.severity,
            services: route.services.clone(),
            sinks: route.sinks.clone(),
            escalate_after: route.escalate_after.map(|span| span.0),
            escalate_to: route.escalate_to.clone(),
        })
        .collect()
}
