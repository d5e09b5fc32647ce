//! A comparison in lines of text, for the pane and for a pipe alike: what stands where, and what each piece of it means.
//!
//! ```text
//! +          0        28    0 →  140   new ██████  ERROR NoneType has no attribute <*>   since 15:10
//!    +0:00 … 412 lines, 9 known patterns      …    +0:00 … 398 lines, 9 known patterns
//!                                             +    +10:32 ERROR NoneType has no attribute 'id'  ×28
//! ```

mod pattern;
mod row;

use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr;

use crate::analysis::format;
use crate::domain::before_after::BeforeAfter;
use crate::domain::comparison::Comparison;
use crate::domain::log::Level;

pub use pattern::{pattern_heading, pattern_line};
pub use row::{sequence_heading, side_by_side_heading, side_by_side_line};

/// What a piece of a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What a record says.
    Text,
    /// Stands for what varies among the records of a pattern.
    Variable,
    /// Says something else on the other side.
    Differs,
    /// Less important.
    Dim,
    /// Belongs to the side before.
    Before,
    /// Belongs to the side after.
    After,
    /// A level.
    Level(Option<Level>),
    /// Got better.
    Ok,
    /// Got worse.
    Warning,
    /// Got much worse.
    Critical,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

impl Span {
    /// A piece of that meaning.
    pub fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

/// How lines are to look.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Their width, in columns.
    pub width: usize,
    /// The first column that is shown of records and templates.
    pub column: usize,
    /// Whether only ASCII is drawn, but for what records say.
    pub is_plain: bool,
    /// Whether words that differ stand in brackets: where nothing can be drawn bold or underlined.
    pub has_brackets: bool,
    /// The zone that times are told in.
    pub zone: &'a TimeZone,
}

impl Look<'_> {
    fn arrow(self) -> &'static str {
        if self.is_plain { " -> " } else { " → " }
    }

    fn times(self, n: u64) -> String {
        let count = format::count(n);
        if self.is_plain {
            format!("x{count}")
        } else {
            format!("×{count}")
        }
    }

    fn ellipsis(self) -> &'static str {
        if self.is_plain { "..." } else { "…" }
    }

    /// `=`, `~`, `+`, `−`, `▲`, `▼`, or what stands for it in ASCII.
    fn mark(self, mark: &'static str) -> &'static str {
        match mark {
            "−" if self.is_plain => "-",
            "▲" if self.is_plain => "^",
            "▼" if self.is_plain => "v",
            "…" if self.is_plain => ":",
            mark => mark,
        }
    }
}

/// A template in pieces: what varies is told apart.
fn template(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (n, constant) in text.split("<*>").enumerate() {
        if n > 0 {
            spans.push(Span::new("<*>", Tone::Variable));
        }
        if !constant.is_empty() {
            spans.push(Span::new(constant, Tone::Text));
        }
    }
    spans
}

/// The pieces from column `start` on, in exactly `width` columns.
fn fit(spans: Vec<Span>, start: usize, width: usize) -> Vec<Span> {
    let total: usize = spans.iter().map(|s| s.text.width()).sum();
    let (mut skip, mut room) = (start, width);
    let is_cut = total.saturating_sub(start) > width;
    if is_cut {
        room = room.saturating_sub(1);
    }
    let mut out = Vec::new();
    for span in spans {
        let wide = span.text.width();
        if skip >= wide {
            skip -= wide;
            continue;
        }
        let shown = format::columns(&span.text, skip, room);
        skip = 0;
        room -= shown.width();
        // A wide character that does not fit leaves a hole; nothing may move up into it.
        let is_whole = span.text.ends_with(shown);
        if !shown.is_empty() {
            out.push(Span::new(shown, span.tone));
        }
        if room == 0 || !is_whole {
            break;
        }
    }
    if is_cut && width > 0 {
        out.push(Span::new("…", Tone::Dim));
    }
    let used: usize = out.iter().map(|s| s.text.width()).sum();
    if used < width {
        out.push(Span::new(" ".repeat(width - used), Tone::Text));
    }
    out
}

/// The requests, or else the records, that counts per 1,000 are of.
fn totals(comparison: &Comparison) -> BeforeAfter<u64> {
    let sides = BeforeAfter::new(&comparison.before, &comparison.after);
    let have_requests = sides.before.requests > 0 && sides.after.requests > 0;
    sides.map(|side| match have_requests {
        true => side.requests,
        false => side.records,
    })
}

#[cfg(test)]
mod tests;
