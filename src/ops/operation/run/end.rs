//! How a run ends: what was proved, what is taken back, what is left to type by hand.

use std::time::{Duration, Instant};

use super::{End, Runner, UNDO_LIMIT, has_effect, is_proof, millis, way_back};
use crate::domain::operation::{FingerprintSubject, Operation, Step, StepWork};
use crate::domain::outcome::{OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceState};
use crate::ops::operation::seen::look;
use crate::ops::operation::{describe, fingerprint};
use crate::store::journal::JournalEvent;

impl Runner<'_> {
    pub(super) async fn conclude(
        &mut self,
        end: End,
        before: Option<&Vec<Service>>,
    ) -> OutcomeKind {
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
                let kind = if self.is_unproved && self.proof().is_none_or(|at| !self.is_verify(at))
                {
                    OutcomeKind::Unknown
                } else if self.is_proved() && !self.is_unproved {
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
            End::Interrupted(at) | End::LeaseLost(at) => {
                let is_lost = matches!(end, End::LeaseLost(_));
                let why = match is_lost {
                    true => "the lease was broken: no further step was begun",
                    false => "interrupted: no further step was begun",
                };
                self.tell(why);
                let kind = match self.is_proof_only(at) {
                    true => OutcomeKind::AppliedNotVerified,
                    false => self.judge_failure(before, None).await,
                };
                // What is half done can be gone on with, unless it is somebody else's now.
                self.is_left_open = !is_lost && kind != OutcomeKind::FailedUnchanged;
                if self.is_left_open {
                    let run = self.machine.permit.run();
                    self.manual
                        .push(SafeText::from_text(&format!("lastgood resume {run}")));
                }
                self.add_manual(at);
                if self.is_left_open {
                    return kind;
                }
                (kind, why.to_owned())
            }
            End::TakeBack(at) => {
                let is_undone = self.undo(at).await;
                let kind = self.judge_failure(before, Some(is_undone)).await;
                (kind, "taken back by who took it up".to_owned())
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
            Some(
                StepWork::Verify { .. }
                | StepWork::Ask { .. }
                | StepWork::Judge { .. }
                | StepWork::Backup { .. }
                | StepWork::WriteFile { .. }
                | StepWork::RemoveCheckpoint { .. }
                | StepWork::BreakLease { .. },
            )
            | None => true,
            Some(_) => matches!(
                self.plan.operation,
                Operation::RunCommand { .. } | Operation::Fix { .. }
            ),
        }
    }

    fn is_verify(&self, index: usize) -> bool {
        is_proof(&self.plan.steps[index].work)
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

    /// Takes back what was done, in the order of [`way_back`]. Returns whether all of it went well.
    async fn undo(&mut self, failed: usize) -> bool {
        let plan = self.plan;
        let has_to = |index: &usize| match *index == failed {
            true => self.is_begun,
            false => self.results.get(*index).is_some_and(|result| result.ok),
        };
        let has_to = |index: &usize| has_to(index) && !self.skip.contains(index);
        let mut order: Vec<(usize, &StepWork)> = way_back(plan, failed)
            .into_iter()
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
        let mut has_failed = false;
        for (index, work) in order {
            let step = &plan.steps[index];
            if self.foreign.contains(&index) {
                self.manual.push(SafeText::from_text(&describe(work)));
                continue;
            }
            // What was done is taken back whoever has the lease now: half a change is nobody's wish.
            let _ = self.hold(index, step).await;
            let started = Instant::now();
            let limit = Duration::from_millis(step.timeout_ms).max(UNDO_LIMIT);
            let undone = self.machine.run(work, limit).await;
            let result = StepResult {
                text: SafeText::from_text(&format!("take back: {}", step.text)),
                ok: undone.is_ok(),
                ms: millis(started.elapsed()),
                detail: undone.unwrap_or_else(|error| error.to_safe_text()),
            };
            has_failed |= !result.ok;
            // From the first that failed on: what came after it built on it.
            if has_failed {
                self.manual.push(SafeText::from_text(&describe(work)));
            }
            self.note(JournalEvent::Undone {
                step: index,
                result: result.clone(),
            });
            self.tell(&format!("{}: {}", result.text, result.detail));
            self.results.push(result);
        }
        !has_failed && self.foreign.is_empty()
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

    /// Whether every file that the plan was made for is what it was, and the schema of a database where it was.
    async fn files_are_as_before(&self) -> bool {
        for fingerprint in self.plan.fingerprints() {
            if let FingerprintSubject::File { .. } | FingerprintSubject::Schema { .. } =
                fingerprint.subject
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
