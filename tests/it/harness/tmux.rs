//! A shell in a tmux of the test's own: job control, resizing and what the terminal is like afterwards.

use super::{Sandbox, wait_for};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// The prompt of the shell inside.
pub(crate) const PROMPT: &str = "shell-is-back";

/// One tmux server with one pane; ended when dropped.
pub(crate) struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// A shell with job control in a pane of `columns` x `rows`, with the sandbox's environment.
    pub(crate) fn start(sandbox: &Sandbox, (columns, rows): (u16, u16)) -> Tmux {
        let tmux = Tmux {
            socket: sandbox.path("tmux.sock"),
        };
        let (width, height) = (columns.to_string(), rows.to_string());
        // A shell that is not interactive drops PS1, and tmux starts its command with one.
        let shell = format!("exec env PS1='{PROMPT} ' bash --noprofile --norc -i");
        let mut command = tmux.command(&["new-session", "-d", "-x", &width, "-y", &height, &shell]);
        sandbox.surround(&mut command);
        command.env_remove("TERM").current_dir(sandbox.work());
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "tmux: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        tmux.wait_for(PROMPT);
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        // An empty configuration: the user's own tmux has no say here.
        command
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Keys by tmux's names: `"q"`, `"Enter"`, `"C-z"`.
    pub(crate) fn keys(&self, keys: &[&str]) {
        let mut arguments = vec!["send-keys"];
        arguments.extend(keys);
        assert!(self.run(&arguments).status.success(), "send-keys {keys:?}");
    }

    /// Types a line and Enter.
    pub(crate) fn line(&self, line: &str) {
        assert!(self.run(&["send-keys", "-l", line]).status.success());
        self.keys(&["Enter"]);
    }

    /// What stands in the pane.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.run(&["capture-pane", "-p"]).stdout).into_owned()
    }

    /// One of tmux's own variables about the pane: `alternate_on`, `cursor_flag`, `mouse_any_flag`.
    pub(crate) fn variable(&self, name: &str) -> String {
        String::from_utf8_lossy(
            &self
                .run(&["display-message", "-p", &format!("#{{{name}}}")])
                .stdout,
        )
        .trim()
        .to_string()
    }

    pub(crate) fn resize(&self, (columns, rows): (u16, u16)) {
        let (width, height) = (columns.to_string(), rows.to_string());
        assert!(
            self.run(&["resize-window", "-x", &width, "-y", &height])
                .status
                .success()
        );
    }

    /// Waits until `text` stands in the pane, and gives the pane.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until the pane satisfies `wanted`, and gives it; fails with the pane as it was last.
    pub(crate) fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, Duration::from_secs(30), || {
                last = self.screen();
                wanted(&last).then_some(())
            });
        }));
        assert!(found.is_ok(), "{what:?} did not come in the pane:\n{last}");
        last
    }

    /// Fails unless the shell has its terminal back as it was: line mode with echo, main screen, visible cursor, no mouse.
    pub(crate) fn is_sane(&self) {
        assert_eq!(
            self.variable("alternate_on"),
            "0",
            "the alternate screen is left on"
        );
        assert_eq!(
            self.variable("cursor_flag"),
            "1",
            "the cursor is left hidden"
        );
        assert_eq!(
            self.variable("mouse_any_flag"),
            "0",
            "the mouse is left captured"
        );
        self.line("clear; stty -a | tr ' ;' '\\n\\n' | grep -xE -- '-?(icanon|echo|isig|opost)' | tr '\\n' ,; echo .");
        let modes = self.wait_until("the terminal's modes", |screen| screen.contains(",."));
        for mode in ["icanon", "echo", "isig", "opost"] {
            let is_on = modes
                .lines()
                .any(|line| line.ends_with(",.") && line.split(',').any(|word| word == mode));
            assert!(is_on, "{mode} is off afterwards:\n{modes}");
        }
    }

    /// Opens and closes the help of the console that runs there, leaves it, and fails unless the terminal is as it was.
    pub(crate) fn console_takes_keys_and_quits(&self) {
        self.keys(&["?"]);
        self.wait_for("Leave the console");
        self.keys(&["Escape"]);
        self.wait_until("help is closed", |screen| {
            !screen.contains("Leave the console")
        });
        self.keys(&["q"]);
        self.wait_until("the shell after q", |_| {
            self.variable("alternate_on") == "0"
        });
        self.is_sane();
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

#[test]
fn a_terminal_left_raw_is_found() {
    if super::missing(&["tmux"]) {
        return;
    }
    let sandbox = Sandbox::new("raw");
    let tmux = Tmux::start(&sandbox, (100, 30));
    tmux.is_sane();
    // The shell's line editor puts echo back by itself, but not what it does not know of.
    tmux.line("stty -opost -isig; printf '\\033[?25l'");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tmux.is_sane()));
    assert!(found.is_err(), "{}", tmux.screen());
}
