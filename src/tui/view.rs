//! Draws the state. It takes the state by shared reference: drawing cannot change anything.

mod wall;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use crate::domain::reading::Reading;
use crate::domain::signal::Grade;
use crate::domain::verdict::Decision;

use super::action::{Action, Place};
use super::app::{App, Lock};
use super::format;
use super::keymap::chord;
use super::layout::Pane;
use super::overlays::{self, Overlay};
use super::panes;
use super::theme::{Role, decision_grade};
use super::update::is_possible;

/// Draws everything.
pub fn view(app: &App, frame: &mut Frame<'_>) {
    let places = app.places();
    if let Some(area) = places.wall {
        wall::draw(app, frame, area);
        overlays::draw(app, frame);
        return;
    }
    draw_header(app, frame, places.header);
    for pane in Pane::ALL {
        let Some(area) = places.pane(pane) else {
            continue;
        };
        match pane {
            Pane::Services => panes::services::draw(app, frame, area),
            Pane::Logs => panes::logs::draw(app, frame, area),
            Pane::Compare => panes::compare::draw(app, frame, area),
            Pane::Signals => panes::signals::draw(app, frame, area),
            Pane::Runbook => panes::runbook::draw(app, frame, area),
            Pane::Timeline => panes::timeline::draw(app, frame, area),
        }
    }
    draw_footer(app, frame, places.footer);
    overlays::draw(app, frame);
}

/// Projects and hosts: `shop on prod-1`, `shop, blog`.
fn title(app: &App) -> String {
    let Some(inventory) = app.services.reading.value() else {
        return String::new();
    };
    let mut groups: Vec<&str> = Vec::new();
    let mut hosts: Vec<&str> = Vec::new();
    for service in &inventory.services {
        if !groups.contains(&service.id.group.as_str()) {
            groups.push(&service.id.group);
        }
        if !service.id.host.is_local() && !hosts.contains(&service.id.host.as_str()) {
            hosts.push(service.id.host.as_str());
        }
    }
    let mut text = groups.join(", ");
    if !hosts.is_empty() {
        text.push_str(" on ");
        text.push_str(&hosts.join(", "));
    }
    text
}

/// The verdict in a few words: `✖ P0 roll back: backend`; `None` without a comparison.
fn verdict(app: &App) -> Option<Span<'static>> {
    let theme = app.setup.theme;
    let comparison = app.compare.reading.value()?;
    let verdict = &comparison.verdict;
    let grade = decision_grade(verdict.decision);
    let names: Vec<&str> = comparison
        .services
        .iter()
        .filter(|s| s.verdict.decision == verdict.decision && verdict.decision != Decision::Keep)
        .map(|s| s.id.name.as_str())
        .collect();
    let severity = verdict
        .severity
        .map_or_else(String::new, |s| format!("{} ", s.as_str()));
    let mut text = format!(
        "{} {severity}{}",
        theme.grade_glyph(grade),
        verdict.decision.words().to_lowercase()
    );
    if !names.is_empty() {
        text.push_str(": ");
        text.push_str(&names.join(", "));
    }
    let style = if matches!(app.compare.reading, Reading::Stale { .. }) {
        theme.style(Role::Stale)
    } else {
        theme.grade(grade).add_modifier(Modifier::BOLD)
    };
    Some(Span::styled(text, style))
}

fn checkpoint_age(app: &App) -> (String, Role) {
    if let Some(saving) = &app.saving {
        return (
            format!(
                "saving checkpoint {}: {}",
                format::clock_span(format::elapsed_ms(saving.since, app.now)),
                saving.doing
            ),
            Role::Accent,
        );
    }
    match (&app.checkpoints, app.checkpoint()) {
        (_, Some(manifest)) => {
            let name = manifest
                .label
                .as_ref()
                .map_or_else(String::new, |l| format!("{l}, "));
            (
                format!(
                    "checkpoint {}{}",
                    format::cut(&name, 24),
                    format::ago(manifest.created_at, app.now)
                ),
                Role::Text,
            )
        }
        (Reading::Waiting, None) => (String::new(), Role::Dim),
        (Reading::Failed { .. }, None) => ("checkpoints unreadable".to_owned(), Role::Critical),
        _ => ("no checkpoint".to_owned(), Role::Warning),
    }
}

fn lock(app: &App) -> (String, Role) {
    match app.lock {
        Lock::ReadOnly => ("READ-ONLY".to_owned(), Role::Accent),
        Lock::Armed { until } if app.now < until => {
            let left = format::elapsed_ms(app.now, until);
            // Rounded up: "0 min left" would be a lie.
            let left = if left > 60_000 {
                left.div_ceil(60_000) * 60_000
            } else {
                left
            };
            (format!("ARMED {} left", format::span(left)), Role::Warning)
        }
        _ => ("LOCKED".to_owned(), Role::Dim),
    }
}

fn draw_header(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let theme = app.setup.theme;
    let width = area.width as usize;
    let (lock, lock_role) = lock(app);
    let clock = format::clock(app.now, &app.setup.zone);
    let right_width = lock.width() + clock.width() + 4;
    let mut left = vec![Span::styled(
        " lastgood ",
        theme.style(Role::Accent).add_modifier(Modifier::BOLD),
    )];
    let mut used = 10;
    let room = width.saturating_sub(right_width + 1);
    let mut push = |span: Span<'static>, left: &mut Vec<Span<'static>>| {
        let need = span.width();
        if need == 0 || used + need + 3 > room {
            return;
        }
        used += need + 3;
        left.push(Span::raw(" "));
        left.push(span);
        left.push(Span::raw("  "));
    };
    // The verdict is what must fit; the rest stands before it only if there is room for both.
    let verdict = verdict(app);
    let running = running(app);
    let (age, age_role) = checkpoint_age(app);
    let title = format::cut(&title(app), 36);
    let need: usize = verdict.as_ref().map_or(0, |v| v.width() + 3)
        + running.as_ref().map_or(0, |v| v.width() + 3)
        + incident(app).map_or(0, |v| v.width() + 3);
    if 10 + title.width() + need + 3 <= room {
        push(Span::styled(title, theme.style(Role::Strong)), &mut left);
    }
    if let Some(span) = running {
        push(span, &mut left);
    }
    if let Some(span) = incident(app) {
        push(span, &mut left);
    }
    let age_fits = left.iter().map(Span::width).sum::<usize>() + age.width() + need + 3 <= room;
    if age_fits {
        push(Span::styled(age, theme.style(age_role)), &mut left);
    }
    if let Some(span) = verdict {
        push(span, &mut left);
    }
    let have: usize = left.iter().map(Span::width).sum();
    let alone = "private state, pairing off";
    if !app.setup.is_paired && have + 3 + alone.len() <= room {
        push(Span::styled(alone, theme.style(Role::Dim)), &mut left);
    }
    let have: usize = left.iter().map(Span::width).sum();
    if let Some(banner) = &app.setup.banner
        && have + 3 + banner.as_str().width() <= room
    {
        let text = banner.as_str().to_owned();
        push(Span::styled(text, theme.style(Role::Accent)), &mut left);
    }
    frame.render_widget(Line::from(left), area);
    let right = Line::from(vec![
        Span::styled(lock, theme.style(lock_role)),
        Span::raw("   "),
        Span::styled(clock, theme.style(Role::Text)),
        Span::raw(" "),
    ]);
    let at = Rect {
        x: area.right().saturating_sub(right_width as u16),
        width: (right_width as u16).min(area.width),
        ..area
    };
    frame.render_widget(right.right_aligned(), at);
}

/// The clock of an incident: `incident 12 min`. How bad it is stands beside it, in the verdict.
fn incident(app: &App) -> Option<Span<'static>> {
    let theme = app.setup.theme;
    let incident = &app.open_incident()?.incident;
    let text = format!(
        "incident {}",
        format::span(format::elapsed_ms(incident.started_at, app.now))
    );
    let style = theme.grade(Grade::Critical).add_modifier(Modifier::BOLD);
    Some(Span::styled(text, style))
}

/// An action under way, while its card is hidden.
fn running(app: &App) -> Option<Span<'static>> {
    use overlays::confirm::{Stage, name};
    let operating = app.operating.as_ref()?;
    if matches!(app.overlay, Some(Overlay::Confirm)) {
        return None;
    }
    let Stage::Running { plan, since, marks } = &operating.stage else {
        return None;
    };
    let place = match operating.place() {
        Some((number, count)) => format!("{number} of {count}, "),
        None => String::new(),
    };
    let text = format!(
        "{}: {place}step {} of {}, {}",
        name(&operating.operations),
        marks.len().max(1),
        plan.steps.len(),
        format::clock_span(format::elapsed_ms(*since, app.now))
    );
    Some(Span::styled(text, app.setup.theme.style(Role::Accent)))
}

/// The actions worth a place in the footer, the most wanted first.
fn footer_actions(place: Place) -> &'static [Action] {
    match place {
        Place::Pane(Pane::Services) => &[
            Action::OpenMenu,
            Action::OpenLogs,
            Action::MarkService,
            Action::CompareNow,
            Action::ToggleLock,
            Action::ToggleZoom,
            Action::RunCommand,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Pane(Pane::Logs) => &[
            Action::OpenMenu,
            Action::FindText,
            Action::FindNext,
            Action::NextError,
            Action::ToggleFollow,
            Action::ClearFilters,
            Action::FilterIn,
            Action::CycleLevel,
            Action::ToggleWrap,
            Action::CopyLine,
            Action::ToggleZoom,
            Action::ToggleLock,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Pane(Pane::Compare) => &[
            Action::OpenMenu,
            Action::CompareNow,
            Action::ShowExample,
            Action::ToggleUnchanged,
            Action::ToggleZoom,
            Action::ToggleLock,
            Action::ShowPatterns,
            Action::ShowStream,
            Action::ShowSequence,
            Action::ShowRequest,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Pane(Pane::Runbook) => &[
            Action::StartRunbook,
            Action::TickItem,
            Action::FailItem,
            Action::SkipItem,
            Action::ClaimItem,
            Action::UndoItem,
            Action::CommentItem,
            Action::FollowOther,
            Action::OpenMenu,
            Action::ToggleList,
            Action::ToggleZoom,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Pane(Pane::Signals) => &[
            Action::AcknowledgeAlert,
            Action::ShowFindings,
            Action::ToggleBoard,
            Action::OpenMenu,
            Action::CompareNow,
            Action::Refresh,
            Action::ToggleZoom,
            Action::ToggleLock,
            Action::RunCommand,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Pane(Pane::Timeline) => &[
            Action::FilterEvents,
            Action::ClearEvents,
            Action::VerifyAudit,
            Action::ShowIncident,
            Action::OpenMenu,
            Action::Refresh,
            Action::ToggleZoom,
            Action::RunCommand,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Incident => &[
            Action::StartIncident,
            Action::NoteIncident,
            Action::GradeIncident,
            Action::AssignRole,
            Action::HandOver,
            Action::ReportIncident,
            Action::EndIncident,
            Action::Close,
        ],
        Place::Notes => &[Action::SaveNotes, Action::Close],
        Place::Preflight => &[Action::FixCheck, Action::RunPreflight, Action::Close],
        Place::Global => &[
            Action::OpenMenu,
            Action::CompareNow,
            Action::Refresh,
            Action::ToggleZoom,
            Action::ToggleLock,
            Action::RunCommand,
            Action::ShowHelp,
            Action::Quit,
        ],
        Place::Menu => &[Action::ChooseEntry, Action::Close],
        Place::Confirm => &[
            Action::AcceptPlan,
            Action::TakeBack,
            Action::CopyPlan,
            Action::Close,
        ],
        Place::Help | Place::Messages | Place::Example | Place::Record => {
            &[Action::GoDown, Action::GoUp, Action::Close]
        }
        Place::Prompt => &[Action::AcceptText, Action::CompleteText, Action::Close],
    }
}

/// `boris, clara here `: the other consoles; empty where there are none.
fn others(app: &App) -> String {
    let mut names: Vec<&str> = app.runbook.others.iter().map(|o| o.user.as_str()).collect();
    names.dedup();
    match names.is_empty() {
        true => String::new(),
        false => format!("{} here ", format::cut(&names.join(", "), 30)),
    }
}

/// The newest message, or the keys that are possible now.
fn draw_footer(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let theme = app.setup.theme;
    let width = area.width as usize;
    if !app.typed.is_empty() {
        let text = format!(" {} {}", chord::display(&app.typed), theme.stale_glyph());
        frame.render_widget(Line::styled(text, theme.style(Role::Accent)), area);
        return;
    }
    if let Some(notice) = &app.flash {
        let mut text = notice.text.as_str().to_owned();
        if let Some(fix) = &notice.fix {
            text.push_str(" — try: ");
            text.push_str(fix.as_str());
        }
        let is_cut = text.width() + 3 > width;
        let more = if is_cut {
            let key = app
                .setup
                .keymap
                .key(Action::ShowMessages, Place::Global)
                .unwrap_or_default();
            format!("  {key} all of it")
        } else {
            String::new()
        };
        let line = Line::from(vec![
            Span::styled(
                format!(" {} ", theme.grade_glyph(notice.grade)),
                theme.grade(notice.grade),
            ),
            Span::styled(
                format::cut(&text, width.saturating_sub(4 + more.width())),
                theme.style(if notice.grade == Grade::Critical {
                    Role::Critical
                } else {
                    Role::Text
                }),
            ),
            Span::styled(more, theme.style(Role::Dim)),
        ]);
        frame.render_widget(line, area);
        return;
    }
    let place = app.place();
    let others = others(app);
    let width = width.saturating_sub(others.width());
    if !others.is_empty() {
        let others = Line::styled(others, theme.style(Role::Accent));
        frame.render_widget(others.right_aligned(), area);
    }
    let area = Rect {
        width: width as u16,
        ..area
    };
    let mut spans = vec![Span::raw(" ")];
    let mut used = 1;
    for action in footer_actions(place) {
        if !is_possible(app, *action) {
            continue;
        }
        let Some(key) = app.setup.keymap.key(*action, place) else {
            continue;
        };
        let label = match (*action, app.lock, app.logs.is_following) {
            (Action::ToggleLock, Lock::Armed { .. }, _) => "lock",
            (Action::ToggleFollow, _, true) => "pause",
            (Action::ToggleZoom, _, _) if app.focus.is_zoomed => "unzoom",
            (action, _, _) => action.spec().label,
        };
        let need = key.width() + label.width() + 4;
        if used + need > width {
            break;
        }
        used += need;
        spans.push(Span::styled(key, theme.style(Role::Accent)));
        spans.push(Span::styled(format!(" {label}   "), theme.style(Role::Dim)));
    }
    frame.render_widget(Line::from(spans), area);
}

#[cfg(test)]
mod tests;
