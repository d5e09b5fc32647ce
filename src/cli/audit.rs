//! `lastgood audit`: the audit log.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output};
use crate::domain::outcome::AuditRecord;
use crate::domain::safe_text::SafeText;
use crate::ops::{Context, audit};

/// `lastgood audit`: the audit log.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// What to do
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &AuditArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    match &args.command {
        AuditCommand::List => list(ctx, out),
        AuditCommand::Verify { anchor } => verify(ctx, anchor.as_deref(), out),
        AuditCommand::Export => {
            for record in audit::list(ctx)? {
                out.json_line(&record)?;
            }
            Ok(Exit::Done)
        }
    }
}

fn list(ctx: &Context, out: &mut Output) -> Ended {
    let records = audit::list(ctx)?;
    if out.is_json() {
        out.json("audit", &Records { records })?;
        return Ok(Exit::Done);
    }
    if records.is_empty() {
        out.line(format_args!(
            "the audit log in {} is empty",
            ctx.state.audit().display()
        ))?;
    }
    for record in &records {
        let services: Vec<String> = record.services.iter().map(ToString::to_string).collect();
        let outcome = record.outcome.as_ref().map_or("", SafeText::as_str);
        let took = record
            .duration_ms
            .map_or_else(String::new, |ms| format!(" in {:.1} s", ms as f64 / 1000.0));
        let zoned = record.at.to_zoned(jiff::tz::TimeZone::system());
        out.line(format_args!(
            "{:>5}  {}  {:<10} {:<8} {} {} {outcome}{took}",
            record.seq,
            zoned.strftime("%Y-%m-%d %H:%M:%S"),
            SafeText::from_text(&record.actor.user),
            record.phase.as_str(),
            SafeText::from_text(&record.operation),
            services.join(" "),
        ))?;
    }
    Ok(Exit::Done)
}

fn verify(ctx: &Context, anchor: Option<&str>, out: &mut Output) -> Ended {
    let head = audit::verify(ctx, anchor)?;
    if out.is_json() {
        let content = Verified {
            ok: true,
            records: head.records,
            head: &head.hash,
            torn: head.torn.as_ref(),
        };
        out.json("audit-verify", &content)?;
        return Ok(Exit::Done);
    }
    out.line(format_args!(
        "{} records agree with each other; head {}",
        head.records, head.hash
    ))?;
    if let Some(place) = &head.torn {
        out.line(format_args!(
            "{place} was cut off by a crash; the next record sets it aside"
        ))?;
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Records {
    records: Vec<AuditRecord>,
}

#[derive(Serialize)]
struct Verified<'a> {
    ok: bool,
    records: u64,
    head: &'a str,
    torn: Option<&'a SafeText>,
}

/// What to do with the audit log.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AuditCommand {
    /// Every record
    List,
    /// Check the hash chain
    Verify {
        /// The head hash as a report printed it: the log must still contain it
        #[arg(long, value_name = "HASH")]
        anchor: Option<String>,
    },
    /// Write the records as JSON lines
    Export,
}
