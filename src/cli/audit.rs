//! `lastgood audit`: the audit log.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::output::{Ended, Output};
use crate::domain::outcome::{AuditPhase, AuditRecord};
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
        AuditCommand::List {
            user,
            service,
            outcome,
        } => {
            let wanted = Wanted {
                user: user.clone(),
                service: service.clone(),
                outcome: outcome.clone(),
            };
            list(ctx, &wanted, out)
        }
        AuditCommand::Verify { anchor } => verify(ctx, anchor.as_deref(), out),
        AuditCommand::Export => {
            for record in audit::list(ctx)? {
                out.json_line(&record)?;
            }
            Ok(Exit::Done)
        }
    }
}

fn list(ctx: &Context, wanted: &Wanted, out: &mut Output) -> Ended {
    let mut records = audit::list(ctx)?;
    let count = records.len();
    records.retain(|record| wanted.fits(record));
    if out.is_json() {
        out.json("audit", &Records { records })?;
        return Ok(Exit::Done);
    }
    let folder = ctx.state.audit();
    if count == 0 {
        out.line(format_args!(
            "the audit log in {} is empty",
            folder.display()
        ))?;
    } else if records.is_empty() {
        out.line(format_args!("none of the {count} records is such"))?;
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

/// Whose records, of what, with which end.
struct Wanted {
    user: Option<String>,
    service: Option<String>,
    outcome: Option<String>,
}

impl Wanted {
    fn fits(&self, record: &AuditRecord) -> bool {
        let has_user = self
            .user
            .as_ref()
            .is_none_or(|user| *user == record.actor.user);
        let has_service = self.service.as_ref().is_none_or(|wanted| {
            let mut ids = record.services.iter().map(ToString::to_string);
            ids.any(|id| id.contains(wanted.as_str()))
        });
        let has_outcome = self.outcome.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase().replace(' ', "_");
            let end = record.outcome.as_ref().map_or("", SafeText::as_str);
            let is_refused = record.phase == AuditPhase::Denied && wanted == "refused";
            is_refused || end.replace(' ', "_").contains(&wanted)
        });
        has_user && has_service && has_outcome
    }
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
    /// Every record, or those of a person, of a service, with an outcome
    List {
        /// Only what this user did
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Only what was done to this service: its name or a part of it
        #[arg(long, value_name = "S")]
        service: Option<String>,
        /// Only with this outcome: verified, failed, refused, …
        #[arg(long, value_name = "WORD")]
        outcome: Option<String>,
    },
    /// Check the hash chain
    Verify {
        /// The head hash as a report printed it: the log must still contain it
        #[arg(long, value_name = "HASH")]
        anchor: Option<String>,
    },
    /// Write the records as JSON lines
    Export,
}
