//! A probe over HTTP and HTTPS: one GET that stays at the service, within a time and a length.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Response, Url};

use super::certificate::{self, Shown};
use super::expected::{Body, Expected};
use super::{Answer, in_words, io_text, no_answer};
use crate::domain::health::HealthWarning;

const MAX_REDIRECTS: u32 = 5;
/// So long the certificates of authorities that were read are good.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What is asked, and what the answer has to be.
pub(super) struct Question<'a> {
    pub(super) url: &'a str,
    pub(super) expected: Expected<'a>,
    /// A certificate that ends in fewer days is told of; 0 for never.
    pub(super) certificate_days: u16,
    /// The certificates of authorities that are trusted besides those of this machine.
    pub(super) ca: Option<&'a Path>,
    /// All of it, redirects and body too, has to be there by then.
    pub(super) timeout: Duration,
}

/// Who asks, and by which way.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    /// It asks through a socket of this machine, which leads to one address of another.
    is_by_way: bool,
}

/// The clients of the last minute: each of them reads and parses the certificates of all authorities of the machine, which
/// costs more than the question.
type Kept = HashMap<Key, (Instant, Client)>;

/// The way, the authorities, and whether it is to ask over TLS: one that is not can do without authorities.
type Key = (Option<PathBuf>, Option<PathBuf>, bool);

/// Those that are still good: what is put into a file of authorities is seen soon.
fn kept() -> MutexGuard<'static, Kept> {
    static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|_, (built, _)| built.elapsed() < KEPT_FOR);
    kept
}

impl Question<'_> {
    /// Who can ask it, through `way` where that is given.
    ///
    /// # Errors
    /// Certificates of authorities that cannot be read, in words.
    pub(super) async fn client(&self, way: Option<PathBuf>) -> Result<Client, String> {
        let is_secret = self.url.starts_with("https://");
        let key = (way.clone(), self.ca.map(Path::to_owned), is_secret);
        if let Some(client) = kept().get(&key) {
            return Ok(client.1.clone());
        }
        let client = self.build(way).await?;
        kept().insert(key, (Instant::now(), client.clone()));
        Ok(client)
    }

    async fn build(&self, way: Option<PathBuf>) -> Result<Client, String> {
        let own = match self.ca {
            Some(file) => authorities(file).await?,
            None => Vec::new(),
        };
        let build = |has_others: bool| {
            let mut builder = match has_others {
                true => reqwest::Client::builder().tls_certs_merge(own.clone()),
                false => reqwest::Client::builder().tls_certs_only(own.clone()),
            };
            if let Some(socket) = &way {
                builder = builder.unix_socket(socket.as_path());
            }
            builder
                .redirect(Policy::none())
                .tls_info(true)
                // A proxy of the environment would answer for the service.
                .no_proxy()
                // A connection that was kept proves less than one that is made.
                .pool_max_idle_per_host(0)
                .user_agent(concat!("lastgood/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        // A machine without a certificate of any authority can ask over plain HTTP all the same.
        let http = match build(true) {
            Err(_) if self.url.starts_with("http://") => build(false),
            built => built,
        };
        let http = http.map_err(|error| match self.ca {
            Some(file) => format!("ca {}: {}", file.display(), cause(&error)),
            None => format!(
                "{}: install ca-certificates, or write ca = \"/path/of/its.pem\" in the probe",
                cause(&error)
            ),
        })?;
        Ok(Client {
            http,
            is_by_way: way.is_some(),
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// No answer, or one that is not the expected one, in words.
    pub(super) async fn ask(&self, client: &Client) -> Result<Answer, String> {
        let mut response = self.answer(client).await?;
        let status = response.status();
        let shown = status.to_string();
        self.expected.judge_status(status.as_u16(), &shown)?;
        let certificate = self.certificate(&response);
        let but = |why: String| format!("{shown}, but {why}");
        let body = self.read(&mut response).await.map_err(but)?;
        let found = self.expected.judge_body(&body).map_err(but)?;
        let mut said = vec![shown.clone()];
        said.extend(found);
        let mut warnings = Vec::new();
        if let Some(certificate) = certificate {
            said.push(certificate.text);
            warnings.extend(certificate.warns.then_some(HealthWarning::Certificate));
        }
        Ok(Answer {
            detail: said.join(", "),
            warnings,
        })
    }

    /// The last answer of those that lead on.
    async fn answer(&self, client: &Client) -> Result<Response, String> {
        let begun = Instant::now();
        let first = Url::parse(self.url).map_err(|error| format!("{}: {error}", self.url))?;
        let mut url = first.clone();
        for _ in 0..MAX_REDIRECTS {
            let response = self.get(client, &url, begun).await?;
            match next(&response, &first, client.is_by_way) {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        self.get(client, &url, begun).await
    }

    async fn get(&self, client: &Client, url: &Url, begun: Instant) -> Result<Response, String> {
        let left = self.timeout.saturating_sub(begun.elapsed());
        let asking = client.http.get(url.clone()).timeout(left);
        asking.send().await.map_err(|error| {
            let place = place(url);
            if error.is_timeout() {
                return no_answer(self.timeout);
            }
            let refusal = certificate::refusal(&error, &place, self.ca, Timestamp::now());
            refusal.unwrap_or_else(|| match cause(&error) {
                text if text == "tls handshake eof" => {
                    format!("{place} closed the connection when TLS began: does it speak TLS?")
                }
                text => text,
            })
        })
    }

    /// Reads as much of the body as has to be looked at.
    async fn read(&self, response: &mut Response) -> Result<Body, String> {
        let mut body = Body::default();
        while !self.expected.has_enough(&body) {
            match response.chunk().await {
                Ok(Some(chunk)) => body.take(&chunk),
                Ok(None) => break,
                Err(error) if error.is_timeout() => {
                    return Err(format!(
                        "its body did not end within {}: {} bytes came",
                        in_words(self.timeout),
                        body.len()
                    ));
                }
                Err(error) => return Err(cause(&error)),
            }
        }
        Ok(body)
    }

    /// What is to be said of the certificate that the last answer came with; `None` where there is to be none.
    fn certificate(&self, response: &Response) -> Option<Shown> {
        let is_secret = response.url().scheme() == "https";
        if !is_secret && !self.url.starts_with("https://") {
            return None;
        }
        let found = response.extensions().get::<TlsInfo>();
        let found = found.and_then(TlsInfo::peer_certificate);
        Some(match (is_secret, found) {
            (true, Some(der)) => certificate::judge(der, self.certificate_days, Timestamp::now()),
            (true, None) => Shown::unseen("certificate not seen", self.certificate_days),
            (false, _) => Shown::unseen(
                "certificate not seen: it sent us on to plain http",
                self.certificate_days,
            ),
        })
    }
}

/// Where a redirect leads, if the service is there: another host that answers well proves nothing, and a way to another
/// machine leads to one address of it.
fn next(response: &Response, first: &Url, is_by_way: bool) -> Option<Url> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get("location")?.to_str().ok()?;
    let next = response.url().join(location).ok()?;
    let is_there = next.host_str() == first.host_str()
        && matches!(next.scheme(), "http" | "https")
        && (!is_by_way || next.port_or_known_default() == first.port_or_known_default());
    is_there.then_some(next)
}

/// `localhost:8443`
fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

async fn authorities(file: &Path) -> Result<Vec<Certificate>, String> {
    let shown = file.display();
    let text = tokio::fs::read(file).await;
    let text = text.map_err(|error| format!("ca {shown} cannot be read: {error}"))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if found.is_empty() => Err(format!("ca {shown} holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("ca {shown}: {}", cause(&error))),
    }
}

/// The cause of causes in words: reqwest's own text repeats the address and hides the reason.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io_text(io),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::domain::health::HealthCheck;
    use crate::domain::settings::{Probe, ProbeKind};
    use crate::host::Host;
    use crate::host::probe::ask;

    /// Answers the first question with this, then with `piece` again and again.
    async fn endless(head: &'static str, piece: &'static [u8], pause: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(head.as_bytes()).await;
            pour(stream, piece, pause).await;
        });
        url
    }

    async fn pour(mut stream: TcpStream, piece: &'static [u8], pause: Duration) {
        while stream.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    }

    const HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";

    async fn asked(url: String, contains: Option<&str>, is_json: bool) -> (HealthCheck, Duration) {
        let probe = Probe {
            timeout: Duration::from_millis(600),
            ..Probe::of(ProbeKind::Http {
                url,
                status: None,
                contains: contains.map(str::to_owned),
                json: is_json.then(|| serde_json::json!({ "status": "up" })),
                certificate_days: None,
                ca: None,
            })
        };
        let begun = Instant::now();
        (ask(&Host::Local, &probe).await, begun.elapsed())
    }

    #[tokio::test]
    async fn an_endless_body_is_read_to_the_limit_and_no_further() {
        let flood = || endless(HEAD, &[b'['; 4096], Duration::ZERO);
        let (check, _) = asked(flood().await, Some("up"), false).await;
        let text = "200 OK, but the first 64 KiB of the body lack \"up\"";
        assert!(
            !check.ok && check.detail.as_str().starts_with(text),
            "{check:?}"
        );
        let (check, _) = asked(flood().await, None, true).await;
        let text = "200 OK, but the body is longer than the 64 KiB";
        assert!(
            !check.ok && check.detail.as_str().starts_with(text),
            "{check:?}"
        );
        // Nobody asked for it.
        let (check, _) = asked(flood().await, None, false).await;
        assert_eq!(check.detail.as_str(), "200 OK");
    }

    #[tokio::test]
    async fn a_body_that_drips_ends_with_the_time_of_its_probe() {
        let drip = || endless(HEAD, b"up ", Duration::from_millis(40));
        let (check, took) = asked(drip().await, Some("down"), false).await;
        let text = check.detail.as_str();
        assert!(
            text.starts_with("200 OK, but its body did not end within 600 ms: ")
                && text.ends_with(" bytes came"),
            "{text}"
        );
        assert!(!check.ok && took < Duration::from_secs(3), "{took:?}");
        // What it has to say stands at its beginning: a stream of events never ends.
        let (check, took) = asked(drip().await, Some("up"), false).await;
        assert!(check.ok && took < Duration::from_millis(600), "{check:?}");
    }

    #[tokio::test]
    async fn a_head_that_drips_is_no_answer() {
        let url = endless(
            "HTTP/1.1 200 OK\r\n",
            b"x: y\r\n",
            Duration::from_millis(40),
        )
        .await;
        let (check, _) = asked(url, None, false).await;
        assert_eq!(check.detail.as_str(), "no answer within 600 ms");
    }

    #[tokio::test]
    async fn a_file_without_a_certificate_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let of = |file: &Path| {
            let file = file.to_owned();
            async move {
                let question = Question {
                    url: "https://localhost:1/",
                    expected: Expected::default(),
                    certificate_days: 14,
                    ca: Some(&file),
                    timeout: Duration::from_secs(1),
                };
                question.client(None).await.err().unwrap()
            }
        };
        let error = of(&file).await;
        assert!(
            error.contains("ca.pem cannot be read: No such file"),
            "{error}"
        );
        std::fs::write(&file, "no certificate").unwrap();
        let error = of(&file).await;
        assert!(
            error.ends_with("ca.pem holds no certificate in PEM"),
            "{error}"
        );
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&file, broken).unwrap();
        let error = of(&file).await;
        assert!(error.contains("ca.pem: "), "{error}");
    }
}
