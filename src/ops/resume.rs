//! What a process left that died in the middle: found by its journal, held against the machine, and ended or taken
//! back as a plan like any other.
//!
//! Nothing is repeated because a journal says it was begun. Each step that was begun is looked for on the machine: what
//! is done counts as done, what is not is done now, and what nothing can tell is neither repeated nor believed. What
//! somebody else changed since makes it stale.

use std::collections::BTreeSet;

use crate::domain::operation::{
    FingerprintSubject, Operation, Plan, RollBackTarget, Step, StepWork,
};
use crate::domain::outcome::{Actor, AuditPhase, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceId};
use crate::ops::operation::probe::{Begun, Found, probe_undo, settle};
use crate::ops::operation::{describe, has_effect, undo_limit_ms};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::journal::{self, Journal, JournalEvent, LeftRun};
use jiff::Timestamp;

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
}

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
        };
        for entry in entries {
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
    let same = all
        .iter()
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
                ..
            },
            Operation::RollBack {
                service: same,
                to: target,
                configs_only: only,
                ..
            },
        ) => {
            // Whoever names no target means the one it was going to.
            service == same
                && configs_only == only
                && (to == target || *to == RollBackTarget::LastGood)
        }
        // The text of a runbook may mean something else by now; its runs are taken up by name.
        (Operation::Resume { .. } | Operation::RunCommand { .. }, _) => false,
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

/// How a run is gone on with.
#[derive(Debug)]
pub(super) struct Course {
    /// The plan of the run, by whose steps the journal counts.
    pub(super) original: Plan,
    /// Its services before its first step.
    pub(super) before: Option<Vec<Service>>,
    /// What is known of its steps, from the first.
    pub(super) results: Vec<StepResult>,
    /// A step that was found done, to be written down.
    pub(super) found: Option<(usize, StepResult)>,
    /// Whether nobody knows what a step did.
    pub(super) is_unknown: bool,
    /// Where it goes.
    pub(super) way: Way,
    /// What is shown and confirmed.
    pub(super) plan: Plan,
}

/// Where a run that is taken up goes.
#[derive(Debug)]
pub(super) enum Way {
    /// To its end.
    Forward {
        /// The steps to run.
        todo: Vec<usize>,
    },
    /// Back to where it began.
    Back {
        /// The last step that was begun.
        from: usize,
        /// Whether that one has to be taken back.
        is_begun: bool,
        /// Steps that are back already.
        skip: BTreeSet<usize>,
        /// Steps that somebody else changed since.
        foreign: BTreeSet<usize>,
    },
}

/// Holds a run against the machine and says what is left to do. Changes nothing.
///
/// # Errors
/// No such run; what it acts on was changed since ([`ErrorKind::Refused`]); it could not be looked at.
pub(super) async fn examine(ctx: &Context, run: &str, undo: bool) -> Result<Course, OpsError> {
    let all = unfinished(ctx)?;
    let left = all
        .into_iter()
        .find(|left| left.run == run)
        .ok_or_else(|| {
            OpsError::new(ErrorKind::No, format!("no run {run} is unfinished"))
                .fix("lastgood audit list")
        })?;
    let mut course = Course {
        original: left.plan.clone(),
        before: left.before.clone(),
        results: left.results.clone(),
        found: None,
        is_unknown: false,
        way: Way::Forward { todo: Vec::new() },
        plan: left.plan.clone(),
    };
    let mut notes = vec![SafeText::from_text(&format!(
        "{} {}: {}",
        if undo { "takes back" } else { "resumes" },
        left.title(),
        left.progress()
    ))];
    // A proof that failed is had again; a step that failed may have done its work.
    let mut begun = left.begun.clone();
    let mut has_failed = false;
    if let (Some(last), None) = (course.results.last(), &begun) {
        let index = course.results.len() - 1;
        let step = &left.plan.steps[index];
        if !last.ok && !step.may_fail {
            course.results.pop();
            has_failed = has_effect(&step.work);
            begun = Some(Begun {
                at: Timestamp::UNIX_EPOCH,
                seen: Vec::new(),
            });
        }
    }
    let mut is_done = None;
    if let Some(begun) = &begun {
        let index = course.results.len();
        let found = settle(ctx, &left.plan, index, begun, left.before.as_ref()).await?;
        is_done = Some(found.clone());
        match found {
            Found::Done(detail) => {
                let text = left.plan.steps[index].text.clone();
                notes.push(SafeText::from_text(&format!(
                    "step {} was found done: {detail}",
                    index + 1
                )));
                let detail = SafeText::from_text(&format!("found done: {detail}"));
                let result = StepResult {
                    text,
                    ok: true,
                    ms: 0,
                    detail,
                };
                course.results.push(result.clone());
                course.found = Some((index, result));
            }
            Found::NotDone | Found::Unknown | Found::Foreign(_) => {}
        }
    }
    let is_back = undo || !left.undone.is_empty() || has_failed && course.found.is_none();
    if is_back {
        go_back(ctx, &left, &mut course, is_done.as_ref(), &mut notes).await?;
    } else {
        go_on(&mut course, is_done, &mut notes)?;
        are_still_done(ctx, &course).await?;
    }
    course.plan.operation = resuming(&left, undo);
    notes.append(&mut course.plan.notes);
    course.plan.notes = notes;
    course.plan = course.plan.seal();
    Ok(course)
}

/// The steps to the end.
fn go_on(
    course: &mut Course,
    begun: Option<Found>,
    notes: &mut Vec<SafeText>,
) -> Result<(), OpsError> {
    let index = course.results.len();
    let is_service_step = matches!(
        course.original.steps.get(index + 1).map(|next| &next.work),
        Some(StepWork::Verify { .. }) | None
    );
    match begun {
        Some(Found::Foreign(what)) => return Err(stale(what.as_str())),
        Some(Found::Unknown) if is_service_step => {
            let step = &course.original.steps[index];
            let detail = "it was begun, and nothing tells whether it was done: it was not repeated";
            notes.push(SafeText::from_text(&format!(
                "step {}: {detail}",
                index + 1
            )));
            let detail = SafeText::from_text(detail);
            let result = StepResult {
                text: step.text.clone(),
                ok: false,
                ms: 0,
                detail,
            };
            course.results.push(result.clone());
            course.found = Some((index, result));
            course.is_unknown = true;
        }
        Some(Found::NotDone | Found::Unknown) => {
            let step = &mut course.original.steps[index];
            if has_effect(&step.work) {
                notes.push(SafeText::from_text(&format!(
                    "step {} was begun and is not done: it is run again",
                    index + 1
                )));
            }
            // What it began itself may have replaced some of them.
            step.fingerprints
                .retain(|f| !matches!(f.subject, FingerprintSubject::Instances { .. }));
        }
        Some(Found::Done(_)) | None => {}
    }
    let from = course.results.len();
    let steps = &course.original.steps;
    let is_verify = |at: &usize| matches!(steps[*at].work, StepWork::Verify { .. });
    let mut todo: Vec<usize> = (from..steps.len()).collect();
    // An old proof proves nothing now.
    if !todo.iter().any(is_verify)
        && let Some(proof) = (0..from).rfind(is_verify)
    {
        todo.insert(0, proof);
    }
    course.plan.steps = todo.iter().map(|at| steps[*at].clone()).collect();
    course.way = Way::Forward { todo };
    Ok(())
}

/// What was done is still so: else somebody else has been there since.
async fn are_still_done(ctx: &Context, course: &Course) -> Result<(), OpsError> {
    for (index, result) in course.results.iter().enumerate() {
        let work = &course.original.steps[index].work;
        let is_lasting = matches!(work, StepWork::WriteFile { .. } | StepWork::TagImage { .. });
        if !is_lasting || !result.ok {
            continue;
        }
        let found =
            super::operation::probe::probe(ctx, &course.original, index, None, None).await?;
        match found {
            Found::Done(_) | Found::Unknown => {}
            Found::Foreign(what) => return Err(stale(what.as_str())),
            Found::NotDone => {
                return Err(stale(&format!("{} was taken back", result.text)));
            }
        }
    }
    for fingerprint in course.plan.fingerprints() {
        super::operation::check_fingerprint(ctx, fingerprint).await?;
    }
    Ok(())
}

fn stale(what: &str) -> OpsError {
    OpsError::new(ErrorKind::Refused, format!("the plan is stale: {what}"))
        .fix("`lastgood resume RUN --undo`, or make a new plan, which ends the old run")
}

/// The way back, the newest first.
async fn go_back(
    ctx: &Context,
    left: &Unfinished,
    course: &mut Course,
    begun: Option<&Found>,
    notes: &mut Vec<SafeText>,
) -> Result<(), OpsError> {
    let is_open = begun.is_some() && course.found.is_none();
    let count = course.results.len() + usize::from(is_open);
    let Some(from) = count.checked_sub(1) else {
        course.plan.steps.clear();
        course.way = Way::Back {
            from: 0,
            is_begun: false,
            skip: BTreeSet::new(),
            foreign: BTreeSet::new(),
        };
        return Ok(());
    };
    let is_begun = match begun {
        Some(found) if is_open => {
            *found != Found::NotDone || left.undone.is_empty() && maybe_begun(left, from)
        }
        _ => true,
    };
    let mut skip = left.undone.clone();
    let mut foreign = BTreeSet::new();
    let mut steps = Vec::new();
    // The last one at the end: what it started must find the old files and names again.
    for index in (0..from).rev().chain([from]) {
        let step = &left.plan.steps[index];
        let was_done = match course.results.get(index) {
            Some(result) => result.ok,
            None => is_begun,
        };
        let Some(undo) = step
            .undo
            .as_ref()
            .filter(|_| was_done && !skip.contains(&index))
        else {
            continue;
        };
        match probe_undo(ctx, &left.plan, index, undo, left.before.as_ref()).await? {
            Found::Done(detail) => {
                notes.push(SafeText::from_text(&format!(
                    "step {}: {detail}",
                    index + 1
                )));
                skip.insert(index);
            }
            Found::Foreign(what) => {
                notes.push(SafeText::from_text(&format!("step {}: {what}", index + 1)));
                foreign.insert(index);
            }
            Found::NotDone | Found::Unknown => {
                let is_twice = |other: &Step| other.work == *undo;
                steps.retain(|other| !is_twice(other));
                steps.push(Step {
                    text: SafeText::from_text(&format!("take back: {}", step.text)),
                    manual: Some(SafeText::from_text(&describe(undo))),
                    work: undo.clone(),
                    undo: None,
                    fingerprints: Vec::new(),
                    timeout_ms: undo_limit_ms(step),
                    may_fail: false,
                });
            }
        }
    }
    course.plan.steps = steps;
    course.way = Way::Back {
        from,
        is_begun,
        skip,
        foreign,
    };
    Ok(())
}

/// Whether a step that is not done may have been begun all the same: a command can have done a part of its work.
fn maybe_begun(left: &Unfinished, index: usize) -> bool {
    matches!(left.plan.steps[index].work, StepWork::Command { .. })
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
    let mut open = std::collections::BTreeMap::new();
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
