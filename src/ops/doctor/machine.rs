//! Whether lastgood can work on a machine behind ssh: what it is refused there, and what it will miss.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{compose_plugin, critical, docker_socket, ok, said, skipped, warning};
use crate::analysis::preflight::judge_disks;
use crate::domain::check::Check;
use crate::domain::safe_text::SafeText;
use crate::host::Host;
use crate::host::ssh::{FORWARDING, Session};
use crate::ops::logs::skew::Skew;
use crate::ops::preflight::disks_of;
use crate::runtime::{RuntimeError, docker, pm2};

/// Makes every check of one machine. Where it cannot be connected to, that is the only one.
pub(super) async fn check(session: &Arc<Session>) -> Vec<Check> {
    let host = Host::Ssh(Arc::clone(session));
    let mut checks = match session.login().await {
        Err(error) => {
            let fix = error.fix().unwrap_or("see the message").to_owned();
            vec![critical("ssh", SafeText::from_error(&error).as_str()).fix(fix)]
        }
        Ok(login) => {
            let engine = docker::Engine::connect(&host).await.map(drop);
            let pm2 = pm2::look_on(&host).await;
            vec![
                ok(
                    "ssh",
                    format!("{} connects as {}", session.line(), login.user),
                ),
                match login.unfit {
                    None => ok(
                        "shell",
                        format!("{} hands arguments on as they are", login.shell),
                    ),
                    Some(trouble) => {
                        critical("shell", format!("nothing is changed there: {}", trouble.0))
                            .fix(trouble.1)
                    }
                },
                clock(login.ahead),
                forwarding(session, &engine, &pm2),
                docker_socket(&engine, pm2.program.is_some(), None),
                compose_plugin(&host, engine.is_ok()).await,
                pm2_tool(&host, pm2).await,
            ]
            .into_iter()
            .chain(judge_disks(&disks_of(&host, &login.home).await))
            .collect()
        }
    };
    for check in &mut checks {
        check.host = Some(session.name());
    }
    checks
}

fn clock(ahead: SignedDuration) -> Check {
    let name = "clock";
    match Skew::from(ahead) {
        None => ok(name, "within a second of ours"),
        Some(skew) => warning(name, format!("{skew}; its lines are put on our clock"))
            .fix("there: sudo timedatectl set-ntp true"),
    }
}

/// Engines and daemons are asked over sockets that are forwarded, or, with `become`, opened by a program there.
fn forwarding(session: &Session, engine: &Result<(), RuntimeError>, pm2: &pm2::Found) -> Check {
    let name = "forwarding";
    let is_forbidden = |fix: Option<&SafeText>| fix.is_some_and(|fix| fix.as_str() == FORWARDING);
    let of_engine = engine.as_ref().err().and_then(RuntimeError::fix);
    let of_pm2 = pm2.unreachable.iter().map(|away| Some(&away.fix));
    if of_pm2.chain([of_engine]).any(is_forbidden) {
        return critical(name, "its sshd forwards no sockets").fix(FORWARDING);
    }
    match (session.rights(), engine.is_ok() || pm2.answers) {
        (Some(rights), true) => ok(name, format!("sockets are opened there by `{rights}`")),
        (None, true) => ok(name, "its sshd forwards sockets"),
        (_, false) => skipped(
            name,
            "nothing there listens at a socket that could be tried",
        ),
    }
}

/// The command and its node: a login without a terminal has not the path that version managers set up.
async fn pm2_tool(host: &Host, there: pm2::Found) -> Check {
    let name = "pm2";
    match (&there.program, &there.home) {
        (Some(program), _) => match said(host, &there.node()).await {
            Some(node) => ok(name, format!("{program}, node {node}")),
            None => warning(name, format!("{program} is there, and `node` is not in its path")).fix(
                "there: put node's folder into the PATH of a login without a terminal: pm2 begins with #!/usr/bin/env node",
            ),
        },
        (None, Some(home)) => warning(
            name,
            format!("{} is a home of PM2, and no `pm2` was found", home.display()),
        )
        .fix("there: npm install -g pm2, or put its folder into the PATH of a login without a terminal"),
        (None, None) => skipped(name, "no PM2 of this user"),
    }
}
