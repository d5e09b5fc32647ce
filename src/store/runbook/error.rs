//! What can go wrong with runbooks and their runs, in words that say what to do.

use std::io;
use std::path::PathBuf;

use crate::domain::runbook::SyntaxError;
use crate::domain::runbook::run::Unfit;

/// What can go wrong with runbooks and their runs.
#[derive(Debug, thiserror::Error)]
pub enum RunbookError {
    /// No runbook of that name.
    #[error("no runbook `{name}`{}; there are: {}", nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default(), known.join(", "))]
    NoRunbook {
        /// What was asked for.
        name: String,
        /// The name that is spelt most like it, if one is.
        nearest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A runbook's Markdown cannot be understood. `text` is the whole source, for a caret.
    #[error("{error}")]
    Syntax {
        /// Place and cause.
        #[source]
        error: SyntaxError,
        /// The source that the error's span points into.
        text: String,
    },
    /// A file of commands that somebody else may change is not read.
    #[error("{path} is not read: {why}")]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why, with the command that helps.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {path}: {cause}")]
    Io {
        /// `read`, `write`, …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        cause: io::Error,
    },
    /// Nothing was started yet.
    #[error("no runbook was started: lastgood runbook start {example}")]
    NoRun {
        /// A name that can be started.
        example: String,
    },
    /// No run of that id.
    #[error("no run `{run}`; the newest are: {}", known.join(", "))]
    UnknownRun {
        /// What was asked for.
        run: String,
        /// Some ids, newest first.
        known: Vec<String>,
    },
    /// The runbook has no such item.
    #[error(
        "`{item}` is no item of {name}: use a number from 1 to {count} or a slug, see lastgood runbook status"
    )]
    UnknownItem {
        /// What was asked for.
        item: String,
        /// The runbook.
        name: String,
        /// How many items it has.
        count: usize,
    },
    /// What was wanted does not fit the state of the run.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A line of a journal is no event, or one that cannot follow the ones before it.
    #[error(
        "{path}:{line} is damaged: {cause}; the lines before it are intact, `lastgood runbook start` begins a new run"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// Another process holds the journal for longer than an append takes.
    #[error(
        "{path} is locked by another process for over {seconds} s: find it with `fuser {path}`"
    )]
    Locked {
        /// The journal.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
}
