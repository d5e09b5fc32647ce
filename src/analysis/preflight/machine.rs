//! Checks of the machine: daemons that answer, room on the disks, backups that are fresh.

use super::super::freshness::span;
use super::{BackupFacts, Looked, critical, not_seen, ok, skipped, warning};
use crate::domain::check::{Check, CheckGrade};
use crate::domain::safe_text::SafeText;

/// The share of a disk or of its inodes that is too much for comfort, and too much for a deploy.
const FULL: (f64, f64) = (0.85, 0.95);

/// How full a file system is.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskUse {
    /// Where it is mounted.
    pub mount: String,
    /// Bytes of all, and those that can still be used.
    pub bytes: (u64, u64),
    /// Inodes of all, and those that are free; `None` where it has none to count.
    pub inodes: Option<(u64, u64)>,
}

/// Reads what `df -Pk PATH…` and `df -Pi PATH…` print. A file system that holds several of the paths stands once.
pub fn read_df(kilobytes: &str, inodes: &str) -> Vec<DiskUse> {
    let mut disks: Vec<DiskUse> = Vec::new();
    for (mount, total, free) in rows(kilobytes) {
        if disks.iter().any(|disk| disk.mount == mount) {
            continue;
        }
        let inodes = rows(inodes).find(|(other, ..)| *other == mount);
        disks.push(DiskUse {
            mount: mount.to_owned(),
            bytes: (total.saturating_mul(1024), free.saturating_mul(1024)),
            inodes: inodes
                .map(|(_, total, free)| (total, free))
                .filter(|(total, _)| *total > 0),
        });
    }
    disks
}

/// `Filesystem 1024-blocks Used Available Capacity Mounted on`: used and available make the whole, what is kept for root
/// does not count.
fn rows(text: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (_, _, used, free, _) = (
            words.next()?,
            words.next()?,
            words.next()?,
            words.next()?,
            words.next()?,
        );
        let mount = words.next()?;
        // A mount's path may hold blanks.
        let at = line.rfind(&format!(" {mount}"))? + 1;
        let (used, free): (u64, u64) = (used.parse().ok()?, free.parse().ok()?);
        Some((line[at..].trim_end(), used + free, free))
    })
}

pub(super) fn reachable(unreachable: &[(SafeText, SafeText)]) -> Vec<Check> {
    if unreachable.is_empty() {
        return vec![ok("reachable", "every daemon answered")];
    }
    unreachable
        .iter()
        .map(|(error, fix)| {
            warning("reachable", format!("could not be asked: {error}")).fix(fix.as_str())
        })
        .collect()
}

/// Judges how full the disks are.
pub fn disks(found: &Looked<Vec<DiskUse>>) -> Vec<Check> {
    let disks = match found {
        Err(why) => return vec![not_seen("disk", "the disks", why)],
        Ok(disks) => disks,
    };
    let mut checks = Vec::new();
    for disk in disks {
        let (total, free) = disk.bytes;
        let room = format!("{} GiB free", free / (1 << 30));
        checks.push(full("disk", &disk.mount, (total, free), &room));
        if let Some((total, free)) = disk.inodes {
            checks.push(full(
                "inodes",
                &disk.mount,
                (total, free),
                &format!("{free} inodes free"),
            ));
        }
    }
    checks
}

fn full(name: &'static str, mount: &str, (total, free): (u64, u64), room: &str) -> Check {
    let used = match total {
        0 => 1.0,
        total => 1.0 - free as f64 / total as f64,
    };
    let text = format!("{mount}: {:.0} % in use, {room}", used * 100.0);
    let fix = match name {
        "disk" => "docker system df, du -xh --max-depth=2 MOUNT: make room before the deploy does",
        _ => "find MOUNT -xdev -type d -size +1M: a folder of very many small files",
    };
    if used >= FULL.1 {
        critical(name, text).fix(fix)
    } else if used >= FULL.0 {
        warning(name, text).fix(fix)
    } else {
        ok(name, text)
    }
}

pub(super) fn backups(backups: &[BackupFacts]) -> Vec<Check> {
    if backups.is_empty() {
        let text = "no [backups] in the configuration: nothing to look at";
        return vec![skipped("backup", text), skipped("restore-test", text)];
    }
    let mut checks = Vec::new();
    for backup in backups {
        let name = &backup.name;
        checks.push(match &backup.age_s {
            Err(why) => not_seen("backup", &format!("the backups {name}"), why),
            Ok(None) => critical(
                "backup",
                format!("{name}: there is no backup{}", damage(backup)),
            )
            .fix(format!("before the deploy: lastgood backup run {name}")),
            Ok(Some(age)) => {
                let fresh = freshness(name, *age, backup.rpo_s);
                match &backup.copy_failed {
                    Some(why) if fresh.grade < CheckGrade::Warning => {
                        warning("backup", format!("{name}: its copy elsewhere: {why}"))
                            .fix(format!("lastgood backup run {name} copies the next one"))
                    }
                    _ => fresh,
                }
            }
        });
        checks.push(restore_test(backup));
    }
    checks
}

fn damage(backup: &BackupFacts) -> String {
    let damage = backup.damage.as_ref();
    damage.map_or_else(String::new, |why| format!(" that is whole: {why}"))
}

/// A restore test that is older than this says little of the backups of today.
const PROVED_FOR_S: u64 = 31 * 24 * 3600;

fn restore_test(backup: &BackupFacts) -> Check {
    let name = &backup.name;
    let fix = format!(
        "lastgood backup verify {name} restores the newest into something that is thrown away, and counts"
    );
    let check = match &backup.restore_test {
        None if !backup.is_provable => {
            let text =
                format!("{name}: there is no backup that `lastgood backup verify` could restore");
            return skipped("restore-test", text);
        }
        None => warning(
            "restore-test",
            format!("{name}: no backup was ever restored to prove it"),
        ),
        Some((_, false, why)) => critical(
            "restore-test",
            format!("{name}: the last restore test failed: {why}"),
        ),
        Some((age, true, _)) if *age > PROVED_FOR_S => warning(
            "restore-test",
            format!("{name}: the last restore test was {} ago", span(*age)),
        ),
        Some((age, true, what)) => {
            return ok(
                "restore-test",
                format!("{name}: {what} came back {} ago", span(*age)),
            );
        }
    };
    check.fix(fix)
}

fn freshness(name: &str, age_s: u64, rpo_s: Option<u64>) -> Check {
    let age = span(age_s);
    match rpo_s {
        Some(rpo) if age_s > rpo => critical(
            "backup",
            format!(
                "{name}: the newest is {age} old, and at most {} may be lost (rpo)",
                span(rpo)
            ),
        )
        .fix("make a backup before the deploy, and see why the last one did not run"),
        Some(rpo) => ok("backup", format!("{name}: {age} old, rpo {}", span(rpo))),
        None => skipped(
            "backup",
            format!("{name}: {age} old; whether that is fresh needs `rpo` in [backups.{name}]"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILOBYTES: &str = "\
Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/vda1        100000000  96000000   4000000      96% /
/dev/vda1        100000000  96000000   4000000      96% /
/dev/vdb          10000000   1000000   9000000      10% /srv/big disk
";
    const INODES: &str = "\
Filesystem      Inodes  IUsed   IFree IUse% Mounted on
/dev/vda1      1000000 900000  100000   90% /
/dev/vdb             0      0       0     - /srv/big disk
";

    #[test]
    fn a_file_system_stands_once_with_its_room() {
        let disks = read_df(KILOBYTES, INODES);
        assert_eq!(disks.len(), 2);
        assert_eq!(disks[0].mount, "/");
        assert_eq!(disks[0].bytes, (100_000_000 * 1024, 4_000_000 * 1024));
        assert_eq!(disks[0].inodes, Some((1_000_000, 100_000)));
        assert_eq!(disks[1].mount, "/srv/big disk");
        assert_eq!(disks[1].inodes, None);
        assert!(read_df("", "").is_empty());
    }

    #[test]
    fn a_full_disk_stops_a_deploy() {
        let checks = super::disks(&Ok(read_df(KILOBYTES, INODES)));
        let found: Vec<_> = checks.iter().map(|c| (c.name, c.grade)).collect();
        assert_eq!(
            found,
            [
                ("disk", CheckGrade::Critical),
                ("inodes", CheckGrade::Warning),
                ("disk", CheckGrade::Ok)
            ]
        );
        assert!(
            checks[0].detail.as_str().contains("96 % in use"),
            "{}",
            checks[0].detail
        );
    }

    #[test]
    fn a_backup_is_held_against_its_rpo() {
        assert_eq!(
            freshness("main", 3600 * 7, Some(3600 * 6)).grade,
            CheckGrade::Critical
        );
        assert_eq!(
            freshness("main", 3600, Some(3600 * 6)).grade,
            CheckGrade::Ok
        );
        assert_eq!(freshness("main", 3600, None).grade, CheckGrade::Skipped);
        let mut facts = BackupFacts {
            name: "main".into(),
            rpo_s: None,
            age_s: Ok(None),
            damage: Some(SafeText::from_text("cut")),
            restore_test: None,
            is_provable: false,
            copy_failed: None,
        };
        let said = backups(std::slice::from_ref(&facts));
        assert_eq!(said[0].grade, CheckGrade::Critical);
        assert!(
            said[0].detail.as_str().contains("cut"),
            "{}",
            said[0].detail
        );
        assert_eq!(said[1].grade, CheckGrade::Skipped);
        facts.is_provable = true;
        assert_eq!(
            backups(std::slice::from_ref(&facts))[1].grade,
            CheckGrade::Warning
        );
        facts.age_s = Ok(Some(60));
        facts.copy_failed = Some(SafeText::from_text("failed: no route"));
        let test = |age, ok| Some((age, ok, SafeText::from_text("3 keys")));
        let mut grade = |found| {
            facts.restore_test = found;
            backups(std::slice::from_ref(&facts))[1].grade
        };
        assert_eq!(grade(test(60, true)), CheckGrade::Ok);
        assert_eq!(grade(test(60, false)), CheckGrade::Critical);
        assert_eq!(grade(test(PROVED_FOR_S + 1, true)), CheckGrade::Warning);
        assert_eq!(backups(&[facts])[0].grade, CheckGrade::Warning);
        assert!(backups(&[]).iter().all(|c| c.grade == CheckGrade::Skipped));
    }
}
