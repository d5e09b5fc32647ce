//! Row c: a container that writes 10,000 lines a second is followed.
//!
//! Lag is the time between what the newest line on the screen says and now, the median of looks twice a second.

use std::process::Command;
use std::time::{Duration, Instant};

use super::{Bench, Fallible, Goal, Line, PATIENCE, Unit, choose, open_console, pick};
use crate::containers::Writer;
use crate::lines::newest_time;
use crate::screen::{Cost, Program};
use crate::table::{median, with_commas};

const RATE: u64 = 10_000;

/// What a program costs while lines flow, and how far behind its screen is.
pub(super) struct Flow {
    pub(super) cost: Cost,
    pub(super) lag_seconds: f64,
    /// How many lines a second the container wrote meanwhile: on a busy machine fewer than asked for.
    pub(super) rate: f64,
}

/// Whether lines came at the rate asked for, for every program that was watched.
pub(super) fn has_come<'a>(flows: impl IntoIterator<Item = &'a Flow>, rate: u64) -> bool {
    flows.into_iter().all(|flow| flow.rate > 0.95 * rate as f64)
}

/// Watches a program that is showing a flow of lines.
///
/// # Errors
/// No line with a time stands on the screen.
pub(super) fn watch(writer: &Writer, program: &Program, time: Duration) -> Fallible<Flow> {
    let mut lags = Vec::new();
    let (begun, before) = (Instant::now(), writer.written());
    let cost = program.watch(time, |screen| {
        let now = jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
        lags.extend(newest_time(screen).map(|newest| now - newest));
    });
    let lag_seconds = median(lags).ok_or("no time on its screen")?;
    let lines = writer.written() - before;
    Ok(Flow {
        cost,
        lag_seconds,
        rate: lines as f64 / begun.elapsed().as_secs_f64(),
    })
}

/// The shell's line that pages a container's log with lnav.
pub(super) fn through_lnav(bench: &Bench<'_>, container: &str) -> Command {
    let line = format!("docker logs -f {container} 2>&1 | lnav");
    bench.work.command("sh", &["-c", &line])
}

/// Lines flow, then the program is opened and watched.
fn follow(bench: &Bench<'_>, open: impl Fn(&str) -> Fallible<Program>) -> Fallible<Flow> {
    let writer = Writer::start(bench.work, "follow", RATE, 0)?;
    writer.go()?;
    writer.wait_for(RATE, PATIENCE)?;
    let program = open(&writer.name)?;
    program.wait_for(PATIENCE, |text| newest_time(text).is_some())?;
    std::thread::sleep(Duration::from_secs(3));
    watch(&writer, &program, Duration::from_secs(10))
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    bench.engine()?;
    let (work, peers) = (bench.work, bench.peers);
    let lastgood = bench.repeat(1, || follow(bench, |name| open_console(work, name)));
    let docker = bench.repeat_peer(&peers.docker, 1, |program| {
        follow(bench, |name| {
            Program::start(&work.command(program, &["logs", "-f", name]))
        })
    });
    let lnav = bench.repeat_peer(&peers.lnav, 1, |_| {
        follow(bench, |name| Program::start(&through_lnav(bench, name)))
    });
    let oxker = bench.repeat_peer(&peers.oxker, 1, |program| {
        follow(bench, |name| {
            let oxker = Program::start(&work.command(program, &[]))?;
            oxker.wait_for(PATIENCE, |text| text.contains("Logs"))?;
            choose(&oxker, ("\x1b[A", "\x1b[B"), &format!(" - {name} - "))?;
            Ok(oxker)
        })
    });
    let all = [
        (&peers.docker, &docker),
        (&peers.lnav, &lnav),
        (&peers.oxker, &oxker),
    ];
    let flows = [&lastgood, &docker, &lnav, &oxker];
    let is_sound = has_come(flows.into_iter().flatten().flatten(), RATE);
    let rate = with_commas(&RATE.to_string());
    let line = |what: &str, unit, goal, number: fn(&Flow) -> f64| Line {
        row: 'c',
        is_sound,
        work: format!("follow a container, {rate} lines/s: {what}"),
        unit,
        lastgood: pick(&lastgood, number),
        peers: all
            .iter()
            .map(|(peer, runs)| (peer.name, pick(runs, number)))
            .collect(),
        goal,
    };
    Ok(vec![
        line("CPU", Unit::Percent, Goal::AtMost(6.0), |flow| {
            flow.cost.cpu_percent
        }),
        line("lag", Unit::Seconds, Goal::AtMost(0.2), |flow| {
            flow.lag_seconds
        }),
        line(
            "to the terminal",
            Unit::KilobytesPerSecond,
            Goal::AtMost(20.0),
            |flow| flow.cost.bytes_per_second / 1e3,
        ),
    ])
}
