use std::collections::BTreeMap;

use super::*;
use crate::domain::alert::{Acknowledgement, AlertSeverity, AlertState};
use crate::domain::host::HostName;
use crate::tui::action::Action;
use crate::tui::effect::Effect;
use crate::tui::fixtures::{alert, at, broken, id, safe, screen, signals};
use crate::tui::msg::Msg;
use crate::tui::update::update;

fn taken(mut alert: Alert) -> Alert {
    alert.acknowledged = Some(Acknowledgement {
        by: safe("anna"),
        at: at("15:31:00"),
    });
    alert
}

fn around(alerts: Vec<Alert>) -> Around {
    let signal = |name: &str, value: f64, unit: &str, grade| Signal {
        signal: SignalName::parse(name),
        route: None,
        value: Some(value),
        unit: safe(unit),
        grade,
        age_ms: Some(0),
        detail: safe(""),
    };
    Around {
        service: Some(id("backend")),
        machine: Some(ServiceSignals {
            id: ServiceId::machine(HostName::local()),
            signals: vec![
                signal("cpu", 0.2, "fraction", Grade::Ok),
                signal("disk", 0.91, "fraction", Grade::Warning),
                signal("cost_today", 42.0, "USD", Grade::Ok),
            ],
        }),
        alerts,
        unread: None,
        kept: Vec::new(),
    }
}

#[test]
fn what_fires_stands_above_and_what_the_machine_is_short_of_below() {
    let mut app = broken(120, 40);
    app.focus.set(Pane::Signals);
    app.focus.is_zoomed = true;
    let alerts = vec![
        taken(alert("shop/backend error_rate", AlertSeverity::P1)),
        alert("shop/backend down", AlertSeverity::P0),
        Alert {
            state: AlertState::Resolved,
            ..alert("shop/redis down", AlertSeverity::P0)
        },
    ];
    update(&mut app, Msg::Around(Box::new(around(alerts))));
    let screen = screen(&app);
    let place = |text: &str| {
        screen
            .find(text)
            .unwrap_or_else(|| panic!("no {text:?}:\n{screen}"))
    };
    assert!(place("P0 shop/backend down") < place("P1 shop/backend error_rate"));
    assert!(place("nobody has taken it") < place("taken by anna 15:31"));
    assert!(place("taken by anna") < place("latency p95"));
    assert!(place("latency p95") < place(" machine"));
    assert!(place(" machine") < place("disk"));
    assert!(place("42 USD") > place("disk"));
    assert!(!screen.contains("redis down"), "{screen}");
    assert!(!screen[place(" machine")..].contains("cpu"), "{screen}");
    assert!(screen.contains("take alert"), "{screen}");
}

#[test]
fn taking_takes_the_most_urgent_that_nobody_has() {
    let mut app = broken(120, 40);
    app.focus.set(Pane::Signals);
    let press = |app: &mut App| {
        let key = crossterm::event::KeyEvent::from(crossterm::event::KeyCode::Char('i'));
        update(app, Msg::Key(key))
            .into_iter()
            .filter(|effect| matches!(effect, Effect::Acknowledge(_)))
            .collect::<Vec<_>>()
    };
    assert!(press(&mut app).is_empty(), "nothing fires");
    assert!(!crate::tui::update::is_possible(
        &app,
        Action::AcknowledgeAlert
    ));
    let down = alert("down", AlertSeverity::P0);
    let slow = alert("slow", AlertSeverity::P1);
    let msg = Msg::Around(Box::new(around(vec![slow.clone(), down.clone()])));
    update(&mut app, msg);
    assert_eq!(press(&mut app), [Effect::Acknowledge("down".into())]);
    update(
        &mut app,
        Msg::Acknowledged {
            text: safe("1 taken: down"),
            alerts: vec![slow, taken(down)],
        },
    );
    assert_eq!(press(&mut app), [Effect::Acknowledge("slow".into())]);
}

#[test]
fn a_console_that_starts_shows_what_was_kept_with_its_gaps() {
    let point = |clock: &str, cpu: f64| Point {
        at: at(clock),
        values: BTreeMap::from([(SignalName::Cpu, cpu)]),
    };
    let mut pane = SignalsPane::default();
    pane.begin(Some(id("backend")));
    assert!(pane.is_new());
    let kept = vec![
        point("15:00:00", 0.1),
        point("15:01:00", 0.2),
        point("15:05:00", 0.3),
    ];
    pane.surround(Around {
        kept,
        ..around(Vec::new())
    });
    pane.set(signals(), at("15:31:00"));
    assert!(!pane.is_new());
    let cpu: Vec<Option<f64>> = pane.history[&(SignalName::Cpu, None)]
        .iter()
        .copied()
        .collect();
    let none = None;
    assert_eq!(
        cpu,
        [
            Some(0.1),
            Some(0.2),
            none,
            none,
            none,
            none,
            Some(0.3),
            Some(0.41)
        ]
    );
    // What was asked for of the service before belongs to nobody now; what fires stays.
    pane.begin(Some(id("frontend")));
    pane.surround(Around {
        kept: vec![point("15:00:00", 0.9)],
        ..around(vec![alert("down", AlertSeverity::P0)])
    });
    assert!(pane.history.is_empty() && pane.around.machine.is_none());
    assert!(pane.untaken().is_some());
}
