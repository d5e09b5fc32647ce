//! What the mouse means, where it was asked for: a click focuses, in the logs it points to a line, and drags select
//! lines; the wheel scrolls.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::layout::Pane;
use crate::tui::panes::logs::key_at;

use super::{act, logs};

/// Rows that one notch of the wheel scrolls.
const WHEEL: i64 = 3;

/// The mouse was used.
pub(super) fn use_mouse(app: &mut App, event: &MouseEvent) -> Vec<Effect> {
    if app.overlay.is_some() {
        return Vec::new();
    }
    let at = Position::new(event.column, event.row);
    let places = app.places();
    let hit = Pane::ALL
        .into_iter()
        .find(|pane| places.pane(*pane).is_some_and(|area| area.contains(at)));
    let Some(pane) = hit else {
        return Vec::new();
    };
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            app.focus.set(pane);
            if pane == Pane::Logs {
                point(app, at);
            }
        }
        // Dragging goes on in the pane where the button went down.
        MouseEventKind::Drag(MouseButton::Left)
            if pane == Pane::Logs && app.focus.pane == Pane::Logs =>
        {
            drag(app, at);
        }
        MouseEventKind::ScrollDown => return wheel(app, pane, WHEEL),
        MouseEventKind::ScrollUp => return wheel(app, pane, -WHEEL),
        _ => {}
    }
    Vec::new()
}

fn point(app: &mut App, at: Position) {
    if let Some((key, row)) = key_at(app, at) {
        app.logs.anchor = None;
        app.logs.point(key, row);
    }
}

fn drag(app: &mut App, at: Position) {
    let before = app.logs.cursor;
    // A hand that trembles within a line selects nothing.
    if let Some((key, row)) = key_at(app, at)
        && before != Some(key)
    {
        app.logs.anchor = app.logs.anchor.or(before);
        app.logs.point(key, row);
    }
}

fn wheel(app: &mut App, pane: Pane, by: i64) -> Vec<Effect> {
    app.focus.set(pane);
    if pane == Pane::Logs {
        // The followed end is the end: there is nothing below it, and it goes on by itself.
        if by < 0 || !app.logs.is_following {
            let height = logs::height(app);
            app.logs.scroll(by, height);
        }
        return Vec::new();
    }
    let action = if by > 0 { Action::GoDown } else { Action::GoUp };
    (0..WHEEL).flat_map(|_| act::perform(app, action)).collect()
}
