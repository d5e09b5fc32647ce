//! `lastgood completions`, `man` and `help`: what the program says of itself, made from the code.

use clap::{Args, CommandFactory};

use super::exit::{Exit, TABLE};
use super::output::{Ended, Output};

/// Which shell.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Which topic.
#[derive(Debug, Clone, Args)]
pub struct HelpArgs {
    /// A subcommand, or `exit-codes`
    pub topic: Option<String>,
}

/// Prints the completion script.
///
/// # Errors
/// Standard output is closed or full.
pub fn completions(args: &CompletionsArgs, out: &mut Output) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut super::Cli::command(),
        "lastgood",
        &mut script,
    );
    out.raw(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page.
///
/// # Errors
/// Standard output is closed or full.
pub fn man(out: &mut Output) -> Ended {
    let mut page = Vec::new();
    clap_mangen::Man::new(super::Cli::command()).render(&mut page)?;
    out.raw(&page)?;
    Ok(Exit::Done)
}

/// Prints the exit codes, or the help of a subcommand.
///
/// # Errors
/// Standard output is closed or full.
pub fn help(args: &HelpArgs, out: &mut Output) -> Ended {
    let mut command = super::Cli::command();
    match args.topic.as_deref() {
        Some("exit-codes") => {
            for (code, meaning) in TABLE {
                out.line(format_args!("{code:>4}  {meaning}"))?;
            }
            Ok(Exit::Done)
        }
        None => {
            out.line(command.render_long_help())?;
            Ok(Exit::Done)
        }
        Some(topic) => match command.find_subcommand_mut(topic) {
            Some(found) => {
                let help = found.render_long_help();
                out.line(help)?;
                Ok(Exit::Done)
            }
            None => {
                super::output::talk(format_args!(
                    "lastgood: no help on {topic:?}: give a subcommand or exit-codes"
                ));
                Ok(Exit::Usage)
            }
        },
    }
}
