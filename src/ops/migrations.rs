//! Which revision of its schema a database has, by the commands of the configuration: asked in preflight, recorded in a
//! checkpoint, and gone back to where a rollback is asked to.
//!
//! Going back loses what the newer schema held, and only the newer code knows how. So it is asked for by a word of its
//! own, graded as losing data, and comes first, with the failing release still in place. The exit code of the tool proves
//! nothing: the revision is read again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::operation::{describe, look_at};
use super::secrets::base_folder;
use super::services::host_of;
use super::{Context, ErrorKind, OpsError};
use crate::analysis::preflight::{Looked, Migrations};
use crate::audit::Permit;
use crate::domain::checkpoint::SavedService;
use crate::domain::host::HostName;
use crate::domain::operation::{Fingerprint, FingerprintSubject, Step, StepWork};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Service;
use crate::domain::settings::MigrationCommands;
use crate::host::{Command, Host};

/// A migration tool asks the database; one that takes longer hangs.
const LOOK_LIMIT: Duration = Duration::from_secs(20);
/// So long a rollback that leaves the schema alone waits for where it is.
const NOTE_LIMIT: Duration = Duration::from_secs(3);
/// Rewriting a big table takes its time.
const DOWNGRADE_LIMIT_MS: u64 = 900_000;

/// What the configured commands say; `None` without any.
pub(super) async fn look(
    host: &Host,
    service: &Service,
    commands: &MigrationCommands,
) -> Option<Looked<Migrations>> {
    let folder = base_folder(service);
    let ask = async |line: &str| lines(host, folder.as_deref(), line).await;
    let current = match ask(commands.current.as_deref()?).await {
        Ok(current) => current,
        Err(why) => return Some(Err(why)),
    };
    let head = match commands.head.as_deref() {
        Some(head) => match ask(head).await {
            Ok(head) => Some(head),
            Err(why) => return Some(Err(why)),
        },
        None => None,
    };
    Some(Ok(Migrations { current, head }))
}

/// What a configured command prints, line by line.
///
/// # Errors
/// It could not be run, or did not end with 0.
async fn lines(host: &Host, folder: Option<&Path>, line: &str) -> Looked<Vec<String>> {
    let mut command = Command::shell(line, &[], LOOK_LIMIT);
    command.cwd = folder.map(Path::to_owned);
    let output = host.query(&command).await;
    let output = output.map_err(|error| SafeText::from_error(&error))?;
    if !output.is_success() {
        let text = format!("{line}: {}", output.describe());
        return Err(SafeText::from_text(&text));
    }
    let text = output.stdout_text();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines
        .map(|line| SafeText::from_text(line).to_string())
        .collect())
}

/// The one revision that a database has: the first word of what the command prints (`ae1027a6acf (head)`).
///
/// # Errors
/// It did not say, says several, or what it says is no name of a revision.
pub(super) async fn revision(
    host: &Host,
    folder: Option<&Path>,
    line: &str,
) -> Result<String, OpsError> {
    let fail = |why: String| OpsError::new(ErrorKind::Failed, format!("{line}: {why}"));
    let lines = lines(host, folder, line)
        .await
        .map_err(|why| OpsError::new(ErrorKind::Failed, why.to_string()))?;
    let [only] = lines.as_slice() else {
        return Err(fail(match lines.len() {
            0 => "it names no revision".to_owned(),
            several => format!("it names {several} revisions, and only one can be gone back to"),
        }));
    };
    let word = only.split_whitespace().next().unwrap_or_default();
    let is_name = !word.starts_with('-')
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match is_name {
        true => Ok(word.to_owned()),
        false => Err(fail(format!("{word:?} is no name of a revision"))),
    }
}

/// Records the revisions of services whose configuration says how they are asked. Returns what could not be had: the
/// checkpoint is whole without it, only nothing can be gone back to.
pub(super) async fn record(
    ctx: &Context,
    services: &[Service],
    rows: &mut [SavedService],
) -> Vec<SafeText> {
    let mut problems = Vec::new();
    for row in rows {
        let Some(service) = services.iter().find(|service| service.id == row.id) else {
            continue;
        };
        let Some(line) = ctx.config.service(&service.id).migrations.current else {
            continue;
        };
        let found = match host_of(ctx, &service.id) {
            Ok(host) => revision(host, base_folder(service).as_deref(), &line).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(revision) => row.schema_revision = Some(revision),
            Err(error) => problems.push(SafeText::from_text(&format!(
                "{}: the revision of its schema is not recorded: {}",
                service.id,
                error.to_safe_text()
            ))),
        }
    }
    problems
}

/// What a rollback does to the schema, and says of it.
#[derive(Default)]
pub(super) struct Parts {
    /// The step that goes back.
    pub(super) step: Option<Step>,
    /// For the card.
    pub(super) notes: Vec<SafeText>,
}

/// What stands between the schema and the one of a checkpoint. Where nobody asked for it, only a note.
///
/// # Errors
/// It was asked for, and the configuration has no command, the checkpoint no revision, or the database does not say.
pub(super) async fn plan(
    ctx: &Context,
    service: &Service,
    saved: Option<&SavedService>,
    is_wanted: bool,
) -> Result<Parts, OpsError> {
    let commands = ctx.config.service(&service.id).migrations;
    let mut parts = Parts::default();
    let known = (
        &commands.current,
        saved.and_then(|saved| saved.schema_revision.clone()),
    );
    let (Some(current), Some(wanted)) = known else {
        if !is_wanted {
            return Ok(parts);
        }
        return Err(match &commands.current {
            None => not_configured(service, "current"),
            Some(_) => OpsError::new(
                ErrorKind::No,
                format!(
                    "the checkpoint does not say which revision the schema of {} had",
                    service.id
                ),
            )
            .fix("without --downgrade the schema stays as it is"),
        });
    };
    let host = host_of(ctx, &service.id)?;
    let folder = base_folder(service);
    let asked = revision(host, folder.as_deref(), current);
    // What only stands on a card keeps nobody waiting.
    let limit = if is_wanted { LOOK_LIMIT } else { NOTE_LIMIT };
    let asked = tokio::time::timeout(limit, asked).await;
    let asked = asked.unwrap_or_else(|_| {
        let text = format!("{current}: no answer within {} s", limit.as_secs());
        Err(OpsError::new(ErrorKind::Failed, text))
    });
    let now = match asked {
        Ok(now) => now,
        Err(error) if is_wanted => return Err(error),
        Err(error) => {
            parts.notes.push(SafeText::from_text(&format!(
                "the schema was at {wanted}; where it is now is not known: {}",
                error.to_safe_text()
            )));
            return Ok(parts);
        }
    };
    if now == wanted {
        parts.notes.push(SafeText::from_text(&format!(
            "the schema is at {wanted}, as it was"
        )));
        return Ok(parts);
    }
    if !is_wanted {
        parts.notes.push(SafeText::from_text(&format!(
            "the schema is at {now} and was at {wanted}: it stays so, unless --downgrade takes it back (data is lost)"
        )));
        return Ok(parts);
    }
    let Some(downgrade) = &commands.downgrade else {
        return Err(not_configured(service, "downgrade"));
    };
    parts.notes.push(SafeText::from_text(&format!(
        "the schema goes from {now} back to {wanted} first, and what only the newer one holds is lost for good; {}",
        fresh_dump(ctx)
    )));
    let work = StepWork::Downgrade {
        service: service.id.clone(),
        command: downgrade.replace("{revision}", &wanted),
        current: current.clone(),
        folder: folder.clone(),
        revision: wanted.clone(),
    };
    parts.step = Some(Step {
        text: SafeText::from_text(&format!("downgrade the schema from {now} to {wanted}")),
        manual: Some(SafeText::from_text(&describe(&work))),
        fingerprints: vec![Fingerprint {
            subject: subject(&service.id.host, folder, current),
            value: now,
        }],
        work,
        // What was dropped does not come back.
        undo: None,
        timeout_ms: DOWNGRADE_LIMIT_MS,
        may_fail: false,
    });
    Ok(parts)
}

fn not_configured(service: &Service, key: &str) -> OpsError {
    OpsError::new(
        ErrorKind::Usage,
        format!("migrations.{key} of {} is not configured", service.id),
    )
    .fix(format!(
        "[services.{:?}] migrations = {{ current = \"alembic current\", downgrade = \"alembic downgrade {{revision}}\" }}",
        format!("{}/{}", service.id.group, service.id.name)
    ))
}

/// The dump that would bring it back.
fn fresh_dump(ctx: &Context) -> String {
    let names: Vec<&str> = ctx.config.backups.keys().map(String::as_str).collect();
    match names.as_slice() {
        [] => "no backup of data is configured".to_owned(),
        names => format!(
            "make a fresh dump before: lastgood backup run {}",
            names.join("|")
        ),
    }
}

/// What says where a schema is.
pub(super) fn subject(
    host: &HostName,
    folder: Option<PathBuf>,
    current: &str,
) -> FingerprintSubject {
    FingerprintSubject::Schema {
        host: host.clone(),
        folder,
        current: current.to_owned(),
    }
}

/// Takes the schema back, and reads where it is. Returns the evidence.
///
/// # Errors
/// The command failed, or the schema is not where it should be.
pub(super) async fn downgrade(
    ctx: &Context,
    host: &Host,
    permit: &Permit,
    work: &StepWork,
    limit: Duration,
) -> Result<SafeText, OpsError> {
    let StepWork::Downgrade {
        command,
        current,
        folder,
        revision,
        ..
    } = work
    else {
        return Err(OpsError::new(ErrorKind::Failed, "not a downgrade"));
    };
    let mut line = Command::shell(command, &[], limit);
    line.cwd.clone_from(folder);
    let output = host
        .change(permit, &line)
        .await
        .map_err(|error| OpsError::new(ErrorKind::Failed, error.to_string()).because(error))?;
    let now = look_at(ctx, &subject(&host.name(), folder.clone(), current)).await;
    if !output.is_success() {
        let now = now.unwrap_or_else(|error| format!("not known: {}", error.to_safe_text()));
        let text = format!("{}; the schema is at {now}", output.describe());
        return Err(OpsError::new(ErrorKind::Failed, text));
    }
    let now = now?;
    match now == *revision {
        true => Ok(SafeText::from_text(&format!("at {revision}, read back"))),
        false => Err(OpsError::new(
            ErrorKind::Failed,
            format!("it said it was done, and the schema is at {now}"),
        )),
    }
}
