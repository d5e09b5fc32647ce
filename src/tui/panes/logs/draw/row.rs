//! One line of the log on the screen: its columns, its text, the seam or the gap in front of it.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::text::Text;
use crate::domain::log::{Level, LogNote, LogNoteKind, Stream};
use crate::store::ring::{Gap, Key, RingLine};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::logs::{Stamps, short_name};
use crate::tui::theme::Role;

/// How the columns before the text are divided; all of them are left out where there is no room.
pub(super) struct Columns {
    width: usize,
    has_head: bool,
    time: usize,
    names: Vec<(u32, String)>,
    name: usize,
    level: usize,
}

impl Columns {
    /// The columns of a pane of this width.
    pub(super) fn of(app: &App, width: usize) -> Self {
        let sources = &app.logs.sources;
        let has_head = width >= 60;
        let most = if width >= 100 { 16 } else { 10 };
        let names: Vec<(u32, String)> = if sources.len() > 1 {
            // The ends of long names tell them apart: their beginnings are often those of a project.
            let name = |id| format::cut_left(&short_name(id, sources), most);
            sources.iter().map(|f| (f.slot, name(f.id()))).collect()
        } else {
            Vec::new()
        };
        let name = names.iter().map(|(_, name)| name.width() + 1).max();
        Self {
            width,
            has_head,
            time: match app.logs.look.stamps {
                Stamps::Off => 0,
                Stamps::Absolute => 13,
                Stamps::Relative | Stamps::Delta => 11,
            },
            name: name.unwrap_or(0),
            names,
            level: 6,
        }
    }

    /// Columns before the text: marker, time, name, stream, level.
    fn head(&self) -> usize {
        let name = if self.has_head {
            self.name
        } else {
            self.name.min(4)
        };
        if self.has_head {
            1 + self.time + name + 1 + self.level
        } else {
            1 + name
        }
    }
}

/// The rows of one line: one, or several where lines are wrapped or lines are missing in front of it.
pub(super) fn rows_of(app: &App, key: Key, columns: &Columns) -> Vec<Line<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let Some(line) = pane.rings.line(key) else {
        return Vec::new();
    };
    let mut rows = Vec::new();
    rows.extend(gap(app, &line, columns.width));
    if let Some(note) = line.note {
        rows.push(seam(app, note, columns));
        return rows;
    }
    let is_cursor = Some(key) == pane.cursor && !pane.is_following && app.focus.pane == Pane::Logs;
    let is_selected = pane.is_selected(key);
    let text = Text::of(app, &line, columns.has_head, is_cursor);
    let room = columns.width.saturating_sub(columns.head()).max(1);
    let finish = |mut row: Line<'static>| {
        if is_selected {
            row.style = row.style.patch(theme.style(Role::Selected));
        }
        row
    };
    if pane.look.is_wrapped {
        let mut at = 0;
        let mut is_first = true;
        while is_first || at < text.len() {
            let end = text.end_of(at, 0, room).1;
            if end == at && !is_first {
                break;
            }
            let mut spans = head(app, &line, columns, is_first, is_cursor);
            text.push(at..end, &mut spans);
            rows.push(finish(Line::from(spans)));
            if end == at {
                break;
            }
            at = end;
            is_first = false;
        }
        return rows;
    }
    let (start, mut end) = text.end_of(0, pane.look.column, room);
    let is_cut = end < text.len();
    if is_cut {
        end = text.end_of(start, 0, room - 1).1;
    }
    let mut spans = head(app, &line, columns, true, is_cursor);
    text.push(start..end, &mut spans);
    if is_cut {
        spans.push(Span::styled("…", theme.style(Role::Dim)));
    }
    rows.push(finish(Line::from(spans)));
    rows
}

/// Marker, time, service, stream and level of a line; on the further rows of a wrapped one, the room they take.
fn head(
    app: &App,
    line: &RingLine<'_>,
    columns: &Columns,
    is_first: bool,
    is_cursor: bool,
) -> Vec<Span<'static>> {
    let theme = app.setup.theme;
    let is_marked = app.logs.marks.get(line.key).is_some();
    let marker = theme.marker(is_cursor, is_marked);
    let mut spans = vec![Span::styled(marker, theme.style(Role::Accent))];
    if !is_first {
        spans.push(Span::raw(" ".repeat(columns.head() - 1)));
        return spans;
    }
    let name = columns
        .names
        .iter()
        .enumerate()
        .find(|(_, (slot, _))| *slot == line.key.source);
    if !columns.has_head {
        if let Some((n, (_, name))) = name {
            let short = format::cut(name, 3);
            spans.push(Span::styled(
                format::left(&short, 4.min(columns.name)),
                theme.series(n),
            ));
        }
        return spans;
    }
    if columns.time > 0 {
        let role = match (is_cursor, line.is_late) {
            (_, true) => Role::Warning,
            (true, false) => Role::Text,
            (false, false) => Role::Dim,
        };
        let stamp = stamp(app, line);
        spans.push(Span::styled(
            format::left(&stamp, columns.time),
            theme.style(role),
        ));
    }
    if let Some((n, (_, name))) = name {
        spans.push(Span::styled(
            format::left(name, columns.name),
            theme.series(n),
        ));
    }
    let bar = match (line.stream, theme.is_plain()) {
        (Stream::Stdout, false) => "▏",
        (Stream::Stderr, false) => "▎",
        (Stream::Stdout, true) => "|",
        (Stream::Stderr, true) => "!",
    };
    let bar_style = match line.stream {
        Stream::Stdout => theme.style(Role::Dim),
        Stream::Stderr => theme.style(Role::Warning),
    };
    spans.push(Span::styled(bar, bar_style));
    let (word, style) = match line.level {
        _ if line.is_continuation => (String::new(), Style::new()),
        Some(level @ (Level::Error | Level::Fatal | Level::Warn)) => {
            (level.as_str().to_uppercase(), theme.level(line.level))
        }
        Some(level) => (level.as_str().to_owned(), theme.style(Role::Dim)),
        None => (String::new(), Style::new()),
    };
    spans.push(Span::styled(format::left(&word, columns.level), style));
    spans
}

fn stamp(app: &App, line: &RingLine<'_>) -> String {
    let Some(at) = line.at else {
        return String::new();
    };
    match app.logs.look.stamps {
        Stamps::Off => String::new(),
        // A late line says so by its sign, not by its colour alone.
        Stamps::Absolute if line.is_late => {
            format!("{}*", format::time_with_millis(at, &app.setup.zone))
        }
        Stamps::Absolute => format::time_with_millis(at, &app.setup.zone),
        Stamps::Relative => format::right(
            &format!("{} ago", format::span(format::elapsed_ms(at, app.now))),
            10,
        ),
        Stamps::Delta => {
            let above = app.logs.rings.previous(line.key);
            let above = above.and_then(|key| app.logs.rings.line(key)?.at);
            let delta = above.map_or_else(String::new, |above| {
                let ms = at.duration_since(above).as_millis();
                match ms {
                    0..10_000 => format!("+{}.{:03}", ms / 1000, ms % 1000),
                    ms if ms < 0 => format!("-{}", format::span(ms.unsigned_abs() as u64)),
                    ms => format!("+{}", format::span(ms as u64)),
                }
            });
            format::right(&delta, 10)
        }
    }
}

/// `┄┄ 12,400 lines are not held ┄┄` in front of a line behind a gap.
fn gap(app: &App, line: &RingLine<'_>, width: usize) -> Option<Line<'static>> {
    let is_oldest = app
        .logs
        .rings
        .ring(line.key.source)
        .is_some_and(|ring| ring.is_first(line.key.number));
    let is_filtered = !app.logs.rings.sieve().is_open();
    let text = match app.logs.rings.gap_before(line.key) {
        Gap::None => return None,
        // That there may be older lines is said by the title; a row for it would move what is read.
        Gap::Unread | Gap::Dropped(_) if is_oldest => return None,
        Gap::Dropped(n) => format!(" {} lines are not held ", format::count(n)),
        Gap::Unread if is_filtered => " not looked at in between ".to_owned(),
        Gap::Unread => " lines in between are not held ".to_owned(),
    };
    let theme = app.setup.theme;
    let rule = theme.rule();
    let fill = width.saturating_sub(text.width() + 3);
    Some(Line::styled(
        format!(" {rule}{rule}{text}{}", rule.repeat(fill)),
        theme.style(Role::Dim),
    ))
}

/// `── recreated 15:00:12  api:1.4 → api:1.5 ─────`
fn seam(app: &App, note: &LogNote, columns: &Columns) -> Line<'static> {
    let theme = app.setup.theme;
    let rule = theme.rule();
    let mut text = format!("{rule}{rule} ");
    if !columns.names.is_empty() {
        text.push_str(&format!(
            "{} ",
            short_name(&note.service, &app.logs.sources)
        ));
    }
    text.push_str(note.kind.as_str());
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
    let text = format::cut(&text, columns.width.saturating_sub(2));
    let fill = columns.width.saturating_sub(text.width() + 2);
    let role = match note.kind {
        LogNoteKind::Gap
        | LogNoteKind::Unread
        | LogNoteKind::Skipped
        | LogNoteKind::Reconnecting => Role::Warning,
        LogNoteKind::Ended => Role::Stale,
        _ => Role::Seam,
    };
    Line::styled(format!(" {text}{}", rule.repeat(fill)), theme.style(role))
}
