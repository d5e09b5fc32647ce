//! An application that PM2 does not have any more, as a deploy that failed between `delete` and `start` leaves it.
//!
//! Nobody finds it among the services, but a checkpoint knows which daemon ran it and from what.

use crate::domain::operation::RollBackTarget;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId};
use crate::ops::{Context, OpsError};
use crate::runtime::pm2;

/// The one application that is meant, by the checkpoint that is to be gone back to, or by the newest that holds it.
/// `None` where it is not known to be gone: its daemon did not answer, it has another name now, no checkpoint holds it,
/// or several are meant.
///
/// # Errors
/// Unknown checkpoint, or the checkpoints cannot be listed.
pub(in crate::ops::roll_back) fn find(
    ctx: &Context,
    inventory: &Inventory,
    to: &RollBackTarget,
    is_meant: impl Fn(&ServiceId) -> bool,
) -> Result<Option<Service>, OpsError> {
    let checkpoints = match to {
        RollBackTarget::Checkpoint(id) => vec![crate::ops::checkpoint::find(ctx, id)?],
        RollBackTarget::LastGood => crate::ops::checkpoint::list(ctx)?,
        RollBackTarget::Image(_) => return Ok(None),
    };
    let mut found: Option<Service> = None;
    let manifests = checkpoints.iter().filter_map(|c| c.manifest.as_ref().ok());
    for saved in manifests.flat_map(|manifest| &manifest.services) {
        let Some(saved_app) = saved.pm2.as_ref().filter(|_| is_meant(&saved.id)) else {
            continue;
        };
        match &found {
            Some(first) if first.id != saved.id => return Ok(None),
            Some(_) => {}
            None => found = Some(pm2::absent(saved.id.clone(), &saved_app.app)),
        }
    }
    Ok(found.filter(|service| is_gone(inventory, service)))
}

fn is_gone(inventory: &Inventory, service: &Service) -> bool {
    let is_hidden = inventory
        .unreachable
        .iter()
        .any(|away| away.hides(&service.id.host, Runtime::Pm2));
    let own = pm2::app(service).map(|app| (app.home, app.name));
    let on_its_host = |other: &&Service| other.id.host == service.id.host;
    let is_there = inventory.services.iter().filter(on_its_host).any(|other| {
        let other = pm2::app(other).map(|app| (app.home, app.name));
        other.is_some() && other == own
    });
    !is_hidden && !is_there
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::domain::host::HostName;
    use crate::domain::service::{ServiceState, Unreachable};

    #[test]
    fn an_application_of_a_machine_that_does_not_answer_is_not_gone() {
        let id = ServiceId::parse("far:pm2/api").unwrap();
        let service = Service::new(id, Runtime::Pm2, ServiceState::Stopped);
        let is_gone_while = |runtime, host: &str, is_whole_host| {
            let away = Unreachable {
                host: HostName::parse(host).unwrap(),
                runtime,
                is_whole_host,
                error: "no answer".into(),
                fix: "".into(),
            };
            let inventory = Inventory {
                services: Vec::new(),
                unreachable: vec![away],
            };
            is_gone(&inventory, &service)
        };
        assert!(!is_gone_while(Runtime::Docker, "far", true));
        assert!(!is_gone_while(Runtime::Pm2, "far", false));
        assert!(is_gone_while(Runtime::Docker, "far", false), "PM2 answered");
        assert!(is_gone_while(Runtime::Docker, "near", true));
    }
}
