//! The steps for an application under PM2: `pm2` commands for its instances, by their numbers.
//!
//! By name PM2 would take a namespace, a regular expression, `all`, or another application whose number that is. Of
//! several numbers `reload` takes the first and says nothing of the others: each instance has a step of its own.

use crate::domain::operation::{ContainerAction, Step, StepWork};
use crate::domain::pm2::Pm2App;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Service, ServiceState};
use crate::ops::operation::describe;
use crate::ops::restart::is_as_planned;
use crate::ops::services::failed;
use crate::ops::{ErrorKind, OpsError};
use crate::runtime::pm2::{self, Tool};

/// Node.js starts, talks to the daemon, waits for the processes: a second each on an idle machine.
const COMMAND_MS: u64 = 30_000;
const INSTANCE_MS: u64 = 10_000;
/// An application that just runs may be in a loop that PM2 masks; after this time it would have been seen.
const STABLE_MS: u64 = 30_000;
/// Nobody waits longer for a proof: it is the budget of a service.
const LONGEST_STABLE_MS: u64 = 120_000;

/// The tool for an application.
///
/// # Errors
/// Its daemon is another user's, or there is no `pm2`.
pub(crate) fn tool(service: &Service, app: &Pm2App) -> Result<Tool, OpsError> {
    pm2::tool(service, app)
        .map_err(|error| failed(format!("{} cannot be changed", service.id), error))
}

/// How PM2 runs a service.
///
/// # Errors
/// It does not.
pub(crate) fn app(service: &Service) -> Result<Pm2App, OpsError> {
    pm2::app(service).ok_or_else(|| {
        OpsError::new(
            ErrorKind::Failed,
            format!("it is not known how PM2 runs {}", service.id),
        )
    })
}

/// How long an application must run without a restart, in milliseconds: until PM2 itself takes it for stable.
pub(crate) fn stable_ms(app: &Pm2App) -> u64 {
    app.min_uptime_ms().clamp(STABLE_MS, LONGEST_STABLE_MS)
}

/// How long a command for all its instances may take, in milliseconds.
pub(crate) fn limit_ms(app: &Pm2App) -> u64 {
    let instances = u64::try_from(app.ids.len()).unwrap_or(1);
    COMMAND_MS + instances * (INSTANCE_MS + app.kill_timeout_ms)
}

/// The commands, and none where there is nothing to start.
///
/// # Errors
/// No tool for this daemon, or PM2 says no number to call it by.
pub(super) fn steps(
    service: &Service,
    action: ContainerAction,
    reload: bool,
) -> Result<Vec<Step>, OpsError> {
    let app = app(service)?;
    let verb = match action {
        ContainerAction::Restart if reload => "reload",
        action => action.as_str(),
    };
    let ids = ids_to(&app, service, action);
    if app.ids.is_empty() {
        return Err(OpsError::new(
            ErrorKind::No,
            format!("PM2 has no instance of {} to {verb}", service.id),
        ));
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let tool = tool(service, &app)?;
    let each: Vec<&[u32]> = match reload {
        true => ids.chunks(1).collect(),
        false => vec![&ids],
    };
    let mut steps: Vec<Step> = each
        .into_iter()
        .map(|ids| command(&app, &tool, verb, ids))
        .collect();
    // The numbers stay what they are.
    if let Some(first) = steps.first_mut() {
        first.fingerprints = vec![is_as_planned(service)];
    }
    Ok(steps)
}

/// The instances to name: `pm2 start` restarts what runs.
fn ids_to(app: &Pm2App, service: &Service, action: ContainerAction) -> Vec<u32> {
    let is_known = app.ids.len() == service.instances.len();
    let runs = |at: usize| {
        let instance = service.instances.get(at);
        is_known && instance.is_some_and(|i| i.state == ServiceState::Running)
    };
    app.ids
        .iter()
        .enumerate()
        .filter(|(at, _)| action != ContainerAction::Start || !runs(*at))
        .map(|(_, id)| *id)
        .collect()
}

/// A `pm2` command for instances of an application, in a clean environment: `restart` and `reload` keep the one that
/// PM2 has, and nothing of ours gets into it.
pub(crate) fn command(app: &Pm2App, tool: &Tool, verb: &str, ids: &[u32]) -> Step {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut argv = vec![tool.program.clone(), verb.to_owned()];
    argv.extend(ids.iter().cloned());
    let work = StepWork::Command {
        argv,
        cwd: None,
        env: tool.variables.clone(),
    };
    let text = format!("pm2 {verb} {}  ({})", ids.join(" "), app.name);
    Step {
        text: SafeText::from_text(&text),
        manual: Some(SafeText::from_text(&describe(&work))),
        work,
        undo: None,
        fingerprints: Vec::new(),
        timeout_ms: limit_ms(app),
        may_fail: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pm2::Pm2Run;
    use crate::domain::pm2::tests::{app, run};

    #[test]
    fn it_has_to_run_until_pm2_takes_it_for_stable() {
        let stable = |min_uptime_ms| {
            let run = Pm2Run {
                min_uptime_ms,
                ..run("/a.js", 3)
            };
            stable_ms(&app([run]))
        };
        assert_eq!(stable(1000), 30_000);
        assert_eq!(stable(60_000), 60_000);
        assert_eq!(stable(3_600_000), 120_000);
    }

    #[test]
    fn every_instance_gets_its_time_to_end() {
        let mut cluster = app([run("/a.js", 3)]);
        cluster.ids = vec![0, 1];
        cluster.kill_timeout_ms = 60_000;
        assert_eq!(limit_ms(&cluster), 170_000);
    }

    #[test]
    fn instances_are_named_by_their_numbers() {
        let tool = Tool {
            program: "pm2".into(),
            variables: [("PM2_HOME".to_owned(), "/root/.pm2".to_owned())].into(),
        };
        let step = command(&app([run("/a.js", 3)]), &tool, "restart", &[0, 4]);
        assert_eq!(step.text.as_str(), "pm2 restart 0 4  (api)");
        assert_eq!(
            step.manual.unwrap().as_str(),
            "PM2_HOME=/root/.pm2 pm2 restart 0 4"
        );
    }
}
