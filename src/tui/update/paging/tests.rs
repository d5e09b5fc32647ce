//! A filter and what is not held: what is asked for, when that ends, where the cursor is meanwhile.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::domain::log::{LogBlock, LogPage, LogPosition, Passage, Stream};
use crate::store::ring::{LineReader, PreparedPage, Sifter};
use crate::tui::app::App;
use crate::tui::effect::{Effect, FileSift, TaskKey};
use crate::tui::fixtures::{at, empty, id, inventory, screen, slot};
use crate::tui::layout::Pane;
use crate::tui::msg::{LogPiece, Msg};
use crate::tui::panes::logs::WantedPage;
use crate::tui::update::update;

/// Bytes of each line of the file, the line break included.
const LINE: u64 = 16;

/// Line `n` of a file: every tenth one fails.
fn text(n: u64) -> String {
    let word = if n.is_multiple_of(10) { "fail" } else { "fine" };
    format!("{word} number {n:03}")
}

fn lines(numbers: std::ops::Range<u64>) -> LogBlock {
    let mut block = LogBlock::default();
    for n in numbers {
        let at = Timestamp::from_second(n as i64).unwrap();
        block.push_at(n * LINE, Some(at), Stream::Stdout, text(n).as_bytes(), 0);
    }
    block
}

/// A console on a log whose lines from 95 on were read; those of a file have places.
fn console(is_file: bool) -> App {
    let mut app = empty(120, 40);
    app.services.selected = Some(id("backend"));
    update(&mut app, Msg::Inventory(inventory()));
    app.focus.set(Pane::Logs);
    let mut reader = LineReader::new(&at("15:32:00").to_zoned(TimeZone::UTC));
    let mut pieces = Vec::new();
    if is_file {
        let position = LogPosition {
            path: "/x.log".into(),
            inode: 1,
            offset: 95 * LINE,
        };
        pieces.push(LogPiece::Opened(reader.open(position)));
    }
    pieces.push(LogPiece::Block(reader.read(lines(95..100), at("15:32:00"))));
    let slot = slot(&app);
    update(&mut app, Msg::Log { slot, pieces });
    app
}

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    update(app, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn filter(app: &mut App, pattern: &str) -> Vec<Effect> {
    press(app, KeyCode::Char('&'));
    for c in pattern.chars() {
        press(app, KeyCode::Char(c));
    }
    press(app, KeyCode::Enter)
}

fn sift_of(effects: &[Effect]) -> Option<FileSift> {
    effects.iter().find_map(|effect| match effect {
        Effect::Sift { sift, .. } => Some(sift.clone()),
        _ => None,
    })
}

fn page_of(effects: &[Effect]) -> Option<WantedPage> {
    effects.iter().find_map(|effect| match effect {
        Effect::ReadPage { wanted, .. } => Some(*wanted),
        _ => None,
    })
}

fn is_cancelled(app: &App, effects: &[Effect]) -> bool {
    effects.contains(&Effect::Cancel(TaskKey::Page(slot(app))))
}

/// The lines of these numbers were looked at.
fn looked(app: &mut App, sift: &FileSift, numbers: std::ops::Range<u64>) -> Vec<Effect> {
    let now = at("15:32:00").to_zoned(TimeZone::UTC);
    let sifter = Sifter::new(sift.sieve.clone(), sift.generation, sift.part.clone(), &now);
    let places = numbers.start * LINE..numbers.end * LINE;
    let sifted = sifter.sift(Passage {
        looked: places.clone(),
        candidates: places,
        block: lines(numbers.start.saturating_sub(3)..(numbers.end + 3).min(100)),
    });
    let slot = slot(app);
    update(
        app,
        Msg::Sifted {
            slot,
            sifted,
            is_over: false,
        },
    )
}

fn under_cursor(app: &App) -> String {
    let line = app.logs.line_under_cursor();
    line.map_or_else(String::new, |line| line.to_string())
}

#[test]
fn a_filter_is_looked_for_in_the_file_until_the_next_key() {
    let mut app = console(true);
    let effects = filter(&mut app, "fail");
    let sift = sift_of(&effects).expect("nothing of what is held fails");
    assert!(sift.is_backward);
    assert_eq!(sift.part.places.start, 0);
    assert!(screen(&app).contains("looking for more"));
    // What was found stands there at once; the end is still followed.
    looked(&mut app, &sift, 60..95);
    assert_eq!(under_cursor(&app), "fail number 090");
    assert!(app.logs.is_following);
    // A key that wants something else ends it; what was looked at is not looked at again.
    let effects = press(&mut app, KeyCode::Char('w'));
    assert!(is_cancelled(&app, &effects));
    assert!(
        screen(&app).contains("960 B not looked at"),
        "{}",
        screen(&app)
    );
    press(&mut app, KeyCode::Char('w'));
    let effects = press(&mut app, KeyCode::PageUp);
    let sift = sift_of(&effects).expect("the page goes on beyond what was looked at");
    assert_eq!(sift.part.places, 0..60 * LINE);
    // More of the same ends nothing.
    let effects = press(&mut app, KeyCode::Up);
    assert!(!is_cancelled(&app, &effects) && sift_of(&effects).is_none());
    looked(&mut app, &sift, 0..60);
    assert!(app.logs.seek.is_none());
    press(&mut app, KeyCode::PageUp);
    assert_eq!(under_cursor(&app), "fail number 000");
    assert!(screen(&app).contains("no older one"), "{}", screen(&app));
}

#[test]
fn what_comes_late_moves_nothing() {
    let mut app = console(true);
    let sift = sift_of(&filter(&mut app, "fail")).unwrap();
    looked(&mut app, &sift, 40..95);
    press(&mut app, KeyCode::Up);
    assert_eq!(under_cursor(&app), "fail number 080");
    let row = |app: &App| {
        let screen = screen(app);
        screen.lines().position(|line| line.contains("number 080"))
    };
    let before = row(&app);
    // It was on its way when the key ended the search.
    looked(&mut app, &sift, 30..40);
    assert_eq!(under_cursor(&app), "fail number 080");
    assert_eq!(row(&app), before);
    assert_eq!(
        app.logs
            .rings
            .line(app.logs.rings.first().unwrap())
            .unwrap()
            .bytes,
        b"fail number 030"
    );
    // Of another filter: nobody wants it.
    filter(&mut app, "0");
    let held = app.logs.counts().0;
    looked(&mut app, &sift, 20..30);
    assert_eq!(app.logs.counts().0, held);
}

#[test]
fn the_top_is_the_first_line_that_passes() {
    let mut app = console(true);
    filter(&mut app, "fail.*5|fail.*7");
    let effects = [press(&mut app, KeyCode::Home)].concat();
    let sift = sift_of(&effects).expect("the file is looked through from its beginning");
    assert!(!sift.is_backward);
    let effects = looked(&mut app, &sift, 0..60);
    assert_eq!(under_cursor(&app), "fail number 050");
    assert!(is_cancelled(&app, &effects), "it is there");
    // Below it lies what nobody has looked at: a step does not leave it out.
    let effects = press(&mut app, KeyCode::Down);
    let sift = sift_of(&effects).unwrap();
    assert_eq!(
        (sift.is_backward, sift.part.places.start),
        (false, 60 * LINE)
    );
    looked(&mut app, &sift, 60..95);
    assert_eq!(under_cursor(&app), "fail number 070");
}

#[test]
fn pages_of_a_source_that_is_no_file_are_read_until_a_line_passes_and_not_for_ever() {
    let mut app = console(false);
    let effects = filter(&mut app, "fail");
    assert!(
        page_of(&effects).is_none(),
        "an engine is asked when someone wants more"
    );
    assert!(
        screen(&app).contains("looks further back"),
        "{}",
        screen(&app)
    );
    let effects = press(&mut app, KeyCode::Up);
    // 94, 93, 92, 91, 90: it fails, and is what the key asked for.
    assert_eq!(read_pages(&mut app, effects, 95), 5);
    assert_eq!(under_cursor(&app), "fail number 090");
    let effects = press(&mut app, KeyCode::Up);
    assert_eq!(read_pages(&mut app, effects, 90), 10);
    assert_eq!(under_cursor(&app), "fail number 080");
    // Nothing more of it passes: the key ends after some pages, and says so.
    filter(&mut app, "8");
    let effects = press(&mut app, KeyCode::Up);
    assert_eq!(read_pages(&mut app, effects, 80), 10);
    assert!(screen(&app).contains("again reads on"), "{}", screen(&app));
    assert_eq!(under_cursor(&app), "fail number 080");
}

/// Answers what is asked for, a line a page, those before a line first; how many pages that were.
fn read_pages(app: &mut App, mut effects: Vec<Effect>, before: u64) -> u64 {
    let mut pages = 0;
    while let Some(wanted) = page_of(&effects) {
        pages += 1;
        let page = LogPage {
            blocks: vec![lines(before - pages..before - pages + 1)],
            is_edge: false,
        };
        let now = at("15:32:00").to_zoned(TimeZone::UTC);
        let page = PreparedPage::read(page, None, &now);
        effects = update(app, Msg::LogPage { wanted, page });
    }
    pages
}
