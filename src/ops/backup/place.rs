//! Where the programs of a database run: on a machine, or in the container of its service.

use std::time::Duration;

use crate::audit::Permit;
use crate::host::stream::Streams;
use crate::host::{Command, CommandOutput, Host, HostError};
use crate::ops::{ErrorKind, OpsError};
use crate::runtime::docker;

/// Variables that the usual images of databases are given: in a container they are the defaults, as they are for its
/// own programs.
const IN_CONTAINER: &str = r#"
: "${PGUSER:=${POSTGRES_USER:-postgres}}" "${PGPASSWORD:=${POSTGRES_PASSWORD:-}}" "${REDISCLI_AUTH:=${REDIS_PASSWORD:-}}"
export PGUSER
if [ -n "$PGPASSWORD" ]; then export PGPASSWORD; else unset PGPASSWORD; fi
if [ -n "$REDISCLI_AUTH" ]; then export REDISCLI_AUTH; else unset REDISCLI_AUTH; fi
exec "$@""#;
/// What a shell says of a program that is not there.
const NO_PROGRAM: i32 = 127;

/// A machine, or a container of it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) container: Option<String>,
}

impl Place {
    /// Runs a program that changes nothing.
    ///
    /// # Errors
    /// It is not there, it took too long, the machine or the engine is away.
    pub(super) async fn query(
        &self,
        command: &Command,
        streams: Streams,
    ) -> Result<CommandOutput, OpsError> {
        let ended = match &self.container {
            None => self
                .host
                .query_streamed(command, streams)
                .await
                .map_err(|error| self.not_run(command, error))?,
            Some(id) => docker::query_in_container(&self.host, id, &contained(command), streams)
                .await
                .map_err(|error| crate::ops::services::failed(self.cannot(command), error))?,
        };
        self.is_there(command, ended)
    }

    /// Runs one that changes something.
    ///
    /// # Errors
    /// As [`Place::query`].
    pub(super) async fn change(
        &self,
        permit: &Permit,
        command: &Command,
        streams: Streams,
    ) -> Result<CommandOutput, OpsError> {
        let ended = match &self.container {
            None => self
                .host
                .change_streamed(permit, command, streams)
                .await
                .map_err(|error| self.not_run(command, error))?,
            Some(id) => {
                docker::change_in_container(&self.host, permit, id, &contained(command), streams)
                    .await
                    .map_err(|error| crate::ops::services::failed(self.cannot(command), error))?
            }
        };
        self.is_there(command, ended)
    }

    fn cannot(&self, command: &Command) -> String {
        format!("cannot run {} {}", command.program(), self.words())
    }

    /// `on local`, `in the container 0123456789ab`.
    pub(super) fn words(&self) -> String {
        match &self.container {
            None => format!("on {}", self.host.name()),
            Some(id) => format!("in the container {}", crate::domain::service::short_id(id)),
        }
    }

    fn not_run(&self, command: &Command, error: HostError) -> OpsError {
        let fix = error.fix().map(str::to_owned);
        let failed = match error.is_not_found() {
            true => return self.missing(command),
            false => OpsError::new(ErrorKind::Failed, self.cannot(command)).because(error),
        };
        match fix {
            Some(fix) => failed.fix(fix),
            None => failed,
        }
    }

    fn missing(&self, command: &Command) -> OpsError {
        let program = command.program();
        let package = match &*program {
            "pg_dump" | "pg_restore" | "psql" => "postgresql-client",
            "redis-cli" | "redis-server" => "redis",
            other => other,
        };
        OpsError::new(
            ErrorKind::Failed,
            format!("there is no {program} {}", self.words()),
        )
        .fix(match self.container {
            None => format!("there: sudo apt-get install {package}"),
            Some(_) => format!("an image that has it, or no `service` in [backups.…]: {package} of the machine is used then"),
        })
    }

    fn is_there(&self, command: &Command, ended: CommandOutput) -> Result<CommandOutput, OpsError> {
        let is_shell = command.program() == "sh";
        match ended.code == Some(NO_PROGRAM) && !is_shell {
            true => Err(self.missing(command)),
            false => Ok(ended),
        }
    }
}

fn contained(command: &Command) -> Command {
    let argv = Command::shell_with(IN_CONTAINER, &command.argv, command.timeout).argv;
    Command {
        argv,
        ..command.clone()
    }
}

/// A program that must end with 0.
///
/// # Errors
/// It did not: its last words.
pub(super) fn succeeded(
    what: &str,
    kind: ErrorKind,
    ended: CommandOutput,
) -> Result<CommandOutput, OpsError> {
    if ended.is_success() {
        return Ok(ended);
    }
    // The cause stands first, what follows from it or might help comes after.
    let said = String::from_utf8_lossy(&ended.stderr);
    let is_about_others = said.contains("due to previous errors");
    let cause = said
        .lines()
        .find(|line| line.contains("error: ") || is_about_others && !line.trim().is_empty());
    let text = match (cause, ended.code) {
        (Some(cause), Some(code)) => format!("{what}: exit {code}: {}", cause.trim()),
        _ => format!("{what}: {}", ended.describe()),
    };
    Err(OpsError::new(kind, text))
}

/// A line for a shell on this machine, as the configuration has it.
pub(super) fn own_shell(line: &str, limit: Duration) -> Command {
    Command::shell(line, &[], limit)
}
