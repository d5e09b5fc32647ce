//! Lines are taken out of the console: into a file, into a pager, into an editor; and the mouse chooses them.

use crate::harness::{Sandbox, Terminal, Tmux, missing, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

const LINES: usize = 400;

/// A console's sandbox with a log in it, and without a Docker that others use.
fn sandbox(name: &str) -> Sandbox {
    let sandbox = Sandbox::new(name).with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    sandbox.write("app.log", log());
    sandbox
}

fn log() -> String {
    (0..LINES)
        .map(|n| format!("2025-12-27T15:00:00.{n:03}Z INFO line {n}\n"))
        .collect()
}

/// A program of a few lines of shell.
fn script(sandbox: &Sandbox, name: &str, text: &str) -> String {
    let path = sandbox.write(name, format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The console with the log in front.
fn open(sandbox: &Sandbox) -> Terminal {
    let terminal = Terminal::start(sandbox, &["tui", "app.log"], (160, 40));
    terminal.wait_for(&format!("line {}", LINES - 1));
    terminal.keys("2");
    terminal
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    wait_for("a file", Duration::from_secs(20), || {
        text = fs::read_to_string(path).ok().filter(|t| !t.is_empty())?;
        Some(())
    });
    text
}

fn temporary_files(sandbox: &Sandbox) -> Vec<String> {
    let files = fs::read_dir(sandbox.path("tmp")).unwrap();
    files
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".log"))
        .collect()
}

#[test]
fn what_is_shown_is_saved_once_for_its_owner_alone() {
    let sandbox = sandbox("save");
    let mut terminal = open(&sandbox);
    terminal.keys("Sout.log\r");
    terminal.wait_for(&format!("Saved {LINES} lines to"));
    let path = sandbox.work().join("out.log");
    assert_eq!(fs::read_to_string(&path).unwrap(), log());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Two lines, and not over the first file.
    terminal.keys("vkSout.log\r");
    terminal.wait_for("exists already");
    assert_eq!(fs::read_to_string(&path).unwrap(), log());
    terminal.keys("vk:export ~/two.log\r");
    terminal.wait_for("Saved 2 lines to");
    let two = fs::read_to_string(sandbox.path("home/two.log")).unwrap();
    assert_eq!(two.lines().count(), 2, "{two}");

    terminal.keys("S/proc/nothing.log\r");
    terminal.wait_for("cannot write /proc/nothing.log");
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn an_editor_gets_the_lines_the_terminal_and_every_key() {
    let sandbox = sandbox("editor");
    let text = "cp \"$1\" got; ls -l \"$1\" > mode; echo the editor is here; read -r typed; echo \"$typed\" > typed; exit 3";
    let editor = script(&sandbox, "edit.sh", text);
    let sandbox = sandbox.with("EDITOR", &editor);
    let mut terminal = open(&sandbox);
    for round in 0..3 {
        terminal.keys("V");
        terminal.wait_for("the editor is here");
        assert!(!terminal.is_alternate());
        assert_eq!(read(&sandbox.work().join("got")), log());
        let mode = read(&sandbox.work().join("mode"));
        assert!(mode.starts_with("-rw-------"), "{mode}");
        assert_eq!(temporary_files(&sandbox).len(), 1);
        // Keys that would do something in the console, had it read them.
        let keys = format!("q?Lq and {round} all the others");
        terminal.keys(&keys);
        terminal.keys("\r");
        terminal.wait_for("ended with exit status: 3");
        assert_eq!(
            fs::read_to_string(sandbox.work().join("typed")).unwrap(),
            format!("{keys}\n")
        );
        assert!(terminal.is_alternate());
        assert_eq!(temporary_files(&sandbox), Vec::<String>::new());
        // The console takes keys again.
        terminal.keys("?");
        terminal.wait_for("Leave the console");
        terminal.keys("\x1b");
        terminal.wait_for(&format!("line {}", LINES - 1));
    }
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.is_left_sane();
}

#[test]
fn less_shows_the_lines_and_its_q_leaves_only_less() {
    if missing(&["less"]) {
        return;
    }
    let sandbox = sandbox("pager").with("PAGER", "less -R '-Pthis is the pager'");
    let mut terminal = open(&sandbox);
    terminal.keys("|");
    terminal.wait_for("this is the pager");
    terminal.keys("g");
    terminal.wait_for("line 0");
    terminal.keys("q");
    terminal.wait_for("FOLLOW");
    assert_eq!(temporary_files(&sandbox), Vec::<String>::new());
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.is_left_sane();
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let sandbox = sandbox("no-pager").with("PAGER", "no-such-pager");
    let mut terminal = open(&sandbox);
    terminal.keys("|");
    terminal.wait_for("cannot run no-such-pager");
    assert_eq!(temporary_files(&sandbox), Vec::<String>::new());
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn ctrl_z_stops_program_and_console_together_and_ctrl_c_ends_the_program_alone() {
    if missing(&["tmux"]) {
        return;
    }
    let sandbox = sandbox("job");
    // A program that is killed by Ctrl-C leaves the terminal as it set it.
    let text = "stty -echo -opost; echo the editor waits; exec sleep 600";
    let editor = script(&sandbox, "wait.sh", text);
    let sandbox = sandbox.with("EDITOR", &editor);
    let binary = sandbox.command(&[]).get_program().to_owned();
    let tmux = Tmux::start(&sandbox, (120, 40));
    tmux.line(&format!("{} tui app.log", binary.to_string_lossy()));
    tmux.wait_for(&format!("line {}", LINES - 1));
    tmux.keys(&["2"]);
    tmux.keys(&["V"]);
    tmux.wait_for("the editor waits");
    tmux.keys(&["C-z"]);
    tmux.wait_for("Stopped");
    tmux.line("fg");
    tmux.wait_until("the job in front again", |screen| {
        screen.trim_end().ends_with("app.log")
    });
    tmux.keys(&["C-c"]);
    tmux.wait_for("ended with signal: 2");
    assert_eq!(tmux.variable("alternate_on"), "1");
    tmux.console_takes_keys_and_quits();
}

#[test]
fn the_mouse_points_to_lines_and_selects_them() {
    let sandbox = sandbox("mouse").with("LASTGOOD_INPUT_MOUSE", "true");
    let mut terminal = open(&sandbox);
    let row_of = |text: &str| {
        let screen = terminal.screen();
        let row = screen.lines().position(|line| line.contains(text));
        let row = row.unwrap_or_else(|| panic!("{text} is not on the screen:\n{screen}"));
        // A terminal counts from 1.
        let column = screen.lines().nth(row).unwrap();
        let column = column[..column.find(text).unwrap()].chars().count() + 1;
        (column, row + 1)
    };
    let (column, row) = row_of(&format!("line {}", LINES - 5));
    let (_, last) = row_of(&format!("line {}", LINES - 3));
    terminal.keys(&format!("\x1b[<0;{column};{row}M"));
    terminal.wait_for("PAUSED");
    terminal.keys(&format!(
        "\x1b[<32;{column};{last}M\x1b[<0;{column};{last}m"
    ));
    terminal.wait_for("3 selected");
    terminal.keys("Sthree.log\r");
    terminal.wait_for("Saved 3 lines to");
    let saved = fs::read_to_string(sandbox.work().join("three.log")).unwrap();
    let lines: Vec<String> = log().lines().map(str::to_owned).collect();
    let expected = &lines[LINES - 5..LINES - 2];
    assert_eq!(saved.lines().collect::<Vec<_>>(), expected);
    terminal.keys("q");
    assert_eq!(terminal.exit_code(), 0);
    terminal.is_left_sane();
}
