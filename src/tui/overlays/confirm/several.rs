//! Several plans on one card: those that were carried out, the one at hand, and those that wait for it.

use ratatui::text::{Line, Span};

use super::draw::plan_lines;
use super::{Operating, Stage, name};
use crate::domain::operation::Plan;
use crate::domain::safe_text::SafeText;
use crate::ops::several::Order;
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::theme::{Role, outcome_grade};

/// The title of the card: what is done, and where, or which of several plans this is.
pub(super) fn title(operating: &Operating) -> String {
    let name = name(&operating.operations);
    let plan = match &operating.stage {
        Stage::Asking(order) => match order.plans.as_slice() {
            [one] => Some(one),
            all => return format!("{name}: {} plans", all.len()),
        },
        Stage::Running { plan, .. } | Stage::Ended { plan, .. } => Some(&**plan),
        _ => None,
    };
    let host = plan.map_or_else(String::new, |plan| format!(" on {}", plan.host));
    match operating.place() {
        Some((number, count)) => format!("{name}: {number} of {count}{host}"),
        None => format!("{name}{host}"),
    }
}

/// All that is asked about.
pub(super) fn asked(app: &App, order: &Order, width: usize) -> Vec<Line<'static>> {
    if let [one] = order.plans.as_slice() {
        return plan_lines(app, one, &[], width);
    }
    let mut lines = vec![Line::styled(
        "The first that does not prove itself ends it: those behind it are not begun.",
        app.setup.theme.style(Role::Dim),
    )];
    for (at, plan) in order.plans.iter().enumerate() {
        lines.push(heading(app, at + 1, plan));
        lines.extend(plan_lines(app, plan, &[], width));
    }
    lines
}

/// What is at hand, with those before and behind it.
pub(super) fn with_others(
    app: &App,
    operating: &Operating,
    at_hand: Vec<Line<'static>>,
) -> Vec<Line<'static>> {
    if operating.place().is_none() {
        return at_hand;
    }
    let theme = app.setup.theme;
    let mut lines = Vec::new();
    for (at, part) in operating.done.iter().enumerate() {
        let mut line = heading(app, at + 1, &part.plan);
        let grade = outcome_grade(part.outcome.outcome);
        line.push_span(Span::styled(
            format!(
                "  {} {} in {}",
                theme.grade_glyph(grade),
                part.outcome.outcome.words(),
                format::span(part.outcome.duration_ms)
            ),
            theme.grade(grade),
        ));
        lines.push(line);
    }
    let number = operating.done.len() + 1;
    let plan = match &operating.stage {
        Stage::Running { plan, .. } | Stage::Ended { plan, .. } => Some(plan),
        Stage::Refused { plan, .. } => plan.as_ref(),
        Stage::Planning { .. } | Stage::Asking(_) => None,
    };
    lines.extend(plan.map(|plan| heading(app, number, plan)));
    lines.extend(at_hand);
    let (word, role) = match &operating.stage {
        Stage::Running { .. } => ("waits", Role::Dim),
        _ => ("not begun", Role::Warning),
    };
    for (at, (plan, _)) in operating.next.iter().enumerate() {
        let mut line = heading(app, number + 1 + at, plan);
        line.push_span(Span::styled(format!("  {word}"), theme.style(role)));
        lines.push(line);
    }
    lines
}

/// Which of them it is, and which services it is for.
fn heading(app: &App, number: usize, plan: &Plan) -> Line<'static> {
    let services: Vec<String> = plan.services.iter().map(ToString::to_string).collect();
    let text = format!("{number}. {}", services.join(", "));
    Line::styled(
        SafeText::from_text(&text).to_string(),
        app.setup.theme.style(Role::Strong),
    )
}
