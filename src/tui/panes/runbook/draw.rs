//! Draws the run, or the list.

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use super::Runbooks;
use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemRun;
use crate::domain::runbook::{Item, ItemState, RunState};
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::services::wrap;
use crate::tui::theme::Role;

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.runbook;
    let theme = app.setup.theme;
    let mut title = Vec::new();
    if let Some(run) = pane.shown_run() {
        title.push(Span::styled(
            format!(" {} ", format::cut(&run.runbook.name, 18)),
            theme.style(Role::Strong),
        ));
    }
    if let Some(leader) = &pane.leader {
        title.push(Span::styled(
            format!("with {} ", format::cut(leader.as_str(), 10)),
            theme.style(Role::Accent),
        ));
    }
    title.extend(super::super::age_note(app, &pane.reading));
    let inner = super::super::frame(app, Pane::Runbook, title, frame, area);
    if let Some(run) = pane.shown_run() {
        draw_run(app, run, frame, inner);
        return;
    }
    match &pane.reading {
        Reading::Waiting => super::super::empty(app, "Reading…", &[], frame, inner),
        Reading::Failed { cause, .. } => super::super::failed(
            app,
            "Runbooks could not be read",
            cause.as_str(),
            frame,
            inner,
        ),
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => {
            draw_list(app, value, frame, inner);
        }
    }
}

fn draw_list(app: &App, runbooks: &Runbooks, frame: &mut Frame<'_>, inner: Rect) {
    let theme = app.setup.theme;
    let width = inner.width as usize;
    let height = inner.height as usize;
    let is_focused = app.focus.pane == Pane::Runbook && app.overlay.is_none();
    let key = app
        .setup
        .keymap
        .key(Action::StartRunbook, Place::Pane(Pane::Runbook))
        .unwrap_or_default();
    let mut lines = vec![Line::styled(
        format::cut(&format!(" {key} starts one:"), width),
        theme.style(Role::Dim),
    )];
    for problem in &runbooks.problems {
        lines.push(Line::styled(
            format::cut(
                &format!(" {} {problem}", theme.grade_glyph(Grade::Warning)),
                width,
            ),
            theme.style(Role::Warning),
        ));
    }
    let room = height.saturating_sub(lines.len());
    let names = runbooks.entries.iter().map(|entry| entry.name.width());
    let longest = names.max().unwrap_or(0);
    let first = super::super::first_row(app.runbook.cursor, runbooks.entries.len(), room);
    for (i, entry) in runbooks.entries.iter().enumerate().skip(first).take(room) {
        let is_selected = i == app.runbook.cursor;
        let count = if width >= 44 {
            format!("{} items, {} automatic", entry.items, entry.automatic)
        } else {
            entry.items.to_string()
        };
        let name_width = width.saturating_sub(count.width() + 3);
        let style = if is_selected {
            theme.selection(is_focused)
        } else {
            theme.style(Role::Text)
        };
        // The title where there is room for some words of it: it is in the language of the runbook.
        let title_width = name_width.saturating_sub(longest + 2);
        let name = match title_width {
            0..20 => format::left(&entry.name, name_width),
            _ => format!(
                "{}  {}",
                format::left(&entry.name, longest),
                format::left(entry.title.as_str(), title_width)
            ),
        };
        lines.push(Line::from(vec![
            Span::styled(marker(app, is_selected), theme.style(Role::Accent)),
            Span::styled(name, style),
            Span::styled(format!(" {count}"), theme.style(Role::Dim)),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn marker(app: &App, is_selected: bool) -> &'static str {
    match (is_selected, app.setup.theme.is_plain()) {
        (false, _) => " ",
        (true, true) => ">",
        (true, false) => "▌",
    }
}

/// `T+31 min`, `T-2 h`: how far from T it is.
fn from_t(t_at: Timestamp, now: Timestamp) -> String {
    if now >= t_at {
        format!("T+{}", format::span(format::elapsed_ms(t_at, now)))
    } else {
        format!("T-{}", format::span(format::elapsed_ms(now, t_at)))
    }
}

fn draw_run(app: &App, run: &RunState, frame: &mut Frame<'_>, inner: Rect) {
    let theme = app.setup.theme;
    let width = inner.width as usize;
    let (resolved, count) = run.progress();
    let progress = format!("{resolved} of {count} ");
    let head = format!(" {}", from_t(run.t_at, app.now));
    let mut lines = vec![Line::from(vec![
        Span::styled(
            format::left(&head, width.saturating_sub(progress.width())),
            theme.style(Role::Text),
        ),
        Span::styled(
            progress,
            theme.style(if run.has_failed() {
                Role::Critical
            } else if run.is_complete() {
                Role::Ok
            } else {
                Role::Dim
            }),
        ),
    ])];
    for lost in &run.lost {
        lines.push(Line::styled(
            format::cut(
                &format!(" {} {lost}", theme.grade_glyph(Grade::Warning)),
                width,
            ),
            theme.style(Role::Warning),
        ));
    }
    let mut rows: Vec<Line<'_>> = Vec::new();
    let mut cursor_row = 0;
    let mut phase = "";
    for (i, (item, state)) in run.items().enumerate() {
        if item.phase.as_str() != phase {
            phase = item.phase.as_str();
            rows.push(Line::styled(
                format::cut(&format!(" {phase}"), width),
                theme.style(Role::Strong),
            ));
        }
        let is_selected = i == app.runbook.cursor;
        if is_selected {
            cursor_row = rows.len();
        }
        rows.push(item_row(app, run, item, state, is_selected, width));
        rows.extend(details(app, item, state, is_selected, width));
    }
    let room = (inner.height as usize).saturating_sub(lines.len());
    let first = super::super::first_row(cursor_row, rows.len(), room);
    lines.extend(rows.into_iter().skip(first).take(room));
    frame.render_widget(Paragraph::new(lines), inner);
}

fn item_row(
    app: &App,
    run: &RunState,
    item: &Item,
    state: &ItemRun,
    is_selected: bool,
    width: usize,
) -> Line<'static> {
    let theme = app.setup.theme;
    let is_focused = app.focus.pane == Pane::Runbook && app.overlay.is_none();
    let is_late = run.is_late(item, state, app.now);
    let mark = if theme.is_plain() {
        state.state.mark().replace('✖', "X")
    } else {
        state.state.mark().to_owned()
    };
    let mark_role = match state.state {
        ItemState::Done => Role::Ok,
        ItemState::Failed => Role::Critical,
        ItemState::Claimed => Role::Accent,
        ItemState::Skipped => Role::Dim,
        ItemState::Open if is_late => Role::Warning,
        ItemState::Open => Role::Text,
    };
    let who = match (&state.by, state.state, &item.owner) {
        (_, ItemState::Open, Some(owner)) => owner.as_str().to_owned(),
        (_, ItemState::Open, None) => String::new(),
        _ if state.is_auto => "auto".to_owned(),
        (by, _, _) => by.as_ref().map_or_else(String::new, SafeText::to_string),
    };
    // Who else looks at it right now.
    let others: Vec<String> = app
        .runbook
        .at_item(item.number)
        .map(|other| {
            format!(
                "{}{}",
                format::cut(other.user.as_str(), 10),
                theme.stale_glyph()
            )
        })
        .collect();
    let others = others.join(" ");
    let due = item.due.map_or_else(String::new, |due| due.to_string());
    let late = if is_late { " late" } else { "" };
    // In a narrow pane what is to be done comes before whose it is; who did something stays.
    let is_only_owner = state.state == ItemState::Open;
    let who = match width < 40 && (is_late || is_only_owner) {
        true => String::new(),
        false => who,
    };
    let tail = format!("{} {due}{late}", format::cut(&who, 10));
    let tail = tail.trim().to_owned();
    let gap = if others.is_empty() { "" } else { " " };
    let indent = " ".repeat(item.depth.min(3) * 2);
    let text_width = width.saturating_sub(1 + 4 + gap.len() + others.width() + tail.width() + 2);
    let text = format::left(&format!("{indent}{}", item.text), text_width);
    let style = if is_selected {
        theme.selection(is_focused)
    } else if state.state.is_resolved() && state.state != ItemState::Failed {
        theme.style(Role::Dim)
    } else {
        theme.style(Role::Text)
    };
    Line::from(vec![
        Span::styled(marker(app, is_selected), theme.style(Role::Accent)),
        Span::styled(format!("{mark} "), theme.style(mark_role)),
        Span::styled(text, style),
        Span::styled(format!("{gap}{others}"), theme.style(Role::Accent)),
        Span::styled(
            format!(" {tail}"),
            theme.style(if is_late { Role::Warning } else { Role::Dim }),
        ),
    ])
}

/// What was seen, for failed items and for the one under the cursor; for that one its work and notes too.
fn details(
    app: &App,
    item: &Item,
    state: &ItemRun,
    is_selected: bool,
    width: usize,
) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let room = width.saturating_sub(6).max(8);
    let mut lines = Vec::new();
    let mut push = |text: &str, role: Role, most: usize| {
        for text in wrap(text, room).into_iter().take(most) {
            lines.push(Line::styled(format!("     {text}"), theme.style(role)));
        }
    };
    let is_failed = state.state == ItemState::Failed;
    if let Some(evidence) = &state.evidence
        && (is_selected || is_failed)
    {
        let role = if is_failed { Role::Critical } else { Role::Dim };
        push(evidence.as_str(), role, 3);
    }
    if is_selected {
        let is_focused = app.focus.pane == Pane::Runbook;
        if item.is_two_person && state.state != ItemState::Done {
            push("two different people have to tick this", Role::Accent, 2);
        }
        if is_focused {
            if let (Some(owner), true) = (&item.owner, width < 40) {
                push(&format!("owner: {owner}"), Role::Dim, 1);
            }
            for note in item.notes.iter().take(6) {
                push(note.as_str(), Role::Dim, 3);
            }
            for script in item.run_scripts() {
                for line in SafeText::lines(script).iter().take(6) {
                    push(&format!("$ {line}"), Role::Accent, 3);
                }
            }
            for probe in item.probes() {
                let text = SafeText::from_text(&probe.to_string());
                push(&format!("? {text}"), Role::Dim, 2);
            }
            for comment in &state.comments {
                push(&format!("{}: {}", comment.by, comment.text), Role::Text, 3);
            }
        }
    }
    lines
}
