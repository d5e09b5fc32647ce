//! The wall: what matters in a few large words, for a small tmux pane seen from five metres, and for terminals
//! that are too small for panes.
//!
//! ```text
//!  shop on prod-1           ✖ P0 15:31 +03
//!  ✖ P0 roll back: backend
//!  ✖ P0 shop/backend is down: http 500 +2
//!  ✖ backend  ERRORS 25 %  P95 3.8 s
//!  ▲ redis-1  mem 81 %
//!  worker ✔   db ✔
//!  checkpoint pre-1.5, 42 min ago
//!  data 10 s old                       1/3
//! ```

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemRun;
use crate::domain::runbook::{Item, ItemState};
use crate::domain::safe_text::SafeText;
use crate::domain::service::Inventory;
use crate::domain::signal::{Grade, Signal};
use crate::domain::verdict::{Decision, Severity};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::{judged_grade, trouble};
use crate::tui::panes::signals::board;
use crate::tui::theme::{Role, decision_grade};

/// A page of services that do not fit stays so long.
const PAGE: i64 = 15;
/// An age is told in steps of so many milliseconds: what does not change is not drawn.
const AGES: u64 = 5_000;
/// Alerts that are told besides the services.
const ALERTS: usize = 2;

/// Draws the wall: verdict and alerts on top, services below, page after page where they do not fit, the worst first. While
/// something of P0 fires the first page stays.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let width = area.width as usize;
    let height = area.height as usize;
    let mut lines = vec![head(app, width)];
    lines.extend(verdict(app, width));
    lines.extend(alerts(app, width));
    let body = services(app, width);
    if height < 3 {
        // One or two lines: the verdict, or the worst service, stands on the first.
        lines.extend(body);
        lines.truncate(height);
        frame.render_widget(Paragraph::new(lines), area);
        return;
    }
    let mut tail = Vec::new();
    if height > 7 {
        tail.extend(incident(app, width));
        tail.extend(runbook(app, width));
    }
    let (age, role) = super::checkpoint_age(app);
    if !age.is_empty() && height > 5 {
        tail.push(Line::styled(
            format::cut(&format!(" {age}"), width),
            app.setup.theme.style(role),
        ));
    }
    // What is above never takes the last row of the services.
    lines.truncate(height.saturating_sub(tail.len() + 2).max(1));
    let room = height.saturating_sub(lines.len() + tail.len() + 1).max(1);
    let pages = body.len().div_ceil(room).max(1);
    let page = page(app, pages);
    lines.extend(body.into_iter().skip(page * room).take(room));
    lines.resize(height.saturating_sub(tail.len() + 1), Line::default());
    lines.extend(tail);
    let pages = (pages > 1).then(|| format!("{}/{pages} ", page + 1));
    lines.push(freshness(app, width, pages.as_deref().unwrap_or_default()));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Which page is shown now.
fn page(app: &App, pages: usize) -> usize {
    let is_p0 = app
        .compare
        .reading
        .value()
        .is_some_and(|c| c.verdict.severity == Some(Severity::P0));
    if is_p0 || app.signals.board.has_p0() {
        return 0;
    }
    usize::try_from(app.now.as_second() / PAGE).unwrap_or(0) % pages
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

/// The state of everything in one word: the verdict where there is one, else the worst of services, signals and alerts.
/// What was not looked at, or not lately, is unknown, however well the rest is.
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
    let board = &app.signals.board;
    let is_blind = |all: &Inventory| all.services.iter().any(|service| board.is_blind(service));
    let services = app.services.reading.value();
    let worst = services.and_then(|all| all.services.iter().map(|s| judged_grade(app, s)).max());
    let mut grade = match &app.services.reading {
        Reading::Fresh { value, .. } => {
            // Where no service is known nothing is well, and what a machine is short of is as bad as elsewhere.
            let worst = worst.unwrap_or(Grade::Unknown).max(board.worst());
            match value.unreachable.is_empty() && !is_blind(value) {
                true => worst,
                false => worst.max(Grade::Unknown),
            }
        }
        _ if board.reading.is_fresh() => board.worst().max(Grade::Unknown),
        _ => Grade::Unknown,
    };
    if !board.reading.is_fresh() || board.reading.value().is_some_and(|b| b.unread.is_some()) {
        grade = grade.max(Grade::Unknown);
    }
    let paging = board
        .firing()
        .first()
        .map(|alert| alert.severity.to_string());
    let is_down = worst == Some(Grade::Critical) && app.services.reading.is_fresh();
    let word = match (grade, paging) {
        (Grade::Critical, Some(severity)) => severity,
        (Grade::Critical, None) if is_down => "DOWN".to_owned(),
        (Grade::Critical, None) => "CRITICAL".to_owned(),
        (Grade::Ok, _) => "ok".to_owned(),
        (Grade::Warning, _) => "warning".to_owned(),
        (Grade::Unknown, _) => "unknown".to_owned(),
    };
    (theme.grade_glyph(grade), word, grade)
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

/// What fires, the most urgent first, and who has it.
fn alerts(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let board = &app.signals.board;
    let mut lines = Vec::new();
    if let Some(why) = board.reading.value().and_then(|all| all.unread.as_ref()) {
        let text = format!(" ? the alerts cannot be read: {why}");
        let style = theme.style(Role::Unknown);
        lines.push(Line::styled(format::cut(&text, width), style));
    }
    let firing = board.firing();
    let rest = firing.len().saturating_sub(ALERTS);
    for (i, alert) in firing.iter().take(ALERTS).enumerate() {
        let grade = board::grade(alert.severity);
        let taken = (alert.acknowledged.as_ref())
            .map_or_else(String::new, |taken| format!(" ({})", taken.by));
        let more = match rest {
            0 => String::new(),
            rest if i + 1 == ALERTS => format!(" +{rest}"),
            _ => String::new(),
        };
        let room = width.saturating_sub(taken.width() + more.width());
        let text = format!(
            " {} {} {}",
            theme.grade_glyph(grade),
            alert.severity,
            alert.text
        );
        let text = format!("{}{taken}{more}", format::cut(&text, room));
        let style = style(app, grade, !board.reading.is_fresh());
        lines.push(Line::styled(text, style));
    }
    lines
}

fn style(app: &App, grade: Grade, is_stale: bool) -> Style {
    match is_stale {
        true => app.setup.theme.style(Role::Stale),
        false => app.setup.theme.grade(grade),
    }
}

/// First what has a trouble, one a line, the worst on top; then the others, as many a line as fit.
fn services(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let board = &app.signals.board;
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
    let is_measured = !matches!(board.reading, Reading::Waiting | Reading::Failed { .. });
    let is_unmeasured = matches!(board.reading, Reading::Stale { .. });
    let mut lines = Vec::new();
    for unreachable in &inventory.unreachable {
        let place = match unreachable.host.is_local() {
            true => String::new(),
            false => format!(" on {}", unreachable.host),
        };
        let runtime = unreachable.runtime.as_str();
        lines.push(Line::styled(
            format::cut(
                &format!(" ? {runtime}{place}: {}", unreachable.error),
                width,
            ),
            theme.style(Role::Unknown),
        ));
    }
    let (mut ill, mut well) = (Vec::new(), Vec::new());
    for service in &inventory.services {
        let state = trouble(service);
        let signals = board.trouble(&service.id);
        let worst = signals.first().map_or(Grade::Ok, |signal| signal.grade);
        let mut grade = judged_grade(app, service).max(worst);
        if !is_measured || board.is_blind(service) {
            grade = grade.max(Grade::Unknown);
        }
        if state.is_none() && signals.is_empty() {
            well.push((service, grade));
            continue;
        }
        // A signal that is critical says more than a state that is not.
        let mut words: Vec<String> = signals.into_iter().map(value).collect();
        words.splice(0..0, state);
        let is_stale = is_unmeasured || app.services.is_old(service);
        ill.push((grade, is_stale, service.id.name.as_str(), words));
    }
    for machine in board.machines() {
        let signals = board.trouble(machine);
        let name = if machine.host.is_local() {
            "machine"
        } else {
            machine.host.as_str()
        };
        let worst = signals.first().map_or(Grade::Ok, |signal| signal.grade);
        let words = signals.into_iter().map(value).collect();
        ill.push((worst, is_unmeasured, name, words));
    }
    ill.sort_by_key(|one| std::cmp::Reverse(one.0));
    for (grade, is_stale, name, words) in ill {
        let text = format!(" {} {name}  {}", theme.grade_glyph(grade), words.join("  "));
        let style = style(app, grade, is_stale);
        lines.push(Line::styled(format::cut(&text, width), style));
    }
    let mut row: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (service, grade) in well {
        let name = format!(
            " {} ",
            format::cut(&service.id.name, width.saturating_sub(4))
        );
        let need = name.width() + 3;
        if used + need > width && used > 0 {
            lines.push(Line::from(std::mem::take(&mut row)));
            used = 0;
        }
        used += need;
        row.push(Span::raw(name));
        let is_stale = is_unmeasured || app.services.is_old(service);
        let glyph = match is_stale {
            true => theme.stale_glyph(),
            false => theme.grade_glyph(grade),
        };
        row.push(Span::styled(
            format!("{glyph}  "),
            style(app, grade, is_stale),
        ));
    }
    if !row.is_empty() {
        lines.push(Line::from(row));
    }
    if inventory.services.is_empty() && inventory.unreachable.is_empty() {
        lines.push(Line::styled(
            " no services found",
            theme.style(Role::Unknown),
        ));
    }
    lines
}

fn value(signal: &Signal) -> String {
    let name = board::short(&signal.signal);
    let name = match signal.grade {
        Grade::Critical => name.to_uppercase(),
        _ => name.to_owned(),
    };
    let value = format::signal_value(&signal.signal, signal.value, signal.unit.as_str());
    format!("{name} {value}")
}

/// How old the oldest of what is shown is.
fn freshness(app: &App, width: usize, pages: &str) -> Line<'static> {
    let theme = app.setup.theme;
    let (services, board) = (&app.services.reading, &app.signals.board.reading);
    let stale = |cause: &SafeText, at: Timestamp| {
        let age = format::span(format::elapsed_ms(at, app.now));
        (format!(" stale {age}: {cause}"), Role::Stale)
    };
    let (text, role) = match (services, board) {
        (Reading::Waiting | Reading::Failed { .. }, _) => (" no data".to_owned(), Role::Unknown),
        (Reading::Stale { at, cause, .. }, _) | (_, Reading::Stale { at, cause, .. }) => {
            stale(cause, *at)
        }
        (_, Reading::Failed { cause, .. }) => (format!(" no signals: {cause}"), Role::Unknown),
        (_, Reading::Waiting) => (" measuring…".to_owned(), Role::Unknown),
        (Reading::Fresh { at, .. }, Reading::Fresh { at: other, .. }) => {
            let age = format::elapsed_ms((*at).min(*other), app.now) / AGES * AGES;
            let text = match age {
                0 => " data under 5 s old".to_owned(),
                age => format!(" data {} old", format::span(age)),
            };
            (text, Role::Dim)
        }
    };
    let room = width.saturating_sub(pages.width());
    let text = format!("{}{pages}", format::left(&format::cut(&text, room), room));
    Line::styled(text, theme.style(role))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::domain::alert::AlertSeverity;
    use crate::domain::service::{Inventory, Runtime, Service, ServiceId, ServiceState};
    use crate::domain::signal::{Grade, ServiceSignals, Signal, SignalName};
    use crate::tui::app::App;
    use crate::tui::fixtures::{alert, empty, measured, screen};
    use crate::tui::msg::Msg;
    use crate::tui::panes::signals::board::Measured;
    use crate::tui::update::update;

    /// Thirty services that run well, on a wall.
    fn many() -> App {
        let mut app = empty(40, 10);
        let services = (0..30).map(|number| {
            let id = ServiceId::parse(&format!("shop/worker-{number:02}")).unwrap();
            let mut service = Service::new(id, Runtime::Compose, ServiceState::Running);
            service.crash_loop = Some(false);
            service
        });
        let inventory = Inventory {
            services: services.collect(),
            ..Inventory::default()
        };
        update(&mut app, Msg::Inventory(inventory));
        app
    }

    fn later(app: &mut App, seconds: i64) -> String {
        app.now += SignedDuration::from_secs(seconds);
        update(app, Msg::Tick);
        screen(app)
    }

    #[test]
    fn nothing_is_well_before_it_was_measured_nor_when_that_is_long_ago() {
        let mut app = many();
        let text = screen(&app);
        assert!(
            text.contains("? unknown") && text.contains("measuring"),
            "{text}"
        );
        update(&mut app, Msg::Measured(Box::default()));
        let text = screen(&app);
        assert!(
            text.contains("✔ ok") && text.contains("data under 5 s old"),
            "{text}"
        );
        let text = later(&mut app, 12);
        assert!(
            text.contains("✔ ok") && text.contains("data 10 s old"),
            "{text}"
        );
        let text = later(&mut app, 20);
        assert!(
            text.contains("? unknown") && text.contains("stale 32 s"),
            "{text}"
        );
    }

    #[test]
    fn a_service_of_a_machine_that_does_not_answer_is_not_well() {
        let mut app = many();
        let unknown = |signal| Signal {
            signal,
            route: None,
            value: None,
            unit: "".into(),
            grade: Grade::Unknown,
            age_ms: None,
            detail: "not measured within 10 s".into(),
        };
        let silent = ServiceSignals {
            id: ServiceId::parse("shop/worker-00").unwrap(),
            signals: vec![unknown(SignalName::Cpu), unknown(SignalName::Traffic)],
        };
        let measured = Measured {
            signals: vec![silent],
            ..Measured::default()
        };
        update(&mut app, Msg::Measured(Box::new(measured)));
        let text = screen(&app);
        assert!(text.contains("worker-00 ?   worker-01 ✔"), "{text}");
        assert!(text.contains("? unknown"), "{text}");
    }

    #[test]
    fn a_machine_without_services_is_as_bad_as_what_it_is_short_of() {
        let mut app = empty(40, 10);
        update(&mut app, Msg::Inventory(Inventory::default()));
        update(&mut app, Msg::Measured(Box::default()));
        let text = screen(&app);
        assert!(
            text.contains("? unknown") && text.contains("no services found"),
            "{text}"
        );
        let mut short = measured();
        short.signals.remove(0);
        update(&mut app, Msg::Measured(Box::new(short.clone())));
        let text = screen(&app);
        assert!(text.contains("▲ warning"), "{text}");
        short.signals[0].signals[0].grade = Grade::Critical;
        update(&mut app, Msg::Measured(Box::new(short.clone())));
        let text = screen(&app);
        assert!(text.contains("✖ CRITICAL"), "{text}");
        assert!(
            text.contains("✖ machine  DISK 91 %") && text.contains("no services found"),
            "{text}"
        );
        short.signals[0].signals[0].grade = Grade::Ok;
        update(&mut app, Msg::Measured(Box::new(short)));
        assert!(screen(&app).contains("? unknown"));
    }

    #[test]
    fn pages_follow_each_other_until_every_service_was_seen() {
        let mut app = many();
        let mut seen = String::new();
        for _ in 0..3 {
            update(&mut app, Msg::Measured(Box::default()));
            seen += &later(&mut app, 15);
        }
        for number in 0..30 {
            assert!(
                seen.contains(&format!("worker-{number:02}")),
                "{number}: {seen}"
            );
        }
    }

    #[test]
    fn what_is_worst_stands_first_and_stays_while_a_p0_fires() {
        let mut app = many();
        let inventory = app.services.reading.value().unwrap().clone();
        let alerts = vec![alert("worker-07", AlertSeverity::P0)];
        let mut fired = Measured {
            alerts,
            ..measured()
        };
        fired.signals[0].id = ServiceId::parse("shop/worker-29").unwrap();
        for _ in 0..4 {
            update(&mut app, Msg::Inventory(inventory.clone()));
            update(&mut app, Msg::Measured(Box::new(fired.clone())));
            let text = later(&mut app, 15);
            assert!(text.contains("✖ P0 worker-07: http 500"), "{text}");
            assert!(text.contains("✖ worker-29  P95 3.8 s"), "{text}");
            assert!(text.contains("1/"), "{text}");
        }
        insta::assert_snapshot!("wall_many_40x10", later(&mut app, 2));
    }
}
