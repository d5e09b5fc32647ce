//! What is read of PM2's list of processes: an allow-list of fields.
//!
//! Each entry of that list holds the application's whole environment, twice, secrets included. What is not named
//! here is skipped while it is parsed and never kept. PM2 takes many of the fields as they stand in a user's
//! configuration, and an environment variable can shadow them: a field of another type than expected is unknown,
//! and the list is still read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::pm2::Pm2Restarts;

/// PM2 restarts so often at most, where nothing is configured.
const MAX_RESTARTS: u64 = 16;
/// What dies sooner than so many milliseconds after its start is unstable, where nothing is configured.
const MIN_UPTIME_MS: u64 = 1000;
/// A process that was told to end is killed after so many milliseconds, where nothing is configured.
const KILL_TIMEOUT_MS: u64 = 1600;
/// During a reload the outgoing process stands under this id.
const OUTGOING: &str = "_old_";

/// One process of PM2's list.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Process {
    /// The application's name, the same for all its instances.
    #[serde(default, deserialize_with = "lenient")]
    pub(super) name: Option<String>,
    /// The process id: 0 or stale while none runs.
    #[serde(default, deserialize_with = "lenient")]
    pid: Option<u32>,
    #[serde(default, deserialize_with = "lenient")]
    monit: Option<Monit>,
    #[serde(default)]
    pub(super) pm2_env: Env,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Monit {
    #[serde(default, deserialize_with = "number")]
    memory: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    cpu: Option<f64>,
}

/// The part of `pm2_env` that is kept; its unnamed part is the application's environment.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Env {
    #[serde(default, deserialize_with = "lenient")]
    pm_id: Option<PmId>,
    #[serde(default, deserialize_with = "lenient")]
    status: Option<String>,
    #[serde(default, deserialize_with = "number")]
    restart_time: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    created_at: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    pm_uptime: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    exit_code: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    restart_delay: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    autorestart: Option<Value>,
    #[serde(default, deserialize_with = "lenient")]
    stop_exit_codes: Option<Value>,
    #[serde(default, deserialize_with = "number")]
    min_uptime: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    max_restarts: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    max_memory_restart: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    kill_timeout: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    version: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    versioning: Option<Versioning>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) pm_exec_path: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) pm_cwd: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) pm_out_log_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) pm_err_log_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "lenient")]
    pmx_module: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Versioning {
    #[serde(default, deserialize_with = "lenient")]
    revision: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum PmId {
    Number(u32),
    Text(String),
}

/// What PM2 says a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// `online`.
    Online,
    /// `launching`.
    Launching,
    /// `waiting restart`: it ended, and PM2 starts it again after a delay.
    Waiting,
    /// `waiting restart` that no start follows: PM2 shows this for ever.
    Dead,
    /// `stopping`, and `stopped` on request or after exit code 0.
    Stopped,
    /// `stopped`, and the exit code says that nobody asked for it.
    Crashed,
    /// `errored`: PM2 gave up.
    Errored,
    /// A word we do not know.
    Unknown,
}

impl Process {
    /// Its number in PM2; `None` for what a reload is about to replace.
    pub(super) fn pm_id(&self) -> Option<u32> {
        match self.pm2_env.pm_id.as_ref()? {
            PmId::Number(id) => Some(*id),
            PmId::Text(text) => text.parse().ok(),
        }
    }

    /// Whether it is an application's process: not an extension of PM2 itself (`pm2-logrotate`), and not one
    /// that a reload is about to replace.
    pub(super) fn is_of_an_application(&self) -> bool {
        let is_outgoing =
            matches!(&self.pm2_env.pm_id, Some(PmId::Text(id)) if id.starts_with(OUTGOING));
        !is_outgoing && self.pm2_env.pmx_module != Some(true)
    }

    /// What it is doing.
    pub(super) fn status(&self) -> Status {
        match self.pm2_env.status.as_deref() {
            Some("online") => Status::Online,
            Some("launching") => Status::Launching,
            Some("waiting restart") if self.is_given_up() => Status::Dead,
            Some("waiting restart") => Status::Waiting,
            Some("stopping") => Status::Stopped,
            // A shell's codes for INT and TERM: somebody asked it to end.
            Some("stopped") if !matches!(self.exit_code(), None | Some(0 | 130 | 143)) => {
                Status::Crashed
            }
            Some("stopped") => Status::Stopped,
            Some("errored") => Status::Errored,
            _ => Status::Unknown,
        }
    }

    // With a `restart_delay` PM2 says "waiting restart" whether it will start it again or not. It will not after
    // the last allowed restart (it then forgets when the process was created), without `autorestart`, and after
    // an exit code that is to stop it (God.handleExit).
    fn is_given_up(&self) -> bool {
        let env = &self.pm2_env;
        let never = match &env.autorestart {
            Some(Value::Bool(again)) => !again,
            Some(Value::String(again)) => again == "false",
            _ => false,
        };
        let is_stop_code = |code: &Value| {
            let code = code.as_i64().or_else(|| code.as_str()?.trim().parse().ok());
            code.is_some() && code == self.exit_code()
        };
        let stops = match &env.stop_exit_codes {
            Some(Value::Array(codes)) => codes.iter().any(is_stop_code),
            Some(code) => is_stop_code(code),
            None => false,
        };
        never || stops || env.created_at.is_none()
    }

    /// The process id; `None` while none runs, whatever number PM2 still shows.
    pub(super) fn pid(&self) -> Option<u32> {
        let runs = matches!(self.status(), Status::Online | Status::Launching);
        self.pid.filter(|pid| runs && *pid != 0)
    }

    /// Restarts so far, those by hand included.
    pub(super) fn restarts(&self) -> u64 {
        whole(self.pm2_env.restart_time).unwrap_or(0)
    }

    /// When it was last started, in milliseconds since the epoch.
    pub(super) fn started_ms(&self) -> Option<i64> {
        whole(self.pm2_env.pm_uptime).and_then(|ms| i64::try_from(ms).ok())
    }

    /// The exit code of its last end; 0 also where a signal ended it.
    pub(super) fn exit_code(&self) -> Option<i64> {
        self.pm2_env.exit_code.map(|code| code as i64)
    }

    /// How long PM2 waits before it starts it again, in milliseconds.
    pub(super) fn restart_delay_ms(&self) -> u64 {
        whole(self.pm2_env.restart_delay).unwrap_or(0)
    }

    /// What dies sooner after its start counts as unstable, in milliseconds.
    pub(super) fn min_uptime_ms(&self) -> u64 {
        whole(self.pm2_env.min_uptime).unwrap_or(MIN_UPTIME_MS)
    }

    /// After so many unstable restarts PM2 gives up.
    pub(super) fn max_restarts(&self) -> u64 {
        whole(self.pm2_env.max_restarts).unwrap_or(MAX_RESTARTS)
    }

    /// When PM2 starts it again, as its configuration says: what PM2 decides by itself is not filled in.
    pub(super) fn configured_restarts(&self) -> Pm2Restarts {
        let env = &self.pm2_env;
        let autorestart = match &env.autorestart {
            Some(Value::Bool(again)) => Some(*again),
            Some(Value::String(again)) => Some(again != "false"),
            _ => None,
        };
        Pm2Restarts {
            max_restarts: whole(env.max_restarts),
            min_uptime_ms: whole(env.min_uptime),
            restart_delay_ms: whole(env.restart_delay),
            autorestart,
        }
    }

    /// The memory at which PM2 restarts it, in bytes; `None` without a limit.
    pub(super) fn memory_limit(&self) -> Option<u64> {
        whole(self.pm2_env.max_memory_restart).filter(|limit| *limit > 0)
    }

    /// How long PM2 waits for it to end before it kills it, in milliseconds.
    pub(super) fn kill_timeout_ms(&self) -> u64 {
        whole(self.pm2_env.kill_timeout).unwrap_or(KILL_TIMEOUT_MS)
    }

    /// Memory in use while it runs, in bytes.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.pid()?;
        whole(self.monit?.memory)
    }

    /// CPU in use while it runs, as a fraction of one core.
    pub(super) fn cpu(&self) -> Option<f64> {
        self.pid()?;
        Some(self.monit?.cpu? / 100.0)
    }

    /// The version in its `package.json`; PM2 says `N/A` for none.
    pub(super) fn version(&self) -> Option<&str> {
        let version = self.pm2_env.version.as_deref()?;
        (!version.is_empty() && version != "N/A").then_some(version)
    }

    /// The commit of the checkout that it was started from.
    pub(super) fn revision(&self) -> Option<&str> {
        let revision = self.pm2_env.versioning.as_ref()?.revision.as_deref()?;
        (!revision.is_empty()).then_some(revision)
    }
}

/// The applications that a `dump.pm2` lists.
///
/// # Errors
/// It is no such file.
pub(super) fn saved_names(dump: &[u8]) -> serde_json::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Saved {
        #[serde(default, deserialize_with = "lenient")]
        name: Option<String>,
    }
    let saved: Vec<Saved> = serde_json::from_slice(dump)?;
    Ok(saved.into_iter().filter_map(|s| s.name).collect())
}

/// The list that a `jlist` printed, whatever banner stands before it.
///
/// # Errors
/// No line is such a list; why the last one that looked like it is not.
pub(super) fn from_printed(stdout: &[u8]) -> serde_json::Result<Vec<Process>> {
    let mut failure = None;
    // Banners begin with a bracket as well (`[PM2] …`), and stand before the list.
    for line in stdout.split(|b| *b == b'\n').rev() {
        if !line.trim_ascii_start().starts_with(b"[") {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(list) => return Ok(list),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) => Err(error),
        // Nothing printed is no empty list.
        None => serde_json::from_slice(b""),
    }
}

fn whole(number: Option<f64>) -> Option<u64> {
    number
        .filter(|n| n.is_finite() && *n >= 0.0)
        .map(|n| n as u64)
}

/// A field of another type is unknown.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).ok())
}

/// Numbers come as numbers or, from a configuration, as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

#[cfg(test)]
pub(super) mod tests;
