//! Where an engine listens, how it is reached there, and which version it speaks.

use std::io;
use std::path::{Path, PathBuf};

use bollard::{ClientVersion, Docker};
use tokio::net::{TcpStream, UnixStream};

use super::{CALL_TIMEOUT_SECONDS, accepted, explain};
use crate::domain::safe_text::SafeText;
use crate::runtime::RuntimeError;
use crate::runtime::docker::body::{Io, RawBody};

/// Where an engine listens unless `DOCKER_HOST` says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime::docker) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Address {
    pub(super) async fn open(&self) -> Result<Io, RuntimeError> {
        match self {
            Self::Unix(socket) => UnixStream::connect(socket)
                .await
                .map(Io::Unix)
                .map_err(|e| explain_socket(socket, &e)),
            Self::Tcp(address) => TcpStream::connect(address)
                .await
                .map(Io::Tcp)
                .map_err(|e| explain_tcp(address, &e)),
        }
    }

    fn client(&self, version: &ClientVersion) -> Result<Docker, RuntimeError> {
        let client = match self {
            Self::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), CALL_TIMEOUT_SECONDS, version)
            }
            Self::Tcp(address) => Docker::connect_with_http(
                &format!("http://{address}"),
                CALL_TIMEOUT_SECONDS,
                version,
            ),
        };
        client.map_err(|e| explain("connect to the Docker engine", e))
    }

    /// Agrees on an API version. A ping says it: for `/version` the engine starts three programs, which costs it 6 ms.
    pub(super) async fn negotiate(&self) -> Result<Docker, RuntimeError> {
        let answer = accepted(RawBody::get(self.open().await?, "/_ping").await).await?;
        let newest = bollard::API_DEFAULT_VERSION;
        match answer.header("Api-Version").and_then(read_version) {
            Some(version) if version < *newest => self.client(&version),
            Some(_) => self.client(newest),
            // Very old, or no engine at all.
            None => self
                .client(newest)?
                .negotiate_version()
                .await
                .map_err(|e| explain("agree on an API version with the Docker engine", e)),
        }
    }
}

/// `1.41`.
fn read_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion {
        major_version: major.parse().ok()?,
        minor_version: minor.parse().ok()?,
    })
}

/// As the docker CLI reads it.
pub(super) fn parse_docker_host(value: Option<&str>) -> Result<Address, RuntimeError> {
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

/// How it begins that nobody listens at a socket …
pub(super) const REFUSED: &str = "connection refused on";
/// … and that there is none.
pub(super) const NO_SOCKET: &str = "no Docker socket at";

fn explain_socket(path: &Path, error: &io::Error) -> RuntimeError {
    let (what, fix) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("{NO_SOCKET} {}", path.display()),
            "Docker is not installed or not started: sudo systemctl start docker (or sudo apt-get install docker.io)",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("permission denied on {}", path.display()),
            "this user is not in the group docker: sudo usermod -aG docker $USER, then sign in again",
        ),
        io::ErrorKind::ConnectionRefused => (
            format!(
                "{REFUSED} {}: the Docker engine is not running",
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
        // Of a forwarded socket each of the two says that the link is gone.
        assert!(fix(io::ErrorKind::NotFound).0.starts_with(NO_SOCKET));
        assert!(fix(io::ErrorKind::ConnectionRefused).0.starts_with(REFUSED));
    }
}
