//! The plans: what is run where, what it needs, what it leaves, and what cannot be taken back.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{kind, settings, store};
use crate::analysis::retention::superfluous;
use crate::domain::backup::{BACKUP_SCHEMA, Backup, BackupAct, BackupKind, BackupSettings, Listed};
use crate::domain::host::HostName;
use crate::domain::operation::StepWork;
use crate::domain::operation::{Fingerprint, FingerprintSubject, Operation, Plan, Risk, Step};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Runtime, Service, ServiceId, ServiceState};
use crate::ops::operation::{ABSENT, look_at};
use crate::ops::services::{discover, host_of, resolve};
use crate::ops::{Context, ErrorKind, OpsError};

/// A dump or a restore of many gigabytes.
const DATA_LIMIT_MS: u64 = 6 * 60 * 60 * 1000;
const LOOK_LIMIT_MS: u64 = 10 * 60 * 1000;
/// The budget of a database that is brought back.
const RESTORE_BUDGET_MS: u64 = 5 * 60 * 1000;

/// What is backed up, and where its programs run.
struct Target<'a> {
    settings: &'a BackupSettings,
    kind: BackupKind,
    backup: &'a ServiceId,
    service: Option<Service>,
    container: Option<String>,
    /// `in the container shop-db-1`, `on local`.
    words: String,
}

impl<'a> Target<'a> {
    async fn find(ctx: &'a Context, backup: &'a ServiceId) -> Result<Self, OpsError> {
        let settings = settings(ctx, &backup.name)?;
        let kind = kind(&backup.name, settings)?;
        let service = match &settings.service {
            None => None,
            Some(name) => Some(resolve(&discover(ctx).await, name)?.clone()),
        };
        let host = service
            .as_ref()
            .map_or(&backup.host, |service| &service.id.host);
        let mut words = format!("on {host}");
        let is_contained = service.as_ref().is_some_and(|service| {
            matches!(
                service.runtime,
                Runtime::Compose | Runtime::Docker | Runtime::Swarm
            )
        });
        let mut container = None;
        // Files are those of the machine: what is in a container's own layer goes with it.
        if let Some(service) = service
            .as_ref()
            .filter(|_| is_contained && kind != BackupKind::Files)
        {
            let running = service
                .instances
                .iter()
                .find(|instance| instance.state == ServiceState::Running);
            let running = running.ok_or_else(|| {
                OpsError::new(
                    ErrorKind::Failed,
                    format!("{} does not run: its data cannot be asked for", service.id),
                )
                .fix(format!("lastgood start {}", service.id))
            })?;
            container = Some(running.id.clone());
            words = format!("in the container {}", running.name);
        }
        host_of(ctx, service.as_ref().map_or(backup, |service| &service.id))?;
        Ok(Self {
            settings,
            kind,
            backup,
            service,
            container,
            words,
        })
    }

    fn host(&self) -> &HostName {
        self.service
            .as_ref()
            .map_or(&self.backup.host, |service| &service.id.host)
    }

    /// What a dump is made with, in words.
    fn dump(&self) -> String {
        let words = &self.words;
        let packed = match &self.settings.encrypt {
            None => "zstd".to_owned(),
            Some(line) => format!("zstd, `{line}`"),
        };
        match self.kind {
            BackupKind::Postgres => {
                let database = self.settings.database.as_deref().unwrap_or("?");
                format!("pg_dump -Fc --compress=0 -w -d {database} {words}, {packed}")
            }
            BackupKind::Redis => format!("redis-cli bgsave {words}, and its file; {packed}"),
            BackupKind::Files => {
                let paths: Vec<String> = self
                    .settings
                    .files
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                format!("tar -cf - {} {words}, {packed}", paths.join(" "))
            }
        }
    }

    /// What is backed up must be said, before anything is asked.
    fn is_complete(&self) -> Result<(), OpsError> {
        let missing = match self.kind {
            BackupKind::Postgres if self.settings.database.is_none() => "database",
            BackupKind::Files if self.settings.files.is_empty() => "files",
            _ => return Ok(()),
        };
        Err(OpsError::new(
            ErrorKind::Usage,
            format!("[backups.{}] does not say `{missing}`", self.backup.name),
        )
        .fix("assets/config.toml shows a whole [backups.NAME]"))
    }

    async fn fingerprints(&self, ctx: &Context) -> Result<Vec<Fingerprint>, OpsError> {
        let (Some(service), Some(_)) = (&self.service, &self.container) else {
            return Ok(Vec::new());
        };
        let subject = FingerprintSubject::Instances {
            service: service.id.clone(),
        };
        let value = look_at(ctx, &subject).await?;
        Ok(match value == ABSENT {
            true => Vec::new(),
            false => vec![Fingerprint { subject, value }],
        })
    }

    fn step(&self, act: BackupAct, id: &str, stamp: &str, text: &str, limit_ms: u64) -> Step {
        Step {
            text: SafeText::from_text(text),
            work: self.work(act, id, stamp),
            undo: None,
            manual: None,
            fingerprints: Vec::new(),
            timeout_ms: limit_ms,
            may_fail: false,
        }
    }

    fn work(&self, act: BackupAct, id: &str, stamp: &str) -> StepWork {
        StepWork::Backup {
            act,
            name: self.backup.name.clone(),
            id: id.to_owned(),
            stamp: stamp.to_owned(),
            service: self.service.as_ref().map(|service| service.id.clone()),
            container: self.container.clone(),
        }
    }

    fn plan(&self, operation: &Operation, risk: Risk) -> Plan {
        Plan {
            operation: operation.clone(),
            host: self.host().clone(),
            risk,
            // The name first: it is what confirms. Its files are here, whichever machine's data they hold.
            services: vec![ServiceId {
                host: HostName::local(),
                ..self.backup.clone()
            }],
            from: None,
            to: None,
            notes: Vec::new(),
            steps: Vec::new(),
            not_rolled_back: Vec::new(),
            on_failure: None,
            downtime_ms: Some(0),
            budget_ms: DATA_LIMIT_MS,
            hash: String::new(),
        }
    }
}

/// The plan that makes one, copies it and removes those that are not kept.
///
/// # Errors
/// Not configured, not complete, its service is not there.
pub(in crate::ops) async fn plan_run(
    ctx: &Context,
    operation: &Operation,
    backup: &ServiceId,
    id: &str,
) -> Result<Plan, OpsError> {
    let target = Target::find(ctx, backup).await?;
    target.is_complete()?;
    let name = &backup.name;
    let file = store::folder(&ctx.state, name).join(id);
    let mut plan = target.plan(operation, Risk::ReadOnly);
    let mut dump = target.step(
        BackupAct::Dump,
        id,
        id,
        &format!("{} -> {}.*", target.dump(), file.display()),
        DATA_LIMIT_MS,
    );
    dump.fingerprints = target.fingerprints(ctx).await?;
    plan.steps = vec![
        target.step(
            BackupAct::Room,
            id,
            id,
            "look whether there is room",
            LOOK_LIMIT_MS,
        ),
        dump,
        target.step(
            BackupAct::Check,
            id,
            id,
            "read it from the disk again: size and checksum",
            DATA_LIMIT_MS,
        ),
    ];
    if let Some(copy) = &target.settings.copy {
        let text = match &target.settings.copy_check {
            Some(check) => format!("copy it: {copy}; its checksum there: {check}"),
            None => format!("copy it: {copy}"),
        };
        plan.steps
            .push(target.step(BackupAct::Copy, id, id, &text, DATA_LIMIT_MS));
    }
    let kept = store::list(&ctx.state, name)?;
    for one in kept.iter().filter(|one| one.is_unread()) {
        let why = one.problem.clone().unwrap_or_default();
        plan.notes.push(SafeText::from_text(&format!(
            "{} stays: whether it is good is not known: {why}",
            one.id
        )));
    }
    let gone = superfluous(
        &with_new(kept, &target, id),
        target.settings.keep,
        &TimeZone::system(),
    );
    for old in gone {
        let mut step = target.step(
            BackupAct::Remove,
            &old,
            &old,
            &format!("remove {old}: it is not kept any more"),
            LOOK_LIMIT_MS,
        );
        step.may_fail = true;
        plan.steps.push(step);
    }
    plan.to = Some(SafeText::from_text(&file.display().to_string()));
    plan.on_failure = Some(SafeText::from_text(
        "nothing is listed that is not whole, and no old one is removed",
    ));
    Ok(plan.seal())
}

/// Part of the names of what a restore makes and keeps: no two have the same.
fn stamp() -> String {
    Zoned::now().strftime("%Y%m%d-%H%M%S-%3f").to_string()
}

/// As it will be: the new one is the newest, and good.
fn with_new(kept: Vec<Listed>, target: &Target<'_>, id: &str) -> Vec<Listed> {
    let new = Backup {
        schema: BACKUP_SCHEMA.to_owned(),
        name: target.backup.name.clone(),
        id: id.to_owned(),
        created_at: Timestamp::now(),
        by: SafeText::default(),
        kind: target.kind,
        host: target.host().clone(),
        service: None,
        database: None,
        parts: Vec::new(),
        encrypted: false,
        counts: std::collections::BTreeMap::new(),
        before_restore: false,
        copy: None,
        restore_test: None,
        damage: None,
        checked: Vec::new(),
    };
    let mut all = vec![Listed {
        name: new.name.clone(),
        id: new.id.clone(),
        backup: Ok(new),
        problem: None,
        is_data_unread: false,
    }];
    all.extend(kept);
    all
}

/// The plan that proves one by a restore that is thrown away.
///
/// # Errors
/// Not configured, its service is not there.
pub(in crate::ops) async fn plan_verify(
    ctx: &Context,
    operation: &Operation,
    backup: &ServiceId,
    id: &str,
) -> Result<Plan, OpsError> {
    let target = Target::find(ctx, backup).await?;
    let mut plan = target.plan(operation, Risk::ReadOnly);
    let stamp = stamp();
    let into = match target.kind {
        BackupKind::Postgres => format!(
            "restore it into a database of its own {}, count its rows, drop it",
            target.words
        ),
        BackupKind::Redis => format!(
            "start a redis-server of its own on it {}, count its keys, end it",
            target.words
        ),
        BackupKind::Files => {
            "unpack it into a folder of its own, read each file back, remove it".to_owned()
        }
    };
    plan.steps = vec![
        target.step(
            BackupAct::Check,
            id,
            &stamp,
            &format!("read {id} from the disk: size and checksum"),
            DATA_LIMIT_MS,
        ),
        target.step(BackupAct::Test, id, &stamp, &into, DATA_LIMIT_MS),
    ];
    plan.from = Some(SafeText::from_text(id));
    Ok(plan.seal())
}

/// The plan that restores one.
///
/// # Errors
/// Not configured, not there or damaged ([`ErrorKind::No`]), its service is not there, or it is a cluster.
pub(in crate::ops) async fn plan_restore(
    ctx: &Context,
    operation: &Operation,
    backup: &ServiceId,
    id: &str,
) -> Result<Plan, OpsError> {
    let target = Target::find(ctx, backup).await?;
    target.is_complete()?;
    let listed = super::choose(ctx, &backup.name, Some(id))?;
    let made = listed
        .backup
        .map_err(|why| OpsError::new(ErrorKind::No, why.to_string()))?;
    if made.kind != target.kind {
        return Err(OpsError::new(
            ErrorKind::Usage,
            format!(
                "{id} is a backup of {}, and [backups.{}] says {}",
                made.kind.as_str(),
                backup.name,
                target.kind.as_str()
            ),
        ));
    }
    let mut plan = target.plan(operation, Risk::DataLosing);
    // Nobody restarts it meanwhile.
    plan.services
        .extend(target.service.as_ref().map(|service| service.id.clone()));
    plan.budget_ms = RESTORE_BUDGET_MS.max(DATA_LIMIT_MS);
    plan.from = target
        .service
        .as_ref()
        .map(|service| SafeText::from_text(&format!("{} as it is", service.id)));
    plan.to = Some(SafeText::from_text(&format!(
        "{id}  {}, made {}",
        made.summary(),
        made.created_at
            .to_zoned(TimeZone::system())
            .strftime("%Y-%m-%d %H:%M:%S")
    )));
    let minutes = Timestamp::now().duration_since(made.created_at).as_mins();
    plan.notes.push(SafeText::from_text(&format!(
        "what was written in the {minutes} minutes since is not in it"
    )));
    if made.host != plan.host {
        plan.notes.push(SafeText::from_text(&format!(
            "it was made on {}, and goes to {}",
            made.host, plan.host
        )));
    }
    if made.restore_test.is_none() {
        plan.notes.push(SafeText::from_text(&format!(
            "it was never restored to prove it: lastgood backup verify {} does",
            backup.name
        )));
    }
    let stamp = stamp();
    let check = target.step(
        BackupAct::Check,
        id,
        &stamp,
        &format!("read {id} from the disk: size and checksum"),
        DATA_LIMIT_MS,
    );
    let fingerprints = target.fingerprints(ctx).await?;
    plan.steps = match target.kind {
        BackupKind::Postgres | BackupKind::Files => beside(&target, id, &stamp, &mut plan),
        BackupKind::Redis => copied(&target, &made, id, &stamp, &mut plan)?,
    };
    for step in &mut plan.steps {
        step.fingerprints.clone_from(&fingerprints);
    }
    plan.steps.insert(0, check);
    Ok(plan.seal())
}

/// Restored beside what is there, which keeps its data under another name.
fn beside(target: &Target<'_>, id: &str, stamp: &str, plan: &mut Plan) -> Vec<Step> {
    let (stage, swap, kept) = match target.kind {
        BackupKind::Files => {
            let paths: Vec<String> = target
                .settings
                .files
                .iter()
                .map(|path| format!("{0} becomes {0}.before-{stamp}", path.display()))
                .collect();
            (
                "unpack it beside what is there, and check each file".to_owned(),
                format!("{}; what was unpacked takes its place", paths.join(", ")),
                "PATH.before-…",
            )
        }
        _ => {
            let own = target.settings.database.clone().unwrap_or_default();
            let names = super::postgres::Names::of(&own, &target.backup.name, stamp);
            (
                format!(
                    "pg_restore into the new database {} {}, and count its rows",
                    names.staged, target.words
                ),
                format!(
                    "end every session of {own}; {own} becomes {}, {} becomes {own}",
                    names.before, names.staged
                ),
                "the old database",
            )
        }
    };
    plan.notes.push(SafeText::from_text(&format!(
        "what is there now stays: remove {kept} once nobody needs it"
    )));
    plan.notes.push(SafeText::from_text(
        "stop or restart what uses the data: it goes on with what it has open",
    ));
    plan.on_failure = Some(SafeText::from_text(
        "what was there gets its name back, and what was restored beside it is removed",
    ));
    plan.not_rolled_back = vec![SafeText::from_text(
        "roles, settings of the server, other data",
    )];
    plan.downtime_ms = Some(1_000);
    let mut staged = target.step(BackupAct::Stage, id, stamp, &stage, DATA_LIMIT_MS);
    staged.undo = Some(target.work(BackupAct::Unstage, id, stamp));
    let mut swapped = target.step(BackupAct::Swap, id, stamp, &swap, LOOK_LIMIT_MS);
    swapped.undo = Some(target.work(BackupAct::SwapBack, id, stamp));
    let prove = target.step(
        BackupAct::Prove,
        id,
        stamp,
        "look whether what was restored is in place",
        DATA_LIMIT_MS,
    );
    vec![staged, swapped, prove]
}

/// redis has one place for its data: what is there is saved first.
fn copied(
    target: &Target<'_>,
    made: &Backup,
    id: &str,
    stamp: &str,
    plan: &mut Plan,
) -> Result<Vec<Step>, OpsError> {
    if made.parts.len() != 1 {
        let files: Vec<&str> = made.parts.iter().map(|part| part.file.as_str()).collect();
        return Err(OpsError::new(
            ErrorKind::Refused,
            "a cluster is not restored in one piece: its slots may be elsewhere by now",
        )
        .lines(&files.join("\n"))
        .fix("stop each master, put the file of its slots in its place as dump.rdb (zstd -d), start it"));
    }
    let address = target
        .settings
        .address
        .as_deref()
        .unwrap_or("127.0.0.1:6379");
    if !super::redis::is_near(address) {
        return Err(OpsError::new(
            ErrorKind::Refused,
            format!(
                "{address} is not on the machine where redis-cli runs: it could not copy from there"
            ),
        )
        .fix("lastgood --host THE-MACHINE backup restore …, with address = \"127.0.0.1:PORT\""));
    }
    let before = super::job::before_id(stamp);
    plan.on_failure = Some(SafeText::from_text(&format!(
        "the server keeps what it has until it copied all; `lastgood backup restore {} --at {before}` brings back what was there",
        target.backup.name
    )));
    plan.not_rolled_back = vec![SafeText::from_text("users and settings of the server")];
    let save = target.step(
        BackupAct::DumpBefore,
        id,
        stamp,
        &format!("save what is there now as the backup {before}"),
        DATA_LIMIT_MS,
    );
    let mut swap = target.step(
        BackupAct::Swap,
        id,
        stamp,
        &format!(
            "start a redis-server of its own on {id}; redis-cli replicaof that, wait, replicaof no one {}",
            target.words
        ),
        DATA_LIMIT_MS,
    );
    swap.manual = Some(SafeText::from_text(&format!(
        "lastgood backup restore {} --at {before}",
        target.backup.name
    )));
    let prove = target.step(
        BackupAct::Prove,
        id,
        stamp,
        "look whether the server is on its own and has keys",
        LOOK_LIMIT_MS,
    );
    Ok(vec![save, swap, prove])
}
