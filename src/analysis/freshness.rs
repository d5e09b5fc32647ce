//! Backups that did not come: what the watch sees of them.
//!
//! A backup that fails says so once, at two in the morning; one that is not even begun says nothing. Its age does.

use std::time::Duration;

use super::preflight::BackupFacts;
use crate::domain::alert::{AlertSeverity, Condition, Observation};
use crate::domain::safe_text::SafeText;

/// One observation for each backup with an RPO: whether the newest whole one is older than that. One without is asked for
/// nothing.
pub fn observe(backups: &[BackupFacts]) -> Vec<Observation> {
    backups.iter().filter_map(overdue).collect()
}

fn overdue(backup: &BackupFacts) -> Option<Observation> {
    let rpo = backup.rpo_s?;
    let name = &backup.name;
    let most = span(rpo);
    let (condition, text) = match &backup.age_s {
        Err(why) => (
            Condition::Unknown,
            format!("the backups {name} could not be looked at: {why}"),
        ),
        Ok(None) => (
            Condition::Broken,
            format!("there is no whole backup {name}; at most {most} may be lost (rpo)"),
        ),
        Ok(Some(age)) if *age > rpo => (
            Condition::Broken,
            format!(
                "the newest whole backup {name} is {} old; at most {most} may be lost (rpo)",
                span(*age)
            ),
        ),
        Ok(Some(age)) => (
            Condition::Fine,
            format!("the newest backup {name} is {} old, rpo {most}", span(*age)),
        ),
    };
    Some(Observation {
        key: format!("backup/{name} overdue"),
        // Of the machine: a service that is ill is another matter.
        service: None,
        severity: AlertSeverity::P1,
        condition,
        hold: Duration::ZERO,
        looks: 1,
        text: SafeText::from_text(&text),
    })
}

/// `45 s`, `20 min`, `26 h`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_seen_to_be_late_is_broken() {
        let facts = |rpo_s, age_s| BackupFacts {
            name: "main".into(),
            rpo_s,
            age_s,
            damage: None,
            restore_test: None,
            is_provable: true,
            copy_failed: None,
        };
        let of = |rpo, age| observe(&[facts(rpo, age)]).into_iter().next();
        assert_eq!(of(None, Ok(None)), None);
        let condition = |age| of(Some(3600), age).unwrap().condition;
        assert_eq!(condition(Ok(Some(3600))), Condition::Fine);
        assert_eq!(condition(Ok(Some(3601))), Condition::Broken);
        assert_eq!(condition(Ok(None)), Condition::Broken);
        let why = SafeText::from_text("permission denied");
        assert_eq!(condition(Err(why)), Condition::Unknown);
        let seen = of(Some(3600), Ok(Some(7200))).unwrap();
        assert_eq!(seen.key, "backup/main overdue");
        assert!(seen.text.as_str().contains("2 h old"), "{}", seen.text);
    }
}
