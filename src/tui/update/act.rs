//! What each action does to the state.

use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemAction;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::domain::side_by_side::Row;
use crate::domain::signal::Grade;
use crate::tui::action::{Action, Place};
use crate::tui::app::{ARMED_FOR, App, Lock, Saving};
use crate::tui::effect::{Effect, TaskKey};
use crate::tui::layout::Pane;
use crate::tui::overlays::confirm::{Operating, Stage, command_line};
use crate::tui::overlays::menu::{self, Menu};
use crate::tui::overlays::prompt::{Prompt, Purpose};
use crate::tui::overlays::{Overlay, prompt};
use crate::tui::panes::compare::View;
use crate::tui::panes::signals::heat;

use super::motion::{go, go_to_end, half_page, scroll};
use super::operate::{accept_plan, ask_for_plan, other_way, plan};
use super::runbook::{act_on_item, ask_about_item, plan_item, start_runbook};
use super::{incident, logs, news, select};

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
        | Action::NextWarning
        | Action::PreviousWarning
        | Action::CopyLine
        | Action::RevealSecrets
        | Action::ToggleWrap
        | Action::FilterIn
        | Action::FilterOut
        | Action::CycleLevel
        | Action::JumpTime
        | Action::CycleStamps
        | Action::TogglePretty
        | Action::ToggleColours
        | Action::ToggleFold
        | Action::FoldAll
        | Action::ShowRecord
        | Action::ToggleMark
        | Action::NoteMark
        | Action::ToggleSelect
        | Action::ExportLines
        | Action::OpenPager
        | Action::OpenEditor => !app.logs.rings.is_empty(),
        Action::FindNext | Action::FindPrevious => app.logs.search.is_some(),
        Action::ClearFilters | Action::MoreContext | Action::LessContext => {
            !app.logs.rings.sieve().is_open()
        }
        Action::NextMark | Action::PreviousMark => !app.logs.marks.is_empty(),
        Action::ShowSources => !app.logs.sources.is_empty(),
        Action::MarkService | Action::MarkGroup => has_service,
        Action::CompareNow => app.checkpoint().is_some() && app.compare.running.is_none(),
        Action::CreateCheckpoint => app.saving.is_none(),
        Action::ShowExample => app.compare.pattern().is_some() || app.compare.row().is_some(),
        Action::ShowRequest => app.compare.pattern().is_some() && app.checkpoint().is_some(),
        Action::ToggleUnchanged
        | Action::ShowPatterns
        | Action::ShowStream
        | Action::ShowSequence => app.compare.reading.value().is_some(),
        Action::ToggleLock => app.lock != Lock::ReadOnly,
        Action::Close => {
            app.overlay.is_some() || app.logs.search.is_some() || app.logs.anchor.is_some()
        }
        Action::ToggleZoom => app.focus.panes.len() > 1,
        Action::StartRunbook => app.runbook.entry().is_some(),
        Action::ToggleList => app.runbook.run.is_some(),
        Action::TickItem
        | Action::FailItem
        | Action::SkipItem
        | Action::ClaimItem
        | Action::CommentItem
        | Action::UndoItem => app.runbook.item().is_some(),
        Action::StartIncident => matches!(&app.incident, Reading::Fresh { value: None, .. }),
        Action::NoteIncident
        | Action::GradeIncident
        | Action::AssignRole
        | Action::HandOver
        | Action::ReportIncident
        | Action::EndIncident => app.open_incident().is_some(),
        Action::FixCheck => !crate::tui::overlays::preflight::shown(app).is_empty(),
        Action::FilterEvents => !app.timeline.events().is_empty() || app.timeline.only.is_some(),
        Action::ClearEvents => app.timeline.only.is_some(),
        Action::FollowOther => !app.runbook.others.is_empty(),
        Action::AcceptPlan => app
            .operating
            .as_ref()
            .is_some_and(|o| matches!(o.stage, Stage::Asking(_))),
        Action::AcknowledgeAlert => app.signals.untaken().is_some(),
        Action::ToggleBoard => app.services.reading.value().is_some(),
        Action::ShowFindings => pointed(app).is_some(),
        Action::TakeBack => other_way(app).is_some(),
        Action::CopyPlan => command_line(app).is_some(),
        Action::RunItem => app
            .runbook
            .item()
            .is_some_and(|(item, _)| item.run_scripts().next().is_some()),
        _ => true,
    }
}

/// Shows another view of the comparison; what was looked for in the last one is not needed any more.
fn show(app: &mut App, view: View) -> Vec<Effect> {
    let was_looking = app.compare.request.is_some();
    app.compare.show(view);
    let cancel = Effect::Cancel(TaskKey::Request);
    was_looking.then_some(cancel).into_iter().collect()
}

/// Looks for a request of the selected pattern, and for one like it on the other side.
fn show_request(app: &mut App) -> Vec<Effect> {
    let Some(checkpoint) = app.checkpoint().map(|c| c.id.clone()) else {
        return Vec::new();
    };
    let Some(wanted) = app.compare.wanted_request() else {
        let text = "The records of this pattern carry no request id to follow.";
        app.tell(Grade::Unknown, text, None);
        return Vec::new();
    };
    app.compare.look_for(wanted.id.clone());
    vec![Effect::FindRequest {
        checkpoint,
        wanted: Box::new(wanted),
    }]
}

/// The service or machine whose signals are meant: the one under the table's cursor, or the selected one.
fn pointed(app: &App) -> Option<ServiceId> {
    match app.signals.board.is_shown {
        true => {
            let rows = heat::rows(app);
            let last = rows.len().checked_sub(1)?;
            rows.into_iter().nth(app.signals.board.cursor.min(last))
        }
        false => app.signals.service.clone(),
    }
}

/// Shows the table of all services with the cursor at the selected one, or that one alone.
fn toggle_board(app: &mut App) {
    let rows = heat::rows(app);
    let selected = app.services.selected.as_ref();
    let at = rows.iter().position(|row| Some(row) == selected);
    let board = &mut app.signals.board;
    board.is_shown = !board.is_shown;
    board.cursor = at.unwrap_or(0);
}

/// Opens what is wrong with it. It becomes the selected one, so that its log is there to be looked at.
fn show_findings(app: &mut App) -> Vec<Effect> {
    let Some(service) = pointed(app) else {
        return Vec::new();
    };
    let is_other = !service.is_machine() && app.services.selected.as_ref() != Some(&service);
    app.overlay = Some(Overlay::Findings {
        service: service.clone(),
        first: 0,
    });
    if !is_other {
        return Vec::new();
    }
    app.services.selected = Some(service);
    select(app)
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
        Action::Close => return close(app),
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
        Action::MarkService => {
            app.services.toggle_mark();
            return select(app);
        }
        Action::MarkGroup => {
            app.services.toggle_group();
            return select(app);
        }
        Action::ToggleFollow
        | Action::FindText
        | Action::FindNext
        | Action::FindPrevious
        | Action::NextError
        | Action::PreviousError
        | Action::NextWarning
        | Action::PreviousWarning
        | Action::FilterIn
        | Action::FilterOut
        | Action::ClearFilters
        | Action::MoreContext
        | Action::LessContext
        | Action::CycleLevel
        | Action::JumpTime
        | Action::ToggleWrap
        | Action::CycleStamps
        | Action::TogglePretty
        | Action::ToggleColours
        | Action::ToggleFold
        | Action::FoldAll
        | Action::ShowRecord
        | Action::ShowSources
        | Action::ToggleMark
        | Action::NoteMark
        | Action::NextMark
        | Action::PreviousMark
        | Action::ToggleSelect
        | Action::CopyLine
        | Action::RevealSecrets
        | Action::ExportLines
        | Action::OpenPager
        | Action::OpenEditor => return logs::perform(app, action),
        Action::CompareNow => {
            close_menu(app);
            return news::compare_now(app, std::time::Duration::ZERO);
        }
        Action::ShowExample => match app.compare.row() {
            // What a folded row consists of are its lines.
            Some(Row::Folded { .. }) => app.compare.toggle_unchanged(),
            _ if app.compare.pattern().is_some() => {
                app.overlay = Some(Overlay::Example { first: 0 });
            }
            _ => {}
        },
        Action::ToggleUnchanged => app.compare.toggle_unchanged(),
        Action::ShowPatterns => return show(app, View::Patterns),
        Action::ShowStream => return show(app, View::Stream),
        Action::ShowSequence => return show(app, View::Sequence),
        Action::ShowRequest => return show_request(app),
        Action::CreateCheckpoint => return create_checkpoint(app),
        Action::Restart | Action::StopService | Action::StartService | Action::RollBack => {
            return plan(app, action);
        }
        Action::RunItem => return plan_item(app),
        Action::AcknowledgeAlert => {
            let key = app.signals.untaken().map(|alert| alert.key.clone());
            return key.map(Effect::Acknowledge).into_iter().collect();
        }
        Action::ToggleBoard => toggle_board(app),
        Action::ShowFindings => return show_findings(app),
        Action::StartRunbook => return start_runbook(app),
        Action::ToggleList => app.runbook.toggle_list(),
        Action::TickItem => return act_on_item(app, ItemAction::Tick { evidence: None }),
        Action::ClaimItem => return act_on_item(app, ItemAction::Claim),
        Action::UndoItem => return act_on_item(app, ItemAction::Undo),
        Action::FollowOther => app.runbook.follow_next(),
        Action::FailItem => ask_about_item(app, Purpose::Fail),
        Action::SkipItem => ask_about_item(app, Purpose::Skip),
        Action::CommentItem => ask_about_item(app, Purpose::Comment),
        Action::FilterEvents => {
            let only = app.timeline.only.clone().unwrap_or_default();
            let prompt = Prompt::new(Purpose::FilterEvents, &only);
            app.overlay = Some(Overlay::Prompt(Box::new(prompt)));
        }
        Action::ClearEvents => app.timeline.set_only(""),
        Action::ShowIncident
        | Action::StartIncident
        | Action::NoteIncident
        | Action::GradeIncident
        | Action::AssignRole
        | Action::HandOver
        | Action::ReportIncident
        | Action::EndIncident
        | Action::SaveNotes
        | Action::RunPreflight
        | Action::FixCheck
        | Action::VerifyAudit => return incident::perform(app, action),
        Action::ChooseEntry => {
            if let Some(Overlay::Menu(menu)) = &app.overlay
                && let Some(entry) = menu::entries(app).get(menu.cursor)
            {
                return perform(app, *entry);
            }
        }
        Action::AcceptPlan => return accept_plan(app),
        Action::TakeBack => {
            let other = other_way(app);
            return other.map_or_else(Vec::new, |other| ask_for_plan(app, vec![other]));
        }
        Action::CopyPlan => {
            return command_line(app)
                .map(|line| Effect::Copy(vec![SafeText::from_text(&line)]))
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
pub(super) fn refuse(app: &mut App) -> Option<Vec<Effect>> {
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
    if let Some(operating) = &app.operating
        && operating.is_executing()
    {
        let rest = match operating.next.is_empty() {
            true => "",
            false => " The plans behind it are not begun.",
        };
        let text = format!("An action is under way: the console closes when it has ended.{rest}");
        app.tell(Grade::Warning, text, None);
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
    app.runbook.followed = None;
    let slots: Vec<u32> = app.logs.sources.iter().map(|f| f.slot).collect();
    effects.extend(logs::reopen(app, &slots));
    app.tell(Grade::Ok, "Reading everything again.", None);
    effects
}

pub(super) fn close(app: &mut App) -> Vec<Effect> {
    match app.overlay.take() {
        Some(Overlay::Prompt(prompt)) if prompt.purpose == Purpose::Find => {
            return logs::untype(app);
        }
        Some(Overlay::Confirm) => {
            let is_over = app.operating.as_ref().is_some_and(|o| !o.is_executing());
            if is_over {
                app.operating = None;
            }
        }
        Some(_) => {}
        None if app.logs.anchor.is_some() => app.logs.anchor = None,
        None => return logs::search(app, None),
    }
    Vec::new()
}

fn accept_text(app: &mut App) -> Vec<Effect> {
    let Some(Overlay::Prompt(prompt)) = app.overlay.take() else {
        return Vec::new();
    };
    let line = prompt.line().trim_end().to_owned();
    if line.is_empty() {
        if prompt.purpose == Purpose::Find {
            return logs::search(app, None);
        }
        if prompt.purpose == Purpose::FilterEvents {
            app.timeline.set_only("");
        }
        if prompt.purpose == Purpose::Anchor {
            return incident::accept(app, Purpose::Anchor, "");
        }
        if prompt.purpose == Purpose::Export {
            return logs::accept(app, Purpose::Export, "");
        }
        return Vec::new();
    }
    let text = SafeText::from_text(&line);
    match prompt.purpose {
        Purpose::Fail => act_on_item(app, ItemAction::Fail { reason: Some(text) }),
        Purpose::Skip => act_on_item(app, ItemAction::Skip { reason: text }),
        Purpose::Comment => act_on_item(app, ItemAction::Comment { text }),
        Purpose::FilterEvents => {
            app.timeline.set_only(&line);
            Vec::new()
        }
        purpose if purpose.is_of_incident() => incident::accept(app, purpose, &line),
        Purpose::Command if logs::command(&line) => logs::run(app, &line),
        Purpose::Command => match prompt::resolve(&line) {
            Ok(action) => perform(app, action),
            Err(text) => {
                app.tell(Grade::Warning, text, None);
                Vec::new()
            }
        },
        purpose => logs::accept(app, purpose, &line),
    }
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
