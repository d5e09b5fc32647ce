//! Draws the plan card in each of its stages.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Operating, Stage, StepMark, several};
use crate::domain::operation::{Plan, Risk, StepWork};
use crate::domain::outcome::Outcome;
use crate::domain::signal::Grade;
use crate::ops::several::Order;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::format;
use crate::tui::panes::services::wrap;
use crate::tui::theme::{Role, outcome_grade};

/// Draws the card.
pub fn draw(app: &App, frame: &mut Frame<'_>) {
    let Some(operating) = &app.operating else {
        return;
    };
    let width = frame.area().width.min(100);
    let text_width = width.saturating_sub(4) as usize;
    let (body, tail) = match &operating.stage {
        Stage::Planning { since } => (
            vec![Line::raw(format!(
                "Asking the host what would be done… {}",
                format::span(format::elapsed_ms(*since, app.now))
            ))],
            vec![keys(app, "nothing was changed", text_width)],
        ),
        Stage::Asking(order) => (
            several::asked(app, order, text_width),
            question(app, operating, order, text_width),
        ),
        Stage::Running { plan, since, marks } => (
            several::with_others(app, operating, plan_lines(app, plan, marks, text_width)),
            vec![running(app, plan, *since, text_width)],
        ),
        Stage::Ended {
            plan,
            marks,
            outcome,
        } => (
            several::with_others(app, operating, plan_lines(app, plan, marks, text_width)),
            ended(app, outcome, text_width),
        ),
        Stage::Refused { plan, problem } => {
            let theme = app.setup.theme;
            let mut tail: Vec<Line<'_>> = wrap(problem.text.as_str(), text_width.saturating_sub(2))
                .into_iter()
                .enumerate()
                .map(|(i, text)| {
                    let glyph = if i == 0 {
                        theme.grade_glyph(Grade::Critical)
                    } else {
                        " "
                    };
                    Line::from(vec![
                        Span::styled(format!("{glyph} "), theme.style(Role::Critical)),
                        Span::raw(text),
                    ])
                })
                .collect();
            // The reasons take what the way out and the fix leave over.
            let room = usize::from(app.size.height).saturating_sub(tail.len() + 7);
            let reasons = problem
                .lines
                .iter()
                .flat_map(|line| wrap(line.as_str(), text_width.saturating_sub(2)))
                .take(room)
                .map(|text| Line::styled(format!("  {text}"), theme.style(Role::Dim)));
            tail.extend(reasons);
            if let Some(fix) = &problem.fix {
                tail.extend(
                    wrap(&format!("try: {fix}"), text_width)
                        .into_iter()
                        .map(|text| Line::styled(text, theme.style(Role::Accent))),
                );
            }
            let fact = if problem.is_broken && plan.is_some() {
                "how far it got is not known: lastgood audit list"
            } else if operating.done.is_empty() {
                "nothing was changed"
            } else {
                "by this one nothing was changed"
            };
            tail.push(keys(app, fact, text_width));
            let body = plan
                .as_ref()
                .map_or_else(Vec::new, |plan| plan_lines(app, plan, &[], text_width));
            (several::with_others(app, operating, body), tail)
        }
    };
    let title = several::title(operating);
    let height = (body.len() + tail.len() + 2) as u16;
    let inner = super::super::card(app, &title, width, height, frame);
    // The question and the outcome are always in view; what does not fit above scrolls.
    let tail_height = tail.len().min(inner.height as usize);
    let room = inner.height as usize - tail_height;
    let first = match &operating.stage {
        // While steps run, the card follows them.
        Stage::Running { .. } | Stage::Ended { .. } if operating.first == 0 => {
            body.len().saturating_sub(room)
        }
        _ => operating.first.min(body.len().saturating_sub(room)),
    };
    let top = Rect {
        height: room as u16,
        ..inner
    };
    let bottom = Rect {
        y: inner.y + room as u16,
        height: tail_height as u16,
        ..inner
    };
    let shown: Vec<Line<'_>> = body.into_iter().skip(first).take(room).collect();
    frame.render_widget(Paragraph::new(shown), top);
    frame.render_widget(Paragraph::new(tail), bottom);
}

pub(super) fn plan_lines(
    app: &App,
    plan: &Plan,
    marks: &[StepMark],
    width: usize,
) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let mut lines = Vec::new();
    for (word, text, role) in [
        ("from  ", &plan.from, Role::After),
        ("to    ", &plan.to, Role::Before),
    ] {
        if let Some(text) = text {
            lines.push(Line::from(vec![
                Span::styled(word, theme.style(Role::Dim)),
                Span::styled(
                    format::cut(text.as_str(), width.saturating_sub(6)),
                    theme.style(role),
                ),
            ]));
        }
    }
    for note in &plan.notes {
        lines.extend(
            wrap(&format!("Note: {note}"), width)
                .into_iter()
                .map(|text| Line::styled(text, theme.style(Role::Warning))),
        );
    }
    for (i, step) in plan.steps.iter().enumerate() {
        step_lines(app, i, step, marks.get(i), width, &mut lines);
    }
    if !plan.not_rolled_back.is_empty() {
        let text: Vec<&str> = plan.not_rolled_back.iter().map(AsRef::as_ref).collect();
        lines.extend(
            wrap(&format!("Not rolled back: {}.", text.join(", ")), width)
                .into_iter()
                .map(|text| Line::styled(text, theme.style(Role::Dim))),
        );
    }
    if let Some(text) = &plan.on_failure {
        lines.extend(
            wrap(text.as_str(), width)
                .into_iter()
                .map(|text| Line::styled(text, theme.style(Role::Dim))),
        );
    }
    let down = plan.downtime_ms.map_or_else(String::new, |ms| {
        format!("Down for about {}.   ", format::span(ms))
    });
    lines.push(Line::styled(
        format!("{down}Budget: {}.", format::span(plan.budget_ms)),
        theme.style(Role::Dim),
    ));
    lines
}

/// Number or mark, what it does, time; below it what was seen.
fn step_lines(
    app: &App,
    index: usize,
    step: &crate::domain::operation::Step,
    mark: Option<&StepMark>,
    width: usize,
    lines: &mut Vec<Line<'static>>,
) {
    let theme = app.setup.theme;
    let (sign, style) = match mark.map(|m| &m.result) {
        None => (format!("{:>2} ", index + 1), theme.style(Role::Dim)),
        Some(None) => (
            format!(" {} ", if theme.is_plain() { ">" } else { "▸" }),
            theme.style(Role::Accent),
        ),
        Some(Some(result)) => {
            let grade = match (result.ok, step.may_fail) {
                (true, _) => Grade::Ok,
                (false, true) => Grade::Warning,
                (false, false) => Grade::Critical,
            };
            (
                format!(" {} ", theme.grade_glyph(grade)),
                theme.grade(grade),
            )
        }
    };
    let time = mark.map_or_else(String::new, |mark| {
        let ms = mark.result.as_ref().map_or_else(
            || format::elapsed_ms(mark.since, app.now),
            |result| result.ms,
        );
        format!("  {}", format::span(ms))
    });
    let room = width.saturating_sub(3 + time.len()).max(8);
    for (i, text) in wrap(step.text.as_str(), room).into_iter().enumerate() {
        let mut spans = vec![
            Span::styled(if i == 0 { sign.clone() } else { "   ".into() }, style),
            Span::raw(format::left(&text, room)),
        ];
        if i == 0 {
            spans.push(Span::styled(time.clone(), theme.style(Role::Dim)));
        }
        lines.push(Line::from(spans));
    }
    // The exact command, where the text is not already it.
    if let StepWork::Command { argv, .. } = &step.work {
        let command = crate::domain::safe_text::SafeText::from_text(&shell_words::join(argv));
        if !step.text.as_str().contains(command.as_str()) && mark.is_none() {
            for text in wrap(command.as_str(), width.saturating_sub(5)) {
                lines.push(Line::styled(
                    format!("     {text}"),
                    theme.style(Role::Accent),
                ));
            }
        }
    }
    if let Some(mark) = mark {
        let seen = mark
            .result
            .as_ref()
            .map(|r| r.detail.clone())
            .or_else(|| mark.saying.clone())
            .filter(|text| !text.is_empty());
        if let Some(seen) = seen {
            let role = match &mark.result {
                Some(result) if !result.ok => Role::Critical,
                _ => Role::Dim,
            };
            for text in wrap(seen.as_str(), width.saturating_sub(5))
                .into_iter()
                .take(4)
            {
                lines.push(Line::styled(format!("     {text}"), theme.style(role)));
            }
        }
    }
}

fn question(app: &App, operating: &Operating, order: &Order, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let copy = app
        .setup
        .keymap
        .key(Action::CopyPlan, Place::Confirm)
        .map_or_else(String::new, |key| {
            format!("{key} copies it as a command   ")
        });
    let leave = format!("{copy}Esc leaves it");
    let ask = match operating.names_to_type() {
        Some(names) => {
            let cursor = if theme.is_plain() { "_" } else { "▏" };
            vec![
                Span::raw("Type  "),
                Span::styled(names, theme.style(Role::Strong)),
                Span::raw("  and Enter to do it: "),
                Span::styled(
                    format!("{}{cursor}", operating.typed),
                    theme.style(Role::Accent),
                ),
            ]
        }
        None => vec![
            Span::styled("Enter", theme.style(Role::Accent)),
            Span::raw(match (order.risk(), order.plans.len()) {
                (Risk::ReadOnly, _) => " runs it",
                (_, 1) => " does it",
                _ => " does all of it",
            }),
        ],
    };
    vec![
        Line::from(ask),
        Line::styled(format::right(&leave, width), theme.style(Role::Dim)),
    ]
}

fn running(app: &App, plan: &Plan, since: jiff::Timestamp, width: usize) -> Line<'static> {
    let theme = app.setup.theme;
    let ms = format::elapsed_ms(since, app.now);
    let is_over = ms > plan.budget_ms;
    let text = format!(
        "Running {} of {}",
        format::clock_span(ms),
        format::clock_span(plan.budget_ms)
    );
    let hint = if is_over {
        "over its budget: consider acting by hand"
    } else {
        "Esc hides this, the action goes on"
    };
    Line::from(vec![
        Span::styled(
            text.clone(),
            theme.style(if is_over {
                Role::Critical
            } else {
                Role::Accent
            }),
        ),
        Span::styled(
            format::right(hint, width.saturating_sub(text.len())),
            theme.style(Role::Dim),
        ),
    ])
}

fn ended(app: &App, outcome: &Outcome, width: usize) -> Vec<Line<'static>> {
    let theme = app.setup.theme;
    let grade = outcome_grade(outcome.outcome);
    let release = outcome.release.identity().map_or_else(String::new, |id| {
        format!(
            "   runs {}",
            crate::domain::safe_text::SafeText::from_text(crate::domain::service::short_id(id))
        )
    });
    let mut lines = vec![Line::from(vec![
        Span::styled(
            format!("{} {}", theme.grade_glyph(grade), outcome.outcome.words()),
            theme
                .grade(grade)
                .add_modifier(ratatui::style::Modifier::BOLD),
        ),
        Span::raw(format!(
            " in {}{release}",
            format::span(outcome.duration_ms)
        )),
    ])];
    if !outcome.manual.is_empty() {
        lines.push(Line::styled(
            "Type by hand to finish it:",
            theme.style(Role::Warning),
        ));
        for command in &outcome.manual {
            for text in wrap(command.as_str(), width.saturating_sub(2)) {
                lines.push(Line::styled(format!("  {text}"), theme.style(Role::Accent)));
            }
        }
    }
    lines.push(keys(app, "the audit log has it", width));
    lines
}

fn keys(app: &App, fact: &str, width: usize) -> Line<'static> {
    let key = app
        .setup
        .keymap
        .key(Action::Close, Place::Confirm)
        .unwrap_or_else(|| "Esc".to_owned());
    Line::styled(
        format::right(&format!("{fact}   {key} closes"), width),
        app.setup.theme.style(Role::Dim),
    )
}
