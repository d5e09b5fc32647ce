//! Asks inside a container: a short script that reads, run beside the service's own processes.
//!
//! A database is asked where its own tools and its own rights are: nothing has to be installed on the machine, no port has
//! to be open, and no password is needed that the container does not have.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt;

use super::connect::{Engine, explain};
use super::inspect::containers_of;
use crate::domain::service::Service;
use crate::host::{CommandOutput, Host};
use crate::runtime::RuntimeError;

/// So much of each of its outputs is kept.
const MAX_OUTPUT: usize = 64 * 1024;

/// Runs `sh -c script` in the first running container of a service. The script must change nothing, and should end itself
/// within `limit`: what is still running then goes on inside, unheard.
///
/// # Errors
/// The engine is unreachable, no container runs, it has no shell, or the script took too long.
pub async fn ask_inside(
    host: &Host,
    service: &Service,
    script: &str,
    limit: Duration,
) -> Result<CommandOutput, RuntimeError> {
    let asking = async {
        let engine = Engine::connect(host).await?;
        let containers = containers_of(&engine, service).await?;
        let running = containers
            .into_iter()
            .find(|c| c.state.as_ref().and_then(|s| s.running) == Some(true));
        let id = running.and_then(|c| c.id).ok_or_else(|| {
            RuntimeError::failed(
                format!("cannot ask inside {}", service.id),
                std::io::Error::other("no container of it runs"),
            )
        })?;
        run(&engine, service, &id, script).await
    };
    tokio::time::timeout(limit, asking).await.map_err(|_| {
        RuntimeError::failed(
            format!("cannot ask inside {}", service.id),
            std::io::Error::other(format!("no answer within {} s", limit.as_secs_f32())),
        )
    })?
}

async fn run(
    engine: &Engine,
    service: &Service,
    container: &str,
    script: &str,
) -> Result<CommandOutput, RuntimeError> {
    let what = format!("ask inside {}", service.id);
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()]),
        ..ExecConfig::default()
    };
    let created = engine
        .docker
        .create_exec(container, config)
        .await
        .map_err(|e| explain(&what, e))?;
    let started = engine
        .docker
        .start_exec(&created.id, None::<StartExecOptions>)
        .await
        .map_err(|e| explain(&what, e))?;
    let mut output = CommandOutput::default();
    if let StartExecResults::Attached {
        output: mut pieces, ..
    } = started
    {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|e| explain(&what, e))?;
            let (kept, bytes) = match &piece {
                LogOutput::StdErr { message } => (&mut output.stderr, message),
                LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message } => (&mut output.stdout, message),
            };
            let room = MAX_OUTPUT - kept.len();
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            output.cut_bytes += bytes.len().saturating_sub(room) as u64;
        }
    }
    let ended = engine
        .docker
        .inspect_exec(&created.id)
        .await
        .map_err(|e| explain(&what, e))?;
    output.code = ended.exit_code.and_then(|code| i32::try_from(code).ok());
    Ok(output)
}
