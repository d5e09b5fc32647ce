//! Which backups stay: the newest, and the newest of each day, week and month. Never the last good one goes.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::backup::{Keep, Listed};

/// The ids of the backups that nothing keeps, the newest first. `all` is the newest first; `zone` says where a day
/// begins. A backup that is not ok counts for the newest only: it must not stand for a day.
///
/// The newest that is ok stays whatever the numbers say, and so does the newest that was restored to prove it. One that
/// could not be looked at stays and counts for nothing: it may be good, and it may not.
pub fn superfluous(all: &[Listed], keep: Keep, zone: &TimeZone) -> Vec<String> {
    let mut kept: BTreeSet<&str> = BTreeSet::new();
    kept.extend(
        all.iter()
            .filter(|one| !one.is_unread())
            .take(keep.last as usize)
            .map(|one| one.id.as_str()),
    );
    let good: Vec<(&str, Date)> = all
        .iter()
        .filter(|one| one.is_ok())
        .filter_map(|one| {
            let backup = one.backup.as_ref().ok()?;
            Some((
                one.id.as_str(),
                backup.created_at.to_zoned(zone.clone()).date(),
            ))
        })
        .collect();
    kept.extend(good.first().map(|(id, _)| *id));
    let is_proved = |one: &&Listed| {
        let test = one
            .backup
            .as_ref()
            .ok()
            .and_then(|b| b.restore_test.as_ref());
        one.is_ok() && test.is_some_and(|test| test.ok)
    };
    kept.extend(all.iter().find(is_proved).map(|one| one.id.as_str()));
    let mut spread = |count: u32, period: fn(Date) -> (i16, i16)| {
        let mut seen: Vec<(i16, i16)> = Vec::new();
        for (id, date) in &good {
            let period = period(*date);
            if !seen.contains(&period) && seen.len() < count as usize {
                seen.push(period);
                kept.insert(id);
            }
        }
    };
    spread(keep.daily, |date| (date.year(), date.day_of_year()));
    spread(keep.weekly, |date| {
        let week = date.iso_week_date();
        (week.year(), i16::from(week.week()))
    });
    spread(keep.monthly, |date| (date.year(), i16::from(date.month())));
    all.iter()
        .filter(|one| !one.is_unread())
        .map(|one| one.id.as_str())
        .filter(|id| !kept.contains(id))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::backup::{BACKUP_SCHEMA, Backup, BackupKind, RestoreTest};
    use crate::domain::safe_text::SafeText;

    fn listed(at: &str) -> Listed {
        let created_at = format!("{at}:00Z").parse().unwrap();
        let id = at.to_owned();
        Listed {
            name: "main".into(),
            id: id.clone(),
            backup: Ok(Backup {
                schema: BACKUP_SCHEMA.into(),
                name: "main".into(),
                id,
                created_at,
                by: SafeText::from_text("anna"),
                kind: BackupKind::Files,
                host: crate::domain::host::HostName::local(),
                service: None,
                database: None,
                parts: Vec::new(),
                encrypted: false,
                counts: Default::default(),
                before_restore: false,
                copy: None,
                restore_test: None,
                damage: None,
                checked: Vec::new(),
            }),
            problem: None,
            is_data_unread: false,
        }
    }

    fn keep(last: u32, daily: u32, weekly: u32, monthly: u32) -> Keep {
        Keep {
            last,
            daily,
            weekly,
            monthly,
        }
    }

    fn kept(all: &[Listed], keep: Keep) -> Vec<&str> {
        let gone = superfluous(all, keep, &TimeZone::UTC);
        let ids = all.iter().map(|one| one.id.as_str());
        ids.filter(|id| !gone.contains(&(*id).to_owned())).collect()
    }

    #[test]
    fn seven_days_are_kept_whatever_a_day_had() {
        // Two a day over twenty days.
        let all: Vec<Listed> = (1..=20)
            .rev()
            .flat_map(|day| {
                [
                    format!("2025-12-{day:02}T14:00"),
                    format!("2025-12-{day:02}T02:00"),
                ]
            })
            .map(|at| listed(&at))
            .collect();
        let stay = kept(&all, keep(1, 7, 0, 0));
        assert_eq!(stay.len(), 7);
        assert_eq!(stay[0], "2025-12-20T14:00");
        assert_eq!(stay[6], "2025-12-14T14:00");
        let stay = kept(&all, keep(3, 0, 2, 0));
        assert_eq!(
            stay,
            [
                "2025-12-20T14:00",
                "2025-12-20T02:00",
                "2025-12-19T14:00",
                "2025-12-14T14:00"
            ]
        );
        assert_eq!(kept(&all, keep(0, 0, 0, 2)), ["2025-12-20T14:00"]);
    }

    #[test]
    fn the_last_good_one_and_the_last_proved_one_stay() {
        let mut all: Vec<Listed> = (1..=6)
            .rev()
            .map(|day| listed(&format!("2025-12-{day:02}T02:00")))
            .collect();
        for broken in &mut all[0..2] {
            broken.problem = Some(SafeText::from_text("damaged"));
        }
        if let Ok(backup) = &mut all[4].backup {
            backup.restore_test = Some(RestoreTest {
                at: backup.created_at,
                ok: true,
                detail: SafeText::default(),
            });
        }
        assert_eq!(
            kept(&all, keep(1, 0, 0, 0)),
            ["2025-12-06T02:00", "2025-12-04T02:00", "2025-12-02T02:00"]
        );
        assert_eq!(
            kept(&all, keep(0, 1, 0, 0)),
            ["2025-12-04T02:00", "2025-12-02T02:00"]
        );
    }

    #[test]
    fn what_could_not_be_looked_at_stays_and_counts_for_nothing() {
        let mut all: Vec<Listed> = (1..=5)
            .rev()
            .map(|day| listed(&format!("2025-12-{day:02}T02:00")))
            .collect();
        let why = |text: &str| Some(SafeText::from_text(text));
        all[0].problem = why("cannot read x.dump.zst: Permission denied");
        all[0].is_data_unread = true;
        all[3].problem = why("damaged");
        all[4].backup = Err(SafeText::from_text("cannot read x.json: Permission denied"));
        all[4].problem = why("cannot read x.json: Permission denied");
        let unread = ["2025-12-05T02:00", "2025-12-01T02:00"];
        for (keep, good) in [
            (keep(1, 0, 0, 0), "2025-12-04T02:00"),
            (keep(0, 1, 0, 0), "2025-12-04T02:00"),
        ] {
            assert_eq!(kept(&all, keep), [unread[0], good, unread[1]]);
        }
    }
}
