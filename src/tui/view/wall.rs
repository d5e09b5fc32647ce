//! The wall: what matters in a few large words, for a small tmux pane seen from five metres, and for terminals
//! that are too small for panes.
//!
//! ```text
//!  shop@prod-1         ✖ P0      15:31 +03
//!  backend  ERRORS 25 %   p95 3.8 s
//!  ROLL BACK? since 15:12
//!  worker ✔   db ✔   redis-1 ▲ mem 81 %
//!  checkpoint 42 min ago
//!  data 2 s old
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemRun;
use crate::domain::runbook::{Item, ItemState};
use crate::domain::service::Service;
use crate::domain::signal::Grade;
use crate::domain::verdict::Decision;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::{judged_grade, trouble};
use crate::tui::panes::signals;
use crate::tui::theme::{Role, decision_grade};

/// Draws the wall.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let width = area.width as usize;
    let height = area.height as usize;
    let mut lines = vec![head(app, width)];
    lines.extend(verdict(app, width));
    lines.extend(worst_signal(app, width));
    lines.extend(services(app, width));
    let mut tail = Vec::new();
    tail.extend(incident(app, width));
    tail.extend(runbook(app, width));
    let (age, role) = super::checkpoint_age(app);
    if !age.is_empty() {
        tail.push(Line::styled(
            format::cut(&format!(" {age}"), width),
            app.setup.theme.style(role),
        ));
    }
    tail.push(freshness(app, width));
    if height < 3 {
        // One or two lines: the verdict, or the worst service, stands on the first.
        lines.truncate(height);
    } else {
        lines.truncate(height.saturating_sub(tail.len()));
        lines.extend(tail);
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// The incident that is open and its clock: `P0 incident 18 min  Checkout fails`.
fn incident(app: &App, width: usize) -> Option<Line<'static>> {
    let incident = &app.open_incident()?.incident;
    let severity = incident.severity.map_or("", |s| s.as_str());
    let clock = format::span(format::elapsed_ms(incident.started_at, app.now));
    let text = format!(" {severity} incident {clock}  {}", incident.title);
    let style = app.setup.theme.grade(Grade::Critical);
    Some(Line::styled(format::cut(&text, width), style))
}

/// How far the runbook is that is being worked through: `runbook after-deploy  9 of 21  ✖ 1  late 2`.
fn runbook(app: &App, width: usize) -> Option<Line<'static>> {
    let theme = app.setup.theme;
    let run = app.runbook.run.as_ref().filter(|run| !run.is_complete())?;
    let count = |wanted: &dyn Fn(&Item, &ItemRun) -> bool| {
        run.items()
            .filter(|(item, state)| wanted(item, state))
            .count()
    };
    let failed = count(&|_, state| state.state == ItemState::Failed);
    let late = count(&|item, state| run.is_late(item, state, app.now));
    let (resolved, of) = run.progress();
    let mut rest = format!("  {resolved} of {of}");
    let mut role = Role::Text;
    if late > 0 {
        rest.push_str(&format!("  late {late}"));
        role = Role::Warning;
    }
    if failed > 0 {
        rest.push_str(&format!(
            "  {} {failed}",
            theme.grade_glyph(Grade::Critical)
        ));
        role = Role::Critical;
    }
    let name = format!(" runbook {}", run.runbook.name);
    let name = format::cut(&name, width.saturating_sub(rest.width()));
    Some(Line::styled(format!("{name}{rest}"), theme.style(role)))
}

fn head(app: &App, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let clock = format::clock(app.now, &app.setup.zone);
    let title = super::title(app);
    let title = if title.is_empty() {
        "lastgood".to_owned()
    } else {
        title
    };
    let (glyph, word, grade) = overall(app);
    let state = format!("{glyph} {word}");
    let room = width.saturating_sub(clock.width() + state.width() + 4);
    Line::from(vec![
        Span::styled(
            format!(" {}", format::left(&title, room)),
            theme.style(Role::Strong),
        ),
        Span::styled(
            format!(" {state} "),
            theme.grade(grade).add_modifier(Modifier::BOLD),
        ),
        Span::raw(clock),
    ])
}

/// The state of everything in one word: the verdict where there is one, else the worst service.
fn overall(app: &App) -> (&'static str, String, Grade) {
    let theme = app.setup.theme;
    if let Reading::Fresh { value, .. } = &app.compare.reading
        && value.verdict.decision != Decision::Keep
    {
        let grade = decision_grade(value.verdict.decision);
        let word = value.verdict.severity.map_or_else(
            || value.verdict.decision.words().to_owned(),
            |s| s.as_str().to_owned(),
        );
        return (theme.grade_glyph(grade), word, grade);
    }
    let grade = match &app.services.reading {
        Reading::Fresh { value, .. } if !value.services.is_empty() => {
            let worst = value
                .services
                .iter()
                .map(|s| judged_grade(app, s))
                .max()
                .unwrap_or_default();
            if value.unreachable.is_empty() {
                worst
            } else {
                worst.max(Grade::Unknown)
            }
        }
        _ => Grade::Unknown,
    };
    let word = match grade {
        Grade::Ok => "ok",
        Grade::Warning => "warning",
        Grade::Critical => "DOWN",
        Grade::Unknown => "unknown",
    };
    (theme.grade_glyph(grade), word.to_owned(), grade)
}

fn verdict(app: &App, width: usize) -> Vec<Line<'static>> {
    let Some(comparison) = app.compare.reading.value() else {
        return Vec::new();
    };
    if comparison.verdict.decision == Decision::Keep {
        return Vec::new();
    }
    let mut spans = vec![Span::raw(" ")];
    if let Some(span) = super::verdict(app) {
        spans.push(span);
    }
    let mut lines = vec![Line::from(spans)];
    if let Some(finding) = comparison.verdict.findings.first() {
        lines.push(Line::raw(format::cut(&format!(" {}", finding.text), width)));
    }
    lines
}

fn worst_signal(app: &App, width: usize) -> Option<Line<'static>> {
    let signal = app.signals.worst()?;
    let service = app.signals.service.as_ref()?;
    let text = format!(
        " {}  {} {}",
        service.name,
        signals::name(&signal.signal),
        format::signal_value(&signal.signal, signal.value, signal.unit.as_str())
    );
    let theme = app.setup.theme;
    let style = match app.signals.reading.is_fresh() {
        true => theme.grade(signal.grade),
        false => theme.style(Role::Stale),
    };
    Some(Line::styled(format::cut(&text, width), style))
}

/// First the services with a trouble, one a line; then the others, as many a line as fit.
fn services(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let inventory = match &app.services.reading {
        Reading::Waiting => return vec![Line::styled(" looking…", theme.style(Role::Dim))],
        Reading::Failed { cause, .. } => {
            return vec![Line::styled(
                format::cut(&format!(" ? {cause}"), width),
                theme.style(Role::Unknown),
            )];
        }
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => value,
    };
    let is_stale = !app.services.reading.is_fresh();
    let mut lines = Vec::new();
    for unreachable in &inventory.unreachable {
        lines.push(Line::styled(
            format::cut(
                &format!(" ? {}: {}", unreachable.runtime.as_str(), unreachable.error),
                width,
            ),
            theme.style(Role::Unknown),
        ));
    }
    let mut well: Vec<&Service> = Vec::new();
    for service in &inventory.services {
        match trouble(service) {
            Some(words) => {
                let glyph = theme.grade_glyph(judged_grade(app, service));
                let text = format!(" {glyph} {}  {words}", service.id.name);
                let style = if is_stale {
                    theme.style(Role::Stale)
                } else {
                    theme.grade(judged_grade(app, service))
                };
                lines.push(Line::styled(format::cut(&text, width), style));
            }
            None => well.push(service),
        }
    }
    let mut row: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for service in well {
        let text = format!(
            " {} ",
            format::cut(&service.id.name, width.saturating_sub(4))
        );
        let need = text.width() + 3;
        if used + need > width && used > 0 {
            lines.push(Line::from(std::mem::take(&mut row)));
            used = 0;
        }
        used += need;
        let style = if is_stale {
            theme.style(Role::Stale)
        } else {
            theme.grade(judged_grade(app, service))
        };
        row.push(Span::raw(text));
        row.push(Span::styled(
            format!("{}  ", theme.grade_glyph(judged_grade(app, service))),
            style,
        ));
    }
    if !row.is_empty() {
        lines.push(Line::from(row));
    }
    if lines.is_empty() {
        lines.push(Line::styled(
            " no services found",
            theme.style(Role::Unknown),
        ));
    }
    lines
}

fn freshness(app: &App, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    match &app.services.reading {
        Reading::Stale { at, cause, .. } => Line::styled(
            format::cut(
                &format!(
                    " stale {}: {cause}",
                    format::span(format::elapsed_ms(*at, app.now))
                ),
                width,
            ),
            theme.style(Role::Stale),
        ),
        Reading::Waiting | Reading::Failed { .. } => {
            Line::styled(" no data", theme.style(Role::Unknown))
        }
        // Whatever changes is told by the runtimes at once, so what stands here is how things are.
        Reading::Fresh { .. } => {
            let text = app.logs.sources.first().map_or_else(String::new, |first| {
                let name = &first.id().name;
                format!(" {name}  {}/s lines", app.logs.rate(app.now))
            });
            Line::styled(format::cut(&text, width), theme.style(Role::Dim))
        }
    }
}
