//! What runs on a host, as each of its runtimes said when it was asked last.

use super::changed::Changed;
use super::{RuntimeError, docker, exec, file, pm2};
use crate::domain::service::{Inventory, Runtime, Service, ServiceId};
use crate::domain::settings::ServiceSettings;
use crate::host::Host;

/// What was seen of a host.
#[derive(Debug, Default)]
pub struct Look {
    docker: Option<Result<docker::Look, RuntimeError>>,
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
    }

    /// The PM2 daemons that were found.
    pub(super) fn daemons(&self) -> pm2::Daemons {
        self.pm2.daemons()
    }

    /// All of it. A host without Docker whose services are configured otherwise, or run by PM2, is not told of as
    /// unreachable.
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
        let has_other = !inventory.services.is_empty()
            || !inventory.unreachable.is_empty()
            || configured.iter().any(|(id, _)| id.host == host.name());
        match &self.docker {
            Some(Ok(look)) => {
                let (services, unreachable) = look.services(host).await;
                inventory.services.extend(services);
                inventory.unreachable.extend(unreachable);
            }
            Some(Err(error)) if error.is_absent() && has_other => {}
            Some(Err(error)) => inventory
                .unreachable
                .push(error.to_unreachable(host, Runtime::Docker)),
            None => {}
        }
        // Where the engine could not be asked either, the machine is told of already.
        if !matches!(&self.docker, Some(Err(error)) if !error.is_absent()) {
            inventory.unreachable.extend(self.pm2.lost.clone());
        }
        inventory.services.sort_by(|a, b| a.id.cmp(&b.id));
        inventory
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::host::HostName;
    use crate::host::ssh::Session;

    /// A machine at whose port nobody listens.
    fn away() -> Host {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let name = HostName::parse("far").unwrap();
        Host::Ssh(Arc::new(Session::new(
            name,
            format!("127.0.0.1:{port}"),
            None,
        )))
    }

    async fn lost(docker: Option<Result<docker::Look, RuntimeError>>) -> Vec<Runtime> {
        let host = away();
        let mut look = Look {
            docker,
            ..Look::default()
        };
        look.pm2.again(&host, true).await;
        let inventory = look.inventory(&host, &[]).await;
        let told = inventory.unreachable.iter();
        told.map(|away| away.runtime).collect()
    }

    #[tokio::test]
    async fn a_machine_that_went_away_behind_the_engines_answer_is_told_of() {
        assert_eq!(
            lost(Some(Ok(docker::Look::default()))).await,
            [Runtime::Pm2]
        );
        // PM2 alone was asked for.
        assert_eq!(lost(None).await, [Runtime::Pm2]);
        let away = RuntimeError::Unreachable {
            error: "lost".into(),
            fix: "look".into(),
            is_absent: false,
        };
        assert_eq!(lost(Some(Err(away))).await, [Runtime::Docker], "once");
    }
}
