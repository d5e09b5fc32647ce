//! How PM2 runs an application: what a rollback needs to start it again, and what it must be afterwards.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::safe_text::SafeText;
use super::service::exact_bytes;

/// What names an ecosystem file has where nothing is configured, in the order in which `pm2 start` looks for them.
pub const ECOSYSTEM_FILES: &[&str] = &[
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.json",
];
/// The list that `pm2 save` writes and `pm2 resurrect` reads, and the one before it. They belong to all
/// applications of a daemon.
pub const SAVED_LISTS: &[&str] = &["dump.pm2", "dump.pm2.bak"];

/// An application as its daemon has it: configuration, never its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pm2App {
    /// The home of its daemon.
    pub home: PathBuf,
    /// The user whose daemon it is.
    pub user: String,
    /// Its name in PM2, which can hold what a service's name cannot.
    pub name: String,
    /// The numbers of its instances, sorted.
    pub ids: Vec<u32>,
    /// The folder its processes run in.
    pub cwd: Option<PathBuf>,
    /// What its instances run: one entry unless they differ.
    pub runs: BTreeSet<Pm2Run>,
    /// How long PM2 waits for a process to end before it kills it, in milliseconds.
    pub kill_timeout_ms: u64,
}

/// What an instance runs and under which limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pm2Run {
    /// The script, as PM2 has its path: links are not resolved.
    pub script: Option<PathBuf>,
    /// The version in its `package.json`, read when it was started.
    pub version: Option<String>,
    /// The commit that PM2 found when it started it.
    pub revision: Option<String>,
    /// After so many unstable restarts PM2 gives up.
    pub max_restarts: u64,
    /// What dies sooner after its start is unstable, in milliseconds.
    pub min_uptime_ms: u64,
    /// The memory at which PM2 restarts it, in bytes.
    pub memory_limit_bytes: Option<u64>,
}

impl fmt::Display for Pm2Run {
    /// `/srv/shop/api.js (1.4.2), max_restarts 3, min_uptime 30000 ms, memory limit 200 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.script {
            Some(script) => write!(f, "{}", script.display())?,
            None => f.write_str("an unknown script")?,
        }
        if let Some(version) = &self.version {
            write!(f, " ({version})")?;
        }
        write!(
            f,
            ", max_restarts {}, min_uptime {} ms",
            self.max_restarts, self.min_uptime_ms
        )?;
        match self.memory_limit_bytes {
            Some(bytes) => write!(f, ", memory limit {}", exact_bytes(bytes)),
            None => Ok(()),
        }
    }
}

impl Pm2App {
    /// What it runs and under which limits, for a proof: two applications with one identity run the same, as far as
    /// PM2 can tell. The commit is no part of it: PM2 finds one only where it may look for it.
    pub fn identity(&self) -> String {
        let runs: Vec<String> = self.runs.iter().map(ToString::to_string).collect();
        match runs.is_empty() {
            true => "nothing".to_owned(),
            false => runs.join(" and "),
        }
    }

    /// The script of its instances; `None` where it is not known or they run several.
    pub fn script(&self) -> Option<&Path> {
        let mut scripts: Vec<&Path> = self
            .runs
            .iter()
            .map(|run| run.script.as_deref())
            .collect::<Option<_>>()?;
        scripts.dedup();
        match scripts.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The longest time that one of its processes has to run before PM2 takes it for stable, in milliseconds.
    pub fn min_uptime_ms(&self) -> u64 {
        let all = self.runs.iter().map(|run| run.min_uptime_ms);
        all.max().unwrap_or_default()
    }

    /// Whether a file is one of its daemon's lists of all applications.
    pub fn is_saved_list(&self, path: &Path) -> bool {
        SAVED_LISTS.iter().any(|name| self.home.join(name) == path)
    }
}

/// When PM2 starts an application again, as its configuration says; `None` for what is not said and PM2 decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pm2Restarts {
    /// After so many unstable restarts PM2 gives up (16).
    pub max_restarts: Option<u64>,
    /// What dies sooner after its start is unstable, in milliseconds (1000).
    pub min_uptime_ms: Option<u64>,
    /// How long PM2 waits before each restart, in milliseconds (0).
    pub restart_delay_ms: Option<u64>,
    /// Whether PM2 starts it again at all (yes).
    pub autorestart: Option<bool>,
}

/// Which code an application ran, by the strongest of what could be found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pm2Code {
    /// The link by which releases are switched, `/srv/shop/current`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<ReleaseLink>,
    /// The git checkout that holds its script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitCheckout>,
    /// SHA-256 of the script file, hex; `None` where it could not be read.
    pub script_sha256: Option<String>,
    /// Why it is not known whether a git checkout holds the script, or a link chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<SafeText>,
}

/// A symbolic link on the way to a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLink {
    /// The link itself.
    pub path: PathBuf,
    /// What it says, relative or absolute.
    pub target: PathBuf,
}

impl ReleaseLink {
    /// The folder it leads to, without looking.
    pub fn folder(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) => parent.join(&self.target),
            None => self.target.clone(),
        }
    }
}

/// A git checkout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitCheckout {
    /// Its top folder.
    pub folder: PathBuf,
    /// The commit that is checked out, in full.
    pub commit: String,
    /// The branch it is on; `None` for a detached head.
    pub branch: Option<String>,
    /// Tracked files that differ from the commit, absolute.
    pub changed: Vec<PathBuf>,
}

impl fmt::Display for Pm2Code {
    /// For a fingerprint and for people: `/srv/shop/current -> releases/41`, `commit 3f2a1b… of /srv/shop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(link) = &self.link {
            return write!(f, "{} -> {}", link.path.display(), link.target.display());
        }
        if let Some(git) = &self.git {
            write!(f, "commit {} of {}", git.commit, git.folder.display())?;
            if !git.changed.is_empty() {
                write!(f, " with {} changed files", git.changed.len())?;
            }
            return Ok(());
        }
        match &self.script_sha256 {
            Some(sha256) => write!(f, "script {sha256}"),
            None => f.write_str("unknown"),
        }
    }
}

/// An application inside a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPm2 {
    /// How PM2 ran it.
    pub app: Pm2App,
    /// Which code it ran.
    pub code: Pm2Code,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn run(script: &str, max_restarts: u64) -> Pm2Run {
        Pm2Run {
            script: Some(script.into()),
            version: None,
            revision: None,
            max_restarts,
            min_uptime_ms: 30_000,
            memory_limit_bytes: None,
        }
    }

    pub(crate) fn app(runs: impl IntoIterator<Item = Pm2Run>) -> Pm2App {
        Pm2App {
            home: "/root/.pm2".into(),
            user: "root".into(),
            name: "api".into(),
            ids: vec![0],
            cwd: Some("/srv/shop".into()),
            runs: runs.into_iter().collect(),
            kill_timeout_ms: 1600,
        }
    }

    #[test]
    fn limits_are_part_of_what_runs() {
        let good = app([run("/srv/shop/api.js", 3)]);
        assert_eq!(
            good.identity(),
            "/srv/shop/api.js, max_restarts 3, min_uptime 30000 ms"
        );
        assert_ne!(
            good.identity(),
            app([run("/srv/shop/api.js", 15)]).identity()
        );
        let limited = Pm2Run {
            version: Some("1.4.2".into()),
            memory_limit_bytes: Some(200 << 20),
            ..run("/a.js", 3)
        };
        assert!(
            app([limited])
                .identity()
                .ends_with("(1.4.2), max_restarts 3, min_uptime 30000 ms, memory limit 200 MiB")
        );
    }

    #[test]
    fn instances_of_several_scripts_have_no_script() {
        assert_eq!(app([run("/a.js", 3)]).script(), Some(Path::new("/a.js")));
        assert_eq!(
            app([run("/a.js", 3), run("/a.js", 4)]).script(),
            Some(Path::new("/a.js"))
        );
        assert_eq!(app([run("/a.js", 3), run("/b.js", 3)]).script(), None);
        assert_eq!(app([]).script(), None);
    }

    #[test]
    fn a_link_leads_from_its_own_folder() {
        let link = |target: &str| ReleaseLink {
            path: "/srv/shop/current".into(),
            target: target.into(),
        };
        assert_eq!(
            link("releases/41").folder(),
            Path::new("/srv/shop/releases/41")
        );
        assert_eq!(link("/opt/41").folder(), Path::new("/opt/41"));
    }
}
