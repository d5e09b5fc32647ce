//! Draws the logs: what is on screen is made safe here, line by line, so that lines nobody sees cost nothing.

mod row;
mod text;

use ratatui::Frame;
use ratatui::layout::{Margin, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::{LogsPane, MOST_PAGES, State, histogram, search, short_name};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::store::ring::{Key, Totals};
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::services;
use crate::tui::theme::Role;

use row::Columns;

/// More seams than these are not looked past for the oldest match.
const MOST_SEAMS: usize = 100;
/// Columns of the histogram of matches.
const BARS: usize = 16;

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
    if let Some(bottom) = bottom(app, area.width.saturating_sub(4) as usize) {
        let at = Rect {
            y: area.bottom().saturating_sub(1),
            x: area.x + 2,
            height: 1,
            width: area.width.saturating_sub(4),
        };
        frame.render_widget(bottom, at);
    }
    let body = Rect {
        y: inner.y + pane.legend_rows(inner.height as usize) as u16,
        height: pane.body_height(inner.height as usize) as u16,
        ..inner
    };
    if body.height < inner.height {
        frame.render_widget(
            legend(app, inner.width as usize),
            Rect { height: 1, ..inner },
        );
    }
    if pane.cursor.is_none() {
        draw_empty(app, frame, body);
        return;
    }
    let rows = window(app, body.width as usize, body.height as usize);
    let rows: Vec<Line<'static>> = rows.into_iter().map(|(_, row)| row).collect();
    frame.render_widget(Paragraph::new(rows), body);
    let failed = pane.sources.iter().find_map(|f| match &f.truth.state {
        State::Failed(problem) => Some((f, problem)),
        _ => None,
    });
    if let Some((followed, problem)) = failed {
        // What was read stays on screen; that no more comes must not be overlooked.
        let name = short_name(followed.id(), &pane.sources);
        let text = format!(
            " {} {name}: {} ",
            theme.grade_glyph(Grade::Unknown),
            problem.text.as_str()
        );
        let at = Rect {
            y: body.bottom().saturating_sub(1),
            height: 1,
            ..body
        };
        let line = Line::styled(
            format::left(&text, body.width as usize),
            theme.style(Role::Critical),
        );
        frame.render_widget(line, at);
    }
}

/// The word for where the view stands, and the role it is drawn in.
fn mode(pane: &LogsPane) -> (&'static str, Role) {
    let all = |is: fn(&State) -> bool| pane.sources.iter().all(|f| is(&f.truth.state));
    if all(|s| matches!(s, State::Failed(_))) {
        ("NO CONNECTION", Role::Critical)
    } else if all(|s| matches!(s, State::Ended)) {
        ("ENDED", Role::Warning)
    } else if pane.is_following {
        ("FOLLOW", Role::Ok)
    } else {
        ("PAUSED", Role::Warning)
    }
}

fn title(app: &App, width: usize) -> Vec<Span<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let Some(first) = pane.sources.first() else {
        return Vec::new();
    };
    let mut names = short_name(first.id(), &pane.sources);
    for (n, followed) in pane.sources.iter().enumerate().skip(1) {
        let name = short_name(followed.id(), &pane.sources);
        if names.width() + name.width() > width / 4 {
            names.push_str(&format!(" +{}", pane.sources.len() - n));
            break;
        }
        names.push(' ');
        names.push_str(&name);
    }
    let mut spans = vec![
        Span::styled(format!(" {names} "), theme.style(Role::Strong)),
        Span::raw(theme.rule()),
    ];
    let (word, role) = mode(pane);
    spans.push(Span::styled(format!(" {word} "), theme.style(role)));
    if let Some(until) = pane.secrets.shown_until {
        let left = format::span(format::elapsed_ms(app.now, until));
        let text = format!("secrets shown {left} ");
        spans.push(Span::styled(text, theme.style(Role::Warning)));
    }
    if pane.sources.iter().all(|f| f.truth.state == State::Waiting) {
        return spans;
    }
    // One source has no legend: its truth stands here.
    let (live, grade) = match pane.sources.as_slice() {
        [only] => only.truth.words(app),
        _ => (
            format!("live {}/s", format::count(pane.rate(app.now))),
            Grade::Ok,
        ),
    };
    let live = format::cut(&live, (width / 3).max(12));
    let skipped = format!("{} skipped ", format::count(pane.skipped()));
    let used: usize = 12 + spans.iter().map(Span::width).sum::<usize>();
    let room = width.saturating_sub(used + live.width() + skipped.width() + 8);
    spans.push(Span::raw(theme.rule()));
    let live_role = match grade {
        Grade::Ok | Grade::Unknown => Role::Dim,
        Grade::Warning => Role::Warning,
        Grade::Critical => Role::Critical,
    };
    spans.push(Span::styled(format!(" {live} "), theme.style(live_role)));
    if let Some(held) = held(app, room) {
        spans.push(Span::styled(format!("· {held} "), theme.style(Role::Dim)));
    }
    spans.push(Span::styled("· ", theme.style(Role::Dim)));
    let role = if pane.skipped() > 0 {
        Role::Warning
    } else {
        Role::Dim
    };
    spans.push(Span::styled(skipped, theme.style(role)));
    spans
}

/// What is held of how much, as much of it as there is room for.
fn held(app: &App, room: usize) -> Option<String> {
    let pane = &app.logs;
    let (held, received) = pane.counts();
    let oldest = pane.rings.iter().filter_map(|ring| ring.oldest_at()).min();
    let oldest = oldest.map_or_else(String::new, |at| format!(", oldest {}", app.time(at)));
    let late: u64 = pane.rings.iter().map(|ring| ring.late()).sum();
    let late = match late {
        0 => String::new(),
        n => format!(", {} late", format::count(n)),
    };
    let short = if held == received {
        format!("held {}", format::count(held))
    } else {
        format!(
            "held {} of {}",
            format::count(held),
            format::count(received.max(held))
        )
    };
    let forms = [
        format!("{short}{oldest}{late}"),
        format!("{short}{oldest}"),
        short,
    ];
    forms.into_iter().find(|form| form.width() <= room)
}

/// Where each source stands: `● backend live 310/s   ● worker ended (exit 137)`.
fn legend(app: &App, width: usize) -> Line<'static> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let mut spans = vec![Span::raw(" ")];
    let mut left = width.saturating_sub(1);
    // The worst stand first where there is no room for all.
    let mut order: Vec<usize> = (0..pane.sources.len()).collect();
    let grade_of = |at: &usize| pane.sources[*at].truth.words(app).1;
    order.sort_by_key(|at| std::cmp::Reverse(grade_of(at)));
    let total: usize = pane
        .sources
        .iter()
        .map(|f| short_name(f.id(), &pane.sources).width() + f.truth.words(app).0.width() + 6)
        .sum();
    if total <= width {
        order.sort_unstable();
    }
    for (n, at) in order.iter().enumerate() {
        let followed = &pane.sources[*at];
        let name = short_name(followed.id(), &pane.sources);
        let (words, grade) = followed.truth.words(app);
        let used = name.width() + words.width() + 6;
        if used > left && n > 0 {
            let rest = format!("+{} more", order.len() - n);
            spans.push(Span::styled(
                format::cut(&rest, left),
                theme.style(Role::Dim),
            ));
            break;
        }
        left = left.saturating_sub(used);
        let dot = if grade == Grade::Ok || grade == Grade::Unknown {
            theme.bullet()
        } else {
            theme.grade_glyph(grade)
        };
        let role = match grade {
            Grade::Ok | Grade::Unknown => Role::Dim,
            Grade::Warning => Role::Warning,
            Grade::Critical => Role::Critical,
        };
        spans.push(Span::styled(format!("{dot} {name} "), theme.series(*at)));
        spans.push(Span::styled(format!("{words}   "), theme.style(role)));
    }
    Line::from(spans)
}

/// The search and what stands out of the ordinary, on the lower border.
fn bottom(app: &App, width: usize) -> Option<Line<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let mut spans = Vec::new();
    let dim = |text: String| Span::styled(text, theme.style(Role::Dim));
    spans.extend(filter_words(pane).map(|words| {
        Span::styled(
            format!(" {} ", format::cut(&words, width / 2)),
            theme.style(Role::Warning),
        )
    }));
    spans.extend(looked_words(app).map(dim));
    spans.extend(search_words(app, width));
    if let Some((from, to)) = pane.anchor.and_then(|_| pane.selected()) {
        let count = pane.lines_between(from, to).take(10_000).count();
        let count = format::count(count as u64);
        spans.push(Span::styled(
            format!(" {count} selected "),
            theme.style(Role::Accent),
        ));
    }
    if pane.look.is_wrapped {
        spans.push(dim(" wrap ".to_owned()));
    }
    if let Some(word) = pane.look.stamps.word() {
        spans.push(dim(format!(" {word} ")));
    }
    if pane.look.column > 0 {
        spans.push(dim(format!(" from column {} ", pane.look.column + 1)));
    }
    if pane.is_paging() && pane.seek.is_none() {
        spans.push(dim(" reading more… ".to_owned()));
    } else if !pane.is_following
        && let Some(why) = pane.sources.iter().find_map(|f| f.no_pages.as_ref())
    {
        spans.push(dim(format!(
            " no older lines: {} ",
            format::cut(why.as_str(), 50)
        )));
    }
    if !pane.is_following && pane.cursor != pane.rings.last() {
        let key = app
            .setup
            .keymap
            .key(Action::ToggleFollow, Place::Pane(Pane::Logs));
        let hint = key.map_or_else(String::new, |key| format!(", {key} follows"));
        spans.push(dim(format!(" more below{hint} ")));
    }
    (!spans.is_empty()).then(|| Line::from(spans))
}

/// What is shown, where that is not everything: `&timeout !health ≥warn ±2`.
fn filter_words(pane: &LogsPane) -> Option<String> {
    let sieve = pane.rings.sieve();
    if sieve.is_open() {
        return None;
    }
    let mut words = Vec::new();
    let safe = |pattern| SafeText::from_text(search::typed(pattern)).to_string();
    words.extend(sieve.level.map(|level| format!("from {}", level.as_str())));
    words.extend(sieve.include.iter().map(|p| format!("&{}", safe(p))));
    words.extend(sieve.exclude.iter().map(|p| format!("!{}", safe(p))));
    if sieve.before > 0 || sieve.after > 0 {
        words.push(format!("+{} around", sieve.before.max(sieve.after)));
    }
    Some(format!("only {}", words.join(" ")))
}

/// With a filter, how far back it was looked: ` oldest match 14:32:07, 412 MB not looked at `.
fn looked_words(app: &App) -> Option<String> {
    let pane = &app.logs;
    if pane.rings.sieve().is_open() || pane.rings.is_empty() {
        return None;
    }
    let left = pane.rings.unlooked_bytes();
    let bytes = format::bytes(left);
    if let Some(seek) = pane.seek {
        return Some(match left {
            0 => format!(
                " looking for more… page {} of {MOST_PAGES} ",
                seek.asked + 1
            ),
            _ => format!(" looking for more… {bytes} left "),
        });
    }
    let shown = std::iter::successors(pane.rings.first(), |key| pane.rings.next(*key));
    // A seam is shown whatever the filter is.
    let is_line = |key: &Key| {
        pane.rings
            .line(*key)
            .is_some_and(|line| line.note.is_none())
    };
    let oldest = shown.take(MOST_SEAMS).find(is_line);
    let found = match oldest.map(|key| key.instant()) {
        Some(Some(at)) => format!("oldest match {}", app.time(at)),
        Some(None) => "oldest match without a time".to_owned(),
        None => "no match".to_owned(),
    };
    let rest = match left {
        0 if pane.rings.has_unread_pages() => "older lines not read".to_owned(),
        0 => "no older one".to_owned(),
        _ => format!("{bytes} not looked at"),
    };
    Some(format!(" {found}, {rest} "))
}

fn search_words(app: &App, width: usize) -> Vec<Span<'static>> {
    let pane = &app.logs;
    let theme = app.setup.theme;
    let Some(search) = &pane.search else {
        return Vec::new();
    };
    let totals: Vec<(u32, Totals)> = pane
        .sources
        .iter()
        .map(|f| (f.slot, pane.totals(f)))
        .collect();
    let found: u64 = totals.iter().map(|(_, t)| t.found).sum();
    let before: u64 = totals.iter().map(|(_, t)| t.before).sum();
    let is_complete = totals.iter().all(|(_, t)| t.is_complete);
    let is_on_match = pane.cursor.is_some_and(|key| is_match(pane, key));
    let count = format::count(found);
    let mut counter = match (is_on_match && !pane.is_following, found) {
        (true, _) => format!("{} of {count}", format::count(before + 1)),
        (false, 0) if is_complete => "not found".to_owned(),
        (false, _) => format!("{count} lines"),
    };
    let (looked, all) = pane
        .sources
        .iter()
        .filter_map(|f| f.finds.as_ref())
        .fold((0, 0), |(a, b), f| (a + f.looked.0, b + f.looked.1));
    if !is_complete && all > 0 {
        counter.push_str(&format!(" in {} %", looked * 100 / all));
    } else if !is_complete {
        counter.push('…');
    }
    let text = SafeText::from_text(&search.text);
    let sign = if search.is_literal { " /text " } else { " /" };
    let mut spans = vec![
        Span::styled(
            format!("{sign}{} ", format::cut(text.as_str(), 30)),
            theme.style(Role::Accent),
        ),
        Span::styled(format!(" {counter} "), theme.style(Role::Text)),
    ];
    if found > 0 && totals.len() > 1 && width >= 80 {
        let counts: Vec<String> = pane
            .sources
            .iter()
            .zip(&totals)
            .filter(|(_, (_, t))| t.found > 0)
            .map(|(f, (_, t))| {
                format!(
                    "{} {}",
                    short_name(f.id(), &pane.sources),
                    format::count(t.found)
                )
            })
            .collect();
        let counts = format::cut(&counts.join(", "), width / 4);
        spans.push(Span::styled(format!(" {counts} "), theme.style(Role::Dim)));
    }
    if width >= 70
        && let Some(histogram) = histogram::of(pane, BARS, theme)
    {
        spans.push(Span::styled(
            format!(" {} ", histogram.bars),
            theme.style(Role::Accent),
        ));
        let (from, to) = (app.time(histogram.from), app.time(histogram.to));
        spans.push(Span::styled(
            format!("{from}–{to} "),
            theme.style(Role::Dim),
        ));
    }
    spans
}

fn is_match(pane: &LogsPane, key: Key) -> bool {
    match (&pane.search, pane.rings.line(key)) {
        (Some(search), Some(line)) => {
            line.note.is_none() && search.finder.pattern().is_match(line.bytes)
        }
        _ => false,
    }
}

fn draw_empty(app: &App, frame: &mut Frame<'_>, inner: Rect) {
    let pane = &app.logs;
    let Some(first) = pane.sources.first() else {
        if let Some(lines) = services::nothing_found(app, inner.width.saturating_sub(2) as usize) {
            frame.render_widget(Paragraph::new(lines), super::super::inset(inner));
            return;
        }
        super::super::empty(
            app,
            "No service is selected.",
            &["Its log stands here as soon as one is found.".to_owned()],
            frame,
            inner,
        );
        return;
    };
    let names: Vec<String> = pane
        .sources
        .iter()
        .map(|f| short_name(f.id(), &pane.sources))
        .collect();
    let name = format::cut(&names.join(", "), 60);
    if !pane.rings.is_empty() {
        super::super::empty(
            app,
            "No line passes the filter.",
            &[
                filter_words(pane).unwrap_or_default(),
                looked_words(app).unwrap_or_default().trim().to_owned(),
                filter_hint(app),
            ],
            frame,
            inner,
        );
        return;
    }
    match &first.truth.state {
        State::Waiting => super::super::empty(
            app,
            &format!("Opening the log of {name}…"),
            &[],
            frame,
            inner,
        ),
        State::Live | State::Stopped(_) | State::Reconnecting(_) => super::super::empty(
            app,
            &format!("{name} has written nothing yet."),
            &["New lines appear here as they come.".to_owned()],
            frame,
            inner,
        ),
        State::Ended => super::super::empty(
            app,
            &format!("The log of {name} is empty and ended."),
            &[],
            frame,
            inner,
        ),
        State::Failed(problem) => super::super::failed(
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

fn filter_hint(app: &App) -> String {
    let key = |action| app.setup.keymap.key(action, Place::Pane(Pane::Logs));
    let looks = key(Action::GoUp).filter(|_| !app.logs.missing_above().is_empty());
    let looks = looks.map(|key| format!("{key} looks further back"));
    let shows = key(Action::ClearFilters).map(|key| format!("{key} shows every line again."));
    let hints: Vec<String> = looks.into_iter().chain(shows).collect();
    hints.join(", ")
}

/// The line under a place of the screen, and the row of the window where it begins; `None` where no line is.
pub fn key_at(app: &App, at: Position) -> Option<(Key, usize)> {
    let area = app.places().pane(Pane::Logs)?;
    let inner = area.inner(Margin::new(1, 1));
    let legend = app.logs.legend_rows(inner.height as usize) as u16;
    if !inner.contains(at) || at.y < inner.y + legend {
        return None;
    }
    let height = app.logs.body_height(inner.height as usize);
    let rows = window(app, inner.width as usize, height);
    let (key, _) = rows.get((at.y - inner.y - legend) as usize)?;
    let row = rows.iter().position(|(other, _)| other == key)?;
    Some((*key, row))
}

/// The screen rows around the cursor, each with the line that it belongs to.
fn window(app: &App, width: usize, height: usize) -> Vec<(Key, Line<'static>)> {
    let pane = &app.logs;
    let Some(cursor) = pane.cursor else {
        return Vec::new();
    };
    let columns = Columns::of(app, width);
    let rows_of = |key| {
        let rows = row::rows_of(app, key, &columns).into_iter();
        rows.map(move |row| (key, row))
    };
    let above = if pane.is_following {
        height.saturating_sub(1)
    } else {
        pane.above.min(height.saturating_sub(1))
    };
    // Upwards from the cursor until the rows above it are filled …
    let mut upper: Vec<Vec<(Key, Line<'static>)>> = Vec::new();
    let mut count = 0;
    let mut key = cursor;
    while count < above
        && let Some(previous) = pane.rings.previous(key)
    {
        key = previous;
        let lines: Vec<_> = rows_of(key).collect();
        count += lines.len();
        upper.push(lines);
    }
    let mut rows: Vec<(Key, Line<'static>)> = upper.into_iter().rev().flatten().collect();
    if count > above {
        rows.drain(..count - above);
    }
    rows.extend(rows_of(cursor));
    // … and downwards until the window is.
    let mut key = cursor;
    while rows.len() < height
        && let Some(next) = pane.rings.next(key)
    {
        key = next;
        rows.extend(rows_of(key));
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
