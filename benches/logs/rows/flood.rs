//! Row d: a container that writes 100,000 lines a second; nothing may be lost, and keys still answer.

use std::time::Duration;

use regex::Regex;

use super::follow::{Flow, has_come, through_lnav, watch};
use super::{Bench, Fallible, Goal, Line, Unit, open_console, pick};
use crate::containers::Writer;
use crate::lines::newest_time;
use crate::screen::Program;
use crate::table::with_commas;

const RATE: u64 = 100_000;
/// Under a million, so that the console's title counts every single one.
const LINES: u64 = 900_000;
const PRESSES: u64 = 100;

struct Flooded {
    flow: Flow,
    lost: f64,
}

/// The program stands ready, then all lines come; what it has seen at the end is asked of `lost`.
fn flood(
    bench: &Bench<'_>,
    open: impl Fn(&str) -> Fallible<Program>,
    lost: impl Fn(&Program) -> Fallible<u64>,
) -> Fallible<Flooded> {
    let writer = Writer::start(bench.work, "flood", RATE, LINES)?;
    let program = open(&writer.name)?;
    std::thread::sleep(Duration::from_secs(2));
    writer.go()?;
    std::thread::sleep(Duration::from_secs(2));
    let flow = watch(&writer, &program, Duration::from_secs(5))?;
    writer.wait_for(LINES, Duration::from_secs(60))?;
    program.wait_until_idle(Duration::from_secs(30))?;
    Ok(Flooded {
        flow,
        lost: lost(&program)? as f64,
    })
}

/// What the title counts: `held 120,000 of 900,000 · 0 skipped`. Lines that it says it skipped and lines that it does
/// not speak of are lost alike.
fn lost_by_title(program: &Program) -> Fallible<u64> {
    let text = program.text();
    let title = Regex::new(r"held ([\d,]+)(?: of ([\d,]+))?\D.*?([\d,]+) skipped")?;
    let found = title.captures(&text).ok_or("no counts in the title")?;
    let count = |group| -> Option<u64> {
        let text: regex::Match<'_> = found.get(group)?;
        text.as_str().replace(',', "").parse().ok()
    };
    let received = count(2)
        .or_else(|| count(1))
        .ok_or("no count in the title")?;
    let skipped = count(3).unwrap_or(0);
    Ok(skipped.max(LINES.saturating_sub(received)))
}

/// The time from a key to its frame, while lines flow: the 99th of a hundred, in milliseconds.
fn key_to_frame(bench: &Bench<'_>) -> Fallible<f64> {
    let limit = Duration::from_secs(5);
    let writer = Writer::start(bench.work, "keys", RATE, 0)?;
    let console = open_console(bench.work, &writer.name)?;
    writer.go()?;
    console.wait_for(limit, |text| newest_time(text).is_some())?;
    std::thread::sleep(Duration::from_secs(2));
    let mut times = Vec::new();
    for press in 0..PRESSES {
        // Out of step with frames that come ten times a second.
        std::thread::sleep(Duration::from_millis(30 + press * 37 % 100));
        let word = if press.is_multiple_of(2) {
            "PAUSED"
        } else {
            "FOLLOW"
        };
        times.push(console.press("f", limit, move |text| text.contains(word))?);
    }
    times.sort();
    Ok(times[times.len() - 2].as_secs_f64() * 1e3)
}

fn commas(number: u64) -> String {
    with_commas(&number.to_string())
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    bench.engine()?;
    let lastgood = bench.repeat(1, || {
        flood(bench, |name| open_console(bench.work, name), lost_by_title)
    });
    let lnav = bench.repeat_peer(&bench.peers.lnav, 1, |_| {
        flood(
            bench,
            |name| Program::start(&through_lnav(bench, name)),
            |_| Ok(0),
        )
    });
    // How far behind the engine itself is, and what the plainest follower costs.
    let docker = bench.repeat_peer(&bench.peers.docker, 1, |program| {
        let open = |name: &str| Program::start(&bench.work.command(program, &["logs", "-f", name]));
        flood(bench, open, |_| Ok(0))
    });
    let keys = bench.repeat(1, || key_to_frame(bench));
    let rate = pick(&lastgood, |flooded| flooded.flow.rate);
    let came = rate.map_or_else(
        |_| String::new(),
        |rate| format!(" ({} came)", commas(rate as u64)),
    );
    let (asked, all) = (commas(RATE), commas(LINES));
    let runs = [&lastgood, &lnav].into_iter().flatten().flatten();
    let is_sound = has_come(runs.map(|flooded| &flooded.flow), RATE);
    let both = |what: &str, unit, goal, number: fn(&Flooded) -> f64| Line {
        row: 'd',
        is_sound,
        work: format!("{asked} lines/s: {what}"),
        unit,
        lastgood: pick(&lastgood, number),
        peers: vec![
            (bench.peers.lnav.name, pick(&lnav, number)),
            (bench.peers.docker.name, pick(&docker, number)),
        ],
        goal,
    };
    let mut lost = both(
        &format!("lost of {all}{came}"),
        Unit::Lines,
        Goal::Zero,
        |f| f.lost,
    );
    lost.peers.clear();
    Ok(vec![
        lost,
        both("CPU", Unit::Percent, Goal::AtMostTimesFirst(0.3), |f| {
            f.flow.cost.cpu_percent
        }),
        both("lag", Unit::Seconds, Goal::AtMost(0.3), |f| {
            f.flow.lag_seconds
        }),
        both("memory", Unit::Megabytes, Goal::AtMost(128.0), |f| {
            f.flow.cost.memory
        }),
        Line {
            row: 'd',
            is_sound,
            work: format!("{asked} lines/s: key to frame, p99 of {PRESSES}"),
            unit: Unit::Milliseconds,
            lastgood: pick(&keys, |p99| *p99),
            peers: Vec::new(),
            goal: Goal::AtMost(16.0),
        },
    ])
}
