use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::domain::service::Inventory;
use crate::tui::fixtures::{
    Log, broken, empty, id, inventory, one, plan, safe, service, setup, slot,
};
use crate::tui::msg::Msg;
use crate::tui::outlet::Piece;
use crate::tui::update::update;

use super::*;

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn type_in(app: &mut App, text: &str) -> Vec<Effect> {
    text.chars()
        .flat_map(|c| press(app, KeyCode::Char(c)))
        .collect()
}

/// `S`, a name, Enter.
fn save(app: &mut App, name: &str) -> Vec<Effect> {
    type_in(app, "S");
    type_in(app, name);
    press(app, KeyCode::Enter)
}

fn piece(effects: &[Effect]) -> &Piece {
    let piece = effects.iter().find_map(|effect| match effect {
        Effect::Write(piece) => Some(piece),
        _ => None,
    });
    piece.expect("a piece to write")
}

fn text(effects: &[Effect]) -> String {
    String::from_utf8(piece(effects).bytes.clone()).unwrap()
}

fn written(app: &mut App) -> Vec<Effect> {
    update(app, Msg::Written(Ok(safe("/srv/x.log"))))
}

fn says(app: &App, text: &str) -> bool {
    app.notices.iter().any(|n| n.text.as_str().contains(text))
}

/// A console whose log has so many lines of about 100 KB.
fn large(lines: usize) -> App {
    let mut setup = setup();
    setup.log_bytes = 64 << 20;
    let small = empty(120, 40);
    let mut app = App::new(setup, small.size, small.now);
    app.services.selected = Some(id("backend"));
    update(&mut app, Msg::Inventory(inventory()));
    let mut log = Log::new();
    let slot = slot(&app);
    for n in 0..lines {
        let text = format!("{n} {}", "x".repeat(100_000));
        let pieces = vec![log.block(&[("15:00:00", &text)])];
        update(&mut app, Msg::Log { slot, pieces });
    }
    app.focus.set(crate::tui::layout::Pane::Logs);
    app
}

fn in_logs() -> App {
    let mut app = broken(120, 40);
    type_in(&mut app, "2");
    app
}

#[test]
fn everything_that_is_shown_is_saved_in_steps() {
    let mut app = large(60);
    let mut effects = save(&mut app, "x.log");
    let mut saved = String::new();
    let mut pieces = 0;
    loop {
        let piece = piece(&effects);
        assert_eq!(piece.to, Outlet::File("x.log".into()));
        assert_eq!(piece.is_first, pieces == 0);
        assert!(piece.bytes.len() < 3 << 20, "{}", piece.bytes.len());
        saved.push_str(&text(&effects));
        pieces += 1;
        let is_last = piece.is_last;
        effects = written(&mut app);
        if is_last {
            break;
        }
        let flash = app.flash.as_ref().unwrap().text.to_string();
        assert!(flash.contains("Saving… "), "{flash}");
    }
    assert!(!effects.iter().any(|e| matches!(e, Effect::Write(_))));
    assert!(pieces > 2, "{pieces}");
    let numbers: Vec<String> = saved
        .lines()
        .map(|line| line.split_once(' ').unwrap().0.to_owned())
        .collect();
    let expected: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    assert_eq!(numbers, expected);
    assert!(says(&app, "Saved 60 lines to /srv/x.log"));
    // How far it was is no message to keep.
    assert!(!says(&app, "Saving"));
    assert!(app.logs.export.is_none());
}

#[test]
fn lines_that_are_dropped_before_their_turn_are_told() {
    let mut app = large(60);
    save(&mut app, "x.log");
    let slot = slot(&app);
    app.logs.rings.remove(slot);
    app.logs.rings.add(slot);
    let mut log = Log::new();
    let pieces = vec![log.block(&[("15:00:00", "what is left")])];
    update(&mut app, Msg::Log { slot, pieces });
    // Nothing of what was to be written is held: what was written stays, and the loss is told.
    let mut effects = written(&mut app);
    while effects.iter().any(|e| matches!(e, Effect::Write(_))) {
        effects = written(&mut app);
    }
    assert!(says(&app, "others were dropped from memory before"));
}

#[test]
fn the_selection_is_respected() {
    let mut app = in_logs();
    // The last two lines.
    type_in(&mut app, "vk");
    let effects = save(&mut app, "x.log");
    let text = text(&effects);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("ERROR Invalid JSON response"));
    assert!(lines[1].starts_with("INFO GET /api/orders/88121"));
    assert!(app.logs.anchor.is_none());
    written(&mut app);
    assert!(says(&app, "Saved 2 lines to"));
}

#[test]
fn filters_and_folds_are_respected_and_seams_are_no_lines() {
    let mut app = in_logs();
    let all = text(&save(&mut app, "x.log"));
    assert!(
        !all.contains("1.4 → 1.5") && !all.contains("cart.py"),
        "{all}"
    );
    assert_eq!(all.lines().count(), 7, "{all}");
    written(&mut app);
    type_in(&mut app, "&ERROR");
    press(&mut app, KeyCode::Enter);
    let mut effects = save(&mut app, "y.log");
    while effects.contains(&Effect::SearchOn) {
        effects = update(&mut app, Msg::SearchOn);
    }
    let errors = text(&effects);
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert!(errors.lines().all(|line| line.starts_with("ERROR")));
}

#[test]
fn a_filter_that_changes_meanwhile_ends_it() {
    let mut app = large(60);
    save(&mut app, "x.log");
    type_in(&mut app, "&x");
    press(&mut app, KeyCode::Enter);
    let effects = written(&mut app);
    assert!(effects.contains(&Effect::GiveUpWriting), "{effects:?}");
    assert!(says(&app, "nothing was saved"));
}

#[test]
fn several_services_stand_in_front_of_their_lines() {
    let mut app = empty(120, 40);
    app.services.selected = Some(id("backend"));
    let services = vec![
        service("shop", "backend", "1", 300),
        service("shop", "db", "17", 300),
    ];
    let inventory = Inventory {
        services: services.clone(),
        unreachable: Vec::new(),
    };
    update(&mut app, Msg::Inventory(inventory));
    app.logs.choose(&services);
    for (n, followed) in app
        .logs
        .sources
        .iter()
        .map(|f| f.slot)
        .collect::<Vec<_>>()
        .into_iter()
        .enumerate()
    {
        let at = format!("15:00:0{n}");
        let pieces = vec![Log::new().block(&[(&at, "a line")])];
        let slot = followed;
        update(&mut app, Msg::Log { slot, pieces });
    }
    type_in(&mut app, "2");
    let effects = save(&mut app, "x.log");
    assert_eq!(text(&effects), "backend  a line\ndb       a line\n");
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_another_can_be_tried() {
    let mut app = in_logs();
    save(&mut app, "x.log");
    let problem = Problem {
        kind: ErrorKind::Refused,
        text: safe("/srv/x.log exists already: nothing was saved"),
        lines: Vec::new(),
        fix: None,
        is_broken: false,
    };
    update(&mut app, Msg::Written(Err(problem)));
    assert!(says(&app, "exists already"));
    assert!(piece(&save(&mut app, "y.log")).is_first);
}

#[test]
fn an_empty_name_is_one_with_service_and_time() {
    let mut app = in_logs();
    let effects = save(&mut app, "");
    let name = "lastgood-backend-20251227-153107.log".to_owned();
    assert_eq!(piece(&effects).to, Outlet::File(name));
    // A second one waits for the first.
    assert!(save(&mut app, "y.log").is_empty());
    assert!(says(&app, "being written already"));
    written(&mut app);
    type_in(&mut app, ":export ~/z.log");
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(piece(&effects).to, Outlet::File("~/z.log".into()));
}

#[test]
fn a_program_opens_at_the_cursor_once_its_file_is_whole() {
    let mut app = in_logs();
    type_in(&mut app, "kk");
    let effects = type_in(&mut app, "V");
    assert_eq!(piece(&effects).to, Outlet::Tool(Tool::Editor));
    let opened = written(&mut app);
    let open = Effect::Open {
        tool: Tool::Editor,
        line: 5,
    };
    assert!(opened.contains(&open), "{opened:?}");
    update(&mut app, Msg::Shown(Ok(())));
    assert_eq!(piece(&type_in(&mut app, "|")).to, Outlet::Tool(Tool::Pager));
}

#[test]
fn no_program_hides_an_action_that_is_under_way() {
    let mut app = in_logs();
    type_in(&mut app, "L1ab");
    update(&mut app, Msg::Planned(one(plan())));
    type_in(&mut app, "backend");
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Esc);
    assert!(app.operating.as_ref().is_some_and(Operating::is_executing));
    type_in(&mut app, "2");
    assert!(type_in(&mut app, "V").is_empty());
    assert!(type_in(&mut app, "|").is_empty());
    assert!(says(&app, "no program is opened"));
    // Saving hides nothing.
    assert!(piece(&save(&mut app, "x.log")).is_first);
}
