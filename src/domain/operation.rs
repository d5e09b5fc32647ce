//! What the engineer wants done, and the plan that says exactly how.
//!
//! A plan is data: the card on screen, `--dry-run` and the audit record print the same one, and its hash binds
//! the confirmation to it. Steps name exact commands and API calls; nothing is decided while they run.

mod fingerprint;
mod share;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::backup::BackupAct;
use super::before_after::BeforeAfter;
use super::digest;
use super::host::HostName;
use super::safe_text::SafeText;
use super::service::ServiceId;
use super::settings::{Colour, Probe};
use super::swarm::SwarmChange;

pub use fingerprint::{Fingerprint, FingerprintSubject};
pub use share::{Mix, Share, SwitchWay};

/// What the engineer wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Operation {
    /// Restart the service's instances as they are: never applies a new image or environment.
    Restart {
        /// The services, in this order.
        services: Vec<ServiceId>,
        /// One instance after the other, so that the service goes on answering. Only PM2 can.
        #[serde(default)]
        reload: bool,
        /// One instance after the other, each proved before the next: the first that does not prove itself ends it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rolling: bool,
    },
    /// Stop the service.
    Stop {
        /// The services, in this order.
        services: Vec<ServiceId>,
    },
    /// Start the service.
    Start {
        /// The services, in this order.
        services: Vec<ServiceId>,
    },
    /// Bring back the release and the configuration of a checkpoint.
    RollBack {
        /// The service.
        service: ServiceId,
        /// Which release to bring back.
        to: RollBackTarget,
        /// Put back only the configuration files.
        configs_only: bool,
        /// Save the failing release's logs first (the default).
        save_logs: bool,
        /// Take the schema of its database back too, to the revision that the checkpoint recorded.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        downgrade: bool,
    },
    /// Put back the configuration files of a checkpoint without touching what runs.
    RestoreConfigs {
        /// The checkpoint's id.
        checkpoint: String,
        /// Only this service's files.
        service: Option<ServiceId>,
    },
    /// Make a preflight check ok.
    Fix {
        /// The check's name.
        check: String,
        /// Names of services; all without any.
        services: Vec<String>,
    },
    /// Remove old checkpoints, and the names that keep their images.
    Prune {
        /// So many of the newest stay; `None` where only their age counts.
        keep_last: Option<usize>,
        /// What was made since then stays.
        #[serde(default)]
        since: Option<jiff::Timestamp>,
    },
    /// Make a backup of data.
    BackupRun {
        /// Its name in the configuration, as a service: `backup/main`.
        backup: ServiceId,
        /// The id it gets.
        id: String,
    },
    /// Restore a backup into something that is thrown away, to prove it.
    BackupVerify {
        /// Its name, as a service.
        backup: ServiceId,
        /// Its id.
        id: String,
    },
    /// Put the data of a backup in the place of what is there.
    BackupRestore {
        /// Its name, as a service.
        backup: ServiceId,
        /// Its id.
        id: String,
    },
    /// Send the requests of an application that runs twice to its other side.
    Switch {
        /// Its name in the configuration, as a service: `switch/api`.
        service: ServiceId,
        /// The side that is to answer.
        to: Colour,
        /// At once, or by steps.
        #[serde(default, skip_serializing_if = "SwitchWay::is_at_once")]
        way: SwitchWay,
    },
    /// Take the lease of a service away from whoever holds it.
    BreakLease {
        /// The service.
        service: ServiceId,
        /// The fencing counter of the lease that was looked at.
        fence: u64,
    },
    /// End what a process that died had begun, or take it back.
    Resume {
        /// The run: the folder of its journal.
        run: String,
        /// Whether it is taken back rather than ended.
        undo: bool,
        /// What was begun.
        of: Box<Operation>,
    },
    /// Run the command of a runbook item.
    RunCommand {
        /// What the item says.
        title: SafeText,
        /// The shell text.
        command: String,
        /// Where to run it.
        host: HostName,
    },
}

impl Operation {
    /// Whether it is about what runs. Whoever removes checkpoints or breaks a lease does nothing to a service.
    pub fn is_of_service(&self) -> bool {
        match self {
            Self::Prune { .. } | Self::BreakLease { .. } | Self::RunCommand { .. } => false,
            Self::Resume { of, .. } => of.is_of_service(),
            _ => true,
        }
    }

    /// Whether it acts on a proxy in front of services: then no runtime shows what it did.
    pub fn is_of_proxy(&self) -> bool {
        match self {
            Self::Switch { .. } => true,
            Self::Resume { of, .. } => of.is_of_proxy(),
            _ => false,
        }
    }

    /// Whether it is about the data of a service: no runtime shows what it did.
    pub fn is_of_data(&self) -> bool {
        match self {
            Self::BackupRun { .. } | Self::BackupVerify { .. } | Self::BackupRestore { .. } => true,
            Self::Resume { of, .. } => of.is_of_data(),
            _ => false,
        }
    }

    /// Whether nothing of it can be half done: each of its steps proves something.
    pub fn is_proof(&self) -> bool {
        matches!(self, Self::BackupVerify { .. })
    }

    /// The verb, as in the command line.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Restart { .. } => "restart",
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
            Self::RollBack { .. } => "roll-back",
            Self::RestoreConfigs { .. } => "restore-configs",
            Self::Fix { .. } => "fix",
            Self::Prune { .. } => "prune",
            Self::BackupRun { .. } => "backup-run",
            Self::BackupVerify { .. } => "backup-verify",
            Self::BackupRestore { .. } => "backup-restore",
            Self::Switch { .. } => "switch",
            Self::BreakLease { .. } => "break-lease",
            // The same intent: the audit log has one outcome for both.
            Self::Resume { of, .. } => of.verb(),
            Self::RunCommand { .. } => "run-command",
        }
    }
}

/// What a session may do. Checked where permits are made, not in the front ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing on a managed machine is changed.
    ReadOnly,
    /// Whatever the user may do.
    Full,
}

/// Which release a rollback brings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollBackTarget {
    /// The newest complete checkpoint whose checksums agree, whose release differs from the running one, and
    /// whose service was healthy.
    LastGood,
    /// This checkpoint, healthy or not.
    Checkpoint(String),
    /// This image, by reference or id.
    Image(String),
}

impl RollBackTarget {
    /// Reads `--to`: `image:REF` or a checkpoint's id.
    pub fn parse(text: &str) -> Self {
        match text.strip_prefix("image:") {
            Some(reference) => Self::Image(reference.to_owned()),
            None => Self::Checkpoint(text.to_owned()),
        }
    }
}

/// How much a plan can hurt; it decides what confirmation is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Changes nothing.
    ReadOnly,
    /// Interrupts the service for a moment: one key confirms.
    Disruptive,
    /// Replaces what runs: the service's name is typed.
    Destructive,
    /// Can lose data: the name is typed, and a policy may ask for a second engineer.
    DataLosing,
}

impl Risk {
    /// The word on screen and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Disruptive => "disruptive",
            Self::Destructive => "destructive",
            Self::DataLosing => "data_losing",
        }
    }
}

/// What a step does, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum StepWork {
    /// Save the logs of what runs now into the state folder; never stops the plan.
    SaveLogs {
        /// The service.
        service: ServiceId,
        /// The file, absolute.
        to: PathBuf,
        /// How long it may take before it is cut, newest lines first.
        budget_ms: u64,
    },
    /// Run a program.
    Command {
        /// The program and its arguments; no shell in between.
        argv: Vec<String>,
        /// The folder it runs in.
        cwd: Option<PathBuf>,
        /// The variables it gets besides a clean base environment.
        env: BTreeMap<String, String>,
    },
    /// Give an image another name (`POST /images/{image}/tag`).
    TagImage {
        /// The image id.
        image: String,
        /// The new name with its tag.
        reference: String,
    },
    /// Give the engine an image that it has lost (`POST /images/load`).
    LoadImage {
        /// The copy, absolute: a compressed `docker save`.
        source: PathBuf,
        /// The image id that is there afterwards.
        image: String,
    },
    /// Put a file's content in place: written beside it, flushed, renamed (in place where it is a mount).
    WriteFile {
        /// The file, absolute.
        path: PathBuf,
        /// The content's source: a file of the state folder.
        source: PathBuf,
        /// Whether the source is a file of the machine that is changed instead.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        from_machine: bool,
        /// Whose servers get a part of the requests meanwhile; `None` where the source is written as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mix: Option<Mix>,
        /// SHA-256 of what is written.
        sha256: String,
        /// Permission bits.
        mode: u32,
    },
    /// Take the schema of a service's database back to a revision, and read where it is then.
    Downgrade {
        /// The service.
        service: ServiceId,
        /// What takes it back, run by `sh -c`, the revision in it.
        command: String,
        /// What prints the revision that it has, run by `sh -c`.
        current: String,
        /// The folder both run in.
        folder: Option<PathBuf>,
        /// Where it is to be.
        revision: String,
    },
    /// Remove the folder of a checkpoint: it is renamed first, so that a half of one is never listed.
    RemoveCheckpoint {
        /// The folder, absolute.
        folder: PathBuf,
    },
    /// Work on a backup: see [`BackupAct`].
    Backup {
        /// What is done.
        act: BackupAct,
        /// Its name in the configuration.
        name: String,
        /// Its id.
        id: String,
        /// The time of this work: part of the names of what it makes.
        stamp: String,
        /// The service whose data it is.
        service: Option<ServiceId>,
        /// The container in which the programs run; they run on the machine itself without one.
        container: Option<String>,
    },
    /// Put another file in the place of a lease, with a higher fencing counter.
    BreakLease {
        /// The service.
        service: ServiceId,
        /// The fencing counter of the lease that was looked at.
        fence: u64,
    },
    /// Restart, stop or start a container (`POST /containers/{id}/restart|stop|start`).
    Container {
        /// The container id.
        container: String,
        /// `restart`, `stop` or `start`.
        action: ContainerAction,
        /// Seconds until it is killed.
        grace_s: u32,
    },
    /// Change a service of a swarm (`POST /services/{id}/update`), and wait until swarm has done it.
    UpdateService {
        /// Its full name in the swarm.
        name: String,
        /// What is done to it.
        change: SwarmChange,
    },
    /// Look again until the service is what it should be, or the time is over.
    Verify {
        /// The service.
        service: ServiceId,
        /// The release identity that must run; `None` where any will do.
        identity: Option<String>,
        /// Whether it must run (or, after a stop, must not).
        running: bool,
        /// Processes that ran before and must not be among its instances any more: `pm2 reload` of two instances
        /// reloads one and says 0.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        replaced: Vec<String>,
        /// How long it must run without a restart.
        stable_ms: u64,
        /// How many good answers of each probe in a row are needed.
        probes: u32,
        /// When to give up.
        timeout_ms: u64,
    },
    /// Ask a probe on the machine until it answers well so many times in a row, or the time is over. Changes nothing.
    Ask {
        /// What is asked.
        probe: Probe,
        /// How many good answers in a row are needed.
        times: u32,
        /// After so long without them it is given up; 0: asked once.
        timeout_ms: u64,
    },
    /// Look for so long whether what gets requests now bears them: its probes, and the verdict. Changes nothing.
    Judge {
        /// What is asked all the time.
        probes: Vec<Probe>,
        /// The service whose log is compared, and the one it is compared with; `None` where only the probes count.
        services: Option<BeforeAfter<ServiceId>>,
        /// For how long.
        hold_ms: u64,
    },
}

/// What is done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerAction {
    /// Stop and start it.
    Restart,
    /// Stop it.
    Stop,
    /// Start it.
    Start,
}

impl ContainerAction {
    /// The word in the API's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Start => "start",
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, for people.
    pub text: SafeText,
    /// What it does, exactly.
    pub work: StepWork,
    /// What takes it back; `None` where nothing needs to or can.
    pub undo: Option<StepWork>,
    /// The command to type by hand if it fails.
    pub manual: Option<SafeText>,
    /// What must still be true right before it runs.
    pub fingerprints: Vec<Fingerprint>,
    /// When to give up on it.
    pub timeout_ms: u64,
    /// Whether the plan goes on if it fails.
    pub may_fail: bool,
}

impl Step {
    /// The argument list, where the step runs a program.
    pub fn command(&self) -> Option<&[String]> {
        match &self.work {
            StepWork::Command { argv, .. } => Some(argv),
            _ => None,
        }
    }
}

/// Exactly what will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What was wanted.
    pub operation: Operation,
    /// The machine it happens on.
    pub host: HostName,
    /// How much it can hurt.
    pub risk: Risk,
    /// The services it touches.
    pub services: Vec<ServiceId>,
    /// What runs now, for the card: `shop-backend:1.5 sha256:5c20912d up 31 min, unhealthy`.
    pub from: Option<SafeText>,
    /// What will run, for the card: `checkpoint pre-1.5 sha256:523ac975`.
    pub to: Option<SafeText>,
    /// What to know before saying yes: `this checkpoint's service was unhealthy`.
    pub notes: Vec<SafeText>,
    /// The steps.
    pub steps: Vec<Step>,
    /// What it does not bring back: volumes, schema, other services.
    pub not_rolled_back: Vec<SafeText>,
    /// What happens if a step fails.
    pub on_failure: Option<SafeText>,
    /// How long the service will be down; `None` where that is not known.
    pub downtime_ms: Option<u64>,
    /// How long the whole may take before people should act otherwise.
    pub budget_ms: u64,
    /// SHA-256 over all of the above, hex; set by [`Plan::seal`].
    pub hash: String,
}

impl Plan {
    /// Computes the hash. A plan that was changed afterwards no longer agrees with it.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.hash = self.compute_hash();
        self
    }

    /// Whether the hash still agrees with the content.
    pub fn is_sealed(&self) -> bool {
        self.hash == self.compute_hash()
    }

    fn compute_hash(&self) -> String {
        let mut copy = self.clone();
        copy.hash.clear();
        let bytes = serde_json::to_vec(&copy).expect("a plan is made of strings and numbers");
        digest::sha256(&bytes)
    }

    /// What must be true before the first step: of each subject what the first step that looks at it expects. What
    /// later steps expect of it is what those before them make.
    pub fn fingerprints(&self) -> Vec<&Fingerprint> {
        let mut all: Vec<&Fingerprint> = Vec::new();
        for fingerprint in self.steps.iter().flat_map(|s| &s.fingerprints) {
            if !all.iter().any(|known| known.subject == fingerprint.subject) {
                all.push(fingerprint);
            }
        }
        all
    }

    /// The text that confirms it: the short name of the service for a destructive plan, nothing for a
    /// disruptive one.
    pub fn confirmation(&self) -> Option<&ServiceId> {
        (self.risk >= Risk::Destructive)
            .then(|| self.services.first())
            .flatten()
    }
}

#[cfg(test)]
pub(crate) mod tests;
