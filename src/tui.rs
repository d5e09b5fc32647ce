//! The console: the event loop and nothing else.

use std::sync::Arc;

use crate::ops::Context;

/// What the console was asked to show.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    /// Show only these panes; empty for all.
    pub only: Vec<String>,
    /// Show the wall view.
    pub wall: bool,
    /// No colours, no box drawing.
    pub plain: bool,
    /// A line for the header, such as the demo's next step.
    pub banner: Option<String>,
}

/// Why the console could not open or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Standard input or output is not a terminal.
    #[error(
        "the console needs a terminal; headless: `lastgood services`, `lastgood compare`, `lastgood help`"
    )]
    NoTerminal,
    /// The user's keymap is wrong; the text shows the line and the caret.
    #[error("{0}")]
    Keymap(String),
    /// The terminal could not be read or written.
    #[error("the terminal could not be used")]
    Terminal(#[from] std::io::Error),
}

/// Opens the console and runs it until it is left. Returns the exit code (0, or 128 + the signal that ended it).
/// The terminal is left as it was found on every way out.
///
/// # Errors
/// See [`ConsoleError`].
pub async fn run(_ctx: Arc<Context>, _options: ConsoleOptions) -> Result<u8, ConsoleError> {
    todo!("tui")
}
