//! The panes, one file each: its state and how it is drawn. What they share is the frame around them and how the
//! states of a reading look.

pub mod compare;
pub mod logs;
pub mod runbook;
pub mod services;
pub mod signals;
pub mod timeline;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Paragraph, Wrap};

use crate::domain::reading::Reading;

use super::app::App;
use super::format;
use super::layout::Pane;
use super::theme::Role;

/// Draws a pane's border and title and returns the room inside. `title` stands beside the pane's name.
fn frame(
    app: &App,
    pane: Pane,
    title: Vec<Span<'static>>,
    frame: &mut Frame<'_>,
    area: Rect,
) -> Rect {
    let theme = app.setup.theme;
    let is_focused = app.focus.pane == pane && app.overlay.is_none();
    let mut name = theme.style(if is_focused { Role::Accent } else { Role::Text });
    if is_focused {
        name = name.add_modifier(Modifier::BOLD);
    }
    let mut spans = vec![Span::styled(
        format!(" {} {} ", pane.number(), pane.name()),
        name,
    )];
    spans.extend(title);
    let block = Block::new()
        .borders(Borders::ALL)
        .border_set(theme.border(is_focused))
        .border_style(theme.border_style(is_focused))
        .title(
            Line::from(spans).style(Style::new().fg(Color::Reset).remove_modifier(Modifier::DIM)),
        );
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

/// One column of air on both sides, for text that has no column of marks of its own.
fn inset(area: Rect) -> Rect {
    Rect {
        x: area.x + area.width.min(1),
        width: area.width.saturating_sub(2),
        ..area
    }
}

/// What a pane shows instead of its content when there is none: a headline and what to do.
fn empty(app: &App, headline: &str, hints: &[String], frame: &mut Frame<'_>, area: Rect) {
    let theme = app.setup.theme;
    let mut lines = vec![Line::styled(headline.to_owned(), theme.style(Role::Text))];
    lines.extend(
        hints
            .iter()
            .map(|hint| Line::styled(hint.clone(), theme.style(Role::Dim))),
    );
    let text = Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false });
    frame.render_widget(text, inset(area));
}

/// Why something could not be read, and the way on.
fn failed(app: &App, what: &str, cause: &str, frame: &mut Frame<'_>, area: Rect) {
    let theme = app.setup.theme;
    let refresh = app
        .setup
        .keymap
        .key(super::action::Action::Refresh, super::action::Place::Global);
    let mut lines = vec![
        Line::from(vec![
            Span::styled(
                format!(
                    "{} ",
                    theme.grade_glyph(crate::domain::signal::Grade::Unknown)
                ),
                theme.style(Role::Unknown),
            ),
            Span::styled(what.to_owned(), theme.style(Role::Strong)),
        ]),
        Line::styled(cause.to_owned(), theme.style(Role::Text)),
    ];
    if let Some(key) = refresh {
        lines.push(Line::styled(
            format!("{key} tries again"),
            theme.style(Role::Dim),
        ));
    }
    let text = Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false });
    frame.render_widget(text, inset(area));
}

/// The part of a title that says how old a reading is, where it is not fresh.
fn age_note<T>(app: &App, reading: &Reading<T>) -> Vec<Span<'static>> {
    let Reading::Stale { at, .. } = reading else {
        return Vec::new();
    };
    let age = format::span(format::elapsed_ms(*at, app.now));
    vec![Span::styled(
        format!("{} stale {age} ", app.setup.theme.stale_glyph()),
        app.setup.theme.style(Role::Stale),
    )]
}

/// The first row to show, so that the row of the cursor is in view and the end is not left empty.
pub(super) fn first_row(cursor: usize, rows: usize, height: usize) -> usize {
    if rows <= height {
        return 0;
    }
    cursor.saturating_sub(height / 2).min(rows - height)
}
