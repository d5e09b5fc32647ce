//! Where people are told, and who is told of what: the nouns that `[sinks.*]` and `[[routes]]` are read into.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::alert::AlertSeverity;

/// Where a secret comes from; it is read when it is needed and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in the configuration itself.
    Inline(String),
    /// An environment variable.
    Env(String),
    /// A file; its last newline does not belong to it.
    File(PathBuf),
    /// What a command prints, run by `sh -c`.
    Command(String),
}

/// How a mail is protected on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte (port 465).
    Implicit,
    /// STARTTLS, or nothing is sent.
    StartTls,
    /// None: only to this machine itself.
    None,
}

/// What kind of sink it is, with what only that kind needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// A Slack incoming webhook.
    Slack {
        /// Its address, which is the secret.
        url: SecretSource,
    },
    /// PagerDuty Events v2.
    Pagerduty {
        /// The routing key.
        key: SecretSource,
        /// Where events go; PagerDuty's own address where nothing is said.
        url: String,
    },
    /// A Telegram bot.
    Telegram {
        /// The bot's token.
        token: SecretSource,
        /// The chat.
        chat: String,
        /// The server; Telegram's own where nothing is said.
        url: String,
    },
    /// A mail by SMTP.
    Email {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How it is protected.
        tls: MailTls,
        /// The user to log in as, and the password; no login without.
        login: Option<(String, SecretSource)>,
        /// Who writes.
        from: String,
        /// Who reads.
        to: Vec<String>,
    },
    /// A POST of JSON.
    Webhook {
        /// The address.
        url: SecretSource,
        /// Signs the body; unsigned without.
        key: Option<SecretSource>,
    },
    /// A command, run by `sh -c`, with the message in its environment.
    Command {
        /// The command.
        command: String,
    },
}

impl SinkKind {
    /// The word in the configuration.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Pagerduty { .. } => "pagerduty",
            Self::Telegram { .. } => "telegram",
            Self::Email { .. } => "email",
            Self::Webhook { .. } => "webhook",
            Self::Command { .. } => "command",
        }
    }
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Its name in the configuration.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// No answer by then is a failure.
    pub timeout: Duration,
    /// At most so many messages in a minute; the others wait.
    pub per_minute: u32,
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// For alerts of this severity; `None` for P0 and P1.
    pub severity: Option<AlertSeverity>,
    /// Only for these services; all without any.
    pub services: Vec<String>,
    /// Who is told.
    pub sinks: BTreeSet<String>,
    /// When nobody has taken it by then, [`Route::escalate_to`] is told as well.
    pub escalate_after: Option<Duration>,
    /// Who stands behind.
    pub escalate_to: BTreeSet<String>,
}
