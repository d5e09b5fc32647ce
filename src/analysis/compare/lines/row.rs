//! A row of both sides in a line: two columns with the mark between them, or one where there is little room.

use unicode_width::UnicodeWidthStr;

use super::pattern::harm;
use super::{Look, Span, Tone, fit, template};
use crate::analysis::align::{Piece, words};
use crate::analysis::format;
use crate::domain::before_after::{BeforeAfter, Side};
use crate::domain::comparison::Comparison;
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::domain::side_by_side::{Axis, Fold, Item, Of, Row, Sequence};

/// From so many columns on the sides stand beside each other.
const TWO_COLUMNS: usize = 72;
/// From so many columns on a side has room for whole names of services and levels.
const ROOMY_CELL: usize = 48;
/// The columns of a place on the axis.
const PLACE: usize = 9;

/// What the sides are, and where each begins.
pub fn side_by_side_heading(comparison: &Comparison, look: Look<'_>) -> Vec<Span> {
    let from = |side: Side| {
        let (word, summary) = match side {
            Side::Before => ("before", &comparison.before),
            Side::After => ("after", &comparison.after),
        };
        match (comparison.side_by_side.axis, summary.from) {
            (Axis::Time, Some(at)) => {
                format!("{word}, from {}", format::time_of_day(at, look.zone))
            }
            _ => format!("{word}, from its first line"),
        }
    };
    heading(&from(Side::Before), &from(Side::After), look)
}

/// Where the sequence of a service begins on each side.
pub fn sequence_heading(comparison: &Comparison, sequence: &Sequence, look: Look<'_>) -> Vec<Span> {
    let name = |at: usize| {
        comparison
            .services
            .get(at)
            .map_or("", |s| s.id.name.as_str())
    };
    let told = match &sequence.of {
        Of::StartUp(service) => BeforeAfter::new(
            format!("before: {} at its last start", name(*service)),
            format!("after: {} at its last start", name(*service)),
        ),
        Of::Beginning(service) => BeforeAfter::new("before", "after")
            .map(|side| format!("{side}: first records of {}", name(*service))),
        Of::Request(ids) => {
            let id = |id: &Option<SafeText>| {
                id.as_ref().map_or_else(
                    || "no request like it".to_owned(),
                    |id| format!("request {id}"),
                )
            };
            BeforeAfter::new(
                format!("before: {}", id(&ids.before)),
                format!("after: {}", id(&ids.after)),
            )
        }
    };
    heading(&told.before, &told.after, look)
}

fn heading(before: &str, after: &str, look: Look<'_>) -> Vec<Span> {
    if look.width < TWO_COLUMNS {
        let text = format!("{before} · {after}");
        return vec![Span::new(format::cut(&text, look.width), Tone::Dim)];
    }
    let half = (look.width - 3) / 2;
    vec![
        Span::new(format::left(before, half), Tone::Before),
        Span::new("   ", Tone::Text),
        Span::new(format::cut(after, half), Tone::After),
    ]
}

/// A row. With `values` what varies among the records of one pattern is marked too, where the sides differ in it.
pub fn side_by_side_line(
    comparison: &Comparison,
    row: &Row,
    values: bool,
    look: Look<'_>,
) -> Vec<Span> {
    let (mark, tone) = mark(comparison, row);
    let mark = look.mark(mark);
    match row {
        Row::Folded { at, sides } => folded(comparison, *at, sides, mark, look),
        Row::Known(pair) | Row::Aligned(pair) => {
            let texts = texts(comparison, pair, values, look);
            if look.width < TWO_COLUMNS {
                return one_column(comparison, pair, texts, (mark, tone), look);
            }
            let half = (look.width - 3) / 2;
            let is_known = matches!(row, Row::Known(_));
            let cell = |item: &Option<Item>, text: Option<Vec<Span>>| match (item, text) {
                (Some(item), Some(text)) => cell(comparison, item, text, is_known, half, look),
                _ => vec![Span::new(" ".repeat(half), Tone::Text)],
            };
            let mut spans = cell(&pair.before, texts.before);
            spans.push(Span::new(format!(" {mark} "), tone));
            spans.extend(cell(&pair.after, texts.after));
            spans
        }
    }
}

/// The mark between the sides, and how much the row hurts.
fn mark(comparison: &Comparison, row: &Row) -> (&'static str, Tone) {
    let items = row.items();
    let tone = |item: &Item| {
        let row = &comparison.patterns[item.pattern];
        harm(row.change, false, row.level)
    };
    match (items.before, items.after) {
        (Some(b), Some(a)) if is_one_text(comparison, b, a) => ("=", tone(a)),
        (Some(_), Some(a)) => ("~", tone(a)),
        (Some(b), None) => ("−", tone(b)),
        (None, Some(a)) => ("+", tone(a)),
        (None, None) => ("…", Tone::Dim),
    }
}

/// Whether both are of one pattern, and the deploy did not word it otherwise.
fn is_one_text(comparison: &Comparison, before: &Item, after: &Item) -> bool {
    before.pattern == after.pattern && comparison.patterns[after.pattern].was.is_none()
}

fn folded(
    comparison: &Comparison,
    at: u64,
    sides: &BeforeAfter<Option<Fold>>,
    mark: &str,
    look: Look<'_>,
) -> Vec<Span> {
    let place = place(comparison, at);
    let noun = |n: u64, one: &str| {
        let plural = if n == 1 { "" } else { "s" };
        format!("{} {one}{plural}", format::count(n))
    };
    if look.width < TWO_COLUMNS {
        let patterns = sides.map(|side| side.map_or(0, |fold| fold.patterns as u64));
        let records = |side: &Option<Fold>| match side {
            Some(fold) => format::count(fold.records),
            None => "ended".to_owned(),
        };
        let text = format!(
            "{mark} {place} {}{}{} lines, {}",
            records(&sides.before),
            look.arrow(),
            records(&sides.after),
            noun(patterns.before.max(patterns.after), "known pattern")
        );
        return vec![Span::new(format::cut(&text, look.width), Tone::Dim)];
    }
    let half = (look.width - 3) / 2;
    let cell = |fold: &Option<Fold>| {
        let what = match fold {
            Some(Fold { records: 0, .. }) => "nothing".to_owned(),
            Some(fold) => format!(
                "{}, {}",
                noun(fold.records, "line"),
                noun(fold.patterns as u64, "known pattern")
            ),
            None => "this log ends before".to_owned(),
        };
        let text = format!(
            "{} {} {what}",
            format::right(&place, PLACE),
            look.ellipsis()
        );
        Span::new(format::left(&text, half), Tone::Dim)
    };
    vec![
        cell(&sides.before),
        Span::new(format!(" {mark} "), Tone::Dim),
        cell(&sides.after),
    ]
}

/// `   +10:32 backend ERROR NoneType has no attribute 'id'  ×28`
fn cell(
    comparison: &Comparison,
    item: &Item,
    text: Vec<Span>,
    is_known: bool,
    width: usize,
    look: Look<'_>,
) -> Vec<Span> {
    let level = comparison.patterns[item.pattern].level;
    let word = level.map_or("", Level::as_str).to_uppercase();
    let place = if is_known {
        String::new()
    } else {
        place(comparison, item.at)
    };
    let service = comparison.services.get(item.service);
    let service = service.filter(|_| comparison.services.len() > 1);
    // What a record says goes before how its service and its level are spelt out.
    let (level_columns, name_columns) = match service {
        Some(_) if width < ROOMY_CELL => (2, 6),
        _ => (6, 9),
    };
    let word = format::columns(&word, 0, level_columns - 1);
    let mut front = vec![
        Span::new(format!("{} ", format::right(&place, PLACE)), Tone::Dim),
        Span::new(format::left(word, level_columns), Tone::Level(level)),
    ];
    if let Some(service) = service {
        let name = format::left(&service.id.name, name_columns);
        front.insert(1, Span::new(format!("{name} "), Tone::Dim));
    }
    let count = if item.count > 1 {
        format!("  {}", look.times(item.count))
    } else {
        String::new()
    };
    let used: usize = front.iter().map(|s| s.text.width()).sum();
    let room = width.saturating_sub(used + count.width());
    let mut spans = fit(front, 0, used.min(width));
    spans.extend(fit(text, look.column, room));
    spans.push(Span::new(count, Tone::Dim));
    spans
}

/// Both sides in one column: what stands after, or before where nothing does.
fn one_column(
    comparison: &Comparison,
    pair: &BeforeAfter<Option<Item>>,
    texts: BeforeAfter<Option<Vec<Span>>>,
    (mark, tone): (&str, Tone),
    look: Look<'_>,
) -> Vec<Span> {
    let Some(item) = pair.after.as_ref().or(pair.before.as_ref()) else {
        return Vec::new();
    };
    let text = texts.after.or(texts.before).unwrap_or_default();
    let count = |item: &Option<Item>| item.as_ref().map_or(0, |i| i.count);
    let counts = match (count(&pair.before), count(&pair.after)) {
        (0, 1) | (1, 0 | 1) => String::new(),
        (b, 0) | (0, b) => format!(" {}", look.times(b)),
        (b, a) => format!(" {}{}{}", format::count(b), look.arrow(), format::count(a)),
    };
    let level = comparison.patterns[item.pattern].level;
    let word = level.map_or("", Level::as_str).to_uppercase();
    let mut spans = vec![
        Span::new(format!("{mark} "), tone),
        Span::new(format!("{} ", place(comparison, item.at)), Tone::Dim),
        Span::new(format::left(&word, 6), Tone::Level(level)),
    ];
    let used: usize = spans.iter().map(|s| s.text.width()).sum();
    let room = look.width.saturating_sub(used + counts.width());
    spans.extend(fit(text, look.column, room));
    spans.push(Span::new(counts, Tone::Dim));
    spans
}

/// `+10:32`, `+1:05:09`, `+1,204`
fn place(comparison: &Comparison, at: u64) -> String {
    if comparison.side_by_side.axis == Axis::Lines {
        return format!("+{}", format::count(at));
    }
    let s = at / 1000;
    match s {
        0..60 => format!("+{s}.{} s", at % 1000 / 100),
        60..3600 => format!("+{}:{:02}", s / 60, s % 60),
        _ => format!("+{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
    }
}

/// What either side says, with what differs marked.
fn texts(
    comparison: &Comparison,
    pair: &BeforeAfter<Option<Item>>,
    values: bool,
    look: Look<'_>,
) -> BeforeAfter<Option<Vec<Span>>> {
    let pattern = |side: Side, item: &Item| {
        let row = &comparison.patterns[item.pattern];
        match (&row.was, side) {
            (Some(was), Side::Before) => was.template.clone(),
            _ => row.template.clone(),
        }
    };
    let said = |side: Side, item: &Item| {
        let text = item.text.as_ref()?;
        Some(message(text.as_str(), pattern(side, item).as_str()).to_owned())
    };
    let plain = |side: Side, item: &Option<Item>| {
        let item = item.as_ref()?;
        Some(match said(side, item) {
            Some(text) => vec![Span::new(text, Tone::Text)],
            None => template(pattern(side, item).as_str()),
        })
    };
    let as_they_are = || {
        BeforeAfter::new(
            plain(Side::Before, &pair.before),
            plain(Side::After, &pair.after),
        )
    };
    let (Some(before), Some(after)) = (&pair.before, &pair.after) else {
        return as_they_are();
    };
    let is_same = is_one_text(comparison, before, after);
    let (left, right) = match (said(Side::Before, before), said(Side::After, after)) {
        (Some(left), Some(right)) if values => words(&left, &right),
        // Among patterns only constants are compared.
        _ if !is_same => words(
            pattern(Side::Before, before).as_str(),
            pattern(Side::After, after).as_str(),
        ),
        _ => return as_they_are(),
    };
    let are_alike = is_same || (is_alike(&left) && is_alike(&right));
    if !are_alike {
        return as_they_are();
    }
    BeforeAfter::new(left, right).map(|pieces| Some(marked(pieces, look)))
}

/// Whether at least half of a text stands on the other side too: marks all over say nothing.
fn is_alike(pieces: &[Piece]) -> bool {
    let same: isize = (pieces.iter())
        .map(|p| p.text.len() as isize * if p.is_different { -1 } else { 1 })
        .sum();
    same >= 0
}

fn marked(pieces: Vec<Piece>, look: Look<'_>) -> Vec<Span> {
    let mut spans = Vec::new();
    for piece in pieces {
        if piece.is_different && !piece.text.trim().is_empty() {
            let text = if look.has_brackets {
                format!("[{}]", piece.text)
            } else {
                piece.text
            };
            spans.push(Span::new(text, Tone::Differs));
        } else {
            spans.extend(template(&piece.text));
        }
    }
    spans
}

/// A record without its header: from where its template begins. The place on the axis and the level stand beside it.
fn message<'a>(record: &'a str, template: &str) -> &'a str {
    let constant = template.split("<*>").next().unwrap_or("").trim_end();
    if constant.len() < 3 {
        return record;
    }
    record.find(constant).map_or(record, |at| &record[at..])
}
