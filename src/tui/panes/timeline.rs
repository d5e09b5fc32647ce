//! What happened, the newest at the bottom: deploys, checkpoints, verdicts, actions, broken and mended logs.
//!
//! ```text
//! ┌ 6 timeline ──────────────────────────────────────────────┐
//! │ 15:00:12 ▲ deploy     backend 1.4 → 1.5                   │
//! │ 15:12:30 ✖ verdict    ROLL BACK P0: backend               │
//! └───────────────────────────────────────────────────────────┘
//! ```
//! It is also the viewer of the audit log: words choose whose events are shown, of which service, with which outcome.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::domain::reading::Reading;
use crate::domain::signal::Grade;
use crate::domain::timeline::TimelineEvent;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::theme::Role;

/// How many events of this session are kept beside those read from the state folder.
const MAX_LIVE: usize = 500;
/// How many events are read from the state folder.
pub const READ: usize = 500;

/// What happened.
#[derive(Debug, Default)]
pub struct TimelinePane {
    /// What the state folder tells, the oldest first.
    pub reading: Reading<Vec<TimelineEvent>>,
    live: VecDeque<TimelineEvent>,
    /// How many rows the view is scrolled up from the newest.
    pub up: usize,
    /// Only events in which each of these words is found are shown.
    pub only: Option<String>,
}

impl TimelinePane {
    /// Adds something this session saw.
    pub fn push(&mut self, event: TimelineEvent) {
        let is_known = self
            .live
            .iter()
            .any(|e| e.at == event.at && e.text == event.text);
        if is_known {
            return;
        }
        self.live.push_back(event);
        if self.live.len() > MAX_LIVE {
            self.live.pop_front();
        }
    }

    /// Shows only events with each of these words; all where there is none.
    pub fn set_only(&mut self, words: &str) {
        let words = words.trim();
        self.only = (!words.is_empty()).then(|| words.to_owned());
        self.up = 0;
    }

    /// The events that are shown: of a person, of a service, with an outcome, whatever was asked for.
    pub fn shown(&self) -> Vec<&TimelineEvent> {
        let mut events = self.events();
        if let Some(only) = &self.only {
            let words: Vec<String> = only.split_whitespace().map(str::to_lowercase).collect();
            events.retain(|event| {
                let service = event
                    .service
                    .as_ref()
                    .map_or(String::new(), ToString::to_string);
                let kind = event.kind.as_str();
                let text = format!("{kind} {service} {}", event.text).to_lowercase();
                words.iter().all(|word| text.contains(word))
            });
        }
        events
    }

    /// Everything, the oldest first; what both this session and the state folder tell stands once.
    pub fn events(&self) -> Vec<&TimelineEvent> {
        let read = self.reading.value().map_or(&[][..], Vec::as_slice);
        let mut events: Vec<&TimelineEvent> = read.iter().collect();
        events.extend(self.live.iter().filter(|live| {
            !read.iter().any(|e| {
                e.kind == live.kind
                    && e.service == live.service
                    && e.at.duration_since(live.at).abs().as_secs() < 5
            })
        }));
        events.sort_by_key(|e| e.at);
        events
    }

    /// Scrolls by so many rows, upwards for a negative number.
    pub fn step(&mut self, by: isize, height: usize) {
        let most = self.shown().len().saturating_sub(height);
        self.up = self.up.saturating_add_signed(-by).min(most);
    }
}

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.timeline;
    let theme = app.setup.theme;
    let mut title = super::age_note(app, &pane.reading);
    let events = pane.shown();
    if let Some(only) = &pane.only {
        let count = format!(
            "only {}: {} of {} ",
            format::cut(only, 30),
            events.len(),
            pane.events().len()
        );
        title.push(Span::styled(count, theme.style(Role::Accent)));
    }
    if pane.up > 0 {
        title.push(Span::styled(
            format!("{} newer below ", pane.up),
            theme.style(Role::Dim),
        ));
    }
    let inner = super::frame(app, Pane::Timeline, title, frame, area);
    if let (Some(only), true) = (&pane.only, events.is_empty()) {
        let key = app
            .setup
            .keymap
            .key(Action::ClearEvents, Place::Pane(Pane::Timeline));
        let help = key.map(|key| format!("{key} shows every event again."));
        let head = format!("No event has {}.", format::cut(only, 40));
        let help: Vec<String> = help.into_iter().collect();
        super::empty(app, &head, &help, frame, inner);
        return;
    }
    if events.is_empty() {
        match &pane.reading {
            Reading::Waiting => super::empty(app, "Reading…", &[], frame, inner),
            Reading::Failed { cause, .. } => {
                super::failed(
                    app,
                    "The timeline could not be read",
                    cause.as_str(),
                    frame,
                    inner,
                );
            }
            _ => super::empty(
                app,
                "Nothing happened yet.",
                &[
                    "Deploys, checkpoints, verdicts and actions stand here as they come."
                        .to_owned(),
                ],
                frame,
                inner,
            ),
        }
        return;
    }
    let height = inner.height as usize;
    let width = inner.width as usize;
    let end = events.len() - pane.up.min(events.len().saturating_sub(1));
    let start = end.saturating_sub(height);
    let today = app.now.to_zoned(app.setup.zone.clone()).date();
    let lines: Vec<Line<'_>> = events[start..end]
        .iter()
        .map(|event| {
            let at = event.at.to_zoned(app.setup.zone.clone());
            let time = if at.date() == today {
                app.time(event.at)
            } else {
                format!("{:02}-{:02} {:02}h", at.month(), at.day(), at.hour())
            };
            let room = width.saturating_sub(1 + 8 + 1 + 1 + 1);
            let kind = if width >= 60 {
                format::left(event.kind.as_str(), 11)
            } else {
                String::new()
            };
            let name = event
                .service
                .as_ref()
                .map(|s| s.name.as_str())
                .filter(|name| !event.text.as_str().contains(name))
                .map_or_else(String::new, |name| format!("{name}: "));
            let words = event.text.as_str();
            // The kind has a column of its own.
            let words = match words.strip_prefix(event.kind.as_str()) {
                Some(rest) if !kind.is_empty() && rest.starts_with(' ') => rest.trim_start(),
                _ => words,
            };
            let text = format::cut(&format!("{name}{words}"), room.saturating_sub(kind.len()));
            Line::from(vec![
                Span::styled(
                    format!(" {} ", format::left(&time, 8)),
                    theme.style(Role::Dim),
                ),
                match event.grade {
                    // Most events are neither good nor bad.
                    Grade::Unknown => Span::styled("·", theme.style(Role::Dim)),
                    grade => Span::styled(theme.grade_glyph(grade), theme.grade(grade)),
                },
                Span::raw(" "),
                Span::styled(kind, theme.style(Role::Dim)),
                Span::raw(text),
            ])
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}
