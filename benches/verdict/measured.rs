//! What a command took, as the kernel counts it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Fallible;

/// How often the kernel is asked while a command runs: what it does after the last time is not seen.
const EVERY: Duration = Duration::from_millis(3);

/// What a command and what it waited for took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// From start to end.
    pub(crate) wall: Duration,
    /// User and system time, in seconds, to a hundredth.
    pub(crate) cpu: f64,
    /// The most memory that it had itself, in millions of bytes.
    pub(crate) memory: f64,
}

/// Runs a command to its end, its output thrown away.
///
/// # Errors
/// It cannot be started, or does not end with one of these exit codes.
pub(crate) fn run(command: &mut Command, exits: &[i32]) -> Fallible<Measured> {
    let name = command.get_program().to_string_lossy().into_owned();
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let mut measured = Measured::default();
    let status = loop {
        read(child.id(), &mut measured);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(EVERY);
    };
    measured.wall = begin.elapsed();
    match status.code() {
        Some(code) if exits.contains(&code) => Ok(measured),
        _ => Err(format!("{name} ended with {status}").into()),
    }
}

/// What the process took so far; what has ended is left as it was.
fn read(process: u32, into: &mut Measured) {
    let file = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}"));
    let stat = file("stat").unwrap_or_default();
    // After the name in brackets, which may hold anything: utime, stime, cutime, cstime.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let times = fields.split_whitespace().skip(11).take(4);
    let ticks: u64 = times.filter_map(|n| n.parse::<u64>().ok()).sum();
    into.cpu = into
        .cpu
        .max(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    let status = file("status").unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = most.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    into.memory = into.memory.max(kibibytes.unwrap_or(0.0) * 1024.0 / 1e6);
}
