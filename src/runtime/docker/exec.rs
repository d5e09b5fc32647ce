//! Programs in a container that runs, through the engine's exec: their streams, and the exit code that the engine knows.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;

use super::connect::{Engine, explain};
use crate::audit::Permit;
use crate::host::stream::{Streams, feed};
use crate::host::{Command, CommandOutput, Host};
use crate::runtime::RuntimeError;

/// The engine knows how a program ended a moment after its streams did.
const END_KNOWN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of stderr that are kept, the last.
const LAST_WORDS: usize = 64 * 1024;

/// Runs a program that changes nothing in a container that runs. Ending with another code than 0 is an answer; 126 and
/// 127 say that there is no such program.
///
/// # Errors
/// The container does not run, the engine is away, or the program took too long: then it may still run.
pub async fn query_in_container(
    host: &Host,
    container: &str,
    command: &Command,
    streams: Streams,
) -> Result<CommandOutput, RuntimeError> {
    let engine = Engine::connect(host).await?;
    let limit = command.timeout;
    tokio::time::timeout(limit, run(&engine, container, command, streams))
        .await
        .unwrap_or_else(|_| {
            Err(RuntimeError::Failed {
                what: format!(
                    "{} in the container {container} did not end within {} s",
                    command.to_line(),
                    limit.as_secs()
                ),
                source: None,
            })
        })
}

/// The same for one that changes something.
///
/// # Errors
/// As [`query_in_container`].
pub async fn change_in_container(
    host: &Host,
    _permit: &Permit,
    container: &str,
    command: &Command,
    streams: Streams,
) -> Result<CommandOutput, RuntimeError> {
    query_in_container(host, container, command, streams).await
}

/// The same over a connection that is there, without a time limit.
pub(super) async fn run(
    engine: &Engine,
    container: &str,
    command: &Command,
    streams: Streams,
) -> Result<CommandOutput, RuntimeError> {
    let started = Instant::now();
    let Streams { input, output } = streams;
    let what = format!("run {} in the container {container}", command.to_line());
    // Environment, not arguments: those are for everyone on the machine to read.
    let env: Vec<String> = command
        .env
        .iter()
        .chain(&command.secret)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // The engine takes text only.
    let words = command.argv.iter().cloned().map(OsString::into_string);
    let words = words
        .collect::<Result<Vec<String>, OsString>>()
        .map_err(|word| {
            RuntimeError::failed(&*what, format!("{:?} is not UTF-8", word.display()))
        })?;
    let options = CreateExecOptions {
        attach_stdin: Some(input.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        cmd: Some(words),
        env: Some(env),
        working_dir: command.cwd.as_ref().map(|cwd| cwd.display().to_string()),
        ..CreateExecOptions::default()
    };
    let created = engine
        .quick(async {
            let created = engine.docker.create_exec(container, options).await;
            created.map_err(|e| explain(&what, e))
        })
        .await?;
    let begun = engine
        .docker
        .start_exec(&created.id, None::<StartExecOptions>)
        .await
        .map_err(|e| explain(&what, e))?;
    let StartExecResults::Attached {
        output: mut frames,
        input: stdin,
    } = begun
    else {
        return Err(RuntimeError::failed(what, "the engine attached nothing"));
    };
    let mut ended = CommandOutput::default();
    // Kept open where nothing is fed: closing our half at once would end the answer too.
    let (mut is_taken, mut broken) = (true, None);
    let reading = async {
        while let Some(frame) = frames.next().await {
            let bytes = match frame {
                Ok(LogOutput::StdErr { message }) => {
                    ended.stderr.extend_from_slice(&message);
                    let over = ended.stderr.len().saturating_sub(LAST_WORDS);
                    ended.stderr.drain(..over);
                    ended.cut_bytes += over as u64;
                    continue;
                }
                Ok(frame) => frame.into_bytes(),
                Err(error) => {
                    broken = Some(error);
                    return;
                }
            };
            match &output {
                Some(output) => is_taken = output.send(bytes.to_vec()).await.is_ok(),
                None => {
                    let room = command.max_output.saturating_sub(ended.stdout.len());
                    let kept = room.min(bytes.len());
                    ended.stdout.extend_from_slice(&bytes[..kept]);
                    ended.cut_bytes += (bytes.len() - kept) as u64;
                }
            }
            if !is_taken {
                return;
            }
        }
    };
    {
        // Whoever feeds a program that has ended waits for chunks that nobody needs.
        let feeding = async {
            match input {
                Some(input) => feed(Some(stdin), Some(input)).await,
                None => {
                    let _open = stdin;
                    std::future::pending::<()>().await;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = reading => {}
            () = feeding => {}
        }
    }
    drop(output);
    ended.took = started.elapsed();
    if let Some(error) = broken {
        return Err(explain(&what, error));
    }
    if !is_taken {
        // Nobody wants the rest: how it ends does not matter, and it is not 0.
        return Ok(ended);
    }
    let end = Instant::now() + END_KNOWN;
    loop {
        let seen = engine
            .quick(async {
                let seen = engine.docker.inspect_exec(&created.id).await;
                seen.map_err(|e| explain(&what, e))
            })
            .await?;
        if seen.running != Some(true) && seen.exit_code.is_some() {
            ended.code = seen.exit_code.and_then(|code| i32::try_from(code).ok());
            return Ok(ended);
        }
        if Instant::now() >= end {
            return Err(RuntimeError::Failed {
                what: format!("cannot {what}: its output ended, and the engine says that it runs"),
                source: None,
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
