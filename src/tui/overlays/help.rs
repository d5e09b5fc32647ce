//! Help: what every key does where the engineer is, and whether it is possible now. Made from the action table
//! and the keymap in force.

use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::tui::action::{ACTIONS, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::keymap::chord;
use crate::tui::theme::Role;
use crate::tui::update::is_possible;

/// How many rows there are to scroll through.
pub fn rows(app: &App, place: Place) -> usize {
    lines(app, place, 80).len()
}

fn lines(app: &App, place: Place, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let mut lines = Vec::new();
    let mut here = Vec::new();
    let mut everywhere = Vec::new();
    for spec in ACTIONS {
        let keys: Vec<String> = app
            .setup
            .keymap
            .keys(spec.action, place)
            .into_iter()
            .map(chord::display)
            .collect();
        if keys.is_empty() {
            continue;
        }
        let is_local = app
            .setup
            .keymap
            .bindings(place)
            .any(|(_, action)| action == spec.action);
        let role = if is_possible(app, spec.action) {
            Role::Text
        } else {
            Role::Dim
        };
        let line = Line::from(vec![
            Span::styled(
                format!(" {} ", format::left(&keys.join("  "), 20)),
                theme.style(Role::Accent),
            ),
            Span::styled(
                format::cut(spec.help.trim(), width.saturating_sub(23)),
                theme.style(role),
            ),
        ]);
        if is_local {
            here.push(line);
        } else {
            everywhere.push(line);
        }
    }
    if !here.is_empty() {
        lines.push(Line::styled(
            format!("In {}", place.name()),
            theme.style(Role::Strong),
        ));
        lines.extend(here);
        lines.push(Line::default());
    }
    if !everywhere.is_empty() {
        lines.push(Line::styled("Everywhere", theme.style(Role::Strong)));
        lines.extend(everywhere);
        lines.push(Line::default());
    }
    lines.push(Line::styled(
        "Dim: not possible right now. Your own keys: ~/.config/lastgood/keymap.toml",
        theme.style(Role::Dim),
    ));
    lines
}

/// Draws help for a place.
pub fn draw(app: &App, place: Place, first: usize, frame: &mut Frame<'_>) {
    let screen = frame.area();
    let width = screen.width.min(92);
    let lines = lines(app, place, width.saturating_sub(4) as usize);
    super::scrolled(app, "Keys", width, lines, first, frame);
}
