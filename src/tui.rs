//! The console: the event loop and nothing else.
//!
//! One loop, one state. Keys go before everything, so that none ever waits behind a log line; data is drawn at most
//! ten times a second; and when nothing happens, nothing wakes up and nothing is written.

pub mod action;
pub mod app;
pub mod backend;
pub mod effect;
pub mod keymap;
pub mod layout;
pub mod msg;
pub mod outlet;
pub mod overlays;
pub mod panes;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::Size;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::analysis::format;
use crate::domain::safe_text::SafeText;
use crate::domain::service::ServiceId;
use crate::ops::{self, Access, Context, ErrorKind, OpsError};

use app::{App, Setup};
use effect::{Effect, Effects};
use keymap::Keymap;
use layout::Pane;
use msg::{Interrupt, Msg, Problem};
use outlet::Tool;
use terminal::{Away, Back};
use theme::Theme;

/// Data alone is drawn at most this often: ten times a second; four on a wall and to a terminal that takes its time;
/// three while lines come faster than anyone reads, since each frame is then another page.
const FRAME: Duration = Duration::from_millis(100);
const SLOW_FRAME: Duration = Duration::from_millis(250);
const FLOOD_FRAME: Duration = Duration::from_millis(333);
/// A terminal that takes a frame only after so long has others waiting.
const BACKLOG: Duration = Duration::from_millis(50);
/// Messages that wait for the loop; whoever sends more waits.
const INBOX: usize = 64;
/// For so long after a program ended, an interrupt is one of its own that was still on its way.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Gives the terminal away and takes it over again.
type Leave<'a> = dyn FnMut(Away) -> std::io::Result<Back> + 'a;

/// What the console was asked to show.
#[derive(Debug, Clone, Default)]
pub struct ConsoleOptions {
    /// Show only these panes; empty for all.
    pub only: Vec<String>,
    /// Show the wall view.
    pub wall: bool,
    /// No colours, no box drawing.
    pub plain: bool,
    /// A line for the header, such as the demo's next step.
    pub banner: Option<String>,
    /// Services whose logs to open at once: the files that were named on the command line.
    pub open: Vec<ServiceId>,
}

/// Why the console could not open or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Standard input or output is not a terminal.
    #[error(
        "the console needs a terminal; headless: `lastgood services`, `lastgood compare`, `lastgood help`"
    )]
    NoTerminal,
    /// `--only` names a pane that does not exist.
    #[error("no pane {0:?}; panes: services, logs, compare, signals, runbook, timeline")]
    UnknownPane(String),
    /// The user's keymap is wrong; the text shows the line and the caret.
    #[error("{0}")]
    Keymap(String),
    /// What hides secrets in logs could not be made.
    #[error(transparent)]
    Secrets(OpsError),
    /// The terminal could not be read or written.
    #[error("the terminal could not be used: {0}")]
    Terminal(#[from] std::io::Error),
}

/// Opens the console and runs it until it is left. Returns the exit code (0, or 128 + the signal that ended it).
/// The terminal is left as it was found on every way out.
///
/// # Errors
/// See [`ConsoleError`].
pub async fn run(ctx: Arc<Context>, options: ConsoleOptions) -> Result<u8, ConsoleError> {
    // Keys come from the terminal even where standard input is a log.
    let has_keys = std::io::stdin().is_terminal()
        || (!options.open.is_empty() && std::fs::File::open("/dev/tty").is_ok());
    if !has_keys || !std::io::stdout().is_terminal() {
        return Err(ConsoleError::NoTerminal);
    }
    let panes = options
        .only
        .iter()
        .map(|name| Pane::parse(name).ok_or_else(|| ConsoleError::UnknownPane(name.clone())))
        .collect::<Result<Vec<Pane>, _>>()?;
    let keymap = Keymap::load(keymap::user_file().as_deref()).map_err(ConsoleError::Keymap)?;
    let has_color = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let redactor = ops::secrets::redactor(&ctx, &[])
        .await
        .map_err(ConsoleError::Secrets)?;
    let setup = Setup {
        zone: TimeZone::system(),
        theme: Theme::new(has_color, options.plain),
        keymap,
        panes,
        is_wall: options.wall,
        is_read_only: ctx.access == Access::ReadOnly,
        user: SafeText::from_text(&ctx.actor.user),
        is_paired: ctx.state.is_shared,
        banner: options.banner.as_deref().map(SafeText::from_text),
        open: options.open.clone(),
        measure_every: ctx.config.measure_every,
        log_bytes: ctx.config.logs.memory_bytes,
        log_fields: ctx.config.logs.fields.clone(),
        highlights: ctx.config.logs.highlights.clone(),
        redactor,
    };
    let signals = interrupts()?;
    let guard = terminal::Guard::take(ctx.config.mouse)?;
    let mut screen = terminal::open()?;
    screen.clear()?;
    let size = screen.size()?;
    let mut app = App::new(setup, size, Timestamp::now());
    event_loop(
        &mut screen,
        &mut app,
        ctx,
        EventStream::new,
        signals,
        &mut |away| guard.leave(away),
    )
    .await
    .map_err(ConsoleError::Terminal)
}

/// The signals that end the console or bring it back.
fn interrupts() -> std::io::Result<impl Stream<Item = Interrupt> + Unpin> {
    let wanted = [
        (SignalKind::hangup(), Interrupt::Hangup),
        (SignalKind::interrupt(), Interrupt::Interrupt),
        (SignalKind::terminate(), Interrupt::Terminate),
        (
            SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()),
            Interrupt::Continued,
        ),
    ];
    let mut streams = Vec::new();
    for (kind, interrupt) in wanted {
        let signals = signal(kind)?;
        streams.push(Box::pin(futures_util::stream::unfold(
            signals,
            move |mut signals| async move {
                signals.recv().await?;
                Some((interrupt, signals))
            },
        )));
    }
    Ok(futures_util::stream::select_all(streams))
}

/// The loop. `open_input`, `signals` and `leave` are parameters, so that tests drive this very loop. The input is opened
/// again after another program had the terminal.
///
/// # Errors
/// The terminal cannot be written or read any more.
pub async fn event_loop<B: Backend, S>(
    screen: &mut Terminal<B>,
    app: &mut App,
    ctx: Arc<Context>,
    mut open_input: impl FnMut() -> S,
    mut signals: impl Stream<Item = Interrupt> + Unpin,
    leave: &mut Leave<'_>,
) -> std::io::Result<u8>
where
    B::Error: std::error::Error + Send + Sync + 'static,
    S: Stream<Item = std::io::Result<Event>> + Unpin,
{
    let (sender, mut inbox) = mpsc::channel(INBOX);
    let mut effects = Effects::new(ctx, sender);
    let mut batch: Vec<Msg> = Vec::with_capacity(INBOX);
    let mut wanted: Vec<Effect> = update::begin();
    let mut frame = FRAME;
    let mut drawn_at = Instant::now();
    let mut is_dirty = true;
    let mut is_urgent = true;
    let mut input = Some(open_input());
    let mut returned_at: Option<Instant> = None;
    loop {
        // What an effect knows at once is a message too, and may ask for more.
        while !wanted.is_empty() {
            for effect in std::mem::take(&mut wanted) {
                match effect {
                    Effect::Suspend => {
                        leave(Away::Stop)?;
                        repaint(screen)?;
                        is_urgent = true;
                    }
                    Effect::Open { tool, line } => {
                        // Whoever goes on to read the terminal takes keys of the program away.
                        let had_input = input.take().is_some();
                        let shown = show(&effects, tool, line, leave)?;
                        input = had_input.then(&mut open_input);
                        returned_at = Some(Instant::now());
                        repaint(screen)?;
                        is_urgent = true;
                        wanted.extend(update::update(app, Msg::Shown(shown)));
                    }
                    Effect::Redraw => {
                        repaint(screen)?;
                        is_urgent = true;
                    }
                    effect => {
                        if let Some(msg) = effects.run(effect) {
                            wanted.extend(update::update(app, msg));
                        }
                    }
                }
            }
        }
        if let Some(code) = app.leaving
            && !effects.is_executing()
        {
            return Ok(code);
        }
        let is_due = is_urgent || (is_dirty && drawn_at.elapsed() >= frame);
        if is_due {
            app.now = Timestamp::now();
            let begun_at = Instant::now();
            let result = screen.draw(|f| view::view(app, f));
            match result {
                Ok(_) => {}
                // The terminal is gone, but a machine is being changed: that is brought to its end.
                Err(_) if effects.is_executing() => app.leaving = app.leaving.or(Some(129)),
                Err(error) => return Err(std::io::Error::other(error)),
            }
            drawn_at = Instant::now();
            is_dirty = false;
            is_urgent = false;
            let is_slow = drawn_at - begun_at >= BACKLOG;
            frame = if app.is_flooded() {
                FLOOD_FRAME
            } else if is_slow || app.focus.is_wall {
                SLOW_FRAME
            } else {
                FRAME
            };
        }
        tokio::select! { biased;
            Some(interrupt) = signals.next() => {
                if !is_of_program(interrupt, returned_at) {
                    batch.push(Msg::Interrupted(interrupt));
                    is_urgent = true;
                }
            }
            event = next(&mut input), if input.is_some() => match event {
                Some(Ok(event)) => {
                    batch.extend(read(event));
                    is_urgent = true;
                }
                Some(Err(error)) => return Err(error),
                // Nobody can press a key any more.
                None => {
                    input = None;
                    app.leaving = app.leaving.or(Some(129));
                }
            },
            count = inbox.recv_many(&mut batch, INBOX) => is_dirty |= count > 0,
            Some(msg) = effects.join() => {
                is_dirty |= msg.is_some();
                batch.extend(msg);
            }
            () = tokio::time::sleep_until(drawn_at + frame), if is_dirty => {}
            () = tokio::time::sleep(app.next_tick()) => {
                batch.push(Msg::Tick);
                is_urgent = true;
            }
        }
        if !batch.is_empty() {
            app.now = Timestamp::now();
        }
        for msg in batch.drain(..) {
            wanted.extend(update::update(app, msg));
        }
        is_urgent |= std::mem::take(&mut app.is_awaited);
    }
}

/// Draws everything anew with the next frame. Unlike [`Terminal::clear`] it asks the terminal nothing: the answer is read
/// where keys are, and the reader of an input stream that is open, or was just dropped, stands in its way.
fn repaint<B: Backend>(screen: &mut Terminal<B>) -> std::io::Result<()>
where
    B::Error: std::error::Error + Send + Sync + 'static,
{
    screen
        .backend_mut()
        .clear()
        .map_err(std::io::Error::other)?;
    // Forgets the last frame; the one before it was forgotten when that was drawn.
    screen.swap_buffers();
    Ok(())
}

/// The next event of the input; `None` at its end.
async fn next<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    input.as_mut()?.next().await
}

/// Whether a signal was meant for the program that had the terminal: Ctrl-C goes to the whole process group, and here
/// it is read as a key.
fn is_of_program(interrupt: Interrupt, returned_at: Option<Instant>) -> bool {
    interrupt == Interrupt::Interrupt && returned_at.is_some_and(|at| at.elapsed() < AFTERMATH)
}

/// Shows the file that was written in a program, and takes it away afterwards.
///
/// # Errors
/// The terminal cannot be taken over again; what became of the program is the value.
fn show(
    effects: &Effects,
    tool: Tool,
    line: u64,
    leave: &mut Leave<'_>,
) -> std::io::Result<Result<(), Problem>> {
    let refuse = |text: &str| Ok(Err(OpsError::new(ErrorKind::Refused, text).into()));
    if effects.is_executing() {
        effects.writing.remove();
        return refuse("an action is under way: no program is opened until it has ended");
    }
    let Some(path) = effects.writing.path() else {
        return refuse("there is no file to open");
    };
    let program = match outlet::program(tool, line, &path) {
        Ok(program) => program,
        Err(error) => {
            effects.writing.remove();
            return Ok(Err(error.into()));
        }
    };
    let name = program.get_program().to_string_lossy().into_owned();
    let back = leave(Away::Run(program));
    effects.writing.remove();
    let refused = |text: String| OpsError::new(ErrorKind::No, text);
    Ok(match back? {
        Back::Ended(Ok(status)) if !status.success() => {
            Err(refused(format!("{name} ended with {status}")).into())
        }
        Back::Ended(Err(error)) => {
            let failed = refused(format!("cannot run {name}")).because(error);
            Err(match tool {
                Tool::Pager => failed.fix("set PAGER"),
                Tool::Editor => failed.fix("set EDITOR"),
            }
            .into())
        }
        Back::Ended(Ok(_)) | Back::Continued => Ok(()),
    })
}

/// What an event of the terminal means to `update`.
fn read(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) => Some(Msg::Key(key)),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Mouse(mouse) => Some(Msg::Mouse(mouse)),
        Event::Resize(width, height) => Some(Msg::Resize(Size::new(width, height))),
        Event::FocusGained | Event::FocusLost => None,
    }
}
