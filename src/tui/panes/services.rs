//! What runs, grouped by project; what could not be read stands beside it, never instead of it.
//!
//! ```text
//! ╔ 1 services ════════════════╗
//! ║ shop                       ║
//! ║▌✖ backend      1.5  29 min ║
//! ║ ✔ worker         1.4   9 d ║
//! ║ ? PM2 unreachable 12 s     ║
//! ║   no daemon for user anna  ║
//! ╚════════════════════════════╝
//! ```
//!
//! Where that is out of sight, it stands above the list in a line each.

mod away;

use std::collections::BTreeMap;

use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use unicode_width::UnicodeWidthStr;

use crate::domain::host::HostName;
use crate::domain::reading::Reading;
use crate::domain::service::{Inventory, Runtime, Service, ServiceId, Unreachable};
use crate::domain::signal::Grade;
use crate::domain::verdict::Decision;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::layout::Pane;
use crate::tui::theme::{Role, decision_grade, service_grade};

/// What runs, and which of it is selected.
#[derive(Debug, Default)]
pub struct ServicesPane {
    /// What was found.
    pub reading: Reading<Inventory>,
    /// The selected service; it stays selected while it is gone, so that a recreation does not move the cursor.
    pub selected: Option<ServiceId>,
    /// What was last seen of it.
    last: Option<Service>,
    /// Services whose logs are shown together, and which are acted on together, as they were last seen and in the order in
    /// which they were marked: they stay marked while their engine is away. Empty for the selected one alone.
    marked: Vec<(ServiceId, Option<Service>)>,
    /// Since when what could not be read cannot be.
    away_since: BTreeMap<(HostName, Runtime), Timestamp>,
}

impl ServicesPane {
    /// Takes over what was found. Selects the worst service where none is selected yet.
    pub fn set(&mut self, inventory: Inventory, now: Timestamp) {
        if self.selected.is_none() {
            self.selected = inventory
                .services
                .iter()
                .max_by_key(|s| (grade(s), std::cmp::Reverse(&s.id)))
                .map(|s| s.id.clone());
        }
        let away = inventory.unreachable.iter().map(|away| {
            let key = (away.host.clone(), away.runtime);
            let since = self.away_since.get(&key).copied().unwrap_or(now);
            (key, since)
        });
        self.away_since = away.collect();
        self.reading = Reading::fresh(inventory, now);
        self.see_marked();
        if let Some(found) = self.find_selected() {
            self.last = Some(found.clone());
        }
    }

    fn find_selected(&self) -> Option<&Service> {
        self.reading.value()?.find(self.selected.as_ref()?)
    }

    /// The selected service, as it was last seen.
    pub fn selected(&self) -> Option<&Service> {
        self.find_selected().or_else(|| {
            self.last
                .as_ref()
                .filter(|s| Some(&s.id) == self.selected.as_ref())
        })
    }

    /// The services whose logs are shown: the marked ones that were found, else the selected one.
    pub fn chosen(&self) -> impl Iterator<Item = &Service> {
        let alone = if self.marked.is_empty() {
            self.selected()
        } else {
            None
        };
        self.marked.iter().flat_map(|(_, seen)| seen).chain(alone)
    }

    /// Whether a service is marked.
    pub fn is_marked(&self, id: &ServiceId) -> bool {
        self.marked.iter().any(|(marked, _)| marked == id)
    }

    /// What an action is about: every marked service, in the order in which they were marked, where the selected one is among
    /// them; else the selected one alone.
    pub fn acted_on(&self) -> Vec<ServiceId> {
        match &self.selected {
            Some(id) if self.is_marked(id) => {
                self.marked.iter().map(|(id, _)| id.clone()).collect()
            }
            selected => selected.iter().cloned().collect(),
        }
    }

    /// Shows the logs of these services.
    pub fn open(&mut self, services: Vec<ServiceId>) {
        self.selected = services.first().cloned();
        if services.len() > 1 {
            self.marked = services.into_iter().map(|id| (id, None)).collect();
            self.see_marked();
        }
    }

    /// Marks the selected service, or takes its mark away.
    pub fn toggle_mark(&mut self) {
        let Some(id) = self.selected.clone() else {
            return;
        };
        if self.is_marked(&id) {
            self.marked.retain(|(marked, _)| *marked != id);
        } else {
            self.marked.push((id, None));
            self.see_marked();
        }
    }

    /// Takes over how the marked services are seen now.
    fn see_marked(&mut self) {
        let Some(inventory) = self.reading.value() else {
            return;
        };
        for (id, seen) in &mut self.marked {
            if let Some(found) = inventory.find(id) {
                *seen = Some(found.clone());
            }
        }
    }

    /// Marks every service of the selected one's group; where all are marked, none.
    pub fn toggle_group(&mut self) {
        let (Some(selected), Some(inventory)) = (&self.selected, self.reading.value()) else {
            return;
        };
        let mut group: Vec<ServiceId> = inventory
            .services
            .iter()
            .map(|service| &service.id)
            .filter(|id| id.host == selected.host && id.group == selected.group)
            .cloned()
            .collect();
        if group.iter().all(|id| self.is_marked(id)) {
            self.marked.retain(|(id, _)| !group.contains(id));
        } else {
            group.retain(|id| !self.is_marked(id));
            self.marked.extend(group.into_iter().map(|id| (id, None)));
            self.see_marked();
        }
    }

    /// Moves the selection by so many services; returns whether it moved.
    pub fn step(&mut self, by: isize) -> bool {
        let Some(inventory) = self.reading.value() else {
            return false;
        };
        let n = inventory.services.len();
        if n == 0 {
            return false;
        }
        let at = inventory
            .services
            .iter()
            .position(|s| Some(&s.id) == self.selected.as_ref());
        let next = match at {
            Some(at) => at.saturating_add_signed(by).min(n - 1),
            None => 0,
        };
        let found = &inventory.services[next];
        let is_moved = self.selected.as_ref() != Some(&found.id);
        self.selected = Some(found.id.clone());
        self.last = Some(found.clone());
        is_moved
    }

    /// Whether the running time of a service is shown in seconds.
    pub fn has_young_service(&self, now: Timestamp) -> bool {
        self.reading.value().is_some_and(|inventory| {
            inventory
                .services
                .iter()
                .filter_map(|s| self.uptime_ms(s, now))
                .any(|ms| ms < 60_000)
        })
    }

    /// Whether what is shown of a service is not how it is now: nobody answers, or what supervises it cannot be reached.
    pub fn is_old(&self, service: &Service) -> bool {
        let is_of = |away: &Unreachable| away.hides(&service.id.host, service.runtime);
        let mut unreachable = self
            .reading
            .value()
            .into_iter()
            .flat_map(|all| &all.unreachable);
        !self.reading.is_fresh() || unreachable.any(is_of)
    }

    /// How long it could not be read, as it is shown; nothing in the first second.
    fn away_for(&self, unreachable: &Unreachable, now: Timestamp) -> String {
        let key = (unreachable.host.clone(), unreachable.runtime);
        let ms = self
            .away_since
            .get(&key)
            .map_or(0, |since| format::elapsed_ms(*since, now));
        match ms {
            ..1000 => String::new(),
            ms => format!(" {}", format::span(ms)),
        }
    }

    /// Whether for something that cannot be read its time is shown in seconds.
    pub fn is_newly_away(&self, now: Timestamp) -> bool {
        let mut since = self.away_since.values();
        since.any(|since| format::elapsed_ms(*since, now) < 60_000)
    }

    /// How long a service runs, counted on from when it was read.
    fn uptime_ms(&self, service: &Service, now: Timestamp) -> Option<u64> {
        let since = self
            .reading
            .at()
            .map_or(0, |at| format::elapsed_ms(at, now));
        service.uptime_ms.map(|ms| ms + since)
    }
}

/// The grade of a service in lists.
pub fn grade(service: &Service) -> Grade {
    let base = service_grade(service.state, service.health, service.crash_loop);
    if base == Grade::Ok && !service.problems.is_empty() {
        return Grade::Warning;
    }
    base
}

/// The grade of a service in lists, the last verdict on it included: a release that should go back is not ok, however
/// well its probe answers.
pub fn judged_grade(app: &App, service: &Service) -> Grade {
    let judged = app
        .compare
        .reading
        .value()
        .and_then(|c| c.services.iter().find(|s| s.id == service.id))
        .map(|s| s.verdict.decision)
        .filter(|d| matches!(d, Decision::Watch | Decision::RollBack))
        .map_or(Grade::Ok, decision_grade);
    grade(service).max(judged)
}

/// What is wrong with a service, in a word or two; `None` for one that is well.
pub fn trouble(service: &Service) -> Option<String> {
    use crate::domain::health::HealthState;
    use crate::domain::service::ServiceState;
    if service.crash_loop == Some(true) {
        return Some("crash loop".to_owned());
    }
    if service.state != ServiceState::Running {
        return Some(service.state.as_str().to_owned());
    }
    match service.health {
        Some(HealthState::Healthy) | None => {
            service.problems.first().map(|p| p.as_str().to_owned())
        }
        Some(health) => Some(health.as_str().to_owned()),
    }
}

/// The release in a few columns: the tag of an image, the start of a commit.
pub fn short_release(service: &Service) -> String {
    let text = service.release.to_string();
    match text.rsplit_once(':') {
        Some((_, tag)) if !tag.is_empty() => tag.to_owned(),
        _ => text,
    }
}

enum Row<'a> {
    Group(String),
    Service(&'a Service),
    Blank,
    /// What could not be read; its cause stands below.
    Away(String),
    Line(String, Role),
}

/// Draws the pane.
pub fn draw(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let pane = &app.services;
    let mut title = super::age_note(app, &pane.reading);
    if let Some(inventory) = pane.reading.value() {
        let bad = inventory
            .services
            .iter()
            .filter(|s| judged_grade(app, s) == Grade::Critical)
            .count();
        if bad > 0 {
            title.push(Span::styled(
                format!("{} {bad} ", app.setup.theme.grade_glyph(Grade::Critical)),
                app.setup.theme.style(Role::Critical),
            ));
        }
    }
    let inner = super::frame(app, Pane::Services, title, frame, area);
    let inventory = match &pane.reading {
        Reading::Waiting => {
            super::empty(app, "Looking for services…", &[], frame, inner);
            return;
        }
        Reading::Failed { cause, .. } => {
            super::failed(
                app,
                "Services could not be read",
                cause.as_str(),
                frame,
                inner,
            );
            return;
        }
        Reading::Fresh { value, .. } | Reading::Stale { value, .. } => value,
    };
    let rows = rows(app, inventory, inner.width as usize);
    let cursor = rows
        .iter()
        .position(|row| matches!(row, Row::Service(s) if Some(&s.id) == pane.selected.as_ref()))
        .unwrap_or(0);
    let mut inner = inner;
    let mut first = super::first_row(cursor, rows.len(), inner.height as usize);
    let is_seen = |at: usize| (first..first + inner.height as usize).contains(&at);
    let mut away = rows.iter().enumerate();
    if !inventory.services.is_empty()
        && away.any(|(at, row)| matches!(row, Row::Away(_)) && !is_seen(at))
    {
        let above = away::lines(app, inventory, inner);
        let height = u16::try_from(above.len()).unwrap_or(inner.height);
        frame.render_widget(Paragraph::new(above), Rect { height, ..inner });
        inner = Rect {
            y: inner.y + height,
            height: inner.height.saturating_sub(height),
            ..inner
        };
        first = super::first_row(cursor, rows.len(), inner.height as usize);
    }
    let lines: Vec<Line<'_>> = rows
        .iter()
        .skip(first)
        .take(inner.height as usize)
        .map(|row| draw_row(app, row, inner.width as usize))
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

/// Why there is nothing and what to do about it, for a pane that is wide enough to say it: `None` where there are
/// services.
pub fn nothing_found(app: &App, width: usize) -> Option<Vec<Line<'static>>> {
    let inventory = app.services.reading.value()?;
    if !inventory.services.is_empty() {
        return None;
    }
    let theme = app.setup.theme;
    let mut rows = rows(app, inventory, width.saturating_sub(2));
    rows.push(Row::Blank);
    rows.push(Row::Line(
        "Another machine: lastgood --host user@server".into(),
        Role::Dim,
    ));
    let lines = rows.iter().map(|row| match row {
        Row::Line(text, role) => Line::styled(format::cut(text, width), theme.style(*role)),
        Row::Away(text) => Line::styled(format::cut(text, width), theme.style(Role::Unknown)),
        _ => Line::default(),
    });
    Some(lines.collect())
}

fn rows<'a>(app: &App, inventory: &'a Inventory, width: usize) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let mut group = None;
    for service in &inventory.services {
        let key = (&service.id.host, &service.id.group);
        if group != Some(key) {
            group = Some(key);
            rows.push(Row::Group(group_name(&service.id)));
        }
        rows.push(Row::Service(service));
    }
    if inventory.services.is_empty() {
        rows.push(Row::Line("No services found.".to_owned(), Role::Strong));
        if inventory.unreachable.is_empty() {
            for text in [
                "Whatever could be read runs nothing.",
                "Start something, or play with the built-in shop: lastgood demo",
            ] {
                let lines = wrap(text, width).into_iter();
                rows.extend(lines.map(|line| Row::Line(line, Role::Dim)));
            }
        }
    }
    for unreachable in &inventory.unreachable {
        if !rows.is_empty() {
            rows.push(Row::Blank);
        }
        push_unreachable(app, &mut rows, unreachable, width);
    }
    rows
}

fn group_name(id: &ServiceId) -> String {
    if id.host.is_local() {
        id.group.clone()
    } else {
        format!("{}:{}", id.host, id.group)
    }
}

fn push_unreachable(app: &App, rows: &mut Vec<Row<'_>>, unreachable: &Unreachable, width: usize) {
    let line = away::line(app, unreachable, width);
    rows.push(Row::Away(line));
    for text in wrap(unreachable.error.as_str(), width.saturating_sub(2)) {
        rows.push(Row::Line(format!("  {text}"), Role::Text));
    }
    for text in wrap(unreachable.fix.as_str(), width.saturating_sub(2)) {
        rows.push(Row::Line(format!("  {text}"), Role::Accent));
    }
}

/// Breaks text at spaces into lines of at most `width` columns; a word that is longer is cut into pieces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let need = word.width();
        if used > 0 && used + 1 + need > width {
            lines.push(String::new());
            used = 0;
        }
        let mut word = word;
        while word.width() > width {
            let head = format::columns(word, 0, width);
            if head.is_empty() {
                break;
            }
            if let Some(last) = lines.last_mut() {
                last.push_str(head);
            }
            lines.push(String::new());
            word = &word[head.len()..];
        }
        if let Some(last) = lines.last_mut() {
            if used > 0 {
                last.push(' ');
                used += 1;
            }
            last.push_str(word);
            used = if used > 0 {
                used + word.width()
            } else {
                last.width()
            };
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

fn draw_row<'a>(app: &App, row: &Row<'a>, width: usize) -> Line<'a> {
    let theme = app.setup.theme;
    match row {
        Row::Blank => Line::default(),
        Row::Group(name) => Line::styled(
            format!(" {}", format::cut(name, width.saturating_sub(1))),
            theme.style(Role::Dim),
        ),
        Row::Line(text, role) => Line::styled(format::cut(text, width), theme.style(*role)),
        Row::Away(text) => Line::styled(format::cut(text, width), theme.style(Role::Unknown)),
        Row::Service(service) => draw_service(app, service, width),
    }
}

fn draw_service<'a>(app: &App, service: &Service, width: usize) -> Line<'a> {
    let theme = app.setup.theme;
    let is_selected = app.services.selected.as_ref() == Some(&service.id);
    let is_focused = app.focus.pane == Pane::Services && app.overlay.is_none();
    let grade = judged_grade(app, service);
    let uptime = app
        .services
        .uptime_ms(service, app.now)
        .map_or_else(|| "-".to_owned(), format::span);
    let trouble = trouble(service);
    let is_marked = app.services.is_marked(&service.id);
    let marker = theme.marker(is_selected, is_marked);
    // marker, glyph, space, name …, release, uptime
    let uptime_width = 7;
    let room = width.saturating_sub(3 + uptime_width);
    let middle = match &trouble {
        Some(words) if width >= 50 => format!("{words}  {}", short_release(service)),
        Some(words) => words.clone(),
        None => short_release(service),
    };
    let mut name = service.id.name.clone();
    if service.instances.len() > 1 {
        name.push_str(&format!(" ×{}", service.instances.len()));
    }
    // Which service it is matters more than what is said of it; both are cut when they must be.
    let wanted = middle.width();
    let name_width = room
        .saturating_sub(wanted + 1)
        .max(name.width().min(room.saturating_sub(7)));
    let middle_width = room.saturating_sub(name_width + 1);
    let middle = if trouble.is_some() {
        format::cut(&middle, middle_width)
    } else {
        format::cut_left(&middle, middle_width)
    };
    let middle = format::right(&middle, middle_width);
    let name = format::left(&name, name_width);
    let style = if is_selected {
        theme.selection(is_focused)
    } else {
        theme.style(Role::Text)
    };
    let is_stale = app.services.is_old(service);
    // What was so is not what is: an old ok is not drawn as one.
    let (glyph, glyph_style) = match (is_stale, grade) {
        (true, Grade::Ok) => (theme.stale_glyph(), theme.style(Role::Stale)),
        (true, _) => (theme.grade_glyph(grade), theme.style(Role::Stale)),
        (false, _) => (theme.grade_glyph(grade), theme.grade(grade)),
    };
    let middle_style = if is_stale {
        theme.style(Role::Stale)
    } else if trouble.is_some() {
        theme.grade(grade)
    } else {
        theme.style(Role::Dim)
    };
    Line::from(vec![
        Span::styled(marker, theme.style(Role::Accent)),
        Span::styled(glyph, glyph_style),
        Span::raw(" "),
        Span::styled(name, style),
        Span::raw(" "),
        Span::styled(middle, middle_style),
        Span::styled(format::right(&uptime, uptime_width), theme.style(Role::Dim)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_wraps_at_spaces_and_cuts_long_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("/var/run/docker.sock", 8),
            ["/var/run", "/docker.", "sock"]
        );
        assert_eq!(wrap("接続 エラー", 4), ["接続", "エラ", "ー"]);
        assert!(wrap("", 5).is_empty());
    }
}
