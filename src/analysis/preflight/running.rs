//! Checks of what runs: crash loops, health, and how its containers were made.

use super::{ContainerFacts, ServiceFacts, critical, not_seen, ok, skipped, warning};
use crate::domain::check::Check;
use crate::domain::health::HealthState;

/// Drivers that keep a log that the engine reads back by itself; the others do so through the engine's cache.
const READABLE: &[&str] = &["json-file", "local", "journald"];

pub(super) fn checks(service: &ServiceFacts) -> Vec<Check> {
    let mut checks = vec![crash_loop(service), health(service)];
    checks.extend(certificate(service));
    match &service.containers {
        None => {}
        Some(Err(why)) => checks.push(not_seen("restart-policy", "its containers", why)),
        Some(Ok(containers)) => {
            checks.extend(restart_policy(containers));
            checks.extend(image_tag(containers));
            checks.extend(log_driver(containers));
            checks.extend(log_size(containers));
        }
    }
    checks
        .into_iter()
        .map(|check| check.of(&service.id))
        .collect()
}

fn crash_loop(service: &ServiceFacts) -> Check {
    let id = &service.id;
    match service.crash_loop {
        Some(true) => critical(
            "crash-loop",
            format!(
                "it is caught in a crash loop: restarted {} times",
                service.restarts
            ),
        )
        .fix(format!(
            "lastgood logs {id} --since 5m --level error; a checkpoint of it is no way back"
        )),
        Some(false) => ok(
            "crash-loop",
            format!("steady, restarted {} times", service.restarts),
        ),
        None => warning(
            "crash-loop",
            "it was started a moment ago: whether it stays up cannot be told yet",
        )
        .fix("look again in a minute"),
    }
}

fn health(service: &ServiceFacts) -> Check {
    let (state, seen) = &service.health;
    let id = &service.id;
    if *state == HealthState::Healthy && !service.has_probe {
        return warning(
            "health",
            "no probe and no health check: that it runs is all that is known of it",
        )
        .fix(format!(
            "[services.\"{id}\"] probe = \"http://localhost:PORT/health\" in lastgood.toml, or a healthcheck in the \
             compose file"
        ));
    }
    if service.crash_loop == Some(true) {
        // The same once more would make two faults of one.
        return skipped("health", "it is caught in a crash loop, which says enough");
    }
    match state {
        HealthState::Healthy => ok("health", seen.as_str()),
        state => warning("health", format!("{} now: {seen}", state.as_str())).fix(format!(
            "lastgood health {id}; a checkpoint of it now is no release to roll back to of its own accord"
        )),
    }
}

/// No deploy fails by it, and none makes it better: a warning, which holds back nothing.
fn certificate(service: &ServiceFacts) -> Option<Check> {
    let (seen, warns) = service.certificate.as_ref()?;
    Some(match warns {
        true => warning("certificate", seen.as_str()).fix(
            "renew it and reload what answers with it; certificate_days in the probe sets how early this is told",
        ),
        false => ok("certificate", seen.as_str()),
    })
}

/// One check over all containers: the faulty ones with what is wrong, else what is right.
fn over(
    name: &'static str,
    containers: &[ContainerFacts],
    fault: impl Fn(&ContainerFacts) -> Option<String>,
    good: impl Fn(&ContainerFacts) -> String,
    fix: &str,
) -> Option<Check> {
    let first = containers.first()?;
    let faults: Vec<String> = containers
        .iter()
        .filter_map(|c| Some(format!("{}: {}", c.name, fault(c)?)))
        .collect();
    Some(match faults.is_empty() {
        true => ok(name, good(first)),
        false => warning(name, faults.join("; ")).fix(fix),
    })
}

fn restart_policy(containers: &[ContainerFacts]) -> Option<Check> {
    over(
        "restart-policy",
        containers,
        |c| {
            let has_none = matches!(c.restart_policy.as_str(), "" | "no");
            has_none.then(|| {
                "restart policy \"no\": after a crash or a reboot it stays down".to_owned()
            })
        },
        |c| c.restart_policy.clone(),
        "restart: unless-stopped in the compose file, then docker compose up -d",
    )
}

fn image_tag(containers: &[ContainerFacts]) -> Option<Check> {
    over(
        "image-tag",
        containers,
        |c| {
            let image = c.image.as_str();
            is_moving(image).then(|| {
                format!(
                    "{image}: nothing says which release that is, and the next pull replaces it"
                )
            })
        },
        |c| c.image.to_string(),
        "give each release a tag of its own, image: NAME:1.5, or a digest",
    )
}

/// Whether a reference has no tag, or `latest`. A digest never moves, and an id is no name at all.
fn is_moving(image: &str) -> bool {
    if image.is_empty() || image.contains('@') || image.starts_with("sha256:") {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None => !is_id(image),
        Some((_, tag)) => tag == "latest",
    }
}

/// The start of an image id, which `docker run` takes as well as a name.
fn is_id(image: &str) -> bool {
    (12..=64).contains(&image.len()) && image.bytes().all(|b| b.is_ascii_hexdigit())
}

fn log_driver(containers: &[ContainerFacts]) -> Option<Check> {
    over(
        "log-driver",
        containers,
        |c| {
            let driver = c.log_driver.as_str();
            let is_cached = driver != "none" && !c.is_log_cache_off;
            (!READABLE.contains(&driver) && !is_cached).then(|| {
                format!("its logs go to {driver:?} and cannot be read back: nothing to save, compare or judge")
            })
        },
        |c| c.log_driver.clone(),
        "logging: { driver: local } in the compose file, or leave the driver's cache on",
    )
}

fn log_size(containers: &[ContainerFacts]) -> Option<Check> {
    // The `local` driver rotates at 20 MB by itself.
    over(
        "log-size",
        containers,
        |c| {
            let is_unbounded = c.log_driver == "json-file"
                && c.log_max_size.as_deref().is_none_or(|size| size == "-1");
            is_unbounded.then(|| {
                "json-file without max-size: its log grows until the disk is full".to_owned()
            })
        },
        |c| match &c.log_max_size {
            Some(size) => format!("{}, rotated at {size}", c.log_driver),
            None => c.log_driver.clone(),
        },
        "logging: { driver: json-file, options: { max-size: 20m, max-file: \"5\" } } in the compose file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_told_from_what_does_not() {
        for moving in [
            "shop",
            "shop:latest",
            "r.io:5000/a/shop",
            "r.io/shop:latest",
        ] {
            assert!(is_moving(moving), "{moving}");
        }
        for fixed in [
            "shop:1.5",
            "r.io:5000/a/shop:1.5",
            "shop@sha256:00",
            "sha256:00aa",
            "5c20912d1f2e",
            "",
        ] {
            assert!(!is_moving(fixed), "{fixed}");
        }
    }
}
