//! Asks a service whether it is well: over HTTP, by a TCP connection, by a command.

mod certificate;
mod expected;
mod http;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::expected::Expected;
use self::http::Question;
use super::{Command, Host};
use crate::domain::health::{HealthCheck, HealthWarning};
use crate::domain::safe_text::SafeText;
use crate::domain::settings::{Probe, ProbeKind};

/// Whoever ends by itself in time says better than a timer of ours why it did.
const ENDS_ITSELF: Duration = Duration::from_secs(20);

/// An answer that is the expected one.
struct Answer {
    detail: String,
    warnings: Vec<HealthWarning>,
}

impl Answer {
    fn new(detail: &str) -> Self {
        Self {
            detail: detail.to_owned(),
            warnings: Vec::new(),
        }
    }
}

/// The answer or why there is none, and how long it took where somebody was asked.
type Timed = (Result<Answer, String>, Option<Duration>);

/// Asks once. No answer, a wrong answer and a late answer are all told, never an error.
pub async fn ask(host: &Host, probe: &Probe) -> HealthCheck {
    let timeout = probe.timeout;
    let (answer, took) = match &probe.kind {
        ProbeKind::Http {
            url,
            status,
            contains,
            json,
            certificate_days,
            ca,
        } => {
            let question = Question {
                url,
                expected: Expected {
                    status: *status,
                    contains: contains.as_deref(),
                    json: json.as_ref(),
                },
                certificate_days: certificate_days.unwrap_or(Probe::CERTIFICATE_DAYS),
                ca: ca.as_deref(),
                timeout,
            };
            http(host, &question).await
        }
        ProbeKind::Tcp { address } => match host {
            Host::Local => timed(timeout, timeout, tcp(address)).await,
            Host::Ssh(_) => {
                let asking = remote_tcp(host, address, timeout);
                timed(timeout, timeout + ENDS_ITSELF, asking).await
            }
        },
        ProbeKind::Command { command } => {
            let asking = run(host, command, timeout);
            timed(timeout, timeout + ENDS_ITSELF, asking).await
        }
    };
    let mut check = match answer {
        Ok(answer) => HealthCheck {
            warnings: answer.warnings,
            ..HealthCheck::new(probe.name(), true, answer.detail)
        },
        Err(why) => HealthCheck::new(probe.name(), false, why),
    };
    check.ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let limit = probe.slower_than.unwrap_or(Probe::SLOW);
    if check.ok && took.is_some_and(|took| took > limit) {
        let text = format!("{}, slower than {}", check.detail, in_words(limit));
        check.detail = SafeText::from_text(&text);
        check.warnings.push(HealthWarning::Slow);
    }
    check
}

/// Waits for an answer until `limit`, and calls it late by its `timeout`.
async fn timed(
    timeout: Duration,
    limit: Duration,
    asking: impl Future<Output = Result<Answer, String>>,
) -> Timed {
    let started = Instant::now();
    let answer = tokio::time::timeout(limit, asking).await;
    let answer = answer.unwrap_or_else(|_| Err(no_answer(timeout)));
    (answer, Some(started.elapsed()))
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {}", in_words(timeout))
}

/// `800 ms`, `2 s`, `1.5 s`.
fn in_words(span: Duration) -> String {
    match span < Duration::from_secs(1) {
        true => format!("{} ms", span.as_millis()),
        false => format!("{} s", span.as_secs_f32()),
    }
}

async fn http(host: &Host, question: &Question<'_>) -> Timed {
    // The way to another machine and the certificates of this one are no part of the answer's time.
    let client = match way(host, question.url).await {
        Ok(way) => question.client(way).await,
        Err(why) => Err(why),
    };
    let client = match client {
        Ok(client) => client,
        Err(why) => return (Err(why), None),
    };
    let limit = question.timeout + ENDS_ITSELF;
    let (answer, took) = timed(question.timeout, limit, question.ask(&client)).await;
    let answer = match (answer, host) {
        (Err(text), Host::Ssh(session)) if is_cut(&text) => {
            Err(session.refused_channel().await.unwrap_or(text))
        }
        (answer, _) => answer,
    };
    (answer, took)
}

/// Whether somebody took the connection and gave no answer: of a forwarded one that is this side of the way.
fn is_cut(text: &str) -> bool {
    ["closed", "reset", "roken pipe"]
        .iter()
        .any(|word| text.contains(word))
}

/// The socket of this machine that leads to where a probe of another machine asks: `localhost` in its address is that
/// machine's own. Nothing has to be installed there.
async fn way(host: &Host, url: &str) -> Result<Option<PathBuf>, String> {
    let Host::Ssh(session) = host else {
        return Ok(None);
    };
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let (Some(name), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Err(format!("{url} names no host"));
    };
    let name = name.trim_matches(['[', ']']);
    let way = session.forward_tcp(name, port).await;
    way.map(Some)
        .map_err(|error| SafeText::from_error(&error).to_string())
}

async fn remote_tcp(host: &Host, address: &str, timeout: Duration) -> Result<Answer, String> {
    let (name, port) = address
        .rsplit_once(':')
        .ok_or_else(|| format!("{address:?} has no port"))?;
    let script = r#"exec 3<> "/dev/tcp/$1/$2""#;
    let command = Command::new(["bash", "-c", script, "bash", name, port], timeout);
    match host.query(&command).await {
        Ok(output) if output.is_success() => Ok(Answer::new("connected")),
        Ok(output) => Err(output.describe().to_string()),
        Err(error) => Err(SafeText::from_error(&error).to_string()),
    }
}

async fn tcp(address: &str) -> Result<Answer, String> {
    tokio::net::TcpStream::connect(address)
        .await
        .map(|_| Answer::new("connected"))
        .map_err(|e| io_text(&e))
}

async fn run(host: &Host, command: &str, timeout: Duration) -> Result<Answer, String> {
    let command = Command::shell(command, &[], timeout);
    match host.query(&command).await {
        Ok(output) if output.is_success() => Ok(Answer::new("exit 0")),
        Ok(output) => Err(output.describe().to_string()),
        Err(error) => Err(SafeText::from_error(&error).to_string()),
    }
}

fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every connection with the same bytes.
    async fn server(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    fn answer(head: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    async fn http_check(address: &str, status: Option<u16>, contains: Option<&str>) -> HealthCheck {
        let probe = Probe::of(ProbeKind::Http {
            url: format!("http://{address}/health"),
            status,
            contains: contains.map(str::to_owned),
            json: None,
            certificate_days: None,
            ca: None,
        });
        ask(&Host::Local, &probe).await
    }

    #[tokio::test]
    async fn an_http_answer_is_judged_by_status_and_body() {
        let address = server(answer("200 OK", "{\"status\":\"up\"}")).await;
        assert!(http_check(&address, None, None).await.ok);
        assert!(http_check(&address, Some(200), Some("up")).await.ok);
        let wrong = http_check(&address, None, Some("down")).await;
        assert!(
            !wrong.ok && wrong.detail.as_str().contains("lacks"),
            "{wrong:?}"
        );
        let teapot = http_check(&address, Some(418), None).await;
        assert_eq!(teapot.detail.as_str(), "200 OK, expected 418");
    }

    #[tokio::test]
    async fn a_redirect_to_another_host_is_not_followed() {
        let elsewhere = "302 Found\r\nlocation: http://elsewhere.invalid/";
        let address = server(answer(elsewhere, "")).await;
        let check = http_check(&address, None, None).await;
        assert_eq!(
            (check.ok, check.detail.as_str()),
            (false, "302 Found, expected 2xx")
        );
    }

    #[tokio::test]
    async fn no_answer_says_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut probe = Probe::http(format!("http://{address}/"));
        probe.timeout = Duration::from_millis(50);
        let silent = ask(&Host::Local, &probe).await;
        assert_eq!(silent.detail.as_str(), "no answer within 50 ms");
        drop(listener);
        let refused = http_check(&address, None, None).await;
        assert_eq!(refused.detail.as_str(), "connection refused");
    }

    #[tokio::test]
    async fn ports_and_commands_are_asked_too() {
        let address = server(String::new()).await;
        let port = Probe::of(ProbeKind::Tcp { address });
        assert!(ask(&Host::Local, &port).await.ok);
        let command = |c: &str| Probe::of(ProbeKind::Command { command: c.into() });
        assert!(ask(&Host::Local, &command("true")).await.ok);
        let failed = ask(&Host::Local, &command("echo not ready >&2; exit 7")).await;
        assert_eq!(failed.detail.as_str(), "exit 7: not ready");
    }

    #[tokio::test]
    async fn a_late_answer_is_slow_by_the_limit_of_its_probe() {
        let late = |limit: Option<u64>| async move {
            let command = "sleep 0.2".to_owned();
            let mut probe = Probe::of(ProbeKind::Command { command });
            probe.slower_than = limit.map(Duration::from_millis);
            ask(&Host::Local, &probe).await
        };
        let slow = late(Some(100)).await;
        assert_eq!(slow.detail.as_str(), "exit 0, slower than 100 ms");
        assert_eq!((slow.ok, slow.warnings), (true, vec![HealthWarning::Slow]));
        assert!(late(None).await.is_well(), "the default is 2 s");
    }
}
