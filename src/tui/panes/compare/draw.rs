//! Draws the comparison: verdict, reasons, what changed; the views are drawn in [`rows`].

mod rows;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use crate::domain::change::{Change, ChangeKind};
use crate::domain::comparison::{Comparison, PatternChange};
use crate::domain::log::Level;
use crate::domain::reading::Reading;
use crate::domain::service::short_id;
use crate::domain::signal::{Grade, SignalName};
use crate::domain::verdict::{Confidence, Finding, Severity, Verdict};
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::panes::compare::View;
use crate::tui::theme::{Role, Theme, decision_grade, grade_role};

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.compare;
    let inner = super::super::frame(app, Pane::Compare, title(app), frame, area);
    let key = app
        .setup
        .keymap
        .key(Action::CompareNow, Place::Global)
        .unwrap_or_else(|| ":compare.run-now".to_owned());
    let comparison = match &pane.reading {
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => value,
        Reading::Failed { cause, .. } => {
            super::super::failed(
                app,
                "The comparison could not be made",
                cause.as_str(),
                frame,
                inner,
            );
            return;
        }
        Reading::Waiting => {
            let (headline, mut hints) = match (&app.checkpoints, pane.running) {
                (_, Some(since)) => (
                    format!(
                        "Comparing… {}",
                        format::span(format::elapsed_ms(since, app.now))
                    ),
                    pane.doing
                        .iter()
                        .map(|d| d.as_str().to_owned())
                        .collect::<Vec<_>>(),
                ),
                (Reading::Failed { cause, .. }, _) => (
                    "Checkpoints could not be read.".to_owned(),
                    vec![cause.as_str().to_owned()],
                ),
                (Reading::Waiting, _) => ("Looking for checkpoints…".to_owned(), Vec::new()),
                _ if app.checkpoint().is_none() => {
                    let menu = app
                        .setup
                        .keymap
                        .key(Action::OpenMenu, Place::Global)
                        .unwrap_or_default();
                    let entry = app
                        .setup
                        .keymap
                        .key(Action::CreateCheckpoint, Place::Menu)
                        .unwrap_or_default();
                    (
                        "No checkpoint yet, so nothing to compare with.".to_owned(),
                        vec![
                            format!("{menu} then {entry} makes one now, before the next deploy:"),
                            "logs, health, signals, configs and releases, to compare with and to come back to."
                                .to_owned(),
                        ],
                    )
                }
                _ => (
                    "Not compared yet.".to_owned(),
                    vec![
                        format!("{key} compares the newest checkpoint with now."),
                        "After a deploy is seen it happens by itself.".to_owned(),
                    ],
                ),
            };
            if let Some(banner) = &app.setup.banner {
                hints.push(String::new());
                hints.extend(banner.as_str().split(" · ").map(str::to_owned));
            }
            super::super::empty(app, &headline, &hints, frame, inner);
            return;
        }
    };
    draw_comparison(app, comparison, frame, super::super::inset(inner));
}

fn title(app: &App) -> Vec<Span<'static>> {
    let pane = &app.compare;
    let theme = app.setup.theme;
    let mut spans = Vec::new();
    if let Some(label) = &pane.label {
        spans.push(Span::styled(
            format!(" {} ", format::cut(label.as_str(), 24)),
            theme.style(Role::Before),
        ));
        spans.push(Span::raw(if theme.is_plain() { "<->" } else { "↔" }));
        spans.push(Span::styled(" live ", theme.style(Role::After)));
    }
    if let Some(comparison) = pane.reading.value() {
        spans.push(Span::raw(theme.rule()));
        let headline = headline(theme, &comparison.verdict);
        spans.push(if pane.reading.is_fresh() {
            headline
        } else {
            headline.style(theme.style(Role::Stale))
        });
    }
    spans.extend(super::super::age_note(app, &pane.reading));
    if pane.running.is_some() && pane.reading.value().is_some() {
        spans.push(Span::styled(
            format!(" {} comparing ", theme.stale_glyph()),
            theme.style(Role::Dim),
        ));
    }
    spans
}

/// ` ✖ ROLL BACK P0 `; a low confidence is said.
pub fn headline(theme: Theme, verdict: &Verdict) -> Span<'static> {
    let grade = decision_grade(verdict.decision);
    let severity = verdict
        .severity
        .map_or_else(String::new, |s| format!(" {}", s.as_str()));
    let confidence = match verdict.confidence {
        Confidence::Low => ", low confidence",
        Confidence::High => "",
    };
    Span::styled(
        format!(
            " {} {}{severity}{confidence} ",
            theme.grade_glyph(grade),
            verdict.decision.words()
        ),
        theme.grade(grade).add_modifier(Modifier::BOLD),
    )
}

fn draw_comparison(app: &App, comparison: &Comparison, frame: &mut Frame<'_>, inner: Rect) {
    let theme = app.setup.theme;
    let width = inner.width as usize;
    let height = inner.height as usize;
    let mut top = vec![summary(theme, comparison, width)];
    // Rows beside each other need more room than counts do.
    let share = if app.compare.view == View::Patterns {
        3
    } else {
        6
    };
    let room = (height / share).max(2);
    for finding in comparison.verdict.findings.iter().take(room) {
        let grade = match finding.severity {
            Some(Severity::P0) => Grade::Critical,
            Some(Severity::P1) => Grade::Warning,
            None => Grade::Unknown,
        };
        let glyph = if finding.severity.is_some() {
            theme.grade_glyph(grade)
        } else {
            "·"
        };
        top.push(Line::from(vec![
            Span::styled(format!("{glyph} "), theme.grade(grade)),
            Span::raw(format::cut(
                &finding_text(comparison, finding),
                width.saturating_sub(2),
            )),
        ]));
    }
    if comparison.verdict.findings.len() > room {
        let more = comparison.verdict.findings.len() - room;
        top.push(Line::styled(
            format!("{} {more} more findings: zoom", theme.stale_glyph()),
            theme.style(Role::Dim),
        ));
    }
    if let Some(line) = changed(theme, &comparison.changes, width) {
        top.push(line);
    }
    for missing in comparison.missing.iter().take(2) {
        top.push(Line::from(vec![
            Span::styled(
                format!("{} missing: ", theme.grade_glyph(Grade::Unknown)),
                theme.style(Role::Unknown),
            ),
            Span::raw(format::cut(missing.as_str(), width.saturating_sub(11))),
        ]));
    }
    for wanted in comparison.wanted().into_iter().take(2) {
        top.push(Line::from(vec![
            Span::styled(
                format!("{} ", theme.stale_glyph()),
                theme.style(Role::Unknown),
            ),
            Span::raw(format::cut(&wanted, width.saturating_sub(2))),
        ]));
    }
    top.truncate(height.saturating_sub(2));
    let mut lines = top;
    let rest = height - lines.len();
    lines.extend(rows::draw(app, comparison, width, rest));
    frame.render_widget(Paragraph::new(lines), inner);
}

/// A finding's sentence, with the service in front where there are several and it does not name its own.
fn finding_text(comparison: &Comparison, finding: &Finding) -> String {
    let name = finding.service.name.as_str();
    if comparison.services.len() > 1 && !finding.text.as_str().contains(name) {
        format!("{name}: {}", finding.text)
    } else {
        finding.text.as_str().to_owned()
    }
}

/// `error rate 0.5 % → 25 % (×50)   p95 0.9 s → 3.8 s   1,000 → 200 requests`
fn summary(theme: Theme, comparison: &Comparison, width: usize) -> Line<'static> {
    let (b, a) = (&comparison.before, &comparison.after);
    let mut spans = Vec::new();
    let grade_of = |signal: SignalName| {
        comparison
            .signals
            .iter()
            .filter(|s| s.signal == signal && s.route.is_none())
            .map(|s| s.grade)
            .max()
            .unwrap_or(Grade::Unknown)
    };
    let mut pair = |name: &str, before: String, after: String, grade: Grade, tail: String| {
        let role = if matches!(grade, Grade::Warning | Grade::Critical) {
            grade_role(grade)
        } else {
            Role::After
        };
        spans.push(Span::styled(format!("{name} "), theme.style(Role::Dim)));
        spans.push(Span::styled(before, theme.style(Role::Before)));
        spans.push(Span::raw(arrow(theme)));
        spans.push(Span::styled(after, theme.style(role)));
        spans.push(Span::styled(format!("{tail}   "), theme.style(Role::Dim)));
    };
    if b.requests > 0 || a.requests > 0 {
        let ratio = match (b.error_rate, a.error_rate) {
            (Some(b), Some(a)) if b > 0.0 && a > b => format!(" ({})", format::ratio(a / b)),
            _ => String::new(),
        };
        pair(
            "errors",
            format::percent(b.error_rate),
            format::percent(a.error_rate),
            grade_of(SignalName::ErrorRate),
            ratio,
        );
        pair(
            "p95",
            format::millis(b.latency_ms.p95),
            format::millis(a.latency_ms.p95),
            grade_of(SignalName::LatencyP95),
            String::new(),
        );
    } else {
        pair(
            "records",
            format::count(b.records),
            format::count(a.records),
            Grade::Unknown,
            String::new(),
        );
    }
    let has_requests = b.requests > 0 || a.requests > 0;
    let new_errors = comparison
        .patterns
        .iter()
        .filter(|p| p.change == PatternChange::New && p.level >= Some(Level::Error))
        .count();
    if new_errors > 0 {
        let noun = if new_errors == 1 {
            "new error pattern"
        } else {
            "new error patterns"
        };
        spans.push(Span::styled(
            format!("{new_errors} {noun}   "),
            theme.style(Role::Critical),
        ));
    }
    let requests = format!(
        "requests {}{}{}",
        format::count(b.requests),
        arrow(theme),
        format::count(a.requests)
    );
    let used: usize = spans.iter().map(Span::width).sum();
    if has_requests && used + requests.width() <= width {
        spans.push(Span::styled(requests, theme.style(Role::Dim)));
    }
    Line::from(spans)
}

fn arrow(theme: Theme) -> &'static str {
    if theme.is_plain() { " -> " } else { " → " }
}

/// `changed: image 1.4 → 1.5 · env POOL_SIZE 20 → 100`
fn changed(theme: Theme, changes: &[Change], width: usize) -> Option<Line<'static>> {
    if changes.is_empty() {
        return None;
    }
    let mut spans = vec![Span::styled("changed: ", theme.style(Role::Dim))];
    let many_services = changes.iter().any(|c| c.service != changes[0].service);
    let mut used = 9;
    for (i, change) in changes.iter().enumerate() {
        let short = |text: Option<&crate::domain::safe_text::SafeText>| {
            text.map_or_else(
                || "-".to_owned(),
                |t| match change.what {
                    ChangeKind::Image if t.as_str().starts_with("sha256:") => {
                        short_id(t.as_str()).to_owned()
                    }
                    ChangeKind::Git => short_id(t.as_str()).to_owned(),
                    _ => format::cut(t.as_str(), 40),
                },
            )
        };
        let before = short(change.before.as_ref());
        let after = short(change.after.as_ref());
        let name = if many_services {
            format!("{} {} ", change.service.name, change.what.as_str())
        } else {
            format!("{} ", change.what.as_str())
        };
        let need = name.width() + before.width() + after.width() + 6;
        if used + need > width && i > 0 {
            spans.push(Span::styled(
                format!("{} {} more", theme.stale_glyph(), changes.len() - i),
                theme.style(Role::Dim),
            ));
            break;
        }
        used += need;
        if i > 0 {
            spans.push(Span::styled(" · ", theme.style(Role::Dim)));
        }
        spans.push(Span::raw(name));
        spans.push(Span::styled(before, theme.style(Role::Before)));
        spans.push(Span::raw(arrow(theme)));
        spans.push(Span::styled(after, theme.style(Role::After)));
    }
    Some(Line::from(spans))
}
