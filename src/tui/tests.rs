//! The loop itself, driven by a script of keys on a test terminal.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::layout::Size;

use crate::domain::outcome::Actor;
use crate::ops::{Access, Context};
use crate::store::config::Config;
use crate::store::paths::StateDir;

use super::app::App;
use super::fixtures::setup;
use super::msg::Interrupt;
use super::terminal::{Away, Back};
use super::{event_loop, keymap::Chord};

fn context(folder: &std::path::Path) -> Arc<Context> {
    let state = StateDir {
        root: folder.to_owned(),
        is_shared: false,
    };
    let actor = Actor {
        user: "anna".into(),
        uid: 1000,
        via: "console".into(),
        from: None,
    };
    Arc::new(Context::with(
        Config::default(),
        state,
        actor,
        Access::ReadOnly,
    ))
}

fn key(code: KeyCode) -> Event {
    Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

type Input = Pin<Box<dyn Stream<Item = std::io::Result<Event>>>>;

/// Keys one after the other with a little time in between, then nothing, for ever.
fn script(events: Vec<Event>) -> Input {
    let events = stream::iter(events).then(|event| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(event)
    });
    Box::pin(events.chain(stream::pending()))
}

struct Played {
    code: std::io::Result<u8>,
    app: App,
    screen: String,
    suspended: usize,
}

async fn play(input: Input, signals: impl Stream<Item = Interrupt> + Unpin) -> Played {
    let folder = tempfile::Builder::new()
        .prefix("lastgood-test-")
        .tempdir()
        .unwrap();
    let mut screen = Terminal::new(TestBackend::new(100, 30)).unwrap();
    let mut app = App::new(setup(), Size::new(100, 30), Timestamp::now());
    let mut suspended = 0;
    let mut leave = |away| {
        assert!(matches!(away, Away::Stop));
        suspended += 1;
        Ok(Back::Continued)
    };
    let mut input = Some(input);
    let work = event_loop(
        &mut screen,
        &mut app,
        context(folder.path()),
        || input.take().expect("the input is opened once"),
        signals,
        &mut leave,
    );
    let code = tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("the loop ends");
    let text = screen.backend().to_string();
    Played {
        code,
        app,
        screen: text,
        suspended,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn q_leaves_with_success() {
    let played = play(script(vec![key(KeyCode::Char('q'))]), stream::pending()).await;
    assert_eq!(played.code.unwrap(), 0);
    assert!(played.screen.contains("lastgood"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_leaves_with_its_code() {
    for (signal, code) in [
        (Interrupt::Hangup, 129),
        (Interrupt::Interrupt, 130),
        (Interrupt::Terminate, 143),
    ] {
        let signals = stream::iter([signal]).chain(stream::pending());
        let played = play(script(Vec::new()), signals).await;
        assert_eq!(played.code.unwrap(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_is_gone_leaves() {
    let input: Input = Box::pin(stream::empty());
    assert_eq!(play(input, stream::pending()).await.code.unwrap(), 129);
    let broken = std::io::Error::other("gone");
    let input: Input = Box::pin(stream::iter([Err(broken)]).chain(stream::pending()));
    assert!(play(input, stream::pending()).await.code.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_resize_and_suspension_reach_the_screen() {
    let events = vec![
        key(KeyCode::Char('?')),
        key(KeyCode::Esc),
        Event::Resize(100, 30),
        key(KeyCode::Char('3')),
        key(KeyCode::Char('z')),
        Event::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL)),
        key(KeyCode::Char('g')),
    ];
    let input: Input = Box::pin(
        script(events)
            .take(7)
            .chain(stream::once(async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok(Event::FocusLost)
            }))
            .chain(stream::once(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                Err(std::io::Error::other("end of the test"))
            })),
    );
    let played = play(input, stream::pending()).await;
    assert!(played.code.is_err());
    assert_eq!(played.suspended, 1);
    assert!(played.app.focus.is_zoomed);
    // The beginning of a sequence shows itself.
    assert_eq!(played.app.typed, [Chord::parse("g").unwrap()]);
    assert!(played.screen.contains("3 compare"));
    assert!(!played.screen.contains("4 signals"));
    assert!(played.screen.contains(" g …"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_program_has_the_terminal_nobody_reads_it() {
    let folder = tempfile::Builder::new()
        .prefix("lastgood-test-")
        .tempdir()
        .unwrap();
    let mut screen = Terminal::new(TestBackend::new(100, 30)).unwrap();
    let mut app = super::fixtures::broken(100, 30);
    let open = Arc::new(AtomicUsize::new(0));
    let mut opened = 0;
    let open_input = || {
        opened += 1;
        let keys = match opened {
            1 => vec![key(KeyCode::Char('2')), key(KeyCode::Char('|'))],
            _ => vec![key(KeyCode::Char('q'))],
        };
        open.fetch_add(1, Ordering::SeqCst);
        Counted(script(keys), Arc::clone(&open))
    };
    let mut file = None;
    let mut leave = |away| {
        let Away::Run(program) = away else {
            panic!("{away:?}");
        };
        assert_eq!(open.load(Ordering::SeqCst), 0, "the input is still open");
        let path = std::path::PathBuf::from(program.get_args().last().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("ERROR Invalid JSON response"), "{text}");
        file = Some(path);
        let status = std::os::unix::process::ExitStatusExt::from_raw(3 << 8);
        Ok(Back::Ended(Ok(status)))
    };
    let work = event_loop(
        &mut screen,
        &mut app,
        context(folder.path()),
        open_input,
        stream::pending(),
        &mut leave,
    );
    let code = tokio::time::timeout(Duration::from_secs(20), work).await;
    assert_eq!(code.expect("the loop ends").unwrap(), 0);
    assert_eq!(opened, 2);
    assert!(!file.expect("a program ran").exists());
    let told = app.notices.iter().map(|n| n.text.as_str());
    assert!(
        told.into_iter()
            .any(|text| text.contains("ended with exit status: 3"))
    );
}

/// An input that is counted while it is open.
struct Counted(Input, Arc<AtomicUsize>);

impl Stream for Counted {
    type Item = std::io::Result<Event>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}
