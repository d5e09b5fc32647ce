//! The connection to an engine: where it listens, and why it does not answer, in words.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, UnixStream};

use super::body::{Io, RawBody};
use crate::domain::safe_text::SafeText;
use crate::host::Host;
use crate::host::ssh::{DockerSocket, FORWARDING, Session};
use crate::runtime::RuntimeError;

/// An engine that answers has answered by then; a hanging one is unreachable.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same over ssh: what a hundred containers are takes its time over a slow link.
const REMOTE_ANSWER: Duration = Duration::from_secs(20);
/// The same with the connection to the machine.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(25);
/// So often an engine is connected to through a link that is lost meanwhile …
const TRIES: u32 = 3;
/// … with this pause in between.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Where an engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// The same as `DOCKER_HOST` would say it.
pub const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// Bollard's own limit for one call, in seconds.
const CALL_TIMEOUT_SECONDS: u64 = 120;
/// The limit for stopping and restarting.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The tasks of a large swarm are a few megabytes.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(String),
}

/// A Docker engine that answered once, with the API version that both sides speak.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    address: Address,
    /// For one answer.
    limit: Duration,
}

impl Engine {
    /// Connects to the engine of a host and agrees on an API version.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] with the cause and what to do about it.
    pub async fn connect(host: &Host) -> Result<Self, RuntimeError> {
        let connect = || async {
            let address = address_of(host).await?;
            let docker = match &address {
                Address::Unix(path) => {
                    let path = path.to_string_lossy();
                    // Asked with our own socket first: its error names the kind, bollard's does not.
                    UnixStream::connect(path.as_ref())
                        .await
                        .map_err(|e| explain_socket(Path::new(path.as_ref()), &e))?;
                    Docker::connect_with_unix(
                        &path,
                        CALL_TIMEOUT_SECONDS,
                        bollard::API_DEFAULT_VERSION,
                    )
                }
                Address::Tcp(address) => {
                    TcpStream::connect(address)
                        .await
                        .map_err(|e| explain_tcp(address, &e))?;
                    Docker::connect_with_http(
                        &format!("http://{address}"),
                        CALL_TIMEOUT_SECONDS,
                        bollard::API_DEFAULT_VERSION,
                    )
                }
            };
            let docker = docker.map_err(|e| explain("connect to the Docker engine", e))?;
            let docker = docker
                .negotiate_version()
                .await
                .map_err(|e| explain("agree on an API version with the Docker engine", e))?;
            let limit = match host {
                Host::Local => ANSWER_TIMEOUT,
                Host::Ssh(_) => REMOTE_ANSWER,
            };
            Ok(Self {
                docker,
                address,
                limit,
            })
        };
        match host {
            Host::Local => within(ANSWER_TIMEOUT, connect()).await,
            // The link to the machine is given its own time. One that is lost just now is made anew: nothing was asked
            // of the engine yet.
            Host::Ssh(session) => {
                let mut tries = TRIES;
                loop {
                    tries -= 1;
                    match within(REMOTE_TIMEOUT, connect()).await {
                        Err(error) if is_cut(&error) && tries > 0 => {
                            tokio::time::sleep(AGAIN_AFTER).await;
                        }
                        Err(error) if is_cut(&error) => {
                            return Err(explain_forwarded(session, error).await);
                        }
                        connected => return connected,
                    }
                }
            }
        }
    }

    /// Puts the limit of an answer on a call that should be quick.
    pub(super) async fn quick<T>(
        &self,
        call: impl Future<Output = Result<T, RuntimeError>>,
    ) -> Result<T, RuntimeError> {
        within(self.limit, call).await
    }

    /// The same engine for a call that may take long: a container may ask for minutes to stop.
    pub(super) fn patient(&self) -> Docker {
        self.docker.clone().with_timeout(PATIENCE)
    }

    /// GETs a path of the API and returns the body as it comes, undecoded.
    ///
    /// # Errors
    /// The engine is away, or answered with an error.
    pub(super) async fn get_raw(&self, path: &str) -> Result<RawBody, RuntimeError> {
        let (io, uri) = (self.connection().await?, self.uri(path));
        accepted(RawBody::get(io, &uri).await).await
    }

    /// GETs a path of the API and reads the answer, exactly as it is.
    ///
    /// # Errors
    /// The engine is away, answered with an error or with something else, or not in time.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, RuntimeError> {
        self.quick(async { read_json(path, self.get_raw(path).await?).await })
            .await
    }

    /// POSTs a body of JSON and reads the answer.
    ///
    /// # Errors
    /// The engine is away, answered with an error or with something else, or not in time: what it did is not known
    /// then.
    pub(super) async fn post_json<T: DeserializeOwned>(
        &self,
        path: &str,
        json: &[u8],
    ) -> Result<T, RuntimeError> {
        self.quick(async {
            let (io, uri) = (self.connection().await?, self.uri(path));
            let body = accepted(RawBody::post(io, &uri, json).await).await?;
            read_json(path, body).await
        })
        .await
    }

    fn uri(&self, path: &str) -> String {
        let version = self.docker.client_version();
        format!(
            "/v{}.{}{path}",
            version.major_version, version.minor_version
        )
    }

    async fn connection(&self) -> Result<Io, RuntimeError> {
        match &self.address {
            Address::Unix(socket) => UnixStream::connect(socket)
                .await
                .map(Io::Unix)
                .map_err(|e| explain_socket(socket, &e)),
            Address::Tcp(address) => TcpStream::connect(address)
                .await
                .map(Io::Tcp)
                .map_err(|e| explain_tcp(address, &e)),
        }
    }
}

/// The body of an answer that says yes.
async fn accepted(answer: io::Result<(u16, RawBody)>) -> Result<RawBody, RuntimeError> {
    let (status, mut body) =
        answer.map_err(|e| unreachable_because("the Docker engine closed the connection", &e))?;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let text = tokio::time::timeout(ANSWER_TIMEOUT, body.rest())
        .await
        .unwrap_or_default();
    Err(refusal(status, &text))
}

async fn read_json<T: DeserializeOwned>(path: &str, mut body: RawBody) -> Result<T, RuntimeError> {
    let bytes = body
        .whole(LONGEST_ANSWER)
        .await
        .map_err(|e| unreachable_because("the Docker engine closed the connection", &e))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        RuntimeError::failed(
            format!("the Docker engine's answer to {path} is none"),
            error,
        )
    })
}

fn refusal(status: u16, body: &[u8]) -> RuntimeError {
    let message = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|v| v.get("message").and_then(|m| m.as_str().map(str::to_owned)))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    match status {
        404 => RuntimeError::NotFound(message),
        code => RuntimeError::Failed {
            what: format!(
                "the Docker engine answered {code}: {}",
                SafeText::from_text(&message)
            ),
            source: None,
        },
    }
}

async fn address_of(host: &Host) -> Result<Address, RuntimeError> {
    match host {
        Host::Local => parse_docker_host(std::env::var("DOCKER_HOST").ok().as_deref()),
        Host::Ssh(session) => match Box::pin(session.docker_socket()).await {
            Ok(DockerSocket::At { local, .. }) => Ok(Address::Unix(local)),
            Ok(DockerSocket::Absent) => Err(no_socket(session)),
            Ok(DockerSocket::Denied(path)) => Err(RuntimeError::Unreachable {
                error: SafeText::from_text(&format!(
                    "permission denied on {} of {}",
                    path.display(),
                    session.name()
                )),
                fix: SafeText::from_text(
                    "there: sudo usermod -aG docker $USER, then connect again",
                ),
                is_absent: false,
            }),
            Err(error) => Err(RuntimeError::Unreachable {
                fix: SafeText::from_text(error.fix().unwrap_or("see the message")),
                error: SafeText::from_error(&error),
                is_absent: false,
            }),
        },
    }
}

/// Whether somebody took the connection and closed it without an answer.
fn is_cut(error: &RuntimeError) -> bool {
    !matches!(
        error,
        RuntimeError::Unreachable {
            is_absent: true,
            ..
        }
    ) && {
        let text = SafeText::from_error(error);
        [
            "closed",
            "reset",
            "Broken pipe",
            "incomplete",
            "end of file",
        ]
        .iter()
        .any(|word| text.as_str().contains(word))
    }
}

fn no_socket(session: &Session) -> RuntimeError {
    RuntimeError::Unreachable {
        error: SafeText::from_text(&format!("no Docker socket on {}", session.name())),
        fix: SafeText::from_text(
            "Docker is not installed or not started there: sudo systemctl start docker",
        ),
        is_absent: true,
    }
}

/// Says why a forwarded socket gave no answer.
async fn explain_forwarded(session: &Session, error: RuntimeError) -> RuntimeError {
    let Ok(DockerSocket::At { remote, .. }) = session.docker_socket().await else {
        return error;
    };
    let (text, fix) = match session.why_cut(&remote).await {
        Ok(Some(why)) if session.rights().is_some() => (
            format!(
                "{} of {} is not reached by `{}`: {why}",
                remote.display(),
                session.name(),
                session.rights().unwrap_or_default()
            ),
            "with `become` one of docker, perl and node has to be there for the user that commands run as",
        ),
        Ok(Some(why)) => (
            format!(
                "the sshd of {} forbids forwarding to {} ({why})",
                session.name(),
                remote.display()
            ),
            FORWARDING,
        ),
        Ok(None) => (
            format!(
                "nobody listens at {} of {}",
                remote.display(),
                session.name()
            ),
            "start the engine there: sudo systemctl start docker",
        ),
        Err(_) => return error,
    };
    RuntimeError::Unreachable {
        error: SafeText::from_text(&text),
        fix: SafeText::from_text(fix),
        is_absent: false,
    }
}

fn parse_docker_host(value: Option<&str>) -> Result<Address, RuntimeError> {
    let Some(value) = value.filter(|v| !v.is_empty()) else {
        return Ok(Address::Unix(PathBuf::from(DEFAULT_SOCKET)));
    };
    if let Some(path) = value.strip_prefix("unix://") {
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    if let Some(rest) = value
        .strip_prefix("tcp://")
        .or_else(|| value.strip_prefix("http://"))
    {
        let rest = rest.trim_end_matches('/');
        let is_tls = std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|v| !v.is_empty());
        if !rest.is_empty() && !is_tls {
            let has_port = rest
                .rsplit(':')
                .next()
                .is_some_and(|p| p.parse::<u16>().is_ok());
            return Ok(Address::Tcp(if has_port {
                rest.to_owned()
            } else {
                format!("{rest}:2375")
            }));
        }
    }
    Err(RuntimeError::Unreachable {
        error: SafeText::from_text(&format!("DOCKER_HOST={value} is not supported")),
        fix: SafeText::from_text(
            "use unix:///path or tcp://host:port, or reach the machine itself: lastgood --host user@server",
        ),
        is_absent: false,
    })
}

pub(super) fn hanging(limit: Duration) -> RuntimeError {
    RuntimeError::Unreachable {
        error: SafeText::from_text(&format!(
            "the Docker engine did not answer within {} s",
            limit.as_secs_f32()
        )),
        fix: SafeText::from_text(
            "it hangs or is overloaded: sudo systemctl status docker; journalctl -u docker -n 50",
        ),
        is_absent: false,
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    tokio::time::timeout(limit, call)
        .await
        .unwrap_or_else(|_| Err(hanging(limit)))
}

fn explain_socket(path: &Path, error: &io::Error) -> RuntimeError {
    let (what, fix) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("no Docker socket at {}", path.display()),
            "Docker is not installed or not started: sudo systemctl start docker (or sudo apt-get install docker.io)",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("permission denied on {}", path.display()),
            "this user is not in the group docker: sudo usermod -aG docker $USER, then sign in again",
        ),
        io::ErrorKind::ConnectionRefused => (
            format!(
                "connection refused on {}: the Docker engine is not running",
                path.display()
            ),
            "sudo systemctl start docker",
        ),
        _ => (
            format!("cannot connect to {}: {error}", path.display()),
            "sudo systemctl status docker",
        ),
    };
    RuntimeError::Unreachable {
        error: SafeText::from_text(&what),
        fix: SafeText::from_text(fix),
        is_absent: error.kind() == io::ErrorKind::NotFound && path == Path::new(DEFAULT_SOCKET),
    }
}

fn explain_tcp(address: &str, error: &io::Error) -> RuntimeError {
    RuntimeError::Unreachable {
        error: SafeText::from_text(&format!("cannot connect to {address}: {error}")),
        fix: SafeText::from_text("check DOCKER_HOST, and that the engine listens there"),
        is_absent: false,
    }
}

fn unreachable_because(what: &str, error: &(dyn std::error::Error + 'static)) -> RuntimeError {
    RuntimeError::Unreachable {
        error: SafeText::from_text(&format!("{what}: {}", SafeText::from_error(error))),
        fix: SafeText::from_text("sudo systemctl status docker"),
        is_absent: false,
    }
}

/// Turns bollard's error into ours: an answer of the engine is a failure, no answer is unreachable.
pub(super) fn explain(what: &str, error: bollard::errors::Error) -> RuntimeError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError {
            status_code: 404,
            message,
        } => RuntimeError::NotFound(SafeText::from_text(&message).to_string()),
        Error::DockerResponseServerError {
            status_code,
            message,
        } => RuntimeError::Failed {
            what: format!(
                "cannot {what}: the Docker engine answered {status_code}: {}",
                SafeText::from_text(&message)
            ),
            source: None,
        },
        Error::RequestTimeoutError => hanging(Duration::from_secs(CALL_TIMEOUT_SECONDS)),
        error @ (Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::SocketNotFoundError(_)) => unreachable_because(&format!("cannot {what}"), &error),
        error => RuntimeError::failed(format!("cannot {what}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_is_read_as_the_docker_cli_reads_it() {
        let unix = |p: &str| Address::Unix(PathBuf::from(p));
        assert_eq!(
            parse_docker_host(None).unwrap(),
            unix("/var/run/docker.sock")
        );
        assert_eq!(
            parse_docker_host(Some("")).unwrap(),
            unix("/var/run/docker.sock")
        );
        assert_eq!(
            parse_docker_host(Some("unix:///tmp/d.sock")).unwrap(),
            unix("/tmp/d.sock")
        );
        assert_eq!(
            parse_docker_host(Some("tcp://127.0.0.1:2376/")).unwrap(),
            Address::Tcp("127.0.0.1:2376".into())
        );
        assert_eq!(
            parse_docker_host(Some("tcp://box")).unwrap(),
            Address::Tcp("box:2375".into())
        );
        let error = parse_docker_host(Some("ssh://deploy@box")).unwrap_err();
        assert!(error.to_string().contains("ssh://deploy@box"));
        assert!(error.fix().unwrap().as_str().contains("--host"));
    }

    #[test]
    fn every_socket_error_has_its_fix() {
        let fix = |kind| {
            let error = explain_socket(Path::new("/run/x.sock"), &io::Error::from(kind));
            (error.to_string(), error.fix().unwrap().to_string())
        };
        let (error, fix_text) = fix(io::ErrorKind::PermissionDenied);
        assert_eq!(error, "permission denied on /run/x.sock");
        assert!(fix_text.contains("usermod -aG docker"));
        assert!(fix(io::ErrorKind::NotFound).0.contains("no Docker socket"));
        assert!(
            fix(io::ErrorKind::ConnectionRefused)
                .1
                .contains("systemctl start docker")
        );
    }

    #[tokio::test]
    async fn a_daemon_that_takes_the_connection_and_says_nothing_is_unreachable_in_time() {
        let silent = std::future::pending::<Result<(), RuntimeError>>();
        let error = within(Duration::from_millis(50), silent).await.unwrap_err();
        assert!(error.is_unreachable());
        assert!(error.to_string().contains("did not answer within 0.05 s"));
    }
}
