//! `lastgood incident`: its clock, its timeline, its report.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Format;
use super::compare::verdict_line;
use super::exit::Exit;
use super::output::{Ended, Output, Stop, talk, talk_error};
use crate::domain::comparison::Comparison;
use crate::domain::incident::{Incident, Moment, RoleHolder};
use crate::domain::time;
use crate::domain::verdict::Severity;
use crate::ops::incident::{self, StartIncident};
use crate::ops::{Context, ErrorKind, OpsError, report};

/// A note is what a person types or pastes.
const LONGEST_NOTE: u64 = 64 * 1024;

/// `lastgood incident`: incidents and their reports.
#[derive(Debug, Clone, Args)]
pub struct IncidentArgs {
    /// What to do
    #[command(subcommand)]
    pub command: IncidentCommand,
}

impl IncidentArgs {
    /// Whether a report is asked for, which has more formats than the rest.
    pub fn is_report(&self) -> bool {
        matches!(self.command, IncidentCommand::Report { .. })
    }
}

/// What to do with incidents.
#[derive(Debug, Clone, Subcommand)]
pub enum IncidentCommand {
    /// Open an incident: the clock runs, and what runs is compared with the newest checkpoint
    Start {
        /// What it is about
        title: String,
        /// How bad it is: P0 or P1
        #[arg(long, value_name = "P0|P1", value_parser = severity)]
        severity: Option<Severity>,
        /// When it began, if that was earlier: 30m (ago), 15:00, "2025-12-27 14:50", or RFC 3339
        #[arg(long, value_name = "T")]
        since: Option<String>,
        /// The checkpoint to hold everything against (default: the newest complete one from before it began)
        #[arg(long, value_name = "ID")]
        checkpoint: Option<String>,
        /// Open it although another one is open
        #[arg(long)]
        another: bool,
    },
    /// Write down a remark
    Note {
        /// The remark; - reads standard input, several lines
        text: String,
        /// Which incident (default: the open one)
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
    },
    /// Say how bad it is now
    Severity {
        /// P0 or P1
        #[arg(value_name = "P0|P1", value_parser = severity)]
        severity: Severity,
        /// Why
        #[arg(long, value_name = "R", default_value = "")]
        reason: String,
        /// Which incident (default: the open one)
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
    },
    /// Give somebody a role: lead, communications, scribe, …
    Role {
        /// The role
        role: String,
        /// Who has it from now on
        who: String,
        /// Which incident (default: the open one)
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
    },
    /// Give the lead to somebody else, with what they have to know
    HandOver {
        /// Who leads from now on
        who: String,
        /// Where it stands, what was tried, what is next; - reads standard input, several lines
        text: String,
        /// Which incident (default: the open one)
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
    },
    /// Stop the clock and keep the report
    End {
        /// Which incident (default: the open one)
        #[arg(long, value_name = "ID")]
        incident: Option<String>,
    },
    /// Every incident, the newest first
    List,
    /// What happened, the numbers, what was done, what is not known; --format md (default), html or json
    Report {
        /// Which incident (default: the open one, else the newest)
        id: Option<String>,
    },
    #[command(override_usage = "lastgood incident bundle [OPTIONS] [ID] <FILE>")]
    /// Pack report, logs, comparisons, configuration and facts about the machines, secrets taken out
    Bundle {
        /// Which incident (default: the open one, else the newest), then the archive: NAME.tar.gz or NAME.tar.zst
        #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
        id_and_file: Vec<String>,
    },
}

fn severity(text: &str) -> Result<Severity, String> {
    [Severity::P0, Severity::P1]
        .into_iter()
        .find(|severity| severity.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| "P0 or P1".to_owned())
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    title: &'a str,
    severity: Option<Severity>,
    started_at: jiff::Timestamp,
    ended_at: Option<jiff::Timestamp>,
    roles: &'a [RoleHolder],
}

impl<'a> Row<'a> {
    fn of(incident: &'a Incident) -> Self {
        Self {
            id: &incident.id,
            title: incident.title.as_str(),
            severity: incident.severity,
            started_at: incident.started_at,
            ended_at: incident.ended_at,
            roles: &incident.roles,
        }
    }
}

#[derive(Serialize)]
struct Rows<'a> {
    incidents: Vec<Row<'a>>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(args: &IncidentArgs, ctx: &Arc<Context>, out: &mut Output) -> Ended {
    match &args.command {
        IncidentCommand::Start {
            title,
            severity,
            since,
            checkpoint,
            another,
        } => {
            let since = since.as_deref().map(|text| {
                time::parse(text, &Zoned::now()).map_err(|why| OpsError::new(ErrorKind::Usage, why))
            });
            let what = StartIncident {
                title: title.clone(),
                severity: *severity,
                since: since.transpose()?,
                checkpoint: checkpoint.clone(),
                another: *another,
            };
            start(ctx, &what, out).await
        }
        IncidentCommand::Note { text, incident } => {
            let text = read_note(text)?;
            let noted = incident::note(ctx, incident.as_deref(), &text).await?;
            said(&noted, "noted in", out)
        }
        IncidentCommand::Severity {
            severity,
            reason,
            incident,
        } => {
            let id = incident.as_deref();
            let graded = incident::grade(ctx, id, *severity, reason).await?;
            said(&graded, &format!("{} is", severity.as_str()), out)
        }
        IncidentCommand::Role {
            role,
            who,
            incident,
        } => {
            let assigned = incident::assign(ctx, incident.as_deref(), role, who).await?;
            for held in &assigned.roles {
                talk(format_args!("{}: {}", held.role, held.who));
            }
            said(&assigned, "role given in", out)
        }
        IncidentCommand::HandOver {
            who,
            text,
            incident,
        } => {
            let text = read_note(text)?;
            let handed = incident::hand_over(ctx, incident.as_deref(), who, &text).await?;
            said(&handed, "handed over", out)
        }
        IncidentCommand::End { incident } => {
            let (ended, _) = incident::end(ctx, incident.as_deref()).await?;
            said(&ended, "ended", out)?;
            talk(format_args!("next: lastgood incident report {}", ended.id));
            Ok(Exit::Done)
        }
        IncidentCommand::List => list(ctx, out),
        IncidentCommand::Report { id } => print_report(ctx, id.as_deref(), out).await,
        IncidentCommand::Bundle { id_and_file } => {
            let (id, file) = match id_and_file.as_slice() {
                [file] => (None, file),
                [id, file, ..] => (Some(id.as_str()), file),
                [] => return Ok(Exit::Usage),
            };
            bundle(ctx, id, PathBuf::from(file), out).await
        }
    }
}

async fn start(ctx: &Context, what: &StartIncident, out: &mut Output) -> Ended {
    let opened = incident::start(ctx, what).await?;
    talk(format_args!(
        "incident {} is open, the clock runs",
        opened.id
    ));
    match &opened.baseline {
        Some(id) => talk(format_args!("comparing with the checkpoint {id}")),
        None => talk("there is no complete checkpoint: nothing to compare with"),
    }
    // It is open whatever comes of the look.
    let found = match incident::observe(ctx, &opened, Moment::Start).await {
        Ok(found) => found,
        Err(error) => {
            talk_error(&error);
            None
        }
    };
    if let Some(found) = &found {
        tell(found, out);
    }
    said(&opened, "opened", out)
}

fn tell(found: &Comparison, out: &Output) {
    let reason = found
        .verdict
        .findings
        .first()
        .map_or(String::new(), |f| format!("  {}", f.text));
    talk(format_args!(
        "{}{reason}",
        verdict_line(&found.verdict, out)
    ));
}

fn said(incident: &Incident, word: &str, out: &mut Output) -> Ended {
    match out.is_json() {
        true => out.json("incident", &Row::of(incident))?,
        false => out.line(format_args!("{word} {}: {}", incident.id, incident.title))?,
    }
    Ok(Exit::Done)
}

fn read_note(given: &str) -> Result<String, Stop> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST_NOTE)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// A damaged journal does not hide the others, but the exit code says that it is there.
fn list(ctx: &Context, out: &mut Output) -> Ended {
    let found = incident::list(ctx)?;
    let whole: Vec<&Incident> = found
        .iter()
        .filter_map(|row| row.incident.as_ref().ok())
        .collect();
    if out.is_json() {
        let incidents = whole.iter().map(|incident| Row::of(incident)).collect();
        out.json("incidents", &Rows { incidents })?;
    } else if whole.is_empty() {
        out.line("no incidents")?;
    } else {
        for incident in &whole {
            let clock = |at: jiff::Timestamp| {
                at.to_zoned(TimeZone::system())
                    .strftime("%Y-%m-%d %H:%M")
                    .to_string()
            };
            out.line(format_args!(
                "{:<2}  {} … {:<16}  {}  {}",
                incident.severity.map_or("", Severity::as_str),
                clock(incident.started_at),
                incident.ended_at.map_or_else(|| "open".to_owned(), clock),
                incident.id,
                incident.title
            ))?;
        }
    }
    let mut exit = Exit::Done;
    for row in &found {
        if let Err(fault) = &row.incident {
            talk(format_args!(
                "lastgood: the journal of {} is damaged: {fault}",
                row.id
            ));
            exit = Exit::Failed;
        }
    }
    Ok(exit)
}

async fn print_report(ctx: &Context, id: Option<&str>, out: &mut Output) -> Ended {
    let found = incident::report(ctx, id).await?;
    let zone = TimeZone::system();
    match out.format {
        Format::Json => out.json("incident-report", &found)?,
        Format::Html => out.raw(report::to_html(&found, &zone).as_bytes())?,
        Format::Md | Format::Human => {
            for line in report::to_markdown(&found, &zone) {
                out.line(line)?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn bundle(ctx: &Context, id: Option<&str>, file: PathBuf, out: &mut Output) -> Ended {
    let packed = incident::bundle(ctx, id, &file).await?;
    if out.is_json() {
        out.json("incident-bundle", &packed)?;
        return Ok(Exit::Done);
    }
    out.line(format_args!(
        "{}: {} files, {} bytes, secrets taken out",
        packed.path.display(),
        packed.files.len(),
        packed.bytes
    ))?;
    for missing in &packed.missing {
        talk(format_args!("? missing: {missing}"));
    }
    Ok(Exit::Done)
}
