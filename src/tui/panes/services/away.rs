//! What could not be read, in a line each: `? Docker on prod-1 unreachable 12 s`. Its cause and fix stand below the list.

use ratatui::layout::Rect;
use ratatui::text::Line;
use unicode_width::UnicodeWidthStr;

use crate::domain::service::{Inventory, Runtime, Unreachable};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::Role;

/// What could not be read in a line each, on at most a third of the pane: the causes stand below all services.
pub(super) fn lines<'a>(app: &App, inventory: &Inventory, area: Rect) -> Vec<Line<'a>> {
    let style = app.setup.theme.style(Role::Unknown);
    let (width, room) = (area.width as usize, (area.height as usize / 3).max(1));
    let all = &inventory.unreachable;
    let shown = if all.len() > room {
        room - 1
    } else {
        all.len()
    };
    let mut lines: Vec<Line<'_>> = all
        .iter()
        .take(shown)
        .map(|away| Line::styled(line(app, away, width), style))
        .collect();
    if shown < all.len() {
        let more = if shown > 0 { " more" } else { "" };
        let text = format!("? {}{more} unreachable", all.len() - shown);
        lines.push(Line::styled(format::cut(&text, width), style));
    }
    lines
}

/// `? Docker on prod-1 unreachable 12 s`; where there is no room for that, the name is cut.
pub(super) fn line(app: &App, unreachable: &Unreachable, width: usize) -> String {
    let name = match unreachable.runtime {
        Runtime::Compose | Runtime::Docker => "Docker",
        Runtime::Swarm => "Swarm",
        Runtime::Pm2 => "PM2",
        Runtime::Exec => "exec",
        Runtime::File => "files",
    };
    let place = if unreachable.host.is_local() {
        name.to_owned()
    } else {
        format!("{name} on {}", unreachable.host)
    };
    let age = app.services.away_for(unreachable, app.now);
    let end = match place.width() + age.width() + " unreachable".width() + 2 > width {
        true if !age.is_empty() => format!(" away{age}"),
        true => " away".to_owned(),
        false => format!(" unreachable{age}"),
    };
    let place = format::cut(&place, width.saturating_sub(2 + end.width()));
    format!("? {place}{end}")
}
