//! What runs when the binary is started as one of the shop's own processes.
//!
//! Each process ends by itself when the shop's owner or its folder is gone, so that not even `kill -9` of the
//! console leaves anything behind: the load generator then removes the folder as the last act.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::files::Folder;
use super::pid::Identity;
use super::{Member, api, control, gateway, load, worker};

/// The hidden subcommand: `lastgood demo-process api|worker|gateway|load|ctl --dir DIR …`.
pub const SUBCOMMAND: &str = "demo-process";
/// How often a process looks whether it is still wanted.
const WATCH_PERIOD: Duration = Duration::from_millis(300);

/// Runs as the process that the arguments after [`SUBCOMMAND`] name, until it is told to end.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let args: Vec<String> = args.map(|a| a.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let [role, "--dir", dir, rest @ ..] = words.as_slice() else {
        return fail(&"usage: demo-process api|worker|gateway|load|ctl --dir DIR …");
    };
    let folder = Folder::new(*dir);
    let ended = match (*role, Member::parse(role)) {
        ("ctl", _) => runtime.block_on(control::run(&folder, rest)),
        (_, Some(member)) => runtime.block_on(run_member(&folder, member)),
        _ => return fail(&format_args!("no such process: {role}")),
    };
    match ended {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(why: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "demo: {why}");
    ExitCode::FAILURE
}

async fn run_member(folder: &Folder, member: Member) -> io::Result<ExitCode> {
    // Before anything else: a process that is told to end while it starts must not miss it.
    let stop = stopped(folder.clone())?;
    let work = async {
        match member {
            Member::Api => api::run(folder, stop).await,
            Member::Worker => worker::run(folder, stop).await,
            Member::Gateway => gateway::run(folder, stop).await,
            Member::Load => load::run(folder, stop).await,
        }
    };
    work.await?;
    if member == Member::Load && !is_wanted(folder) {
        clean_up(folder).await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Ready when the process is told to end, or when nobody wants it any more.
fn stopped(folder: Folder) -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    Ok(async move {
        let unwanted = async {
            while is_wanted(&folder) {
                tokio::time::sleep(WATCH_PERIOD).await;
            }
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
            () = unwanted => {}
        }
    })
}

fn is_wanted(folder: &Folder) -> bool {
    Identity::read(&folder.owner()).is_some_and(Identity::is_alive)
}

/// The owner died without stopping its shop: nobody else will remove the folder.
async fn clean_up(folder: &Folder) {
    for member in Member::ALL {
        if let Some(process) = Identity::read(&folder.pid_file(member))
            && member != Member::Load
        {
            process.wait_gone(Duration::from_secs(3)).await;
        }
    }
    let is_ours = folder.script().is_file() && folder.owner().is_file();
    if is_ours && !folder.keep_mark().exists() {
        let _ = fs::remove_dir_all(folder.root());
    }
}

/// Takes the port that the folder gives this process.
///
/// # Errors
/// Somebody else has it.
pub(super) async fn listen(folder: &Folder, member: Member) -> io::Result<TcpListener> {
    let port = folder.port(member)?;
    TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("port {port}: {error}")))
}

/// A log file that lines are appended to.
#[derive(Debug)]
pub(super) struct Log(Mutex<File>);

impl Log {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Mutex::new(file)))
    }

    /// Appends a line as it is.
    pub(super) fn raw(&self, line: &str) {
        let mut text = String::with_capacity(line.len() + 1);
        text.push_str(line);
        text.push('\n');
        if let Ok(mut file) = self.0.lock() {
            // A full disk or a removed folder must not end the shop.
            let _ = file.write_all(text.as_bytes());
        }
    }

    /// Appends `2025-12-27T14:50:01.123Z LEVEL text`.
    pub(super) fn line(&self, level: &str, text: impl std::fmt::Display) {
        self.raw(&format!("{:.3} {level} {text}", Timestamp::now()));
    }
}
