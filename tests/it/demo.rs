//! The built-in shop tells the story by itself and leaves nothing behind.

use crate::harness::{Sandbox, Terminal};
use std::fs;
use std::time::Duration;

#[test]
fn the_demo_tells_the_story_without_a_terminal() {
    // No Docker here: the demo needs nothing but the binary.
    let sandbox =
        Sandbox::new("demo").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let run = sandbox.run(&["demo", "--headless"]).exits(0);
    let told = format!("{}{}", run.stdout, run.stderr).to_lowercase();
    for word in ["checkpoint", "roll back", "p0", "verified", "keep"] {
        assert!(told.contains(word), "{word}: {run}");
    }
    assert!(run.took < Duration::from_secs(60), "{run}");
    assert_eq!(
        processes_of(&sandbox),
        Vec::<String>::new(),
        "processes are left behind"
    );
    let left: Vec<_> = fs::read_dir(sandbox.path("tmp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "files are left behind: {left:?}");
}

#[test]
fn the_demo_opens_the_console_on_a_live_shop() {
    let sandbox =
        Sandbox::new("demotui").with("DOCKER_HOST", "unix:///nonexistent/lastgood-test.sock");
    let mut terminal = Terminal::start(&sandbox, &["demo"], (120, 40));
    for word in ["api", "worker", "gateway", "LOCKED"] {
        terminal.wait_for(word);
    }
    assert!(
        !processes_of(&sandbox).is_empty(),
        "the shop is real processes"
    );
    terminal.keys("q");
    let code = terminal.exit_code();
    assert_eq!(code, 0, "{}", terminal.screen());
    terminal.is_left_sane();
    assert_eq!(
        processes_of(&sandbox),
        Vec::<String>::new(),
        "processes are left behind"
    );
}

/// Command lines of the processes that carry this sandbox's environment.
fn processes_of(sandbox: &Sandbox) -> Vec<String> {
    let mark = format!("LASTGOOD_STATE_DIR={}", sandbox.state().display());
    let has_mark = |folder: &std::path::Path| {
        let environment = fs::read(folder.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
    };
    fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("environ").exists() && has_mark(folder))
        .map(|folder| {
            String::from_utf8_lossy(&fs::read(folder.join("cmdline")).unwrap_or_default())
                .replace('\0', " ")
        })
        .collect()
}
