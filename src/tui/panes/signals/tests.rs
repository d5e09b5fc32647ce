use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::domain::alert::{Acknowledgement, AlertSeverity, AlertState};
use crate::domain::host::HostName;
use crate::tui::action::Action;
use crate::tui::effect::Effect;
use crate::tui::fixtures::{alert, at, broken, id, later, safe, screen, signals};
use crate::tui::msg::Msg;
use crate::tui::theme::Theme;
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
        limits: Limits::default(),
        since: None,
        before: Vec::new(),
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

fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys.chars() {
        let code = match key {
            '⏎' => crossterm::event::KeyCode::Enter,
            '⎋' => crossterm::event::KeyCode::Esc,
            key => crossterm::event::KeyCode::Char(key),
        };
        let key = crossterm::event::KeyEvent::from(code);
        effects.extend(update(app, Msg::Key(key)));
    }
    effects
}

#[test]
fn all_services_are_measured_while_their_table_is_shown_and_their_alerts_can_be_taken() {
    let mut app = broken(120, 40);
    let is_measuring = |effects: &[Effect]| {
        let mut all = effects.iter();
        all.any(|effect| matches!(effect, Effect::SampleAll { .. }))
    };
    assert!(!is_measuring(&press(&mut app, "4")));
    assert!(is_measuring(&press(&mut app, "bz")));
    let alerts = vec![alert("down", AlertSeverity::P0)];
    let measured = board::Measured {
        alerts: alerts.clone(),
        ..crate::tui::fixtures::measured()
    };
    let again = update(&mut app, Msg::Measured(Box::new(measured)));
    assert!(is_measuring(&again), "the next look is planned");
    let shown = screen(&app);
    let row = |name: &str| {
        let mut rows = shown.lines().skip_while(|line| !line.contains("service  "));
        let row = rows.find(|line| line.contains(name));
        row.unwrap_or_else(|| panic!("no {name}:\n{shown}"))
            .to_owned()
    };
    assert!(row("backend").contains("✖ 3.8 s   ✖ 25 %"), "{shown}");
    assert!(row("backend").contains("? ?"), "{shown}");
    // What was not measured is not well, and a machine has no requests.
    assert!(row("worker").contains("? worker"), "{shown}");
    assert!(row("machine").contains("- "), "{shown}");
    assert!(row("machine").contains("▲ 91 %"), "{shown}");
    assert_eq!(press(&mut app, "i"), [Effect::Acknowledge("down".into())]);
    let alerts = alerts.into_iter().map(taken).collect();
    let text = safe("1 taken");
    update(&mut app, Msg::Acknowledged { text, alerts });
    assert!(screen(&app).contains("taken by anna 15:31"));
    assert!(!is_measuring(&press(&mut app, "b")));
}

#[test]
fn enter_opens_what_is_wrong_with_a_service_and_the_lines_that_say_so() {
    let mut app = broken(120, 40);
    press(&mut app, "4");
    let mut day = around(vec![
        taken(alert("error_rate", AlertSeverity::P1)),
        Alert {
            service: Some(id("redis-1")),
            ..alert("elsewhere", AlertSeverity::P2)
        },
    ]);
    let point = |clock: &str, seconds: f64| Point {
        at: at(clock),
        values: BTreeMap::from([(SignalName::LatencyP95, seconds * 1000.0)]),
    };
    day.kept = vec![point("06:00:00", 0.4), point("15:00:00", 3.8)];
    day.before = vec![Signal {
        value: Some(900.0),
        grade: Grade::Warning,
        ..signals().signals[0].clone()
    }];
    update(&mut app, Msg::Around(Box::new(day)));
    assert!(screen(&app).contains("900 ms → 3.8 s"), "{}", screen(&app));
    press(&mut app, "⏎");
    let shown = screen(&app);
    for words in [
        "shop/backend",
        "P1 error_rate: http 500",
        "taken by anna 15:31",
        "latency p95",
        ">1 s",
        "critical",
        "Findings",
        "error rate of backend rose",
        "Newest errors in the log",
    ] {
        assert!(shown.contains(words), "no {words:?}:\n{shown}");
    }
    assert!(!shown.contains("elsewhere"), "{shown}");
    // The day's bars: calm in the morning, high at the end.
    let bars = shown.lines().find(|line| line.contains(" 9 h"));
    let bars = bars.unwrap_or_else(|| panic!("no history:\n{shown}"));
    assert!(bars.contains('▂') && bars.contains('█'), "{bars}");
    press(&mut app, "G");
    let end = screen(&app);
    assert!(end.contains("Invalid JSON response"), "{end}");
    press(&mut app, "⎋");
    // From the table it is of the row under the cursor, whose log is then the one that is open.
    press(&mut app, "bj");
    assert_eq!(app.signals.board.cursor, 2, "from the selected one on");
    let effects = press(&mut app, "⏎");
    assert_ne!(app.services.selected, Some(id("backend")));
    assert!(!effects.is_empty(), "its log is opened");
    assert!(screen(&app).contains("Newest errors in the log"));
}

#[test]
fn a_gauge_says_its_grade_its_limit_and_what_it_was_as_far_as_there_is_room() {
    let mut app = broken(120, 40);
    let before = vec![Signal {
        value: Some(900.0),
        ..signals().signals[0].clone()
    }];
    let around = Around {
        before,
        ..around(Vec::new())
    };
    update(&mut app, Msg::Around(Box::new(around)));
    let p95 = signals().signals[0].clone();
    let text = |row: Line<'_>| row.to_string();
    let wide = text(gauge::value_row(&app, &p95, 60, false));
    assert!(wide.contains("3.8 s  critical >1 s"), "{wide:?}");
    let less = text(gauge::value_row(&app, &p95, 40, false));
    assert!(less.contains("3.8 s >1 s") && !less.contains("critical"));
    let narrow = text(gauge::value_row(&app, &p95, 28, false));
    assert!(narrow.contains("latency p95   3.8 s >1 s"), "{narrow:?}");
    let below = text(gauge::second_row(&app, &p95, 28));
    assert!(below.ends_with("900 ms → 3.8 s"), "{below:?}");
    let below = text(gauge::second_row(&app, &p95, 20));
    assert!(below.contains('▃') && !below.contains('→'), "{below:?}");
    for width in 0..80 {
        for row in [
            gauge::value_row(&app, &p95, width, false),
            gauge::second_row(&app, &p95, width),
        ] {
            assert!(row.width() <= width.max(16), "{width}: {row}");
        }
    }
}

#[test]
fn bars_reach_from_the_checkpoint_to_now_with_a_mark_where_the_deploy_was() {
    let mut app = broken(120, 40);
    let p95 = signals().signals[0].clone();
    let bars = |app: &App, width| gauge::second_row(app, &p95, width).to_string();
    let begun = at("14:31:00");
    let minutes = (0..60).map(|minute| {
        let ms = if minute < 30 { 100.0 } else { 3800.0 };
        Point {
            at: begun + SignedDuration::from_mins(minute),
            values: BTreeMap::from([(SignalName::LatencyP95, ms)]),
        }
    });
    // Much was before the checkpoint, and nothing of it is drawn.
    let night = Point {
        at: at("06:00:00"),
        values: BTreeMap::from([(SignalName::LatencyP95, 9000.0)]),
    };
    let around = Around {
        since: Some(begun),
        kept: std::iter::once(night).chain(minutes).collect(),
        ..around(Vec::new())
    };
    update(&mut app, Msg::Around(Box::new(around.clone())));
    let mut inventory = app.services.reading.value().unwrap().clone();
    let backend = inventory
        .services
        .iter_mut()
        .find(|s| s.id == id("backend"));
    for instance in &mut backend.unwrap().instances {
        instance.created_at = Some(at("15:01:10"));
    }
    update(&mut app, Msg::Inventory(inventory));
    let row = bars(&app, 25);
    let row = row.trim();
    let (before, after) = row.split_once('│').unwrap_or_else(|| panic!("{row:?}"));
    assert_eq!(
        (before.chars().count(), after.chars().count()),
        (10, 10),
        "{row:?}"
    );
    assert!(
        before.starts_with("▁▁▁▁▁▁▁▁▁") && after == "██████████",
        "{row:?}"
    );
    // Of another service, and a moment ago: the last looks.
    let moment = Around {
        since: Some(at("15:30:30")),
        ..around
    };
    update(&mut app, Msg::Around(Box::new(moment)));
    assert!(!bars(&app, 25).contains('│'));
}

/// Without colour a grey tick is a tick, and what was critical may be over since.
#[test]
fn what_is_older_than_twice_the_interval_is_unknown_whatever_it_was() {
    let row_of = |keys: &str, words: &str, is_plain: bool, is_old: bool| {
        let mut app = broken(120, 40);
        app.setup.theme = Theme::new(false, is_plain);
        press(&mut app, keys);
        let moment = Duration::from_millis(1);
        let limit = app.setup.measured_for();
        later(&mut app, if is_old { limit + moment } else { limit });
        let shown = screen(&app);
        assert_eq!(shown.contains("stale"), is_old, "{shown}");
        let row = shown.lines().rfind(|line| line.contains(words));
        row.unwrap_or_else(|| panic!("no {words:?}:\n{shown}"))
            .to_owned()
    };
    for (keys, words, then, old) in [
        ("4z", "traffic", "✔", "unknown"),
        ("4z", "latency p95", "✖", "unknown"),
        ("4bz", "backend", "✖ 3.8 s", "… 3.8 s"),
        ("4bz", "machine", "▲ 91 %", "… 91 %"),
    ] {
        let fresh = row_of(keys, words, false, false);
        assert!(fresh.contains(then), "{fresh}");
        for is_plain in [false, true] {
            let row = row_of(keys, words, is_plain, true);
            let grades = ["✔", "▲", "✖", " + ", " ! ", " X ", " ok ", "critical"];
            assert!(!grades.iter().any(|grade| row.contains(grade)), "{row}");
            let old = if is_plain {
                old.replace('…', "~")
            } else {
                old.to_owned()
            };
            assert!(row.contains(&old), "{row}");
        }
    }
}
