//! Moves what has the keys: cursors, views, the window of the log.

use crate::tui::action::Place;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::layout::Pane;
use crate::tui::overlays::{Overlay, help, menu, messages, preflight};
use crate::tui::panes::logs::Goal;
use crate::tui::panes::signals::heat;

use super::select;

pub(super) fn half_page(app: &App) -> i64 {
    let height = match &app.overlay {
        None => app.places().inner(app.focus.pane).height,
        Some(_) => app.size.height.saturating_sub(4),
    };
    i64::from(height / 2).max(1)
}

/// Moves the cursor of what has the keys, or scrolls it.
pub(super) fn go(app: &mut App, by: i64) -> Vec<Effect> {
    let amount = isize::try_from(by).unwrap_or(0);
    let place = app.place();
    let most = match place {
        Place::Help => match &app.overlay {
            Some(Overlay::Help { place, .. }) => help::rows(app, *place),
            _ => 0,
        },
        Place::Messages => messages::rows(app),
        _ => 0,
    };
    let page = app.size.height.saturating_sub(4) as usize;
    let entries = menu::entries(app).len();
    let checks = preflight::shown(app).len();
    match &mut app.overlay {
        Some(Overlay::Menu(menu)) => menu.step(amount, entries),
        Some(Overlay::Help { first, .. }) => {
            *first = first
                .saturating_add_signed(amount)
                .min(most.saturating_sub(page));
        }
        Some(Overlay::Messages { up }) => {
            *up = up
                .saturating_add_signed(-amount)
                .min(most.saturating_sub(page));
        }
        Some(Overlay::Example { first } | Overlay::Findings { first, .. }) => {
            *first = first.saturating_add_signed(amount).min(200);
        }
        Some(Overlay::Record { first, .. } | Overlay::Sources { first }) => {
            *first = first.saturating_add_signed(amount).min(5000);
        }
        Some(Overlay::Incident { first } | Overlay::Report { first, .. }) => {
            *first = first.saturating_add_signed(amount).min(5000);
        }
        Some(Overlay::Preflight { cursor }) => {
            *cursor = cursor
                .saturating_add_signed(amount)
                .min(checks.saturating_sub(1));
        }
        Some(Overlay::Notes(_)) => {}
        Some(Overlay::Confirm) => {
            if let Some(operating) = &mut app.operating {
                operating.first = operating.first.saturating_add_signed(amount).min(200);
            }
        }
        Some(Overlay::Prompt(_)) => {}
        None => return go_in_pane(app, by),
    }
    Vec::new()
}

pub(super) fn go_in_pane(app: &mut App, by: i64) -> Vec<Effect> {
    let amount = isize::try_from(by).unwrap_or(0);
    let height = app.places().inner(app.focus.pane).height as usize;
    match app.focus.pane {
        Pane::Services => {
            if app.services.step(amount) {
                return select(app);
            }
        }
        Pane::Logs => {
            let height = super::logs::height(app);
            let left = app.logs.step(by, height);
            if left != 0 {
                app.logs.seek(Goal::Lines(left));
            }
        }
        Pane::Compare => app.compare.step(amount),
        Pane::Signals if app.signals.board.is_shown => {
            let rows = heat::rows(app).len();
            let cursor = &mut app.signals.board.cursor;
            *cursor = (*cursor)
                .saturating_add_signed(amount)
                .min(rows.saturating_sub(1));
        }
        Pane::Signals => {
            app.signals.first = app.signals.first.saturating_add_signed(amount).min(200);
        }
        Pane::Runbook => app.runbook.step(amount),
        Pane::Timeline => app.timeline.step(amount, height),
    }
    Vec::new()
}

pub(super) fn go_to_end(app: &mut App, is_top: bool) -> Vec<Effect> {
    let far = if is_top { -1_000_000 } else { 1_000_000 };
    if app.overlay.is_none() && app.focus.pane == Pane::Logs {
        if is_top {
            return super::paging::go_top(app);
        } else {
            app.logs.follow();
        }
        return Vec::new();
    }
    go(app, far)
}

pub(super) fn scroll(app: &mut App, by: isize) {
    match (&mut app.overlay, app.focus.pane) {
        (None, Pane::Compare) => {
            app.compare.column = app.compare.column.saturating_add_signed(by).min(10_000);
        }
        (None, Pane::Logs) if !app.logs.look.is_wrapped => {
            let column = &mut app.logs.look.column;
            *column = column.saturating_add_signed(by).min(60_000);
        }
        _ => {}
    }
}
