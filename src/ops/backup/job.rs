//! One step of work on one backup: what it has to know, and which function of its kind does it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::pack;
use super::place::{Place, own_shell, succeeded};
use crate::audit::Permit;
use crate::domain::backup::{
    BACKUP_SCHEMA, Backup, BackupAct, BackupKind, BackupPart, BackupSettings, Counts, RestoreTest,
    summary,
};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::host::stream::Chunk;
use crate::host::{Command, Host};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::backup as store;
use crate::store::backup::StagedPart;

/// Room that stays on the disk besides a backup.
const SPARE: u64 = 16 * 1024 * 1024;
/// A copy goes over a network.
const COPY_TRIES: u32 = 3;
const COPY_PAUSE: Duration = Duration::from_secs(1);
const PASSWORD_LIMIT: Duration = Duration::from_secs(30);

/// Everything a step needs.
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Context,
    pub(super) permit: &'a Permit,
    pub(super) settings: &'a BackupSettings,
    pub(super) kind: BackupKind,
    pub(super) name: String,
    pub(super) id: String,
    /// The time of this work: part of the names of what it makes.
    pub(super) stamp: String,
    pub(super) service: Option<ServiceId>,
    pub(super) place: Place,
    pub(super) password: Option<String>,
    pub(super) limit: Duration,
}

impl<'a> Job<'a> {
    /// # Errors
    /// It is not configured any more, or its password cannot be had.
    pub(super) async fn new(
        ctx: &'a Context,
        permit: &'a Permit,
        (name, id, stamp): (&str, &str, &str),
        service: Option<&ServiceId>,
        place: Place,
        limit: Duration,
    ) -> Result<Self, OpsError> {
        let settings = super::settings(ctx, name)?;
        let password = match &settings.password {
            None => None,
            Some(source) => Some(
                crate::host::sink::read_secret(source, PASSWORD_LIMIT)
                    .await
                    .map_err(|error| {
                        OpsError::new(
                            ErrorKind::Failed,
                            format!("no password for [backups.{name}]"),
                        )
                        .because(error)
                    })?,
            ),
        };
        Ok(Self {
            ctx,
            permit,
            kind: super::kind(name, settings)?,
            settings,
            name: name.to_owned(),
            id: id.to_owned(),
            stamp: stamp.to_owned(),
            service: service.cloned(),
            place,
            password,
            limit,
        })
    }

    /// Does it. Returns the evidence.
    ///
    /// # Errors
    /// It did not do what it should: [`ErrorKind::No`] where the backup is to blame.
    pub(super) async fn run(&mut self, act: BackupAct) -> Result<SafeText, OpsError> {
        let text = match act {
            BackupAct::Room => self.room().await?,
            BackupAct::Dump => self.dump(false).await?,
            BackupAct::DumpBefore => {
                self.id = before_id(&self.stamp);
                self.dump(true).await?
            }
            BackupAct::Check => self.check()?,
            BackupAct::Copy => self.copy().await?,
            BackupAct::Remove => {
                store::remove(&self.ctx.state, &self.name, &self.id)?;
                "it is gone".to_owned()
            }
            BackupAct::Test => self.test().await?,
            BackupAct::Stage => {
                let backup = self.found()?;
                let counts = match self.kind {
                    BackupKind::Postgres => self.postgres_stage(&backup).await?,
                    BackupKind::Files => self.files_stage(&backup).await?,
                    BackupKind::Redis => return Err(self.not_for_redis()),
                };
                summary(self.kind, &counts)
            }
            BackupAct::Unstage => {
                match self.kind {
                    BackupKind::Postgres => self.postgres_unstage().await?,
                    BackupKind::Files => self.files_unstage().await?,
                    BackupKind::Redis => return Err(self.not_for_redis()),
                }
                "it is gone".to_owned()
            }
            BackupAct::Swap => match self.kind {
                BackupKind::Postgres => self.postgres_swap().await?,
                BackupKind::Files => self.files_swap().await?,
                BackupKind::Redis => self.redis_swap(&self.found()?).await?,
            },
            BackupAct::SwapBack => {
                match self.kind {
                    BackupKind::Postgres => self.postgres_swap_back().await?,
                    BackupKind::Files => self.files_swap_back().await?,
                    BackupKind::Redis => return Err(self.not_for_redis()),
                }
                "what was there is back".to_owned()
            }
            BackupAct::Prove => {
                let backup = self.found()?;
                let counts = match self.kind {
                    BackupKind::Postgres => self.postgres_prove(&backup).await?,
                    BackupKind::Files => self.files_prove(&backup).await?,
                    BackupKind::Redis => self.redis_prove(&backup).await?,
                };
                format!("{} in place", summary(self.kind, &counts))
            }
        };
        Ok(SafeText::from_text(&text))
    }

    fn not_for_redis(&self) -> OpsError {
        OpsError::new(
            ErrorKind::Failed,
            "a redis server has one place for its data: nothing is staged there",
        )
    }

    pub(super) fn database(&self) -> Result<&str, OpsError> {
        self.settings.database.as_deref().ok_or_else(|| {
            OpsError::new(
                ErrorKind::Usage,
                format!("[backups.{}] does not say `database`", self.name),
            )
            .fix("database = \"shop\"")
        })
    }

    /// Host, or folder of a socket, and port.
    pub(super) fn address(&self) -> Option<(String, String)> {
        let (host, port) = self.settings.address.as_deref()?.rsplit_once(':')?;
        Some((host.to_owned(), port.to_owned()))
    }

    pub(super) fn too_late(&self) -> OpsError {
        OpsError::new(
            ErrorKind::Failed,
            format!("it did not end within {} s", self.limit.as_secs()),
        )
    }

    /// The name of a data file, where there are several with what it is of.
    pub(super) fn file(&self, of: Option<&str>) -> String {
        let plain = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' => c,
            _ => '-',
        };
        let of = of.map_or_else(String::new, |of| {
            format!("{}.", of.chars().map(plain).collect::<String>())
        });
        let sealed = match &self.settings.encrypt {
            Some(_) => ".enc",
            None => "",
        };
        format!("{}.{of}{}.zst{sealed}", self.id, self.kind.ending())
    }

    pub(super) async fn pack(
        &self,
        (file, of): (&str, &str),
        from: mpsc::Receiver<Chunk>,
    ) -> Result<StagedPart, OpsError> {
        pack::pack(
            self.ctx,
            self.settings,
            (&self.name, file, of),
            self.limit,
            from,
        )
        .await
    }

    /// The only data file of a backup.
    pub(super) fn only_part<'b>(&self, backup: &'b Backup) -> Result<&'b BackupPart, OpsError> {
        match backup.parts.as_slice() {
            [one] => Ok(one),
            parts => Err(OpsError::new(
                ErrorKind::Failed,
                format!("{} has {} data files, not one", backup.id, parts.len()),
            )),
        }
    }

    fn found(&self) -> Result<Backup, OpsError> {
        let all = store::list(&self.ctx.state, &self.name)?;
        let found = all.into_iter().find(|one| one.id == self.id);
        let found = found.ok_or_else(|| {
            OpsError::new(
                ErrorKind::No,
                format!("there is no backup {} of {}", self.id, self.name),
            )
            .fix(format!("lastgood backup list {}", self.name))
        })?;
        found
            .backup
            .map_err(|why| OpsError::new(ErrorKind::No, format!("the backup {}: {why}", self.id)))
    }

    /// Says what room there is. The estimate is the newest backup and half of it again, or all of what is there.
    async fn room(&self) -> Result<String, OpsError> {
        let size = match self.kind {
            BackupKind::Postgres => self.postgres_size().await?,
            BackupKind::Redis => self.redis_size().await?,
            BackupKind::Files => self.files_size().await?,
        };
        let all = store::list(&self.ctx.state, &self.name)?;
        let newest = all.iter().find(|one| one.is_ok());
        let newest = newest
            .and_then(|one| one.backup.as_ref().ok())
            .map(Backup::bytes);
        let needed = newest.map_or(size, |bytes| bytes + bytes / 2);
        let dir = store::folder(&self.ctx.state, &self.name);
        self.ctx.state.make_dir(&dir)?;
        let disk = rustix::fs::statvfs(&dir).map_err(|error| {
            OpsError::new(
                ErrorKind::Failed,
                format!("cannot see the room of {}", dir.display()),
            )
            .because(error)
        })?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let text = format!(
            "{} MiB free in {}, about {} MiB needed",
            free >> 20,
            dir.display(),
            needed >> 20
        );
        match free >= needed.saturating_add(SPARE.min(needed)) {
            true => Ok(text),
            false => Err(
                OpsError::new(ErrorKind::Failed, format!("no room for a backup: {text}"))
                    .fix("make room, or keep fewer: `keep` in the configuration"),
            ),
        }
    }

    async fn dump(&self, is_before: bool) -> Result<String, OpsError> {
        // Its lease is held: whatever is half there, nobody is making.
        store::clean(&self.ctx.state, &self.name)?;
        let created_at = Timestamp::now();
        let (staged, counts) = match self.kind {
            BackupKind::Postgres => self.postgres_dump().await?,
            BackupKind::Redis => self.redis_dump().await?,
            BackupKind::Files => self.files_dump().await?,
        };
        let mut backup = Backup {
            schema: BACKUP_SCHEMA.to_owned(),
            name: self.name.clone(),
            id: self.id.clone(),
            created_at,
            by: SafeText::from_text(&self.ctx.actor.user),
            kind: self.kind,
            host: self.place.host.name(),
            service: self.service.clone(),
            database: self.settings.database.clone(),
            parts: Vec::new(),
            encrypted: self.settings.encrypt.is_some(),
            counts,
            before_restore: is_before,
            copy: None,
            restore_test: None,
            damage: None,
            checked: Vec::new(),
        };
        store::commit(&self.ctx.state, &mut backup, staged)?;
        if let Some(damage) = backup.damage {
            return Err(OpsError::new(ErrorKind::No, damage.to_string()));
        }
        Ok(format!("{}, {} bytes", backup.summary(), backup.bytes()))
    }

    /// Reads its files from the disk again.
    fn check(&self) -> Result<String, OpsError> {
        let mut backup = self.found()?;
        store::check(&self.ctx.state, &mut backup)?;
        match &backup.damage {
            None => Ok(format!(
                "{} bytes agree with their checksums",
                backup.bytes()
            )),
            Some(why) => Err(OpsError::new(ErrorKind::No, why.to_string())),
        }
    }

    /// Copies its files elsewhere, and asks for the checksum of each copy.
    async fn copy(&self) -> Result<String, OpsError> {
        let Some(line) = &self.settings.copy else {
            return Err(OpsError::new(
                ErrorKind::Usage,
                format!("[backups.{}] does not say `copy` any more", self.name),
            ));
        };
        let mut backup = self.found()?;
        let copied = self.copy_files(&backup, line).await;
        backup.copy = Some(match &copied {
            Ok(text) => SafeText::from_text(text),
            Err(error) => SafeText::from_text(&format!("failed: {}", error.to_safe_text())),
        });
        store::update(&self.ctx.state, &backup)?;
        copied
    }

    async fn copy_files(&self, backup: &Backup, line: &str) -> Result<String, OpsError> {
        let dir = store::folder(&self.ctx.state, &self.name);
        let mut files: Vec<(String, Option<&str>)> = backup
            .parts
            .iter()
            .map(|part| (part.file.clone(), Some(part.sha256.as_str())))
            .collect();
        // What says what they hold goes with them; it changes here with every restore test.
        files.push((format!("{}.json", backup.id), None));
        for (file, sum) in &files {
            let path = dir.join(file).display().to_string();
            let fill = |line: &str| {
                line.replace("{file}", &shell_words::quote(&path))
                    .replace("{name}", &shell_words::quote(file))
            };
            self.again(&fill(line), "copying").await?;
            let (Some(check), Some(sum)) = (&self.settings.copy_check, sum) else {
                continue;
            };
            let said = self.again(&fill(check), "looking at the copy").await?;
            let seen = said.split_whitespace().next().unwrap_or_default();
            if !seen.eq_ignore_ascii_case(sum) {
                return Err(OpsError::new(
                    ErrorKind::No,
                    format!("the copy of {file} has the checksum {seen:?}, not {sum}"),
                ));
            }
        }
        Ok(match &self.settings.copy_check {
            Some(_) => "the copy has the same checksum".to_owned(),
            None => format!(
                "exit 0; nobody looked at the copy: [backups.{}] copy_check would",
                self.name
            ),
        })
    }

    /// Runs a line of the configuration until it succeeds, a few times.
    async fn again(&self, line: &str, what: &str) -> Result<String, OpsError> {
        let mut tries = COPY_TRIES;
        loop {
            tries -= 1;
            let command: Command = own_shell(line, self.limit);
            let ended = Host::Local
                .change(self.permit, &command)
                .await
                .map_err(|error| OpsError::new(ErrorKind::Failed, what).because(error))
                .and_then(|ended| {
                    succeeded(&format!("{what} by `{line}`"), ErrorKind::Failed, ended)
                });
            match ended {
                Ok(ended) => return Ok(ended.stdout_text().into_owned()),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => tokio::time::sleep(COPY_PAUSE).await,
            }
        }
    }

    /// Restores it into something that is thrown away, and writes down what came of it. What is not the backup's fault
    /// (a server that is away) says nothing of it.
    async fn test(&self) -> Result<String, OpsError> {
        let mut backup = self.found()?;
        let tested = match self.kind {
            BackupKind::Postgres => self.postgres_test(&backup).await,
            BackupKind::Redis => self.redis_test(&backup).await,
            BackupKind::Files => self.files_test(&backup).await,
        };
        self.note_test(&mut backup, &tested)?;
        tested.map(|counts| format!("{} came back", summary(self.kind, &counts)))
    }

    fn note_test(
        &self,
        backup: &mut Backup,
        tested: &Result<Counts, OpsError>,
    ) -> Result<(), OpsError> {
        let detail = match tested {
            Ok(counts) => SafeText::from_text(&summary(self.kind, counts)),
            Err(error) if error.kind == ErrorKind::No => error.to_safe_text(),
            Err(_) => return Ok(()),
        };
        backup.restore_test = Some(RestoreTest {
            at: Timestamp::now(),
            ok: tested.is_ok(),
            detail,
        });
        Ok(store::update(&self.ctx.state, backup)?)
    }
}

/// The id of the backup that a restore makes of what it is about to replace.
pub(super) fn before_id(stamp: &str) -> String {
    format!("{stamp}-replaced")
}
