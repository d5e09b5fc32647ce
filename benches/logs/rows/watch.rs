//! Row h: what watching twenty services costs a machine, and its engine, which may be in trouble already.

use std::time::{Duration, Instant};

use super::{Bench, Fallible, Goal, Line, Reading, Unit, pick};
use crate::containers::Writer;
use crate::screen::Program;

const SERVICES: usize = 20;
/// Lines a second of each: a service that is in use.
const RATE: u64 = 10;
const LONG: Duration = Duration::from_secs(60);
/// What a start costs is paid once: the first looks are left out.
const BEGIN: Duration = Duration::from_secs(20);

struct Cost {
    own: f64,
    engine: f64,
    /// Kilobytes a second to the terminal.
    written: f64,
    /// Bytes to the terminal after which its screen is what it was.
    in_vain: f64,
}

/// What the program that `open` starts costs over a minute, and costs the engine: CPU in per cent of a core.
fn cost(bench: &Bench<'_>, open: impl Fn() -> Fallible<Option<Program>>) -> Fallible<Cost> {
    let engine = bench.engine()?;
    let mut services = Vec::new();
    for number in 0..SERVICES {
        let writer = Writer::start(bench.work, &format!("watched-{number}"), RATE, 0)?;
        writer.go()?;
        services.push(writer);
    }
    let program = open()?;
    std::thread::sleep(BEGIN);
    let (begun, before) = (Instant::now(), engine.cpu_seconds());
    let mut in_vain = 0;
    let watched = program.as_ref().map(|program| {
        let (mut shown, mut bytes) = (program.text(), program.bytes());
        program.watch(LONG, |text| {
            let now = program.bytes();
            if shown == text {
                in_vain += now - bytes;
            }
            text.clone_into(&mut shown);
            bytes = now;
        })
    });
    if watched.is_none() {
        std::thread::sleep(LONG);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let watched = watched.unwrap_or_default();
    let found = Cost {
        own: watched.cpu_percent,
        engine: (engine.cpu_seconds() - before) / seconds * 100.0,
        written: watched.bytes_per_second / 1000.0,
        in_vain: in_vain as f64,
    };
    for service in &services {
        service.wait_for(1, Duration::from_secs(5))?;
    }
    Ok(found)
}

pub(super) fn measure(bench: &Bench<'_>) -> Fallible<Vec<Line>> {
    bench.engine()?;
    let nobody = bench.repeat(1, || cost(bench, || Ok(None)));
    let idle = pick(&nobody, |cost| cost.engine);
    let own = |arguments: &[&str]| {
        bench.repeat(1, || {
            cost(bench, || {
                Program::start(&bench.work.lastgood(arguments)).map(Some)
            })
        })
    };
    let watched = own(&["watch"]);
    let wall = own(&["tui", "--wall"]);
    let docker = bench.repeat_peer(&bench.peers.docker, 1, |program| {
        cost(bench, || {
            Program::start(&bench.work.command(program, &["stats"])).map(Some)
        })
    });
    let oxker = bench.repeat_peer(&bench.peers.oxker, 1, |program| {
        cost(bench, || {
            Program::start(&bench.work.command(program, &[])).map(Some)
        })
    });
    let peers = |number: &dyn Fn(&Cost) -> f64| {
        vec![
            ("docker stats", pick(&docker, number)),
            (bench.peers.oxker.name, pick(&oxker, number)),
        ]
    };
    let line = |what: &str, unit, lastgood: Reading, peers, goal| Line {
        row: 'h',
        is_sound: true,
        work: format!("watch 20 containers for 60 s: {what}"),
        unit,
        lastgood,
        peers,
        goal,
    };
    let less = idle.clone().unwrap_or(0.0);
    let beyond = |cost: &Cost| (cost.engine - less).max(0.0);
    let extra = |found: &Result<Vec<Cost>, String>| idle.clone().and_then(|_| pick(found, beyond));
    let cpu = Goal::AtMost(1.0);
    let percent = Unit::Percent;
    Ok(vec![
        line(
            "own CPU",
            percent,
            pick(&watched, |cost| cost.own),
            peers(&|cost| cost.own),
            cpu,
        ),
        line(
            "the engine's CPU beyond that without a watcher",
            percent,
            extra(&watched),
            peers(&beyond),
            cpu,
        ),
        line(
            "own CPU of the wall",
            percent,
            pick(&wall, |cost| cost.own),
            peers(&|cost| cost.own),
            cpu,
        ),
        line(
            "the engine's CPU beyond that, for the wall",
            percent,
            extra(&wall),
            peers(&beyond),
            cpu,
        ),
        line(
            "to the terminal of the wall",
            Unit::KilobytesPerSecond,
            pick(&wall, |cost| cost.written),
            peers(&|cost| cost.written),
            Goal::None,
        ),
        line(
            "to it while its screen stays the same",
            Unit::Bytes,
            pick(&wall, |cost| cost.in_vain),
            peers(&|cost| cost.in_vain),
            Goal::Zero,
        ),
    ])
}
