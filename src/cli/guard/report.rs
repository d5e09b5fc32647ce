//! What became of a deploy: the document that scripts read, and the exit code that follows from it.

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::talk;
use crate::domain::check::Check;
use crate::domain::checkpoint::Manifest;
use crate::domain::comparison::Comparison;
use crate::domain::outcome::{Outcome, OutcomeKind};
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::verdict::{Decision, Verdict};
use crate::ops::guard::Deployed;

/// What became of it, as scripts read it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) preflight: Option<Vec<Check>>,
    pub(super) checkpoint: Option<SavedAs>,
    pub(super) command: Option<Deployed>,
    pub(super) watch_ms: Option<u64>,
    pub(super) looks: usize,
    pub(super) ended_early: bool,
    pub(super) touched: Vec<ServiceId>,
    pub(super) verdict: Option<Verdict>,
    pub(super) services: Vec<ServiceVerdict>,
    pub(super) missing: Vec<SafeText>,
    pub(super) roll_backs: Vec<RolledBack>,
    /// What to type where something is left to be done.
    pub(super) next: Vec<String>,
    /// What went wrong, where there is no verdict.
    pub(super) error: Option<SafeText>,
}

#[derive(Debug, Serialize)]
pub(super) struct SavedAs {
    pub(super) id: String,
    pub(super) path: std::path::PathBuf,
    pub(super) complete: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct ServiceVerdict {
    pub(super) id: ServiceId,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Serialize)]
pub(super) struct RolledBack {
    pub(super) service: ServiceId,
    pub(super) outcome: Option<Outcome>,
    pub(super) error: Option<SafeText>,
}

impl Report {
    pub(super) fn take(&mut self, found: &Comparison) {
        self.verdict = Some(found.verdict.clone());
        self.missing = found.missing.clone();
        self.services = found
            .services
            .iter()
            .map(|service| ServiceVerdict {
                id: service.id.clone(),
                verdict: service.verdict.clone(),
            })
            .collect();
    }
}

/// How the program ends, and what the audit log says of it.
pub(super) type End = (Exit, OutcomeKind);

/// The exit code and the audit log's word for a deploy that was judged; `ended` is the signal that ended it meanwhile.
pub(super) fn end_of(
    ended: Option<Exit>,
    is_deployed: bool,
    verdict: &Verdict,
    report: &Report,
) -> End {
    let rolled_back = &report.roll_backs;
    let has_failed = rolled_back.iter().any(|one| match &one.outcome {
        Some(outcome) => Exit::from(outcome.outcome) == Exit::Failed,
        None => true,
    });
    let exit = match (rolled_back.is_empty(), has_failed, is_deployed) {
        (false, true, _) => Exit::Failed,
        (false, false, _) => Exit::No,
        (true, _, false) => Exit::Failed,
        (true, _, true) => Exit::from(verdict.decision),
    };
    let kind = match (
        rolled_back.is_empty(),
        has_failed,
        is_deployed,
        verdict.decision,
    ) {
        (true, _, true, Decision::Keep) => OutcomeKind::Verified,
        (true, _, true, _) => OutcomeKind::AppliedNotVerified,
        (false, false, ..) => OutcomeKind::FailedUnchanged,
        _ => OutcomeKind::FailedPartial,
    };
    (ended.unwrap_or(exit), kind)
}

/// Says what to type, on standard error and in the report.
pub(super) fn say_next(
    why: &str,
    manifest: &Manifest,
    services: Vec<ServiceId>,
    report: &mut Report,
) {
    talk(why);
    for service in services {
        let line = format!("lastgood roll-back {service} --to {}", manifest.id);
        talk(format_args!("next: {line}"));
        report.next.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::service::Release;
    use crate::domain::verdict::Confidence;

    fn report(outcomes: &[OutcomeKind]) -> Report {
        let rolled = |kind: &OutcomeKind| RolledBack {
            service: ServiceId::local("shop", "backend"),
            outcome: Some(Outcome {
                operation: "roll-back".into(),
                plan_hash: String::new(),
                outcome: *kind,
                steps: Vec::new(),
                manual: Vec::new(),
                release: Release::default(),
                duration_ms: 0,
                budget_ms: None,
            }),
            error: None,
        };
        Report {
            roll_backs: outcomes.iter().map(rolled).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn the_exit_code_is_the_verdicts() {
        let code = |decision, is_deployed, outcomes: &[OutcomeKind]| {
            let verdict = Verdict {
                decision,
                severity: None,
                confidence: Confidence::High,
                findings: Vec::new(),
            };
            end_of(None, is_deployed, &verdict, &report(outcomes))
                .0
                .code()
        };
        use Decision::{Inconclusive, Keep, RollBack, Watch};
        use OutcomeKind::{AppliedNotVerified, FailedPartial, Verified};
        assert_eq!(code(Keep, true, &[]), 0);
        assert_eq!(code(Watch, true, &[]), 3);
        assert_eq!(code(Inconclusive, true, &[]), 3);
        assert_eq!(code(RollBack, true, &[]), 1);
        assert_eq!(code(RollBack, true, &[Verified]), 1);
        assert_eq!(code(RollBack, true, &[AppliedNotVerified]), 1);
        assert_eq!(code(RollBack, true, &[Verified, FailedPartial]), 4);
        assert_eq!(code(Keep, false, &[]), 4, "the command failed");
        assert_eq!(
            code(RollBack, false, &[Verified]),
            1,
            "and it was rolled back"
        );
        let keep = Verdict {
            decision: Keep,
            severity: None,
            confidence: Confidence::High,
            findings: Vec::new(),
        };
        assert_eq!(
            end_of(Some(Exit::Hangup), true, &keep, &report(&[]))
                .0
                .code(),
            129
        );
    }
}
