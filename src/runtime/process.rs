//! What the kernel knows of a process of this machine: when it was started, its CPU time, its memory.

use std::fs;

use jiff::{SignedDuration, Timestamp};

/// A look at `/proc/<pid>`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// When it was started.
    pub(super) started_at: Timestamp,
    /// CPU time it has used so far, in seconds.
    pub(super) cpu_seconds: f64,
    /// Memory it holds.
    pub(super) memory_bytes: u64,
}

/// Looks at a process; `None` where there is none, it is a zombie, or this system has no `/proc`.
pub(super) fn look(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = Fields::parse(&stat)?;
    let boot = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let after_boot = SignedDuration::try_from_secs_f64(fields.start as f64 / ticks).ok()?;
    Some(Process {
        started_at: boot.checked_add(after_boot).ok()?,
        cpu_seconds: fields.cpu as f64 / ticks,
        memory_bytes: fields.resident_pages * rustix::param::page_size() as u64,
    })
}

struct Fields {
    cpu: u64,
    start: u64,
    resident_pages: u64,
}

impl Fields {
    /// Fields are counted after the last `)`: a process can call itself anything.
    fn parse(stat: &str) -> Option<Self> {
        let rest = stat.rsplit_once(')')?.1;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        if *fields.first()? == "Z" {
            return None;
        }
        let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
        // proc(5) counts from 1 and the state is field 3: here it is field 0.
        Some(Self {
            cpu: number(11)? + number(12)?,
            start: number(19)?,
            resident_pages: number(21)?,
        })
    }
}

/// The memory of the whole machine, in bytes.
pub(super) fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn boot_time(stat: &str) -> Option<Timestamp> {
    let line = stat.lines().find_map(|l| l.strip_prefix("btime "))?;
    Timestamp::from_second(line.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_was_started_a_while_ago() {
        let me = look(std::process::id()).unwrap();
        let age = Timestamp::now().duration_since(me.started_at);
        assert!(age < SignedDuration::from_hours(2), "{age}");
        assert!(age > SignedDuration::from_secs(-2), "{age}");
        assert!(me.memory_bytes > 100_000);
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 555 1000 42 1 0";
        let fields = Fields::parse(stat).unwrap();
        assert_eq!(
            (fields.cpu, fields.start, fields.resident_pages),
            (42, 555, 42)
        );
        assert!(Fields::parse(&stat.replace(") S", ") Z")).is_none());
    }
}
