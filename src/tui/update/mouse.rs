//! What the mouse means, where it was asked for: a click focuses, in the logs it points to a line, and drags select
//! lines; the wheel scrolls.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::layout::Pane;
use crate::tui::panes::logs::{Goal, key_at};

use super::{act, logs, paging};

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
            let sought = app.logs.seek.take();
            let left = app.logs.scroll(by, height);
            if left != 0 {
                app.logs.seek(Goal::Lines(left));
            }
            return paging::seek_again(app, sought);
        }
        return Vec::new();
    }
    let action = if by > 0 { Action::GoDown } else { Action::GoUp };
    (0..WHEEL).flat_map(|_| act::perform(app, action)).collect()
}

#[cfg(test)]
mod tests {
    use crossterm::event::KeyModifiers;
    use ratatui::layout::Rect;

    use crate::tui::fixtures::{broken, screen};
    use crate::tui::msg::Msg;
    use crate::tui::update::update;

    use super::*;

    fn use_at(app: &mut App, kind: MouseEventKind, (column, row): (u16, u16)) {
        let event = MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        };
        update(app, Msg::Mouse(event));
    }

    const DOWN: MouseEventKind = MouseEventKind::Down(MouseButton::Left);
    const DRAG: MouseEventKind = MouseEventKind::Drag(MouseButton::Left);

    fn area(app: &App) -> Rect {
        app.places().pane(Pane::Logs).unwrap()
    }

    /// The place on the screen where a text of the log stands.
    fn place_of(app: &App, text: &str) -> (u16, u16) {
        let area = area(app);
        let found = screen(app).lines().enumerate().find_map(|(y, line)| {
            let is_inside = (area.y..area.bottom()).contains(&(y as u16));
            (is_inside && line.contains(text)).then_some(y as u16)
        });
        (area.x + 5, found.expect("the text is on the screen"))
    }

    fn under_cursor(app: &App) -> String {
        app.logs.line_under_cursor().unwrap().to_string()
    }

    #[test]
    fn a_click_puts_the_cursor_on_the_line_it_hits_and_moves_nothing() {
        for is_wrapped in [false, true] {
            let mut app = broken(120, 40);
            app.logs.look.is_wrapped = is_wrapped;
            for text in [
                "listening on",
                "Invalid JSON",
                "job finished",
                "88121 completed",
            ] {
                let at = place_of(&app, text);
                use_at(&mut app, DOWN, at);
                assert!(under_cursor(&app).contains(text), "{text}");
                assert!(!app.logs.is_following);
                assert_eq!(app.focus.pane, Pane::Logs);
                assert_eq!(place_of(&app, text), at, "{text} moved");
            }
        }
    }

    #[test]
    fn a_click_where_no_line_is_focuses_only() {
        let mut app = broken(120, 40);
        let area = area(&app);
        use_at(&mut app, DOWN, (area.x + 5, area.y));
        use_at(&mut app, DOWN, (area.x + 5, area.bottom() - 1));
        assert!(app.logs.is_following);
        assert_eq!(app.focus.pane, Pane::Logs);
    }

    #[test]
    fn a_drag_selects_lines_and_the_next_click_none() {
        let mut app = broken(120, 40);
        let from = place_of(&app, "listening on");
        use_at(&mut app, DOWN, from);
        use_at(&mut app, DRAG, (from.0 + 3, from.1));
        assert_eq!(app.logs.anchor, None);
        let to = place_of(&app, "answered slowly");
        use_at(&mut app, DRAG, to);
        let (first, last) = app.logs.selected().unwrap();
        assert_eq!(app.logs.lines_between(first, last).count(), 3);
        assert!(under_cursor(&app).contains("answered slowly"));
        use_at(&mut app, DOWN, to);
        assert_eq!(app.logs.anchor, None);
    }

    #[test]
    fn a_drag_that_began_elsewhere_selects_nothing() {
        let mut app = broken(120, 40);
        let services = app.places().pane(Pane::Services).unwrap();
        use_at(&mut app, DOWN, (services.x + 2, services.y + 2));
        let at = place_of(&app, "listening on");
        use_at(&mut app, DRAG, at);
        assert_eq!((app.logs.anchor, app.logs.is_following), (None, true));
    }

    #[test]
    fn the_wheel_moves_the_window_and_never_past_the_end() {
        let mut app = broken(120, 40);
        let area = area(&app);
        let at = (area.x + 5, area.y + 3);
        use_at(&mut app, MouseEventKind::ScrollDown, at);
        assert!(app.logs.is_following);
        use_at(&mut app, MouseEventKind::ScrollUp, at);
        assert!(!app.logs.is_following);
        assert!(
            under_cursor(&app).contains("NoneType"),
            "{}",
            under_cursor(&app)
        );
        use_at(&mut app, MouseEventKind::ScrollDown, at);
        assert!(under_cursor(&app).contains("88121 completed"));
    }
}
