//! How lastgood reads logs, beside the tools an engineer would open instead: `cargo bench --bench logs`.
//!
//! Everything is measured from outside, on the release binary: programs with a screen run in a pseudo-terminal of
//! 200x50 that answers what a terminal is asked, CPU and memory are the kernel's numbers for the whole process tree,
//! and the lines in containers carry the time at which they were written. What a peer cannot do here is said in words,
//! never as a number. The table goes to stdout, talk to stderr.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurer has no event loop to block, and prints"
)]

mod containers;
mod lines;
mod peers;
mod process;
mod rows;
mod screen;
mod table;
mod work;
mod writer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use rows::RowName;
use work::Work;

/// What goes wrong is told to a person and ends a row, so a sentence is enough.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How lastgood reads logs, beside the tools an engineer would open instead
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench logs --")]
struct Options {
    /// Only these rows
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<RowName>,
    /// Medians of N runs (default: 3 of what takes seconds, 1 of what takes longer)
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Write the numbers as one JSON document too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Size of the log of rows a and b, in millions of bytes
    #[arg(long, default_value_t = 1000, value_name = "MB")]
    megabytes: u64,
    /// Leave the log of rows a and b where it is, and say where
    #[arg(long)]
    keep: bool,
    /// Install no peer that is missing
    #[arg(long)]
    no_install: bool,
    /// Build oxker from crates.io where it is missing (minutes)
    #[arg(long)]
    with_oxker: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(writer::SUBCOMMAND) {
        return ended(writer::run(arguments));
    }
    let options = Options::parse();
    ended(measure(options))
}

fn ended(result: Fallible<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures on a thread of its own, so that Ctrl-C still removes the containers and files.
fn measure(options: Options) -> Fallible<()> {
    let work = Arc::new(Work::new(options.keep)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (done, measured) = tokio::sync::oneshot::channel();
    let on_thread = Arc::clone(&work);
    std::thread::spawn(move || {
        let _ = done.send(rows::measure(&on_thread, &options));
    });
    let result = runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = measured => result.unwrap_or_else(|_| Err("the measuring thread died".into())),
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            _ = terminate.recv() => Err("terminated".into()),
        }
    });
    work.clean_up();
    result
}
