//! Runs the steps of a plan one after the other, and takes back what was done where one fails.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::fingerprint;
use super::seen::{is_in_place, look};
use super::step::Machine;
use crate::audit::Permit;
use crate::domain::operation::{FingerprintSubject, Operation, Plan, Step, StepWork};
use crate::domain::outcome::{Outcome, OutcomeKind, Progress, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, Service, ServiceId, ServiceState};
use crate::host::Host;
use crate::ops::services::{discover_on, host_of};
use crate::ops::{Context, ErrorKind, OpsError};
use crate::store::journal::{Journal, JournalEvent};
use crate::store::lease::{Holder, Lease};

/// The time for one step of the way back where the step itself says none.
const UNDO_LIMIT: Duration = Duration::from_secs(120);

/// Takes the lease of every service, in the order of their names, so that two sessions never wait for each other.
///
/// # Errors
/// Someone else holds one; those taken are given back.
pub(super) fn take_leases(ctx: &Context, plan: &Plan) -> Result<Vec<Lease>, OpsError> {
    let mut services: Vec<&ServiceId> = plan.services.iter().collect();
    services.sort();
    services.dedup();
    let now = Timestamp::now();
    let mut leases = Vec::new();
    for service in services {
        let holder = Holder {
            service: service.clone(),
            actor: ctx.actor.clone(),
            pid: std::process::id(),
            reason: SafeText::from_text(plan.operation.verb()),
            since: now,
            until: now + Duration::from_millis(plan.budget_ms),
        };
        leases.push(Lease::take(&ctx.state, &holder)?);
    }
    Ok(leases)
}

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
}

/// Runs a plan for which there is a permit.
///
/// # Errors
/// The journal could not be begun: nothing was changed.
pub(super) async fn run(
    ctx: &Context,
    plan: &Plan,
    permit: Permit,
    mut interrupts: Interrupts,
    progress: &mpsc::Sender<Progress>,
) -> Result<Outcome, OpsError> {
    let started = Instant::now();
    let journal = Journal::create(&ctx.state, permit.run()).and_then(|mut journal| {
        let plan = Box::new(plan.clone());
        journal.append(JournalEvent::Intent { plan })?;
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
    let before = look(ctx, plan, None).await;
    let mut runner = Runner {
        machine: Machine {
            ctx,
            name: &plan.host,
            permit: &permit,
            progress,
        },
        plan,
        journal,
        results: Vec::new(),
        manual: Vec::new(),
        executed: 0,
        is_begun: false,
        is_journal_broken: false,
    };
    let end = runner.run_steps(&mut interrupts, before.as_ref()).await;
    let outcome = runner.conclude(end, before.as_ref()).await;
    let Runner {
        results, manual, ..
    } = runner;
    let release = match look(ctx, plan, before.as_ref()).await {
        Some(services) => services.into_iter().next().map(|s| s.release),
        None => None,
    };
    let mut outcome = Outcome {
        operation: plan.operation.verb().to_owned(),
        plan_hash: plan.hash.clone(),
        outcome,
        steps: results,
        manual,
        release: release.unwrap_or_else(Release::default),
        duration_ms: millis(started.elapsed()),
    };
    if let Err(error) = ctx.audit().finish(permit, outcome.outcome) {
        // The operation is over either way: its end is told, and that the log does not have it.
        outcome.steps.push(StepResult {
            text: SafeText::from_text("write the outcome to the audit log"),
            ok: false,
            ms: 0,
            detail: SafeText::from_error(&error),
        });
    }
    Ok(outcome)
}

struct Runner<'a> {
    machine: Machine<'a>,
    plan: &'a Plan,
    journal: Journal,
    results: Vec<StepResult>,
    manual: Vec<SafeText>,
    /// How many of the results are of steps; what was taken back comes after them.
    executed: usize,
    /// Whether the work of the newest step was begun: what stopped it before it changed nothing.
    is_begun: bool,
    is_journal_broken: bool,
}

impl Runner<'_> {
    async fn run_steps(
        &mut self,
        interrupts: &mut Interrupts,
        before: Option<&Vec<Service>>,
    ) -> End {
        for (index, step) in self.plan.steps.iter().enumerate() {
            if interrupts.came().await {
                return End::Interrupted(index);
            }
            let _ = self.machine.progress.try_send(Progress::StepStarted {
                index,
                text: step.text.clone(),
            });
            let mut result = self.run_step(index, step).await;
            let is_ok = result.ok || self.was_applied(index, before, &mut result).await;
            let _ = self.machine.progress.try_send(Progress::StepEnded {
                index,
                result: result.clone(),
            });
            self.results.push(result);
            self.executed += 1;
            if !is_ok && !step.may_fail {
                return if self.is_proof_only(index) {
                    End::NotVerified
                } else {
                    End::Failed(index)
                };
            }
        }
        End::Done
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
        let inventory = discover_on(self.machine.ctx, &service.host).await;
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
        let inventory = discover_on(self.machine.ctx, &service.host).await;
        let is_gone = inventory.unreachable.is_empty() && inventory.find(service).is_none();
        is_gone.then_some(service)
    }

    /// Whether everything is done from this step on but the proof, and what may fail. The proof of the first of several services is
    /// not: the others are still to come.
    fn is_proof_only(&self, from: usize) -> bool {
        let rest = self.plan.steps.get(from..).unwrap_or_default();
        from > 0
            && rest
                .iter()
                .all(|step| step.may_fail || matches!(step.work, StepWork::Verify { .. }))
    }

    async fn run_step(&mut self, index: usize, step: &Step) -> StepResult {
        let started = Instant::now();
        self.is_begun = false;
        let text = step.text.clone();
        let begin = JournalEvent::Begin { step: index, text };
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

    async fn conclude(&mut self, end: End, before: Option<&Vec<Service>>) -> OutcomeKind {
        let (kind, reason) = match end {
            End::Done => {
                let proof = self.proof();
                let detail = proof
                    .and_then(|at| self.results.get(at))
                    .map(|result| result.detail.clone())
                    .unwrap_or_default();
                for (step, result) in self.plan.steps.iter().zip(&self.results) {
                    self.manual
                        .extend(step.manual.clone().filter(|_| !result.ok));
                }
                let kind = if self.is_proved() {
                    self.note(JournalEvent::Verified { detail });
                    OutcomeKind::Verified
                } else {
                    OutcomeKind::AppliedNotVerified
                };
                self.note(JournalEvent::Commit { outcome: kind });
                return kind;
            }
            End::NotVerified => {
                let kind = OutcomeKind::AppliedNotVerified;
                self.add_manual(self.proof().unwrap_or_default());
                self.note(JournalEvent::Commit { outcome: kind });
                return kind;
            }
            End::Interrupted(at) => {
                self.tell("interrupted: no further step was begun");
                self.add_manual(at);
                let kind = match self.is_proof_only(at) {
                    true => OutcomeKind::AppliedNotVerified,
                    false => self.judge_failure(before, None).await,
                };
                (kind, "interrupted: no further step was begun".to_owned())
            }
            End::Failed(at) => {
                let is_undone = self.undo(at).await;
                let kind = self.judge_failure(before, Some(is_undone)).await;
                // Either finish going back, or go on: commands of both would contradict each other. Where
                // everything was taken back and it is not as it was, going on begins at the first step.
                if kind != OutcomeKind::FailedUnchanged && self.manual.is_empty() {
                    let was_undone = self.results.len() > self.executed;
                    self.add_manual(if was_undone { 0 } else { at });
                }
                let cause = self.plan.steps[at].text.clone();
                (kind, format!("step {} failed: {cause}", at + 1))
            }
        };
        self.note(JournalEvent::Abort {
            outcome: kind,
            reason: SafeText::from_text(&reason),
        });
        kind
    }

    /// Whether a step at the end proved it. Files are read back when they are written; a fix ends in a look at what it
    /// changed; of a runbook's command only the exit code is known, which the plan says.
    fn is_proved(&self) -> bool {
        let last = self.proof().and_then(|at| self.plan.steps.get(at));
        match last.map(|step| &step.work) {
            Some(StepWork::Verify { .. } | StepWork::WriteFile { .. }) | None => true,
            Some(_) => matches!(
                self.plan.operation,
                Operation::RunCommand { .. } | Operation::Fix { .. }
            ),
        }
    }

    /// The last step that counts: what may fail after it takes nothing away from it.
    fn proof(&self) -> Option<usize> {
        self.plan.steps.iter().rposition(|step| !step.may_fail)
    }

    fn add_manual(&mut self, from: usize) {
        let rest = self.plan.steps.get(from..).unwrap_or_default();
        self.manual
            .extend(rest.iter().filter_map(|step| step.manual.clone()));
    }

    /// Takes back what was done, the newest first. The failed step itself comes last: what it started must find
    /// the old files and names again. Returns whether all of it went well.
    async fn undo(&mut self, failed: usize) -> bool {
        let plan = self.plan;
        let has_to = |index: &usize| match *index == failed {
            true => self.is_begun && has_effect(&plan.steps[*index].work),
            false => self.results.get(*index).is_some_and(|result| result.ok),
        };
        let mut order: Vec<(usize, &StepWork)> = (0..failed)
            .rev()
            .chain([failed])
            .filter(has_to)
            .filter_map(|index| Some((index, plan.steps[index].undo.as_ref()?)))
            .collect();
        // What takes several steps back at once is done once, when the others are.
        let all = order.clone();
        let mut place = 0;
        order.retain(|(_, work)| {
            place += 1;
            !all[place..].iter().any(|(_, later)| later == work)
        });
        let mut is_ok = true;
        for (index, work) in order {
            let step = &plan.steps[index];
            let started = Instant::now();
            let limit = Duration::from_millis(step.timeout_ms).max(UNDO_LIMIT);
            let undone = self.machine.run(work, limit).await;
            let result = StepResult {
                text: SafeText::from_text(&format!("take back: {}", step.text)),
                ok: undone.is_ok(),
                ms: millis(started.elapsed()),
                detail: undone.unwrap_or_else(|error| error.to_safe_text()),
            };
            is_ok &= result.ok;
            // From the first that failed on: what came after it built on it.
            if !is_ok {
                self.manual.push(SafeText::from_text(&describe(work)));
            }
            self.note(JournalEvent::Undone {
                step: index,
                result: result.clone(),
            });
            self.tell(&format!("{}: {}", result.text, result.detail));
            self.results.push(result);
        }
        is_ok
    }

    /// Looks at what is there after a failure: as it was, half-way, or not to be seen. `undone` says whether what
    /// was done was taken back; `None` where nobody tried.
    async fn judge_failure(
        &self,
        before: Option<&Vec<Service>>,
        undone: Option<bool>,
    ) -> OutcomeKind {
        if self.plan.services.is_empty() && self.executed > 0 {
            // Nothing that can be looked at says what a runbook's command did.
            return OutcomeKind::FailedPartial;
        }
        let now = look(self.machine.ctx, self.plan, before).await;
        let (Some(before), Some(now)) = (before, now) else {
            return OutcomeKind::Unknown;
        };
        let is_same = before.len() == now.len()
            && before.iter().all(|before| {
                let Some(now) = now.iter().find(|now| now.id == before.id) else {
                    return false;
                };
                let is_same_run = fingerprint::instances(before) == fingerprint::instances(now);
                let is_same_release = before.release.is_same(&now.release);
                // What did not run steadily before may be seen in any state now.
                let is_same_state =
                    before.state == now.state || before.state != ServiceState::Running;
                (is_same_run || is_same_release) && is_same_state
            });
        let changed =
            |step: &Step| has_effect(&step.work) && (step.undo.is_none() || undone.is_none());
        let was_changed = self
            .plan
            .steps
            .iter()
            .zip(&self.results[..self.executed])
            .any(|(step, result)| result.ok && changed(step));
        if is_same && undone.unwrap_or(true) && !was_changed && self.files_are_as_before().await {
            OutcomeKind::FailedUnchanged
        } else {
            OutcomeKind::FailedPartial
        }
    }

    /// Whether every file that the plan was made for is what it was.
    async fn files_are_as_before(&self) -> bool {
        for fingerprint in self.plan.fingerprints() {
            if let FingerprintSubject::File { .. } = fingerprint.subject
                && fingerprint::check(self.machine.ctx, fingerprint)
                    .await
                    .is_err()
            {
                return false;
            }
        }
        true
    }
}

/// Whether such a step can have changed anything.
fn has_effect(work: &StepWork) -> bool {
    !matches!(work, StepWork::Verify { .. } | StepWork::SaveLogs { .. })
}

/// The work as a command that can be typed.
pub(crate) fn describe(work: &StepWork) -> String {
    match work {
        StepWork::SaveLogs { service, .. } => format!("lastgood logs {service}"),
        StepWork::Command { argv, cwd, env } => {
            let mut line = String::new();
            if let Some(cwd) = cwd {
                line = format!("cd {} && ", shell_words::quote(&cwd.to_string_lossy()));
            }
            for (name, value) in env {
                line.push_str(&format!("{name}={} ", shell_words::quote(value)));
            }
            line + &shell_words::join(argv)
        }
        StepWork::TagImage { image, reference } => format!("docker tag {image} {reference}"),
        StepWork::WriteFile { path, source, .. } => shell_words::join([
            "cp".to_owned(),
            source.display().to_string(),
            path.display().to_string(),
        ]),
        StepWork::Container {
            container, action, ..
        } => format!("docker {} {container}", action.as_str()),
        StepWork::Verify { service, .. } => format!("lastgood health {service}"),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
