//! The records of the selected row from each side of the deploy, whole and side by side (one above the other where the
//! screen is narrow). In the view of patterns that is one record of the pattern.

use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::domain::before_after::Side;
use crate::domain::comparison::PatternRow;
use crate::domain::safe_text::SafeText;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

/// What stands on one side, with its place where that is known.
fn told(app: &App, pattern: &PatternRow, side: Side) -> String {
    let example: Option<&SafeText> = pattern.examples.side(side).as_ref();
    let nothing = || "(no record on this side)".to_owned();
    let Some(row) = app.compare.row() else {
        return example.map_or_else(nothing, |text| text.as_str().to_owned());
    };
    let Some(item) = *row.items().side(side) else {
        return nothing();
    };
    let comparison = app.compare.reading.value();
    let own = comparison.and_then(|c| c.patterns.get(item.pattern));
    let place = format!("line {}", format::count(item.line));
    match (&item.text, own.and_then(|p| p.examples.side(side).as_ref())) {
        (Some(text), _) => format!("{place}: {text}"),
        (None, Some(text)) => format!("{place}, one like this: {text}"),
        (None, None) => format!("{place}: its text was not kept"),
    }
}

/// `before 14:00:00 ▁▂▁▁█ 2 min a bar`: whether it came at once or goes on. A bar of nothing is a blank.
fn when(app: &App, pattern: &PatternRow, side: Side) -> Option<Line<'static>> {
    let theme = app.setup.theme;
    let times = pattern.times.side(side).as_ref()?;
    let from = jiff::Timestamp::from_second(times.from()).ok()?;
    let bars = theme.bars();
    let most = times.counts().iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &u64| match count {
        0 => ' ',
        count => bars[(count * 7).div_ceil(most) as usize],
    };
    let drawn: String = times.counts().iter().map(bar).collect();
    let word = match side {
        Side::Before => "before",
        Side::After => "after ",
    };
    let width = format::span(times.width().unsigned_abs() * 1000);
    Some(Line::from(vec![
        Span::styled(format!("{word} "), theme.side(side)),
        Span::styled(format!("{} ", app.time(from)), theme.style(Role::Dim)),
        Span::styled(drawn, theme.side(side)),
        Span::styled(format!(" {width} a bar"), theme.style(Role::Dim)),
    ]))
}

/// Draws the overlay.
pub fn draw(app: &App, first: usize, frame: &mut Frame<'_>) {
    let theme = app.setup.theme;
    let Some(row) = app.compare.pattern() else {
        let inner = super::card(app, "Example", 60, 3, frame);
        frame.render_widget(Line::raw("The pattern is gone."), inner);
        return;
    };
    let width = frame.area().width.min(150);
    let inner_width = width.saturating_sub(4) as usize;
    let mut lines: Vec<Line<'_>> = wrap(row.template.as_str(), inner_width)
        .into_iter()
        .map(|text| Line::styled(text, theme.style(Role::Strong)))
        .collect();
    let services: Vec<String> = row.services.iter().map(ToString::to_string).collect();
    let mut facts = format!(
        "{} before, {} after",
        format::count(row.before),
        format::count(row.after)
    );
    if let Some(ratio) = row.ratio {
        facts.push_str(&format!(", {}", format::ratio(ratio)));
    }
    if let Some(at) = row.first_seen {
        facts.push_str(&format!(", first seen {}", app.time(at)));
    }
    facts.push_str(&format!(", in {}", services.join(", ")));
    lines.extend(
        wrap(&facts, inner_width)
            .into_iter()
            .map(|text| Line::styled(text, theme.style(Role::Dim))),
    );
    // On a wall of ten lines the records themselves need the room.
    if frame.area().height >= 16 {
        let sides = [Side::Before, Side::After].into_iter();
        lines.extend(sides.filter_map(|side| when(app, row, side)));
    }
    lines.push(Line::default());
    let side = |side: Side| told(app, row, side);
    if inner_width >= 100 {
        let half = (inner_width - 3) / 2;
        let before = wrap(&side(Side::Before), half);
        let after = wrap(&side(Side::After), half);
        lines.push(Line::from(vec![
            Span::styled(format::left("before", half + 3), theme.style(Role::Before)),
            Span::styled("after", theme.style(Role::After)),
        ]));
        for i in 0..before.len().max(after.len()) {
            let cell = |texts: &[String]| texts.get(i).cloned().unwrap_or_default();
            lines.push(Line::from(vec![
                Span::raw(format::left(&cell(&before), half)),
                Span::styled(
                    if theme.is_plain() { " | " } else { " │ " },
                    theme.style(Role::Dim),
                ),
                Span::raw(cell(&after)),
            ]));
        }
    } else {
        for (word, which) in [("before", Side::Before), ("after", Side::After)] {
            lines.push(Line::styled(word, theme.side(which)));
            lines.extend(wrap(&side(which), inner_width).into_iter().map(Line::raw));
        }
    }
    super::scrolled(app, "Example", width, lines, first, frame);
}
