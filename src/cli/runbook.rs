//! `lastgood runbook`: checklists that know their clock, their owners and what they can look up themselves.

use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::exit::Exit;
use super::output::{Ended, Output, Stop, talk, talk_error};
use super::{Global, confirm};
use crate::domain::host::HostName;
use crate::domain::runbook::run::ItemAction;
use crate::domain::runbook::{Language, RunState};
use crate::domain::safe_text::SafeText;
use crate::ops::runbook::{self, ListView, StatusView};
use crate::ops::{Context, ErrorKind, OpsError, services};

/// `lastgood runbook`: runbooks and their runs.
#[derive(Debug, Clone, Args)]
pub struct RunbookArgs {
    /// What to do
    #[command(subcommand)]
    pub command: RunbookCommand,
}

/// What to do with runbooks.
#[derive(Debug, Clone, Subcommand)]
pub enum RunbookCommand {
    /// Every runbook: the shipped ones and your own
    List,
    /// Print a runbook
    Show {
        /// Its name
        name: String,
        /// Language of a shipped one: en or ru (default: `[runbooks] language`)
        #[arg(long, value_name = "L", value_parser = Language::parse)]
        language: Option<Language>,
    },
    /// Start a run of a runbook
    Start {
        /// Its name
        name: String,
        /// T, the moment that due times count from (default: now): 15:00, RFC 3339, or a span ahead such as 30m
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        /// Value of a variable of the runbook, such as backend=shop/api (repeatable)
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        /// Language of a shipped one: en or ru (default: `[runbooks] language`)
        #[arg(long, value_name = "L", value_parser = Language::parse)]
        language: Option<Language>,
    },
    /// Ask the probes that are due, and say where a run stands (default: the newest unfinished one)
    Status {
        /// The run and nothing else
        #[command(flatten)]
        run: RunChoice,
    },
    /// Carry out the commands of an item: plan, confirmation, audit as for any operation
    Run(ItemArgs),
    /// Say that you are on it
    Claim(ItemArgs),
    /// Done
    Tick {
        /// Which item
        #[command(flatten)]
        item: ItemArgs,
        /// What you saw
        #[arg(long, value_name = "TEXT")]
        evidence: Option<String>,
    },
    /// It did not work
    Fail {
        /// Which item
        #[command(flatten)]
        item: ItemArgs,
        /// What you saw
        #[arg(long, value_name = "R")]
        reason: Option<String>,
    },
    /// Leave it out
    Skip {
        /// Which item
        #[command(flatten)]
        item: ItemArgs,
        /// Why
        #[arg(long, value_name = "R")]
        reason: String,
    },
    /// Take back a claim, tick, fail or skip; runs nothing
    Undo(ItemArgs),
    /// Remark
    Comment {
        /// Which item
        #[command(flatten)]
        item: ItemArgs,
        /// The remark
        text: String,
    },
    /// Print a run as Markdown, with its evidence
    Export {
        /// The run and nothing else
        #[command(flatten)]
        run: RunChoice,
    },
}

/// Which run.
#[derive(Debug, Clone, Args)]
pub struct RunChoice {
    /// The run's id (default: the newest unfinished one)
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
}

/// Which item of which run.
#[derive(Debug, Clone, Args)]
pub struct ItemArgs {
    /// Its number or slug
    #[arg(value_name = "ITEM")]
    pub item: String,
    /// Which run
    #[command(flatten)]
    pub run: RunChoice,
    /// Only if the item still has this revision (see status --format json)
    #[arg(long, value_name = "N")]
    pub revision: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// See [`super::output::Stop`].
pub async fn run(
    args: &RunbookArgs,
    global: &Global,
    ctx: &Arc<Context>,
    out: &mut Output,
) -> Ended {
    let ended = match &args.command {
        RunbookCommand::Status { run } => look(ctx, run, out).await,
        RunbookCommand::Run(item) => carry_out(ctx, item, global, out).await,
        command => dispatch(command, ctx, out),
    };
    ended.inspect_err(|stop| {
        if let Stop::Ops(error) = stop {
            talk_place(error);
        }
    })
}

fn dispatch(command: &RunbookCommand, ctx: &Context, out: &mut Output) -> Ended {
    match command {
        RunbookCommand::List => list(ctx, out),
        RunbookCommand::Show { name, language } => {
            let source = runbook::show(ctx, name, *language)?;
            print(out, runbook::runbook_lines(&source.runbook))
        }
        RunbookCommand::Start {
            name,
            at,
            set,
            language,
        } => {
            let t_at = at
                .as_deref()
                .map(|text| runbook::parse_t(text, &Zoned::now()))
                .transpose()?;
            let set = set
                .iter()
                .map(|text| runbook::parse_variable(text))
                .collect::<Result<_, _>>()?;
            let with = runbook::Start {
                t_at,
                set,
                language: *language,
            };
            let state = runbook::start(ctx, name, with)?;
            status(&state, out)?;
            if at.is_none()
                && let Some(first) = state.runbook.items().filter_map(|item| item.due).min()
                && first.0.is_negative()
            {
                talk(format_args!(
                    "T is now; this runbook begins at {first}: start it with --at 30m or --at TIME to plan ahead"
                ));
            }
            Ok(Exit::Done)
        }
        // Answered above.
        RunbookCommand::Status { .. } | RunbookCommand::Run(_) => Ok(Exit::Usage),
        RunbookCommand::Export { run } => {
            let state = runbook::status(ctx, run.run.as_deref())?;
            print(
                out,
                runbook::to_markdown(&state, Timestamp::now(), &TimeZone::system()),
            )
        }
        RunbookCommand::Claim(item) => act(ctx, item, ItemAction::Claim, out),
        RunbookCommand::Tick { item, evidence } => act(
            ctx,
            item,
            ItemAction::Tick {
                evidence: evidence.as_deref().map(SafeText::from_text),
            },
            out,
        ),
        RunbookCommand::Fail { item, reason } => act(
            ctx,
            item,
            ItemAction::Fail {
                reason: reason.as_deref().map(SafeText::from_text),
            },
            out,
        ),
        RunbookCommand::Skip { item, reason } => act(
            ctx,
            item,
            ItemAction::Skip {
                reason: SafeText::from_text(reason),
            },
            out,
        ),
        RunbookCommand::Undo(item) => act(ctx, item, ItemAction::Undo, out),
        RunbookCommand::Comment { item, text } => act(
            ctx,
            item,
            ItemAction::Comment {
                text: SafeText::from_text(text),
            },
            out,
        ),
    }
}

async fn look(ctx: &Arc<Context>, run: &RunChoice, out: &mut Output) -> Ended {
    let mut state = runbook::status(ctx, run.run.as_deref())?;
    if !state.due_probes().is_empty() {
        let inventory = services::discover(ctx).await;
        state = runbook::ask_due(ctx, state, &inventory).await?;
    }
    status(&state, out)
}

async fn carry_out(
    ctx: &Arc<Context>,
    args: &ItemArgs,
    global: &Global,
    out: &mut Output,
) -> Ended {
    let state = runbook::status(ctx, args.run.run.as_deref())?;
    let name = &state.runbook.name;
    let usage = |message| OpsError::new(ErrorKind::Usage, message);
    let item = state.runbook.find(&args.item).ok_or_else(|| {
        usage(format!("runbook {name} has no item {}", args.item)).fix("lastgood runbook status")
    })?;
    runbook::may_run(ctx, &state, item.number)?;
    let operation = item.operation(HostName::local()).ok_or_else(|| {
        usage(format!(
            "item {} of {name} has no command to run",
            item.number
        ))
        .fix(format!("lastgood runbook show {name}"))
    })?;
    confirm::run(ctx, &operation, global, out).await
}

/// A broken file of the user's does not hide the others, but the exit code says that it is there.
fn list(ctx: &Context, out: &mut Output) -> Ended {
    let listing = runbook::list(ctx)?;
    if out.is_json() {
        out.json("runbook-list", &ListView::new(&listing))?;
    } else {
        print(out, runbook::listing_lines(&listing))?;
    }
    let is_whole = listing.problems.is_empty();
    for problem in listing.problems {
        let error = OpsError::from(problem);
        talk_place(&error);
        talk_error(&error);
    }
    Ok(if is_whole { Exit::Done } else { Exit::Usage })
}

/// 0 when every item is resolved and none failed, 1 when all are and one did, 3 while something is open.
fn status(state: &RunState, out: &mut Output) -> Ended {
    let now = Timestamp::now();
    if out.is_json() {
        out.json("runbook-status", &StatusView::new(state, now))?;
    } else {
        print(out, runbook::status_lines(state, now, &TimeZone::system()))?;
    }
    Ok(match (state.is_complete(), state.has_failed()) {
        (false, _) => Exit::NotSure,
        (true, true) => Exit::No,
        (true, false) => Exit::Done,
    })
}

fn act(ctx: &Context, item: &ItemArgs, action: ItemAction, out: &mut Output) -> Ended {
    let is_undo = matches!(action, ItemAction::Undo);
    let state = runbook::act(
        ctx,
        item.run.run.as_deref(),
        &item.item,
        action,
        item.revision,
    )?;
    if out.is_json() {
        out.json("runbook-status", &StatusView::new(&state, Timestamp::now()))?;
        return Ok(Exit::Done);
    }
    let Some((found, run)) = state
        .items()
        .find(|(i, _)| i.number.to_string() == item.item || i.slug == item.item)
    else {
        return Ok(Exit::Done);
    };
    let (resolved, count) = state.progress();
    out.line(format_args!(
        "{} {:>2}  {}   {resolved} of {count}",
        run.state.mark(),
        found.number,
        found.text
    ))?;
    if is_undo && found.undo_scripts().next().is_some() {
        talk(
            "the item is open again; what it did to the machine is not undone, its undo block says how:",
        );
        for line in found.undo_scripts().flat_map(str::lines) {
            talk(format_args!("  {}", SafeText::from_text(line)));
        }
    }
    Ok(Exit::Done)
}

fn print(out: &mut Output, lines: Vec<SafeText>) -> Ended {
    for line in lines {
        out.line(line)?;
    }
    Ok(Exit::Done)
}

/// Draws the place of a mistake in a runbook.
fn talk_place(error: &OpsError) {
    for line in runbook::caret_lines(error).into_iter().flatten() {
        talk(line);
    }
}
