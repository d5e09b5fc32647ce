//! The connection to an engine: where it listens, and why it does not answer, in words.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use serde::de::DeserializeOwned;

pub(super) use self::address::Address;
use self::address::parse_docker_host;
use super::body::{Io, RawBody, Reply};
use super::line::Line;
use super::remembered;
use crate::domain::safe_text::SafeText;
use crate::host::ssh::{DockerSocket, FORWARDING, Session};
use crate::host::{Host, HostError};
use crate::runtime::RuntimeError;

mod address;

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
/// The same as `DOCKER_HOST` would say it.
pub const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
/// Bollard's own limit for one call, in seconds.
const CALL_TIMEOUT_SECONDS: u64 = 120;
/// The limit for stopping and restarting.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The tasks of a large swarm are a few megabytes.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A Docker engine that answered once, with the API version that both sides speak.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    address: Address,
    /// For one answer.
    limit: Duration,
    /// The connection for the next question, where one is kept.
    line: Option<Arc<Mutex<Option<Line>>>>,
}

impl Engine {
    /// Connects to the engine of a host and agrees on an API version.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] with the cause and what to do about it.
    pub async fn connect(host: &Host) -> Result<Self, RuntimeError> {
        let connect = || async {
            let address = address_of(host).await?;
            let docker = address.negotiate().await?;
            Ok(Self::at(host, address, docker))
        };
        let connected = match host {
            Host::Local => within(ANSWER_TIMEOUT, connect()).await,
            // The link to the machine is given its own time. One that is lost just now is made anew: nothing was asked
            // of the engine yet.
            Host::Ssh(session) => {
                let mut tries = TRIES;
                loop {
                    tries -= 1;
                    match within(REMOTE_TIMEOUT, connect()).await {
                        Err(error) if is_cut(&error) || is_without_link(&error) => {
                            if tries == 0 {
                                return Err(explain_forwarded(session, error).await);
                            }
                            tokio::time::sleep(AGAIN_AFTER).await;
                        }
                        connected => break connected,
                    }
                }
            }
        };
        if let Ok(engine) = &connected {
            remembered::engine_answered(&host.name(), &engine.address, &engine.docker);
        }
        connected
    }

    fn at(host: &Host, address: Address, docker: Docker) -> Self {
        Self {
            docker,
            address,
            limit: match host {
                Host::Local => ANSWER_TIMEOUT,
                Host::Ssh(_) => REMOTE_ANSWER,
            },
            line: None,
        }
    }

    /// The same engine for several questions in a row, over one connection, which is closed when this is dropped.
    pub(super) fn over_one_connection(mut self) -> Self {
        self.line = Some(Arc::default());
        self
    }

    /// Connects to the engine of a host, unless it answered at that address before.
    ///
    /// # Errors
    /// Those of [`Engine::connect`].
    pub(super) async fn known(host: &Host) -> Result<Self, RuntimeError> {
        match Self::remembered(host).await? {
            Some(engine) => Ok(engine),
            None => Self::connect(host).await,
        }
    }

    /// Asks the engine of a host for what may be asked for twice. One that answered before is not asked for its version
    /// again: over ssh that is a second way there and back. Where it does not answer now, it is
    /// connected to anew, which says why or gives it once more the chance to answer.
    ///
    /// # Errors
    /// Those of [`Engine::connect`] and of what is asked.
    pub(in crate::runtime) async fn ask<T, F>(
        host: &Host,
        ask: impl Fn(Self) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        Self::ask_while(host, || true, ask).await
    }

    /// Asks as [`Engine::ask`] does, a second time only while `may_repeat` says so.
    ///
    /// # Errors
    /// Those of [`Engine::ask`].
    pub(super) async fn ask_while<T, F>(
        host: &Host,
        may_repeat: impl Fn() -> bool,
        ask: impl Fn(Self) -> F,
    ) -> Result<T, RuntimeError>
    where
        F: Future<Output = Result<T, RuntimeError>>,
    {
        let begun = Instant::now();
        if let Some(engine) = Self::remembered(host).await? {
            let answer = ask(engine).await;
            let Err(error) = &answer else { return answer };
            if !is_no_answer(error) {
                return answer;
            }
            remembered::forget_engine(&host.name());
            // Behind a link that is gone nothing was asked, and whether the engine answers is not known.
            let is_unasked = matches!(host, Host::Ssh(_)) && is_without_link(error);
            // One that hangs has been waited for long enough.
            if !is_unasked && (!may_repeat() || begun.elapsed() >= ANSWER_TIMEOUT) {
                return answer;
            }
        }
        ask(Self::connect(host).await?).await
    }

    async fn remembered(host: &Host) -> Result<Option<Self>, RuntimeError> {
        let limit = match host {
            Host::Local => ANSWER_TIMEOUT,
            Host::Ssh(_) => REMOTE_TIMEOUT,
        };
        // Without a link there is no address.
        let address = within(limit, address_of(host)).await?;
        let docker = remembered::engine(&host.name(), &address);
        Ok(docker.map(|docker| Self::at(host, address, docker)))
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
        let reply = self.quick(self.get_all([path])).await?.pop();
        reply.map_or_else(
            || Err(RuntimeError::NotFound(path.to_owned())),
            |reply| parse_reply(path, &reply),
        )
    }

    /// GETs paths of the API over one connection, and gives the answers in their order.
    ///
    /// # Errors
    /// The engine is away.
    pub(super) async fn get_all(
        &self,
        paths: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Reply>, RuntimeError> {
        let uris: Vec<String> = paths.into_iter().map(|p| self.uri(p.as_ref())).collect();
        let mut replies = Vec::with_capacity(uris.len());
        while replies.len() < uris.len() {
            let kept = self.kept().and_then(|mut kept| kept.take());
            let is_new = kept.is_none();
            let mut line = match kept {
                Some(line) => line,
                None => Line::new(self.connection().await?),
            };
            let before = replies.len();
            let asked = line
                .get(&uris[before..], LONGEST_ANSWER, &mut replies)
                .await;
            match asked {
                Ok(()) => {
                    if let Some(mut kept) = self.kept() {
                        *kept = Some(line).filter(Line::is_open);
                    }
                }
                // A server may end a connection after any answer: it is asked for the rest over a new one.
                Err(_) if !is_new || replies.len() > before => {}
                Err(error) => {
                    let what = "the Docker engine closed the connection";
                    return Err(unreachable_because(what, &error));
                }
            }
        }
        Ok(replies)
    }

    fn kept(&self) -> Option<MutexGuard<'_, Option<Line>>> {
        let line = self.line.as_ref()?;
        Some(line.lock().unwrap_or_else(PoisonError::into_inner))
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
        self.address.open().await
    }
}

/// Whether an engine that answered a moment ago does so no longer, or not to somebody who speaks that version: another
/// one stands in its place.
fn is_no_answer(error: &RuntimeError) -> bool {
    error.is_unreachable() || error.to_string().contains("client version")
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
    parse_json(path, &bytes)
}

/// What an answer says, where it says yes.
pub(super) fn parse_reply<T: DeserializeOwned>(
    path: &str,
    reply: &Reply,
) -> Result<T, RuntimeError> {
    match reply.status {
        200..300 => parse_json(path, &reply.body),
        status => Err(refusal(status, &reply.body)),
    }
}

fn parse_json<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, RuntimeError> {
    serde_json::from_slice(bytes).map_err(|error| {
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
            Err(error) => Err(away(&error)),
        },
    }
}

/// The machine cannot be reached.
fn away(error: &HostError) -> RuntimeError {
    RuntimeError::Unreachable {
        fix: SafeText::from_text(error.fix().unwrap_or("see the message")),
        error: SafeText::from_error(error),
        is_absent: false,
    }
}

/// Whether nobody takes connections at a forwarded socket: the master of the link does, for as long as it lives.
fn is_without_link(error: &RuntimeError) -> bool {
    let text = SafeText::from_error(error);
    let is = |words| error.is_unreachable() && text.as_str().starts_with(words);
    !error.is_absent() && (is(address::REFUSED) || is(address::NO_SOCKET))
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
    let remote = match session.docker_socket().await {
        Ok(DockerSocket::At { remote, .. }) => remote,
        Ok(_) => return error,
        Err(lost) => return away(&lost),
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
        Err(lost) if lost.is_lost() => return away(&lost),
        Err(_) => return error,
    };
    RuntimeError::Unreachable {
        error: SafeText::from_text(&text),
        fix: SafeText::from_text(fix),
        is_absent: false,
    }
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

    #[tokio::test]
    async fn a_daemon_that_takes_the_connection_and_says_nothing_is_unreachable_in_time() {
        let silent = std::future::pending::<Result<(), RuntimeError>>();
        let error = within(Duration::from_millis(50), silent).await.unwrap_err();
        assert!(error.is_unreachable());
        assert!(error.to_string().contains("did not answer within 0.05 s"));
    }
}
