//! The commands behind the shop's exec services: `status`, `start`, `stop`, `restart`, `release`, `roll-back`
//! and `deploy`. They are what an operations team would have as scripts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use super::files::Folder;
use super::pid::Identity;
use super::process::SUBCOMMAND;
use super::{Member, gateway, worker};

/// A process that is not ready by then has failed to start.
const START_LIMIT: Duration = Duration::from_secs(15);
/// A process that did not end by then is killed.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// `systemctl is-active` answers so for a unit that does not run.
const NOT_RUNNING: u8 = 3;

/// Runs one command; what it prints is for people and for `status` and `release_command`.
pub(super) async fn run(folder: &Folder, words: &[&str]) -> io::Result<ExitCode> {
    match words {
        ["deploy", release] => {
            let _lock = lock(folder)?;
            folder.relink(release)?;
            folder.install_env(release)?;
            restart(folder, Member::Api).await?;
            say(&format!("deployed {release}"))?;
        }
        [verb, service] => {
            let Some(member) = Member::parse(service) else {
                return Err(io::Error::other(format!("no service {service:?}")));
            };
            return act(folder, verb, member).await;
        }
        _ => {
            return Err(io::Error::other(
                "usage: shop status|start|stop|restart|release|roll-back SERVICE, or: shop deploy RELEASE",
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn act(folder: &Folder, verb: &str, member: Member) -> io::Result<ExitCode> {
    match verb {
        "status" => match running(folder, member) {
            Some(process) => say(&format!("pid {}", process.pid()))?,
            None => {
                say("inactive")?;
                return Ok(ExitCode::from(NOT_RUNNING));
            }
        },
        "release" => say(&release(folder, member)?)?,
        "start" => {
            let _lock = lock(folder)?;
            start(folder, member).await?;
        }
        "stop" => {
            let _lock = lock(folder)?;
            stop(folder, member).await?;
        }
        "restart" => {
            let _lock = lock(folder)?;
            restart(folder, member).await?;
        }
        "roll-back" if member == Member::Api => {
            let release = std::env::var("LASTGOOD_RELEASE")
                .map_err(|_| io::Error::other("LASTGOOD_RELEASE names no release"))?;
            let _lock = lock(folder)?;
            folder.relink(&release)?;
            restart(folder, member).await?;
            say(&format!("rolled back to {release}"))?;
        }
        _ => {
            return Err(io::Error::other(format!(
                "{verb} is not possible for {}",
                member.as_str()
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// One change at a time; waits for the other.
fn lock(folder: &Folder) -> io::Result<File> {
    let file = File::create(folder.lock())?;
    file.lock()?;
    Ok(file)
}

/// The process of a member, if it runs.
pub(super) fn running(folder: &Folder, member: Member) -> Option<Identity> {
    Identity::read(&folder.pid_file(member)).filter(|process| process.is_alive())
}

/// The release that runs; where nothing runs, the one that would be started.
fn release(folder: &Folder, member: Member) -> io::Result<String> {
    if running(folder, member).is_some() {
        let text = fs::read_to_string(folder.pid_file(member))?;
        if let Some(release) = text.split_ascii_whitespace().nth(2) {
            return Ok(release.to_owned());
        }
    }
    match member {
        Member::Api => folder.current(),
        Member::Worker => Ok(worker::RELEASE.to_owned()),
        Member::Gateway => Ok(gateway::RELEASE.to_owned()),
        Member::Load => Ok("1.0".to_owned()),
    }
}

async fn restart(folder: &Folder, member: Member) -> io::Result<()> {
    stop(folder, member).await?;
    start(folder, member).await
}

/// Starts a process in a group of its own, so that a Ctrl-C at the console does not reach it, and waits until
/// it is ready, which it says by its pid file.
async fn start(folder: &Folder, member: Member) -> io::Result<()> {
    if running(folder, member).is_some() {
        return Ok(());
    }
    let output = File::create(folder.output(member))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([SUBCOMMAND, member.as_str(), "--dir"])
        .arg(folder.root())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .current_dir(folder.root())
        .process_group(0)
        .spawn()?;
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    loop {
        let is_ready = running(folder, member)
            .is_some_and(|process| u32::try_from(process.pid()).is_ok_and(|pid| pid == child.id()));
        if is_ready {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(folder.output(member)).unwrap_or_default();
            return Err(io::Error::other(format!(
                "{} did not start ({status}): {}",
                member.as_str(),
                said.trim()
            )));
        }
        if tokio::time::Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!(
                "{} was not ready within {} s",
                member.as_str(),
                START_LIMIT.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks a process to end, then makes it.
pub(super) async fn stop(folder: &Folder, member: Member) -> io::Result<()> {
    let Some(process) = running(folder, member) else {
        return Ok(());
    };
    process.signal(Signal::TERM);
    if process.wait_gone(STOP_LIMIT).await {
        return Ok(());
    }
    process.signal(Signal::KILL);
    if process.wait_gone(STOP_LIMIT).await {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} (pid {}) does not end",
        member.as_str(),
        process.pid()
    )))
}
