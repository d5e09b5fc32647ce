//! Tells people: Slack, PagerDuty, Telegram, mail, a webhook, a command.
//!
//! A message becomes a `Request` first, which a dry run can show with its secrets masked, and is then sent. Secrets
//! are read for each message, stand in no argument of a process, and are taken out of every error.

mod mail;
mod payload;
mod sign;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::{Command, Host};
use crate::domain::alert::{Notification, NotificationEvent};
use crate::domain::safe_text::SafeText;
use crate::domain::sink::{SecretSource, Sink, SinkKind};

/// A secret is no file of megabytes.
const MAX_SECRET: u64 = 64 * 1024;
/// What a receiver says about a failure is shown up to here.
const MAX_SAID: usize = 300;
/// What stands for a secret where a request is shown.
const MASK: &str = "[REDACTED:secret]";

/// Why a sink did not take a message. No secret stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SinkError {
    /// What was said, and by whom.
    pub text: SafeText,
    /// The receiver wants to be left alone for so long.
    pub retry_after: Option<Duration>,
    /// Trying the same again cannot help: the receiver refuses the message itself.
    pub is_final: bool,
}

impl SinkError {
    fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: SafeText::from_text(text.as_ref()),
            retry_after: None,
            is_final: false,
        }
    }
}

/// The secrets of one sink, read.
#[derive(Default)]
struct Secrets {
    values: BTreeMap<&'static str, String>,
}

impl Secrets {
    async fn read(sink: &Sink) -> Result<Self, SinkError> {
        let wanted: Vec<(&'static str, &SecretSource)> = match &sink.kind {
            SinkKind::Slack { url } => vec![("url", url)],
            SinkKind::Pagerduty { key, .. } => vec![("key", key)],
            SinkKind::Telegram { token, .. } => vec![("token", token)],
            SinkKind::Email { login, .. } => login
                .iter()
                .map(|(_, password)| ("password", password))
                .collect(),
            SinkKind::Webhook { url, key } => std::iter::once(("url", url))
                .chain(key.iter().map(|key| ("key", key)))
                .collect(),
            SinkKind::Command { .. } => Vec::new(),
        };
        let mut values = BTreeMap::new();
        for (name, source) in wanted {
            values.insert(name, read_secret(source, sink.timeout).await?);
        }
        Ok(Self { values })
    }

    fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// The text without any of the secrets, whole or as they stand in an address.
    fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for secret in self.values.values().filter(|secret| !secret.is_empty()) {
            masked = masked.replace(secret.as_str(), MASK);
        }
        masked
    }
}

/// Reads a secret where it is kept.
///
/// # Errors
/// It is not there or empty; the error names the place and never the value.
pub async fn read_secret(source: &SecretSource, timeout: Duration) -> Result<String, SinkError> {
    let (value, place) = match source {
        SecretSource::Inline(value) => (value.clone(), "the configuration".to_owned()),
        SecretSource::Env(name) => {
            let value = std::env::var(name)
                .map_err(|_| SinkError::new(format!("the variable {name} is not set")))?;
            (value, format!("the variable {name}"))
        }
        SecretSource::File(path) => {
            let bytes = Host::Local
                .read_file(path, MAX_SECRET)
                .await
                .map_err(|error| SinkError::new(SafeText::from_error(&error).as_str()))?;
            let value = String::from_utf8(bytes)
                .map_err(|_| SinkError::new(format!("{} is no text", path.display())))?;
            (value, path.display().to_string())
        }
        SecretSource::Command(line) => {
            let output = Host::Local
                .query(&Command::shell(line, &[], timeout))
                .await
                .map_err(|error| SinkError::new(SafeText::from_error(&error).as_str()))?;
            if !output.is_success() {
                // What it printed may be the half of a secret.
                let code = output
                    .code
                    .map_or("a signal".into(), |c| format!("exit {c}"));
                return Err(SinkError::new(format!(
                    "the command of the secret ended with {code}: {line}"
                )));
            }
            (
                output.stdout_text().into_owned(),
                format!("what {line:?} printed"),
            )
        }
    };
    let value = value.trim_end_matches(['\n', '\r']).to_owned();
    if value.is_empty() || value.contains(['\n', '\r']) {
        return Err(SinkError::new(format!(
            "{place} holds no secret of one line"
        )));
    }
    Ok(value)
}

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Request {
    /// A POST.
    Http {
        url: String,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// A mail.
    Mail(mail::Letter),
    /// A command, with what it finds in its environment.
    Command {
        line: String,
        env: Vec<(String, String)>,
    },
}

impl Request {
    fn of(sink: &Sink, secrets: &Secrets, message: &Notification) -> Self {
        match &sink.kind {
            SinkKind::Slack { .. } => Self::post(secrets.get("url"), payload::slack(message)),
            SinkKind::Pagerduty { url, .. } if message.event == NotificationEvent::Change => {
                let url = payload::change_address(url);
                Self::post(&url, payload::change(message, secrets.get("key")))
            }
            SinkKind::Pagerduty { url, .. } => {
                Self::post(url, payload::pagerduty(message, secrets.get("key")))
            }
            SinkKind::Telegram { chat, url, .. } => {
                let url = format!(
                    "{}/bot{}/sendMessage",
                    url.trim_end_matches('/'),
                    secrets.get("token")
                );
                Self::post(&url, payload::telegram(message, chat))
            }
            SinkKind::Webhook { key, .. } => {
                let body = payload::webhook(message);
                let mut headers = vec![("idempotency-key", message.id.clone())];
                if key.is_some() {
                    let signature =
                        sign::hmac_sha256(secrets.get("key").as_bytes(), body.as_bytes());
                    headers.push(("x-lastgood-signature", format!("sha256={signature}")));
                }
                Self::Http {
                    url: secrets.get("url").to_owned(),
                    headers,
                    body,
                }
            }
            SinkKind::Email { from, to, .. } => Self::Mail(mail::Letter::of(message, from, to)),
            SinkKind::Command { command } => Self::Command {
                line: command.clone(),
                env: payload::environment(message),
            },
        }
    }

    fn post(url: &str, body: String) -> Self {
        Self::Http {
            url: url.to_owned(),
            headers: Vec::new(),
            body,
        }
    }
}

/// The exact request as text, secrets masked; nothing is sent. What is signed with a secret is masked as well.
///
/// # Errors
/// A secret cannot be read.
pub async fn preview(sink: &Sink, message: &Notification) -> Result<String, SinkError> {
    let secrets = Secrets::read(sink).await?;
    let mut text = String::new();
    match Request::of(sink, &secrets, message) {
        Request::Http { url, headers, body } => {
            let _ = writeln!(text, "POST {url}");
            let _ = writeln!(text, "content-type: application/json");
            for (name, value) in headers {
                let value = match name {
                    "x-lastgood-signature" => format!("sha256={MASK}"),
                    _ => value,
                };
                let _ = writeln!(text, "{name}: {value}");
            }
            let _ = write!(text, "\n{body}\n");
        }
        Request::Mail(letter) => {
            let letter = letter.show(sink).map_err(SinkError::new)?;
            text.push_str(&letter);
        }
        Request::Command { line, env } => {
            let _ = writeln!(text, "sh -c {}", shell_words::quote(&line));
            for (name, value) in env {
                let _ = writeln!(text, "{name}={value}");
            }
        }
    }
    Ok(secrets.mask(&text))
}

/// Sends a message, once. Whoever wants it tried again calls again with the same message: its id says that it is one.
///
/// # Errors
/// The receiver did not take it, or could not be reached in time.
pub async fn send(sink: &Sink, message: &Notification) -> Result<(), SinkError> {
    let secrets = Secrets::read(sink).await?;
    let sent = match Request::of(sink, &secrets, message) {
        Request::Http { url, headers, body } => post(&url, headers, body, sink.timeout).await,
        Request::Mail(letter) => letter.send(sink, secrets.get("password")).await,
        Request::Command { line, env } => run(&line, env, sink.timeout).await,
    };
    sent.map_err(|error| SinkError {
        text: SafeText::from_text(&secrets.mask(error.text.as_str())),
        ..error
    })
}

/// Asks an address, so that whoever expects to be asked knows that this watch lives.
///
/// # Errors
/// No answer with a 2xx.
pub async fn ping(url: &SecretSource, timeout: Duration) -> Result<(), SinkError> {
    let url = read_secret(url, timeout).await?;
    let failed = |error: &reqwest::Error| SinkError::new(explain(error).replace(&url, MASK));
    let answer = client(timeout)
        .map_err(|e| failed(&e))?
        .get(&url)
        .send()
        .await
        .map_err(|e| failed(&e))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(SinkError::new(status.to_string())),
    }
}

fn client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        // A message with a key in it goes where it was sent and nowhere else.
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .user_agent(concat!("lastgood/", env!("CARGO_PKG_VERSION")))
        .build()
}

async fn post(
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: String,
    timeout: Duration,
) -> Result<(), SinkError> {
    let failed = |error: &reqwest::Error| SinkError::new(explain(error));
    let mut request = client(timeout)
        .map_err(|e| failed(&e))?
        .post(url)
        .header("content-type", "application/json")
        .body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.map_err(|e| failed(&e))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let wait = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    let said = answer.text().await.unwrap_or_default();
    // Telegram says it in the body too.
    let wait = wait.or_else(|| {
        let body: serde_json::Value = serde_json::from_str(&said).ok()?;
        body["parameters"]["retry_after"].as_u64()
    });
    let start: String = said.chars().take(MAX_SAID).collect();
    let is_later = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(SinkError {
        text: SafeText::from_text(format!("{status}: {start}").trim_end_matches([':', ' '])),
        retry_after: wait.map(Duration::from_secs),
        is_final: !is_later,
    })
}

/// The cause in words, without the address: that is the secret of some sinks.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    if error.is_builder() {
        return "the address cannot be used; is it http:// or https://?".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "it could not be sent".to_owned(),
        None => cause.to_string(),
    }
}

async fn run(line: &str, env: Vec<(String, String)>, timeout: Duration) -> Result<(), SinkError> {
    let mut command = Command::shell(line, &[], timeout);
    command.env = env;
    match Host::Local.query(&command).await {
        Ok(output) if output.is_success() => Ok(()),
        Ok(output) => Err(SinkError::new(output.describe().as_str())),
        Err(error) => Err(SinkError::new(SafeText::from_error(&error).as_str())),
    }
}
