//! How long the comparison's pane takes from a key to a frame: `cargo bench --bench screen`.
//!
//! A million records a side, laid beside each other; a large terminal; every row and every view. What is measured is all
//! that the program does between the key and the bytes for the terminal.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurer has no event loop to block, and prints"
)]

mod capture;

use std::time::{Duration, Instant};

use capture::capture;
use jiff::Timestamp;
use lastgood::analysis::compare::{Facts, SideLogs, SideService, compare};
use lastgood::analysis::parse::time::TimeReader;
use lastgood::analysis::redact::{KnownSecrets, RedactionKey, Redactor};
use lastgood::analysis::scan::{ScanOptions, Scanner};
use lastgood::domain::comparison::Comparison;
use lastgood::domain::safe_text::SafeText;
use lastgood::domain::service::ServiceId;
use lastgood::domain::settings::RequestRules;
use lastgood::tui::app::{App, Setup};
use lastgood::tui::keymap::Keymap;
use lastgood::tui::msg::Msg;
use lastgood::tui::theme::Theme;
use lastgood::tui::update::update;
use lastgood::tui::view::view;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;

/// About a million records.
const MEGABYTES: usize = 128;
/// A frame of a screen that is drawn sixty times a second.
const LIMIT: Duration = Duration::from_millis(16);

fn side(name: &str, is_after: bool) -> SideLogs {
    let options = ScanOptions::new(&RequestRules::default(), TimeReader::utc());
    let mut scanner = Scanner::new(ScanOptions {
        course: true,
        ..options.expect("the default rules have no expression")
    });
    scanner.feed(&capture(MEGABYTES, is_after));
    let services = scanner.finish().services.into_iter();
    SideLogs {
        input: SafeText::from_text(name),
        services: services
            .map(|scan| SideService {
                id: ServiceId::local("shop", scan.name.clone().unwrap_or_default()),
                scan,
                observed: None,
            })
            .collect(),
    }
}

fn comparison() -> Comparison {
    let (before, after) = (side("before", false), side("after", true));
    compare(&before, &after, Facts::default(), &|text| {
        SafeText::from_bytes(text)
    })
}

fn console(comparison: Comparison) -> App {
    let setup = Setup {
        zone: jiff::tz::TimeZone::UTC,
        theme: Theme::new(true, false),
        keymap: Keymap::built_in(),
        panes: Vec::new(),
        is_wall: false,
        is_read_only: false,
        user: SafeText::from_text("bench"),
        is_paired: true,
        banner: None,
        open: Vec::new(),
        measure_every: Duration::from_secs(15),
        log_bytes: 1 << 20,
        log_fields: Vec::new(),
        highlights: Vec::new(),
        redactor: Redactor::new(&KnownSecrets::default(), RedactionKey([0; 32])),
    };
    let now = Timestamp::from_second(1_766_850_000).expect("a day of 2025");
    let mut app = App::new(setup, Size::new(200, 60), now);
    update(&mut app, Msg::Compared(Box::new(comparison)));
    app
}

/// Presses a key, draws, and says how long both took.
fn press(app: &mut App, terminal: &mut Terminal<TestBackend>, key: char) -> Duration {
    let began = Instant::now();
    let event = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
    update(app, Msg::Key(event));
    terminal
        .draw(|frame| view(app, frame))
        .expect("a backend in memory does not fail");
    began.elapsed()
}

fn main() {
    let comparison = comparison();
    let records = (comparison.before.records, comparison.after.records);
    let rows = comparison.side_by_side.stream.len();
    let mut app = console(comparison);
    let mut terminal =
        Terminal::new(TestBackend::new(200, 60)).expect("a backend in memory does not fail");
    for key in ['3', 'z'] {
        press(&mut app, &mut terminal, key);
    }
    println!(
        "{} and {} records, {rows} rows side by side, 200x60\n",
        records.0, records.1
    );
    println!("| key to frame | keys | median | p99 | slowest | limit |");
    println!("|---|---|---|---|---|---|");
    for (name, keys) in [
        ("move a row, patterns", "pjjjjjjkkkkkk"),
        ("move a row, stream", "sjjjjjjjjjjjjjjjjjjjjjjjjjjkkkkkkkk"),
        ("move a row, sequence", "Sjjjjjjjjjjkkkkkkkk"),
        ("switch the view", "sSps"),
        ("unfold, fold", "suu"),
    ] {
        let mut took: Vec<Duration> = (0..100)
            .flat_map(|_| keys.chars().collect::<Vec<_>>())
            .map(|key| press(&mut app, &mut terminal, key))
            .collect();
        took.sort();
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
        println!(
            "| {name} | {} | {:.1?} | {:.1?} | {:.1?} | {LIMIT:.0?} |",
            took.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
