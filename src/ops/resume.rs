//! What a process left that died in the middle: found by its journal, held against the machine, and ended or taken
//! back as a plan like any other.
//!
//! Nothing is repeated because a journal says it was begun. Each step that was begun is looked for on the machine: what
//! is done counts as done, what is not is done now, and what nothing can tell is neither repeated nor believed. What
//! somebody else changed since makes it stale.

mod course;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::domain::operation::{Operation, Plan, RollBackTarget};
use crate::domain::outcome::{Actor, AuditPhase, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::ops::operation::has_effect;
use crate::ops::operation::probe::Begun;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::journal::{self, Journal, JournalEvent, LeftRun};

pub(super) use course::{Course, Way, examine};

/// A run that nobody ended.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Its name: the folder of its journal.
    pub run: String,
    /// When it was begun.
    pub at: Timestamp,
    /// By whom, where its journal says so.
    pub by: Option<Actor>,
    /// The plan as it was confirmed.
    pub plan: Plan,
    before: Option<Vec<Service>>,
    /// Of the steps whose end is known, from the first.
    results: Vec<StepResult>,
    /// The step after them, where it was begun.
    begun: Option<Begun>,
    /// Steps that were taken back.
    undone: BTreeSet<usize>,
    /// When its last line was written.
    last_at: Timestamp,
}

/// So long the same command goes on with a run by itself: the longest rollback budget. Later whoever types it may well
/// mean something new; then a run is gone on with by its name only.
const SAME_WITHIN: SignedDuration = SignedDuration::from_mins(15);

impl Unfinished {
    fn of(left: LeftRun) -> Option<Self> {
        let mut entries = left.entries.into_iter();
        let first = entries.next()?;
        let JournalEvent::Intent { plan, before, by } = first.event else {
            return None;
        };
        let mut found = Self {
            run: left.run,
            at: first.at,
            by,
            plan: *plan,
            before,
            results: Vec::new(),
            begun: None,
            undone: BTreeSet::new(),
            last_at: first.at,
        };
        for entry in entries {
            found.last_at = entry.at;
            match entry.event {
                JournalEvent::Begin { step, seen, .. } => {
                    // A step that is done again, as a proof is.
                    found.results.truncate(step);
                    found.begun = Some(Begun { at: entry.at, seen });
                }
                JournalEvent::Done { step, result } => {
                    found.results.truncate(step);
                    found.results.push(result);
                    found.begun = None;
                }
                JournalEvent::Undone { step, result } if result.ok => {
                    found.undone.insert(step);
                }
                JournalEvent::Commit { .. } | JournalEvent::Abort { .. } => return None,
                _ => {}
            }
        }
        let is_whole = found.results.len() <= found.plan.steps.len();
        is_whole.then_some(found)
    }

    /// What it is about: `roll-back shop/backend, begun by anna at 2025-12-27T15:00:00Z`.
    pub fn title(&self) -> SafeText {
        let names: Vec<String> = self.plan.services.iter().map(ToString::to_string).collect();
        let by = self
            .by
            .as_ref()
            .map_or_else(String::new, |by| format!(" by {}", by.user));
        SafeText::from_text(&format!(
            "{} {}, begun{by} at {}",
            self.plan.operation.verb(),
            names.join(" "),
            self.at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        ))
    }

    /// How far it got: `2 of 6 steps are done, step 3 was begun`.
    pub fn progress(&self) -> SafeText {
        let mut text = format!(
            "{} of {} steps are done",
            self.results.len(),
            self.plan.steps.len()
        );
        if self.begun.is_some() {
            text.push_str(&format!(", step {} was begun", self.results.len() + 1));
        }
        if !self.undone.is_empty() {
            text.push_str(&format!(", {} taken back again", self.undone.len()));
        }
        SafeText::from_text(&text)
    }

    fn touches(&self, services: &[ServiceId]) -> bool {
        self.plan.operation.is_of_service()
            && self.plan.services.iter().any(|id| services.contains(id))
    }

    /// Whether anything can have changed.
    fn has_effect(&self) -> bool {
        let begun = self.results.len() + usize::from(self.begun.is_some());
        self.plan
            .steps
            .iter()
            .take(begun)
            .enumerate()
            .any(|(at, step)| {
                has_effect(&step.work) && self.results.get(at).is_none_or(|result| result.ok)
            })
    }
}

/// The runs that processes left which died, the newest first.
///
/// # Errors
/// The state folder cannot be read.
pub fn unfinished(ctx: &Context) -> Result<Vec<Unfinished>, OpsError> {
    let left = journal::unfinished(&ctx.state)?;
    Ok(left.into_iter().filter_map(Unfinished::of).collect())
}

/// What ends, or takes back, a run: of that name, or the only one there is.
///
/// # Errors
/// There is none, several could be meant, or no run of that name is unfinished.
pub fn operation(ctx: &Context, run: Option<&str>, undo: bool) -> Result<Operation, OpsError> {
    let all = unfinished(ctx)?;
    let found = match run {
        Some(run) => all.iter().find(|left| left.run == run),
        None if all.len() > 1 => {
            let list: Vec<String> = all
                .iter()
                .map(|left| format!("{}  {}; {}", left.run, left.title(), left.progress()))
                .collect();
            return Err(OpsError::new(ErrorKind::Usage, "several runs did not end")
                .lines(&list.join("\n"))
                .fix("lastgood resume RUN"));
        }
        None => all.first(),
    };
    let Some(found) = found else {
        return Err(OpsError::new(
            ErrorKind::No,
            match run {
                Some(run) => format!("no run {run} is unfinished"),
                None => "every run has ended: there is nothing to resume".to_owned(),
            },
        )
        .fix("lastgood audit list"));
    };
    Ok(resuming(found, undo))
}

fn resuming(left: &Unfinished, undo: bool) -> Operation {
    Operation::Resume {
        run: left.run.clone(),
        undo,
        of: Box::new(left.plan.operation.clone()),
    }
}

/// The unfinished run that an operation means again: the same command, typed once more.
///
/// # Errors
/// The state folder cannot be read.
pub(super) fn same_again(
    ctx: &Context,
    operation: &Operation,
) -> Result<Option<Operation>, OpsError> {
    let all = unfinished(ctx)?;
    let now = Timestamp::now();
    let same = all
        .iter()
        .filter(|left| now.duration_since(left.last_at) <= SAME_WITHIN)
        .find(|left| is_same(operation, &left.plan.operation));
    Ok(same.map(|left| resuming(left, false)))
}

fn is_same(new: &Operation, old: &Operation) -> bool {
    match (new, old) {
        (
            Operation::RollBack {
                service,
                to,
                configs_only,
                downgrade,
                ..
            },
            Operation::RollBack {
                service: same,
                to: target,
                configs_only: only,
                downgrade: goes_down,
                ..
            },
        ) => {
            // Whoever names no target means the one it was going to.
            service == same
                && configs_only == only
                && downgrade == goes_down
                && (to == target || *to == RollBackTarget::LastGood)
        }
        // The text of a runbook may mean something else by now; its runs are taken up by name.
        (Operation::Resume { .. } | Operation::RunCommand { .. }, _) => false,
        // What it restored may be half there; a restore begins anew and leaves that behind.
        (Operation::BackupVerify { .. } | Operation::BackupRestore { .. }, _) => false,
        // The rest of what an earlier one was removing.
        (Operation::Prune { .. }, Operation::Prune { .. }) => true,
        (new, old) => new == old,
    }
}

/// What to know of unfinished runs before something else is done to their services.
///
/// # Errors
/// The state folder cannot be read.
pub(super) fn notes_for(ctx: &Context, services: &[ServiceId]) -> Result<Vec<SafeText>, OpsError> {
    let all = unfinished(ctx)?;
    let notes = all.iter().filter(|left| left.touches(services)).map(|left| {
        SafeText::from_text(&format!(
            "{} did not end ({}); this plan takes its place: `lastgood resume {}` goes on with it instead, with --undo takes it back",
            left.title(),
            left.progress(),
            left.run
        ))
    });
    Ok(notes.collect())
}

/// Ends the runs that another plan took the place of, and writes down outcomes that a process died before writing.
///
/// # Errors
/// The state folder or the audit log cannot be read or written.
pub(super) fn supersede(ctx: &Context, services: &[ServiceId], by: &str) -> Result<(), OpsError> {
    for left in unfinished(ctx)? {
        if left.run == by || !left.touches(services) {
            continue;
        }
        let outcome = match left.has_effect() {
            true => OutcomeKind::FailedPartial,
            false => OutcomeKind::FailedUnchanged,
        };
        let reason = format!("the run {by} took its place");
        Journal::reopen(&ctx.state, &left.run)?.append(JournalEvent::Abort {
            outcome,
            reason: SafeText::from_text(&reason),
        })?;
        ctx.audit().settle(&left.run, &ctx.actor, outcome)?;
    }
    Ok(())
}

/// Writes the outcomes of runs that ended, or never began, and whose process died before it could say so. Called with
/// the leases of the services held, so that none of them is under way.
///
/// # Errors
/// The audit log cannot be read or written.
pub(super) fn settle_ended(
    ctx: &Context,
    services: &[ServiceId],
    except: &str,
) -> Result<(), OpsError> {
    let mut open = BTreeMap::new();
    for record in ctx.audit().list()? {
        let Some(run) = record.run.clone() else {
            continue;
        };
        match record.phase {
            AuditPhase::Intent if !record.plan_hash.is_empty() => {
                open.insert(run, record);
            }
            AuditPhase::Outcome => {
                open.remove(&run);
            }
            _ => {}
        }
    }
    for (run, record) in open {
        if run == except || !record.services.iter().any(|id| services.contains(id)) {
            continue;
        }
        let path = ctx.state.runs().join(&run).join("journal.jsonl");
        let outcome = match path.exists() {
            false => Some(OutcomeKind::FailedUnchanged),
            true => match journal::read(&path)?.last().map(|entry| &entry.event) {
                Some(JournalEvent::Commit { outcome } | JournalEvent::Abort { outcome, .. }) => {
                    Some(*outcome)
                }
                // Not even its intent.
                None => Some(OutcomeKind::FailedUnchanged),
                Some(_) => None,
            },
        };
        if let Some(outcome) = outcome {
            ctx.audit().settle(&run, &ctx.actor, outcome)?;
        }
    }
    Ok(())
}
