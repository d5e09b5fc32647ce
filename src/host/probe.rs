//! Asks a service whether it is well: over HTTP, by a TCP connection, by a command.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::redirect::{Attempt, Policy};
use serde_json::Value;

use super::{Command, Host};
use crate::domain::health::HealthCheck;
use crate::domain::safe_text::SafeText;
use crate::domain::settings::{Probe, ProbeKind};

/// So much of a body is looked at.
const MAX_BODY: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 5;

/// Asks once. No answer, a wrong answer and a late answer are all told, never an error.
pub async fn ask(host: &Host, probe: &Probe) -> HealthCheck {
    // The way to another machine is no part of the answer's time.
    let via = way(host, probe).await;
    let started = Instant::now();
    let asking = async {
        match &probe.kind {
            ProbeKind::Http {
                url,
                status,
                contains,
                json,
            } => {
                let via = via?;
                let expected = Expected {
                    status: *status,
                    contains: contains.as_deref(),
                    json: json.as_ref(),
                };
                let answer = http(url, expected, probe.timeout, &via).await;
                match (answer, host) {
                    (Err(text), Host::Ssh(session)) if is_cut(&text) => {
                        Err(session.refused_channel().await.unwrap_or(text))
                    }
                    (answer, _) => answer,
                }
            }
            ProbeKind::Tcp { address } => match host {
                Host::Local => tcp(address).await,
                Host::Ssh(_) => remote_tcp(host, address, probe.timeout).await,
            },
            ProbeKind::Command { command } => run(host, command, probe.timeout).await,
        }
    };
    // A command ends itself in time, and says so better than a timer of ours.
    let is_ended_there = is_command(probe) || !host.name().is_local();
    let limit = probe.timeout + Duration::from_secs(if is_ended_there { 20 } else { 0 });
    let answer = tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| {
            Err(format!(
                "no answer within {} s",
                probe.timeout.as_secs_f32()
            ))
        });
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (ok, detail) = match answer {
        Ok(detail) => (true, detail),
        Err(detail) => (false, detail),
    };
    HealthCheck {
        name: SafeText::from_text(&probe.name()),
        ok,
        ms: Some(ms),
        detail: SafeText::from_text(&detail),
    }
}

/// Whether somebody took the connection and gave no answer: of a forwarded one that is this side of the way.
fn is_cut(text: &str) -> bool {
    ["closed", "reset", "roken pipe"]
        .iter()
        .any(|word| text.contains(word))
}

fn is_command(probe: &Probe) -> bool {
    matches!(probe.kind, ProbeKind::Command { .. })
}

/// The socket of this machine that leads to where a probe of another machine asks: `localhost` in its address is that
/// machine's own. Nothing has to be installed there.
async fn way(host: &Host, probe: &Probe) -> Result<Option<PathBuf>, String> {
    let (Host::Ssh(session), ProbeKind::Http { url, .. }) = (host, &probe.kind) else {
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

async fn http(
    url: &str,
    expected: Expected<'_>,
    timeout: Duration,
    via: &Option<PathBuf>,
) -> Result<String, String> {
    let mut builder = reqwest::Client::builder();
    if let Some(socket) = via {
        builder = builder.unix_socket(socket.as_path());
    }
    let client = builder
        .redirect(match via {
            Some(_) => Policy::custom(stay_at_the_address),
            None => Policy::custom(stay_on_the_host),
        })
        // A proxy of the environment would answer for the service.
        .no_proxy()
        .timeout(timeout)
        .user_agent(concat!("lastgood/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| explain(&e))?;
    let mut response = client.get(url).send().await.map_err(|e| explain(&e))?;
    let code = response.status();
    let mut body = Vec::new();
    while expected.is_about_the_body() && body.len() < MAX_BODY {
        match response.chunk().await.map_err(|e| explain(&e))? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    body.truncate(MAX_BODY);
    judge(code.as_u16(), &code.to_string(), &body, expected)
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy)]
struct Expected<'a> {
    /// `None` for any 2xx.
    status: Option<u16>,
    contains: Option<&'a str>,
    json: Option<&'a Value>,
}

impl Expected<'_> {
    fn is_about_the_body(self) -> bool {
        self.contains.is_some() || self.json.is_some()
    }
}

fn judge(code: u16, shown: &str, body: &[u8], expected: Expected<'_>) -> Result<String, String> {
    let status = expected.status;
    let is_expected = status.map_or((200..300).contains(&code), |wanted| wanted == code);
    if !is_expected {
        let wanted = status.map_or("2xx".to_owned(), |s| s.to_string());
        return Err(format!("{shown}, expected {wanted}"));
    }
    let mut said = shown.to_owned();
    let text = String::from_utf8_lossy(body);
    let start = || text.chars().take(80).collect::<String>();
    if let Some(wanted) = expected.contains {
        if !text.contains(wanted) {
            return Err(format!(
                "{shown}, but the body lacks {wanted:?}: {}",
                start()
            ));
        }
        said = format!("{said}, body contains {wanted:?}");
    }
    if let Some(wanted) = expected.json {
        let found: Value = serde_json::from_slice(body)
            .map_err(|error| format!("{shown}, but the body is no JSON ({error}): {}", start()))?;
        differs(&found, wanted, "").map_or(Ok(()), |how| Err(format!("{shown}, but {how}")))?;
        said = format!("{said}, body has {wanted}");
    }
    Ok(said)
}

/// How a body differs from the fields that it must have; others may stand beside them.
fn differs(found: &Value, wanted: &Value, at: &str) -> Option<String> {
    let Value::Object(fields) = wanted else {
        let is_same = match wanted {
            Value::Null => !found.is_null(),
            wanted => found == wanted || plain(found).is_some_and(|f| Some(f) == plain(wanted)),
        };
        return (!is_same).then(|| format!("{at:?} is {found}, expected {wanted}"));
    };
    fields.iter().find_map(|(path, wanted)| {
        let at = match at {
            "" => path.clone(),
            outer => format!("{outer}.{path}"),
        };
        // A name may have a dot in it.
        let field = found.get(path).or_else(|| {
            let mut names = path.split('.');
            names.try_fold(found, |inner, name| match inner {
                Value::Array(all) => all.get(name.parse::<usize>().ok()?),
                inner => inner.get(name),
            })
        });
        match field {
            Some(field) => differs(field, wanted, &at),
            None => Some(format!("the body has no {at:?}")),
        }
    })
}

/// A single value as it is written without quotes: `"200"` is as good as `200`.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

async fn remote_tcp(host: &Host, address: &str, timeout: Duration) -> Result<String, String> {
    let (name, port) = address
        .rsplit_once(':')
        .ok_or_else(|| format!("{address:?} has no port"))?;
    let script = r#"exec 3<> "/dev/tcp/$1/$2""#;
    let command = Command::new(["bash", "-c", script, "bash", name, port], timeout);
    match host.query(&command).await {
        Ok(output) if output.is_success() => Ok("connected".to_owned()),
        Ok(output) => Err(output.describe().to_string()),
        Err(error) => Err(SafeText::from_error(&error).to_string()),
    }
}

/// A probe asks this service: another host that answers well proves nothing.
fn stay_on_the_host(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let origin = attempt.previous().first();
    let is_same = origin.is_some_and(|first| first.host_str() == attempt.url().host_str());
    if is_same && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// A way to another machine leads to one address of it.
fn stay_at_the_address(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let port = attempt
        .previous()
        .first()
        .map(reqwest::Url::port_or_known_default);
    if port == Some(attempt.url().port_or_known_default()) {
        stay_on_the_host(attempt)
    } else {
        attempt.stop()
    }
}

/// The cause of causes in words: reqwest's own text repeats the address and hides the reason.
fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io_text(io),
        None => cause.to_string(),
    }
}

fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

async fn tcp(address: &str) -> Result<String, String> {
    tokio::net::TcpStream::connect(address)
        .await
        .map(|_| "connected".to_owned())
        .map_err(|e| io_text(&e))
}

async fn run(host: &Host, command: &str, timeout: Duration) -> Result<String, String> {
    let command = Command::shell(command, &[], timeout);
    match host.query(&command).await {
        Ok(output) if output.is_success() => Ok("exit 0".to_owned()),
        Ok(output) => Err(output.describe().to_string()),
        Err(error) => Err(SafeText::from_error(&error).to_string()),
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
        let probe = Probe {
            kind: ProbeKind::Http {
                url: format!("http://{address}/health"),
                status,
                contains: contains.map(str::to_owned),
                json: None,
            },
            timeout: Duration::from_secs(5),
        };
        ask(&Host::Local, &probe).await
    }

    #[test]
    fn an_answer_is_judged_by_the_fields_of_its_body() {
        let judged = |body: &str, wanted: Value| {
            let expected = Expected {
                status: None,
                contains: None,
                json: Some(&wanted),
            };
            judge(200, "200 OK", body.as_bytes(), expected)
        };
        let wanted =
            serde_json::json!({ "status": "up", "checks.db": true, "queue": { "length": "3" } });
        let good = r#"{"status":"up","checks":{"db":true},"queue":{"length":3,"age":9}}"#;
        assert!(judged(good, wanted.clone()).is_ok());
        for (body, says) in [
            (
                good.replace("up", "degraded"),
                r#""status" is "degraded", expected "up""#,
            ),
            (
                good.replace(":3", ":4"),
                r#""queue.length" is 4, expected "3""#,
            ),
            (
                good.replace("\"db\"", "\"cache\""),
                r#"the body has no "checks.db""#,
            ),
            ("<html>".to_owned(), "the body is no JSON"),
            (String::new(), "the body is no JSON"),
        ] {
            let error = judged(&body, wanted.clone()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(judged(good, serde_json::json!({ "checks.db": null })).is_ok());
        // Nothing is no value.
        assert!(judged(r#"{"a":null}"#, serde_json::json!({ "a": null })).is_err());
        assert!(judged(r#"{"a":null}"#, serde_json::json!({ "a": "null" })).is_err());
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
        assert!(
            !silent.ok && silent.detail.as_str().starts_with("no answer"),
            "{silent:?}"
        );
        drop(listener);
        let refused = http_check(&address, None, None).await;
        assert_eq!(refused.detail.as_str(), "connection refused");
    }

    #[tokio::test]
    async fn ports_and_commands_are_asked_too() {
        let address = server(String::new()).await;
        let probe = |kind| Probe {
            kind,
            timeout: Duration::from_secs(5),
        };
        assert!(
            ask(&Host::Local, &probe(ProbeKind::Tcp { address }))
                .await
                .ok
        );
        let command = |c: &str| probe(ProbeKind::Command { command: c.into() });
        assert!(ask(&Host::Local, &command("true")).await.ok);
        let failed = ask(&Host::Local, &command("echo not ready >&2; exit 7")).await;
        assert_eq!(failed.detail.as_str(), "exit 7: not ready");
    }
}
