//! The headless front end: the same verbs as the console, one file a subcommand.
//!
//! Every subcommand is `run(args, ctx, out)`: it calls a use case of [`crate::ops`] and prints the answer as
//! text or JSON. It decides an exit code and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub mod alerts;
pub mod approve;
pub mod audit;
pub mod backup;
pub mod checkpoint;
pub mod compare;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod demo;
pub mod doctor;
pub mod errors;
pub mod exit;
pub mod guard;
pub mod health;
pub mod incident;
pub mod init;
pub mod keys;
pub mod lease;
pub mod logs;
pub mod notify;
pub mod output;
pub mod patterns;
pub mod preflight;
pub mod restart;
pub mod resume;
pub mod roll_back;
pub mod runbook;
pub mod services;
mod several;
pub mod signals;
pub mod slow;
pub mod switch;
pub mod watch;

/// Remembers how production looked before a deploy, shows what the deploy changed, and takes you back.
#[derive(Debug, Parser)]
#[command(
    name = "lastgood",
    version,
    disable_help_subcommand = true,
    propagate_version = true
)]
pub struct Cli {
    /// What holds for every subcommand.
    #[command(flatten)]
    pub global: Global,
    /// The subcommand; without one the console opens.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Reads this process's arguments.
    ///
    /// # Errors
    /// How to exit when there is nothing to run: help and version were printed, or the usage was wrong and said so.
    pub fn read() -> Result<Self, exit::Exit> {
        Self::try_parse()
            .and_then(Self::check_format)
            .map_err(|error| {
                let _ = error.print();
                if error.use_stderr() {
                    exit::Exit::Usage
                } else {
                    exit::Exit::Done
                }
            })
    }

    /// Only a report has other formats than text and JSON.
    fn check_format(self) -> Result<Self, clap::Error> {
        let is_report_only = matches!(self.global.format, Format::Md | Format::Html);
        let is_report = matches!(&self.command, Some(Command::Incident(args)) if args.is_report());
        if is_report_only && !is_report {
            let text =
                "--format md and --format html are for incident report; human or json here\n";
            return Err(clap::Error::raw(clap::error::ErrorKind::InvalidValue, text));
        }
        Ok(self)
    }
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Read this configuration file instead of the usual ones
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// Keep checkpoints, journals and the audit log here
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "DIR",
        env = "LASTGOOD_STATE_DIR"
    )]
    pub state_dir: Option<PathBuf>,
    /// Work on this host too (repeatable)
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "NAME|user@host[:port]"
    )]
    pub host: Vec<String>,
    /// How to print
    #[arg(long, global = true, help_heading = "Options of every command", value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// When to use colour (NO_COLOR is honoured too)
    #[arg(long, global = true, help_heading = "Options of every command", value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Change nothing on managed machines, whatever is asked
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub read_only: bool,
    /// Print the plan and change nothing
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub dry_run: bool,
    /// Accept the plan; a destructive one also needs --confirm NAME
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub yes: bool,
    /// The service's short name, typed once more for a destructive plan
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_name = "NAME"
    )]
    pub confirm: Option<String>,
    /// Say more on standard error
    #[arg(short, long, global = true, help_heading = "Options of every command", action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How a subcommand prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON document, or JSON lines for logs.
    Json,
    /// Markdown: `incident report` only.
    #[value(hide = true)]
    Md,
    /// One HTML file: `incident report` only.
    #[value(hide = true)]
    Html,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal without NO_COLOR.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open the console (the default)
    Tui(TuiArgs),
    /// Play with the built-in shop: real local processes, no Docker
    Demo(demo::DemoArgs),
    /// Every service found
    Services(services::ServicesArgs),
    /// Logs of services, merged by time
    Logs(logs::LogsArgs),
    /// Save and look at how production looks now
    Checkpoint(checkpoint::CheckpointArgs),
    /// Error rate and error patterns
    Errors(errors::ErrorsArgs),
    /// Mean, percentiles and the slowest endpoints
    Slow(slow::SlowArgs),
    /// Log patterns
    Patterns(patterns::PatternsArgs),
    /// One look at every probe
    Health(health::HealthArgs),
    /// The golden signals with their grades
    Signals(signals::SignalsArgs),
    /// What changed, and the verdict: exit 0 keep, 1 roll back, 3 watch or not sure
    Compare(compare::CompareArgs),
    /// What would bite in a deploy: exit 0 nothing, 1 something critical, 3 warnings only
    Preflight(preflight::PreflightArgs),
    /// A deploy with a way back: preflight, checkpoint, the deploy command, watch, verdict, roll back
    Guard(guard::GuardArgs),
    /// Restart services
    Restart(restart::RestartArgs),
    /// Stop services
    Stop(restart::ServicesToChange),
    /// Start services
    Start(restart::ServicesToChange),
    /// Bring back the release and configuration of a checkpoint
    RollBack(roll_back::RollBackArgs),
    /// Blue-green: send the requests of an application that runs twice to its other side
    Switch(switch::SwitchArgs),
    /// Data backups: made, listed, proved by a restore, restored
    Backup(backup::BackupArgs),
    /// Go on with an operation whose process died, or take it back
    Resume(resume::ResumeArgs),
    /// Checklists that know their clock, their owners and what they can look up themselves
    Runbook(runbook::RunbookArgs),
    /// An incident: its clock, its timeline, its report
    Incident(incident::IncidentArgs),
    /// The second person's yes to a plan that the policy asks two for
    Approve(approve::ApproveArgs),
    /// Evaluate the rules and tell people, without a screen; it never acts on a service
    Watch(watch::WatchArgs),
    /// What fires, and taking it
    Alerts(alerts::AlertsArgs),
    /// Whether people can be told
    Notify(notify::NotifyArgs),
    /// The audit log
    Audit(audit::AuditArgs),
    /// Make the state folder: this user's own, or one that the engineers of a box share
    Init(init::InitArgs),
    /// Whether lastgood can work here, and the command that puts right what it misses
    Doctor,
    /// Who changes which service just now
    Lease(lease::LeaseArgs),
    /// The configuration in force
    Config(config::ConfigArgs),
    /// Which key means what in the console
    Keys(keys::KeysArgs),
    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man,
    /// Help on a subcommand or a topic (exit-codes)
    Help(completions::HelpArgs),
}

/// Options of the console.
#[derive(Debug, Clone, Default, Args)]
pub struct TuiArgs {
    /// Log files to open instead of services: paths, quoted patterns, checkpoint:ID for those saved there
    #[arg(value_name = "LOG")]
    pub logs: Vec<String>,
    /// Show only these panes
    #[arg(long, value_delimiter = ',', value_name = "PANE")]
    pub only: Vec<String>,
    /// Show the wall view
    #[arg(long)]
    pub wall: bool,
    /// No colours, no box drawing
    #[arg(long)]
    pub plain: bool,
}
