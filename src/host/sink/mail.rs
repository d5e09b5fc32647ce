//! A mail by SMTP. Everything about one alert is one thread: the same key gives the same `References`.

use std::error::Error as _;

use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use sha2::{Digest, Sha256};

use super::SinkError;
use crate::domain::alert::Notification;
use crate::domain::sink::{MailTls, Sink, SinkKind};

/// A mail that is not written out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    from: String,
    to: Vec<String>,
    subject: String,
    body: String,
    id: String,
    thread: String,
    at: jiff::Timestamp,
}

impl Letter {
    pub(super) fn of(message: &Notification, from: &str, to: &[String]) -> Self {
        let domain = from
            .rsplit_once('@')
            .map_or("localhost", |(_, domain)| domain.trim_end_matches('>'));
        let key = Sha256::digest(message.key.as_bytes());
        let key: String = key
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            from: from.to_owned(),
            to: to.to_vec(),
            // One thread has one subject: what changed stands in the text.
            subject: format!("[{}] {}: {}", message.severity, message.host, message.title),
            body: message.lines().join("\n") + "\n",
            id: format!("<{}.lastgood@{domain}>", message.id),
            thread: format!("<{key}.thread.lastgood@{domain}>"),
            at: message.at,
        }
    }

    fn write(&self) -> Result<Message, String> {
        let address = |text: &str| -> Result<Mailbox, String> {
            text.parse()
                .map_err(|error| format!("{text:?} is no mail address: {error}"))
        };
        let mut message = Message::builder()
            .from(address(&self.from)?)
            .subject(&self.subject)
            .message_id(Some(self.id.clone()))
            .in_reply_to(self.thread.clone())
            .references(self.thread.clone())
            .date(self.at.into())
            .header(header::ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(address(to)?);
        }
        message
            .body(self.body.clone())
            .map_err(|error| format!("the mail cannot be written: {error}"))
    }

    /// The mail as it would be sent, and to where.
    pub(super) fn show(&self, sink: &Sink) -> Result<String, String> {
        let SinkKind::Email { host, port, .. } = &sink.kind else {
            return Err("no mail".to_owned());
        };
        let message = self.write()?.formatted();
        Ok(format!(
            "SMTP {host}:{port}\n{}",
            String::from_utf8_lossy(&message).replace("\r\n", "\n")
        ))
    }

    pub(super) async fn send(&self, sink: &Sink, password: &str) -> Result<(), SinkError> {
        let SinkKind::Email {
            host,
            port,
            tls,
            login,
            ..
        } = &sink.kind
        else {
            return Err(SinkError::new("no mail"));
        };
        let message = self.write().map_err(|why| SinkError {
            is_final: true,
            ..SinkError::new(why)
        })?;
        let parameters =
            || TlsParameters::new(host.clone()).map_err(|error| SinkError::new(error.to_string()));
        let tls = match tls {
            MailTls::Implicit => Tls::Wrapper(parameters()?),
            MailTls::StartTls => Tls::Required(parameters()?),
            MailTls::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(*port)
            .tls(tls)
            .timeout(Some(sink.timeout));
        if let Some((user, _)) = login {
            transport = transport.credentials(Credentials::new(user.clone(), password.to_owned()));
        }
        let transport = transport.build();
        let sending = transport.send(message);
        // The transport's own limit is for each step.
        match tokio::time::timeout(sink.timeout, sending).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let cause = error
                    .source()
                    .map_or(String::new(), |cause| format!(": {cause}"));
                Err(SinkError {
                    is_final: error.is_permanent(),
                    ..SinkError::new(format!("{error}{cause}"))
                })
            }
            Err(_) => Err(SinkError::new("no answer in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{AlertSeverity, NotificationEvent};
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn letter(id: &str, event: NotificationEvent) -> Letter {
        let message = Notification {
            id: id.into(),
            key: "k".into(),
            event,
            severity: AlertSeverity::P1,
            at: jiff::Timestamp::from_second(1_766_847_000).unwrap(),
            host: "prod-1".into(),
            title: "shop/api is down\nBcc: evil@example.org".into(),
            services: Vec::new(),
            alerts: Vec::new(),
            evidence: Vec::new(),
            verdict: None,
            checkpoint: None,
            runbook: None,
            by: None,
            audit_head: None,
            sinks: BTreeSet::new(),
        };
        Letter::of(
            &message,
            "lastgood <lastgood@prod-1.example>",
            &["ops@example.org".into()],
        )
    }

    #[test]
    fn one_alert_is_one_thread_and_no_text_becomes_a_header() {
        let sink = Sink {
            name: "mail".into(),
            kind: SinkKind::Email {
                host: "localhost".into(),
                port: 25,
                tls: MailTls::None,
                login: None,
                from: String::new(),
                to: Vec::new(),
            },
            timeout: Duration::from_secs(1),
            per_minute: 1,
        };
        let first = letter("a", NotificationEvent::Trigger).show(&sink).unwrap();
        let last = letter("b", NotificationEvent::Resolve).show(&sink).unwrap();
        let line = |text: &str, name: &str| -> String {
            text.lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .to_owned()
        };
        assert_eq!(line(&first, "References:"), line(&last, "References:"));
        assert_ne!(line(&first, "Message-ID:"), line(&last, "Message-ID:"));
        assert!(
            !first.lines().any(|line| line.starts_with("Bcc")),
            "{first}"
        );
        assert!(letter("a", NotificationEvent::Test).write().is_ok());
    }
}
