//! What every pane looks like in each of its states and sizes.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::domain::outcome::{Outcome, OutcomeKind, Progress, StepResult};
use crate::domain::runbook::Presence;
use crate::domain::service::{Inventory, Release};
use crate::domain::side_by_side::Row;
use crate::domain::signal::Grade;
use crate::ops::ErrorKind;
use crate::tui::app::App;
use crate::tui::fixtures::{
    ansi, asked_of_three, bad_comparison, broken, checkpoints, checks, empty, events_with_marks,
    failed, forbidden_docker, hostile, id, incident, later, one, outcome, plan, russian_run, safe,
    screen, service, setup, signals as sampled, stale, styled,
};
use crate::tui::layout::Pane;
use crate::tui::msg::{Msg, Problem};
use crate::tui::theme::Theme;
use crate::tui::update::update;

const SIZES: [(u16, u16); 4] = [(40, 10), (80, 24), (120, 40), (200, 60)];

fn keys(app: &mut App, text: &str) {
    for c in text.chars() {
        let code = match c {
            '⏎' => KeyCode::Enter,
            '⇥' => KeyCode::Tab,
            '⎋' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}

fn with_keys(mut app: App, text: &str) -> App {
    keys(&mut app, text);
    app
}

/// Templates and records in other writings, and such that try to take the terminal over.
fn strange(w: u16, h: u16) -> App {
    let mut comparison = bad_comparison();
    let texts = [
        "Ошибка подключения к базе данных: время ожидания истекло после <*> мс",
        "接続エラー: タイムアウトしました 接続エラー: タイムアウトしました <*> 回目",
        "\u{1b}[2J\u{1b}]0;owned\u{7}gone \u{202e}txt.exe zero\u{200b}width 👨‍👩‍👧 <*>",
        "a\u{301}\u{301}\u{301}\u{301} zalgo <*>",
    ];
    for (row, text) in comparison.patterns.iter_mut().zip(texts) {
        row.template = safe(text);
        row.examples = row.examples.clone().map(|e| e.map(|_| safe(text)));
    }
    for row in &mut comparison.side_by_side.stream {
        if let Row::Aligned(pair) = row {
            for item in [&mut pair.before, &mut pair.after].into_iter().flatten() {
                item.text = item.text.as_ref().map(|_| safe(texts[item.pattern]));
            }
        }
    }
    let mut app = broken(w, h);
    update(&mut app, Msg::Compared(Box::new(comparison)));
    app.flash = None;
    app
}

fn nothing_found(w: u16, h: u16) -> App {
    let mut app = empty(w, h);
    update(&mut app, Msg::Inventory(Inventory::default()));
    update(&mut app, Msg::Checkpoints(Vec::new()));
    update(&mut app, Msg::Timeline(Vec::new()));
    app
}

fn forbidden(w: u16, h: u16) -> App {
    let mut app = empty(w, h);
    update(&mut app, Msg::Inventory(forbidden_docker()));
    update(&mut app, Msg::Checkpoints(Vec::new()));
    update(&mut app, Msg::Timeline(Vec::new()));
    app
}

/// The plan card with its question.
fn asking(w: u16, h: u16) -> App {
    let mut app = broken(w, h);
    keys(&mut app, "Lab");
    update(&mut app, Msg::Planned(one(plan())));
    app
}

fn executing(w: u16, h: u16) -> App {
    let mut app = asking(w, h);
    keys(&mut app, "backend⏎");
    let result = |text: &str, detail: &str| StepResult {
        text: safe(text),
        ok: true,
        ms: 1800,
        detail: safe(detail),
    };
    let told = [
        Progress::StepStarted {
            index: 0,
            text: safe("save the logs"),
        },
        Progress::StepEnded {
            index: 0,
            result: result("save the logs", "48,210 lines, 2.1 MB"),
        },
        Progress::StepStarted {
            index: 1,
            text: safe("tag"),
        },
        Progress::StepEnded {
            index: 1,
            result: result("tag", ""),
        },
        Progress::StepStarted {
            index: 2,
            text: safe("recreate"),
        },
        Progress::Note(safe("Container shop-backend-1 Recreate")),
    ];
    for progress in told {
        update(
            &mut app,
            Msg::Progress {
                key: crate::tui::effect::TaskKey::Execute,
                progress,
            },
        );
    }
    app.now += std::time::Duration::from_secs(7);
    app
}

fn ended(w: u16, h: u16, kind: OutcomeKind) -> App {
    let mut app = executing(w, h);
    update(
        &mut app,
        Msg::Executed(Box::new(Outcome {
            operation: "roll-back".into(),
            plan_hash: "x".into(),
            outcome: kind,
            steps: Vec::new(),
            manual: if kind == OutcomeKind::FailedPartial {
                vec![safe("docker compose -p shop up -d --no-deps backend")]
            } else {
                Vec::new()
            },
            release: Release {
                digest: Some("sha256:523ac9750001".into()),
                ..Release::default()
            },
            duration_ms: 41_000,
            budget_ms: None,
        })),
    );
    app
}

fn refused(w: u16, h: u16) -> App {
    let mut app = broken(w, h);
    keys(&mut app, "Lab");
    update(
        &mut app,
        Msg::Failed {
            key: crate::tui::effect::TaskKey::Plan,
            problem: Problem {
                kind: ErrorKind::No,
                text: safe(
                    "nothing to roll back to: no complete checkpoint of shop/backend has another release than the running one",
                ),
                fix: Some(safe("lastgood checkpoint list")),
                lines: vec![safe("20251227-145000-pre-1.5: the same release runs")],
                is_broken: false,
            },
        },
    );
    app
}

/// The first of three plans proved itself; the last of so many ended so.
fn several(w: u16, h: u16, ended: usize, last: OutcomeKind) -> App {
    let mut app = with_keys(asked_of_three(w, h), "⏎");
    for number in 1..=ended {
        let kind = match number == ended {
            true => last,
            false => OutcomeKind::Verified,
        };
        update(&mut app, Msg::Executed(Box::new(outcome(kind))));
    }
    app
}

type State = (&'static str, fn(u16, u16) -> App);

const STATES: &[State] = &[
    ("waiting", empty),
    ("nothing_found", nothing_found),
    ("forbidden", forbidden),
    ("broken", broken),
    ("stale", stale),
    ("failed", failed),
    ("hostile", hostile),
    ("plan", asking),
    ("executing", executing),
    ("verified", |w, h| ended(w, h, OutcomeKind::Verified)),
    ("partial", |w, h| ended(w, h, OutcomeKind::FailedPartial)),
    ("refused", refused),
    ("several_plans", asked_of_three),
    ("several_running", |w, h| {
        several(w, h, 1, OutcomeKind::Verified)
    }),
    ("several_ended", |w, h| {
        several(w, h, 2, OutcomeKind::AppliedNotVerified)
    }),
    ("menu", |w, h| with_keys(broken(w, h), "a")),
    ("help", |w, h| with_keys(broken(w, h), "2?")),
    ("messages", |w, h| with_keys(refused(w, h), "⎋m")),
    ("command", |w, h| with_keys(broken(w, h), ":services")),
    ("example", |w, h| with_keys(broken(w, h), "3⏎")),
    ("search", |w, h| with_keys(broken(w, h), "/payment⏎")),
    ("wrapped", |w, h| with_keys(broken(w, h), "2w")),
    ("runbook", |w, h| with_keys(broken(w, h), "5z")),
    ("pairing", |w, h| {
        let mut app = with_keys(broken(w, h), "5z");
        let at = |user: &str, item| Presence {
            user: safe(user),
            run: "20251227-150000-after-deploy".into(),
            item,
        };
        update(&mut app, Msg::Others(vec![at("boris", 3), at("clara", 4)]));
        app
    }),
    ("runbook_russian", |w, h| {
        let mut app = broken(w, h);
        update(&mut app, Msg::RunbookRun(Box::new(russian_run())));
        with_keys(app, "5zjjjjj")
    }),
    ("timeline_marks", |w, h| {
        let mut app = broken(w, h);
        update(&mut app, Msg::Timeline(events_with_marks()));
        with_keys(app, "6z")
    }),
    ("timeline", |w, h| with_keys(broken(w, h), "6z")),
    ("timeline_only", |w, h| {
        with_keys(broken(w, h), "6z/backend⏎")
    }),
    ("incident", |w, h| {
        let mut app = with_keys(broken(w, h), "I");
        update(&mut app, Msg::Incident(Some(Box::new(incident()))));
        app
    }),
    ("incident_none", |w, h| {
        let mut app = with_keys(broken(w, h), "I");
        update(&mut app, Msg::Incident(None));
        app
    }),
    ("note", |w, h| {
        let mut app = broken(w, h);
        update(&mut app, Msg::Incident(Some(Box::new(incident()))));
        with_keys(app, "Inwhat we know:⏎payment answers with HTML")
    }),
    ("incident_behind", |w, h| {
        let mut app = broken(w, h);
        update(&mut app, Msg::Incident(Some(Box::new(incident()))));
        app
    }),
    ("preflight", |w, h| {
        let mut app = with_keys(broken(w, h), "P");
        update(&mut app, Msg::Preflight(checks()));
        app
    }),
    ("runbook_list", |w, h| with_keys(broken(w, h), "5o")),
    ("reason", |w, h| with_keys(broken(w, h), "5s")),
    ("zoomed", |w, h| with_keys(broken(w, h), "3zu")),
    ("stream", |w, h| with_keys(broken(w, h), "3s")),
    ("stream_zoomed", |w, h| with_keys(broken(w, h), "3zsj")),
    ("stream_unfolded", |w, h| with_keys(broken(w, h), "3zsgg⏎")),
    ("stream_lines", |w, h| with_keys(broken(w, h), "3sj⏎")),
    ("stream_hostile", |w, h| with_keys(strange(w, h), "3zs")),
    ("compare_no_id", |w, h| with_keys(broken(w, h), "3zt")),
    ("sequence", |w, h| with_keys(broken(w, h), "3zS")),
    ("signals", |w, h| with_keys(broken(w, h), "4z")),
    ("signals_all", |w, h| with_keys(broken(w, h), "4bz")),
    ("findings", |w, h| with_keys(broken(w, h), "4⏎")),
];

/// Writes every state as ANSI text where a person asked to look at it.
#[test]
fn states_can_be_looked_at() {
    let Some(folder) = std::env::var_os("LASTGOOD_LOOK") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    for (w, h) in SIZES {
        for (name, state) in STATES {
            std::fs::write(
                folder.join(format!("{name}-{w}x{h}.ansi")),
                ansi(&state(w, h)),
            )
            .unwrap();
        }
    }
}

#[test]
fn every_state_in_every_size() {
    for (w, h) in SIZES {
        for (name, state) in STATES {
            let is_small = (w, h) == (40, 10);
            let is_large = (w, h) == (200, 60);
            // The largest screen shows what the middle one shows; its layout is worth seeing once.
            if (is_large && !["broken", "plan"].contains(name))
                || (is_small
                    && ["zoomed", "stream", "sequence", "compare", "signals"]
                        .iter()
                        .any(|n| name.starts_with(n)))
            {
                continue;
            }
            insta::assert_snapshot!(format!("{name}_{w}x{h}"), screen(&state(w, h)));
        }
    }
}

/// A pane of so few columns has one for both sides.
#[test]
fn sides_share_a_column_where_there_is_little_room() {
    for (name, keys) in [("stream_60x20", "3zs"), ("sequence_60x20", "3zS")] {
        insta::assert_snapshot!(name, screen(&with_keys(broken(60, 20), keys)));
    }
    insta::assert_snapshot!(
        "stream_hostile_60x20",
        screen(&with_keys(strange(60, 20), "3zs"))
    );
}

#[test]
fn colours_have_their_meaning() {
    let stream = with_keys(broken(120, 40), "3zsG");
    insta::assert_snapshot!("styled_stream_120x40", styled(&stream));
    insta::assert_snapshot!("styled_broken_120x40", styled(&broken(120, 40)));
    insta::assert_snapshot!("styled_stale_120x40", styled(&stale(120, 40)));
    insta::assert_snapshot!("styled_wall_40x10", styled(&broken(40, 10)));
}

fn with_theme(theme: Theme, w: u16, h: u16) -> App {
    let mut app = broken(w, h);
    app.setup.theme = theme;
    app
}

#[test]
fn without_colour_the_cursor_the_focus_and_the_grades_still_show() {
    let text = styled(&with_theme(Theme::new(false, false), 120, 40));
    insta::assert_snapshot!("no_color_120x40", text);
    for color in ["red", "green", "yellow", "cyan", "blue", "gray"] {
        assert!(!text.contains(&format!("«{color}")), "{color}");
    }
    assert!(text.contains("reversed") && text.contains("╔") && text.contains("✖"));
}

#[test]
fn plain_is_ascii_but_for_what_services_say() {
    let mut app = with_theme(Theme::new(false, true), 120, 40);
    insta::assert_snapshot!("plain_120x40", screen(&app));
    for pane in Pane::ALL {
        app.focus.set(pane);
        let text = screen(&app).replace("1.4 → 1.5", "");
        let strange: Vec<char> = text
            .chars()
            .filter(|c| !c.is_ascii() && !"…·×".contains(*c))
            .collect();
        assert!(strange.is_empty(), "{pane:?}: {strange:?}");
    }
    for opened in ["4b", "⏎"] {
        keys(&mut app, opened);
        let text = screen(&app).replace("1.4 → 1.5", "").replace("(×50", "");
        let strange: Vec<char> = text.chars().filter(|c| !c.is_ascii()).collect();
        assert!(
            strange.iter().all(|c| "…·×".contains(*c)),
            "{opened:?}: {strange:?}\n{text}"
        );
    }
    let table = with_keys(with_theme(Theme::new(false, false), 120, 40), "4bz");
    insta::assert_snapshot!("no_color_signals_all_120x40", styled(&table));
}

#[test]
fn nothing_from_outside_reaches_a_cell_unsafe() {
    for (w, h) in SIZES {
        for pane in Pane::ALL {
            let mut app = hostile(w, h);
            app.focus.set(pane);
            let text = screen(&app);
            let bad = |c: char| {
                (c.is_control() && c != '\n')
                    || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!text.chars().any(bad), "{pane:?} {w}x{h}");
        }
    }
}

#[test]
fn what_is_missing_is_never_green() {
    for (w, h) in SIZES {
        for app in [
            empty(w, h),
            failed(w, h),
            nothing_found(w, h),
            forbidden(w, h),
        ] {
            let text = styled(&app);
            assert!(!text.contains("green"), "{text}");
            assert!(!text.contains('✔'), "{text}");
        }
    }
}

#[test]
fn what_is_old_is_never_green() {
    for (w, h) in SIZES {
        let mut app = stale(w, h);
        // The log is still followed and an item of the runbook is done: those are not old.
        app.logs.is_following = false;
        app.runbook.run = None;
        app.timeline.reading = crate::domain::reading::Reading::Waiting;
        let text = styled(&app);
        assert!(!text.contains("«green"), "{text}");
    }
}

#[test]
fn no_state_of_any_size_panics() {
    for w in (1..160).step_by(7) {
        for h in (1..60).step_by(5) {
            for (_, state) in STATES {
                screen(&state(w, h));
            }
        }
    }
}

#[test]
fn a_read_only_session_says_so() {
    let mut setup = setup();
    setup.is_read_only = true;
    let mut app = App::new(
        setup,
        ratatui::layout::Size::new(120, 40),
        crate::tui::fixtures::at("15:31:07"),
    );
    update(&mut app, Msg::Checkpoints(checkpoints()));
    assert!(screen(&app).contains("READ-ONLY"));
}

/// Whatever is well stands in green, so a screen without green promises nothing. The console's own timer has to bring that
/// about: nothing else happens where nobody answers any more.
#[test]
fn nothing_is_green_on_data_older_than_twice_its_interval() {
    for (width, height) in [(40, 10), (60, 20), (120, 40), (200, 60)] {
        let mut app = empty(width, height);
        let inventory = Inventory {
            services: vec![
                service("shop", "db", "17", 300),
                service("shop", "api", "1.5", 300),
            ],
            unreachable: Vec::new(),
        };
        app.services.selected = Some(id("db"));
        update(&mut app, Msg::Inventory(inventory.clone()));
        let mut measured = sampled();
        measured.id = id("db");
        measured.signals.truncate(4);
        for signal in &mut measured.signals {
            signal.grade = Grade::Ok;
        }
        update(&mut app, Msg::Sampled(measured));
        update(&mut app, Msg::Measured(Box::default()));
        let shown = styled(&app);
        assert!(shown.contains("green"), "{width}x{height}:\n{shown}");
        let begun = app.now;
        let limit = app.setup.looked_for().max(app.setup.measured_for());
        while app.now.duration_since(begun).unsigned_abs() <= limit {
            let tick = app.next_tick();
            later(&mut app, tick);
            assert!(
                app.now.duration_since(begun).unsigned_abs() <= limit + Duration::from_secs(1),
                "nobody would have looked"
            );
        }
        // That a log is followed is no grade.
        let shown = styled(&app).replace("«green»FOLLOW", "");
        assert!(!shown.contains("green"), "{width}x{height}:\n{shown}");
        let plain = screen(&app);
        assert!(
            plain.contains("stale") || plain.contains("unknown"),
            "{plain}"
        );
        // An answer makes it green again.
        update(&mut app, Msg::Inventory(inventory));
        update(&mut app, Msg::Measured(Box::default()));
        assert!(styled(&app).contains("green"));
    }
}

#[test]
fn what_cannot_be_read_is_seen_however_many_services_there_are() {
    for (width, height) in [(80, 24), (120, 30), (160, 40)] {
        let mut app = empty(width, height);
        let away = |host: &str| crate::domain::service::Unreachable {
            host: crate::domain::host::HostName::parse(host).unwrap(),
            runtime: crate::domain::service::Runtime::Docker,
            is_whole_host: false,
            error: crate::domain::safe_text::SafeText::from_text("Connection timed out"),
            fix: crate::domain::safe_text::SafeText::from_text("ssh silent true"),
        };
        let services = (0..60).map(|n| service("shop", &format!("a{n:02}"), "1.5", 300));
        let mut inventory = Inventory {
            services: services.collect(),
            unreachable: vec![away("silent")],
        };
        update(&mut app, Msg::Inventory(inventory.clone()));
        later(&mut app, Duration::from_secs(12));
        app.services.step(59);
        let shown = screen(&app);
        assert!(shown.contains("Docker on silent"), "{shown}");
        assert!(shown.contains("12 s"), "{shown}");
        assert!(shown.contains("a59"), "{shown}");
        // Many of them do not push the services away either.
        inventory
            .unreachable
            .extend((1..=20).map(|n| away(&format!("box-{n}"))));
        update(&mut app, Msg::Inventory(inventory));
        let shown = screen(&app);
        assert!(
            shown.contains("more unreachable") || shown.contains("21 unreachable"),
            "{shown}"
        );
        assert!(shown.contains("a59"), "{shown}");
    }
}
