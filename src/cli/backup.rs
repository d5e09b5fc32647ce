//! `lastgood backup`: data backups, each a plan like any other.
//!
//! ```text
//! ✔ main  20251227-020000   18.2 MiB  14 tables, 20311 rows   restored 2025-12-27 02:04
//! ✖ main  20251226-020000   18.1 MiB  main.dump.zst: its checksum is not that of what was written
//! ```

use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output, Paint};
use super::{Global, confirm};
use crate::domain::backup::{Backup, BackupKind, Counts, Listed};
use crate::domain::operation::Operation;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::ops::{Context, backup};

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &BackupArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let operation = match &args.command {
        BackupCommand::Run { name } => Operation::BackupRun {
            backup: backup::resolve(ctx, name, &global.host)?,
            id: backup::next_id(ctx, name)?,
        },
        BackupCommand::List { name } => return list(ctx, name.as_deref(), out),
        BackupCommand::Verify { name, at } => {
            let service = backup::resolve(ctx, name, &global.host)?;
            let found = backup::choose_any(ctx, &service.name, at.as_deref())?;
            Operation::BackupVerify {
                backup: service,
                id: found.id,
            }
        }
        BackupCommand::Restore { name, at } => {
            let service = backup::resolve(ctx, name, &global.host)?;
            let found = backup::choose(ctx, &service.name, at.as_deref())?;
            Operation::BackupRestore {
                backup: service,
                id: found.id,
            }
        }
    };
    confirm::run(ctx, &operation, global, out).await
}

fn list(ctx: &Context, name: Option<&str>, out: &mut Output) -> Ended {
    let all = backup::list(ctx, name)?;
    if out.is_json() {
        let backups: Vec<Row<'_>> = all.iter().map(Row::of).collect();
        out.json("backups", &Rows { backups })?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        let place = ctx.state.root.join("backups");
        out.line(format_args!("no backups in {}", place.display()))?;
        out.line("  make one:  lastgood backup run NAME")?;
    }
    for one in &all {
        let (mark, paint) = match one.is_ok() {
            true => ("✔", Paint::Good),
            false => ("✖", Paint::Bad),
        };
        let mark = out.paint(paint, mark);
        let said = match (&one.problem, &one.backup) {
            (Some(problem), _) => problem.to_string(),
            (None, Ok(backup)) => words(backup),
            (None, Err(why)) => why.to_string(),
        };
        let bytes = one.backup.as_ref().map_or(0, Backup::bytes);
        out.line(format_args!(
            "{mark} {}  {:<17}  {:>9.1} MiB  {said}",
            SafeText::from_text(&one.name),
            SafeText::from_text(&one.id),
            bytes as f64 / (1024.0 * 1024.0)
        ))?;
    }
    Ok(Exit::Done)
}

fn words(backup: &Backup) -> String {
    let mut said = backup.summary();
    if backup.encrypted {
        said.push_str(", encrypted");
    }
    match &backup.restore_test {
        Some(test) => {
            let at = test.at.to_zoned(TimeZone::system());
            said.push_str(&format!(", restored {}", at.strftime("%Y-%m-%d %H:%M")));
        }
        None => said.push_str(", never restored"),
    }
    if backup.before_restore {
        said.push_str(", saved before a restore");
    }
    if let Some(copy) = backup
        .copy
        .as_ref()
        .filter(|copy| copy.as_str().starts_with("failed"))
    {
        said.push_str(&format!(", copy {copy}"));
    }
    said
}

#[derive(Serialize)]
struct Rows<'a> {
    backups: Vec<Row<'a>>,
}

/// A backup as scripts read it.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    id: &'a str,
    at: Option<Timestamp>,
    kind: Option<BackupKind>,
    service: Option<&'a ServiceId>,
    database: Option<&'a str>,
    bytes: Option<u64>,
    ok: bool,
    problem: Option<&'a SafeText>,
    encrypted: Option<bool>,
    counts: Option<&'a Counts>,
    files: Vec<&'a str>,
    before_restore: bool,
    copy: Option<&'a SafeText>,
    restore_test: Option<TestRow<'a>>,
}

#[derive(Serialize)]
struct TestRow<'a> {
    at: Timestamp,
    ok: bool,
    detail: &'a SafeText,
}

impl<'a> Row<'a> {
    fn of(one: &'a Listed) -> Self {
        let backup = one.backup.as_ref().ok();
        let test = backup.and_then(|backup| backup.restore_test.as_ref());
        Self {
            name: &one.name,
            id: &one.id,
            at: backup.map(|backup| backup.created_at),
            kind: backup.map(|backup| backup.kind),
            service: backup.and_then(|backup| backup.service.as_ref()),
            database: backup.and_then(|backup| backup.database.as_deref()),
            bytes: backup.map(Backup::bytes),
            ok: one.is_ok(),
            problem: one.problem.as_ref(),
            encrypted: backup.map(|backup| backup.encrypted),
            counts: backup.map(|backup| &backup.counts),
            files: backup.map_or_else(Vec::new, |backup| {
                backup.parts.iter().map(|part| part.file.as_str()).collect()
            }),
            before_restore: backup.is_some_and(|backup| backup.before_restore),
            copy: backup.and_then(|backup| backup.copy.as_ref()),
            restore_test: test.map(|test| TestRow {
                at: test.at,
                ok: test.ok,
                detail: &test.detail,
            }),
        }
    }
}

/// `lastgood backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BackupCommand,
}

/// What to do with backups; NAME is that of `[backups.NAME]`.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupCommand {
    /// Make one now, copy it, and remove those that are not kept
    Run {
        /// Its name
        name: String,
    },
    /// Every backup, the newest first
    List {
        /// Only of this name
        name: Option<String>,
    },
    /// Restore the newest one into something that is thrown away, and count what came back
    Verify {
        /// Its name
        name: String,
        /// Another one: its id, or the newest at this time: 2h (ago), 15:00, "2025-12-27 14:50"
        #[arg(long, value_name = "T")]
        at: Option<String>,
    },
    /// Put its data in the place of what is there, which is kept under another name
    Restore {
        /// Its name
        name: String,
        /// Another than the newest good one: its id, or the newest at this time
        #[arg(long, value_name = "T")]
        at: Option<String>,
    },
}
