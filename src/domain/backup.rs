//! Data backups: what the configuration says of one, what one holds, and what its restore test found.
//!
//! A backup is one or more data files and one JSON file of the same name, which says what they hold. What was counted
//! while the data was read is what a restore is held against: tables with their rows, keys, files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::host::HostName;
use super::safe_text::SafeText;
use super::service::ServiceId;
use super::sink::SecretSource;

/// The schema of the JSON file beside the data.
pub const BACKUP_SCHEMA: &str = "lastgood.backup/1";
/// The group of the names by which leases, the policy and the audit log know a backup: `backup/main`.
pub const GROUP: &str = "backup";

/// What is backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// A PostgreSQL database, by `pg_dump -Fc`.
    Postgres,
    /// A redis server, or every master of a cluster, by its RDB file.
    Redis,
    /// Files and folders, by `tar`.
    Files,
}

impl BackupKind {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Files => "files",
        }
    }

    /// The ending of a data file before it is compressed.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Postgres => "dump",
            Self::Redis => "rdb",
            Self::Files => "tar",
        }
    }
}

/// How many backups stay: the newest, and the newest of each of so many days, weeks and months that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest.
    pub last: u32,
    /// Days.
    pub daily: u32,
    /// Weeks, from Monday.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

impl Default for Keep {
    /// Seven days, as long as a mistake usually takes to be seen.
    fn default() -> Self {
        Self {
            last: 7,
            daily: 7,
            weekly: 0,
            monthly: 0,
        }
    }
}

/// Everything the configuration says of one backup. Commands are run by `sh -c` on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupSettings {
    /// What is backed up.
    pub kind: Option<BackupKind>,
    /// The service whose data it is; where that runs in a container, the programs run there.
    pub service: Option<String>,
    /// The database.
    pub database: Option<String>,
    /// `host:port`, or `folder:port` of a socket; the program's own default where nothing is said.
    pub address: Option<String>,
    /// The user of the database.
    pub user: Option<String>,
    /// Where the password comes from. It is given by environment, never as an argument.
    pub password: Option<SecretSource>,
    /// Files and folders, absolute.
    pub files: Vec<PathBuf>,
    /// How many stay.
    pub keep: Keep,
    /// How old the newest may be.
    pub rpo: Option<Duration>,
    /// Encrypts its input into its output: `age -R keys.txt`.
    pub encrypt: Option<String>,
    /// The way back of that: `age -d -i key.txt`.
    pub decrypt: Option<String>,
    /// Copies `{file}` somewhere else: `rclone copy {file} off:backups`.
    pub copy: Option<String>,
    /// Prints the SHA-256 of that copy: `rclone cat off:backups/{name} | sha256sum`.
    pub copy_check: Option<String>,
}

/// One data file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPart {
    /// Its name in the folder of the backup.
    pub file: String,
    /// What it holds: the database, the address of a server, `files`.
    pub of: SafeText,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// The size of what it holds before it was compressed.
    pub plain_bytes: u64,
}

/// What is counted, by name: rows by table, keys by server, files and bytes.
pub type Counts = BTreeMap<String, u64>;

/// What a restore test found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTest {
    /// When.
    pub at: Timestamp,
    /// Whether everything came back that was counted when the backup was made.
    pub ok: bool,
    /// What was counted, or why it failed.
    pub detail: SafeText,
}

/// A backup as the JSON file beside its data says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// [`BACKUP_SCHEMA`].
    pub schema: String,
    /// The name in the configuration.
    pub name: String,
    /// The local time at which it was begun: `20251227-020000`.
    pub id: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Who made it.
    pub by: SafeText,
    /// What is backed up.
    pub kind: BackupKind,
    /// The machine that it was made on.
    #[serde(default = "HostName::local")]
    pub host: HostName,
    /// The service whose data it is.
    pub service: Option<ServiceId>,
    /// The database.
    pub database: Option<String>,
    /// Its data files.
    pub parts: Vec<BackupPart>,
    /// Whether they are encrypted.
    pub encrypted: bool,
    /// What was counted while it was read.
    pub counts: Counts,
    /// Whether a restore made it of what it was about to replace: no restore takes it without its name.
    #[serde(default)]
    pub before_restore: bool,
    /// What became of the copy elsewhere; `None` where none was made.
    #[serde(default)]
    pub copy: Option<SafeText>,
    /// The last restore test.
    #[serde(default)]
    pub restore_test: Option<RestoreTest>,
    /// What is wrong with its files, as the last look at their checksums found.
    #[serde(default)]
    pub damage: Option<SafeText>,
    /// The size and the time of change of each file when its checksum was last right, in the order of the parts.
    #[serde(default)]
    pub checked: Vec<(u64, i64)>,
}

impl Backup {
    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// What it holds, in words: `14 tables, 20,311 rows`.
    pub fn summary(&self) -> String {
        summary(self.kind, &self.counts)
    }
}

/// What was counted, in words.
pub fn summary(kind: BackupKind, counts: &Counts) -> String {
    let total: u64 = counts.values().sum();
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    match kind {
        BackupKind::Postgres => format!("{} tables, {total} rows", counts.len()),
        BackupKind::Redis => format!("{total} keys"),
        BackupKind::Files => format!("{} files, {} bytes", of("files"), of("bytes")),
    }
}

/// A backup, or what is left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name in the configuration.
    pub name: String,
    /// Its id.
    pub id: String,
    /// What its JSON file says, or why that cannot be read.
    pub backup: Result<Backup, SafeText>,
    /// What is wrong with it; `None` where nothing is known to be.
    pub problem: Option<SafeText>,
    /// Whether that is only that a data file could not be looked at.
    pub is_data_unread: bool,
}

impl Listed {
    /// Whether its files are what was written, and no restore test failed.
    pub fn is_ok(&self) -> bool {
        self.problem.is_none() && self.backup.is_ok()
    }

    /// Whether nobody knows if it is good: what says what it holds, or its data, could not be read.
    pub fn is_unread(&self) -> bool {
        self.backup.is_err() || self.is_data_unread
    }
}

/// What a step does with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupAct {
    /// Looks whether there is room for it.
    Room,
    /// Makes it.
    Dump,
    /// Makes one of what a restore is about to replace.
    DumpBefore,
    /// Holds its files against their checksums.
    Check,
    /// Copies it elsewhere.
    Copy,
    /// Removes it.
    Remove,
    /// Restores it into something that is thrown away, and counts.
    Test,
    /// Restores it beside what is there, and counts.
    Stage,
    /// Throws away what [`BackupAct::Stage`] made.
    Unstage,
    /// Puts what was staged in the place of what is there, which is kept under another name.
    Swap,
    /// Puts what was there in its place again.
    SwapBack,
    /// Looks whether what was restored is in its place.
    Prove,
}

impl BackupAct {
    /// Whether it only looks: what it uses for that it takes away again.
    pub fn is_proof(self) -> bool {
        matches!(
            self,
            Self::Room | Self::Check | Self::Copy | Self::Test | Self::Prove
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_said_in_words_of_its_kind() {
        let counts: Counts = [("public.users".to_owned(), 3), ("public.orders".into(), 4)].into();
        assert_eq!(summary(BackupKind::Postgres, &counts), "2 tables, 7 rows");
        assert_eq!(summary(BackupKind::Redis, &counts), "7 keys");
        let counts: Counts = [("files".to_owned(), 3), ("bytes".into(), 4000)].into();
        assert_eq!(summary(BackupKind::Files, &counts), "3 files, 4000 bytes");
    }
}
