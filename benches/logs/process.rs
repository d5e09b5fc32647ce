//! What a process and all that it started cost, as the kernel counts it.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Fallible;

/// The process and its descendants, the oldest first.
pub(crate) fn tree(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    for thread in threads(process) {
        let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            found.extend(child.parse().map(tree).unwrap_or_default());
        }
    }
    found
}

fn threads(process: u32) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{process}/task"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

/// CPU seconds so far, of threads and children that ended too; to a hundredth.
pub(crate) fn cpu_total(processes: &[u32]) -> f64 {
    let ticks: u64 = processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/stat")).ok())
        .map(|stat| {
            // After the name in brackets, which may hold anything: utime, stime, cutime, cstime.
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let numbers = fields.split_whitespace().skip(11).take(4);
            numbers.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>()
        })
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds so far of the threads that live, to a nanosecond: for short windows, where a hundredth is much.
pub(crate) fn cpu_of_living(processes: &[u32]) -> f64 {
    let nanoseconds: u64 = processes
        .iter()
        .flat_map(|process| threads(*process))
        .filter_map(|thread| fs::read_to_string(thread.join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    nanoseconds as f64 / 1e9
}

/// CPU time at an instant, by both of the kernel's counts.
pub(crate) struct Cpu {
    fine: f64,
    coarse: f64,
}

impl Cpu {
    pub(crate) fn of(processes: &[u32]) -> Cpu {
        Cpu {
            fine: cpu_of_living(processes),
            coarse: cpu_total(processes),
        }
    }

    /// Seconds since `earlier`. The fine count forgets threads that ended in between; where both disagree by more
    /// than the coarse one's steps, that one is right.
    pub(crate) fn since(&self, earlier: &Cpu) -> f64 {
        let (fine, coarse) = (self.fine - earlier.fine, self.coarse - earlier.coarse);
        if (fine - coarse).abs() > 0.05 {
            coarse
        } else {
            fine
        }
    }
}

/// Whether any thread wants a core or waits for a disk. On a busy machine a program can be at work and yet get no CPU.
pub(crate) fn is_at_work(processes: &[u32]) -> bool {
    processes
        .iter()
        .flat_map(|process| threads(*process))
        .filter_map(|thread| fs::read_to_string(thread.join("stat")).ok())
        .any(|stat| {
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            after_name.trim_start().starts_with(['R', 'D'])
        })
}

/// Resident memory in millions of bytes, pages of mapped files included.
pub(crate) fn memory(processes: &[u32]) -> f64 {
    let kibibytes: u64 = processes
        .iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    kibibytes as f64 * 1024.0 / 1e6
}

/// A command that ran to its end, its output drained and counted.
#[derive(Debug)]
pub(crate) struct Ran {
    /// User and system time of the whole tree.
    pub(crate) cpu_seconds: f64,
    /// From start to end.
    pub(crate) wall: Duration,
    /// Lines on stdout; 0 where it went to /dev/null.
    pub(crate) lines: u64,
}

/// Runs `command` to its end. Its stdout goes through a pipe, since grep stops at the first match when it sees
/// /dev/null, or to /dev/null where `is_counted` is false.
///
/// # Errors
/// It cannot be started, or it ends with anything but 0, with its last words.
pub(crate) fn run(command: &Command, is_counted: bool) -> Fallible<Ran> {
    // bash's `time` has the kernel's numbers for the whole tree, to a millisecond.
    let mut timed = Command::new("bash");
    timed
        .args(["-c", "TIMEFORMAT='%3R %3U %3S'; time \"$@\"", "bash"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(if is_counted {
            Stdio::piped()
        } else {
            Stdio::null()
        });
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            timed.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let mut child = timed.spawn()?;
    let mut lines = 0;
    if let Some(mut stdout) = child.stdout.take() {
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stdout.read(&mut buffer)? {
                0 => break,
                count => lines += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64,
            }
        }
    }
    let output = child.wait_with_output()?;
    let talk = String::from_utf8_lossy(&output.stderr);
    let (words, times) = talk
        .trim_end()
        .rsplit_once('\n')
        .unwrap_or(("", talk.trim_end()));
    if !output.status.success() {
        let name = command.get_program().to_string_lossy().into_owned();
        return Err(format!("{name}: {}: {}", output.status, words.trim()).into());
    }
    let numbers: Vec<f64> = times
        .split(' ')
        .filter_map(|n| n.replace(',', ".").parse().ok())
        .collect();
    let [real, user, system] = numbers.as_slice() else {
        return Err(format!("bash's time said {times:?}").into());
    };
    Ok(Ran {
        cpu_seconds: user + system,
        wall: Duration::from_secs_f64(*real),
        lines,
    })
}
