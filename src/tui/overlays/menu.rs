//! The action menu of the selected service, or of the marked ones: the only place from which a service can be changed.
//!
//! What changes it leads to a plan, which is read and confirmed; nothing happens from here alone.

use ratatui::Frame;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::domain::operation::Risk;
use crate::tui::action::{Action, Place};
use crate::tui::app::{App, Lock};
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::theme::Role;
use crate::tui::update::is_possible;

/// The entries, in their order.
const ENTRIES: [Action; 8] = [
    Action::RunItem,
    Action::CompareNow,
    Action::RunPreflight,
    Action::CreateCheckpoint,
    Action::Restart,
    Action::StopService,
    Action::StartService,
    Action::RollBack,
];

/// The entries that make sense where the engineer is: the command of a runbook item only in front of one.
pub fn entries(app: &App) -> Vec<Action> {
    ENTRIES
        .into_iter()
        .filter(|action| {
            *action != Action::RunItem
                || (app.focus.pane == Pane::Runbook && is_possible(app, Action::RunItem))
        })
        .collect()
}

/// Which entry is under the cursor.
#[derive(Debug, Default)]
pub struct Menu {
    /// Its place in [`entries`].
    pub cursor: usize,
}

impl Menu {
    /// Moves the cursor by so many of `count` entries.
    pub fn step(&mut self, by: isize, count: usize) {
        self.cursor = self
            .cursor
            .saturating_add_signed(by)
            .min(count.saturating_sub(1));
    }
}

/// Draws the menu.
pub fn draw(app: &App, menu: &Menu, frame: &mut Frame<'_>) {
    let theme = app.setup.theme;
    let title = match app.services.acted_on().as_slice() {
        [] => "What to do".to_owned(),
        [one] => format!("{one} — what to do"),
        several => format!("{} marked services — what to do", several.len()),
    };
    let entries = entries(app);
    let inner = super::card(app, &title, 86, entries.len() as u16 + 4, frame);
    let width = inner.width as usize;
    let mut lines: Vec<Line<'_>> = entries
        .iter()
        .enumerate()
        .map(|(i, action)| {
            let spec = action.spec();
            let key = app
                .setup
                .keymap
                .keys(*action, Place::Menu)
                .first()
                .map(|chords| crate::tui::keymap::chord::display(chords))
                .unwrap_or_default();
            let risk = match spec.risk {
                Risk::ReadOnly => "",
                Risk::Disruptive => "interrupts it",
                Risk::Destructive | Risk::DataLosing => "replaces it",
            };
            let is_refused = action.is_change() && !app.is_armed();
            let style = if i == menu.cursor {
                theme.style(Role::Selected)
            } else if is_refused {
                theme.style(Role::Dim)
            } else {
                theme.style(Role::Text)
            };
            let help = format::left(spec.help.trim(), width.saturating_sub(4 + 14));
            Line::from(vec![
                Span::styled(
                    format!(" {} ", format::left(&key, 2)),
                    theme.style(Role::Accent),
                ),
                Span::styled(help, style),
                Span::styled(
                    format::right(risk, 14),
                    theme.style(if is_refused { Role::Dim } else { Role::Warning }),
                ),
            ])
        })
        .collect();
    lines.push(Line::default());
    let lock_key = app
        .setup
        .keymap
        .key(Action::ToggleLock, Place::Global)
        .unwrap_or_default();
    lines.push(match app.lock {
        Lock::ReadOnly => Line::styled(
            "This session is read-only: nothing can be changed from it.",
            theme.style(Role::Warning),
        ),
        _ if app.is_armed() => Line::styled(
            "Armed. A plan is shown first; nothing happens before you accept it.",
            theme.style(Role::Dim),
        ),
        _ => Line::styled(
            format!("Locked: close this and press {lock_key} to arm the session for 10 minutes."),
            theme.style(Role::Warning),
        ),
    });
    frame.render_widget(Paragraph::new(lines), inner);
}
