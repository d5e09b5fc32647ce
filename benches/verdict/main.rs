//! How right and how fast `compare` is: `cargo bench --bench verdict`.
//!
//! Everything is measured from outside, on the release binary. Logs are made here, as ten usual stacks write them, so
//! that what a deploy changed is known; what real logs are grouped into is measured on labelled sets that are not part
//! of this repository (`--loghub`). The tables go to stdout, talk to stderr.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurer has no event loop to block, and prints"
)]

mod dice;
mod grouping;
mod measured;
mod pairs;
mod speed;
mod stacks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use pairs::{Judge, Tally};
use stacks::STACKS;

/// What goes wrong is told to a person and ends the run, so a sentence is enough.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Groups of labelled logs
    Grouping,
    /// Deploys that broke something
    Broken,
    /// Deploys that changed nothing
    Unchanged,
    /// Time and memory
    Speed,
}

/// How right and how fast compare is
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench verdict --")]
struct Options {
    /// Only these tables
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Broken deploys of each stack
    #[arg(long, default_value_t = 3, value_name = "N")]
    seeds: u64,
    /// Unchanged deploys, over all volumes
    #[arg(long, default_value_t = 200, value_name = "N")]
    pairs: usize,
    /// Say of each wrong answer what it was
    #[arg(long)]
    explain: bool,
    /// Labelled logs: a folder for each set, with content.log, raw.log and templates.tsv (number, tab, template of each
    /// line), as made from github.com/logpai/loghub
    #[arg(long, value_name = "FOLDER")]
    loghub: Option<PathBuf>,
    /// Size of each side where time is measured, in millions of bytes
    #[arg(long, default_value_t = 500, value_name = "MB")]
    megabytes: u64,
    /// Leave the logs of every pair in this folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// Requests on each side of a broken deploy.
const REQUESTS: usize = 8_000;
/// Requests on each side of an unchanged one.
const VOLUMES: [usize; 5] = [5, 40, 300, 2_000, 12_000];

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Fallible<()> {
    let folder = tempfile::Builder::new()
        .prefix("lastgood-verdict-")
        .tempdir()?;
    let program = std::env::var_os("LASTGOOD_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_lastgood")),
        PathBuf::from,
    );
    if let Some(keep) = &options.keep {
        std::fs::create_dir_all(keep)?;
    }
    let judge = Judge {
        program: &program,
        folder: options.keep.as_deref().unwrap_or(folder.path()),
    };
    let is_wanted = |part| options.only.is_empty() || options.only.contains(&part);
    if is_wanted(Part::Grouping) {
        grouped(&program, options)?;
    }
    if is_wanted(Part::Broken) {
        broken(&judge, options)?;
    }
    if is_wanted(Part::Unchanged) {
        unchanged(&judge, options)?;
    }
    if is_wanted(Part::Speed) {
        fast(&judge, options)?;
    }
    Ok(())
}

fn grouped(program: &Path, options: &Options) -> Fallible<()> {
    let Some(root) = &options.loghub else {
        println!("Groups of labelled logs: not measured, --loghub FOLDER names none\n");
        return Ok(());
    };
    let sets = grouping::measure(program, root)?;
    println!("Groups of labelled logs (GA: lines in exactly right groups; FGA: F1 over groups)\n");
    println!("| set | messages: GA | FGA | whole lines: GA | FGA |");
    println!("|---|---|---|---|---|");
    let mean = |number: fn(&grouping::Set) -> f64| {
        sets.iter().map(number).sum::<f64>() / sets.len() as f64
    };
    for set in &sets {
        let (content, raw) = (set.content, set.raw);
        println!(
            "| {} | {:.3} | {:.3} | {:.3} | {:.3} |",
            set.name, content.lines, content.groups, raw.lines, raw.groups
        );
    }
    println!(
        "| mean | {:.3} | {:.3} | {:.3} | {:.3} |\n",
        mean(|s| s.content.lines),
        mean(|s| s.content.groups),
        mean(|s| s.raw.lines),
        mean(|s| s.raw.groups)
    );
    Ok(())
}

fn fast(judge: &Judge<'_>, options: &Options) -> Fallible<()> {
    let rows = speed::measure(judge.program, judge.folder, options.megabytes)?;
    println!("Time and memory, medians of three\n");
    println!("| work | wall | CPU | memory |");
    println!("|---|---|---|---|");
    for speed::Row { work, measured } in rows {
        let wall = measured.wall.as_secs_f64();
        println!(
            "| {work} | {wall:.2} s | {:.2} s | {:.0} MB |",
            measured.cpu, measured.memory
        );
    }
    println!();
    Ok(())
}

fn broken(judge: &Judge<'_>, options: &Options) -> Fallible<()> {
    println!(
        "Broken deploys: {REQUESTS} requests a side; five new errors (120, 40, 12, 6 and 4 times), a message gone,\none five times as frequent, one route four times as slow\n"
    );
    println!("| stack | deploys | roll back | changes found | false new errors |");
    println!("|---|---|---|---|---|");
    let mut wrong = Vec::new();
    for stack in STACKS {
        let tally = judge.broken(stack, options.seeds, REQUESTS)?;
        println!(
            "| {} | {} | {} | {} of {} | {} |",
            stack.name,
            tally.pairs,
            tally.decided("roll_back"),
            tally.found,
            tally.made,
            tally.false_new
        );
        wrong.extend(tally.wrong);
    }
    println!();
    explain(&wrong, options);
    Ok(())
}

fn unchanged(judge: &Judge<'_>, options: &Options) -> Fallible<()> {
    println!("Unchanged deploys, all stacks in turn\n");
    println!(
        "| requests a side | deploys | keep | inconclusive | watch | roll back | false new errors |"
    );
    println!("|---|---|---|---|---|---|---|");
    let row = |name: &str, tally: &Tally| {
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            tally.pairs,
            tally.decided("keep"),
            tally.decided("inconclusive"),
            tally.decided("watch"),
            tally.decided("roll_back"),
            tally.false_new
        );
    };
    let mut all = Tally::default();
    for requests in VOLUMES {
        let tally = judge.unchanged(options.pairs / VOLUMES.len(), requests)?;
        row(&requests.to_string(), &tally);
        all.pairs += tally.pairs;
        all.false_new += tally.false_new;
        for (decision, count) in tally.decisions {
            *all.decisions.entry(decision).or_default() += count;
        }
        all.wrong.extend(tally.wrong);
    }
    row("all", &all);
    println!();
    explain(&all.wrong, options);
    Ok(())
}

fn explain(wrong: &[String], options: &Options) {
    if options.explain {
        wrong.iter().for_each(|text| eprintln!("{text}"));
    }
}
