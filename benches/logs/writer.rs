//! What runs inside the containers: this very program, writing lines at an exact rate.
//!
//! A shell's loop can neither hold a rate nor tell the time of each line, and an interpreter costs the cores that the
//! programs under test need.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Fallible;
use crate::lines::Lines;

/// The first argument that makes this program the writer: `write-lines RATE LINES FOLDER`.
pub(crate) const SUBCOMMAND: &str = "write-lines";

/// The file in the folder that lets the writer begin.
pub(crate) const GO: &str = "go";
/// The file in the folder that says how many lines are written.
pub(crate) const COUNT: &str = "count";

/// How often lines are written: by absolute deadlines, so that a late batch does not slow the rate.
const BEAT: Duration = Duration::from_millis(5);

/// Waits for the file `go` in FOLDER, writes RATE lines a second (0: as fast as they are taken) until LINES are
/// written (0: for ever), then stays silent. How many are written stands in FOLDER's file `count`.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Fallible<()> {
    let arguments: Vec<String> = arguments.collect();
    let [rate, limit, folder] = arguments.as_slice() else {
        return Err("write-lines RATE LINES FOLDER".into());
    };
    let (rate, limit, folder) = (rate.parse()?, limit.parse()?, Path::new(folder));
    while !folder.join(GO).exists() {
        std::thread::sleep(BEAT);
    }
    write(rate, limit, folder)?;
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn write(rate: u64, limit: u64, folder: &Path) -> Fallible<()> {
    let mut lines = Lines::new(true);
    let mut batch = Vec::new();
    let mut out = std::io::stdout().lock();
    let begun = Instant::now();
    let mut told = begun;
    for beat in 1.. {
        let mut due = match rate {
            0 => lines.count + 500,
            rate => rate * beat * u64::try_from(BEAT.as_millis())? / 1000,
        };
        if limit > 0 {
            due = due.min(limit);
        }
        // The time at which the batch is handed over: what the pipe holds back counts as the reader's lag.
        let now = Timestamp::now().as_millisecond();
        batch.clear();
        while lines.count < due {
            lines.push(now, &mut batch);
        }
        out.write_all(&batch)?;
        out.flush()?;
        let is_done = limit > 0 && lines.count == limit;
        if is_done || told.elapsed() > Duration::from_millis(100) {
            told = Instant::now();
            std::fs::write(folder.join(COUNT), lines.count.to_string())?;
        }
        if is_done {
            return Ok(());
        }
        if rate > 0 {
            let next = begun + BEAT * u32::try_from(beat)?;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}
