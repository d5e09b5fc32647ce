//! Runbooks: list, show, start, walk through them, export the record.
//!
//! Everything here reads and writes this program's own files; no machine is changed. Probes are questions that
//! other use cases can answer: [`ask_due`] asks them, [`record_probe`] takes the answers, so that the console and the
//! command line ask in the same way and only the journal decides what is true.
//!
//! Everything here touches files, and writing waits for a lock: call it off the event loop.

use std::io;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Context, ErrorKind, OpsError, checkpoint};
use crate::domain::runbook::run::{DueProbe, ItemAction, ProbeAnswer, Unfit};
use crate::domain::runbook::variables::{self, Variables};
use crate::domain::runbook::{Language, RunState, SyntaxError};
use crate::domain::safe_text::SafeText;
use crate::domain::time;
use crate::store::runbook::{Listing, RunSummary, RunbookError, RunbookStore, Source};

mod answer;
mod ask;
mod export;
mod follow;
mod text;
mod view;

pub use answer::{
    answer_check, answer_file_absent, answer_health, answer_signal, answer_unknown, signal_window,
};
pub use ask::ask_due;
pub use export::to_markdown;
pub use follow::{Follow, News, Place};
pub use text::{listing_lines, runbook_lines, status_lines};
pub use view::{ItemView, ListView, StatusView};

fn store(ctx: &Context) -> RunbookStore {
    RunbookStore::of_user(&ctx.state.root)
        .with_language(ctx.config.runbook_language)
        .with_variables(ctx.config.runbook_variables.clone())
}

/// Reads `NAME=VALUE`, as `runbook start --set` takes it.
///
/// # Errors
/// No `=`, no name or no value: [`ErrorKind::Usage`].
pub fn parse_variable(text: &str) -> Result<(String, String), OpsError> {
    let usage = |message: String| OpsError::new(ErrorKind::Usage, message);
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| usage(format!("{text:?} sets nothing: write --set NAME=VALUE")))?;
    variables::check_name(name).map_err(usage)?;
    variables::check_value(value).map_err(usage)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Every runbook, and the files that cannot be used.
///
/// # Errors
/// The user's folder of runbooks exists and cannot be read.
pub fn list(ctx: &Context) -> Result<Listing, OpsError> {
    Ok(store(ctx).list()?)
}

/// One runbook, in a language or in that of the configuration.
///
/// # Errors
/// An unknown name or a file that cannot be used: [`ErrorKind::Usage`].
pub fn show(ctx: &Context, name: &str, language: Option<Language>) -> Result<Source, OpsError> {
    let language = language.unwrap_or(ctx.config.runbook_language);
    Ok(store(ctx).with_language(language).load(name)?)
}

/// What can be said at the start of a run.
#[derive(Debug, Default)]
pub struct Start {
    /// T, by default now.
    pub t_at: Option<Timestamp>,
    /// Values of variables; they win over those of the configuration.
    pub set: Variables,
    /// By default that of the configuration.
    pub language: Option<Language>,
}

/// Starts a run. Due times count from T. `{{checkpoint}}` is the newest complete checkpoint.
///
/// # Errors
/// As [`show`], a variable that nobody sets, or the state folder cannot be written.
pub fn start(ctx: &Context, name: &str, with: Start) -> Result<RunState, OpsError> {
    let now = Timestamp::now();
    let mut values = Variables::new();
    let newest = checkpoint::list(ctx)?.into_iter().find(|found| {
        found
            .manifest
            .as_ref()
            .is_ok_and(|manifest| manifest.complete)
    });
    values.extend(newest.map(|found| ("checkpoint".to_owned(), found.id)));
    values.extend(ctx.config.runbook_variables.clone());
    values.extend(with.set);
    let store = store(ctx)
        .with_language(with.language.unwrap_or(ctx.config.runbook_language))
        .with_variables(values);
    let t_at = with.t_at.unwrap_or(now);
    Ok(store.start(name, t_at, now, &TimeZone::system(), actor(ctx))?)
}

/// Every run, newest first.
///
/// # Errors
/// The state folder cannot be read.
pub fn runs(ctx: &Context) -> Result<Vec<RunSummary>, OpsError> {
    Ok(store(ctx).runs()?)
}

/// A run by its id; without one the newest that still has something to do, else the newest.
///
/// # Errors
/// No such run or none at all: [`ErrorKind::Usage`]. A damaged journal: [`ErrorKind::Failed`].
pub fn status(ctx: &Context, run: Option<&str>) -> Result<RunState, OpsError> {
    let store = store(ctx);
    Ok(match run {
        Some(run) => store.open(run)?,
        None => store.current()?,
    })
}

/// Does something to an item, named by its number or slug. With `expected` only if the item still has that
/// revision: what a console shows is a look back, and its user decides on what they saw.
///
/// # Errors
/// Somebody was faster, or the item is not where this makes sense: [`ErrorKind::Refused`], in words.
pub fn act(
    ctx: &Context,
    run: Option<&str>,
    item: &str,
    action: ItemAction,
    expected: Option<u64>,
) -> Result<RunState, OpsError> {
    let store = store(ctx);
    let run = match run {
        Some(run) => run.to_owned(),
        None => store.current()?.run,
    };
    let by = actor(ctx);
    let decide = |state: &RunState| {
        let number = state
            .runbook
            .find(item)
            .map(|found| found.number)
            .ok_or_else(|| RunbookError::UnknownItem {
                item: item.to_owned(),
                name: state.runbook.name.clone(),
                count: state.items.len(),
            })?;
        Ok(Some(state.plan(
            number,
            action,
            expected,
            by,
            Timestamp::now(),
        )?))
    };
    Ok(store.append(&run, decide)?)
}

/// Whether this user may carry out the commands of an item now.
///
/// # Errors
/// An item for two people lacks the yes of somebody else: [`ErrorKind::Refused`].
pub fn may_run(ctx: &Context, run: &RunState, item: usize) -> Result<(), OpsError> {
    run.may_run(item, &actor(ctx))
        .map_err(|unfit| RunbookError::from(unfit).into())
}

/// Reads T as a person writes it: any form of [`crate::domain::time`], but a span lies ahead (`30m`: in half an
/// hour), and a time of day is the one that is nearest to now, since a plan is started before T and a runbook that
/// was thought of late is started after it.
///
/// # Errors
/// None of these forms: [`ErrorKind::Usage`].
pub fn parse_t(text: &str, now: &Zoned) -> Result<Timestamp, OpsError> {
    let usage = |message: String| OpsError::new(ErrorKind::Usage, message);
    if let Some(ahead) = time::parse_span(text) {
        return now
            .timestamp()
            .checked_add(ahead)
            .map_err(|error| usage(error.to_string()));
    }
    // A date with a time reads as a time too, and would lose its date.
    if !text.contains('-')
        && let Ok(clock) = text.trim().parse::<Time>()
    {
        let days = [
            now.date().yesterday(),
            Ok(now.date()),
            now.date().tomorrow(),
        ];
        let instants = days
            .into_iter()
            .flatten()
            .filter_map(|day| now.time_zone().to_timestamp(day.to_datetime(clock)).ok());
        let nearest = instants.min_by_key(|at| at.duration_since(now.timestamp()).abs());
        return nearest.ok_or_else(|| usage(format!("{text} does not exist around today")));
    }
    time::parse(text, now).map_err(usage)
}

/// Writes down what came of asking an item's probes, unless somebody decided meanwhile: all passed ticks it, one failure fails it, anything unknown
/// leaves it open with what is missing. Writes nothing where it would say nothing new, or a person was faster.
///
/// # Errors
/// The journal cannot be read, or written for another reason than that this user may only read it.
pub fn record_probe(
    ctx: &Context,
    run: &str,
    due: &DueProbe,
    answers: &[ProbeAnswer],
) -> Result<RunState, OpsError> {
    let (outcome, evidence) = ProbeAnswer::sum(answers);
    let event_of = |state: &RunState| {
        let (item, _) = state.items().find(|(item, _)| item.number == due.item)?;
        state.plan_probed(
            item,
            due.revision,
            outcome,
            evidence.clone(),
            Timestamp::now(),
        )
    };
    let store = store(ctx);
    // Most answers say nothing new: then neither the lock nor the right to write is needed.
    let state = store.open(run)?;
    if event_of(&state).is_none() {
        return Ok(state);
    }
    match store.append(run, |state| Ok(event_of(state))) {
        // A viewer who may only read leaves it to those who work on it.
        Err(RunbookError::Io { cause, .. }) if cause.kind() == io::ErrorKind::PermissionDenied => {
            Ok(state)
        }
        written => Ok(written?),
    }
}

fn actor(ctx: &Context) -> SafeText {
    SafeText::from_text(ctx.actor.user.as_ref())
}

/// The place of a mistake in a runbook, drawn with its line and a caret; `None` for every other error.
pub fn caret_lines(error: &OpsError) -> Option<Vec<SafeText>> {
    let cause = error.source.as_deref()?.downcast_ref::<RunbookError>()?;
    match cause {
        RunbookError::Syntax { error, text } => Some(caret(error, text)),
        _ => None,
    }
}

fn caret(error: &SyntaxError, text: &str) -> Vec<SafeText> {
    let snippet = Snippet::source(text)
        .path(error.file.as_str())
        .annotation(AnnotationKind::Primary.span(error.span.clone()));
    let report = [Level::ERROR
        .primary_title(error.message.as_str())
        .element(snippet)];
    SafeText::lines(&Renderer::plain().render(&report))
}

impl From<RunbookError> for OpsError {
    fn from(error: RunbookError) -> Self {
        use RunbookError as E;
        let (kind, fix) = match &error {
            E::NoRunbook { .. } => (ErrorKind::Usage, Some("lastgood runbook list")),
            E::NoRun { .. } | E::UnknownRun { .. } => {
                (ErrorKind::Usage, Some("lastgood runbook status"))
            }
            E::UnknownItem { .. } | E::Unfit(Unfit::NoItem { .. }) => {
                (ErrorKind::Usage, Some("lastgood runbook status"))
            }
            E::Syntax { .. } | E::Untrusted { .. } | E::Unfit(Unfit::Empty(_)) => {
                (ErrorKind::Usage, None)
            }
            E::Unfit(
                Unfit::Conflict { .. } | Unfit::NotNow { .. } | Unfit::SecondPerson { .. },
            ) => (ErrorKind::Refused, Some("lastgood runbook status")),
            E::Io {
                what: "write",
                cause,
                ..
            } if cause.kind() == io::ErrorKind::PermissionDenied => {
                let text = "you may read this run of a runbook, but not write to it";
                return Self::new(ErrorKind::Refused, text).because(error);
            }
            E::Unfit(Unfit::Order(_)) | E::Io { .. } | E::Damaged { .. } | E::Locked { .. } => {
                (ErrorKind::Failed, None)
            }
        };
        // `status` without a run would only say the same again.
        let fix = if matches!(error, E::NoRun { .. }) {
            Some("lastgood runbook list")
        } else {
            fix
        };
        let made = Self::new(kind, error.to_string());
        let made = match fix {
            Some(fix) => made.fix(fix),
            None => made,
        };
        made.because(error)
    }
}

#[cfg(test)]
#[path = "runbook/tests.rs"]
mod tests;
