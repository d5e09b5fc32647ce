//! One record of a log, whole: every line of it, long lines wrapped, its fields one below the other.

use ratatui::Frame;
use ratatui::text::{Line, Span};

use crate::analysis::parse::fields;
use crate::domain::safe_text::SafeText;
use crate::store::ring::Key;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

/// At most so many rows are made: a line of 64 KiB has a thousand on a narrow screen.
const MOST_ROWS: usize = 5000;

fn lines(app: &App, key: Key, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let keys = app.logs.rings.record(key);
    let Some(first) = keys.first().and_then(|key| app.logs.rings.line(*key)) else {
        return vec![Line::raw("The line is not held any more.")];
    };
    let service = app
        .logs
        .source(key.source)
        .map_or_else(String::new, |f| f.id().to_string());
    let at = first.at.map_or_else(
        || "no time".to_owned(),
        |at| {
            at.to_zoned(app.setup.zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S%.3f %:z")
                .to_string()
        },
    );
    let level = first.level.map_or("no level", |level| level.as_str());
    let mut rows = vec![Line::styled(
        format!(
            "{}  {at}  {level}  {}{}",
            SafeText::from_text(&service),
            first.stream.as_str(),
            if first.is_late { "  late" } else { "" }
        ),
        theme.style(Role::Dim),
    )];
    for key in &keys {
        let Some(line) = app.logs.rings.line(*key) else {
            continue;
        };
        if let Some(note) = line.note {
            rows.push(Line::raw(format!("{} {}", note.kind.as_str(), note.detail)));
            continue;
        }
        let text = app.logs.secrets.safe(line.bytes);
        rows.extend(pieces(text.as_str(), width).map(|part| Line::raw(part.to_owned())));
        if line.cut_bytes > 0 {
            rows.push(Line::styled(
                format!(
                    "… {} more bytes were cut off",
                    format::count(u64::from(line.cut_bytes))
                ),
                theme.style(Role::Warning),
            ));
        }
        if rows.len() > MOST_ROWS {
            rows.truncate(MOST_ROWS);
            rows.push(Line::styled(
                "… more rows than are shown here; V opens them all",
                theme.style(Role::Warning),
            ));
            return rows;
        }
    }
    let bytes = first.bytes.get(first.text_from..).unwrap_or_default();
    let hidden = app.logs.secrets.hidden(bytes);
    let bytes = hidden.as_deref().map_or(bytes, str::as_bytes);
    let safe = |text: &str| app.logs.secrets.safe(text.as_bytes());
    if let Some(fields) = fields::read(bytes) {
        rows.push(Line::default());
        let name_width = fields
            .others
            .iter()
            .map(|(key, _)| key.chars().count())
            .max()
            .unwrap_or(0)
            .min(24);
        rows.push(Line::styled(
            safe(&fields.message).to_string(),
            theme.style(Role::Strong),
        ));
        for (key, value) in &fields.others {
            let name = format::left(SafeText::from_text(key).as_str(), name_width);
            let value = safe(value);
            let room = width.saturating_sub(name_width + 2).max(8);
            for (n, part) in wrap(value.as_str(), room).into_iter().enumerate() {
                let name = if n == 0 {
                    name.clone()
                } else {
                    " ".repeat(name_width)
                };
                rows.push(Line::from(vec![
                    Span::styled(format!("{name}  "), theme.style(Role::Dim)),
                    Span::raw(part),
                ]));
            }
        }
    }
    rows
}

/// A text cut into parts of at most so many columns, its blanks kept.
fn pieces(text: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let part = format::columns(text, 0, width.max(2));
        // A line is one row even where it is empty.
        rest = Some(&text[part.len()..]).filter(|left| !left.is_empty() && !part.is_empty());
        Some(part)
    })
}

/// Draws the overlay.
pub fn draw(app: &App, key: Key, first: usize, frame: &mut Frame<'_>) {
    let width = frame.area().width.min(150);
    let rows = lines(app, key, width.saturating_sub(4) as usize);
    super::scrolled(app, "Record", width, rows, first, frame);
}
