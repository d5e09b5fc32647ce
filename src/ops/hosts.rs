//! The machines of a run: this one, those of the configuration, and those named with `--host`.

use std::sync::Arc;

use super::{Context, ErrorKind, OpsError};
use crate::domain::host::HostName;
use crate::domain::operation::{Plan, Risk};
use crate::domain::safe_text::SafeText;
use crate::host::Host;
use crate::host::ssh::Session;
use crate::store::config::Config;

/// Opens nothing yet: a machine is connected to when it is first asked something.
///
/// # Errors
/// A name that an ssh client could take for an option or a command.
pub(super) fn open(config: &Config, asked: &[String]) -> Result<Vec<Host>, OpsError> {
    let mut hosts = vec![Host::Local];
    for name in config.hosts.keys().chain(asked) {
        let name = HostName::parse(name).map_err(|error| {
            OpsError::new(ErrorKind::Usage, error.to_string())
                .fix("name it as ssh does: user@host[:port], or by an alias of ~/.ssh/config")
        })?;
        if hosts.iter().any(|host| host.name() == name) {
            continue;
        }
        let destination = match config.hosts.get(name.as_str()) {
            Some(configured) => configured.ssh.clone(),
            None => name.to_string(),
        };
        let rights = config.hosts.get(name.as_str());
        let rights = rights.map_or_else(Vec::new, |host| host.become_with.clone());
        let session = Session::new(name, destination, config.ssh_config.clone())
            .with_rights(rights)
            .with_compression(config.ssh_compression);
        hosts.push(Host::Ssh(Arc::new(session)));
    }
    Ok(hosts)
}

/// Whether the configuration lets anything be changed on a machine.
///
/// # Errors
/// [`ErrorKind::Refused`]: it is `read_only`.
pub(super) fn may_change(ctx: &Context, host: &HostName) -> Result<(), OpsError> {
    let configured = ctx.config.hosts.get(host.as_str());
    if !configured.is_some_and(|configured| configured.read_only) {
        return Ok(());
    }
    Err(OpsError::new(
        ErrorKind::Refused,
        format!("{host} is read-only: the configuration says so"),
    )
    .fix(format!("set read_only = false in [hosts.{host}]")))
}

/// What interrupts a service of a protected machine is confirmed as what replaces one elsewhere: by its name.
pub(super) fn protect(ctx: &Context, plan: Plan) -> Plan {
    let configured = ctx.config.hosts.get(plan.host.as_str());
    if plan.risk != Risk::Disruptive || !configured.is_some_and(|host| host.protected) {
        return plan;
    }
    let mut plan = Plan {
        risk: Risk::Destructive,
        ..plan
    };
    let note = format!("{} is protected: the plan needs the name", plan.host);
    plan.notes.push(SafeText::from_text(&note));
    plan.seal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::config::HostConfig;

    #[test]
    fn each_machine_stands_once_and_this_one_first() {
        let mut config = Config::default();
        let configured = HostConfig {
            ssh: "deploy@10.0.0.7".into(),
            ..HostConfig::default()
        };
        config.hosts.insert("prod-1".into(), configured);
        let asked = ["local", "prod-1", "root@b:2222"].map(str::to_owned);
        let hosts = open(&config, &asked).unwrap();
        let names: Vec<String> = hosts.iter().map(|h| h.name().to_string()).collect();
        assert_eq!(names, ["local", "prod-1", "root@b:2222"]);
        assert!(matches!(&hosts[1], Host::Ssh(s) if s.line() == "ssh deploy@10.0.0.7"));
        assert!(matches!(&hosts[2], Host::Ssh(s) if s.line() == "ssh -p 2222 root@b"));
    }
}
