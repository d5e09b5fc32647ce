//! All services as a table: a row a service, a column a signal, each cell with its glyph, so that the one that is ill is
//! seen among thirty.
//!
//! ```text
//! │   service       p95       errors    cpu       │
//! │▌✖ backend     ✖ 3.8 s   ✖ 25 %    ✔ 41 %      │
//! │ ✔ worker      ? ?       ? ?       ✔ 3 %       │
//! │ ▲ machine       -         -       ✔ 12 %      │
//! ```
//! A dash is a signal that a service does not have; a question mark is one that could not be measured.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::board::short;
use crate::domain::reading::Reading;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Grade, Signal, SignalName};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::Role;

/// The columns, what users feel first: as many as fit.
const COLUMNS: [SignalName; 7] = [
    SignalName::LatencyP95,
    SignalName::ErrorRate,
    SignalName::Cpu,
    SignalName::Memory,
    SignalName::Traffic,
    SignalName::Connections,
    SignalName::Disk,
];
/// A glyph, a space, a value of seven, a space.
const CELL: usize = 10;
const LONGEST_NAME: usize = 20;
const SHORTEST_NAME: usize = 9;

/// The services, then the machines that were measured: what the rows are, and what a cursor counts.
pub fn rows(app: &App) -> Vec<ServiceId> {
    let services = app.services.reading.value();
    let services = services.iter().flat_map(|all| &all.services);
    let measured = app.signals.board.reading.value();
    let measured = measured.iter().flat_map(|all| &all.signals);
    services
        .map(|service| service.id.clone())
        .chain(
            measured
                .map(|one| one.id.clone())
                .filter(ServiceId::is_machine),
        )
        .collect()
}

/// Draws the table.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let theme = app.setup.theme;
    let board = &app.signals.board;
    match &board.reading {
        Reading::Failed { cause, .. } => {
            let title = "Signals could not be measured";
            crate::tui::panes::failed(app, title, cause.as_str(), frame, area);
            return;
        }
        Reading::Waiting => {
            crate::tui::panes::empty(app, "Measuring every service…", &[], frame, area);
            return;
        }
        Reading::Fresh { .. } | Reading::Stale { .. } => {}
    }
    let ids = rows(app);
    if ids.is_empty() {
        crate::tui::panes::empty(app, "No services.", &[], frame, area);
        return;
    }
    let (width, height) = (area.width as usize, area.height as usize);
    let longest = ids.iter().map(|id| name(id).chars().count()).max();
    let name_width = longest
        .unwrap_or(0)
        .clamp(SHORTEST_NAME, LONGEST_NAME)
        .min(width.saturating_sub(3 + CELL));
    let fit = (width.saturating_sub(3 + name_width) / CELL).min(COLUMNS.len());
    let columns = &COLUMNS[..fit];
    let mut head = format!("   {}", format::left("service", name_width));
    for column in columns {
        head.push_str(&format!("  {}", format::left(short(column), CELL - 2)));
    }
    let mut lines = vec![Line::styled(
        format::cut(&head, width),
        theme.style(Role::Dim),
    )];
    let cursor = board.cursor.min(ids.len() - 1);
    let room = height.saturating_sub(1).max(1);
    let first = (cursor + 1).saturating_sub(room);
    for (number, id) in ids.iter().enumerate().skip(first).take(room) {
        lines.push(row(app, id, number == cursor, name_width, columns, width));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn name(id: &ServiceId) -> String {
    match (id.is_machine(), id.host.is_local()) {
        (true, true) => "machine".to_owned(),
        (true, false) => id.host.to_string(),
        (false, true) => id.name.clone(),
        (false, false) => format!("{}:{}", id.host, id.name),
    }
}

fn row(
    app: &App,
    id: &ServiceId,
    is_selected: bool,
    name_width: usize,
    columns: &[SignalName],
    width: usize,
) -> Line<'static> {
    let theme = app.setup.theme;
    let board = &app.signals.board;
    let is_stale = !board.reading.is_fresh();
    let graded = |grade: Grade| {
        let (glyph, _, style) = theme.graded(grade, is_stale);
        (glyph, style)
    };
    let signals = board.of(id);
    let worst = worst(app, id, signals);
    let bar = match (is_selected, theme.is_plain()) {
        (true, true) => ">",
        (true, false) => "▌",
        (false, _) => " ",
    };
    let (glyph, style) = graded(worst);
    let mut spans = vec![
        Span::styled(bar, theme.style(Role::Accent)),
        Span::styled(glyph, style),
        Span::raw(" "),
        Span::styled(
            format::left(&name(id), name_width),
            theme.style(if is_selected {
                Role::Strong
            } else {
                Role::Text
            }),
        ),
    ];
    let whole = |wanted: &SignalName| {
        let mut own = signals.iter().filter(|one| one.route.is_none());
        own.find(|one| one.signal == *wanted)
    };
    for column in columns {
        let Some(signal) = whole(column) else {
            // What was not looked at is not taken for what it does not have.
            let text = format::left(if signals.is_empty() { "? ?" } else { "  -" }, CELL);
            spans.push(Span::styled(text, theme.style(Role::Dim)));
            continue;
        };
        let value = format::signal_value(&signal.signal, signal.value, signal.unit.as_str());
        let (glyph, style) = graded(signal.grade);
        let text = format!("{glyph} {value}");
        let text = format!("{} ", format::left(&text, CELL - 1));
        spans.push(Span::styled(text, style));
    }
    // What is not well and has no column of its own is told where there is room.
    let used = 3 + name_width + columns.len() * CELL;
    let others = signals.iter().filter(|one| {
        let is_bad = matches!(one.grade, Grade::Warning | Grade::Critical);
        is_bad && one.route.is_none() && !columns.contains(&one.signal)
    });
    let others: Vec<String> = others
        .map(|one| {
            let value = format::signal_value(&one.signal, one.value, one.unit.as_str());
            format!("{} {} {value}", graded(one.grade).0, short(&one.signal))
        })
        .collect();
    let text = format::cut(&others.join("  "), width.saturating_sub(used));
    spans.push(Span::styled(text, graded(Grade::Warning).1));
    Line::from(spans)
}

/// The worst of what is known of it; unknown before anything that is well, where something could not be looked at.
fn worst(app: &App, id: &ServiceId, signals: &[Signal]) -> Grade {
    let services = app.services.reading.value();
    let mut all = services.iter().flat_map(|all| &all.services);
    let service = all.find(|service| service.id == *id);
    let own = service.map_or(Grade::Ok, |service| {
        let is_blind = app.signals.board.is_blind(service);
        let grade = crate::tui::panes::services::judged_grade(app, service);
        if is_blind {
            grade.max(Grade::Unknown)
        } else {
            grade
        }
    });
    let bad = signals
        .iter()
        .filter(|one| one.route.is_none())
        .filter(|one| matches!(one.grade, Grade::Warning | Grade::Critical))
        .map(|one| one.grade);
    let worst = bad.max().unwrap_or(Grade::Ok).max(own);
    match signals.is_empty() {
        true => worst.max(Grade::Unknown),
        false => worst,
    }
}
