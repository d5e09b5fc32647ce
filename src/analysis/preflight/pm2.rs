//! Checks of when PM2 starts an application again: settings that hide a crash loop.
//!
//! PM2 counts a restart as unstable only where the application died before `min_uptime`, and gives up after
//! `max_restarts` of those. What lives a little longer than `min_uptime` and then dies is restarted for ever and shown
//! as online: an outage of hours that nobody is told of. So both numbers matter, the first more than the second.

use super::{EcosystemFacts, ServiceFacts, critical, not_seen, ok, skipped, warning};
use crate::domain::check::{Check, CheckGrade};
use crate::domain::pm2::Pm2Restarts;

/// More restarts than these before PM2 gives up hide a loop for too long.
const MAX_RESTARTS: u64 = 10;
/// What dies sooner than so many milliseconds has to count as unstable, else a slow loop is never seen.
const MIN_UPTIME_MS: u64 = 10_000;
/// What PM2 does where nothing is said.
const DEFAULT: (u64, u64) = (16, 1_000);
const FIX: &str = "max_restarts: 3, min_uptime: '30s' in the ecosystem file, then pm2 delete NAME and pm2 start \
                   ecosystem.config.js --only NAME (a restart keeps the old settings)";

pub(super) fn checks(service: &ServiceFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    match &service.pm2 {
        None => {}
        Some(Err(why)) => checks.push(not_seen("pm2-restarts", "its settings in PM2", why)),
        Some(Ok(restarts)) => checks.push(judge("pm2-restarts", restarts, "")),
    }
    match &service.ecosystem {
        None => {}
        Some(Err(why)) => checks.push(
            critical("ecosystem", format!("its ecosystem file cannot be read: {why}"))
                .fix("node -e 'require(\"./ecosystem.config.js\")' shows the fault; pm2 could not start from it either"),
        ),
        Some(Ok(found)) => checks.push(ecosystem(found)),
    }
    checks
        .into_iter()
        .map(|check| check.of(&service.id))
        .collect()
}

fn ecosystem(found: &EcosystemFacts) -> Check {
    let Some(file) = &found.file else {
        return skipped(
            "ecosystem",
            "no ecosystem file in its folder, and none among its `config_files`",
        );
    };
    match &found.restarts {
        Some(restarts) => judge("ecosystem", restarts, &format!("{}: ", file.display())),
        None => warning(
            "ecosystem",
            format!(
                "{} does not declare it: a start from that file would not bring it",
                file.display()
            ),
        )
        .fix("declare it there, or name its file in `config_files`"),
    }
}

/// Judges the settings. What somebody wrote down and hides a loop is critical; PM2's own defaults, which hide one as
/// well, are a warning: every application begins with them.
fn judge(name: &'static str, restarts: &Pm2Restarts, place: &str) -> Check {
    let mut faults: Vec<(CheckGrade, String)> = Vec::new();
    if restarts.autorestart == Some(false) {
        return warning(
            name,
            format!("{place}autorestart is off: after a crash it is \"stopped\", as if somebody had asked for it"),
        )
        .fix("autorestart: true, unless it is a job that is meant to end");
    }
    let grade = |value: Option<u64>| match value {
        Some(_) => CheckGrade::Critical,
        None => CheckGrade::Warning,
    };
    let said = |value: Option<u64>| match value {
        Some(_) => "",
        None => " (PM2's default)",
    };
    let min_uptime = restarts.min_uptime_ms.unwrap_or(DEFAULT.1);
    if min_uptime < MIN_UPTIME_MS {
        faults.push((
            grade(restarts.min_uptime_ms),
            format!(
                "min_uptime {}{}: what dies after that is restarted for ever and shown as online",
                span(min_uptime),
                said(restarts.min_uptime_ms)
            ),
        ));
    }
    let max_restarts = restarts.max_restarts.unwrap_or(DEFAULT.0);
    if max_restarts > MAX_RESTARTS {
        faults.push((
            grade(restarts.max_restarts),
            format!(
                "max_restarts {max_restarts}{}: so often it crashes before PM2 gives up",
                said(restarts.max_restarts)
            ),
        ));
    }
    if let Some(delay) = restarts.restart_delay_ms.filter(|ms| *ms > 0) {
        faults.push((
            CheckGrade::Warning,
            format!(
                "restart_delay {}: PM2 shows \"waiting restart\" for ever once it has given up",
                span(delay)
            ),
        ));
    }
    let Some(worst) = faults.iter().map(|(grade, _)| *grade).max() else {
        return ok(
            name,
            format!(
                "{place}max_restarts {max_restarts}, min_uptime {}",
                span(min_uptime)
            ),
        );
    };
    let texts: Vec<String> = faults.into_iter().map(|(_, text)| text).collect();
    Check::new(name, worst, format!("{place}{}", texts.join("; "))).fix(FIX)
}

/// `5 s`, `500 ms`.
fn span(ms: u64) -> String {
    match ms % 1000 {
        0 => format!("{} s", ms / 1000),
        _ => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(
        max: Option<u64>,
        uptime: Option<u64>,
        delay: Option<u64>,
        auto: Option<bool>,
    ) -> CheckGrade {
        let restarts = Pm2Restarts {
            max_restarts: max,
            min_uptime_ms: uptime,
            restart_delay_ms: delay,
            autorestart: auto,
        };
        judge("ecosystem", &restarts, "").grade
    }

    #[test]
    fn settings_that_hide_a_loop_are_found() {
        let critical = CheckGrade::Critical;
        assert_eq!(
            grade(Some(15), Some(5_000), None, None),
            critical,
            "the incident"
        );
        assert_eq!(grade(Some(3), Some(500), None, None), critical);
        assert_eq!(grade(Some(100), Some(30_000), None, None), critical);
        let warning = CheckGrade::Warning;
        assert_eq!(grade(None, None, None, None), warning, "the defaults");
        assert_eq!(grade(Some(3), None, None, None), warning);
        assert_eq!(grade(Some(3), Some(30_000), Some(4_000), None), warning);
        assert_eq!(grade(Some(3), Some(30_000), None, Some(false)), warning);
        assert_eq!(grade(Some(3), Some(30_000), None, None), CheckGrade::Ok);
        assert_eq!(
            grade(Some(10), Some(10_000), Some(0), Some(true)),
            CheckGrade::Ok
        );
    }

    #[test]
    fn the_text_says_both_numbers() {
        let restarts = Pm2Restarts {
            max_restarts: Some(15),
            min_uptime_ms: Some(5_000),
            ..Pm2Restarts::default()
        };
        let check = judge("pm2-restarts", &restarts, "/srv/e.js: ");
        let text = check.detail.as_str();
        assert!(text.starts_with("/srv/e.js: min_uptime 5 s"), "{text}");
        assert!(text.contains("max_restarts 15"), "{text}");
        assert!(check.fix.unwrap().as_str().contains("min_uptime: '30s'"));
    }
}
