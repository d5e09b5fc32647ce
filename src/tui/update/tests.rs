//! What happens to the state: the lock, the way from a wish to an outcome, deploys, failures.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::domain::operation::{Operation, RollBackTarget};
use crate::domain::outcome::{Outcome, OutcomeKind};
use crate::domain::reading::Reading;
use crate::domain::runbook::run::ItemAction;
use crate::domain::service::{Inventory, Release};
use crate::ops::{Confirmation, ErrorKind};
use crate::tui::app::{App, Lock};
use crate::tui::effect::{Effect, TaskKey};
use crate::tui::fixtures::{
    bad_comparison, broken, checkpoints, empty, id, inventory, later, log, log_lines, one, plan,
    safe, screen, service, setup, slot,
};
use crate::tui::layout::Pane;
use crate::tui::msg::{Interrupt, LogPiece, Msg, Problem};
use crate::tui::overlays::Overlay;
use crate::tui::overlays::confirm::Stage;
use crate::tui::panes::logs::State;

use super::update;

pub(super) fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

pub(super) fn type_in(app: &mut App, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|c| press(app, KeyCode::Char(c)))
        .collect()
}

pub(super) fn says(app: &App, text: &str) -> bool {
    app.notices.iter().any(|n| n.text.as_str().contains(text))
}

fn roll_back() -> Operation {
    Operation::RollBack {
        service: id("backend"),
        to: RollBackTarget::LastGood,
        configs_only: false,
        save_logs: true,
        downgrade: false,
    }
}

fn has_plan(effects: &[Effect]) -> bool {
    effects.iter().any(|e| matches!(e, Effect::Plan(_)))
}

#[test]
fn a_locked_session_refuses_changes_and_names_the_key() {
    let mut app = broken(120, 40);
    for key in ["ar", "as", "aS", "ab"] {
        let effects = type_in(&mut app, key);
        assert!(!has_plan(&effects), "{key}");
        assert!(app.operating.is_none() && app.overlay.is_none());
    }
    assert!(says(&app, "press L"));
}

#[test]
fn a_command_by_name_is_refused_too() {
    let mut app = broken(120, 40);
    type_in(&mut app, ":services.roll-back");
    let effects = press(&mut app, KeyCode::Enter);
    assert!(!has_plan(&effects));
    assert!(says(&app, "Locked"));
}

#[test]
fn a_read_only_session_cannot_be_armed() {
    let mut setup = setup();
    setup.is_read_only = true;
    let mut app = App::new(
        setup,
        ratatui::layout::Size::new(120, 40),
        crate::tui::fixtures::at("15:31:07"),
    );
    update(&mut app, Msg::Inventory(inventory()));
    let effects = type_in(&mut app, "Lab");
    assert!(!has_plan(&effects));
    assert_eq!(app.lock, Lock::ReadOnly);
    assert!(says(&app, "read-only"));
}

#[test]
fn an_armed_session_locks_itself_after_ten_minutes() {
    let mut app = broken(120, 40);
    type_in(&mut app, "L");
    assert!(app.is_armed());
    later(&mut app, Duration::from_secs(599));
    assert!(app.is_armed());
    later(&mut app, Duration::from_secs(1));
    assert_eq!(app.lock, Lock::Locked);
    assert!(says(&app, "locked itself"));
}

#[test]
fn from_the_wish_to_the_outcome() {
    let mut app = broken(120, 40);
    let effects = type_in(&mut app, "Lab");
    assert!(effects.contains(&Effect::Plan(vec![roll_back()])));
    update(&mut app, Msg::Planned(one(plan())));

    // Enter alone is not enough, nor is another name, nor a pasted one.
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    type_in(&mut app, "backen");
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    update(&mut app, Msg::Paste("d".into()));
    assert!(says(&app, "Pasting is refused"));
    assert!(press(&mut app, KeyCode::Enter).is_empty());

    type_in(&mut app, "d");
    let effects = press(&mut app, KeyCode::Enter);
    let confirmation = Confirmation {
        plan_hash: plan().hash,
        typed: Some("backend".into()),
    };
    assert_eq!(effects, [Effect::Execute(Box::new(plan()), confirmation)]);

    // Closing the card ends nothing; the menu key brings it back.
    press(&mut app, KeyCode::Esc);
    assert!(app.overlay.is_none());
    assert!(screen(&app).contains("Roll back backend: step"));
    type_in(&mut app, "a");
    assert!(matches!(app.overlay, Some(Overlay::Confirm)));
    press(&mut app, KeyCode::Esc);

    let effects = update(
        &mut app,
        Msg::Executed(Box::new(Outcome {
            operation: "roll-back".into(),
            plan_hash: plan().hash,
            outcome: OutcomeKind::Verified,
            steps: Vec::new(),
            manual: Vec::new(),
            release: Release::default(),
            duration_ms: 41_000,
            budget_ms: None,
        })),
    );
    // The end shows itself, and what it changed is read again.
    assert!(matches!(app.overlay, Some(Overlay::Confirm)));
    assert!(screen(&app).contains("VERIFIED"));
    assert!(effects.contains(&Effect::ReadTimeline));
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Compare { after, .. } if !after.is_zero()))
    );
    press(&mut app, KeyCode::Enter);
    assert!(app.operating.is_none() && app.overlay.is_none());
}

#[test]
fn a_plan_accepted_after_the_lock_closed_is_refused() {
    let mut app = broken(120, 40);
    type_in(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    type_in(&mut app, "backend");
    later(&mut app, Duration::from_secs(601));
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    assert!(matches!(
        app.operating.as_ref().unwrap().stage,
        Stage::Asking(_)
    ));
}

#[test]
fn a_plan_whose_card_was_closed_is_not_shown_late() {
    let mut app = broken(120, 40);
    type_in(&mut app, "Lab");
    press(&mut app, KeyCode::Esc);
    update(&mut app, Msg::Planned(one(plan())));
    assert!(app.operating.is_none());
}

#[test]
fn letters_typed_into_a_confirmation_are_no_keys() {
    let mut app = broken(120, 40);
    type_in(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    type_in(&mut app, "qzL1?");
    assert_eq!(app.operating.as_ref().unwrap().typed, "qzL1?");
    press(&mut app, KeyCode::Backspace);
    assert_eq!(app.operating.as_ref().unwrap().typed, "qzL1");
    assert_eq!(app.leaving, None);
}

#[test]
fn what_a_dead_process_left_is_ended_or_taken_back() {
    let mut app = broken(120, 40);
    let turn = KeyEvent::new(KeyCode::Char('t'), KeyModifiers::CONTROL);
    type_in(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    assert!(!has_plan(&update(&mut app, Msg::Key(turn))), "a new plan");
    let resuming = |undo| Operation::Resume {
        run: "run-1".to_owned(),
        undo,
        of: Box::new(roll_back()),
    };
    type_in(&mut app, "x");
    press(&mut app, KeyCode::Esc);
    for undo in [false, true] {
        type_in(&mut app, "ab");
        let mut left = plan();
        left.operation = resuming(undo);
        update(&mut app, Msg::Planned(one(left.seal())));
        assert!(screen(&app).contains("take back"));
        let effects = update(&mut app, Msg::Key(turn));
        assert_eq!(effects, [Effect::Plan(vec![resuming(!undo)])]);
        press(&mut app, KeyCode::Esc);
    }
}

#[test]
fn a_broken_execution_never_says_that_nothing_was_changed() {
    let mut app = broken(120, 40);
    type_in(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    type_in(&mut app, "backend");
    press(&mut app, KeyCode::Enter);
    let problem = Problem {
        kind: ErrorKind::Failed,
        text: safe("a task of the console broke"),
        fix: None,
        lines: Vec::new(),
        is_broken: true,
    };
    update(
        &mut app,
        Msg::Failed {
            key: TaskKey::Execute,
            problem,
        },
    );
    let text = screen(&app);
    assert!(text.contains("audit list") && !text.contains("nothing was changed"));
}

#[test]
fn a_cyrillic_layout_reaches_the_same_actions() {
    let mut app = broken(120, 40);
    // о is j, Д is L, я is z.
    type_in(&mut app, "2");
    type_in(&mut app, "Дя");
    assert!(app.is_armed() && app.focus.is_zoomed);
    type_in(&mut app, "пп");
    assert_eq!(under_cursor(&app), "INFO GET /api/orders/88001");
    // In a prompt they are letters.
    type_in(&mut app, "/ошибка");
    let Some(Overlay::Prompt(prompt)) = &app.overlay else {
        panic!("no prompt");
    };
    assert_eq!(prompt.line(), "ошибка");
}

#[test]
fn selecting_another_service_opens_its_log_and_forgets_the_old_one() {
    let mut app = broken(120, 40);
    let old = slot(&app);
    let effects = type_in(&mut app, "j");
    let followed = effects.iter().any(|e| match e {
        Effect::Follow { service, .. } => service.id == id("db"),
        _ => false,
    });
    assert!(followed && app.logs.rings.is_empty());
    // What was on its way from the old one is not shown as the new one's.
    update(
        &mut app,
        Msg::Log {
            slot: old,
            pieces: log_lines(),
        },
    );
    assert!(app.logs.rings.is_empty());
}

#[test]
fn skipped_lines_are_counted_in_the_title() {
    let mut app = broken(120, 40);
    let slot = slot(&app);
    update(
        &mut app,
        Msg::Log {
            slot,
            pieces: vec![LogPiece::Skipped(1204), log().1.block(&[("15:31:06", "x")])],
        },
    );
    assert!(screen(&app).contains("1,204 skipped"));
}

#[test]
fn another_release_is_a_deploy_and_is_compared_by_itself() {
    let mut app = broken(120, 40);
    let mut changed = inventory();
    changed.services[4] = service("shop", "worker", "1.5", 0);
    let effects = update(&mut app, Msg::Inventory(changed));
    assert!(effects.iter().any(|e| matches!(e, Effect::Compare { .. })));
    let events = app.timeline.events();
    assert!(
        events
            .iter()
            .any(|e| e.text.as_str().contains("worker 1.4 → 1.5"))
    );
    // It is repeated for a while, then no more.
    let again = update(&mut app, Msg::Compared(Box::new(bad_comparison())));
    assert!(again.iter().any(|e| matches!(e, Effect::Compare { .. })));
    later(&mut app, Duration::from_secs(700));
    let again = update(&mut app, Msg::Compared(Box::new(bad_comparison())));
    assert!(!again.iter().any(|e| matches!(e, Effect::Compare { .. })));
}

#[test]
fn the_same_release_in_a_new_container_is_a_deploy_and_a_restart_is_none() {
    let mut app = broken(120, 40);
    let mut changed = inventory();
    changed.services[2].instances[0].id = "db-2".into();
    let effects = update(&mut app, Msg::Inventory(changed.clone()));
    assert!(effects.iter().any(|e| matches!(e, Effect::Compare { .. })));
    assert!(screen(&app).contains("db 17.5 recreated"));
    changed.services[2].uptime_ms = Some(0);
    let effects = update(&mut app, Msg::Inventory(changed));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Compare { .. })));
}

#[test]
fn a_recreated_service_stays_selected_while_it_is_gone() {
    let mut app = broken(120, 40);
    let mut without = inventory();
    without.services.retain(|s| s.id != id("backend"));
    update(&mut app, Msg::Inventory(without));
    assert_eq!(app.services.selected, Some(id("backend")));
    assert_eq!(app.selected().unwrap().id, id("backend"));
    assert_eq!(app.logs.sources[0].id(), &id("backend"));
}

#[test]
fn marked_services_stay_one_log_while_their_engine_is_away() {
    let mut app = broken(120, 40);
    type_in(&mut app, "1*");
    let names = |app: &App| -> Vec<String> {
        let sources = app.logs.sources.iter();
        sources.map(|f| f.id().name.clone()).collect()
    };
    assert_eq!(names(&app), ["backend", "db", "redis-1", "worker"]);
    let mut away = inventory();
    away.services.clear();
    let effects = update(&mut app, Msg::Inventory(away));
    assert_eq!(names(&app), ["backend", "db", "redis-1", "worker"]);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Cancel(_))));
    // Once it is back: the selected service alone again.
    update(&mut app, Msg::Inventory(inventory()));
    type_in(&mut app, "*");
    assert_eq!(names(&app), ["backend"]);
}

#[test]
fn a_failure_keeps_what_was_known_and_says_that_it_is_old() {
    let mut app = broken(120, 40);
    let problem = Problem {
        kind: ErrorKind::Failed,
        text: safe("connection refused"),
        fix: None,
        lines: Vec::new(),
        is_broken: false,
    };
    for key in [TaskKey::Watch, TaskKey::Compare, TaskKey::Sample] {
        let problem = problem.clone();
        update(&mut app, Msg::Failed { key, problem });
    }
    assert!(matches!(app.services.reading, Reading::Stale { .. }));
    assert!(matches!(app.compare.reading, Reading::Stale { .. }));
    assert!(matches!(app.signals.reading, Reading::Stale { .. }));
    let slot = slot(&app);
    update(
        &mut app,
        Msg::Failed {
            key: TaskKey::Follow(slot),
            problem,
        },
    );
    assert!(matches!(app.logs.sources[0].truth.state, State::Failed(_)));
    assert!(!app.logs.rings.is_empty());
    // The same failure again and again is one message.
    let count = app.notices.len();
    for _ in 0..5 {
        let problem = Problem {
            kind: ErrorKind::Failed,
            text: safe("connection refused"),
            fix: None,
            lines: Vec::new(),
            is_broken: false,
        };
        update(
            &mut app,
            Msg::Failed {
                key: TaskKey::Sample,
                problem,
            },
        );
    }
    assert_eq!(app.notices.len(), count);
}

#[test]
fn signals_are_measured_only_while_they_can_be_seen_and_not_faster_than_planned() {
    let mut app = empty(120, 40);
    let samples = |effects: &[Effect]| -> Vec<Duration> {
        effects
            .iter()
            .filter_map(|e| match e {
                Effect::Sample { after, .. } => Some(*after),
                _ => None,
            })
            .collect()
    };
    let effects = update(&mut app, Msg::Inventory(inventory()));
    assert_eq!(samples(&effects), [Duration::ZERO]);
    assert!(samples(&update(&mut app, Msg::Tick)).is_empty());
    let mut sample = crate::tui::fixtures::signals();
    sample.id = app.signals.service.clone().unwrap();
    // The first ones follow sooner: a window that has just begun says little.
    for pause in [
        Duration::from_secs(3),
        Duration::from_secs(6),
        app.setup.measure_every,
        app.setup.measure_every,
    ] {
        let effects = update(&mut app, Msg::Sampled(sample.clone()));
        assert_eq!(samples(&effects), [pause]);
    }
    // A failure is not tried again at once either.
    let problem = Problem {
        kind: ErrorKind::Failed,
        text: safe("gone"),
        fix: None,
        lines: Vec::new(),
        is_broken: false,
    };
    let effects = update(
        &mut app,
        Msg::Failed {
            key: TaskKey::Sample,
            problem: problem.clone(),
        },
    );
    assert_eq!(samples(&effects), [app.setup.measure_every]);
    // Hidden: no more.
    app.focus.set(Pane::Logs);
    app.focus.is_zoomed = true;
    let effects = update(
        &mut app,
        Msg::Failed {
            key: TaskKey::Sample,
            problem,
        },
    );
    assert!(samples(&effects).is_empty());
}

/// The first three words of the line under the cursor.
fn under_cursor(app: &App) -> String {
    let line = app.logs.line_under_cursor().unwrap();
    let words: Vec<&str> = line.as_str().split(' ').take(3).collect();
    words.join(" ")
}

#[test]
fn a_search_jumps_to_the_newest_match_and_n_goes_round() {
    let mut app = broken(120, 40);
    type_in(&mut app, "/payment");
    press(&mut app, KeyCode::Enter);
    assert_eq!(under_cursor(&app), "ERROR Invalid JSON");
    assert!(screen(&app).contains("2 of 2"), "{}", screen(&app));
    type_in(&mut app, "n");
    assert_eq!(under_cursor(&app), "WARN payment service");
    type_in(&mut app, "N");
    assert_eq!(under_cursor(&app), "ERROR Invalid JSON");
    press(&mut app, KeyCode::Esc);
    assert!(app.logs.search.is_none());
}

#[test]
fn e_goes_through_the_errors() {
    let mut app = broken(120, 40);
    type_in(&mut app, "e");
    assert_eq!(under_cursor(&app), "ERROR Invalid JSON");
    assert_eq!(app.focus.pane, Pane::Logs);
    type_in(&mut app, "E");
    assert_eq!(under_cursor(&app), "ERROR NoneType has");
    type_in(&mut app, "E");
    assert!(says(&app, "No error above"));
}

#[test]
fn leaving_waits_for_an_action_under_way() {
    let mut app = broken(120, 40);
    type_in(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    type_in(&mut app, "backend");
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Esc);
    type_in(&mut app, "q");
    assert_eq!(app.leaving, Some(0));
    assert!(says(&app, "under way"));
    update(&mut app, Msg::Interrupted(Interrupt::Terminate));
    assert_eq!(app.leaving, Some(143));
}

#[test]
fn a_message_goes_by_itself_unless_it_is_critical() {
    let mut app = broken(120, 40);
    type_in(&mut app, "L");
    later(&mut app, Duration::from_secs(11));
    assert!(app.flash.is_none() && says(&app, "Armed"));
    app.tell(crate::domain::signal::Grade::Critical, "broken", None);
    later(&mut app, Duration::from_secs(3600));
    assert!(app.flash.is_some());
}

#[test]
fn pasted_text_never_acts_as_keys() {
    let mut app = broken(120, 40);
    let effects = update(&mut app, Msg::Paste("Lab\nq".into()));
    assert!(effects.is_empty());
    assert_eq!((app.lock, app.leaving), (Lock::Locked, None));
}

#[test]
fn an_item_is_ticked_with_the_revision_that_was_seen() {
    let mut app = broken(120, 40);
    type_in(&mut app, "5");
    let effects = type_in(&mut app, " ");
    assert_eq!(
        effects,
        [Effect::ActOnItem {
            run: "20251227-150000-after-deploy".into(),
            item: 3,
            action: ItemAction::Tick { evidence: None },
            revision: 0,
        }]
    );
    type_in(&mut app, "s");
    type_in(&mut app, "no test account");
    let effects = press(&mut app, KeyCode::Enter);
    assert!(matches!(
        &effects[..],
        [Effect::ActOnItem { action: ItemAction::Skip { reason }, .. }] if reason.as_str() == "no test account"
    ));
}

#[test]
fn idle_waits_for_the_next_minute_and_a_running_budget_for_the_next_second() {
    let mut app = empty(120, 40);
    update(
        &mut app,
        Msg::Inventory(Inventory {
            services: vec![service("shop", "db", "17", 300)],
            unreachable: Vec::new(),
        }),
    );
    update(&mut app, Msg::Checkpoints(checkpoints()));
    // 15:31:07
    assert_eq!(app.next_tick(), Duration::from_secs(53));
    type_in(&mut app, "L");
    // The message in the footer goes by itself.
    assert_eq!(app.next_tick(), Duration::from_secs(10));
    type_in(&mut app, "ab");
    update(&mut app, Msg::Planned(one(plan())));
    assert_eq!(app.next_tick(), Duration::from_secs(53));
    type_in(&mut app, "backend");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.next_tick(), Duration::from_secs(1));
}
