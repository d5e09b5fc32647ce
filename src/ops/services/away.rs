//! A machine that does not answer, not yet or not any more: what was seen there stays in the list, and is told to be old.

use std::time::Duration;

use jiff::Timestamp;

use super::HOST_TIMEOUT;
use crate::domain::safe_text::SafeText;
use crate::domain::service::{Inventory, Runtime, Unreachable};
use crate::host::Host;
use crate::host::ssh::Session;

/// Looked again so soon after a look that failed, with as much again by chance: twenty machines behind one link do not
/// come back all at once.
const SOON: Duration = Duration::from_millis(900);
/// For so long; a machine that is away longer is looked for less often.
const LONG: Duration = Duration::from_secs(5 * 60);
const LATER: Duration = Duration::from_secs(10);

/// Waits until the link to a machine is lost; to this one there is none to lose.
pub(super) async fn lost(host: &Host) {
    match host {
        Host::Local => std::future::pending().await,
        Host::Ssh(session) => session.until_lost().await,
    }
}

/// Whether a look found nothing because the machine could not be reached.
pub(super) fn is_lost(host: &Host, found: &Inventory) -> bool {
    let is_linked = match host {
        Host::Local => true,
        Host::Ssh(session) => session.is_linked(),
    };
    !is_linked && !found.unreachable.is_empty()
}

/// Whether a look may have been torn by a link that is there again: one daemon was asked before it was lost, and the other
/// after. What was there would be missing until the next look.
pub(super) fn is_torn(host: &Host, last: Option<&Inventory>, found: &Inventory) -> bool {
    let (Host::Ssh(session), Some(last)) = (host, last) else {
        return false;
    };
    let was_there = |away: &Unreachable| {
        let mut services = last.services.iter();
        services.any(|service| away.hides(&service.id.host, service.runtime))
    };
    session.is_linked() && found.unreachable.iter().any(was_there)
}

/// How long after a look that failed the next one is made.
pub(super) fn pause(lost_for: Duration) -> Duration {
    let least = if lost_for < LONG { SOON } else { LATER };
    let chance = u64::from(Timestamp::now().subsec_nanosecond().unsigned_abs() / 1000);
    least + least.mul_f64(chance as f64 / 1e6)
}

/// A machine that did not answer in time.
pub(super) fn silent(host: &Host) -> Inventory {
    Inventory {
        services: Vec::new(),
        unreachable: vec![Unreachable {
            host: host.name(),
            runtime: Runtime::Docker,
            is_whole_host: true,
            error: SafeText::from_text(&format!("no answer within {} s", HOST_TIMEOUT.as_secs())),
            fix: SafeText::from_text("check the machine and the link to it"),
        }],
    }
}

/// What is known of a host before it has answered: of another machine, that it has not.
pub(super) fn pending(host: &Host) -> Inventory {
    let waiting = |session: &Session| Unreachable {
        host: session.name(),
        runtime: Runtime::Docker,
        is_whole_host: true,
        error: SafeText::from_text("it has not answered yet"),
        fix: SafeText::from_text(&format!("by hand: {} true", session.line())),
    };
    Inventory {
        services: Vec::new(),
        unreachable: match host {
            Host::Local => Vec::new(),
            Host::Ssh(session) => vec![waiting(session)],
        },
    }
}

/// What was seen, while it is being found out whether the machine is still there.
pub(super) fn without_link(host: &Host, seen: &Inventory) -> Inventory {
    let by_hand = match host {
        Host::Local => "true".to_owned(),
        Host::Ssh(session) => format!("{} true", session.line()),
    };
    let lost = Unreachable {
        host: host.name(),
        runtime: Runtime::Docker,
        is_whole_host: true,
        error: SafeText::from_text("the link was lost; connecting again"),
        fix: SafeText::from_text(&format!("by itself; by hand: {by_hand}")),
    };
    let found = Inventory {
        services: Vec::new(),
        unreachable: vec![lost],
    };
    kept(seen, found)
}

/// What was seen, with why it cannot be seen now: each runtime of which something is shown is told of.
pub(super) fn kept(seen: &Inventory, found: Inventory) -> Inventory {
    let mut unreachable = found.unreachable;
    for service in &seen.services {
        let is_told = |away: &Unreachable| away.runtime.daemon() == service.runtime.daemon();
        if !unreachable.iter().any(is_told)
            && let Some(first) = unreachable.first()
        {
            let runtime = service.runtime.daemon();
            unreachable.push(Unreachable {
                runtime,
                ..first.clone()
            });
        }
    }
    Inventory {
        services: seen.services.clone(),
        unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_away_for_long_is_looked_for_less_often() {
        for _ in 0..50 {
            let soon = pause(Duration::from_secs(3));
            assert!(soon >= SOON && soon <= 2 * SOON, "{soon:?}");
        }
        assert!(pause(2 * LONG) >= LATER);
    }
}
