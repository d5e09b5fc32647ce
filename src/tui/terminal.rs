//! The terminal: taken over on the way in, given back on every way out.
//!
//! What is given back does not depend on how far taking over got: [`restore`] undoes everything, as often as it
//! is called, and is called by the guard's `Drop`, by the panic hook and before a suspension.

use std::io::{self, Stdout, Write};
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use crossterm::event::{
    DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste,
    EnableFocusChange, EnableMouseCapture,
};
use crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode,
};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::io::AsyncWriteExt as _;

use super::backend::Sparing;

/// tmux answers in milliseconds, or not at all.
const TMUX_TIMEOUT: Duration = Duration::from_secs(3);

/// What the terminal is given back for.
#[derive(Debug)]
pub enum Away {
    /// Stop the process group, as a shell expects of Ctrl-Z.
    Stop,
    /// Run a program until it ends.
    Run(Command),
}

/// How the terminal came back.
#[derive(Debug)]
pub enum Back {
    /// The process group was continued.
    Continued,
    /// The program ended, or could not be run.
    Ended(io::Result<ExitStatus>),
}

/// The terminal that the console draws on.
pub type Screen = Terminal<Sparing<CrosstermBackend<Stdout>>>;

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// What a panic of another thread said, for the task that has to tell it.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Holds the terminal; dropping it gives the terminal back.
#[derive(Debug)]
pub struct Guard {
    has_mouse: bool,
}

impl Guard {
    /// Takes the terminal over: raw mode, alternate screen, bracketed paste, focus events, and mouse events where
    /// they are wanted (without them, selecting text works as everywhere else).
    ///
    /// # Errors
    /// The terminal cannot be written or set; it is then as it was.
    pub fn take(has_mouse: bool) -> io::Result<Self> {
        install_panic_hook();
        // NO_COLOR is decided by the theme: crossterm's own way would also wipe reverse and bold.
        crossterm::style::force_color_output(true);
        let guard = Self { has_mouse };
        guard.enter()?;
        Ok(guard)
    }

    fn enter(&self) -> io::Result<()> {
        IS_TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        let mut out = io::stdout();
        execute!(
            out,
            EnterAlternateScreen,
            EnableBracketedPaste,
            EnableFocusChange,
            DisableLineWrap,
            cursor::Hide
        )?;
        if self.has_mouse {
            execute!(out, EnableMouseCapture)?;
        }
        Ok(())
    }

    /// Gives the terminal back, does what it was given back for, and takes it over again. Blocks. Nothing may read the
    /// terminal meanwhile: an input stream is dropped before a program runs.
    ///
    /// # Errors
    /// The terminal cannot be taken over again. That a program could not be run is told by [`Back::Ended`].
    pub fn leave(&self, away: Away) -> io::Result<Back> {
        let back = match away {
            Away::Stop => {
                restore();
                // STOP, not TSTP: this program ignores nothing, but a handler installed by a library must not keep us.
                rustix::process::kill_current_process_group(rustix::process::Signal::STOP)?;
                Back::Continued
            }
            Away::Run(mut program) => {
                restore();
                // In the same process group: its Ctrl-Z stops the whole job, and `fg` continues it.
                let modes = rustix::termios::tcgetattr(io::stdin());
                let ended = program.status();
                // A program that was killed leaves the modes as it had them, and they would be taken for the shell's.
                if let Ok(modes) = modes {
                    let now = rustix::termios::OptionalActions::Now;
                    let _ = rustix::termios::tcsetattr(io::stdin(), now, &modes);
                }
                Back::Ended(ended)
            }
        };
        self.enter()?;
        Ok(back)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back. Does nothing when it was given back already, and goes on after a part that fails:
/// half restored is worse than anything an error could say.
pub fn restore() {
    if !IS_TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    let _ = execute!(out, DisableMouseCapture);
    let _ = execute!(out, DisableFocusChange, DisableBracketedPaste);
    let _ = execute!(out, EnableLineWrap, cursor::Show, LeaveAlternateScreen);
    let _ = out.flush();
    let _ = disable_raw_mode();
}

/// A panic of the console's own thread gives the terminal back before anything is printed. A panic anywhere else
/// must not write over the screen: its task reports it as a failure, with the text kept here.
fn install_panic_hook() {
    static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
    if IS_INSTALLED.swap(true, Ordering::SeqCst) {
        return;
    }
    let console: ThreadId = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_ours = std::thread::current().id() == console;
        if is_ours || !IS_TAKEN.load(Ordering::SeqCst) {
            restore();
            before(panic);
            return;
        }
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = Some(panic.to_string().replace('\n', " "));
        }
    }));
}

/// What the last panic of another thread said; taken once.
pub fn take_last_panic() -> Option<String> {
    LAST_PANIC.lock().ok()?.take()
}

/// Opens the screen to draw on.
///
/// # Errors
/// The size of the terminal cannot be read.
pub fn open() -> io::Result<Screen> {
    Terminal::new(Sparing::new(CrosstermBackend::new(io::stdout())))
}

/// Whether tmux stands between this program and the terminal. It ignores the terminal's own way to the clipboard
/// from programs in its panes, so it has to be asked itself.
pub fn is_in_tmux() -> bool {
    std::env::var_os("TMUX").is_some_and(|value| !value.is_empty())
}

/// Copies text by an escape sequence of the terminal (OSC 52) and says so. Only from the task that draws: a
/// sequence written by another one could fall into the middle of a frame's.
///
/// # Errors
/// The terminal cannot be written. Whether it took the text, it does not say.
pub fn copy_by_escape(text: &str) -> io::Result<&'static str> {
    let mut out = io::stdout();
    execute!(
        out,
        crossterm::clipboard::CopyToClipboard::to_clipboard_from(text)
    )?;
    Ok("copied through the terminal (OSC 52), if it allows that")
}

/// Copies text to tmux's buffer, which passes it on to the clipboard where it may, and says so.
///
/// # Errors
/// tmux could not be run, failed, or did not answer.
pub async fn copy_by_tmux(text: &str) -> io::Result<&'static str> {
    let mut tmux = tokio::process::Command::new("tmux")
        .args(["load-buffer", "-w", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let work = async {
        if let Some(mut input) = tmux.stdin.take() {
            input.write_all(text.as_bytes()).await?;
        }
        tmux.wait().await
    };
    match tokio::time::timeout(TMUX_TIMEOUT, work).await {
        Ok(Ok(status)) if status.success() => {
            Ok("copied to tmux's buffer and, where it may, the clipboard")
        }
        Ok(Ok(status)) => Err(io::Error::other(format!("tmux load-buffer: {status}"))),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("tmux did not answer")),
    }
}
