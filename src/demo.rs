//! The built-in shop: real processes, real logs, a good and a bad release.
//!
//! It is there so that anybody can see the product work on something that really runs, without Docker and
//! without a server: a gateway in front of an api, a worker behind it, and customers. Each is a process of its
//! own (this same binary under a hidden subcommand), each an exec service to the rest of the program, with the
//! commands that an operations team would have as scripts. Nothing in the program knows that it is a demo.
//!
//! The shop lives in a temporary folder and leaves nothing behind: [`Shop::stop`] and `Drop` end the processes
//! and remove the folder, and the processes see to it themselves when their owner was killed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Command;

use crate::domain::service::Runtime;
use crate::ops::{self, Access, Context};
use crate::store::config::{self, Config, ConfigError, Places};
use crate::store::paths::StateDir;

mod api;
mod config_file;
mod control;
mod files;
mod gateway;
mod http;
mod load;
mod metrics;
mod pid;
mod process;
mod random;
mod worker;

pub use files::{BAD, Folder, GOOD};
pub use process::{SUBCOMMAND, run as run_process};

use pid::Identity;

/// Another program may take a port between the choice and its use; then others are chosen.
const ATTEMPTS: usize = 3;
/// The script's commands end by themselves within this time.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// The whole shop answers by then or has failed to start.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks for a checkpoint.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// Between the first checkpoint and the deploy that comes by itself.
const LONELY_PAUSE: Duration = Duration::from_secs(10);

/// A process of the shop. All but the load are services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// Answers requests, well or badly.
    Api,
    /// Works through the jobs that the api leaves.
    Worker,
    /// Passes requests on.
    Gateway,
    /// The customers.
    Load,
}

impl Member {
    /// Every process, in the order of starting.
    pub const ALL: [Self; 4] = [Self::Worker, Self::Api, Self::Gateway, Self::Load];
    /// Those that are services.
    pub const SERVICES: [Self; 3] = [Self::Api, Self::Worker, Self::Gateway];

    /// The name of the process and of its service.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
            Self::Load => "load",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == text)
    }
}

/// Why the shop could not be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its folder could not be made or written.
    #[error("cannot set up the demo's folder {}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its configuration file cannot be read.
    #[error("the demo's configuration cannot be read")]
    Config(#[from] ConfigError),
    /// A command of its script failed.
    #[error("`shop {command}` failed: {said}")]
    Command {
        /// The command's words.
        command: String,
        /// What it printed, or why it could not run.
        said: String,
    },
    /// It runs and does not answer.
    #[error("the demo's shop does not answer on {address} within {} s", READY_LIMIT.as_secs())]
    Silent {
        /// The gateway's address.
        address: SocketAddr,
    },
}

/// A running shop, stopped and removed when this is dropped.
#[derive(Debug)]
pub struct Shop {
    folder: Folder,
    ports: BTreeMap<Member, u16>,
    config: Config,
    keep: bool,
    is_stopped: bool,
}

impl Shop {
    /// Makes the folder, starts every process with the good release, and waits until requests are answered.
    /// `program` is the binary that understands [`SUBCOMMAND`]; `keep` leaves the folder at the end.
    ///
    /// # Errors
    /// [`DemoError`]; nothing is left behind then.
    pub async fn start(program: &Path, keep: bool) -> Result<Self, DemoError> {
        let mut attempt = 1;
        loop {
            match Self::try_start(program, keep).await {
                Err(DemoError::Command { said, .. })
                    if attempt < ATTEMPTS && said.contains("port ") =>
                {
                    attempt += 1;
                }
                started => return started,
            }
        }
    }

    async fn try_start(program: &Path, keep: bool) -> Result<Self, DemoError> {
        let failed = |folder: &Path| {
            let folder = folder.to_owned();
            move |source| DemoError::Folder { folder, source }
        };
        let root = tempfile::Builder::new()
            .prefix("lastgood-demo-")
            .tempdir()
            .map_err(failed(&std::env::temp_dir()))?
            .keep();
        let mut shop = Self {
            folder: Folder::new(root),
            ports: BTreeMap::new(),
            config: Config::default(),
            keep: false,
            is_stopped: false,
        };
        let ports = choose_ports().map_err(failed(shop.folder.root()))?;
        shop.ports = ports.iter().copied().collect();
        shop.folder
            .fill(program, &ports)
            .and_then(|()| Identity::own().write(&shop.folder.owner(), "owner"))
            .map_err(failed(shop.folder.root()))?;
        shop.config = config::load(&Places {
            files: Vec::new(),
            given: Some(shop.folder.config()),
            variables: Vec::new(),
        })?;
        for member in Member::ALL {
            shop.command(&["start", member.as_str()]).await?;
        }
        shop.wait_ready().await?;
        if keep {
            // Only a shop that works is worth keeping.
            fs::write(shop.folder.keep_mark(), "").map_err(failed(shop.folder.root()))?;
            shop.keep = true;
        }
        Ok(shop)
    }

    async fn wait_ready(&self) -> Result<(), DemoError> {
        let address = self.address(Member::Gateway);
        let deadline = tokio::time::Instant::now() + READY_LIMIT;
        while tokio::time::Instant::now() < deadline {
            let limit = Duration::from_secs(2);
            let answer = http::request(address, "GET", "/health", limit).await;
            if answer.is_ok_and(|a| a.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(DemoError::Silent { address })
    }

    /// Runs a command of the shop's script: `["deploy", "1.5"]`. Returns what it printed.
    ///
    /// # Errors
    /// [`DemoError::Command`].
    pub async fn command(&self, words: &[&str]) -> Result<String, DemoError> {
        run_script(&self.folder, words).await
    }

    /// What deploys a release, as text to type in another terminal.
    pub fn deploy_command(&self, release: &str) -> String {
        format!("{} deploy {release}", files::quote(&self.folder.script()))
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The loopback address of a process.
    pub fn address(&self, member: Member) -> SocketAddr {
        let port = self.ports.get(&member).copied().unwrap_or(0);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Its state folder: checkpoints and audit log of the demo stay apart from the user's own.
    pub fn state(&self) -> StateDir {
        StateDir {
            root: self.folder.state(),
            is_shared: false,
        }
    }

    /// A session on the shop and on nothing else of this machine. `via` is `console` or `cli`.
    pub fn context(&self, via: &str, read_only: bool) -> Context {
        let access = if read_only {
            Access::ReadOnly
        } else {
            Access::Full
        };
        Context::with(self.config.clone(), self.state(), ops::actor(via), access)
            .only(Runtime::Exec)
    }

    /// Deploys the bad release by itself, once a checkpoint is there and a moment has passed, for who plays alone
    /// in the console. Ends when that is done or the shop is gone.
    pub fn deploy_after_checkpoint(&self) -> impl Future<Output = ()> + Send + 'static {
        let folder = self.folder.clone();
        async move {
            while !has_checkpoint(&folder) {
                if !folder.owner().exists() {
                    return;
                }
                tokio::time::sleep(LOOK_PERIOD).await;
            }
            tokio::time::sleep(LONELY_PAUSE).await;
            let is_deployed = folder.current().is_ok_and(|current| current == BAD);
            if !is_deployed {
                // What became of it shows in the console as any deploy does.
                let _ = run_script(&folder, &["deploy", BAD]).await;
            }
        }
    }

    /// Ends every process and removes the folder (unless it is to be kept).
    ///
    /// # Errors
    /// A process does not end, or the folder cannot be removed.
    pub async fn stop(mut self) -> Result<(), DemoError> {
        let failed = |folder: &Folder| {
            let folder = folder.root().to_owned();
            move |source| DemoError::Folder { folder, source }
        };
        for member in Member::ALL.into_iter().rev() {
            control::stop(&self.folder, member)
                .await
                .map_err(failed(&self.folder))?;
        }
        self.is_stopped = true;
        if self.keep {
            return Ok(());
        }
        fs::remove_dir_all(self.folder.root()).map_err(failed(&self.folder))
    }
}

impl Drop for Shop {
    /// The hasty way out: a panic, an error, Ctrl-C. There is no time to ask politely.
    fn drop(&mut self) {
        if self.is_stopped {
            return;
        }
        for member in Member::ALL {
            if let Some(process) = control::running(&self.folder, member) {
                process.signal(Signal::KILL);
            }
        }
        if self.keep {
            return;
        }
        // A process that is just being killed may still add a file.
        for _ in 0..20 {
            let removed = fs::remove_dir_all(self.folder.root());
            if removed.is_ok_and(|()| !self.folder.root().exists()) {
                break;
            }
        }
    }
}

async fn run_script(folder: &Folder, words: &[&str]) -> Result<String, DemoError> {
    let failed = |said: String| DemoError::Command {
        command: words.join(" "),
        said,
    };
    let output = Command::new(folder.script())
        .args(words)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(COMMAND_LIMIT, output)
        .await
        .map_err(|_| failed(format!("no end within {} s", COMMAND_LIMIT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.trim().to_owned()))
}

fn has_checkpoint(folder: &Folder) -> bool {
    fs::read_dir(folder.state().join("checkpoints"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.path().join("MANIFEST.json").is_file())
}

/// Free loopback ports, one for each process that listens.
fn choose_ports() -> io::Result<Vec<(Member, u16)>> {
    // All are held until the last is chosen, so that they differ.
    let mut held = Vec::new();
    for member in Member::SERVICES {
        held.push((member, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?));
    }
    held.iter()
        .map(|(member, listener)| Ok((*member, listener.local_addr()?.port())))
        .collect()
}
