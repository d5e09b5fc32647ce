//! What each action does to the state.

use crate::domain::operation::{Operation, RollBackTarget};
use crate::domain::runbook::run::ItemAction;
use crate::domain::safe_text::SafeText;
use crate::domain::signal::Grade;
use crate::ops::Confirmation;
use crate::tui::action::{Action, Place};
use crate::tui::app::{ARMED_FOR, App, Lock, Saving};
use crate::tui::effect::Effect;
use crate::tui::layout::Pane;
use crate::tui::overlays::confirm::{Operating, Stage, command_line};
use crate::tui::overlays::menu::{self, Menu};
use crate::tui::overlays::prompt::{Prompt, Purpose};
use crate::tui::overlays::{Overlay, help, messages, prompt};
use crate::tui::panes::logs::Search;

use super::{news, select};

/// Whether an action can do something right now. Footer and help are made from this.
pub fn is_possible(app: &App, action: Action) -> bool {
    let has_service = app.selected().is_some();
    match action {
        Action::OpenMenu
        | Action::SelectNext
        | Action::SelectPrevious
        | Action::OpenLogs
        | Action::Restart
        | Action::StopService
        | Action::StartService => has_service,
        Action::RollBack => has_service && app.checkpoint().is_some(),
        Action::ToggleFollow
        | Action::FindText
        | Action::NextError
        | Action::PreviousError
        | Action::CopyLine
        | Action::ToggleWrap => !app.logs.ring.is_empty(),
        Action::FindNext | Action::FindPrevious => app.logs.search.is_some(),
        Action::CompareNow => app.checkpoint().is_some() && app.compare.running.is_none(),
        Action::CreateCheckpoint => app.saving.is_none(),
        Action::ShowExample => app.compare.pattern().is_some(),
        Action::ToggleUnchanged => app.compare.reading.value().is_some(),
        Action::ToggleLock => app.lock != Lock::ReadOnly,
        Action::Close => app.overlay.is_some() || app.logs.search.is_some(),
        Action::ToggleZoom => app.focus.panes.len() > 1,
        Action::StartRunbook => app.runbook.entry().is_some(),
        Action::ToggleList => app.runbook.run.is_some(),
        Action::TickItem
        | Action::FailItem
        | Action::SkipItem
        | Action::ClaimItem
        | Action::CommentItem
        | Action::UndoItem => app.runbook.item().is_some(),
        Action::RunItem => app
            .runbook
            .item()
            .is_some_and(|(item, _)| item.run_scripts().next().is_some()),
        _ => true,
    }
}

/// Does what an action means, if the lock allows it.
pub(super) fn perform(app: &mut App, action: Action) -> Vec<Effect> {
    if action.is_change()
        && let Some(refusal) = refuse(app)
    {
        return refusal;
    }
    match action {
        Action::Quit => return quit(app),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::ShowHelp => {
            app.overlay = Some(Overlay::Help {
                place: app.place(),
                first: 0,
            });
        }
        Action::ShowMessages => app.overlay = Some(Overlay::Messages { up: 0 }),
        Action::RunCommand => {
            app.overlay = Some(Overlay::Prompt(Box::new(Prompt::new(Purpose::Command, ""))));
        }
        Action::OpenMenu => open_menu(app),
        Action::ToggleLock => toggle_lock(app),
        Action::ToggleZoom => app.focus.is_zoomed = !app.focus.is_zoomed,
        Action::Refresh => return refresh(app),
        Action::Close => close(app),
        Action::FocusNext => app.focus.step(true),
        Action::FocusPrevious => app.focus.step(false),
        Action::FocusServices => app.focus.set(Pane::Services),
        Action::FocusLogs => app.focus.set(Pane::Logs),
        Action::FocusCompare => app.focus.set(Pane::Compare),
        Action::FocusSignals => app.focus.set(Pane::Signals),
        Action::FocusRunbook => app.focus.set(Pane::Runbook),
        Action::FocusTimeline => app.focus.set(Pane::Timeline),
        Action::GoDown => return go(app, 1),
        Action::GoUp => return go(app, -1),
        Action::PageDown => return go(app, half_page(app)),
        Action::PageUp => return go(app, -half_page(app)),
        Action::GoTop => return go_to_end(app, true),
        Action::GoBottom => return go_to_end(app, false),
        Action::ScrollLeft => scroll(app, -8),
        Action::ScrollRight => scroll(app, 8),
        Action::SelectNext | Action::SelectPrevious => {
            let by = if action == Action::SelectNext { 1 } else { -1 };
            app.services.step(by);
            return select(app);
        }
        Action::OpenLogs => app.focus.set(Pane::Logs),
        Action::ToggleFollow => toggle_follow(app),
        Action::FindText => {
            let before = app.logs.search.as_ref().map_or("", |s| &s.text).to_owned();
            app.overlay = Some(Overlay::Prompt(Box::new(Prompt::new(
                Purpose::Find,
                &before,
            ))));
        }
        Action::FindNext => find(app, true),
        Action::FindPrevious => find(app, false),
        Action::NextError | Action::PreviousError => go_to_error(app, action == Action::NextError),
        Action::ToggleWrap => {
            app.logs.is_wrapped = !app.logs.is_wrapped;
            app.logs.column = 0;
        }
        Action::CopyLine => {
            return app
                .logs
                .line_under_cursor()
                .map(Effect::Copy)
                .into_iter()
                .collect();
        }
        Action::CompareNow => {
            close_menu(app);
            return news::compare_now(app, std::time::Duration::ZERO);
        }
        Action::ShowExample => {
            if app.compare.pattern().is_some() {
                app.overlay = Some(Overlay::Example {
                    first: 0,
                    column: 0,
                });
            }
        }
        Action::ToggleUnchanged => {
            app.compare.has_unchanged = !app.compare.has_unchanged;
            app.compare.step(0);
        }
        Action::CreateCheckpoint => return create_checkpoint(app),
        Action::Restart | Action::StopService | Action::StartService | Action::RollBack => {
            return plan(app, action);
        }
        Action::RunItem => return plan_item(app),
        Action::StartRunbook => return start_runbook(app),
        Action::ToggleList => app.runbook.toggle_list(),
        Action::TickItem => return act_on_item(app, ItemAction::Tick { evidence: None }),
        Action::ClaimItem => return act_on_item(app, ItemAction::Claim),
        Action::UndoItem => return act_on_item(app, ItemAction::Undo),
        Action::FailItem => ask_about_item(app, Purpose::Fail),
        Action::SkipItem => ask_about_item(app, Purpose::Skip),
        Action::CommentItem => ask_about_item(app, Purpose::Comment),
        Action::ChooseEntry => {
            if let Some(Overlay::Menu(menu)) = &app.overlay
                && let Some(entry) = menu::entries(app).get(menu.cursor)
            {
                return perform(app, *entry);
            }
        }
        Action::AcceptPlan => return accept_plan(app),
        Action::CopyPlan => {
            return command_line(app)
                .map(|line| Effect::Copy(SafeText::from_text(&line)))
                .into_iter()
                .collect();
        }
        Action::AcceptText => return accept_text(app),
        Action::CompleteText => {
            if let Some(Overlay::Prompt(prompt)) = &mut app.overlay {
                prompt.complete();
            }
        }
    }
    Vec::new()
}

/// Why a change is refused now; `None` where it is not.
fn refuse(app: &mut App) -> Option<Vec<Effect>> {
    if app.is_armed() {
        return None;
    }
    if app.lock == Lock::ReadOnly {
        app.tell(
            Grade::Warning,
            "This session is read-only: nothing was changed.",
            None,
        );
    } else {
        let key = app
            .setup
            .keymap
            .key(Action::ToggleLock, Place::Global)
            .unwrap_or_else(|| ":app.toggle-lock".to_owned());
        app.tell(
            Grade::Warning,
            format!("Locked: press {key} to arm the session for 10 minutes, then try again."),
            None,
        );
    }
    close_menu(app);
    Some(Vec::new())
}

fn close_menu(app: &mut App) {
    if matches!(app.overlay, Some(Overlay::Menu(_))) {
        app.overlay = None;
    }
}

fn quit(app: &mut App) -> Vec<Effect> {
    if app.operating.as_ref().is_some_and(Operating::is_executing) {
        app.tell(
            Grade::Warning,
            "An action is under way: the console closes when it has ended.",
            None,
        );
    }
    app.leaving = Some(0);
    Vec::new()
}

fn open_menu(app: &mut App) {
    // An operation that was hidden comes back before a new one can be asked for.
    if app.operating.as_ref().is_some_and(Operating::is_running) {
        app.overlay = Some(Overlay::Confirm);
    } else if app.selected().is_some() {
        app.overlay = Some(Overlay::Menu(Menu::default()));
    } else {
        app.tell(Grade::Unknown, "No service is selected.", None);
    }
}

fn toggle_lock(app: &mut App) {
    app.lock = match app.lock {
        Lock::ReadOnly => {
            app.tell(
                Grade::Warning,
                "This session was started read-only; it cannot be armed.",
                None,
            );
            Lock::ReadOnly
        }
        Lock::Armed { .. } => {
            app.tell(Grade::Ok, "Locked.", None);
            Lock::Locked
        }
        Lock::Locked => {
            app.tell(
                Grade::Warning,
                "Armed for 10 minutes: actions are planned, shown and run once you accept them.",
                None,
            );
            Lock::Armed {
                until: app.now + ARMED_FOR,
            }
        }
    };
}

fn refresh(app: &mut App) -> Vec<Effect> {
    let mut effects = super::begin();
    app.signals.next_at = None;
    app.signals.is_sampling = false;
    if let Some(service) = app.selected().cloned() {
        let id = service.id.clone();
        app.logs.begin(Some(id));
        effects.push(Effect::Follow(Box::new(service)));
    }
    app.tell(Grade::Ok, "Reading everything again.", None);
    effects
}

fn close(app: &mut App) {
    match app.overlay.take() {
        Some(Overlay::Confirm) => {
            let is_over = app.operating.as_ref().is_some_and(|o| !o.is_executing());
            if is_over {
                app.operating = None;
            }
        }
        Some(_) => {}
        None => app.logs.search = None,
    }
}

fn half_page(app: &App) -> i64 {
    let height = match &app.overlay {
        None => app.places().inner(app.focus.pane).height,
        Some(_) => app.size.height.saturating_sub(4),
    };
    i64::from(height / 2).max(1)
}

/// Moves the cursor of what has the keys, or scrolls it.
fn go(app: &mut App, by: i64) -> Vec<Effect> {
    let amount = isize::try_from(by).unwrap_or(0);
    let place = app.place();
    let most = match place {
        Place::Help => match &app.overlay {
            Some(Overlay::Help { place, .. }) => help::rows(app, *place),
            _ => 0,
        },
        Place::Messages => messages::rows(app),
        _ => 0,
    };
    let page = app.size.height.saturating_sub(4) as usize;
    let entries = menu::entries(app).len();
    match &mut app.overlay {
        Some(Overlay::Menu(menu)) => menu.step(amount, entries),
        Some(Overlay::Help { first, .. }) => {
            *first = first
                .saturating_add_signed(amount)
                .min(most.saturating_sub(page));
        }
        Some(Overlay::Messages { up }) => {
            *up = up
                .saturating_add_signed(-amount)
                .min(most.saturating_sub(page));
        }
        Some(Overlay::Example { first, .. }) => {
            *first = first.saturating_add_signed(amount).min(200);
        }
        Some(Overlay::Confirm) => {
            if let Some(operating) = &mut app.operating {
                operating.first = operating.first.saturating_add_signed(amount).min(200);
            }
        }
        Some(Overlay::Prompt(_)) => {}
        None => return go_in_pane(app, by),
    }
    Vec::new()
}

fn go_in_pane(app: &mut App, by: i64) -> Vec<Effect> {
    let amount = isize::try_from(by).unwrap_or(0);
    let height = app.places().inner(app.focus.pane).height as usize;
    match app.focus.pane {
        Pane::Services => {
            if app.services.step(amount) {
                return select(app);
            }
        }
        Pane::Logs => app.logs.step(by, height),
        Pane::Compare => app.compare.step(amount),
        Pane::Signals => {
            app.signals.first = app.signals.first.saturating_add_signed(amount).min(200);
        }
        Pane::Runbook => app.runbook.step(amount),
        Pane::Timeline => app.timeline.step(amount, height),
    }
    Vec::new()
}

fn go_to_end(app: &mut App, is_top: bool) -> Vec<Effect> {
    let far = if is_top { -1_000_000 } else { 1_000_000 };
    if app.overlay.is_none() && app.focus.pane == Pane::Logs {
        if is_top {
            let height = app.places().inner(Pane::Logs).height as usize;
            app.logs.go_top(height);
        } else {
            app.logs.follow();
        }
        return Vec::new();
    }
    go(app, far)
}

fn scroll(app: &mut App, by: isize) {
    match (&mut app.overlay, app.focus.pane) {
        (Some(Overlay::Example { column, .. }), _) => {
            *column = column.saturating_add_signed(by).min(10_000);
        }
        (None, Pane::Compare) => {
            app.compare.column = app.compare.column.saturating_add_signed(by).min(10_000);
        }
        (None, Pane::Logs) if !app.logs.is_wrapped => {
            app.logs.column = app.logs.column.saturating_add_signed(by).min(60_000);
        }
        _ => {}
    }
}

fn logs_height(app: &App) -> usize {
    (app.places().inner(Pane::Logs).height as usize).max(1)
}

fn toggle_follow(app: &mut App) {
    if app.logs.is_following {
        let height = logs_height(app);
        app.logs.stand_still(height);
    } else {
        app.logs.follow();
    }
}

fn go_to_error(app: &mut App, is_forward: bool) {
    let height = logs_height(app);
    if app.logs.go_to_error(is_forward, height) {
        app.focus.set(Pane::Logs);
    } else {
        let side = if is_forward { "below" } else { "above" };
        app.tell(
            Grade::Ok,
            format!("No error {side} in the lines that are held."),
            None,
        );
    }
}

fn find(app: &mut App, is_forward: bool) {
    let height = logs_height(app);
    let from = app.logs.cursor;
    let Some(search) = &app.logs.search else {
        app.tell(Grade::Unknown, "Nothing is searched for.", None);
        return;
    };
    match search.next_hit(from, is_forward) {
        Some(hit) => {
            app.logs.go_to(hit, height);
            app.focus.set(Pane::Logs);
        }
        None => {
            let text = format!("Not found: {}", search.text);
            app.tell(Grade::Unknown, text, None);
        }
    }
}

fn accept_text(app: &mut App) -> Vec<Effect> {
    let Some(Overlay::Prompt(prompt)) = app.overlay.take() else {
        return Vec::new();
    };
    let line = prompt.line().trim_end().to_owned();
    if line.is_empty() {
        if prompt.purpose == Purpose::Find {
            app.logs.search = None;
        }
        return Vec::new();
    }
    let text = SafeText::from_text(&line);
    match prompt.purpose {
        Purpose::Fail => act_on_item(app, ItemAction::Fail { reason: Some(text) }),
        Purpose::Skip => act_on_item(app, ItemAction::Skip { reason: text }),
        Purpose::Comment => act_on_item(app, ItemAction::Comment { text }),
        Purpose::Command => match prompt::resolve(&line) {
            Ok(action) => perform(app, action),
            Err(text) => {
                app.tell(Grade::Warning, text, None);
                Vec::new()
            }
        },
        Purpose::Find => {
            let mut search = Search::new(&line);
            search.restart(app.logs.ring.range().start);
            let has_more = search.go_on(&app.logs.ring);
            let height = logs_height(app);
            // The newest match at or above the cursor: what is read is the end of the log.
            let hit = search.next_hit(app.logs.cursor + 1, false);
            app.logs.search = Some(search);
            match hit {
                Some(hit) => {
                    app.logs.go_to(hit, height);
                    app.focus.set(Pane::Logs);
                }
                None if !has_more => {
                    app.tell(Grade::Unknown, format!("Not found: {line}"), None);
                }
                None => {}
            }
            if has_more {
                vec![Effect::SearchOn]
            } else {
                Vec::new()
            }
        }
    }
}

fn start_runbook(app: &mut App) -> Vec<Effect> {
    let name = app.runbook.entry().map(|entry| entry.name.clone());
    name.map(Effect::StartRunbook).into_iter().collect()
}

/// Says something of the selected item, if it still is where the engineer saw it.
fn act_on_item(app: &mut App, action: ItemAction) -> Vec<Effect> {
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

fn ask_about_item(app: &mut App, purpose: Purpose) {
    if app.runbook.item().is_some() {
        app.overlay = Some(Overlay::Prompt(Box::new(Prompt::new(purpose, ""))));
    }
}

/// The plan that runs the command of the selected item.
fn plan_item(app: &mut App) -> Vec<Effect> {
    let Some((item, _)) = app.runbook.item() else {
        return Vec::new();
    };
    let command: Vec<&str> = item.run_scripts().collect();
    let operation = Operation::RunCommand {
        title: item.text.clone(),
        command: command.join("\n"),
        host: crate::domain::host::HostName::local(),
    };
    ask_for_plan(app, operation)
}

fn create_checkpoint(app: &mut App) -> Vec<Effect> {
    close_menu(app);
    if app.saving.is_some() {
        app.tell(Grade::Unknown, "A checkpoint is being made already.", None);
        return Vec::new();
    }
    app.saving = Some(Saving {
        since: app.now,
        doing: SafeText::from_text("starting"),
    });
    vec![Effect::CreateCheckpoint]
}

fn plan(app: &mut App, action: Action) -> Vec<Effect> {
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
        },
        _ => Operation::Restart { services },
    };
    ask_for_plan(app, operation)
}

fn ask_for_plan(app: &mut App, operation: Operation) -> Vec<Effect> {
    if app.operating.as_ref().is_some_and(Operating::is_executing) {
        app.overlay = Some(Overlay::Confirm);
        app.tell(Grade::Warning, "An action is under way already.", None);
        return Vec::new();
    }
    app.operating = Some(Operating::new(operation.clone(), app.now));
    app.overlay = Some(Overlay::Confirm);
    vec![Effect::Plan(operation)]
}

/// The yes to a plan: refused if the session locked itself meanwhile or the name is not the name.
fn accept_plan(app: &mut App) -> Vec<Effect> {
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
