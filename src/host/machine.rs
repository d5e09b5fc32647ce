//! What this machine says of itself, out of `/proc` and the file systems' own counts: no process is started for it.
//!
//! The answer has the words and sections of the script that asks other machines, so that one reader serves both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between the two samples of the CPU where none was taken before.
const PAUSE: Duration = Duration::from_millis(500);
/// An older sample says nothing about now, a younger one little.
const APART: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(120);
/// File systems of other machines and of programs: whoever looks at one that is away hangs.
const AWAY: &[&str] = &["9p", "afs", "autofs", "ceph", "cifs", "nfs", "smb", "fuse"];

/// The last sample of the CPU: whoever looks again and again does not wait for a second one.
static LAST: Mutex<Option<(Instant, String)>> = Mutex::new(None);

/// Reads what the machine uses: sections `== bytes`, `inodes`, `cpu`, `cores`, `load`, `memory`, `pressure memory`,
/// `pressure io`, as the script prints them. What cannot be read is an empty section.
pub async fn describe() -> String {
    let mut said = tokio::task::spawn_blocking(file_systems)
        .await
        .unwrap_or_default();
    let before = LAST
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .filter(|(at, _)| APART.contains(&at.elapsed()));
    let before = match before {
        Some((_, line)) => line,
        None => {
            let line = cpu();
            tokio::time::sleep(PAUSE).await;
            line
        }
    };
    let now = cpu();
    let _ = writeln!(said, "== cpu\n{before}\n{now}");
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), now));
    let cores = online().map(|cores| cores.to_string());
    for (section, body) in [
        ("cores", cores),
        ("load", read("/proc/loadavg")),
        ("memory", read("/proc/meminfo")),
        ("pressure memory", read("/proc/pressure/memory")),
        ("pressure io", read("/proc/pressure/io")),
    ] {
        let _ = writeln!(said, "== {section}\n{}", body.unwrap_or_default());
    }
    said
}

/// How many cores are in use by the kernel; `None` where it does not say.
pub fn online() -> Option<u64> {
    let ranges = read("/sys/devices/system/cpu/online")?;
    count(ranges.trim())
}

/// All memory of this machine in bytes; `None` where the kernel does not say.
pub fn memory() -> Option<u64> {
    let said = read("/proc/meminfo")?;
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// `0-3,8` are five.
fn count(ranges: &str) -> Option<u64> {
    ranges.split(',').try_fold(0, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some(sum + last.checked_sub(first)? + 1)
    })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn cpu() -> String {
    let all = read("/proc/stat").unwrap_or_default();
    all.lines().next().unwrap_or_default().to_owned()
}

/// A mount of `/proc/self/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: String,
    path: String,
    kind: String,
    source: String,
}

/// `36 35 98:0 /root /mount options optional… - ext4 /dev/sda1 superoptions`; blanks in paths are `\040`.
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (device, path) = (left.nth(2)?, left.nth(1)?);
    let mut right = right.split(' ');
    let (kind, source) = (right.next()?, right.next()?);
    Some(Mount {
        device: device.to_owned(),
        path: unescape(path),
        kind: kind.to_owned(),
        // Empty for some: a column must not be missing.
        source: if source.is_empty() { "none" } else { source }.to_owned(),
    })
}

fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\134"]
        .iter()
        .zip([" ", "\t", "\\"])
        .fold(path.to_owned(), |path, (code, letter)| {
            path.replace(code, letter)
        })
}

/// Each file system once, where its path is the shortest. Of several mounts at one path the last is the one seen.
fn mounts(text: &str) -> Vec<Mount> {
    let mut at: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in text.lines().filter_map(mount) {
        at.insert(mount.path.clone(), mount);
    }
    let mut of: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in at.into_values() {
        let is_away = AWAY.iter().any(|kind| mount.kind.starts_with(kind));
        let is_longer =
            (of.get(&mount.device)).is_some_and(|known| known.path.len() <= mount.path.len());
        if !is_away && !is_longer {
            of.insert(mount.device.clone(), mount);
        }
    }
    of.into_values().collect()
}

/// The sections `bytes` and `inodes`, in the columns of `df -PTk` and `df -PTi`.
fn file_systems() -> String {
    let head = "Filesystem Type All Used Available Capacity Mounted on\n";
    let (mut bytes, mut inodes) = (format!("== bytes\n{head}"), format!("== inodes\n{head}"));
    for mount in mounts(&read("/proc/self/mountinfo").unwrap_or_default()) {
        let Ok(found) = rustix::fs::statvfs(mount.path.as_str()) else {
            continue;
        };
        let kilobytes = |blocks: u64| blocks.saturating_mul(found.f_frsize) / 1024;
        let row = |into: &mut String, all: u64, used: u64, free: u64| {
            let Mount {
                source, kind, path, ..
            } = &mount;
            let _ = writeln!(into, "{source} {kind} {all} {used} {free} - {path}");
        };
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        row(
            &mut bytes,
            kilobytes(found.f_blocks),
            kilobytes(used),
            kilobytes(found.f_bavail),
        );
        let used = found.f_files.saturating_sub(found.f_ffree);
        row(&mut inodes, found.f_files, used, found.f_ffree);
    }
    bytes + &inodes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_over_ranges() {
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("0-3,8,10-11"), Some(7));
        assert_eq!(count("3-0"), None);
        assert_eq!(count(""), None);
    }

    #[test]
    fn a_file_system_is_listed_once_where_its_path_is_short_and_none_of_another_machine() {
        let text = "\
1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
2 1 8:1 /var/x /var/lib/x rw - ext4 /dev/sda1 rw
3 1 8:2 / /srv/my\\040data rw,noatime - xfs /dev/sdb1 rw
4 1 0:40 / /nas rw - nfs4 nas:/x rw
5 1 0:41 / /home/me/remote rw - fuse.sshfs me@x: rw
6 1 0:50 / /mnt rw - tmpfs first rw
7 6 0:51 / /mnt rw master:2 - tmpfs second rw
";
        let found = mounts(text);
        let found: Vec<(&str, &str)> = (found.iter())
            .map(|mount| (mount.path.as_str(), mount.source.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("/mnt", "second"),
                ("/", "/dev/sda1"),
                ("/srv/my data", "/dev/sdb1")
            ]
        );
    }

    #[tokio::test]
    async fn this_machine_is_described_in_every_section() {
        let said = describe().await;
        for section in [
            "bytes",
            "inodes",
            "cpu",
            "cores",
            "load",
            "memory",
            "pressure io",
        ] {
            assert!(
                said.contains(&format!("== {section}\n")),
                "{section}: {said}"
            );
        }
        assert_eq!(
            said.lines().filter(|line| line.starts_with("cpu ")).count(),
            2
        );
        assert!(said.contains("MemAvailable:"), "{said}");
        assert!(said.lines().any(|line| line.ends_with(" - /")), "{said}");
    }
}
