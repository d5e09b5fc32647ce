//! What runs on a host, as each of its runtimes said when it was asked last.

use super::changed::Changed;
use super::{RuntimeError, docker, exec, file, pm2};
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, Unreachable};
use crate::domain::settings::ServiceSettings;
use crate::host::Host;

/// What was seen of a host.
#[derive(Debug, Default)]
pub struct Look {
    docker: Option<Result<docker::Look, RuntimeError>>,
    /// An engine was there once: where there is none now, it ended.
    had_engine: bool,
    exec: Vec<Service>,
    files: Vec<Service>,
    pm2: pm2::Look,
}

impl Look {
    /// Asks the runtimes of which something changed; of the others is kept what they said.
    pub async fn again(
        &mut self,
        host: &Host,
        configured: &[(ServiceId, ServiceSettings)],
        changed: &Changed,
    ) {
        let docker = async {
            match &mut self.docker {
                Some(Ok(look)) if !changed.engine && !changed.containers.is_empty() => {
                    if let Err(error) = look.again(host, &changed.containers).await {
                        self.docker = Some(Err(error));
                    }
                }
                _ if changed.engine || !changed.containers.is_empty() => {
                    self.docker = Some(docker::Look::at(host).await);
                }
                _ => {}
            }
        };
        let exec = async {
            if changed.exec {
                self.exec = exec::discover(host, configured).await;
            }
        };
        let files = async {
            if changed.files {
                self.files = file::discover(host, configured).await;
            }
        };
        let pm2 = async {
            if changed.pm2 {
                self.pm2.again(host, changed.daemons).await;
            }
        };
        tokio::join!(docker, exec, files, pm2);
        self.had_engine |= matches!(self.docker, Some(Ok(_)));
    }

    /// The PM2 daemons that were found.
    pub(super) fn daemons(&self) -> pm2::Daemons {
        self.pm2.daemons()
    }

    /// All of it. A host that never had an engine, and whose services are configured otherwise, or run by PM2, is not told
    /// of as unreachable.
    pub async fn inventory(
        &self,
        host: &Host,
        configured: &[(ServiceId, ServiceSettings)],
    ) -> Inventory {
        let others = [&self.exec, &self.files, &self.pm2.services];
        let mut inventory = Inventory {
            services: others.into_iter().flatten().cloned().collect(),
            unreachable: self.pm2.unreachable.clone(),
        };
        let own = || configured.iter().filter(|(id, _)| id.host == host.name());
        let has_other = !inventory.services.is_empty()
            || !inventory.unreachable.is_empty()
            || own().next().is_some();
        let needs_no_engine =
            has_other && !self.had_engine && !own().any(|(id, settings)| is_engines(id, settings));
        let lost = self.pm2.lost.as_ref();
        let is_engine_away = matches!(&self.docker, Some(Err(error)) if !error.is_absent());
        // Nobody answered there: it is the machine, and that is told once.
        let machine = lost.filter(|lost| lost.is_whole_host && is_engine_away);
        match (&self.docker, machine) {
            (_, Some(machine)) => inventory.unreachable.push(Unreachable {
                runtime: Runtime::Docker,
                ..machine.clone()
            }),
            (Some(Ok(look)), None) => {
                let (services, unreachable) = look.services(host).await;
                inventory.services.extend(services);
                inventory.unreachable.extend(unreachable);
            }
            (Some(Err(error)), None) if error.is_absent() && needs_no_engine => {}
            (Some(Err(error)), None) => inventory
                .unreachable
                .push(error.to_unreachable(host, Runtime::Docker)),
            (None, None) => {}
        }
        if machine.is_none() {
            // What the engine said was said before the link was lost.
            inventory.unreachable.extend(lost.map(|lost| Unreachable {
                is_whole_host: false,
                ..lost.clone()
            }));
        }
        inventory.services.sort_by(|a, b| a.id.cmp(&b.id));
        inventory
    }
}

/// Whether nothing but an engine can run what is configured so.
fn is_engines(id: &ServiceId, settings: &ServiceSettings) -> bool {
    let group = id.group.split('@').next().unwrap_or_default();
    settings.exec.is_none() && !["pm2", "exec", file::GROUP].contains(&group)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of a machine that is away, and whether it is the machine.
    async fn lost(docker: Option<Result<docker::Look, RuntimeError>>) -> Vec<(Runtime, bool)> {
        let host = Host::away();
        let mut look = Look {
            docker,
            ..Look::default()
        };
        look.pm2.again(&host, true).await;
        let inventory = look.inventory(&host, &[]).await;
        let told = inventory.unreachable.iter();
        told.map(|away| (away.runtime, away.is_whole_host))
            .collect()
    }

    #[tokio::test]
    async fn a_machine_that_went_away_behind_the_engines_answer_is_told_of() {
        let pm2 = [(Runtime::Pm2, false)];
        assert_eq!(lost(Some(Ok(docker::Look::default()))).await, pm2);
        // PM2 alone was asked for.
        assert_eq!(lost(None).await, pm2);
        let away = |is_absent| RuntimeError::Unreachable {
            error: "lost".into(),
            fix: "look".into(),
            is_absent,
        };
        let docker = lost(Some(Err(away(false)))).await;
        assert_eq!(docker, [(Runtime::Docker, true)], "once, as the machine");
        // It said that it has no engine, and went away then.
        let docker = lost(Some(Err(away(true)))).await;
        assert_eq!(docker, [(Runtime::Docker, false), (Runtime::Pm2, false)]);
    }

    #[tokio::test]
    async fn an_engine_that_ended_is_not_one_that_never_was() {
        let told = async |had_engine, service: &str| {
            let look = Look {
                docker: Some(Err(RuntimeError::Unreachable {
                    error: "no Docker socket".into(),
                    fix: "start it".into(),
                    is_absent: true,
                })),
                had_engine,
                ..Look::default()
            };
            let id = ServiceId::parse(service).unwrap();
            let configured = [(id, ServiceSettings::default())];
            let inventory = look.inventory(&Host::Local, &configured).await;
            !inventory.unreachable.is_empty()
        };
        assert!(!told(false, "pm2@anna/api").await);
        assert!(!told(false, "exec/bot").await);
        assert!(told(false, "shop/backend").await, "who else runs it?");
        assert!(told(true, "pm2/api").await);
    }
}
