//! What is seen of a plan's services before, between and after its steps.

use super::fingerprint;
use super::verify::identity;
use crate::domain::operation::Plan;
use crate::domain::service::{Runtime, Service, ServiceId, ServiceState};
use crate::ops::Context;
use crate::ops::services::{discover_on, discover_one};

/// The services of the plan as they are, without those that are gone; `None` where they cannot be looked at. What runs
/// under one supervisor (`before` says which) is not hidden by another that is away.
pub(super) async fn look(
    ctx: &Context,
    plan: &Plan,
    before: Option<&Vec<Service>>,
) -> Option<Vec<Service>> {
    if plan.services.is_empty() || plan.operation.is_of_proxy() || plan.operation.is_of_data() {
        return Some(Vec::new());
    }
    let inventory = match plan.services.as_slice() {
        [only] => discover_one(ctx, only).await,
        _ => discover_on(ctx, &plan.host).await,
    };
    let is_hidden = |id: &ServiceId| {
        let known = before.and_then(|all| all.iter().find(|s| s.id == *id));
        inventory.unreachable.iter().any(|away| {
            away.host == id.host && known.is_none_or(|known| known.runtime == away.runtime)
        })
    };
    let mut found = Vec::new();
    for id in &plan.services {
        match inventory.find(id) {
            Some(service) => found.push(service.clone()),
            None if is_hidden(id) => return None,
            None => {}
        }
    }
    Some(found)
}

/// Whether what runs is new and is the wanted release. A container that was made and could not be started is not:
/// then the service is down, and what ran before is better than nothing.
pub(super) fn is_in_place(was: Option<&Service>, now: &Service, wanted: &str) -> bool {
    if now.runtime == Runtime::Pm2 {
        let processes = |service: &Service| -> Vec<String> {
            service.instances.iter().map(|i| i.id.clone()).collect()
        };
        return now.state == ServiceState::Running
            && was.is_none_or(|was| processes(was) != processes(now))
            && identity(now).as_deref() == Some(wanted);
    }
    let is_new = was.is_some_and(|was| fingerprint::instances(was) != fingerprint::instances(now));
    is_new
        && !now.instances.is_empty()
        && now
            .instances
            .iter()
            .all(|i| i.image_id.as_deref() == Some(wanted) && i.started_at.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::safe_text::SafeText;
    use crate::domain::service::Instance;

    #[test]
    fn a_container_that_could_not_be_started_is_not_in_place() {
        let service = |image: &str, id: &str, started: Option<&str>| -> Service {
            let instance = Instance {
                id: id.to_owned(),
                name: SafeText::from_text(id),
                state: ServiceState::Running,
                health: None,
                image_id: Some(image.to_owned()),
                created_at: None,
                started_at: started.map(|at| at.parse().unwrap()),
                restarts: 0,
                exit_code: None,
            };
            Service {
                instances: vec![instance],
                ..Service::new(
                    ServiceId::local("shop", "backend"),
                    Runtime::Compose,
                    ServiceState::Running,
                )
            }
        };
        let at = Some("2025-12-27T14:50:00Z");
        let was = service("bad", "a", at);
        assert!(is_in_place(Some(&was), &service("good", "b", at), "good"));
        assert!(!is_in_place(
            Some(&was),
            &service("good", "b", None),
            "good"
        ));
        assert!(!is_in_place(Some(&was), &service("bad", "b", at), "good"));
        assert!(!is_in_place(Some(&was), &was, "bad"), "nothing happened");
    }
}
