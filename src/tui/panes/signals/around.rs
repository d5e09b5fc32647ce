//! What stands around the signals of the selected service: the alerts that fire, and what its machine is short of.
//!
//! ```text
//! │ ✖ P0 shop/backend is down: http 500 │
//! │   since 14:03, taken by anna 14:05  │
//! │ …the signals of the service…        │
//! │ machine                             │
//! │ ▲ disk                       91 %   │
//! ```
//! An alert is never only a colour: it says its urgency, since when, and who has it.

use ratatui::text::Line;

use super::gauge::value_row;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::signal::{Grade, Signal, SignalName};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::Role;

/// So many alerts are drawn; the others are counted.
const SHOWN: usize = 3;

/// The alerts that fire, the most urgent first, those that nobody has taken before the others.
pub(super) fn firing(alerts: &[Alert]) -> Vec<&Alert> {
    let mut firing: Vec<&Alert> = alerts
        .iter()
        .filter(|alert| alert.state == AlertState::Firing)
        .collect();
    firing.sort_by(|a, b| {
        (a.acknowledged.is_some(), b.severity, a.fired_at).cmp(&(
            b.acknowledged.is_some(),
            a.severity,
            b.fired_at,
        ))
    });
    firing
}

/// Two rows an alert.
pub(super) fn alert_rows(app: &App, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let around = &app.signals.around;
    let mut lines = Vec::new();
    if let Some(why) = &around.unread {
        let text = format!(" ? the alerts cannot be read: {why}");
        lines.push(Line::styled(
            format::cut(&text, width),
            theme.style(Role::Unknown),
        ));
    }
    let firing = firing(app.signals.alerts());
    for alert in firing.iter().take(SHOWN) {
        let grade = super::board::grade(alert.severity);
        let text = format!(
            " {} {} {}",
            theme.grade_glyph(grade),
            alert.severity,
            alert.text
        );
        lines.push(Line::styled(format::cut(&text, width), theme.grade(grade)));
        let text = format!("   {}", facts(app, alert));
        lines.push(Line::styled(
            format::cut(&text, width),
            theme.style(Role::Dim),
        ));
    }
    if firing.len() > SHOWN {
        let text = format!("   and {} more fire", firing.len() - SHOWN);
        lines.push(Line::styled(
            format::cut(&text, width),
            theme.style(Role::Dim),
        ));
    }
    lines
}

/// Since when it fires, and who has it.
pub fn facts(app: &App, alert: &Alert) -> String {
    let mut facts = Vec::new();
    let at = |at| format::time_of_day(at, &app.setup.zone);
    facts.extend(alert.fired_at.map(|fired| format!("since {}", at(fired))));
    if let Some(missing) = alert.missing_since {
        facts.push(format!("no data since {}", at(missing)));
    }
    facts.push(match (&alert.acknowledged, alert.is_silenced) {
        (Some(taken), _) => format!("taken by {} {}", taken.by, at(taken.at)),
        (None, true) => "silenced".to_owned(),
        (None, false) => "nobody has taken it".to_owned(),
    });
    facts.join(", ")
}

/// The machine's signals that are not well, and the user's own.
pub(super) fn machine_rows(app: &App, width: usize, is_stale: bool) -> Vec<Line<'static>> {
    let Some(machine) = &app.signals.around.machine else {
        return Vec::new();
    };
    let is_usual = |signal: &Signal| match &signal.signal {
        SignalName::Own(name) => ["inodes", "pressure", "load"].contains(&name.as_str()),
        _ => true,
    };
    let shown = machine.signals.iter().filter(|signal| {
        let is_bad = matches!(signal.grade, Grade::Warning | Grade::Critical);
        signal.route.is_none() && (is_bad || !is_usual(signal))
    });
    let mut lines: Vec<Line<'static>> = shown
        .map(|signal| value_row(app, signal, width, is_stale))
        .collect();
    if !lines.is_empty() {
        let title = match machine.id.host.is_local() {
            true => " machine".to_owned(),
            false => format!(" machine {}", machine.id.host),
        };
        let style = app.setup.theme.style(Role::Dim);
        lines.insert(0, Line::styled(format::cut(&title, width), style));
    }
    lines
}
