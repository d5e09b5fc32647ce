//! Checks of a service's files: what lies beside it, who can read its secrets, and whether it runs what they say.

use super::{Migrations, ServiceFacts, Switch, critical, not_seen, ok, skipped, warning};
use crate::domain::check::Check;

/// Addresses and keys of error trackers, and the variables that switch each on; without any of those it is on.
const TRACKERS: &[(&str, &[&str])] = &[("SENTRY_DSN", &["SENTRY_ENABLED"])];
/// Variables that switch something on, and off where they say so.
const ON: &[&str] = &[
    "SENTRY_ENABLED",
    "MONITORING_ENABLED",
    "METRICS_ENABLED",
    "PROMETHEUS_ENABLED",
    "NEW_RELIC_ENABLED",
    "NEW_RELIC_AGENT_ENABLED",
    "DD_TRACE_ENABLED",
    "ELASTIC_APM_ACTIVE",
    "HONEYBADGER_ENABLED",
];
/// Variables that switch something off where they say yes.
const OFF: &[&str] = &["OTEL_SDK_DISABLED", "SENTRY_DISABLED"];

/// Whether a variable of an environment file is one of those that [`Switch`] tells of.
pub fn is_switch(name: &str) -> bool {
    ON.contains(&name) || OFF.contains(&name) || is_address(name)
}

/// Whether its value is an address or a key, of which only that it is set is told.
pub fn is_address(name: &str) -> bool {
    TRACKERS.iter().any(|(address, _)| *address == name)
}

pub(super) fn checks(service: &ServiceFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(artifacts(service));
    checks.extend(secret_files(service));
    checks.extend(monitoring(&service.switches));
    checks.extend(drift(service));
    checks.extend(migrations(service));
    checks.extend(pinned(service));
    checks
        .into_iter()
        .map(|check| check.of(&service.id))
        .collect()
}

fn artifacts(service: &ServiceFacts) -> Option<Check> {
    let found = match service.artifacts.as_ref()? {
        Err(why) => return Some(not_seen("artifacts", "its folder", why)),
        Ok(found) => found,
    };
    if found.is_empty() {
        return Some(ok("artifacts", "nothing that must not be there"));
    }
    let names: Vec<String> = found
        .iter()
        .map(|artifact| match artifact.bytes {
            Some(bytes) => format!("{} ({} KiB)", artifact.path.display(), bytes.div_ceil(1024)),
            None => format!("{}/", artifact.path.display()),
        })
        .collect();
    let text = format!("left over: {}", names.join(", "));
    let check = match found.iter().any(|artifact| artifact.is_configured) {
        true => critical("artifacts", text),
        false => warning("artifacts", text),
    };
    Some(check.fix(format!(
        "lastgood preflight {} --fix artifacts moves it out of the folder; `preflight.artifacts` says what counts",
        service.id
    )))
}

fn secret_files(service: &ServiceFacts) -> Vec<Check> {
    let mut checks: Vec<Check> = service
        .unread_files
        .iter()
        .map(|why| not_seen("secret-files", "a file", why))
        .collect();
    let open: Vec<String> = service
        .secret_files
        .iter()
        .filter(|file| file.is_open())
        .map(|file| format!("{} (mode {:04o})", file.path.display(), file.mode & 0o7777))
        .collect();
    if !open.is_empty() {
        let text = format!(
            "everyone on this machine can read the secrets in {}",
            open.join(", ")
        );
        checks.push(warning("secret-files", text).fix(format!(
            "lastgood preflight {} --fix secret-files, or chmod o-rwx FILE",
            service.id
        )));
    } else if let (true, Some(first)) = (checks.is_empty(), service.secret_files.first()) {
        let more = service.secret_files.len() - 1;
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        checks.push(ok(
            "secret-files",
            format!("{}{more}: not readable by everyone", first.path.display()),
        ));
    }
    checks
}

fn monitoring(switches: &[Switch]) -> Option<Check> {
    if switches.is_empty() {
        return None;
    }
    let is = |switch: &Switch, words: &[&str]| words.contains(&switch.value.as_str());
    let mut faults = Vec::new();
    for switch in switches {
        let name = switch.name.as_str();
        let is_off = ON.contains(&name) && is(switch, &["false", "0", "no", "off", ""])
            || OFF.contains(&name) && is(switch, &["true", "1", "yes", "on"]);
        if is_off {
            let value = &switch.value;
            faults.push(format!("{name}={value} in {}", switch.file.display()));
        }
        let Some((_, enabling)) = TRACKERS.iter().find(|(address, _)| *address == name) else {
            continue;
        };
        if switch.value.is_empty() {
            faults.push(format!("{name} is empty in {}", switch.file.display()));
        } else if !switches.iter().any(|s| enabling.contains(&s.name.as_str())) {
            faults.push(format!(
                "{name} is set in {} and {} is not: configured, and perhaps not in use",
                switch.file.display(),
                enabling.join(" or ")
            ));
        }
    }
    Some(match faults.is_empty() {
        true => {
            let names: Vec<&str> = switches.iter().map(|s| s.name.as_str()).collect();
            ok("monitoring", format!("switched on: {}", names.join(", ")))
        }
        false => warning("monitoring", format!("errors are not reported: {}", faults.join("; "))).fix(
            "switch it on (SENTRY_ENABLED=true) and start the service anew, or preflight.skip = [\"monitoring\"]",
        ),
    })
}

fn drift(service: &ServiceFacts) -> Option<Check> {
    Some(match service.drift.as_ref()? {
        Err(why) => not_seen("drift", "what its files say", why),
        Ok(differences) if differences.is_empty() => ok("drift", "it runs what its files say"),
        Ok(differences) => {
            let texts: Vec<&str> = differences.iter().map(|text| text.as_str()).collect();
            warning("drift", format!("the files say something else: {}", texts.join("; "))).fix(
                "if that is the release you are about to deploy, go on; else somebody changed one of both by hand",
            )
        }
    })
}

fn migrations(service: &ServiceFacts) -> Option<Check> {
    let found = match service.migrations.as_ref()? {
        Err(why) => return Some(not_seen("migrations", "its migrations", why)),
        Ok(found) => found,
    };
    Some(pending(found))
}

fn pending(found: &Migrations) -> Check {
    let revisions = |lines: &[String]| {
        let mut all: Vec<String> = lines
            .iter()
            .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
            .collect();
        all.sort();
        all
    };
    let current = revisions(&found.current);
    let shown = |revisions: &[String]| match revisions.is_empty() {
        true => "nothing".to_owned(),
        false => revisions.join(" "),
    };
    match &found.head {
        Some(head) => {
            let head = revisions(head);
            match current == head {
                true => ok("migrations", format!("at {}", shown(&head))),
                false => warning(
                    "migrations",
                    format!("the database is at {}, the code wants {}", shown(&current), shown(&head)),
                )
                .fix("migrate before or with the deploy, after a backup; a rollback does not take a schema back"),
            }
        }
        // Alembic marks the revision that is the newest.
        None if !found.current.is_empty() && found.current.iter().all(|l| l.contains("(head)")) => {
            ok("migrations", format!("at {}, the newest", shown(&current)))
        }
        None => skipped(
            "migrations",
            format!(
                "the database is at {}; whether that is the newest needs `migrations.head`",
                shown(&current)
            ),
        ),
    }
}

fn pinned(service: &ServiceFacts) -> Option<Check> {
    service.containers.as_ref()?;
    Some(match &service.pinned {
        None => skipped("pinned-image", "no complete checkpoint holds it yet"),
        Some((id, None)) => ok("pinned-image", format!("the image of checkpoint {id} is there")),
        Some((id, Some(problem))) => warning("pinned-image", format!("checkpoint {id}: {problem}")).fix(
            "lastgood checkpoint create pins what runs now; `docker system prune -a` takes pinned images too",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::check::CheckGrade;

    fn switches(all: &[(&str, &str)]) -> Vec<Switch> {
        all.iter()
            .map(|(name, value)| Switch {
                name: (*name).into(),
                value: (*value).into(),
                file: "/srv/.env".into(),
            })
            .collect()
    }

    #[test]
    fn a_tracker_that_is_configured_and_off_is_found() {
        let grade = |all: &[(&str, &str)]| monitoring(&switches(all)).map(|check| check.grade);
        assert_eq!(grade(&[]), None);
        let warning = Some(CheckGrade::Warning);
        assert_eq!(grade(&[("SENTRY_DSN", "set")]), warning);
        assert_eq!(
            grade(&[("SENTRY_DSN", "set"), ("SENTRY_ENABLED", "false")]),
            warning
        );
        assert_eq!(
            grade(&[("SENTRY_DSN", ""), ("SENTRY_ENABLED", "true")]),
            warning
        );
        assert_eq!(grade(&[("OTEL_SDK_DISABLED", "true")]), warning);
        let ok = Some(CheckGrade::Ok);
        assert_eq!(
            grade(&[("SENTRY_DSN", "set"), ("SENTRY_ENABLED", "true")]),
            ok
        );
        assert_eq!(grade(&[("OTEL_SDK_DISABLED", "false")]), ok);
    }

    #[test]
    fn a_migration_that_waits_is_found() {
        let grade = |current: &[&str], head: Option<&[&str]>| {
            let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect();
            pending(&Migrations {
                current: lines(current),
                head: head.map(lines),
            })
            .grade
        };
        assert_eq!(grade(&["9571625a (head)"], None), CheckGrade::Ok);
        assert_eq!(grade(&["9571625a"], None), CheckGrade::Skipped);
        assert_eq!(grade(&[], None), CheckGrade::Skipped);
        assert_eq!(
            grade(&["9571625a"], Some(&["20250910 (head)"])),
            CheckGrade::Warning
        );
        assert_eq!(grade(&[], Some(&["20250910"])), CheckGrade::Warning);
        assert_eq!(grade(&["b", "a (head)"], Some(&["a", "b"])), CheckGrade::Ok);
    }
}
