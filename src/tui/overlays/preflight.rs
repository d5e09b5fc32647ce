//! What would bite in a deploy: each check that is not ok with its evidence and what to do about it, the worst first.
//!
//! ```text
//! ╔ Preflight: 1 critical, 2 warnings, 31 ok ════════════════╗
//! ║▌✖ artifacts, shop/backend: dist/ stands in the folder    ║
//! ║    → lastgood preflight --fix artifacts                  ║
//! ╚══════════════════════════════════════════════════════════╝
//! ```

use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::domain::check::{Check, CheckGrade};
use crate::domain::reading::Reading;
use crate::domain::signal::Grade;
use crate::tui::app::App;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

/// The checks that are not ok, the worst first; within a grade in the order in which they were made.
pub fn shown(app: &App) -> Vec<&Check> {
    let mut shown: Vec<&Check> = app
        .preflight
        .value()
        .into_iter()
        .flatten()
        .filter(|check| check.grade != CheckGrade::Ok)
        .collect();
    shown.sort_by_key(|check| std::cmp::Reverse(check.grade));
    shown
}

/// How many of each, as many as there is room for.
fn count(app: &App, room: usize) -> String {
    let Some(checks) = app.preflight.value() else {
        return "Preflight".to_owned();
    };
    let of = |grade| checks.iter().filter(|check| check.grade == grade).count();
    let counts = [
        (of(CheckGrade::Critical), "critical"),
        (of(CheckGrade::Warning), "to look at"),
        (of(CheckGrade::Skipped), "skipped"),
        (of(CheckGrade::Ok), "ok"),
    ];
    let words = counts.iter().filter(|(n, word)| *n > 0 || *word == "ok");
    let mut words: Vec<String> = words.map(|(n, word)| format!("{n} {word}")).collect();
    // Half a count would be a wrong one.
    let title = |words: &[String]| format!("Preflight: {}", words.join(", "));
    while words.len() > 1 && title(&words).len() > room {
        words.pop();
    }
    title(&words)
}

/// Draws the overlay.
pub fn draw(app: &App, cursor: usize, frame: &mut Frame<'_>) {
    let theme = app.setup.theme;
    let width = frame.area().width.min(120);
    let room = width.saturating_sub(4) as usize;
    let mut rows = Vec::new();
    let mut cursor_row = 0;
    match &app.preflight {
        Reading::Waiting => rows.push(Line::raw("Looking at every service and the machines…")),
        Reading::Failed { cause, .. } => {
            let texts = wrap(cause.as_str(), room).into_iter();
            rows.extend(texts.map(|text| Line::styled(text, theme.style(Role::Critical))));
        }
        Reading::Fresh { .. } | Reading::Stale { .. } => {}
    }
    let shown = shown(app);
    let is_read = app.preflight.value().is_some();
    if is_read && shown.is_empty() {
        rows.push(Line::styled(
            format!("{} Nothing would bite.", theme.grade_glyph(Grade::Ok)),
            theme.style(Role::Ok),
        ));
    }
    for (n, check) in shown.iter().enumerate() {
        let is_selected = n == cursor;
        if is_selected {
            cursor_row = rows.len();
        }
        let grade = match check.grade {
            CheckGrade::Critical => Grade::Critical,
            CheckGrade::Warning => Grade::Warning,
            CheckGrade::Skipped | CheckGrade::Ok => Grade::Unknown,
        };
        let service = check
            .service
            .as_ref()
            .map_or(": ".to_owned(), |id| format!(", {id}: "));
        let text = format!("{}{service}{}", check.name, check.detail);
        for (i, text) in wrap(&text, room.saturating_sub(4).max(8))
            .into_iter()
            .enumerate()
        {
            let mark = match (i, is_selected, theme.is_plain()) {
                (0, true, false) => "▌",
                (0, true, true) => ">",
                _ => " ",
            };
            let glyph = match i {
                0 => theme.grade_glyph(grade),
                _ => " ",
            };
            let style = match is_selected {
                true => theme.selection(true),
                false => theme.style(Role::Text),
            };
            rows.push(Line::from(vec![
                Span::styled(mark, theme.style(Role::Accent)),
                Span::styled(format!("{glyph} "), theme.grade(grade)),
                Span::styled(text, style),
            ]));
        }
        if let Some(fix) = &check.fix {
            let texts = wrap(&format!("-> {fix}"), room.saturating_sub(5).max(8)).into_iter();
            rows.extend(
                texts.map(|text| Line::styled(format!("     {text}"), theme.style(Role::Accent))),
            );
        }
    }
    let height = frame.area().height.saturating_sub(4) as usize;
    let first = crate::tui::panes::first_row(cursor_row, rows.len(), height);
    super::scrolled(app, &count(app, room), width, rows, first, frame);
}
