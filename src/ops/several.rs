//! One wish for services of several machines, or several rollbacks: a plan each, carried out in the order they were named.
//!
//! All plans are made before anything is done, and are confirmed together. One after the other is begun, and the first that
//! does not prove itself ends it: a release that is bad on the first machine is not brought to the second. Each plan has its
//! own lease, journal and audit record, on its own machine.

use serde::Serialize;

use super::{Confirmation, Context, OpsError, plan};
use crate::domain::digest;
use crate::domain::host::HostName;
use crate::domain::operation::{Operation, Plan, Risk};
use crate::domain::outcome::{Outcome, OutcomeKind, StepResult};
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Release, ServiceId};

/// The plans, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// One for each machine, or for each service that is rolled back.
    pub plans: Vec<Plan>,
}

/// How a plan of several ended.
#[derive(Debug)]
pub enum PartEnd {
    /// It was begun.
    Ended(Outcome),
    /// It was refused before its first step.
    Refused(OpsError),
}

/// How one plan of several ended, as scripts read it.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// The machine.
    pub host: HostName,
    /// The services.
    pub services: Vec<ServiceId>,
    /// How it ended; `None` where it was refused before its first step.
    pub outcome: Option<OutcomeKind>,
}

/// What became of all of them.
#[derive(Debug, Clone, Serialize)]
pub struct Whole {
    /// As that of one plan.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Those that were begun, or refused.
    pub parts: Vec<Part>,
    /// The services of those that were not.
    pub not_begun: Vec<ServiceId>,
}

/// An operation for each machine that its services are on, in the order in which these are named first.
pub fn by_host(operation: &Operation) -> Vec<Operation> {
    let services = match operation {
        Operation::Restart { services, .. }
        | Operation::Stop { services }
        | Operation::Start { services } => services,
        _ => return vec![operation.clone()],
    };
    let mut groups: Vec<Vec<ServiceId>> = Vec::new();
    for id in services {
        match groups.iter_mut().find(|group| group[0].host == id.host) {
            Some(group) => group.push(id.clone()),
            None => groups.push(vec![id.clone()]),
        }
    }
    let of = |services: Vec<ServiceId>| {
        let mut one = operation.clone();
        if let Operation::Restart { services: own, .. }
        | Operation::Stop { services: own }
        | Operation::Start { services: own } = &mut one
        {
            *own = services;
        }
        one
    };
    groups.into_iter().map(of).collect()
}

impl Order {
    /// Plans every operation. Nothing is changed.
    ///
    /// # Errors
    /// That of the first that cannot be planned: then none is begun.
    pub async fn plan(ctx: &Context, operations: &[Operation]) -> Result<Self, OpsError> {
        let mut plans = Vec::new();
        for operation in operations {
            plans.push(Box::pin(plan(ctx, operation)).await?);
        }
        Ok(Self { plans })
    }

    /// Binds the confirmation to all of them in this order.
    pub fn hash(&self) -> String {
        let hashes: Vec<&str> = self.plans.iter().map(|plan| plan.hash.as_str()).collect();
        digest::sha256(hashes.join("\n").as_bytes())
    }

    /// The highest of their risks.
    pub fn risk(&self) -> Risk {
        let risks = self.plans.iter().map(|plan| plan.risk);
        risks.max().unwrap_or(Risk::ReadOnly)
    }

    /// Every service, in the order in which something is done to them.
    pub fn services(&self) -> Vec<ServiceId> {
        let all = self.plans.iter().flat_map(|plan| plan.services.iter());
        all.cloned().collect()
    }

    /// The names that must be typed to have all of it done: those that its plans ask for, each of them once.
    pub fn names_to_type(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for id in self.plans.iter().filter_map(Plan::confirmation) {
            if !names.contains(&id.name.as_str()) {
                names.push(&id.name);
            }
        }
        names
    }

    /// The yes to each of them, out of the names that were typed, with commas between. `None` where one lacks its name: that is
    /// known before the first is begun.
    pub fn confirmations(&self, typed: &str) -> Option<Vec<Confirmation>> {
        let typed: Vec<&str> = typed.split(',').map(str::trim).collect();
        let all = self.plans.iter().map(|plan| {
            let named = match plan.confirmation() {
                Some(id) => Some(*typed.iter().find(|text| is_name(id, text))?),
                None => None,
            };
            Some(Confirmation {
                plan_hash: plan.hash.clone(),
                typed: named.map(str::to_owned),
            })
        });
        all.collect()
    }

    /// What became of all of them, by the ends of those that were begun. `None` where nothing was.
    pub fn conclude(&self, ends: &[PartEnd]) -> Option<Whole> {
        let mut whole = Whole {
            outcome: Outcome {
                operation: self.plans.first()?.operation.verb().to_owned(),
                plan_hash: self.hash(),
                outcome: OutcomeKind::Verified,
                steps: Vec::new(),
                manual: Vec::new(),
                release: Release::default(),
                duration_ms: 0,
                budget_ms: Some(self.plans.iter().map(|plan| plan.budget_ms).sum()),
            },
            parts: Vec::new(),
            not_begun: Vec::new(),
        };
        let mut is_any_changed = false;
        for (plan, end) in self.plans.iter().zip(ends) {
            let outcome = match end {
                PartEnd::Ended(part) => {
                    let steps = part.steps.iter().map(|step| StepResult {
                        text: SafeText::from_text(&format!("{}: {}", plan.host, step.text)),
                        ..step.clone()
                    });
                    whole.outcome.steps.extend(steps);
                    whole.outcome.manual.extend(part.manual.iter().cloned());
                    whole.outcome.release = part.release.clone();
                    whole.outcome.duration_ms += part.duration_ms;
                    Some(part.outcome)
                }
                PartEnd::Refused(error) => {
                    whole.outcome.steps.push(StepResult {
                        text: SafeText::from_text(&format!("{}: begin", plan.host)),
                        ok: false,
                        ms: 0,
                        detail: error.to_safe_text(),
                    });
                    None
                }
            };
            let kind = outcome.unwrap_or(OutcomeKind::FailedUnchanged);
            whole.outcome.outcome = match kind {
                // Of all of them something was changed.
                OutcomeKind::FailedUnchanged if is_any_changed => OutcomeKind::FailedPartial,
                kind => kind,
            };
            is_any_changed |= kind != OutcomeKind::FailedUnchanged;
            whole.parts.push(Part {
                host: plan.host.clone(),
                services: plan.services.clone(),
                outcome,
            });
        }
        let rest = self.plans.get(ends.len()..).unwrap_or_default();
        whole.not_begun = rest.iter().flat_map(|p| p.services.clone()).collect();
        if !whole.not_begun.is_empty() && whole.outcome.outcome == OutcomeKind::Verified {
            // Somebody ended it between two of them.
            whole.outcome.outcome = OutcomeKind::FailedPartial;
        }
        Some(whole)
    }
}

fn is_name(id: &ServiceId, text: &str) -> bool {
    text == id.name || text == id.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operation::tests::plan;
    use crate::ops::ErrorKind;

    fn id(host: &str, name: &str) -> ServiceId {
        ServiceId {
            host: HostName::parse(host).unwrap(),
            ..ServiceId::local("shop", name)
        }
    }

    fn ended(outcome: OutcomeKind) -> PartEnd {
        PartEnd::Ended(Outcome {
            operation: "restart".into(),
            plan_hash: String::new(),
            outcome,
            steps: vec![StepResult {
                text: SafeText::from_text("docker restart web"),
                ok: outcome == OutcomeKind::Verified,
                ms: 5,
                detail: SafeText::from_text("seen"),
            }],
            manual: Vec::new(),
            release: Release::default(),
            duration_ms: 100,
            budget_ms: None,
        })
    }

    fn order() -> Order {
        let of = |host: &str| {
            let mut plan = plan();
            plan.host = HostName::parse(host).unwrap();
            plan.services = vec![id(host, "web")];
            plan.seal()
        };
        Order {
            plans: vec![of("prod-1"), of("prod-2"), of("prod-3")],
        }
    }

    #[test]
    fn machines_come_in_the_order_in_which_they_are_named() {
        let operation = Operation::Stop {
            services: vec![id("prod-2", "a"), id("prod-1", "a"), id("prod-2", "b")],
        };
        let services = |operation: &Operation| match operation {
            Operation::Stop { services } => services.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        let split = by_host(&operation);
        assert_eq!(services(&split[0]), ["prod-2:shop/a", "prod-2:shop/b"]);
        assert_eq!(services(&split[1]), ["prod-1:shop/a"]);
        assert_eq!(split.len(), 2);
    }

    #[test]
    fn each_of_them_needs_its_name() {
        let mut order = order();
        let of_all = |order: &mut Order, risk| order.plans.iter_mut().for_each(|p| p.risk = risk);
        of_all(&mut order, Risk::Destructive);
        order.plans[2].services = vec![id("prod-3", "api")];
        assert_eq!(order.names_to_type(), ["web", "api"]);
        assert_eq!(order.confirmations("web"), None);
        assert_eq!(order.confirmations("web, ap"), None);
        for typed in ["web,api", "api , web", "web,prod-3:shop/api"] {
            let all = order.confirmations(typed).unwrap();
            assert_eq!(all.len(), 3, "{typed}");
            assert_eq!(all[1].typed.as_deref(), Some("web"));
            assert_eq!(all[2].plan_hash, order.plans[2].hash);
        }
        order
            .plans
            .iter_mut()
            .for_each(|p| p.risk = Risk::Disruptive);
        assert!(order.names_to_type().is_empty());
        let all = order.confirmations("").unwrap();
        assert!(all.iter().all(|one| one.typed.is_none()));
    }

    #[test]
    fn what_was_not_begun_is_told() {
        let order = order();
        let good = || ended(OutcomeKind::Verified);
        let all = order.conclude(&[good(), good(), good()]).unwrap();
        assert_eq!(all.outcome.outcome, OutcomeKind::Verified);
        assert!(all.not_begun.is_empty());
        assert_eq!(all.outcome.duration_ms, 300);
        assert!(all.outcome.steps[1].text.as_str().starts_with("prod-2: "));
        let bad = ended(OutcomeKind::AppliedNotVerified);
        let stopped = order.conclude(&[good(), bad]).unwrap();
        assert_eq!(stopped.outcome.outcome, OutcomeKind::AppliedNotVerified);
        assert_eq!(stopped.not_begun, [id("prod-3", "web")]);
        // Refused as the second, the whole is half done; as the first, nothing is.
        let refused = || PartEnd::Refused(OpsError::new(ErrorKind::Refused, "held by boris"));
        let half = order.conclude(&[good(), refused()]).unwrap();
        assert_eq!(half.outcome.outcome, OutcomeKind::FailedPartial);
        assert_eq!(half.parts[1].outcome, None);
        let none = order.conclude(&[refused()]).unwrap();
        assert_eq!(none.outcome.outcome, OutcomeKind::FailedUnchanged);
        assert_eq!(none.not_begun.len(), 2);
        let cut = order.conclude(&[good()]).unwrap();
        assert_eq!(cut.outcome.outcome, OutcomeKind::FailedPartial);
    }
}
