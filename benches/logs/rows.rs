//! The rows of the table, one file a kind of work.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::containers::Engine;
use crate::peers::{Peer, Peers};
use crate::screen::Program;
use crate::table::{self, Goal, Line, Reading, Setting, Unit, median};
use crate::work::Work;
use crate::{Fallible, Options, lines};

mod engine;
mod flood;
mod follow;
mod held;
mod open;
mod reader;
mod search;
mod watch;

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowName {
    /// Open a log of 1 GB
    A,
    /// Search it
    B,
    /// Follow a container that writes 10,000 lines a second
    C,
    /// 100,000 lines a second
    D,
    /// 300,000 lines held, and nothing happens
    E,
    /// Read a container's whole log, no screen
    F,
    /// What following costs the engine
    G,
    /// What watching 20 containers costs
    H,
}

impl RowName {
    fn letter(self) -> char {
        match self {
            RowName::A => 'a',
            RowName::B => 'b',
            RowName::C => 'c',
            RowName::D => 'd',
            RowName::E => 'e',
            RowName::F => 'f',
            RowName::G => 'g',
            RowName::H => 'h',
        }
    }

    fn measure(self, bench: &Bench<'_>) -> Fallible<Vec<Line>> {
        match self {
            RowName::A => open::measure(bench),
            RowName::B => search::measure(bench),
            RowName::C => follow::measure(bench),
            RowName::D => flood::measure(bench),
            RowName::E => held::measure(bench),
            RowName::F => reader::measure(bench),
            RowName::G => engine::measure(bench),
            RowName::H => watch::measure(bench),
        }
    }
}

/// The log of rows a and b.
struct BigLog {
    path: PathBuf,
    lines: u64,
}

impl BigLog {
    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// What the rows share.
struct Bench<'a> {
    work: &'a Work,
    options: &'a Options,
    peers: &'a Peers,
    big_log: Result<BigLog, String>,
    engine: Result<Engine, String>,
}

impl Bench<'_> {
    fn big_log(&self) -> Fallible<&BigLog> {
        self.big_log.as_ref().map_err(|words| words.clone().into())
    }

    fn engine(&self) -> Fallible<&Engine> {
        self.engine.as_ref().map_err(|words| words.clone().into())
    }

    /// Repeats `measure` as often as asked for, by default `usual` times.
    fn repeat<T>(
        &self,
        usual: usize,
        mut measure: impl FnMut() -> Fallible<T>,
    ) -> Result<Vec<T>, String> {
        (0..self.options.runs.unwrap_or(usual).max(1))
            .map(|_| measure().map_err(|error| format!("not measured: {error}")))
            .collect()
    }

    /// As [`Bench::repeat`] for a peer, where it is here.
    fn repeat_peer<T>(
        &self,
        peer: &Peer,
        usual: usize,
        mut measure: impl FnMut(&PathBuf) -> Fallible<T>,
    ) -> Result<Vec<T>, String> {
        let program = peer.program.as_ref().ok_or("not here")?;
        self.repeat(usual, || measure(program))
    }
}

/// The median of one of the numbers that several runs gave.
fn pick<T>(runs: &Result<Vec<T>, String>, number: impl Fn(&T) -> f64) -> Reading {
    let runs = runs.as_ref().map_err(String::clone)?;
    median(runs.iter().map(number).collect()).ok_or_else(|| "not measured".to_owned())
}

/// Measures the chosen rows and prints the table.
pub(crate) fn measure(work: &Work, options: &Options) -> Fallible<()> {
    let chosen: Vec<RowName> = RowName::value_variants()
        .iter()
        .copied()
        .filter(|name| options.only.is_empty() || options.only.contains(name))
        .collect();
    let has = |names: &[RowName]| chosen.iter().any(|name| names.contains(name));
    let not_asked = || "it was not asked for".to_owned();
    let peers = Peers::find(options);
    let setting = Setting::read(peers.versions());
    let bench = Bench {
        work,
        options,
        peers: &peers,
        big_log: if has(&[RowName::A, RowName::B]) {
            write_big_log(work, options).map_err(|error| error.to_string())
        } else {
            Err(not_asked())
        },
        engine: if has(&[
            RowName::C,
            RowName::D,
            RowName::E,
            RowName::F,
            RowName::G,
            RowName::H,
        ]) {
            Engine::find(work).map_err(|error| error.to_string())
        } else {
            Err(not_asked())
        },
    };
    let mut lines = Vec::new();
    for name in chosen {
        eprintln!("row {}", name.letter());
        lines.extend(name.measure(&bench).unwrap_or_else(|error| {
            let about = name.to_possible_value();
            let about = about.as_ref().and_then(|value| value.get_help());
            vec![Line {
                row: name.letter(),
                is_sound: true,
                work: about.map(ToString::to_string).unwrap_or_default(),
                unit: Unit::Seconds,
                lastgood: Err(format!("not measured: {error}")),
                peers: Vec::new(),
                goal: Goal::AtMost(0.0),
            }]
        }));
    }
    print!("{}", table::markdown(&setting, &lines));
    if let Some(path) = &options.json {
        table::write_json(path, &setting, &lines)?;
    }
    Ok(())
}

fn write_big_log(work: &Work, options: &Options) -> Fallible<BigLog> {
    let path = work.path("shop.log");
    eprintln!("writing {} MB to {}", options.megabytes, path.display());
    let lines = lines::write_file(&path, options.megabytes * 1_000_000)?;
    Ok(BigLog { path, lines })
}

/// The console on the log of one container, whatever else runs on this machine.
fn open_console(work: &Work, container: &str) -> Fallible<Program> {
    let console = Program::start(&work.lastgood(&["tui", "--only", "logs"]))?;
    console.wait_for(PATIENCE, |text| text.contains(" logs "))?;
    choose(&console, ("[", "]"), &format!(" {container} "))?;
    Ok(console)
}

/// As long as a program may take for what a person would wait for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Goes to the top of a list with the key `up`, then down by `down` until `title` stands on the screen: lists end at
/// both ends, and which entry is selected at first depends on what else runs on this machine.
fn choose(program: &Program, (up, down): (&str, &str), title: &str) -> Fallible<()> {
    const MOST: usize = 100;
    program.type_keys(&up.repeat(MOST))?;
    for _ in 0..MOST {
        let title = title.to_owned();
        let step = Duration::from_millis(500);
        if program
            .wait_for(step, move |text| text.contains(&title))
            .is_ok()
        {
            return Ok(());
        }
        program.type_keys(down)?;
    }
    Err(format!("it does not show {title}").into())
}
