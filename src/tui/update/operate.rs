//! From a wish to a confirmed plan. Nothing here changes a machine: the plan does, once it is accepted.

use crate::domain::operation::{Operation, RollBackTarget};
use crate::domain::signal::Grade;
use crate::ops::Confirmation;
use crate::tui::action::Action;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::overlays::Overlay;
use crate::tui::overlays::confirm::{Operating, Stage};

use super::act::{close, refuse};

pub(super) fn plan(app: &mut App, action: Action) -> Vec<Effect> {
    let Some(service) = app.selected() else {
        app.tell(Grade::Unknown, "No service is selected.", None);
        return Vec::new();
    };
    let id = service.id.clone();
    let services = vec![id.clone()];
    let operation = match action {
        Action::StopService => Operation::Stop { services },
        Action::StartService => Operation::Start { services },
        Action::RollBack => Operation::RollBack {
            service: id,
            to: RollBackTarget::LastGood,
            configs_only: false,
            save_logs: true,
            downgrade: false,
        },
        _ => Operation::Restart {
            services,
            reload: false,
            rolling: false,
        },
    };
    ask_for_plan(app, operation)
}

pub(super) fn ask_for_plan(app: &mut App, operation: Operation) -> Vec<Effect> {
    if app.operating.as_ref().is_some_and(Operating::is_executing) {
        app.overlay = Some(Overlay::Confirm);
        app.tell(Grade::Warning, "An action is under way already.", None);
        return Vec::new();
    }
    app.operating = Some(Operating::new(operation.clone(), app.now));
    app.overlay = Some(Overlay::Confirm);
    vec![Effect::Plan(operation)]
}

/// The other way to go on with what a process left that died: back instead of to its end, or the reverse.
pub(super) fn other_way(app: &App) -> Option<Operation> {
    let Stage::Asking(plan) = &app.operating.as_ref()?.stage else {
        return None;
    };
    match &plan.operation {
        Operation::Resume { run, undo, of } => Some(Operation::Resume {
            run: run.clone(),
            undo: !undo,
            of: of.clone(),
        }),
        _ => None,
    }
}

/// The yes to a plan: refused if the session locked itself meanwhile or the name is not the name.
pub(super) fn accept_plan(app: &mut App) -> Vec<Effect> {
    let Some(operating) = &app.operating else {
        app.overlay = None;
        return Vec::new();
    };
    let plan = match &operating.stage {
        Stage::Asking(plan) => plan.clone(),
        Stage::Ended { .. } | Stage::Refused { .. } => {
            close(app);
            return Vec::new();
        }
        Stage::Planning { .. } | Stage::Running { .. } => return Vec::new(),
    };
    if plan.risk >= crate::domain::operation::Risk::Disruptive
        && let Some(refusal) = refuse(app)
    {
        return refusal;
    }
    let Some(operating) = &mut app.operating else {
        return Vec::new();
    };
    let typed = operating.name_to_type().map(str::to_owned);
    if let Some(name) = &typed
        && operating.typed.trim() != name
    {
        let text = if operating.typed.is_empty() {
            format!("Type the name {name} first.")
        } else {
            format!("That is not {name}; nothing was done.")
        };
        app.tell(Grade::Warning, text, None);
        return Vec::new();
    }
    let confirmation = Confirmation {
        plan_hash: plan.hash.clone(),
        typed: typed.map(|_| operating.typed.trim().to_owned()),
    };
    operating.first = 0;
    operating.stage = Stage::Running {
        plan: plan.clone(),
        since: app.now,
        marks: Vec::new(),
    };
    vec![Effect::Execute(plan, confirmation)]
}

/// A plan that is no longer wanted.
pub(super) fn is_wanted(app: &App) -> bool {
    matches!(
        app.operating.as_ref().map(|o| &o.stage),
        Some(Stage::Planning { .. })
    )
}
