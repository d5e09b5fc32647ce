//! Standard output carries data only, standard error carries talk. A closed pipe is success.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde::Serialize;

use super::exit::Exit;
use super::{ColorChoice, Format, Global};
use crate::domain::safe_text::SafeText;
use crate::ops::OpsError;

/// Where a subcommand prints.
pub struct Output {
    out: BufWriter<io::Stdout>,
    /// How to print.
    pub format: Format,
    /// Whether standard output gets colour.
    pub color: bool,
    /// Whether a person sees standard output at once: nothing hostile may reach it then.
    pub is_terminal: bool,
    /// How much to say on standard error.
    pub verbose: u8,
}

/// Why a subcommand ended early.
#[derive(Debug)]
pub enum Stop {
    /// The reader closed the pipe: not an error.
    ClosedPipe,
    /// A use case failed.
    Ops(OpsError),
    /// Standard output could not be written.
    Io(io::Error),
}

impl From<OpsError> for Stop {
    fn from(error: OpsError) -> Self {
        Self::Ops(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Io(error),
        }
    }
}

/// What every subcommand returns.
pub type Ended = Result<Exit, Stop>;

#[derive(Serialize)]
struct Document<'a, T> {
    schema: String,
    #[serde(flatten)]
    content: &'a T,
}

impl Output {
    /// Standard output as the options want it.
    pub fn new(global: &Global) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
            }
        };
        Self {
            out: BufWriter::with_capacity(64 * 1024, stdout),
            format: global.format,
            color,
            is_terminal,
            verbose: global.verbose,
        }
    }

    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes one JSON document: `schema: "lastgood.<name>/1"` first, then the fields of `content`.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn json(&mut self, name: &str, content: &impl Serialize) -> Result<(), Stop> {
        let document = Document {
            schema: format!("lastgood.{name}/1"),
            content,
        };
        serde_json::to_writer_pretty(&mut self.out, &document).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Writes one JSON value on a line of its own.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn json_line(&mut self, content: &impl Serialize) -> Result<(), Stop> {
        serde_json::to_writer(&mut self.out, content).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        Ok(())
    }

    /// Writes a line. Text from outside must have become [`SafeText`] before.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Stop> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Writes bytes as they are: `logs --raw` and completion scripts only.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.out.write_all(bytes)?;
        Ok(())
    }

    /// Hands everything written so far to the reader.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush()?;
        Ok(())
    }

    /// Wraps text in a colour where colour is wanted; the glyph beside it carries the meaning without.
    pub fn paint(&self, color: Paint, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match color {
            Paint::Good => "32",
            Paint::Warning => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
            Paint::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Ok.
    Good,
    /// Warning.
    Warning,
    /// Critical.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

/// Talks to the person at the terminal, on standard error; nothing happens if nobody can read it.
pub fn talk(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints an error with its whole chain of causes and the next command to type.
pub fn talk_error(error: &OpsError) {
    talk(format_args!("lastgood: {}", error.to_safe_text()));
    for line in &error.lines {
        talk(line);
    }
    if let Some(fix) = &error.fix {
        talk(format_args!("  try: {}", SafeText::from_text(fix)));
    }
}
