//! What is said of the items of a runbook.

use crate::domain::runbook::RunState;
use crate::domain::runbook::run::ItemAction;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::tui::action::{Action, Place};
use crate::tui::app::App;
use crate::tui::effect::Effect;
use crate::tui::layout::Pane;
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
    let number = item.number;
    let may = app
        .runbook
        .shown_run()
        .map(|run| run.may_run(number, &app.setup.user));
    if let Some(Err(unfit)) = may {
        app.tell(Grade::Warning, format!("{unfit}."), None);
        return Vec::new();
    }
    ask_for_plan(app, vec![operation])
}

/// Somebody did something to the run: it is on the screen at once.
pub(super) fn went_on(app: &mut App, run: RunState) -> Vec<Effect> {
    let shown = app.runbook.run.as_ref();
    // What this console wrote itself may be newer than what was read of it.
    let is_newer = |shown: &RunState| {
        let pairs = shown.items.iter().zip(&run.items);
        let mut pairs =
            pairs.filter(|(a, b)| a.revision != b.revision || a.comments.len() != b.comments.len());
        pairs.all(|(a, b)| a.revision <= b.revision && a.comments.len() <= b.comments.len())
    };
    if shown.is_some_and(|shown| shown.run == run.run && is_newer(shown)) {
        app.runbook.set_run(run);
        app.is_awaited = true;
    }
    Vec::new()
}

/// Somebody started a run: it is shown, unless this console is in the middle of another.
pub(super) fn started(app: &mut App, run: &SafeText) -> Vec<Effect> {
    if app
        .runbook
        .run
        .as_ref()
        .is_some_and(|own| !own.is_complete())
    {
        let key = app.setup.keymap.key(Action::Refresh, Place::Global);
        let fix = key.map(|key| SafeText::from_text(&format!("{key} goes to it")));
        let text = format!("Another runbook was started: {run}.");
        app.tell(Grade::Unknown, text, fix);
        return Vec::new();
    }
    vec![Effect::ReadRunbooks]
}

/// The run on the screen is followed, and the others see at which item of it this console is.
pub(super) fn keep_pairing(app: &mut App) -> Vec<Effect> {
    let mut effects = Vec::new();
    let run = app.runbook.run.as_ref().map(|run| run.run.clone());
    let is_read = app.runbook.reading.value().is_some();
    if (is_read || run.is_some()) && app.runbook.followed.as_ref() != Some(&run) {
        app.runbook.followed = Some(run.clone());
        effects.push(Effect::FollowRun(run.clone()));
    }
    let at = run.zip(app.runbook.item().map(|(item, _)| item.number));
    if app.setup.is_paired && app.is_visible(Pane::Runbook) && at.is_some() && at != app.runbook.at
    {
        app.runbook.at.clone_from(&at);
        effects.extend(at.map(|(run, item)| Effect::BeAt(run, item)));
    }
    effects
}
