//! What is seen of a plan's services before, between and after its steps.

use super::fingerprint;
use super::verify::identity;
use crate::domain::operation::Plan;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, ServiceState, Unreachable};
use crate::ops::Context;
use crate::ops::services::discover_these;

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
    let inventory = discover_these(ctx, &plan.host, &plan.services).await;
    let mut found = Vec::new();
    for id in &plan.services {
        match inventory.find(id) {
            Some(service) => found.push(service.clone()),
            None if hidden_by(&inventory, id, before).is_some() => return None,
            None => {}
        }
    }
    Some(found)
}

/// What could not be read, where a service that was not found may be there all the same. `before` says which runtime it
/// has; without, anything that is away on its machine hides it.
pub(super) fn hidden_by<'a>(
    inventory: &'a Inventory,
    id: &ServiceId,
    before: Option<&Vec<Service>>,
) -> Option<&'a Unreachable> {
    let known = before.and_then(|all| all.iter().find(|s| s.id == *id));
    inventory.unreachable.iter().find(|away| match known {
        Some(known) => away.hides(&id.host, known.runtime),
        None => away.host == id.host,
    })
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
    use crate::domain::host::HostName;
    use crate::domain::safe_text::SafeText;
    use crate::domain::service::Instance;

    #[test]
    fn what_may_still_be_there_is_hidden_and_what_answered_is_not() {
        let compose = ServiceId::local("shop", "backend");
        let app = ServiceId::local("pm2", "api");
        let running =
            |id: &ServiceId, runtime| Service::new(id.clone(), runtime, ServiceState::Running);
        let before = vec![
            running(&compose, Runtime::Compose),
            running(&app, Runtime::Pm2),
        ];
        let hidden = |id: &ServiceId, runtime, is_whole_host| {
            let inventory = Inventory {
                services: Vec::new(),
                unreachable: vec![Unreachable {
                    host: HostName::local(),
                    runtime,
                    is_whole_host,
                    error: "no answer".into(),
                    fix: "".into(),
                }],
            };
            let is = |before| hidden_by(&inventory, id, before).is_some();
            assert!(is(None), "nobody says what it was");
            is(Some(&before))
        };
        assert!(hidden(&compose, Runtime::Docker, false), "its engine died");
        assert!(!hidden(&compose, Runtime::Pm2, false));
        assert!(hidden(&app, Runtime::Pm2, false));
        assert!(!hidden(&app, Runtime::Docker, false));
        assert!(hidden(&app, Runtime::Docker, true), "the machine is away");
    }

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
