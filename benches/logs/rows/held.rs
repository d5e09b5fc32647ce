//! Row e: 300,000 lines came, and then nothing: what they take, and that nothing costs nothing.

use std::time::Duration;

use super::follow::through_lnav;
use super::{Bench, Fallible, Goal, Line, Unit, open_console, pick};
use crate::containers::Writer;
use crate::lines::newest_time;
use crate::screen::{Cost, Program};

const LINES: u64 = 300_000;

fn hold(bench: &Bench<'_>, open: impl Fn(&str) -> Fallible<Program>) -> Fallible<Cost> {
    let writer = Writer::start(bench.work, "held", 20_000, LINES)?;
    let program = open(&writer.name)?;
    std::thread::sleep(Duration::from_secs(1));
    writer.go()?;
    writer.wait_for(LINES, Duration::from_secs(60))?;
    program.wait_for(Duration::from_secs(20), |text| newest_time(text).is_some())?;
    program.wait_until_idle(Duration::from_secs(30))?;
    // The rate in a title counts down for a while after the last line.
    std::thread::sleep(Duration::from_secs(15));
    // As long as two looks at the services are apart: half a minute each.
    Ok(program.watch(Duration::from_secs(60), |_| ()))
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    bench.engine()?;
    let lastgood = bench.repeat(1, || hold(bench, |name| open_console(bench.work, name)));
    let lnav = bench.repeat_peer(&bench.peers.lnav, 1, |_| {
        hold(bench, |name| Program::start(&through_lnav(bench, name)))
    });
    let line = |what: &str, unit, goal, number: fn(&Cost) -> f64| Line {
        row: 'e',
        is_sound: true,
        work: format!("300,000 lines held, quiet: {what}"),
        unit,
        lastgood: pick(&lastgood, number),
        peers: vec![(bench.peers.lnav.name, pick(&lnav, number))],
        goal,
    };
    Ok(vec![
        line("memory", Unit::Megabytes, Goal::AtMost(64.0), |cost| {
            cost.memory
        }),
        line("CPU", Unit::Percent, Goal::Zero, |cost| cost.cpu_percent),
    ])
}
