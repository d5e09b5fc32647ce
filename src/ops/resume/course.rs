//! How a run that was left is gone on with: held against the machine, to its end or back to where it began.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Unfinished, resuming, unfinished};
use crate::domain::operation::{FingerprintSubject, Plan, Step, StepWork};
use crate::domain::outcome::StepResult;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceState};
use crate::ops::operation::probe::{Begun, Found, is_looked_for, probe, probe_undo, settle};
use crate::ops::operation::{
    check_fingerprint, describe, has_effect, identity, undo_limit_ms, way_back,
};
use crate::ops::services::discover_one;
use crate::ops::{Context, ErrorKind, OpsError};

/// How a run is gone on with.
#[derive(Debug)]
pub(in crate::ops) struct Course {
    /// The plan of the run, by whose steps the journal counts.
    pub(in crate::ops) original: Plan,
    /// Its services before its first step.
    pub(in crate::ops) before: Option<Vec<Service>>,
    /// What is known of its steps, from the first.
    pub(in crate::ops) results: Vec<StepResult>,
    /// A step that was found done, to be written down.
    pub(in crate::ops) found: Option<(usize, StepResult)>,
    /// Whether nobody knows what a step did.
    pub(in crate::ops) is_unknown: bool,
    /// Where it goes.
    pub(in crate::ops) way: Way,
    /// What is shown and confirmed.
    pub(in crate::ops) plan: Plan,
}

/// Where a run that is taken up goes.
#[derive(Debug)]
pub(in crate::ops) enum Way {
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
pub(in crate::ops) async fn examine(
    ctx: &Context,
    run: &str,
    undo: bool,
) -> Result<Course, OpsError> {
    let all = unfinished(ctx)?;
    let left = all.find(run)?;
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
        go_back(ctx, left, &mut course, is_done.as_ref(), &mut notes).await?;
    } else {
        go_on(&mut course, is_done, &mut notes)?;
        are_still_done(ctx, &course).await?;
    }
    course.plan.operation = resuming(left, undo);
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
    let is_verify = |at: &usize| {
        matches!(
            steps[*at].work,
            StepWork::Verify { .. } | StepWork::Ask { .. } | StepWork::Judge { .. }
        )
    };
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
        let is_lasting = matches!(
            work,
            StepWork::WriteFile { .. } | StepWork::TagImage { .. } | StepWork::Downgrade { .. }
        );
        // Of a file that several steps write, only the newest version is there.
        let rest = (index + 1..course.results.len()).filter(|at| course.results[*at].ok);
        let is_replaced = rest
            .into_iter()
            .any(|at| writes_the_same(work, &course.original.steps[at].work));
        if !is_lasting || !result.ok || is_replaced {
            continue;
        }
        let found = probe(ctx, &course.original, index, None, None).await?;
        match found {
            Found::Done(_) | Found::Unknown => {}
            Found::Foreign(what) => return Err(stale(what.as_str())),
            Found::NotDone => {
                return Err(stale(&format!("{} was taken back", result.text)));
            }
        }
    }
    still_runs_so(ctx, course).await?;
    for fingerprint in course.plan.fingerprints() {
        check_fingerprint(ctx, fingerprint).await?;
    }
    Ok(())
}

fn writes_the_same(one: &StepWork, other: &StepWork) -> bool {
    matches!(
        (one, other),
        (StepWork::WriteFile { path, .. }, StepWork::WriteFile { path: same, .. }) if path == same
    )
}

/// What a step did to its service is not undone by somebody else: stopped and running again, or of another release.
async fn still_runs_so(ctx: &Context, course: &Course) -> Result<(), OpsError> {
    for (index, result) in course.results.iter().enumerate() {
        let step = &course.original.steps[index];
        let next = course.original.steps.get(index + 1).map(|next| &next.work);
        let Some(StepWork::Verify {
            service,
            identity: wanted,
            running,
            ..
        }) = next
        else {
            continue;
        };
        if !result.ok || !has_effect(&step.work) {
            continue;
        }
        let inventory = discover_one(ctx, service).await;
        let Some(now) = inventory.find(service) else {
            is_looked_for(&inventory, service, course.before.as_ref())?;
            continue;
        };
        if !running && now.state == ServiceState::Running {
            return Err(stale(&format!("{service} runs again")));
        }
        let own = identity(now);
        if let (true, Some(wanted), Some(own)) = (*running, wanted, own)
            && *wanted != own
        {
            return Err(stale(&format!("{service} runs another release again")));
        }
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
    for index in way_back(&left.plan, from) {
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
