//! Row f: a container's whole log is read without a screen, against what the engine can give at most.

use std::time::Duration;

use super::{Bench, Fallible, Goal, Line, Unit, pick};
use crate::containers::Writer;
use crate::process;

const LINES: u64 = 1_000_000;

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    let engine = bench.engine()?;
    let work = bench.work;
    let writer = Writer::start(work, "reader", 0, LINES)?;
    writer.go()?;
    writer.wait_for(LINES, Duration::from_secs(120))?;
    std::thread::sleep(Duration::from_secs(1));
    let rate = |wall: Duration| LINES as f64 / wall.as_secs_f64();
    let ceiling = bench.repeat_peer(&bench.peers.curl, 3, |_| {
        Ok(rate(
            process::run(&engine.curl(work, &writer.name), false)?.wall,
        ))
    });
    let command = work.lastgood(&["logs", &writer.name, "--raw"]);
    // Once with its lines counted: a reader that leaves lines out is fast.
    let counted = process::run(&command, true)?.lines;
    let lastgood = bench.repeat(3, || {
        if counted != LINES {
            return Err(format!("it prints {counted} of {LINES} lines").into());
        }
        Ok(rate(process::run(&command, false)?.wall))
    });
    let docker = bench.repeat_peer(&bench.peers.docker, 3, |program| {
        Ok(rate(
            process::run(&work.command(program, &["logs", &writer.name]), false)?.wall,
        ))
    });
    Ok(vec![Line {
        row: 'f',
        is_sound: true,
        work: "read a container's million lines, no screen".to_owned(),
        unit: Unit::LinesPerSecond,
        lastgood: pick(&lastgood, |rate| *rate),
        peers: vec![
            (bench.peers.curl.name, pick(&ceiling, |rate| *rate)),
            ("docker logs", pick(&docker, |rate| *rate)),
        ],
        goal: Goal::AtLeastTimesFirst(0.9),
    }])
}
