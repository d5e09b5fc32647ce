//! Draws the log: what is on screen is made safe here, line by line, so that lines nobody sees cost nothing.

use std::ops::Range;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::{LogsPane, Source};
use crate::domain::log::{Level, LogNote, LogNoteKind};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::store::ring::RingLine;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::services;
use crate::tui::theme::{Role, Theme};

/// Columns before the text of a line: marker, time, level.
const HEAD: usize = 1 + 13 + 6;

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let inner = super::super::frame(
        app,
        Pane::Logs,
        title(app, area.width as usize),
        frame,
        area,
    );
    if let Some(bottom) = bottom(app) {
        let at = Rect {
            y: area.bottom().saturating_sub(1),
            x: area.x + 2,
            height: 1,
            width: area.width.saturating_sub(4),
        };
        frame.render_widget(bottom, at);
    }
    if pane.ring.is_empty() {
        draw_empty(app, frame, inner);
        return;
    }
    let rows = window(app, inner.width as usize, inner.height as usize);
    frame.render_widget(Paragraph::new(rows), inner);
    if let Source::Failed(problem) = &pane.source {
        // What was read stays on screen; that no more comes must not be overlooked.
        let text = format!(
            " {} {} ",
            theme.grade_glyph(Grade::Unknown),
            problem.text.as_str()
        );
        let at = Rect {
            y: inner.bottom().saturating_sub(1),
            height: 1,
            ..inner
        };
        let line = Line::styled(
            format::left(&text, inner.width as usize),
            theme.style(Role::Critical),
        );
        frame.render_widget(line, at);
    }
}

fn title(app: &App, width: usize) -> Vec<Span<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let Some(service) = &pane.service else {
        return Vec::new();
    };
    let mut spans = vec![
        Span::styled(format!(" {} ", service.name), theme.style(Role::Strong)),
        Span::raw(theme.rule()),
    ];
    let (word, role) = match (&pane.source, pane.is_following) {
        (Source::Failed(_), _) => ("NO CONNECTION", Role::Critical),
        (Source::Ended, _) => ("ENDED", Role::Warning),
        (_, true) => ("FOLLOW", Role::Ok),
        (_, false) => ("PAUSED", Role::Warning),
    };
    spans.push(Span::styled(format!(" {word} "), theme.style(role)));
    if matches!(pane.source, Source::Waiting | Source::None) {
        return spans;
    }
    let held = pane.ring.held();
    let received = pane.ring.received();
    let live = format!("live {}/s", format::count(pane.rate(app.now)));
    let skipped = format!("{} skipped ", format::count(pane.skipped));
    let oldest = pane
        .ring
        .oldest_at()
        .map_or_else(String::new, |at| format!(", oldest {}", app.time(at)));
    let held_of = if held == received {
        format!("held {}", format::count(held))
    } else {
        format!(
            "held {} of {}",
            format::count(held),
            format::count(received)
        )
    };
    // As much of it as there is room for; what was skipped is never left out.
    let used: usize = 12 + spans.iter().map(Span::width).sum::<usize>();
    let room = width.saturating_sub(used + live.width() + skipped.width() + 8);
    let mut facts = vec![live];
    if held != received && held_of.width() + oldest.width() <= room {
        facts.push(format!("{held_of}{oldest}"));
    } else if held_of.width() <= room {
        facts.push(held_of);
    }
    spans.push(Span::raw(theme.rule()));
    spans.push(Span::styled(
        format!(" {} · ", facts.join(" · ")),
        theme.style(Role::Dim),
    ));
    let role = if pane.skipped > 0 {
        Role::Warning
    } else {
        Role::Dim
    };
    spans.push(Span::styled(skipped, theme.style(role)));
    spans
}

/// The search and what stands out of the ordinary, on the lower border.
fn bottom(app: &App) -> Option<Line<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let mut spans = Vec::new();
    if let Some(search) = &pane.search {
        let text = SafeText::from_text(&search.text);
        let count = format::count(search.count() as u64);
        let counter = match search.position(pane.cursor) {
            Some(i) if !pane.is_following => format!("{} of {count}", format::count(i as u64)),
            _ if search.count() == 0 => "not found".to_owned(),
            _ => format!("{count} lines"),
        };
        spans.push(Span::styled(
            format!(" /{} ", format::cut(text.as_str(), 30)),
            theme.style(Role::Accent),
        ));
        spans.push(Span::styled(
            format!(" {counter} "),
            theme.style(Role::Text),
        ));
    }
    if pane.is_wrapped {
        spans.push(Span::styled(" wrap ", theme.style(Role::Dim)));
    }
    if pane.column > 0 {
        spans.push(Span::styled(
            format!(" from column {} ", pane.column + 1),
            theme.style(Role::Dim),
        ));
    }
    if !pane.is_following && !pane.ring.is_empty() {
        let below = pane.ring.range().end.saturating_sub(pane.cursor + 1);
        if below > 0 {
            let key = app
                .setup
                .keymap
                .key(Action::ToggleFollow, Place::Pane(Pane::Logs));
            let hint = key.map_or_else(String::new, |key| format!(", {key} follows"));
            spans.push(Span::styled(
                format!(" {} below{hint} ", format::count(below)),
                theme.style(Role::Dim),
            ));
        }
    }
    (!spans.is_empty()).then(|| Line::from(spans))
}

fn draw_empty(app: &App, frame: &mut Frame<'_>, inner: Rect) {
    let pane = &app.logs;
    let name = pane
        .service
        .as_ref()
        .map_or_else(String::new, |id| id.name.clone());
    if pane.service.is_none()
        && let Some(lines) = services::nothing_found(app, inner.width.saturating_sub(2) as usize)
    {
        let area = super::super::inset(inner);
        frame.render_widget(Paragraph::new(lines), area);
        return;
    }
    match &pane.source {
        Source::None => super::super::empty(
            app,
            "No service is selected.",
            &["Its log stands here as soon as one is found.".to_owned()],
            frame,
            inner,
        ),
        Source::Waiting => super::super::empty(
            app,
            &format!("Opening the log of {name}…"),
            &[],
            frame,
            inner,
        ),
        Source::Live => super::super::empty(
            app,
            &format!("{name} has written nothing yet."),
            &["New lines appear here as they come.".to_owned()],
            frame,
            inner,
        ),
        Source::Ended => super::super::empty(
            app,
            &format!("The log of {name} is empty and ended."),
            &[],
            frame,
            inner,
        ),
        Source::Failed(problem) => super::super::failed(
            app,
            &format!("The log of {name} could not be read"),
            &match &problem.fix {
                Some(fix) => format!("{} — {fix}", problem.text),
                None => problem.text.as_str().to_owned(),
            },
            frame,
            inner,
        ),
    }
}

/// The screen rows around the cursor.
fn window(app: &App, width: usize, height: usize) -> Vec<Line<'static>> {
    let pane = &app.logs;
    let range = pane.ring.range();
    let above = if pane.is_following {
        height.saturating_sub(1)
    } else {
        pane.above.min(height.saturating_sub(1))
    };
    let at_cursor = rows_of(app, pane.cursor, width);
    let mut rows: Vec<Line<'static>> = Vec::with_capacity(height);
    // Upwards from the cursor until the rows above it are filled …
    let mut upper: Vec<Vec<Line<'static>>> = Vec::new();
    let mut count = 0;
    let mut number = pane.cursor;
    while number > range.start && count < above {
        number -= 1;
        let lines = rows_of(app, number, width);
        count += lines.len();
        upper.push(lines);
    }
    rows.extend(upper.into_iter().rev().flatten());
    if count > above {
        rows.drain(..count - above);
    }
    rows.extend(at_cursor);
    // … and downwards until the window is.
    let mut number = pane.cursor + 1;
    while number < range.end && rows.len() < height {
        rows.extend(rows_of(app, number, width));
        number += 1;
    }
    // While following, the end stays at the bottom even when its last line takes several rows.
    if rows.len() > height {
        if pane.is_following {
            rows.drain(..rows.len() - height);
        } else {
            rows.truncate(height);
        }
    }
    rows
}

/// The rows of one line: one, or several where lines are wrapped.
fn rows_of(app: &App, number: u64, width: usize) -> Vec<Line<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let Some(line) = pane.ring.line(number) else {
        return Vec::new();
    };
    if let Some(note) = line.note {
        return vec![seam(app, note, width)];
    }
    let is_cursor = number == pane.cursor && !pane.is_following && app.focus.pane == Pane::Logs;
    let has_head = width >= 60 && (line.at.is_some() || line.level.is_some());
    // Time and level stand in columns of their own, where there is room for these.
    let from = if has_head { line.text_from } else { 0 };
    let text = SafeText::from_bytes(line.bytes.get(from..).unwrap_or_default());
    let text = if line.cut_bytes > 0 {
        SafeText::from_text(&format!("{text}… {} more bytes", line.cut_bytes))
    } else {
        text
    };
    let text = text.as_str();
    let head_width = if has_head { HEAD } else { 1 };
    let room = width.saturating_sub(head_width).max(1);
    let style = text_style(theme, &line);
    let marks = marks(pane, text, number);
    let mut rows = Vec::new();
    if pane.is_wrapped {
        let mut at = 0;
        while rows.is_empty() || at < text.len() {
            let part = format::columns(&text[at..], 0, room);
            if part.is_empty() && !rows.is_empty() {
                break;
            }
            let head = head(app, &line, has_head, rows.is_empty(), is_cursor);
            let end = at + part.len();
            rows.push(assemble(theme, head, text, at..end, &marks, style));
            if part.is_empty() {
                break;
            }
            at = end;
        }
        return rows;
    }
    let part = format::columns(text, pane.column, room);
    let start = if part.is_empty() {
        text.len()
    } else {
        part.as_ptr() as usize - text.as_ptr() as usize
    };
    let mut end = start + part.len();
    let is_cut = end < text.len();
    if is_cut {
        end = start + format::columns(&text[start..], 0, room.saturating_sub(1)).len();
    }
    let head = head(app, &line, has_head, true, is_cursor);
    let mut row = assemble(theme, head, text, start..end, &marks, style);
    if is_cut {
        row.push_span(Span::styled("…", theme.style(Role::Dim)));
    }
    vec![row]
}

fn text_style(theme: Theme, line: &RingLine<'_>) -> Style {
    match line.level {
        Some(Level::Error | Level::Fatal | Level::Warn) => Style::new(),
        Some(Level::Debug | Level::Trace) => theme.style(Role::Dim),
        Some(Level::Info) | None => Style::new(),
    }
}

/// Marker, time and level of a line; on the further rows of a wrapped one, the room they take.
fn head(
    app: &App,
    line: &RingLine<'_>,
    has_head: bool,
    is_first: bool,
    is_cursor: bool,
) -> Vec<Span<'static>> {
    let theme = app.setup.theme;
    let marker = match (is_cursor, theme.is_plain()) {
        (true, true) => ">",
        (true, false) => "▌",
        (false, _) => " ",
    };
    let mut spans = vec![Span::styled(marker, theme.style(Role::Accent))];
    if !has_head {
        return spans;
    }
    if !is_first {
        spans.push(Span::raw(" ".repeat(HEAD - 1)));
        return spans;
    }
    let time = line.at.map_or_else(String::new, |at| {
        format::time_with_millis(at, &app.setup.zone)
    });
    spans.push(Span::styled(
        format::left(&time, 13),
        theme.style(if is_cursor { Role::Text } else { Role::Dim }),
    ));
    let (word, style) = match line.level {
        Some(level @ (Level::Error | Level::Fatal | Level::Warn)) => {
            (level.as_str().to_uppercase(), theme.level(line.level))
        }
        Some(level) => (level.as_str().to_owned(), theme.style(Role::Dim)),
        None => (String::new(), Style::new()),
    };
    spans.push(Span::styled(format::left(&word, 6), style));
    spans
}

fn marks(pane: &LogsPane, text: &str, number: u64) -> Vec<(Range<usize>, Role)> {
    let Some(search) = &pane.search else {
        return Vec::new();
    };
    let role = if number == pane.cursor && !pane.is_following {
        Role::CurrentMatch
    } else {
        Role::Match
    };
    search
        .ranges(text)
        .into_iter()
        .map(|range| (range, role))
        .collect()
}

/// One row: its head, then a part of the text with the matches in it marked.
fn assemble(
    theme: Theme,
    head: Vec<Span<'static>>,
    text: &str,
    part: Range<usize>,
    marks: &[(Range<usize>, Role)],
    style: Style,
) -> Line<'static> {
    let mut spans = head;
    let mut at = part.start;
    for (range, role) in marks {
        let from = range.start.clamp(at, part.end);
        let to = range.end.clamp(from, part.end);
        if from == to {
            continue;
        }
        if from > at {
            spans.push(Span::styled(text[at..from].to_owned(), style));
        }
        spans.push(Span::styled(
            text[from..to].to_owned(),
            style.patch(theme.style(*role)),
        ));
        at = to;
    }
    if at < part.end {
        spans.push(Span::styled(text[at..part.end].to_owned(), style));
    }
    Line::from(spans)
}

/// `── recreated 15:00:12  api:1.4 → api:1.5 ─────`
fn seam(app: &App, note: &LogNote, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let rule = theme.rule();
    let mut text = format!("{rule}{rule} {}", note.kind.as_str());
    let at = note.to.or(note.from);
    if let Some(at) = at {
        text.push_str(&format!(" {}", app.time(at)));
    }
    if let (LogNoteKind::Gap | LogNoteKind::Reconnected, Some(from), Some(to)) =
        (note.kind, note.from, note.to)
    {
        text.push_str(&format!(
            ", gap {}",
            format::span(format::elapsed_ms(from, to))
        ));
    }
    if let Some(lines) = note.lines {
        text.push_str(&format!(", {} lines", format::count(lines)));
    }
    if !note.detail.is_empty() {
        text.push_str(&format!("  {}", note.detail));
    }
    text.push(' ');
    let text = format::cut(&text, width.saturating_sub(2));
    let fill = width.saturating_sub(text.width() + 2);
    let role = match note.kind {
        LogNoteKind::Gap | LogNoteKind::Skipped | LogNoteKind::Reconnecting => Role::Warning,
        LogNoteKind::Ended => Role::Stale,
        _ => Role::Seam,
    };
    Line::styled(format!(" {text}{}", rule.repeat(fill)), theme.style(role))
}
