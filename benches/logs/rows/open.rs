//! Row a: a large log is opened; how soon something is to be read, and what it costs until the tool has taken it in.

use std::process::Command;
use std::time::Duration;

use super::{Bench, Fallible, Goal, Line, Unit, pick};
use crate::process;
use crate::screen::Program;
use crate::table::with_commas;

/// How the console is opened on a file, which comes last.
const OPEN: &[&str] = &["tui", "--only", "logs"];

struct Opened {
    first_screen_ms: f64,
    cpu_seconds: f64,
    memory: f64,
}

fn open(command: &Command) -> Fallible<Opened> {
    let program = Program::start(command)?;
    let at = program.wait_for(Duration::from_secs(60), |text| {
        text.contains("completed in")
    })?;
    program.wait_until_idle(Duration::from_secs(300))?;
    Ok(Opened {
        first_screen_ms: program.since_start(at).as_secs_f64() * 1e3,
        cpu_seconds: program.cpu_seconds(),
        memory: program.memory(),
    })
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    let log = bench.big_log()?;
    let (work, peers, name) = (bench.work, bench.peers, log.name());
    let mut arguments = OPEN.to_vec();
    arguments.push(&name);
    let lastgood = bench.repeat(3, || open(&work.lastgood(&arguments)));
    let lnav = bench.repeat_peer(&peers.lnav, 3, |p| open(&work.command(p, &[&name])));
    let less = bench.repeat_peer(&peers.less, 3, |p| open(&work.command(p, &[&name])));
    let wc = bench.repeat_peer(&peers.wc, 3, |p| {
        process::run(&work.command(p, &["-l", &name]), true)
    });
    let what = format!(
        "open {} MB, {:.1} million lines",
        with_commas(&bench.options.megabytes.to_string()),
        log.lines as f64 / 1e6
    );
    let (lnav_is, less_is, wc_is) = (peers.lnav.name, peers.less.name, peers.wc.name);
    Ok(vec![
        Line {
            row: 'a',
            is_sound: true,
            work: format!("{what}: first screen"),
            unit: Unit::Milliseconds,
            lastgood: pick(&lastgood, |o| o.first_screen_ms),
            peers: vec![
                (lnav_is, pick(&lnav, |o| o.first_screen_ms)),
                (less_is, pick(&less, |o| o.first_screen_ms)),
            ],
            goal: Goal::AtMost(30.0),
        },
        Line {
            row: 'a',
            is_sound: true,
            work: "CPU until it is indexed (less has no index)".to_owned(),
            unit: Unit::Seconds,
            lastgood: pick(&lastgood, |o| o.cpu_seconds),
            peers: vec![
                (lnav_is, pick(&lnav, |o| o.cpu_seconds)),
                (wc_is, pick(&wc, |ran| ran.cpu_seconds)),
            ],
            goal: Goal::AtMostTimesFirst(0.1),
        },
        Line {
            row: 'a',
            is_sound: true,
            work: "memory then".to_owned(),
            unit: Unit::Megabytes,
            lastgood: pick(&lastgood, |o| o.memory),
            peers: vec![
                (lnav_is, pick(&lnav, |o| o.memory)),
                (less_is, pick(&less, |o| o.memory)),
            ],
            goal: Goal::AtMost(64.0),
        },
    ])
}
