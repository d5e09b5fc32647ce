//! What is said of the items of a runbook.

use crate::domain::runbook::run::ItemAction;
use crate::domain::signal::Grade;
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::overlays::Overlay;
use crate::tui::overlays::prompt::{Prompt, Purpose};

use super::operate::ask_for_plan;

pub(super) fn start_runbook(app: &mut App) -> Vec<Effect> {
    let name = app.runbook.entry().map(|entry| entry.name.clone());
    name.map(Effect::StartRunbook).into_iter().collect()
}

/// Says something of the selected item, if it still is where the engineer saw it.
pub(super) fn act_on_item(app: &mut App, action: ItemAction) -> Vec<Effect> {
    let Some(run) = app.runbook.shown_run() else {
        app.tell(
            Grade::Unknown,
            "No runbook is under way: start one first.",
            None,
        );
        return Vec::new();
    };
    let Some((item, state)) = app.runbook.item() else {
        return Vec::new();
    };
    vec![Effect::ActOnItem {
        run: run.run.clone(),
        item: item.number,
        action,
        revision: state.revision,
    }]
}

pub(super) fn ask_about_item(app: &mut App, purpose: Purpose) {
    if app.runbook.item().is_some() {
        app.overlay = Some(Overlay::Prompt(Box::new(Prompt::new(purpose, ""))));
    }
}

/// The plan that runs the command of the selected item.
pub(super) fn plan_item(app: &mut App) -> Vec<Effect> {
    let Some((item, _)) = app.runbook.item() else {
        return Vec::new();
    };
    let Some(operation) = item.operation(crate::domain::host::HostName::local()) else {
        return Vec::new();
    };
    ask_for_plan(app, operation)
}
