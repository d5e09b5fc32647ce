//! One signal as a gauge: its value, grade and limit on one row, its history and what it was at the checkpoint on the next.
//!
//! ```text
//! │ ✖ latency p95       3.8 s  critical >1 s │
//! │   ▁▁▁▁▂│▆▇█▇█             0.9 s → 3.8 s │
//! ```
//! The bars reach from the checkpoint to now, with a mark where the deploy was. A narrow pane leaves out the word, then the limits that hold, then what it was.

use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::{SPACING, name};
use crate::domain::signal::{Grade, Signal, SignalName};
use crate::store::signals::KEPT;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::Role;

/// From this width on a limit stands in a column of its own, and from the next one on the grade in a word.
const WITH_LIMITS: usize = 36;
const WITH_WORDS: usize = 48;

/// The row with the value.
pub fn value_row(app: &App, signal: &Signal, width: usize, is_stale: bool) -> Line<'static> {
    let theme = app.setup.theme;
    let (glyph, word, style) = theme.graded(signal.grade, is_stale);
    let value = format::signal_value(&signal.signal, signal.value, signal.unit.as_str());
    let label = match &signal.route {
        Some(route) => format!("  {route} {}", name(&signal.signal)),
        None => name(&signal.signal).to_owned(),
    };
    let value_width = 9;
    let mark = limit_mark(app, signal).unwrap_or_default();
    let mut right = String::new();
    if width >= WITH_WORDS {
        right.push_str(&format!("  {}", format::left(word, 8)));
    }
    if width >= WITH_LIMITS {
        right.push_str(&format!(" {}", format::left(&mark, 8)));
    } else if matches!(signal.grade, Grade::Warning | Grade::Critical) {
        // In a narrow pane only what is over its limit says so, if the name stays whole.
        let needed = 4 + label.chars().count() + value.chars().count() + 1 + mark.chars().count();
        let is_room = needed < width && !mark.is_empty();
        right.extend(is_room.then(|| format!(" {mark}")));
    }
    let value_width = match width >= WITH_LIMITS {
        true => value_width,
        false => value
            .chars()
            .count()
            .max(value_width - right.chars().count().min(value_width)),
    };
    let label_width = width.saturating_sub(3 + value_width + 1 + right.chars().count());
    Line::from(vec![
        Span::raw(" "),
        Span::styled(glyph, style),
        Span::raw(" "),
        Span::styled(format::left(&label, label_width), theme.style(Role::Text)),
        Span::styled(format::right(&value, value_width), style),
        Span::styled(right, style),
    ])
}

/// `>1 s`: the limit that it is over, or the first that it must not pass.
fn limit_mark(app: &App, signal: &Signal) -> Option<String> {
    let limit = app.signals.around.limits.of(&signal.signal)?;
    let (sign, at) = match signal.grade {
        Grade::Critical => (">", limit.critical),
        Grade::Warning => (">", limit.warning),
        Grade::Ok | Grade::Unknown => ("<", limit.warning),
    };
    let at = format::signal_value(&signal.signal, Some(at), signal.unit.as_str());
    Some(format!("{sign}{at}"))
}

/// `0.9 s → 3.8 s`: what it was at the checkpoint.
fn since_before(app: &App, signal: &Signal) -> Option<String> {
    let is_own = app.signals.around.service == app.signals.service;
    let mut before = app.signals.around.before.iter().filter(|_| is_own);
    let before = before.find(|b| b.signal == signal.signal && b.route == signal.route)?;
    let of = |value: Option<f64>| format::signal_value(&signal.signal, value, signal.unit.as_str());
    let arrow = if app.setup.theme.is_plain() {
        "->"
    } else {
        "→"
    };
    before.value?;
    Some(format!("{} {arrow} {}", of(before.value), of(signal.value)))
}

/// The row with the history, or with the reason why there is no value.
pub(super) fn second_row(app: &App, signal: &Signal, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let room = width.saturating_sub(4);
    if signal.value.is_none() || matches!(signal.grade, Grade::Unknown) && !signal.detail.is_empty()
    {
        return Line::styled(
            format!("   {}", format::cut(signal.detail.as_str(), room)),
            theme.style(Role::Dim),
        );
    }
    let fits = |note: &String| note.chars().count() + 1 + SHORTEST_SPARK <= room;
    let note = since_before(app, signal).filter(fits).unwrap_or_default();
    let room = room.saturating_sub(note.chars().count() + usize::from(!note.is_empty()));
    Line::from(vec![
        Span::raw("   "),
        Span::styled(
            format::left(
                &since_checkpoint(app, signal, room).unwrap_or_else(|| spark(app, signal, room)),
                room,
            ),
            match signal.grade {
                _ if !app.signals.reading.is_fresh() => theme.style(Role::Stale),
                Grade::Ok | Grade::Unknown => theme.style(Role::Dim),
                grade => theme.grade(grade),
            },
        ),
        Span::styled(format!(" {note}"), theme.style(Role::Dim)),
    ])
}

/// Fewer bars say nothing.
const SHORTEST_SPARK: usize = 6;

/// What was kept of a signal, at most of the last day, and over how long: its worst in each bar, so that an outage of a
/// minute is not averaged away. `None` where nothing was kept.
pub fn day(app: &App, signal: &Signal, width: usize) -> Option<(String, String)> {
    let is_own = app.signals.around.service == app.signals.service;
    let points = || app.signals.course(&signal.signal).filter(|_| is_own);
    let (first, _) = points().next()?;
    let span = app.now.duration_since(first).as_secs().max(60);
    let bars = app.setup.theme.bars();
    let width = width.min(96);
    let mut worst: Vec<Option<f64>> = vec![None; width.max(1)];
    for (at, value) in points() {
        let since = at.duration_since(first).as_secs().clamp(0, span);
        let place = usize::try_from(since * width as i64 / (span + 1)).unwrap_or(0);
        let bar = &mut worst[place.min(width.saturating_sub(1))];
        *bar = Some(bar.map_or(value, |known| known.max(value)));
    }
    let top = top(signal, worst.iter().flatten().copied().fold(0.0, f64::max));
    let drawn = worst.iter().map(|value| bar(*value, top, bars)).collect();
    Some((format::span(span.unsigned_abs() * 1000), drawn))
}

/// What a full bar stands for: a scale on which a calm signal looks calm. 2 % CPU is no peak, nor is a steady 7 requests a
/// second.
fn top(signal: &Signal, peak: f64) -> f64 {
    match signal.signal {
        SignalName::LatencyP95 => peak.max(1000.0),
        SignalName::ErrorRate => peak.max(0.05),
        SignalName::Cpu | SignalName::Memory | SignalName::Disk | SignalName::Connections => {
            peak.max(1.0)
        }
        SignalName::Own(_) if signal.unit.as_str() == "fraction" => peak.max(1.0),
        SignalName::Traffic | SignalName::Own(_) => peak * 1.5,
    }
}

fn bar(value: Option<f64>, top: f64, bars: [char; 8]) -> char {
    match value {
        None => ' ',
        Some(_) if top <= 0.0 => bars[0],
        Some(v) => bars[((v / top * 7.0).round() as usize).min(7)],
    }
}

/// Fewer seconds are better told by the last samples.
const SHORTEST_SPAN: i64 = 120;

/// The bars since the checkpoint, a day at most, with a mark where the deploy was. In each the worst, or what was measured
/// shortly before it; a gap where nothing was. `None` without a checkpoint, and for a route.
fn since_checkpoint(app: &App, signal: &Signal, width: usize) -> Option<String> {
    let pane = &app.signals;
    let is_own = pane.around.service == pane.service && signal.route.is_none();
    let since = pane.around.since.filter(|_| is_own)?;
    let begun = since.max(app.now.checked_sub(KEPT).ok()?);
    let span = app.now.duration_since(begun).as_secs();
    // When what runs now was made.
    let instances = app.selected().into_iter().flat_map(|s| &s.instances);
    let made = instances.filter_map(|one| one.created_at.or(one.started_at));
    let deployed = made.max().filter(|at| *at > begun);
    let count = width.checked_sub(usize::from(deployed.is_some()))?;
    if span < SHORTEST_SPAN || count < SHORTEST_SPARK {
        return None;
    }
    let place = |at: Timestamp| {
        let into = at.duration_since(begun).as_secs().clamp(0, span);
        usize::try_from(into * count as i64 / (span + 1)).unwrap_or(0)
    };
    let mut worst: Vec<Option<f64>> = vec![None; count];
    for (at, value) in pane.course(&signal.signal) {
        // It holds until the next is due.
        let until = at.checked_add(SPACING).unwrap_or(at).min(app.now);
        if until < begun {
            continue;
        }
        for bar in &mut worst[place(at)..=place(until)] {
            *bar = Some(bar.map_or(value, |known| known.max(value)));
        }
    }
    let peak = worst.iter().flatten().copied().reduce(f64::max)?;
    let top = top(signal, peak);
    let bars = app.setup.theme.bars();
    let mut drawn: Vec<char> = worst.iter().map(|value| bar(*value, top, bars)).collect();
    if let Some(at) = deployed {
        let mark = if app.setup.theme.is_plain() {
            '|'
        } else {
            '│'
        };
        drawn.insert(place(at), mark);
    }
    Some(drawn.into_iter().collect())
}

/// The last samples as small bars between 0 and the largest of them; a gap where nothing was measured.
fn spark(app: &App, signal: &Signal, width: usize) -> String {
    let bars = app.setup.theme.bars();
    let key = (
        signal.signal.clone(),
        signal.route.as_ref().map(|r| r.as_str().to_owned()),
    );
    let Some(history) = app.signals.history.get(&key) else {
        return String::new();
    };
    let top = top(
        signal,
        history.iter().flatten().copied().fold(0.0, f64::max),
    );
    history
        .iter()
        .skip(history.len().saturating_sub(width))
        .map(|value| bar(*value, top, bars))
        .collect()
}
