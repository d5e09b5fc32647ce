//! One record of the selected pattern from each side of the deploy, side by side (one above the other where the
//! screen is narrow).

use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::domain::before_after::Side;
use crate::domain::safe_text::SafeText;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

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
    lines.push(Line::default());
    let side = |side: Side| {
        let text: Option<&SafeText> = row.examples.side(side).as_ref();
        text.map_or_else(
            || "(no record on this side)".to_owned(),
            |t| t.as_str().to_owned(),
        )
    };
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
