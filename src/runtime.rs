//! What supervises services on a host: Docker, Compose, PM2, configured commands, or nothing but their log files.
//!
//! Each runtime has its own module; the functions here only choose one by the service's [`Runtime`]. Reading
//! functions never change a machine; what changes one takes a [`crate::audit::Permit`].

use std::sync::Arc;

use jiff::Timestamp;
use regex::bytes::Regex;
use tokio::sync::mpsc;

use crate::domain::host::HostName;
use crate::domain::log::{
    FileHits, LogEvent, LogPage, LogPosition, LogRequest, PageRequest, Passage,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, Unreachable};
use crate::domain::settings::ServiceSettings;
use crate::domain::signal::Saturation;
use crate::host::tail::{self, FileSearch, TailError};
use crate::host::{Host, HostError};

mod changed;
pub mod compose;
pub mod docker;
pub mod exec;
pub mod file;
mod look;
pub mod pm2;
mod process;
pub mod prometheus;
pub mod swarm;

pub use changed::{Changed, Changes};
pub use look::Look;

/// Why a runtime could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The daemon did not answer at all.
    #[error("{error}")]
    Unreachable {
        /// The whole cause.
        error: SafeText,
        /// What to do about it.
        fix: SafeText,
        /// Nothing says that there should be one: the default socket does not exist.
        is_absent: bool,
    },
    /// It does not know this container, image or service (any more).
    #[error("{0} does not exist")]
    NotFound(String),
    /// It answered and refused or failed.
    #[error("{what}")]
    Failed {
        /// What could not be done, and where.
        what: String,
        /// Why.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// This kind of service cannot do that.
    #[error("{what} is not possible for {service}, a service of {}", runtime.as_str())]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The service.
        service: ServiceId,
        /// What supervises it.
        runtime: Runtime,
    },
}

impl RuntimeError {
    /// A failure with its cause.
    pub fn failed(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// Whether the daemon itself is away, so that trying again may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether there is no such daemon on the machine at all, which is no outage.
    pub fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                is_absent: true,
                ..
            }
        )
    }

    /// What to do about it, where that is known.
    pub fn fix(&self) -> Option<&SafeText> {
        match self {
            Self::Unreachable { fix, .. } => Some(fix),
            _ => None,
        }
    }

    /// The form in which it stands beside the services that could be read.
    pub fn to_unreachable(&self, host: &Host, runtime: Runtime) -> Unreachable {
        Unreachable {
            host: host.name(),
            runtime,
            is_whole_host: false,
            error: SafeText::from_error(self),
            fix: self.fix().cloned().unwrap_or_else(|| {
                SafeText::from_text("see the message; `docker info` asks the same daemon")
            }),
        }
    }
}

/// A machine that cannot be reached, as it stands beside what could be read.
pub fn unreachable_host(host: HostName, error: &HostError) -> Unreachable {
    Unreachable {
        host,
        runtime: Runtime::Docker,
        is_whole_host: matches!(error, HostError::Lost { .. }),
        error: SafeText::from_error(error),
        fix: SafeText::from_text(error.fix().unwrap_or("see the message")),
    }
}

/// Looks at every runtime of a host once. What could not be read stands in [`Inventory::unreachable`]. With `only`, no
/// other runtime is asked.
pub async fn discover(
    host: &Host,
    configured: &[(ServiceId, ServiceSettings)],
    only: Option<Runtime>,
) -> Inventory {
    let mut look = Look::default();
    look.again(host, configured, &Changed::all(only)).await;
    look.inventory(host, configured).await
}

/// Tells of what changes on a host, as its runtimes do, from the moment on for which `changes` was made; `look` was begun
/// after that. Reconnects by itself; what was connected to anew counts as changed, since what happened meanwhile is not
/// known. Ends when nothing tells of changes, else never.
pub fn watch(
    look: &Look,
    host: Host,
    configured: Vec<(ServiceId, ServiceSettings)>,
    only: Option<Runtime>,
    changes: Arc<Changes>,
) -> impl Future<Output = ()> + Send + use<> {
    let asks = move |runtime| only.is_none_or(|only| only == runtime);
    let daemons = look.daemons();
    async move {
        let docker = async {
            if asks(Runtime::Docker) {
                docker::watch(&host, &changes).await;
            }
        };
        let exec = async {
            if asks(Runtime::Exec) {
                exec::watch(&host, &configured, &changes).await;
            }
        };
        let pm2 = async {
            if asks(Runtime::Pm2) {
                pm2::watch(&host, daemons, &changes).await;
            }
        };
        tokio::join!(docker, exec, pm2);
    }
}

/// Reads what `request` asks for of a service's log, in the order of its source, until the window is read or, following,
/// until nobody listens.
///
/// # Errors
/// The source could not be opened at all.
pub async fn read_logs(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
    request: &LogRequest,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    match service.runtime {
        Runtime::Compose | Runtime::Docker | Runtime::Swarm => {
            docker::read_logs(host, service, request, to).await
        }
        Runtime::Exec => exec::read_logs(host, &service.id, settings, request, to).await,
        Runtime::File => tail::read_on(host, &service.id, &settings.log_files, request, to)
            .await
            .map_err(|error| log_failed(&service.id, error)),
        Runtime::Pm2 => pm2::read_logs(host, service, settings, request, to).await,
    }
}

/// Reads as [`read_logs`] does, closed, and may leave out lines that do not match: see [`tail::read_matching`]. Only
/// services whose log is in files read faster so; the others send everything.
///
/// # Errors
/// See [`read_logs`].
pub async fn read_matching(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
    request: &LogRequest,
    pattern: &Regex,
    to: mpsc::Sender<LogEvent>,
) -> Result<(), RuntimeError> {
    match service.runtime {
        Runtime::Exec | Runtime::File if is_in_place(host, settings) => {
            tail::read_matching(&service.id, &settings.log_files, request, pattern, to)
                .await
                .map_err(|error| log_failed(&service.id, error))
        }
        _ => read_logs(host, service, settings, request, to).await,
    }
}

/// Reads a part of a service's log again: lines that the screen no longer holds, or never did.
///
/// # Errors
/// The source is away, or cannot be asked for a part.
pub async fn read_page(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
    request: &PageRequest,
) -> Result<LogPage, RuntimeError> {
    match service.runtime {
        Runtime::Compose | Runtime::Docker | Runtime::Swarm => {
            docker::read_page(host, service, request).await
        }
        Runtime::Exec | Runtime::File if is_in_place(host, settings) => {
            tail::read_page(&settings.log_files, request)
                .await
                .map_err(|error| log_failed(&service.id, error))
        }
        runtime => Err(RuntimeError::Unsupported {
            what: "reading older lines again",
            service: service.id.clone(),
            runtime,
        }),
    }
}

/// Searches a part of a log file in place, from its end or from its start; without an expression it counts lines. See
/// [`tail::search`].
///
/// # Errors
/// The file is gone or cannot be read in place.
pub async fn search_file(
    service: &ServiceId,
    search: FileSearch,
    to: mpsc::Sender<FileHits>,
) -> Result<(), RuntimeError> {
    tail::search(search, to)
        .await
        .map_err(|error| log_failed(service, error))
}

/// Looks a part of a log file through for a filter; the lines that match an expression are candidates, without one every
/// line is. See [`tail::sift`].
///
/// # Errors
/// The file is gone or cannot be read in place.
pub async fn sift_file(
    service: &ServiceId,
    search: FileSearch,
    to: mpsc::Sender<Passage>,
) -> Result<(), RuntimeError> {
    tail::sift(search, to)
        .await
        .map_err(|error| log_failed(service, error))
}

/// Where the first line of a log file begins that was written at or after an instant. See [`tail::place_at`].
///
/// # Errors
/// The file is gone or cannot be read in place.
pub async fn place_at(
    service: &ServiceId,
    file: &LogPosition,
    at: Timestamp,
) -> Result<u64, RuntimeError> {
    tail::place_at(&file.path, file.inode, at)
        .await
        .map_err(|error| log_failed(service, error))
}

/// Whether the log is in files of this machine, which can be searched where they are.
fn is_in_place(host: &Host, settings: &ServiceSettings) -> bool {
    matches!(host, Host::Local) && !settings.log_files.is_empty()
}

/// Says whose log files could not be read.
fn log_failed(service: &ServiceId, error: TailError) -> RuntimeError {
    RuntimeError::failed(format!("cannot read the log files of {service}"), error)
}

/// Where the log files of a service end now, so that "after" can start exactly there: the configured ones and those
/// of PM2. Empty where the log is not in files.
///
/// # Errors
/// A log file is there and cannot be read.
pub async fn positions(
    host: &Host,
    service: &Service,
    settings: &ServiceSettings,
) -> Result<Vec<LogPosition>, RuntimeError> {
    if service.runtime == Runtime::Pm2 {
        return pm2::positions(host, service, settings).await;
    }
    tail::positions_on(host, &settings.log_files)
        .await
        .map_err(|error| log_failed(&service.id, error))
}

/// Measures what a service uses of what it may use.
///
/// # Errors
/// The daemon did not answer, or this runtime does not measure.
pub async fn saturation(host: &Host, service: &Service) -> Result<Saturation, RuntimeError> {
    match service.runtime {
        Runtime::Compose | Runtime::Docker | Runtime::Swarm => {
            docker::saturation(host, service).await
        }
        Runtime::Exec if host.name().is_local() => exec::saturation(service).await,
        Runtime::Pm2 => pm2::saturation(host, service).await,
        runtime @ (Runtime::Exec | Runtime::File) => Err(RuntimeError::Unsupported {
            what: "measuring CPU and memory",
            service: service.id.clone(),
            runtime,
        }),
    }
}
