//! What others do, incidents, preflight and the audit log, as keys and news change the state.

use crossterm::event::KeyCode;

use crate::domain::check::{Check, CheckGrade};
use crate::domain::incident::{Incident, IncidentEvent, IncidentEventKind};
use crate::domain::operation::Operation;
use crate::domain::runbook::{ItemState, Presence};
use crate::domain::signal::Grade;
use crate::domain::timeline::{TimelineEvent, TimelineKind};
use crate::domain::verdict::Severity;
use crate::ops::incident::Brief;
use crate::tui::effect::{Effect, IncidentWork};
use crate::tui::fixtures::at as fixed;
use crate::tui::fixtures::{broken, empty, id, log, redactor, safe, screen};
use crate::tui::msg::Msg;
use crate::tui::overlays::Overlay;
use crate::tui::panes::logs::Secrets;

use super::tests::{press, says, type_in};
use super::update;

#[test]
fn what_others_tick_is_shown_and_their_place_can_be_kept_to() {
    let mut app = broken(120, 40);
    type_in(&mut app, "5");
    let mut run = app.runbook.run.clone().unwrap();
    run.items[2].state = ItemState::Done;
    run.items[2].by = Some(safe("boris"));
    run.items[2].revision = 1;
    let before = run.clone();
    update(&mut app, Msg::RunbookWentOn(Box::new(run.clone())));
    assert_eq!(app.runbook.run.as_ref(), Some(&run));
    // What was read before this console wrote does not take that back.
    run.items[2].revision = 2;
    run.items[2].state = ItemState::Open;
    update(&mut app, Msg::RunbookRun(Box::new(run.clone())));
    update(&mut app, Msg::RunbookWentOn(Box::new(before)));
    assert_eq!(app.runbook.run.as_ref(), Some(&run));

    let boris = |item| {
        Msg::Others(vec![Presence {
            user: safe("boris"),
            run: "20251227-150000-after-deploy".into(),
            item,
        }])
    };
    update(&mut app, boris(1));
    assert!(screen(&app).contains("boris here"), "{}", screen(&app));
    assert_eq!(app.runbook.cursor, 2);
    type_in(&mut app, "w");
    assert_eq!(app.runbook.cursor, 0);
    let effects = update(&mut app, boris(4));
    assert_eq!(app.runbook.cursor, 3);
    // The others see this console go there too.
    let there = Effect::BeAt("20251227-150000-after-deploy".into(), 4);
    assert_eq!(effects, [there]);
    type_in(&mut app, "k");
    update(&mut app, boris(1));
    assert_eq!((app.runbook.cursor, &app.runbook.leader), (2, &None));
}

#[test]
fn a_run_that_another_starts_is_shown_unless_this_one_is_under_way() {
    let mut app = broken(120, 40);
    let started = || Msg::RunbookStarted(safe("20251227-153000-deploy"));
    assert!(update(&mut app, started()).is_empty());
    assert!(says(&app, "Another runbook was started"));
    app.runbook.run = None;
    let effects = update(&mut app, started());
    assert!(effects.contains(&Effect::ReadRunbooks), "{effects:?}");
}

fn opened_incident() -> Brief {
    let first = IncidentEvent {
        at: fixed("15:12:40"),
        by: safe("anna"),
        kind: IncidentEventKind::Started {
            schema: safe("x"),
            title: safe("Checkout fails"),
            severity: Some(Severity::P0),
            started_at: fixed("15:12:30"),
            baseline: Some("20251227-144900-pre-1.5".into()),
        },
    };
    let incident = Incident::new("20251227-151240-checkout-fails", &first).unwrap();
    Brief {
        incident,
        events: Vec::new(),
    }
}

#[test]
fn an_incident_is_opened_noted_and_ended_from_the_console() {
    let mut app = empty(120, 40);
    let effects = type_in(&mut app, "I");
    assert_eq!(effects, [Effect::Incident(IncidentWork::Read)]);
    update(&mut app, Msg::Incident(None));
    assert!(screen(&app).contains("No incident is open."));
    // Nothing can be said where none is.
    assert!(type_in(&mut app, "e").is_empty() || app.overlay.is_none());
    app.overlay = Some(Overlay::Incident { first: 0 });
    type_in(&mut app, "sCheckout fails");
    let effects = press(&mut app, KeyCode::Enter);
    let start = IncidentWork::Start("Checkout fails".into());
    assert_eq!(effects, [Effect::Incident(start)]);
    let effects = update(&mut app, Msg::IncidentSaid(safe("open")));
    assert_eq!(effects, [Effect::Incident(IncidentWork::Read)]);
    update(&mut app, Msg::Incident(Some(Box::new(opened_incident()))));
    assert!(screen(&app).contains("incident 18 min"), "{}", screen(&app));
    app.now = fixed("15:12:40");
    assert_eq!(
        app.next_tick().as_secs(),
        1,
        "its seconds are on the screen"
    );
    app.now = fixed("15:31:07");

    type_in(&mut app, "nwhat we know:");
    press(&mut app, KeyCode::Enter);
    update(&mut app, Msg::Paste("payment is called\nq\n".into()));
    let effects = press(&mut app, KeyCode::Tab);
    let note = IncidentWork::Note("what we know:\npayment is called\nq\n".into());
    assert_eq!(effects, [Effect::Incident(note)]);

    type_in(&mut app, "pp1 one shop only");
    let effects = press(&mut app, KeyCode::Enter);
    let grade = IncidentWork::Grade(Severity::P1, "one shop only".into());
    assert_eq!(effects, [Effect::Incident(grade)]);
    type_in(&mut app, "p7");
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    assert!(says(&app, "neither P0 nor P1"));

    type_in(&mut app, "hboris: rolled back, errors fall");
    let effects = press(&mut app, KeyCode::Enter);
    let hand = IncidentWork::HandOver {
        who: "boris".into(),
        text: "rolled back, errors fall".into(),
    };
    assert_eq!(effects, [Effect::Incident(hand)]);
    let effects = type_in(&mut app, "r");
    assert_eq!(effects, [Effect::Incident(IncidentWork::Report)]);
    update(
        &mut app,
        Msg::IncidentReport(vec![safe("# Incident: Checkout fails")]),
    );
    assert!(screen(&app).contains("# Incident: Checkout fails"));
    press(&mut app, KeyCode::Esc);
    app.overlay = Some(Overlay::Incident { first: 0 });
    // Without a word the clock goes on.
    type_in(&mut app, "e");
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    app.overlay = Some(Overlay::Incident { first: 0 });
    type_in(&mut app, "erolled back");
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(
        effects,
        [Effect::Incident(IncidentWork::End("rolled back".into()))]
    );
}

#[test]
fn preflight_shows_what_is_not_ok_and_asks_for_the_plan_that_there_is() {
    let mut app = broken(120, 40);
    assert_eq!(type_in(&mut app, "P"), [Effect::Preflight]);
    let check = |name, grade| Check {
        name,
        grade,
        service: Some(id("backend")),
        host: None,
        detail: safe("seen"),
        fix: Some(safe("do it")),
    };
    let checks = vec![
        check("disk", CheckGrade::Ok),
        check("latest", CheckGrade::Warning),
        check("artifacts", CheckGrade::Critical),
    ];
    update(&mut app, Msg::Preflight(checks));
    let shown = screen(&app);
    assert!(shown.contains("1 critical, 1 to look at, 1 ok"), "{shown}");
    type_in(&mut app, "j");
    assert!(press(&mut app, KeyCode::Enter).is_empty());
    assert!(says(&app, "There is no plan for this one"));
    type_in(&mut app, "k");
    let effects = press(&mut app, KeyCode::Enter);
    let fix = Operation::Fix {
        check: "artifacts".into(),
        services: vec!["shop/backend".into()],
    };
    assert_eq!(effects, [Effect::Plan(vec![fix])]);
}

#[test]
fn the_timeline_shows_the_events_of_a_person_a_service_an_outcome() {
    let mut app = broken(120, 40);
    let event = |text: &str, name: &str| TimelineEvent {
        at: fixed("15:20:00"),
        kind: TimelineKind::Action,
        service: Some(id(name)),
        grade: Grade::Ok,
        text: safe(text),
    };
    let events = vec![
        event("anna begins restart shop/backend", "backend"),
        event("restart shop/backend of anna: verified", "backend"),
        event("boris begins stop shop/worker", "worker"),
        event("stop shop/worker of boris: failed partial", "worker"),
    ];
    update(&mut app, Msg::Timeline(events));
    for (words, count) in [
        ("anna", 2),
        ("worker", 2),
        ("FAILED", 1),
        ("anna worker", 0),
    ] {
        app.timeline.set_only("");
        type_in(&mut app, "6/");
        type_in(&mut app, words);
        press(&mut app, KeyCode::Enter);
        let texts = app.timeline.shown();
        let actions = texts.iter().filter(|e| e.kind == TimelineKind::Action);
        assert_eq!(actions.count(), count, "{words}");
    }
    assert!(
        screen(&app).contains("No event has anna worker"),
        "{}",
        screen(&app)
    );
    type_in(&mut app, "x");
    assert!(app.timeline.only.is_none());
    type_in(&mut app, "Vabc");
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(effects, [Effect::VerifyAudit(Some("abc".into()))]);
    type_in(&mut app, "V");
    assert_eq!(press(&mut app, KeyCode::Enter), [Effect::VerifyAudit(None)]);
}

#[test]
fn marked_lines_go_into_the_open_incident_without_their_secrets() {
    let mut app = broken(120, 40);
    let known = Secrets::new(redactor(&["hunter2-of-the-pool"]));
    update(&mut app, Msg::SecretsKnown(known));
    let slot = app.logs.sources[0].slot;
    let line = "ERROR no connection as shop:hunter2-of-the-pool";
    let pieces = vec![log().1.block(&[("15:31:06.000", line)])];
    update(&mut app, Msg::Log { slot, pieces });
    // Without an incident it is a mark of this console.
    // Other effects read the lines around.
    let of_incident = |effects: Vec<Effect>| -> Vec<Effect> {
        let mut effects = effects;
        effects.retain(|effect| matches!(effect, Effect::Incident(_)));
        effects
    };
    assert_eq!(of_incident(type_in(&mut app, "2Gm")), []);
    update(&mut app, Msg::Incident(Some(Box::new(opened_incident()))));
    // What is written down is read by others, whatever is shown here.
    update(&mut app, Msg::SecretsRevealed);
    let marked = |effects: Vec<Effect>| match of_incident(effects).as_slice() {
        [Effect::Incident(IncidentWork::Mark(_, mark))] => mark.clone(),
        other => panic!("{other:?}"),
    };
    let taken_back = marked(type_in(&mut app, "m"));
    let mark = marked(type_in(&mut app, "m"));
    assert_eq!((taken_back.is_marked, mark.is_marked), (false, true));
    assert!(taken_back.is_of_same_line(&mark));
    assert_eq!(mark.service, Some(id("backend")));
    assert_eq!(mark.line_at, Some(fixed("15:31:06")));
    assert!(mark.note.is_empty());
    let line = mark.line.as_str();
    assert!(
        line.starts_with("ERROR no connection as shop:[REDACTED:"),
        "{line}"
    );
    type_in(&mut app, "Mthe pool");
    let noted = marked(press(&mut app, KeyCode::Enter));
    assert_eq!(noted.note.as_str(), "the pool");
    assert!(noted.is_of_same_line(&mark));
    let effects = update(&mut app, Msg::IncidentSaid(safe("Marked.")));
    assert_eq!(effects, [Effect::Incident(IncidentWork::Read)]);
}
