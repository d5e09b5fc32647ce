//! Draws the three views: their rows, and the line below them that says what is folded and which views there are.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::analysis::compare::lines::{
    self, Look, Tone, pattern_heading, pattern_line, sequence_heading, side_by_side_heading,
    side_by_side_line,
};
use crate::domain::comparison::Comparison;
use crate::domain::reading::Reading;
use crate::domain::side_by_side::Row;
use crate::domain::signal::Grade;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::compare::{Request, View};
use crate::tui::panes::first_row;
use crate::tui::theme::{Role, Theme};

/// The lines of the view that is shown, at most so many.
pub(super) fn draw(
    app: &App,
    comparison: &Comparison,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    let pane = &app.compare;
    let look = Look {
        width,
        column: pane.column,
        is_plain: app.setup.theme.is_plain(),
        has_brackets: false,
        zone: &app.setup.zone,
    };
    let theme = app.setup.theme;
    let count = pane.count();
    let heading = match (pane.view, pane.sequence()) {
        _ if count == 0 => Vec::new(),
        (View::Patterns, _) => pattern_heading(look),
        (View::Sequence, Some(sequence)) => sequence_heading(comparison, sequence, look),
        (View::Stream | View::Sequence, _) => side_by_side_heading(comparison, look),
    };
    let mut lines = Vec::new();
    if !heading.is_empty() && height > 2 {
        lines.push(line(theme, heading, None));
    }
    let room = height.saturating_sub(lines.len() + 1);
    let first = first_row(pane.cursor, count, room);
    let is_selected = |at: usize| at == pane.cursor && app.focus.pane == Pane::Compare;
    if pane.view == View::Patterns {
        for (at, (_, row)) in pane.shown().enumerate().skip(first).take(room) {
            let select = is_selected(at).then_some(Select::Text);
            lines.push(line(theme, pattern_line(comparison, row, look), select));
        }
    } else {
        let values =
            pane.view == View::Sequence && pane.sequence().is_some_and(|s| s.marks_values());
        for (at, row) in pane.rows().into_iter().enumerate().skip(first).take(room) {
            let select = is_selected(at).then_some(match row {
                Row::Folded { .. } => Select::All,
                _ => Select::Text,
            });
            let spans = side_by_side_line(comparison, row, values, look);
            lines.push(line(theme, spans, select));
        }
    }
    if count == 0 && pane.view != View::Patterns {
        lines.push(nothing(app, width));
    }
    lines.push(below(app, comparison, width));
    lines.truncate(height);
    lines
}

/// Why there is no row beside another.
fn nothing(app: &App, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let (text, role) = match &app.compare.request {
        Some(Request { id, reading, .. }) => match reading {
            Reading::Waiting => (
                format!("Looking for request {id} on both sides…"),
                Role::Dim,
            ),
            Reading::Failed { cause, .. } => (
                format!(
                    "{} request {id}: {cause}",
                    theme.grade_glyph(Grade::Unknown)
                ),
                Role::Unknown,
            ),
            Reading::Fresh { .. } | Reading::Stale { .. } => (
                format!("All records of request {id} are of patterns newer than this comparison."),
                Role::Dim,
            ),
        },
        None => (
            "Nothing to lay side by side: no side has a record.".to_owned(),
            Role::Dim,
        ),
    };
    Line::styled(format::cut(&text, width), theme.style(role))
}

/// What of the selected row stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Select {
    /// What its records say.
    Text,
    /// All of it.
    All,
}

fn line(theme: Theme, spans: Vec<lines::Span>, select: Option<Select>) -> Line<'static> {
    let styled = |span: lines::Span| {
        let is_text = matches!(span.tone, Tone::Text | Tone::Variable | Tone::Differs);
        let mut style = style(theme, span.tone);
        if select == Some(Select::All) || (select == Some(Select::Text) && is_text) {
            style = theme.style(Role::Selected);
            if span.tone == Tone::Differs {
                style = style.add_modifier(Modifier::UNDERLINED);
            }
        }
        Span::styled(span.text, style)
    };
    Line::from(spans.into_iter().map(styled).collect::<Vec<_>>())
}

fn style(theme: Theme, tone: Tone) -> Style {
    theme.style(match tone {
        Tone::Text => Role::Text,
        Tone::Variable | Tone::Dim => Role::Dim,
        Tone::Differs => Role::Match,
        Tone::Before => Role::Before,
        Tone::After => Role::After,
        Tone::Level(level) => return theme.level(level),
        Tone::Ok => Role::Ok,
        Tone::Warning => Role::Warning,
        Tone::Critical => Role::Critical,
    })
}

/// What is folded, and the views with their keys.
fn below(app: &App, comparison: &Comparison, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let views: Vec<Span<'static>> = View::ALL
        .into_iter()
        .flat_map(|view| view_name(app, view))
        .collect();
    let wide: usize = views.iter().map(Span::width).sum();
    let folded = folded(app, comparison);
    let room = width.saturating_sub(wide);
    if room < folded.width().min(24) {
        return Line::styled(format::cut(&folded, width), theme.style(Role::Dim));
    }
    let mut spans = vec![Span::styled(
        format::left(&folded, room),
        theme.style(Role::Dim),
    )];
    spans.extend(views);
    Line::from(spans)
}

/// `  [patterns]` where it is shown, else `  s stream`.
fn view_name(app: &App, view: View) -> Vec<Span<'static>> {
    let theme = app.setup.theme;
    if view == app.compare.view {
        let text = format!("  [{}]", view.name());
        return vec![Span::styled(text, theme.style(Role::Strong))];
    }
    let action = match view {
        View::Patterns => Action::ShowPatterns,
        View::Stream => Action::ShowStream,
        View::Sequence => Action::ShowSequence,
    };
    let key = (app.setup.keymap)
        .key(action, Place::Pane(Pane::Compare))
        .unwrap_or_default();
    vec![
        Span::styled(format!("  {key} "), theme.style(Role::Accent)),
        Span::styled(view.name(), theme.style(Role::Dim)),
    ]
}

/// `… 312 patterns unchanged (98.4 % of records)`
fn folded(app: &App, comparison: &Comparison) -> String {
    let pane = &app.compare;
    let dropped = comparison.side_by_side.dropped;
    match pane.view {
        View::Patterns => {}
        View::Stream if dropped.before + dropped.after > 0 => {
            return format!(
                "{} records of too many patterns left out",
                format::count(dropped.before + dropped.after)
            );
        }
        View::Stream | View::Sequence => {
            let gone = if app.setup.theme.is_plain() {
                "-"
            } else {
                "−"
            };
            return format!("= both  ~ instead  {gone} only before  + only after");
        }
    }
    if comparison.patterns.is_empty() {
        return "No patterns on either side.".to_owned();
    }
    if pane.has_unchanged {
        return format!("{} patterns", comparison.patterns.len());
    }
    let same = comparison.patterns.iter().filter(|p| !p.is_changed());
    let (count, records) = same.fold((0, 0), |(n, sum), p| (n + 1, sum + p.after));
    if count == 0 {
        return String::new();
    }
    let share = if comparison.after.records > 0 {
        let share = records as f64 / comparison.after.records as f64;
        format!(" ({} of records)", format::percent(Some(share)))
    } else {
        String::new()
    };
    let glyph = app.setup.theme.stale_glyph();
    let noun = if count == 1 { "pattern" } else { "patterns" };
    format!("{glyph} {} {noun} unchanged{share}", format::count(count))
}
