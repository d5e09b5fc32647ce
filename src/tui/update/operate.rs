//! From a wish to confirmed plans and what came of them. Nothing here changes a machine: a plan does, once it is accepted.

use crate::domain::operation::{Operation, Risk, RollBackTarget};
use crate::domain::outcome::Outcome;
use crate::domain::service::ServiceId;
use crate::domain::signal::Grade;
use crate::ops::several::{Order, by_host};
use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::overlays::Overlay;
use crate::tui::overlays::confirm::{self, Operating, Stage};
use crate::tui::panes::compare::{SETTLED, WATCH_FOR};
use crate::tui::theme::outcome_grade;

use super::act::{close, refuse};
use super::has_card;
use super::news::compare_now;

pub(super) fn plan(app: &mut App, action: Action) -> Vec<Effect> {
    let services = app.services.acted_on();
    if services.is_empty() {
        app.tell(Grade::Unknown, "No service is selected.", None);
        return Vec::new();
    }
    let operations = match action {
        Action::StopService => by_host(&Operation::Stop { services }),
        Action::StartService => by_host(&Operation::Start { services }),
        Action::RollBack => services.into_iter().map(roll_back).collect(),
        _ => by_host(&Operation::Restart {
            services,
            reload: false,
            rolling: false,
        }),
    };
    ask_for_plan(app, operations)
}

/// Each goes back to a checkpoint of its own.
fn roll_back(service: ServiceId) -> Operation {
    Operation::RollBack {
        service,
        to: RollBackTarget::LastGood,
        configs_only: false,
        save_logs: true,
        downgrade: false,
    }
}

pub(super) fn ask_for_plan(app: &mut App, operations: Vec<Operation>) -> Vec<Effect> {
    if app.operating.as_ref().is_some_and(Operating::is_executing) {
        app.overlay = Some(Overlay::Confirm);
        app.tell(Grade::Warning, "An action is under way already.", None);
        return Vec::new();
    }
    app.operating = Some(Operating::new(operations.clone(), app.now));
    app.overlay = Some(Overlay::Confirm);
    vec![Effect::Plan(operations)]
}

/// The other way to go on with what a process left that died: back instead of to its end, or the reverse.
pub(super) fn other_way(app: &App) -> Option<Operation> {
    let Stage::Asking(order) = &app.operating.as_ref()?.stage else {
        return None;
    };
    match &order.plans.first()?.operation {
        Operation::Resume { run, undo, of } => Some(Operation::Resume {
            run: run.clone(),
            undo: !undo,
            of: of.clone(),
        }),
        _ => None,
    }
}

/// The yes to a plan, or to all of several: refused if the session locked itself meanwhile or a name is not the name.
pub(super) fn accept_plan(app: &mut App) -> Vec<Effect> {
    let Some(operating) = &app.operating else {
        app.overlay = None;
        return Vec::new();
    };
    let order = match &operating.stage {
        Stage::Asking(order) => order.clone(),
        Stage::Ended { .. } | Stage::Refused { .. } => {
            close(app);
            return Vec::new();
        }
        Stage::Planning { .. } | Stage::Running { .. } => return Vec::new(),
    };
    if order.risk() >= Risk::Disruptive
        && let Some(refusal) = refuse(app)
    {
        return refusal;
    }
    let Some(operating) = &mut app.operating else {
        return Vec::new();
    };
    let Some(confirmations) = order.confirmations(&operating.typed) else {
        let names = order.names_to_type().join(",");
        let text = if operating.typed.is_empty() {
            format!("Type the name {names} first.")
        } else {
            format!("That is not {names}; nothing was done.")
        };
        app.tell(Grade::Warning, text, None);
        return Vec::new();
    };
    let mut both = order.plans.into_iter().zip(confirmations);
    let Some((plan, confirmation)) = both.next() else {
        return Vec::new();
    };
    operating.next = both.collect();
    operating.begin(plan.clone(), app.now);
    vec![Effect::Execute(Box::new(plan), confirmation)]
}

/// The plans are ready; if their card was closed meanwhile, nobody wants them any more.
pub(super) fn planned(app: &mut App, order: Order) -> Vec<Effect> {
    if let Some(operating) = &mut app.operating
        && matches!(operating.stage, Stage::Planning { .. })
    {
        operating.stage = Stage::Asking(order);
    }
    Vec::new()
}

/// A plan was carried out: the next of several is begun where it proved itself.
pub(super) fn executed(app: &mut App, outcome: Outcome) -> Vec<Effect> {
    let Some(operating) = &mut app.operating else {
        return Vec::new();
    };
    let grade = outcome_grade(outcome.outcome);
    let place = match operating.place() {
        Some((number, count)) => format!(", {number} of {count}"),
        None => String::new(),
    };
    let name = confirm::name(&operating.operations);
    let text = format!("{name}{place}: {}", outcome.outcome.words());
    let next = operating.end(outcome, app.leaving.is_some(), app.now);
    app.tell(grade, text, None);
    let mut effects = vec![Effect::ReadTimeline, Effect::ReadCheckpoints];
    if let Some((plan, confirmation)) = next {
        effects.push(Effect::Execute(Box::new(plan), confirmation));
        return effects;
    }
    if has_card(app) {
        app.flash = None;
    } else if app.overlay.is_none() {
        // Hidden while it ran: its end must not be missed.
        app.overlay = Some(Overlay::Confirm);
    }
    if app.checkpoint().is_some() {
        app.compare.watch_until = Some(app.now + WATCH_FOR);
        effects.extend(compare_now(app, SETTLED));
    }
    effects
}
