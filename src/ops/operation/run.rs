//! Runs the steps of a plan one after the other, and takes back what was done where one fails.

mod end;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::probe::seen_before;
use super::seen::{is_in_place, look};
use super::step::Machine;
use super::{clock, fingerprint};
use crate::analysis::redact::Redactor;
use crate::audit::Permit;
use crate::domain::backup::BackupAct;
use crate::domain::operation::{Plan, Step, StepWork};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, Service, ServiceId};
use crate::host::Host;
use crate::ops::lease::{Hold, Leases};
use crate::ops::resume::{Course, Way};
use crate::ops::services::{discover_one, host_of};
use crate::ops::{Context, ErrorKind, OpsError, notify, secrets};
use crate::store::journal::{Journal, JournalEvent};

/// The time for one step of the way back where the step itself says none.
const UNDO_LIMIT: Duration = Duration::from_secs(120);

/// Signals that end the program: heard here, so that the step in flight can end.
pub(super) struct Interrupts(Vec<Signal>);

impl Interrupts {
    pub(super) fn listen() -> Self {
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        Self(kinds.into_iter().filter_map(|k| signal(k).ok()).collect())
    }

    /// Ends when one comes.
    async fn next(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let all = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(all).await;
    }

    /// Whether one came since the last look.
    async fn came(&mut self) -> bool {
        for signal in &mut self.0 {
            let came = futures_util::future::poll_immediate(signal.recv()).await;
            if matches!(came, Some(Some(()))) {
                return true;
            }
        }
        false
    }
}

/// Why the steps ended.
enum End {
    /// Every step did what it should.
    Done,
    /// Everything was done, the proof failed.
    NotVerified,
    /// A step failed.
    Failed(usize),
    /// Someone ended the program; the steps from here on were not begun.
    Interrupted(usize),
    /// Someone broke the lease; the steps from here on were not begun.
    LeaseLost(usize),
    /// What was done up to this step is to be taken back, as was asked for.
    TakeBack(usize),
}

/// Runs a plan for which there is a permit.
///
/// # Errors
/// The journal could not be begun: nothing was changed.
pub(super) async fn run(
    ctx: &Context,
    plan: &Plan,
    permit: Permit,
    leases: &mut Leases,
    mut interrupts: Interrupts,
    progress: &mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    let before = look(ctx, plan, None).await;
    let journal = Journal::create(&ctx.state, permit.run()).and_then(|mut journal| {
        journal.append(JournalEvent::Intent {
            plan: Box::new(plan.clone()),
            before: before.clone(),
            by: Some(ctx.actor.clone()),
        })?;
        Ok(journal)
    });
    let journal = match journal {
        Ok(journal) => journal,
        Err(error) => {
            ctx.audit().finish(permit, OutcomeKind::FailedUnchanged)?;
            return Err(error.into());
        }
    };
    let _patience = host_of(ctx, &fingerprint::on(&plan.host)).map(Host::patience);
    let known = secrets::redactor_or_shapes(ctx, before.as_deref().unwrap_or_default()).await;
    let runner = Runner::new(ctx, plan, &permit, leases, progress, journal, &known);
    let todo: Vec<usize> = (0..plan.steps.len()).collect();
    // Futures of so many steps are large, and this one is moved.
    let work = Box::pin(runner.drive(&todo, None, &mut interrupts, before.as_ref()));
    let ended = clock::timed(plan.budget_ms, progress, work).await;
    finish(ctx, plan, permit, leases, before.as_ref(), ended).await
}

/// Goes on with what another process left, by the course that was confirmed.
///
/// # Errors
/// Its journal cannot be taken up: nothing was changed.
pub(super) async fn resume(
    ctx: &Context,
    course: &Course,
    permit: Permit,
    leases: &mut Leases,
    mut interrupts: Interrupts,
    progress: &mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    let mut journal = Journal::reopen(&ctx.state, permit.run())?;
    journal.append(JournalEvent::Resumed {
        by: ctx.actor.clone(),
        undo: matches!(course.way, Way::Back { .. }),
    })?;
    if let Some((step, result)) = &course.found {
        journal.append(JournalEvent::Done {
            step: *step,
            result: result.clone(),
        })?;
    }
    let _patience = host_of(ctx, &fingerprint::on(&course.original.host)).map(Host::patience);
    let before = course.before.as_ref();
    let known = secrets::redactor_or_shapes(ctx, before.map_or(&[], Vec::as_slice)).await;
    let mut runner = Runner::new(
        ctx,
        &course.original,
        &permit,
        leases,
        progress,
        journal,
        &known,
    );
    runner.results.clone_from(&course.results);
    runner.executed = course.results.len();
    runner.is_unproved = course.is_unknown;
    let budget_ms = course.original.budget_ms;
    let ended = match &course.way {
        Way::Forward { todo } => {
            let work = Box::pin(runner.drive(todo, None, &mut interrupts, before));
            clock::timed(budget_ms, progress, work).await
        }
        Way::Back {
            from,
            is_begun,
            skip,
            foreign,
        } => {
            runner.is_begun = *is_begun;
            runner.skip.clone_from(skip);
            runner.foreign.clone_from(foreign);
            let end = Some(End::TakeBack(*from));
            let work = Box::pin(runner.drive(&[], end, &mut interrupts, before));
            clock::timed(budget_ms, progress, work).await
        }
    };
    finish(ctx, &course.original, permit, leases, before, ended).await
}

/// What a runner leaves.
struct Ended {
    kind: OutcomeKind,
    results: Vec<StepResult>,
    manual: Vec<SafeText>,
    /// Whether the run can be gone on with: then its outcome is not known yet.
    is_left_open: bool,
    took: Duration,
}

/// Records how it ended, and looks at what runs now.
async fn finish(
    ctx: &Context,
    plan: &Plan,
    permit: Permit,
    leases: &mut Leases,
    before: Option<&Vec<Service>>,
    ended: Ended,
) -> Result<Outcome, OpsError> {
    let release = match look(ctx, plan, before).await {
        Some(services) => services.into_iter().next().map(|s| s.release),
        None => None,
    };
    let mut outcome = Outcome {
        operation: plan.operation.verb().to_owned(),
        plan_hash: plan.hash.clone(),
        outcome: ended.kind,
        steps: ended.results,
        manual: ended.manual,
        release: release.unwrap_or_else(Release::default),
        duration_ms: millis(ended.took),
        budget_ms: Some(plan.budget_ms),
    };
    leases.give_back(&permit).await;
    if ended.is_left_open {
        return Ok(outcome);
    }
    let run = permit.run().to_owned();
    if let Err(error) = ctx.audit().finish(permit, outcome.outcome) {
        // The operation is over either way: its end is told, and that the log does not have it.
        outcome.steps.push(StepResult {
            text: SafeText::from_text("write the outcome to the audit log"),
            ok: false,
            ms: 0,
            detail: SafeText::from_error(&error),
        });
    }
    outcome.steps.extend(leases.mirror(ctx, &run).await);
    if let Err(error) = notify::operated(ctx, plan, outcome.outcome).await {
        outcome.steps.push(StepResult {
            text: SafeText::from_text("tell of the change"),
            ok: false,
            ms: 0,
            detail: error.to_safe_text(),
        });
    }
    Ok(outcome)
}

struct Runner<'a> {
    machine: Machine<'a>,
    plan: &'a Plan,
    leases: &'a mut Leases,
    journal: Journal,
    /// Of the steps in their order; what was taken back comes after them.
    results: Vec<StepResult>,
    manual: Vec<SafeText>,
    /// How many of the results are of steps; what was taken back comes after them.
    executed: usize,
    /// Whether the work of the newest step was begun: what stopped it before it changed nothing.
    is_begun: bool,
    is_journal_broken: bool,
    is_left_open: bool,
    /// Whether nobody knows what a step did.
    is_unproved: bool,
    /// Steps whose way back was gone already.
    skip: BTreeSet<usize>,
    /// Steps whose way back would overwrite what somebody else changed since.
    foreign: BTreeSet<usize>,
}

impl<'a> Runner<'a> {
    fn new(
        ctx: &'a Context,
        plan: &'a Plan,
        permit: &'a Permit,
        leases: &'a mut Leases,
        progress: &'a mpsc::Sender<Progress>,
        journal: Journal,
        redactor: &'a Redactor,
    ) -> Self {
        Self {
            machine: Machine {
                ctx,
                name: &plan.host,
                permit,
                progress,
                redactor,
            },
            plan,
            leases,
            journal,
            results: Vec::new(),
            manual: Vec::new(),
            executed: 0,
            is_begun: false,
            is_journal_broken: false,
            is_left_open: false,
            is_unproved: false,
            skip: BTreeSet::new(),
            foreign: BTreeSet::new(),
        }
    }

    /// Runs the steps, unless the end is given, and ends the run.
    async fn drive(
        mut self,
        todo: &[usize],
        end: Option<End>,
        interrupts: &mut Interrupts,
        before: Option<&Vec<Service>>,
    ) -> Ended {
        let started = Instant::now();
        let end = match end {
            Some(end) => end,
            None => self.run_steps(todo, interrupts, before).await,
        };
        let kind = self.conclude(end, before).await;
        Ended {
            kind,
            results: self.results,
            manual: self.manual,
            is_left_open: self.is_left_open,
            took: started.elapsed(),
        }
    }

    /// Says on the leases which step is next.
    async fn hold(&mut self, index: usize, step: &Step) -> Hold {
        let (number, of) = (index + 1, self.plan.steps.len());
        let text = format!("step {number} of {of}: {}", step.text);
        let limit = Duration::from_millis(undo_limit_ms(step));
        self.leases.hold(self.machine.permit, &text, limit).await
    }

    async fn run_steps(
        &mut self,
        todo: &[usize],
        interrupts: &mut Interrupts,
        before: Option<&Vec<Service>>,
    ) -> End {
        for &index in todo {
            let step = &self.plan.steps[index];
            if interrupts.came().await {
                return End::Interrupted(index);
            }
            match self.hold(index, step).await {
                Hold::Ours => {}
                Hold::Lost => return End::LeaseLost(index),
                Hold::Unknown(why) => {
                    self.tell(&format!("the lease cannot be renewed: {why}"));
                    return End::Interrupted(index);
                }
            }
            let _ = self.machine.progress.try_send(Progress::StepStarted {
                index,
                text: step.text.clone(),
            });
            let ended = match is_cut_short(&step.work) {
                true => tokio::select! {
                    result = self.run_step(index, step) => Some(result),
                    () = interrupts.next() => None,
                },
                false => Some(self.run_step(index, step).await),
            };
            let Some(mut result) = ended else {
                self.cut_short(index, step);
                return End::Interrupted(index);
            };
            let is_ok = result.ok || self.was_applied(index, before, &mut result).await;
            let _ = self.machine.progress.try_send(Progress::StepEnded {
                index,
                result: result.clone(),
            });
            self.keep(index, result);
            if !is_ok && !step.may_fail {
                // What has not proved itself behind a proxy gives way to the side that still runs.
                let is_kept = !self.plan.operation.is_of_proxy();
                return if is_kept && self.is_proof_only(index) {
                    End::NotVerified
                } else {
                    End::Failed(index)
                };
            }
        }
        End::Done
    }

    /// Writes down that a signal ended a step which had changed nothing.
    fn cut_short(&mut self, index: usize, step: &Step) {
        let result = StepResult {
            text: step.text.clone(),
            ok: false,
            ms: 0,
            detail: SafeText::from_text("ended by a signal"),
        };
        self.note(JournalEvent::Done {
            step: index,
            result: result.clone(),
        });
        self.keep(index, result);
    }

    fn keep(&mut self, index: usize, result: StepResult) {
        match self.results.get_mut(index) {
            Some(known) => *known = result,
            None => {
                self.results.push(result);
                self.executed += 1;
            }
        }
    }

    /// Whether a command that says it failed did what it should all the same: what runs is new and is what the
    /// proof after it wants. `docker compose up --wait` ends with 1 where the new container runs and is not
    /// healthy; that is for the proof to judge, and bringing the failing release back would not help.
    async fn was_applied(
        &self,
        index: usize,
        before: Option<&Vec<Service>>,
        result: &mut StepResult,
    ) -> bool {
        let step = &self.plan.steps[index];
        let next = self.plan.steps.get(index + 1).map(|step| &step.work);
        let (
            StepWork::Command { .. },
            Some(StepWork::Verify {
                service,
                identity: Some(wanted),
                ..
            }),
        ) = (&step.work, next)
        else {
            return false;
        };
        let Some(before) = before else {
            return false;
        };
        let was = before.iter().find(|s| s.id == *service);
        let inventory = discover_one(self.machine.ctx, service).await;
        let Some(now) = inventory.find(service) else {
            return false;
        };
        let is_applied = is_in_place(was, now, wanted);
        if is_applied {
            let text = format!("{}; the wanted release is in place", result.detail);
            result.detail = SafeText::from_text(&text);
        }
        is_applied
    }

    /// The service that the next step is to prove, where a command said that it did its work and there is no such
    /// service: `pm2 start` says 0 where its file declares another application.
    async fn gone_after(&self, index: usize) -> Option<&ServiceId> {
        let next = self.plan.steps.get(index + 1).map(|step| &step.work);
        let (
            StepWork::Command { .. },
            Some(StepWork::Verify {
                service,
                running: true,
                ..
            }),
        ) = (&self.plan.steps[index].work, next)
        else {
            return None;
        };
        let inventory = discover_one(self.machine.ctx, service).await;
        let is_gone = inventory.unreachable.is_empty() && inventory.find(service).is_none();
        is_gone.then_some(service)
    }

    /// Whether everything is done from this step on but the proof, and what may fail. The proof of the first of several services is
    /// not: the others are still to come.
    fn is_proof_only(&self, from: usize) -> bool {
        let rest = self.plan.steps.get(from..).unwrap_or_default();
        (from > 0 || self.plan.operation.is_proof())
            && rest
                .iter()
                .all(|step| step.may_fail || is_proof(&step.work))
    }

    async fn run_step(&mut self, index: usize, step: &Step) -> StepResult {
        let started = Instant::now();
        self.is_begun = false;
        let begin = JournalEvent::Begin {
            step: index,
            text: step.text.clone(),
            seen: seen_before(self.machine.ctx, self.plan, step).await,
        };
        // Without a journal no step begins.
        let mut done = match self.journal.append(begin) {
            Ok(()) => self.attempt(step).await,
            Err(error) => Err(error.into()),
        };
        if done.is_ok()
            && let Some(gone) = self.gone_after(index).await
        {
            let text = format!("it said it was done, and {gone} is not there");
            done = Err(OpsError::new(ErrorKind::Failed, text));
        }
        let result = StepResult {
            text: step.text.clone(),
            ok: done.is_ok(),
            ms: millis(started.elapsed()),
            detail: done.unwrap_or_else(|error| error.to_safe_text()),
        };
        self.note(JournalEvent::Done {
            step: index,
            result: result.clone(),
        });
        result
    }

    async fn attempt(&mut self, step: &Step) -> Result<SafeText, OpsError> {
        for fingerprint in &step.fingerprints {
            fingerprint::check(self.machine.ctx, fingerprint).await?;
        }
        self.machine
            .keep_for_undo(&step.work, step.undo.as_ref())
            .await?;
        self.is_begun = true;
        let limit = Duration::from_millis(step.timeout_ms);
        self.machine.run(&step.work, limit).await
    }

    /// Writes what happened. What happened is not undone by a full disk: it is told in the outcome.
    fn note(&mut self, event: JournalEvent) {
        if let Err(error) = self.journal.append(event)
            && !self.is_journal_broken
        {
            self.is_journal_broken = true;
            let text = format!("the journal is not whole: {}", SafeText::from_error(&error));
            self.tell(&text);
        }
    }

    fn tell(&self, text: &str) {
        let note = Progress::Note(SafeText::from_text(text));
        let _ = self.machine.progress.try_send(note);
    }
}

/// How long the way back of a step may take.
pub(crate) fn undo_limit_ms(step: &Step) -> u64 {
    step.timeout_ms.max(millis(UNDO_LIMIT))
}

/// Whether such a step can have changed anything.
pub(crate) fn has_effect(work: &StepWork) -> bool {
    // An image more is in nobody's way.
    !is_proof(work) && !matches!(work, StepWork::SaveLogs { .. } | StepWork::LoadImage { .. })
}

/// Whether a signal ends such a step at once: it takes long, and in the middle of it nothing is half done. A dump has no
/// name until it is whole; what ends it ends its programs too.
fn is_cut_short(work: &StepWork) -> bool {
    match work {
        StepWork::Judge { .. } => true,
        StepWork::Backup { act, .. } => matches!(act, BackupAct::Dump | BackupAct::DumpBefore),
        _ => false,
    }
}

/// Whether such a step only looks.
fn is_proof(work: &StepWork) -> bool {
    match work {
        StepWork::Verify { .. } | StepWork::Ask { .. } | StepWork::Judge { .. } => true,
        StepWork::Backup { act, .. } => act.is_proof(),
        _ => false,
    }
}

/// The steps up to one in the order in which they are taken back: the newest first, but the last that ran anything after
/// the others, since what it started must find the old files and names again, and at the end what proves that it is back.
pub(crate) fn way_back(plan: &Plan, from: usize) -> Vec<usize> {
    let newest_first = (0..=from).rev();
    let (mut effects, looks): (Vec<usize>, Vec<usize>) =
        newest_first.partition(|at| has_effect(&plan.steps[*at].work));
    // A file, a name or data starts nothing.
    let is_run = |at: &usize| {
        let work = &plan.steps[*at].work;
        !matches!(
            work,
            StepWork::TagImage { .. } | StepWork::WriteFile { .. } | StepWork::Backup { .. }
        )
    };
    if plan.operation.is_of_proxy() {
        // What it reads again is the file that is back: none of those that lay between.
        effects.sort_by_key(is_run);
    } else if effects.first().is_some_and(is_run) {
        effects.rotate_left(1);
    }
    effects.extend(looks);
    effects
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
