//! What happened to an application between two looks at it: the seams of its log.

use super::super::list::{Process, Status};
use super::super::service::{instance_name, release};
use crate::domain::log::LogNoteKind;

/// Names what changed from one look to the next, in the order of the instances. A process that was replaced several
/// times in between is told once, with both counts.
pub(super) fn changes(
    name: &str,
    before: &[Process],
    after: &[Process],
) -> Vec<(LogNoteKind, String)> {
    let mut told = Vec::new();
    for now in after {
        let who = instance_name(name, now);
        let was = before.iter().find(|p| p.pm_id() == now.pm_id());
        let Some(was) = was else {
            // An application that was deleted and started again is another entry of PM2's list.
            let kind = match before.first() {
                Some(last) if !release(last).is_same(&release(now)) => LogNoteKind::Recreated,
                _ => LogNoteKind::Restarted,
            };
            told.push((kind, format!("{who} was started")));
            continue;
        };
        if was.started_ms() != now.started_ms() {
            told.push(restarted(&who, was, now));
        }
        if !runs(now) && (runs(was) || was.started_ms() != now.started_ms()) {
            told.push((LogNoteKind::Ended, format!("{who} {}", end(now))));
        }
    }
    for was in before {
        if !after.iter().any(|p| p.pm_id() == was.pm_id()) {
            let who = instance_name(name, was);
            told.push((LogNoteKind::Ended, format!("{who} was deleted from PM2")));
        }
    }
    told
}

fn restarted(who: &str, was: &Process, now: &Process) -> (LogNoteKind, String) {
    let (old, new) = (release(was), release(now));
    if !old.is_same(&new) {
        return (LogNoteKind::Recreated, format!("{who}: {old} → {new}"));
    }
    let code = match now.exit_code() {
        Some(code) if code != 0 => format!("exit code {code}, "),
        _ => String::new(),
    };
    let text = format!("{who} was restarted ({code}restart {})", now.restarts());
    (LogNoteKind::Restarted, text)
}

fn runs(process: &Process) -> bool {
    matches!(process.status(), Status::Online | Status::Launching)
}

fn end(process: &Process) -> String {
    let what = match process.status() {
        Status::Waiting => "ended and waits for a restart",
        Status::Errored | Status::Dead => "ended and PM2 gave up",
        _ => "was stopped",
    };
    match process.exit_code() {
        Some(code) => format!("{what} (exit code {code})"),
        None => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::list::tests::process;
    use super::*;

    fn told(before: Vec<Value>, after: Vec<Value>) -> Vec<String> {
        let list = |all: Vec<Value>| -> Vec<Process> {
            let one = |(n, env): (usize, Value)| process("api", n as u32, env);
            all.into_iter().enumerate().map(one).collect()
        };
        changes("api", &list(before), &list(after))
            .into_iter()
            .map(|(kind, text)| format!("{}: {text}", kind.as_str()))
            .collect()
    }

    #[test]
    fn a_restart_a_new_release_and_an_end_are_seams() {
        let first = || json!({"pm_uptime": 1000});
        assert_eq!(told(vec![first()], vec![first()]), [""; 0]);
        assert_eq!(
            told(
                vec![first()],
                vec![json!({"pm_uptime": 2000, "restart_time": 3, "exit_code": 1})]
            ),
            ["restarted: api:0 was restarted (exit code 1, restart 3)"]
        );
        assert_eq!(
            told(
                vec![first()],
                vec![json!({"pm_uptime": 2000, "pm_exec_path": "/srv/shop/v2.js"})]
            ),
            ["recreated: api:0: srv/shop/api.js → srv/shop/v2.js"]
        );
        assert_eq!(
            told(
                vec![first()],
                vec![json!({"pm_uptime": 1000, "status": "stopped", "exit_code": 0})]
            ),
            ["ended: api:0 was stopped (exit code 0)"]
        );
    }

    #[test]
    fn instances_come_and_go() {
        let one = || json!({"pm_uptime": 1000});
        assert_eq!(
            told(vec![one()], vec![one(), one()]),
            ["restarted: api:1 was started"]
        );
        assert_eq!(
            told(vec![one(), one()], vec![one()]),
            ["ended: api:1 was deleted from PM2"]
        );
    }
}
