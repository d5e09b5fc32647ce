//! What is wrong with one service: the alerts that fire, the signals that are not well with their last day, the findings of
//! the comparison, and the newest errors of its log.
//!
//! ```text
//! ╔ backend ═════════════════════════════════════════════╗
//! ║ Alerts                                               ║
//! ║ ✖ P0 shop/backend down: http 500                     ║
//! ║   since 15:30, taken by anna 15:31                   ║
//! ║ Signals                                              ║
//! ║ ✖ latency p95        3.8 s  critical >1 s            ║
//! ║   since 24 h ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▇█                      ║
//! ║ Since checkpoint pre-1.5                             ║
//! ║ ✖ errors 0.5 % -> 25 %                               ║
//! ║     15:31:05 ERROR division by zero                  ║
//! ║ Newest errors                                        ║
//! ╚══════════════════════════════════════════════════════╝
//! ```
//! Each part says why it is empty: that nothing was found is told from that nobody looked.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::domain::alert::{Alert, AlertState};
use crate::domain::reading::Reading;
use crate::domain::service::ServiceId;
use crate::domain::signal::{Grade, Signal};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::panes::signals::{around, board, gauge};
use crate::tui::theme::Role;

/// Errors of the log that are shown.
const ERRORS: usize = 8;
/// Rows that one line of a log may take.
const ROWS: usize = 4;

/// Draws the overlay.
pub fn draw(app: &App, service: &ServiceId, first: usize, frame: &mut Frame<'_>) {
    let width = frame.area().width.min(120);
    let room = width.saturating_sub(4) as usize;
    let mut rows = alerts(app, service, room);
    rows.extend(signals(app, service, room));
    if !service.is_machine() {
        rows.extend(findings(app, service, room));
        rows.extend(errors(app, service, room));
    }
    let title = match service.is_machine() {
        true => format!("machine {}", service.host),
        false => service.to_string(),
    };
    super::scrolled(app, &title, width, rows, first, frame);
}

fn title(app: &App, text: &str) -> Line<'static> {
    Line::styled(text.to_owned(), app.setup.theme.style(Role::Strong))
}

fn dim(app: &App, text: &str, width: usize) -> Vec<Line<'static>> {
    let style = app.setup.theme.style(Role::Dim);
    let rows = wrap(text, width.saturating_sub(2));
    let indented = rows.into_iter().map(|row| format!("  {row}"));
    indented.map(|row| Line::styled(row, style)).collect()
}

/// Whole sentences behind a glyph.
fn graded(app: &App, grade: Grade, text: &str, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let rows = wrap(text, width.saturating_sub(2));
    let mark = |i: usize| match i {
        0 => format!("{} ", theme.grade_glyph(grade)),
        _ => "  ".to_owned(),
    };
    let rows = rows.into_iter().enumerate();
    rows.map(|(i, row)| Line::styled(format!("{}{row}", mark(i)), theme.grade(grade)))
        .collect()
}

fn alerts(app: &App, service: &ServiceId, width: usize) -> Vec<Line<'static>> {
    let own = |alert: &&Alert| {
        alert.state == AlertState::Firing && alert.service.as_ref() == Some(service)
    };
    let firing: Vec<&Alert> = app.signals.alerts().iter().filter(own).collect();
    if firing.is_empty() {
        return Vec::new();
    }
    let mut rows = vec![title(app, "Alerts")];
    for alert in firing {
        let text = format!("{} {}", alert.severity, alert.text);
        rows.extend(graded(app, board::grade(alert.severity), &text, width));
        rows.extend(dim(app, &around::facts(app, alert), width));
    }
    rows
}

fn signals(app: &App, service: &ServiceId, width: usize) -> Vec<Line<'static>> {
    let pane = &app.signals;
    let own = pane.reading.value().filter(|own| own.id == *service);
    let (signals, is_stale): (&[Signal], bool) = match own {
        Some(own) if !pane.board.is_shown => (&own.signals, !pane.reading.is_fresh()),
        _ => (pane.board.of(service), !pane.board.reading.is_fresh()),
    };
    let mut rows = vec![title(app, "Signals")];
    if signals.is_empty() {
        rows.extend(dim(app, "not measured yet", width));
    }
    for signal in signals {
        let is_bad = matches!(signal.grade, Grade::Warning | Grade::Critical);
        if signal.route.is_some() && !is_bad {
            continue;
        }
        rows.push(gauge::value_row(app, signal, width, is_stale));
        if !signal.detail.as_str().is_empty() {
            rows.extend(dim(app, signal.detail.as_str(), width));
        }
        let is_selected = pane.service.as_ref() == Some(service);
        let day = gauge::day(app, signal, width.saturating_sub(8));
        if let Some((span, bars)) = day.filter(|_| is_selected && signal.route.is_none()) {
            let theme = app.setup.theme;
            rows.push(Line::from(vec![
                Span::styled(format!("  {span:>5} "), theme.style(Role::Dim)),
                Span::styled(bars, theme.style(Role::Text)),
            ]));
        }
    }
    rows
}

fn findings(app: &App, service: &ServiceId, width: usize) -> Vec<Line<'static>> {
    let mut rows = vec![title(app, "Findings")];
    let comparison = match &app.compare.reading {
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => value,
        Reading::Waiting => {
            rows.extend(dim(app, "nothing was compared yet", width));
            return rows;
        }
        Reading::Failed { cause, .. } => {
            rows.extend(dim(app, &format!("could not be compared: {cause}"), width));
            return rows;
        }
    };
    let own = |finding: &&crate::domain::verdict::Finding| finding.service == *service;
    let mut found = comparison.verdict.findings.iter().filter(own).peekable();
    if found.peek().is_none() {
        rows.extend(dim(app, "none since the checkpoint", width));
    }
    for finding in found {
        let grade = match finding.severity {
            Some(_) => Grade::Critical,
            None => Grade::Warning,
        };
        rows.extend(graded(app, grade, finding.text.as_str(), width));
        for line in &finding.evidence {
            rows.extend(dim(app, line.as_str(), width).into_iter().take(ROWS));
        }
    }
    rows
}

fn errors(app: &App, service: &ServiceId, width: usize) -> Vec<Line<'static>> {
    let mut rows = vec![title(app, "Newest errors in the log")];
    let Some(found) = app.logs.newest_errors(service, ERRORS) else {
        rows.extend(dim(app, "its log is not open here", width));
        return rows;
    };
    if found.is_empty() {
        rows.extend(dim(app, "none in the lines that are held", width));
    }
    let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| app.time(at) + " ");
    for (at, text) in found {
        let text = format!("{}{text}", time(at));
        let lines = wrap(&text, width.saturating_sub(2));
        let lines = lines.into_iter().take(ROWS);
        rows.extend(lines.map(|line| Line::raw(format!("  {}", format::cut(&line, width)))));
    }
    rows
}
