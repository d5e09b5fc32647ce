//! Both sides beside each other: the changed patterns with one record of each side, differing words marked.

use unicode_width::UnicodeWidthChar;

use super::super::output::{Output, Paint, Stop};
use super::print::{pattern_line, print_head};
use crate::analysis::align::{Piece, words};
use crate::domain::comparison::{Comparison, PatternChange};
use crate::domain::safe_text::SafeText;

/// Each column is so wide where the terminal does not say.
const WIDTH: usize = 160;

/// Prints verdict and rows.
pub(super) fn print(found: &Comparison, out: &mut Output) -> Result<(), Stop> {
    print_head(found, out)?;
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(WIDTH)
        .clamp(40, 1000);
    let half = (width - 3) / 2;
    out.line("")?;
    let head = format!(
        "{} │ {}",
        fit(
            &[plain(&format!("BEFORE  {}", found.before.input))],
            half,
            out
        ),
        fit(
            &[plain(&format!("AFTER  {}", found.after.input))],
            half,
            out
        )
    );
    out.line(out.paint(Paint::Dim, head.trim_end()))?;
    for row in found
        .patterns
        .iter()
        .filter(|p| p.change != PatternChange::Same)
    {
        out.line(pattern_line(row, out))?;
        let text = |side: &Option<SafeText>| side.as_ref().map(|t| t.as_str().to_owned());
        let (left, right) = match (text(&row.examples.before), text(&row.examples.after)) {
            (Some(b), Some(a)) => words(&b, &a),
            (Some(b), None) => (vec![plain(&b)], Vec::new()),
            (None, Some(a)) => (Vec::new(), vec![plain(&a)]),
            (None, None) => continue,
        };
        let line = format!("{} │ {}", fit(&left, half, out), fit(&right, half, out));
        out.line(line.trim_end())?;
    }
    let same: Vec<_> = found
        .patterns
        .iter()
        .filter(|p| p.change == PatternChange::Same)
        .collect();
    let records: u64 = same.iter().map(|p| p.before + p.after).sum();
    out.line(format_args!(
        "… {records} records of {} patterns without a significant change",
        same.len()
    ))
}

fn plain(text: &str) -> Piece {
    Piece {
        text: text.to_owned(),
        is_different: false,
    }
}

/// Cuts or pads pieces to so many columns; differing words in bold, or in brackets where there is no colour.
fn fit(pieces: &[Piece], width: usize, out: &Output) -> String {
    let mut line = String::new();
    let mut used = 0;
    for piece in pieces {
        let marks = piece.is_different && !out.color && !piece.text.trim().is_empty();
        let text = if marks {
            format!("[{}]", piece.text)
        } else {
            piece.text.clone()
        };
        let mut shown = String::new();
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                break;
            }
            used += wide;
            shown.push(c);
        }
        if piece.is_different && out.color {
            line.push_str(&out.paint(Paint::Bold, &shown));
        } else {
            line.push_str(&shown);
        }
        if used >= width {
            break;
        }
    }
    line.extend(std::iter::repeat_n(' ', width - used.min(width)));
    line
}
