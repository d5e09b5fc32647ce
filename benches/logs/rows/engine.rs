//! Row g: what following costs the engine itself, which pays for every line that it hands out.

use std::time::{Duration, Instant};

use super::{Bench, Fallible, Goal, Line, Unit, open_console, pick};
use crate::containers::Writer;
use crate::screen::Program;

const RATE: u64 = 100_000;

/// The engine's CPU while lines flow, in per cent of a core, with the follower that `open` starts, if any.
fn cost(bench: &Bench<'_>, open: impl Fn(&str) -> Fallible<Option<Program>>) -> Fallible<f64> {
    let engine = bench.engine()?;
    let writer = Writer::start(bench.work, "engine", RATE, 0)?;
    let _follower = open(&writer.name)?;
    writer.go()?;
    std::thread::sleep(Duration::from_secs(2));
    let (begun, before, lines) = (Instant::now(), engine.cpu_seconds(), writer.written());
    std::thread::sleep(Duration::from_secs(6));
    let (cpu, seconds) = (engine.cpu_seconds() - before, begun.elapsed().as_secs_f64());
    let rate = (writer.written() - lines) as f64 / seconds;
    if rate < 0.95 * RATE as f64 {
        return Err(format!("only {rate:.0} lines/s came").into());
    }
    Ok(cpu / seconds * 100.0)
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    bench.engine()?;
    let nobody = bench.repeat(1, || cost(bench, |_| Ok(None)));
    let lastgood = bench.repeat(1, || {
        cost(bench, |name| open_console(bench.work, name).map(Some))
    });
    let docker = bench.repeat_peer(&bench.peers.docker, 1, |_| {
        cost(bench, |name| {
            let line = format!("docker logs -f {name} > /dev/null");
            Program::start(&bench.work.command("sh", &["-c", &line])).map(Some)
        })
    });
    Ok(vec![Line {
        row: 'g',
        is_sound: true,
        work: "the engine's CPU at 100,000 lines/s, followed by".to_owned(),
        unit: Unit::Percent,
        lastgood: pick(&lastgood, |percent| *percent),
        peers: vec![
            ("nobody", pick(&nobody, |percent| *percent)),
            (bench.peers.docker.name, pick(&docker, |percent| *percent)),
        ],
        goal: Goal::None,
    }])
}
