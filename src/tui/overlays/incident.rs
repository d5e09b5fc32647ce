//! The incident that is open: its clock, who has which role, what was written down; and its report.
//!
//! ```text
//! ╔ Incident ════════════════════════════════════════════════╗
//! ║ P0  Checkout fails                       open for 12 min ║
//! ║ lead boris, scribe clara; against 20251227-1449-pre-1.5  ║
//! ║                                                          ║
//! ║ 15:12:30 ✖ alert     P0 backend errors fires: 25 %       ║
//! ║ 15:14:02 ✔ note      anna: payment is called             ║
//! ╚══════════════════════════════════════════════════════════╝
//! ```

use ratatui::Frame;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use crate::domain::reading::Reading;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::ops::incident::Brief;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

/// Draws the overlay.
pub fn draw(app: &App, first: usize, frame: &mut Frame<'_>) {
    let theme = app.setup.theme;
    let width = frame.area().width.min(120);
    let room = width.saturating_sub(4) as usize;
    let rows = match &app.incident {
        Reading::Waiting => vec![Line::raw("Reading…")],
        Reading::Failed { cause, .. } => wrap(cause.as_str(), room)
            .into_iter()
            .map(|text| Line::styled(text, theme.style(Role::Critical)))
            .collect(),
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => match value {
            Some(brief) => open(app, brief, room),
            None => none(app, room),
        },
    };
    super::scrolled(app, "Incident", width, rows, first, frame);
}

fn none(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let key = app
        .setup
        .keymap
        .key(Action::StartIncident, Place::Incident)
        .unwrap_or_default();
    let help = format!(
        "{key} opens one: a clock runs, what runs is compared with the newest checkpoint, and what is done, ticked, said and \
         alarmed is kept for the report."
    );
    let mut rows = vec![Line::styled(
        "No incident is open.",
        theme.style(Role::Strong),
    )];
    let help = wrap(&help, width).into_iter();
    rows.extend(help.map(|text| Line::styled(text, theme.style(Role::Dim))));
    rows
}

fn open(app: &App, brief: &Brief, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let incident = &brief.incident;
    let clock = format!(
        "open for {}",
        format::span(format::elapsed_ms(incident.started_at, app.now))
    );
    let severity = incident.severity.map_or("P?", |s| s.as_str());
    let title_room = width.saturating_sub(severity.len() + clock.len() + 4);
    let mut rows = vec![Line::from(vec![
        Span::styled(
            format!("{severity}  "),
            theme.grade(Grade::Critical).add_modifier(Modifier::BOLD),
        ),
        Span::styled(
            format::left(incident.title.as_str(), title_room),
            theme.style(Role::Strong),
        ),
        Span::styled(format!("  {clock}"), theme.style(Role::Warning)),
    ])];
    let roles = incident.roles.iter();
    let roles: Vec<String> = roles
        .map(|held| format!("{} {}", held.role, held.who))
        .collect();
    let baseline = incident.baseline.as_deref().map_or_else(
        || "no checkpoint to compare with".to_owned(),
        |id| format!("against {id}"),
    );
    let facts = format!("{}; {baseline}", roles.join(", "));
    let facts = wrap(&facts, width).into_iter();
    rows.extend(facts.map(|text| Line::styled(text, theme.style(Role::Dim))));
    rows.push(Line::default());
    for event in &brief.events {
        let head = format!("{} ", app.time(event.at));
        let kind = match width >= 60 {
            true => format::left(event.kind.as_str(), 9),
            false => String::new(),
        };
        let indent = head.len() + 2 + kind.len();
        let words = event.text.as_str();
        // The kind has a column of its own.
        let words = match words.strip_prefix(event.kind.as_str()) {
            Some(rest) if !kind.is_empty() && rest.starts_with(' ') => rest.trim_start(),
            _ => words,
        };
        let texts = wrap(words, width.saturating_sub(indent).max(8));
        for (n, text) in texts.into_iter().enumerate() {
            rows.push(if n == 0 {
                Line::from(vec![
                    Span::styled(head.clone(), theme.style(Role::Dim)),
                    Span::styled(
                        format!("{} ", theme.grade_glyph(event.grade)),
                        theme.grade(event.grade),
                    ),
                    Span::styled(kind.clone(), theme.style(Role::Dim)),
                    Span::raw(text),
                ])
            } else {
                Line::raw(format!("{}{text}", " ".repeat(indent)))
            });
        }
    }
    rows
}

/// Draws a report.
pub fn draw_report(app: &App, lines: &[SafeText], first: usize, frame: &mut Frame<'_>) {
    let width = frame.area().width.min(150);
    let room = width.saturating_sub(4) as usize;
    let rows = lines.iter().flat_map(|line| {
        let role = match line.as_str().starts_with('#') {
            true => Role::Strong,
            false => Role::Text,
        };
        let parts = match line.as_str().is_empty() {
            true => vec![String::new()],
            false => wrap(line.as_str(), room),
        };
        parts
            .into_iter()
            .map(move |text| Line::styled(text, app.setup.theme.style(role)))
    });
    super::scrolled(app, "Report", width, rows.collect(), first, frame);
}
