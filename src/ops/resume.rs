//! What a process left that died in the middle: found by its journal, held against the machine, and ended or taken
//! back as a plan like any other.
//!
//! Nothing is repeated because a journal says it was begun. Each step that was begun is looked for on the machine: what
//! is done counts as done, what is not is done now, and what nothing can tell is neither repeated nor believed. What
//! somebody else changed since makes it stale. A journal that cannot be read is told; nothing is done about its run.

mod course;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::{SignedDuration, Timestamp};

use crate::domain::operation::{Operation, Plan, RollBackTarget};
use crate::domain::outcome::{Actor, AuditPhase, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::ops::operation::has_effect;
use crate::ops::operation::probe::Begun;
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::journal::{self, Journal, JournalEntry, JournalEvent, LeftRun};

use unread::cannot_resume;

pub(super) use course::{Course, Way, examine};
pub use unread::UnreadRun;

/// What processes left that died.
#[derive(Debug)]
pub struct LeftRuns {
    /// The runs that did not end, the newest first.
    pub runs: Vec<Unfinished>,
    /// Those of which nobody knows whether they ended.
    pub unread: Vec<UnreadRun>,
}

impl LeftRuns {
    /// The run of that name.
    ///
    /// # Errors
    /// It is not unfinished ([`ErrorKind::No`]), or its journal cannot be read.
    fn find(&self, run: &str) -> Result<&Unfinished, OpsError> {
        if let Some(unread) = self.unread.iter().find(|left| left.run == run) {
            return Err(cannot_resume(std::slice::from_ref(unread)));
        }
        let found = self.runs.iter().find(|left| left.run == run);
        found.ok_or_else(|| {
            OpsError::new(ErrorKind::No, format!("no run {run} is unfinished"))
                .fix("lastgood audit list")
        })
    }
}

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
    /// `None` where it ended.
    ///
    /// # Errors
    /// Its lines contradict each other.
    fn of(left: LeftRun) -> Result<Option<Self>, &'static str> {
        let mut entries = left.entries.into_iter();
        let Some(JournalEntry {
            at,
            event: JournalEvent::Intent { plan, before, by },
        }) = entries.next()
        else {
            return Err("line 1 is not its intent");
        };
        let mut found = Self {
            run: left.run,
            at,
            by,
            plan: *plan,
            before,
            results: Vec::new(),
            begun: None,
            undone: BTreeSet::new(),
            last_at: at,
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
                JournalEvent::Commit { .. } | JournalEvent::Abort { .. } => return Ok(None),
                _ => {}
            }
        }
        match found.results.len() <= found.plan.steps.len() {
            true => Ok(Some(found)),
            false => Err("it tells of more steps than its plan has"),
        }
    }

    /// What it is about: `roll-back shop/backend, begun by anna at 2025-12-27T15:00:00Z`.
    pub fn title(&self) -> SafeText {
        let verb = self.plan.operation.verb();
        title(verb, &self.plan.services, self.by.as_ref(), self.at)
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

fn title(verb: &str, services: &[ServiceId], by: Option<&Actor>, at: Timestamp) -> SafeText {
    let names: Vec<String> = services.iter().map(ToString::to_string).collect();
    let by = by.map_or_else(String::new, |by| format!(" by {}", by.user));
    SafeText::from_text(&format!(
        "{verb} {}, begun{by} at {}",
        names.join(" "),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    ))
}

/// What processes left that died.
///
/// # Errors
/// The state folder cannot be read.
pub fn unfinished(ctx: &Context) -> Result<LeftRuns, OpsError> {
    let (left, mut unread) = journal::unfinished(&ctx.state)?;
    let mut runs = Vec::new();
    for left in left {
        let run = left.run.clone();
        match Unfinished::of(left) {
            Ok(found) => runs.extend(found),
            Err(why) => {
                let path = ctx.state.runs().join(&run).join("journal.jsonl");
                let error = journal::no_journal(&path, why);
                unread.push(journal::UnreadRun { run, error });
            }
        }
    }
    let unread = unread::look_up(ctx, unread);
    Ok(LeftRuns { runs, unread })
}

/// What ends, or takes back, a run: of that name, or the only one there is.
///
/// # Errors
/// There is none, several could be meant, or no run of that name is unfinished; a journal cannot be read
/// ([`ErrorKind::Failed`]).
pub fn operation(ctx: &Context, run: Option<&str>, undo: bool) -> Result<Operation, OpsError> {
    let all = unfinished(ctx)?;
    let found = match (run, all.runs.as_slice(), all.unread.as_slice()) {
        (Some(run), ..) => all.find(run)?,
        (None, [one], []) => one,
        (None, [], []) => {
            let text = "every run has ended: there is nothing to resume";
            return Err(OpsError::new(ErrorKind::No, text).fix("lastgood audit list"));
        }
        (None, [], unread) => return Err(cannot_resume(unread)),
        (None, runs, unread) => {
            let known = runs
                .iter()
                .map(|left| format!("{}  {}; {}", left.run, left.title(), left.progress()));
            let list: Vec<String> = known.chain(unread.iter().map(UnreadRun::line)).collect();
            return Err(OpsError::new(ErrorKind::Usage, "several runs did not end")
                .lines(&list.join("\n"))
                .fix("lastgood resume RUN"));
        }
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
        .runs
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
    let unread = all.unread.iter().filter(|left| left.may_touch(services));
    let known = all.runs.iter().filter(|left| left.touches(services)).map(|left| {
        SafeText::from_text(&format!(
            "{} did not end ({}); this plan takes its place: `lastgood resume {}` goes on with it instead, with --undo takes it back",
            left.title(),
            left.progress(),
            left.run
        ))
    });
    Ok(unread.map(UnreadRun::note).chain(known).collect())
}

/// Ends the runs that another plan took the place of, and writes down outcomes that a process died before writing.
///
/// # Errors
/// The state folder or the audit log cannot be read or written.
pub(super) fn supersede(ctx: &Context, services: &[ServiceId], by: &str) -> Result<(), OpsError> {
    for left in unfinished(ctx)?.runs {
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
/// the leases of the services held, so that none of them is under way. One whose journal cannot be read stays open.
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
        let outcome = match journal::read(&path) {
            Ok(entries) => match entries.last().map(|entry| &entry.event) {
                Some(JournalEvent::Commit { outcome } | JournalEvent::Abort { outcome, .. }) => {
                    Some(*outcome)
                }
                // Not even its intent.
                None => Some(OutcomeKind::FailedUnchanged),
                Some(_) => None,
            },
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                Some(OutcomeKind::FailedUnchanged)
            }
            // Nobody knows; and it holds up nothing that is done now.
            Err(_) => None,
        };
        if let Some(outcome) = outcome {
            ctx.audit().settle(&run, &ctx.actor, outcome)?;
        }
    }
    Ok(())
}
