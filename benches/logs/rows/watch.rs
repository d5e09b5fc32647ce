//! Row h: what watching twenty services costs a machine, and its engine, which may be in trouble already.

use std::time::{Duration, Instant};

use super::{Bench, Fallible, Goal, Line, Unit, pick};
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
}

/// The CPU of the program that `open` starts and of the engine, in per cent of a core, over a minute.
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
    let own = || program.as_ref().map_or(0.0, Program::cpu_seconds);
    let (begun, before, own_before) = (Instant::now(), engine.cpu_seconds(), own());
    std::thread::sleep(LONG);
    let seconds = begun.elapsed().as_secs_f64();
    let percent = |cpu: f64| cpu / seconds * 100.0;
    let found = Cost {
        own: percent(own() - own_before),
        engine: percent(engine.cpu_seconds() - before),
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
    let watched = bench.repeat(1, || {
        cost(bench, || {
            Program::start(&bench.work.lastgood(&["watch"])).map(Some)
        })
    });
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
    let beside = |number: fn(&Cost) -> f64, less: f64| {
        vec![
            (
                "docker stats",
                pick(&docker, number).map(|cost| (cost - less).max(0.0)),
            ),
            (
                bench.peers.oxker.name,
                pick(&oxker, number).map(|cost| (cost - less).max(0.0)),
            ),
        ]
    };
    let line = |what: &str, lastgood, peers| Line {
        row: 'h',
        is_sound: true,
        work: format!("watch 20 containers for 60 s: {what}"),
        unit: Unit::Percent,
        lastgood,
        peers,
        goal: Goal::AtMost(1.0),
    };
    let extra = idle.clone().and_then(|idle| {
        let engine = pick(&watched, |cost| cost.engine)?;
        Ok((engine - idle).max(0.0))
    });
    let less = idle.unwrap_or(0.0);
    Ok(vec![
        line(
            "own CPU",
            pick(&watched, |cost| cost.own),
            beside(|cost| cost.own, 0.0),
        ),
        line(
            "the engine's CPU beyond that without a watcher",
            extra,
            beside(|cost| cost.engine, less),
        ),
    ])
}
