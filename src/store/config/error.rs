//! Errors of the configuration, with the line shown and the nearest known name.

use crate::domain::nearest::nearest;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A configuration file that cannot be used: which, where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), place(*.line, *.column))]
pub struct ConfigError {
    /// The file, or the environment variable.
    pub path: PathBuf,
    /// The line, from 1; `None` where it is about the whole file.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, and the nearest known name.
    pub problem: String,
    /// The line with a caret under the fault, ready to print; empty where there is none.
    pub snippet: String,
}

fn place(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        (Some(line), None) => format!(":{line}"),
        _ => String::new(),
    }
}

impl ConfigError {
    /// An error about a whole file.
    pub fn about(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            column: None,
            problem: problem.into(),
            snippet: String::new(),
        }
    }

    /// An error at a place of a file.
    pub fn at(path: &Path, text: &str, span: Range<usize>, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
        // A fault that spans lines (an unclosed table) is shown at its first line.
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = end.min(line_end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[..start].matches('\n').count() + 1;
        let column = text[line_start..start].chars().count() + 1;
        let shown = path.display().to_string();
        let report = [Level::ERROR.primary_title(problem.as_str()).element(
            Snippet::source(text)
                .path(shown.as_str())
                .annotation(AnnotationKind::Primary.span(start..end)),
        )];
        Self {
            path: path.to_owned(),
            line: Some(line),
            column: Some(column),
            snippet: Renderer::plain().render(&report),
            problem,
        }
    }

    /// An error of the TOML reader. An unknown key gets the nearest known one.
    pub(super) fn of_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let problem = explain(error.message());
        match error.span() {
            Some(span) => Self::at(path, text, span, problem),
            None => Self::about(path, problem),
        }
    }
}

/// Turns serde's ``unknown field `a`, expected one of `b`, `c` `` into our words.
fn explain(message: &str) -> String {
    let (head, tail) = match message.split_once(", expected") {
        Some((head, tail)) => (head, tail),
        None => (message, ""),
    };
    let kind = ["unknown field `", "unknown variant `"]
        .iter()
        .find_map(|prefix| head.strip_prefix(prefix));
    let Some(name) = kind.and_then(|rest| rest.strip_suffix('`')) else {
        return message.trim_end().to_owned();
    };
    let known: Vec<&str> = tail.split('`').skip(1).step_by(2).collect();
    let what = if head.starts_with("unknown field") {
        "key"
    } else {
        "value"
    };
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {what} {name:?}; did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown {what} {name:?}"),
        None => format!("unknown {what} {name:?}; known are {}", known.join(", ")),
    }
}
