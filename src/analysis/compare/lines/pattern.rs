//! One pattern in a line: mark, counts, per 1,000, how far it moved, level, template, latency, since when.

use unicode_width::UnicodeWidthStr;

use super::{Look, Span, Tone, fit, template, totals};
use crate::analysis::format;
use crate::domain::comparison::{Comparison, PatternChange, PatternRow};
use crate::domain::log::Level;

/// From so many columns on there is room for times and latencies …
const ROOMY: usize = 84;
/// … and from so many on for the ratio with its bar.
const WIDE: usize = 100;
/// The cells of the bar: one for each time that the rate doubles, or halves.
const DOUBLINGS: usize = 6;

/// What the columns are called.
pub fn pattern_heading(look: Look<'_>) -> Vec<Span> {
    let ratio = if look.width >= WIDE { "   ratio" } else { "" };
    let text = format!("     before     after    per 1,000{ratio}");
    vec![Span::new(format::cut(&text, look.width), Tone::Dim)]
}

/// One pattern.
pub fn pattern_line(comparison: &Comparison, row: &PatternRow, look: Look<'_>) -> Vec<Span> {
    let since = match row.first_seen {
        Some(at) if row.change == PatternChange::New && look.width >= ROOMY => {
            format!("  since {}", &format::time_of_day(at, look.zone)[..5])
        }
        _ => String::new(),
    };
    let p95 = match (row.p95_ms.before, row.p95_ms.after) {
        (Some(b), Some(a)) if row.has_other_latency() => format!(
            "  p95 {}{}{}",
            format::millis(Some(b)),
            look.arrow(),
            format::millis(Some(a))
        ),
        _ => String::new(),
    };
    // Where there is little room the latency goes first, unless nothing else is to be told.
    let p95 = if look.width >= ROOMY || (row.change == PatternChange::Same && look.width >= 60) {
        p95
    } else {
        String::new()
    };
    let tone = harm(row.change, row.has_other_latency(), row.level);
    let mut spans = vec![
        Span::new(format!("{} ", look.mark(row.mark())), tone),
        Span::new(format!("{:>9} ", format::count(row.before)), Tone::Before),
        Span::new(format!("{:>9} ", format::count(row.after)), Tone::After),
        Span::new(format::right(&rates(comparison, row, look), 14), Tone::Dim),
        Span::new("  ", Tone::Dim),
    ];
    let mut used = 2 + 10 + 10 + 14 + 2 + 6 + since.width() + p95.width();
    if look.width >= WIDE {
        let (word, bar) = ratio(row, look);
        spans.push(Span::new(format::right(&word, 5), Tone::Dim));
        spans.push(Span::new(format!(" {bar}  "), tone));
        used += 5 + DOUBLINGS + 3;
    }
    let level = row.level.map_or("", Level::as_str).to_uppercase();
    spans.push(Span::new(format::left(&level, 6), Tone::Level(row.level)));
    let mut text = template(row.template.as_str());
    if let Some(was) = &row.was {
        let level = if was.level == row.level {
            ""
        } else {
            was.level.map_or("no level", Level::as_str)
        };
        text.push(Span::new(format!("  was {level}"), Tone::Dim));
        if was.template != row.template {
            text.push(Span::new(
                format!(" {}", was.template).trim_start(),
                Tone::Dim,
            ));
        }
    }
    spans.extend(fit(text, look.column, look.width.saturating_sub(used)));
    spans.push(Span::new(format!("{p95}{since}"), Tone::Dim));
    spans
}

/// How much a change of a pattern of that level hurts.
pub(super) fn harm(change: PatternChange, is_slower: bool, level: Option<Level>) -> Tone {
    let is_harm = level >= Some(Level::Warn);
    match change {
        PatternChange::New | PatternChange::More if level >= Some(Level::Error) => Tone::Critical,
        PatternChange::New | PatternChange::More if is_harm => Tone::Warning,
        PatternChange::Gone | PatternChange::Less if is_harm => Tone::Ok,
        PatternChange::Same if is_slower => Tone::Warning,
        PatternChange::Same => Tone::Dim,
        _ => Tone::Text,
    }
}

/// `0 →  140`
fn rates(comparison: &Comparison, row: &PatternRow, look: Look<'_>) -> String {
    let per = |count: u64, total: u64| {
        if total == 0 {
            return "?".to_owned();
        }
        let rate = count as f64 * 1000.0 / total as f64;
        if rate > 0.0 && rate < 10.0 {
            format!("{rate:.1}")
        } else {
            format!("{rate:.0}")
        }
    };
    let totals = totals(comparison);
    format!(
        "{:>6}{}{:>4}",
        per(row.before, totals.before),
        if look.is_plain { " > " } else { " → " },
        per(row.after, totals.after)
    )
}

/// The ratio of the rates in a word, and as a bar: full cells where it is more, light ones where it is less.
fn ratio(row: &PatternRow, look: Look<'_>) -> (String, String) {
    let (word, ratio) = match (row.change, row.ratio) {
        (PatternChange::New, _) => ("new".to_owned(), f64::INFINITY),
        (PatternChange::Gone, _) => ("gone".to_owned(), 0.0),
        (_, Some(ratio)) if ratio > 0.0 => (format::ratio(ratio), ratio),
        _ => (String::new(), 1.0),
    };
    let length = ratio.log2().abs().min(DOUBLINGS as f64).round() as usize;
    let cell = match (ratio >= 1.0, look.is_plain) {
        (true, false) => "▄",
        (true, true) => "#",
        (false, false) => "░",
        (false, true) => ".",
    };
    let word = if look.is_plain {
        word.replace('×', "x")
    } else {
        word
    };
    (word, format::left(&cell.repeat(length), DOUBLINGS))
}
