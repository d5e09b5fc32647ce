//! The messages so far, with the whole chain of causes and the next command: what flew by can be read again.

use ratatui::Frame;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

fn lines(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let mut lines = Vec::new();
    for notice in &app.notices {
        let head = format!(" {} ", app.time(notice.at));
        let room = width.saturating_sub(12);
        for (i, text) in wrap(notice.text.as_str(), room).into_iter().enumerate() {
            lines.push(if i == 0 {
                Line::from(vec![
                    Span::styled(head.clone(), theme.style(Role::Dim)),
                    Span::styled(
                        format!("{} ", theme.grade_glyph(notice.grade)),
                        theme.grade(notice.grade),
                    ),
                    Span::raw(text),
                ])
            } else {
                Line::raw(format!("{}{text}", " ".repeat(12)))
            });
        }
        if let Some(fix) = &notice.fix {
            lines.push(Line::from(vec![
                Span::raw(" ".repeat(12)),
                Span::styled(
                    format::cut(&format!("try: {fix}"), room),
                    theme.style(Role::Accent),
                ),
            ]));
        }
    }
    lines
}

/// How many rows there are to scroll through.
pub fn rows(app: &App) -> usize {
    lines(app, 96).len()
}

/// Draws the messages, the newest at the bottom.
pub fn draw(app: &App, up: usize, frame: &mut Frame<'_>) {
    let width = frame.area().width.min(104);
    let mut lines = lines(app, width.saturating_sub(4) as usize);
    if lines.is_empty() {
        lines.push(Line::styled(
            "No messages. Errors and refusals stand here with their causes.",
            app.setup.theme.style(Role::Dim),
        ));
    }
    let inner = super::card(app, "Messages", width, lines.len() as u16 + 2, frame);
    let height = inner.height as usize;
    let end = lines.len() - up.min(lines.len().saturating_sub(height));
    let start = end.saturating_sub(height);
    frame.render_widget(Paragraph::new(lines[start..end].to_vec()), inner);
}
