//! Both sides beside each other: what the compare pane shows, its three views one below the other, in a pipe.

use jiff::tz::TimeZone;

use super::super::output::{Output, Paint, Stop};
use super::print::{print_changes, print_head};
use crate::analysis::compare::lines::{
    Look, Span, Tone, pattern_heading, pattern_line, sequence_heading, side_by_side_heading,
    side_by_side_line,
};
use crate::analysis::format;
use crate::domain::comparison::{Comparison, PatternRow};
use crate::domain::log::Level;
use crate::domain::side_by_side::Row;

/// The columns where the terminal does not say.
const WIDTH: usize = 160;

/// Prints verdict, changes and the three views.
pub(super) fn print(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    print_head(found, out)?;
    print_changes(found, out)?;
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(WIDTH)
        .clamp(40, 1000);
    let zone = TimeZone::system();
    let look = Look {
        width,
        column: 0,
        is_plain: false,
        has_brackets: !out.color,
        zone: &zone,
    };
    print_patterns(found, look, out)?;
    let both = &found.side_by_side;
    if both.stream.is_empty() {
        return Ok(());
    }
    title("Stream: each side from its own start", out)?;
    print_line(side_by_side_heading(found, look), out)?;
    for row in &both.stream {
        if !matches!(row, Row::Known(_)) {
            print_line(side_by_side_line(found, row, false, look), out)?;
        }
    }
    let dropped = both.dropped.before + both.dropped.after;
    if dropped > 0 {
        out.line(format_args!(
            "{} records of too many different patterns are left out",
            format::count(dropped)
        ))?;
    }
    for sequence in &both.sequences {
        // The first records of what ran all the time say nothing, and not everything starts.
        if sequence.marks_values() {
            title("Sequence", out)?;
            print_line(sequence_heading(found, sequence, look), out)?;
            for row in &sequence.rows {
                print_line(side_by_side_line(found, row, true, look), out)?;
            }
        }
    }
    Ok(())
}

fn print_patterns(found: &Comparison, look: Look<'_>, out: &mut Output) -> Result<(), Stop> {
    let (changed, same): (Vec<&PatternRow>, Vec<&PatternRow>) =
        found.patterns.iter().partition(|row| row.is_changed());
    title("Patterns", out)?;
    if !changed.is_empty() {
        print_line(pattern_heading(look), out)?;
    }
    for row in changed {
        print_line(pattern_line(found, row, look), out)?;
    }
    let records: u64 = same.iter().map(|p| p.before + p.after).sum();
    out.line(format_args!(
        "… {} records of {} patterns without a significant change",
        format::count(records),
        same.len()
    ))
}

fn title(text: &str, out: &mut Output) -> Result<(), Stop> {
    out.line("")?;
    out.line(out.paint(Paint::Bold, text))
}

fn print_line(spans: Vec<Span>, out: &mut Output) -> Result<(), Stop> {
    let mut line = String::new();
    for Span { text, tone } in spans {
        let paint = match tone {
            Tone::Differs => Paint::Bold,
            Tone::Variable | Tone::Dim => Paint::Dim,
            Tone::Ok => Paint::Good,
            Tone::Warning | Tone::Level(Some(Level::Warn)) => Paint::Warning,
            Tone::Critical | Tone::Level(Some(Level::Error | Level::Fatal)) => Paint::Bad,
            Tone::Text | Tone::Before | Tone::After | Tone::Level(_) => {
                line.push_str(&text);
                continue;
            }
        };
        if text.trim().is_empty() {
            line.push_str(&text);
        } else {
            line.push_str(&out.paint(paint, &text));
        }
    }
    out.line(line.trim_end())
}
