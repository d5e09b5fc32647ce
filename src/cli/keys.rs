//! `lastgood keys`: which key means what in the console.
//!
//! The front ends do not see each other, so the tables are made by the console and handed in by `main`.

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::output::{Ended, Output, talk};

/// `lastgood keys`: which key means what in the console.
#[derive(Debug, Clone, Args)]
pub struct KeysArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What to do with the keymap.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Print every binding that holds
    Print(PrintArgs),
    /// Check your keymap and say what is wrong with it
    Check,
}

/// How to print the bindings.
#[derive(Debug, Clone, Args)]
pub struct PrintArgs {
    /// As a Markdown table
    #[arg(long)]
    pub markdown: bool,
    /// The built-in bindings, without your own
    #[arg(long)]
    pub built_in: bool,
}

/// The keymap in force as text, or what is wrong with it.
#[derive(Debug, Clone)]
pub struct KeymapText {
    /// The user's file, whether it exists or not.
    pub file: String,
    /// The bindings, or the mistakes with their places.
    pub bindings: Result<String, String>,
}

/// Prints the bindings, or says whether the user's file is right.
///
/// # Errors
/// See [`super::output::Stop`].
pub fn run(args: &KeysArgs, keymap: &KeymapText, out: &mut Output) -> Ended {
    match (&args.command, &keymap.bindings) {
        (_, Err(mistakes)) => {
            talk(mistakes);
            Ok(Exit::Usage)
        }
        (KeysCommand::Print(_), Ok(bindings)) => {
            out.line(bindings.trim_end())?;
            Ok(Exit::Done)
        }
        (KeysCommand::Check, Ok(_)) => {
            out.line(format_args!(
                "{}: every key and action is known",
                keymap.file
            ))?;
            Ok(Exit::Done)
        }
    }
}
