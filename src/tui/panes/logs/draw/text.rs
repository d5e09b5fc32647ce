//! The text of a line with how each part of it looks: the colours of its source, fields, highlights, matches.

use std::ops::Range;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use crate::analysis::parse::fields::{self, Fields};
use crate::domain::log::Level;
use crate::domain::safe_text::SafeText;
use crate::store::config::HighlightStyle;
use crate::store::ring::RingLine;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::logs::search;
use crate::tui::theme::Role;

/// The text of a line, safe to draw.
pub(super) struct Text {
    text: String,
    base: Style,
    /// What lies over the base, the later over the earlier.
    paints: Vec<(Range<usize>, Style)>,
}

impl Text {
    /// The text of a line. `has_head` says that time and level stand in columns of their own.
    pub(super) fn of(app: &App, line: &RingLine<'_>, has_head: bool, is_cursor: bool) -> Self {
        let pane = &app.logs;
        let theme = app.setup.theme;
        let mut text = Self {
            text: String::new(),
            base: match line.level {
                Some(Level::Debug | Level::Trace) => theme.style(Role::Dim),
                _ => Style::new(),
            },
            paints: Vec::new(),
        };
        if line.is_late {
            text.append("late ", theme.style(Role::Warning));
        }
        text.append_fold(app, line);
        let from = if has_head { line.text_from } else { 0 };
        let bytes = line.bytes.get(from..).unwrap_or_default();
        let hidden = pane.secrets.hidden(bytes);
        let bytes = hidden.as_deref().map_or(bytes, str::as_bytes);
        let fields = if pane.look.is_pretty {
            fields::read(bytes)
        } else {
            None
        };
        match fields {
            Some(fields) => text.append_fields(app, &fields),
            None => text.append_plain(app, bytes),
        }
        if line.cut_bytes > 0 {
            let cut = format!("… {} more bytes", line.cut_bytes);
            text.append(&cut, theme.style(Role::Warning));
        }
        for highlight in &app.setup.highlights {
            let ranges = search::ranges(&highlight.pattern, &text.text);
            let style = theme.style(match highlight.style {
                HighlightStyle::Accent => Role::Accent,
                HighlightStyle::Warning => Role::Warning,
                HighlightStyle::Critical => Role::Critical,
                HighlightStyle::Ok => Role::Ok,
                HighlightStyle::Dim => Role::Dim,
            });
            text.paints.extend(ranges.into_iter().map(|r| (r, style)));
        }
        if let Some(search) = &pane.search {
            let role = if is_cursor {
                Role::CurrentMatch
            } else {
                Role::Match
            };
            let ranges = search.ranges(&text.text);
            let style = theme.style(role);
            text.paints.extend(ranges.into_iter().map(|r| (r, style)));
        }
        if let Some(mark) = pane.marks.get(line.key)
            && !mark.note.is_empty()
        {
            let note = format!("  {} {}", theme.note_glyph(), mark.note);
            text.append(&note, theme.style(Role::Accent));
        }
        text
    }

    fn append(&mut self, text: &str, style: Style) {
        let start = self.text.len();
        self.text.push_str(text);
        self.paints.push((start..self.text.len(), style));
    }

    /// `▸ +12 ` before the first line of a folded trace.
    fn append_fold(&mut self, app: &App, line: &RingLine<'_>) {
        if line.is_continuation {
            return;
        }
        let (count, is_open) = app.logs.rings.continuations(line.key);
        if count == 0 || !app.logs.rings.is_folding() {
            return;
        }
        let theme = app.setup.theme;
        let count = format::count(count);
        let sign = match (is_open, theme.is_plain()) {
            (true, false) => "▾ ".to_owned(),
            (true, true) => "v ".to_owned(),
            (false, false) => format!("▸ +{count} "),
            (false, true) => format!("> +{count} "),
        };
        self.append(&sign, theme.style(Role::Accent));
    }

    fn append_plain(&mut self, app: &App, bytes: &[u8]) {
        let theme = app.setup.theme;
        if !app.logs.look.has_colours || !theme.has_color() || !bytes.contains(&0x1b) {
            self.text.push_str(SafeText::from_bytes(bytes).as_str());
            return;
        }
        let (text, colours) = SafeText::with_colours(bytes);
        let start = self.text.len();
        self.text.push_str(text.as_str());
        let mut style = Style::new();
        let mut at = 0;
        let ends = colours
            .iter()
            .map(|(at, _)| *at)
            .chain([text.as_str().len()]);
        for (n, end) in ends.enumerate() {
            if end > at && style != Style::new() {
                self.paints.push((start + at..start + end, style));
            }
            at = end;
            if let Some((_, parameters)) = colours.get(n) {
                style = after_sgr(style, parameters);
            }
        }
    }

    /// The message, then the other fields: `payment failed  order=88121 attempt=3`.
    fn append_fields(&mut self, app: &App, fields: &Fields) {
        let theme = app.setup.theme;
        let chosen = &app.setup.log_fields;
        // What stood escaped in the line may be a secret only now.
        let safe = |text: &str| app.logs.secrets.safe(text.as_bytes());
        let message = safe(&fields.message);
        self.append(message.as_str(), Style::new());
        let is_chosen = |key: &str| chosen.is_empty() || chosen.iter().any(|wanted| wanted == key);
        for (key, value) in fields.others.iter().filter(|(key, _)| is_chosen(key)) {
            let key = SafeText::from_text(key);
            let value = safe(value);
            self.append(&format!("  {key}="), theme.style(Role::Dim));
            self.append(value.as_str(), Style::new());
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The bytes of the part that begins so many columns behind byte `at` and is so many columns wide.
    pub(super) fn end_of(&self, at: usize, skip: usize, width: usize) -> (usize, usize) {
        let part = format::columns(&self.text[at..], skip, width);
        if part.is_empty() {
            return if skip > 0 {
                (self.text.len(), self.text.len())
            } else {
                (at, at)
            };
        }
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        (start, start + part.len())
    }

    /// Appends a part of the text as spans.
    pub(super) fn push(&self, part: Range<usize>, to: &mut Vec<Span<'static>>) {
        let mut cuts: Vec<usize> = self
            .paints
            .iter()
            .flat_map(|(range, _)| [range.start, range.end])
            .filter(|at| *at > part.start && *at < part.end)
            .collect();
        cuts.push(part.end);
        cuts.sort_unstable();
        cuts.dedup();
        let mut at = part.start;
        for end in cuts {
            if end <= at {
                continue;
            }
            let style = self
                .paints
                .iter()
                .filter(|(range, _)| range.start <= at && range.end >= end)
                .fold(self.base, |style, (_, paint)| style.patch(*paint));
            to.push(Span::styled(self.text[at..end].to_owned(), style));
            at = end;
        }
    }
}

/// The style after an SGR sequence. Blinking, concealing and fonts are left out: they hide text or move it.
fn after_sgr(mut style: Style, parameters: &str) -> Style {
    let mut codes = parameters
        .split([';', ':'])
        .map(|code| code.parse::<u8>().unwrap_or(0));
    while let Some(code) = codes.next() {
        style = match code {
            0 => Style::new(),
            1 => style.add_modifier(Modifier::BOLD),
            2 => style.add_modifier(Modifier::DIM),
            3 => style.add_modifier(Modifier::ITALIC),
            4 => style.add_modifier(Modifier::UNDERLINED),
            22 => style.remove_modifier(Modifier::BOLD | Modifier::DIM),
            23 => style.remove_modifier(Modifier::ITALIC),
            24 => style.remove_modifier(Modifier::UNDERLINED),
            30..=37 => style.fg(Color::Indexed(code - 30)),
            39 => style.fg(Color::Reset),
            90..=97 => style.fg(Color::Indexed(code - 90 + 8)),
            // A background would be taken for a selection or a match: only the text's own colour is kept.
            38 => match wide_colour(&mut codes) {
                Some(color) => style.fg(color),
                None => style,
            },
            48 => {
                wide_colour(&mut codes);
                style
            }
            _ => style,
        };
    }
    style
}

/// The colour after a 38: `5;n` or `2;r;g;b`.
fn wide_colour(codes: &mut impl Iterator<Item = u8>) -> Option<Color> {
    match codes.next()? {
        5 => Some(Color::Indexed(codes.next()?)),
        2 => Some(Color::Rgb(codes.next()?, codes.next()?, codes.next()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_the_source_are_kept_and_tricks_are_not() {
        let red = after_sgr(Style::new(), "1;31");
        assert_eq!(red.fg, Some(Color::Indexed(1)));
        assert!(red.add_modifier.contains(Modifier::BOLD));
        assert_eq!(after_sgr(red, "0"), Style::new());
        assert_eq!(after_sgr(red, ""), Style::new());
        assert_eq!(
            after_sgr(Style::new(), "38;5;208").fg,
            Some(Color::Indexed(208))
        );
        assert_eq!(
            after_sgr(Style::new(), "48;2;1;2;3;32").fg,
            Some(Color::Indexed(2))
        );
        // Blink and conceal.
        assert_eq!(after_sgr(Style::new(), "5;8"), Style::new());
    }
}
