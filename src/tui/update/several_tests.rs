//! Services of several machines: one wish, a plan for each machine, one after the other.

use crossterm::event::KeyCode;

use crate::domain::operation::{Operation, Plan, Risk};
use crate::domain::outcome::OutcomeKind;
use crate::domain::service::ServiceId;
use crate::ops::several::Order;
use crate::tui::app::App;
use crate::tui::effect::{Effect, TaskKey};
use crate::tui::fixtures::{
    asked_of_three, on_host, on_three_hosts, one, outcome, restart_of, safe, screen,
};
use crate::tui::msg::{Msg, Problem};
use crate::tui::overlays::confirm::Stage;

use super::tests::{press, says, type_in};
use super::update;

/// The plans that are carried out now.
fn begun(effects: &[Effect]) -> Vec<&Plan> {
    let plans = effects.iter().filter_map(|effect| match effect {
        Effect::Execute(plan, _) => Some(&**plan),
        _ => None,
    });
    plans.collect()
}

fn ends(app: &mut App, kind: OutcomeKind) -> Vec<Effect> {
    update(app, Msg::Executed(Box::new(outcome(kind))))
}

fn hosts(operations: &[Operation]) -> Vec<&str> {
    let first = operations.iter().map(|operation| match operation {
        Operation::Restart { services, .. } => services[0].host.as_str(),
        other => panic!("{other:?}"),
    });
    first.collect()
}

fn planned(effects: &[Effect]) -> &[Operation] {
    match effects.last() {
        Some(Effect::Plan(operations)) => operations,
        other => panic!("{other:?}"),
    }
}

#[test]
fn marked_services_of_three_machines_are_restarted_in_the_order_of_their_marks() {
    let mut app = on_three_hosts(120, 40);
    let effects = type_in(&mut app, "1jj k k Lar");
    assert_eq!(hosts(planned(&effects)), ["prod-3", "prod-2", "prod-1"]);
    assert!(screen(&app).contains("Restart 3 services"));
}

#[test]
fn what_is_not_marked_is_acted_on_alone() {
    let mut app = on_three_hosts(120, 40);
    let effects = type_in(&mut app, "1 j jLar");
    assert_eq!(hosts(planned(&effects)), ["prod-3"]);
}

#[test]
fn one_after_the_other_until_all_proved_themselves() {
    let mut app = asked_of_three(120, 40);
    let shown = screen(&app);
    for text in ["1. prod-1:shop/web", "3. prod-3:shop/web", "does all of it"] {
        assert!(shown.contains(text), "{text}\n{shown}");
    }
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(begun(&effects)[0].host.as_str(), "prod-1");
    assert_eq!(begun(&effects).len(), 1);
    let effects = ends(&mut app, OutcomeKind::Verified);
    assert_eq!(begun(&effects)[0].host.as_str(), "prod-2");
    let shown = screen(&app);
    assert!(shown.contains("2 of 3 on prod-2"), "{shown}");
    assert!(shown.contains("prod-3:shop/web  waits"), "{shown}");
    let effects = ends(&mut app, OutcomeKind::Verified);
    assert_eq!(begun(&effects)[0].host.as_str(), "prod-3");
    assert!(begun(&ends(&mut app, OutcomeKind::Verified)).is_empty());
    assert!(matches!(
        app.operating.as_ref().unwrap().stage,
        Stage::Ended { .. }
    ));
    assert!(!screen(&app).contains("not begun"));
}

#[test]
fn the_first_that_does_not_prove_itself_ends_it() {
    let mut app = asked_of_three(120, 40);
    press(&mut app, KeyCode::Enter);
    ends(&mut app, OutcomeKind::Verified);
    let effects = ends(&mut app, OutcomeKind::AppliedNotVerified);
    assert!(begun(&effects).is_empty());
    let shown = screen(&app);
    assert!(shown.contains("prod-3:shop/web  not begun"), "{shown}");
    assert!(says(&app, "Restart 3 services, 2 of 3"));
}

#[test]
fn one_that_is_refused_leaves_those_behind_it() {
    let mut app = asked_of_three(120, 40);
    press(&mut app, KeyCode::Enter);
    ends(&mut app, OutcomeKind::Verified);
    let problem = Problem {
        kind: crate::ops::ErrorKind::Refused,
        text: safe("prod-2:shop/web is held by boris"),
        fix: None,
        lines: Vec::new(),
        is_broken: false,
    };
    let key = TaskKey::Execute;
    assert!(begun(&update(&mut app, Msg::Failed { key, problem })).is_empty());
    let shown = screen(&app);
    assert!(shown.contains("held by boris"), "{shown}");
    assert!(shown.contains("by this one nothing was changed"), "{shown}");
    assert!(shown.contains("prod-3:shop/web  not begun"), "{shown}");
}

#[test]
fn whoever_leaves_begins_no_other() {
    let mut app = asked_of_three(120, 40);
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Esc);
    type_in(&mut app, "q");
    assert!(says(&app, "The plans behind it are not begun"));
    assert!(begun(&ends(&mut app, OutcomeKind::Verified)).is_empty());
    assert!(screen(&app).contains("not begun"));
}

#[test]
fn every_name_has_to_be_typed() {
    let mut app = on_three_hosts(120, 40);
    type_in(&mut app, "1Lab");
    let of = |host: &str, name: &str| {
        let mut plan = restart_of(host);
        plan.risk = Risk::Destructive;
        plan.services = vec![ServiceId {
            name: name.to_owned(),
            ..on_host(host)
        }];
        plan.seal()
    };
    let plans = vec![of("prod-1", "web"), of("prod-2", "api")];
    update(&mut app, Msg::Planned(Order { plans }));
    type_in(&mut app, "web");
    assert!(begun(&press(&mut app, KeyCode::Enter)).is_empty());
    assert!(says(&app, "That is not web,api"));
    type_in(&mut app, ",api");
    assert_eq!(begun(&press(&mut app, KeyCode::Enter)).len(), 1);
}

#[test]
fn one_plan_is_shown_as_before() {
    let mut app = on_three_hosts(120, 40);
    type_in(&mut app, "1Lar");
    update(&mut app, Msg::Planned(one(restart_of("prod-1"))));
    let shown = screen(&app);
    assert!(shown.contains("Restart web on prod-1"), "{shown}");
    assert!(!shown.contains("1. prod-1"), "{shown}");
}
