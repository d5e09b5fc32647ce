//! What an engine runs, as it was looked at last, and looked at again: all of it, or the containers that changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::ContainerInspectResponse;

use super::connect::Engine;
use super::inspect::{containers, group, inspected};
use crate::domain::service::{Runtime, Service, Unreachable};
use crate::host::Host;
use crate::runtime::{RuntimeError, swarm};

/// What was seen of an engine.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Look {
    containers: BTreeMap<String, ContainerInspectResponse>,
    /// The services of the swarm that it manages; `None` where it manages none.
    swarm: Option<Vec<Service>>,
    unreachable: Option<Unreachable>,
}

impl Look {
    /// Every container of a host's engine, stopped ones too, over one connection.
    ///
    /// # Errors
    /// The engine is unreachable or refused; never an empty look instead.
    pub(in crate::runtime) async fn at(host: &Host) -> Result<Self, RuntimeError> {
        Engine::ask(host, |engine| async move {
            let engine = engine.over_one_connection();
            let found = engine.quick(containers(&engine, &HashMap::new())).await?;
            let mut look = Self::default();
            look.keep(found);
            look.look_at_swarm(host, engine).await?;
            Ok(look)
        })
        .await
    }

    /// Looks again at the containers that changed. What else there is was not touched since.
    ///
    /// # Errors
    /// As [`Look::at`]; what is known is then what was known before, in part.
    pub(in crate::runtime) async fn again(
        &mut self,
        host: &Host,
        ids: &BTreeSet<String>,
    ) -> Result<(), RuntimeError> {
        let ids: Vec<String> = ids.iter().cloned().collect();
        let ask = |engine: Engine| {
            let ids = &ids;
            async move {
                let engine = engine.over_one_connection();
                Ok((engine.quick(inspected(&engine, ids)).await?, engine))
            }
        };
        let (found, engine) = Engine::ask(host, ask).await?;
        for id in &ids {
            self.containers.remove(id);
        }
        self.keep(found);
        // A node that manages no swarm does not begin to because a container was started.
        if self.swarm.is_some() || self.unreachable.is_some() {
            self.look_at_swarm(host, engine).await?;
        }
        Ok(())
    }

    fn keep(&mut self, found: Vec<ContainerInspectResponse>) {
        for mut container in found {
            // Nobody asks a look for these, and they hold secrets.
            if let Some(config) = &mut container.config {
                config.env = None;
            }
            self.containers
                .insert(container.id.clone().unwrap_or_default(), container);
        }
    }

    async fn look_at_swarm(&mut self, host: &Host, engine: Engine) -> Result<(), RuntimeError> {
        (self.swarm, self.unreachable) = match Box::pin(swarm::look(host, engine)).await {
            Ok(swarm) => (swarm, None),
            Err(error) if error.is_unreachable() => return Err(error),
            Err(error) => (None, Some(error.to_unreachable(host, Runtime::Swarm))),
        };
        Ok(())
    }

    /// The services, and what of the engine could not be read. One-off containers (`compose run`) are left out.
    pub(in crate::runtime) async fn services(
        &self,
        host: &Host,
    ) -> (Vec<Service>, Option<Unreachable>) {
        let containers = self.containers.values();
        let mut services = group(&host.name(), containers, host.now().await);
        // A manager knows every node's tasks, this one's containers among them.
        if let Some(whole) = &self.swarm {
            services.retain(|service| service.runtime != Runtime::Swarm);
            services.extend(whole.iter().cloned());
        }
        (services, self.unreachable.clone())
    }
}
